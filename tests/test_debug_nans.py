"""`debug.nans`, `debug.kinks`, `debug.strict`, and the observation that they stand on."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import debug
from kinone.core import observe, registry
from kinone.core.observe import Event, observing
from kinone.errors import BatchLoopWarning, KinoneError

X = np.array([1.0, 0.0, 4.0])


def stopped(run: Callable[[], Any], **options: Any) -> debug.NaNError:
    with pytest.raises(debug.NaNError) as caught, debug.nans(**options):
        run()
    assert not observe.active()
    assert isinstance(caught.value, (KinoneError, FloatingPointError))
    assert isinstance(caught.value, FloatingPointError)
    return caught.value


def here(function: Callable[..., Any], offset: int = 1) -> str:
    return f"test_debug_nans.py:{function.__code__.co_firstlineno + offset}"


def logarithm(p: Any) -> Any:
    return np.sum(np.log(p["w"] - 2))


def root(x: Any) -> Any:
    return np.sum(np.where(x > 0, np.sqrt(x), 0))


# ---- nans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run",
    [
        lambda: kn.grad(logarithm)({"w": X}),
        lambda: kn.grad(lambda p: kn.grad(logarithm)(p)["w"][0])({"w": X}),
        lambda: kn.jvp(logarithm, ({"w": X},), ({"w": X},)),
        lambda: kn.vmap(lambda w: logarithm({"w": w}))(X[:, None]),
        lambda: kn.vmap(kn.grad(lambda w: logarithm({"w": w})))(X[:, None]),
        lambda: kn.graph(logarithm)({"w": X})({"w": X}),
        lambda: kn.jit(logarithm)({"w": X}),
        lambda: kn.jit(kn.value_and_grad(logarithm))({"w": X}),
        lambda: kn.grad(kn.jit(logarithm))({"w": X}),
    ],
    ids=["grad", "grad2", "jvp", "vmap", "vmap grad", "graph", "jit", "jit grad", "grad jit"],
)
def test_forward(run: Callable[[], Any]) -> None:
    error = stopped(run)
    text = str(error)
    assert error.primitive == "log"
    assert error.phase == "forward"
    assert text.startswith("log made a NaN, at ")
    assert here(logarithm) in text
    assert "from -2 to 2" in text or "-1" in text


def test_forward_names_the_leaf_and_the_element() -> None:
    text = str(
        stopped(lambda: kn.grad(lambda p: np.sum(np.log(p["w"])))({"w": np.array([1.0, -3])}))
    )
    assert "p/w: float64[2], from -3 to 1; -3 at [1]" in text
    assert "NaN in 1 of 2, first at [1]" in text


def test_backward_names_both_lines() -> None:
    def run() -> Any:
        return kn.grad(root)(X)

    error = stopped(run)
    text = str(error)
    assert (error.primitive, error.phase) == ("sqrt", "backward")
    assert text.startswith("the backward pass of sqrt made a NaN")
    differentiated, called = text.splitlines()[1:3]
    assert here(root) in differentiated
    assert "np.sqrt(x)" in differentiated
    assert "grad called at" in called
    assert here(run) in called
    assert "0 at [1]" in text
    assert "first at [1]" in text


@pytest.mark.parametrize(
    "run",
    [
        lambda: kn.vmap(kn.grad(root))(X[:, None]),
        lambda: kn.grad(lambda x: np.sum(kn.grad(root)(x)))(X),
        lambda: kn.jit(kn.grad(root))(X),
        lambda: kn.grad(kn.jit(root))(X),
        lambda: kn.value_and_grad(root)(X),
        lambda: kn.vjp(root, X)[1](1.0),
    ],
    ids=["vmap", "grad2", "jit grad", "grad jit", "value_and_grad", "vjp"],
)
def test_backward_in_nests(run: Callable[[], Any]) -> None:
    text = str(stopped(run))
    assert here(root) in text
    assert "np.sqrt(x)" in text


def test_nan_that_was_there_before_is_let_pass() -> None:
    data = np.array([1.0, np.nan])
    with debug.nans():
        assert np.isnan(kn.grad(lambda x: np.sum(x * data))(np.ones(2))[1])
        assert kn.grad(lambda x: np.sum(np.where(np.isnan(data), 0, x)))(data).tolist() == [1, 0]


def test_cotangents_that_add_up_to_nan() -> None:
    """inf - inf is nobody's rule: it is found at the operation that the sum arrives at."""

    def f(x: Any) -> Any:
        y = x * 1.0
        return np.sum(np.sqrt(y)) - np.sum(2 * np.sqrt(y))

    text = str(stopped(lambda: kn.grad(f)(np.zeros(2))))
    assert text.startswith("the cotangent that arrives at multiply is NaN")
    assert here(f) in text
    text = str(stopped(lambda: kn.vjp(lambda x: x * 2, 1.0)[1](np.nan)))
    assert "was passed to the pullback" in text


