"""`grad`, `value_and_grad`, `vjp`, `jvp`: against other libraries, nested, and under strain."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import tracemalloc
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

import kinone as kn
from kinone import ops, source
from kinone.errors import GradientError
from kinone.testing import check_grads

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))
W = RNG.standard_normal((3, 5))
B = RNG.standard_normal(5)


# ---- oracles -------------------------------------------------------------------------------------


def _mlp(np: Any, w: Any, b: Any, x: Any) -> Any:
    return np.sum(np.tanh(x @ w + b) ** 2 * np.exp(-b))


def _attention(np: Any, w: Any, b: Any, x: Any) -> Any:
    scores = (x @ w) @ np.transpose(x @ w) / 2.0
    top = np.max(scores, axis=-1, keepdims=True)
    weights = np.exp(scores - top)
    weights = weights / np.sum(weights, axis=-1, keepdims=True)
    return np.sum(weights * np.sin(scores)) + np.sum(b * b)


def _broadcast(np: Any, w: Any, b: Any, x: Any) -> Any:
    y = x[:, :, None] * w[None] + b
    return np.mean(y * np.sqrt(1 + y * y), axis=(0, 2)).sum() + np.sum(np.log(1 + np.abs(w)))


def _indexing(np: Any, w: Any, b: Any, x: Any) -> Any:
    rows = w[[0, 2, 2, 1]]
    return np.sum(rows[:, ::-2] * x[:, :1]) + np.sum(np.where(b > 0, b**3, -b)) + x[1, -1] ** 2


def _shuffling(np: Any, w: Any, b: Any, x: Any) -> Any:
    y = np.concatenate([np.transpose(w), np.stack([x[0], x[1]])], axis=0)
    z = np.reshape(y, (3, 7))
    return np.sum(np.maximum(z[0], z[1]) * np.minimum(z[1], z[2])) + np.sum(b) ** 4


FUNCTIONS = [_mlp, _attention, _broadcast, _indexing, _shuffling]


@pytest.mark.oracle
@pytest.mark.parametrize("f", FUNCTIONS)
def test_against_autograd(f: Any) -> None:
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp

    got = kn.grad(lambda *args: f(np, *args), argnums=(0, 1, 2))(W, B, X)
    want = autograd.grad(lambda *args: f(anp, *args), argnum=(0, 1, 2))(W, B, X)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.oracle
@pytest.mark.parametrize("f", FUNCTIONS)
def test_against_jax(f: Any) -> None:
    """First derivatives in both modes, and Hessian-vector products by all four mixtures."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    def ours(w: Any) -> Any:
        return f(np, w, B, X)

    def theirs(w: Any) -> Any:
        if f is _indexing:
            return jnp.sum(w[jnp.array([0, 2, 2, 1])][:, ::-2] * X[:, :1])
        return f(jnp, w, jnp.asarray(B), jnp.asarray(X))

    direction = RNG.standard_normal(W.shape)
    wj = jnp.asarray(W)
    np.testing.assert_allclose(kn.grad(ours)(W), jax.grad(theirs)(wj), rtol=1e-12, atol=1e-13)
    hvp = jax.jvp(jax.grad(theirs), (wj,), (jnp.asarray(direction),))[1]

    mixtures = [
        kn.jvp(kn.grad(ours), (W,), (direction,))[1],
        kn.grad(lambda w: kn.jvp(ours, (w,), (direction,))[1])(W),
        kn.grad(lambda w: np.sum(kn.grad(ours)(w) * direction))(W),
        kn.vjp(kn.grad(ours), W)[1](direction)[0],
    ]
    for found in mixtures:
        np.testing.assert_allclose(found, hvp, rtol=1e-11, atol=1e-12)
    e = np.eye(W.size).reshape(-1, *W.shape)
    twice = kn.jvp(lambda w: kn.jvp(ours, (w,), (direction,))[1], (W,), (e[1],))[1]
    np.testing.assert_allclose(twice, np.asarray(hvp)[0, 1], rtol=1e-11, atol=1e-12)


@pytest.mark.oracle
def test_against_torch() -> None:
    torch = pytest.importorskip("torch")

    def ours(w: Any, b: Any) -> Any:
        h = ops.softplus(X @ w + b)
        return np.sum(ops.logsumexp(h * ops.swish(h), axis=1)) + np.sum(ops.hard_swish(3 * w))

    w, b = (torch.tensor(a, requires_grad=True) for a in (W, B))
    h = torch.nn.functional.softplus(torch.tensor(X) @ w + b)
    y = torch.logsumexp(h * torch.nn.functional.silu(h), 1).sum()
    y = y + torch.nn.functional.hardswish(3 * w).sum()
    y.backward()
    value, (gw, gb) = kn.value_and_grad(ours, argnums=(0, 1))(W, B)
    np.testing.assert_allclose(value, y.item(), rtol=1e-13)
    np.testing.assert_allclose(gw, w.grad.numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gb, b.grad.numpy(), rtol=1e-12, atol=1e-13)


