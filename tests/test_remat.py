"""`checkpoint`: the derivatives of the function, and what is kept for them."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import kinone as kn
from kinone.core import observe
from kinone.errors import GradientError
from kinone.testing import check_grads

rng = np.random.default_rng(0)
W, X = rng.normal(size=(3, 3)) / 2, rng.normal(size=3)
MANY = rng.normal(size=(4, 3))
P = {"w": W, "b": [X]}


def block(p: Any, x: Any, scale: float = 2.0) -> Any:
    return np.tanh(p["w"] @ x + p["b"][0]) * scale


def loss(around: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    inside = around(block)
    return lambda p, x: np.sum(inside(p, inside(p, np.sin(x), scale=0.5)) ** 2)


def plain(f: Any) -> Any:
    return f


def close(got: Any, want: Any) -> None:
    assert kn.tree.structure(got) == kn.tree.structure(want)
    for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


OURS, PLAIN = loss(kn.checkpoint), loss(plain)


class TestIsTheFunction:
    def test_values_and_gradients(self) -> None:
        close(OURS(P, X), PLAIN(P, X))
        close(kn.grad(OURS, (0, 1))(P, X), kn.grad(PLAIN, (0, 1))(P, X))
        close(kn.grad(OURS, 1)(P, X), kn.grad(PLAIN, 1)(P, X))
        check_grads(OURS, (P, X), order=2)

    def test_forward_mode(self) -> None:
        close(kn.jvp(OURS, (P, X), (P, X)), kn.jvp(PLAIN, (P, X), (P, X)))
        close(kn.jacfwd(OURS)(P, X), kn.jacfwd(PLAIN)(P, X))
        close(kn.linearize(OURS, P, X)[1](P, X), kn.linearize(PLAIN, P, X)[1](P, X))

    def test_second_order(self) -> None:
        want = kn.hessian(PLAIN)(P, X)
        close(kn.hessian(OURS)(P, X), want)
        close(kn.jacrev(kn.jacfwd(OURS))(P, X), want)
        close(kn.jacrev(kn.jacrev(OURS))(P, X), want)

    def test_vmap(self) -> None:
        for axes in ((None, 0), ({"w": None, "b": [0]}, None), ({"w": None, "b": [0]}, 0)):
            p = {"w": W, "b": [MANY]} if axes[0] else P
            x = MANY if axes[1] == 0 else X
            close(kn.vmap(OURS, axes)(p, x), kn.vmap(PLAIN, axes)(p, x))
            close(
                kn.vmap(kn.grad(OURS, (0, 1)), axes)(p, x),
                kn.vmap(kn.grad(PLAIN, (0, 1)), axes)(p, x),
            )
            total = [
                kn.grad(lambda p, x, f=f, axes=axes: np.sum(kn.vmap(f, axes)(p, x)), (0, 1))(p, x)
                for f in (OURS, PLAIN)
            ]
            close(*total)

    def test_nested(self) -> None:
        nested = kn.checkpoint(lambda p, x: OURS(p, kn.checkpoint(OURS)(p, x) * x))
        flat = lambda p, x: PLAIN(p, PLAIN(p, x) * x)  # noqa: E731
        close(kn.grad(nested, (0, 1))(P, X), kn.grad(flat, (0, 1))(P, X))
        close(kn.hessian(nested, 1)(P, X), kn.hessian(flat, 1)(P, X))

    def test_trees_integers_and_what_is_no_number(self) -> None:
        @kn.checkpoint
        def f(x: Any, n: int, mode: str, rest: Any = None) -> Any:
            assert mode == "fast"
            return {"y": x[:n] * 2, "n": np.argmax(x), "none": rest}

        found = kn.grad(lambda x: np.sum(f(x, 2, "fast")["y"]))(X)
        assert np.array_equal(found, [2, 2, 0])

    def test_static_arguments(self) -> None:
        @kn.checkpoint(static_argnums=(1,))
        def f(x: Any, n: int) -> Any:
            assert type(n) is int
            return x * n

        assert kn.grad(f)(2.0, 3) == 3.0
        assert kn.jit(lambda x: kn.grad(f)(x, 3))(2.0) == 3.0

    def test_custom_rules_inside(self) -> None:
        f = kn.custom_vjp(lambda x: x * 2)
        f.defvjp(lambda x: (x * 2, None), lambda _, g: (g * 7,))
        assert kn.grad(lambda x: kn.checkpoint(f)(x) * 1.0)(1.0) == 7.0
        assert kn.remat is kn.checkpoint

    def test_keeps_the_signature(self) -> None:
        assert kn.checkpoint(block).__name__ == "block"

    @pytest.mark.oracle
    def test_against_jax(self) -> None:
        jnp = jax.numpy

        def theirs(w: Any, x: Any) -> Any:
            inside = jax.checkpoint(lambda w, x: jnp.tanh(w @ x))
            return jnp.sum(inside(w, inside(w, x)) ** 3)

        inside = kn.checkpoint(lambda w, x: np.tanh(w @ x))
        with jax.enable_x64(True):
            close(
                kn.grad(lambda w, x: np.sum(inside(w, inside(w, x)) ** 3), (0, 1))(W, X),
                tuple(map(np.asarray, jax.grad(theirs, (0, 1))(W, X))),
            )


class TestWhatItKeeps:
    def test_the_inside_is_let_go_and_computed_again(self) -> None:
        alive: list[weakref.ref[Any]] = []
        ran: list[str] = []

        def inside(x: Any) -> Any:
            y = np.exp(x)
            value = y
            while hasattr(value, "value"):
                value = value.value
            alive.append(weakref.ref(value))
            return np.sum(np.sin(y))

        def watch(event: observe.Event) -> None:
            if event.forward is None:  # the operation itself, not its derivative
                ran.append(event.primitive.name)

        with observe.observing(watch):
            for around, kept in ((plain, True), (kn.checkpoint, False)):
                alive.clear()
                ran.clear()
                _, pullback = kn.vjp(around(inside), X)
                gc.collect()
                assert (alive[0]() is not None) is kept
                assert ran.count("exp") == 1
                pullback(1.0)
                assert ran.count("exp") == (1 if kept else 2)

    def test_what_a_chain_keeps(self) -> None:
        """Of n blocks in a row n inputs are kept, however much is in a block."""

        def chain(around: Any) -> int:
            def one(w: Any, x: Any) -> Any:
                for _ in range(10):
                    x = np.tanh(x * w)
                return x

            inside = around(one)

            def total(w: Any) -> Any:
                x = np.ones(50_000)
                for _ in range(8):
                    x = inside(w, x)
                return np.sum(x)

            tracemalloc.start()
            try:
                kn.grad(total)(0.9)
                return tracemalloc.get_traced_memory()[1] // 400_000
            finally:
                tracemalloc.stop()

        assert chain(plain) >= 80
        assert chain(kn.checkpoint) <= 40

    def test_in_programs_the_second_run_stays(self) -> None:
        program = kn.graph(kn.grad(OURS))(P, X)
        names = [equation.primitive.name for equation in program.equations]
        assert names.count("barrier") == 2
        assert names.count("checkpoint") == 2  # the first runs
        assert names.count("tanh") == 2  # the second ones
        close(program(P, X), kn.grad(PLAIN)(P, X))
        compiled = kn.jit(kn.grad(OURS, (0, 1)))
        for _ in range(2):
            close(compiled(P, X), kn.grad(PLAIN, (0, 1))(P, X))
        close(kn.grad(kn.jit(OURS), (0, 1))(P, X), kn.grad(PLAIN, (0, 1))(P, X))
        close(
            kn.jit(kn.vmap(kn.grad(OURS), (None, 0)))(P, MANY),
            kn.vmap(kn.grad(PLAIN), (None, 0))(P, MANY),
        )


class TestClosures:
    """What a function closes over counts as an argument."""

    @staticmethod
    def both(make: Callable[[Any], Callable[[Any, Any], Any]]) -> None:
        ours, without = make(kn.checkpoint), make(plain)
        want = kn.grad(without, (0, 1))(W, X)
        close(kn.grad(ours, (0, 1))(W, X), want)
        close(kn.grad(ours, 0)(W, X), want[0])
        close(kn.jit(kn.grad(ours, (0, 1)))(W, X), want)
        close(kn.grad(kn.jit(ours), (0, 1))(W, X), want)
        close(kn.jvp(ours, (W, X), (W, X)), kn.jvp(without, (W, X), (W, X)))
        close(kn.hessian(ours, (0, 1))(W, X), kn.hessian(without, (0, 1))(W, X))
        close(kn.jacrev(kn.jacfwd(ours))(W, X), kn.hessian(without)(W, X))
        many = np.stack([W, 2 * W])
        for axes, args in (((0, None), (many, X)), ((None, 0), (W, MANY))):
            close(kn.vmap(ours, axes)(*args), kn.vmap(without, axes)(*args))
            close(
                kn.vmap(kn.grad(ours, (0, 1)), axes)(*args),
                kn.vmap(kn.grad(without, (0, 1)), axes)(*args),
            )
            total = [
                kn.grad(lambda *a, f=f, axes=axes: np.sum(kn.vmap(f, axes)(*a)), (0, 1))(*args)
                for f in (ours, without)
            ]
            close(*total)

    def test_the_same_trace(self) -> None:
        self.both(lambda around: lambda w, x: np.sum(around(lambda x: np.tanh(w @ x))(x) ** 2))

    def test_what_is_computed_of_it_and_returned(self) -> None:
        def make(around: Any) -> Any:
            def f(w: Any, x: Any) -> Any:
                scaled = np.sin(w)
                a, b = around(lambda x: (scaled @ np.exp(x), scaled))(x)
                return np.sum(a * x) + np.sum(b**2)

            return f

        self.both(make)

    def test_nested(self) -> None:
        def make(around: Any) -> Any:
            def f(w: Any, x: Any) -> Any:
                def inner(x: Any) -> Any:
                    return np.tanh(w @ x)

                return np.sum(around(lambda x: around(inner)(np.sin(x)) * around(inner)(x))(x))

            return f

        self.both(make)

    def test_an_inner_and_an_outer_trace(self) -> None:
        def f(around: Any) -> Any:
            def outer(w: Any) -> Any:
                inside = around(lambda x: np.sum(np.sin(w * x)))
                return np.sum(kn.grad(inside)(X) ** 2)

            return kn.grad(outer)(2.0)

        close(f(kn.checkpoint), f(plain))

        def g(around: Any) -> Any:
            def outer(x: Any) -> Any:
                return kn.grad(lambda w: np.sum(around(lambda x: np.sin(w * x))(x)))(2.0)

            return kn.grad(outer)(X)

        close(g(kn.checkpoint), g(plain))

    def test_arrays_written_to_in_between_count_as_they_were(self) -> None:
        data = X.copy()

        def f(w: Any) -> Any:
            y = kn.checkpoint(lambda w: np.sum(w * data))(w)
            data[0] = 5.0
            return y

        before = np.sum(data)
        assert kn.grad(f)(2.0) == before


class TestPythonRuns:
    """The function runs on numbers, as under differentiation."""

    def test_control_flow(self) -> None:
        @kn.checkpoint
        def f(x: Any) -> Any:
            n = int(np.argmax(x))
            if x[0] > 0 and np.all(x < 10):
                return np.sum(x[n] * x)
            return np.sum(x**3)

        for x in (np.array([1.0, 3.0]), np.array([-1.0, 2.0]), np.array([1.0, 30.0])):
            close(kn.grad(f)(x), kn.grad(f.__wrapped__)(x))  # type: ignore[attr-defined]

    def test_numbers_stay_in(self) -> None:
        with pytest.raises(TypeError, match="would take the number out of a value traced by"):
            kn.grad(kn.checkpoint(lambda x: float(x) * x))(2.0)

    def test_constants(self) -> None:
        f = kn.checkpoint(lambda x: kn.stop_gradient(x) * x * np.floor(x))
        assert kn.grad(f)(2.5) == 5.0
        found = kn.grad(lambda x: kn.checkpoint(lambda x: (1.0, x * 2))(x)[1])(3.0)
        assert found == 2.0

    def test_drawn_numbers_are_drawn_once(self) -> None:
        local = np.random.default_rng(0)
        seen = []

        @kn.checkpoint
        def f(x: Any) -> Any:
            mask = local.random(3) < 0.5
            seen.append(mask)
            return np.sum(np.where(mask, x**2, x))

        assert np.array_equal(kn.grad(f)(X), np.where(seen[0], 2 * X, 1))
        assert len(seen) == 1

    def test_an_error_names_the_line(self) -> None:
        f = kn.checkpoint(lambda w, x: w @ x)
        with pytest.raises(ValueError, match=r"test_remat\.py:\d+  w @ x"):
            kn.grad(lambda w: np.sum(f(w, np.ones(5))))(W)


def test_static_argnums_that_are_not_there() -> None:
    def scaled(x: Any, n: int) -> Any:
        return np.sum(x) * n

    for number in (np.int64(1), -1, [np.int32(1)]):
        f = kn.checkpoint(scaled, static_argnums=number)
        assert kn.grad(f)(2.0, 3) == 3.0
    text = r"static_argnums=2, but scaled was called with 2 positional arguments, at .*test_remat"
    with pytest.raises(GradientError, match=text):
        kn.grad(kn.checkpoint(scaled, static_argnums=2))(2.0, 3)
    with pytest.raises(
        GradientError, match=r"1 positional argument, at .*\n  Pass n by position\."
    ):
        kn.grad(lambda x: kn.checkpoint(scaled, static_argnums=1)(x, n=3))(2.0)
    with pytest.raises(TypeError, match=r"static_argnums wants integers, and got 1\.5"):
        kn.checkpoint(scaled, static_argnums=1.5)  # type: ignore[call-overload]
