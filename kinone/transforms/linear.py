"""`linearize` and `linear_transpose`: derivatives as linear programs that run many times.

A function is run once in forward mode on its numbers, while the tangents are those of a program
that is being traced. Whatever depends on the numbers alone is computed then and there; what
remains in the program is what the tangents pass through, and that is linear.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    ShapeDtype,
    is_inexact,
    running,
    shape_dtype,
    zeros_of,
)
from ..errors import GradientError, TreeError
from ..graph import (
    Atom,
    Graph,
    GraphTrace,
    GraphTracer,
    Var,
    evaluate,
    flat_graph,
    without_dead_code,
)
from ..ops.declare import zeros
from ..source import name_of
from .arguments import Arguments, check_leaves, split_aux
from .forward import Pushed, check_tangents
from .gradient import check_cotangent, copied, vjp


class Linear:
    """A function's value at a point, and its derivative there as a linear program."""

    def __init__(
        self,
        fun: Callable[..., Any],
        arguments: Arguments,
        name: str,
        has_aux: bool = False,
        moving: Sequence[bool] | None = None,
    ) -> None:
        trace = GraphTrace()
        trace.name = name
        self.arguments = arguments
        self.moving = moving = [
            is_inexact(leaf) and (moving is None or moving[i])
            for i, leaf in enumerate(arguments.leaves)
        ]
        with running(trace):
            directions = []
            for index, leaf in enumerate(arguments.leaves):
                aval = shape_dtype(leaf)  # a tangent is no Python number, also where its primal is
                aval = ShapeDtype(aval.shape, aval.dtype)
                label = f"tangent of {arguments.label(index)}"
                directions.append(trace.input(aval, label) if moving[index] else None)
            run = Pushed(fun, arguments, directions, name)
            result, aux = split_aux(run.result, has_aux, name)
            leaves, self.out_tree = tree.flatten(result)
            values = [run.value(leaf) for leaf in leaves]
            tangents = [run.tangent(leaf) for leaf in leaves]
            self.aux = tree.map(run.value, aux)
            inputs = [tracer.variable for tracer in directions if tracer is not None]

            def program(results: Sequence[Array]) -> Graph:
                atoms: list[Atom] = [trace.atom(result) for result in results]
                found = flat_graph(f"{name}_of_{name_of(fun)}", inputs, trace.equations, atoms)
                return without_dead_code(found)

            self.program = program([t for t in tangents if t is not None])
            # A loop that is one operation takes values and tangents through together, and its value
            # too is then known to the program alone.
            hidden = [i for i, value in enumerate(values) if _is_of(trace, value)]
            unknown = program([values[i] for i in hidden]) if hidden else None
        if unknown is not None:
            still = [zeros_of(var.aval) for var in unknown.inputs]
            for i, value in zip(hidden, evaluate(unknown, still), strict=True):
                values[i] = value
        self.avals = [shape_dtype(value) for value in values]
        self.moves = [tangent is not None for tangent in tangents]
        self.value = tree.unflatten(self.out_tree, [copied(value) for value in values])

    def push(self, directions: Sequence[Array | None]) -> list[Array]:
        """The tangents of the result's leaves, of tangents of the arguments' leaves."""
        given = [t for t, flag in zip(directions, self.moving, strict=True) if flag]
        found = iter(evaluate(self.program, given))
        return [
            next(found) if flag else zeros_of(aval)
            for flag, aval in zip(self.moves, self.avals, strict=True)
        ]


def _is_of(trace: GraphTrace, value: Array) -> bool:
    return isinstance(value, GraphTracer) and value._trace is trace


