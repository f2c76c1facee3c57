"""Reductions that leave NaN out: `nansum`, `nanmean`, `nanmax` and the like.

What is left out has derivative 0, exactly: it is replaced before anything is computed with it.
Integers hold no NaN, and their reductions are the ordinary ones. NumPy warns of slices that hold
nothing else; these functions return NaN for them all the same, and warn where a division does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, is_inexact, shape_dtype
from .axes import as_array
from .concrete import is_known, known
from .extrema import max
from .moments import corrected, deviation, squared_length
from .plain import composed
from .reduce import Axis, prod, selected, sum
from .shape import astype
from .signatures import signature_of


def _replaced(a: Array, number: Any) -> tuple[Array, Array | None]:
    """The array without NaN, and where it was; None for a dtype that has none."""
    a = as_array(a)
    if not is_inexact(a):
        return a, None
    nothing = np.isnan(a)
    return np.where(nothing, number, a), nothing


@composed(np.nansum)
@signature_of(sum)
def nansum(
    a: Array, axis: Axis = None, dtype: Any = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """The sum over axes, NaN counting as 0.

    >>> float(nansum(np.array([1.0, np.nan, 2.0])))
    3.0
    """
    return sum(_replaced(a, 0)[0], axis, dtype, None, *args, **kwargs)


@composed(np.nanprod)
@signature_of(prod)
def nanprod(
    a: Array, axis: Axis = None, dtype: Any = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """The product over axes, NaN counting as 1.

    >>> float(nanprod(np.array([3.0, np.nan, 2.0])))
    6.0
    """
    return prod(_replaced(a, 1)[0], axis, dtype, None, *args, **kwargs)


@composed(np.nancumsum)
def nancumsum(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running sums, NaN counting as 0.

    >>> nancumsum(np.array([1.0, np.nan, 2.0]))
    array([1., 1., 3.])
    """
    return np.cumsum(_replaced(a, 0)[0], axis, dtype)


@composed(np.nancumprod)
def nancumprod(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running products, NaN counting as 1.

    >>> nancumprod(np.array([3.0, np.nan, 2.0]))
    array([3., 3., 6.])
    """
    return np.cumprod(_replaced(a, 1)[0], axis, dtype)


# ---- moments -------------------------------------------------------------------------------------


def _count(nothing: Array, axis: Axis, keepdims: bool, where: Any) -> Array:
    return sum(np.logical_not(nothing), axis, None, None, keepdims, where=where)


def _over(total: Array, count: Array) -> Array:
    """A quotient in the dtype of the total, NaN and no warning where the count is not positive."""
    empty = count <= 0
    quotient = astype(total / np.where(empty, 1, count), shape_dtype(total).dtype)
    return np.where(empty, np.nan, quotient)


def _inexact(dtype: Any) -> None:
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise TypeError("If a is inexact, then dtype must be inexact")


@composed(np.nanmean)
def nanmean(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Array:
    """The mean over axes of what is not NaN; NaN where nothing is left.

    >>> float(nanmean(np.array([1.0, np.nan, 2.0])))
    1.5
    """
    a, nothing = _replaced(a, 0)
    if nothing is None:
        return np.mean(a, axis=axis, dtype=dtype, keepdims=keepdims, where=where)
    _inexact(dtype)
    total = sum(a, axis, dtype, None, keepdims, where=where)
    return _over(total, _count(nothing, axis, keepdims, where))


@composed(np.nanvar)
def nanvar(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Array:
    """The variance over axes of what is not NaN; NaN where `ddof` leaves no freedom.

    >>> float(nanvar(np.array([1.0, np.nan, 3.0])))
    1.0
    """
    a, nothing = _replaced(a, 0)
    given = {} if mean is None else {"mean": mean}
    ddof = corrected(ddof, correction)
    if nothing is None:
        return np.var(a, axis, dtype, None, ddof, keepdims, where=where, **given)
    _inexact(dtype)
    a = selected(a, where, 0)
    if mean is None:
        count = _count(nothing, axis, True, where)
        mean = _over(sum(a, axis, dtype, None, True, where=where), count)
    distance = np.where(nothing, 0, a - np.where(np.isnan(mean), 0, mean))
    distance = astype(distance, shape_dtype(a).dtype)
    total = sum(squared_length(distance), axis, dtype, None, keepdims, where=where)
    return _over(total, _count(nothing, axis, keepdims, where) - ddof)


@composed(np.nanstd)
@signature_of(nanvar)
def nanstd(
    a: Array, axis: Axis = None, dtype: Any = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """The square root of `nanvar`; its derivative is 0 where the variance is 0.

    >>> float(nanstd(np.array([1.0, np.nan, 3.0])))
    1.0
    """
    return deviation(nanvar(a, axis, dtype, None, *args, **kwargs))


# ---- extrema -------------------------------------------------------------------------------------


def _extremum(
    f: Any,
    worst: float,
    a: Array,
    axis: Axis,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    limits = {} if initial is None else {"initial": initial}
    if where is not None and where is not True:
        limits["where"] = where
    a, nothing = _replaced(a, worst)
    found = f(a, axis=axis, keepdims=keepdims, **limits)
    if nothing is None:
        return found
    limits.pop("initial", None)
    empty = np.all(nothing, axis=axis, keepdims=keepdims, **limits)
    return np.where(empty, np.nan if initial is None else initial, found)


@composed(np.nanmax)
@signature_of(max)
def nanmax(a: Array, axis: Axis = None, out: None = None, *args: Any, **kwargs: Any) -> Array:
    """The largest element over axes that is not NaN; NaN where there is none.

    >>> float(nanmax(np.array([1.0, np.nan, 2.0])))
    2.0
    """
    return _extremum(np.max, -np.inf, a, axis, *args, **kwargs)


@composed(np.nanmin)
@signature_of(max)
def nanmin(a: Array, axis: Axis = None, out: None = None, *args: Any, **kwargs: Any) -> Array:
    """The smallest element over axes that is not NaN; NaN where there is none.

    >>> float(nanmin(np.array([1.0, np.nan, 2.0])))
    1.0
    """
    return _extremum(np.min, np.inf, a, axis, *args, **kwargs)


def _position(f: Any, worst: float, a: Array, axis: int | None, keepdims: bool) -> Array:
    a, nothing = _replaced(a, worst)
    if nothing is not None and is_known(nothing):
        truths = known(nothing, "nanargmax")
        if truths.size and np.any(np.all(truths, axis=axis)):
            raise ValueError("All-NaN slice encountered")
    return f(a, axis=axis, keepdims=keepdims)


@composed(np.nanargmax)
def nanargmax(
    a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False
) -> Array:
    """The position of the first largest element that is not NaN.

    Raises `ValueError` for a slice of NaN alone; 0 under vmap and in a traced program.

    >>> int(nanargmax(np.array([1.0, np.nan, 2.0])))
    2
    """
    return _position(np.argmax, -np.inf, a, axis, keepdims)


@composed(np.nanargmin)
def nanargmin(
    a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False
) -> Array:
    """The position of the first smallest element that is not NaN; otherwise as `nanargmax`.

    >>> int(nanargmin(np.array([1.0, np.nan, 2.0])))
    0
    """
    return _position(np.argmin, np.inf, a, axis, keepdims)
