"""Transformations of transformations: every ordered pair and triple, against JAX.

Each transformation takes a function from a vector to a number to another such function, so any
sequence of them can be applied. Those that do not change what a function computes (`jit`,
`checkpoint`, a program called) must not change it here either; in the reference they are left out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kinone as kn

pytestmark = pytest.mark.oracle

X = np.array([0.3, -0.7, 1.1])
DIRECTION = np.array([0.9, -0.4, 0.2])
WEIGHTS = np.array([1.0, -0.5])
MATRIX = np.array([[0.2, -0.5, 0.1], [0.7, 0.3, -0.2], [-0.4, 0.1, 0.6]])

Function = Callable[[Any], Any]


def base(xp: Any) -> Function:
    """Products, sums, indexing, a matrix product and functions that no second derivative spares."""

    def function(x: Any) -> Any:
        h = xp.tanh(MATRIX @ x)
        return xp.sum(h * xp.sin(x[::-1])) + x[0] * h[1] ** 2 + xp.log1p(xp.sum(x * x))

    return function


def with_grad(lib: Any, xp: Any) -> Callable[[Function], Function]:
    return lambda f: lambda x: xp.sum(lib.grad(f)(x) * DIRECTION)


def with_value_and_grad(lib: Any, xp: Any) -> Callable[[Function], Function]:
    def transform(f: Function) -> Function:
        def function(x: Any) -> Any:
            value, gradient = lib.value_and_grad(f)(x)
            return value * 0.5 + gradient[1]

        return function

    return transform


def with_jvp(lib: Any, xp: Any) -> Callable[[Function], Function]:
    return lambda f: lambda x: lib.jvp(f, (x,), (DIRECTION,))[1]


def with_vjp(lib: Any, xp: Any) -> Callable[[Function], Function]:
    def transform(f: Function) -> Function:
        def function(x: Any) -> Any:
            value, pullback = lib.vjp(f, x)
            return xp.sum(pullback(value)[0] * DIRECTION)

        return function

    return transform


def with_vmap(lib: Any, xp: Any) -> Callable[[Function], Function]:
    def transform(f: Function) -> Function:
        def function(x: Any) -> Any:
            return xp.sum(lib.vmap(f, in_axes=1)(xp.stack([x, 0.5 * x], axis=1)) * WEIGHTS)

        return function

    return transform


def with_vmap_of_a_scale(lib: Any, xp: Any) -> Callable[[Function], Function]:
    return lambda f: lambda x: xp.sum(lib.vmap(lambda s: f(s * x))(WEIGHTS))


def with_linearize(lib: Any, xp: Any) -> Callable[[Function], Function]:
    return lambda f: lambda x: lib.linearize(f, x)[1](DIRECTION)


def unchanged(f: Function) -> Function:
    return f


def as_program(f: Function) -> Function:
    return lambda x: kn.graph(f)(x)(x)


# name: (of Kinone, of JAX)
TRANSFORMATIONS: dict[
    str, tuple[Callable[[Function], Function], Callable[[Function], Function]]
] = {
    "grad": (with_grad(kn, np), with_grad(jax, jnp)),
    "value_and_grad": (with_value_and_grad(kn, np), with_value_and_grad(jax, jnp)),
    "jvp": (with_jvp(kn, np), with_jvp(jax, jnp)),
    "vjp": (with_vjp(kn, np), with_vjp(jax, jnp)),
    "vmap": (with_vmap(kn, np), with_vmap(jax, jnp)),
    "vmap_scale": (with_vmap_of_a_scale(kn, np), with_vmap_of_a_scale(jax, jnp)),
    "linearize": (with_linearize(kn, np), with_linearize(jax, jnp)),
    "jit": (kn.jit, unchanged),
    "checkpoint": (kn.checkpoint, unchanged),
    "graph": (as_program, unchanged),
}


@functools.cache
def reference(names: tuple[str, ...]) -> float:
    """The value that JAX computes, of the transformations that change the function."""
    with jax.enable_x64(True):
        function = base(jnp)
        for name in names:
            function = TRANSFORMATIONS[name][1](function)
        return float(function(jnp.asarray(X)))


def check(names: tuple[str, ...]) -> None:
    function = base(np)
    for name in names:
        function = TRANSFORMATIONS[name][0](function)
    changing = tuple([n for n in names if TRANSFORMATIONS[n][1] is not unchanged])
    assert float(function(X)) == pytest.approx(reference(changing), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "names", list(itertools.product(TRANSFORMATIONS, repeat=2)), ids=" of ".join
)
def test_pairs(names: tuple[str, ...]) -> None:
    check(names[::-1])


# One of those that differ only in how they are called stands for all of them.
OF_THREE = ["grad", "jvp", "vmap", "jit", "checkpoint", "linearize"]


@pytest.mark.parametrize("names", list(itertools.product(OF_THREE, repeat=3)), ids=" of ".join)
def test_triples(names: tuple[str, ...]) -> None:
    check(names[::-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", list(itertools.product(TRANSFORMATIONS, repeat=3)), ids=" of ".join
)
def test_all_triples(names: tuple[str, ...]) -> None:
    check(names[::-1])
