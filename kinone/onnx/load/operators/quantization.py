"""Numbers as small integers or narrow floats, and products of them.

A quantised q stands for (q - zero point) · scale. Integer products are computed in floats wide
enough to hold every sum exactly, so that they run on BLAS.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from .... import ops
from ....core import Array, Tracer, shape_dtype
from ....ops.axes import normalize_axis
from ..registry import Node, find, operator
from ..tensors import dtype_of
from .arithmetic import as_dtype

_WHOLE = ("int2", "uint2", "int4", "uint4", "int8", "uint8", "int16", "uint16")
_NARROW = ("float8", "float6", "float4")


# ---- to and from quantised numbers ---------------------------------------------------------------


@operator("QuantizeLinear")
def quantize(node: Node, x: Array, scale: Array, zero: Array = None) -> Array:
    """saturate(round(x / scale) + zero point), with one scale for all, for each index of an axis,
    or for each block of an axis."""
    code, known, precision = node.attribute("output_dtype", 0), shape_dtype(x), None
    dtype = dtype_of(code) if code else np.dtype(np.uint8)
    if zero is not None:
        if code and shape_dtype(zero).dtype != dtype:
            raise node.error(
                f"has a zero point of {shape_dtype(zero).dtype} and the output type {dtype}"
            )
        dtype = shape_dtype(zero).dtype
    if dtype.name not in _WHOLE and not dtype.name.startswith(_NARROW):
        raise node.error(f"quantises to {dtype}, which is no quantised type")
    if node.attribute("precision", 0):
        precision = dtype_of(node.attribute("precision"))
    else:  # that of the scale, where one can divide in it
        precision = shape_dtype(scale).dtype
        if precision.kind != "f" and precision.name != "bfloat16":
            precision = np.dtype(np.float32)
    scale = _spread(node, as_dtype(scale, precision), known.shape)
    quotient = wide(as_dtype(x, precision) / scale)
    # A zero point is added to integers; the narrow floats have none but 0.
    if zero is not None and dtype.name in _WHOLE:
        zero = _spread(node, wide(zero), known.shape)
    else:
        zero = None
    return _saturated(node, quotient, zero, dtype)


@operator("DequantizeLinear")
def dequantize(node: Node, x: Array, scale: Array, zero: Array = None) -> Array:
    known, code = shape_dtype(x), node.attribute("output_dtype", 0)
    dtype = dtype_of(code) if code else shape_dtype(scale).dtype
    if dtype.kind != "f" and dtype.name != "bfloat16":
        raise node.error(f"dequantises to {dtype}, which is no floating-point type")
    if zero is not None and known.dtype == np.int32:
        # Exact where float32 is not.
        zero = _spread(node, ops.astype(zero, np.int64), known.shape)
        x = ops.astype(ops.astype(x, np.int64) - zero, np.float32)
    elif zero is not None and (isinstance(zero, Tracer) or np.any(zero)):
        x = wide(x) - _spread(node, wide(zero), known.shape)
    return as_dtype(wide(x) * _spread(node, wide(scale), known.shape), dtype)


@operator("DynamicQuantizeLinear")
def dynamic_quantize(node: Node, x: Array) -> tuple[Array, Array, Array]:
    """As uint8, with the scale and the zero point in which 0 and all of `x` have their places."""
    if not shape_dtype(x).size:
        raise node.error(f"has an input without elements, {shape_dtype(x)}")
    low, high = np.minimum(np.min(x), 0), np.maximum(np.max(x), 0)
    scale = np.where(high == low, 1, (high - low) / 255)
    zero = np.rint(np.clip(-low / scale, 0, 255))
    y = np.clip(np.rint(x / scale) + zero, 0, 255)
    return ops.astype(y, np.uint8), scale, ops.astype(zero, np.uint8)


def _spread(node: Node, value: Array, shape: tuple[int, ...]) -> Array:
    """A scale or zero point with the axes of what it belongs to."""
    known = shape_dtype(value)
    if known.size == 1:
        return np.reshape(value, ())
    axis, block = node.attribute("axis", 1), node.attribute("block_size", 0)
    if not -len(shape) <= axis < len(shape):
        raise node.error(f"has the axis {axis} of an input with {len(shape)} axes")
    axis = normalize_axis(axis, len(shape))
    if not block and known.shape == (shape[axis],):
        return np.reshape(value, [-1 if i == axis else 1 for i in range(len(shape))])
    fits = block > 0 and len(known.shape) == len(shape)
    if not fits or known.shape[axis] != -(-shape[axis] // block):
        raise node.error(
            f"has a scale or zero point of shape {known.shape} for an input of shape {shape}, "
            f"axis {axis}, blocks of {block or 'no size'}"
        )
    places = np.arange(shape[axis]) // block  # of an incomplete last block as many as there are
    return ops.take(value, places, axis)


def wide(x: Array) -> Array:
    """At least float32, which holds all integers of 16 bits and all narrow floats."""
    return x if shape_dtype(x).dtype == np.float64 else as_dtype(x, np.float32)


def _saturated(node: Node, x: Array, zero: Array | None, dtype: np.dtype[Any]) -> Array:
    """x + zero in a quantised type; what it does not hold becomes its nearest number."""
    if dtype.name in _WHOLE:
        limits = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
        x = np.rint(x)
        x = x if zero is None else x + zero
        x = np.clip(x, int(limits.min), int(limits.max))
        x = ops.astype(x, np.int32) if dtype.kind == "V" else x
    elif dtype.name.startswith("float8") and node.attribute("saturate", 1):
        top = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
        x = np.clip(x, -top, top)
    if isinstance(x, Tracer) and dtype.kind == "V":
        raise node.error(
            f"makes {dtype.name}, which Kinone does not trace\n"
            "  Call the model without grad, jit and vmap."
        )
    return ops.astype(x, dtype)


# ---- products ------------------------------------------------------------------------------------


@operator("MatMulInteger")
def matmul_of_integers(
    node: Node, a: Array, b: Array, a_zero: Array = None, b_zero: Array = None
) -> Array:
    """(A - a_zero) (B - b_zero) in int32."""
    return _int32(integer_product(a, b, a_zero, b_zero))


@operator("QLinearMatMul")
def quantized_matmul(
    node: Node,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    product = integer_product(a, b, a_zero, b_zero)
    factor = _of_rows(wide(a_scale), a) * wide(b_scale) / wide(y_scale)
    return requantized(node, product, factor, y_zero)


@operator("ConvInteger")
def conv_of_integers(
    node: Node, x: Array, w: Array, x_zero: Array = None, w_zero: Array = None
) -> Array:
    return _int32(_integer_conv(node, x, w, x_zero, w_zero))


@operator("QLinearConv")
def quantized_conv(
    node: Node,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    bias: Array = None,
) -> Array:
    """The bias is of the scale of the products."""
    y = _integer_conv(node, x, w, x_zero, w_zero)
    spatial = [1] * (shape_dtype(x).ndim - 2)
    if bias is not None:
        bias = np.reshape(as_dtype(bias, np.float64), (-1, *spatial))
        y = as_dtype(y, np.float64) + bias
    factor = _number(wide(x_scale)) * wide(w_scale) / _number(wide(y_scale))
    if shape_dtype(factor).size > 1:
        factor = np.reshape(factor, (-1, *spatial))
    return requantized(node, y, _number(factor), y_zero)


def integer_product(a: Array, b: Array, a_zero: Array | None, b_zero: Array | None) -> Array:
    depth = shape_dtype(a).shape[-1]
    a, b = _exact(depth, a, b)
    if a_zero is not None:
        a = a - _of_rows(as_dtype(a_zero, shape_dtype(a).dtype), a)
    if b_zero is not None:
        b = b - as_dtype(b_zero, shape_dtype(b).dtype)
    return np.matmul(a, b)


def _integer_conv(
    node: Node, x: Array, w: Array, x_zero: Array | None, w_zero: Array | None
) -> Array:
    """What is padded is x_zero, which stands for 0."""
    kernel = shape_dtype(w).shape
    x, w = _exact(math.prod(kernel[1:]), x, w)
    if x_zero is not None:
        x = x - _number(as_dtype(x_zero, shape_dtype(x).dtype))
    if w_zero is not None:
        w_zero = as_dtype(w_zero, shape_dtype(w).dtype)
        if shape_dtype(w_zero).size > 1:
            w_zero = np.reshape(w_zero, (-1, *[1] * (len(kernel) - 1)))
        w = w - _number(w_zero)
    conv = find("", "Conv", 11)
    assert conv is not None
    return conv(replace(node, inputs=node.inputs[:2]), x, w)


def _exact(depth: int, a: Array, b: Array) -> tuple[Array, Array]:
    """Both operands of a product as floats in which sums of so many products are exact."""
    small = all(shape_dtype(each).dtype.kind in "iu" for each in (a, b))
    if not small:
        return wide(a), wide(b)
    dtype = np.dtype(np.float32 if depth * 255 * 255 < 2**24 else np.float64)
    return ops.astype(a, dtype), ops.astype(b, dtype)


def _of_rows(value: Array, matrix: Array) -> Array:
    """A scale or zero point of the left operand: one for all, or one for each row."""
    known = shape_dtype(value)
    if known.ndim == 1 and known.size > 1 and shape_dtype(matrix).ndim > 1:
        return np.expand_dims(value, -1)
    return value


def _number(x: Array) -> Array:
    return np.reshape(x, ()) if shape_dtype(x).size == 1 else x


def _int32(x: Array) -> Array:
    """Sums that int32 does not hold wrap around in it."""
    return ops.astype(ops.astype(x, np.int64), np.int32)


def requantized(
    node: Node, product: Array, factor: Array, zero: Array | None, dtype: Any = np.uint8
) -> Array:
    """round(product · factor) + zero, computed in float32 as everybody does.

    The dtype is that of the zero point, or the given one without.
    """
    y = as_dtype(product, np.float32) * factor
    dtype = np.dtype(dtype) if zero is None else shape_dtype(zero).dtype
    if zero is None or dtype.name not in _WHOLE:
        return _saturated(node, y, None, dtype)
    return _saturated(node, y, _number(wide(zero)), dtype)
