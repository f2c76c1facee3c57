"""How a function becomes a program."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Trace,
    Tracer,
    foreign,
    is_foreign,
    is_number,
    leaf_error,
    leaked,
    running,
    shape_dtype,
    tracing_body,
)
from ..core.conversions import asked, instead
from ..errors import TracerConversionError
from ..source import Location, name_of
from .atoms import Atom, Constant, Var
from .passes import without_dead_code
from .program import Equation, Graph


class GraphTracer(Tracer):
    """A value that is known by shape and dtype alone."""

    __slots__ = ("_location", "variable")
    _trace: GraphTrace

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
        label = self.variable.label
        plain = "make the argument a plain Python value"
        if self._trace.name == "jit":
            argument = repr(label.partition("/")[0]) if label else "the argument that it comes of"
            plain = f"name {argument} in static_argnames, to compile for each of its values"
        place = source.capture()
        error = TracerConversionError(
            f"{asked(what, place)} has no answer while {self._trace.name} traces: {label or 'x'} "
            f"is {self.aval}, its numbers are not there yet, at {source.describe(place)}\n"
            f"  {instead(what, place)}\n"
            f"  Where it chooses the program, such as a length, an axis or an option, {plain}."
        )
        self._trace.refused = error
        return error


class GraphTrace(Trace):
    name = "graph"

    def __init__(self) -> None:
        super().__init__()
        self.equations: list[Equation] = []
        self.constants: dict[int, tuple[Array, Constant]] = {}
        self.refused: TracerConversionError | None = None  # what was said last

    def input(self, aval: ShapeDtype, label: str | None = None) -> GraphTracer:
        return GraphTracer(self, Var(aval, label), self.started)

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        if primitive.expand is not None:
            return primitive.expand(*args, **params)
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
        if type(value) is not np.ndarray and isinstance(value, np.ndarray) and is_foreign(value):
            raise foreign(value)
        if isinstance(value, np.ndarray):
            return self.constant(value)
        if isinstance(value, (Tracer, np.generic, bool, int, float, complex)):
            return Constant(value)
        return Constant(np.asarray(value))

    def constant(self, value: np.ndarray[Any, Any]) -> Constant:
        """A copy of an array as it is now: a buffer that is used again is several constants."""
        recognised: Constant | None = _nesting.recognise(value)
        if recognised is not None:
            return recognised
        known = self.constants.get(id(value))
        if known is not None and known[0] is value and _same_bits(value, known[1].value):
            return known[1]
        copy = value.copy(order="K")
        copy.flags.writeable = False
        self.constants[id(value)] = value, Constant(copy)
        return self.constants[id(value)][1]

    def label(self, tracer: Tracer) -> str | None:
        assert isinstance(tracer, GraphTracer)
        return tracer.variable.label


def _same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")) and not (
        a.dtype.kind in "fc" and bool(np.any(np.signbit(a.real) != np.signbit(b.real)))
    )


def graph(fun: Callable[..., Any]) -> Callable[..., Graph]:
    """A function that traces `fun` and returns its program instead of its value.

    The arguments are arrays, numbers or `ShapeDtype`s, in trees; only shapes and dtypes matter.
    The program prints with the user's file, line and expression on every equation.

        >>> import numpy as np
        >>> len(graph(np.tanh)(ShapeDtype((3,), "float32")).equations)
        1
    """

    @source.trimming
    def traced(*args: Any, **kwargs: Any) -> Graph:
        leaves, in_tree = tree.flatten((args, kwargs))
        names = argument_names(fun, args, kwargs)
        for leaf, path in zip(leaves, names, strict=True):
            if not is_number(leaf):
                raise leaf_error(path, leaf, "graph")
        trace = GraphTrace()
        with tracing(trace):
            inputs = [
                trace.input(shape_dtype(leaf), name)
                for leaf, name in zip(leaves, names, strict=True)
            ]
            new_args, new_kwargs = tree.unflatten(in_tree, inputs)
            result = fun(*new_args, **new_kwargs)
            outputs, out_tree = tree.flatten(result)
            atoms = [trace.atom(output) for output in outputs]
        program = Graph(
            name_of(fun),
            [tracer.variable for tracer in inputs],
            trace.equations,
            atoms,
            in_tree,
            out_tree,
        )
        return without_dead_code(program)

    return traced


class _Nesting(threading.local):
    depth = 0
    recognise: Callable[[np.ndarray[Any, Any]], Constant | None] = staticmethod(lambda value: None)


_nesting = _Nesting()


@contextmanager
def recognising(known: Callable[[np.ndarray[Any, Any]], Constant | None]) -> Iterator[None]:
    """Programs that this thread traces inside take `known(array)` for an array's constant, where it
    gives one: of arrays that do not change, such as weights, nobody needs copies."""
    before, _nesting.recognise = _nesting.recognise, known
    try:
        yield
    finally:
        _nesting.recognise = before


class tracing:
    """`with tracing(trace):` runs a graph trace and counts it, see `staging`."""

    __slots__ = ("running", "trace")

    def __init__(self, trace: GraphTrace) -> None:
        self.running = running(trace)
        self.trace = trace

    def __enter__(self) -> None:
        self.running.__enter__()
        _nesting.depth += 1

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        _nesting.depth -= 1
        self.running.__exit__(kind, error, traceback)
        said = self.trace.refused
        if said is not None and str(error).startswith("expected a sequence of integers"):
            raise said from None  # NumPy's own words in place of it, of np.zeros(n)


def staging() -> bool:
    """Whether a function is being traced to a program in this thread.

    Loops and branches then become equations; otherwise they are ordinary Python.
    """
    return _nesting.depth > 0


def trace_flat(
    fun: Callable[..., Sequence[Array]],
    avals: Sequence[ShapeDtype],
    name: str,
    labels: Sequence[str | None] | None = None,
    transformation: str = "graph",
    body: bool = False,
) -> tuple[Graph, list[Tracer]]:
    """The program of a function from leaves to a sequence of leaves, and what it closes over.

    Tracers of outer transformations that the function uses without being given them become the
    program's first inputs; they are returned beside it. Errors speak of the `transformation`.
    A `body`, of a loop or a branch, keeps what it does with those tracers to itself.
    """
    trace = GraphTrace()
    trace.name = transformation
    with tracing(trace), tracing_body(trace) if body else nullcontext():
        inputs = [
            trace.input(aval, label)
            for aval, label in zip(avals, labels or [None] * len(avals), strict=True)
        ]
        atoms = [trace.atom(output) for output in fun(*inputs)]
    return close(name, [tracer.variable for tracer in inputs], trace.equations, atoms)


def close(
    name: str, inputs: Sequence[Var], equations: Sequence[Equation], outputs: Sequence[Atom]
) -> tuple[Graph, list[Tracer]]:
    """A flat program whose constants that are tracers have become its first inputs."""
    captured: dict[int, tuple[Tracer, Var]] = {}

    def closed(atom: Atom) -> Atom:
        if isinstance(atom, Constant) and isinstance(atom.value, Tracer):
            key = id(atom.value)
            if isinstance(atom.value, GraphTracer):
                key = id(atom.value.variable)
            if key not in captured:
                captured[key] = (atom.value, Var(atom.aval))
            return captured[key][1]
        return atom

    closed_equations = [
        e.with_inputs(list(map(closed, e.inputs)))
        if any(isinstance(atom, Constant) for atom in e.inputs)
        else e
        for e in equations
    ]
    closed_outputs = list(map(closed, outputs))
    found = list(captured.values())
    everything = [*[var for _, var in found], *inputs]
    program = flat_graph(name, everything, closed_equations, closed_outputs)
    return without_dead_code(program), [tracer for tracer, _ in found]


def flat_graph(
    name: str, inputs: Sequence[Var], equations: Sequence[Equation], outputs: Sequence[Atom]
) -> Graph:
    """A program from positional leaves to a tuple of leaves."""
    in_tree = tree.structure(((0,) * len(inputs), {}))
    return Graph(name, inputs, equations, outputs, in_tree, tree.structure((0,) * len(outputs)))


@source.trimming
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The `ShapeDtype`s that `fun(*args)` would return, in its tree, without computing anything.

    >>> import numpy as np
    >>> eval_shape(lambda x: {"y": x @ x.T}, ShapeDtype((3, 2), "float32"))
    {'y': float32[3,3]}
    """
    program = graph(fun)(*args, **kwargs)
    return tree.unflatten(program.out_tree, [atom.aval for atom in program.outputs])


def argument_names(fun: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> list[str]:
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
