"""The printable program: `Graph`, `Equation`, `Var`, and how a function becomes one.

    >>> import numpy as np
    >>> program = graph(lambda x, w: np.tanh(x @ w))
    >>> print(program(np.ones((8, 16)), np.ones((16, 4))))  # doctest: +ELLIPSIS
    graph <lambda>(x: float64[8,16], w: float64[16,4]):
        a: float64[8,4] = matmul x w  # ...  x @ w
        b: float64[8,4] = tanh a      # ...  np.tanh(x @ w)
        return b

A graph is a straight line of equations in single-assignment form. Operations on values that no
argument reaches are not in it: they have run, and stand in it as constants.
"""

from __future__ import annotations

import inspect
import itertools
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import source, tree
from .core import (
    Array,
    Primitive,
    ShapeDtype,
    Trace,
    Tracer,
    is_number,
    leaf_error,
    leaked,
    running,
    shape_dtype,
)
from .errors import KinoneError, ShapeError, TracerConversionError, TreeError
from .source import Location


class Var:
    """A value of the program: its shape and dtype, and the path of the leaf that it came from."""

    __slots__ = ("aval", "label")

    def __init__(self, aval: ShapeDtype, label: str | None = None) -> None:
        self.aval = aval
        self.label = label


class Constant:
    """A value that is in the program itself."""

    __slots__ = ("value",)

    def __init__(self, value: Array) -> None:
        self.value = value

    @property
    def aval(self) -> ShapeDtype:
        return shape_dtype(self.value)

    def __str__(self) -> str:
        aval = self.aval
        if aval.shape != ():
            return f"{aval}"
        return repr(self.value[()] if isinstance(self.value, np.ndarray) else self.value)


Atom = Var | Constant


class Equation:
    """`outputs = primitive(*inputs, **params)`, and the user's line that asked for it."""

    __slots__ = ("inputs", "location", "outputs", "params", "primitive")

    def __init__(
        self,
        primitive: Primitive,
        inputs: Sequence[Atom],
        params: dict[str, Any],
        outputs: Sequence[Var],
        location: Location | None,
    ) -> None:
        self.primitive = primitive
        self.inputs = tuple(inputs)
        self.params = params
        self.outputs = tuple(outputs)
        self.location = location


