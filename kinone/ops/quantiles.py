"""Medians, percentiles and quantiles: elements of the sorted array, or between two of them.

The derivative goes to those elements, as that of `np.sort` does; of equal ones a stable sort
chooses. Which elements they are is constant. Quantiles differentiate in `q` too where the method
interpolates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Array, ndim_of, shape_dtype, shape_of
from .axes import as_array, normalize_axes
from .complex import is_complex
from .concrete import is_known, known
from .index import take
from .moments import fitted
from .plain import composed
from .reduce import Axis, reduced_shape, sum
from .shape import astype
from .signatures import signature_of


def _sampled(a: Array, axis: Axis) -> tuple[Array, tuple[int, ...]]:
    """The array with the axes to sample merged into the last one, and those axes."""
    axes = normalize_axes(axis, ndim_of(a))
    shape = shape_of(a)
    rest = [i for i in range(len(shape)) if i not in axes]
    count = math.prod([shape[i] for i in axes])
    a = np.transpose(a, (*rest, *axes))
    return np.reshape(a, (*[shape[i] for i in rest], count)), axes


def _restored(found: Array, a: Array, axes: tuple[int, ...], keepdims: bool, front: int) -> Array:
    """The result, with the sampled axes back where they are to be kept, after `front` others."""
    if not keepdims:
        return found
    kept = reduced_shape(shape_dtype(a), axes, True)
    return np.reshape(found, (*shape_of(found)[:front], *kept))


# ---- medians -------------------------------------------------------------------------------------


@composed(np.median)
def median(
    a: Array,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """The middle of the sorted elements over axes, or the mean of the two in the middle.

    NaN where the slice holds NaN.

    >>> float(median(np.array([3.0, 1.0, 2.0, 9.0])))
    2.5
    """
    a = as_array(a)
    flat, axes = _sampled(a, axis)
    ordered = np.sort(flat, axis=-1)
    count = shape_of(flat)[-1]
    found = np.mean(ordered[..., max((count - 1) // 2, 0) : count // 2 + 1], axis=-1)
    if count and a.dtype.kind in "fc":
        last = ordered[..., -1]
        found = np.where(np.isnan(last), last, found)
    return _restored(found, a, axes, keepdims, 0)


@composed(np.nanmedian)
def nanmedian(
    a: Array,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """The median over axes of what is not NaN; NaN where nothing is left.

    >>> float(nanmedian(np.array([3.0, np.nan, 2.0])))
    2.5
    """
    a = as_array(a)
    if a.dtype.kind not in "fc" or math.prod(shape_of(a)) == 0:
        return median(a, axis, keepdims=keepdims)
    flat, axes = _sampled(a, axis)
    ordered, count = _without_nan(flat)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    found = np.mean(np.take_along_axis(ordered, middle, -1), axis=-1)
    return _restored(np.where(count == 0, np.nan, found), a, axes, keepdims, 0)


def _without_nan(flat: Array) -> tuple[Array, Array]:
    """The sorted elements with NaN last, made 0 where nothing may be computed with it, and how
    many are not NaN."""
    nothing = np.isnan(flat)
    count = sum(np.logical_not(nothing), -1)
    ordered = np.sort(flat, axis=-1)
    return np.where(np.isnan(ordered), 0, ordered), count


# ---- quantiles -----------------------------------------------------------------------------------

# Where among n sorted elements the quantile q stands: a place between two (Hyndman and Fan 1996,
# "Sample quantiles in statistical packages").
_PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda n, q: (n - 1) * q,
    "interpolated_inverted_cdf": lambda n, q: _between(n, q, 0, 1),
    "hazen": lambda n, q: _between(n, q, 0.5, 0.5),
    "weibull": lambda n, q: _between(n, q, 0, 0),
    "median_unbiased": lambda n, q: _between(n, q, 1 / 3.0, 1 / 3.0),
    "normal_unbiased": lambda n, q: _between(n, q, 3 / 8.0, 3 / 8.0),
    "averaged_inverted_cdf": lambda n, q: n * q - 1,
    "midpoint": lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
}
# Those that take one element as it is.
_POSITIONS: dict[str, Callable[[Any, Any], Any]] = {
    "inverted_cdf": lambda n, q: _boundary(n * q - 1, lambda part, _: part == 0),
    "closest_observation": lambda n, q: _boundary(
        n * q - 1.5, lambda part, below: (part == 0) & (below % 2 == 1)
    ),
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "nearest": lambda n, q: np.round((n - 1) * q),
}


def _between(n: Any, q: Any, alpha: float, beta: float) -> Any:
    return n * q + (alpha + q * (1 - alpha - beta)) - 1


def _boundary(place: Any, stays: Callable[[Any, Any], Any]) -> Any:
    below = np.floor(place)
    return np.maximum(np.where(stays(place - below, below), below, below + 1), 0)


def _fraction(method: str, place: Any, below: Any) -> Any:
    """How far from the lower of two elements to the upper one."""
    part = place - below
    if method == "averaged_inverted_cdf":
        return astype(np.where(part == 0, 0.5, 1.0), shape_dtype(place).dtype)
    if method == "midpoint":
        return astype(np.where(place % 1 == 0, 0.0, 0.5), shape_dtype(place).dtype)
    return part


def _mixed(low: Array, high: Array, part: Array) -> Array:
    """Linear interpolation that is exact at both ends, in NumPy's order of operations."""
    distance = high - low
    return np.where(part >= 0.5, high - distance * (1 - part), low + distance * part)


