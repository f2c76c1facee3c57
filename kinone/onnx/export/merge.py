"""One program of several: what was traced at different sizes, equation by equation.

Shapes and whole-number parameters become `Dim`s where they differ. Two traces that do something
else (a branch on a size, a loop over the examples) cannot be merged, which raises `DiffersError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import source
from ...core import Array, Primitive
from ...graph import Atom, Constant, Graph, Var
from ...ops.template import Template
from ...source import Location
from . import dims
from .dims import Dim, Size
from .errors import ExportError


class DiffersError(ExportError):
    """The function does another thing at another size of a dimension that was to be dynamic."""


class Aval(NamedTuple):
    """Shape, with sizes that may vary, and dtype."""

    shape: tuple[Size, ...]
    dtype: np.dtype[Any]
    weak: bool = False


class Variable:
    """A value that the merged program computes, or is given."""

    __slots__ = ("aval", "label")

    def __init__(self, aval: Aval, label: str | None = None) -> None:
        self.aval = aval
        self.label = label


class Known:
    """A value that stands in the program: in each trace, or once where it is the same in all."""

    __slots__ = ("constant", "values")

    def __init__(self, values: Sequence[Array], constant: Constant) -> None:
        self.values = tuple(values)
        self.constant = constant  # of the first trace, by which its name is known


Operand = Variable | Known


class Step(NamedTuple):
    """An equation of the merged program."""

    primitive: Primitive
    inputs: tuple[Operand, ...]
    params: dict[str, Any]
    outputs: tuple[Variable, ...]
    location: Location | None


class Program(NamedTuple):
    """A merged program."""

    name: str
    inputs: tuple[Variable, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Operand, ...]


def merge(graphs: Sequence[Graph]) -> Program:
    """The program of which all these are instances. Raises `DiffersError` where there is none."""
    first = graphs[0]
    if len({len(graph.equations) for graph in graphs}) > 1:
        raise DiffersError(_where_lengths_differ(graphs))
    tables: list[dict[Var, Variable]] = [{} for _ in graphs]

    def define(versions: Sequence[Var]) -> Variable:
        variable = Variable(_aval([var.aval for var in versions]), versions[0].label)
        for table, var in zip(tables, versions, strict=True):
            table[var] = variable
        return variable

    def read(versions: Sequence[Atom], location: Location | None) -> Operand:
        found = [
            table[atom] if isinstance(atom, Var) else None
            for table, atom in zip(tables, versions, strict=True)
        ]
        if found[0] is not None and all(variable is found[0] for variable in found):
            return found[0]
        if any(variable is not None for variable in found):
            raise DiffersError(f"another value is used at another size{_at(location)}")
        return _known([atom for atom in versions if isinstance(atom, Constant)])

    inputs = tuple([define(v) for v in zip(*[g.inputs for g in graphs], strict=True)])
    steps = []
    for equations in zip(*[graph.equations for graph in graphs], strict=True):
        place = equations[0].location
        names = {equation.primitive for equation in equations}
        if len(names) > 1 or len({len(e.inputs) for e in equations}) > 1:
            said = " or ".join(sorted(primitive.name for primitive in names))
            raise DiffersError(f"the program is another at another size: {said}{_at(place)}")
        operands = tuple([read(v, place) for v in zip(*[e.inputs for e in equations], strict=True)])
        params = _param([equation.params for equation in equations], place)
        outputs = tuple([define(v) for v in zip(*[e.outputs for e in equations], strict=True)])
        steps.append(Step(equations[0].primitive, operands, params, outputs, place))
    results = tuple([read(v, None) for v in zip(*[g.outputs for g in graphs], strict=True)])
    return Program(first.name, inputs, tuple(steps), results)


def _aval(versions: Sequence[Any]) -> Aval:
    first = versions[0]
    if any(a.ndim != first.ndim or a.dtype != first.dtype for a in versions):
        raise DiffersError(f"a value is {first} at one size and {versions[-1]} at another")
    shape = tuple([dims.of(sizes) for sizes in zip(*[a.shape for a in versions], strict=True)])
    return Aval(shape, first.dtype, first.weak)


def _known(versions: Sequence[Constant]) -> Known:
    first = versions[0]
    if all(each is first or _same(each.value, first.value) for each in versions[1:]):
        return Known([first.value], first)
    return Known([each.value for each in versions], first)


def _same(a: Array, b: Array) -> bool:
    if type(a) is not type(b):
        return False
    x, y = np.asarray(a), np.asarray(b)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def _param(versions: Sequence[Any], place: Location | None) -> Any:
    first = versions[0]
    kind = type(first)
    if any(type(each) is not kind for each in versions):
        raise DiffersError(f"the program is another at another size{_at(place)}")
    if kind is bool or first is None:
        pass
    elif isinstance(first, int):
        return dims.of(versions)
    elif isinstance(first, Graph):
        return merge(versions)
    elif isinstance(first, Template):
        parts = _param([each.parts for each in versions], place)
        return Template(parts, first.scalar, first.once)
    elif kind is dict:
        if any(each.keys() != first.keys() for each in versions):
            raise DiffersError(f"the program is another at another size{_at(place)}")
        return {key: _param([each[key] for each in versions], place) for key in first}
    elif kind in (tuple, list):
        if any(len(each) != len(first) for each in versions):
            raise DiffersError(f"the program is another at another size{_at(place)}")
        return kind([_param(parts, place) for parts in zip(*versions, strict=True)])
    elif isinstance(first, tuple):  # a named tuple
        return kind(*[_param(parts, place) for parts in zip(*versions, strict=True)])
    elif kind is slice:
        return slice(
            *[
                _param([getattr(s, part) for s in versions], place)
                for part in ("start", "stop", "step")
            ]
        )
    elif isinstance(first, np.ndarray):
        if not all(_same(each, first) for each in versions[1:]):
            raise DiffersError(f"an array inside the program varies with the size{_at(place)}")
    elif isinstance(first, (str, float, complex, np.generic, np.dtype)) and any(
        each != first for each in versions[1:]
    ):
        raise DiffersError(f"{first} at one size is {versions[-1]} at another{_at(place)}")
    return first  # a function's rule and the like, which only runs


def at_trace(param: Any, trace: int) -> Any:
    """A merged parameter as it was in one of the traces; programs excepted."""
    kind = type(param)
    if kind is Dim:
        return param.values[trace]
    if kind in (tuple, list):
        return kind([at_trace(part, trace) for part in param])
    if kind is dict:
        return {key: at_trace(value, trace) for key, value in param.items()}
    if kind is slice:
        return slice(*[at_trace(end, trace) for end in (param.start, param.stop, param.step)])
    if kind is Template:
        return Template(at_trace(param.parts, trace), param.scalar, param.once)
    return param


def _where_lengths_differ(graphs: Sequence[Graph]) -> str:
    for equations in zip(*[graph.equations for graph in graphs], strict=False):
        if len({equation.primitive for equation in equations}) > 1:
            return f"the program has more steps at another size{_at(equations[0].location)}"
    return "the program has more steps at another size"


def _at(location: Location | None) -> str:
    return f", at {source.describe(location)}" if location is not None else ""