# ---- the arguments of grad -----------------------------------------------------------------------


def weighted(a: Any, b: Any, c: Any = 1.0) -> Any:
    return np.sum(a * 2.0) + np.sum(b * 3.0) * c


A3, B3 = np.ones(3), np.ones(3) * 2


def test_argnums_int_tuple_negative() -> None:
    assert np.array_equal(kn.grad(weighted)(A3, B3), np.full(3, 2.0))
    assert np.array_equal(kn.grad(weighted, 1)(A3, B3), np.full(3, 3.0))
    assert np.array_equal(kn.grad(weighted, -1)(A3, B3), np.full(3, 3.0))
    assert kn.grad(weighted, -1)(A3, B3, 1.0) == 18.0
    a, b = kn.grad(weighted, (0, 1))(A3, B3)
    assert np.array_equal(a, np.full(3, 2.0))
    assert np.array_equal(b, np.full(3, 3.0))
    b, a = kn.grad(weighted, (1, -2))(A3, B3)
    assert np.array_equal(a, np.full(3, 2.0))
    assert np.array_equal(b, np.full(3, 3.0))
    only = kn.grad(weighted, (0,))(A3, B3)
    assert isinstance(only, tuple)
    assert len(only) == 1
    assert kn.grad(weighted, [0, 1])(A3, B3)[1][0] == 3.0
    assert kn.grad(weighted, np.int64(1))(A3, B3)[0] == 3.0


def test_argnames_and_keywords() -> None:
    assert kn.grad(weighted, argnames="c")(A3, B3, c=1.0) == 18.0
    assert kn.grad(weighted, argnames="c")(A3, B3, 1.0) == 18.0
    assert kn.grad(weighted, argnames="c")(A3, b=B3, c=2.0) == 18.0
    assert np.array_equal(kn.grad(weighted)(A3, b=B3, c=2.0), np.full(3, 2.0))
    one = kn.grad(weighted, argnames=("c",))(A3, B3, c=1.0)
    assert isinstance(one, tuple)
    b, c = kn.grad(weighted, argnames=["b", "c"])(A3, b=B3, c=5.0)
    assert np.array_equal(b, np.full(3, 15.0))
    assert c == 18.0
    a, c = kn.grad(weighted, argnums=(0,), argnames=["c"])(A3, B3, c=5.0)
    assert np.array_equal(a, np.full(3, 2.0))
    assert c == 18.0


def test_has_aux() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        return np.sum(y), {"y": y, "n": 3, "plain": np.ones(2), "none": None, "s": "text"}

    g, aux = kn.grad(f, has_aux=True)(A3)
    np.testing.assert_allclose(g, np.cos(A3))
    assert type(aux["y"]) is np.ndarray
    assert aux["n"] == 3
    assert aux["s"] == "text"
    assert aux["none"] is None
    (value, aux), g = kn.value_and_grad(f, has_aux=True)(A3)
    assert value == np.sum(np.sin(A3))
    y, pullback, aux = kn.vjp(f, A3, has_aux=True)
    assert aux["n"] == 3
    np.testing.assert_allclose(pullback(1.0)[0], np.cos(A3))
    y, t, aux = kn.jvp(f, (A3,), (A3,), has_aux=True)
    assert type(aux["y"]) is np.ndarray
    np.testing.assert_allclose(t, np.sum(np.cos(A3)))
    assert type(y) is np.float64


def test_aux_of_an_outer_trace_stays_traced() -> None:
    """The inner aux is a constant for the inner grad and a variable for the outer."""

    def outer(x: Any) -> Any:
        _, aux = kn.grad(lambda z: (np.sum(z * z), np.sin(z)), has_aux=True)(x)
        return np.sum(aux)

    np.testing.assert_allclose(kn.grad(outer)(A3), np.cos(A3))


def test_grad_is_a_decorator_that_keeps_the_name() -> None:
    @kn.grad
    def loss(x: Any) -> Any:
        """Doc."""
        return np.sum(x * x)

    assert loss.__name__ == "loss"
    assert loss.__doc__ == "Doc."
    assert np.array_equal(loss(A3), 2 * A3)


class Point(NamedTuple):
    x: Any
    y: Any


def test_trees_of_every_kind() -> None:
    params = {
        "point": Point(np.ones(2), [np.ones(1), None]),
        "scalar": 2.0,
        "np": np.float32(3.0),
        "count": 7,
        "ids": np.array([1, 2]),
        "flag": True,
    }

    def f(p: Any) -> Any:
        assert p["count"] == 7
        assert type(p["count"]) is int
        assert p["flag"] is True
        return np.sum(p["point"].x * p["point"].y[0]) * p["scalar"] * p["np"] * p["count"] + np.sum(
            p["ids"]
        )

    g = kn.grad(f)(params)
    assert kn.tree.structure(g) == kn.tree.structure(params)
    assert list(g) == list(params)
    np.testing.assert_allclose(g["point"].x, np.full(2, 42.0))
    assert g["scalar"] == 42.0
    assert type(g["np"]) is np.float32
    assert g["np"] == 28.0
    assert g["count"] == 0
    assert np.array_equal(g["ids"], [0, 0])
    assert g["ids"].dtype == params["ids"].dtype
    assert not g["flag"]


