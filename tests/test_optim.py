"""Optimisers and schedules against optax, step by step, and what optax does not promise."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import optim
from kinone.errors import LeafError, ShapeError, TreeError
from kinone.optim import leaves as optim_leaves

DTYPES = (np.float64, np.float32)


def problem(dtype: Any, seed: int = 0) -> tuple[Any, list[Any]]:
    """Parameters of several kinds of containers, and a gradient for each of 40 steps."""
    random = np.random.default_rng(seed)

    def draw() -> Any:
        return {
            "layers": [
                {"kernel": random.normal(size=(3, 2)), "bias": random.normal(size=2)},
                {"kernel": random.normal(size=(2, 4)), "bias": random.normal(size=4)},
            ],
            "scale": random.normal(size=()),
            "nothing": None,
        }

    def cast(x: Any) -> Any:
        return kn.tree.map(lambda leaf: np.asarray(leaf, dtype), x)

    # Gradients of very different sizes: what is added below the square root must show.
    sizes = 10.0 ** random.uniform(-6, 2, 40)
    return cast(draw()), [cast(kn.tree.map(lambda g, s=s: s * g, draw())) for s in sizes]


def kinone_run(optimizer: Any, params: Any, gradients: Any) -> Any:
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optim.apply_updates(params, updates)
    return params, state


def assert_trees_close(got: Any, want: Any, rtol: float) -> None:
    """Each leaf within `rtol` of its largest element."""
    for path, leaf in kn.tree.leaves_with_path(got):
        node = want
        for part in path.split("/"):
            node = node[int(part)] if isinstance(node, list) else node[part]
        assert leaf.dtype == node.dtype, path
        atol = rtol * np.abs(node).max()
        np.testing.assert_allclose(leaf, node, rtol=0, atol=atol, err_msg=path)


MASK = {"layers": [{"kernel": True, "bias": False}] * 2, "scale": False, "nothing": None}


def exact(schedule: Any) -> Any:
    """optax divides its int32 counter in single precision."""
    return lambda step: schedule(step.astype(np.float64))


OPTIMIZERS = {
    "sgd": lambda o: o.sgd(0.1),
    "momentum": lambda o: o.sgd(0.1, momentum=0.9),
    "nesterov": lambda o: o.sgd(0.1, 0.9, True),
    "accumulator": lambda o: o.sgd(0.1, 0.9, accumulator_dtype="float32"),
    "trace": lambda o: o.trace(0.5),
    "trace nesterov": lambda o: o.trace(0.5, nesterov=True),
    "adam": lambda o: o.adam(1e-2),
    "adam arguments": lambda o: o.adam(1e-2, 0.8, 0.9, 1e-3, 1e-4),
    "adam nesterov": lambda o: o.adam(1e-2, nesterov=True),
    "adamw": lambda o: o.adamw(1e-2),
    "adamw mask": lambda o: o.adamw(1e-2, weight_decay=0.3, mask=MASK),
    "adamw arguments": lambda o: o.adamw(1e-2, 0.8, 0.9, 1e-3, 1e-4, None, 0.1, nesterov=True),
    "adamw schedule": lambda o: o.adamw(1e-2, weight_decay=exact(o.linear_schedule(0.5, 0.0, 30))),
    "scale_by_adam": lambda o: o.scale_by_adam(b1=0.7),
    "decay": lambda o: o.chain(o.add_decayed_weights(0.1, MASK), o.scale(-0.1)),
    "norm": lambda o: o.chain(o.clip_by_global_norm(0.3), o.sgd(0.1)),
    "clip": lambda o: o.chain(o.clip(0.05), o.sgd(0.1, 0.9)),
    "schedule": lambda o: o.sgd(exact(o.cosine_decay_schedule(0.1, 30))),
    "scale_by_schedule": lambda o: o.scale_by_schedule(lambda step: -0.1 / (1.0 + step)),
    "positive": lambda o: o.scale_by_learning_rate(0.1, flip_sign=False),
    "identity": lambda o: o.identity(),
    "zero": lambda o: o.set_to_zero(),
    "warm-up": lambda o: o.adam(exact(o.warmup_cosine_decay_schedule(0.0, 0.1, 5, 30, 0.01))),
}


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_forty_steps_of_optax(name: str, dtype: Any) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    params, gradients = problem(dtype)
    got, _ = kinone_run(OPTIMIZERS[name](optim), params, gradients)
    with jax.enable_x64(True):
        theirs = OPTIMIZERS[name](optax)
        want = jax.tree.map(jax.numpy.asarray, params)
        state = theirs.init(want)
        update = jax.jit(theirs.update)
        for gradient in gradients:
            updates, state = update(gradient, state, want)
            want = optax.apply_updates(want, updates)
        want = jax.tree.map(np.asarray, want)
    single = dtype == np.float32 or name == "accumulator"
    assert_trees_close(got, want, rtol=5e-6 if single else 1e-13)


@pytest.mark.oracle
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_that_of_torch(nesterov: bool) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.SGD([x], lr=0.05, momentum=0.9, nesterov=nesterov)
    ours = optim.sgd(0.05, 0.9, nesterov)
    p = x.detach().numpy().copy()
    state = ours.init(p)
    for _ in range(30):
        theirs.zero_grad()
        (x**2 / 2).sum().backward()
        theirs.step()
        updates, state = ours.update(p.copy(), state, p)
        p = optim.apply_updates(p, updates)
    np.testing.assert_allclose(p, x.detach().numpy(), rtol=1e-12)


def test_half_precision_first_moment() -> None:
    params, gradients = problem(np.float32)
    optimizer = optim.adam(1e-2, mu_dtype=np.float16)
    got, state = kinone_run(optimizer, params, gradients)
    full, _ = kinone_run(optim.adam(1e-2), params, gradients)
    assert {leaf.dtype for leaf in kn.tree.leaves(state["adam"]["mu"])} == {np.dtype(np.float16)}
    assert_trees_close(got, full, rtol=0.01)


# ---- schedules -----------------------------------------------------------------------------------

SCHEDULES = {
    "constant": lambda o: o.constant_schedule(0.3),
    "linear": lambda o: o.linear_schedule(0.1, 1.0, 10),
    "linear late": lambda o: o.linear_schedule(0.1, 1.0, 10, 5),
    "linear off": lambda o: o.linear_schedule(0.1, 1.0, 0),
    "polynomial": lambda o: o.polynomial_schedule(1.0, 0.1, 2.5, 12, 3),
    "cosine": lambda o: o.cosine_decay_schedule(0.3, 17),
    "cosine arguments": lambda o: o.cosine_decay_schedule(0.3, 17, 0.2, 1.7),
    "warm-up": lambda o: o.warmup_constant_schedule(0.0, 1.0, 7),
    "warm-up cosine": lambda o: o.warmup_cosine_decay_schedule(0.1, 1.0, 7, 25, 0.05, 2.0),
    "warm-up cosine zero": lambda o: o.warmup_cosine_decay_schedule(0.1, 0.0, 7, 25),
    "no warm-up": lambda o: o.warmup_cosine_decay_schedule(0.1, 1.0, 0, 25),
    "piecewise": lambda o: o.piecewise_constant_schedule(0.1, {20: 0.5, 10: 0.1}),
    "piecewise empty": lambda o: o.piecewise_constant_schedule(0.1),
    "exponential": lambda o: o.exponential_decay(1.0, 10, 0.5),
    "staircase": lambda o: o.exponential_decay(1.0, 10, 0.5, 3, True, 0.2),
    "growing": lambda o: o.exponential_decay(1.0, 4, 1.5, 0, False, 3.0),
    "rate 0": lambda o: o.exponential_decay(1.0, 4, 0.0),
    "warm-up exponential": lambda o: o.warmup_exponential_decay_schedule(
        0.1, 1.0, 7, 10, 0.5, 3, True, 0.01
    ),
    "restarts": lambda o: o.sgdr_schedule(
        [
            {"init_value": 0.1, "peak_value": 1.0 / n, "warmup_steps": n, "decay_steps": 20 * n}
            for n in (1, 2, 3)
        ]
    ),
    "interpolate": lambda o: o.piecewise_interpolate_schedule("cosine", 0.5, {30: 0.1, 10: 3.0}),
    "interpolate none": lambda o: o.piecewise_interpolate_schedule("linear", 0.5),
    "interpolate at 0": lambda o: o.piecewise_interpolate_schedule("linear", 0.5, {0: 2, 9: 0.1}),
    "linear cycle": lambda o: o.linear_onecycle_schedule(150, 0.3),
    "linear cycle arguments": lambda o: o.linear_onecycle_schedule(97, 0.3, 0.2, 0.7, 10.0, 50.0),
    "cosine cycle": lambda o: o.cosine_onecycle_schedule(150, 0.3),
    "cosine cycle arguments": lambda o: o.cosine_onecycle_schedule(97, 0.3, 0.2, 10.0, 50.0),
    "joined": lambda o: o.join_schedules(
        [o.linear_schedule(0.0, 1.0, 5), o.constant_schedule(1.0), o.exponential_decay(1, 3, 0.5)],
        [5, 9],
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_at_every_step(name: str) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    ours = SCHEDULES[name](optim)
    steps = range(200)
    got = [ours(step) for step in steps]
    assert {type(value) for value in got} == {float}
    with jax.enable_x64(True):
        theirs = jax.vmap(SCHEDULES[name](optax))
        want = np.broadcast_to(theirs(np.arange(200)), 200)
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(ours(np.arange(200)), got)  # an array of steps
    traced = kn.graph(lambda step: ours(step) * np.ones(()))(np.int64(0))
    np.testing.assert_array_equal([traced(np.int64(step)) for step in steps[::5]], got[::5])
    some = kn.jit(lambda step: ours(step) * np.ones(()))
    assert some(np.int32(7)) == pytest.approx(got[7], rel=1e-6)


def test_schedules_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="decay_steps > 0, got 0"):
        optim.cosine_decay_schedule(0.1, 0)
    with pytest.raises(ValueError, match="counts the warm-up too"):
        optim.warmup_cosine_decay_schedule(0.0, 0.1, 10, 10)
    with pytest.raises(ValueError, match="scales ≥ 0"):
        optim.piecewise_constant_schedule(0.1, {5: -1.0})
    with pytest.raises(ValueError, match="scales ≥ 0"):
        optim.piecewise_interpolate_schedule("linear", 0.1, {5: -1.0})
    with pytest.raises(ValueError, match="'linear' or 'cosine'"):
        optim.piecewise_interpolate_schedule("step", 0.1)
    for cycle in (optim.linear_onecycle_schedule, optim.cosine_onecycle_schedule):
        with pytest.raises(ValueError, match="transition_steps > 0"):
            cycle(0, 0.1)
    with pytest.raises(ValueError, match="one boundary between"):
        optim.join_schedules([optim.constant_schedule(0.1)], [3])


# ---- the state is readable -----------------------------------------------------------------------


def test_state_is_named() -> None:
    params, gradients = problem(np.float32)
    optimizer = optim.chain(
        optim.clip_by_global_norm(1.0), optim.adamw(optim.linear_schedule(0.4, 0.0, 4))
    )
    state = optimizer.init(params)
    assert list(state) == ["clip", "adam", "decay", "lr"]
    assert state["adam"]["step"] == 0
    assert state["lr"]["value"] == 0.4
    for count, gradient in enumerate(gradients[:3]):
        _, state = optimizer.update(gradient, state, params)
        assert state["adam"]["step"] == count + 1
        assert np.issubdtype(type(state["adam"]["step"]), np.integer)
        assert state["lr"]["step"] == count + 1
        assert state["lr"]["value"] == pytest.approx(0.4 - 0.1 * count)  # the one just used
        assert state["clip"]["norm"] == optim.global_norm(gradient)
        assert state["decay"]["value"] == 1e-4
    assert kn.tree.structure(state["adam"]["mu"]) == kn.tree.structure(params)


def test_state_keeps_its_structure_and_types() -> None:
    """Else a compiled step would be traced again, and a checkpoint would not fit."""
    params, gradients = problem(np.float32)
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(1e-3))
    before = optimizer.init(params)
    _, after = optimizer.update(gradients[0], before, params)
    assert kn.tree.structure(before) == kn.tree.structure(after)
    kinds = [[(type(x), x.dtype, x.shape) for x in kn.tree.leaves(s)] for s in (before, after)]
    assert kinds[0] == kinds[1]


def test_names_in_a_chain() -> None:
    link = optim.clip(1.0)
    optimizer = optim.chain(link, ("before", link), link, ("inner", optim.adam(1e-3)))
    assert list(optimizer.init(1.0)) == ["clip", "before", "clip_2", "inner"]
    assert list(optimizer.init(1.0)["inner"]) == ["adam", "lr"]
    assert list(optim.chain(optim.sgd(0.1), optim.sgd(0.1)).init(1.0)) == ["lr", "lr_2"]
    with pytest.raises(ValueError, match="two transformations named 'a'"):
        optim.chain(("a", link), ("a", link))
    with pytest.raises(TypeError, match="takes transformations"):
        optim.chain(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"\'a\' in chain is 0\.1"):
        optim.chain(("a", 0.1))  # type: ignore[arg-type]


def test_user_made_link() -> None:
    """A pair of functions in optax's protocol is a link."""
    negate = optim.GradientTransformation(
        lambda params: {"calls": 0},
        lambda updates, state, params=None: (-updates, {"calls": state["calls"] + 1}),
        name="negate",
    )
    init, update = negate
    assert update(1.0, init(0.0)) == (-1.0, {"calls": 1})
    optimizer = optim.chain(negate, optim.scale(2.0))
    updates, state = optimizer.update(3.0, optimizer.init(0.0))
    assert (updates, state["negate"]["calls"]) == (-6.0, 1)


