"""Transformer layers: attention between moments, then the same small network at each of them.

With `norm_first` each part is x + part(norm(x)), which trains without a warm-up (Xiong et al. 2020,
arXiv:2002.04745); without it, as in the first paper and by default, norm(x + part(x)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import ops
from ..core import Array, ShapeDtype, shape_of
from ..random import Key
from . import repeat
from .activation import Activation
from .attention import MultiHeadAttention
from .combine import Call, Sequential, compose
from .dense import Dense
from .dropout import Dropout, DropPath
from .initializers import Initializer, glorot_uniform
from .layer import Layer, Params, State, describe
from .layer_norm import LayerNorm
from .named_inputs import named_inputs

_TARGETS = ("mask", "key_mask")
_MEMORY = ("memory", "memory_mask", "memory_key_mask")


def FeedForward(
    hidden_features: int,
    *,
    activation: Callable[[Array], Array] = ops.relu,
    dropout: float = 0.0,
    kernel_init: Initializer | None = None,
) -> Layer:
    """Two dense layers, which bring as many channels back as came: the same at every moment.

    y = dense2(activation(dense1(x))), (…, C) → (…, hidden_features) → (…, C). Dropout comes after
    each of the two. Kernels start `glorot_uniform`.

        >>> import numpy as np
        >>> from kinone import random, tree
        >>> params, state = FeedForward(32).init(random.key(0), (1, 5, 8))
        >>> tree.paths(params), params["dense2"]["kernel"].shape
        (['dense1/bias', 'dense1/kernel', 'dense2/bias', 'dense2/kernel'], (32, 8))
    """
    start = glorot_uniform() if kernel_init is None else kernel_init

    def inside(features: int) -> Layer:
        return Sequential(
            dense1=Dense(hidden_features, kernel_init=start),
            activation=Activation(activation),
            dropout1=Dropout(dropout),
            dense2=Dense(features, kernel_init=start),
            dropout2=Dropout(dropout),
        )

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        return inside(x.shape[-1]).init(key, x)

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        return inside(shape_of(x)[-1]).apply(params, state, x, train, key)

    return Layer(init, apply, describe("FeedForward", hidden_features, dropout=(dropout, 0.0)))


def TransformerEncoderLayer(
    num_heads: int,
    hidden_features: int,
    *,
    activation: Callable[[Array], Array] = ops.relu,
    dropout: float = 0.0,
    attention_dropout: float | None = None,
    drop_path: float = 0.0,
    norm_first: bool = False,
    causal: bool = False,
    epsilon: float = 1e-5,
    kv_heads: int | None = None,
    rotary: float | None = None,
    cache: int | None = None,
    kernel_init: Initializer | None = None,
) -> Layer:
    """Self-attention and a feed-forward network, each added to its input and normalised.

    (…, T, C) → (…, T, C). The input may be a dict of `x`, and of `mask` and `key_mask` as
    `MultiHeadAttention` has them, which also explains `kv_heads`, `rotary` and `cache`. `dropout`
    acts on what each part adds, inside the feed-forward network, and on the attention's weights
    unless `attention_dropout` says otherwise; `drop_path` leaves a part out of an example whole.
    Children are `attention`, `norm1`, `mlp` and `norm2`.

    Source: Vaswani et al. 2017, arXiv:1706.03762; PyTorch's layer of this name.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = TransformerEncoderLayer(2, 32, norm_first=True)
        >>> params, state = layer.init(random.key(0), (1, 5, 8))
        >>> x, key_mask = np.ones((2, 5, 8), np.float32), np.arange(5) < np.array([[5], [3]])
        >>> layer.apply(params, state, {"x": x, "key_mask": key_mask})[0].shape
        (2, 5, 8)
    """
    name = describe(
        "TransformerEncoderLayer",
        num_heads,
        hidden_features,
        dropout=(dropout, 0.0),
        drop_path=(drop_path, 0.0),
        norm_first=(norm_first, False),
        causal=(causal, False),
    )
    children = {
        "attention": MultiHeadAttention(
            num_heads,
            dropout=dropout if attention_dropout is None else attention_dropout,
            causal=causal,
            kv_heads=kv_heads,
            rotary=rotary,
            cache=cache,
            kernel_init=kernel_init,
        ),
        "mlp": FeedForward(
            hidden_features, activation=activation, dropout=dropout, kernel_init=kernel_init
        ),
        **_around(2, dropout, drop_path, epsilon),
    }

    def forward(call: Call, x: Any) -> Array:
        given = named_inputs(x, "x", _TARGETS, name)
        masks = {each: given[each] for each in _TARGETS if each in given}
        add = _adder(call, 2, norm_first)
        x = add(1, given["x"], lambda y: call("attention", {"query": y, **masks}))
        return add(2, x, lambda y: call("mlp", y))

    return compose(children, forward, name)


def TransformerDecoderLayer(
    num_heads: int,
    hidden_features: int,
    *,
    activation: Callable[[Array], Array] = ops.relu,
    dropout: float = 0.0,
    attention_dropout: float | None = None,
    drop_path: float = 0.0,
    norm_first: bool = False,
    causal: bool = True,
    epsilon: float = 1e-5,
    kv_heads: int | None = None,
    rotary: float | None = None,
    cache: int | None = None,
    kernel_init: Initializer | None = None,
) -> Layer:
    """An encoder layer that also attends to a memory, between its two parts.

    Takes a dict of `x` (…, T, C) and `memory` (…, M, D), and of `mask`, `key_mask` for the first
    attention and `memory_mask`, `memory_key_mask` for the second, to (…, T, C). The first attention
    is `causal` unless told otherwise. Options are those of `TransformerEncoderLayer`; children are
    `attention`, `norm1`, `cross_attention`, `norm2`, `mlp` and `norm3`.

    Raises `TreeError` without a memory.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = TransformerDecoderLayer(2, 32)
        >>> shapes = {"x": (1, 5, 8), "memory": (1, 9, 8)}
        >>> params, state = layer.init(random.key(0), shapes)
        >>> x, memory = np.ones((2, 5, 8), np.float32), np.ones((2, 9, 8), np.float32)
        >>> layer.apply(params, state, {"x": x, "memory": memory})[0].shape
        (2, 5, 8)
    """
    name = describe(
        "TransformerDecoderLayer",
        num_heads,
        hidden_features,
        dropout=(dropout, 0.0),
        drop_path=(drop_path, 0.0),
        norm_first=(norm_first, False),
        causal=(causal, True),
    )
    rate = dropout if attention_dropout is None else attention_dropout
    children = {
        "attention": MultiHeadAttention(
            num_heads,
            dropout=rate,
            causal=causal,
            kv_heads=kv_heads,
            rotary=rotary,
            cache=cache,
            kernel_init=kernel_init,
        ),
        "cross_attention": MultiHeadAttention(
            num_heads, dropout=rate, kv_heads=kv_heads, kernel_init=kernel_init
        ),
        "mlp": FeedForward(
            hidden_features, activation=activation, dropout=dropout, kernel_init=kernel_init
        ),
        **_around(3, dropout, drop_path, epsilon),
    }

    def forward(call: Call, x: Any) -> Array:
        given = named_inputs(x, "x", (*_TARGETS, *_MEMORY), name, required=("memory",))
        masks = {each: given[each] for each in _TARGETS if each in given}
        memory = {each.removeprefix("memory_"): given[each] for each in _MEMORY if each in given}
        add = _adder(call, 3, norm_first)
        x = add(1, given["x"], lambda y: call("attention", {"query": y, **masks}))
        x = add(2, x, lambda y: call("cross_attention", {"query": y, **memory}))
        return add(3, x, lambda y: call("mlp", y))

    return compose(children, forward, name)


def TransformerEncoder(
    num_layers: int,
    num_heads: int,
    hidden_features: int,
    *,
    norm_first: bool = False,
    final_norm: bool | None = None,
    epsilon: float = 1e-5,
    drop_path: float = 0.0,
    scanned: bool = False,
    **options: Any,
) -> Layer:
    """Encoder layers one after the other, all with the same masks, and a norm at the end.

    `options` are those of `TransformerEncoderLayer`. The final norm is there by default where the
    layers normalise first, and so hand on sums that nothing has normalised. `drop_path` is the rate
    of the last layer; it grows evenly from 0 at the first. Children are `layer0`, … and `norm`.
    With `scanned` the layers are one child, `layers`, that runs in a loop and compiles once, all
    with the same `drop_path`; each leaf then has a first axis of `num_layers`.

        >>> from kinone import random
        >>> model = TransformerEncoder(2, 4, 32, norm_first=True)
        >>> params, state = model.init(random.key(0), (1, 5, 8))
        >>> list(params)
        ['layer0', 'layer1', 'norm']
    """
    name = describe("TransformerEncoder", num_layers, num_heads, hidden_features)
    options |= {"norm_first": norm_first, "epsilon": epsilon}
    final = norm_first if final_norm is None else final_norm
    if scanned:
        layer = TransformerEncoderLayer(num_heads, hidden_features, drop_path=drop_path, **options)
        children = {"layers": repeat.scanned(_passing_masks(layer), num_layers)}
        return _stack(children, _TARGETS, final, epsilon, name)
    layers = {
        f"layer{i}": TransformerEncoderLayer(
            num_heads, hidden_features, drop_path=_rising(drop_path, i, num_layers), **options
        )
        for i in range(num_layers)
    }
    return _stack(layers, _TARGETS, final, epsilon, name)


def TransformerDecoder(
    num_layers: int,
    num_heads: int,
    hidden_features: int,
    *,
    norm_first: bool = False,
    final_norm: bool | None = None,
    epsilon: float = 1e-5,
    drop_path: float = 0.0,
    **options: Any,
) -> Layer:
    """Decoder layers one after the other, all with the same memory: as `TransformerEncoder`, with
    the inputs and the options of `TransformerDecoderLayer`.

        >>> from kinone import random
        >>> model = TransformerDecoder(2, 4, 32)
        >>> shapes = {"x": (1, 5, 8), "memory": (1, 9, 8)}
        >>> list(model.init(random.key(0), shapes)[0])
        ['layer0', 'layer1']
    """
    name = describe("TransformerDecoder", num_layers, num_heads, hidden_features)
    options |= {"norm_first": norm_first, "epsilon": epsilon}
    layers = {
        f"layer{i}": TransformerDecoderLayer(
            num_heads, hidden_features, drop_path=_rising(drop_path, i, num_layers), **options
        )
        for i in range(num_layers)
    }
    final = norm_first if final_norm is None else final_norm
    return _stack(layers, (*_TARGETS, *_MEMORY), final, epsilon, name)


def _stack(
    layers: Mapping[str, Layer],
    others: tuple[str, ...],
    final_norm: bool,
    epsilon: float,
    name: str,
) -> Layer:
    children = {**layers, **({"norm": LayerNorm(epsilon=epsilon)} if final_norm else {})}

    def forward(call: Call, x: Any) -> Array:
        given = named_inputs(x, "x", others, name)
        for each in layers:
            y = call(each, given)
            given["x"] = y["x"] if isinstance(y, Mapping) else y
        return call("norm", given["x"]) if final_norm else given["x"]

    return compose(children, forward, name)


def _passing_masks(layer: Layer) -> Layer:
    """The layer as a loop wants it: what comes out is like what came in, masks and all."""

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        y, state = layer.apply(params, state, x, train, key)
        return {**x, "x": y}, state

    return Layer(layer.init, apply, layer.name)


def _rising(rate: float, number: int, count: int) -> float:
    return rate * number / max(count - 1, 1)


def _around(parts: int, dropout: float, drop_path: float, epsilon: float) -> dict[str, Layer]:
    """What stands round each part: a norm, and what leaves out some of it in training."""
    children: dict[str, Layer] = {}
    for i in range(1, parts + 1):
        children[f"norm{i}"] = LayerNorm(epsilon=epsilon)
        children[f"drop_path{i}"] = DropPath(drop_path)
        if i < parts:  # the feed-forward network, the last, has a dropout at its own end
            children[f"dropout{i}"] = Dropout(dropout)
    return children


def _adder(
    call: Call, parts: int, norm_first: bool
) -> Callable[[int, Array, Callable[[Array], Array]], Array]:
    """Adds the i-th part of a layer to its input, normalised before or after."""

    def add(i: int, x: Array, part: Callable[[Array], Array]) -> Array:
        y = part(call(f"norm{i}", x) if norm_first else x)
        if i < parts:
            y = call(f"dropout{i}", y)
        x = x + call(f"drop_path{i}", y)
        return x if norm_first else call(f"norm{i}", x)

    return add
