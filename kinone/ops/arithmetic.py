"""Arithmetic, comparison and choice: one line per derivative.

    multiply = elementwise("multiply", np.multiply, lambda g, b: g * b, lambda g, a: g * a)

reads: y = a · b; the derivative in a takes g to g · b, the derivative in b takes it to g · a. The
parameters' names say which values a rule needs, and the backward pass keeps those alone: `g` is
what comes in (tangent or cotangent), `y` the result, `a`, `b`, `c` (or `x`) the operands. Summing
over broadcast axes and returning to the operand's dtype is `elementwise`'s work.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .. import tree
from ..core import Array, Tracer, implements, shape_dtype
from .declare import elementwise, promote, result_type
from .plain import composed
from .samples import POSITIVE, REAL, broadcasting
from .shape import astype

_two = broadcasting(REAL, REAL)
_one = broadcasting(REAL)

add = elementwise("add", np.add, lambda g: g, lambda g: g, weak="{0} + {1}", samples=_two)
subtract = elementwise(
    "subtract", np.subtract, lambda g: g, lambda g: -g, weak="{0} - {1}", samples=_two
)
multiply = elementwise(
    "multiply", np.multiply, lambda g, b: g * b, lambda g, a: g * a, weak="{0} * {1}", samples=_two
)
divide = elementwise(
    "divide",
    np.true_divide,
    lambda g, b: g / b,
    lambda g, y, b: -(g * y) / b,
    weak="{0} / {1}",
    samples=broadcasting(REAL, POSITIVE),
)
negative = elementwise("negative", np.negative, lambda g: -g, weak="-{0}", samples=_one)
positive = elementwise("positive", np.positive, lambda g: g, weak="+{0}", samples=_one)
square = elementwise("square", np.square, lambda g, x: 2 * g * x, samples=_one)


def _at_zero(y: Array, x: Array) -> Array:
    return np.equal(x, 0)


def _absolute_derivative(g: Array, x: Array) -> Array:
    """±g; 0 at 0, the middle of the subdifferential [-1, 1]. Of a complex number g · conj(x)/|x|,
    which a tangent goes through as the real part of it."""
    direction = sign(x)
    return g * (np.conj(direction) if shape_dtype(x).dtype.kind == "c" else direction)


absolute = elementwise(
    "absolute",
    np.absolute,
    _absolute_derivative,
    kink=_at_zero,
    weak="abs({0})",
    samples=_one,
)
fabs = elementwise("fabs", np.fabs, _absolute_derivative, kink=_at_zero, samples=_one)
sign_p = elementwise("sign", np.sign, None, samples=_one)


@implements(np.sign)
def sign(x: Array) -> Array:
    """-1, 0 or 1, piecewise constant; of a complex number x / |x|, which is not.

    >>> sign(np.array([-2.5, 0.0, 7.0]))
    array([-1.,  0.,  1.])
    """
    if not isinstance(x, Tracer) or x.dtype.kind != "c":
        return sign_p(x)
    length = absolute(x)
    return x / np.where(length == 0, 1, length)


floor = elementwise("floor", np.floor, None, samples=_one)
ceil = elementwise("ceil", np.ceil, None, samples=_one)
rint = elementwise("rint", np.rint, None, samples=_one)
trunc = elementwise("trunc", np.trunc, None, samples=_one)
implements(np.fix)(trunc)
floor_divide = elementwise(
    "floor_divide",
    np.floor_divide,
    None,
    None,
    weak="{0} // {1}",
    samples=broadcasting(REAL, POSITIVE),
)
remainder = elementwise(
    "remainder",
    np.remainder,
    lambda g: g,
    lambda g, a, b: -g * np.floor_divide(a, b),
    weak="{0} % {1}",
    samples=broadcasting(REAL, POSITIVE),
)

fmod = elementwise(
    "fmod",
    np.fmod,
    lambda g: g,
    lambda g, a, b, y: -g * np.rint((a - y) / b),  # the whole quotient, not off by one as trunc
    samples=broadcasting(REAL, POSITIVE),
)


@composed(np.divmod)
def divmod(x1: Array, x2: Array) -> tuple[Array, Array]:
    """Floor division and remainder at once.

    >>> divmod(np.array([7.5, -7.5]), 2.0)
    (array([ 3., -4.]), array([1.5, 0.5]))
    """
    if shape_dtype(x1).dtype.kind == shape_dtype(x2).dtype.kind == "b":
        np.divmod(True, True)  # raises NumPy's TypeError
    return floor_divide(x1, x2), remainder(x1, x2)


def _power(a: Array, b: Array) -> Array:
    """a to the power b.

    >>> power(np.array([1.0, 2.0, 3.0]), 2)
    array([1., 4., 9.])
    """
    # On a floating array the operator squares and inverts by a fast path of its own; on booleans
    # that has another dtype.
    if isinstance(a, np.ndarray) and a.dtype.kind in "fc":
        return operator.pow(a, b)
    return np.power(a, b)


def _power_base(g: Array, a: Array, b: Array) -> Array:
    """b · a^(b-1), which is 0 at b = 0 even where a = 0."""
    if isinstance(b, (int, float, complex)):
        if b == 2:
            return 2 * g * a
        return g * (b * np.power(a, b - 1)) if b else g * 0
    if shape_dtype(b).dtype.kind == "b":
        return g * b  # a or 1
    safe = np.where(b == 0, True, b)  # the one that leaves every dtype as it is
    return g * np.where(b == 0, 0, b * np.power(a, safe - 1))


def _power_exponent(g: Array, y: Array, a: Array) -> Array:
    """a^b · ln a, which is 0 at a = 0 (the limit for b > 0)."""
    logarithm = np.log(np.where(a == 0, True, a))  # the one that leaves every dtype as it is
    # Of a Python number a Python number, lest float32 become float64.
    return g * y * (logarithm.item() if isinstance(a, (int, float, complex)) else logarithm)


power = elementwise(
    "power",
    np.power,
    _power_base,
    _power_exponent,
    impl=_power,
    weak="{0} ** {1}",
    samples=broadcasting(POSITIVE, REAL),
)


@composed(np.float_power)
def float_power(x1: Array, x2: Array) -> Array:
    """`x1` to the power `x2`, computed in float64 or complex128 at least.

    >>> float_power(np.array([2, 4]), -1)
    array([0.5 , 0.25])
    """
    dtype = promote(np.float_power, shape_dtype(x1), shape_dtype(x2))
    exponent = x2 if isinstance(x2, (int, float)) else astype(x2, dtype)
    return power(astype(x1, dtype), exponent)


def _to_first(g: Array, a: Array, b: Array, y: Array) -> Array:
    """All of g where `a` was chosen, half of it in a tie."""
    return np.where(a == y, np.where(b == y, 0.5 * g, g), 0)


def _to_second(g: Array, a: Array, b: Array, y: Array) -> Array:
    return _to_first(g, b, a, y)


def _tied(y: Array, a: Array, b: Array) -> Array:
    return np.equal(a, b)


maximum = elementwise("maximum", np.maximum, _to_first, _to_second, kink=_tied, samples=_two)
minimum = elementwise("minimum", np.minimum, _to_first, _to_second, kink=_tied, samples=_two)

fmax = elementwise("fmax", np.fmax, _to_first, _to_second, kink=_tied, samples=_two)
fmin = elementwise("fmin", np.fmin, _to_first, _to_second, kink=_tied, samples=_two)

where = elementwise(
    "where",
    np.where,
    None,
    lambda g, a: np.where(a, g, 0),
    lambda g, a: np.where(a, 0, g),
    dtype=lambda condition, x, y: result_type(x, y),
    samples=broadcasting(REAL, REAL, REAL, flags=(True, False, False)),
)

equal = elementwise("equal", np.equal, None, None, dtype=np.bool_, samples=_two)
not_equal = elementwise("not_equal", np.not_equal, None, None, dtype=np.bool_, samples=_two)
less = elementwise("less", np.less, None, None, dtype=np.bool_, samples=_two)
less_equal = elementwise("less_equal", np.less_equal, None, None, dtype=np.bool_, samples=_two)
greater = elementwise("greater", np.greater, None, None, dtype=np.bool_, samples=_two)
greater_equal = elementwise(
    "greater_equal", np.greater_equal, None, None, dtype=np.bool_, samples=_two
)

isnan = elementwise("isnan", np.isnan, None, dtype=np.bool_, samples=_one)
isinf = elementwise("isinf", np.isinf, None, dtype=np.bool_, samples=_one)
isfinite = elementwise("isfinite", np.isfinite, None, dtype=np.bool_, samples=_one)

_flags = broadcasting(REAL, REAL, flags=(True, True))
logical_and = elementwise("logical_and", np.logical_and, None, None, dtype=np.bool_, samples=_flags)
logical_or = elementwise("logical_or", np.logical_or, None, None, dtype=np.bool_, samples=_flags)
logical_not = elementwise(
    "logical_not", np.logical_not, None, dtype=np.bool_, samples=broadcasting(REAL, flags=(True,))
)
logical_xor = elementwise("logical_xor", np.logical_xor, None, None, dtype=np.bool_, samples=_flags)


@composed(np.clip)
def clip(
    a: Array,
    a_min: Any = None,
    a_max: Any = None,
    out: None = None,
    *,
    min: Any = None,
    max: Any = None,
) -> Any:
    """`minimum(maximum(a, a_min), a_max)`; either bound may be None.

    >>> clip(np.array([-2.0, 0.5, 7.0]), 0, 6)
    array([0. , 0.5, 6. ])
    """
    if (min is not None and a_min is not None) or (max is not None and a_max is not None):
        raise ValueError("Passing `min` or `max` keyword argument when `a_min` and `a_max` are set")
    low = a_min if a_min is not None else min
    high = a_max if a_max is not None else max
    dtype = shape_dtype(a).dtype
    if dtype.kind in "iu":
        # A Python bound outside of what the dtype holds does not bound.
        limits = np.iinfo(dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
    if low is None and high is None:
        return positive(a)
    if low is not None:
        a = maximum(a, low)
    if high is not None:
        a = minimum(a, high)
    return a


@composed(np.round, np.around)
def round(a: Array, decimals: int = 0, out: None = None) -> Array:
    """Rounds half to even at a decimal place; piecewise constant.

    >>> round(np.array([0.5, 1.5, -0.126]), 2)
    array([ 0.5 ,  1.5 , -0.13])
    """
    dtype = shape_dtype(a).dtype
    if decimals >= 0:
        if dtype.kind in "iu":
            return a
        return rint(a) if decimals == 0 else rint(a * 10.0**decimals) / 10.0**decimals
    rounded = rint(a / 10.0**-decimals) * 10.0**-decimals
    return astype(rounded, dtype) if dtype.kind in "iu" else rounded


def stop_gradient(x: Any) -> Any:
    """The identity, through which no derivative passes; leaf by leaf for a tree.

    >>> from kinone import grad
    >>> float(grad(lambda x: x * stop_gradient(x))(3.0))
    3.0
    """
    return tree.map(_stopped, x)


def _identity(x: Array) -> Array:
    return x


_stopped = elementwise(
    "stop_gradient", _identity, None, code="{0}", flops=0, weak="{0}", samples=_one
)
