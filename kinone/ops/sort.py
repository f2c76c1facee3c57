"""Sorting and searching. A sort is a permutation, and so is its derivative.

`sort`, `partition`, `unique` give values and are differentiable: each result's cotangent goes to
the element that stands there, of equal elements to the first one first (a stable sort's order).
`argsort`, `searchsorted` and the like give positions, which do not vary.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from ..errors import ShapeError
from .axes import as_array, normalize_axis, reduced_axis, with_batch
from .concrete import is_known, known, looped
from .declare import constant, primitive
from .samples import Sample, values
from .shape import astype, ravel

# ---- sort ----------------------------------------------------------------------------------------


def _axis_samples(**params: Any) -> list[Sample]:
    return [
        Sample((values(5),), {"axis": 0, **params}),
        Sample((values(4, 3),), {"axis": 0, **params}),
        Sample((values(2, 4, 3),), {"axis": 1, **params}),
    ]


def _sort_vjp(y: Array, x: Array, *, axis: int, kind: str | None) -> Any:
    def pullback(g: Array) -> tuple[Array]:
        order = np.argsort(x, axis, kind="stable")
        return (np.take_along_axis(g, np.argsort(order, axis), axis),)

    return pullback


sort_p: Primitive = primitive(
    "sort",
    lambda x, *, axis, kind: np.sort(x, axis, kind),
    shape=lambda x, *, axis, kind: ShapeDtype(x.shape, x.dtype),
    vjp=_sort_vjp,
    jvp=lambda y, x, *, axis, kind: (
        lambda t: np.take_along_axis(t, np.argsort(x, axis, kind="stable"), axis)
    ),
    batch=lambda size, batched, x, *, axis, kind: sort_p(x, axis=axis + 1, kind=kind),
    fresh=True,
    samples=lambda: _axis_samples(kind=None),
)
argsort_p: Primitive = constant(
    "argsort",
    lambda x, *, axis, kind: np.argsort(x, axis, kind),
    shape=lambda x, *, axis, kind: ShapeDtype(x.shape, np.intp),
    batch=lambda size, batched, x, *, axis, kind: argsort_p(x, axis=axis + 1, kind=kind),
    fresh=True,
    samples=lambda: _axis_samples(kind="stable"),
)


def _flattened(a: Array, axis: int | None) -> tuple[Array, int]:
    """The operand and the axis to sort along; NumPy flattens for None."""
    a = as_array(a)
    if axis is None:
        return ravel(a), 0
    return a, normalize_axis(axis, ndim_of(a))


def _searched(a: Array, axis: int | None) -> tuple[Array, int]:
    """Likewise for positions, which NumPy finds in a number as in an array of one element."""
    a = as_array(a)
    return _flattened(a, reduced_axis(axis, ndim_of(a)))


def _kind(kind: str | None, order: Any, stable: bool | None) -> str | None:
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    if kind is not None and stable is not None:
        raise ValueError("`kind` and `stable` parameters can't be provided at the same time.")
    return "stable" if stable else kind


@implements(np.sort)
def sort(
    a: Array,
    axis: int | None = -1,
    kind: str | None = None,
    order: Any = None,
    *,
    stable: bool | None = None,
) -> Array:
    """The elements along an axis in ascending order, NaN last; all of them for `axis=None`.

    The derivative is the permutation of a stable `argsort`. Raises `AxisError`.

    >>> sort(np.array([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    """
    a, axis = _flattened(a, axis)
    return sort_p(a, axis=axis, kind=_kind(kind, order, stable))


@implements(np.argsort)
def argsort(
    a: Array,
    axis: int | None = -1,
    kind: str | None = None,
    order: Any = None,
    *,
    stable: bool | None = None,
) -> Array:
    """The positions that would sort along an axis.

    >>> argsort(np.array([3.0, 1.0, 2.0]))
    array([1, 2, 0])
    """
    a, axis = _searched(a, axis)
    return argsort_p(a, axis=axis, kind=_kind(kind, order, stable))


@implements(np.sort_complex)
def sort_complex(a: Array) -> Array:
    """The elements sorted by real, then imaginary part, as complex numbers.

    >>> sort_complex(np.array([3.0, 1.0, 2.0]))
    array([1.+0.j, 2.+0.j, 3.+0.j])
    """
    found = sort(a)
    char = shape_dtype(found).dtype.char
    if char in "FDG":
        return found
    return astype(found, "F" if char in "bhBH" else "G" if char == "g" else "D")


# ---- partition -----------------------------------------------------------------------------------


def _places(y: Array, x: Array, axis: int) -> Array:
    """Where in `x` each element of a rearranged `y` comes from; equal elements keep their order."""
    ranks = np.argsort(np.argsort(y, axis, kind="stable"), axis)
    return np.take_along_axis(np.argsort(x, axis, kind="stable"), ranks, axis)


def _partition_vjp(y: Array, x: Array, *, kth: tuple[int, ...], axis: int) -> Any:
    return lambda g: (np.take_along_axis(g, np.argsort(_places(y, x, axis), axis), axis),)


def _partition_samples() -> list[Sample]:
    return [*_axis_samples(kth=(2,)), *_axis_samples(kth=(0, -1))]


partition_p: Primitive = primitive(
    "partition",
    lambda x, *, kth, axis: np.partition(x, kth, axis),
    shape=lambda x, *, kth, axis: ShapeDtype(x.shape, x.dtype),
    vjp=_partition_vjp,
    jvp=lambda y, x, *, kth, axis: lambda t: np.take_along_axis(t, _places(y, x, axis), axis),
    batch=lambda size, batched, x, *, kth, axis: partition_p(x, kth=kth, axis=axis + 1),
    samples=_partition_samples,
)
argpartition_p: Primitive = constant(
    "argpartition",
    lambda x, *, kth, axis: np.argpartition(x, kth, axis),
    shape=lambda x, *, kth, axis: ShapeDtype(x.shape, np.intp),
    batch=lambda size, batched, x, *, kth, axis: argpartition_p(x, kth=kth, axis=axis + 1),
    samples=_partition_samples,
)


def _kth(kth: Any, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The places, which nobody looks at where there are no elements."""
    if 0 in shape:
        return (0,)
    n = shape[axis]
    found = tuple([operator.index(k) for k in np.atleast_1d(kth)])
    for k in found:
        if not -n <= k < n:
            raise ValueError(f"kth(={k % max(n, 1) if k < 0 else k}) out of bounds ({n})")
    return found


@implements(np.partition)
def partition(
    a: Array, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> Array:
    """The k-th elements of the sorted order in their places, smaller ones before, larger after.

    >>> partition(np.array([3.0, 1.0, 2.0]), 1)
    array([1., 2., 3.])
    """
    a, axis = _flattened(a, axis)
    _kind(None, order, None)
    return partition_p(a, kth=_kth(kth, shape_of(a), axis), axis=axis)


@implements(np.argpartition)
def argpartition(
    a: Array, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> Array:
    """The positions that would partition along an axis.

    >>> argpartition(np.array([3.0, 1.0, 2.0]), 0)[:1]
    array([1])
    """
    a, axis = _searched(a, axis)
    _kind(None, order, None)
    return argpartition_p(a, kth=_kth(kth, shape_of(a), axis), axis=axis)


# ---- lexsort -------------------------------------------------------------------------------------


def _lexsort_batch(size: int, batched: Sequence[bool], *keys: Array, axis: int) -> Array:
    whole = [with_batch(key, flag, size) for key, flag in zip(keys, batched, strict=True)]
    return lexsort_p(*whole, axis=axis + 1)


lexsort_p: Primitive = constant(
    "lexsort",
    lambda *keys, axis: np.lexsort(keys, axis),
    shape=lambda *keys, axis: ShapeDtype(keys[0].shape, np.intp),
    batch=_lexsort_batch,
    samples=lambda: [
        Sample((values(5), np.round(values(5, seed=1))), {"axis": 0}),
        Sample((values(4, 3), np.round(values(4, 3, seed=1))), {"axis": 0}),
    ],
)


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Array:
    """The positions that sort by the last key, ties by the one before it, and so on.

    >>> lexsort((np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])))
    array([2, 1, 0])
    """
    found = [as_array(key) for key in keys]
    if not found:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if len({shape_of(key) for key in found}) > 1:
        raise ShapeError("all keys need to be the same shape")
    if ndim_of(found[0]) == 0:
        return np.zeros((), np.intp)
    return lexsort_p(*found, axis=normalize_axis(axis, ndim_of(found[0])))


# ---- searchsorted --------------------------------------------------------------------------------


def _searchsorted_batch(
    size: int, batched: Sequence[bool], a: Array, v: Array, *sorter: Array, side: str
) -> Array:
    if not batched[0] and not any(batched[2:]):
        return searchsorted_p(a, v, *sorter, side=side)
    return looped(searchsorted_p, size, batched, (a, v, *sorter), side=side)


searchsorted_p: Primitive = constant(
    "searchsorted",
    lambda a, v, *sorter, side: np.searchsorted(a, v, side, *sorter),
    shape=lambda a, v, *sorter, side: ShapeDtype(v.shape, np.intp),
    batch=_searchsorted_batch,
    samples=lambda: [
        Sample((np.sort(values(5)), values(2, 3, seed=1)), {"side": "left"}),
        Sample((values(5), values(seed=1), np.argsort(values(5))), {"side": "right"}),
    ],
)


@implements(np.searchsorted)
def searchsorted(a: Array, v: Array, side: str = "left", sorter: Any = None) -> Array:
    """Where in the sorted `a` the elements of `v` would have to go.

    >>> searchsorted(np.array([1.0, 2.0, 3.0]), 2.5)
    np.int64(2)
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right' (got {side!r})")
    a, v = as_array(a), as_array(v)
    if ndim_of(a) != 1:
        problem = "object too deep" if ndim_of(a) else "object of too small depth"
        raise ValueError(f"{problem} for desired array")
    return searchsorted_p(a, v, *([] if sorter is None else [as_array(sorter)]), side=side)


@implements(np.digitize)
def digitize(x: Array, bins: Array, right: bool = False) -> Array:
    """The number of the bin, between monotonic edges, in which each element lies.

    Raises `ValueError` for edges that are not monotonic, where their values are there to see it.

    >>> digitize(np.array([0.5, 1.5, 9.0]), np.array([0.0, 1.0, 2.0]))
    array([1, 2, 3])
    """
    x, bins = as_array(x), as_array(bins)
    if x.dtype.kind == "c":
        raise TypeError("x may not be complex")
    if ndim_of(bins) != 1:
        problem = "object too deep" if ndim_of(bins) else "object of too small depth"
        raise ValueError(f"{problem} for desired array")
    rising: Any = shape_of(bins)[0] < 2
    if not rising and is_known(bins):
        steps = np.diff(known(bins, "np.digitize"))
        rising = not bool((steps < 0).any())
        if not rising and (steps > 0).any():
            raise ValueError("bins must be monotonically increasing or decreasing")
    elif not rising:
        rising = bins[-1] >= bins[0]  # which of the two, the numbers will tell
    side = "left" if right else "right"
    if rising is True:
        return searchsorted(bins, x, side)
    falling = shape_of(bins)[0] - searchsorted(bins[::-1], x, side)
    return falling if rising is False else np.where(rising, searchsorted(bins, x, side), falling)