class Graph:
    """A program: `inputs` and `outputs` are flat; `in_tree` and `out_tree` give them their trees.

    Calling it with arguments of the traced trees runs it, equation by equation.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Var],
        equations: Sequence[Equation],
        outputs: Sequence[Atom],
        in_tree: tree.TreeDef,
        out_tree: tree.TreeDef,
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.equations = tuple(equations)
        self.outputs = tuple(outputs)
        self.in_tree = in_tree
        self.out_tree = out_tree

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree.flatten((args, kwargs))
        if treedef != self.in_tree:
            raise TreeError(
                f"{self.name} was traced with other arguments, at {source.here()}\n"
                f"  traced: {self.in_tree}\n  called: {treedef}"
            )
        return tree.unflatten(self.out_tree, evaluate(self, leaves))

    def __str__(self) -> str:
        return format_graph(self)

    __repr__ = __str__


def evaluate(program: Graph, leaves: Sequence[Array]) -> list[Array]:
    """Runs a graph on flat inputs. The values may be tracers: a graph differentiates."""
    for var, leaf in zip(program.inputs, leaves, strict=True):
        got = shape_dtype(leaf)
        if got.shape != var.aval.shape or got.dtype != var.aval.dtype:
            raise ShapeError(
                f"{var.label} is {got}, and {program.name} was traced for {var.aval}, "
                f"at {source.here()}"
            )
    values: dict[Var, Array] = dict(zip(program.inputs, leaves, strict=True))

    def read(atom: Atom) -> Array:
        return atom.value if isinstance(atom, Constant) else values[atom]

    with source.inherit() as state:
        for equation in program.equations:
            state.inherited = equation.location
            result = equation.primitive(*map(read, equation.inputs), **equation.params)
            results = result if equation.primitive.multiple else (result,)
            values.update(zip(equation.outputs, results, strict=True))
    return [read(atom) for atom in program.outputs]


# ---- tracing -------------------------------------------------------------------------------------


class GraphTracer(Tracer):
    """A value that is known by shape and dtype alone."""

    __slots__ = ("_location", "variable")

    def __init__(self, trace: GraphTrace, var: Var, location: Location | None) -> None:
        self._trace = trace
        self.variable = var
        self._location = location

    @property
    def aval(self) -> ShapeDtype:
        return self.variable.aval

    @property
    def location(self) -> Location | None:
        return self._location

    def _cut(self, what: str) -> Any:
        if not self._trace.alive:
            return leaked(self)
        return TracerConversionError(
            f"{what} has no answer while {self._trace.name} traces: x is {self.aval}, "
            f"its numbers are not there yet, at {source.here()}\n"
            "  Write np.where(condition, a, b) for `a if condition else b`, np.stack([a, b]) for "
            "np.array([a, b]), or make the argument a plain Python value."
        )


class GraphTrace(Trace):
    name = "graph"

    def __init__(self) -> None:
        super().__init__()
        self.equations: list[Equation] = []

    def input(self, aval: ShapeDtype, label: str | None = None) -> GraphTracer:
        return GraphTracer(self, Var(aval, label), self.started)

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        avals = primitive.shape(*[shape_dtype(arg) for arg in args], **params)
        location = source.capture()
        outputs = [Var(aval) for aval in (avals if primitive.multiple else (avals,))]
        inputs = [self.atom(arg) for arg in args]
        self.equations.append(Equation(primitive, inputs, params, outputs, location))
        tracers = tuple(GraphTracer(self, var, location) for var in outputs)
        return tracers if primitive.multiple else tracers[0]

    def atom(self, value: Array) -> Atom:
        if isinstance(value, GraphTracer) and value._trace is self:
            return value.variable
        if isinstance(value, Tracer) and not value._trace.alive:
            raise leaked(value)
        if isinstance(value, (Tracer, np.ndarray, np.generic, bool, int, float, complex)):
            return Constant(value)
        return Constant(np.asarray(value))

    def label(self, tracer: Tracer) -> str | None:
        assert isinstance(tracer, GraphTracer)
        return tracer.variable.label


def graph(fun: Callable[..., Any]) -> Callable[..., Graph]:
    """A function that traces `fun` and returns its program instead of its value.

    The arguments are arrays, numbers or `ShapeDtype`s, in trees; only shapes and dtypes matter.
    The program prints with the user's file, line and expression on every equation.

        >>> import numpy as np
        >>> len(graph(np.tanh)(ShapeDtype((3,), "float32")).equations)
        1
    """

    def traced(*args: Any, **kwargs: Any) -> Graph:
        leaves, in_tree = tree.flatten((args, kwargs))
        trace = GraphTrace()
        with running(trace):
            names = _argument_names(fun, args, kwargs)
            for leaf, path in zip(leaves, names, strict=True):
                if not is_number(leaf):
                    raise leaf_error(path, leaf, "graph")
            inputs = [
                trace.input(shape_dtype(leaf), name)
                for leaf, name in zip(leaves, names, strict=True)
            ]
            new_args, new_kwargs = tree.unflatten(in_tree, inputs)
            result = fun(*new_args, **new_kwargs)
            outputs, out_tree = tree.flatten(result)
            atoms = [trace.atom(output) for output in outputs]
        program = Graph(
            getattr(fun, "__name__", type(fun).__name__),
            [tracer.variable for tracer in inputs],
            trace.equations,
            atoms,
            in_tree,
            out_tree,
        )
        return without_dead_code(program)

    return traced


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The `ShapeDtype`s that `fun(*args)` would return, in its tree, without computing anything.

    >>> import numpy as np
    >>> eval_shape(lambda x: {"y": x @ x.T}, ShapeDtype((3, 2), "float32"))
    {'y': float32[3,3]}
    """
    program = graph(fun)(*args, **kwargs)
    return tree.unflatten(program.out_tree, [atom.aval for atom in program.outputs])