def test_vjp_and_jvp_with_trees() -> None:
    def f(p: Any, x: Any) -> Any:
        return {"b": p["w"] * x, "a": (np.sum(x), 3, None)}

    p, x = {"w": np.array([1.0, 2.0])}, np.array([3.0, 5.0])
    y, pullback = kn.vjp(f, p, x)
    assert y["a"][1] == 3
    cp, cx = pullback({"b": np.array([1.0, 10.0]), "a": (2.0, 0, None)})
    assert np.array_equal(cp["w"], [3.0, 50.0])
    assert np.array_equal(cx, [3.0, 22.0])
    y, t = kn.jvp(f, (p, x), ({"w": np.array([1.0, 0.0])}, np.array([0.0, 1.0])))
    assert np.array_equal(t["b"], [3.0, 2.0])
    assert t["a"][0] == 1.0
    assert t["a"][1] == 0


def test_unused_and_constant_arguments() -> None:
    g = kn.grad(lambda p: np.sum(p["a"]))({"a": A3, "unused": np.ones((2, 2), np.float32)})
    assert np.array_equal(g["unused"], np.zeros((2, 2)))
    assert g["unused"].dtype == np.float32
    g = kn.grad(lambda x: 3.0)(A3)
    assert np.array_equal(g, np.zeros(3))
    _, pullback = kn.vjp(lambda x: np.ones(2), A3)
    assert np.array_equal(pullback(np.ones(2))[0], np.zeros(3))
    _y, t = kn.jvp(lambda x: (np.ones(2), 1.0), (A3,), (A3,))
    assert np.array_equal(t[0], np.zeros(2))
    assert t[1] == 0.0


def test_identity_does_not_alias() -> None:
    x = np.ones(3)
    _y, pullback = kn.vjp(lambda x: x, x)
    g = np.ones(3)
    (ct,) = pullback(g)
    assert not np.shares_memory(ct, g)
    assert not np.shares_memory(ct, x)
    assert ct.flags.writeable


def test_integer_argument_to_vjp_and_jvp_is_data() -> None:
    _y, pullback = kn.vjp(lambda x, n: x[n], A3, np.array([0, 2]))
    ct, nothing = pullback(np.ones(2))
    assert np.array_equal(ct, [1, 0, 1])
    assert np.array_equal(nothing, [0, 0])


# ---- nesting -------------------------------------------------------------------------------------


def test_orders_one_to_five() -> None:
    f: Any = lambda x: np.sin(x) * x  # noqa: E731
    x = 0.7
    want = [
        np.sin(x) + x * np.cos(x),
        2 * np.cos(x) - x * np.sin(x),
        -3 * np.sin(x) - x * np.cos(x),
        -4 * np.cos(x) + x * np.sin(x),
        5 * np.sin(x) + x * np.cos(x),
    ]
    derivative = f
    for value in want:
        derivative = kn.grad(derivative)
        assert float(derivative(x)) == pytest.approx(value, rel=1e-13)
    forward = f
    for value in want[:4]:
        forward = _along(forward)
        assert float(forward(x)) == pytest.approx(value, rel=1e-13)


def _along(f: Any) -> Any:
    return lambda x: kn.jvp(f, (x,), (1.0,))[1]


@pytest.mark.parametrize("pattern", ["rfr", "frf", "rrf", "ffr", "rffr", "frrf", "rrrr", "ffff"])
def test_every_mixture(pattern: str) -> None:
    def f(x: Any) -> Any:
        return np.tanh(x) / (1 + x * x)

    derivative: Any = f
    oracle: Any = f
    for mode in pattern:
        derivative = kn.grad(derivative) if mode == "r" else _along(derivative)
        oracle = _along(oracle)
    assert float(derivative(0.3)) == pytest.approx(float(oracle(0.3)), rel=1e-11)


def test_grad_of_grad_with_respect_to_other_arguments() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(np.sin(x) * y**2)

    mixed = kn.grad(lambda y: np.sum(kn.grad(f, 0)(A3, y)))(B3)
    np.testing.assert_allclose(mixed, np.cos(A3) * 2 * B3)
    other = kn.grad(lambda x: np.sum(kn.grad(f, 1)(x, B3)))(A3)
    np.testing.assert_allclose(other, np.cos(A3) * 2 * B3)


