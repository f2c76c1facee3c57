"""What is done to programs: dead code leaves, equal parts merge, constants are computed, and no
rounding changes; the checker finds programs that are not well formed."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone.core import ShapeDtype
from kinone.errors import KinoneError
from kinone.graph import Constant, Equation, Graph, Var, check, evaluate, flat_graph, trace_flat
from kinone.graph.passes import simplified, without_dead_code
from kinone.testing.programs import same_bits

X = np.random.default_rng(0).normal(size=(3, 4))


def names(program: Graph) -> list[str]:
    return [equation.primitive.name for equation in program.equations]


def simple(f: Any, *args: Any) -> Graph:
    """The simplified program, which has the bits of the function."""
    program = kn.graph(f)(*args)
    check(program)
    found = simplified(program)
    check(found)
    same_bits(kn.tree.leaves(found(*args)), kn.tree.leaves(f(*args)), "the simplified program")
    return found


def test_dead_code_leaves() -> None:
    def f(x: Any) -> Any:
        np.cos(x) @ np.tanh(x.T)
        y = np.sin(x)
        np.exp(y)
        return y

    assert names(simple(f, X)) == ["sin"]


def test_another_name_for_a_value_leaves() -> None:
    def f(x: Any) -> Any:
        y = np.sin(kn.stop_gradient(x))
        return kn.stop_gradient(y) * np.sin(x), kn.stop_gradient(x)

    assert names(simple(f, X)) == ["sin", "multiply"]
    _, same = kn.jit(f)(X)
    assert not np.shares_memory(same, X)
    np.testing.assert_array_equal(
        kn.grad(kn.jit(lambda x: np.sum(f(x)[0])))(X), np.sin(X) * np.cos(X)
    )


def test_effects_stay_and_keep_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        kn.debug.print("{}", np.sum(x))
        kn.debug.print("{}", np.sum(x))
        kn.debug.check(np.all(x > 0), "positive")
        return 1.0

    program = simple(f, np.ones(2))
    assert names(program) == ["sum", "print", "print", "greater", "all", "check"]
    capsys.readouterr()
    with pytest.raises(AssertionError, match="positive"):
        program(-np.ones(2))
    assert capsys.readouterr().out == "-2.0\n-2.0\n"


def test_equal_parts_merge() -> None:
    def f(x: Any) -> Any:
        return np.sin(x) * np.sin(x) + np.sin(x + 0), np.sum(x, axis=0), np.sum(x, axis=(0,))

    assert names(simple(f, X)) == ["sin", "multiply", "add", "sin", "add", "sum"]


def test_what_is_not_the_same_does_not_merge() -> None:
    def f(x: Any) -> Any:
        return (
            np.sum(x, axis=0), np.sum(x, axis=1), x * 0.0, x * -0.0, x * 1, x * 1.0, x * True,
            x[0], x[1], x[np.array([0])], x[np.array([1])],
        )  # fmt: skip

    program = simple(f, X)
    assert names(program).count("multiply") == 5
    assert names(program).count("getitem") == 4
    results = program(X)
    assert np.signbit(results[3] / np.sign(X)).all()


def test_the_order_of_operands_counts() -> None:
    def f(x: Any, y: Any) -> Any:
        return x - y, y - x, x + y, y + x

    assert len(simple(f, X, X + 1).equations) == 4


def test_merging_goes_on_behind_what_merged() -> None:
    def f(x: Any) -> Any:
        return np.tanh(np.sin(x) + 1) * np.tanh(np.sin(x) + 1)

    assert names(simple(f, X)) == ["sin", "add", "tanh", "multiply"]


def test_constants_are_computed() -> None:
    table = np.arange(4.0)

    def f(x: Any) -> Any:
        return x + np.sum(kn.ops.sin(table)), kn.ops.exp(2.0)

    assert names(simple(f, X)) == ["add"]

    def in_loop(x: Any) -> Any:
        return kn.scan(lambda c, v: (c + np.sum(np.sin(table)), v * 2), x, np.arange(3.0))

    assert "scan" in names(simple(in_loop, 1.0))


def test_what_raises_raises_when_it_runs() -> None:
    def f(x: Any, i: Any) -> Any:
        return x + kn.ops.getitem(np.arange(3.0), i * 0 + 7)

    program = simplified(kn.graph(f)(1.0, 0))
    with pytest.raises(IndexError):
        program(1.0, 0)


def test_large_constants_are_not_computed() -> None:
    """A program does not become large by what it says in a word."""

    def f(x: Any) -> Any:
        ones = kn.ops.broadcast_to(x * 0 + 1, (1000, 1000))
        return np.sum(ones)

    assert "broadcast_to" in names(simple(f, 2.0))


def test_results_may_be_arguments_and_constants() -> None:
    program = simple(lambda x: (x, 1.0, np.arange(3), x), X)
    assert program.equations == ()
    assert [type(atom) for atom in program.outputs] == [Var, Constant, Constant, Var]


def test_locations_stay() -> None:
    program = simple(lambda x: np.sin(x) + np.sin(x), X)
    assert "np.sin(x) + np.sin(x)" in str(program)


# ---- the checker ---------------------------------------------------------------------------------


def of_one(equation: Equation, inputs: list[Var], outputs: list[Any]) -> Graph:
    return flat_graph("f", inputs, [equation], outputs)


def test_the_checker() -> None:
    x, y = Var(ShapeDtype((3,), "f8"), "x"), Var(ShapeDtype((3,), "f8"))
    sin = kn.core.registry["sin"]
    check(of_one(Equation(sin, [x], {}, [y], None), [x], [y]))
    with pytest.raises(KinoneError, match="uses a value that is not defined before it"):
        check(of_one(Equation(sin, [y], {}, [y], None), [x], [y]))
    with pytest.raises(KinoneError, match="the result uses a value that is not defined"):
        check(of_one(Equation(sin, [x], {}, [y], None), [x], [Var(x.aval)]))
    with pytest.raises(KinoneError, match="defines a value a second time"):
        check(of_one(Equation(sin, [x], {}, [x], None), [x], [x]))
    wrong = Var(ShapeDtype((4,), "f8"))
    with pytest.raises(KinoneError, match=r"sin at .* is .*float64\[4\].*says.*float64\[3\]"):
        check(of_one(Equation(sin, [x], {}, [wrong], None), [x], [wrong]))


# ---- running -------------------------------------------------------------------------------------


def test_values_are_freed_after_their_last_use() -> None:
    """A program keeps no more than what is still to be read."""
    seen: list[Any] = []
    alive: list[int] = []

    def f(x: Any) -> Any:
        for _ in range(6):
            x = np.sin(x)
        return x

    program = kn.graph(f)(np.ones(3))

    def watch(event: Any) -> None:
        for value in event.results:
            if isinstance(value, np.ndarray):
                seen.append(weakref.ref(value))
        gc.collect()
        alive.append(sum(each() is not None for each in seen))

    with kn.core.observe.observing(watch):
        program(np.ones(3))
    assert max(alive) <= 2


def test_a_program_runs_on_traced_values() -> None:
    program = kn.graph(lambda x, y: (np.sin(x) * y, np.sum(x)))(X, X)
    want = kn.grad(lambda x: np.sum(np.sin(x) * X) + np.sum(x))(X)
    got = kn.grad(lambda x: np.sum(program(x, X)[0]) + program(x, X)[1])(X)
    np.testing.assert_array_equal(got, want)
    batch = kn.vmap(lambda x: evaluate(program, [x, X])[0])(np.stack([X, 2 * X]))
    np.testing.assert_array_equal(batch, np.sin(np.stack([X, 2 * X])) * X)


def test_closed_over_values_become_inputs() -> None:
    def outer(w: Any) -> Any:
        program, captured = trace_flat(lambda x: [x * w + w, x], [ShapeDtype((3,), "f8")], "f")
        assert len(captured) == 1
        assert captured[0] is w
        assert len(program.inputs) == 2
        check(program)
        return np.sum(evaluate(program, [*captured, np.ones(3)])[0])

    np.testing.assert_array_equal(kn.grad(outer)(np.ones(3)), 2 * np.ones(3))


def test_arguments_are_checked() -> None:
    program = kn.graph(lambda x: x + 1)(X)
    with pytest.raises(ValueError, match=r"x is float64\[3\]"):
        program(X[:, 0])
    with pytest.raises(ValueError, match="traced with other arguments"):
        program([X])


# ---- random programs -----------------------------------------------------------------------------

OPERATIONS = [np.sin, np.negative, lambda x: x + 1.0, lambda x: x * 2, np.abs, lambda x: x @ x.T]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=30), st.data())
def test_random_programs(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    returned = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=3))
    x = X[:3, :3] * 0.1

    def f(x: Any) -> Any:
        values = [x, np.cos(x)]
        for kind, which in steps:
            values.append(OPERATIONS[kind](values[which % len(values)]))
        return [values[i % len(values)] for i in returned]

    with np.errstate(all="ignore"):
        program = simple(f, x)
    keys = [(e.primitive, e.inputs) for e in program.equations if not e.params]
    assert len(set(keys)) == len(keys), "nothing is computed twice"
    assert len(without_dead_code(program).equations) == len(program.equations)
