"""JAX's names for what programs written against `jax.lax` ask for: control flow, collectives, and
thin functions over NumPy's.

JAX's own functions refuse to broadcast or to mix dtypes; these follow NumPy.

    >>> import numpy as np
    >>> select(np.array([True, False]), np.ones(2), np.zeros(2))
    array([1., 0.])
"""

from __future__ import annotations

from .. import ops
from ..ops import stop_gradient
from ..transforms import cond, fori_loop, map, scan, switch, while_loop
from ..transforms.collectives import (
    all_gather,
    axis_index,
    axis_size,
    pmax,
    pmean,
    pmin,
    ppermute,
    psum,
)
from .arrays import (
    argmax,
    argmin,
    batch_matmul,
    broadcast,
    broadcast_in_dim,
    clamp,
    concatenate,
    convert_element_type,
    cumsum,
    dot,
    expand_dims,
    full,
    full_like,
    integer_pow,
    iota,
    reshape,
    rev,
    rsqrt,
    select,
    select_n,
    sort,
    squeeze,
    top_k,
    transpose,
)
from .convolution import conv_general_dilated
from .parts import (
    dynamic_index_in_dim,
    dynamic_slice,
    dynamic_slice_in_dim,
    dynamic_update_slice,
    dynamic_update_slice_in_dim,
    index_in_dim,
    slice_in_dim,
)

abs, neg, sign, square, sqrt = ops.abs, ops.negative, ops.sign, ops.square, ops.sqrt
add, sub, mul, div, rem, pow = (
    ops.add, ops.subtract, ops.multiply, ops.divide, ops.fmod, ops.power,
)  # fmt: skip
exp, exp2, expm1, log, log1p = ops.exp, ops.exp2, ops.expm1, ops.log, ops.log1p
sin, cos, tan, asin, acos, atan = (
    ops.sin, ops.cos, ops.tan, ops.arcsin, ops.arccos, ops.arctan,
)  # fmt: skip
sinh, cosh, tanh = ops.sinh, ops.cosh, ops.tanh
asinh, acosh, atanh, atan2 = ops.arcsinh, ops.arccosh, ops.arctanh, ops.arctan2
max, min, nextafter = ops.maximum, ops.minimum, ops.nextafter
floor, ceil, is_finite = ops.floor, ops.ceil, ops.isfinite
eq, ne, lt, le, gt, ge = (
    ops.equal, ops.not_equal, ops.less, ops.less_equal, ops.greater, ops.greater_equal,
)  # fmt: skip
bitwise_and, bitwise_or, bitwise_xor = ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor
bitwise_not, population_count = ops.invert, ops.bitwise_count
shift_left, shift_right_arithmetic = ops.left_shift, ops.right_shift
real, imag, conj = ops.real, ops.imag, ops.conj
logistic = ops.sigmoid

__all__ = [
    "abs", "acos", "acosh", "add", "all_gather", "argmax", "argmin", "asin", "asinh", "atan",
    "atan2", "atanh", "axis_index", "axis_size", "batch_matmul", "bitwise_and", "bitwise_not",
    "bitwise_or", "bitwise_xor", "broadcast", "broadcast_in_dim", "ceil", "clamp",
    "concatenate", "cond", "conj", "conv_general_dilated", "convert_element_type", "cos",
    "cosh", "cumsum", "div", "dot", "dynamic_index_in_dim", "dynamic_slice",
    "dynamic_slice_in_dim", "dynamic_update_slice", "dynamic_update_slice_in_dim", "eq", "exp",
    "exp2", "expand_dims", "expm1", "floor", "fori_loop", "full", "full_like", "ge", "gt",
    "imag", "index_in_dim", "integer_pow", "iota", "is_finite", "le", "log", "log1p",
    "logistic", "lt", "map", "max", "min", "mul", "ne", "neg", "nextafter", "pmax", "pmean",
    "pmin", "population_count", "pow", "ppermute", "psum", "real", "rem", "reshape", "rev",
    "rsqrt", "scan", "select", "select_n", "shift_left", "shift_right_arithmetic", "sign",
    "sin", "sinh", "slice_in_dim", "sort", "sqrt", "square", "squeeze", "stop_gradient", "sub",
    "switch", "tan", "tanh", "top_k", "transpose", "while_loop",
]  # fmt: skip