def test_perturbation_confusion() -> None:
    """Siskind and Pearlmutter (2005): d/dx (x · d/dy (x + y)) = 1, not 2."""
    for inner in (kn.grad, _along):
        for outer in (kn.grad, _along):
            assert float(outer(lambda x, i=inner: x * i(lambda y: x + y)(1.0))(1.0)) == 1.0
            assert float(outer(lambda x, i=inner: i(lambda y: x * y)(2.0) * x)(3.0)) == 6.0
            assert float(outer(lambda x, i=inner: i(lambda y: x * y * y)(x))(3.0)) == 12.0


def test_perturbation_confusion_through_closures() -> None:
    """Manzyuk et al. (2012): a curried derivative applied at two levels."""

    def shift(offset: Any) -> Any:
        return lambda f: lambda x: f(x + offset)

    def derivative(f: Any, x: Any) -> Any:
        return kn.jvp(f, (x,), (1.0,))[1]

    got = kn.jvp(lambda u: derivative(shift(u)(lambda x: np.exp(x)), 1.0), (0.0,), (1.0,))[1]
    assert float(got) == pytest.approx(np.e)


def test_closure_over_an_outer_tracer() -> None:
    def outer(x: Any) -> Any:
        def inner(y: Any) -> Any:
            return np.sum(x * y * y)

        return np.sum(kn.grad(inner)(np.ones(3)) * x)

    np.testing.assert_allclose(kn.grad(outer)(B3), 4 * B3)


def test_inner_pullback_called_with_outer_tracer() -> None:
    _, pullback = kn.vjp(np.sin, A3)

    def f(g: Any) -> Any:
        return np.sum(pullback(g * g)[0])

    np.testing.assert_allclose(kn.grad(f)(B3), 2 * B3 * np.cos(A3))


def test_tangent_is_a_tracer() -> None:
    def f(t: Any) -> Any:
        return np.sum(kn.jvp(np.sin, (A3,), (t * t,))[1])

    np.testing.assert_allclose(kn.grad(f)(B3), 2 * B3 * np.cos(A3))


def test_graph_inside_grad_and_grad_inside_graph() -> None:
    program = kn.graph(kn.grad(lambda x: np.sum(np.tanh(x) ** 3)))(A3)
    assert np.array_equal(program(A3), kn.grad(lambda x: np.sum(np.tanh(x) ** 3))(A3))

    def f(x: Any) -> Any:
        inner = kn.graph(lambda y: np.sin(y) * x)(A3)
        return np.sum(inner(x))

    np.testing.assert_allclose(kn.grad(f)(B3), np.sin(B3) + B3 * np.cos(B3))


def test_grad_of_a_graph() -> None:
    def f(p: Any, x: Any) -> Any:
        return np.sum(np.tanh(x @ p["w"]))

    program = kn.graph(f)({"w": W}, X)
    want = kn.grad(f)({"w": W}, X)["w"]
    assert np.array_equal(kn.grad(program)({"w": W}, X)["w"], want)


# ---- Python in the function ----------------------------------------------------------------------


def test_control_flow_on_values() -> None:
    def f(x: Any) -> Any:
        y = x
        steps = 0
        while np.sum(y * y) < 100:
            y = y * 1.5 if y[0] > 0 else y - 1
            steps += 1
        assert steps == 6 or x[0] < 0
        return np.sum(y) if all(y > -1000) else 0.0

    x = np.array([1.0, 0.5])
    np.testing.assert_allclose(kn.grad(f)(x), np.full(2, 1.5**6))
    np.testing.assert_allclose(kn.grad(f)(-x), np.ones(2))
    np.testing.assert_allclose(kn.jvp(f, (x,), (x,))[1], np.sum(x) * 1.5**6)
    np.testing.assert_allclose(kn.grad(lambda x: np.sum(kn.grad(f)(x) * x))(x), np.full(2, 1.5**6))


def test_iteration_unpacking_and_builtin_sum() -> None:
    def f(x: Any) -> Any:
        a, *rest = x
        return sum(rest) * a + max(x) + len(x) * x[-1] + sum(row * 2 for row in x)

    np.testing.assert_allclose(kn.grad(f)(np.array([1.0, 2.0, 3.0])), [7.0, 3.0, 7.0])


def test_numpy_control_functions() -> None:
    assert kn.grad(lambda x: x * 2 if np.all(x > 0) else x)(1.0) == 2.0
    assert kn.grad(lambda x: x * 2 if np.any(np.isnan(x)) else x)(1.0) == 1.0


def test_stop_gradient() -> None:
    stop = kn.stop_gradient
    assert kn.grad(lambda x: x * stop(x))(3.0) == 3.0
    assert kn.grad(lambda x: stop(stop(x)) * x * stop(x * x))(2.0) == 8.0
    assert kn.grad(kn.grad(lambda x: x * x * stop(x)))(3.0) == 6.0
    assert kn.grad(lambda x: stop(x))(3.0) == 0.0
    assert kn.jvp(lambda x: x * stop(x), (3.0,), (1.0,))[1] == 3.0
    tree = kn.grad(lambda p: np.sum(stop(p)["a"] * p["b"]))({"a": A3, "b": B3})
    assert np.array_equal(tree["a"], np.zeros(3))
    assert np.array_equal(tree["b"], A3)
    # The inner derivative is a value for the outer one, unless it is stopped.
    assert kn.grad(lambda x: stop(kn.grad(lambda y: y * y)(x)) * x)(3.0) == 6.0
    assert kn.grad(lambda x: kn.grad(lambda y: stop(x) * y * x)(1.0))(3.0) == 3.0


