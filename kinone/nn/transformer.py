"""Transformer layers: attention between moments, then the same small network at each of them.

With `norm_first` each part is x + part(norm(x)), which trains without a warm-up (Xiong et al. 2020,
arXiv:2002.04745); without it, as in the first paper and by default, norm(x + part(x)).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

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
from .layer import Layer, Params, State, describe, frame, whole_number
from .layer_norm import LayerNorm
from .named_inputs import named_inputs

_TARGETS = ("mask", "key_mask")
_MEMORY = ("memory", "memory_mask", "memory_key_mask")


class TransformerOptions(TypedDict, total=False):
    """What all layers of transformers take; `TransformerEncoderLayer` says what it means."""

    activation: Callable[[Array], Array]
    dropout: float
    attention_dropout: float | None
    norm_first: bool
    use_bias: bool
    epsilon: float
    kv_heads: int | None
    rotary: float | None
    cache: int | None
    kernel_init: Initializer | None


def FeedForward(
    hidden_features: int,
    *,
    activation: Callable[[Array], Array] = ops.relu,
    dropout: float = 0.0,
    use_bias: bool = True,
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
    name = describe(
        "FeedForward", hidden_features, dropout=(dropout, 0.0), use_bias=(use_bias, True)
    )

    def inside(features: int) -> Layer:
        return Sequential(
            dense1=Dense(hidden_features, use_bias=use_bias, kernel_init=start),
            activation=Activation(activation),
            dropout1=Dropout(dropout),
            dense2=Dense(features, use_bias=use_bias, kernel_init=start),
            dropout2=Dropout(dropout),
        )

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        return inside(x.shape[-1]).init(key, x)

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        return inside(shape_of(x)[-1]).apply(params, state, x, train, key)

    return frame(init, apply, name)


def TransformerEncoderLayer(
    num_heads: int,
    hidden_features: int,
    *,
    causal: bool = False,
    drop_path: float = 0.0,
    **options: Unpack[TransformerOptions],
) -> Layer:
    """Self-attention and a feed-forward network, each added to its input and normalised.

    (…, T, C) → (…, T, C). The input may be a dict of `x`, and of `mask` and `key_mask` as
    `MultiHeadAttention` has them. Children are `attention`, `norm1`, `mlp` and `norm2`.

    | option                        | default    | meaning                                         |
    |-------------------------------|------------|-------------------------------------------------|
    | `activation`                  | `ops.relu` | of the feed-forward network                     |
    | `dropout`                     | 0          | share dropped of what each part adds, inside    |
    |                               |            | the network, and of the attention's weights     |
    | `attention_dropout`           | `dropout`  | share of the attention's weights, if another    |
    | `drop_path`                   | 0          | share of the examples that skip a part whole    |
    | `norm_first`                  | False      | normalise before each part, not after the sum   |
    | `use_bias`                    | True       | biases, in the norms too                        |
    | `epsilon`                     | 1e-5       | of the norms                                    |
    | `kv_heads`, `rotary`, `cache` | None       | those of `MultiHeadAttention`, as is `causal`   |
    | `kernel_init`                 | glorot     | where all kernels start                         |

    Source: Vaswani et al. 2017, arXiv:1706.03762; PyTorch's layer of this name.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = TransformerEncoderLayer(2, 32, norm_first=True)
        >>> params, state = layer.init(random.key(0), (1, 5, 8))
        >>> x, key_mask = np.ones((2, 5, 8), np.float32), np.arange(5) < np.array([[5], [3]])
        >>> layer.apply(params, state, {"x": x, "key_mask": key_mask})[0].shape
        (2, 5, 8)
    """
    name = _name("TransformerEncoderLayer", (num_heads, hidden_features), options)
    return _layer(name, num_heads, hidden_features, False, causal, drop_path, **options)


def TransformerDecoderLayer(
    num_heads: int,
    hidden_features: int,
    *,
    causal: bool = True,
    drop_path: float = 0.0,
    **options: Unpack[TransformerOptions],
) -> Layer:
    """An encoder layer that also attends to a memory, between its two parts.

    Takes a dict of `x` (…, T, C) and `memory` (…, M, D), and of `mask`, `key_mask` for the first
    attention and `memory_mask`, `memory_key_mask` for the second, to (…, T, C). The first attention
    is `causal` unless told otherwise. Options are those of `TransformerEncoderLayer`; children are
    `attention`, `norm1`, `cross_attention`, `norm2`, `mlp` and `norm3`.

    With a `cache` the memory's keys and values are kept in the state too: pass the memory in the
    first call and leave it away in those that go on. Its masks belong to every call.

    Raises `TreeError` where a memory is missing.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = TransformerDecoderLayer(2, 32)
        >>> shapes = {"x": (1, 5, 8), "memory": (1, 9, 8)}
        >>> params, state = layer.init(random.key(0), shapes)
        >>> x, memory = np.ones((2, 5, 8), np.float32), np.ones((2, 9, 8), np.float32)
        >>> layer.apply(params, state, {"x": x, "memory": memory})[0].shape
        (2, 5, 8)
    """
    name = _name("TransformerDecoderLayer", (num_heads, hidden_features), options)
    return _layer(name, num_heads, hidden_features, True, causal, drop_path, **options)


def TransformerEncoder(
    num_layers: int,
    num_heads: int,
    hidden_features: int,
    *,
    final_norm: bool | None = None,
    causal: bool = False,
    drop_path: float = 0.0,
    scanned: bool = False,
    **options: Unpack[TransformerOptions],
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
    name = _name(
        "TransformerEncoder",
        (num_layers, num_heads, hidden_features),
        options,
        causal=(causal, False),
        drop_path=(drop_path, 0.0),
        scanned=(scanned, False),
    )
    layer = functools.partial(TransformerEncoderLayer, num_heads, hidden_features, causal=causal)
    return _stack(name, layer, _TARGETS, num_layers, final_norm, drop_path, scanned, options)


def TransformerDecoder(
    num_layers: int,
    num_heads: int,
    hidden_features: int,
    *,
    final_norm: bool | None = None,
    causal: bool = True,
    drop_path: float = 0.0,
    scanned: bool = False,
    **options: Unpack[TransformerOptions],
) -> Layer:
    """Decoder layers one after the other, all with the same memory: as `TransformerEncoder`, with
    the inputs of `TransformerDecoderLayer`.

    Writing a text step by step reads the memory once:

        >>> import numpy as np
        >>> from kinone import random
        >>> model = TransformerDecoder(2, 4, 32, cache=10)
        >>> x, memory = np.ones((1, 1, 8), np.float32), np.ones((1, 9, 8), np.float32)
        >>> params, state = model.init(random.key(0), {"x": x, "memory": memory})
        >>> y, state = model.apply(params, state, {"x": x, "memory": memory})
        >>> for _ in range(9):
        ...     y, state = model.apply(params, state, y)
        >>> y.shape
        (1, 1, 8)
    """
    name = _name(
        "TransformerDecoder",
        (num_layers, num_heads, hidden_features),
        options,
        causal=(causal, True),
        drop_path=(drop_path, 0.0),
        scanned=(scanned, False),
    )
    layer = functools.partial(TransformerDecoderLayer, num_heads, hidden_features, causal=causal)
    others = (*_TARGETS, *_MEMORY)
    return _stack(name, layer, others, num_layers, final_norm, drop_path, scanned, options)


def _name(
    kind: str, numbers: tuple[int, ...], options: TransformerOptions, **own: tuple[Any, Any]
) -> str:
    given = {each: (value, None) for each, value in options.items() if not callable(value)}
    return describe(kind, *numbers, **own, **given)


def _layer(
    name: str,
    num_heads: int,
    hidden_features: int,
    reads_memory: bool,
    causal: bool,
    drop_path: float,
    *,
    activation: Callable[[Array], Array] = ops.relu,
    dropout: float = 0.0,
    attention_dropout: float | None = None,
    norm_first: bool = False,
    use_bias: bool = True,
    epsilon: float = 1e-5,
    kv_heads: int | None = None,
    rotary: float | None = None,
    cache: int | None = None,
    kernel_init: Initializer | None = None,
) -> Layer:
    attention = functools.partial(
        MultiHeadAttention,
        num_heads,
        kv_heads=kv_heads,
        use_bias=use_bias,
        dropout=dropout if attention_dropout is None else attention_dropout,
        kernel_init=kernel_init,
    )
    children = {"attention": attention(causal=causal, rotary=rotary, cache=cache)}
    if reads_memory:
        children["cross_attention"] = attention(keep_memory=cache is not None)
    children["mlp"] = FeedForward(
        hidden_features,
        activation=activation,
        dropout=dropout,
        use_bias=use_bias,
        kernel_init=kernel_init,
    )
    last = len(children)
    for i in range(1, last + 1):
        children[f"norm{i}"] = LayerNorm(epsilon=epsilon, use_bias=use_bias)
        children[f"drop_path{i}"] = DropPath(drop_path)
        if i < last:  # the feed-forward network has a dropout at its own end
            children[f"dropout{i}"] = Dropout(dropout)
    others = (*_TARGETS, *_MEMORY) if reads_memory else _TARGETS
    required = ("memory",) if reads_memory and cache is None else ()

    def forward(call: Call, x: Any) -> Array:
        given = named_inputs(x, "x", others, name, required)
        masks = {each: given[each] for each in _TARGETS if each in given}
        memory = {each.removeprefix("memory_"): given[each] for each in _MEMORY if each in given}

        def add(i: int, x: Array, part: Callable[[Array], Array]) -> Array:
            y = part(call(f"norm{i}", x) if norm_first else x)
            if i < last:
                y = call(f"dropout{i}", y)
            x = x + call(f"drop_path{i}", y)
            return x if norm_first else call(f"norm{i}", x)

        x = add(1, given["x"], lambda y: call("attention", {"query": y, **masks}))
        if reads_memory:
            x = add(2, x, lambda y: call("cross_attention", {"query": y, **memory}))
        return add(last, x, lambda y: call("mlp", y))

    return compose(children, forward, name)


def _stack(
    name: str,
    layer: Callable[..., Layer],
    others: tuple[str, ...],
    num_layers: int,
    final_norm: bool | None,
    drop_path: float,
    scanned: bool,
    options: TransformerOptions,
) -> Layer:
    num_layers = whole_number(num_layers, "num_layers")
    if scanned:
        children = {"layers": _looped(layer(drop_path=drop_path, **options), num_layers)}
    else:
        rates = [drop_path * i / max(num_layers - 1, 1) for i in range(num_layers)]
        children = {f"layer{i}": layer(drop_path=rate, **options) for i, rate in enumerate(rates)}
    layers = list(children)
    final = options.get("norm_first", False) if final_norm is None else final_norm
    if final:
        children["norm"] = LayerNorm(
            epsilon=options.get("epsilon", 1e-5), use_bias=options.get("use_bias", True)
        )

    def forward(call: Call, x: Any) -> Array:
        given = named_inputs(x, "x", others, name)
        for each in layers:
            given["x"] = call(each, given)
        return call("norm", given["x"]) if final else given["x"]

    return compose(children, forward, name)


def _looped(layer: Layer, count: int) -> Layer:
    """Copies of a layer in a loop that carries `x` alone: masks and memory are the same for all."""

    def passing(params: Params, state: State, x: Any, train: bool, key: Key | None) -> Any:
        y, state = layer.apply(params, state, x, train, key)
        return {**x, "x": y}, state

    loop = repeat.scanned(frame(layer.init, passing, layer.name), count)

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        def one(params: Params, state: State, y: Any, train: bool, key: Key | None) -> Any:
            return layer.apply(params, state, {**x, "x": y}, train, key)

        looped = repeat.scanned(frame(layer.init, one, layer.name), count)
        return looped.apply(params, state, x["x"], train, key)

    return frame(loop.init, apply, loop.name)
