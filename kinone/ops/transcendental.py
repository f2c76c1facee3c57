"""Exponentials, logarithms, roots and the trigonometric family."""

from __future__ import annotations

import numpy as np

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
cbrt = elementwise("cbrt", np.cbrt, lambda g, y: g / (3 * y * y), samples=_positive)
reciprocal = elementwise("reciprocal", np.reciprocal, lambda g, y: -(g * y) * y, samples=_positive)
logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda g, a, y: g * np.exp(a - y),
    lambda g, b, y: g * np.exp(b - y),
    samples=broadcasting(REAL, REAL),
)

sin = elementwise("sin", np.sin, lambda g, x: g * np.cos(x), samples=_real)
cos = elementwise("cos", np.cos, lambda g, x: -g * np.sin(x), samples=_real)
tan = elementwise("tan", np.tan, lambda g, y: g * (1 + y * y), samples=broadcasting((-1.2, 1.2)))
arcsin = elementwise("arcsin", np.arcsin, lambda g, x: g / np.sqrt(1 - x * x), samples=_unit)
arccos = elementwise("arccos", np.arccos, lambda g, x: -g / np.sqrt(1 - x * x), samples=_unit)
arctan = elementwise("arctan", np.arctan, lambda g, x: g / (1 + x * x), samples=_real)
arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    lambda g, a, b: g * b / (a * a + b * b),
    lambda g, a, b: -g * a / (a * a + b * b),
    samples=broadcasting(REAL, POSITIVE),
)
hypot = elementwise(
    "hypot",
    np.hypot,
    lambda g, a, y: g * a / y,
    lambda g, b, y: g * b / y,
    samples=broadcasting(REAL, POSITIVE),
)

sinh = elementwise("sinh", np.sinh, lambda g, x: g * np.cosh(x), samples=_real)
cosh = elementwise("cosh", np.cosh, lambda g, x: g * np.sinh(x), samples=_real)
tanh = elementwise("tanh", np.tanh, lambda g, y: g * (1 - y * y), samples=_real)
arcsinh = elementwise("arcsinh", np.arcsinh, lambda g, x: g / np.sqrt(x * x + 1), samples=_real)
arccosh = elementwise(
    "arccosh", np.arccosh, lambda g, x: g / np.sqrt(x * x - 1), samples=_above_one
)
arctanh = elementwise("arctanh", np.arctanh, lambda g, x: g / (1 - x * x), samples=_unit)
