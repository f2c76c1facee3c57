"""L-BFGS and its line search: optax's numbers, Rosenbrock's valley, compiled and in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import optim


def rosenbrock(p: Any) -> Any:
    x = p["x"]
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def far(p: Any) -> Any:
    """Logarithms: a step too long leaves the domain."""
    return np.sum(p["x"] - np.log(p["x"]))


def flat(p: Any) -> Any:
    return np.sum(np.sqrt(1 + p["x"] ** 2)) + np.sum(0.01 * p["x"] ** 4)


FUNCTIONS = {
    "rosenbrock": (rosenbrock, np.array([-1.2, 1.0, 0.5])),
    "far": (far, np.array([0.05, 3.0])),
    "flat": (flat, np.array([30.0, -7.0])),
}
OPTIONS: dict[str, Any] = {
    "default": lambda o: o.lbfgs(),
    "memory": lambda o: o.lbfgs(memory_size=2, scale_init_precond=False),
    "rate": lambda o: o.lbfgs(0.5, linesearch=None),
    "keep": lambda o: o.lbfgs(linesearch=o.scale_by_zoom_linesearch(7)),
    "bounded": lambda o: o.lbfgs(
        linesearch=o.scale_by_zoom_linesearch(
            15, max_learning_rate=0.7, increase_factor=1.5, curv_rtol=0.1, approx_dec_rtol=None
        )
    ),
    "few": lambda o: o.lbfgs(linesearch=o.scale_by_zoom_linesearch(2, curv_rtol=0.01)),
}


def trajectory(optimizer: Any, f: Any, start: Any, count: int, compiled: bool = False) -> Any:
    value_and_grad = kn.value_and_grad(f)

    def step(p: Any, state: Any) -> Any:
        value, grad = value_and_grad(p)
        updates, state = optimizer.update(grad, state, p, value=value, grad=grad, value_fn=f)
        return optim.apply_updates(p, updates), state

    run = kn.jit(step) if compiled else step
    p, found = {"x": start}, []
    state = optimizer.init(p)
    for _ in range(count):
        p, state = run(p, state)
        found.append(p["x"])
    return np.array(found), state


QUICK = {("default", "rosenbrock"), ("rate", "flat"), ("memory", "flat")}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("option", "function"),
    [
        pytest.param(
            option, function, marks=() if (option, function) in QUICK else pytest.mark.slow
        )
        for option in OPTIONS
        for function in FUNCTIONS
        if (option, function) not in {("rate", "far"), ("memory", "far")}  # NaN on both sides
    ],
)
def test_every_step_is_that_of_optax(option: str, function: str) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    f, start = FUNCTIONS[function]
    count = 12
    with np.errstate(all="ignore"):
        got, state = trajectory(OPTIONS[option](optim), f, start, count)
    jnp = jax.numpy
    theirs = {
        "rosenbrock": lambda p: jnp.sum(
            100.0 * (p["x"][1:] - p["x"][:-1] ** 2) ** 2 + (1.0 - p["x"][:-1]) ** 2
        ),
        "far": lambda p: jnp.sum(p["x"] - jnp.log(p["x"])),
        "flat": lambda p: jnp.sum(jnp.sqrt(1 + p["x"] ** 2)) + jnp.sum(0.01 * p["x"] ** 4),
    }[function]
    with jax.enable_x64(True):
        solver = OPTIONS[option](optax)
        p = {"x": jnp.asarray(start)}
        other = solver.init(p)

        @jax.jit
        def step(p: Any, other: Any) -> Any:
            value, grad = jax.value_and_grad(theirs)(p)
            updates, other = solver.update(grad, other, p, value=value, grad=grad, value_fn=theirs)
            return optax.apply_updates(p, updates), other

        want = []
        for _ in range(count):
            p, other = step(p, other)
            want.append(np.asarray(p["x"]))
        if option != "rate":
            info = other[-1].info
            assert state["linesearch"]["info"]["num_linesearch_steps"] == info.num_linesearch_steps
    # A valley is chaotic: round-off grows tenfold or so with each step.
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(got[:4], want[:4], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_rosenbrock_converges(dtype: Any, compiled: bool) -> None:
    start = np.array([-1.2, 1.0], dtype)
    got, state = trajectory(optim.lbfgs(), rosenbrock, start, 60, compiled)
    assert got.dtype == dtype
    np.testing.assert_allclose(got[-1], 1.0, atol=1e-12 if dtype == np.float64 else 1e-3)
    found = state["linesearch"]
    assert found["grad"]["x"].dtype == dtype
    assert kn.tree.structure(state) == kn.tree.structure(optim.lbfgs().init({"x": start}))


def test_value_and_grad_from_state_saves_an_evaluation() -> None:
    calls = []

    def f(p: Any, shift: float = 0.0) -> Any:
        calls.append(1)
        return np.sum((p - shift) ** 2)

    optimizer, p = optim.lbfgs(), np.array([3.0, 4.0], np.float32)
    take = optim.value_and_grad_from_state(f)
    state = optimizer.init(p)
    for count in range(2):
        before = len(calls)
        value, grad = take(p, state=state, shift=1.0)
        assert len(calls) - before == (count == 0)
        want_value, want_grad = kn.value_and_grad(f)(p, shift=1.0)
        np.testing.assert_allclose(value, want_value, rtol=1e-6)
        np.testing.assert_allclose(grad, want_grad, rtol=1e-6, atol=1e-6)
        assert value.dtype == np.float32
        updates, state = optimizer.update(
            grad, state, p, value=value, grad=grad, value_fn=f, shift=1.0
        )
        p = optim.apply_updates(p, updates)
    compiled = kn.jit(lambda p, state: take(p, state=state, shift=1.0))
    np.testing.assert_allclose(compiled(p, state)[0], kn.value_and_grad(f)(p, 1.0)[0], atol=1e-6)


def test_what_the_line_search_refuses() -> None:
    optimizer, p = optim.lbfgs(), np.ones(2)
    state = optimizer.init(p)
    with pytest.raises(TypeError, match="value_fn=f"):
        optimizer.update(p, state, p)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer.update(p, state)
    with pytest.raises(TypeError, match="value_fn takes no speed"):
        optimizer.update(p, state, p, value=1.0, grad=p, value_fn=np.sum, speed=3)
    with pytest.raises(ValueError, match="'one' or 'keep'"):
        optim.scale_by_zoom_linesearch(3, initial_guess_strategy="two")
    with pytest.raises(ValueError, match="memory_size of 1"):
        optim.scale_by_lbfgs(0)
    with pytest.raises(ValueError, match="w is complex"):
        optim.lbfgs().init({"w": np.ones(2, complex)})
    with pytest.raises(ValueError, match="of no line search"):
        optim.value_and_grad_from_state(np.sum)(p, state=optim.sgd(0.1).init(p))


def test_integer_leaves_and_an_ascent_direction() -> None:
    def f(p: Any) -> Any:
        return np.sum((p["w"] - 2.0) ** 2)

    optimizer = optim.lbfgs()
    p = {"w": np.zeros(2), "n": np.array(3)}
    state = optimizer.init(p)
    for _ in range(3):
        value, grad = kn.value_and_grad(f)(p)
        updates, state = optimizer.update(grad, state, p, value=value, grad=grad, value_fn=f)
        p = optim.apply_updates(p, updates)
    np.testing.assert_allclose(p["w"], 2.0)
    assert p["n"] == 3
    # Uphill there is nothing to find: the search ends, and says that its conditions do not hold.
    link = optim.scale_by_zoom_linesearch(10)
    w = {"w": np.zeros(2), "n": np.array(3)}
    value, grad = kn.value_and_grad(f)(w)
    _, state = link.update(grad, link.init(w), w, value=value, grad=grad, value_fn=f)
    assert state["info"]["num_linesearch_steps"] == 10
    assert state["info"]["curvature_error"] > 0 or state["info"]["decrease_error"] > 0


def test_a_batch_of_searches() -> None:
    """Under `vmap` each example searches on its own, however long the others take."""

    def minimum(start: Any) -> Any:
        optimizer = optim.lbfgs(memory_size=3)

        def body(_: Any, carry: Any) -> Any:
            p, state = carry
            value, grad = kn.value_and_grad(rosenbrock)(p)
            updates, state = optimizer.update(
                grad, state, p, value=value, grad=grad, value_fn=rosenbrock
            )
            return optim.apply_updates(p, updates), state

        p = {"x": start}
        return kn.fori_loop(0, 12, body, (p, optimizer.init(p)))[0]["x"]

    starts = np.array([[-1.2, 1.0], [0.5, 2.0], [1.0, 1.0]])
    np.testing.assert_allclose(kn.vmap(minimum)(starts), [minimum(x) for x in starts], rtol=1e-9)
