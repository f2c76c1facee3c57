"""What the compiler takes for granted about memory, verified on every primitive's samples.

A wrong claim would not raise: sums would differ in the last bit, or a buffer would be written over
while something still shows it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.compile.layout import layouts, roots
from kinone.core import registry, shape_dtype
from kinone.core.layout import CONTIGUOUS, ORDERED, UNKNOWN
from kinone.graph import Equation, Graph, trace_flat
from kinone.testing.operands import cast_sample, samples_of

PROGRAMS_ALONE = {"while_record", "while_replay"}


def of_one_equation(name: str) -> Iterator[tuple[Graph, Equation, list[Any], list[Any]]]:
    """Each sample of a primitive as a program of one equation, operands in C order, results."""
    primitive = registry[name]
    for sample in samples_of(primitive):
        for dtype in (np.float64, np.float32):
            casted = cast_sample(sample, dtype)
            xs = [np.array(x, order="C") if isinstance(x, np.ndarray) else x for x in casted.args]

            def apply(*xs: Any, params: Any = sample.params) -> list[Any]:
                y = primitive(*xs, **params)
                return list(y) if primitive.multiple else [y]

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program, _ = trace_flat(apply, [shape_dtype(x) for x in xs], name)
                if [e.primitive for e in program.equations] == [primitive]:
                    yield program, program.equations[0], xs, apply(*xs)


NAMES = [n for n, p in registry.items() if p.samples is not None and n not in PROGRAMS_ALONE]


@pytest.mark.parametrize("name", NAMES)
def test_claims(name: str) -> None:
    for program, equation, xs, ys in of_one_equation(name):
        known = layouts(program, CONTIGUOUS)
        for var, y in zip(equation.outputs, ys, strict=True):
            if known[var] == CONTIGUOUS and np.ndim(y):
                assert y.flags.c_contiguous
            elif known[var] == ORDERED:
                steps = [abs(step) for step in y.strides if step]
                assert steps == sorted(steps, reverse=True)
                assert min(y.strides, default=0) >= 0
                for result in (np.negative(y), y + np.zeros(y.shape), np.zeros(y.shape) * y):
                    assert result.flags.c_contiguous, "this is what it means to be ORDERED"
            if equation.primitive.fresh and isinstance(y, np.ndarray):
                assert not any(np.may_share_memory(x, y) for x in xs)


@pytest.mark.parametrize("name", NAMES)
def test_results_that_share_memory_are_known_to(name: str) -> None:
    for program, equation, xs, ys in of_one_equation(name):
        found = roots(program)
        values = dict(zip([*program.inputs, *equation.outputs], [*xs, *ys], strict=True))
        for var, y in zip(equation.outputs, ys, strict=True):
            for other, value in values.items():
                both = isinstance(y, np.ndarray) and isinstance(value, np.ndarray)
                if other is not var and both and np.shares_memory(y, value):
                    assert found[var] & found[other]


@pytest.mark.parametrize(
    "shape", [(2, 33, 31, 16), (3, 64, 64, 8), (1, 8, 8, 256), (4, 7, 9, 3)], ids=str
)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_claims_of_convolutions_of_all_sizes(shape: tuple[int, ...], kernel: int) -> None:
    """The kernels choose an algorithm by size."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    w = rng.normal(size=(kernel, kernel, shape[-1], 16)).astype(np.float32)
    for strides in (1, 2):
        y, pullback = kn.vjp(lambda x, w, s=strides: kn.ops.conv(x, w, strides=s), x, w)
        dx, _ = pullback(np.ones_like(y))
        assert y.flags.c_contiguous
        assert dx.flags.c_contiguous


def test_unknown_layouts_stay_unknown() -> None:
    def f(x: Any) -> Any:
        return np.sin(x.T) + 1.0

    program = kn.graph(f)(np.ones((3, 4)))
    known = layouts(program, CONTIGUOUS)
    assert all(known[var] == UNKNOWN for e in program.equations for var in e.outputs)
