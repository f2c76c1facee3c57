"""Sampled functions: finite-difference gradients, trapezoids, interpolation, convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from .arithmetic import stop_gradient
from .axes import along, as_array, lifted, normalize_axes, normalize_axis
from .concrete import is_known, known
from .declare import bilinear, promote, unbroadcast
from .index import getitem
from .joining import concatenate
from .samples import Sample, values
from .shape import astype
from .versions import present

# ---- np.gradient ---------------------------------------------------------------------------------


@implements(np.gradient)
def gradient(f: Array, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Derivatives of a sampled function by central differences, one-sided at the ends.

    `varargs` are the spacing: nothing for 1, one number for all axes, or for each axis a number or
    the coordinates. `edge_order`, 1 or 2, is the accuracy at the ends. One array for one axis, a
    tuple of them for several.

    >>> gradient(np.array([0.0, 1.0, 4.0, 9.0]))
    array([1., 2., 4., 5.])
    """
    f = as_array(f)
    axes = normalize_axes(axis, ndim_of(f))
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    dtype = shape_dtype(f).dtype
    if dtype.kind in "iu":  # booleans cannot be subtracted, as in NumPy
        dtype = np.dtype(np.float64)
        f = astype(f, dtype)
    spacing = _spacing(f, varargs, axes)
    results = []
    for one, step in zip(axes, spacing, strict=True):
        if shape_of(f)[one] < edge_order + 1:
            raise ValueError(
                "Shape of array too small to calculate a numerical gradient, "
                "at least (edge_order + 1) elements are required."
            )
        results.append(astype(_along_one(f, step, one, edge_order), dtype))
    return results[0] if len(axes) == 1 else tuple(results)


def _spacing(f: Array, given: Sequence[Any], axes: tuple[int, ...]) -> list[Any]:
    """For each axis a number, or the distances of its neighbours."""
    if not given:
        return [1.0] * len(axes)
    if len(given) == 1 and ndim_of(given[0]) == 0:
        return list(given) * len(axes)
    if len(given) != len(axes):
        raise TypeError("invalid number of arguments")
    found = []
    for place, axis in zip(given, axes, strict=True):
        if ndim_of(place) == 0:
            found.append(place)
            continue
        place = as_array(place)
        if ndim_of(place) != 1:
            raise ValueError("distances must be either scalars or 1d")
        if shape_of(place)[0] != shape_of(f)[axis]:
            raise ValueError(
                "when 1d, distances must match the length of the corresponding dimension"
            )
        if place.dtype.kind in "iu":
            place = astype(place, np.float64)
        steps = np.diff(place)
        # Equal steps have a shorter formula; of traced coordinates nobody knows.
        equal = is_known(place) and bool((np.diff(known(steps, "np.gradient")) == 0).all())
        found.append(steps[0] if equal else steps)
    return found


def _along_one(f: Array, step: Any, axis: int, edge_order: int) -> Array:
    def at(entry: Any) -> Array:
        return f[along(axis, entry)]

    low, middle, high = at(slice(0, -2)), at(slice(1, -1)), at(slice(2, None))
    uniform = ndim_of(step) == 0
    if uniform:
        inside = (high - low) / (2.0 * step)
        first = last = second = second_last = step
    else:
        shape = [-1 if i == axis else 1 for i in range(ndim_of(f))]
        before, after = step[:-1], step[1:]
        a = np.reshape(-after / (before * (before + after)), shape)
        b = np.reshape((after - before) / (before * after), shape)
        c = np.reshape(before / (after * (before + after)), shape)
        inside = a * low + b * middle + c * high
        first, last = step[0], step[-1]
        second = step[1] if edge_order == 2 else None
        second_last = step[-2] if edge_order == 2 else None
    one = slice(1, 2)
    if edge_order == 1:
        start = (at(one) - at(slice(0, 1))) / first
        end = (at(slice(-1, None)) - at(slice(-2, -1))) / last
    else:
        a, b, c = _edge(first, second)
        start = a * at(slice(0, 1)) + b * at(one) + c * at(slice(2, 3))
        c, b, a = _edge(last, second_last)
        end = -(a * at(slice(-3, -2)) + b * at(slice(-2, -1)) + c * at(slice(-1, None)))
    return concatenate([start, inside, end], axis)


def _edge(near: Any, far: Any) -> tuple[Any, Any, Any]:
    """Second-order weights of the first element and the next two, at these distances."""
    a = -(2.0 * near + far) / (near * (near + far))
    b = (near + far) / (near * far)
    c = -near / (far * (near + far))
    return a, b, c


# ---- np.trapezoid --------------------------------------------------------------------------------


