"""`debug.profile`, `debug.residuals`, `debug.dtypes`, `debug.explain`, `kn.env`: data and text."""

from __future__ import annotations

import functools
import importlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import debug
from kinone.core import Primitive, ShapeDtype, registry
from kinone.debug.recording import held
from kinone.debug.rule_text import formula
from kinone.debug.table import megabytes, operations
from kinone.errors import KinoneError

RNG = np.random.default_rng(0)
P = {
    "w1": RNG.normal(size=(8, 16)),
    "b1": np.zeros(16),
    "w2": RNG.normal(size=(16, 4)),
    "b2": np.zeros(4),
}
IMAGES = RNG.normal(size=(32, 8))
TARGETS = RNG.normal(size=(32, 4))


def loss(p: Any, x: Any) -> Any:
    h = np.tanh(x @ p["w1"] + p["b1"])
    y = h @ p["w2"] + p["b2"]
    return np.mean((y - TARGETS) ** 2)


FIRST = loss.__code__.co_firstlineno

# ---- profile -------------------------------------------------------------------------------------


def test_profile_counts_calls_work_and_bytes() -> None:
    with debug.profile() as p:
        for _ in range(3):
            kn.value_and_grad(loss)(P, IMAGES)
    rows = {row.line - FIRST: row for row in p.rows}
    assert set(rows) == {1, 2, 3}
    one, two, three = rows[1], rows[2], rows[3]
    assert (one.forward_calls, one.backward_calls) == (9, 9)
    assert one.text == 'h = np.tanh(x @ p["w1"] + p["b1"])'
    assert one.filename == __file__
    assert one.primitives["matmul"] == 6
    # matmul 2·32·8·16, add and tanh one each an element.
    assert one.forward_flops == 3 * (2 * 32 * 8 * 16 + 2 * 32 * 16)
    # x needs no cotangent: one product in the backward pass, and two on the other line.
    assert one.backward_flops == 3 * (2 * 32 * 8 * 16 + 3 * 32 * 16)
    assert two.backward_flops == 3 * (2 * 2 * 32 * 16 * 4 + 2 * 32 * 4)
    assert three.backward_calls == 9
    # Forward: product, sum and tanh; backward: tanh's, add's two and the weight's cotangent.
    assert one.nbytes == 3 * 8 * (3 * 32 * 16 + 2 * 32 * 16 + 16 + 8 * 16)
    assert p.seconds >= sum(row.seconds for row in p.rows) > 0
    assert [row.seconds for row in p.rows] == sorted((r.seconds for r in p.rows), reverse=True)


def test_profile_prints_a_table() -> None:
    with debug.profile() as p:
        kn.grad(loss)(P, IMAGES)
    lines = str(p).splitlines()
    assert "operations" in lines[0]
    assert lines[1].split()[:2] == ["forward", "backward"]
    assert lines[-1].endswith("in all")
    assert any(f"test_debug_measure.py:{FIRST + 1}  h = np.tanh" in line for line in lines)
    assert len(lines) == 6
    with debug.profile() as nothing:
        pass
    assert "0 operations" in str(nothing)


def test_time_goes_to_the_operation_that_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(x: Any) -> Any:
        time.sleep(0.02)
        return np.tanh(x)

    monkeypatch.setattr(registry["tanh"], "impl", slow)
    with debug.profile() as p:
        kn.grad(loss)(P, IMAGES)
    top = p.rows[0]
    assert top.line == FIRST + 1
    assert 0.02 <= top.forward_seconds < 0.2
    assert top.backward_seconds < 0.02


def test_profile_of_compiled_and_mapped_functions() -> None:
    step = kn.jit(kn.value_and_grad(loss))
    step(P, IMAGES)
    with debug.profile() as p:
        step(P, IMAGES)
    lines = {row.line - FIRST for row in p.rows if row.filename == __file__}
    assert {1, 2, 3} <= lines
    by_line = {row.line - FIRST: row for row in p.rows}
    assert by_line[1].primitives["matmul"] >= 2
    # A program traced from a backward pass knows which of its equations belong to that.
    assert by_line[1].forward_calls == 3
    assert by_line[1].backward_calls > 3
    with debug.profile() as p:
        kn.vmap(kn.grad(lambda x: np.sum(np.tanh(x) ** 2)))(IMAGES)
    (row,) = p.rows
    assert row.backward_calls
    assert row.forward_calls


