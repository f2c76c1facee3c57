"""`kinone.misc`: fixed points and constant graphs, against closed forms and autograd."""

from __future__ import annotations

from typing import Any

import autograd.misc.fixed_points
import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad as autograd_grad

import kinone as kn
from kinone.errors import GradientError
from kinone.misc import const_graph, fixed_point
from kinone.misc.fixed_points import fixed_point as by_module
from kinone.testing import check_grads


def newton(a: Any) -> Any:
    """The iteration whose fixed point is √a."""
    return lambda x: 0.5 * (x + a / x)


def descent(a: Any) -> Any:
    """Another, whose derivative at the fixed point is not zero."""
    return lambda x: x - 0.05 * (x**2 - a)


def distance(x: Any, y: Any) -> Any:
    return np.max(np.abs(x - y))


@pytest.mark.parametrize("step", [newton, descent])
def test_a_root(step: Any) -> None:
    def root(a: Any) -> Any:
        return fixed_point(step, a, 10.0, distance, 1e-14)

    assert by_module is fixed_point
    np.testing.assert_allclose(root(2.0), np.sqrt(2))
    np.testing.assert_allclose(kn.grad(root)(2.0), 0.5 / np.sqrt(2))
    np.testing.assert_allclose(kn.grad(kn.grad(root))(2.0), -0.25 * 2**-1.5)
    check_grads(lambda a: fixed_point(step, a, np.ones(3), distance, 1e-14),
                (np.array([2.0, 3.0, 1.5]),), order=2, modes=["rev"])  # fmt: skip


@pytest.mark.oracle
def test_a_root_against_autograd() -> None:
    theirs = autograd_grad(
        lambda a: autograd.misc.fixed_points.fixed_point(
            descent, a, 10.0, lambda x, y: anp.abs(x - y), 1e-4
        )
    )(2.0)
    ours = kn.grad(lambda a: fixed_point(descent, a, 10.0, distance, 1e-4))(2.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_trees_of_parameters_and_states() -> None:
    """x = tanh(W x + b), with the state as a dict."""

    def settle(p: Any) -> Any:
        return lambda s: {"x": np.tanh(p["w"] @ s["x"] + p["b"])}

    def far(s: Any, t: Any) -> Any:
        return np.max(np.abs(s["x"] - t["x"]))

    rng = np.random.default_rng(0)
    p = {"w": 0.3 * rng.normal(size=(3, 3)), "b": rng.normal(size=3)}
    start = {"x": np.zeros(3)}
    check_grads(
        lambda p: fixed_point(settle, p, start, far, 1e-14)["x"], (p,), order=1, modes=["rev"]
    )
    zeros = kn.grad(lambda s: np.sum(fixed_point(settle, p, s, far, 1e-10)["x"]))(start)
    assert not zeros["x"].any()


def test_a_traced_value_that_is_closed_over_raises() -> None:
    def root(a: Any) -> Any:
        return fixed_point(lambda b: lambda x: 0.5 * (x + a / x) + 0 * b, a, 1.0, distance, 1e-8)

    with pytest.raises(GradientError):
        kn.grad(root)(2.0)


def test_const_graph_traces_once() -> None:
    calls = []

    def f(x: Any, y: Any) -> Any:
        calls.append(None)
        return kn.grad(lambda x: np.sum(np.sin(x) * y))(x)

    made = const_graph(f, y=2.0)
    x = np.array([0.5, 1.0])
    for _ in range(3):
        np.testing.assert_allclose(made(x), 2 * np.cos(x))
    assert len(calls) == 1
    np.testing.assert_allclose(const_graph(f, x)(3.0), 3 * np.cos(x))
