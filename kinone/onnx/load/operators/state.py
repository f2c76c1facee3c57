"""Attention and convolution whose past is one state: models that read a text word by word."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....transforms import scan
from ..registry import Node, operator
from ..tensors import dtype_of

_RULES = ("linear", "gated", "delta", "gated_delta")


@operator("LinearAttention", since=27)
def linear_attention(
    node: Node,
    query: Array,
    key: Array,
    value: Array,
    past: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
) -> Any:
    """S' = exp(g) S + k ⊗ β (v - exp(g) Sᵀk) with "gated_delta"; y = scale · S'ᵀq."""
    rule = node.attribute("update_rule", "gated_delta")
    heads, shared = node.attribute("q_num_heads"), node.attribute("kv_num_heads")
    if rule not in _RULES:
        raise node.error(f"has update_rule={rule!r}, not one of {', '.join(_RULES)}")
    if heads <= 0 or shared <= 0 or heads % shared:
        raise node.error(f"has q_num_heads={heads}, no multiple of kv_num_heads={shared}")
    if (decay is None) == ("gated" in rule):
        raise node.error(f"has update_rule={rule!r} and {'no' if decay is None else 'a'} decay")
    if (beta is None) == ("delta" in rule):
        raise node.error(f"has update_rule={rule!r} and {'no' if beta is None else 'a'} beta")
    given = shape_dtype(query).dtype
    whole = np.promote_types(given, np.float32)
    q = _by_step(node, query, heads, whole)
    k, v = _by_step(node, key, shared, whole), _by_step(node, value, shared, whole)
    steps, batch, _, size = shape_of(q)
    inputs = [q, k, v]
    if decay is not None:  # for each head, or for each entry of its key
        inputs.append(_by_step(node, decay, shared, whole))
    if beta is not None:
        inputs.append(_by_step(node, beta, shape_of(beta)[-1], whole))
    stored = given if past is None else shape_dtype(past).dtype
    start = np.zeros((batch, shared, size, shape_of(v)[-1])) if past is None else past
    scale = node.attribute("scale", 0.0) or 1 / math.sqrt(size)

    def step(state: Array, now: list[Array]) -> tuple[Array, Array]:
        q, k, v, *gates = now
        if decay is not None:
            state = state * np.exp(gates.pop(0))[..., None]
        if beta is not None:
            v = gates.pop(0) * (v - np.einsum("bhkv,bhk->bhv", state, k))
        state = state + k[..., None] * v[..., None, :]
        grouped = q.reshape(batch, shared, heads // shared, size)
        return state, np.einsum("bhgk,bhkv->bhgv", grouped, state) * whole.type(scale)

    state, y = scan(step, start.astype(whole), inputs)
    y = np.moveaxis(y, 0, 1).reshape(batch, steps, heads * shape_of(v)[-1])
    return y.astype(given), state.astype(stored)


def _by_step(node: Node, x: Array, heads: int, dtype: Any) -> Array:
    """(B, T, heads · size) as (T, B, heads, size)."""
    shape = shape_of(x)
    if len(shape) != 3 or shape[-1] % heads:
        raise node.error(f"cannot cut {list(shape)} into {heads} heads")
    return np.moveaxis(x.reshape(*shape[:2], heads, shape[2] // heads), 1, 0).astype(dtype)


@operator("CausalConvWithState", since=27)
def causal_conv_with_state(
    node: Node, x: Array, w: Array, bias: Array | None = None, past: Array | None = None
) -> Any:
    """Each channel convolved with its own kernel over what came before, and the last values."""
    batch, channels, length = shape_of(x)
    before = shape_of(w)[2] - 1
    if past is None:
        past = np.zeros((batch, channels, before), shape_dtype(x).dtype)
    whole = np.concatenate([past, x], axis=2)
    y = ops.conv(whole, w, padding="VALID", groups=channels, layout="NCHW")
    if bias is not None:
        y = y + bias[:, None]
    activation = node.attribute("activation", "none")
    if activation in ("silu", "swish"):
        y = y * ops.sigmoid(y)
    elif activation != "none":
        raise node.error(f"has activation={activation!r}, not one of none, silu, swish")
    return y.astype(shape_dtype(x).dtype), whole[:, :, length:]


@operator("FlexAttention", domain="ai.onnx.preview")
def flex_attention(node: Node, q: Array, k: Array, v: Array) -> Any:
    """softmax(q kᵀ · scale) v, with subgraphs that change the scores and the probabilities."""
    heads, size = shape_of(q)[1], shape_of(q)[-1]
    groups, rest = divmod(heads, shape_of(k)[1])
    if rest:
        raise node.error(f"has {heads} heads of queries, no multiple of {shape_of(k)[1]}")
    given = shape_dtype(q).dtype
    precision = node.attribute("softmax_precision", None)
    whole = dtype_of(precision) if precision else np.promote_types(given, np.float32)
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    root = given.type(math.sqrt(node.attribute("scale", 1 / math.sqrt(size))))
    scores = np.matmul(q * root, np.swapaxes(k * root, -1, -2)).astype(whole)
    for name in ("score_mod", "prob_mod"):
        change = node.attribute(name, None)
        if change is not None:
            (scores,) = change(scores)
        if name == "score_mod":
            scores = ops.softmax(scores, axis=-1)
    return np.matmul(scores, v.astype(whole)).astype(given)


@operator("SwiGLU", since=28)
def swiglu(node: Node, a: Array, b: Array) -> Any:
    """a · sigmoid(alpha a) · b."""
    if shape_of(a) != shape_of(b):
        raise node.error(f"wants equal shapes and is given {shape_of(a)} and {shape_of(b)}")
    alpha = node.attribute("alpha", 1.0)
    return a * ops.sigmoid(a * shape_dtype(a).dtype.type(alpha)) * b
