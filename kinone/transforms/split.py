"""A program's derivative as programs: what `jit`, `scan` and `while_loop` differentiate with.

Reverse mode needs two: a forward program that also returns what the derivative keeps, and a
backward program that takes it. Both come out of one trace: the pullback is traced by a second trace
inside the first, and whatever it computes from the forward run's values alone lands in the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, ShapeDtype, is_inexact, running, shape_dtype, shape_of, zeros_of
from ..graph import Graph, GraphTrace, close, evaluate, trace_flat, tracing
from .axis_names import name_of_batch, named_axis
from .batch import BatchTrace, BatchTracer
from .forward import jvp
from .gradient import vjp
from .records import repeat_p


def restricted(program: Graph, wanted: Sequence[bool], leaves: Sequence[Array]) -> Any:
    """The program as a function of the wanted inputs alone."""

    def function(*some: Array) -> tuple[Array, ...]:
        rest = iter(some)
        return tuple(
            evaluate(
                program,
                [next(rest) if flag else x for flag, x in zip(wanted, leaves, strict=True)],
            )
        )

    return function


def forward_backward(program: Graph, wanted: Sequence[bool]) -> tuple[Graph, Graph]:
    """The two programs of reverse mode with respect to the wanted inputs.

    forward:   inputs ↦ (*outputs, *residuals)
    backward:  (*residuals, *cotangents of the floating outputs) ↦ cotangents of the wanted inputs
    """
    first, second = GraphTrace(), GraphTrace()
    with tracing(first):
        inputs = [first.input(var.aval, var.label) for var in program.inputs]
        chosen = [x for x, flag in zip(inputs, wanted, strict=True) if flag]
        outputs, pullback = vjp(restricted(program, wanted, inputs), *chosen)
        with tracing(second):
            seeds = [second.input(aval) for aval in floating(program)]
            rest = iter(seeds)
            avals = [atom.aval for atom in program.outputs]
            cotangents = pullback(
                tuple([next(rest) if is_floating(aval) else zeros_of(aval) for aval in avals])
            )
            atoms = [second.atom(cotangent) for cotangent in cotangents]
        backward, residuals = close(
            f"{program.name}_backward", [x.variable for x in seeds], second.equations, atoms
        )
        kept = [first.atom(value) for value in (*outputs, *residuals)]
    variables = [x.variable for x in inputs]
    forward, captured = close(f"{program.name}_forward", variables, first.equations, kept)
    assert not captured
    return forward, backward


def is_floating(aval: ShapeDtype) -> bool:
    """Whether a value of this kind has a derivative."""
    return is_inexact(aval)


def is_opaque(aval: ShapeDtype) -> bool:
    """Whether a value is no array but the record of a loop, which has no axes."""
    return aval.dtype.kind == "O"


def floating(program: Graph) -> list[ShapeDtype]:
    """The floating outputs of a program."""
    return [atom.aval for atom in program.outputs if is_floating(atom.aval)]


def pushforward(program: Graph, moving: Sequence[bool]) -> Graph:
    """The program of forward mode: (*inputs, *tangents of the moving inputs) ↦ (*outputs, *tangents
    of the floating outputs)."""
    avals = [var.aval for var in program.inputs]

    def function(*leaves: Array) -> list[Array]:
        inputs, tangents = leaves[: len(avals)], leaves[len(avals) :]
        chosen = tuple([x for x, flag in zip(inputs, moving, strict=True) if flag])
        ys, ts = jvp(restricted(program, moving, inputs), chosen, tangents)
        floats = [is_floating(atom.aval) for atom in program.outputs]
        return [*ys, *[t for t, flag in zip(ts, floats, strict=True) if flag]]

    moved = [aval for aval, flag in zip(avals, moving, strict=True) if flag]
    tangents = [ShapeDtype(aval.shape, aval.dtype) for aval in moved]
    labels = [var.label for var in program.inputs] + [None] * len(tangents)
    traced, captured = trace_flat(function, [*avals, *tangents], f"{program.name}_jvp", labels)
    assert not captured
    return traced


def batched(program: Graph, size: int, flags: Sequence[bool]) -> Graph:
    """The program of a whole batch: flagged inputs, and all outputs, have the batch axis first."""
    avals = [
        ShapeDtype((size, *var.aval.shape), var.aval.dtype)
        if flag and not is_opaque(var.aval)
        else var.aval
        for var, flag in zip(program.inputs, flags, strict=True)
    ]

    name = name_of_batch()

    def function(*leaves: Array) -> list[Array]:
        trace = BatchTrace(size, name)
        with running(trace), named_axis(trace):
            inputs = [
                trace.input(leaf, var.label or "") if flag else leaf
                for leaf, var, flag in zip(leaves, program.inputs, flags, strict=True)
            ]
            return [_of_all(trace, result) for result in evaluate(program, inputs)]

    labels = [var.label for var in program.inputs]
    traced, captured = trace_flat(function, avals, f"{program.name}_batched", labels)
    assert not captured
    return traced


def _of_all(trace: BatchTrace, result: Array) -> Array:
    """A result with the batch axis first, also where it is the same for all examples."""
    if isinstance(result, BatchTracer) and result._trace is trace:
        return result.value
    if is_opaque(shape_dtype(result)):
        return repeat_p(result, count=trace.size, outer=0)
    return np.broadcast_to(result, (trace.size, *shape_of(result)))


def fill_zeros(gs: Sequence[Array | None], program: Graph) -> list[Array]:
    """The cotangents of a program's floating outputs, zeros where none arrived."""
    return [
        zeros_of(atom.aval) if g is None else g
        for g, atom in zip(gs, program.outputs, strict=True)
        if is_floating(atom.aval)
    ]


__all__ = [
    "batched",
    "fill_zeros",
    "floating",
    "forward_backward",
    "is_floating",
    "is_opaque",
    "pushforward",
]
