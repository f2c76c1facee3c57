"""Residual networks: each block adds to its input what it has learned to add.

    block(x) = relu(x + f(x)),   f = conv · norm · relu · conv · norm

The sum lets gradients through unchanged, so that a hundred layers train as easily as ten. From one
stage to the next the image's sides halve and the channels double.

Sources: He et al. 2015, arXiv:1512.03385. The stride is on the 3×3 convolution of a bottleneck, and
padding is explicit, as in torchvision, so that trained weights carry over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypedDict, Unpack

import numpy as np

from .. import nn, ops
from ..core import Array, shape_of
from ..nn.initializers import Initializer, ones, variance_scaling, zeros
from ..ops.spatial import channels_first
from .weights_names import Dialects

Stem = Literal["imagenet", "small"]
Shortcut = Literal["A", "B"]


class SharedOptions(TypedDict, total=False):
    """What all named networks let one choose; `residual_network` says what each is."""

    width: int
    activation: Callable[[Array], Array]
    zero_init_last: bool
    layout: str


class ResNetOptions(SharedOptions, total=False):
    """The options of `resnet18` to `resnet152`."""

    stem: Stem
    groups: int
    width_per_group: int


# The blocks of torchvision and timm, and of Y. Idelbayev's and K. Liu's networks for CIFAR-10.
_SHARED_NAMES = {
    "stem/conv": "conv1",
    "stem/bn": "bn1",
    "stage*/block*/conv*": "layer*.*.conv*",
    "stage*/block*/bn*": "layer*.*.bn*",
}
_BLOCK = {  # in transformers, which counts stages and layers from 0
    "shortcut/conv": "shortcut.convolution",
    "shortcut/bn": "shortcut.normalization",
    **{f"conv{i + 1}": f"layer.{i}.convolution" for i in range(3)},
    **{f"bn{i + 1}": f"layer.{i}.normalization" for i in range(3)},
}
NAMES: Dialects = {
    "torchvision": {
        **_SHARED_NAMES,
        "stage*/block*/shortcut/conv": "layer*.*.downsample.0",
        "stage*/block*/shortcut/bn": "layer*.*.downsample.1",
        "head": "fc",
    },
    "cifar": {
        **_SHARED_NAMES,
        "stage*/block*/shortcut/conv": "layer*.*.shortcut.0",
        "stage*/block*/shortcut/bn": "layer*.*.shortcut.1",
        "head": "linear",
    },
    "transformers": {
        "stem/conv": "resnet.embedder.embedder.convolution",
        "stem/bn": "resnet.embedder.embedder.normalization",
        **{
            f"stage{i + 1}/block*/{ours}": f"resnet.encoder.stages.{i}.layers.*.{theirs}"
            for i in range(4)
            for ours, theirs in _BLOCK.items()
        },
        "head": "classifier.1",
    },
}

# As in torchvision: variance 2 / fan_out, which keeps the size of the gradients.
_KERNEL_INIT = variance_scaling(2.0, "fan_out", "normal")


def resnet18(num_classes: int = 1000, **options: Unpack[ResNetOptions]) -> nn.Layer:
    """ResNet-18: images (N, H, W, C) to logits (N, num_classes); 11,689,512 parameters.

    `residual_network` explains the options.

        >>> from kinone import random, tree
        >>> model = resnet18(10, stem="small", width=8)
        >>> params, state = model.init(random.key(0), (1, 28, 28, 1))
        >>> tree.size(params)
        176258
        >>> params["stage1"]["block0"]["conv1"]["kernel"].shape
        (3, 3, 8, 8)
    """
    return residual_network((2, 2, 2, 2), num_classes, **options)


def resnet34(num_classes: int = 1000, **options: Unpack[ResNetOptions]) -> nn.Layer:
    """ResNet-34: as `resnet18`, with 16 blocks in place of 8; 21,797,672 parameters.

    >>> resnet34(10)
    residual_network((3, 4, 6, 3), 10)
    """
    return residual_network((3, 4, 6, 3), num_classes, **options)


def resnet50(num_classes: int = 1000, **options: Unpack[ResNetOptions]) -> nn.Layer:
    """ResNet-50: 16 bottleneck blocks; 25,557,032 parameters, options as in `resnet18`.

    >>> resnet50(10, groups=32, width_per_group=4)  # ResNeXt-50 32x4d
    residual_network((3, 4, 6, 3), 10, bottleneck=True, groups=32, width_per_group=4)
    """
    return residual_network((3, 4, 6, 3), num_classes, bottleneck=True, **options)


def resnet101(num_classes: int = 1000, **options: Unpack[ResNetOptions]) -> nn.Layer:
    """ResNet-101: 33 bottleneck blocks; 44,549,160 parameters, options as in `resnet18`.

    >>> resnet101(10)
    residual_network((3, 4, 23, 3), 10, bottleneck=True)
    """
    return residual_network((3, 4, 23, 3), num_classes, bottleneck=True, **options)


def resnet152(num_classes: int = 1000, **options: Unpack[ResNetOptions]) -> nn.Layer:
    """ResNet-152: 50 bottleneck blocks; 60,192,808 parameters, options as in `resnet18`.

    >>> resnet152(10)
    residual_network((3, 8, 36, 3), 10, bottleneck=True)
    """
    return residual_network((3, 8, 36, 3), num_classes, bottleneck=True, **options)


def residual_network(
    blocks: Sequence[int],
    num_classes: int = 1000,
    *,
    bottleneck: bool = False,
    stem: Stem = "imagenet",
    shortcut: Shortcut = "B",
    width: int = 64,
    groups: int = 1,
    width_per_group: int = 64,
    activation: Callable[[Array], Array] = ops.relu,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """A residual network with `blocks[i]` blocks in stage i: `(2, 2, 2, 2)` is ResNet-18.

    Images are (N, H, W, C), or (N, C, H, W) with `layout="NCHW"`; the result is (N, num_classes)
    logits. The stages have `width`, 2 `width`, 4 `width`, … channels, with `bottleneck` four times
    as many. `stem="imagenet"` begins with a 7×7 convolution and a max pool, which make the sides
    a quarter; `stem="small"`, for images of less than about 64, with a 3×3 convolution alone.

    Where a block changes the shape, its input is converted: by a 1×1 convolution and a norm with
    `shortcut="B"`; with "A" without parameters, by every second pixel and channels of zeros on
    both sides, as the paper does for CIFAR-10.

    Bottlenecks may have a 3×3 convolution in `groups` (ResNeXt, Xie et al. 2016, arXiv:1611.05431)
    or more of its channels (Zagoruyko & Komodakis 2016, arXiv:1605.07146): `width_per_group` / 64
    times as many, times `groups`. `activation` is the one function between all layers.

    Convolutions start from normal numbers of variance 2 / fan_out, the head from `lecun_normal()`
    and zero. `zero_init_last` makes every block start as the identity, which helps large batches
    and rates (Goyal et al. 2017, arXiv:1706.02677).

        >>> residual_network((1, 1), 10, stem="small")
        residual_network((1, 1), 10, stem='small')

    Raises `ValueError` for a stem or shortcut that is none of these, for a stage without blocks or
    channels, and for groups without bottlenecks.
    """
    name = nn.layer.describe(
        "residual_network",
        tuple(blocks),
        num_classes,
        bottleneck=(bottleneck, False),
        stem=(stem, "imagenet"),
        shortcut=(shortcut, "B"),
        width=(width, 64),
        groups=(groups, 1),
        width_per_group=(width_per_group, 64),
        layout=(layout, "NHWC"),
    )
    if stem not in ("imagenet", "small"):
        raise ValueError(f"stem={stem!r} is neither 'imagenet' nor 'small'")
    if shortcut not in ("A", "B"):
        raise ValueError(f"shortcut={shortcut!r} is neither 'A' nor 'B'")
    if not blocks or min(blocks) < 1:
        raise ValueError(f"{name}: every stage wants a block or more")
    if not bottleneck and (groups, width_per_group) != (1, 64):
        raise ValueError(f"{name}: only bottlenecks have groups and width_per_group")
    if width * width_per_group < 64:
        raise ValueError(f"{name}: this width leaves a convolution without a channel")
    stages: dict[str, nn.Layer] = {}
    channels = width  # that a block gets
    for i, count in enumerate(blocks):
        planes = width * 2**i
        inner = planes * width_per_group // 64 * groups
        members: dict[str, nn.Layer] = {}
        for j in range(count):
            stride = 2 if i and not j else 1
            convolutions = (
                [(inner, 1, 1, 1), (inner, 3, stride, groups), (4 * planes, 1, 1, 1)]
                if bottleneck
                else [(planes, 3, stride, 1), (planes, 3, 1, 1)]
            )
            out = convolutions[-1][0]
            members[f"block{j}"] = _block(
                [_conv(*convolution, layout=layout) for convolution in convolutions],
                _shortcut(shortcut, channels, out, stride, layout),
                f"{'bottleneck' if bottleneck else 'block'}({planes})",
                activation=activation,
                last_scale=zeros if zero_init_last else ones,
                layout=layout,
            )
            channels = out
        stages[f"stage{i + 1}"] = nn.Sequential(**members)
    children = {
        "stem": _stem(stem, width, activation, layout),
        **stages,
        "pool": nn.GlobalAvgPool(layout=layout),
        "head": nn.Dense(num_classes),
    }

    def forward(call: nn.Call, x: Array) -> Array:
        for child in children:
            x = call(child, x)
        return x

    return nn.compose(children, forward, name)


def _stem(kind: Stem, width: int, activation: Callable[[Array], Array], layout: str) -> nn.Layer:
    small = kind == "small"
    layers = {
        "conv": _conv(width, 3, 1, layout=layout) if small else _conv(width, 7, 2, layout=layout),
        "bn": nn.BatchNorm(layout=layout),
        "activation": nn.Activation(activation),
    }
    if not small:
        layers["pool"] = nn.MaxPool((3, 3), strides=2, padding=1, layout=layout)
    return nn.Sequential(**layers)


def _block(
    convolutions: Sequence[nn.Layer],
    shortcut: nn.Layer | None,
    name: str,
    *,
    activation: Callable[[Array], Array],
    last_scale: Initializer,
    layout: str,
) -> nn.Layer:
    """activation(x + f(x)), where f is convolutions, each with a norm, and activations between."""
    count = len(convolutions)
    children: dict[str, nn.Layer] = {}
    for i, convolution in enumerate(convolutions, 1):
        children[f"conv{i}"] = convolution
        children[f"bn{i}"] = nn.BatchNorm(
            layout=layout, scale_init=last_scale if i == count else ones
        )
    if shortcut is not None:
        children["shortcut"] = shortcut

    def forward(call: nn.Call, x: Array) -> Array:
        y = x
        for i in range(1, count + 1):
            y = call(f"bn{i}", call(f"conv{i}", y))
            y = activation(y) if i < count else y
        return activation(y + (x if shortcut is None else call("shortcut", x)))

    return nn.compose(children, forward, name)


def _shortcut(kind: Shortcut, channels: int, out: int, stride: int, layout: str) -> nn.Layer | None:
    """Converts a block's input to the shape of its result, where these differ."""
    if stride == 1 and channels == out:
        return None
    if kind == "B":
        return nn.Sequential(
            conv=_conv(out, 1, stride, layout=layout), bn=nn.BatchNorm(layout=layout)
        )
    first = channels_first(layout)
    low = (out - channels) // 2

    def convert(x: Array) -> Array:
        pads = [(0, 0)] * len(shape_of(x))
        pads[1 if first else -1] = (low, out - channels - low)
        every = slice(None, None, stride)
        return np.pad(x[:, :, every, every] if first else x[:, every, every], pads)

    return nn.layer.stateless(convert, f"pad({channels}, {out})")


def _conv(features: int, size: int, stride: int, groups: int = 1, *, layout: str) -> nn.Layer:
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=size // 2,
        groups=groups,
        use_bias=False,
        layout=layout,
        kernel_init=_KERNEL_INIT,
    )
