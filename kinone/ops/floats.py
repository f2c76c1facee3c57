"""What floating-point numbers are made of: sign, mantissa, exponent, whole and fractional part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, is_inexact, shape_dtype, shape_of
from .axes import as_array
from .complex import imag_p, is_complex, real_p
from .declare import elementwise, primitive, promote
from .plain import composed
from .samples import REAL, Sample, broadcasting, values
from .shape import astype

_one = broadcasting(REAL)

signbit = elementwise("signbit", np.signbit, None, samples=_one)
spacing = elementwise("spacing", np.spacing, None, samples=_one)


def _with_integers() -> list[Sample]:
    return [
        Sample((values(3, 4), np.array([1, -2, 0, 3]))),
        Sample((values(), np.array([[2], [-1]]))),
        Sample((values(2, 3), np.int64(4))),
        Sample((values(0, 2), np.int64(1))),
    ]


# The neighbour moves along with the number.
nextafter = elementwise("nextafter", np.nextafter, lambda g: g, None, samples=_with_integers)
ldexp = elementwise("ldexp", np.ldexp, lambda g, b: np.ldexp(g, b), None, samples=_with_integers)


def _parts_batch(made: Callable[[], Primitive]) -> Any:
    return lambda size, batched, x: made()(x)


def _as_float(x: ShapeDtype) -> np.dtype[Any]:
    return promote(np.spacing, x)  # integers and booleans as NumPy's floating functions take them


def _modf_shape(x: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    part = ShapeDtype(x.shape, _as_float(x))
    return part, part


def _frexp_shape(x: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    return ShapeDtype(x.shape, _as_float(x)), ShapeDtype(x.shape, np.intc)


def _part_samples() -> list[Sample]:
    inside = (1.1, 1.9)  # of one power of two and of one whole number
    return [Sample((values(*shape, domain=inside),)) for shape in ((3, 4), (), (0, 2))]


modf_p: Primitive = primitive(
    "modf",
    np.modf,
    shape=_modf_shape,
    vjp=lambda y, x: lambda g: (g[0],),  # the whole part is piecewise constant
    jvp=lambda y, x: lambda t: (t, np.zeros_like(t)),
    batch=_parts_batch(lambda: modf_p),
    multiple=True,
    samples=_part_samples,
)
frexp_p: Primitive = primitive(
    "frexp",
    np.frexp,
    shape=_frexp_shape,
    vjp=lambda y, x: lambda g: (np.ldexp(g[0], -y[1]),),
    jvp=lambda y, x: lambda t: (np.ldexp(t, -y[1]), None),
    batch=_parts_batch(lambda: frexp_p),
    multiple=True,
    samples=_part_samples,
)


@composed(np.modf)
def modf(x: Array) -> tuple[Array, Array]:
    """The fractional and the whole part, both with the sign of `x`.

    >>> modf(np.array([1.5, -0.25]))
    (array([ 0.5 , -0.25]), array([ 1., -0.]))
    """
    found: tuple[Array, Array] = modf_p(x)
    return found


@composed(np.frexp)
def frexp(x: Array) -> tuple[Array, Array]:
    """Mantissa m with 0.5 ≤ |m| < 1 and exponent e, where x = m · 2^e; e is constant.

    >>> frexp(np.array([8.0, -0.3]))
    (array([ 0.5, -0.6]), array([ 4, -1], dtype=int32))
    """
    found: tuple[Array, Array] = frexp_p(x)
    return found


@composed(np.copysign)
def copysign(x1: Array, x2: Array) -> Array:
    """|x1| with the sign of `x2`, that of zeros included.

    >>> copysign(np.array([1.0, -2.0]), -0.0)
    array([-1., -2.])
    """
    dtype = promote(np.copysign, shape_dtype(x1), shape_dtype(x2))
    length = np.absolute(astype(x1, dtype))
    return np.where(signbit(x2), -length, length)


@composed(np.heaviside)
def heaviside(x1: Array, x2: Array) -> Array:
    """0 where `x1` is negative, 1 where it is positive, `x2` where it is 0; constant in `x1`.

    >>> heaviside(np.array([-3.0, 0.0, 2.0]), 0.5)
    array([0. , 0.5, 1. ])
    """
    dtype = promote(np.heaviside, shape_dtype(x1), shape_dtype(x2))
    x1, x2 = astype(x1, dtype), astype(x2, dtype)
    step = np.where(np.isnan(x1), x1, astype(np.greater(x1, 0), dtype))
    return np.where(x1 == 0, x2, step)


@implements(np.isnat)
def isnat(x: Array) -> NoReturn:
    """Refused as by NumPy: numbers are not dates."""
    raise TypeError("ufunc 'isnat' is only defined for np.datetime64 and np.timedelta64.")


def _infinite(x: Array, negative: bool) -> Array:
    x = as_array(x)
    if is_complex(x):
        raise TypeError(
            f"This operation is not supported for {x.dtype} values because it would be ambiguous."
        )
    negated = signbit(x)
    return np.logical_and(np.isinf(x), negated if negative else np.logical_not(negated))


@composed(np.isposinf)
def isposinf(x: Array, out: None = None) -> Array:
    """Where `x` is +∞. Raises `TypeError` for complex numbers.

    >>> isposinf(np.array([-np.inf, 0.0, np.inf]))
    array([False, False,  True])
    """
    return _infinite(x, False)


@composed(np.isneginf)
def isneginf(x: Array, out: None = None) -> Array:
    """Where `x` is -∞. Raises `TypeError` for complex numbers.

    >>> isneginf(np.array([-np.inf, 0.0, np.inf]))
    array([ True, False, False])
    """
    return _infinite(x, True)


@composed(np.nan_to_num)
def nan_to_num(
    x: Array, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Array:
    """Numbers in place of NaN and ±∞, by default 0 and the largest finite ones.

    The derivative is 1 where `x` is finite and 0 where it was replaced.

    >>> nan_to_num(np.array([np.nan, 1.0, np.inf]), posinf=9.0)
    array([0., 1., 9.])
    """
    x = as_array(x)
    if x.dtype.kind not in "fc":
        return x
    if is_complex(x):
        parts = [_finite(part, nan, posinf, neginf) for part in (real_p(x), imag_p(x))]
        return parts[0] + 1j * parts[1]
    return _finite(x, nan, posinf, neginf)


def _finite(x: Array, nan: Any, posinf: Any, neginf: Any) -> Array:
    limits = np.finfo(x.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    for place, number in ((np.isnan(x), nan), (isposinf(x), high), (isneginf(x), low)):
        x = np.where(place, np.broadcast_to(astype(number, x.dtype), shape_of(x)), x)
    return x


_PYTHON = (int, float, complex)


@composed(np.isclose)
def isclose(
    a: Array, b: Array, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Array:
    """Where |a - b| ≤ atol + rtol · |b|, or both are the same infinity.

    >>> isclose(np.array([1.0, 2.0]), np.array([1.0 + 1e-9, 2.1]))
    array([ True, False])
    """
    # Python's numbers stay such, and adapt to the arrays.
    a, b, rtol, atol = (x if type(x) in _PYTHON else as_array(x) for x in (a, b, rtol, atol))
    if type(b) is int:
        b = float(b)
    elif type(b) not in _PYTHON and b.dtype.kind not in "fc":
        b = astype(b, np.result_type(b.dtype, 1.0))  # the smallest integer has no absolute value
    with np.errstate(invalid="ignore"):
        near = np.less_equal(np.abs(a - b), atol + rtol * np.abs(b)) & np.isfinite(b) | (a == b)
    return near | (np.isnan(a) & np.isnan(b)) if equal_nan else near


def _truth(found: Array) -> Any:
    """A Python truth as NumPy returns it, where it is there already."""
    return bool(found) if isinstance(found, (np.bool_, np.ndarray)) else found


@composed(np.allclose)
def allclose(
    a: Array, b: Array, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Any:
    """Whether all elements are close; under vmap and in a traced program a traced truth.

    >>> allclose(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-9]))
    True
    """
    return _truth(np.all(isclose(a, b, rtol, atol, equal_nan)))


@composed(np.array_equal)
def array_equal(a1: Array, a2: Array, equal_nan: bool = False) -> Any:
    """Whether shapes and all elements are equal, as `allclose` says it.

    >>> array_equal(np.arange(3), [0, 1, 2])
    True
    """
    a1, a2 = as_array(a1), as_array(a2)
    if shape_of(a1) != shape_of(a2):
        return False
    same = a1 == a2
    if equal_nan:
        same = same | (_is_nan(a1) & _is_nan(a2))
    return _truth(np.all(same))


def _is_nan(x: Array) -> Array:
    return np.isnan(x) if is_inexact(x) else np.zeros(shape_of(x), np.bool_)


@composed(np.array_equiv)
def array_equiv(a1: Array, a2: Array) -> Any:
    """Whether all elements are equal after broadcasting, which must be possible.

    >>> array_equiv(np.ones((2, 3)), 1)
    True
    """
    a1, a2 = as_array(a1), as_array(a2)
    try:
        np.broadcast_shapes(shape_of(a1), shape_of(a2))
    except ValueError:
        return False
    return _truth(np.all(a1 == a2))
