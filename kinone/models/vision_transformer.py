"""Vision transformers: an image as a sequence of patches, each of which looks at all the others.

    patches (p × p pixels) → a vector each → + position → transformer encoder → class token → logits

Sources: Dosovitskiy et al. 2020, arXiv:2010.11929; the sizes Ti and S, Touvron et al. 2020,
arXiv:2012.12877. Children and their arithmetic are those of timm's `vit_*_patch16_224` (exact GELU,
norms of epsilon 1e-6 before each part), so that trained weights carry over; its fused `qkv` kernel
is `query`, `key` and `value` one beside the other.
"""

from __future__ import annotations

from typing import Literal, TypedDict, Unpack

import numpy as np

from .. import nn, ops
from ..core import Array, ShapeDtype, shape_error, shape_of
from ..nn.initializers import Initializer, truncated_normal
from ..random import Key
from .weights_names import Dialects, Tensor

_BLOCK = {
    "norm1": ("norm1", "ln_1", "layernorm_before"),
    "norm2": ("norm2", "ln_2", "layernorm_after"),
    "attention/out": ("attn.proj", "self_attention.out_proj", "attention.output.dense"),
    "mlp/dense1": ("mlp.fc1", "mlp.0", "intermediate.dense"),
    "mlp/dense2": ("mlp.fc2", "mlp.3", "output.dense"),
}


def _names(
    library: int, *, layer: str, patches: str, token: str, positions: str, norm: str, head: str
) -> dict[str, str | Tensor]:
    """A table of names but for queries, keys and values; `library` counts the columns above."""
    return {
        "patches/conv": patches,
        "class_token/embedding": Tensor(token, before=2),
        "positions/embedding": Tensor(positions, before=1),
        **{f"encoder/layer*/{ours}": f"{layer}.{names[library]}" for ours, names in _BLOCK.items()},
        "encoder/norm": norm,
        "head": head,
    }


_PROJECTIONS = ("query", "key", "value")
_TORCHVISION = "encoder.layers.encoder_layer_*"
_TRANSFORMERS = "vit.encoder.layer.*"
NAMES: Dialects = {
    "timm": {
        **_names(
            0,
            layer="blocks.*",
            patches="patch_embed.proj",
            token="cls_token",
            positions="pos_embed",
            norm="norm",
            head="head",
        ),
        **{
            f"encoder/layer*/attention/{each}": Tensor("blocks.*.attn.qkv", part)
            for part, each in enumerate(_PROJECTIONS)
        },
    },
    "torchvision": {
        **_names(
            1,
            layer=_TORCHVISION,
            patches="conv_proj",
            token="class_token",
            positions="encoder.pos_embedding",
            norm="encoder.ln",
            head="heads.head",
        ),
        **{
            f"encoder/layer*/attention/{each}/{leaf}": Tensor(
                f"{_TORCHVISION}.self_attention.in_proj_{theirs}", part
            )
            for part, each in enumerate(_PROJECTIONS)
            for leaf, theirs in (("kernel", "weight"), ("bias", "bias"))
        },
    },
    "transformers": {
        **_names(
            2,
            layer=_TRANSFORMERS,
            patches="vit.embeddings.patch_embeddings.projection",
            token="vit.embeddings.cls_token",
            positions="vit.embeddings.position_embeddings",
            norm="vit.layernorm",
            head="classifier",
        ),
        **{
            f"encoder/layer*/attention/{each}": f"{_TRANSFORMERS}.attention.attention.{each}"
            for each in _PROJECTIONS
        },
    },
}

_START = truncated_normal(0.02 / 0.8796256610342398)


class VisionTransformerOptions(TypedDict, total=False):
    """What the sizes of a name let one choose; `vision_transformer` says what each is."""

    patch: int
    num_layers: int
    hidden_features: int | None
    pool: Literal["token", "mean"]
    dropout: float
    drop_path: float
    epsilon: float
    layout: str


def vit_tiny(num_classes: int = 1000, **options: Unpack[VisionTransformerOptions]) -> nn.Layer:
    """ViT-Ti: 192 features, 3 heads, 12 layers; images (N, H, W, C) to logits (N, num_classes).

    5,717,416 parameters for images of 224 × 224. `vision_transformer` explains the options.

        >>> from kinone import random, tree
        >>> params, state = vit_tiny(10, patch=4).init(random.key(0), (1, 32, 32, 3))
        >>> tree.size(params)
        5362762
    """
    return vision_transformer(num_classes, features=192, num_heads=3, **options)


def vit_small(num_classes: int = 1000, **options: Unpack[VisionTransformerOptions]) -> nn.Layer:
    """ViT-S: 384 features, 6 heads, 12 layers; 22,050,664 parameters, options as in `vit_tiny`.

    >>> vit_small(10)
    vision_transformer(10, features=384, num_heads=6)
    """
    return vision_transformer(num_classes, features=384, num_heads=6, **options)


