"""The largest and the smallest over axes, where they are, and how many are true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from ..core.layout import follows
from .axes import as_array, normalize_axis, reduced_axes, reduced_axis
from .declare import Rule, constant, primitive
from .plain import composed
from .reduce import Axis, over_batch, reduced_shape, reduction_samples, restore, selected, sum
from .samples import Sample, values
from .shape import astype
from .signatures import signature_of


def _tied(y: Array, x: Array, axis: tuple[int, ...]) -> tuple[Array, Array]:
    """Where the extremum stands, and in how many places; 1 where it is NaN and equals nothing.

    The count is of the operand's dtype, but of float16 it is float32: 70,000 ties are no infinity.
    """
    aval = shape_dtype(x)
    places = x == restore(y, aval, axis)
    wide = np.float32 if aval.dtype == np.float16 else aval.dtype
    count = sum(places, axis, keepdims=True)
    return places, astype(np.maximum(count, 1), wide)


def _extremum_vjp(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Equal shares for all that tie, so that the shares add up to one."""
    aval = shape_dtype(x)

    def pullback(g: Array) -> tuple[Array]:
        places, count = _tied(y, x, axis)
        share = astype(restore(g, aval, axis) / count, aval.dtype)
        return (np.where(places, share, 0),)

    return pullback