def _quantile(
    a: Array,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    skip: bool = False,
) -> Array:
    """Quantiles over axes for each element of `q`, whose axes come first in the result.

    `skip`: NaN does not count.
    """
    a, weak, q = as_array(a), _is_weak(q), as_array(q)
    if is_complex(a):
        raise TypeError("a must be an array of real numbers")
    _refuse_outside(q, 1, "Quantiles")
    if ndim_of(q) > 2:
        raise ValueError("q must be a scalar or 1d")
    if method not in _PLACES and method not in _POSITIONS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {[*_PLACES, *_POSITIONS]}")
    if skip and math.prod(shape_of(a)) == 0:
        return np.nanmean(a, axis, keepdims=keepdims)  # NumPy does not look at q here
    flat, axes = _sampled(a, axis)
    flat_q = np.reshape(q, (-1,))
    inexact = shape_dtype(a).dtype.kind == "f"
    skip = skip and inexact
    if weights is not None:
        found = _weighted(flat, flat_q, _flat_weights(weights, a, axis, method, skip), skip)
    elif skip:
        ordered, count = _without_nan(flat)
        # As of a Python integer, which would adapt to q.
        own = shape_dtype(q).dtype
        numbers = astype(count, own) if own.kind == "f" else count
        found = _at(ordered, numbers[..., None], flat_q, method, weak)
        found = np.where((count == 0)[..., None], np.nan, found)
    else:
        ordered = np.sort(flat, axis=-1)
        found = _at(ordered, shape_of(flat)[-1], flat_q, method, weak)
        if inexact:
            last = ordered[..., -1:]
            found = np.where(np.isnan(last), last, found)
    found = np.moveaxis(found, -1, 0)
    found = np.reshape(found, (*shape_of(q), *shape_of(found)[1:]))
    return _restored(found, a, axes, keepdims, ndim_of(q))


def _at(ordered: Array, n: Any, q: Array, method: str, weak: bool) -> Array:
    """The quantiles of sorted elements of which the first `n` count."""
    if method in _POSITIONS:
        return _taken(ordered, _POSITIONS[method](n, q))
    place = _PLACES[method](n, q)
    if shape_dtype(place).dtype.kind in "iu":  # q is 0 or 1, the integer
        if method == "linear":
            return _taken(ordered, place)
        place = astype(place, np.float64)
    last = np.maximum(n - 1, 0)
    # At the ends there is nothing to interpolate, and both elements are the same.
    below = np.floor(place)
    outside = (place >= last) | (place < 0)
    below = astype(np.where(outside, np.where(place < 0, 0, last), below), shape_dtype(place).dtype)
    above = np.where(outside, below, below + 1)
    part = _fraction(method, place, np.where(outside, np.floor(place), below))
    if weak:
        own = shape_dtype(ordered).dtype
        part = astype(part, own if own.kind == "f" else np.float64)
    return _mixed(_taken(ordered, below), _taken(ordered, above), part)


def _taken(ordered: Array, places: Array) -> Array:
    """Elements of the last axis, at the same places in all slices or at each slice's own."""
    places = astype(as_array(places), np.intp)
    if ndim_of(places) == 1:
        return take(ordered, places, axis=-1)  # np.take does not look at its places for tracers
    return np.take_along_axis(ordered, places, -1)