# ---- dtypes --------------------------------------------------------------------------------------


def test_float32_stays_float32() -> None:
    x = np.ones((2, 3), np.float32)
    scale = 0.5

    def f(x: Any, s: Any) -> Any:
        y = 2.0 * x * s + 1 - x / 3 + x**2 + np.maximum(x, 0.0)
        assert y.dtype == np.float32
        return np.mean(y)

    value, (gx, gs) = kn.value_and_grad(f, (0, 1))(x, scale)
    assert value.dtype == np.float32
    assert gx.dtype == np.float32
    assert gs.dtype == np.float64  # a Python float's own precision
    _, t = kn.jvp(f, (x, scale), (x, 1.0))
    assert t.dtype == np.float32


def test_arithmetic_of_python_floats_stays_weak() -> None:
    """`lr * decay` of two Python floats is a Python float for NumPy, so float32 stays."""
    x = np.ones(3, np.float32)

    def f(lr: Any, x: Any) -> Any:
        step = lr * 0.5 + 1
        return np.sum(step * x)

    assert f(0.1, x).dtype == np.float32
    assert kn.value_and_grad(f)(0.1, x)[0].dtype == np.float32
    assert kn.jvp(f, (0.1, x), (1.0, x))[0].dtype == np.float32
    program = kn.graph(f)(0.1, x)
    assert program.outputs[0].aval.dtype == np.float32
    assert program(0.1, x).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_keep_dtype(dtype: Any) -> None:
    x = np.ones((2, 2), dtype)
    g = kn.grad(lambda x: np.sum(np.exp(x.astype(np.float64))) * np.float32(2))(x)
    assert g.dtype == dtype


def test_mixed_dtypes() -> None:
    a, b = np.ones(3, np.float32), np.ones(3, np.float64)
    ga, gb = kn.grad(lambda a, b: np.sum(a * b), (0, 1))(a, b)
    assert ga.dtype == np.float32
    assert gb.dtype == np.float64


def test_gradient_types_follow_the_argument() -> None:
    assert type(kn.grad(lambda x: x * x)(3.0)) is np.float64
    assert type(kn.grad(lambda x: x * x)(np.float32(3.0))) is np.float32
    g = kn.grad(lambda x: x * x)(np.array(3.0))
    assert type(g) is np.ndarray
    assert g.shape == ()


# ---- depth, width, memory ------------------------------------------------------------------------


def _chain(x: Any, depth: int) -> Any:
    for _ in range(depth):
        x = np.sin(x)
    return x


def test_deep_chains_do_not_recurse() -> None:
    depth = 10_000
    before = sys.getrecursionlimit()
    gradient = kn.grad(_chain)(1.0, depth)
    y, slope = 1.0, 1.0
    for _ in range(depth):
        slope *= np.cos(y)
        y = np.sin(y)
    assert float(gradient) == pytest.approx(slope, rel=1e-9)
    assert float(kn.jvp(lambda x: _chain(x, depth), (1.0,), (1.0,))[1]) == pytest.approx(
        slope, rel=1e-9
    )
    second = kn.grad(kn.grad(_chain))(1.0, depth)
    mixed = kn.jvp(kn.grad(lambda x: _chain(x, depth)), (1.0,), (1.0,))[1]
    assert float(second) == pytest.approx(float(mixed), rel=1e-7)
    assert sys.getrecursionlimit() == before


def test_deep_chains_are_destroyed_without_recursion() -> None:
    """A pullback that nobody calls is a linked list of 100,000 nodes; freeing it must not recurse
    in C either."""
    depth = 100_000
    y, pullback = kn.vjp(lambda x: _chain(x, depth), 1.0)
    del y, pullback
    gc.collect()
    kn.graph(lambda x: _chain(x, 20_000))(1.0)


def test_fan_out_accumulates() -> None:
    def f(x: Any) -> Any:
        return sum((np.sum(x * float(i)) for i in range(1000)), 0.0)

    assert np.array_equal(kn.grad(f)(A3), np.full(3, 499500.0))
    assert np.array_equal(kn.grad(lambda x: np.sum(x + x + x))(A3), np.full(3, 3.0))
    assert np.array_equal(kn.grad(lambda x: np.sum(np.concatenate([x, x, x])))(A3), np.full(3, 3.0))


def test_diamonds_are_not_exponential() -> None:
    def f(x: Any) -> Any:
        for _ in range(200):
            x = x * 0.5 + x * 0.5
        return x

    assert kn.grad(f)(2.0) == 1.0
    assert kn.grad(kn.grad(lambda x: f(x * x)))(2.0) == 2.0


