"""Running sums, products and extrema along an axis, and differences.

The derivative of a running product needs no division, so zeros are as good as other numbers: it
solves the recurrence uₖ = bₖ + aₖ uₖ₋₁ by doubling the reach of each element, in log n steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from .axes import along, as_array, normalize_axis
from .declare import linear, primitive
from .joining import concatenate
from .samples import Sample, values
from .shape import astype, ravel
from .versions import present

# ---- sums ----------------------------------------------------------------------------------------


def _samples(**params: Any) -> list[Sample]:
    return [
        Sample((values(4),), {"axis": 0, **params}),
        Sample((values(2, 5, 3),), {"axis": 1, **params}),
        Sample((values(3, 0),), {"axis": 1, **params}),
        Sample((values(1, 2),), {"axis": 0, **params}),
    ]


def _wide(x: ShapeDtype, ufunc: np.ufunc) -> ShapeDtype:
    """Small integers add and multiply up in a wide type."""
    return ShapeDtype(x.shape, ufunc.accumulate(np.zeros(1, x.dtype)).dtype)


cumsum_p: Primitive = linear(
    "cumsum",
    lambda x, *, axis: np.cumsum(x, axis),
    shape=lambda x, *, axis: _wide(x, np.add),
    transpose=lambda g, x, *, axis: np.flip(np.cumsum(np.flip(g, axis), axis), axis),
    batch=lambda size, batched, x, *, axis: cumsum_p(x, axis=axis + 1),
    fresh=True,
    samples=_samples,
)


def _running(a: Array, axis: int | None, dtype: Any) -> tuple[Array, int]:
    """The operand of a running sum, and its axis; NumPy flattens for None, and numbers."""
    a = as_array(a)
    if axis is None or ndim_of(a) == 0:
        if axis is not None:
            normalize_axis(axis, 1)
        a, axis = ravel(a), 0
    if dtype is not None:
        a = astype(a, dtype)
    return a, normalize_axis(axis, ndim_of(a))


@implements(np.cumsum)
def cumsum(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running sums: yₖ = x₀ + … + xₖ along an axis, or of all elements in order.

    >>> cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    a, axis = _running(a, axis, dtype)
    return _exactly(cumsum_p(a, axis=axis), dtype)


def _exactly(y: Array, dtype: Any) -> Array:
    """A running sum in the dtype that was asked for, which may be a small integer's."""
    return y if dtype is None else astype(y, dtype)


# ---- products ------------------------------------------------------------------------------------


def recurrence(a: Array, b: Array, axis: int) -> Array:
    """uₖ = bₖ + aₖ uₖ₋₁ along an axis, from u₋₁ = 0."""
    n, reach = shape_of(b)[axis], 1
    while reach < n:
        first, rest = along(axis, slice(0, reach)), along(axis, slice(reach, None))
        before = along(axis, slice(0, n - reach))
        b = concatenate([b[first], b[rest] + a[rest] * b[before]], axis)
        a = concatenate([a[first], a[rest] * a[before]], axis)
        reach *= 2
    return b


def _shifted(x: Array, axis: int, first: Any, forward: bool) -> Array:
    """Each element in its neighbour's place; the place that becomes free is `first`."""
    shape = shape_of(x)
    one = np.full((*shape[:axis], min(1, shape[axis]), *shape[axis + 1 :]), first, x.dtype)
    if forward:
        return concatenate([one, x[along(axis, slice(0, -1))]], axis)
    return concatenate([x[along(axis, slice(1, None))], one], axis)


def _backward_recurrence(a: Array, b: Array, axis: int) -> Array:
    """uₖ = bₖ + aₖ uₖ₊₁ along an axis, from the end."""
    return np.flip(recurrence(np.flip(a, axis), np.flip(b, axis), axis), axis)


def _cumprod_vjp(y: Array, x: Array, *, axis: int) -> Any:
    """∂yₖ/∂xᵢ = yᵢ₋₁ xᵢ₊₁ … xₖ, so with uᵢ = gᵢ + xᵢ₊₁ uᵢ₊₁ the cotangent is yᵢ₋₁ uᵢ."""

    def pullback(g: Array) -> tuple[Array]:
        u = _backward_recurrence(_shifted(x, axis, 0, False), g, axis)
        return (_shifted(y, axis, 1, True) * u,)

    return pullback


def _cumprod_jvp(y: Array, x: Array, *, axis: int) -> Any:
    """tₖ = xₖ tₖ₋₁ + yₖ₋₁ dxₖ"""
    return lambda t: recurrence(x, _shifted(y, axis, 1, True) * t, axis)


cumprod_p: Primitive = primitive(
    "cumprod",
    lambda x, *, axis: np.cumprod(x, axis),
    shape=lambda x, *, axis: _wide(x, np.multiply),
    vjp=_cumprod_vjp,
    jvp=_cumprod_jvp,
    batch=lambda size, batched, x, *, axis: cumprod_p(x, axis=axis + 1),
    fresh=True,
    samples=lambda: [
        *_samples(),
        Sample((np.array([1.5, 0.0, -2.0, 0.0, 3.0]),), {"axis": 0}),
    ],
)


