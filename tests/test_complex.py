"""Complex numbers: JAX's convention, JAX being the oracle, and the page that explains it."""

from __future__ import annotations

import doctest
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.ops.samples import values
from kinone.testing import check_grads

jax = pytest.importorskip("jax")
jnp = jax.numpy
jax.config.update("jax_enable_x64", True)

pytestmark = pytest.mark.oracle

PAGE = Path(__file__).parent.parent / "docs" / "complex.md"
Z = values(7, seed=1) + 1j * values(7, seed=2)
W = values(7, seed=3) + 1j * values(7, seed=4)
R = np.abs(values(7, seed=5)) + 0.2


def test_the_page() -> None:
    failures, count = doctest.testfile(str(PAGE), module_relative=False)
    assert count > 10
    assert not failures


def cotangent(y: Any, seed: int = 0) -> Any:
    """Random numbers like a result's leaves, complex where it is."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        numbers = rng.standard_normal(np.shape(leaf))
        if np.iscomplexobj(leaf):
            numbers = numbers + 1j * rng.standard_normal(np.shape(leaf))
        return np.asarray(numbers).astype(np.asarray(leaf).dtype)[()]

    return kn.tree.map(draw, y)


def against_jax(f: Any, oracle: Any, *xs: Any, rtol: float = 1e-12) -> None:
    """Value, pullback and tangent for random cotangents and directions."""
    y, pullback = kn.vjp(f, *xs)
    want, oracle_pullback = jax.vjp(oracle, *xs)
    np.testing.assert_allclose(y, want, rtol=rtol)
    g = cotangent(y)
    for a, b, x in zip(pullback(g), oracle_pullback(jnp.asarray(g)), xs, strict=True):
        assert a.dtype == np.asarray(x).dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13)
    direction = cotangent(xs, seed=1)
    np.testing.assert_allclose(
        kn.jvp(f, xs, direction)[1], jax.jvp(oracle, xs, direction)[1], rtol=rtol, atol=1e-13
    )


HOLOMORPHIC = [
    "negative", "positive", "square", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10",
    "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan",
    "arcsinh", "arctanh", "sinc",
]  # fmt: skip
OTHERS = ["absolute", "real", "imag", "conj", "angle"]


@pytest.mark.parametrize("name", [*HOLOMORPHIC, *OTHERS])
def test_unary(name: str) -> None:
    f = getattr(np, name)
    against_jax(f, getattr(jnp, name), Z, rtol=1e-10)
    narrow = Z.astype(np.complex64)
    y, pullback = kn.vjp(f, narrow)
    assert y.dtype == f(narrow).dtype
    assert pullback(cotangent(y))[0].dtype == np.complex64
    assert kn.jvp(f, (narrow,), (narrow,))[1].dtype == y.dtype


@pytest.mark.parametrize("name", [*HOLOMORPHIC, *OTHERS, "arccosh", "sign"])
def test_as_a_map_of_the_plane(name: str) -> None:
    """Finite differences of real and imaginary part, which know no convention, to second order."""
    f = getattr(np, name)

    def parts(a: Any, b: Any) -> Any:
        y = f(a + 1j * b)
        return np.real(y), np.imag(y)

    check_grads(parts, (Z.real, Z.imag), order=2)


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_holomorphic_derivatives(name: str) -> None:
    """f'(z) by a difference along both axes of the plane."""
    f = functools.partial(getattr(np, name))
    slopes = kn.vmap(kn.grad(f, holomorphic=True))(Z)
    for h in (1e-6, 1e-6j):
        np.testing.assert_allclose(slopes, (f(Z + h) - f(Z - h)) / (2 * h), rtol=1e-7)


