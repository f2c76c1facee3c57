"""What functions with rules of their own are made of: calls on flat leaves, that `vmap` can batch.

`custom_vjp` and `custom_jvp` each bind one primitive, whose operands are the leaves of the
arguments and whose parameter is the call: the user's functions, and how the trees of arguments and
results are put together.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

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
from .arguments import name_of, parameter_names
from .axis_names import name_of_batch, named_axis
from .batch import BatchTrace, BatchTracer

# A function of leaves that returns the leaves of its result.
Flat = Callable[..., tuple[Array, ...]]


class Signature:
    """Which of a function's arguments are differentiated, and how a call of it is laid out.

    `static` are the positions of the others, which the rules get as they are.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: int | Sequence[int],
        nondiff_argnames: str | Sequence[str],
    ) -> None:
        self.fun = fun
        numbers = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else nondiff_argnums
        names = (nondiff_argnames,) if isinstance(nondiff_argnames, str) else nondiff_argnames
        try:
            self.signature: inspect.Signature | None = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        if isinstance(fun, np.ufunc):
            self.signature = None  # `out`, `where` and the like are no arguments of the rule
        known = list(self.signature.parameters) if self.signature is not None else []
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"nondiff_argnames={missing[0]!r}, but {name_of(fun)} has no such parameter, "
                f"at {source.here()}\n  It has: {', '.join(known) or 'nothing that is known'}."
            )
        self._numbers = (*numbers, *[known.index(name) for name in names])

    def positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with the defaults filled in: the rules take them so."""
        if self.signature is None:
            if kwargs:
                raise TypeError(
                    f"{name_of(self.fun)} has no signature to place {', '.join(kwargs)} in, "
                    f"at {source.here()}\n  Pass all arguments by position."
                )
            return args
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        keywords = [name for name in bound.kwargs if name in kwargs]
        if keywords:
            raise TypeError(
                f"{name_of(self.fun)} takes {', '.join(keywords)} by keyword alone, and its rules "
                f"take all arguments by position, at {source.here()}"
            )
        return bound.args

    def split(self, args: tuple[Any, ...]) -> tuple[dict[int, Any], tuple[Any, ...]]:
        """The static arguments by position, and the others."""
        static = {number % len(args): args[number] for number in self._numbers if args}
        return static, tuple(arg for i, arg in enumerate(args) if i not in static)

    def names(self, args: tuple[Any, ...], static: dict[int, Any]) -> list[str]:
        """The names of the arguments that are not static."""
        names = parameter_names(self.fun, len(args))
        return [name for i, name in enumerate(names) if i not in static]


def merged(static: dict[int, Any], rest: Sequence[Any]) -> list[Any]:
    """All arguments again, by position."""
    others = iter(rest)
    count = len(static) + len(rest)
    return [static[i] if i in static else next(others) for i in range(count)]


def check_numbers(trees: Sequence[Any], names: Sequence[str], who: str) -> None:
    """Raises `LeafError` for a leaf that is no number."""
    for value, name in zip(trees, names, strict=True):
        for path, leaf in tree.leaves_with_path(value):
            if not is_number(leaf):
                error = leaf_error(f"{name}/{path}" if path else name, leaf, who)
                problem = error.args[0].partition("\n")[0]
                error.args = (
                    f"{problem}\n  Name {name} in nondiff_argnames, and it stays as it is.",
                )
                raise error


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


def check_closure(results: Sequence[Array], name: str, why: str) -> None:
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
                        raise closure_error(inner, name, why)
                    pending.append(inner)


def closure_error(tracer: Tracer, name: str, why: str) -> GradientError:
    """The error for a traced value that a function uses without being given it."""
    label = tracer._trace.label(tracer)
    made = "" if label else f"It was made at {source.describe(tracer.location)}.\n  "
    return GradientError(
        f"{name} uses {label or f'a value, {tracer.aval}'}, which {tracer._trace.name} traces, "
        f"without being given it, at {source.here()}\n"
        f"  {made}{why}\n"
        f"  Pass it to {name} as an argument."
    )


class Call:
    """What a primitive holds of a function with rules of its own."""

    name: str

    def run(self, *leaves: Array) -> tuple[Array, ...]:
        """The function itself, on leaves."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.name


def bind(primitive: Primitive, call: Call, leaves: Sequence[Array], why: str) -> Any:
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
            raise closure_error(captured[0], call.name, why)
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

        @functools.wraps(flat)
        def mapped(*leaves: Array) -> tuple[Array, ...]:
            trace = self.trace()
            with running(trace), named_axis(trace):
                results = flat(*self.enter(trace, leaves))
                return tuple([self.whole(trace, leaf) for leaf in results])

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
