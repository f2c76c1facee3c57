"""Elementary functions as formulas of simpler ones, for types of which ONNX Runtime has no kernel.

Each is an ordinary Kinone function of floating-point arrays, which `rules.through` writes as nodes.
What they stand on has kernels for all floating types: arithmetic, exp, log, sqrt, sin, abs, floor,
rint, power and comparisons. Errors are a few units in the last place of float64; NaN, ±∞ and ±0
come out as NumPy has them, but for the sign of zero where the last node is a Where, which in ONNX
Runtime makes +0 of -0. Python numbers on both sides of a `np.where` would make float64 of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any

_LN2 = math.log(2)


def negative(x: Array) -> Array:
    """Whether the sign is minus, that of zero included; not of NaN, whose sign no node tells."""
    return (x < 0) | ((x == 0) & (np.reciprocal(x) < 0))


def with_sign(size: Array, x: Array) -> Array:
    """`size`, which is ≥ 0, with the sign of x, that of zero included."""
    number = x.dtype.type
    return size * np.where(negative(x), number(-1), number(1))


# ---- exponentials and logarithms -----------------------------------------------------------------


def expm1(x: Array) -> Array:
    """(u - 1) x / ln u with u = eˣ: the rounding of u is in both and cancels (Kahan)."""
    u = np.exp(x)
    even = np.log(np.where(np.abs(x) < 1, u, 2.0))
    near = np.where(u == 1, x, (u - 1) * x / np.where(u == 1, 1.0, even))
    return np.where(np.abs(x) < 1, near, u - 1)


def log1p(x: Array) -> Array:
    """x ln u / (u - 1) with u = 1 + x, likewise."""
    u = 1 + x
    logarithm = np.log(u)
    flat = u == 1
    near = np.where(flat, x, logarithm * x / np.where(flat, 1.0, u - 1))
    return np.where(np.abs(x) < 1, near, logarithm)


def _whole(y: Array, x: Array, base: float) -> Array:
    """y = log x, made whole where x is a power of the base."""
    nearest = np.rint(y)
    return np.where(np.power(base, nearest) == x, nearest, y)


def log2(x: Array) -> Array:
    return _whole(np.log(x) * (1 / _LN2), x, 2.0)


def log10(x: Array) -> Array:
    return _whole(np.log(x) * (1 / math.log(10)), x, 10.0)


def exp2(x: Array) -> Array:
    return np.power(2.0, x)


def _log_add(a: Array, b: Array, far: Any) -> Array:
    """max + log(1 + base^-|a - b|), of equal infinities too."""
    top = np.maximum(a, b)
    gap = np.where(a == b, 0.0, np.abs(a - b))
    return top + np.where(np.isinf(gap), 0.0, far(-gap))


def logaddexp(a: Array, b: Array) -> Array:
    return _log_add(a, b, lambda gap: np.log1p(np.exp(gap)))


def logaddexp2(a: Array, b: Array) -> Array:
    return _log_add(a, b, lambda gap: np.log1p(np.exp2(gap)) * (1 / _LN2))


def cbrt(x: Array) -> Array:
    """|x|^⅓, whose exponent is rounded, and one step of Newton's method."""
    size = np.abs(x)
    root = np.power(size, 1 / 3)
    plain = (size == 0) | np.isinf(size)
    safe = np.where(plain, 1.0, root)
    better = safe - (safe - size / (safe * safe)) * (1 / 3)
    return with_sign(np.where(plain, size, better), x)


def hypot(a: Array, b: Array) -> Array:
    """The longer side times √(1 + ratio²), which does not overflow before its time."""
    a, b = np.abs(a), np.abs(b)
    long, short = np.maximum(a, b), np.minimum(a, b)
    ratio = short / np.where((long == 0) | np.isinf(long), 1.0, long)
    length = long * np.sqrt(1 + ratio * ratio)
    return np.where(np.isinf(a) | np.isinf(b), np.inf, length)


# ---- trigonometry --------------------------------------------------------------------------------

_HALF_PI = (1.57079632679489655800e00, 6.12323399573676603587e-17)  # in two parts


def cos(x: Array) -> Array:
    """sin(π/2 - |x|), and what the rounding of the difference e makes of it, e sin |x|; of large
    numbers, where e is not small, 1 - 2 sin²(x/2)."""
    size = np.abs(x)
    rest = _HALF_PI[0] - size
    taken = rest - _HALF_PI[0]
    error = ((_HALF_PI[0] - (rest - taken)) - (size + taken)) + _HALF_PI[1]
    near = np.sin(rest) + error * np.sin(size)
    half = np.sin(0.5 * x)
    return np.where(size < 1e7, near, 1 - 2 * (half * half))


def tan(x: Array) -> Array:
    return np.sin(x) / cos(x)


# FDLIBM's s_atan.c (Sun Microsystems, 1993): the centres of four intervals and their arcs in two
# parts, and the odd polynomial.
_CENTRES = (
    (0.4375, 0.5, 4.63647609000806093515e-01, 2.26987774529616870924e-17),
    (0.6875, 1.0, 7.85398163397448278999e-01, 3.06161699786838301793e-17),
    (1.1875, 1.5, 9.82793723247329054082e-01, 1.39033110312309984516e-17),
)
_INFINITE = (2.4375, 1.57079632679489655800e00, 6.12323399573676603587e-17)
_ARCTAN = (
    3.33333333333329318027e-01,
    -1.99999999998764832476e-01,
    1.42857142725034663711e-01,
    -1.11111104054623557880e-01,
    9.09088713343650656196e-02,
    -7.69187620504482999495e-02,
    6.66107313738753120669e-02,
    -5.83357013379057348645e-02,
    4.97687799461593236017e-02,
    -3.65315727442169155270e-02,
    1.62858201153657823623e-02,
)


def polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """By Horner's scheme, the constant term first."""
    total: Array = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _arc(size: Array) -> Array:
    """arctan of what is ≥ 0: (|x| - c) / (1 + c |x|) is small for one of the centres c."""
    limit, high, low = _INFINITE
    short = size < limit
    top: Array = np.where(short, size, -1.0)
    bottom: Array = np.where(short, 1.0, size)
    whole: Array = np.where(short, 0.0, high)
    rest: Array = np.where(short, 0.0, low)
    for start, centre, upper, lower in _CENTRES:
        inside = (size >= start) & short
        top = np.where(inside, size - centre, top)
        bottom = np.where(inside, 1 + centre * size, bottom)
        whole = np.where(inside, upper, whole)
        rest = np.where(inside, lower, rest)
    small = top / bottom
    square = small * small
    bent = small * (square * polynomial(square, _ARCTAN))
    return whole - ((bent - rest) - small)


def arctan(x: Array) -> Array:
    size = np.abs(x)
    return with_sign(np.where(np.isnan(x), x, _arc(size)), x)


def arcsin(x: Array) -> Array:
    return np.arctan(x / np.sqrt((1 - x) * (1 + x)))


def arccos(x: Array) -> Array:
    return 2 * np.arctan(np.sqrt((1 - x) / (1 + x)))


def arctan2(y: Array, x: Array) -> Array:
    """The arc of the shorter side over the longer, put into its octant."""
    rise, run = np.abs(y), np.abs(x)
    steep = rise > run
    long, short = np.maximum(rise, run), np.minimum(rise, run)
    both = np.isinf(short)
    ratio = np.where(both, 1.0, short / np.where(both | (long == 0), 1.0, long))
    arc = np.arctan(ratio)
    arc = np.where(steep, _HALF_PI[0] - (arc - _HALF_PI[1]), arc)
    arc = np.where(negative(x), 2 * _HALF_PI[0] - (arc - 2 * _HALF_PI[1]), arc)
    return with_sign(np.where(np.isnan(x) | np.isnan(y), np.nan, arc), y)


# ---- hyperbolic functions ------------------------------------------------------------------------


def _halves(size: Array) -> Array:
    """e^size / 2, which is finite as long as that is."""
    half = np.exp(0.5 * size)
    return (0.5 * half) * half


def sinh(x: Array) -> Array:
    size = np.abs(x)
    risen = np.expm1(np.minimum(size, 22.0))
    near = 0.5 * (risen + risen / (risen + 1))
    return with_sign(np.where(size < 22, near, _halves(size)), x)


def cosh(x: Array) -> Array:
    size = np.abs(x)
    grown = np.exp(np.minimum(size, 22.0))
    return np.where(size < 22, 0.5 * (grown + 1 / grown), _halves(size))


def arcsinh(x: Array) -> Array:
    size = np.abs(x)
    safe = np.minimum(size, 1e9 if size.dtype == np.float64 else 1e4)
    square = safe * safe
    near = np.log1p(safe + square / (1 + np.sqrt(square + 1)))
    return with_sign(np.where(size == safe, near, np.log(size) + _LN2), x)


def arccosh(x: Array) -> Array:
    limit = 1e9 if x.dtype == np.float64 else 1e4
    above = np.minimum(x, limit) - 1
    near = np.log1p(above + np.sqrt(above * (above + 2)))
    found = np.where(x < limit, near, np.log(x) + _LN2)
    return np.where(x < 1, np.nan, found)


def arctanh(x: Array) -> Array:
    size = np.abs(x)
    return with_sign(0.5 * np.log1p(2 * size / (1 - size)), x)


# ---- activations ---------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    """By e^-|x|, so that nothing overflows and no digits are lost on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def hard_sigmoid(x: Array) -> Array:
    return np.minimum(np.maximum(x + 3, 0.0), 6.0) / 6


def hard_swish(x: Array) -> Array:
    return x * hard_sigmoid(x)


def leaky_relu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, slope * x)


def elu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


# ---- division ------------------------------------------------------------------------------------


def remainder(a: Array, b: Array) -> Array:
    """The remainder with the sign of the divisor."""
    rest = np.fmod(a, b)
    wrong = (rest != 0) & ((b < 0) != (rest < 0))
    return np.where(wrong, rest + b, rest)


def floor_divide(a: Array, b: Array) -> Array:
    """(a - remainder) / b, made whole, as NumPy computes it; a / b where b is zero."""
    rest = np.fmod(a, b)
    quotient = (a - rest) / b
    wrong = (rest != 0) & ((b < 0) != (rest < 0))
    quotient = np.where(wrong, quotient - 1, quotient)
    down = np.floor(quotient)
    down = np.where(quotient - down > 0.5, down + 1, down)
    return np.where(b == 0, a / b, np.where(np.isnan(rest), np.nan, down))


def trunc(x: Array) -> Array:
    return with_sign(np.floor(np.abs(x)), x)


def fmax(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.maximum(a, b)))


def fmin(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.minimum(a, b)))
