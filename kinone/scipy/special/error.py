"""The error function, its inverse, and what else is an integral of e^-x² or of eˣ/x."""

from __future__ import annotations

import math

import numpy as np
import scipy.special

from ...core import Array, Primitive
from ...ops.declare import elementwise
from ...ops.samples import POSITIVE, REAL, UNIT, broadcasting
from .declare import described, special

_real = broadcasting(REAL)
_positive = broadcasting(POSITIVE)
_SLOPE = 2 / math.sqrt(math.pi)  # of erf at 0
_ROOT_TWO_PI = math.sqrt(2 * math.pi)

erf: Primitive = special(
    "erf",
    "2/√π ∫₀ˣ e^-t² dt, for complex x too.",
    lambda g, x: g * (_SLOPE * np.exp(-x * x)),
    samples=_real,
)
erfc: Primitive = special(
    "erfc",
    "1 - erf(x), without loss of digits where erf(x) is near 1.",
    lambda g, x: g * (-_SLOPE * np.exp(-x * x)),
    samples=_real,
)
erfcx: Primitive = special(
    "erfcx",
    "exp(x²) erfc(x).",
    lambda g, x, y: g * (2 * x * y - _SLOPE),
    samples=_real,
)
erfi: Primitive = special(
    "erfi",
    "-i erf(ix).",
    lambda g, x: g * (_SLOPE * np.exp(x * x)),
    samples=_real,
)
dawsn: Primitive = special(
    "dawsn",
    "Dawson's integral exp(-x²) ∫₀ˣ e^t² dt.",
    lambda g, x, y: g * (1 - 2 * x * y),
    samples=_real,
)
erfinv: Primitive = special(
    "erfinv",
    "The x with erf(x) = y, for y in (-1, 1).",
    lambda g, y: g * (np.exp(y * y) / _SLOPE),
    samples=broadcasting(UNIT),
)
erfcinv: Primitive = special(
    "erfcinv",
    "The x with erfc(x) = y, for y in (0, 2).",
    lambda g, y: g * (-np.exp(y * y) / _SLOPE),
    samples=broadcasting((0.1, 1.9)),
)
expi: Primitive = special(
    "expi",
    "The principal value of the integral of eᵗ/t from -∞ to x.",
    lambda g, x: g * (np.exp(x) / x),
    samples=_positive,
)
exp1: Primitive = special(
    "exp1",
    "The integral of e^-t/t from x to ∞.",
    lambda g, x: g * (-np.exp(-x) / x),
    samples=_positive,
)

# ---- the normal distribution ---------------------------------------------------------------------


def _hazard(x: Array) -> Array:
    """φ(x)/Φ(x), the slope of log_ndtr: about -x far to the left, where both vanish."""
    with np.errstate(over="ignore"):  # erfcx is infinite far to the right, where the slope is 0
        return math.sqrt(2 / math.pi) / scipy.special.erfcx(x * -math.sqrt(0.5))


hazard: Primitive = elementwise(
    "scipy.special.hazard",
    _hazard,
    lambda g, x, y: g * (-y * (x + y)),
    dtype=scipy.special.erfcx,
    samples=_real,
)
described(hazard, "hazard", "φ(x)/Φ(x), the derivative of `log_ndtr`.")

ndtr: Primitive = special(
    "ndtr",
    "Φ(x), the integral of the standard normal density φ from -∞ to x.",
    lambda g, x: g * (np.exp(-0.5 * x * x) / _ROOT_TWO_PI),
    samples=_real,
)
log_ndtr: Primitive = special(
    "log_ndtr",
    "ln Φ(x), with all digits where Φ(x) itself underflows.",
    lambda g, x: g * hazard(x),
    samples=_real,
)
ndtri: Primitive = special(
    "ndtri",
    "The x with Φ(x) = y, for y in (0, 1).",
    lambda g, y: g * (_ROOT_TWO_PI * np.exp(0.5 * y * y)),
    samples=broadcasting((0.05, 0.95)),
)