@overload
def linearize(
    fun: Callable[..., Any], *primals: Any, has_aux: Literal[False] = False
) -> tuple[Any, LinearMap]: ...
@overload
def linearize(
    fun: Callable[..., Any], *primals: Any, has_aux: Literal[True]
) -> tuple[Any, LinearMap, Any]: ...
@source.trimming
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of `fun(*primals)` and its derivative there, a linear function of the tangents.

    `x ↦ f(x), (t ↦ ∂f/∂x · t)`: what `jvp` computes, for any number of tangents at one point. `fun`
    runs once; each call of the linear function costs the linear part alone. It keeps the arrays
    that it needs, not copies, so they may not be written into before its last call; its attribute
    `graph` is the program, which prints. With `has_aux`, `fun` returns `(value, aux)` and
    `linearize` `(value, linear function, aux)`.

    Raises `TreeError` or `ValueError` when a tangent does not fit its primal, naming the leaf.

        >>> import numpy as np
        >>> y, push = linearize(lambda x: np.sin(x) * x, np.array([0.0, np.pi]))
        >>> push(np.array([1.0, 1.0])).round(6)
        array([ 0.      , -3.141593])
        >>> [equation.primitive.name for equation in push.graph.equations]
        ['multiply', 'multiply', 'multiply', 'add']
    """
    arguments = Arguments(fun, primals, {}, tuple(range(len(primals))), ())
    check_leaves(arguments, "linearize", integers="ignore")
    linear = Linear(fun, arguments, "linearize", has_aux)

    push = LinearMap(linear, primals)
    return (linear.value, push, linear.aux) if has_aux else (linear.value, push)


class LinearMap:
    """The derivative of a function at a point; `graph` is its program."""

    def __init__(self, linear: Linear, primals: tuple[Any, ...]) -> None:
        self._linear = linear
        self._primals = primals
        self.__name__ = linear.program.name

    @property
    def graph(self) -> Graph:
        return self._linear.program

    def __call__(self, *tangents: Any) -> Any:
        directions = check_tangents(self._linear.arguments, self._primals, tangents)
        return tree.unflatten(self._linear.out_tree, self._linear.push(directions))

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


@source.trimming
def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a linear function: with `fun(x) = A x`, the function `g ↦ (Aᵀ g,)`.

    Of the arguments only trees, shapes and dtypes matter; `ShapeDtype` leaves will do. `fun` is
    traced, not run. The transpose maps a tree like the result to a tuple with a tree for each
    argument; complex numbers are not conjugated. Of an affine function x ↦ A x + b it is Aᵀ too.

    Raises `GradientError` (a `TypeError`) when `fun` is not linear, with the line that is not, or
    an argument is an integer; `TreeError` or `ValueError` when a cotangent does not fit.

        >>> import numpy as np
        >>> transpose = linear_transpose(lambda x: 2 * np.stack([x[0], x[1], x[0]]), np.zeros(2))
        >>> transpose(np.array([1.0, 10.0, 100.0]))
        (array([202.,  20.]),)
    """
    arguments = Arguments(fun, primals, {}, tuple(range(len(primals))), ())
    check_leaves(arguments, "linear_transpose", integers="refuse")
    trace = GraphTrace()
    trace.name = "linear_transpose"
    with running(trace):
        xs = [
            trace.input(shape_dtype(leaf), arguments.label(index)) if is_inexact(leaf) else leaf
            for index, leaf in enumerate(arguments.leaves)
        ]

        def of_leaves(*leaves: Array) -> Any:
            return arguments.call(fun, leaves)

        value, pullback = vjp(of_leaves, *xs)
        outputs, out_tree = tree.flatten(value)
        avals = [shape_dtype(y) for y in outputs]
        gs = [trace.input(ShapeDtype(aval.shape, aval.dtype)) for aval in avals]
        atoms = [trace.atom(ct) for ct in pullback(tree.unflatten(out_tree, gs))]
    points = [x.variable for x in xs if isinstance(x, GraphTracer)]
    program = without_dead_code(
        flat_graph(
            f"transpose_of_{name_of(fun)}",
            [*points, *[g.variable for g in gs]],
            trace.equations,
            atoms,
        )
    )
    if not isinstance(fun, LinearMap):
        _check_linear(program, set(points), fun)
    # What `linearize` returned is linear, whatever the program looks like: a loop in it that is one
    # operation takes points and tangents through together. Any point will do then.
    anywhere = [zeros(v.aval) for v in points]

    def transposed(cotangent: Any) -> tuple[Any, ...]:
        got, got_tree = tree.flatten(cotangent)
        if got_tree != out_tree:
            raise TreeError(
                f"the cotangent's structure is not that of {name_of(fun)}'s result, "
                f"at {source.here()}\n" + tree.diff(tree.unflatten(out_tree, avals), cotangent)
            )
        paths = tree.treedef_paths(out_tree)
        checked = [
            check_cotangent(path, aval, g) for path, aval, g in zip(paths, avals, got, strict=True)
        ]
        return tuple(
            arguments.unflatten([_fresh(ct) for ct in evaluate(program, [*anywhere, *checked])])
        )

    return transposed


def _fresh(value: Array) -> Array:
    # Constants of the program, and arrays that pass through it, are not the caller's to write to.
    return copy.copy(value) if isinstance(value, np.ndarray) else value


def _check_linear(program: Graph, points: set[Var], fun: Callable[..., Any]) -> None:
    """Raises `GradientError` when the transposed program needs to know where it was taken."""
    for equation in program.equations:
        if any(isinstance(atom, Var) and atom in points for atom in equation.inputs):
            raise GradientError(
                f"{name_of(fun)} is not linear: its derivative depends on where it is taken, "
                f"at {source.describe(equation.location)}\n"
                "  Use vjp, or linearize it first."
            )


__all__ = ["Linear", "LinearMap", "linear_transpose", "linearize"]