def test_work_of_convolutions() -> None:
    x, w = np.ones((2, 8, 8, 3), np.float32), np.ones((3, 3, 3, 16), np.float32)
    forward = 2 * (2 * 8 * 8 * 16) * (3 * 3 * 3)
    with debug.profile() as p:
        kn.vjp(kn.ops.conv, x, w)[1](np.ones((2, 8, 8, 16), np.float32))
    assert p.rows[0].forward_flops == forward
    assert sum(row.backward_flops for row in p.rows) == 2 * forward


def test_units() -> None:
    assert [megabytes(n) for n in (0, 999, 1000, 1536, 10**6, 25 * 10**8)] == [
        *("0 B", "999 B", "1 kB", "1.54 kB", "1 MB", "2.5 GB")
    ]
    assert operations(1.5e13) == "15 TFLOP"


# ---- residuals -----------------------------------------------------------------------------------


def test_residuals_of_a_network() -> None:
    kept = debug.residuals(loss, P, IMAGES, argnums=0)
    found = {(row.origin, row.nbytes, row.keepers) for row in kept.rows}
    assert found == {
        ("input x", 32 * 8 * 8, 1),  # for w1's cotangent
        ("result of tanh", 32 * 16 * 8, 2),  # for tanh itself and for w2's
        ("input p/w2", 16 * 4 * 8, 1),  # for tanh's result
        ("result of subtract", 32 * 4 * 8, 1),
    }
    assert kept.nbytes == sum(row.nbytes for row in kept.rows)
    assert kept.input_nbytes == 32 * 8 * 8 + 16 * 4 * 8
    text = str(kept)
    assert "keeps 4 arrays" in text
    assert f"test_debug_measure.py:{FIRST + 1}" in text
    assert [row.nbytes for row in kept.rows] == sorted((r.nbytes for r in kept.rows), reverse=True)


def test_residuals_of_all_arguments_are_more() -> None:
    some = debug.residuals(loss, P, IMAGES, argnums=0)
    everything = debug.residuals(loss, P, IMAGES)
    assert everything.nbytes == some.nbytes + P["w1"].nbytes


def test_what_is_kept_once_counts_once_and_views_count_their_memory() -> None:
    x = np.ones(1000)
    assert debug.residuals(lambda x: np.sum(x * x), x).nbytes == 8000
    assert debug.residuals(lambda x: np.sum(np.exp(x) * np.exp(x)), x).nbytes == 16000
    # The slice shows ten elements, and keeps the thousand alive.
    kept = debug.residuals(lambda x: np.sum(np.sin((x * 2.0)[:10])), x)
    assert kept.nbytes == 8000
    assert debug.residuals(lambda x: np.sum(x + 1.0), x).nbytes == 0
    assert "0 arrays" in str(debug.residuals(lambda x: np.sum(x + 1.0), x))


def test_constants_are_named() -> None:
    (row,) = debug.residuals(lambda x: np.sum(x * TARGETS), np.ones((32, 4))).rows
    assert row.origin == "a constant"


def test_held_looks_into_closures_and_what_they_hold() -> None:
    a, b, c, d, e = (np.ones(i) for i in range(1, 6))

    class Box:
        __slots__ = ("inside",)

        def __init__(self, inside: Any) -> None:
            self.inside = inside

        def method(self) -> None: ...

    def pullback(g: Any, default: Any = d) -> Any:
        return a, [b, {"c": c}], functools.partial(np.add, c), Box(e)

    boxed = Box(e)
    inner = functools.partial(pullback, [boxed.method])

    def outer() -> Any:
        return inner, a

    found = sorted(x.size for x in held(outer))
    assert found == [1, 2, 3, 4, 5]


def test_residuals_leave_arrays_writeable() -> None:
    x = np.ones(3)
    debug.residuals(lambda x: np.sum(x * x), x)
    assert x.flags.writeable


# ---- dtypes --------------------------------------------------------------------------------------

SINGLE = np.ones((3, 2), np.float32)


@pytest.mark.parametrize(
    ("f", "primitive", "reason"),
    [
        (lambda x: x * np.float64(0.5), "multiply", "operand 1 is np.float64(0.5): write 0.5"),
        (lambda x: x @ np.ones(2), "matmul", "operand 1 is a constant array of float64"),
        (lambda x: x + np.arange(2), "add", "operand 1 is a constant array of int64, which needs"),
        (lambda x: x.astype(np.float64), "astype", "astype(float64) asks for it"),
        (lambda x: x * 1j, "multiply", ""),
    ],
)
def test_widenings(f: Any, primitive: str, reason: str) -> None:
    (row,) = debug.dtypes(f, SINGLE).rows
    assert row.primitive == primitive
    assert row.reason.startswith(reason)
    assert row.result.dtype in (np.float64, np.complex64)
    assert "test_debug_measure.py" in row.place