@implements(*present("trapezoid", "trapz"))
def trapezoid(y: Array, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """The integral by the trapezoidal rule, of samples at `x` or `dx` apart.

    >>> float(trapezoid(np.array([1.0, 2.0, 3.0])))
    4.0
    """
    y = as_array(y)
    axis = normalize_axis(axis, ndim_of(y))
    width = dx
    if x is not None:
        x = as_array(x)
        width = np.diff(x, axis=axis if ndim_of(x) > 1 else -1)
        if ndim_of(x) == 1:
            width = np.reshape(width, [-1 if i == axis else 1 for i in range(ndim_of(y))])
    low, high = y[along(axis, slice(0, -1))], y[along(axis, slice(1, None))]
    return np.sum(width * (high + low) / 2.0, axis)


# ---- np.interp -----------------------------------------------------------------------------------


@implements(np.interp)
def interp(
    x: Array,
    xp: Array,
    fp: Array,
    left: Any = None,
    right: Any = None,
    period: Any = None,
) -> Array:
    """Piecewise linear interpolation at `x` of the points (`xp`, `fp`), `xp` rising.

    Differentiable in `x`, `xp` and `fp`; at a point the slope is that of the piece on its right.
    Outside it is constant: `left` and `right`, or the first and last of `fp`. With `period` the
    points repeat.

    >>> float(interp(1.5, np.array([1.0, 2.0]), np.array([0.0, 10.0])))
    5.0
    """
    x = astype(as_array(x), np.float64, casting="safe")
    xp, fp = astype(as_array(xp), np.float64, casting="safe"), as_array(fp)
    fp = astype(fp, np.complex128 if fp.dtype.kind == "c" else np.float64)
    if ndim_of(xp) != 1 or ndim_of(fp) != 1:
        raise ValueError("Data points must be 1-D sequences" if period is not None else _TOO_DEEP)
    n = shape_of(xp)[0]
    if n != shape_of(fp)[0]:
        raise ValueError("fp and xp are not of the same length.")
    if n == 0:
        raise ValueError("array of sample points is empty")
    if period is not None:
        if is_known(period) and bool(known(period, "np.interp") == 0):
            raise ValueError("period must be a non-zero value")
        period = np.abs(period)
        x, xp = x % period, xp % period
        order = np.argsort(xp)
        xp, fp = getitem(xp, order), getitem(fp, order)
        xp = concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = concatenate([fp[-1:], fp, fp[:1]])
        n, left, right = n + 2, None, None
    i = np.clip(np.searchsorted(xp, x, "right") - 1, 0, max(n - 2, 0))
    j = np.minimum(i + 1, n - 1)
    x0, x1, f0, f1 = getitem(xp, i), getitem(xp, j), getitem(fp, i), getitem(fp, j)
    y = _between(x, x0, x1, f0, f1)
    y = np.where(x < xp[0], fp[0] if left is None else left, y)
    return np.where(x > xp[-1], fp[-1] if right is None else right, y)


def _between(x: Array, x0: Array, x1: Array, f0: Array, f1: Array) -> Array:
    """The line through (x0, f0) and (x1, f1) at x; f0 where the two points are one."""
    finite = np.isfinite(x)
    for each in (x0, x1, f0, f1):
        finite = finite & np.isfinite(each)
    t, t0, t1, g0, g1 = (np.where(finite, each, 0) for each in (x, x0, x1, f0, f1))
    flat = t1 == t0
    slope = np.where(flat, 0.0, (g1 - g0) / np.where(flat, 1.0, t1 - t0))
    # From the nearer end, so that a point's own value comes out exactly.
    y = np.where(t == t1, g1 + slope * (t - t1), g0 + slope * (t - t0))
    return np.where(finite, y, _beside_infinity(x, x0, x1, f0, f1))


def _beside_infinity(x: Array, x0: Array, x1: Array, f0: Array, f1: Array) -> Array:
    """The value where a point or `x` is not finite, as NumPy has it: that of the point itself, or
    what the slope gives from one end or the other. The slope counts as constant."""
    slope = stop_gradient((f1 - f0) / np.where(x1 == x0, 1.0, x1 - x0))
    from_left = stop_gradient(slope * (x - x0)) + f0
    from_right = stop_gradient(slope * (x - x1)) + f1
    other = np.where(np.isnan(from_right) & (f0 == f1), f0, from_right)
    line = np.where(np.isnan(from_left), other, from_left)
    return np.where(x == x0, f0, np.where(x == x1, f1, line))


_TOO_DEEP = "object too deep for desired array"


# ---- np.convolve ---------------------------------------------------------------------------------


def _convolve(a: Array, v: Array, *, mode: Any) -> Array:
    a, v = np.asarray(a), np.asarray(v)
    if a.ndim == v.ndim == 1:
        return np.convolve(a, v, mode)
    lead = np.broadcast_shapes(a.shape[:-1], v.shape[:-1])
    left = np.broadcast_to(a, (*lead, a.shape[-1])).reshape(-1, a.shape[-1])
    right = np.broadcast_to(v, (*lead, v.shape[-1])).reshape(-1, v.shape[-1])
    n, m = a.shape[-1], v.shape[-1]
    length = n + m - 1 if mode == "full" else max(n, m) - min(n, m) + 1
    result = np.empty((len(left), length), np.result_type(a, v))
    for row, one, other in zip(result, left, right, strict=True):
        row[:] = np.convolve(one, other, mode)
    return result.reshape(*lead, length)


def _convolve_shape(a: ShapeDtype, v: ShapeDtype, *, mode: str) -> ShapeDtype:
    n, m = a.shape[-1], v.shape[-1]
    length = n + m - 1 if mode == "full" else n - m + 1
    lead = np.broadcast_shapes(a.shape[:-1], v.shape[:-1])
    return ShapeDtype((*lead, length), promote(np.multiply, a, v))


def _backwards(x: Array) -> Array:
    return x[..., ::-1]


def _convolve_left(g: Array, a: ShapeDtype, v: Array, *, mode: str) -> Array:
    """The longer operand's cotangent: `g` convolved with `v` backwards, in the other mode."""
    other = "valid" if mode == "full" else "full"
    return unbroadcast(convolve_p(g, _backwards(v), mode=other), a.shape)


def _convolve_right(g: Array, a: Array, v: ShapeDtype, *, mode: str) -> Array:
    if mode == "full":
        return unbroadcast(convolve_p(g, _backwards(a), mode="valid"), v.shape)
    return unbroadcast(_backwards(convolve_p(a, _backwards(g), mode="valid")), v.shape)


def _convolve_batch(size: int, batched: Sequence[bool], a: Array, v: Array, *, mode: str) -> Array:
    ndim = max(ndim_of(x) - flag for x, flag in zip((a, v), batched, strict=True))
    a, v = (lifted(x, ndim) if flag else x for x, flag in zip((a, v), batched, strict=True))
    return convolve_p(a, v, mode=mode)


# Along the last axis, over broadcast leading ones; in mode "valid" `a` is at least as long as `v`.
convolve_p: Primitive = bilinear(
    "convolve",
    _convolve,
    shape=_convolve_shape,
    left=_convolve_left,
    right=_convolve_right,
    batch=_convolve_batch,
    samples=lambda: [
        Sample((values(5), values(3, seed=1)), {"mode": "full"}),
        Sample((values(5), values(3, seed=1)), {"mode": "valid"}),
        Sample((values(3), values(3, seed=1)), {"mode": "valid"}),
        Sample((values(2, 4), values(3, 1, 2, seed=1)), {"mode": "full"}),
        Sample((values(2, 4), values(2, seed=1)), {"mode": "valid"}),
    ],
)


@implements(np.convolve)
def convolve(a: Array, v: Array, mode: str = "full") -> Array:
    """The convolution of two sequences, yₖ = Σᵢ aᵢ vₖ₋ᵢ: all of it ("full"), as long as the longer
    one ("same"), or where both overlap completely ("valid").

    Raises `ValueError` for empty ones.

    >>> convolve(np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0]))
    array([ 1.,  1.,  1., -3.])
    """
    a, v = (np.reshape(x, 1) if ndim_of(x) == 0 else x for x in (as_array(a), as_array(v)))
    if ndim_of(a) != 1 or ndim_of(v) != 1:
        raise ValueError(_TOO_DEEP)
    if shape_of(v)[0] > shape_of(a)[0]:
        a, v = v, a
    n, m = shape_of(a)[0], shape_of(v)[0]
    if n == 0:
        raise ValueError("a cannot be empty")
    if m == 0:
        raise ValueError("v cannot be empty")
    if mode == "same":
        start = (m - 1) // 2
        return convolve_p(a, v, mode="full")[start : start + n]
    if mode not in ("full", "valid"):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    return convolve_p(a, v, mode=mode)


@implements(np.correlate)
def correlate(a: Array, v: Array, mode: str = "valid") -> Array:
    """The correlation of two sequences, yₖ = Σᵢ aᵢ₊ₖ v̄ᵢ, in the modes of `convolve`.

    >>> correlate(np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0]))
    array([-1., -1.])
    """
    a, v = as_array(a), as_array(v)
    mirrored = v[::-1]
    if mirrored.dtype.kind == "c":
        mirrored = np.conj(mirrored)
    n, m = shape_of(a)[0], shape_of(v)[0]
    if mode == "same" and m > n:
        start = n // 2  # NumPy turns the longer one's correlation round
        return convolve(a, mirrored, "full")[start : start + m]
    return convolve(a, mirrored, mode)
