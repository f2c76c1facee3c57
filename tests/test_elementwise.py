"""Elementwise functions: every ufunc that NumPy has, special values, and what is composed of them.

The rules of the primitives themselves are checked in test_primitives.py; here are their values and
derivatives where floating point is delicate, and the functions that are no primitives.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from surface import check_everything, check_values, same

import kinone as kn
from kinone.core import Primitive, numpy_functions
from kinone.errors import TracerConversionError
from kinone.ops.samples import values
from kinone.testing import check_grads

INF, NAN = math.inf, math.nan
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-300, -1e300, INF, -INF, NAN, 3.0])
EVERY = sorted({f for f in vars(np).values() if isinstance(f, np.ufunc)}, key=lambda f: f.__name__)
FLOATING = [f for f in EVERY if any(t.startswith("d" * f.nin + "->") for t in f.types)]
FLOATING = [f for f in FLOATING if f.signature is None]


def test_every_ufunc_is_known() -> None:
    assert not [f.__name__ for f in EVERY if f not in numpy_functions]


@pytest.mark.parametrize("f", FLOATING, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_special_values(f: Any, dtype: str) -> None:
    """Infinities, NaN, signed zeros and numbers near the ends of the range: the bits of NumPy."""
    with np.errstate(all="ignore"):
        x = SPECIAL.astype(dtype)
        xs = (x,) if f.nin == 1 else (np.repeat(x, len(x)), np.tile(x, len(x)))
        want = f(*xs)
        for got in (
            kn.vjp(f, *xs)[0],
            kn.jvp(f, xs, xs)[0],
            kn.graph(f)(*xs)(*xs),
            kn.vmap(f)(*xs),
        ):
            for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
                assert np.asarray(a).dtype == np.asarray(b).dtype
                np.testing.assert_array_equal(a, b)
                if np.asarray(b).dtype.kind == "f":
                    assert np.array_equal(np.signbit(a)[b == 0], np.signbit(b)[b == 0])


INTEGERS = np.array([0, 1, -1, 5, -7, 100])


@pytest.mark.parametrize("f", EVERY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool"])
def test_integers(f: Any, dtype: str) -> None:
    """Values and dtypes of NumPy, or its refusal."""
    if f.signature is not None or f is np.isnat:
        return
    x = INTEGERS.astype(dtype)
    xs = (x,) if f.nin == 1 else (np.repeat(x, len(x)), np.tile(x, len(x)))
    with np.errstate(all="ignore"):
        try:
            want = f(*xs)
        except (TypeError, ValueError) as error:
            for call in (kn.graph(f), kn.vmap(f)):
                if isinstance(error, ValueError) and call is not kn.vmap:
                    continue  # a negative power: no program knows the numbers
                with pytest.raises(type(error)):
                    call(*xs)
            return
        for got in (kn.graph(f)(*xs)(*xs), kn.vmap(f)(*xs)):
            for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
                assert np.asarray(a).dtype == np.asarray(b).dtype
                np.testing.assert_array_equal(a, b)


def test_negative_powers_of_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="negative integer powers"):
        kn.vmap(lambda x: x**-1)(np.array([1, 2]))


def test_isnat_is_refused_as_by_numpy() -> None:
    with pytest.raises(TypeError, match="isnat"):
        np.isnat(SPECIAL)
    with pytest.raises(TypeError, match="isnat"):
        kn.vjp(np.isnat, SPECIAL)


# ---- composed functions --------------------------------------------------------------------------

X, Y = values(3, 4), values(3, 4, seed=2)
POSITIVE = np.abs(X) + 0.1

COMPOSED: list[Any] = [
    pytest.param(f, xs, id=name)
    for name, f, xs in [
        ("copysign", np.copysign, (X, Y)),
        ("copysign-scalar", lambda x: np.copysign(x, -1), (X,)),
        ("heaviside", np.heaviside, (X, Y)),
        ("float_power", np.float_power, (POSITIVE, Y)),
        ("float_power-2", lambda x: np.float_power(x, 2), (X,)),
        ("float_power-base", lambda x: np.float_power(2, x), (X,)),
        ("divmod", np.divmod, (X, POSITIVE)),
        ("divmod-operator", lambda x: divmod(x, 0.7), (X,)),
        ("modf", np.modf, (X + 0.1,)),
        ("frexp", np.frexp, (X * 3,)),
        ("ldexp", lambda x: np.ldexp(x, np.array([1, -3, 0, 2])), (X,)),
        ("nan_to_num", np.nan_to_num, (X,)),
        ("sinc", np.sinc, (X,)),
        ("i0", np.i0, (X * 4,)),
        ("unwrap", lambda x: np.unwrap(x * 5), (X,)),
        ("unwrap-axis", lambda x: np.unwrap(x * 5, axis=0, discont=4.0), (X,)),
        ("unwrap-period", lambda x: np.unwrap(x * 5, period=1.5), (X,)),
        ("clip", lambda x: np.clip(x, -1, 0.7), (X,)),
        ("clip-arrays", np.clip, (X, Y - 1, Y + 1)),
        ("clip-low", lambda x: np.clip(x, 0.1, None), (X,)),
        ("clip-high", lambda x: np.clip(x, None, 0.1), (X,)),
        ("clip-keywords", lambda x: np.clip(x, min=-0.5, max=0.5), (X,)),
        ("clip-method", lambda x: x.clip(-0.5, 0.5), (X,)),
        ("deg2rad", np.deg2rad, (X,)),
        ("radians", np.radians, (X,)),
        ("degrees", np.degrees, (X,)),
        ("fix", np.fix, (X,)),
        ("logaddexp2", np.logaddexp2, (X, Y)),
        ("hypot", np.hypot, (X, Y)),
        ("arctan2", np.arctan2, (X, Y)),
        ("fmod", np.fmod, (X, POSITIVE)),
        ("fmod-negative", np.fmod, (X, -POSITIVE)),
        ("remainder-negative", np.remainder, (X, -POSITIVE)),
        ("fmax", np.fmax, (X, Y)),
        ("fmin", np.fmin, (X, Y)),
        ("true_divide", np.true_divide, (X, POSITIVE)),
        ("angle", np.angle, (X,)),
        ("real", np.real, (X,)),
        ("imag", np.imag, (X,)),
        ("conj", np.conj, (X,)),
    ]
]


@pytest.mark.parametrize(("f", "xs"), COMPOSED)
def test_composed(f: Any, xs: Any) -> None:
    check_everything(f, *xs)
    for dtype in (np.float32, np.float16):
        narrow = tuple(x.astype(dtype) for x in xs)
        want = f(*narrow)
        for got in (kn.vjp(f, *narrow)[0], kn.graph(f)(*narrow)(*narrow)):
            for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
                assert np.asarray(a).dtype == np.asarray(b).dtype
                np.testing.assert_allclose(a, b, rtol=2e-6 if dtype is np.float32 else 4e-3)


@pytest.mark.parametrize(
    "f",
    [
        np.isposinf,
        np.isneginf,
        np.isreal,
        np.iscomplex,
        np.isfinite,
        np.nan_to_num,
        functools.partial(np.nan_to_num, nan=1.5, posinf=7, neginf=-7.0),
        lambda x: np.nan_to_num(x, nan=np.arange(12.0)),
        lambda x: np.isclose(x, x + 1e-9, equal_nan=True),
        lambda x: np.isclose(x, 1),
        lambda x: np.allclose(x, x, equal_nan=True),
        lambda x: np.array_equal(x, x),
        lambda x: np.array_equal(x, x, equal_nan=True),
        lambda x: np.array_equiv(x, x[0]),
        np.modf,
        np.frexp,
    ],
)
def test_special_values_of_composed(f: Any) -> None:
    with np.errstate(all="ignore"):
        check_values(f, SPECIAL)
        if not isinstance(f, np.ufunc):
            check_values(f, np.arange(12))


def test_comparisons_of_arrays() -> None:
    for f, args in (
        (np.array_equal, (X, Y[0])),
        (np.array_equal, (X, X[:, :2])),
        (np.array_equiv, (X, X[:2])),
    ):
        assert f(*args) is False
        assert kn.vjp(f, *args)[0] is False
    taken: list[Any] = []
    kn.vjp(lambda x: taken.append(np.allclose(x, X)) or x, X)
    assert taken == [True]
    assert type(taken[0]) is bool
    same(kn.vmap(lambda x: np.allclose(x, X[0]))(X), np.array([True, False, False]))
    with pytest.raises(TracerConversionError):
        kn.graph(lambda x: 1.0 if np.allclose(x, X) else x)(X)


def test_nan_to_num_has_derivative_where_finite() -> None:
    (ct,) = kn.vjp(np.nan_to_num, SPECIAL)[1](np.full(12, 2.0))
    assert np.array_equal(ct, np.where(np.isfinite(SPECIAL), 2.0, 0.0))
    for f in (np.isposinf, np.isneginf):
        with pytest.raises(TypeError, match="ambiguous"):
            kn.vjp(f, X + 0j)


def test_clip_of_integers() -> None:
    x = np.array([0, 100, 200, 255], np.uint8)
    for low, high in ((-1, 300), (10, 1000), (-(10**30), 150), (3, None)):
        check_values(lambda x, low=low, high=high: np.clip(x, low, high), x)
    with pytest.raises(ValueError, match="min"):
        kn.vjp(lambda x: np.clip(x, 1, 2, min=0), X)


@pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 3])
def test_round(decimals: int) -> None:
    rounded = functools.partial(np.round, decimals=decimals)
    for x in (X * 100, (X * 100).astype(np.float32), np.arange(-25, 35, 5), X + 1j * Y):
        got, want = kn.graph(rounded)(x)(x), rounded(x)
        same(got, want)
    same(kn.vmap(np.round)(X), np.round(X))


def test_bits() -> None:
    x = np.array([12, 7, 255, 0])
    check_values(lambda x: (x << 2) | (x >> 1) ^ (x & 6), x)
    check_values(lambda x: 3 << (x % 5), x)
    check_values(np.bitwise_count, x)
    check_values(lambda x: np.gcd(x, 18) + np.lcm(x % 7, 4), x)
    check_values(lambda x: np.bitwise_left_shift(x, 2) + np.bitwise_right_shift(x, 1), x)


# ---- derivatives where floating point is delicate ------------------------------------------------


def derivative(f: Any, *xs: float) -> list[float]:
    with np.errstate(all="ignore"):
        cotangents = kn.vjp(f, *map(np.float64, xs))[1](1.0)
        for i, x in enumerate(xs):  # forward mode says the same

            def of_one(x: Any, i: int = i) -> Any:
                return f(*xs[:i], x, *xs[i + 1 :])

            tangent = kn.jvp(of_one, (np.float64(x),), (np.float64(1),))[1]
            np.testing.assert_array_equal(tangent, cotangents[i])
    return [float(ct) for ct in cotangents]


@pytest.mark.parametrize(
    ("f", "xs", "want"),
    [
        (np.logaddexp, (-INF, -INF), [0, 0]),
        (np.logaddexp, (-INF, 0), [0, 1]),
        (np.logaddexp, (INF, 0), [1, 0]),
        (np.logaddexp, (1e300, -1e300), [1, 0]),
        (np.logaddexp2, (-INF, -INF), [0, 0]),
        (np.hypot, (0, 0), [0, 0]),
        (np.hypot, (3e200, 4e200), [0.6, 0.8]),
        (np.hypot, (3e-300, 4e-300), [0.6, 0.8]),
        (np.arctan2, (0, 0), [0, 0]),
        (np.arctan2, (1e200, 1e200), [5e-201, -5e-201]),
        (np.arctan2, (1e-200, -1e-200), [-5e199, -5e199]),
        (np.arctan2, (1, INF), [0, 0]),
        (np.power, (0, 0), [0, 0]),
        (np.power, (0, 1), [1, 0]),
        (np.power, (0, 2), [0, 0]),
        (np.power, (0, 3), [0, 0]),
        (np.power, (0, 0.5), [INF, 0]),
        (np.power, (2, 0), [0, math.log(2)]),
        (lambda x: x**2, (-3,), [-6]),
        (lambda x: x**3.0, (-2,), [12]),
        (lambda x: x**0, (0,), [0]),
        (lambda x: x**-1, (-2,), [-0.25]),
        (lambda x: x ** np.array(3), (-2,), [12]),
        (lambda x: x ** np.array(2.0), (-2,), [-4]),
        (lambda x: 0.0**x, (2,), [0]),
        (np.sqrt, (0,), [INF]),
        (np.log, (0,), [INF]),
        (np.log1p, (1e-300,), [1]),
        (np.arcsin, (1 - 2**-40,), [1 / math.sqrt((2 - 2**-40) * 2**-40)]),
        (np.arctanh, (1 - 2**-40,), [1 / ((2 - 2**-40) * 2**-40)]),
        (np.expm1, (-800,), [0]),
        (np.tanh, (800,), [0]),
        (np.fmax, (NAN, 2), [0, 1]),
        (np.fmax, (2, NAN), [1, 0]),
        (np.fmin, (NAN, 2), [0, 1]),
        (np.fmax, (2, 2), [0.5, 0.5]),
        (np.maximum, (2, 2), [0.5, 0.5]),
        (np.fmod, (0.3, 0.1), [1, -2]),
        (np.fmod, (-7, 2), [1, 3]),
        (np.remainder, (-7, 2), [1, 4]),
        (np.fmod, (1, INF), [1, 0]),
        (np.nextafter, (1, 2), [1, 0]),
        (np.ldexp, (1.5, 3), [8, 0]),
        (np.copysign, (-2, 3), [-1, 0]),
        (np.copysign, (0, 3), [0, 0]),
        (np.heaviside, (0, 3), [0, 1]),
        (np.heaviside, (1, 3), [0, 0]),
        (np.abs, (0,), [0]),
        (np.fabs, (0,), [0]),
        (np.sign, (0,), [0]),
        (np.sinc, (0,), [0]),
        (np.reciprocal, (-4,), [-0.0625]),
        (kn.ops.softplus, (-800,), [0]),
        (kn.ops.softplus, (800,), [1]),
        (kn.ops.sigmoid, (-800,), [0]),
    ],
)
def test_derivative_at(f: Any, xs: Any, want: Any) -> None:
    if f is np.ldexp:
        f, xs, want = (lambda x: np.ldexp(x, 3)), xs[:1], want[:1]
    np.testing.assert_allclose(derivative(f, *xs), want, rtol=1e-14)


def test_derivatives_of_sinc_at_zero() -> None:
    """sin(πx)/(πx) = Σ (-1)ᵐ (πx)²ᵐ / (2m + 1)!"""
    f: Any = np.sinc
    for order in range(9):
        want = 0.0 if order % 2 else (-1) ** (order // 2) * math.pi**order / (order + 1)
        assert math.isclose(f(0.0), want, rel_tol=1e-13, abs_tol=1e-13), order
        f = kn.grad(f)


@pytest.mark.parametrize("order", range(1, 6))
def test_derivatives_of_sinc_and_i0(order: int) -> None:
    """Against high-order quadrature of the defining integrals."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    nodes, weights = (nodes + 1) / 2, weights / 2
    for x in (0.0, 1e-8, 0.3, -0.7, 1.0, 2.9, -7.3):
        u = math.pi * x
        want = np.sum(weights * nodes**order * np.cos(u * nodes + order * math.pi / 2))
        got = kn.ops.special.sinc_p(x, order=order)
        assert math.isclose(got, want, rel_tol=1e-11, abs_tol=1e-13), x
        theta = np.pi * nodes
        want = np.sum(weights * np.cos(theta) ** order * np.exp(10 * x * np.cos(theta)))
        got = kn.ops.special.i0_p(10 * x, order=order)
        assert math.isclose(got, want, rel_tol=1e-12, abs_tol=1e-14), x


