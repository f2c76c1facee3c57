"""Optimisers of optimisers: accumulation, masks, groups, lookahead, SAM, refused steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import optim

random = np.random.default_rng(0)
X, Y = random.normal(size=(24, 3)), random.normal(size=(24, 2))
START = {"w": random.normal(size=(3, 2)), "b": np.zeros(2)}


def loss(params: Any, x: Any = X, y: Any = Y) -> Any:
    return np.mean((np.tanh(x @ params["w"] + params["b"]) - y) ** 2)


gradient = kn.grad(loss)


def assert_close(got: Any, want: Any, rtol: float = 1e-12) -> None:
    leaves = zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True)
    for a, b in leaves:
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


def steps(optimizer: Any, count: int, compiled: bool, **extra: Any) -> Any:
    def step(params: Any, state: Any) -> Any:
        updates, state = optimizer.update(gradient(params), state, params, **extra)
        return optim.apply_updates(params, updates), state

    run = kn.jit(step) if compiled else step
    params, state = START, optimizer.init(START)
    for _ in range(count):
        params, state = run(params, state)
    return params, state


# ---- accumulation --------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_accumulated_gradients_are_those_of_the_big_batch(compiled: bool) -> None:
    inner = optim.chain(optim.clip_by_global_norm(0.05), optim.adamw(0.1))
    big, _ = steps(inner, 4, False)
    optimizer = optim.MultiSteps(inner, every_k_schedule=3)

    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        updates, state = optimizer.update(gradient(params, x, y), state, params)
        return optim.apply_updates(params, updates), state

    run = kn.jit(step) if compiled else step
    params, state = START, optimizer.init(START)
    for index in range(12):
        part = slice(8 * (index % 3), 8 * (index % 3) + 8)
        before = params
        params, state = run(params, state, X[part], Y[part])
        emitted = index % 3 == 2
        assert bool(optimizer.has_updated(state)) == emitted
        assert np.any(before["w"] != params["w"]) == emitted
    assert_close(params, big)
    assert state["gradient_step"] == state["inner_opt_state"]["adam"]["step"] == 4


@pytest.mark.oracle
@pytest.mark.parametrize("mean", [True, False])
def test_accumulation_beside_optax(mean: bool) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")

    def make(o: Any) -> Any:
        return o.MultiSteps(o.adam(0.1), lambda step: 1 + step % 3, use_grad_mean=mean)

    gradients = [random.normal(size=3) for _ in range(14)]
    with jax.enable_x64(True):
        theirs = optax.MultiSteps(
            optax.adam(0.1), lambda n: 1 + n % 3, mean, accumulator_dtype="float64"
        )
        want, state = jax.numpy.zeros(3), theirs.init(jax.numpy.zeros(3))
        update = jax.jit(theirs.update)
        for g in gradients:
            updates, state = update(g, state, want)
            want = optax.apply_updates(want, updates)
    optimizer, got = make(optim), np.zeros(3)
    state = optimizer.init(got)
    for g in gradients:
        updates, state = optimizer.update(g, state, got)
        got = optim.apply_updates(got, updates)
    np.testing.assert_allclose(got, np.asarray(want), rtol=1e-11)


def test_accumulation_keeps_types_and_refuses_no_period() -> None:
    params = {"w": np.ones(2, np.float16), "n": np.array(3)}
    optimizer = optim.MultiSteps(optim.sgd(0.5), 2, accumulator_dtype=np.float32)
    state = optimizer.init(params)
    for _ in range(2):
        grads = {"w": np.ones(2, np.float16), "n": np.array(0)}
        updates, state = optimizer.update(grads, state, params)
    assert updates["w"].dtype == np.float16
    assert state["acc_grads"]["w"].dtype == np.float32
    np.testing.assert_array_equal(updates["w"], [-0.5, -0.5])
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="whole number of 1 or more"):
            optim.MultiSteps(optim.sgd(0.1), wrong)  # type: ignore[arg-type]


# ---- some of the leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_groups_by_pattern(compiled: bool) -> None:
    optimizer = optim.partition({"w": optim.adam(0.1), "**": optim.set_to_zero()})
    got, state = steps(optimizer, 3, compiled)
    np.testing.assert_array_equal(got["b"], START["b"])
    want, _ = steps(optim.chain(optim.adam(0.1), optim.freeze("b")), 3, False)
    assert_close(got, want)
    assert len(kn.tree.leaves(state["w"]["adam"]["mu"])) == 1  # no state for what is not its own
    for wrong, message in (
        ({"w": optim.sgd(0.1)}, "b fits no pattern"),
        ({"**": optim.sgd(0.1), "w": optim.sgd(0.1)}, "no parameter is left for the pattern 'w'"),
    ):
        with pytest.raises(ValueError, match=message):
            optim.partition(wrong).init(START)
    with pytest.raises(ValueError, match="b has the label 'no'"):
        optim.partition({"yes": optim.sgd(0.1)}, {"w": "yes", "b": "no"}).init(START)
    by_function = optim.partition({"x": optim.sgd(0.1)}, lambda params: "x")
    assert_close(steps(by_function, 2, False)[0], steps(optim.sgd(0.1), 2, False)[0])


def test_masked_leaves_have_no_state() -> None:
    optimizer = optim.masked(optim.adam(0.1), "w")
    updates, state = optimizer.update(START, optimizer.init(START), START)
    assert updates["b"] is not START["b"]
    np.testing.assert_array_equal(updates["b"], START["b"])
    assert state["adam"]["mu"]["b"] is None
    assert list(optim.chain(optimizer, optim.scale(2.0)).init(START)) == ["adam", "scale"]
    with pytest.raises(ValueError, match="no parameter fits the pattern"):
        optim.masked(optim.adam(0.1), "q").init(START)


# ---- two sets of weights -------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("reset", [False, True])
def test_lookahead(reset: bool) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    gradients = [random.normal(size=3) for _ in range(11)]
    with jax.enable_x64(True):
        theirs = optax.lookahead(optax.adam(0.1), 3, 0.4, reset_state=reset)
        both = optax.LookaheadParams.init_synced(jax.numpy.zeros(3))
        other = theirs.init(both)
        for g in gradients:
            updates, other = theirs.update(g, other, both)
            both = optax.apply_updates(both, updates)
    for compiled in (False, True):
        optimizer, p = optim.lookahead(optim.adam(0.1), 3, 0.4, reset), np.zeros(3)
        update = (
            kn.jit(lambda *args, o=optimizer: o.update(*args)) if compiled else optimizer.update
        )
        state = optimizer.init(p)
        for g in gradients:
            updates, state = update(g, state, p)
            p = optim.apply_updates(p, updates)
        np.testing.assert_allclose(p, np.asarray(both.fast), rtol=1e-11)
        np.testing.assert_allclose(state["slow"], np.asarray(both.slow), rtol=1e-11)
    with pytest.raises(ValueError, match="sync_period"):
        optim.lookahead(optim.sgd(0.1), 0, 0.5)


@pytest.mark.oracle
@pytest.mark.parametrize("period", [2, 3])
def test_sam(period: int) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    contrib = pytest.importorskip("optax.contrib")
    jnp = jax.numpy

    def their_loss(params: Any) -> Any:
        return jnp.mean((jnp.tanh(X @ params["w"] + params["b"]) - Y) ** 2)

    with jax.enable_x64(True):
        theirs = contrib.sam(
            optax.adam(0.1),
            optax.chain(contrib.normalize(), optax.sgd(0.2)),
            period,
            opaque_mode=True,
        )
        want = jax.tree.map(jnp.asarray, START)
        state = theirs.init(want)
        their_grad = jax.jit(jax.grad(their_loss))
        for _ in range(10):
            updates, state = theirs.update(
                their_grad(want), state, want, grad_fn=lambda p, _: their_grad(p)
            )
            want = optax.apply_updates(want, updates)
        want = jax.tree.map(np.asarray, want)
    climb = optim.chain(optim.normalize(), optim.sgd(0.2))
    optimizer = optim.sam(optim.adam(0.1), climb, period)
    for compiled in (False, True):
        got, _ = steps(optimizer, 10, compiled, grad_fn=lambda p, _: gradient(p))
        assert_close(got, {key: want[key] for key in got}, 1e-10)
    with pytest.raises(TypeError, match="grad_fn="):
        steps(optimizer, 1, False)


@pytest.mark.parametrize("compiled", [False, True])
def test_ema_of_the_parameters(compiled: bool) -> None:
    optimizer = optim.chain(optim.sgd(0.5), optim.ema_params(0.8))
    _, state = steps(optimizer, 5, compiled)
    params, want = START, START
    for _ in range(5):
        params = kn.tree.map(lambda p, g: p - 0.5 * g, params, gradient(params))
        want = optim.incremental_update(params, want, 0.2)
    assert_close(state["ema_params"]["ema"], want)
    half = optim.ema_params(0.9, np.float64)
    state = half.init({"w": np.ones(2, np.float32)})
    assert state["ema"]["w"].dtype == np.float64


# ---- steps that are refused ----------------------------------------------------------------------


@pytest.mark.oracle
def test_apply_if_finite() -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    gradients = [np.array(g) for g in (1.0, np.nan, np.inf, 2.0, np.nan, np.nan, np.nan, 1.0)]
    with jax.enable_x64(True):
        theirs = optax.apply_if_finite(optax.adam(0.1), 2)
        other = theirs.init(jax.numpy.zeros(()))
        want = []
        for g in gradients:
            u, other = theirs.update(g, other)
            want.append((float(u), int(other.notfinite_count), int(other.total_notfinite)))
    optimizer = optim.apply_if_finite(optim.adam(0.1), 2)
    for update in (optimizer.update, kn.jit(lambda g, s: optimizer.update(g, s))):
        state, got = optimizer.init(np.zeros(())), []
        for g in gradients:
            u, state = update(g, state)
            got.append((float(u), int(state["notfinite_count"]), int(state["total_notfinite"])))
        np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_dynamic_loss_scale(compiled: bool) -> None:
    optimizer = optim.dynamic_loss_scale(
        optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(0.5)), init=8.0, period=3
    )
    p = {"w": np.array([0.25, -0.5], np.float32)}

    def step(p: Any, state: Any, factor: Any) -> Any:
        def scaled(p: Any) -> Any:
            return optim.scale_loss(factor * np.sum(p["w"] ** 2), state)

        updates, state = optimizer.update(kn.grad(scaled)(p), state, p)
        return optim.apply_updates(p, updates), state

    run = kn.jit(step) if compiled else step
    state, scales = optimizer.init(p), []
    for factor in (0.5, 0.5, 0.5, np.inf, np.inf, 0.5, 0.5, 0.5, 0.5):
        before = p
        with np.errstate(all="ignore"):
            p, state = run(p, state, np.float32(factor))
        scales.append(float(state["scale"]))
        # Powers of two: the scale leaves no trace in the step.
        np.testing.assert_array_equal(p["w"], before["w"] * (1.0 if factor > 1 else 0.5))
        assert p["w"].dtype == np.float32
    assert scales == [8, 8, 16, 8, 4, 4, 4, 8, 8]
    assert state["skipped"] == 2


def test_loss_scale_at_its_edges() -> None:
    low = optim.dynamic_loss_scale(optim.sgd(1.0), init=2.0, min_scale=1.5)
    _, state = low.update(np.array(np.nan), low.init(np.zeros(())))
    assert state["scale"] == 1.5
    static = optim.static_loss_scale(optim.sgd(1.0), 64.0)
    state = static.init(np.zeros(()))
    for g in (np.nan, 64.0, 64.0):
        updates, state = static.update(np.array(g), state)
        assert state["scale"] == 64
    assert updates == -1
    assert optim.scale_loss(np.float16(0.5), state).dtype == np.float16
    for options in ({"factor": 1.0}, {"period": 0}):
        with pytest.raises(ValueError, match="factor > 1 and period"):
            optim.dynamic_loss_scale(optim.sgd(0.1), **options)
    with pytest.raises(ValueError, match="scale_loss wants the state"):
        optim.scale_loss(1.0, {})


# ---- noise ---------------------------------------------------------------------------------------


def test_noise_falls_and_repeats() -> None:
    optimizer = optim.noisy_sgd(1.0, eta=4.0, gamma=1.0, key=kn.random.key(1))
    zeros = {"a": np.zeros(40_000, np.float32), "b": np.zeros(40_000, np.float32)}
    drawn = []
    for update in (optimizer.update, kn.jit(lambda g, s: optimizer.update(g, s))):
        state = optimizer.init(zeros)
        for count in range(1, 4):
            updates, state = update(zeros, state)
            assert updates["a"].dtype == np.float32
            assert np.std(updates["a"]) == pytest.approx(2 / np.sqrt(count), rel=0.02)
            assert abs(np.corrcoef(updates["a"], updates["b"])[0, 1]) < 0.02
            drawn.append(updates["a"])
    np.testing.assert_allclose(drawn[:3], drawn[3:], rtol=1e-6)
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.02


# ---- whole runs ----------------------------------------------------------------------------------

RUNS = {
    "radam": optim.radam(0.1),
    "novograd": optim.novograd(0.1),
    "lars": optim.lars(0.1),
    "rmsprop": optim.chain(optim.clip_by_norm(0.1), optim.rmsprop(0.1, centered=True)),
    "agc": optim.chain(optim.adaptive_grad_clip(0.01), optim.sgd(0.1)),
    "accumulate": optim.MultiSteps(optim.adam(0.1), 2),
    "finite": optim.apply_if_finite(optim.lion(0.1), 2),
    "lookahead": optim.lookahead(optim.sgd(0.1), 2, 0.5),
    "loss scale": optim.dynamic_loss_scale(optim.adam(0.1), period=2),
}


@pytest.mark.parametrize("name", RUNS)
def test_whole_runs_batch_and_differentiate(name: str) -> None:
    def run(x: Any) -> Any:
        state = RUNS[name].init(x)
        for _ in range(3):
            g = kn.grad(lambda x: np.sum(np.tanh(x) ** 2))(x)
            updates, state = RUNS[name].update(g, state, x)
            x = optim.apply_updates(x, updates)
        return x

    starts = random.normal(size=(4, 3))
    np.testing.assert_allclose(kn.vmap(run)(starts), [run(x) for x in starts], rtol=1e-13)
    weights, step = random.normal(size=3), 1e-6
    got = kn.grad(lambda x: weights @ run(x))(starts[0])
    for axis in range(3):
        e = step * np.eye(3)[axis]
        want = weights @ (run(starts[0] + e) - run(starts[0] - e)) / (2 * step)
        np.testing.assert_allclose(got[axis], want, rtol=1e-4, atol=1e-6)


def test_a_state_goes_through_a_checkpoint(tmp_path: Any) -> None:
    optimizer = optim.dynamic_loss_scale(
        optim.MultiSteps(
            optim.chain(
                optim.add_noise(0.1, 0.5, kn.random.key(0)),
                optim.partition({"w": optim.novograd(0.1), "**": optim.radam(0.1)}),
                optim.ema_params(0.9),
                optim.reduce_on_plateau(),
            ),
            2,
        )
    )
    _, state = steps(optimizer, 3, False, value=1.0)
    kn.training.checkpoint.save(tmp_path / "run.npz", state)
    loaded = kn.training.checkpoint.load(tmp_path / "run.npz").tree
    assert kn.tree.structure(loaded) == kn.tree.structure(state)
    found = [optimizer.update(START, each, START, value=1.0) for each in (state, loaded)]
    for a, b in zip(*map(kn.tree.leaves, found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_learning_rate_is_read_from_the_state() -> None:
    params = {"a": 1.0, "b": 1.0}
    optimizer = optim.partition({"x": optim.sgd(0.1), "y": optim.adam(0.2)}, {"a": "x", "b": "y"})
    _, state = optimizer.update(params, optimizer.init(params), params)
    with pytest.raises(ValueError, match=r"x/.*y/"):
        optim.get_learning_rate(state)
    assert float(optim.get_learning_rate(tree_part(state, "y"))) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="none"):
        optim.get_learning_rate(optim.scale(1.0).init(params))


def tree_part(state, name):
    return state[name] if name in state else next(tree_part(s, name) for s in state.values())
