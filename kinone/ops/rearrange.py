"""The same elements in other places: flip, roll, tile, repeat, insert, delete, and their kin.

Compositions of slices, joins and gathers, which have all the rules.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Array, Tracer, implements, ndim_of, shape_dtype, shape_of
from .axes import along, as_array, normalize_axes, normalize_axis
from .concrete import known
from .index import getitem
from .shape import (
    astype,
    broadcast_to,
    concatenate,
    expand_dims,
    moveaxis,
    ravel,
    reshape,
    stack,
    swapaxes,
    transpose,
)

# ---- order ---------------------------------------------------------------------------------------


@implements(np.flip)
def flip(m: Array, axis: int | Sequence[int] | None = None) -> Array:
    """The elements in reverse order along axes, all of them by default."""
    m = as_array(m)
    axes = normalize_axes(axis, ndim_of(m))
    back = slice(None, None, -1)
    return m[tuple([back if i in axes else slice(None) for i in range(ndim_of(m))])]


@implements(np.flipud)
def flipud(m: Array) -> Array:
    """The first axis reversed."""
    if ndim_of(m) < 1:
        raise ValueError("Input must be >= 1-d.")
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Array) -> Array:
    """The second axis reversed."""
    if ndim_of(m) < 2:
        raise ValueError("Input must be >= 2-d.")
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: Array, k: int = 1, axes: Sequence[int] = (0, 1)) -> Array:
    """A plane turned by `k` right angles, from the first of its axes towards the second."""
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
    """An axis moved to stand before another one."""
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
    """The last two axes exchanged."""
    x = as_array(x)
    if ndim_of(x) < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {ndim_of(x)}")
    return swapaxes(x, -1, -2)


# ---- more axes -----------------------------------------------------------------------------------


def _each(function: Callable[[Array], Array], arrays: Sequence[Array]) -> Any:
    results = tuple([function(as_array(a)) for a in arrays])
    return results[0] if len(results) == 1 else results


@implements(np.atleast_1d)
def atleast_1d(*arys: Array) -> Any:
    """With at least one axis; a tuple for several operands."""
    return _each(lambda a: a if ndim_of(a) else reshape(a, (1,)), arys)


@implements(np.atleast_2d)
def atleast_2d(*arys: Array) -> Any:
    """With at least two axes, new ones in front; a tuple for several operands."""
    return _each(_two_axes, arys)


def _two_axes(a: Array) -> Array:
    return a if ndim_of(a) >= 2 else reshape(a, (1, math.prod(shape_of(a))))


@implements(np.atleast_3d)
def atleast_3d(*arys: Array) -> Any:
    """With at least three axes: of a vector the middle one, of a matrix the first two."""
    return _each(lambda a: a if ndim_of(a) >= 3 else expand_dims(_two_axes(a), -1), arys)


# ---- repetition ----------------------------------------------------------------------------------


@implements(np.tile)
def tile(A: Array, reps: int | Sequence[int]) -> Array:
    """The array repeated as a whole along each axis, in new axes in front where there are more."""
    A = as_array(A)
    given = (
        tuple(reps) if isinstance(reps, (tuple, list, np.ndarray)) and ndim_of(reps) else (reps,)
    )
    times = [operator.index(n) for n in given]
    times = [1] * (ndim_of(A) - len(times)) + times
    shape = (1,) * (len(times) - ndim_of(A)) + shape_of(A)
    A = reshape(A, [k for n in shape for k in (1, n)])
    A = broadcast_to(A, [k for n, count in zip(shape, times, strict=True) for k in (count, n)])
    return reshape(A, [n * count for n, count in zip(shape, times, strict=True)])


@implements(np.repeat)
def repeat(a: Array, repeats: Any, axis: int | None = None) -> Array:
    """Each element along an axis several times: one number for all, or one for each."""
    a = as_array(a)
    if axis is None:
        a, axis = ravel(a), 0
    elif ndim_of(a) == 0:
        a = reshape(a, (1,))
    axis = normalize_axis(axis, ndim_of(a))
    counts = known(repeats, "np.repeat")
    shape = shape_of(a)
    if counts.size == 1 and counts.dtype.kind in "iu" and counts.ravel()[0] >= 0:
        count = int(counts.ravel()[0])
        whole = broadcast_to(
            expand_dims(a, axis + 1), (*shape[: axis + 1], count, *shape[axis + 1 :])
        )
        return reshape(whole, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))
    places = np.repeat(np.arange(shape[axis]), counts)
    return getitem(a, along(axis, places))


@implements(np.resize)
def resize(a: Array, new_shape: int | Sequence[int]) -> Array:
    """The elements in order, from the beginning again as often as the new shape needs them."""
    given = (new_shape,) if isinstance(new_shape, (int, np.integer)) else tuple(new_shape)
    shape = tuple([operator.index(n) for n in given])
    if any(n < 0 for n in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    flat = ravel(as_array(a))
    size, wanted = shape_of(flat)[0], math.prod(shape)
    if size == 0:
        return np.zeros(shape, shape_dtype(flat).dtype)
    return reshape(getitem(flat, np.arange(wanted) % size), shape)


# ---- some more, some fewer -----------------------------------------------------------------------


@implements(np.append)
def append(arr: Array, values: Array, axis: int | None = None) -> Array:
    """Values after the end of an array; both flattened for `axis=None`."""
    arr, values = as_array(arr), as_array(values)
    if axis is None:
        arr, values, axis = ravel(arr), ravel(values), ndim_of(arr) - 1 if ndim_of(arr) == 1 else 0
    return concatenate([arr, values], axis)


def _places(obj: Any, what: str) -> Any:
    """A slice, or an array of places; an empty list holds no floating numbers, but none."""
    if isinstance(obj, slice):
        return obj
    plain = known(obj, what)
    return plain.astype(np.intp) if isinstance(obj, (list, tuple)) and not plain.size else plain


@implements(np.delete)
def delete(arr: Array, obj: Any, axis: int | None = None) -> Array:
    """Without the elements at these places: an integer, a slice, integers or a mask."""
    arr = as_array(arr)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = normalize_axis(axis, ndim_of(arr))
    obj = _places(obj, "np.delete")
    n = shape_of(arr)[axis]
    try:
        kept = np.delete(np.arange(n), obj)
    except IndexError as error:
        text = str(error).replace("axis 0", f"axis {axis}")
        raise IndexError(text) from None
    return getitem(arr, along(axis, kept))


@implements(np.insert)
def insert(arr: Array, obj: Any, values: Array, axis: int | None = None) -> Array:
    """With values put in before these places: an integer, a slice, integers or a mask."""
    arr, values = as_array(arr), as_array(values)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = normalize_axis(axis, ndim_of(arr))
    shape = shape_of(arr)
    n = shape[axis]
    obj = _places(obj, "np.insert")
    values = astype(values, shape_dtype(arr).dtype)
    if not isinstance(obj, slice) and (obj.ndim == 0 or obj.size == 1):
        # One place takes as many slices as there are values, counted along the first axis if the
        # place is a number.
        values = reshape(values, (1,) * (ndim_of(arr) - ndim_of(values)) + shape_of(values))
        if obj.ndim == 0:
            values = moveaxis(values, 0, axis)
        count = shape_of(values)[axis]
    else:
        count = len(np.insert(np.arange(n), obj, -1)) - n
    room = (*shape[:axis], count, *shape[axis + 1 :])
    everything = concatenate([arr, broadcast_to(values, room)], axis)
    order = np.insert(np.arange(n), obj, n + np.arange(count))
    return getitem(everything, along(axis, order))


@implements(np.trim_zeros)
def trim_zeros(filt: Array, trim: str = "fb", axis: Any = None) -> Array:
    """Without the zeros at the front ("f") and back ("b"): possible where the values are there."""
    filt = as_array(filt)
    places = np.argwhere(known(filt, "np.trim_zeros"))
    sides = trim.lower()
    if sides not in ("", "f", "b", "fb", "bf"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    axes = normalize_axes(axis, ndim_of(filt))
    index: list[slice] = []
    for i, n in enumerate(shape_of(filt)):
        start, stop = 0, n
        if i in axes and len(places) == 0:
            stop = 0 if sides else n
        elif i in axes:
            start = int(places[:, i].min()) if "f" in sides else 0
            stop = int(places[:, i].max()) + 1 if "b" in sides else n
        index.append(slice(start, stop))
    return filt[tuple(index)]


@implements(np.copy)
def copy(a: Array, order: str = "K", subok: bool = False) -> Array:
    """The array itself where it is traced, for nothing can change it; otherwise a copy."""
    return a if isinstance(a, Tracer) else np.array(a)


# ---- functions along axes ------------------------------------------------------------------------


@implements(np.apply_along_axis)
def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Array, *args: Any, **kwargs: Any
) -> Array:
    """A function of vectors on every slice along an axis; its result takes the axis' place."""
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
    """A reduction over several axes in turn, which keep length 1."""
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
    """All windows of a shape, in new axes at the end."""
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