def test_infinities() -> None:
    run = lambda: kn.grad(lambda x: np.sum(np.exp(x)))(np.array([1.0, 1e4]))  # noqa: E731
    with debug.nans():
        run()
    text = str(stopped(run, infs=True))
    assert text.startswith("exp made an infinity")
    assert "infinity in 1 of 2, first at [1]" in text
    stopped(run, infs=True, nans=False)
    with debug.nans(infs=True, nans=False):
        kn.grad(logarithm)({"w": -X})


def test_numpys_warnings_do_not_hide_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped(lambda: kn.grad(lambda x: np.sum(np.log(x)))(-X))
    with pytest.warns(RuntimeWarning):
        kn.grad(lambda x: np.sum(np.log(x)))(-X)


def test_complex_and_scalars() -> None:
    stopped(lambda: kn.vjp(lambda z: z / (z - z), np.array([1j])))
    text = str(stopped(lambda: kn.grad(lambda x: np.log(x))(-1.0)))
    assert "x: -1.0" in text


def test_the_result_is_the_same_and_arrays_stay_writeable() -> None:
    x = np.array([1.0, 2.0])
    with debug.nans():
        inside = kn.grad(lambda x: np.sum(np.tanh(x) ** 2))(x)
    assert inside.tobytes() == kn.grad(lambda x: np.sum(np.tanh(x) ** 2))(x).tobytes()
    assert x.flags.writeable
    stopped(lambda: kn.grad(lambda x: np.sum(np.log(x - 5)))(x))
    assert x.flags.writeable


LOOPS: dict[str, Callable[[], Any]] = {
    "scan": lambda: kn.scan(lambda c, x: (c + np.log(x), c), 0.0, X - 2),
    "map": lambda: kn.lax.map(lambda x: np.log(x), X - 2),
    "fori": lambda: kn.fori_loop(0, 3, lambda i, v: np.log(v), 0.5),
    "while": lambda: kn.while_loop(lambda v: v < 3, lambda v: np.log(v), np.float64(0.5)),
    "cond": lambda: kn.cond(True, lambda x: np.log(x), np.exp, -1.0),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", LOOPS)
def test_plain_numbers_in_loops_and_branches_are_watched(name: str) -> None:
    run = LOOPS[name]
    error = stopped(run)
    assert error.primitive == "log"
    assert "np.log(" in str(error)
    run()  # nobody watches any more


def test_a_loop_that_looks_at_its_numbers_runs_as_it_is() -> None:
    def body(carry: float, x: Any) -> tuple[float, Any]:
        return (carry + float(x) if x > 0 else carry), x * 2

    want = kn.scan(body, 0.0, X)
    with debug.nans():
        carry, ys = kn.scan(body, 0.0, X)
    assert carry == want[0]
    np.testing.assert_array_equal(ys, want[1])


# ---- observation ---------------------------------------------------------------------------------


def events(run: Callable[[], Any]) -> list[Event]:
    found: list[Event] = []
    with observing(found.append):
        run()
    assert not observe.active()
    return found


def named(found: list[Event]) -> list[tuple[str, str]]:
    return [(event.primitive.name, event.phase) for event in found]


def test_each_operation_and_each_pullback_is_reported_once() -> None:
    found = events(lambda: kn.grad(lambda x: np.sum(np.tanh(x * 2)))(X))
    assert named(found) == [
        ("multiply", "forward"),
        ("tanh", "forward"),
        ("sum", "forward"),
        ("sum", "backward"),
        ("tanh", "backward"),
        ("multiply", "backward"),
    ]
    tanh, back = found[1], found[4]
    np.testing.assert_array_equal(tanh.results[0], np.tanh(2 * X))
    assert back.forward is not None
    assert back.forward.results[0] is tanh.results[0]
    np.testing.assert_allclose(back.results[0], 1 - np.tanh(2 * X) ** 2)
    assert back.location == tanh.location
    assert all(event.seconds >= 0 for event in found)


def test_a_traced_rule_reports_its_operations() -> None:
    found = events(lambda: kn.vmap(kn.grad(lambda x: np.sum(np.tanh(x))))(X[:, None]))
    backward = [event for event in found if event.phase == "backward"]
    assert {event.primitive.name for event in backward} >= {"multiply", "subtract"}
    assert all(event.within is not None for event in backward)
    assert {event.within.primitive.name for event in backward if event.within} == {"tanh"}


def test_time_of_operations_within_operations_counts_once() -> None:
    found = events(lambda: kn.jit(lambda x: np.tanh(x) * 2)(X))
    inner = [event for event in found if event.primitive.name == "tanh"]
    assert inner
    assert inner[0].leaf


def test_observers_nest_and_leave_in_any_order() -> None:
    first, second = observing(lambda event: None), observing(lambda event: None)
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert observe.active()
    second.__exit__()
    assert not observe.active()


def test_a_pullback_recorded_under_observation_works_after_it() -> None:
    found: list[Event] = []
    with observing(found.append):
        _, pullback = kn.vjp(np.tanh, X)
    count = len(found)
    np.testing.assert_allclose(pullback(np.ones(3))[0], 1 - np.tanh(X) ** 2)
    assert len(found) == count
    # And the other way round: what was recorded before is not reported.
    _, pullback = kn.vjp(np.tanh, X)
    assert events(lambda: pullback(np.ones(3))) == []


def test_an_error_in_an_operation_leaves_no_state_behind() -> None:
    with pytest.raises(ValueError, match="matmul"):
        events(lambda: kn.grad(lambda x: np.sum(x @ np.ones(5)))(X))
    assert not observe.active()
    assert named(events(lambda: kn.ops.tanh(X))) == [("tanh", "forward")]
    assert observe._state.phase == "forward"
    assert observe._state.within is None


def test_other_threads_are_seen() -> None:
    def run() -> None:
        thread = threading.Thread(target=lambda: kn.ops.tanh(X))
        thread.start()
        thread.join()

    assert named(events(run)) == [("tanh", "forward")]


# ---- kinks ---------------------------------------------------------------------------------------


def test_kinks() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.abs(x)) + np.sum(kn.ops.relu(x)) + np.sum(np.maximum(x, 1.0))

    with debug.kinks() as k:
        kn.grad(f)(X)
    assert [(name, n) for _, name, n in k.rows] == [("absolute", 1), ("relu", 1), ("maximum", 1)]
    assert here(f) in str(k)
    with debug.kinks() as k:
        kn.grad(f)(X + 0.5)
    assert str(k) == "no element was at a kink"


