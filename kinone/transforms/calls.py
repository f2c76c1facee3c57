"""Calls of functions with rules of their own, on flat leaves, that `vmap` can batch.

`custom_vjp` and `custom_jvp` each bind one primitive, whose operands are the leaves of the
arguments and whose parameter is the call: the user's functions, and how the trees of arguments and
results are put together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Tracer,
    is_number,
    leaf_error,
    running,
    shape_dtype,
    shape_of,
)
from ..errors import GradientError, TreeError
from ..graph import Graph, GraphTrace, trace_flat
from .axis_names import name_of_batch, named_axis
from .batch import BatchTrace, BatchTracer

_WHY = "Its rule says how to differentiate with respect to its arguments, and nothing of this."

# A function of leaves that returns the leaves of its result.
Flat = Callable[..., tuple[Array, ...]]


class Results:
    """The tree of a function's results, known as soon as one of its variants has run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.treedef: tree.TreeDef | None = None
        self.example: Any = None

    def flatten(self, result: Any, who: str) -> tuple[Array, ...]:
        """The leaves of a result, which has the tree of those before it."""
        leaves, treedef = tree.flatten(result)
        for path, leaf in tree.leaves_with_path(result):
            if not is_number(leaf):
                raise leaf_error(path or "the result", leaf, who)
        if self.treedef is None:
            self.treedef = treedef
            self.example = tree.map(lambda leaf: 0, result)
        elif treedef != self.treedef:
            raise TreeError(
                f"{who} returned another tree than {self.name}, at {source.here()}\n"
                + tree.diff(self.example, tree.map(lambda leaf: 0, result))
            )
        return tuple(leaves)

    def unflatten(self, leaves: Sequence[Array]) -> Any:
        assert self.treedef is not None
        return tree.unflatten(self.treedef, leaves)


# ---- what the functions close over ---------------------------------------------------------------


def check_closure(results: Sequence[Array], name: str) -> None:
    """Raises `GradientError` when a result depends on a traced value that was no argument.

    A tracer's value belongs to an earlier trace. Where it does not, it came in by the back door: a
    rule's function used a value of this trace, or of a later one, which the rule says nothing of.
    """
    for result in results:
        pending = [result]
        while pending:
            x = pending.pop()
            for inner in (getattr(x, "value", None), getattr(x, "tangent", None)):
                if isinstance(inner, Tracer):
                    if inner._trace.level >= x._trace.level:
                        raise _closure_error(inner, name)
                    pending.append(inner)


def _closure_error(tracer: Tracer, name: str) -> GradientError:
    """The error for a traced value that a function uses without being given it."""
    label = tracer._trace.label(tracer)
    made = "" if label else f"It was made at {source.describe(tracer.location)}.\n  "
    return GradientError(
        f"{name} uses {label or f'a value, {tracer.aval}'}, which {tracer._trace.name} traces, "
        f"without being given it, at {source.here()}\n"
        f"  {made}{_WHY}\n"
        f"  Pass it to {name} as an argument."
    )


class Call(ABC):
    """What a primitive holds of a function with a rule of its own."""

    name: str

    @abstractmethod
    def run(self, *leaves: Array) -> tuple[Array, ...]:
        """The function itself, on leaves."""

    def __repr__(self) -> str:
        return self.name


def bind(primitive: Primitive, call: Call, leaves: Sequence[Array]) -> Any:
    """Applies the primitive of a call; a program that is being traced also holds the function's.

    So a compiled program compiles the function as well, and its derivative still uses the rules.
    """
    tracers = [leaf for leaf in leaves if isinstance(leaf, Tracer)]
    top = max(tracers, key=lambda tracer: tracer._trace.level, default=None)
    program = None
    if top is not None and type(top._trace) is GraphTrace:
        avals = [shape_dtype(leaf) for leaf in leaves]
        program, captured = trace_flat(call.run, avals, call.name)
        if captured:
            raise _closure_error(captured[0], call.name)
    return primitive(*leaves, call=call, program=program)


def run_call(*leaves: Array, call: Call, program: Callable[..., Any] | None) -> Any:
    """The function itself."""
    return call.run(*leaves) if program is None else program(*leaves)


def shape_of_call(*avals: ShapeDtype, call: Call, program: Graph | None) -> tuple[ShapeDtype, ...]:
    """What the function returns."""
    if program is None:
        program, _ = trace_flat(call.run, avals, call.name)
    return tuple([atom.aval for atom in program.outputs])


def by_run(*_: Any) -> Any:
    """In place of rules for which `run_vjp` and `run_jvp` stand in."""
    raise AssertionError("run_vjp and run_jvp stand in for this rule")


# ---- batches -------------------------------------------------------------------------------------


class Batch:
    """A run of functions on a whole batch, as `vmap` would run them.

    `flags` says which leaves have the batch axis, first.
    """

    def __init__(self, size: int, flags: Sequence[bool]) -> None:
        self.size = size
        self.flags = tuple(flags)
        self.name = name_of_batch()

    def trace(self) -> BatchTrace:
        return BatchTrace(self.size, self.name)

    def enter(self, trace: BatchTrace, leaves: Sequence[Array]) -> list[Array]:
        """The operands, as one example sees them."""
        return [
            trace.input(leaf, "") if flag else leaf
            for leaf, flag in zip(leaves, self.flags, strict=True)
        ]

    def whole(self, trace: BatchTrace, leaf: Array) -> Array:
        """A result with the batch axis first, also where it is the same for all examples."""
        if is_of(trace, leaf):
            return leaf.value
        return np.broadcast_to(leaf, (self.size, *shape_of(leaf)))

    def run(self, flat: Flat) -> Flat:
        """`flat` for whole batches."""

        def mapped(*leaves: Array) -> tuple[Array, ...]:
            trace = self.trace()
            with running(trace), named_axis(trace):
                return tuple([self.whole(trace, y) for y in flat(*self.enter(trace, leaves))])

        return mapped

    def summed(self, trace: BatchTrace, cotangents: Sequence[Array | None]) -> list[Array | None]:
        """Cotangents of the operands: one for each example of a batched operand, and the sum over
        the examples where they share the operand."""
        found: list[Array | None] = []
        for cotangent, flag in zip(cotangents, self.flags, strict=True):
            if cotangent is None or flag:
                whole = None if cotangent is None else self.whole(trace, cotangent)
            elif is_of(trace, cotangent):
                whole = np.add.reduce(cotangent.value, axis=0)
            else:
                whole = cotangent * self.size
            found.append(whole)
        return found


def is_of(trace: BatchTrace, leaf: Any) -> bool:
    return isinstance(leaf, BatchTracer) and leaf._trace is trace


C = TypeVar("C", bound=Call)


class BatchedCall(Call, Generic[C]):
    """A call for whole batches; how its rule is batched is added by who knows the kind of rule."""

    def __init__(self, call: C, batch: Batch) -> None:
        self.name = call.name
        self.call = call
        self.batch = batch

    def run(self, *leaves: Array) -> tuple[Array, ...]:
        return self.batch.run(self.call.run)(*leaves)
