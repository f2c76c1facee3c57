"""The error function and its kin as formulas: what `kinone.ops.erf` and `gelu` compute, in nodes.

float64 has FDLIBM's quotients on each of five intervals; float32 has ONNX's Erf, and where that
would lose digits (erfc, the slope of GELU) the quotient that the library itself uses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.erf import _ERF_1, _LARGE, _LARGEST, _MIDDLE, _SCALED, _SMALL, _ZERO, erf
from .formulas import polynomial, with_sign

Array = Any
Coefficients = tuple[tuple[float, ...], ...]

_ROOT = math.sqrt(0.5)
_FAR = 40.0
_HEIGHT = 1 / math.sqrt(2 * math.pi)


def _quotient(x: Array, coefficients: Coefficients) -> Array:
    top, bottom = coefficients
    return polynomial(x, top) / polynomial(x, bottom)


def _chosen(small: Array, x: Array, first: Coefficients, second: Coefficients) -> Array:
    """The quotient of one interval or the other, by choosing the coefficients' results."""
    return np.where(small, _quotient(x, first), _quotient(x, second))


def _tail(size: Array) -> Array:
    """erfc(size) for size ≥ 1.25, by e^-size² in two factors, for size² is not exact."""
    size = np.minimum(np.maximum(size, 1.25), 28.0)
    exponent = _chosen(size < 1 / 0.35, 1 / (size * size), _LARGE, _LARGEST)
    short = size.astype(np.float32).astype(np.float64)
    exponent = exponent + (short - size) * (short + size)
    return np.exp(-short * short - 0.5625) * np.exp(exponent) / size


def erf_of_doubles(x: Array) -> Array:
    size = np.abs(x)
    close = np.minimum(size, 0.84375)
    near = size + size * _quotient(close * close, _SMALL)
    middle = _ERF_1 + _quotient(np.minimum(np.maximum(size, 0.84375), 1.25) - 1, _MIDDLE)
    found = np.where(size < 0.84375, near, np.where(size < 1.25, middle, 1 - _tail(size)))
    return np.where(np.isnan(x), x, with_sign(found, x))


def erfc_of_doubles(x: Array) -> Array:
    size = np.abs(x)
    close = np.where(size < 0.84375, x, 0.0)
    odd = close * _quotient(close * close, _SMALL)
    near = np.where(close < 0.25, 1 - (close + odd), 0.5 - ((close - 0.5) + odd))
    above = _quotient(np.minimum(np.maximum(size, 0.84375), 1.25) - 1, _MIDDLE)
    middle = np.where(x > 0, (1 - _ERF_1) - above, 1 + (_ERF_1 + above))
    tail = _tail(size)
    far = np.where(x > 0, np.where(size < 28, tail, 0.0), 2 - tail)
    found = np.where(size < 0.84375, near, np.where(size < 1.25, middle, far))
    return np.where(np.isnan(x), x, found)


def _erfc_of_size(size: Array) -> tuple[Array, Array]:
    """erfc(size) to the digits of float32, and e^-size², for size ≥ 0."""
    size = np.minimum(size, _ZERO)
    bell = np.exp(-(size * size))
    return _quotient(size, _SCALED) * bell, bell


def erfc_of_singles(x: Array) -> Array:
    """Computed in float64, for e^-x² of a rounded square is not exact enough."""
    wide = x.astype(np.float64)
    y, _ = _erfc_of_size(np.abs(wide))
    return np.where(wide < 0, 2 - y, y).astype(np.float32)


def gelu_of_doubles(x: Array) -> Array:
    return np.maximum(x, -_FAR) * (0.5 * erfc_of_doubles(x * -_ROOT))


def gelu_of_singles(x: Array) -> Array:
    return x * (0.5 * (1 + erf(x * _ROOT)))


def gelu_slope_of_doubles(x: Array) -> Array:
    x = np.minimum(np.maximum(x, -_FAR), _FAR)
    density = np.exp(-(x * _ROOT) * (x * _ROOT))
    return 0.5 * erfc_of_doubles(x * -_ROOT) + x * (_HEIGHT * density)


def gelu_slope_of_singles(x: Array) -> Array:
    x = np.minimum(np.maximum(x, -_FAR), _FAR)
    return 0.5 * (1 + erf(x * _ROOT)) + x * (_HEIGHT * np.exp(-0.5 * (x * x)))