def _argument_names(fun: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> list[str]:
    try:
        parameters = [
            p.name
            for p in inspect.signature(fun).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names = []
    for index, arg in enumerate(args):
        name = parameters[index] if index < len(parameters) else f"argument {index}"
        names += [f"{name}/{path}" if path else name for path in tree.paths(arg)]
    for key in sorted(kwargs):
        names += [f"{key}/{path}" if path else key for path in tree.paths(kwargs[key])]
    return names


# ---- looking at programs and cleaning them -------------------------------------------------------


def without_dead_code(program: Graph) -> Graph:
    """The program without the equations that no output depends on."""
    needed = {atom for atom in program.outputs if isinstance(atom, Var)}
    kept = []
    for equation in reversed(program.equations):
        if equation.primitive.effect or needed.intersection(equation.outputs):
            kept.append(equation)
            needed.update(atom for atom in equation.inputs if isinstance(atom, Var))
    return Graph(
        program.name,
        program.inputs,
        kept[::-1],
        program.outputs,
        program.in_tree,
        program.out_tree,
    )


def check(program: Graph) -> None:
    """Raises `KinoneError` unless every value is defined once, before its use, with the shape and
    dtype that its primitive's shape rule gives."""
    defined = set(program.inputs)

    def need(atom: Atom, where: str) -> None:
        if isinstance(atom, Var) and atom not in defined:
            raise KinoneError(f"{where} uses a value that is not defined before it")

    for equation in program.equations:
        where = f"{equation.primitive.name} at {source.describe(equation.location)}"
        for atom in equation.inputs:
            need(atom, where)
        avals = equation.primitive.shape(*[a.aval for a in equation.inputs], **equation.params)
        expected = tuple(avals) if equation.primitive.multiple else (avals,)
        found = tuple(var.aval for var in equation.outputs)
        if expected != found:
            raise KinoneError(f"{where} is {found}, and its shape rule says {expected}")
        for var in equation.outputs:
            if var in defined:
                raise KinoneError(f"{where} defines a value a second time")
            defined.add(var)
    for atom in program.outputs:
        need(atom, "the result")


def _letters() -> Iterator[str]:
    """a, b, …, z, aa, ab, …"""
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)


def format_graph(program: Graph) -> str:
    """The text of a program, one equation a line, the user's line beside it."""
    names: dict[Var, str] = {}
    for var in program.inputs:
        names[var] = (var.label or "").replace(" ", "") or f"input{len(names)}"
    taken = set(names.values())
    fresh = (name for name in _letters() if name not in taken)

    def show(atom: Atom) -> str:
        return str(atom) if isinstance(atom, Constant) else names[atom]

    rows = []
    for equation in program.equations:
        for var in equation.outputs:
            names[var] = next(fresh)
        left = ", ".join(f"{names[var]}: {var.aval}" for var in equation.outputs)
        params = ", ".join(f"{key}={_brief(value)}" for key, value in equation.params.items())
        operands = " ".join(show(atom) for atom in equation.inputs)
        bracket = f"[{params}]" if params else ""
        rows.append((f"{left} = {equation.primitive.name}{bracket} {operands}", equation.location))
    width = min(max((len(text) for text, _ in rows), default=0), 72)
    head = ", ".join(f"{names[var]}: {var.aval}" for var in program.inputs)
    lines = [f"graph {program.name}({head}):"]
    for text, location in rows:
        lines.append(f"    {text.ljust(width)}  # {source.describe(location)}")
    results = [
        f"{path}: {show(atom)}" if path else show(atom)
        for path, atom in zip(tree.treedef_paths(program.out_tree), program.outputs, strict=True)
    ]
    lines.append(f"    return {', '.join(results) or 'nothing'}")
    return "\n".join(lines)


def _brief(value: Any) -> str:
    return f"<{shape_dtype(value)}>" if isinstance(value, np.ndarray) else str(value)


__all__ = ["Equation", "Graph", "Var", "check", "eval_shape", "evaluate", "graph"]
