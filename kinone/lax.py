"""JAX's names for what programs written against `jax.lax` ask for: control flow, collectives, and
thin functions over NumPy's.

JAX's own functions refuse to broadcast or to mix dtypes; these follow NumPy.

    >>> import numpy as np
    >>> select(np.array([True, False]), np.ones(2), np.zeros(2))
    array([1., 0.])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops, source
from .core import Array, shape_dtype, shape_of
from .errors import ShapeError
from .ops import stop_gradient
from .transforms import cond, fori_loop, map, scan, switch, while_loop
from .transforms.collectives import (
    all_gather,
    axis_index,
    axis_size,
    pmax,
    pmean,
    pmin,
    ppermute,
    psum,
)

# ---- elementwise ---------------------------------------------------------------------------------

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


def rsqrt(x: Array) -> Array:
    """1 / √x

    >>> float(rsqrt(4.0))
    0.5
    """
    return 1 / np.sqrt(x)


def integer_pow(x: Array, y: int) -> Array:
    """x to a power that is a Python integer."""
    return x**y


def clamp(min: Array, x: Array, max: Array) -> Array:
    """`x` limited to [min, max].

    >>> clamp(0.0, np.array([-1.0, 0.5, 2.0]), 1.0)
    array([0. , 0.5, 1. ])
    """
    return ops.clip(x, min, max)


def select(pred: Array, on_true: Array, on_false: Array) -> Array:
    """`on_true` where `pred`, else `on_false`."""
    return np.where(pred, on_true, on_false)


def select_n(which: Array, *cases: Array) -> Array:
    """The case that an integer, or a truth value, chooses element by element.

    >>> select_n(np.array([0, 2, 1]), np.zeros(3), np.ones(3), np.full(3, 2.0))
    array([0., 2., 1.])
    """
    chosen = cases[0]
    for number, case in enumerate(cases[1:], 1):
        chosen = np.where(which >= number, case, chosen)
    return chosen


def convert_element_type(operand: Array, new_dtype: Any) -> Array:
    """`operand` in another dtype."""
    return ops.astype(operand, np.dtype(new_dtype))


# ---- shape ---------------------------------------------------------------------------------------


def reshape(
    operand: Array, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None
) -> Array:
    """`operand` in another shape; `dimensions` are its axes in the order in which they are read."""
    if dimensions is not None:
        operand = np.transpose(operand, tuple(dimensions))
    return np.reshape(operand, tuple(new_sizes))


def transpose(operand: Array, permutation: Sequence[int]) -> Array:
    """The axes in another order."""
    return np.transpose(operand, tuple(permutation))


def squeeze(array: Array, dimensions: Sequence[int]) -> Array:
    """Without these axes of length 1."""
    return np.squeeze(array, tuple(dimensions))


def expand_dims(array: Array, dimensions: Sequence[int]) -> Array:
    """With new axes of length 1 at these places of the result."""
    return np.expand_dims(array, tuple(dimensions))


def broadcast(operand: Array, sizes: Sequence[int]) -> Array:
    """Repeated along new leading axes.

    >>> broadcast(np.arange(2), (3,)).shape
    (3, 2)
    """
    return np.broadcast_to(operand, (*sizes, *shape_of(operand)))


def broadcast_in_dim(
    operand: Array, shape: Sequence[int], broadcast_dimensions: Sequence[int]
) -> Array:
    """Axis i of `operand` becomes axis `broadcast_dimensions[i]` of an array of this shape.

    >>> broadcast_in_dim(np.arange(2), (2, 3), (0,))
    array([[0, 0, 0],
           [1, 1, 1]])
    """
    inner = [1] * len(shape)
    for size, place in zip(shape_of(operand), broadcast_dimensions, strict=True):
        inner[place] = size
    return np.broadcast_to(np.reshape(operand, tuple(inner)), tuple(shape))


def rev(operand: Array, dimensions: Sequence[int]) -> Array:
    """Backwards along these axes."""
    return np.flip(operand, tuple(dimensions))


def concatenate(operands: Sequence[Array], dimension: int) -> Array:
    """Along an axis that there is."""
    return np.concatenate(list(operands), axis=dimension)


def iota(dtype: Any, size: int) -> Array:
    """0, 1, …, size - 1"""
    return np.arange(size, dtype=dtype)


def full(shape: Sequence[int], fill_value: Array, dtype: Any = None) -> Array:
    """An array of one value."""
    kind = shape_dtype(fill_value).dtype if dtype is None else dtype
    repeated: Array = np.broadcast_to(convert_element_type(fill_value, kind), tuple(shape))
    return repeated.copy()


def full_like(x: Array, fill_value: Array, dtype: Any = None, shape: Any = None) -> Array:
    """An array like `x`, of one value."""
    known = shape_dtype(x)
    return full(known.shape if shape is None else shape, fill_value, dtype or known.dtype)


# ---- parts ---------------------------------------------------------------------------------------


def slice_in_dim(
    operand: Array,
    start_index: int | None,
    limit_index: int | None,
    stride: int = 1,
    axis: int = 0,
) -> Array:
    """`operand[start:limit:stride]` along an axis."""
    index = [slice(None)] * len(shape_of(operand))
    index[axis] = slice(start_index, limit_index, stride)
    return ops.getitem(operand, tuple(index))


def index_in_dim(operand: Array, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """One place of an axis, which stays as one of length 1."""
    return dynamic_index_in_dim(operand, index, axis, keepdims)


def dynamic_slice(
    operand: Array, start_indices: Sequence[Array], slice_sizes: Sequence[int]
) -> Array:
    """A part of fixed size from a place that may be traced; it is moved to lie inside.

    >>> dynamic_slice(np.arange(5), (3,), (3,))
    array([2, 3, 4])
    """
    for axis, (start, size) in enumerate(zip(start_indices, slice_sizes, strict=True)):
        operand = dynamic_slice_in_dim(operand, start, size, axis)
    return operand


def dynamic_slice_in_dim(
    operand: Array, start_index: Array, slice_size: int, axis: int = 0
) -> Array:
    """`dynamic_slice` along one axis."""
    places = _inside(operand, start_index, slice_size, axis) + np.arange(slice_size)
    return ops.take(operand, places, axis=axis)


def dynamic_index_in_dim(
    operand: Array, index: Array, axis: int = 0, keepdims: bool = True
) -> Array:
    """One place of an axis, which stays as one of length 1; negative ones count from the end."""
    size = shape_of(operand)[axis]
    place = np.where(index < 0, index + size, index)
    found = dynamic_slice_in_dim(operand, place, 1, axis)
    return found if keepdims else np.squeeze(found, axis)


def dynamic_update_slice(operand: Array, update: Array, start_indices: Sequence[Array]) -> Array:
    """`operand` with `update` in place of a part; the place is moved to lie inside.

    >>> dynamic_update_slice(np.zeros(4), np.ones(2), (1,))
    array([0., 1., 1., 0.])
    """
    places = []
    ndim = len(shape_of(operand))
    for axis, (start, size) in enumerate(zip(start_indices, shape_of(update), strict=True)):
        along = _inside(operand, start, size, axis) + np.arange(size)
        places.append(np.reshape(along, (*[1] * axis, size, *[1] * (ndim - axis - 1))))
    return ops.set_at(operand, tuple(places), update)


def dynamic_update_slice_in_dim(
    operand: Array, update: Array, start_index: Array, axis: int
) -> Array:
    """`dynamic_update_slice` along one axis."""
    starts: list[Array] = [0] * len(shape_of(operand))
    starts[axis] = start_index
    return dynamic_update_slice(operand, update, starts)


def _inside(operand: Array, start: Array, size: int, axis: int) -> Array:
    length = shape_of(operand)[axis]
    if size > length:
        raise ShapeError(
            f"a slice of {size} along axis {axis} of {shape_dtype(operand)}, at {source.here()}"
        )
    return clamp(0, start, length - size)


# ---- along an axis -------------------------------------------------------------------------------


def cumsum(operand: Array, axis: int = 0, reverse: bool = False) -> Array:
    """Sums of all elements up to each; with `reverse` from the end.

    >>> cumsum(np.arange(4), reverse=True)
    array([6, 6, 5, 3])
    """
    if reverse:
        return np.flip(np.cumsum(np.flip(operand, axis), axis=axis), axis)
    return np.cumsum(operand, axis=axis)


def argmax(operand: Array, axis: int, index_dtype: Any) -> Array:
    """The place of the first largest element."""
    return convert_element_type(np.argmax(operand, axis=axis), index_dtype)


def argmin(operand: Array, axis: int, index_dtype: Any) -> Array:
    """The place of the first smallest element."""
    return convert_element_type(np.argmin(operand, axis=axis), index_dtype)


def sort(operand: Array, dimension: int = -1) -> Array:
    """In increasing order."""
    return np.sort(operand, axis=dimension)


def top_k(operand: Array, k: int) -> tuple[Array, Array]:
    """The `k` largest elements of the last axis, the largest first, and their places.

    >>> top_k(np.array([3.0, 9.0, 5.0]), 2)
    (array([9., 5.]), array([1, 2]))
    """
    order = np.flip(np.argsort(np.flip(operand, -1), axis=-1, kind="stable"), -1)
    places = (shape_of(operand)[-1] - 1 - order)[..., :k]
    return np.take_along_axis(operand, places, axis=-1), places


def dot(lhs: Array, rhs: Array) -> Array:
    """The product of vectors and matrices."""
    return np.matmul(lhs, rhs)


def batch_matmul(lhs: Array, rhs: Array) -> Array:
    """The products of stacks of matrices."""
    return np.matmul(lhs, rhs)


# ---- convolutions --------------------------------------------------------------------------------


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Sequence[str] | None = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
) -> Array:
    """JAX's convolution; `kinone.ops.conv` is the plain form.

    `dimension_numbers` are the letters of the axes of image, kernel and result, such as
    `("NHWC", "HWIO", "NHWC")`; by default `("NCHW", "OIHW", "NCHW")`.

    Raises `NotImplementedError` for `lhs_dilation` (see `kinone.ops.conv_transpose`) and for
    `batch_group_count`.
    """
    if batch_group_count != 1 or any(d != 1 for d in lhs_dilation or ()):
        raise NotImplementedError(
            "conv_general_dilated without lhs_dilation and batch_group_count is there, "
            f"at {source.here()}\n  Write kinone.ops.conv_transpose for a dilated image."
        )
    rank = len(shape_of(lhs)) - 2
    spatial = "DHW"[-rank:]
    image, kernel, result = dimension_numbers or (f"NC{spatial}", f"OI{spatial}", f"NC{spatial}")
    places = image.replace("N", "").replace("C", "")  # the spatial letters in the user's order
    y = ops.conv(
        np.transpose(lhs, [image.index(letter) for letter in f"N{places}C"]),
        np.transpose(rhs, [kernel.index(letter) for letter in f"{places}IO"]),
        strides=tuple(window_strides),
        padding=padding if isinstance(padding, str) else tuple([tuple(pair) for pair in padding]),
        dilation=1 if rhs_dilation is None else tuple(rhs_dilation),
        groups=feature_group_count,
    )
    return np.transpose(y, [f"N{places}C".index(letter) for letter in result])


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
