"""The printable program."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import source
from kinone.core import ShapeDtype, registry
from kinone.errors import KinoneError, TracerConversionError
from kinone.graph import Equation, Graph, Var, check, evaluate

X, W = np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(0, 1, 8).reshape(4, 2)


def layer(params: Any, x: Any) -> Any:
    h = np.tanh(x @ params["w"])
    unused = np.exp(h)  # noqa: F841
    return {"h": h, "sum": np.sum(h * 2.0), "n": 3}


def test_the_whole_text() -> None:
    program = kn.graph(layer)({"w": W.astype(np.float32)}, X.astype(np.float32))
    lines = str(program).splitlines()
    assert lines[0] == "graph layer(params/w: float32[4,2], x: float32[3,4]):"
    bodies = [re.sub(r" +#.*", "", line).strip() for line in lines[1:]]
    assert bodies == [
        "a: float32[3,2] = matmul x params/w",
        "b: float32[3,2] = tanh a",
        "c: float32[3,2] = multiply b 2.0",
        "d: float32[] = sum[axis=(0, 1), keepdims=False] c",
        "return h: b, n: 3, sum: d",
    ]
    assert len(lines) == 6


def test_every_equation_names_the_users_line() -> None:
    program = kn.graph(layer)({"w": W}, X)
    first = layer.__code__.co_firstlineno
    text = str(program)
    for offset, expression in (
        (1, 'x @ params["w"]'),
        (1, 'np.tanh(x @ params["w"])'),
        (3, "h * 2.0"),
        (3, "np.sum(h * 2.0)"),
    ):
        assert re.search(rf"test_graph\.py:{first + offset}  {re.escape(expression)}$", text, re.M)


def test_backward_equations_have_the_line_of_their_forward() -> None:
    def loss(x: Any) -> Any:
        y = np.sin(x)
        return np.sum(y * y)

    program = kn.graph(kn.grad(loss))(X)
    first = loss.__code__.co_firstlineno
    lines = [source.resolve(e.location).line - first for e in program.equations]
    assert {1, 2} >= set(lines)
    cosine = next(e for e in program.equations if e.primitive.name == "cos")
    assert source.resolve(cosine.location).text == "np.sin(x)"


def test_running_it() -> None:
    program = kn.graph(layer)({"w": W}, X)
    got, want = program({"w": W}, X), layer({"w": W}, X)
    assert kn.tree.structure(got) == kn.tree.structure(want)
    for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
        assert np.array_equal(a, b)
    check(program)


def test_shapes_and_dtypes_suffice() -> None:
    program = kn.graph(layer)({"w": ShapeDtype((4, 2), "float32")}, ShapeDtype((3, 4), "float32"))
    assert program.outputs[0].aval == ShapeDtype((3, 2), "float32")
    got = kn.eval_shape(layer, {"w": ShapeDtype((4, 2), "float32")}, X.astype(np.float32))
    assert got["h"] == ShapeDtype((3, 2), "float32")
    assert got["sum"].shape == ()


def test_other_arguments_are_refused() -> None:
    program = kn.graph(layer)({"w": W}, X)
    with pytest.raises(KinoneError, match="other arguments"):
        program({"v": W}, X)
    with pytest.raises(KinoneError, match=r"x is float64\[2,4\].*traced for float64\[3,4\]"):
        program({"w": W}, X[:2])
    with pytest.raises(KinoneError, match="params/w is float32"):
        program({"w": W.astype(np.float32)}, X)


def test_keywords_have_names() -> None:
    program = kn.graph(lambda x, *rest, scale: x * rest[0] * scale["s"])(X, 2.0, scale={"s": X})
    assert [v.label for v in program.inputs] == ["x", "argument 1", "scale/s"]
    assert "scale/s" in str(program)
    assert np.array_equal(program(X, 3.0, scale={"s": X}), X * 3.0 * X)


def test_dead_code_is_dropped_and_live_kept() -> None:
    def f(x: Any) -> Any:
        np.sin(x)
        y = np.cos(x)
        np.exp(y)
        return y

    assert [e.primitive.name for e in kn.graph(f)(X).equations] == ["cos"]


def test_constants_have_run_already() -> None:
    def f(x: Any) -> Any:
        return x + np.sin(np.ones(4)) + 1

    program = kn.graph(f)(X)
    assert [e.primitive.name for e in program.equations] == ["add", "add"]
    assert "float64[4]" in str(program)
    assert np.array_equal(program(X), f(X))


def test_outputs_may_be_inputs_constants_and_repeated() -> None:
    program = kn.graph(lambda x: (x, x, 3.0, np.ones(2)))(X)
    a, b, c, d = program(X)
    assert np.array_equal(a, X)
    assert np.array_equal(b, X)
    assert c == 3.0
    assert np.array_equal(d, np.ones(2))
    assert "return 0: x, 1: x, 2: 3.0, 3: float64[2]" in str(program)
    assert "return nothing" in str(kn.graph(lambda x: None)(X))


def test_many_names() -> None:
    def f(x: Any) -> Any:
        for _ in range(60):
            x = np.sin(x)
        return x

    text = str(kn.graph(f)(X))
    assert "aa: " in text
    assert text.count(" = sin") == 60
    named = kn.graph(lambda a: np.sin(np.cos(a)))(X)  # `a` is taken
    assert "b: float64[3,4] = cos a" in str(named)


def test_control_flow_has_no_value() -> None:
    for f, what in (
        (lambda x: x if x[0, 0] > 0 else -x, "bool"),
        (lambda x: np.ones(3)[x[0].astype(int)], "array"),
        (lambda x: float(x[0, 0]), "float"),
        (lambda x: [1, 2][x[0, 0].astype(int)], "index"),
        (lambda x: x[x > 0], "mask"),
    ):
        with pytest.raises(TracerConversionError, match=what) as caught:
            kn.graph(f)(X)
        assert "test_graph.py" in str(caught.value) or what == "mask"


def test_fresh_names_do_not_collide_with_dotted_labels() -> None:
    program = kn.graph(lambda b, a: np.sin(a) * b)(X, X)
    assert "c: float64[3,4] = sin a" in str(program)


def test_eval_shape_computes_nothing() -> None:
    huge = ShapeDtype((10**6, 10**6), np.float32)
    assert kn.eval_shape(lambda x: np.sum(np.tanh(x) @ x[:, :3], axis=0), huge).shape == (3,)


def test_shape_rules_of_indexing() -> None:
    x = ShapeDtype((5, 4, 3), np.float32)
    for index, want in (
        ((slice(None), 0), (5, 3)),
        ((..., None), (5, 4, 3, 1)),
        ((np.array([1, 2]), slice(None), np.array([0, 1])), (2, 4)),
        ((slice(None, None, -2),), (3, 4, 3)),
        (([[0, 1], [2, 3]],), (2, 2, 4, 3)),
    ):
        assert kn.eval_shape(lambda x, i=index: x[i], x).shape == want


def test_nested_graphs_see_outer_values() -> None:
    def f(x: Any) -> Any:
        return kn.graph(lambda y: np.sin(y) * x)(x)(x)

    program = kn.graph(f)(X)
    assert np.array_equal(program(X), np.sin(X) * X)


# ---- check ---------------------------------------------------------------------------------------


def _program(equations: list[Equation], inputs: list[Var], outputs: list[Var]) -> Graph:
    structure = kn.tree.structure(((1.0,), {}))
    return Graph("f", inputs, equations, outputs, structure, kn.tree.structure(1.0))


def test_check_finds_broken_programs() -> None:
    aval = ShapeDtype((2,), np.float64)
    x, y, stranger = Var(aval), Var(aval), Var(aval)
    sine = registry["sin"]
    check(_program([Equation(sine, [x], {}, [y], None)], [x], [y]))
    with pytest.raises(KinoneError, match="not defined before"):
        check(_program([Equation(sine, [stranger], {}, [y], None)], [x], [y]))
    with pytest.raises(KinoneError, match="a second time"):
        check(_program([Equation(sine, [x], {}, [y], None)] * 2, [x], [y]))
    with pytest.raises(KinoneError, match="the result uses"):
        check(_program([], [x], [stranger]))
    wrong = Var(ShapeDtype((3,), np.float64))
    with pytest.raises(KinoneError, match="its shape rule says"):
        check(_program([Equation(sine, [x], {}, [wrong], None)], [x], [wrong]))


def test_evaluate_is_flat() -> None:
    program = kn.graph(np.sin)(X)
    (got,) = evaluate(program, [X])
    assert np.array_equal(got, np.sin(X))


def test_graphs_differentiate_in_both_modes_and_twice() -> None:
    program = kn.graph(lambda x: np.sum(np.sin(x) * x))(X)
    want = np.cos(X) * X + np.sin(X)
    np.testing.assert_allclose(kn.grad(program)(X), want)
    np.testing.assert_allclose(kn.jvp(program, (X,), (X,))[1], np.sum(want * X))
    second = kn.graph(kn.grad(program))(X)
    np.testing.assert_allclose(second(X), want)
    check(second)
