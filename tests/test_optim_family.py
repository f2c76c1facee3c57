"""Every optimiser and link for fifty steps of one random problem beside optax, or PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optim_oracle import MASK, STEPS, assert_close, optax_run, ours, problem

import kinone as kn
from kinone import optim
from kinone.errors import TreeError


def contrib(library: Any) -> Any:
    """Where optax keeps its younger optimisers; Kinone has one place."""
    return getattr(library, "contrib", library)


FAMILY = {
    "nadam": lambda o: o.nadam(0.01),
    "nadamw arguments": lambda o: o.nadamw(0.01, weight_decay=0.1, mask=MASK),
    "amsgrad": lambda o: o.amsgrad(0.01),
    "amsgrad arguments": lambda o: o.amsgrad(0.01, 0.8, 0.9, 1e-3, 1e-4, None, False, False),
    "adamax": lambda o: o.adamax(0.01),
    "adamaxw arguments": lambda o: o.adamaxw(0.01, 0.8, 0.9, 1e-3, 0.1, MASK),
    "adabelief": lambda o: o.adabelief(0.01),
    "adabelief arguments": lambda o: o.adabelief(0.01, 0.8, 0.9, 1e-3, 1e-4, nesterov=True),
    "yogi": lambda o: o.yogi(0.01),
    "yogi arguments": lambda o: o.scale_by_yogi(0.8, 0.9, 1e-2, 1e-3, 0.1),
    "radam": lambda o: o.radam(0.01),
    "radam arguments": lambda o: o.radam(0.01, 0.8, 0.99, 1e-3, 1e-4, 4.5, nesterov=True),
    "radam never": lambda o: o.radam(0.01, b2=0.5),
    "lion": lambda o: o.lion(0.01),
    "lion arguments": lambda o: o.lion(0.01, 0.8, 0.9, None, 0.1, MASK),
    "novograd": lambda o: o.novograd(0.01),
    "novograd arguments": lambda o: o.novograd(0.01, 0.8, 0.9, 1e-3, 1e-4, 0.1),
    "rmsprop": lambda o: o.rmsprop(0.01),
    "rmsprop momentum": lambda o: o.rmsprop(0.01, 0.8, 1e-4, 0.5, momentum=0.9, nesterov=True),
    "rmsprop outside": lambda o: o.rmsprop(0.01, eps=1e-3, eps_in_sqrt=False, momentum=0.5),
    "rmsprop corrected": lambda o: o.rmsprop(0.01, bias_correction=True),
    "rmsprop centred": lambda o: o.rmsprop(0.01, eps=1e-4, centered=True),
    "rmsprop centred all": lambda o: o.rmsprop(
        0.01, 0.8, 1e-4, 1.0, False, True, 0.9, bias_correction=True
    ),
    "adagrad": lambda o: o.adagrad(0.1),
    "adagrad arguments": lambda o: o.adagrad(0.1, 0.0, 1e-3),
    "adadelta": lambda o: o.adadelta(1.0),
    "adadelta arguments": lambda o: o.adadelta(0.5, 0.8, 1e-4, 0.1, MASK),
    "rprop": lambda o: o.rprop(0.1, 0.4, 1.3, 1e-2, 0.5),
    "sign_sgd": lambda o: o.sign_sgd(0.1),
    "signum": lambda o: o.signum(0.1, 0.8),
    "lars": lambda o: o.lars(0.5),
    "lars arguments": lambda o: o.lars(0.5, 0.1, MASK, 0.01, 1e-3, MASK, 0.8, True),
    "lamb": lambda o: o.lamb(0.01),
    "lamb arguments": lambda o: o.lamb(0.01, 0.8, 0.9, 1e-3, 1e-4, 0.1, MASK),
    "trust ratio": lambda o: o.chain(o.scale_by_trust_ratio(0.5, 0.3, 0.1), o.scale(-0.1)),
    "param rms": lambda o: o.chain(o.scale_by_param_block_rms(0.9), o.scale(-0.1)),
    "ema": lambda o: o.chain(o.ema(0.8), o.scale(-0.1)),
    "ema plain": lambda o: o.chain(o.ema(0.8, debias=False), o.scale(-0.1)),
    "agc": lambda o: o.chain(o.adaptive_grad_clip(0.1), o.sgd(0.1)),
    "agc axis": lambda o: o.chain(o.adaptive_grad_clip(0.1, 0.5, axis=()), o.sgd(0.1)),
    "block rms": lambda o: o.chain(o.clip_by_block_rms(0.1), o.sgd(0.1)),
    "centralize": lambda o: o.chain(o.centralize(), o.sgd(0.1)),
    "nonnegative": lambda o: o.chain(o.sgd(0.1), o.keep_params_nonnegative()),
    "masked": lambda o: getattr(o, "masked", None)(o.sgd(0.1, 0.9), MASK),
    "partition": lambda o: o.partition(
        {"a": o.adam(0.01), "b": o.sgd(0.1, 0.9)},
        {"layers": [{"kernel": "a", "bias": "b"}], "scale": "a"},
    ),
    "if finite": lambda o: o.apply_if_finite(o.adam(0.01), 2),
    "zero nans": lambda o: o.chain(o.zero_nans(), o.sgd(0.1)),
    "normalized": lambda o: o.chain(o.normalize_by_update_norm(0.3, 1e-3), o.sgd(0.1)),
    "param norm": lambda o: o.chain(o.scale_by_param_block_norm(0.9), o.scale(-0.1)),
    "adan": lambda o: o.adan(0.01),
    "adan arguments": lambda o: o.adan(0.01, 0.8, 0.9, 0.95, 1e-3, 1e-4, 0.1, MASK),
    "ademamix": lambda o: contrib(o).ademamix(0.01),
    "ademamix arguments": lambda o: contrib(o).ademamix(
        0.01, 0.8, 0.9, lambda t: 0.9 + 0.001 * t, lambda t: 0.1 * t, 1e-3, 1e-4, None, 0.1, MASK
    ),
    "adopt": lambda o: contrib(o).adopt(0.01),
    "adopt nesterov": lambda o: contrib(o).adopt(0.01, 0.8, 0.9, 1e-3, nesterov=True),
    "adopt unclipped": lambda o: contrib(o).adopt(1e-6, 0.8, 0.9, 1e-3, use_clipping=False),
    "fromage": lambda o: o.fromage(0.1),
    "fromage schedule": lambda o: o.fromage(lambda t: 0.1 / (1.0 + t), 0.5),
    "optimistic": lambda o: o.optimistic_gradient_descent(0.01, 0.9, 0.7),
    "optimistic adam": lambda o: o.optimistic_adam_v2(0.01, alpha=0.9, beta=0.7),
    "transform if": lambda o: o.conditionally_transform(o.sgd(0.1, 0.9), lambda t: t % 3 == 1),
    "mask if": lambda o: o.conditionally_mask(o.adam(0.1), lambda t: t < 5),
    "schedule-free sgd": lambda o: contrib(o).schedule_free_sgd(0.1, None, 0.8, 0.1, 1.0),
    "schedule-free adamw": lambda o: contrib(o).schedule_free_adamw(0.1, weight_decay=0.1),
    "schedule-free": lambda o: contrib(o).schedule_free(o.sgd(0.1), lambda t: 0.01 * (t * 1.0)),
    "injected": lambda o: o.inject_hyperparams(o.adamw)(lambda t: 0.1 / (1.0 + t), eps_root=1e-3),
    "injected radam": lambda o: o.inject_hyperparams(o.radam)(0.01, threshold=4.5),
    "muon": lambda o: contrib(o).muon(0.1),
    "muon arguments": lambda o: contrib(o).muon(
        0.1, "dion", 5, 0.8, 1e-3, 0.1, MASK, nesterov=False, adaptive=True, consistent_rms=0.2
    ),
    "one cycle": lambda o: o.sgd(lambda s: o.cosine_onecycle_schedule(50, 0.1)(s * 1.0), 0.9),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(set(FAMILY) - {"rprop"}))  # optax's is one update late
def test_fifty_steps_of_optax(name: str) -> None:
    params, gradients = problem()
    if name == "nonnegative":
        params = kn.tree.map(np.abs, params)
    want, _ = optax_run(FAMILY[name], params, gradients)
    got, _ = ours(FAMILY[name](optim), params, gradients)
    assert np.any(got["layers"][0]["kernel"] != params["layers"][0]["kernel"])
    assert_close(got, want)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.1},
        {
            "learning_rate": 0.1,
            "momentum": 0.9,
            "dtype_momentum": "float64",
            "weight_decay_rate": 0.01,
            "clipping_threshold": None,
        },
        {"decay_rate": 0.6, "decay_offset": -2, "multiply_by_parameter_scale": False},
        {"learning_rate": 0.1, "factored": False},
    ],
)
def test_adafactor(options: Any) -> None:
    random = np.random.default_rng(0)
    shapes = {"a": (4, 5), "b": (6, 3), "c": (3, 7, 4), "d": (2, 9), "e": (5,), "f": ()}
    params = {key: random.normal(size=shape) for key, shape in shapes.items()}
    params["f"] = np.asarray(params["f"])
    draws = [{k: np.asarray(random.normal(size=s)) for k, s in shapes.items()} for _ in range(20)]
    options = {"min_dim_size_to_factor": 3, **options}
    want, _ = optax_run(lambda o: o.adafactor(**options), params, draws)
    got, state = ours(optim.adafactor(**options), params, draws)
    assert_close(got, want, 2e-6)  # optax takes its decay rate in single precision
    assert state["adafactor"]["v_row"]["a"].shape == ((4,) if options.get("factored", 1) else (1,))
    compiled = kn.jit(optim.adafactor(**options).update)
    twice = [f(draws[0], state, params) for f in (compiled, optim.adafactor(**options).update)]
    for a, b in zip(*map(kn.tree.leaves, twice), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


TYPED: dict[str, Any] = {
    name: make
    for name, make in FAMILY.items()
    if "arguments" not in name and name not in ("masked", "partition")  # masks of another tree
}
TYPED["adafactor"] = lambda o: o.adafactor(0.1, 2, momentum=0.9)


@pytest.mark.parametrize("name", TYPED)
def test_types_structure_memory_and_a_compiled_step(name: str) -> None:
    """float32 stays, integer leaves stay, nothing is shared, the state keeps its form, and a
    compiled step gives the same bits."""
    params = {"w": np.linspace(0.1, 1, 6, dtype=np.float32).reshape(3, 2), "empty": {}}
    params |= {"scalar": np.float32(2.0), "count": np.array([3, 4]), "none": None}
    gradient = {**params, "w": params["w"] ** 2 - 0.5, "count": np.zeros(2, int)}
    optimizer = TYPED[name](optim)
    state = optimizer.init(params)
    compiled = kn.jit(lambda g, s, p: optimizer.update(g, s, p))
    for _ in range(3):
        given = (gradient, state, params)
        copies = kn.tree.map(np.copy, given)
        result = optimizer.update(*given)
        for a, b in zip(kn.tree.leaves(copies), kn.tree.leaves(given), strict=True):
            np.testing.assert_array_equal(a, b)
        arrays = [x for x in kn.tree.leaves((given, result)) if isinstance(x, np.ndarray)]
        pairs = [(a, b) for i, a in enumerate(arrays) for b in arrays[:i]]
        assert not any(np.shares_memory(a, b) for a, b in pairs)
        traced = compiled(*given)
        for tree in (result, traced):
            for before, after in zip((gradient, state), tree, strict=True):
                assert kn.tree.structure(before) == kn.tree.structure(after)
                for a, b in zip(kn.tree.leaves(before), kn.tree.leaves(after), strict=True):
                    assert (np.asarray(a).dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b))
        for a, b in zip(kn.tree.leaves(result), kn.tree.leaves(traced), strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-7, atol=0)
        updates, state = result
        params = optim.apply_updates(params, updates)
    np.testing.assert_array_equal(params["count"], [3, 4])


def test_an_empty_tree_and_zeros() -> None:
    for name, make in TYPED.items():
        got, _ = ours(make(optim), {"a": {}}, [{"a": {}}] * 2)
        assert got == {"a": {}}
        if name not in ("yogi",):
            zero = {"w": np.zeros(3)}
            got, _ = ours(make(optim), zero, [zero] * 2)
            np.testing.assert_array_equal(got["w"], 0)


# ---- PyTorch, where it is another algorithm ------------------------------------------------------

TORCH = {
    "RMSprop": (
        lambda t, p: t.optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-3),
        lambda: optim.rmsprop(0.01, 0.9, 1e-3, eps_in_sqrt=False),
    ),
    "RMSprop centred": (
        lambda t, p: t.optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-3, centered=True, momentum=0.8),
        lambda: optim.rmsprop(0.01, 0.9, 1e-3, eps_in_sqrt=False, centered=True, momentum=0.8),
    ),
    "Adadelta": (
        lambda t, p: t.optim.Adadelta(p, lr=0.7, rho=0.8, eps=1e-4, weight_decay=0.1),
        lambda: optim.adadelta(0.7, 0.8, 1e-4, 0.1),
    ),
    "Adamax": (
        lambda t, p: t.optim.Adamax(p, lr=0.01, eps=1e-4),
        lambda: optim.adamax(0.01, eps=1e-4),
    ),
    "AMSGrad": (
        lambda t, p: t.optim.Adam(p, lr=0.01, amsgrad=True, eps=1e-300),
        lambda: optim.chain(
            optim.scale_by_amsgrad(eps=0.0, bias_correction_nu=False),
            optim.scale_by_schedule(lambda s: -0.01 * np.sqrt(1 - 0.999 ** (s + 1.0))),
        ),
    ),
    "AdamW": (
        lambda t, p: t.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        lambda: optim.adamw(0.01, weight_decay=0.1),
    ),
    "Adam L2": (
        lambda t, p: t.optim.Adam(p, lr=0.01, weight_decay=0.1),
        lambda: optim.chain(optim.add_decayed_weights(0.1), optim.adam(0.01)),
    ),
    "Rprop": (
        lambda t, p: t.optim.Rprop(p, lr=0.01, etas=(0.5, 1.2)),
        lambda: optim.rprop(0.01),
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", TORCH)
def test_fifty_steps_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    params, gradients = problem()
    start = params["layers"][0]["kernel"]
    x = torch.tensor(start, requires_grad=True)
    make, mine = TORCH[name]
    theirs = make(torch, [x])
    for gradient in gradients:
        x.grad = torch.tensor(gradient["layers"][0]["kernel"])
        theirs.step()
    got, _ = ours(mine(), start, [each["layers"][0]["kernel"] for each in gradients])
    assert_close({"w": got}, {"w": x.detach().numpy()}, rtol=1e-9)


def test_clip_by_norm_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for size in (0.1, 10.0):
        g = size * np.array([3.0, -4.0])
        x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        x.grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_([x], 2.0)
        np.testing.assert_allclose(optim.clip_by_norm(2.0).update(g, {})[0], x.grad, rtol=1e-6)


# ---- a loss that is handed on --------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize(
    "options",
    [
        {"factor": 0.5, "patience": 3},
        {"factor": 0.5, "patience": 2, "cooldown": 3, "accumulation_size": 2, "min_scale": 0.2},
        {"patience": 1, "rtol": 0.0, "atol": 0.05},
    ],
)
def test_reduce_on_plateau(options: Any) -> None:
    jax = pytest.importorskip("jax")
    contrib = pytest.importorskip("optax.contrib")
    losses = 2.0 - np.minimum(np.arange(STEPS), 12) * 0.1
    losses += 0.01 * np.random.default_rng(0).normal(size=STEPS)
    link = optim.reduce_on_plateau(**options)
    p = np.ones(2)
    with jax.enable_x64(True):
        other = contrib.reduce_on_plateau(**options)
        theirs, state = other.init(p), link.init(p)
        compiled = kn.jit(lambda g, s, value: link.update(g, s, value=value))
        update = jax.jit(lambda state, loss: other.update(p, state, value=loss))
        for loss in losses:
            want, theirs = update(theirs, loss)
            traced, _ = compiled(p, state, loss)
            got, state = link.update(p, state, value=loss)
            np.testing.assert_allclose(got, want, rtol=1e-12)
            np.testing.assert_array_equal(got, traced)
            for key in ("plateau_count", "cooldown_count", "count"):
                assert state[key] == getattr(theirs, key)
    assert state["scale"] < 1
    with pytest.raises(TypeError, match="value=loss"):
        link.update(p, state)
    for wrong in ({"factor": 1.0}, {"rtol": 0.0}, {"rtol": 2.0}):
        with pytest.raises(ValueError, match="reduce_on_plateau wants"):
            optim.reduce_on_plateau(**wrong)


def test_arguments_by_name_reach_those_links_that_know_them() -> None:
    seen = {}

    def watch(updates: Any, state: Any, params: Any = None, *, value: Any) -> Any:
        seen["value"] = value
        return updates, state

    link = optim.GradientTransformation(lambda params: {}, watch, "watch")
    optimizer = optim.chain(optim.masked(link, "w"), optim.adam(0.1))
    params = {"w": np.ones(1), "b": np.ones(1)}
    optimizer.update(params, optimizer.init(params), params, value=3.0, other=4)
    assert seen == {"value": 3.0}


# ---- the learning rate by hand -------------------------------------------------------------------


def test_set_learning_rate() -> None:
    optimizer = optim.chain(
        optim.clip(10.0),
        optim.partition(
            {"a": optim.sgd(optim.linear_schedule(1.0, 0.0, 10)), "**": optim.sgd(0.5)}
        ),
    )
    params = {"a": np.zeros(1), "b": np.zeros(1)}
    gradient = {"a": np.ones(1), "b": np.ones(1)}
    compiled = kn.jit(lambda s: optimizer.update(gradient, s))

    def step(state: Any) -> Any:
        for run in (compiled, lambda s: optimizer.update(gradient, s)):
            updates, new = run(state)
            found = [-float(updates[key][0]) for key in "ab"]
        return found, new

    found, state = step(optimizer.init(params))
    assert found == [1.0, 0.5]
    found, state = step(optim.set_learning_rate(state, 0.25))
    assert found == [0.25, 0.25]
    found, state = step(state)
    assert found == [0.25, 0.25]
    assert state["partition"]["a"]["lr"]["value"] == 0.25
    found, state = step(optim.set_learning_rate(state, None))
    assert found == pytest.approx([0.7, 0.5])  # the schedule has gone on counting
    part = optim.set_learning_rate(state["partition"]["a"], 0.125)
    found, _ = step({**state, "partition": {**state["partition"], "a": part}})
    assert found == [0.125, 0.5]
    with pytest.raises(ValueError, match="no learning rate"):
        optim.set_learning_rate({"trace": {}}, 0.1)
    with pytest.raises(TypeError, match="a number is wanted"):
        optim.set_learning_rate(state, "fast")  # type: ignore[arg-type]
    with pytest.raises(TreeError):
        optimizer.update(gradient, {"clip": {}})
