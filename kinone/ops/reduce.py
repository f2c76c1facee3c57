"""Sums and products over axes, the primitive of means, and logsumexp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Tracer,
    implements,
    is_inexact,
    ndim_of,
    shape_dtype,
    shape_of,
)
from ..core.layout import follows
from .axes import as_array, reduced_axes
from .declare import linear, primitive, promote
from .plain import composed
from .samples import Sample, values
from .shape import astype, normalize_axes

Axis = int | tuple[int, ...] | None


def reduced_shape(x: ShapeDtype, axis: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape after reducing these axes."""
    if keepdims:
        return tuple([1 if i in axis else n for i, n in enumerate(x.shape)])
    return tuple([n for i, n in enumerate(x.shape) if i not in axis])


def restore(g: Array, x: ShapeDtype, axis: tuple[int, ...]) -> Array:
    """A reduced array with its lost axes back, of length 1."""
    if not axis or g.ndim == x.ndim:
        return g
    return np.reshape(g, reduced_shape(x, axis, True))


def spread(g: Array, shape: tuple[int, ...]) -> Array:
    """`np.broadcast_to`, by a copy where the array is so small that the view costs more."""
    if isinstance(g, Tracer) or math.prod(shape) > 4096:
        return np.broadcast_to(g, shape)
    copy = np.empty(shape, g.dtype)
    copy[...] = g
    return copy


def over_batch(reduction: Any) -> Any:
    """The batch rule of a reduction over axes: the same one, its axes one place further."""

    def batch(size: int, batched: Sequence[bool], x: Array, *, axis: Any, keepdims: bool) -> Array:
        return reduction()(x, axis=tuple([i + 1 for i in axis]), keepdims=keepdims)

    return batch


def reduction_samples() -> list[Sample]:
    return [
        Sample((values(3, 4),), {"axis": (0, 1), "keepdims": False}),
        Sample((values(3, 4),), {"axis": (1,), "keepdims": True}),
        Sample((values(2, 3, 4),), {"axis": (0, 2), "keepdims": False}),
        Sample((values(),), {"axis": (), "keepdims": False}),
        Sample((values(2, 3),), {"axis": (), "keepdims": False}),
    ]


# ---- sum and mean --------------------------------------------------------------------------------


