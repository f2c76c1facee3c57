"""Sums, means, products over axes, and logsumexp."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, Tracer, implements, ndim_of, shape_dtype, shape_of
from .declare import linear, primitive, promote
from .samples import Sample, values
from .shape import astype, normalize_axes

Axis = int | Sequence[int] | None


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


mean_p = linear(
    "mean",
    _mean,
    shape=lambda x, *, axis, keepdims: ShapeDtype(
        reduced_shape(x, axis, keepdims), x.dtype if x.dtype.kind in "fc" else np.float64
    ),
    transpose=lambda g, x, *, axis, keepdims: spread(
        restore(g * (1 / math.prod([x.shape[i] for i in axis])), x, axis), x.shape
    ),
    samples=reduction_samples,
)


@implements(np.sum)
def sum(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The sum over axes, all of them by default."""
    a = selected(a, where, 0)
    if dtype is not None:
        a = astype(a, dtype)
    total = sum_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)
    return total if initial is None else total + _initial(initial, total)


def _initial(initial: Any, total: Array) -> Array:
    """NumPy brings `initial` to the dtype of the result."""
    return astype(initial, shape_dtype(total).dtype)


@implements(np.mean)
def mean(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    where: Any = None,
) -> Array:
    """The arithmetic mean over axes, all of them by default."""
    if dtype is not None:
        a = astype(a, dtype)
    if where is not None:
        return sum(a, axis, keepdims=keepdims, where=where) / _count(a, axis, keepdims, where)
    return mean_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)


@implements(np.var)
def var(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
) -> Array:
    """The mean of the squared distance from the mean; `ddof` is taken from the count."""
    if dtype is not None:
        a = astype(a, dtype)
    axes = normalize_axes(axis, ndim_of(a))
    centred = a - mean(a, axes, keepdims=True, where=where)
    if where is not None:
        squares = sum(centred * centred, axes, keepdims=keepdims, where=where)
        return squares / np.maximum(_count(a, axes, keepdims, where) - ddof, 0)
    count = builtins.max(math.prod([shape_of(a)[i] for i in axes]) - ddof, 0)
    return sum(centred * centred, axes, keepdims=keepdims) / count


@implements(np.std)
def std(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
) -> Array:
    """The square root of `var`."""
    return np.sqrt(var(a, axis, dtype, out, ddof, keepdims, where))


def _count(a: Array, axis: Axis, keepdims: bool, where: Any) -> Array:
    """How many elements `where` selects; in the dtype of the mean, lest float32 become float64."""
    known = shape_dtype(a)
    number = np.sum(np.broadcast_to(where, known.shape), axis=axis, keepdims=keepdims)
    return number.astype(known.dtype) if known.dtype.kind in "fc" else number


def selected(a: Array, where: Any, other: Any) -> Array:
    return a if where is None else np.where(where, a, other)


@implements(np.prod)
def prod(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The product over axes, all of them by default.

    Halves are multiplied until one element is left, so the derivatives of every order hold where
    elements are zero, too; a quotient y / xᵢ would not.
    """
    a = selected(a, where, 1)
    known = shape_dtype(a)
    # Small integers multiply in a wide type.
    wide = np.multiply.reduce(np.zeros(0, known.dtype)).dtype if dtype is None else np.dtype(dtype)
    axes = normalize_axes(axis, known.ndim)
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
    return a if initial is None else a * initial


# ---- logsumexp -----------------------------------------------------------------------------------


def _logsumexp(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    if shape_dtype(x).dtype.kind not in "fc":
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


logsumexp_p = primitive(
    "logsumexp",
    _logsumexp,
    shape=lambda x, *, axis, keepdims: ShapeDtype(
        reduced_shape(x, axis, keepdims), promote(np.exp, x)
    ),
    vjp=_logsumexp_vjp,
    jvp=_logsumexp_jvp,
    samples=reduction_samples,
)


def logsumexp(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """ln Σ exp(aᵢ) over axes, shifted by the largest element so that nothing overflows.

    >>> float(logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    return logsumexp_p(a, axis=normalize_axes(axis, ndim_of(a)), keepdims=keepdims)
