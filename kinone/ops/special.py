"""Functions whose derivatives of every order are one family of integrals: sinc and Bessel's I₀.

Both are integrals over a parameter, and a derivative puts a power of the parameter under the
integral sign, so the derivative of the member `order` is the member `order + 1`:

    sinc      sₖ(u) = ∫₀¹ tᵏ cos(ut + kπ/2) dt,     s₀(u) = sin(u)/u,     u = πx
    I₀        iₖ(x) = 1/π ∫₀^π cosᵏθ exp(x cosθ) dθ

A quotient such as (cos u - sin(u)/u)/u would be 0/0 at 0, and its derivatives worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, shape_dtype
from .axes import as_array, normalize_axis
from .complex import is_complex
from .declare import primitive
from .plain import composed
from .samples import Sample, values
from .shape import astype


def _family(name: str, impl: Callable[..., Any], scale: float) -> Primitive:
    """A primitive `f(x, order=k)` whose derivative is `scale * f(x, order=k + 1)`."""
    made: Primitive

    def slope(y: Array, x: Array, *, order: int) -> Any:
        return lambda g: g * (scale * made(x, order=order + 1))

    made = primitive(
        name,
        impl,
        shape=lambda x, *, order: ShapeDtype(
            x.shape, x.dtype if x.dtype.kind in "fc" else np.float64
        ),
        vjp=lambda y, x, *, order: lambda g: (slope(y, x, order=order)(g),),
        jvp=slope,
        batch=lambda size, batched, x, *, order: made(x, order=order),
        samples=lambda: [
            Sample((x,), {"order": k}) for k in (0, 1, 2) for x in (values(3, 4), values(0, 2))
        ],
    )
    return made


# ---- sinc ----------------------------------------------------------------------------------------


def _sinc(x: Array, *, order: int) -> Array:
    """The derivative of sin(u)/u of this order, at u = πx."""
    x = np.asarray(x)
    if x.dtype.kind not in "fc":
        x = x.astype(np.float64)
    if order == 0:
        return np.sinc(x)
    wide = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
    u = math.pi * wide
    border = order / 2 + 1
    near = np.abs(u) < border
    far = np.where(near, border, u)
    # Integration by parts, which loses digits where u is small beside the order …
    found = np.sin(far) / far
    for k in range(1, order + 1):
        found = (np.sin(far + k * math.pi / 2) - k * found) / far
    # … and there the power series.
    small = np.where(near, u, 0)
    series = np.zeros_like(small)
    for m in range((order + 1) // 2, order + 30):
        power = 2 * m - order
        series += (-1) ** m * small**power / (math.factorial(power) * (2 * m + 1))
    return np.where(near, series, found).astype(x.dtype)[()]


sinc_p = _family("sinc", _sinc, math.pi)


@composed(np.sinc)
def sinc(x: Array) -> Array:
    """sin(πx)/(πx), and 1 at 0; the derivatives of every order are right there too.

    >>> sinc(np.array([0.0, 0.5])).round(6)
    array([1.     , 0.63662])
    """
    x = as_array(x)
    return sinc_p(x if x.dtype.kind in "fc" else astype(x, np.float64), order=0)


# ---- I₀ ------------------------------------------------------------------------------------------


def _bessel(x: Array, *, order: int) -> Array:
    """The derivative of I₀ of this order."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        x = x.astype(np.float64)
    if order == 0:
        return np.i0(x)[()]
    # The trapezoidal rule converges geometrically for a periodic integrand: 2n nodes are exact up
    # to I₂ₙ(x), which from n = 5 √|x| + 16 on is below rounding beside I₀(x).
    wide = x.astype(np.float64)
    largest = float(np.max(np.abs(wide), initial=0, where=np.isfinite(wide)))
    count = int(5 * math.sqrt(largest)) + 16 + order
    total = np.zeros_like(wide)
    with np.errstate(over="ignore", invalid="ignore"):
        for node in range(count):
            cosine = math.cos((node + 0.5) * math.pi / count)
            total += cosine**order * np.exp(wide * cosine)
    return (total / count).astype(x.dtype)[()]


i0_p = _family("i0", _bessel, 1.0)


@composed(np.i0)
def i0(x: Array) -> Array:
    """The modified Bessel function of the first kind of order 0. Raises `TypeError` for complex x.

    >>> i0(np.array([0.0, 1.0])).round(6)
    array([1.      , 1.266066])
    """
    x = as_array(x)
    if is_complex(x):
        raise TypeError("i0 not supported for complex values")
    return i0_p(x if x.dtype.kind == "f" else astype(x, np.float64), order=0)


# ---- angles --------------------------------------------------------------------------------------


@composed(np.unwrap)
def unwrap(p: Array, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Array:
    """Angles without jumps: multiples of `period` added where neighbours differ by more than half.

    The jumps are constant, so the derivative is that of the identity.

    >>> unwrap(np.array([0.0, 3.0, 6.0 - 2 * np.pi]))
    array([0., 3., 6.])
    """
    p = as_array(p)
    axis = normalize_axis(axis, len(p.shape))
    step = np.diff(p, axis=axis)
    half: Any
    dtype = np.result_type(shape_dtype(step).dtype, period)
    if np.issubdtype(dtype, np.integer):
        half, rest = divmod(period, 2)
        ambiguous = rest == 0
    else:
        half, ambiguous = period / 2, True
    wrapped = np.mod(step + half, period) - half
    if ambiguous:
        wrapped = np.where((wrapped == -half) & (step > 0), wrapped + period, wrapped)
    limit = half if discont is None else discont
    jumps = np.where(np.abs(step) < limit, 0, wrapped - step)
    first = [slice(None)] * len(p.shape)
    first[axis] = slice(0, 1)
    jumps = np.concatenate(
        [np.zeros_like(p[tuple(first)], jumps.dtype), np.cumsum(jumps, axis)], axis
    )
    return astype(p + jumps, dtype)