def _sum_shape(x: ShapeDtype, *, axis: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    dtype = np.add.reduce(np.zeros(1, x.dtype)).dtype  # small integers sum in a wide type
    return ShapeDtype(reduced_shape(x, axis, keepdims), dtype)


sum_p: Primitive = linear(
    "sum",
    lambda x, *, axis, keepdims: np.add.reduce(x, axis=axis, keepdims=keepdims),
    shape=_sum_shape,
    transpose=lambda g, x, *, axis, keepdims: spread(restore(g, x, axis), x.shape),
    batch=over_batch(lambda: sum_p),
    fresh=True,
    layout=follows,
    samples=lambda: [
        *reduction_samples(),
        Sample((values(0, 3),), {"axis": (0,), "keepdims": False}),
    ],
)


def _mean(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    if type(x) is np.ndarray and x.dtype.char in "fd" and x.size:
        # What np.mean does for these two types, without its three calls of Python.
        total: Array = np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]
        return total / math.prod([x.shape[i] for i in axis])
    return np.mean(x, axis=axis, keepdims=keepdims)


mean_p: Primitive = linear(
    "mean",
    _mean,
    shape=lambda x, *, axis, keepdims: ShapeDtype(
        reduced_shape(x, axis, keepdims), x.dtype if is_inexact(x) else np.float64
    ),
    transpose=lambda g, x, *, axis, keepdims: spread(
        restore(g * (1 / (math.prod([x.shape[i] for i in axis]) or 1)), x, axis), x.shape
    ),
    batch=over_batch(lambda: mean_p),
    fresh=True,
    layout=follows,
    samples=lambda: [
        *reduction_samples(),
        Sample((values(0, 3),), {"axis": (1,), "keepdims": False}),
    ],
)


@implements(np.sum)
def sum(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """The sum over axes, all of them by default; of the elements where `where` is true.

    Booleans and small integers sum in a wide integer type. `initial` is added to the result.

    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0, initial=10.0)
    array([14., 16.])
    """
    a = selected(as_array(a), where, 0)
    if dtype is not None:
        a = astype(a, dtype)
    total = sum_p(a, axis=reduced_axes(axis, ndim_of(a)), keepdims=bool(keepdims))
    if dtype is not None:  # the sum of int8 in int8
        total = astype(total, dtype)
    return total if initial is None else total + initially(initial, total)


def initially(initial: Any, total: Array) -> Array:
    """NumPy brings `initial` to the dtype of the result."""
    return astype(initial, shape_dtype(total).dtype)


def selected(a: Array, where: Any, other: Any) -> Array:
    """The elements where `where` is true, and `other`, which changes nothing, elsewhere.

    Raises `TypeError` where it holds no truths, `ValueError` where it does not fit.
    """
    if where is None or where is True:
        return a
    where = as_array(where)
    if where.dtype.kind != "b":
        raise TypeError(f"where is of dtype {where.dtype}, and bool is wanted")
    return np.where(np.broadcast_to(where, shape_of(a)), a, other)


def reduced_count(a: Array, axes: tuple[int, ...], where: Any, keepdims: bool) -> Any:
    """How many elements each result is made of: an integer, or an array of them with `where`."""
    if where is None or where is True:
        return math.prod([shape_of(a)[i] for i in axes])
    chosen = np.broadcast_to(as_array(where), shape_of(a))
    return np.sum(chosen, axis=axes, keepdims=keepdims)


@composed(np.prod)
def prod(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """The product over axes, all of them by default; of the elements where `where` is true.

    Halves are multiplied until one element is left, so the derivatives of every order hold where
    elements are zero, too; a quotient y / xᵢ would not.

    >>> float(prod(np.array([2.0, 3.0, 4.0])))
    24.0
    """
    a = selected(as_array(a), where, 1)
    known = shape_dtype(a)
    # Small integers multiply in a wide type.
    wide = np.multiply.reduce(np.zeros(0, known.dtype)).dtype if dtype is None else np.dtype(dtype)
    axes = reduced_axes(axis, known.ndim)
    rest = tuple([i for i in range(known.ndim) if i not in axes])
    count = math.prod([known.shape[i] for i in axes])
    shape = [known.shape[i] for i in rest]
    a = np.reshape(np.transpose(astype(a, wide), (*rest, *axes)), (*shape, count))
    while count > 1:
        half = count // 2
        product = a[..., :half] * a[..., half : 2 * half]
        a = product if count == 2 * half else np.concatenate([product, a[..., -1:]], axis=-1)
        count -= half
    if count == 0:
        a = np.ones((*shape, 1), wide)
    a = a[(*(slice(None) for _ in rest), 0)]
    if keepdims:
        a = np.reshape(a, reduced_shape(known, axes, True))
    return a if initial is None else a * initially(initial, a)


# ---- logsumexp -----------------------------------------------------------------------------------


def _logsumexp(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    if not is_inexact(x):
        x = np.asarray(x, promote(np.exp, shape_dtype(x)))
    top = np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    if np.isfinite(top).all():
        result = np.log(np.add.reduce(np.exp(x - top), axis=axis, keepdims=True)) + top
    else:
        # A row of -inf has log 0 = -inf, a row with +inf has +inf: shift neither.
        top = np.where(np.isfinite(top), top, np.zeros_like(top))
        with np.errstate(divide="ignore"):
            result = np.log(np.add.reduce(np.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else result.reshape(reduced_shape(shape_dtype(x), axis, False))[()]


def _weights(y: Array, x: Array, axis: tuple[int, ...]) -> Array:
    """softmax(x) = exp(x - logsumexp(x)); 0 where every x of the row is -inf."""
    whole = restore(y, shape_dtype(x), axis)
    return np.exp(x - np.where(whole == -np.inf, 0, whole))


def _logsumexp_vjp(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    return lambda g: (_weights(y, x, axis) * restore(g, shape_dtype(x), axis),)


def _logsumexp_jvp(y: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    return lambda t: sum(_weights(y, x, axis) * t, axis, keepdims=keepdims)


logsumexp_p: Primitive = primitive(
    "logsumexp",
    _logsumexp,
    shape=lambda x, *, axis, keepdims: ShapeDtype(
        reduced_shape(x, axis, keepdims), promote(np.exp, x)
    ),
    vjp=_logsumexp_vjp,
    jvp=_logsumexp_jvp,
    batch=over_batch(lambda: logsumexp_p),
    fresh=True,
    layout=follows,
    flops=5,
    samples=reduction_samples,
)


def logsumexp(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """ln Σ exp(aᵢ) over axes, shifted by the largest element so that nothing overflows.

    >>> float(logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    return logsumexp_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=bool(keepdims))
