"""Optimisers that want more than a gradient: the loss, a line search, matrices, axes; and
hyper-parameters in the state. Beside optax, and by their definitions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from optim_oracle import assert_close, optax_run, ours, problem

import kinone as kn
from kinone import optim
from kinone.errors import ShapeError

random = np.random.default_rng(3)
SHAPES = {"cube": (4, 2, 3), "matrix": (3, 5), "vector": (4,)}


def shaped(size: float = 1.0) -> dict[str, Any]:
    return {key: size * random.normal(size=shape) for key, shape in SHAPES.items()}


# ---- matrices and axes ---------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(0.9, 1.0, 1e-8), (0.5, 0.9, 1e-3)])
def test_sm3(options: Any) -> None:
    params, gradients = shaped(), [shaped(10.0**-i) for i in range(8)]

    def make(o: Any) -> Any:
        return o.chain(o.scale_by_sm3(*options), o.scale(-0.1))

    want, _ = optax_run(make, params, gradients)
    got, state = ours(make(optim), params, gradients)
    assert_close(got, want)
    assert [each.shape for each in state["sm3"]["sums"]["cube"]] == [(4,), (2,), (3,)]
    # One number is its own row: AdaGrad; optax has no answer for it. Integers are not trained.
    params = {"scalar": np.float32(1), "count": np.array([3])}
    link = optim.scale_by_sm3(b1=0.0)
    updates, state = link.update(
        {"scalar": np.float32(3), "count": np.array([0])}, link.init(params)
    )
    assert (updates["scalar"], updates["count"][0]) == (1, 0)
    assert state["sums"]["scalar"][0] == 9


def hwio(o: Any) -> Any:
    return getattr(o, "contrib", o).MuonDimensionNumbers((0, 1), 2)


@pytest.mark.oracle
@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "aol", "schatten"])
def test_muon_of_any_axes(preconditioning: str) -> None:
    params, gradients = shaped(), [shaped(10.0**-i) for i in range(4)]

    def make(o: Any) -> Any:
        return getattr(o, "contrib", o).muon(
            0.1,
            preconditioning=preconditioning,
            muon_weight_dimension_numbers={"cube": hwio(o), "matrix": None, "vector": None},
        )

    want, _ = optax_run(make, params, gradients)
    got, state = ours(make(optim), params, gradients)
    assert_close(got, want, 1e-9)
    assert state["muon"]["muon"]["mu"]["matrix"] is None
    assert state["adam"]["adam"]["mu"]["cube"] is None
    compiled = kn.jit(make(optim).update)(gradients[0], state, params)[0]
    plain = make(optim).update(gradients[0], state, params)[0]
    for a, b in zip(kn.tree.leaves(compiled), kn.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.oracle
def test_muon_counts_matrices() -> None:
    """An axis that is neither row nor column counts matrices; a function may say which."""
    params, gradients = {"w": random.normal(size=(4, 2, 3))}, [{"w": random.normal(size=(4, 2, 3))}]

    def make(o: Any) -> Any:
        numbers = getattr(o, "contrib", o).MuonDimensionNumbers(2, -2)
        return getattr(o, "contrib", o).muon(
            0.1, muon_weight_dimension_numbers=lambda params: dict.fromkeys(params, numbers)
        )

    want, _ = optax_run(make, params, gradients)
    got, _ = ours(make(optim), params, gradients)
    assert_close(got, want, 1e-9)


def test_muon_refuses() -> None:
    with pytest.raises(ValueError, match="preconditioning is one of"):
        optim.muon(0.1, preconditioning="none")
    with pytest.raises(ValueError, match=r"\(3,\) or \(n, 3\), got \(2,\)"):
        optim.muon(0.1, (1.0, 2.0))
    with pytest.raises(ValueError, match="'standard', 'dion'"):
        optim.muon(0.1, "other")
    with pytest.raises(ValueError, match="5 ns_coeffs for 3"):
        optim.muon(0.1, "dion", ns_steps=3)
    with pytest.raises(ValueError, match=r"muon: a is float64\[2,2,2\], no matrix"):
        optim.scale_by_muon().init({"a": np.ones((2, 2, 2))})
    twice = optim.MuonDimensionNumbers(0, -2)
    with pytest.raises(ValueError, match="no matrix by MuonDimensionNumbers"):
        optim.scale_by_muon(weight_dimension_numbers=twice).init(np.ones((2, 2)))


# ---- the loss as an argument ---------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize(
    "options", [{}, {"max_learning_rate": 0.01, "f_min": 0.5, "eps": 0.1, "variant": "sps+"}]
)
def test_polyak(options: Any) -> None:
    params, gradients = problem()
    values = np.linspace(3, -1, len(gradients))

    def make(o: Any) -> Any:
        return o.polyak_sgd(**options)

    want, _ = optax_run(make, params, gradients, lambda index: {"value": values[index]})
    optimizer, got = make(optim), params
    state = optimizer.init(params)
    for gradient, value in zip(gradients, values, strict=True):
        updates, state = optimizer.update(gradient, state, got, value=value)
        got = optim.apply_updates(got, updates)
    assert_close(got, want)
    with pytest.raises(TypeError, match="value=loss"):
        optimizer.update(gradients[0], state, params)
    still, _ = optimizer.update(kn.tree.map(np.zeros_like, params), state, params, value=1.0)
    assert not any(leaf.any() for leaf in kn.tree.leaves(still))


def rosenbrock(p: Any, scale: float = 100.0) -> Any:
    return (1 - p["a"][0]) ** 2 + scale * (p["b"] - p["a"][0] ** 2) ** 2


def flat(p: Any) -> Any:
    return np.log1p(p["a"][0] ** 2 + p["b"] ** 4)


SEARCHES = {
    "default": {"max_backtracking_steps": 40},
    "few": {"max_backtracking_steps": 28},
    "loose": {
        "max_backtracking_steps": 30,
        "slope_rtol": 0.3,
        "decrease_factor": 0.5,
        "increase_factor": np.inf,
        "max_learning_rate": 4.0,
        "atol": 1e-3,
        "rtol": 1e-3,
        "store_grad": True,
    },
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("function", [rosenbrock, flat])
def test_backtracking_is_that_of_optax(name: str, function: Any) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    options = SEARCHES[name]
    optimizer = optim.chain(optim.sgd(1.0), optim.scale_by_backtracking_linesearch(**options))
    other = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(**options))
    p = {"a": np.array([-1.2]), "b": np.array(1.0)}
    state = optimizer.init(p)
    with jax.enable_x64(True):
        q = jax.tree.map(jax.numpy.asarray, p)

        def theirs(p: Any) -> Any:
            return (
                function(p)
                if function is rosenbrock
                else jax.numpy.log1p(p["a"][0] ** 2 + p["b"] ** 4)
            )

        @jax.jit
        def step(q: Any, state: Any) -> Any:
            value, grad = jax.value_and_grad(theirs)(q)
            updates, state = other.update(grad, state, q, value=value, grad=grad, value_fn=theirs)
            return optax.apply_updates(q, updates), state

        their_state = other.init(q)
        for _ in range(12):
            value, grad = kn.value_and_grad(function)(p)
            updates, state = optimizer.update(
                grad, state, p, value=value, grad=grad, value_fn=function
            )
            p = optim.apply_updates(p, updates)
            q, their_state = step(q, their_state)
            want, got = their_state[-1], state["backtracking"]
            np.testing.assert_allclose(p["a"], q["a"], rtol=1e-9)
            np.testing.assert_allclose(p["b"], q["b"], rtol=1e-9)
            np.testing.assert_allclose(got["learning_rate"], want.learning_rate, rtol=1e-12)
            np.testing.assert_allclose(got["value"], want.value, rtol=1e-8)
            steps = got["info"]["num_linesearch_steps"]
            assert steps == want.info.num_linesearch_steps
            if "grad" in got:
                np.testing.assert_allclose(got["grad"]["a"], want.grad["a"], rtol=1e-7)


def test_backtracking_compiled_batched_and_at_the_edges() -> None:
    optimizer = optim.chain(
        optim.sgd(1.0), optim.scale_by_backtracking_linesearch(20, store_grad=True)
    )
    value_and_grad = optim.value_and_grad_from_state(rosenbrock)

    def step(p: Any, state: Any) -> Any:
        value, grad = value_and_grad(p, state=state)
        updates, state = optimizer.update(
            grad, state, p, value=value, grad=grad, value_fn=rosenbrock
        )
        return optim.apply_updates(p, updates), state

    p = {"a": np.array([-1.2]), "b": np.array(1.0)}
    compiled = kn.jit(step)
    plain, fast = (p, optimizer.init(p)), (p, optimizer.init(p))
    for _ in range(5):
        plain, fast = step(*plain), compiled(*fast)
    for a, b in zip(kn.tree.leaves(plain), kn.tree.leaves(fast), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    many = {"a": np.array([[-1.2], [0.5]]), "b": np.array([1.0, 2.0])}
    batch, _ = kn.vmap(lambda p: step(p, optimizer.init(p)))(many)
    alone, _ = step({"a": many["a"][1], "b": many["b"][1]}, optimizer.init(p))
    np.testing.assert_allclose(batch["a"][1], alone["a"], rtol=1e-12)

    # Where the function is no number the parameters stay, and what is known stays known.
    def nowhere(p: Any) -> Any:
        return np.log(p) if p > 0 else np.nan * p

    link = optim.scale_by_backtracking_linesearch(3, store_grad=True)
    updates, state = link.update(-100.0, link.init(1.0), 1.0, value=0.0, grad=1.0, value_fn=nowhere)
    assert (updates, state["learning_rate"], state["value"], state["grad"]) == (0, 0, 0, 1)
    with pytest.raises(TypeError, match=r"value=f\(params\)"):
        link.update(-100.0, link.init(1.0), 1.0, value=0.0)
    with pytest.raises(TypeError, match="takes no noise"):
        link.update(1.0, state, 1.0, value=0.0, grad=1.0, value_fn=nowhere, noise=1)


# ---- averaged parameters, hyper-parameters -------------------------------------------------------


@pytest.mark.oracle
def test_schedule_free_evaluates_the_average() -> None:
    jax, contrib = pytest.importorskip("jax"), pytest.importorskip("optax.contrib")
    params, gradients = problem()
    want, theirs = optax_run(lambda o: o.contrib.schedule_free_sgd(0.1), params, gradients)
    got, state = ours(optim.schedule_free_sgd(0.1), params, gradients)
    average = optim.schedule_free_eval_params(state, got)
    with jax.enable_x64(True):
        wanted = contrib.schedule_free_eval_params(theirs, want)
        wanted = jax.tree.map(np.asarray, wanted)
    assert_close(average, wanted)
    assert np.any(average["scale"] != got["scale"])
    # Warm-up: the first step of optax has number 1 too.
    warm, _ = ours(optim.schedule_free_sgd(0.1, warmup_steps=4), params, gradients[:6])

    def make(o: Any) -> Any:
        def rate(step: Any) -> Any:
            return o.linear_schedule(0.0, 0.1, 4)(step * 1.0)  # in double precision

        return o.contrib.schedule_free(o.sgd(rate), rate)

    want, _ = optax_run(make, params, gradients[:6])
    assert_close(warm, want)
    with pytest.raises(ValueError, match="no state of schedule_free"):
        optim.schedule_free_eval_params(optim.sgd(0.1).init(params), params)
    with pytest.raises(ValueError, match="b1 is 0"):
        optim.schedule_free_sgd(0.1, b1=0)


def test_injected_hyperparameters_are_read_and_changed() -> None:
    make = optim.inject_hyperparams(optim.adamw, static_args="mask")
    optimizer = make(lambda step: 0.1 / (1 + step), weight_decay=0.1, mask=lambda p: {"w": False})
    params, gradient = {"w": np.ones(2, np.float32)}, {"w": np.array([1, -2], np.float32)}
    state = optimizer.init(params)
    assert set(state["hyperparams"]) == {
        "learning_rate",
        "b1",
        "b2",
        "eps",
        "eps_root",
        "weight_decay",
    }
    update = kn.jit(optimizer.update)
    for step in range(3):
        updates, state = update(gradient, state, params)
        np.testing.assert_allclose(updates["w"], np.array([-1, 1]) * 0.1 / (1 + step), rtol=2e-5)
        assert updates["w"].dtype == np.float32
        assert float(state["hyperparams"]["learning_rate"]) == 0.1 / (1 + step)
    # A number that is changed holds from then on, in the compiled step too.
    optimizer = optim.inject_hyperparams(optim.sgd)(0.1, momentum=0.5)
    update, state = kn.jit(optimizer.update), optimizer.init(params)
    _, state = update(gradient, state, params)
    state["hyperparams"]["momentum"] = np.float64(0.0)
    np.testing.assert_allclose(update(gradient, state, params)[0]["w"], [-0.1, 0.2], rtol=1e-6)

    # The derivative of what follows with respect to a hyper-parameter.
    def after(rate: Any) -> Any:
        changed = {**state, "hyperparams": {**state["hyperparams"], "learning_rate": rate}}
        return np.sum(optimizer.update(gradient, changed, params)[0]["w"].astype(np.float64))

    assert kn.grad(after)(0.3) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"sgd has no argument \['rate'\]"):
        optim.inject_hyperparams(optim.sgd, static_args=("rate",))


def test_conditions_know_what_update_was_given() -> None:
    optimizer = optim.conditionally_mask(
        optim.sgd(1.0), lambda step, loss: loss < 2, forward_extra_args=True
    )
    p = np.ones(2)
    update, state = kn.jit(optimizer.update), optimizer.init(p)
    still, state = update(p, state, p, loss=3.0)
    moved, state = update(p, state, p, loss=1.0)
    assert not still.any()
    np.testing.assert_array_equal(moved, -p)
    assert (state["step"], state["inner_state"]["lr"]["step"]) == (2, 1)
    with pytest.raises(ShapeError):
        optimizer.update(np.ones(3), state, p, loss=1.0)


@pytest.mark.oracle
@pytest.mark.parametrize("limit", [None, 20.0])
def test_accumulation_leaves_out_what_it_should(limit: float | None) -> None:
    params, gradients = problem()
    broken = kn.tree.map(lambda g: g * np.nan, params)
    gradients = [gradients[0], broken, *gradients[1:6], broken, broken, *gradients[6:12]]

    def make(o: Any) -> Any:
        skip = o.skip_not_finite
        if limit is not None:
            skip = functools.partial(o.skip_large_updates, max_squared_norm=limit)
        wrapped = o.MultiSteps(o.adam(0.1), 2, True, skip, "float64")
        return wrapped if o is optim else wrapped.gradient_transformation()

    want, theirs = optax_run(make, params, gradients)
    got, state = ours(make(optim), params, gradients)
    assert_close(got, want)
    assert (state["mini_step"], state["gradient_step"]) == (theirs.mini_step, theirs.gradient_step)
    assert state["skip_state"].keys() == theirs.skip_state.keys()
    update = kn.jit(make(optim).update)
    start = make(optim).init(params)
    updates, start = update(broken, start, params)
    assert bool(start["skip_state"]["should_skip"])
    assert not any(leaf.any() for leaf in kn.tree.leaves(updates))
    assert start["mini_step"] == 0


@pytest.mark.oracle
@pytest.mark.parametrize("mode", ["smooth", "refined"])
def test_lion_with_a_softer_sign(mode: str) -> None:
    params, gradients = problem()

    def make(o: Any) -> Any:
        return o.chain(o.scale_by_lion(mode=mode, smooth_beta=0.7), o.scale(-0.1))

    want, _ = optax_run(make, params, gradients)
    got, _ = ours(make(optim), params, gradients)
    assert_close(got, want)
    with pytest.raises(ValueError, match="mode is 'hard'"):
        optim.scale_by_lion(mode="soft")