# ---- dtypes, leaves, memory ----------------------------------------------------------------------

EVERY = {name: make for name, make in OPTIMIZERS.items() if name != "accumulator"}


@pytest.mark.parametrize("name", EVERY)
def test_float32_stays_float32(name: str) -> None:
    params, gradients = problem(np.float32)
    optimizer = EVERY[name](optim)
    updates, _ = optimizer.update(gradients[0], optimizer.init(params), params)
    moved = optim.apply_updates(params, updates)
    assert {leaf.dtype for leaf in kn.tree.leaves((updates, moved))} == {np.dtype(np.float32)}


def test_numpy_scalars_do_not_leak_float64() -> None:
    number = np.float64
    params, gradients = problem(np.float32)
    optimizer = optim.chain(
        optim.clip_by_global_norm(number(0.1)),
        optim.clip(np.array(0.05)),
        optim.adamw(
            lambda step: number(0.1),
            number(0.9),
            number(0.99),
            number(1e-8),
            number(1e-9),
            weight_decay=number(0.1),
        ),
        optim.trace(number(0.9)),
        optim.scale(number(2.0)),
    )
    updates, state = optimizer.update(gradients[-1], optimizer.init(params), params)
    updates, state = optimizer.update(gradients[-1], state, params)
    assert {leaf.dtype for leaf in kn.tree.leaves(updates)} == {np.dtype(np.float32)}
    trees = (state["adam"]["mu"], state["adam"]["nu"], state["trace"])
    assert {leaf.dtype for leaf in kn.tree.leaves(trees)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_integer_leaves_pass_unchanged(name: str) -> None:
    params = {"w": np.ones(3), "index": np.array([4, 5]), "flag": np.array(True), "none": None}
    gradients = {
        "w": np.ones(3),
        "index": np.zeros(2, int),
        "flag": np.array(False),
        "none": None,
    }
    if name.startswith(("adamw mask", "decay")):
        mask = {"w": True, "index": True, "flag": True, "none": None}
        optimizer = optim.add_decayed_weights(0.1, mask)
    else:
        optimizer = OPTIMIZERS[name](optim)
    got, _ = kinone_run(optimizer, params, [gradients] * 3)
    np.testing.assert_array_equal(got["index"], [4, 5])
    assert got["index"].dtype == np.int64
    assert got["flag"].dtype == bool
    assert got["flag"]
    assert got["none"] is None


def test_gradients_of_integer_leaves_as_grad_gives_them() -> None:
    params = {"w": np.ones(2), "count": np.array(3)}
    gradient = kn.grad(lambda p: np.sum(p["w"] ** 2))(params)
    got, _ = kinone_run(optim.adam(0.1), params, [gradient])
    np.testing.assert_allclose(got["w"], 0.9)
    assert got["count"] == 3


def test_numbers_as_parameters() -> None:
    got, _ = kinone_run(optim.sgd(0.5, 0.9), {"a": 1.0}, [{"a": 2.0}, {"a": 2.0}])
    assert got["a"] == pytest.approx(1 - 0.5 * 2 - 0.5 * (2 + 0.9 * 2))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_shares_memory_and_nothing_is_changed(
    name: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(optim_leaves, "BLOCK", 16)
    params, gradients = problem(np.float64)
    optimizer = OPTIMIZERS[name](optim)
    _, state = optimizer.update(gradients[0], optimizer.init(params), params)
    given = (gradients[1], state, params)
    copies = kn.tree.map(np.copy, given)
    result = optimizer.update(*given)
    moved = optim.apply_updates(params, result[0])
    for before, after in zip(kn.tree.leaves(copies), kn.tree.leaves(given), strict=True):
        np.testing.assert_array_equal(before, after)
    arrays = [x for x in kn.tree.leaves((given, result, moved)) if isinstance(x, np.ndarray)]
    for index, one in enumerate(arrays):
        for other in arrays[:index]:
            assert not np.shares_memory(one, other)


# ---- blocks and threads --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_blocks_give_the_same_bits(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    params, gradients = problem(dtype)
    whole = kinone_run(OPTIMIZERS[name](optim), params, gradients)
    monkeypatch.setattr(optim_leaves, "BLOCK", 16)  # two or four elements
    parts = kinone_run(OPTIMIZERS[name](optim), params, gradients)
    for one, other in zip(kn.tree.leaves(whole), kn.tree.leaves(parts), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_large_and_strided_leaves() -> None:
    random = np.random.default_rng(0)
    large = random.normal(size=(300, 1001)).astype(np.float32)
    params = {"w": large, "t": large.T, "s": large[::2, ::3]}
    gradients = kn.tree.map(lambda p: np.asfortranarray(p * p + 1), params)
    moved, state = kinone_run(optim.adam(0.1), params, [gradients] * 2)
    np.testing.assert_array_equal(moved["w"].T, moved["t"])
    np.testing.assert_array_equal(moved["w"][::2, ::3], moved["s"])
    np.testing.assert_allclose(moved["w"], large - 0.2, atol=1e-3)
    assert state["adam"]["nu"]["s"].shape == (150, 334)


# ---- traced --------------------------------------------------------------------------------------


def train_step(optimizer: Any, params: Any, state: Any, x: Any) -> Any:
    def loss(params: Any) -> Any:
        return np.sum(np.tanh(x @ params["w"] + params["b"]) ** 2)

    value, gradient = kn.value_and_grad(loss)(params)
    updates, state = optimizer.update(gradient, state, params)
    return optim.apply_updates(params, updates), state, value


TRACEABLE = {
    "adamw": optim.chain(
        optim.clip_by_global_norm(0.5),
        optim.adamw(optim.warmup_cosine_decay_schedule(0.0, 0.1, 3, 9), mask="w"),
    ),
    "sgd": optim.chain(optim.clip(0.3), optim.sgd(0.1, 0.9, nesterov=True), optim.freeze("b")),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRACEABLE)
def test_train_step_as_a_graph_has_the_same_bits(name: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 3)).astype(dtype)
    params = {"w": random.normal(size=(3, 2)).astype(dtype), "b": np.zeros(2, dtype)}
    optimizer = TRACEABLE[name]
    step = functools.partial(train_step, optimizer)
    state = optimizer.init(params)
    program = kn.graph(lambda *args: step(*args))(params, state, x)
    eager = traced = (params, state, None)
    for _ in range(6):
        eager = step(*eager[:2], x)
        traced = program(*traced[:2], x)
        for one, other in zip(kn.tree.leaves(eager), kn.tree.leaves(traced), strict=True):
            assert np.asarray(one).dtype == np.asarray(other).dtype
            np.testing.assert_array_equal(one, other)
    assert traced[1][{"adamw": "adam", "sgd": "lr"}[name]]["step"] == 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_through_updates(dtype: Any) -> None:
    """The derivative of the loss after three steps with respect to the learning rate and decay."""
    x = np.linspace(-1, 1, 6).reshape(2, 3).astype(dtype)
    params = {"w": np.linspace(0.1, 0.6, 6).reshape(3, 2).astype(dtype), "b": np.ones(2, dtype)}

    def after(rate: Any, decay: Any, make: Any = optim.adamw) -> Any:
        optimizer = optim.chain(optim.clip_by_global_norm(0.5), make(rate, weight_decay=decay))
        state, p = optimizer.init(params), params
        for _ in range(3):
            p, state, _ = train_step(optimizer, p, state, x)
        return np.sum(p["w"] ** 2)

    got = kn.grad(after, argnums=(0, 1))(0.05, 0.1)
    if dtype == np.float64:
        eps = 1e-6
        want = [
            (after(0.05 + eps, 0.1) - after(0.05 - eps, 0.1)) / (2 * eps),
            (after(0.05, 0.1 + eps) - after(0.05, 0.1 - eps)) / (2 * eps),
        ]
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert all(isinstance(g, float) for g in got)


def test_gradient_through_a_clipped_zero_gradient_is_finite() -> None:
    link = optim.clip_by_global_norm(1.0)

    def f(scale: Any) -> Any:
        updates, _ = link.update({"w": scale * np.array([0.3, 0.4])}, link.init({"w": np.zeros(2)}))
        return np.sum(updates["w"])

    assert kn.grad(f)(1.0) == pytest.approx(0.7)  # not clipped
    assert kn.grad(f)(5.0) == pytest.approx(0.0)  # clipped: the length is fixed


# ---- selection by path ---------------------------------------------------------------------------


def test_select() -> None:
    params, _ = problem(np.float64)
    kernels = {"layers": [{"kernel": True, "bias": False}] * 2, "scale": False, "nothing": None}
    assert optim.select(params, "**/kernel") == kernels
    assert optim.select(params, ["layers/*/kernel"]) == kernels
    assert optim.select(params, lambda p: kn.tree.map(lambda x: x.ndim == 2, p)) == kernels
    assert optim.select(params, kernels) == kernels
    everything = optim.select(params, None)
    assert kn.tree.leaves(everything) == [True] * 5
    assert optim.select(params, ["scale", "layers/**"]) == everything
    prefix = optim.select(params, {"layers": [True, False], "scale": True, "nothing": None})
    assert kn.tree.leaves(prefix) == [True, True, False, False, True]
    with pytest.raises(ValueError, match=r"fits the pattern '\*\*/weight'; there are: layers/0/bi"):
        optim.select(params, "**/weight")
    with pytest.raises(TreeError, match="scale"):
        optim.select(params, {"layers": True, "scal": False, "nothing": None})


@pytest.mark.parametrize(
    ("pattern", "path", "want"),
    [
        ("w", "w", True),
        ("w", "a/w", False),
        ("*", "a/w", False),
        ("*/w", "a/w", True),
        ("**", "a/b/w", True),
        ("**/w", "w", True),
        ("**/w", "a/b/w", True),
        ("**/w", "a/bw", False),
        ("a/**", "a", True),
        ("a/**", "a/b/c", True),
        ("a/**", "ab", False),
        ("a/**/w", "a/w", True),
        ("a/**/w", "a/b/c/w", True),
        ("layer*/w", "layer12/w", True),
        ("layer*/w", "layer1/2/w", False),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern: str, path: str, want: bool) -> None:
    assert optim_leaves.matches(pattern, path) is want


def test_decay_and_freeze_by_pattern() -> None:
    params = {"encoder": {"kernel": np.ones(2), "bias": np.ones(2)}, "head": {"kernel": np.ones(2)}}
    zeros = kn.tree.map(np.zeros_like, params)
    got, _ = kinone_run(optim.adamw(0.1, weight_decay=0.5, mask="**/kernel"), params, [zeros])
    np.testing.assert_allclose(got["encoder"]["kernel"], 0.95)
    np.testing.assert_allclose(got["encoder"]["bias"], 1.0)
    frozen = optim.chain(optim.sgd(1.0), optim.freeze("encoder/**"))
    got, _ = kinone_run(frozen, params, [params])
    np.testing.assert_array_equal(got["encoder"]["kernel"], 1.0)
    np.testing.assert_array_equal(got["head"]["kernel"], 0.0)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.adam("1e-3"), r"lr: learning_rate is '1e-3', and a number"),
        (lambda: optim.adam(None), r"lr: learning_rate is None"),
        (lambda: optim.adam(np.ones(3)), r"lr: learning_rate is array"),
        (lambda: optim.sgd(optim.constant_schedule), r"lr: learning_rate\(step\) is <function"),
        (lambda: optim.adam(0.1, b2="a"), r"adam: b2 is 'a'"),
        (lambda: optim.sgd(0.1, momentum="0.9"), r"trace: decay is '0.9'"),
        (lambda: optim.adamw(0.1, weight_decay=None), r"decay: weight_decay is None"),
        (lambda: optim.clip(1j), r"clip: max_delta is 1j"),
        (lambda: optim.clip_by_global_norm(None), r"clip: max_norm is None"),
        (lambda: optim.scale([1]), r"scale: step_size is \[1\]"),
        (lambda: optim.scale_by_schedule("x"), r"schedule: step_size_fn is 'x'"),
    ],
)
def test_what_is_no_number_is_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        make()
    assert "test_optim.py:" in str(caught.value)