def test_no_two_gradients_alias_and_all_are_writeable() -> None:
    def f(p: Any) -> Any:
        total = p["a"] + p["b"] + p["c"]
        return np.sum(total + p["d"].reshape(3, 2).T.reshape(2, 3).T.reshape(2, 3))

    shared = np.ones((2, 3))
    p = {"a": shared, "b": np.ones((2, 3)), "c": shared, "d": np.ones((2, 3))}
    leaves = kn.tree.leaves(kn.grad(f)(p))
    _, pullback = kn.vjp(lambda p: p["a"] + p["b"] + p["c"] + p["d"], p)
    seed = np.ones((2, 3))
    more = kn.tree.leaves(pullback(seed))
    again = kn.tree.leaves(pullback(seed))
    everything = [*leaves, *more, *again, seed, shared, p["b"], p["d"]]
    for i, one in enumerate(everything):
        assert one.flags.writeable
        for other in everything[:i]:
            assert not np.shares_memory(one, other)
    seed += 1
    assert np.array_equal(more[0], np.ones((2, 3)))


def test_gradients_do_not_alias_residuals() -> None:
    """Writing into a gradient must not change what the pullback returns the next time."""
    x = np.array([2.0, 3.0])
    _, pullback = kn.vjp(lambda a, b: a * b, np.ones(2), x)
    first = pullback(np.ones(2))
    kept = [np.array(leaf) for leaf in first]
    for leaf in first:
        leaf += 100
    for leaf, copy in zip(pullback(np.ones(2)), kept, strict=True):
        assert np.array_equal(leaf, copy)
    _scalar, pullback = kn.vjp(lambda a: np.sum(a), np.ones(3))
    pullback(1.0)[0][:] = 7
    assert np.array_equal(pullback(1.0)[0], np.ones(3))


def test_pullback_may_be_called_many_times() -> None:
    _, pullback = kn.vjp(lambda x: np.tanh(x) * x, A3)
    first = pullback(A3)[0]
    for _ in range(5):
        assert np.array_equal(pullback(A3)[0], first)
    np.testing.assert_allclose(pullback(2 * A3)[0], 2 * first)


