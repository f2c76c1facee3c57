"""Attention as ONNX Runtime's optimisers and its makers of language models write it (domain
`com.microsoft`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ..known import integer
from ..registry import Node, operator
from .attention import join_heads, repeat_heads, rotated, split_heads
from .quantized import integer_matmul_to_float

_DOMAIN = "com.microsoft"


def _attend(
    node: Node, q: Array, k: Array, v: Array, hidden: Array | None, bias: Array | None
) -> tuple[Array, Array]:
    """softmax(q kᵀ · scale + bias) v of heads (N, heads, moments, channels), and the scores.

    What is `hidden` is left out, up to `mask_filter_value`.
    """
    scale = node.attribute("scale", 0.0) or 1 / math.sqrt(shape_dtype(q).shape[-1])
    scores = np.matmul(q, np.swapaxes(k, 2, 3)) * scale
    if bias is not None:
        scores = scores + bias
    if hidden is not None:
        scores = np.where(hidden, scores + node.attribute("mask_filter_value", -10000.0), scores)
    scores = ops.astype(scores, shape_dtype(q).dtype)
    return np.matmul(ops.softmax(scores, -1), v), scores


def _future(rows: int, columns: int) -> Array:
    """Which keys come after a query; the last of both are of the same moment."""
    return np.arange(columns) > np.arange(rows)[:, None] + (columns - rows)


def _hidden(node: Node, mask: Array | None, batch: int, rows: int, columns: int) -> Array | None:
    """From a mask, in one of its many shapes, which keys a query does not see."""
    future = _future(rows, columns) if node.attribute("unidirectional", 0) else None
    if mask is None:
        return future
    shape, places = shape_dtype(mask).shape, np.arange(columns)
    if shape == (batch,):  # how many are valid
        hidden = (places >= mask[:, None])[:, None, None]
    elif shape == (2 * batch,):  # where the valid ones end, and where they begin
        outside = (places >= mask[:batch, None]) | (places < mask[batch:, None])
        hidden = outside[:, None, None]
    elif shape == (batch, columns):
        hidden = (mask == 0)[:, None, None]
    elif shape == (batch, rows, columns):
        hidden = (mask == 0)[:, None]
    elif len(shape) == 4 and shape[-2] >= columns:  # as large as the longest text
        hidden = (mask == 0)[:, :, columns - rows : columns, :columns]
    else:
        raise node.error(f"has a mask of shape {shape} for {rows} queries and {columns} keys")
    return hidden if future is None else hidden | future


@operator("Attention", domain=_DOMAIN)
def attention(
    node: Node,
    x: Array,
    weights: Array,
    bias: Array = None,
    mask: Array = None,
    past: Array = None,
    added: Array = None,
    past_length: Array = None,
) -> tuple[Array, Array]:
    """Self-attention with the projections of queries, keys and values in one matrix."""
    if past_length is not None:
        raise node.error("has a past of fixed size, which Kinone has not here")
    both = np.matmul(x, weights)
    return _self_attention(node, both if bias is None else both + bias, mask, past, added)


@operator("QAttention", domain=_DOMAIN)
def quantized_attention(
    node: Node,
    x: Array,
    weights: Array,
    bias: Array,
    x_scale: Array,
    weight_scale: Array,
    mask: Array = None,
    x_zero: Array = None,
    weight_zero: Array = None,
    past: Array = None,
) -> tuple[Array, Array]:
    """The same with quantised projections; all else is in floats."""
    both = integer_matmul_to_float(node, x, weights, x_scale, weight_scale, x_zero, weight_zero)
    return _self_attention(node, both + bias, mask, past, None)


def _self_attention(
    node: Node, both: Array, mask: Array | None, past: Array | None, added: Array | None
) -> tuple[Array, Array]:
    (batch, rows, width), heads = shape_dtype(both).shape, node.attribute("num_heads")
    if node.attribute("do_rotary", 0):
        raise node.error("has rotary positions, which Kinone has not here")
    sizes = node.attribute("qkv_hidden_sizes", None) or [width // 3] * 3
    parts = np.split(both, [sizes[0], sizes[0] + sizes[1]], axis=-1)
    q, k, v = [split_heads(node, part, heads) for part in parts]
    if past is not None:
        k, v = np.concatenate([past[0], k], 2), np.concatenate([past[1], v], 2)
    hidden = _hidden(node, mask, batch, rows, shape_dtype(k).shape[2])
    y, _ = _attend(node, q, k, v, hidden, added)
    return join_heads(y), np.stack([k, v]) if node.wants(1) else None


@operator("MultiHeadAttention", domain=_DOMAIN)
def multi_head_attention(
    node: Node,
    q: Array,
    k: Array = None,
    v: Array = None,
    bias: Array = None,
    mask: Array = None,
    added: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    past_length: Array = None,
    indirection: Array = None,
) -> tuple[Array, ...]:
    """Attention of projected queries, keys and values; these may be heads already."""
    if k is None or v is None or past_length is not None or indirection is not None:
        raise node.error("has packed inputs or a past of fixed size, which Kinone has not here")
    heads = node.attribute("num_heads")
    q, k, v = _biased([q, k, v], bias)
    q, k, v = [split_heads(node, x, heads) if shape_dtype(x).ndim == 3 else x for x in (q, k, v)]
    if past_key is not None:
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    (batch, _, rows, _), columns = shape_dtype(q).shape, shape_dtype(k).shape[2]
    hidden = _hidden(node, mask, batch, rows, columns)
    y, scores = _attend(node, q, k, v, hidden, added)
    return join_heads(y), k, v, scores


def _biased(parts: list[Array], bias: Array | None) -> list[Array]:
    """Queries, keys and values with their parts of one bias; heads have theirs already."""
    if bias is None:
        return parts
    found, start = [], 0
    for x in parts:
        known = shape_dtype(x)
        size = known.shape[-1] if known.ndim == 3 else known.shape[1] * known.shape[3]
        found.append(x + bias[start : start + size] if known.ndim == 3 else x)
        start += size
    return found


@operator("RotaryEmbedding", domain=_DOMAIN)
def rotary_embedding(node: Node, x: Array, positions: Array, cos: Array, sin: Array) -> Array:
    """The positions are of every moment, or one number, that of the first."""
    known = shape_dtype(x)
    moments = known.shape[-2]
    if shape_dtype(positions).size == 1:
        positions = np.reshape(positions, (1, 1)) + np.arange(moments)
    cos, sin = np.take(cos, positions, 0), np.take(sin, positions, 0)
    heads, width = node.attribute("num_heads", 0), node.attribute("rotary_embedding_dim", 0)
    if known.ndim == 3 and not heads:
        heads = known.shape[-1] // (2 * shape_dtype(cos).shape[-1])
    return rotated(node, x, cos, sin, heads, width, bool(node.attribute("interleaved", 0)))


@operator("GroupQueryAttention", domain=_DOMAIN)
def group_query_attention(
    node: Node,
    q: Array,
    k: Array = None,
    v: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    lengths: Array = None,
    longest: Array = None,
    cos: Array = None,
    sin: Array = None,
    positions: Array = None,
    added: Array = None,
    sink: Array = None,
) -> tuple[Array, ...]:
    """Causal attention with fewer heads of keys than of queries, and a past of keys and values.

    `lengths` are the places of the last valid keys; where texts are of different lengths, each has
    its own past.
    """
    heads, groups = node.attribute("num_heads"), node.attribute("kv_num_heads")
    if k is None:  # packed: all heads of all three in one
        channels = shape_dtype(q).shape[-1] // (heads + 2 * groups)
        q, k, v = np.split(q, [heads * channels, (heads + groups) * channels], axis=-1)
    q, k, v = (
        split_heads(node, q, heads),
        split_heads(node, k, groups),
        split_heads(node, v, groups),
    )
    rows, total = shape_dtype(q).shape[2], integer(node, longest, "total_sequence_length")
    lengths = np.reshape(lengths, (-1,)) + 1
    # A text's own past: nothing while the first words are read.
    before = lengths - lengths if rows == total else lengths - rows
    if node.attribute("do_rotary", 0):
        if positions is None:
            positions = before[:, None] + np.arange(rows)
        turns = np.take(cos, positions, 0), np.take(sin, positions, 0)
        mixed = bool(node.attribute("rotary_interleaved", 0))
        width = 2 * shape_dtype(cos).shape[-1]
        q, k = [rotated(node, x, *turns, 0, width, mixed) for x in (q, k)]
    k, v = _appended(past_key, k, before, total), _appended(past_value, v, before, total)
    keys = np.arange(shape_dtype(k).shape[2])
    places = (before[:, None] + np.arange(rows))[:, None, :, None]
    seen = keys <= places
    window = node.attribute("local_window_size", -1)
    if window > 0:
        seen = seen & (keys > places - window)
    many = [repeat_heads(node, x, heads) for x in (k, v)]
    scale = node.attribute("scale", 0.0) or 1 / math.sqrt(shape_dtype(q).shape[-1])
    scores = np.matmul(q, np.swapaxes(many[0], 2, 3)) * scale
    cap = node.attribute("softcap", 0.0)
    if cap:
        scores = np.tanh(scores / cap) * cap
    if added is not None:
        missing = shape_dtype(scores).shape[-1] - shape_dtype(added).shape[-1]
        scores = scores + np.pad(added, [(0, 0)] * 3 + [(0, missing)])
    scores = np.where(seen, scores, -np.inf)
    if sink is not None or node.attribute("smooth_softmax", 0):
        weights = _sunk(scores, 0 if sink is None else np.reshape(sink, (1, -1, 1, 1)))
    else:
        weights = ops.softmax(scores, -1)
    y = np.matmul(ops.astype(weights, shape_dtype(q).dtype), many[1])
    return join_heads(y), k, v, scores


def _appended(past: Array | None, new: Array, before: Array, total: int) -> Array:
    """Each text's new keys or values after its own past, in a table as long as the longest."""
    images, heads, rows, channels = shape_dtype(new).shape
    size = max(total, 0 if past is None else shape_dtype(past).shape[2])
    if size == rows and past is None:
        return new
    moments = np.arange(size) - before[:, None]  # among the new ones
    place = np.reshape(np.clip(moments, 0, rows - 1), (images, 1, size, 1))
    shape = (images, heads, size, channels)
    moved: Any = np.take_along_axis(new, np.broadcast_to(place, shape), 2)
    if past is None:
        return moved
    longer = [(0, 0), (0, 0), (0, size - shape_dtype(past).shape[2]), (0, 0)]
    is_new = np.reshape((moments >= 0) & (moments < rows), (images, 1, size, 1))
    return np.where(is_new, moved, np.pad(past, longer))


def _sunk(scores: Array, sink: Array) -> Array:
    """A softmax to which one more score belongs, whose weight goes nowhere."""
    top = np.maximum(np.max(scores, axis=-1, keepdims=True), sink)
    powers = np.exp(scores - top)
    return powers / (np.sum(powers, axis=-1, keepdims=True) + np.exp(sink - top))
