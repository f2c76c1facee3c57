"""Complex functions as formulas of the real and the imaginary part.

Each takes the parts of its operands and gives those of its result: the algorithms of C's library
(Kahan 1987, "Branch cuts for complex elementary functions"), which NumPy calls.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .formulas import with_sign

Array = Any
Parts = tuple[Array, Array]


def multiply(a: Array, b: Array, c: Array, d: Array) -> Parts:
    return a * c - b * d, a * d + b * c


def square(x: Array, y: Array) -> Parts:
    return x * x - y * y, x * y + y * x


def divide(a: Array, b: Array, c: Array, d: Array) -> Parts:
    """Smith's algorithm: both are divided by the larger part of the divisor."""
    wide = np.abs(c) >= np.abs(d)
    large: Array
    small: Array
    large, small = np.where(wide, c, d), np.where(wide, d, c)
    zero = large == 0
    ratio = small / np.where(zero, 1.0, large)
    scale = 1 / (large + small * ratio)
    real = np.where(wide, a + b * ratio, a * ratio + b) * scale
    imag = np.where(wide, b - a * ratio, b * ratio - a) * scale
    return np.where(zero, a / np.abs(c), real), np.where(zero, b / np.abs(c), imag)


def reciprocal(x: Array, y: Array) -> Parts:
    return divide(np.ones_like(x), np.zeros_like(x), x, y)


def _direction(x: Array, y: Array) -> Parts:
    length = np.hypot(x, y)
    safe = np.where(length == 0, 1.0, length)
    return x / safe, y / safe


def sign(x: Array, y: Array) -> Parts:
    return _direction(x, y)


def exp(x: Array, y: Array) -> Parts:
    """eˣ in two factors, for eˣ cos y may be finite where eˣ is not."""
    half = np.exp(0.5 * x)
    return half * (half * np.cos(y)), np.where(y == 0, y, half * (half * np.sin(y)))


def expm1(x: Array, y: Array) -> Parts:
    grown = np.exp(x)
    half = np.sin(0.5 * y)
    return np.expm1(x) * np.cos(y) - 2 * (half * half), np.where(y == 0, y, grown * np.sin(y))


def _log_length(x: Array, y: Array) -> Array:
    """ln |z|, by log1p where that is near 0."""
    x, y = np.abs(x), np.abs(y)
    long, short = np.maximum(x, y), np.minimum(x, y)
    both = (long == 0) | np.isinf(long)
    ratio = np.where(both, 0.0, short / np.where(both, 1.0, long))
    far = np.log(long) + 0.5 * np.log1p(ratio * ratio)
    near = 0.5 * np.log1p((long - 1) * (long + 1) + short * short)
    return np.where((long > 0.5) & (long < 2), near, far)


def log(x: Array, y: Array) -> Parts:
    return _log_length(x, y), np.arctan2(y, x)


def log1p(x: Array, y: Array) -> Parts:
    near = 0.5 * np.log1p(x * (2 + x) + y * y)
    close = np.maximum(np.abs(x), np.abs(y)) < 0.5
    return np.where(close, near, _log_length(1 + x, y)), np.arctan2(y, 1 + x)


def sqrt(x: Array, y: Array) -> Parts:
    root = np.sqrt(0.5 * np.abs(x) + 0.5 * np.hypot(x, y))
    other = 0.5 * np.abs(y) / np.where(root == 0, 1.0, root)
    infinite = np.isinf(y)
    real = np.where(infinite, np.inf, np.where(x >= 0, root, other))
    size = np.where(infinite, np.inf, np.where(x >= 0, other, root))
    return np.where(np.isnan(x) & ~infinite, x, real), with_sign(size, y)


def sinh(x: Array, y: Array) -> Parts:
    """0 stays 0 beside what overflows."""
    imag = np.where(y == 0, y, np.cosh(x) * np.sin(y))
    return np.sinh(x) * np.cos(y), imag


def cosh(x: Array, y: Array) -> Parts:
    real = np.cosh(x) * np.cos(y)
    return real, np.where((x == 0) | (y == 0), x * y, np.sinh(x) * np.sin(y))


def sin(x: Array, y: Array) -> Parts:
    real, imag = sinh(-y, x)  # sin z = -i sinh(iz)
    return imag, -real


def cos(x: Array, y: Array) -> Parts:
    return cosh(-y, x)  # cos z = cosh(iz)


def tanh(x: Array, y: Array) -> Parts:
    """From tanh x and tan y, and 1 - tanh² x as 1/cosh² x, which keeps its digits."""
    across, along = np.tanh(x), np.tan(y)
    narrow = 1 / np.cosh(np.minimum(np.abs(x), 300.0 if x.dtype == np.float64 else 40.0))
    below = 1 + (across * along) * (across * along)
    return across * (1 + along * along) / below, along * (narrow * narrow) / below


def tan(x: Array, y: Array) -> Parts:
    real, imag = tanh(-y, x)  # tan z = -i tanh(iz)
    return imag, -real


def arctanh(x: Array, y: Array) -> Parts:
    size = np.abs(x)
    rest = (1 - size) * (1 - size) + y * y
    real = with_sign(0.25 * np.log1p(4 * size / rest), x)
    return real, 0.5 * np.arctan2(2 * y, (1 - x) * (1 + x) - y * y)


def arctan(x: Array, y: Array) -> Parts:
    real, imag = arctanh(-y, x)
    return imag, -real


def arcsin(x: Array, y: Array) -> Parts:
    a, b = sqrt(1 - x, -y)
    c, d = sqrt(1 + x, y)
    return np.arctan2(x, a * c - b * d), np.arcsinh(a * d - b * c)


def arcsinh(x: Array, y: Array) -> Parts:
    real, imag = arcsin(y, -x)  # arcsinh z = i arcsin(-iz)
    return -imag, real


def arccos(x: Array, y: Array) -> Parts:
    a, b = sqrt(1 - x, -y)
    c, d = sqrt(1 + x, y)
    return 2 * np.arctan2(a, c), np.arcsinh(c * b - d * a)


def arccosh(x: Array, y: Array) -> Parts:
    a, b = sqrt(x - 1, y)
    c, d = sqrt(x + 1, y)
    return np.arcsinh(a * c + b * d), 2 * np.arctan2(b, c)


# ---- of complex operands, in complex arithmetic --------------------------------------------------


def power(z: Array, w: Array) -> Array:
    """exp(w ln z); 1 where w is 0, and 0 where z alone is."""
    none, origin = w == 0, z == 0
    found = np.exp(w * np.log(np.where(origin, 1.0, z)))
    return np.where(none, 1.0, np.where(origin, 0.0, found))


def whole_power(z: Array, exponent: int) -> Array:
    found, factor, left = None, z, abs(exponent)
    while left:
        if left & 1:
            found = factor if found is None else found * factor
        left >>= 1
        factor = factor * factor if left else factor
    if found is None:
        return np.ones_like(z)
    return 1 / found if exponent < 0 else found


def log2(z: Array) -> Array:
    return np.log(z) * (1 / math.log(2))


def log10(z: Array) -> Array:
    return np.log(z) * (1 / math.log(10))


def exp2(z: Array) -> Array:
    return np.exp(z * math.log(2))


def sinc(z: Array) -> Array:
    u = math.pi * z
    origin = u == 0
    return np.where(origin, 1.0, np.sin(u) / np.where(origin, 1.0, u))
