"""Arrays put together by shape: hstack, vstack, block, append's kin; and nested lists of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Tracer, implements, ndim_of
from .axes import as_array
from .joining import concatenate, stack
from .rearrange import atleast_1d, atleast_2d, atleast_3d
from .shape import astype, reshape


def _list(function: Any, arrays: Sequence[Array]) -> list[Array]:
    return [function(a) for a in arrays]


@implements(np.hstack)
def hstack(tup: Sequence[Array], *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """Side by side: along the second axis, vectors along their only one.

    >>> hstack([np.array([1, 2]), np.array([3])])
    array([1, 2, 3])
    """
    arrays = _list(atleast_1d, tup)
    axis = 0 if arrays and ndim_of(arrays[0]) == 1 else 1
    return concatenate(arrays, axis, dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup: Sequence[Array], *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """One below the other: along the first axis, vectors as rows.

    >>> vstack([np.array([1, 2]), np.array([3, 4])])
    array([[1, 2],
           [3, 4]])
    """
    return concatenate(_list(atleast_2d, tup), 0, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Sequence[Array]) -> Array:
    """One behind the other, along the third axis.

    >>> dstack([np.ones((2, 3)), np.ones((2, 3))]).shape
    (2, 3, 2)
    """
    return concatenate(_list(atleast_3d, tup), 2)


@implements(np.column_stack)
def column_stack(tup: Sequence[Array]) -> Array:
    """Vectors as the columns of a matrix, matrices as they are.

    >>> column_stack([np.array([1, 2]), np.array([3, 4])])
    array([[1, 3],
           [2, 4]])
    """
    columns = [as_array(a) for a in tup]
    columns = [reshape(a, (-1, 1)) if ndim_of(a) < 2 else a for a in columns]
    return concatenate(columns, 1)


@implements(np.block)
def block(arrays: Any) -> Array:
    """An array from nested lists of blocks: the innermost lists join along the last axis, the next
    along the one before it.

    Raises `ValueError` for lists of different depths and for empty ones.

    >>> block([[np.eye(2), np.zeros((2, 1))], [np.zeros((1, 2)), 5.0]])
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 5.]])
    """
    depth = _depth(arrays)
    ndim = max(depth, *_ndims(arrays))
    return _block(arrays, depth, ndim)


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        if isinstance(arrays, tuple):
            raise TypeError(
                "arrays is a tuple. Only lists can be used to arrange blocks, and np.block does "
                "not allow implicit conversion from tuple to ndarray."
            )
        return 0
    if not arrays:
        raise ValueError("List at arrays cannot be empty")
    depths = {_depth(each) for each in arrays}
    if len(depths) > 1:
        raise ValueError(
            f"List depths are mismatched. One element of arrays is nested {min(depths)} deep, "
            f"another {max(depths)}"
        )
    return depths.pop() + 1


def _ndims(arrays: Any) -> list[int]:
    if isinstance(arrays, list):
        return [ndim for each in arrays for ndim in _ndims(each)]
    return [ndim_of(arrays)]


def _block(arrays: Any, depth: int, ndim: int) -> Array:
    if depth == 0:
        x = as_array(arrays)
        return reshape(x, (1,) * (ndim - ndim_of(x)) + x.shape)
    return concatenate([_block(each, depth - 1, ndim) for each in arrays], -depth)


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> Array:
    """`np.array` for what may hold traced values, in nested lists too.

    `np.array([a, b])` itself cannot be asked to: NumPy makes arrays of numbers alone. It can with
    `like=`: `np.array([a, b], like=a)`.

    >>> array([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    made = _nested(object)
    if ndmax and ndim_of(made) > ndmax:
        raise ValueError(f"an array of {ndim_of(made)} axes is no array of at most {ndmax}")
    if dtype is not None:
        made = astype(made, dtype)
    if ndim_of(made) < ndmin:
        made = reshape(made, (1,) * (ndmin - ndim_of(made)) + made.shape)
    return np.array(made) if copy and not isinstance(made, Tracer) else made


def _nested(object: Any) -> Array:
    if isinstance(object, (list, tuple)) and _holds_tracer(object):
        return stack([_nested(each) for each in object])
    return as_array(object)


def _holds_tracer(object: Any) -> bool:
    if isinstance(object, (list, tuple)):
        return any(_holds_tracer(each) for each in object)
    return isinstance(object, Tracer)


implements(np.array)(array)


@implements(np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)
def asarray(a: Any, dtype: Any = None, order: str | None = None, **options: Any) -> Array:
    """`array` without a copy; traced values have no memory order.

    >>> asarray([1.0, 2.0])
    array([1., 2.])
    """
    return array(a, dtype, copy=None)


@implements(np.require)
def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Array:
    """`asarray`: traced values meet all requirements but being written to."""
    return array(a, dtype, copy=None) if _holds_tracer(a) else np.require(a, dtype, requirements)