CORNERS = [
    (np.abs, [0.0, 1.0], {"absolute": 1}),
    (kn.ops.relu, [0.0, 0.0, 1.0], {"relu": 2}),
    (kn.ops.relu6, [0.0, 3.0, 6.0], {"relu6": 2}),
    (kn.ops.leaky_relu, [0.0, 1.0], {"leaky_relu": 1}),
    (lambda x: kn.ops.elu(x, 2.0), [0.0, 1.0], {"elu": 1}),
    (kn.ops.hard_swish, [-3.0, 0.0, 3.0], {"hard_swish": 2}),
    (lambda x: np.maximum(x, 2.0), [2.0, 1.0], {"maximum": 1}),
    (lambda x: np.clip(x, 0.0, 1.0), [0.0, 0.5, 1.0], {"maximum": 1, "minimum": 1}),
    (np.max, [1.0, 3.0, 3.0], {"max": 2}),
    (np.min, [1.0, 3.0, 3.0], {}),
    (lambda x: np.min(np.stack([x, x]), axis=0), [1.0, 2.0], {"min": 4}),
    (lambda x: np.hypot(x, 2 * x), [0.0, 1.0], {"hypot": 1}),
    (lambda x: np.arctan2(x, x), [0.0, 1.0], {"arctan2": 1}),
    (np.linalg.norm, [0.0, 0.0], {"root": 1}),
    (np.linalg.norm, [0.0, 1.0], {}),
    (np.std, [1.0, 1.0, 1.0], {"root": 1}),
    (np.nanstd, [1.0, 1.0, np.nan], {"root": 1}),
    # Steps, slopes without end, choices by order: none of them is a corner.
    (np.floor, [1.0], {}),
    (np.sqrt, [0.0], {}),
    (np.sort, [2.0, 2.0], {}),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("function", "x", "want"), CORNERS)
def test_what_kinks_counts(function: Any, x: list[float], want: dict[str, int]) -> None:
    total = kn.value_and_grad(lambda x: np.sum(function(x)))
    for run in (total, kn.jit(total)):
        with debug.kinks() as k:
            run(np.array(x))
        assert {name: count for _, name, count in k.rows} == want


def test_every_primitive_with_a_kink_is_counted_above() -> None:
    counted = {name for _, _, want in CORNERS for name in want}
    alike = {"fabs", "fmax", "fmin", "hard_sigmoid"}
    assert {name for name, p in registry.items() if p.kink is not None} == counted | alike


# ---- strict --------------------------------------------------------------------------------------


def test_strict_keys() -> None:
    key = kn.random.key(0)
    with debug.strict():
        kn.random.normal(key, (2,))
        with pytest.raises(kn.KeyReuseWarning, match=re.escape("test_debug_nans.py")):
            kn.random.normal(key, (2,))
    key = kn.random.key(0)
    kn.random.normal(key, (2,))
    with pytest.warns(kn.KeyReuseWarning):
        kn.random.normal(key, (2,))


def test_strict_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kn.core.registry["tanh"], "batch", None)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with debug.strict(), pytest.raises(BatchLoopWarning, match="tanh has no batching rule"):
            kn.vmap(np.tanh)(X)
        with pytest.warns(BatchLoopWarning):
            kn.vmap(np.tanh)(X)
        with debug.strict(), pytest.raises(BatchLoopWarning):  # on the same line once more
            kn.vmap(np.tanh)(X)
