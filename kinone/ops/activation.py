"""Activation functions as elementwise primitives, each computed without overflow.

The piecewise linear ones need their operand in the backward pass only to know the piece; `relu`
keeps its result instead, which the next layer keeps anyway.
"""

from __future__ import annotations

import numpy as np

from ..core import Array
from .declare import elementwise
from .kernels.elementwise import blocked, is_large
from .samples import REAL, broadcasting

_wide = broadcasting((-8.0, 8.0))


def _floating(x: Array) -> Array:
    """Integers in the dtype in which `np.exp` would take them."""
    if isinstance(x, (float, complex)) or np.asarray(x).dtype.kind in "fc":
        return x
    x = np.asarray(x)
    return x.astype(np.exp(np.zeros(0, x.dtype)).dtype)


def _relu(x: Array) -> Array:
    """max(x, 0).

    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    if is_large(x):
        return blocked(lambda part, out: np.maximum(part, False, out=out), x)
    return np.maximum(x, False)  # the zero that leaves every dtype as it is, bool too


def _sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), by e^-|x| so that nothing overflows on either side.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1, small) / (1 + small)


def _swish(x: Array) -> Array:
    """x · sigmoid(x), also called SiLU.

    >>> swish(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    return x * _sigmoid(x)


def _softplus(x: Array) -> Array:
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|).

    >>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+03])
    """
    return np.logaddexp(_floating(x), 0)


def _hard_sigmoid(x: Array) -> Array:
    """min(max(x + 3, 0), 6) / 6: slope 1/6, as in MobileNetV3, PyTorch and JAX (Keras and ONNX's
    default have slope 0.2).

    >>> hard_sigmoid(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    return np.minimum(np.maximum(_floating(x) + 3, 0), 6) / 6


def _hard_swish(x: Array) -> Array:
    """x · hard_sigmoid(x) (Howard et al. 2019, arXiv:1905.02244).

    >>> hard_swish(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([-0.   ,  0.   ,  1.125,  4.   ])
    """
    return x * _hard_sigmoid(x)


def _relu_derivative(g: Array, y: Array) -> Array:
    if is_large(g, y):
        return blocked(lambda g, y, out: np.multiply(g, y > 0, out=out), g, y)
    return g * (y > 0)


def _swish_derivative(g: Array, x: Array) -> Array:
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def _at_ends(y: Array, x: Array) -> Array:
    return np.equal(np.abs(x), 3)


def _hard_sigmoid_derivative(g: Array, x: Array) -> Array:
    return np.where((x > -3) & (x < 3), g / 6, 0)


def _hard_swish_derivative(g: Array, x: Array) -> Array:
    return g * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))


relu = elementwise(
    "relu", _relu, _relu_derivative, kink=lambda y, x: np.equal(x, 0), samples=broadcasting(REAL)
)
sigmoid = elementwise(
    "sigmoid", _sigmoid, lambda g, y: g * y * (1 - y), dtype=np.exp, samples=_wide
)
swish = elementwise("swish", _swish, _swish_derivative, dtype=np.exp, samples=_wide)
softplus = elementwise(
    "softplus", _softplus, lambda g, x: g * sigmoid(x), dtype=np.exp, samples=_wide
)
hard_sigmoid = elementwise(
    "hard_sigmoid",
    _hard_sigmoid,
    _hard_sigmoid_derivative,
    dtype=np.exp,
    kink=_at_ends,
    samples=broadcasting((-5.0, 5.0)),
)
hard_swish = elementwise(
    "hard_swish",
    _hard_swish,
    _hard_swish_derivative,
    dtype=np.exp,
    kink=_at_ends,
    samples=broadcasting((-5.0, 5.0)),
)