def test_cotangents_are_freed_as_soon_as_used() -> None:
    """A chain of n large arrays: the backward pass holds a few cotangents, not n."""
    size, depth = 50_000, 60
    nbytes = 8 * size
    x = np.ones(size)

    def f(x: Any) -> Any:
        for _ in range(depth):
            x = x * 1.01  # keeps nothing
        return np.sum(x)

    kn.grad(f)(x)
    tracemalloc.start()
    try:
        kn.grad(f)(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * nbytes, f"peak of {peak / nbytes:.1f} arrays"


def test_residuals_are_freed_during_the_backward_pass() -> None:
    size, depth = 50_000, 60
    nbytes = 8 * size
    x = np.ones(size)

    def f(x: Any) -> Any:
        for _ in range(depth):
            x = np.tanh(x)
        return np.sum(x)

    kn.grad(f)(x)
    tracemalloc.start()
    try:
        kn.grad(f)(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (depth + 8) * nbytes, f"peak of {peak / nbytes:.1f} arrays for {depth} residuals"


def _alive_after(f: Any) -> list[bool]:
    """Which of the values that `f` notes are alive while only the pullback is held."""
    notes: list[Any] = []

    def note(x: Any) -> Any:
        notes.append(weakref.ref(x.value))
        return x

    _, pullback = kn.vjp(lambda x: f(x, note), np.ones(4))
    alive = [ref() is not None for ref in notes]
    del pullback
    assert not any(ref() is not None for ref in notes)
    return alive


@pytest.mark.parametrize(
    ("f", "want"),
    [
        (lambda x, note: note(x * 2.0) + note(x * 3.0) + 1.0, [False, False]),
        (lambda x, note: note(np.tanh(note(x * 2.0))) * 2.0, [False, True]),
        (lambda x, note: note(np.exp(note(x * 2.0))) * 2.0, [False, True]),
        (lambda x, note: note(np.sin(note(x * 2.0))) * 2.0, [True, False]),
        (lambda x, note: note(ops.relu(note(x * 2.0))) * 2.0, [False, True]),
        (lambda x, note: note(ops.sigmoid(note(x * 2.0))) * 2.0, [False, True]),
        (lambda x, note: np.sum(note(x * 2.0)) * 2.0, [False]),
        (lambda x, note: note(note(x * 2.0).reshape(2, 2)).T * 2.0, [False, False]),
        (lambda x, note: note(x * 2.0) @ np.ones((4, 2)), [False]),
        (lambda x, note: note(x * 2.0) @ note(x * 3.0), [True, True]),
        (lambda x, note: note(x * 2.0) / 2.0, [False]),
        (lambda x, note: 2.0 / note(x * 2.0), [True]),
        (lambda x, note: note(x * 2.0)[1:] * 1.0, [False]),
        (lambda x, note: np.where(A3[0] > 0, note(x * 2.0), note(x * 3.0)) * 1.0, [False, False]),
        (lambda x, note: np.concatenate([note(x * 2.0), note(x * 3.0)]) * 1.0, [False, False]),
        (lambda x, note: note(x * 2.0) ** 2 * 1.0, [True]),
        (lambda x, note: np.mean(note(x * 2.0)) * 1.0, [False]),
        (lambda x, note: np.pad(note(x * 2.0), 1) * 1.0, [False]),
        (lambda x, note: -note(x * 2.0) * 1.0, [False]),
    ],
)
def test_residuals_are_minimal(f: Any, want: list[bool]) -> None:
    assert _alive_after(f) == want


def test_nothing_is_kept_after_grad() -> None:
    refs: list[Any] = []

    def f(x: Any) -> Any:
        y = np.tanh(x)
        refs.append(weakref.ref(y.value))
        refs.append(weakref.ref(y._trace))
        return np.sum(y)

    gc.collect()
    gc.disable()
    try:
        kn.grad(f)(A3)
        # The trace itself may wait for the collector, its arrays may not.
        assert refs[0]() is None
    finally:
        gc.enable()


# ---- freezing ------------------------------------------------------------------------------------


def test_arrays_are_read_only_during_the_forward_run() -> None:
    data, x = np.arange(3.0), np.ones(3)

    def f(x: Any) -> Any:
        y = x * data
        data[0] = 100
        return np.sum(y)

    with pytest.raises(ValueError, match="read-only") as caught:
        kn.grad(f)(x)
    assert any("write into a copy" in note for note in caught.value.__notes__)
    assert data.flags.writeable
    assert x.flags.writeable
    data[0] = 1.0
    x[0] = 1.0


def test_arrays_are_writeable_afterwards_with_views() -> None:
    base = np.ones((3, 3))
    first, second = base[0], base[1]

    def f(x: Any) -> Any:
        inner = kn.grad(lambda z: np.sum(z * first * z) + np.sum(x * base))(x)
        return np.sum(x * second) + np.sum(x * base) + np.sum(inner) + np.sum(x * first)

    assert np.array_equal(kn.grad(f)(np.ones(3)), np.full(3, 7.0))
    assert np.array_equal(kn.grad(lambda x: np.sum(first * x) + np.sum(base * x))(first), [4, 4, 4])
    for array in (base, first, second):
        assert array.flags.writeable


def test_arrays_that_were_read_only_stay_so() -> None:
    data = np.arange(3.0)
    data.flags.writeable = False
    kn.grad(lambda x: np.sum(x * data))(data)
    assert not data.flags.writeable


def test_results_are_writeable() -> None:
    (_value, aux), g = kn.value_and_grad(lambda x: (np.sum(x), x * 2), has_aux=True)(np.ones(3))
    aux += 1
    g += 1
    y, t = kn.jvp(lambda x: x * 2, (np.ones(3),), (np.ones(3),))
    y += 1
    t += 1
    y, pullback = kn.vjp(lambda x: x[None] + np.zeros((2, 3)), np.ones(3))
    for leaf in (*pullback(np.ones((2, 3))), *pullback(np.ones((2, 3)))):
        leaf += 1


# ---- failure and concurrency ---------------------------------------------------------------------


def test_exceptions_leave_nothing_behind() -> None:
    data = np.ones(3)

    def f(x: Any) -> Any:
        np.sum(x * data)
        raise KeyError("user")

    for transform in (
        lambda: kn.grad(f)(data),
        lambda: kn.vjp(f, data),
        lambda: kn.jvp(f, (data,), (data,)),
        lambda: kn.graph(f)(data),
        lambda: kn.grad(kn.grad(f))(data),
        lambda: kn.grad(lambda x: np.sum(kn.graph(f)(x)(x)))(data),
    ):
        with pytest.raises(KeyError, match="user"):
            transform()
        assert data.flags.writeable
    assert np.array_equal(kn.grad(lambda x: np.sum(x * x))(data), 2 * data)


def test_exception_in_a_pullback_leaves_nothing_behind() -> None:
    with pytest.raises(ValueError, match="cotangent"):
        kn.vjp(np.sin, A3)[1](np.ones(4))
    assert source._state.inherited is None
    assert np.array_equal(kn.grad(lambda x: np.sum(x * x))(A3), 2 * A3)


def test_caught_exception_inside_continues() -> None:
    def f(x: Any) -> Any:
        with contextlib.suppress(ValueError):
            kn.grad(lambda y: np.sum(y @ np.ones((7, 2))))(x)
        return np.sum(x * x)

    assert np.array_equal(kn.grad(f)(A3), 2 * A3)


def test_threads_do_not_disturb_each_other() -> None:
    data = np.linspace(0.1, 1.0, 50)
    base = np.ones((4, 50))

    def work(k: int) -> Any:
        def f(x: Any) -> Any:
            for row in base:
                x = np.tanh(x * data) + row * float(k)
            return np.sum(np.sin(x) * base)

        return kn.jvp(kn.grad(f), (data,), (data,))[1]

    want = [work(k) for k in range(4)]
    failures: list[BaseException] = []
    results: dict[tuple[int, int], Any] = {}

    def run(k: int) -> None:
        try:
            for i in range(30):
                results[k, i] = work(k)
        except BaseException as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not failures
    for (k, _), got in results.items():
        assert np.array_equal(got, want[k])
    assert data.flags.writeable
    assert base.flags.writeable


def test_a_thread_inside_a_traced_function() -> None:
    """A pullback may be called from another thread than the one that made it."""
    _, pullback = kn.vjp(np.sin, A3)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(pullback(np.ones(3))[0]))
    thread.start()
    thread.join()
    np.testing.assert_allclose(found[0], np.cos(A3))


# ---- known points --------------------------------------------------------------------------------


def test_subgradients_at_ties_and_kinks() -> None:
    assert kn.grad(lambda x: np.abs(x))(0.0) == 0.0
    assert kn.grad(lambda x: ops.relu(x))(0.0) == 0.0
    assert kn.grad(lambda x: np.maximum(x, 1.0))(1.0) == 0.5
    assert np.array_equal(kn.grad(np.max)(np.array([1.0, 3.0, 3.0, 0.0])), [0, 0.5, 0.5, 0])
    assert np.array_equal(
        kn.grad(np.min)(np.array([[1.0, 3.0], [1.0, 1.0]])), [[1 / 3, 0], [1 / 3, 1 / 3]]
    )
    assert kn.grad(lambda x: np.where(x > 0, x, 2 * x))(0.0) == 2.0


def test_powers_at_zero() -> None:
    assert kn.grad(lambda x: x**2)(0.0) == 0.0
    assert kn.grad(lambda x: x**1)(0.0) == 1.0
    assert kn.grad(lambda x: x**0)(0.0) == 0.0
    assert kn.grad(lambda x: x**3.0)(-2.0) == 12.0
    assert kn.grad(kn.grad(lambda x: x**2))(0.0) == 2.0
    assert kn.grad(kn.grad(lambda x: x**1))(0.0) == 0.0
    assert kn.grad(kn.grad(kn.grad(lambda x: x**3)))(0.0) == 6.0
    assert kn.grad(lambda x: x ** np.array(2))(0.0) == 0.0
    assert np.array_equal(
        kn.grad(lambda x: np.sum(x ** np.array([0, 1, 2, 3])))(np.zeros(4)), [0, 1, 0, 0]
    )
    assert np.array_equal(kn.grad(lambda x: np.sum(x ** [0, 1, 2, 3]))(np.zeros(4)), [0, 1, 0, 0])
    assert kn.grad(lambda b: 0.0**b)(2.0) == 0.0
    assert kn.grad(lambda b: 2.0**b)(3.0) == pytest.approx(8 * np.log(2))
    assert kn.grad(lambda x: x * x)(np.inf) == np.inf


def test_extreme_values_do_not_overflow() -> None:
    for x in (-1000.0, 1000.0):
        for f in (ops.sigmoid, ops.softplus, ops.swish, ops.hard_swish, np.tanh):
            assert np.isfinite(kn.grad(f)(x)), f
            assert np.isfinite(kn.grad(kn.grad(f))(x)), f
    g = kn.grad(lambda x: ops.logsumexp(x))(np.array([1000.0, -1000.0, -np.inf]))
    assert np.array_equal(g, [1.0, 0.0, 0.0])


def test_complex_loss_is_refused_and_its_modulus_not() -> None:
    with pytest.raises(GradientError, match="real loss"):
        kn.grad(lambda x: x * 1j)(1.0)


def test_check_grads_of_a_network_to_third_order() -> None:
    def f(p: Any) -> Any:
        h = np.tanh(X @ p["w"] + p["b"])
        return ops.logsumexp(h, axis=1)

    check_grads(f, ({"w": W, "b": B},), order=3, atol=1e-6, rtol=1e-6)


def test_no_two_leaves_of_a_result_share_memory() -> None:
    x, t = np.ones(3), np.full(3, 2.0)
    same = lambda x: (x, x, x[:2])  # noqa: E731
    results = [
        kn.vmap(same)(np.ones((2, 3))),
        kn.jvp(same, (x,), (t,)),
        kn.vjp(same, x)[0],
        kn.grad(lambda x: (np.sum(x * x), same(x)), has_aux=True)(x),
        kn.value_and_grad(lambda x: x)(x[:1]),
    ]
    for result in results:
        leaves = [leaf for leaf in kn.tree.leaves((x, t, result)) if isinstance(leaf, np.ndarray)]
        for i, a in enumerate(leaves):
            assert not any(np.shares_memory(a, b) for b in leaves[:i])
            assert a.flags.writeable
