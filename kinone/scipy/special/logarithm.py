"""Logarithms and what a softmax is made of: logit, expit, x ln y, entropies, logsumexp."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from ... import ops
from ...core import Array, Primitive, ndim_of, shape_dtype
from ...ops.axes import as_array
from ...ops.declare import elementwise, promote
from ...ops.plain import composed
from ...ops.samples import POSITIVE, REAL, broadcasting
from .declare import special

_unit = broadcasting((0.05, 0.95))
_pairs = broadcasting(POSITIVE, POSITIVE)


def _log(x: Array) -> Array:
    """ln x, -∞ at 0 and NaN below it without a warning, as SciPy's functions have it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x)


# A primitive, for what a compiled program runs is not inside of any `with`.
log: Primitive = elementwise(
    "scipy.special.log", _log, lambda g, x: g / x, dtype=np.log, samples=broadcasting(POSITIVE)
)

# ---- logit and its inverse -----------------------------------------------------------------------


@composed(scipy.special.expit)
def expit(x: Array) -> Array:
    """1/(1 + e^-x), `kinone.ops.sigmoid` in the dtypes of SciPy.

    >>> expit(np.array([0.0, -1000.0]))
    array([0.5, 0. ])
    """
    dtype = promote(scipy.special.expit, shape_dtype(x))
    return ops.sigmoid(x if shape_dtype(x).dtype == dtype else x.astype(dtype))


logit: Primitive = special("logit", "ln x/(1-x).", lambda g, x: g / (x * (1 - x)), samples=_unit)
log_expit: Primitive = special(
    "log_expit",
    "ln expit(x) = -ln(1 + e^-x).",
    lambda g, x: g * ops.sigmoid(-x),
    samples=broadcasting(REAL),
)

# ---- x ln y --------------------------------------------------------------------------------------


def _ratio(a: Array, b: Array) -> Array:
    """a/b, and 0 for 0/0: a ln b is 0 for all b where a is 0."""
    nothing = (a == 0) & (b == 0)
    return np.where(nothing, False, a) / np.where(nothing, True, b)


xlogy: Primitive = special(
    "xlogy",
    "x ln y, and 0 where x is 0.",
    lambda g, b: g * np.log(b),
    lambda g, a, b: g * _ratio(a, b),
    samples=broadcasting(REAL, POSITIVE),
)
xlog1py: Primitive = special(
    "xlog1py",
    "x ln(1 + y), and 0 where x is 0.",
    lambda g, b: g * np.log1p(b),
    lambda g, a, b: g * _ratio(a, 1 + b),
    samples=broadcasting(REAL, POSITIVE),
)
entr: Primitive = special(
    "entr",
    "-x ln x, 0 at 0 and -∞ below.",
    lambda g, x: g * (-np.log(x) - 1),
    samples=broadcasting(POSITIVE),
)
rel_entr: Primitive = special(
    "rel_entr",
    "x ln(x/y), 0 for x = 0 and y ≥ 0, ∞ outside of x, y > 0.",
    lambda g, a, b: g * (np.log(a / b) + 1),
    lambda g, a, b: g * (-a / b),
    samples=_pairs,
)
kl_div: Primitive = special(
    "kl_div",
    "x ln(x/y) - x + y.",
    lambda g, a, b: g * np.log(a / b),
    lambda g, a, b: g * (1 - a / b),
    samples=_pairs,
)

# ---- over axes -----------------------------------------------------------------------------------


@composed(scipy.special.logsumexp)
def logsumexp(
    a: Array,
    axis: Any = None,
    b: Array | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """ln Σ b·exp(a) over axes, without overflow; `b` broadcasts against `a`, and is 1 by default.

    With `return_sign`, the pair `(ln |Σ b·exp(a)|, sign of the sum)`; without it, a negative sum
    gives NaN. An `axis` is an integer, a tuple of them, or None for all.

    >>> logsumexp(np.array([1000.0, 1000.0])).round(6)
    np.float64(1000.693147)
    """
    a = as_array(a)
    if b is None and not return_sign and a.dtype.kind != "c":
        return ops.logsumexp(a, axis, keepdims)
    b = 1.0 if b is None else b
    # The largest element that counts is taken out of the sum. Its derivative cancels.
    heights = ops.stop_gradient(np.where(np.equal(b, 0), -np.inf, np.real(a)))
    top = np.max(heights, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    # What `b` takes away must not overflow: ∞ · 0 is NaN.
    away = np.equal(b, 0) & (np.real(a) - top > 80)
    total = np.sum(b * np.exp(np.where(away, 80, a - top)), axis=axis, keepdims=True)
    if not keepdims:
        total, top = _dropped(total, axis), _dropped(top, axis)
    if not return_sign:
        return log(total) + top
    size = np.abs(total)
    sign = total / np.where(size == 0, 1, size) if total.dtype.kind == "c" else np.sign(total)
    return log(size) + top, sign


def _dropped(x: Array, axis: Any) -> Array:
    return np.squeeze(x, tuple(range(ndim_of(x))) if axis is None else axis)


def _along(axis: Any, ndim: int) -> int | None:
    """The one axis that softmax runs along, None for several."""
    if isinstance(axis, (tuple, list)):
        return axis[0] if len(axis) == 1 else None
    return (0 if ndim == 1 else None) if axis is None else axis


@composed(scipy.special.softmax)
def softmax(x: Array, axis: Any = None) -> Array:
    """exp(x) / Σ exp(x), the sum over an axis, several, or all of them by default.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = as_array(x)
    one = _along(axis, ndim_of(x))
    if one is not None:
        return ops.softmax(x, one)
    return np.exp(x - ops.logsumexp(x, axis, keepdims=True))


@composed(scipy.special.log_softmax)
def log_softmax(x: Array, axis: Any = None) -> Array:
    """ln softmax(x), computed without the loss of digits of taking the logarithm afterwards.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    x = as_array(x)
    one = _along(axis, ndim_of(x))
    if one is not None:
        return ops.log_softmax(x, one)
    return x - ops.logsumexp(x, axis, keepdims=True)
