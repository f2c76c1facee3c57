"""Whole arrays: elementwise, in another shape, along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..core import Array, shape_dtype, shape_of

# ---- elementwise ---------------------------------------------------------------------------------


def rsqrt(x: Array) -> Array:
    """1 / √x

    >>> float(rsqrt(4.0))
    0.5
    """
    return 1 / np.sqrt(x)


def integer_pow(x: Array, y: int) -> Array:
    """x to a power that is a Python integer.

    >>> integer_pow(3.0, 2)
    9.0
    """
    return x**y


def clamp(min: Array, x: Array, max: Array) -> Array:
    """`x` limited to [min, max].

    >>> clamp(0.0, np.array([-1.0, 0.5, 2.0]), 1.0)
    array([0. , 0.5, 1. ])
    """
    return ops.clip(x, min, max)


def select(pred: Array, on_true: Array, on_false: Array) -> Array:
    """`on_true` where `pred`, else `on_false`.

    >>> select(np.array([True, False]), np.ones(2), np.zeros(2))
    array([1., 0.])
    """
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
    """`operand` in another dtype.

    >>> convert_element_type(np.array([1.5, -2.5]), np.int64)
    array([ 1, -2])
    """
    return ops.astype(operand, np.dtype(new_dtype))


# ---- shape ---------------------------------------------------------------------------------------


def reshape(
    operand: Array, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None
) -> Array:
    """`operand` in another shape; `dimensions` are its axes in the order in which they are read.

    >>> reshape(np.arange(4), (2, 2))
    array([[0, 1],
           [2, 3]])
    """
    if dimensions is not None:
        operand = np.transpose(operand, tuple(dimensions))
    return np.reshape(operand, tuple(new_sizes))


def transpose(operand: Array, permutation: Sequence[int]) -> Array:
    """The axes in another order.

    >>> transpose(np.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return np.transpose(operand, tuple(permutation))


def squeeze(array: Array, dimensions: Sequence[int]) -> Array:
    """Without these axes of length 1.

    >>> squeeze(np.ones((1, 3)), (0,)).shape
    (3,)
    """
    return np.squeeze(array, tuple(dimensions))


def expand_dims(array: Array, dimensions: Sequence[int]) -> Array:
    """With new axes of length 1 at these places of the result.

    >>> expand_dims(np.ones(3), (0, 2)).shape
    (1, 3, 1)
    """
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
    """Backwards along these axes.

    >>> rev(np.arange(3), (0,))
    array([2, 1, 0])
    """
    return np.flip(operand, tuple(dimensions))


def concatenate(operands: Sequence[Array], dimension: int) -> Array:
    """Along an axis that there is.

    >>> concatenate([np.zeros(1), np.ones(2)], 0)
    array([0., 1., 1.])
    """
    return np.concatenate(list(operands), axis=dimension)


def iota(dtype: Any, size: int) -> Array:
    """0, 1, …, size - 1

    >>> iota(np.float32, 3)
    array([0., 1., 2.], dtype=float32)
    """
    return np.arange(size, dtype=dtype)


def full(shape: Sequence[int], fill_value: Array, dtype: Any = None) -> Array:
    """An array of one value.

    >>> full((2,), 7)
    array([7, 7])
    """
    kind = shape_dtype(fill_value).dtype if dtype is None else dtype
    repeated: Array = np.broadcast_to(convert_element_type(fill_value, kind), tuple(shape))
    return repeated.copy()


def full_like(x: Array, fill_value: Array, dtype: Any = None, shape: Any = None) -> Array:
    """An array like `x`, of one value.

    >>> full_like(np.zeros(2), 7)
    array([7., 7.])
    """
    known = shape_dtype(x)
    return full(known.shape if shape is None else shape, fill_value, dtype or known.dtype)


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
    """The place of the first largest element.

    >>> int(argmax(np.array([1.0, 9.0, 5.0]), 0, np.int32))
    1
    """
    return convert_element_type(np.argmax(operand, axis=axis), index_dtype)


def argmin(operand: Array, axis: int, index_dtype: Any) -> Array:
    """The place of the first smallest element.

    >>> int(argmin(np.array([4.0, 1.0, 5.0]), 0, np.int32))
    1
    """
    return convert_element_type(np.argmin(operand, axis=axis), index_dtype)


def sort(operand: Array, dimension: int = -1) -> Array:
    """In increasing order.

    >>> sort(np.array([3, 1, 2]))
    array([1, 2, 3])
    """
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
    """The product of vectors and matrices.

    >>> float(dot(np.ones(3), np.arange(3.0)))
    3.0
    """
    return np.matmul(lhs, rhs)


def batch_matmul(lhs: Array, rhs: Array) -> Array:
    """The products of stacks of matrices.

    >>> batch_matmul(np.ones((5, 2, 3)), np.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    return np.matmul(lhs, rhs)
