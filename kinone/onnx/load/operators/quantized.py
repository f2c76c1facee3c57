"""ONNX Runtime's own operators of quantised numbers (domain `com.microsoft`), as its quantiser and
its optimiser write them.

Most take numbers with their scale and zero point, compute in floats and quantise the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ..known import known
from ..registry import Node, operator
from .arithmetic import as_dtype
from .fused import run_as
from .quantization import (
    dequantize,
    dynamic_quantize,
    integer_product,
    quantize,
    quantized_conv,
    requantized,
    wide,
)

_DOMAIN = "com.microsoft"

operator("QuantizeLinear", domain=_DOMAIN)(quantize)
operator("DequantizeLinear", domain=_DOMAIN)(dequantize)


def _value(x: Array, scale: Array, zero: Array | None) -> Array:
    """What one quantised tensor stands for."""
    x = wide(x) if zero is None else wide(x) - wide(zero)
    return x * scale


def _of_two(function: Callable[..., Any]) -> Callable[..., Array]:
    def run(
        node: Node,
        a: Array,
        a_scale: Array,
        a_zero: Array,
        b: Array,
        b_scale: Array,
        b_zero: Array,
        scale: Array,
        zero: Array = None,
    ) -> Array:
        y = function(_value(a, a_scale, a_zero), _value(b, b_scale, b_zero))
        return requantized(node, y, 1 / scale, zero, shape_dtype(a).dtype)

    return run


operator("QLinearAdd", domain=_DOMAIN)(_of_two(np.add))
operator("QLinearMul", domain=_DOMAIN)(_of_two(np.multiply))


def _of_one(name: str) -> Callable[..., Array]:
    def run(
        node: Node, x: Array, x_scale: Array, x_zero: Array, scale: Array, zero: Array = None
    ) -> Array:
        y = run_as(node, name, _value(x, x_scale, x_zero))
        return requantized(node, y, 1 / scale, zero, shape_dtype(x).dtype)

    return run


operator("QLinearSigmoid", domain=_DOMAIN)(_of_one("Sigmoid"))
operator("QLinearLeakyRelu", domain=_DOMAIN)(_of_one("LeakyRelu"))


@operator("QLinearSoftmax", domain=_DOMAIN)
def quantized_softmax(
    node: Node, x: Array, x_scale: Array, x_zero: Array, scale: Array, zero: Array
) -> Array:
    """The softmax of the opset that an attribute names."""
    opset = node.attribute("opset", 13)
    y = run_as(node, "Softmax", _value(x, x_scale, x_zero), opset=opset)
    return requantized(node, y, 1 / scale, zero, shape_dtype(x).dtype)


def _pool(name: str) -> Callable[..., Array]:
    def run(
        node: Node, x: Array, x_scale: Array, x_zero: Array, scale: Array, zero: Array = None
    ) -> Array:
        y = _value(x, x_scale, x_zero)
        last = bool(node.attribute("channels_last", 0))
        y = run_as(node, name, np.moveaxis(y, -1, 1) if last else y)
        y = np.moveaxis(y, 1, -1) if last else y
        return requantized(node, y, 1 / scale, zero, shape_dtype(x).dtype)

    return run


operator("QLinearGlobalAveragePool", domain=_DOMAIN)(_pool("GlobalAveragePool"))
operator("QLinearAveragePool", domain=_DOMAIN)(_pool("AveragePool"))


@operator("QLinearConcat", domain=_DOMAIN)
def quantized_concat(node: Node, scale: Array, zero: Array, *parts: Array) -> Array:
    """The parts come with a scale and a zero point each."""
    if len(parts) % 3:
        raise node.error("wants a scale and a zero point for each of its inputs")
    values = [_value(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
    joined = np.concatenate(values, node.attribute("axis"))
    return requantized(node, joined, 1 / scale, zero)


@operator("QLinearWhere", domain=_DOMAIN)
def quantized_where(
    node: Node,
    condition: Array,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    y: Array,
    y_scale: Array,
    y_zero: Array,
    scale: Array,
    zero: Array,
) -> Array:
    chosen = np.where(condition, _value(x, x_scale, x_zero), _value(y, y_scale, y_zero))
    return requantized(node, chosen, 1 / scale, zero)


@operator("QLinearConv", domain=_DOMAIN)
def quantized_conv_of_images(node: Node, x: Array, *rest: Array) -> Array:
    if not node.attribute("channels_last", 0):
        return quantized_conv(node, x, *rest)
    return np.moveaxis(quantized_conv(node, np.moveaxis(x, -1, 1), *rest), 1, -1)


# ---- products ------------------------------------------------------------------------------------


@operator("QGemm", domain=_DOMAIN)
def quantized_gemm(
    node: Node,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    c: Array = None,
    scale: Array = None,
    zero: Array = None,
) -> Array:
    """alpha · A B + C, where C is int32 in the scale of the products; without a scale for the
    result it is float32."""
    a = np.transpose(a) if node.attribute("transA", 0) else a
    b = np.transpose(b) if node.attribute("transB", 0) else b
    y = integer_product(a, b, a_zero, b_zero)
    y = y if c is None else as_dtype(y, np.float64) + as_dtype(c, np.float64)
    factor = node.attribute("alpha", 1.0) * wide(a_scale) * wide(b_scale)
    if scale is None:
        return as_dtype(y, np.float32) * factor
    return requantized(node, y, factor / scale, zero, shape_dtype(a).dtype)


@operator("MatMulIntegerToFloat", domain=_DOMAIN)
def integer_matmul_to_float(
    node: Node,
    a: Array,
    b: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero: Array = None,
    b_zero: Array = None,
    bias: Array = None,
) -> Array:
    dtype = shape_dtype(a_scale).dtype
    y = as_dtype(integer_product(a, b, a_zero, b_zero), np.float32)
    y = y * (wide(a_scale) * wide(b_scale))
    return as_dtype(y if bias is None else y + bias, dtype)


@operator("DynamicQuantizeMatMul", domain=_DOMAIN)
def dynamic_matmul(
    node: Node, a: Array, b: Array, b_scale: Array, b_zero: Array = None, bias: Array = None
) -> Array:
    """The left operand is quantised first, by its own range."""
    q, scale, zero = dynamic_quantize(node, a)
    return integer_matmul_to_float(node, q, b, scale, b_scale, zero, b_zero, bias)


@operator("MatMulNBits", domain=_DOMAIN)
def matmul_of_few_bits(
    node: Node,
    a: Array,
    b: Array,
    scales: Array,
    zeros: Array = None,
    groups: Array = None,
    bias: Array = None,
) -> Array:
    """A Bᵀ, where B [N, blocks, bytes] has numbers of a few bits, the first in the lowest bits, and
    each block along K a scale and a zero point."""
    depth, count = node.attribute("K"), node.attribute("N")
    bits, block = node.attribute("bits", 4), node.attribute("block_size")
    if bits not in (2, 4, 8) or block < 16 or count < 1 or depth < 1:
        raise node.error(f"has K={depth}, N={count}, {bits} bits and blocks of {block}")
    blocks = math.ceil(depth / block)
    whole = _unpacked(np.reshape(b, (count, -1)), bits)[:, :depth]
    if shape_dtype(whole).shape != (count, depth):
        raise node.error(f"has a weight {shape_dtype(b)} for K={depth}, N={count}")
    scales = np.reshape(scales, (count, blocks))
    place = np.arange(depth) // block if groups is None else known(node, groups, "g_idx")
    if zeros is None:
        zero: Array = float(2 ** (bits - 1))
    elif shape_dtype(zeros).dtype == np.uint8:
        packed = _unpacked(np.reshape(zeros, (count, -1)), bits)[:, :blocks]
        zero = ops.take(packed, place, 1)
    else:
        zero = ops.take(wide(np.reshape(zeros, (count, blocks))), place, 1)
    weight = as_dtype((whole - zero) * ops.take(scales, place, 1), shape_dtype(a).dtype)
    y = np.matmul(a, np.transpose(weight))
    return y if bias is None else y + bias


def _unpacked(packed: Array, bits: int) -> Array:
    """Bytes [N, bytes] as float32 numbers of a few bits [N, numbers]."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    mask = np.uint8(2**bits - 1)
    parts = np.bitwise_and(np.right_shift(np.expand_dims(packed, -1), shifts), mask)
    return ops.astype(np.reshape(parts, (shape_dtype(packed).shape[0], -1)), np.float32)


@operator("DynamicQuantizeLSTM", domain=_DOMAIN)
def dynamic_lstm(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    bias: Array = None,
    lengths: Array = None,
    hidden: Array = None,
    cell: Array = None,
    peepholes: Array = None,
    w_scale: Array = None,
    w_zero: Array = None,
    r_scale: Array = None,
    r_zero: Array = None,
) -> Any:
    """An LSTM with quantised weights [directions, inputs, 4 · hidden]. What it multiplies them with
    is not quantised here, which is a little more exact than in ONNX Runtime."""

    def weight(q: Array, scale: Array, zero: Array | None) -> Array:
        def spread(v: Array) -> Array:
            known = shape_dtype(v)
            return v if known.ndim == 0 else np.reshape(v, (known.shape[0], 1, -1))

        return np.swapaxes(_value(q, spread(scale), None if zero is None else spread(zero)), 1, 2)

    w, r = weight(w, w_scale, w_zero), weight(r, r_scale, r_zero)
    return run_as(node, "LSTM", x, w, r, bias, lengths, hidden, cell, peepholes)
