"""GELU, x Φ(x), and its slope, each in one run over the array.

Φ is the share of a normal distribution below x. Of y = |x| / √2, the half of erfc(y) is the share
beyond |x|: 1 - Φ above zero and Φ below, where 1 + erf would have lost its digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array
from .declare import elementwise
from .erf import FloatArray, bell, erfc_of_doubles, erfc_of_size, in_doubles
from .samples import broadcasting

_ROOT = math.sqrt(0.5)
_FAR = 40.0  # where Φ is 0 or 1 to all digits; infinity times that zero would be NaN
_HEIGHT = 1 / math.sqrt(2 * math.pi)  # of the normal distribution at 0


def _of_doubles(x: FloatArray) -> FloatArray:
    return np.maximum(x, -_FAR) * (0.5 * erfc_of_doubles(x * -_ROOT))


def _of_singles(x: FloatArray) -> FloatArray:
    size = np.abs(x)
    size *= _ROOT
    beyond, _ = erfc_of_size(size)
    size *= _ROOT
    beyond *= size
    np.maximum(x, 0, out=x)
    x -= beyond
    return x


def _slope_of_doubles(x: FloatArray) -> FloatArray:
    x = np.clip(x, -_FAR, _FAR)
    found: FloatArray = 0.5 * erfc_of_doubles(x * -_ROOT) + x * (_HEIGHT * bell(x * _ROOT))
    return found


def _slope_of_singles(x: FloatArray) -> FloatArray:
    size = np.abs(x)
    size *= _ROOT
    share, density = erfc_of_size(size)
    share *= 0.5
    share = np.where(x > 0, 1 - share, share)
    density *= _HEIGHT
    density *= np.clip(x, -_FAR, _FAR, out=x)
    density += share
    return density


def _gelu(x: Array) -> Array:
    """x Φ(x), with Φ(x) = erfc(-x/√2) / 2."""
    return in_doubles(_of_doubles, x, _of_singles)


def _slope(x: Array) -> Array:
    """The derivative of x Φ(x), Φ(x) + x φ(x)."""
    return in_doubles(_slope_of_doubles, x, _slope_of_singles)


def _curvature(g: Array, x: Array) -> Array:
    return g * (bell(x * _ROOT) * ((2 - x * x) * _HEIGHT))


_samples: Any = broadcasting((-8.0, 8.0))
gelu_slope_p = elementwise("gelu_slope", _slope, _curvature, dtype=np.exp, samples=_samples)
gelu_p = elementwise(
    "gelu", _gelu, lambda g, x: g * gelu_slope_p(x), dtype=np.exp, samples=_samples
)
