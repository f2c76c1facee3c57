"""Scaled dot-product attention, and rotary embeddings of positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....ops.shape import astype
from ..registry import Node, operator
from ..tensors import dtype_of


@operator("Attention", since=23)
def attention(
    node: Node,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, ...]:
    flat, dtype = len(shape_of(q)) == 3, shape_dtype(q).dtype
    if flat:
        q = split_heads(node, q, node.attribute("q_num_heads"))
        k = split_heads(node, k, node.attribute("kv_num_heads"))
        v = split_heads(node, v, node.attribute("kv_num_heads"))
    if len(shape_of(q)) != 4 or len(shape_of(k)) != 4 or len(shape_of(v)) != 4:
        raise node.error(f"is given {shape_of(q)}, {shape_of(k)} and {shape_of(v)}")
    if (past_key is None) != (past_value is None):
        raise node.error("has one of past_key and past_value alone")
    offset: Array = 0  # the place of the first query among the keys
    if past_key is not None and past_value is not None:
        offset = shape_of(past_key)[2]
        k, v = np.concatenate([past_key, k], axis=2), np.concatenate([past_value, v], axis=2)
    elif lengths is not None:
        offset = np.reshape(lengths, (-1, 1, 1, 1)) - shape_of(q)[2]
    present = (k, v)
    scale = node.attribute("scale", None)
    root = dtype.type(math.sqrt(1 / math.sqrt(shape_of(q)[3]) if scale is None else scale))
    k, v = repeat_heads(node, k, shape_of(q)[1]), repeat_heads(node, v, shape_of(q)[1])
    scores = astype(ops.matmul(q * root, np.swapaxes(k, 2, 3) * root), dtype)
    shown = [scores]
    cap = node.attribute("softcap", 0.0)
    if cap:
        scores = np.tanh(scores / dtype.type(cap)) * dtype.type(cap)
    shown.append(scores)
    bias = _bias(node, scores, mask, offset, lengths)
    if bias is not None:
        scores = scores + bias
    shown.append(scores)
    weights = _softmax(node, scores, bias)
    shown.append(weights)
    y = astype(ops.matmul(weights, v), dtype)
    if flat:
        y = join_heads(y)
    mode = int(node.attribute("qk_matmul_output_mode", 0))
    if not 0 <= mode <= 3:
        raise node.error(f"has an unknown qk_matmul_output_mode, {mode}")
    return y, *present, shown[mode]


def split_heads(node: Node, x: Array, heads: int) -> Array:
    """(N, moments, heads · channels) → (N, heads, moments, channels)."""
    images, moments, width = shape_of(x)
    if heads < 1 or width % heads:
        raise node.error(f"has {width} channels for {heads} heads")
    return np.swapaxes(np.reshape(x, (images, moments, heads, width // heads)), 1, 2)


def join_heads(x: Array) -> Array:
    """(N, heads, moments, channels) → (N, moments, heads · channels)."""
    images, heads, moments, channels = shape_of(x)
    return np.reshape(np.swapaxes(x, 1, 2), (images, moments, heads * channels))


def repeat_heads(node: Node, x: Array, heads: int) -> Array:
    """The heads of keys or values, each for as many of the queries' as there are of these."""
    own = shape_of(x)[1]
    if own == heads:
        return x
    if own < 1 or heads % own:
        raise node.error(f"has {heads} heads of queries for {own} of keys")
    return np.repeat(x, heads // own, axis=1)


def _bias(
    node: Node, scores: Array, mask: Array | None, offset: Array, lengths: Array | None
) -> Array | None:
    """What is added to the scores: minus infinity where a query does not see a key."""
    dtype = shape_dtype(scores).dtype
    rows, columns = shape_of(scores)[2:]
    bias: Array | None = None
    seen: Array | None = None
    if mask is not None:
        missing = columns - shape_of(mask)[-1]
        boolean = shape_dtype(mask).dtype.kind == "b"
        if missing > 0:
            widths = [(0, 0)] * (len(shape_of(mask)) - 1) + [(0, missing)]
            mask = np.pad(mask, widths, constant_values=False if boolean else -np.inf)
        if boolean:
            seen = mask
        else:
            bias = astype(mask, dtype)
    places, keys = np.arange(rows)[:, None] + offset, np.arange(columns)
    limits = []
    if node.attribute("is_causal", 0):
        limits.append(keys <= places)
    if (left := int(node.attribute("left_window_size", -1))) >= 0:
        limits.append(keys >= places - left)
    if (right := int(node.attribute("right_window_size", -1))) >= 0:
        limits.append(keys <= places + right)
    if lengths is not None:
        limits.append(keys < np.reshape(lengths, (-1, 1, 1, 1)))
    for limit in limits:
        seen = limit if seen is None else seen & limit
    if seen is None:
        return bias
    zero, never = dtype.type(0), dtype.type(-np.inf)
    return np.where(seen, zero if bias is None else bias, never)


def _softmax(node: Node, scores: Array, bias: Array | None) -> Array:
    """Over the keys; a query that sees none has zeros."""
    dtype = shape_dtype(scores).dtype
    precision = node.attribute("softmax_precision", None)
    if precision is not None:
        scores = astype(scores, dtype_of(int(precision)))
    if bias is None:
        return astype(ops.softmax(scores, axis=-1), dtype)
    blind = np.isneginf(np.max(bias, axis=-1, keepdims=True))
    scores = np.where(blind, shape_dtype(scores).dtype.type(0), scores)
    return np.where(blind, dtype.type(0), astype(ops.softmax(scores, axis=-1), dtype))


@operator("RotaryEmbedding", since=23)
def rotary_embedding(
    node: Node, x: Array, cos: Array, sin: Array, positions: Array | None = None
) -> Array:
    heads = int(node.attribute("num_heads", 0))
    return rotated(
        node,
        x,
        cos if positions is None else ops.take(cos, positions, axis=0),
        sin if positions is None else ops.take(sin, positions, axis=0),
        heads,
        int(node.attribute("rotary_embedding_dim", 0)),
        bool(node.attribute("interleaved", 0)),
    )


def rotated(
    node: Node, x: Array, cos: Array, sin: Array, heads: int, width: int, interleaved: bool
) -> Array:
    """Pairs of channels turned by the angle of their moment; cos and sin are (N, moments, …)."""
    flat = len(shape_of(x)) == 3
    if flat:
        x = split_heads(node, x, heads)
    width = width or shape_of(x)[3]
    turned, rest = x[..., :width], x[..., width:]
    if shape_of(cos)[-1] * 2 != width or shape_of(sin)[-1] * 2 != width:
        raise node.error(f"has caches of {shape_of(cos)} for {width} channels to rotate")
    cos, sin = cos[..., None, :, :], sin[..., None, :, :]
    pairs: Any
    if interleaved:
        pairs = turned[..., 0::2], turned[..., 1::2]
    else:
        pairs = turned[..., : width // 2], turned[..., width // 2 :]
    first, second = pairs
    real, imaginary = cos * first - sin * second, sin * first + cos * second
    if interleaved:
        y = np.reshape(np.stack([real, imaginary], axis=-1), shape_of(turned))
        y = np.concatenate([y, rest], axis=-1)
    else:
        y = np.concatenate([real, imaginary, rest], axis=-1)
    return join_heads(y) if flat else y
