"""The largest and the smallest over axes, where they are, and whether all or any are true."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, ShapeDtype, implements, ndim_of, shape_dtype
from .declare import constant, primitive
from .reduce import Axis, reduced_shape, reduction_samples, restore, selected, sum
from .samples import Sample, values
from .shape import astype, normalize_axes


def _extremum_vjp(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Equal shares for all that tie, so that the shares add up to one."""
    aval = shape_dtype(x)

    def pullback(g: Array) -> tuple[Array]:
        return (_share(y, x, aval, axis) * restore(g, aval, axis),)

    return pullback


def _share(y: Array, x: Array, aval: ShapeDtype, axis: tuple[int, ...]) -> Array:
    chosen = astype(x == restore(y, aval, axis), aval.dtype)
    return chosen / sum(chosen, axis, keepdims=True)


def _extremum_jvp(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    aval = shape_dtype(x)
    return lambda t: sum(_share(y, x, aval, axis) * t, axis, keepdims=keepdims)


def _extremum_shape(x: ShapeDtype, *, axis: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x, axis, keepdims), x.dtype)


max_p = primitive(
    "max",
    lambda x, *, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    shape=_extremum_shape,
    vjp=_extremum_vjp,
    jvp=_extremum_jvp,
    samples=reduction_samples,
)
min_p = primitive(
    "min",
    lambda x, *, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    shape=_extremum_shape,
    vjp=_extremum_vjp,
    jvp=_extremum_jvp,
    samples=reduction_samples,
)


@implements(np.max, np.amax)
def max(
    a: Array,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The largest element over axes; its cotangent is shared equally between ties."""
    if where is not None and initial is None:
        raise ValueError("max of some elements alone (where=) needs initial=")
    a = selected(a, where, initial)
    result = max_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)
    return result if initial is None else np.maximum(result, initial)


@implements(np.min, np.amin)
def min(
    a: Array,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The smallest element over axes; its cotangent is shared equally between ties."""
    if where is not None and initial is None:
        raise ValueError("min of some elements alone (where=) needs initial=")
    a = selected(a, where, initial)
    result = min_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)
    return result if initial is None else np.minimum(result, initial)


def _position_shape(x: ShapeDtype, *, axis: int | None, keepdims: bool) -> ShapeDtype:
    axes = tuple(range(x.ndim)) if axis is None else (axis,)
    return ShapeDtype(reduced_shape(x, axes, keepdims), np.intp)


def _position_samples() -> list[Sample]:
    return [
        Sample((values(3, 4),), {"axis": 1, "keepdims": False}),
        Sample((values(3, 4),), {"axis": None, "keepdims": False}),
        Sample((values(3, 4),), {"axis": 0, "keepdims": True}),
    ]


argmax_p = constant(
    "argmax",
    lambda x, *, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims),
    shape=_position_shape,
    samples=_position_samples,
)
argmin_p = constant(
    "argmin",
    lambda x, *, axis, keepdims: np.argmin(x, axis=axis, keepdims=keepdims),
    shape=_position_shape,
    samples=_position_samples,
)


@implements(np.argmax)
def argmax(a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The position of the first largest element."""
    axis = None if axis is None else normalize_axes(axis, ndim_of(a))[0]
    return argmax_p(a, axis=axis, keepdims=keepdims)


@implements(np.argmin)
def argmin(a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The position of the first smallest element."""
    axis = None if axis is None else normalize_axes(axis, ndim_of(a))[0]
    return argmin_p(a, axis=axis, keepdims=keepdims)


def _truth_shape(x: ShapeDtype, *, axis: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x, axis, keepdims), np.bool_)


all_p = constant(
    "all",
    lambda x, *, axis, keepdims: np.all(x, axis=axis, keepdims=keepdims),
    shape=_truth_shape,
    samples=reduction_samples,
)
any_p = constant(
    "any",
    lambda x, *, axis, keepdims: np.any(x, axis=axis, keepdims=keepdims),
    shape=_truth_shape,
    samples=reduction_samples,
)


@implements(np.all)
def all(
    a: Array, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Whether every element over axes is true."""
    a = selected(a, where, True)
    return all_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)


@implements(np.any)
def any(
    a: Array, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Whether some element over axes is true."""
    a = selected(a, where, False)
    return any_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)
