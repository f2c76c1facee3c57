"""Slices of fixed size, from places that may be traced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import ops, source
from ..core import Array, shape_dtype, shape_of
from ..errors import ShapeError
from .arrays import clamp


def slice_in_dim(
    operand: Array,
    start_index: int | None,
    limit_index: int | None,
    stride: int = 1,
    axis: int = 0,
) -> Array:
    """`operand[start:limit:stride]` along an axis.

    >>> slice_in_dim(np.arange(6), 1, 5, stride=2)
    array([1, 3])
    """
    index = [slice(None)] * len(shape_of(operand))
    index[axis] = slice(start_index, limit_index, stride)
    return ops.getitem(operand, tuple(index))


def index_in_dim(operand: Array, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """One place of an axis, which stays as one of length 1.

    >>> index_in_dim(np.arange(6), 2)
    array([2])
    """
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
    """`dynamic_slice` along one axis.

    >>> dynamic_slice_in_dim(np.arange(6), 2, 3)
    array([2, 3, 4])
    """
    places = _inside(operand, start_index, slice_size, axis) + np.arange(slice_size)
    return ops.take(operand, places, axis=axis)


def dynamic_index_in_dim(
    operand: Array, index: Array, axis: int = 0, keepdims: bool = True
) -> Array:
    """One place of an axis, which stays as one of length 1; negative ones count from the end.

    >>> dynamic_index_in_dim(np.arange(6), -1)
    array([5])
    """
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
    """`dynamic_update_slice` along one axis.

    >>> dynamic_update_slice_in_dim(np.zeros(4), np.ones(2), 2, 0)
    array([0., 0., 1., 1.])
    """
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