@implements(np.cumprod)
def cumprod(a: Array, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running products: yₖ = x₀ · … · xₖ along an axis, or of all elements in order.

    >>> cumprod(np.array([1.0, 2.0, 3.0]))
    array([1., 2., 6.])
    """
    a, axis = _running(a, axis, dtype)
    return _exactly(cumprod_p(a, axis=axis), dtype)


def _cumulative(run: Any, x: Array, axis: int | None, dtype: Any, initial: int | None) -> Array:
    x = as_array(x)
    if ndim_of(x) == 0:
        x = np.reshape(x, 1)
    if axis is None:
        if ndim_of(x) > 1:
            raise ValueError(
                "For arrays which have more than one dimension ``axis`` argument is required."
            )
        axis = 0
    axis = normalize_axis(axis, ndim_of(x))
    y = run(x, axis, dtype)
    if initial is None:
        return y
    shape = shape_of(y)
    first = np.full((*shape[:axis], 1, *shape[axis + 1 :]), initial, y.dtype)
    return concatenate([first, y], axis)


@implements(*present("cumulative_sum"))
def cumulative_sum(
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    out: None = None,
    include_initial: bool = False,
) -> Array:
    """Running sums along an axis; with `include_initial` after a zero.

    >>> cumulative_sum(np.array([2.0, 3.0]), include_initial=True)
    array([0., 2., 5.])
    """
    return _cumulative(cumsum, x, axis, dtype, 0 if include_initial else None)


@implements(*present("cumulative_prod"))
def cumulative_prod(
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    out: None = None,
    include_initial: bool = False,
) -> Array:
    """Running products along an axis; with `include_initial` after a one.

    >>> cumulative_prod(np.array([2.0, 3.0]), include_initial=True)
    array([1., 2., 6.])
    """
    return _cumulative(cumprod, x, axis, dtype, 1 if include_initial else None)


# ---- extrema -------------------------------------------------------------------------------------


def _runs(y: Array, x: Array, axis: int) -> tuple[Array, Array, Array]:
    """Where `x` is as large as the largest so far; where that has not changed; how many tie."""
    dtype = shape_dtype(y).dtype
    ties = astype(x == y, dtype)
    first = np.arange(shape_of(y)[axis]).reshape([-1, *[1] * (ndim_of(y) - axis - 1)]) == 0
    goes_on = astype((y == _shifted(y, axis, 0, True)) & ~first, dtype)
    count = recurrence(goes_on, ties, axis)
    return ties, goes_on, np.maximum(count, 1)  # after a NaN none ties


def _extremum_vjp(y: Array, x: Array, *, axis: int, ufunc: np.ufunc) -> Any:
    def pullback(g: Array) -> tuple[Array]:
        ties, goes_on, count = _runs(y, x, axis)
        u = _backward_recurrence(_shifted(goes_on, axis, 0, False), g / count, axis)
        return (ties * u,)

    return pullback


def _extremum_jvp(y: Array, x: Array, *, axis: int, ufunc: np.ufunc) -> Any:
    def pushforward(t: Array) -> Array:
        ties, goes_on, count = _runs(y, x, axis)
        return recurrence(goes_on, ties * t, axis) / count

    return pushforward


cumulative_extremum_p: Primitive = primitive(
    "cumulative_extremum",
    lambda x, *, axis, ufunc: ufunc.accumulate(x, axis),
    shape=lambda x, *, axis, ufunc: x,
    vjp=_extremum_vjp,
    jvp=_extremum_jvp,
    batch=lambda size, batched, x, *, axis, ufunc: cumulative_extremum_p(
        x, axis=axis + 1, ufunc=ufunc
    ),
    samples=lambda: [*_samples(ufunc=np.maximum), *_samples(ufunc=np.minimum)],
)


# ---- differences ---------------------------------------------------------------------------------

_NONE: Any = np._NoValue


@implements(np.diff)
def diff(a: Array, n: int = 1, axis: int = -1, prepend: Any = _NONE, append: Any = _NONE) -> Array:
    """Differences of neighbours along an axis, `n` times: yₖ = xₖ₊₁ - xₖ.

    `prepend` and `append` are put before and after first; a number stands for one slice of it.
    Booleans give whether neighbours differ.

    >>> diff(np.array([1.0, 4.0, 9.0]))
    array([3., 5.])
    """
    a = as_array(a)
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    if ndim_of(a) == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = normalize_axis(axis, ndim_of(a))
    shape = shape_of(a)

    def slices(x: Any) -> Array:
        x = as_array(x)
        if ndim_of(x):
            return x
        return np.broadcast_to(x, (*shape[:axis], 1, *shape[axis + 1 :]))

    pieces = [slices(prepend)] if prepend is not _NONE else []
    pieces += [a] if append is _NONE else [a, slices(append)]
    if len(pieces) > 1:
        a = concatenate(pieces, axis)
    after, before = along(axis, slice(1, None)), along(axis, slice(0, -1))
    different = shape_dtype(a).dtype == np.bool_
    for _ in range(n):
        a = a[after] != a[before] if different else a[after] - a[before]
    return a


@implements(np.ediff1d)
def ediff1d(ary: Array, to_end: Any = None, to_begin: Any = None) -> Array:
    """Differences of neighbours among all elements in order, between what is given for the ends.

    Raises `TypeError` for ends whose dtype does not fit.

    >>> ediff1d(np.array([1.0, 4.0, 9.0]), to_end=0.0)
    array([3., 5., 0.])
    """
    flat = ravel(as_array(ary))
    dtype = shape_dtype(flat).dtype
    pieces = []
    for name, ends in (("to_begin", to_begin), ("", flat[1:] - flat[:-1]), ("to_end", to_end)):
        if ends is None:
            continue
        ends = as_array(ends)
        if name and not np.can_cast(ends.dtype, dtype, casting="same_kind"):
            raise TypeError(
                f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule."
            )
        pieces.append(astype(ravel(ends), dtype))
    return concatenate(pieces)
