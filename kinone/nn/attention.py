"""Attention: every query takes an average of values, weighed by how well their keys fit it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops, source
from ..core import Array, ShapeDtype, shape_dtype, shape_error, shape_of
from ..errors import TreeError
from ..random import Key
from .dense import Dense
from .dropout import Dropout
from .initializers import Initializer, glorot_uniform, zeros
from .layer import Layer, Params, State, describe, entry, parameter_dtype, whole_number
from .named_inputs import check_boolean, named_inputs
from .positional import places, rotate

_INPUTS = ("memory", "value", "mask", "key_mask", "bias")


def dot_product_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
    *,
    bias: Array | None = None,
    dropout: float = 0.0,
    key: Key | None = None,
) -> Array:
    """softmax(q @ kᵀ · scale + bias) @ v: averages of the values, for each query its own.

    `q` (…, heads, Tq, D), `k` (…, heads, Tk, D) and `v` (…, heads, Tk, E) to (…, heads, Tq, E), as
    in PyTorch's `scaled_dot_product_attention`; `scale` is 1 / √D when None. With fewer heads in
    `k` and `v` than in `q`, neighbouring queries' heads share one (grouped queries, Ainslie et al.
    2023, arXiv:2305.13245).

    `mask` is boolean and broadcasts to (…, heads, Tq, Tk): True where a query may attend to a key;
    `bias`, of the same shape, is added to the scores. `causal` hides from query i the keys after
    the i-th. A query that may attend to no key gets zeros. With `dropout` and a `key`, that share
    of the weights is dropped.

    Raises `ShapeError` when the shapes do not fit, `TypeError` for a mask of numbers.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

        >>> q, k = np.array([[1.0, 0.0]]), np.array([[9.0, 0.0], [0.0, 9.0]])
        >>> dot_product_attention(q, k, np.array([[1.0], [2.0]]), scale=1.0).round(3)
        array([[1.]])
        >>> dot_product_attention(q, k, np.array([[1.0], [2.0]]), np.array([False, True]))
        array([[2.]])
    """
    weights = attention_weights(q, k, mask, causal, scale, bias=bias)
    return _averages(weights, k, v, dropout, key)


def attention_weights(
    q: Array,
    k: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
    *,
    bias: Array | None = None,
) -> Array:
    """softmax(q @ kᵀ · scale + bias): how much each query takes of each key's value.

    (…, heads, Tq, D) and (…, heads, Tk, D) to (…, heads, Tq, Tk); each row adds up to one, or is
    zero where the query may attend to no key. The arguments are those of `dot_product_attention`.

        >>> attention_weights(np.zeros((1, 2)), np.zeros((3, 2)), np.array([True, True, False]))
        array([[0.5, 0.5, 0. ]])
    """
    name = "dot_product_attention"
    q_shape, k_shape = shape_of(q), shape_of(k)
    if min(len(q_shape), len(k_shape)) < 2 or q_shape[-1] != k_shape[-1]:
        raise shape_error(name, "q is (…, Tq, D) and k (…, Tk, D), and these do not fit", q, k)
    k = _share_heads(name, q, k)
    scale = 1 / math.sqrt(max(q_shape[-1], 1)) if scale is None else scale
    scores = ops.matmul(q * scale, np.swapaxes(k, -1, -2))
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        check_boolean(mask, "mask", name, "a query may attend to a key")
    if causal:
        before = np.tri(q_shape[-2], k_shape[-2], dtype=np.bool_)
        mask = before if mask is None else np.logical_and(mask, before)
    if mask is None:
        return ops.softmax(scores)
    _check_broadcast(name, mask, scores)
    # The most negative finite number, not -inf: in a row that is hidden whole, the softmax's
    # largest number is subtracted from itself, and inf - inf would be NaN in the gradient too.
    low = np.finfo(shape_dtype(scores).dtype).min
    return np.where(mask, ops.softmax(np.where(mask, scores, low)), 0)


def _averages(weights: Array, k: Array, v: Array, dropout: float, key: Key | None) -> Array:
    name = "dot_product_attention"
    if shape_of(v)[-2:-1] != shape_of(k)[-2:-1]:
        raise shape_error(name, "k is (…, Tk, D) and v (…, Tk, E), and these do not fit", k, v)
    if dropout:
        weights = Dropout(dropout).apply({}, {}, weights, True, key)[0]
    return ops.matmul(weights, _share_heads(name, weights, v))


def _share_heads(name: str, q: Array, k: Array) -> Array:
    if len(shape_of(q)) < 3 or len(shape_of(k)) < 3 or shape_of(q)[-3] == shape_of(k)[-3]:
        return k
    heads, groups = shape_of(q)[-3], shape_of(k)[-3]
    if groups == 1:
        return k  # it broadcasts
    if groups == 0 or heads % groups:
        raise shape_error(name, f"{heads} heads of queries cannot share {groups} of keys", q, k)
    return np.repeat(k, heads // groups, axis=-3)


def _check_broadcast(name: str, mask: Array, scores: Array) -> None:
    shape, wanted = shape_of(mask), shape_of(scores)
    trailing = wanted[len(wanted) - len(shape) :] if len(shape) <= len(wanted) else None
    if trailing is None or any(a not in (1, b) for a, b in zip(shape, trailing, strict=True)):
        raise shape_error(name, f"the mask does not broadcast to the scores, {wanted}", mask)


def MultiHeadAttention(
    num_heads: int,
    features: int | None = None,
    *,
    head_dim: int | None = None,
    kv_heads: int | None = None,
    use_bias: bool = True,
    dropout: float = 0.0,
    causal: bool = False,
    rotary: float | None = None,
    cache: int | None = None,
    keep_memory: bool = False,
    return_weights: bool = False,
    kernel_init: Initializer | None = None,
    bias_init: Initializer = zeros,
) -> Layer:
    """Several attentions side by side, each on its own projection of queries, keys and values.

        y = concatenate(attention(q @ query_i, m @ key_i, m @ value_i) for i in heads) @ out

    A lone array (…, T, C) attends to itself; a dict may have:

    | name       | shape                | meaning                                                 |
    |------------|----------------------|---------------------------------------------------------|
    | `query`    | (…, Tq, C)           | who asks                                                |
    | `memory`   | (…, Tk, M)           | who answers, keys and values; the queries themselves    |
    | `value`    | (…, Tk, V)           | where the values come from; the memory                  |
    | `mask`     | to (…, heads, Tq, Tk) | boolean, True where a query may attend to a key        |
    | `key_mask` | (…, Tk)              | boolean, True for a key and False for padding           |
    | `bias`     | to (…, heads, Tq, Tk) | added to the scores                                    |

    The output is (…, Tq, features), by default as many as the queries have; `head_dim` is by
    default C / num_heads. A query that may attend to nothing takes zeros from every head. Children
    are `query`, `key`, `value` and `out`, each a `Dense`; kernels start `glorot_uniform`, biases
    at zero. `kv_heads` gives groups of heads the same keys and values. `rotary` turns queries and
    keys by their positions (`rotate`), with this base, usually 10000. `dropout` drops weights.
    With `return_weights` the output is `{"y": …, "weights": …}`, the weights (…, heads, Tq, Tk) of
    each head, before dropout. (PyTorch's `add_bias_kv` and `add_zero_attn` have no counterpart.)

    `cache=length` is for writing a sequence piece by piece. The state then has the keys and values
    of the `index` positions that were read, and a call without `train` continues after them:
    applied to one step at a time, to pieces or to all at once, the layer gives the same outputs.
    Such a layer is `causal`, and an input beyond `length` raises `IndexError`. `init` gives an
    empty cache, for as many examples as the shape it gets. With `keep_memory` it is the memory's
    keys and values that stay in the state: a call with a `memory` computes them, a call without
    one (and without `train`) attends to the last that there was.

    Raises `ShapeError` when shapes do not fit, `TypeError` for a mask of numbers, `TreeError` where
    a memory is missing.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

        >>> from kinone import random
        >>> layer = MultiHeadAttention(2)
        >>> params, state = layer.init(random.key(0), (1, 5, 8))
        >>> x, memory = np.ones((1, 5, 8), np.float32), np.ones((1, 7, 8), np.float32)
        >>> layer.apply(params, state, {"query": x, "memory": memory})[0].shape
        (1, 5, 8)
    """
    num_heads = whole_number(num_heads, "num_heads")
    groups = num_heads if kv_heads is None else whole_number(kv_heads, "kv_heads")
    cache = None if cache is None else whole_number(cache, "cache")
    name = describe(
        "MultiHeadAttention",
        num_heads,
        *(() if features is None else (features,)),
        head_dim=(head_dim, None),
        kv_heads=(kv_heads, None),
        use_bias=(use_bias, True),
        dropout=(dropout, 0.0),
        causal=(causal, False),
        rotary=(rotary, None),
        cache=(cache, None),
        keep_memory=(keep_memory, False),
        return_weights=(return_weights, False),
    )
    if num_heads % groups:
        raise ValueError(
            f"{name}: {num_heads} heads cannot share {groups} heads of keys, at {source.here()}"
        )
    if cache is not None and not causal:
        raise ValueError(
            f"{name}: what is read piece by piece cannot attend to what comes later\n"
            "  Write causal=True beside cache."
        )
    if cache is not None and keep_memory:
        raise ValueError(
            f"{name}: cache is for what attends to itself, keep_memory for the others, "
            f"at {source.here()}"
        )
    Dropout(dropout)  # which says what is wrong with a rate
    start = glorot_uniform() if kernel_init is None else kernel_init

    def child(width: int) -> Layer:
        return Dense(width, use_bias=use_bias, kernel_init=start, bias_init=bias_init)

    def parts(x: Any, remembers: bool) -> dict[str, Any]:
        wanted = ("memory",) if keep_memory and not remembers else ()
        given = named_inputs(x, "query", _INPUTS, name, wanted)
        if not keep_memory:
            given.setdefault("memory", given["query"])
        if "memory" in given:
            given.setdefault("value", given["memory"])
        elif "value" in given:
            raise TreeError(f"{name} got values without a memory, at {source.here()}")
        for each in given.keys() & {"query", "memory", "value"}:
            if len(shape_of(given[each])) < 2:
                raise shape_error(name, f"{each} is (…, moments, channels)", given[each])
        if cache is not None and not given["query"] is given["memory"] is given["value"]:
            raise TreeError(
                f"{name} keeps what it has read, and takes no memory, at {source.here()}"
            )
        return given

    def init(key: Key, x: Any) -> tuple[Params, State]:
        given = parts(x, remembers=False)
        query, memory = given["query"], given["memory"]
        width = query.shape[-1] // num_heads if head_dim is None else head_dim
        if head_dim is None and query.shape[-1] % num_heads:
            raise shape_error(
                name, f"{query.shape[-1]} channels cannot be shared by {num_heads} heads", query
            )
        inside = ShapeDtype((*query.shape[:-1], num_heads * width), parameter_dtype(query))
        params = {
            each: child(size).init(key[each], shape)[0]
            for each, size, shape in (
                ("query", num_heads * width, query),
                ("key", groups * width, memory),
                ("value", groups * width, given["value"]),
                ("out", query.shape[-1] if features is None else features, inside),
            )
        }
        if cache is None and not keep_memory:
            return params, {}
        kept = np.zeros((*query.shape[:-2], groups, cache or 0, width), parameter_dtype(query))
        state: State = {"key": kept, "value": kept.copy()}
        return params, state if keep_memory else {**state, "index": np.zeros((), np.int64)}

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        given = parts(x, remembers=not train)

        def project(each: str, x: Array, heads: int) -> Array:
            weights = entry(params, each, name)
            y = child(shape_of(entry(weights, "kernel", name))[-1]).apply(weights, {}, x)[0]
            width = shape_of(y)[-1] // heads
            return np.swapaxes(np.reshape(y, (*shape_of(y)[:-1], heads, width)), -2, -3)

        q = project("query", given["query"], num_heads)
        if "memory" in given:
            k = project("key", given["memory"], groups)
            v = project("value", given["value"], groups)
            state = {"key": k, "value": v} if keep_memory and not train else state
        else:
            k, v = _recall(state, q, name)
        reading = cache is not None and not train
        first = entry(state, "index", name) if reading else 0
        if rotary is not None:
            q = rotate(q, first + places(q, axis=-2), base=rotary)
            k = rotate(k, first + places(k, axis=-2), base=rotary)
        mask = _mask_of(given, k, name)
        if reading:
            state, k, v, seen = _remember(state, k, v, name)
            mask = seen if mask is None else np.logical_and(mask, seen)
        weights = attention_weights(q, k, mask, causal and not reading, bias=given.get("bias"))
        y = np.swapaxes(_averages(weights, k, v, dropout if train else 0.0, key), -2, -3)
        y = np.reshape(y, (*shape_of(y)[:-2], math.prod(shape_of(y)[-2:])))
        out = entry(params, "out", name)
        y = child(shape_of(entry(out, "kernel", name))[-1]).apply(out, {}, y)[0]
        return {"y": y, "weights": weights} if return_weights else y, state

    return Layer(init, apply, name)


def _mask_of(given: Mapping[str, Any], k: Array, name: str) -> Array | None:
    """The mask and the mask of the keys as one."""
    mask, key_mask = given.get("mask"), given.get("key_mask")
    if mask is not None:
        check_boolean(mask, "mask", name, "a query may attend to a key")
    if key_mask is None:
        return mask
    check_boolean(key_mask, "key_mask", name, "a key is none of the padding")
    *examples, _, count, _ = shape_of(k)
    if shape_of(key_mask) != (*examples, count):
        raise shape_error(name, f"the key_mask is {(*examples, count)}, one for each key", key_mask)
    key_mask = key_mask[..., None, None, :]  # the same for all heads and queries
    return key_mask if mask is None else np.logical_and(mask, key_mask)


def _recall(state: State, q: Array, name: str) -> tuple[Array, Array]:
    """The keys and values of the memory that a call before this one was given."""
    k, v = entry(state, "key", name), entry(state, "value", name)
    if shape_of(k)[-2] == 0:
        raise TreeError(
            f"{name} has read no memory yet, at {source.here()}\n"
            "  Pass the memory in the first call, and the state of each call to the next."
        )
    if shape_of(k)[:-3] != shape_of(q)[:-3]:
        raise shape_error(
            name, f"the memory was one for examples {shape_of(k)[:-3]}\n  Pass one for these.", q
        )
    return k, v


def _remember(state: State, k: Array, v: Array, name: str) -> tuple[State, Array, Array, Array]:
    """The state with these keys and values at its end; all of both; who may attend to whom."""
    kept, index = entry(state, "key", name), entry(state, "index", name)
    old, new = shape_of(kept), shape_of(k)
    if old[:-2] != new[:-2] or old[-1] != new[-1]:
        raise shape_error(
            name,
            f"the cache is for keys of shape {old[:-2]} × moments × {old[-1]}\n"
            "  Make a new state by init with the shape of this input.",
            k,
        )
    places = index + np.arange(new[-2])
    # Where the index is not known yet, under jit, writing there raises it when it runs.
    if isinstance(index, (np.ndarray, np.generic)) and int(index) + new[-2] > old[-2]:
        raise IndexError(
            f"{name} has read {int(index)} of {old[-2]} moments and got {new[-2]} more, "
            f"at {source.here()}\n  Make it with a larger cache, or start from init's state."
        )
    keys = ops.set_at(kept, (..., places, slice(None)), k)
    values = ops.set_at(entry(state, "value", name), (..., places, slice(None)), v)
    seen = np.arange(old[-2]) <= places[:, None]
    return {"key": keys, "value": values, "index": index + new[-2]}, keys, values, seen