def vit_base(num_classes: int = 1000, **options: Unpack[VisionTransformerOptions]) -> nn.Layer:
    """ViT-B: 768 features, 12 heads, 12 layers; 86,567,656 parameters, options as in `vit_tiny`.

    >>> vit_base(10)
    vision_transformer(10, features=768, num_heads=12)
    """
    return vision_transformer(num_classes, features=768, num_heads=12, **options)


def vision_transformer(
    num_classes: int = 1000,
    *,
    patch: int = 16,
    features: int = 192,
    num_heads: int = 3,
    num_layers: int = 12,
    hidden_features: int | None = None,
    pool: Literal["token", "mean"] = "token",
    dropout: float = 0.0,
    drop_path: float = 0.0,
    epsilon: float = 1e-6,
    layout: str = "NHWC",
) -> nn.Layer:
    """A vision transformer of any size: images to logits (N, num_classes).

    Images are (N, H, W, C), or (N, C, H, W) with `layout="NCHW"`, of any number of channels and of
    sides that `patch` divides. Positions are learned for the image size given to `init`.
    `hidden_features` is by default 4 · features. `pool="token"` reads the logits from an additional
    token, `"mean"` from the mean of the patches. `drop_path` is the rate of the last layer, which
    rises evenly from 0 at the first. `epsilon` is that of the norms (1e-12 in transformers).
    Kernels, positions and the token start from a truncated normal distribution of deviation 0.02,
    biases at zero.

    Raises `ShapeError` when `patch` does not divide the image's sides.

        >>> from kinone import random
        >>> model = vision_transformer(10, patch=7, features=16, num_heads=2, num_layers=1)
        >>> params, state = model.init(random.key(0), (1, 28, 28, 1))
        >>> params["positions"]["embedding"].shape
        (17, 16)
        >>> model.apply(params, state, np.zeros((2, 28, 28, 1), np.float32))[0].shape
        (2, 10)
    """
    if pool not in ("token", "mean"):
        raise ValueError(f"pool={pool!r} is neither 'token' nor 'mean'")
    name = nn.layer.describe(
        "vision_transformer",
        num_classes,
        patch=(patch, 16),
        features=(features, 192),
        num_heads=(num_heads, 3),
        num_layers=(num_layers, 12),
        hidden_features=(hidden_features, None),
        pool=(pool, "token"),
        epsilon=(epsilon, 1e-6),
        layout=(layout, "NHWC"),
    )
    children = {
        "patches": _patches(features, patch, layout, name),
        **({"class_token": _class_token()} if pool == "token" else {}),
        "positions": nn.LearnedPositions(embedding_init=_START),
        "dropout": nn.Dropout(dropout),
        "encoder": nn.TransformerEncoder(
            num_layers,
            num_heads,
            4 * features if hidden_features is None else hidden_features,
            activation=ops.gelu,
            dropout=dropout,
            attention_dropout=0.0,
            drop_path=drop_path,
            norm_first=True,
            epsilon=epsilon,
            kernel_init=_START,
        ),
        "head": nn.Dense(num_classes, kernel_init=_START),
    }

    def forward(call: nn.Call, x: Array) -> Array:
        x = call("patches", x)
        if pool == "token":
            x = call("class_token", x)
        x = call("encoder", call("dropout", call("positions", x)))
        return call("head", x[:, 0] if pool == "token" else np.mean(x, axis=1))

    return nn.compose(children, forward, name)


def _patches(features: int, patch: int, layout: str, name: str) -> nn.Layer:
    """A vector for each patch, row by row: a convolution whose stride is its window."""
    conv = nn.Conv(
        features, (patch, patch), strides=patch, padding="VALID", layout=layout, kernel_init=_START
    )

    def flat(x: Array) -> Array:
        y = np.moveaxis(x, 1, -1) if layout == "NCHW" else x
        rows, height, width, _ = shape_of(y)
        return np.reshape(y, (rows, height * width, features))

    def forward(call: nn.Call, x: Array) -> Array:
        shape = shape_of(x)
        sides = shape[2:] if layout == "NCHW" else shape[1:-1]
        if len(shape) != 4 or any(side % patch for side in sides):
            raise shape_error(name, f"images of four axes, sides multiples of {patch}, wanted", x)
        return flat(call("conv", x))

    return nn.compose({"conv": conv}, forward, f"patches({patch})")


def _class_token(start: Initializer = _START) -> nn.Layer:
    """A learned vector before the first of each sequence."""

    def init(key: Key, x: ShapeDtype) -> tuple[nn.layer.Params, nn.layer.State]:
        dtype = nn.layer.parameter_dtype(x)
        return {"embedding": start(key["embedding"], (x.shape[-1],), dtype)}, {}

    def apply(
        params: nn.layer.Params, state: nn.layer.State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, nn.layer.State]:
        token = nn.layer.entry(params, "embedding", "class_token")
        rows = np.broadcast_to(token, (shape_of(x)[0], 1, shape_of(token)[0]))
        return np.concatenate([rows, x], axis=1), state

    return nn.Layer(init, apply, "class_token")
