"""More or fewer elements along an axis: tile, repeat, resize, append, insert, delete, trim.

Compositions of joins and gathers, which have all the rules.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, implements, ndim_of, shape_dtype, shape_of
from .axes import along, as_array, normalize_axes, normalize_axis
from .concrete import known
from .index import getitem
from .joining import concatenate
from .shape import astype, broadcast_to, expand_dims, moveaxis, ravel, reshape

# ---- repetition ----------------------------------------------------------------------------------


@implements(np.tile)
def tile(A: Array, reps: int | Sequence[int]) -> Array:
    """The array repeated as a whole along each axis, in new axes in front where there are more.

    >>> tile(np.array([1, 2]), (2, 2))
    array([[1, 2, 1, 2],
           [1, 2, 1, 2]])
    """
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
    """Each element along an axis several times: one number for all, or one for each.

    >>> repeat(np.array([1, 2]), [1, 3])
    array([1, 2, 2, 2])
    """
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
    """The elements in order, from the beginning again as often as the new shape needs them.

    >>> resize(np.arange(3), (2, 4))
    array([[0, 1, 2, 0],
           [1, 2, 0, 1]])
    """
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
    """Values after the end of an array; both flattened for `axis=None`.

    >>> append(np.array([1.0, 2.0]), 3.0)
    array([1., 2., 3.])
    """
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
    """Without the elements at these places: an integer, a slice, integers or a mask.

    >>> delete(np.arange(5), [0, -1])
    array([1, 2, 3])
    """
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
    """With values put in before these places: an integer, a slice, integers or a mask.

    >>> insert(np.arange(3), 1, 9)
    array([0, 9, 1, 2])
    """
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
    """Without the zeros at the front ("f") and back ("b"): possible where the values are there.

    >>> trim_zeros(np.array([0, 1, 0, 2, 0]))
    array([1, 0, 2])
    """
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