def test_what_does_not_widen() -> None:
    found = debug.dtypes(lambda x: np.sum(np.tanh(x * 0.5) ** 2) / x.size, SINGLE)
    assert not found
    assert "becomes wider" in str(found)
    assert not debug.dtypes(kn.grad(lambda x: np.mean(x * 2)), SINGLE)
    assert not debug.dtypes(lambda x: x * 2, np.ones(3))


def test_only_the_first_of_what_follows_is_listed() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x * np.float64(2))
        return np.sum(y + x) + np.sum(x * TARGETS[0, 0])

    found = debug.dtypes(f, SINGLE)
    assert len(found.rows) == 2
    assert f"test_debug_measure.py:{f.__code__.co_firstlineno + 1}" in found.rows[0].place
    assert "widens 2 times" in str(found)
    # A graph will do, and an argument is named.
    program = kn.graph(lambda x, w: x * w)(SINGLE, np.ones(2))
    assert debug.dtypes(program).rows[0].reason == "operand 1 is w, float64"


# ---- explain -------------------------------------------------------------------------------------


def test_explain_follows_the_backward_pass() -> None:
    told = debug.explain(loss, P, IMAGES, argnums=0)
    assert [step.primitive for step in told.steps] == [
        *("mean", "power", "subtract", "add", "matmul", "tanh", "add", "matmul")
    ]
    assert [step.number for step in told.steps] == list(range(1, 9))
    tanh = told.steps[5]
    assert tanh.cotangents[0].formula == "g * (1 - y * y)"
    assert tanh.cotangents[0].target == "step 7 (add)"
    assert f"test_debug_measure.py:{FIRST + 1}" in tanh.place
    assert [each.target for each in told.steps[4].cotangents] == ["step 6 (tanh)", "p/w2"]
    # The norms at the arguments are those of the gradient.
    gradient = kn.grad(loss)(P, IMAGES)
    for each in told.gradients:
        name = each.target.removeprefix("p/")
        assert each.norm == pytest.approx(np.linalg.norm(gradient[name]))
        assert each.aval == ShapeDtype(gradient[name].shape, np.float64)
    text = str(told)
    assert "= g * (1 - y * y)" in text
    assert "p/w1: float64[8,16], norm" in text


def test_explain_of_several_results_and_unused_arguments() -> None:
    told = debug.explain(lambda x, y: (np.split(x, 2)[0] * 2.0, x), np.ones(4), np.ones(2))
    assert [each.target for each in told.gradients] == ["x", "y"]
    assert told.gradients[0].norm == pytest.approx(np.sqrt(2 * 9 + 2))
    assert told.gradients[1].aval is None
    assert "y: zero" in str(told)


DIFFERENTIABLE = [p for p in registry.values() if p.vjp is not None and p.samples is not None]


@pytest.mark.parametrize("primitive", DIFFERENTIABLE, ids=lambda p: p.name)
def test_every_rule_has_a_text(primitive: Primitive) -> None:
    (args, *_) = primitive.samples()[0]  # type: ignore[misc]
    for operand in range(len(args)):
        text = formula(primitive, operand)
        assert text
        assert "lambda" not in text.split(":")[0]


def test_two_rules_on_one_line_are_told_apart() -> None:
    assert formula(registry["multiply"], 0) == "g * b"
    assert formula(registry["multiply"], 1) == "g * a"
    assert formula(registry["subtract"], 1) == "-g"
    assert formula(registry["floor"], 0) == "constant: no derivative"


# ---- env -----------------------------------------------------------------------------------------


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = kn.env()
    rows = dict(found.rows)
    assert rows["kinone"] == kn.__version__
    assert rows["numpy"] == np.__version__
    assert rows["OMP_NUM_THREADS"] == "3"
    assert {"python", "platform", "blas", "lapack", "cpus", "simd found"} <= set(rows)
    assert rows["python threads"] == str(threading.active_count())
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1):
        limited = kn.env().rows
    assert {value for name, value in limited if name.startswith("openblas")} == {"1"}
    assert str(found) == found.text == repr(found)
    for private in (str(Path.home()), os.getcwd(), os.sep + "usr", os.sep + "lib"):
        if len(private) > 2:
            assert private not in found.text


def test_debug_is_loaded_on_first_use() -> None:
    assert kn.debug is importlib.import_module("kinone.debug")
    assert "debug" in dir(kn)
    for name in debug.__all__:
        assert getattr(debug, name).__doc__, f"debug.{name} has no docstring"
    assert issubclass(debug.NaNError, KinoneError)
