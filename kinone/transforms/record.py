"""Recording: a program of what a function does with the numbers that it gets.

Tracing to a program knows shapes and dtypes alone, and a Python `if` on a traced value is refused.
Here each value carries its number along, as far as the arguments have one: the function runs as it
does under differentiation, and the program is the path that it took. What transformations around
it trace is taken down to the numbers, so that they note nothing of this run; the tracers that the
function used without being given them become inputs of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, Tracer, is_inexact, leaked, running, shape_dtype
from ..core.conversions import cut
from ..graph import (
    Atom,
    Constant,
    Equation,
    Graph,
    GraphTrace,
    GraphTracer,
    Var,
    close,
    flat_graph,
)
from ..source import Location
from .forward import ForwardTracer
from .reverse import ReverseTracer


class _Unknown:
    """In place of a number that is not there yet."""


UNKNOWN = _Unknown()


class RecordTracer(GraphTracer):
    """A variable of the program, and its number if that is known."""

    __slots__ = ("value",)

    def __init__(
        self, trace: GraphTrace, var: Var, location: Location | None, value: Array = UNKNOWN
    ) -> None:
        super().__init__(trace, var, location)
        self.value = value

    def _concrete(self, wanted: str) -> Any:
        if not self._trace.alive:
            raise leaked(self)
        if self.value is UNKNOWN:
            raise super()._cut(f"{wanted}(x)")
        return self.value

    def _cut(self, what: str) -> Any:
        return super()._cut(what) if self.value is UNKNOWN else cut(self, what)


class RecordTrace(GraphTrace):
    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        values = [self.number(arg) for arg in args]
        if any(value is UNKNOWN for value in values):
            return super().process(primitive, args, params)
        y = primitive(*values, **params)
        if primitive.vjp is None and not primitive.effect:
            return y  # as under differentiation
        location = source.capture()
        ys = y if primitive.multiple else (y,)
        outputs = [Var(shape_dtype(each)) for each in ys]
        inputs = [self.atom(arg) for arg in args]
        self.equations.append(Equation(primitive, inputs, params, outputs, location))
        tracers = tuple(
            RecordTracer(self, var, location, each) if is_inexact(each) else each
            for var, each in zip(outputs, ys, strict=True)
        )
        return tracers if primitive.multiple else tracers[0]

    def number(self, x: Array) -> Array:
        """The number below all tracers; `UNKNOWN` where there is none."""
        if isinstance(x, RecordTracer) and x._trace is self:
            return x.value
        return number_of(x)


def number_of(x: Array) -> Array:
    """The number below the tracers of derivatives and of other recordings; `UNKNOWN` of others."""
    while isinstance(x, (ReverseTracer, ForwardTracer, RecordTracer)):
        if not x._trace.alive:
            raise leaked(x)
        x = x.value
    if isinstance(x, (list, tuple)):
        return np.asarray(x)
    return UNKNOWN if isinstance(x, Tracer) else x


class Recorded(Graph):
    """A program that knows what it returned when it was recorded, and says so once."""

    results: tuple[Array, ...] | None = None

    def __call__(self, *leaves: Any, **kwargs: Any) -> Any:
        if self.results is None:
            return super().__call__(*leaves, **kwargs)
        results, self.results = self.results, None
        return results


def record(
    fun: Callable[..., Sequence[Array]],
    leaves: Sequence[Tracer],
    name: str,
    caller: str,
) -> tuple[Recorded, list[Array]]:
    """The program of `fun(*leaves)`, and what it uses besides: values of its first inputs.

    These are the tracers that it closes over, and all arrays: those that it uses are then operands
    of whoever runs it, and nobody may write into them in between.
    """
    trace = RecordTrace()
    trace.name = caller
    with running(trace):
        inputs = [
            RecordTracer(trace, Var(shape_dtype(leaf)), leaf.location, number_of(leaf))
            for leaf in leaves
        ]
        results = fun(*inputs)
        atoms = [trace.atom(result) for result in results]
        numbers = [trace.number(result) for result in results]
    program, captured = close(name, [x.variable for x in inputs], trace.equations, atoms)
    recorded, arrays = _without_arrays(program)
    if not any(number is UNKNOWN for number in numbers):
        recorded.results = tuple(numbers)
    return recorded, [*arrays, *captured]


def _without_arrays(program: Graph) -> tuple[Recorded, list[Array]]:
    """The program with inputs, the first ones, in place of its constant arrays."""
    lifted: dict[int, tuple[Array, Var]] = {}

    def replaced(atom: Atom) -> Atom:
        if not (isinstance(atom, Constant) and isinstance(atom.value, np.ndarray)):
            return atom
        return lifted.setdefault(id(atom.value), (atom.value, Var(atom.aval)))[1]

    equations = [e.with_inputs([replaced(atom) for atom in e.inputs]) for e in program.equations]
    outputs = [replaced(atom) for atom in program.outputs]
    variables = [var for _, var in lifted.values()]
    flat = flat_graph(program.name, [*variables, *program.inputs], equations, outputs)
    recorded = Recorded(
        flat.name, flat.inputs, flat.equations, flat.outputs, flat.in_tree, flat.out_tree
    )
    return recorded, [array for array, _ in lifted.values()]
