"""Fused operators that ONNX Runtime's optimisers write into models (domain `com.microsoft`, and a
few that it puts into ONNX's own)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ..registry import Node, find, operator
from .activation import swish
from .arithmetic import keeping_dtype
from .contract import gemm, widely
from .normalization import layer_norm

_DOMAIN = "com.microsoft"


def run_as(
    node: Node,
    name: str,
    *operands: Array,
    opset: int = 1000,
    attributes: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """What an operator of ai.onnx, by default of its latest version, makes of these operands with
    this node's attributes and others."""
    run = find("", name, opset)
    if run is None:
        raise node.error(f"is of {name}, which Kinone has not in opset {opset}")
    given = {**node.attributes, **attributes}
    return run(replace(node, op=name, domain="", opset=opset, attributes=given), *operands)


# ---- activations ---------------------------------------------------------------------------------


@operator("Gelu", domain=_DOMAIN)
def gelu(node: Node, x: Array) -> Array:
    return ops.gelu(x)


@operator("BiasGelu", domain=_DOMAIN)
def bias_gelu(node: Node, x: Array, bias: Array) -> Array:
    return ops.gelu(x + bias)


@operator("FastGelu", domain=_DOMAIN)
def fast_gelu(node: Node, x: Array, bias: Array = None) -> Array:
    return ops.gelu(x if bias is None else x + bias, approximate=True)


@operator("QuickGelu", domain=_DOMAIN)
@keeping_dtype
def quick_gelu(node: Node, x: Array) -> Array:
    return x * ops.sigmoid(node.attribute("alpha", 1.702) * x)


operator("Swish", domain=_DOMAIN)(swish)


def _activated(node: Node, y: Array, name: str, values: list[float]) -> Array:
    """A product's activation, whose attributes come as a list."""
    names = {
        "LeakyRelu": ["alpha"],
        "Elu": ["alpha"],
        "HardSigmoid": ["alpha", "beta"],
        "Clip": ["min", "max"],
    }
    given = dict(zip(names.get(name, []), values, strict=False))
    if name == "Clip":
        return np.clip(y, given.get("min"), given.get("max"))
    if name not in ("Relu", "Sigmoid", "Tanh", "HardSwish", *names):
        raise node.error(f"has the activation {name!r}, which Kinone does not know")
    return run_as(node, name, y, attributes=given)


# ---- products ------------------------------------------------------------------------------------


@operator("FusedConv", domain=_DOMAIN)
def fused_conv(node: Node, x: Array, w: Array, bias: Array = None, added: Array = None) -> Array:
    y = run_as(replace(node, inputs=node.inputs[:3]), "Conv", x, w, bias)
    y = y if added is None else y + added
    name = node.attribute("activation", "")
    return _activated(node, y, name, node.attribute("activation_params", [])) if name else y


@operator("FusedGemm", domain=_DOMAIN)
def fused_gemm(node: Node, a: Array, b: Array, c: Array = None) -> Array:
    y, name = gemm(node, a, b, c), node.attribute("activation", "")
    values = [
        node.attribute(f"activation_{key}")
        for key in ("alpha", "beta", "gamma")
        if f"activation_{key}" in node.attributes
    ]
    return _activated(node, y, name, values) if name else y


@operator("FusedMatMul", "TransposeMatMul", domain=_DOMAIN)
@keeping_dtype
def fused_matmul(node: Node, a: Array, b: Array) -> Array:
    """alpha · A B of stacks of matrices, whose last axes may be exchanged; `transBatch` takes the
    first axis as that of the rows, and what lies between as the stack."""
    a = _turned(a, bool(node.attribute("transA", 0)), bool(node.attribute("transBatchA", 0)))
    b = _turned(b, bool(node.attribute("transB", 0)), bool(node.attribute("transBatchB", 0)))
    alpha = node.attribute("alpha", 1.0)
    y = widely(np.matmul, a, b)
    return y if alpha == 1 else alpha * y


def _turned(x: Array, matrix: bool, batch: bool) -> Array:
    if shape_dtype(x).ndim < 2:
        return x
    x = np.moveaxis(x, 0, -2) if batch else x
    return np.swapaxes(x, -1, -2) if matrix else x


@operator("Inverse", domain=_DOMAIN)
def inverse(node: Node, x: Array) -> Array:
    return np.linalg.inv(x)


# ---- normalisation -------------------------------------------------------------------------------


@operator("SimplifiedLayerNormalization")
def simplified_layer_norm(node: Node, x: Array, scale: Array) -> Any:
    """Layer normalisation without a mean."""
    y = run_as(node, "RMSNormalization", x, scale)
    return (y, _inverse_length(node, x, 1e-5)) if node.wants(1) else y


def _inverse_length(node: Node, x: Array, epsilon: float) -> Array:
    ndim = shape_dtype(x).ndim
    axes = tuple(range(node.attribute("axis", -1) % ndim, ndim))
    square = np.mean(np.square(x), axis=axes, keepdims=True)
    return 1 / np.sqrt(square + node.attribute("epsilon", epsilon))


def _epsilon(node: Node) -> dict[str, float]:
    """With the default of the operators that skip."""
    return {"epsilon": node.attribute("epsilon", 1e-12)}


@operator("SkipLayerNormalization", domain=_DOMAIN)
def skip_layer_norm(
    node: Node, x: Array, skip: Array, scale: Array, shift: Array = None, bias: Array = None
) -> Any:
    """layer_norm(x + skip + bias), and that sum as the fourth result."""
    total = x + skip if bias is None else x + skip + bias
    found = run_as(node, "LayerNormalization", total, scale, shift, attributes=_epsilon(node))
    return (*found, total) if isinstance(found, tuple) else (found, None, None, total)


@operator("SkipSimplifiedLayerNormalization", domain=_DOMAIN)
def skip_simplified_layer_norm(
    node: Node, x: Array, skip: Array, scale: Array, bias: Array = None
) -> Any:
    total = x + skip if bias is None else x + skip + bias
    y = run_as(node, "RMSNormalization", total, scale, attributes=_epsilon(node))
    return y, None, _inverse_length(node, total, 1e-12) if node.wants(2) else None, total


@operator("EmbedLayerNormalization", domain=_DOMAIN)
def embed_layer_norm(
    node: Node,
    words: Array,
    segments: Array,
    word_table: Array,
    position_table: Array,
    segment_table: Array = None,
    scale: Array = None,
    shift: Array = None,
    mask: Array = None,
    positions: Array = None,
) -> Any:
    """The sum of the embeddings of words, places and segments, normalised; how many words the mask
    leaves; and the sum."""
    batch, length = shape_dtype(words).shape
    places = np.arange(length)[None] if positions is None else positions
    total = ops.take(word_table, words, 0) + ops.take(position_table, places, 0)
    if segments is not None and segment_table is not None:
        total = total + ops.take(segment_table, segments, 0)
    y = layer_norm(replace(node, outputs=node.outputs[:1]), total, scale, shift)
    if mask is None or not node.attribute("mask_index_type", 1):
        count = np.zeros(batch, np.int32)
    else:
        count = np.sum(mask, axis=1, dtype=np.int32)
    return y, count, total
