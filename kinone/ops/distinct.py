"""The distinct elements of an array, and sets of them: differentiable where the values are there.

The result is `x[positions]`, so its cotangent goes to the first of equal elements. How many there
are depends on the values: under `vmap` and while a program is traced these functions are refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core import Array, implements, shape_of
from .axes import as_array
from .concrete import known
from .joining import concatenate
from .shape import ravel


class UniqueAll(NamedTuple):
    """What `np.unique_all` returns."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """What `np.unique_counts` returns."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """What `np.unique_inverse` returns."""

    values: Array
    inverse_indices: Array


@implements(np.unique)
def unique(
    ar: Array,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The distinct elements in ascending order, of slices along `axis` where that is given.

    With the flags a tuple: then also the positions of the first ones, the numbers that rebuild
    `ar`, and how often each occurs.

    >>> unique(np.array([3.0, 1.0, 3.0]))
    array([1., 3.])
    >>> unique(np.array([3.0, 1.0, 3.0]), return_counts=True)
    (array([1., 3.]), array([1, 2]))
    """
    ar = as_array(ar)
    _, first, inverse, counts = np.unique(
        known(ar, "np.unique"), True, True, True, axis, equal_nan=equal_nan
    )
    found = ravel(ar)[first] if axis is None else np.take(ar, first, axis)
    wanted = (return_index, return_inverse, return_counts)
    extra = [x for x, flag in zip((first, inverse, counts), wanted, strict=True) if flag]
    return (found, *extra) if extra else found


@implements(np.unique_all)
def unique_all(x: Array) -> UniqueAll:
    """The distinct elements, their first positions, the numbers that rebuild `x`, the counts.

    >>> unique_all(np.array([3.0, 1.0, 3.0])).indices
    array([1, 0])
    """
    return UniqueAll(*unique(x, True, True, True, equal_nan=False))


@implements(np.unique_counts)
def unique_counts(x: Array) -> UniqueCounts:
    """The distinct elements and how often each occurs.

    >>> unique_counts(np.array([3.0, 1.0, 3.0])).counts
    array([1, 2])
    """
    return UniqueCounts(*unique(x, return_counts=True, equal_nan=False))


@implements(np.unique_inverse)
def unique_inverse(x: Array) -> UniqueInverse:
    """The distinct elements and the numbers that rebuild `x` from them.

    >>> unique_inverse(np.array([3.0, 1.0, 3.0])).inverse_indices
    array([1, 0, 1])
    """
    return UniqueInverse(*unique(x, return_inverse=True, equal_nan=False))


@implements(np.unique_values)
def unique_values(x: Array) -> Array:
    """The distinct elements.

    >>> unique_values(np.array([3.0, 1.0, 3.0]))
    array([1., 3.])
    """
    return unique(x, equal_nan=False)


@implements(np.isin)
def isin(
    element: Array,
    test_elements: Array,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Array:
    """Whether each element is among others. `kind` is checked, and changes nothing.

    >>> isin(np.array([1.0, 2.0, 3.0]), [2.0, 5.0])
    array([False,  True, False])
    """
    element, others = as_array(element), ravel(as_array(test_elements))
    if kind not in (None, "sort", "table"):
        raise ValueError(f"Invalid kind: {kind!r}. Please use None, 'sort' or 'table'.")
    if kind == "table" and not all(x.dtype.kind in "iub" for x in (element, others)):
        raise ValueError(
            "The 'table' method is only supported for boolean or integer arrays. "
            "Please select 'sort' or None for kind."
        )
    found = np.any(np.expand_dims(element, -1) == others, axis=-1)
    return np.logical_not(found) if invert else found


@implements(np.union1d)
def union1d(ar1: Array, ar2: Array) -> Array:
    """The distinct elements of both.

    >>> union1d(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    array([1., 2., 3.])
    """
    return unique(concatenate([as_array(ar1), as_array(ar2)], None))


@implements(np.intersect1d)
def intersect1d(
    ar1: Array, ar2: Array, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """The distinct elements that are in both, taken from the first.

    >>> intersect1d(np.array([3.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0]))
    array([2., 3.])
    """
    a, b = ravel(as_array(ar1)), ravel(as_array(ar2))
    one, other = (known(x, "np.intersect1d") for x in (a, b))
    _, first, second = np.intersect1d(one, other, assume_unique, return_indices=True)
    found = a[first]
    return (found, first, second) if return_indices else found


@implements(np.setdiff1d)
def setdiff1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    """The distinct elements of the first that are not in the second.

    >>> setdiff1d(np.array([3.0, 1.0, 2.0]), np.array([2.0]))
    array([1., 3.])
    """
    a = ravel(as_array(ar1)) if assume_unique else unique(ar1)
    there = np.isin(known(a, "np.setdiff1d"), known(ar2, "np.setdiff1d"))
    return a[~there]


@implements(np.setxor1d)
def setxor1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    """The distinct elements that are in one of the two alone.

    >>> setxor1d(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    array([1., 3.])
    """
    a, b = (ravel(as_array(x)) if assume_unique else unique(x) for x in (ar1, ar2))
    both = concatenate([a, b])
    if shape_of(both) == (0,):
        return both
    _, first, counts = np.unique(known(both, "np.setxor1d"), return_index=True, return_counts=True)
    return both[first[counts == 1]]