def _extremum_jvp(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    aval = shape_dtype(x)

    def pushforward(t: Array) -> Array:
        places, count = _tied(y, x, axis)
        total = sum(astype(np.where(places, t, 0), count.dtype), axis, keepdims=True) / count
        shape = reduced_shape(aval, axis, keepdims)
        return astype(np.reshape(total, shape), aval.dtype)

    return pushforward


def _extremum_shape(x: ShapeDtype, *, axis: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    if math.prod([x.shape[i] for i in axis]) == 0:
        raise ValueError("zero-size array to reduction operation which has no identity")
    return ShapeDtype(reduced_shape(x, axis, keepdims), x.dtype)


def _ties(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    places = x == restore(y, shape_dtype(x), axis)
    return places & (np.sum(places, axis, keepdims=True) > 1)


def _extremum_primitive(name: str, impl: Rule) -> Primitive:
    made: Primitive = primitive(
        name,
        impl,
        shape=_extremum_shape,
        vjp=_extremum_vjp,
        jvp=_extremum_jvp,
        batch=over_batch(lambda: made),
        fresh=True,
        layout=follows,
        kink=_ties,
        samples=reduction_samples,
    )
    return made


max_p = _extremum_primitive(
    "max", lambda x, *, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims)
)
min_p = _extremum_primitive(
    "min", lambda x, *, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims)
)


@implements(np.max, np.amax)
def max(
    a: Array,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """The largest element over axes; its cotangent is shared equally between ties.

    The result is at least `initial`, which `where`, and no elements at all, cannot do without:
    else `ValueError`.

    >>> max(np.array([[1.0, 5.0], [7.0, 2.0]]), axis=0)
    array([7., 5.])
    """
    return _extremum(max_p, np.maximum, a, axis, keepdims, initial, where)


@implements(np.min, np.amin)
@signature_of(max)
def min(a: Array, axis: Axis = None, out: None = None, *args: Any, **kwargs: Any) -> Array:
    """The smallest element over axes; its cotangent is shared equally between ties.

    The result is at most `initial`, which `where`, and no elements at all, cannot do without: else
    `ValueError`.

    >>> min(np.array([[1.0, 5.0], [7.0, 2.0]]), axis=0)
    array([1., 2.])
    """
    return _extremum(min_p, np.minimum, a, axis, *args, **kwargs)


def _extremum(
    reduction: Primitive,
    ufunc: np.ufunc,
    a: Array,
    axis: Axis,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    a = as_array(a)
    axes = reduced_axes(axis, ndim_of(a))
    known = shape_dtype(a)
    if initial is None:
        if where is not None and where is not True:
            raise ValueError(
                f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a "
                "where mask one has to specify 'initial'"
            )
        return reduction(a, axis=axes, keepdims=bool(keepdims))
    initial = astype(initial, known.dtype)
    if math.prod([known.shape[i] for i in axes]) == 0:
        return np.broadcast_to(initial, reduced_shape(known, axes, keepdims))
    a = selected(a, where, initial)
    return ufunc(reduction(a, axis=axes, keepdims=bool(keepdims)), initial)


@composed(np.ptp)
def ptp(a: Array, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The largest element less the smallest, over axes.

    >>> float(ptp(np.array([3.0, -1.0, 2.0])))
    4.0
    """
    axes = reduced_axes(axis, ndim_of(a))
    return np.subtract(max(a, axes, keepdims=keepdims), min(a, axes, keepdims=keepdims))


def _position_shape(x: ShapeDtype, *, axis: int | None, keepdims: bool) -> ShapeDtype:
    axes = tuple(range(x.ndim)) if axis is None else (axis,)
    if math.prod([x.shape[i] for i in axes]) == 0:
        raise ValueError("attempt to get the position in an empty sequence")
    return ShapeDtype(reduced_shape(x, axes, keepdims), np.intp)


def _position_samples() -> list[Sample]:
    return [
        Sample((values(3, 4),), {"axis": 1, "keepdims": False}),
        Sample((values(3, 4),), {"axis": None, "keepdims": False}),
        Sample((values(3, 4),), {"axis": 0, "keepdims": True}),
        Sample((values(3, 4),), {"axis": None, "keepdims": True}),
    ]


def _position_primitive(name: str, impl: Rule) -> Primitive:
    def batch(
        size: int, batched: Sequence[bool], x: Array, *, axis: int | None, keepdims: bool
    ) -> Array:
        """Within each example: of its elements in one axis, where the whole array is searched."""
        if axis is not None:
            return made(x, axis=axis + 1, keepdims=keepdims)
        shape = shape_of(x)
        found = made(np.reshape(x, (size, math.prod(shape[1:]))), axis=1, keepdims=False)
        return np.reshape(found, (size, *[1] * (len(shape) - 1))) if keepdims else found

    made: Primitive = constant(
        name, impl, shape=_position_shape, batch=batch, fresh=True, samples=_position_samples
    )
    return made


argmax_p = _position_primitive(
    "argmax", lambda x, *, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims)
)
argmin_p = _position_primitive(
    "argmin", lambda x, *, axis, keepdims: np.argmin(x, axis=axis, keepdims=keepdims)
)


@implements(np.argmax)
def argmax(a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The position of the first largest element, along an axis or in the flattened array.

    >>> int(argmax(np.array([3.0, 9.0, 9.0])))
    1
    """
    return _position(argmax_p, a, axis, keepdims)


@implements(np.argmin)
def argmin(a: Array, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Array:
    """The position of the first smallest element, along an axis or in the flattened array.

    >>> int(argmin(np.array([3.0, 1.0, 1.0])))
    1
    """
    return _position(argmin_p, a, axis, keepdims)


def _position(position: Primitive, a: Array, axis: int | None, keepdims: bool) -> Array:
    a = as_array(a)
    axis = reduced_axis(axis, ndim_of(a))
    axis = None if axis is None else normalize_axis(axis, ndim_of(a))
    return position(a, axis=axis, keepdims=bool(keepdims))


def _truth_primitive(name: str, impl: Rule) -> Primitive:
    made: Primitive = constant(
        name,
        impl,
        shape=lambda x, *, axis, keepdims: ShapeDtype(reduced_shape(x, axis, keepdims), np.bool_),
        batch=over_batch(lambda: made),
        fresh=True,
        layout=follows,
        samples=reduction_samples,
    )
    return made


all_p = _truth_primitive(
    "all", lambda x, *, axis, keepdims: np.all(x, axis=axis, keepdims=keepdims)
)
any_p = _truth_primitive(
    "any", lambda x, *, axis, keepdims: np.any(x, axis=axis, keepdims=keepdims)
)


@implements(np.all)
def all(
    a: Array, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Array:
    """Whether every element over axes is true.

    >>> all(np.array([[1.0, 0.0], [2.0, 3.0]]), axis=1)
    array([False,  True])
    """
    return _truth(all_p, selected(as_array(a), where, True), axis, keepdims)


@implements(np.any)
def any(
    a: Array, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Array:
    """Whether some element over axes is true.

    >>> any(np.array([[1.0, 0.0], [0.0, 0.0]]), axis=1)
    array([ True, False])
    """
    return _truth(any_p, selected(as_array(a), where, False), axis, keepdims)


def _truth(truth: Primitive, a: Array, axis: Axis, keepdims: bool) -> Array:
    return truth(a, axis=reduced_axes(axis, ndim_of(a)), keepdims=bool(keepdims))


@composed(np.count_nonzero)
def count_nonzero(a: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """How many elements over axes are not zero.

    >>> int(count_nonzero(np.array([0.0, 2.0, 3.0])))
    2
    """
    return sum(as_array(a) != 0, axis, keepdims=keepdims)