def test_arccosh_left_of_the_axis() -> None:
    """1/√(z² - 1) has the wrong sign where Re z < 0 (JAX takes it); 1/(√(z-1) √(z+1)) has not."""
    z = -1.5 + 0.7j
    slope = kn.grad(np.arccosh, holomorphic=True)(z)
    step = (np.arccosh(z + 1e-6) - np.arccosh(z - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, step, rtol=1e-8)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power"])
@pytest.mark.parametrize("kinds", ["cc", "cr", "rc"])
def test_binary(name: str, kinds: str) -> None:
    pair = [Z if kinds[0] == "c" else R, W if kinds[1] == "c" else R + 0.3]
    against_jax(getattr(np, name), getattr(jnp, name), *pair)


def test_power_of_numbers() -> None:
    for exponent in (2, 3, -1, 0.5, 1 + 2j):
        against_jax(lambda z, n=exponent: z**n, lambda z, n=exponent: z**n, Z)
    against_jax(lambda z: (1 + 2j) ** z, lambda z: (1 + 2j) ** z, Z)


def test_where_and_reductions() -> None:
    mask = Z.real > 0
    against_jax(lambda z, w: np.where(mask, z, w), lambda z, w: jnp.where(mask, z, w), Z, W)
    against_jax(lambda z, r: np.where(mask, z, r), lambda z, r: jnp.where(mask, z, r), Z, R)
    for name in ("sum", "mean", "prod", "var", "std", "cumsum"):
        against_jax(getattr(np, name), getattr(jnp, name), Z)
    against_jax(lambda z, w: z @ w, lambda z, w: z @ w, Z, W)


def test_gradients_of_real_functions() -> None:
    """∂f/∂x - i ∂f/∂y: downhill is against its conjugate."""
    loss = lambda z: np.sum(np.abs(z - 1j) ** 2 + np.real(z * z))  # noqa: E731
    gradient = kn.grad(loss)(Z)
    want = jax.grad(lambda z: jnp.sum(jnp.abs(z - 1j) ** 2 + jnp.real(z * z)))(Z)
    np.testing.assert_allclose(gradient, want, rtol=1e-12)
    assert loss(Z - 1e-3 * np.conj(gradient)) < loss(Z)


def test_absolute_value_and_sign_at_zero() -> None:
    with np.errstate(all="raise"):
        for f in (np.abs, np.sign, lambda z: np.real(np.sign(z)), np.angle):
            y, pullback = kn.vjp(f, np.zeros(2, complex))
            assert not np.any(y)
            assert np.all(np.isfinite(pullback(cotangent(y))[0]))
    assert not np.any(kn.grad(lambda z: np.sum(np.abs(z)))(np.zeros(2, complex)))


def test_sign_is_not_constant() -> None:
    """JAX lets no derivative pass through the sign of a complex number; it is z/|z|."""
    z, t = 3 + 4j, 1 + 0.5j
    tangent = kn.jvp(np.sign, (z,), (t,))[1]
    step = (np.sign(z + 1e-6 * t) - np.sign(z - 1e-6 * t)) / 2e-6
    np.testing.assert_allclose(tangent, step, rtol=1e-8)


def test_parts_of_real_numbers() -> None:
    x = values(3)
    assert np.array_equal(kn.grad(lambda x: np.sum(np.real(x) * np.conj(x)))(x), 2 * x)
    assert not np.any(kn.grad(lambda x: np.sum(np.imag(x) + x * 0))(x))
    for f in (np.real, np.imag, np.conj, np.angle):
        for y in (x, x.astype(np.float32), np.arange(3), np.arange(3, dtype=np.int8), x > 0):
            got, want = kn.graph(f)(y)(y), f(y)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
    assert np.allclose(kn.vjp(lambda z: np.angle(z, deg=True), Z)[0], np.angle(Z, deg=True))


def test_questions() -> None:
    for z in (Z, np.real(Z), np.array([1 + 0j, 2 + 1j])):
        for f in (np.isreal, np.iscomplex):
            np.testing.assert_array_equal(kn.graph(f)(z)(z), f(z))
        answers: list[Any] = []
        kn.vjp(lambda z, a=answers: a.append((np.isrealobj(z), np.iscomplexobj(z))) or z, z)
        assert answers == [(np.isrealobj(z), np.iscomplexobj(z))]


def test_real_if_close() -> None:
    near = R + 1e-15j
    for z in (near, Z, R):
        y, pullback = kn.vjp(np.real_if_close, z)
        want = np.real_if_close(z)
        assert y.dtype == want.dtype
        np.testing.assert_array_equal(y, want)
        assert pullback(cotangent(y))[0].dtype == z.dtype
    assert kn.vjp(lambda z: np.real_if_close(z, tol=1e-20), near)[0].dtype == complex
    with pytest.raises(kn.errors.TracerConversionError):
        kn.graph(np.real_if_close)(near)


def test_nan_to_num() -> None:
    z = np.array([complex(np.nan, 1), complex(2, np.inf), complex(-np.inf, np.nan), 1 - 1j])
    y, pullback = kn.vjp(np.nan_to_num, z)
    np.testing.assert_array_equal(y, np.nan_to_num(z))
    np.testing.assert_array_equal(pullback(np.ones(4, complex))[0].real, [0, 1, 0, 1])


def test_under_vmap_and_jit() -> None:
    def f(z: Any) -> Any:
        return np.real(z) * np.conj(z) + np.imag(z) * np.abs(z)

    rows = np.stack([Z, W])
    np.testing.assert_allclose(kn.vmap(f)(rows), f(rows))
    np.testing.assert_array_equal(kn.jit(f)(Z), f(Z))
    pull = lambda z, g: kn.vjp(f, z)[1](g)[0]  # noqa: E731
    np.testing.assert_allclose(kn.vmap(pull)(rows, rows), np.stack([pull(Z, Z), pull(W, W)]))


def test_parts_are_no_views_of_the_argument() -> None:
    z = Z.copy()
    for f in (np.real, np.imag):
        y = kn.vjp(f, z)[0]
        assert not np.shares_memory(y, z)
        assert y.flags.c_contiguous