def test_i0_is_its_own_second_member() -> None:
    """x² I₀'' + x I₀' - x² I₀ = 0, Bessel's equation."""
    for x in (0.5, -3.0, 8.5, 40.0, 300.0):
        first = kn.grad(np.i0)
        second = kn.grad(first)
        terms = x * x * second(x), x * first(x), -x * x * np.i0(x)
        assert abs(sum(terms)) < 1e-12 * max(map(abs, terms))


@pytest.mark.parametrize("base", [-2.0, -0.5, 0.0, 0.5, 3.0])
def test_integer_powers(base: float) -> None:
    """Of arrays of exponents, integer or whole floating ones, to the second order."""
    x = np.full(5, base)
    for exponents in (np.arange(5), np.arange(5.0), np.arange(5, dtype=np.uint8)):
        with np.errstate(all="raise"):
            check_grads(lambda x, n=exponents: x**n, (x,), order=2)
            slopes = kn.grad(lambda x, n=exponents: np.sum(x**n))(x)
        n = np.arange(5.0)
        np.testing.assert_allclose(slopes, n * base ** np.maximum(n - 1, 0), rtol=1e-14)


def test_powers_with_numbers_keep_float32() -> None:
    x = np.array([0.5, 2.0], np.float32)
    for f in (lambda x: x**2.5, lambda x: 2.5**x, lambda x: (1 + 2j) ** x, lambda x: x ** (1 + 2j)):
        y, pullback = kn.vjp(f, x)
        assert y.dtype == f(x).dtype
        assert pullback(np.ones_like(y))[0].dtype == np.float32


def test_every_partial_keeps_its_dtype() -> None:
    """A rule that computes in float64 for float32 operands would be slow where nobody looks."""
    wide: list[str] = []
    for one in {f for f in numpy_functions.values() if isinstance(f, Primitive)}:
        if one.vjp is None or not one.elementwise or one.samples is None:
            continue
        sample = one.samples()[0]
        if any(np.asarray(x).dtype != np.float64 for x in sample.args):
            continue
        xs = [np.asarray(x, np.float32) for x in sample.args]
        y = one(*xs)
        if y.dtype != np.float32:
            continue
        for i in range(len(xs)):
            wanted = [i == j for j in range(len(xs))]
            (ct,) = one.vjp(wanted, y, xs, {})(np.ones_like(y))
            if ct is not None and ct.dtype != np.float32:
                wide.append(one.name)
    assert not wide
