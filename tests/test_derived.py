"""Jacobians, Hessians, linear maps and their products, against JAX and by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kinone as kn
from kinone.errors import GradientError, TreeError
from kinone.testing import check_grads

rng = np.random.default_rng(0)
X, Y = rng.normal(size=3), rng.normal(size=(2, 3))
Z = rng.normal(size=3) + 1j * rng.normal(size=3)
PARAMS = {"w": rng.normal(size=(2, 3)), "b": [rng.normal(size=2), 0.3]}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def same(got: Any, want: Any) -> None:
    """Equal trees, shapes, dtypes and numbers."""
    want = jax.tree.map(np.asarray, want)
    assert kn.tree.structure(got) == kn.tree.structure(want)
    for path, a in kn.tree.leaves_with_path(got):
        b = dict(kn.tree.leaves_with_path(want))[path]
        assert np.shape(a) == b.shape, path
        assert np.asarray(a).dtype == b.dtype, path
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12, err_msg=path)


def of_vector(np: Any) -> Callable[..., Any]:
    return lambda x: np.outer(x, np.sin(x))[:2] * np.sum(x**2)


def of_trees(np: Any) -> Callable[..., Any]:
    def f(params: Any, x: Any) -> Any:
        hidden = np.tanh(params["w"] @ x + params["b"][0])
        return {"a": hidden * params["b"][1], "n": (np.sum(hidden**2), x[0] * hidden)}

    return f


def with_aux(np: Any) -> Callable[..., Any]:
    return lambda x, y: ((y @ x) ** 2, {"sum": np.sum(x), "n": 3})


JACOBIANS = ["jacfwd", "jacrev", "jacobian"]


def oracle(name: str) -> Callable[..., Any]:
    return jax.jacrev if name == "jacobian" else getattr(jax, name)


# ---- Jacobians -----------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("name", JACOBIANS)
class TestJacobian:
    def test_a_vector(self, name: str) -> None:
        same(getattr(kn, name)(of_vector(np))(X), oracle(name)(of_vector(jnp))(X))

    def test_scalars(self, name: str) -> None:
        same(getattr(kn, name)(np.sin)(2.0), oracle(name)(jnp.sin)(2.0))
        same(getattr(kn, name)(np.sum)(X), oracle(name)(jnp.sum)(X))
        same(
            getattr(kn, name)(lambda x: np.stack([x, x**3]))(2.0),
            oracle(name)(lambda x: jnp.stack([x, x**3]))(2.0),
        )

    def test_trees(self, name: str) -> None:
        same(getattr(kn, name)(of_trees(np))(PARAMS, X), oracle(name)(of_trees(jnp))(PARAMS, X))

    @pytest.mark.parametrize("argnums", [1, -1, (0, 1), (1,), [1, 0]])
    def test_argnums(self, name: str, argnums: Any) -> None:
        same(
            getattr(kn, name)(of_trees(np), argnums)(PARAMS, X),
            oracle(name)(of_trees(jnp), argnums if isinstance(argnums, int) else tuple(argnums))(
                PARAMS, X
            ),
        )

    def test_argnames(self, name: str) -> None:
        found = getattr(kn, name)(of_trees(np), argnames="x")(PARAMS, x=X)
        same(found, oracle(name)(of_trees(jnp), 1)(PARAMS, X))

    def test_has_aux(self, name: str) -> None:
        found, aux = getattr(kn, name)(with_aux(np), has_aux=True)(X, Y)
        want, _ = oracle(name)(with_aux(jnp), has_aux=True)(X, Y)
        same(found, want)
        assert aux["n"] == 3
        assert type(aux["sum"]) is np.float64
        with pytest.raises(GradientError, match=f"{name} with has_aux=True"):
            getattr(kn, name)(np.sin, has_aux=True)(X)

    def test_holomorphic(self, name: str) -> None:
        same(
            getattr(kn, name)(lambda z: z[:2] * z[2] ** 2, holomorphic=True)(Z),
            oracle(name)(lambda z: z[:2] * z[2] ** 2, holomorphic=True)(Z),
        )
        with pytest.raises(GradientError, match=r"wants complex arguments, and z is float64\[3\]"):
            getattr(kn, name)(lambda z: z * 1j, holomorphic=True)(X)
        with pytest.raises(GradientError, match=r"wants complex results, and <lambda> returned"):
            getattr(kn, name)(lambda z: np.real(z), holomorphic=True)(Z)

    def test_results_that_do_not_vary(self, name: str) -> None:
        constant = np.arange(2.0)
        same(getattr(kn, name)(lambda x: (constant, x[:1]))(X), (np.zeros((2, 3)), np.eye(3)[:1]))

    def test_nothing_in_or_out(self, name: str) -> None:
        assert getattr(kn, name)(lambda x: x * 2)(np.zeros(0)).shape == (0, 0)
        assert getattr(kn, name)(lambda x: x[:0])(X).shape == (0, 3)
        found = getattr(kn, name)(lambda p: np.sum(p["a"]) + np.sum(p["e"]))(
            {"a": X, "e": np.zeros((0, 2))}
        )
        assert found["e"].shape == (0, 2)
        assert np.array_equal(found["a"], np.ones(3))

    def test_float32(self, name: str) -> None:
        assert getattr(kn, name)(of_vector(np))(X.astype(np.float32)).dtype == np.float32

    def test_integers(self, name: str) -> None:
        with pytest.raises(GradientError, match=rf"{name} differentiates"):
            getattr(kn, name)(lambda n: n * 2)(3)
        found = getattr(kn, name)(lambda p: p["x"] * p["n"])({"x": X, "n": np.array(3)})
        assert np.array_equal(found["x"], 3 * np.eye(3))
        assert np.array_equal(found["n"], np.zeros(3, int))

    def test_control_flow(self, name: str) -> None:
        def f(x: Any) -> Any:
            return x * 2 if x[0] > 0 else x * 3

        assert np.array_equal(getattr(kn, name)(f)(np.array([1.0, 5.0])), 2 * np.eye(2))
        assert np.array_equal(getattr(kn, name)(f)(np.array([-1.0, 5.0])), 3 * np.eye(2))

    def test_composition(self, name: str) -> None:
        f, want = of_vector(np), oracle(name)(of_vector(jnp))
        make = getattr(kn, name)
        same(make(make(f))(X), oracle(name)(want)(X))
        same(kn.vmap(make(f))(Y), jax.vmap(want)(Y))
        same(kn.graph(make(f))(X)(X), want(X))
        same(kn.jit(make(f))(X), want(X))
        same(
            kn.grad(lambda x: np.sum(make(f)(x) ** 2))(X),
            jax.grad(lambda x: (want(x) ** 2).sum())(X),
        )
        same(make(kn.jit(f))(X), want(X))

    def test_is_the_callers_own(self, name: str) -> None:
        """A Jacobian may be written to, and writing changes nothing else."""
        x = X.copy()
        found = getattr(kn, name)(lambda x: {"a": x * 1.0, "b": x})(x)
        found["a"] += 1
        found["b"] += 2
        assert np.array_equal(found["b"], np.eye(3) + 2)
        assert np.array_equal(x, X)

    def test_keeps_the_signature(self, name: str) -> None:
        def named(x: Any, *, flag: bool = False) -> Any:
            """Documented."""
            return x * 2 if flag else x

        derived = getattr(kn, name)(named)
        assert (derived.__name__, derived.__doc__) == ("named", "Documented.")
        assert np.array_equal(derived(X, flag=True), 2 * np.eye(3))


def test_jacobian_says_which_mode_it_took() -> None:
    tall = kn.jacobian(lambda x: np.outer(x, x))
    wide = kn.jacobian(lambda x: x[:1])
    assert (tall(X).shape, tall.mode) == ((3, 3, 3), "fwd")  # type: ignore[attr-defined]
    assert (wide(X).shape, wide.mode) == ((1, 3), "rev")  # type: ignore[attr-defined]
    for mode in ("fwd", "rev"):
        forced = kn.jacobian(lambda x: np.outer(x, x), mode=mode)  # type: ignore[arg-type]
        np.testing.assert_allclose(forced(X), tall(X))
        assert forced.mode == mode  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match='mode is "auto"'):
        kn.jacobian(np.sin, mode="reverse")  # type: ignore[arg-type]


def test_wrong_kinds() -> None:
    with pytest.raises(GradientError, match=r"jacrev wants real results.*int64\[3\]"):
        kn.jacrev(lambda x: (x * 3).astype(int))(X)
    with pytest.raises(GradientError, match=r"real results.*complex128"):
        kn.jacrev(lambda x: x * 1j)(X)
    with pytest.raises(GradientError, match=r"jacfwd wants real arguments, and z is complex128"):
        kn.jacfwd(lambda z: z)(Z)


@pytest.mark.oracle
def test_complex_with_real_losses() -> None:
    """Real results of complex arguments, and the other way round."""
    same(kn.jacrev(lambda z: np.real(z * z))(Z), jax.jacrev(lambda z: jnp.real(z * z))(Z))
    same(kn.jacfwd(lambda x: np.exp(1j * x))(X), jax.jacfwd(lambda x: jnp.exp(1j * x))(X))


# ---- holomorphic gradients -----------------------------------------------------------------------


@pytest.mark.oracle
class TestHolomorphic:
    def test_the_complex_derivative(self) -> None:
        for f, g in ((lambda z: z**3, None), (np.exp, jnp.exp), (np.tanh, jnp.tanh)):
            same(
                kn.grad(f, holomorphic=True)(0.3 + 0.4j),
                jax.grad(g or f, holomorphic=True)(0.3 + 0.4j),
            )
        value, found = kn.value_and_grad(lambda z: z * z, holomorphic=True)(1 + 2j)
        assert (value, found) == (-3 + 4j, 2 + 4j)
        second = kn.grad(kn.grad(lambda z: z**3, holomorphic=True), holomorphic=True)(2j)
        assert second == 12j

    def test_trees_and_aux(self) -> None:
        p = {"a": Z, "b": 1j}
        found, aux = kn.grad(lambda p: (np.sum(p["a"] ** 2 * p["b"]), 7), 0, True, True)(p)
        want, _ = jax.grad(lambda p: (jnp.sum(p["a"] ** 2 * p["b"]), 7), 0, True, True)(p)
        same(found, want)
        assert aux == 7

    def test_refused(self) -> None:
        with pytest.raises(GradientError, match="pass holomorphic=True"):
            kn.grad(lambda z: z * z)(1j)
        with pytest.raises(GradientError, match="wants complex arguments, and z is float64"):
            kn.grad(lambda z: z * z, holomorphic=True)(1.0)
        with pytest.raises(GradientError, match="wants a complex result"):
            kn.grad(lambda z: np.real(z), holomorphic=True)(1j)

    def test_hessian(self) -> None:
        f = lambda z: z[0] ** 2 * z[1] * z[2]  # noqa: E731
        same(kn.hessian(f, holomorphic=True)(Z), jax.hessian(f, holomorphic=True)(Z))


# ---- second derivatives --------------------------------------------------------------------------


@pytest.mark.oracle
class TestHessian:
    def test_a_scalar_function(self) -> None:
        f = lambda np: lambda x: np.sum(np.sin(x)) * x[0] ** 2  # noqa: E731
        same(kn.hessian(f(np))(X), jax.hessian(f(jnp))(X))
        same(kn.hessian(lambda x: x**3)(2.0), jax.hessian(lambda x: x**3)(2.0))

    def test_trees_argnums_and_aux(self) -> None:
        def f(np: Any) -> Callable[..., Any]:
            return lambda p, x: np.sum(of_trees(np)(p, x)["n"][1] ** 2)

        same(kn.hessian(f(np))(PARAMS, X), jax.hessian(f(jnp))(PARAMS, X))
        same(kn.hessian(f(np), (0, 1))(PARAMS, X), jax.hessian(f(jnp), (0, 1))(PARAMS, X))
        found, aux = kn.hessian(lambda x: (np.sum(x**3), np.max(x)), has_aux=True)(X)
        np.testing.assert_allclose(found, np.diag(6 * X))
        assert aux == X.max()

    def test_a_vector_function(self) -> None:
        same(kn.hessian(of_vector(np))(X), jax.hessian(of_vector(jnp))(X))


@pytest.mark.oracle
class TestProducts:
    def test_hvp(self) -> None:
        f = lambda np: lambda x: np.sum(np.sin(x)) * x[0] ** 2  # noqa: E731
        v = rng.normal(size=3)
        same(kn.hvp(f(np), (X,), (v,)), jax.hessian(f(jnp))(X) @ v)
        same(kn.hvp(lambda x: x**3, (2.0,), (1.0,)), np.float64(12.0))

    def test_hvp_of_trees(self) -> None:
        def f(np: Any) -> Callable[..., Any]:
            return lambda p, x: np.sum(of_trees(np)(p, x)["n"][1] ** 2)

        direction = (
            {"w": rng.normal(size=(2, 3)), "b": [rng.normal(size=2), 1.5]},
            rng.normal(size=3),
        )
        want = jax.jvp(jax.grad(f(jnp), (0, 1)), (PARAMS, X), direction)[1]
        same(kn.hvp(f(np), (PARAMS, X), direction), want)

    def test_ggnvp(self) -> None:
        loss = lambda np: lambda y: np.sum(np.exp(y["a"]) + y["n"][0])  # noqa: E731
        v = {"w": rng.normal(size=(2, 3)), "b": [rng.normal(size=2), 1.5]}

        def theirs(p: Any) -> Any:
            return of_trees(jnp)(p, X)

        y, along = jax.jvp(theirs, (PARAMS,), (v,))
        curved = jax.jvp(jax.grad(loss(jnp)), (y,), (along,))[1]
        want = jax.vjp(theirs, PARAMS)[1](curved)[0]
        same(kn.ggnvp(lambda p: of_trees(np)(p, X), loss(np), (PARAMS,), (v,)), want)

    def test_several_primals(self) -> None:
        f, loss = (lambda a, b: a * b), (lambda y: np.sum(y**2))
        found = kn.ggnvp(f, loss, (X, Y[0]), (Y[1], X))
        j = np.concatenate([np.diag(Y[0]), np.diag(X)], axis=1)
        want = 2 * j.T @ (j @ np.concatenate([Y[1], X]))
        np.testing.assert_allclose(np.concatenate(found), want)

    def test_refused(self) -> None:
        with pytest.raises(GradientError, match="hvp wants tuples"):
            kn.hvp(np.sum, X, X)
        with pytest.raises(GradientError, match="ggnvp wants tuples"):
            kn.ggnvp(np.sin, np.sum, X, X)


# ---- linearize -----------------------------------------------------------------------------------


class TestLinearize:
    @pytest.mark.oracle
    def test_trees(self) -> None:
        y, push = kn.linearize(of_trees(np), PARAMS, X)
        y_jax, push_jax = jax.linearize(of_trees(jnp), PARAMS, X)
        same(y, y_jax)
        for seed in range(2):
            local = np.random.default_rng(seed)
            t = kn.tree.map(lambda x: local.normal(size=np.shape(x))[()], (PARAMS, X))  # noqa: B023
            same(push(*t), push_jax(*jax.tree.map(jnp.asarray, t)))

    def test_runs_the_function_once(self) -> None:
        calls = []

        def f(x: Any) -> Any:
            calls.append(1)
            return np.exp(np.sin(x)) if x[0] > -9 else x

        _, push = kn.linearize(f, X)
        for t in Y:
            np.testing.assert_allclose(push(t), np.exp(np.sin(X)) * np.cos(X) * t)
        assert len(calls) == 1
        names = {e.primitive.name for e in push.graph.equations}
        assert names == {"multiply"}  # neither exp, nor sin, nor cos

    def test_aux_and_values(self) -> None:
        y, push, aux = kn.linearize(lambda x: (np.exp(x), {"n": x.sum()}), X, has_aux=True)
        assert type(aux["n"]) is np.float64
        y += 1  # it is the caller's own, also where the derivative needs it
        np.testing.assert_allclose(push(np.ones(3)), np.exp(X))

    def test_constants_integers_and_scalars(self) -> None:
        y, push = kn.linearize(lambda x, n: (x * n, np.ones(2), n + 1), 2.0, 3)
        assert (y[0], y[2]) == (6.0, 4)
        t = push(1.0, 0)
        assert (t[0], t[2]) == (3.0, 0)
        assert np.array_equal(t[1], np.zeros(2))

    def test_dtypes(self) -> None:
        x32 = np.ones(2, np.float32)
        _, push = kn.linearize(lambda s, x: s * x, 2.0, x32)
        assert push(1.0, x32).dtype == np.float32

    def test_is_differentiable(self) -> None:
        def f(x: Any, t: Any) -> Any:
            return kn.linearize(lambda x: np.sin(x) * x[0], x)[1](t)

        check_grads(f, (X, Y[0]), order=2)
        same(kn.vmap(f, (None, 0))(X, Y), np.stack([f(X, t) for t in Y]))

    def test_loops_inside(self) -> None:
        """A loop inside a compiled function is one operation of values and tangents alike."""
        if not hasattr(kn, "fori_loop"):
            pytest.skip("there are no loops yet")
        f = kn.jit(lambda x: kn.fori_loop(0, 3, lambda i, v: np.sin(v) * 2, x))
        y, push = kn.linearize(f, X)
        value, tangent = kn.jvp(f, (X,), (Y[0],))
        np.testing.assert_allclose(y, value)
        np.testing.assert_allclose(push(Y[0]), tangent)
        np.testing.assert_allclose(kn.jacfwd(f)(X), kn.jacrev(f)(X))
        (found,) = kn.linear_transpose(push, X)(Y[0])
        np.testing.assert_allclose(found, kn.vjp(f, X)[1](Y[0])[0])

    def test_refused(self) -> None:
        _, push = kn.linearize(np.sin, X)
        with pytest.raises(ValueError, match=r"the tangent of .* is float64\[2\]"):
            push(np.ones(2))
        with pytest.raises(TreeError, match="the tangents' structure"):
            push((X,))


class TestLinearTranspose:
    @pytest.mark.oracle
    def test_trees(self) -> None:
        def f(np: Any) -> Callable[..., Any]:
            return lambda p: (p["a"] @ Y.T * 3, {"s": np.sum(p["a"]) + p["b"][1]})

        example = {"a": X, "b": np.zeros(2)}
        cotangent = (rng.normal(size=2), {"s": 1.5})
        found = kn.linear_transpose(f(np), example)(cotangent)
        same(found, jax.linear_transpose(f(jnp), example)(cotangent))

    def test_shapes_are_enough_and_nothing_runs(self) -> None:
        transpose = kn.linear_transpose(lambda x: Y @ x, kn.ShapeDtype((3,), np.float64))
        np.testing.assert_allclose(transpose(np.ones(2))[0], Y.sum(0))

    def test_of_linearize(self) -> None:
        _, push = kn.linearize(of_trees(np), PARAMS, X)
        _, pullback = kn.vjp(of_trees(np), PARAMS, X)
        cotangent = kn.tree.map(lambda y: rng.normal(size=np.shape(y))[()], push(PARAMS, X))
        found = kn.linear_transpose(push, PARAMS, X)(cotangent)
        same(found, pullback(cotangent))

    def test_several_arguments_and_results_of_their_own(self) -> None:
        transpose = kn.linear_transpose(lambda a, b: a + b, X, X)
        g = np.ones(3)
        a, b = transpose(g)
        a += 1
        assert np.array_equal(b, np.ones(3))
        assert np.array_equal(g, np.ones(3))

    def test_complex_numbers_are_not_conjugated(self) -> None:
        (found,) = kn.linear_transpose(lambda z: 2j * z, Z)(np.ones(3, complex))
        assert np.array_equal(found, np.full(3, 2j))

    def test_refused(self) -> None:
        with pytest.raises(GradientError, match=r"is not linear.*test_derived\.py.*np\.sin"):
            kn.linear_transpose(lambda x: np.sin(x), X)
        with pytest.raises(GradientError, match="is not linear"):
            kn.linear_transpose(lambda x, y: x * y, X, X)
        with pytest.raises(GradientError, match="is not linear"):
            kn.linear_transpose(kn.jit(np.sin), X)
        transpose = kn.linear_transpose(lambda x: 2 * x, X)
        with pytest.raises(ValueError, match=r"the cotangent is float64\[2\]"):
            transpose(np.ones(2))
        with pytest.raises(TreeError):
            transpose((X,))
