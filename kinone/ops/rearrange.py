"""The same elements in other places: flip, roll, turn; and functions along axes.

Compositions of slices, joins and gathers, which have all the rules.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Array, Tracer, implements, ndim_of, shape_of
from .axes import along, as_array, normalize_axes, normalize_axis
from .index import getitem
from .joining import concatenate, stack
from .shape import expand_dims, moveaxis, ravel, reshape, swapaxes, transpose

# ---- order ---------------------------------------------------------------------------------------


@implements(np.flip)
def flip(m: Array, axis: int | Sequence[int] | None = None) -> Array:
    """The elements in reverse order along axes, all of them by default.

    >>> flip(np.arange(4))
    array([3, 2, 1, 0])
    """
    m = as_array(m)
    axes = normalize_axes(axis, ndim_of(m))
    back = slice(None, None, -1)
    return m[tuple([back if i in axes else slice(None) for i in range(ndim_of(m))])]


@implements(np.flipud)
def flipud(m: Array) -> Array:
    """The first axis reversed.

    >>> flipud(np.arange(4).reshape(2, 2))
    array([[2, 3],
           [0, 1]])
    """
    if ndim_of(m) < 1:
        raise ValueError("Input must be >= 1-d.")
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Array) -> Array:
    """The second axis reversed.

    >>> fliplr(np.arange(4).reshape(2, 2))
    array([[1, 0],
           [3, 2]])
    """
    if ndim_of(m) < 2:
        raise ValueError("Input must be >= 2-d.")
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: Array, k: int = 1, axes: Sequence[int] = (0, 1)) -> Array:
    """A plane turned by `k` right angles, from the first of its axes towards the second.

    >>> rot90(np.arange(4).reshape(2, 2))
    array([[1, 3],
           [0, 2]])
    """
    m = as_array(m)
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    ndim = ndim_of(m)
    if axes[0] == axes[1] or abs(axes[0] - axes[1]) == ndim:
        raise ValueError("Axes must be different.")
    if not all(-ndim <= axis < ndim for axis in axes):
        raise ValueError(f"Axes={tuple(axes)} out of range for array of ndim={ndim}.")
    turns = k % 4
    if turns == 0:
        return m
    if turns == 2:
        return flip(flip(m, axes[0]), axes[1])
    if turns == 1:
        return swapaxes(flip(m, axes[1]), axes[0], axes[1])
    return flip(swapaxes(m, axes[0], axes[1]), axes[1])


@implements(np.roll)
def roll(a: Array, shift: Any, axis: int | Sequence[int] | None = None) -> Array:
    """The elements moved along axes, those that fall off the end coming back at the beginning.

    `shift` may be a tuple, as `axis`, and traced.

    >>> roll(np.arange(5), 2)
    array([3, 4, 0, 1, 2])
    """
    a = as_array(a)
    if axis is None:
        return reshape(
            _roll(ravel(a), shift, 0) if ndim_of(shift) == 0 else _roll(ravel(a), np.sum(shift), 0),
            shape_of(a),
        )
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = [normalize_axis(i, ndim_of(a)) for i in given]
    shifts = [shift] if ndim_of(shift) == 0 else list(shift)
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    for i in range(max(len(shifts), len(axes))):
        a = _roll(a, shifts[i % len(shifts)], axes[i % len(axes)])
    return a


def _roll(a: Array, shift: Any, axis: int) -> Array:
    n = shape_of(a)[axis]
    if n == 0:
        return a
    if isinstance(shift, Tracer):
        return getitem(a, along(axis, (np.arange(n) - shift) % n))
    start = -operator.index(shift) % n
    if start == 0:
        return a
    pieces = [a[along(axis, slice(start, None))], a[along(axis, slice(0, start))]]
    return concatenate(pieces, axis)


@implements(np.rollaxis)
def rollaxis(a: Array, axis: int, start: int = 0) -> Array:
    """An axis moved to stand before another one.

    >>> rollaxis(np.ones((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    a = as_array(a)
    ndim = ndim_of(a)
    axis = normalize_axis(axis, ndim)
    begin = start + ndim if start < 0 else start
    if not 0 <= begin < ndim + 1:
        raise np.exceptions.AxisError(
            f"'start' arg requires {-ndim} <= start < {ndim + 1}, but {start} was passed in"
        )
    begin -= axis < begin
    order = [i for i in range(ndim) if i != axis]
    order.insert(begin, axis)
    return transpose(a, order)


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Array, /) -> Array:
    """The last two axes exchanged.

    >>> matrix_transpose(np.ones((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = as_array(x)
    if ndim_of(x) < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {ndim_of(x)}")
    return swapaxes(x, -1, -2)


@implements(np.copy)
def copy(a: Array, order: str = "K", subok: bool = False) -> Array:
    """The array itself where it is traced, for nothing can change it; otherwise a copy.

    >>> copy(np.arange(3))
    array([0, 1, 2])
    """
    return a if isinstance(a, Tracer) else np.array(a)


# ---- more axes -----------------------------------------------------------------------------------


def _each(function: Callable[[Array], Array], arrays: Sequence[Array]) -> Any:
    results = tuple([function(as_array(a)) for a in arrays])
    return results[0] if len(results) == 1 else results


@implements(np.atleast_1d)
def atleast_1d(*arys: Array) -> Any:
    """With at least one axis; a tuple for several operands.

    >>> atleast_1d(3.0)
    array([3.])
    """
    return _each(lambda a: a if ndim_of(a) else reshape(a, (1,)), arys)


@implements(np.atleast_2d)
def atleast_2d(*arys: Array) -> Any:
    """With at least two axes, new ones in front; a tuple for several operands.

    >>> atleast_2d(np.arange(3)).shape
    (1, 3)
    """
    return _each(_two_axes, arys)


def _two_axes(a: Array) -> Array:
    return a if ndim_of(a) >= 2 else reshape(a, (1, math.prod(shape_of(a))))


@implements(np.atleast_3d)
def atleast_3d(*arys: Array) -> Any:
    """With at least three axes: of a vector the middle one, of a matrix the first two.

    >>> atleast_3d(np.ones(3)).shape, atleast_3d(np.ones((3, 4))).shape
    ((1, 3, 1), (3, 4, 1))
    """
    return _each(lambda a: a if ndim_of(a) >= 3 else expand_dims(_two_axes(a), -1), arys)


# ---- functions along axes ------------------------------------------------------------------------


@implements(np.apply_along_axis)
def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Array, *args: Any, **kwargs: Any
) -> Array:
    """A function of vectors on every slice along an axis; its result takes the axis' place.

    >>> apply_along_axis(np.sum, 0, np.arange(6.0).reshape(2, 3))
    array([3., 5., 7.])
    """
    arr = as_array(arr)
    axis = normalize_axis(axis, ndim_of(arr))
    last = moveaxis(arr, axis, -1)
    *lead, n = shape_of(last)
    if math.prod(lead) == 0:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    rows = reshape(last, (math.prod(lead), n))
    results = [as_array(func1d(row, *args, **kwargs)) for row in rows]
    whole = stack(results)
    new = shape_of(whole)[1:]
    whole = reshape(whole, (*lead, *new))
    sources = tuple(range(len(lead), len(lead) + len(new)))
    return moveaxis(whole, sources, tuple(range(axis, axis + len(new))))


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Array, axes: int | Sequence[int]) -> Array:
    """A reduction over several axes in turn, which keep length 1.

    >>> apply_over_axes(np.sum, np.ones((2, 3, 4)), (0, 2)).shape
    (1, 3, 1)
    """
    a = as_array(a)
    ndim = ndim_of(a)
    for axis in axes if isinstance(axes, (tuple, list, np.ndarray)) else (axes,):
        place = normalize_axis(axis, ndim)
        result = func(a, place)
        if ndim_of(result) != ndim:
            result = expand_dims(result, place)
        a = result
    return a


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Array,
    window_shape: int | Sequence[int],
    axis: Any = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Array:
    """All windows of a shape, in new axes at the end.

    >>> sliding_window_view(np.arange(5), 3)
    array([[0, 1, 2],
           [1, 2, 3],
           [2, 3, 4]])
    """
    x = as_array(x)
    windows = tuple(window_shape) if isinstance(window_shape, (tuple, list)) else (window_shape,)
    given = (
        range(ndim_of(x)) if axis is None else axis if isinstance(axis, (tuple, list)) else [axis]
    )
    axes = [normalize_axis(i, ndim_of(x)) for i in given]
    if len(windows) != len(axes):
        raise ValueError(
            "Must provide matching length window_shape and axis; got "
            f"{len(windows)} window_shape elements and {len(axes)} axes elements."
        )
    for place, width in zip(axes, windows, strict=True):
        n = shape_of(x)[place]
        if width < 0:
            raise ValueError("`window_shape` cannot contain negative values")
        if width > n:
            raise ValueError("window shape cannot be larger than input array shape")
        starts = np.arange(n - width + 1)[:, None] + np.arange(width)
        x = moveaxis(getitem(x, along(place, starts)), place + 1, -1)
    return x