def _flat_weights(weights: Any, a: Array, axis: Axis, method: str, skip: bool) -> Array:
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    weights = fitted(as_array(weights), a, axis)
    if is_known(weights) and np.any(known(weights, "quantile") < 0):
        raise ValueError("Weights must be non-negative.")
    flat = _sampled(np.broadcast_to(weights, shape_of(a)), axis)[0]
    if not skip:  # else those that go with NaN do not count
        _refuse_weightless(flat)
    return flat


def _refuse_weightless(weights: Array) -> None:
    if is_known(weights):
        totals = np.sum(known(weights, "quantile"), axis=-1)
        if not np.all(np.isfinite(totals) & (totals != 0)):
            raise ValueError("Weights included NaN, inf or were all zero.")


def _weighted(flat: Array, q: Array, weights: Array, skip: bool) -> Array:
    """The first element up to which the share q of the weights has come."""
    order = np.argsort(flat, -1, kind="stable")
    ordered = np.take_along_axis(flat, order, -1)
    weights = np.take_along_axis(weights, order, -1)
    if skip:
        weights = np.where(np.isnan(ordered), 0, weights)
    share = np.cumsum(astype(weights, np.float64), -1)
    total = share[..., -1:]
    if skip:
        _refuse_weightless(np.where(np.all(np.isnan(flat), axis=-1, keepdims=True), 1, weights))
    share = share / np.where(total == 0, 1, total)
    if q.dtype.kind == "f":
        share = astype(share, q.dtype)
    share = np.where(share == 0, -1, share)  # no weight so far: not even for q = 0
    places = sum(share[..., None, :] < q[:, None], -1)
    found = np.take_along_axis(ordered, np.minimum(places, shape_of(flat)[-1] - 1), -1)
    if shape_dtype(flat).dtype.kind != "f":
        return found
    if skip:
        return np.where(total == 0, np.nan, found)
    last = ordered[..., -1:]
    return np.where(np.isnan(last), last, found)


def _share(q: Any) -> Any:
    """Per cent as a share of 1; of a Python number a Python number."""
    numbers = as_array(q)
    _refuse_outside(numbers, 100, "Percentiles")
    return q / 100 if _is_weak(q) else np.true_divide(numbers, 100)


def _refuse_outside(q: Array, most: int, name: str) -> None:
    if is_known(q):
        numbers = known(q, "quantile")
        if not np.all((numbers >= 0) & (numbers <= most)):
            raise ValueError(f"{name} must be in the range [0, {most}]")


def _is_weak(q: Any) -> bool:
    """Whether it is a Python number, which leaves the dtype of the others as it is."""
    return type(q) in (int, float)


@composed(np.quantile)
def quantile(
    a: Array,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """The quantiles `q` ∈ [0, 1] over axes, by any of NumPy's methods; NaN where there is NaN.

    The axes of `q` come first in the result. `weights` go with `method="inverted_cdf"`. Raises
    `ValueError` for `q` outside of [0, 1] and for an unknown method, `TypeError` for complex `a`.

    >>> quantile(np.array([1.0, 2.0, 4.0]), [0.5, 0.75])
    array([2., 3.])
    """
    return _quantile(a, q, axis, None, False, method, keepdims, weights=weights)


@composed(np.percentile)
@signature_of(quantile)
def percentile(
    a: Array, q: Any, axis: Axis = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """`quantile` with `q` in per cent.

    >>> float(percentile(np.array([1.0, 2.0, 4.0]), 75))
    3.0
    """
    return _quantile(a, _share(q), axis, None, *args, **kwargs)


@composed(np.nanquantile)
@signature_of(quantile)
def nanquantile(
    a: Array, q: Any, axis: Axis = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """The quantiles over axes of what is not NaN; NaN where nothing is left.

    >>> float(nanquantile(np.array([1.0, np.nan, 2.0]), 0.5))
    1.5
    """
    return _quantile(a, q, axis, None, *args, **kwargs, skip=True)


@composed(np.nanpercentile)
@signature_of(nanquantile)
def nanpercentile(
    a: Array, q: Any, axis: Axis = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """`nanquantile` with `q` in per cent.

    >>> float(nanpercentile(np.array([1.0, np.nan, 2.0]), 50))
    1.5
    """
    return _quantile(a, _share(q), axis, None, *args, **kwargs, skip=True)