def test_a_pattern_that_nothing_fits_is_refused_by_init() -> None:
    params = {"dense": {"kernel": np.ones(2)}}
    for optimizer in (
        optim.adamw(0.1, mask="**/kernl"),
        optim.freeze("**/kernl"),
        optim.chain(optim.sgd(0.1), optim.freeze("**/kernl")),
    ):
        with pytest.raises(ValueError, match=r"kernl.*dense/kernel"):
            optimizer.init(params)


def test_errors_name_optimizer_leaf_and_line() -> None:
    params = {"w": np.ones(2), "b": np.ones(3)}
    optimizer = optim.adamw(1e-3)
    state = optimizer.init(params)
    with pytest.raises(TreeError, match=r"(?s)adamw: the gradients.*test_optim\.py.*b: .*bias: "):
        optimizer.update({"w": np.ones(2), "bias": np.ones(3)}, state, params)
    with pytest.raises(TreeError, match=r"adam: the gradients .* structure of the state"):
        optim.adam(1e-3).update({"w": np.ones(2)}, optim.adam(1e-3).init(params))
    with pytest.raises(ShapeError, match=r"adamw: b is float64\[1\] in the gradients and float64"):
        optimizer.update({"w": np.ones(2), "b": np.ones(1)}, state, params)
    link = optim.trace(0.9)
    with pytest.raises(ShapeError, match=r"trace: b is"):
        link.update({"w": np.ones(2), "b": np.ones(1)}, link.init(params))
    with pytest.raises(ValueError, match=r"update\(gradients, state, params\)"):
        optimizer.update(params, state)
    with pytest.raises(TreeError, match=r"sgd: .* it has \['adam', 'decay', 'lr'\]"):
        optim.sgd(0.1).update(params, state, params)
    with pytest.raises(TreeError, match="apply_updates: the updates"):
        optim.apply_updates(params, {"w": np.ones(2)})
    with pytest.raises(LeafError, match="adamw: name is a str"):
        optimizer.init({"w": np.ones(2), "name": "dense"})


def test_global_norm() -> None:
    value = {"a": np.array([3.0]), "b": [np.array([[0.0, 4.0]])], "n": np.array(7), "z": None}
    assert optim.global_norm(value) == 5.0
    assert optim.global_norm(np.array([3 + 4j])) == 5.0
    assert optim.global_norm({"a": np.ones(4, np.float32)}).dtype == np.float32
    assert optim.global_norm({}) == 0.0


def test_clip_by_global_norm_at_the_edges() -> None:
    link = optim.clip_by_global_norm(1.0)
    zero, state = link.update({"w": np.zeros(2)}, link.init({"w": np.zeros(2)}))
    np.testing.assert_array_equal(zero["w"], 0)
    assert state["norm"] == 0
    bad, state = link.update({"w": np.array([np.nan, 1.0])}, state)
    assert np.isnan(bad["w"]).all()
    assert np.isnan(state["norm"])
