"""Exponentials, logarithms, roots and the trigonometric family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array, implements
from .declare import elementwise
from .samples import POSITIVE, REAL, UNIT, broadcasting

_real = broadcasting(REAL)
_positive = broadcasting(POSITIVE)
_unit = broadcasting(UNIT)
_above_one = broadcasting((1.2, 3.0))

exp = elementwise("exp", np.exp, lambda g, y: g * y, samples=_real)
exp2 = elementwise("exp2", np.exp2, lambda g, y: g * y * 0.6931471805599453, samples=_real)
expm1 = elementwise("expm1", np.expm1, lambda g, y: g * (y + 1), samples=_real)
log = elementwise("log", np.log, lambda g, x: g / x, samples=_positive)
log2 = elementwise("log2", np.log2, lambda g, x: g / (x * 0.6931471805599453), samples=_positive)
log10 = elementwise("log10", np.log10, lambda g, x: g / (x * 2.302585092994046), samples=_positive)
log1p = elementwise("log1p", np.log1p, lambda g, x: g / (1 + x), samples=_positive)
sqrt = elementwise("sqrt", np.sqrt, lambda g, y: 0.5 * g / y, samples=_positive)
root = elementwise(
    "root",
    lambda x: np.sqrt(x),
    lambda g, y: np.where(y == 0, 0, 0.5 * g / np.where(y == 0, 1, y)),  # 0 at 0, of a length
    impl=np.sqrt,
    dtype=np.sqrt,
    kink=lambda y, x: np.equal(y, 0),
    samples=_positive,
)
cbrt = elementwise("cbrt", np.cbrt, lambda g, y: g / (3 * y * y), samples=_positive)
reciprocal = elementwise("reciprocal", np.reciprocal, lambda g, y: -(g * y) * y, samples=_positive)


def _share(base: Any) -> Any:
    """The weight of `a` in the sum, base^(a - y): 0 where both are -∞, as in `logsumexp`, and 1 at
    +∞, where a difference would be NaN."""

    def rule(g: Array, a: Array, y: Array) -> Array:
        top = a == np.inf
        whole = np.where((y == -np.inf) | top, 0, y)
        return g * base(np.where(top, 0, a) - whole)

    return rule


def _shares(base: Any) -> tuple[Any, Any]:
    share = _share(base)
    return share, lambda g, b, y: share(g, b, y)


logaddexp = elementwise(
    "logaddexp", np.logaddexp, *_shares(np.exp), samples=broadcasting(REAL, REAL)
)
logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, *_shares(np.exp2), samples=broadcasting(REAL, REAL)
)

sin = elementwise("sin", np.sin, lambda g, x: g * np.cos(x), samples=_real)
cos = elementwise("cos", np.cos, lambda g, x: -g * np.sin(x), samples=_real)
tan = elementwise("tan", np.tan, lambda g, y: g * (1 + y * y), samples=broadcasting((-1.2, 1.2)))
arcsin = elementwise(
    "arcsin", np.arcsin, lambda g, x: g / np.sqrt((1 - x) * (1 + x)), samples=_unit
)
arccos = elementwise(
    "arccos", np.arccos, lambda g, x: -g / np.sqrt((1 - x) * (1 + x)), samples=_unit
)
arctan = elementwise("arctan", np.arctan, lambda g, x: g / (1 + x * x), samples=_real)


def _per_square(g: Array, side: Array, a: Array, b: Array) -> Array:
    """g · side / (a² + b²) without overflow; 0 at the origin, where there is no angle, and at
    infinity, where it does not change."""
    length = np.hypot(a, b)
    if isinstance(side, (int, float)):
        side = 0 if math.isinf(side) else side
    else:
        side = np.where(np.isinf(length), False, side)  # the zero that leaves every dtype as it is
    length = np.where(length == 0, 1, length)
    return g * (side / length) / length


def _at_origin(y: Array, a: Array, b: Array) -> Array:
    return np.equal(np.hypot(a, b), 0)


arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    lambda g, a, b: _per_square(g, b, a, b),
    lambda g, a, b: -_per_square(g, a, a, b),
    kink=_at_origin,
    samples=broadcasting(REAL, POSITIVE),
)
hypot = elementwise(
    "hypot",
    np.hypot,
    lambda g, a, y: g * (a / np.where(y == 0, 1, y)),  # 0 at the origin, as of a norm
    lambda g, b, y: g * (b / np.where(y == 0, 1, y)),
    kink=_at_origin,
    samples=broadcasting(REAL, POSITIVE),
)
deg2rad = elementwise("deg2rad", np.deg2rad, lambda g: g * (math.pi / 180), samples=_real)
rad2deg = elementwise("rad2deg", np.rad2deg, lambda g: g * (180 / math.pi), samples=_real)
implements(np.radians)(deg2rad)
implements(np.degrees)(rad2deg)

sinh = elementwise("sinh", np.sinh, lambda g, x: g * np.cosh(x), samples=_real)
cosh = elementwise("cosh", np.cosh, lambda g, x: g * np.sinh(x), samples=_real)
tanh = elementwise("tanh", np.tanh, lambda g, y: g * (1 - y * y), samples=_real)
arcsinh = elementwise("arcsinh", np.arcsinh, lambda g, x: g / np.sqrt(x * x + 1), samples=_real)
arccosh = elementwise(
    "arccosh", np.arccosh, lambda g, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)), samples=_above_one
)
arctanh = elementwise("arctanh", np.arctanh, lambda g, x: g / ((1 - x) * (1 + x)), samples=_unit)
