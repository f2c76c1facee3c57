"""sinc, Bessel's I₀ and the normal distribution's quantiles as formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.random_bits import _PPND16
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from .common import out, written
from .formulas import polynomial

Array = Any

# Nodes of the trapezoidal rule: exact to rounding up to |x| = 709, beyond which eˣ is no number.
_NODES = 150


def sinc(x: Array, order: int) -> Array:
    """The derivative of sin(u)/u of this order at u = πx, as `kinone.ops.special` computes it."""
    u = math.pi * x
    if order == 0:
        safe = np.where(u == 0, 1.0, u)
        return np.where(u == 0, 1.0, np.sin(safe) / safe)
    border = order / 2 + 1
    near = np.abs(u) < border
    far = np.where(near, border, u)
    found = np.sin(far) / far
    for k in range(1, order + 1):
        turned = (np.sin(far), np.cos(far), -np.sin(far), -np.cos(far))[k % 4]
        found = (turned - k * found) / far
    small = np.where(near, u, 0.0)
    terms = []
    for m in range((order + 1) // 2, order + 30):
        power = 2 * m - order
        terms.append((-1) ** m / (math.factorial(power) * (2 * m + 1)))
    series = polynomial(small * small, tuple(terms))
    return np.where(near, series * small if order % 2 else series, found)


@lowers("sinc")
def _sinc(b: Builder, step: Step, x: Value) -> Value:
    dtype, order = out(step)[1], step.params["order"]
    found = written(b, lambda x: sinc(x, order), b.cast(x, np.float64))
    return b.cast(found, dtype)


def bessel(x: Array, order: int) -> Array:
    """The mean of cosᵏθ exp(x cosθ) over equally spaced angles."""
    places = (np.arange(_NODES) + 0.5) * (math.pi / _NODES)
    cosines = np.cos(places)
    grown = np.exp(np.expand_dims(x, -1) * cosines)
    return np.matmul(grown, np.expand_dims(cosines**order / _NODES, -1))[..., 0]


@lowers("i0")
def _i0(b: Builder, step: Step, x: Value) -> Value:
    dtype, order = out(step)[1], step.params["order"]
    found = written(b, lambda x: bessel(x, order), b.cast(x, np.float64))
    return b.cast(found, dtype)


def ndtri(p: Array) -> Array:
    """Wichura's algorithm AS 241 (1988), on the smaller side of the median."""
    tables: Any = _PPND16
    side = np.where(p < 0.5, p, 1 - p)
    inside = (p > 0) & (p < 1)
    side = np.where(inside, side, 0.5)
    q = 0.5 - side
    near = q * _ratio(0.180625 - q * q, tables.middle)
    r = np.sqrt(-np.log(side))
    tail = _ratio(r - 1.6, tables.tail)
    far = _ratio(r - 5, tables.far)
    distance = np.where(q <= 0.425, near, np.where(r > 5, far, tail))
    found = np.where(p < 0.5, -distance, distance)
    ends = np.where(p == 0, -np.inf, np.where(p == 1, np.inf, np.nan))
    return np.where(inside, found, ends)


def _ratio(x: Array, tables: Any) -> Array:
    top, bottom = tables
    return polynomial(x, tuple(top[::-1])) / polynomial(x, tuple(bottom[::-1]))


@lowers("ndtri")
def _ndtri(b: Builder, step: Step, p: Value) -> Value:
    dtype = out(step)[1]
    found = written(b, ndtri, b.cast(p, np.float64))
    return b.cast(found, dtype)
