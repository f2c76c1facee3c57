"""Activation functions as elementwise primitives, each computed without overflow.

The piecewise linear ones need their operand in the backward pass only to know the piece; `relu`
keeps its result instead, which the next layer keeps anyway. Smooth ones that are a line of others
are at the end.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array, ShapeDtype, shape_dtype, shape_of
from ..graph import composite
from .axes import normalize_axis
from .declare import elementwise, promote
from .gelu import gelu_p
from .kernels.elementwise import blocked, is_large
from .samples import POSITIVE, REAL, broadcasting

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
    if is_large(x):
        return blocked(_sigmoid_into, x)
    small = np.exp(-np.abs(_floating(x)))
    return np.maximum(small, np.greater_equal(x, 0)) / (1 + small)


def _sigmoid_into(x: Array, out: Array) -> None:
    """The numerator is 1 or e^-|x|: the larger of that and the sign's truth. `np.where` would take
    six times as long as all the rest, for no processor foresees the signs."""
    np.exp(np.negative(np.abs(x, out=out), out=out), out=out)
    top = np.maximum(out, x >= 0)
    np.divide(top, np.add(1, out, out=out), out=out)


def _swish(x: Array) -> Array:
    """x · sigmoid(x), also called SiLU.

    >>> swish(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    if is_large(x):
        return blocked(_swish_into, x)
    return x * _sigmoid(x)


def _swish_into(x: Array, out: Array) -> None:
    _sigmoid_into(x, out)
    np.multiply(x, out, out=out)


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


def _relu6(x: Array) -> Array:
    """min(max(x, 0), 6).

    >>> relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return np.minimum(np.maximum(_floating(x), 0), 6)


def _leaky_relu(x: Array, negative_slope: Array) -> Array:
    if isinstance(negative_slope, float) and 0 < negative_slope <= 1:
        return np.maximum(x, negative_slope * x)  # the same, many times as fast
    return np.where(np.greater(x, 0), x, negative_slope * x)


def _elu(x: Array, alpha: Array) -> Array:
    x = np.asarray(x, _quotient_dtype(shape_dtype(x), shape_dtype(alpha)))
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _quotient_dtype(x: ShapeDtype, alpha: ShapeDtype) -> np.dtype[Any]:
    return promote(np.divide, x, alpha)


def _relu_derivative(g: Array, y: Array) -> Array:
    if is_large(g, y):
        return blocked(lambda g, y, out: np.multiply(g, y > 0, out=out), g, y)
    return g * (y > 0)


def _swish_derivative(g: Array, x: Array) -> Array:
    if is_large(g, x):
        return blocked(_swish_derivative_into, g, x)
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def _swish_derivative_into(g: Array, x: Array, out: Array) -> None:
    _sigmoid_into(x, out)
    rest = np.subtract(1, out)
    np.add(1, np.multiply(x, rest, out=rest), out=rest)
    np.multiply(g, np.multiply(out, rest, out=out), out=out)


def _elu_derivative(g: Array, a: Array, b: Array) -> Array:
    return g * np.where(a > 0, 1, b * np.exp(np.where(a > 0, 0, a)))


def _elu_by_alpha(g: Array, a: Array) -> Array:
    return g * np.expm1(np.where(a > 0, 0, a))


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
relu6 = elementwise(
    "relu6",
    _relu6,
    lambda g, x: g * ((x > 0) & (x < 6)),
    dtype=np.exp,
    kink=lambda y, x: np.equal(x, 0) | np.equal(x, 6),
    samples=broadcasting((-4.0, 10.0)),
)
leaky_relu_p = elementwise(
    "leaky_relu",
    _leaky_relu,
    lambda g, a, b: np.where(a > 0, g, g * b),
    lambda g, a: np.where(a > 0, 0, g * a),
    kink=lambda y, a, b: np.equal(a, 0) & np.not_equal(b, 1),
    samples=broadcasting(REAL, POSITIVE),
)
elu_p = elementwise(
    "elu",
    _elu,
    _elu_derivative,
    _elu_by_alpha,
    dtype=_quotient_dtype,
    kink=lambda y, a, b: np.equal(a, 0) & np.not_equal(b, 1),
    samples=broadcasting(REAL, POSITIVE),
)
silu = swish

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def leaky_relu(x: Array, negative_slope: Array = 0.01) -> Array:
    """x where x > 0, else negative_slope · x; a slope for each channel makes it PReLU.

    At 0 the slope is `negative_slope`, as in PyTorch (Maas, Hannun & Ng 2013; He et al. 2015,
    arXiv:1502.01852).

        >>> leaky_relu(np.array([-100.0, 2.0]))
        array([-1.,  2.])
    """
    return leaky_relu_p(x, negative_slope)


def elu(x: Array, alpha: Array = 1.0) -> Array:
    """x where x > 0, else alpha · (eˣ - 1); at 0 the slope is alpha (Clevert et al. 2015,
    arXiv:1511.07289).

    >>> elu(np.array([-1e4, 2.0]))
    array([-1.,  2.])
    """
    return elu_p(x, alpha)


@composite("Celu")
def celu(x: Array, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha · (e^(x/alpha) - 1), smooth for every alpha (Barron 2017,
    arXiv:1704.07483).

    >>> celu(np.array([-1e4, 3.0]), 2.0)
    array([-2.,  3.])
    """
    return alpha * elu_p(x / alpha, 1.0)


@composite("Selu")
def selu(x: Array) -> Array:
    """1.0507 · elu(x, 1.6733): of normalised inputs it keeps mean 0 and variance 1
    (Klambauer et al. 2017, arXiv:1706.02515). At 0 the slope is 1.0507 · 1.6733.

    >>> selu(np.array([-1e4, 1.0])).round(4)
    array([-1.7581,  1.0507])
    """
    return _SELU_SCALE * elu_p(x, _SELU_ALPHA)


def gelu(x: Array, approximate: bool = False) -> Array:
    """x Φ(x), Φ the share of a normal distribution below x (Hendrycks & Gimpel 2016,
    arXiv:1606.08415).

    `approximate` is x · sigmoid(2u) = x · (1 + tanh u) / 2 with u = √(2/π) (x + 0.044715 x³), as in
    GPT-2. PyTorch, too, is exact by default; JAX is not.

        >>> gelu(np.array([-1e4, 0.0, 1.0])).round(6)
        array([-0.      ,  0.      ,  0.841345])
        >>> gelu(np.array([1.0]), approximate=True).round(6)
        array([0.841192])
    """
    if not approximate:
        return gelu_p(x)
    return _gelu_tanh(x)


@composite("GeluTanh")
def _gelu_tanh(x: Array) -> Array:
    # Beyond 40 the sigmoid is 0 or 1 to all digits, and at -inf x · 0 is no number.
    short = np.where(np.abs(x) > 40, 40 * np.sign(x), x)
    share = sigmoid(short * (math.sqrt(8 / math.pi) * (1 + 0.044715 * (short * short))))
    return np.where(np.less(x, -40), 0 * short, x) * share


@composite("Mish")
def mish(x: Array) -> Array:
    """x · tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    >>> mish(np.array([-1e4, 0.0, 1.0])).round(4)
    array([-0.    ,  0.    ,  0.8651])
    """
    return x * np.tanh(softplus(x))


@composite("Softsign")
def softsign(x: Array) -> Array:
    """x / (1 + |x|).

    >>> softsign(np.array([-1.0, 0.0, 3.0]))
    array([-0.5 ,  0.  ,  0.75])
    """
    return x / (1 + np.abs(x))


def log_sigmoid(x: Array) -> Array:
    """ln sigmoid(x) = -softplus(-x), with all digits where the sigmoid underflows.

    >>> log_sigmoid(np.array([-1e4, 0.0])).round(4)
    array([-1.000e+04, -6.931e-01])
    """
    return -softplus(-x)


@composite("HardTanh")
def hard_tanh(x: Array, minimum: float = -1.0, maximum: float = 1.0) -> Array:
    """x kept between two bounds; beyond and at them the slope is 0 (`np.clip`'s is 1/2 at them).

    >>> hard_tanh(np.array([-4.0, 0.5, 4.0]))
    array([-1. ,  0.5,  1. ])
    """
    return np.where(x <= minimum, minimum, np.where(x >= maximum, maximum, x))


def glu(x: Array, axis: int = -1) -> Array:
    """a · sigmoid(b), where a and b are the halves of x along an axis (Dauphin et al. 2017,
    arXiv:1612.08083).

    Raises `ValueError` when the axis has odd length.

        >>> glu(np.array([3.0, 0.0]))
        array([1.5])
    """
    shape: Any = shape_of(x)
    if shape[normalize_axis(axis, len(shape))] % 2:
        raise ValueError(f"glu halves axis {axis} of an input of shape {shape}, which is odd")
    value, gate = np.split(x, 2, axis=axis)
    return value * sigmoid(gate)
