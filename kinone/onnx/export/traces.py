"""Tracing the function that is exported: at each size of its dynamic dimensions, then as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ... import source, tree
from ...core import ShapeDtype, is_number, leaf_error
from ...errors import TracerConversionError
from ...graph import (
    Constant,
    Graph,
    GraphTrace,
    GraphTracer,
    close,
    keeping_composites,
    recognising,
    tracing,
)
from ...ops.template import Template
from ...source import name_of
from .dims import Dim, Symbols, fit_number, of
from .errors import ExportError
from .merge import DiffersError, Known, Program, merge
from .names import Leaf


class Traces:
    """What is traced of a function: a program at any sizes, and the names of its constants."""

    def __init__(
        self, fun: Callable[..., Any], args: Sequence[Any], leaves: Sequence[Leaf]
    ) -> None:
        self.fun = fun
        self.leaves = leaves
        self.in_tree = tree.structure(tuple(args))
        self._constants = _Constants(leaves)
        self._graphs: dict[tuple[tuple[int, ...], ...], tuple[Graph, tree.TreeDef]] = {}

    @property
    def tables(self) -> dict[int, tuple[np.ndarray[Any, Any], str]]:
        """The array of which a constant is the beginning, and its path, by the constant's id."""
        return self._constants.tables

    @property
    def paths(self) -> dict[int, str]:
        """The path of each constant that is a folded leaf, by the constant's id."""
        return self._constants.paths

    def program(self, symbols: Symbols) -> tuple[Program, tree.TreeDef]:
        """The program of all sizes, and the tree of its results.

        Raises `DiffersError` where there is no such program.
        """
        found: list[tuple[Graph, tree.TreeDef]] = []
        for row in symbols.rows:
            sizes = dict(zip(symbols.names, row, strict=True))
            if not found and symbols.is_example:
                found.append(self.at(sizes))
                continue
            try:
                found.append(self.at(sizes))
            except Exception as error:
                if isinstance(error, ExportError):
                    raise
                said = ", ".join(f"{name} = {size}" for name, size in sizes.items())
                why = str(error).splitlines()[0] if str(error) else ""
                raise DiffersError(f"at {said} it raises {type(error).__name__}: {why}") from error
        graphs, trees = [graph for graph, _ in found], [out_tree for _, out_tree in found]
        if any(out_tree != trees[0] for out_tree in trees):
            raise DiffersError("it returns another tree at another size")
        return merge(graphs), trees[0]

    def at(self, sizes: dict[str, int]) -> tuple[Graph, tree.TreeDef]:
        """The program for these sizes of the dynamic dimensions."""
        avals = [leaf.aval_at(sizes) for leaf in self.leaves if not leaf.folded]
        key = tuple([aval.shape for aval in avals])
        if key not in self._graphs:
            self._graphs[key] = self._traced(avals)
        return self._graphs[key]

    def _traced(self, avals: Sequence[ShapeDtype]) -> tuple[Graph, tree.TreeDef]:
        try:
            return self._traced_with(avals, np.ndarray)
        except TracerConversionError as error:
            # NumPy's table[i] cannot be told of a traced i, nor be asked: a traced table can.
            if not any(leaf.folded for leaf in self.leaves):
                raise
            try:
                return self._traced_with(avals, GraphTracer)
            except Exception:
                raise error from None

    def _traced_with(
        self, avals: Sequence[ShapeDtype], kind: type[Any]
    ) -> tuple[Graph, tree.TreeDef]:
        """The program, with folded leaves as plain arrays or as traced ones."""
        trace = GraphTrace()
        trace.name = "onnx.export"
        rest = iter(avals)
        with tracing(trace), keeping_composites(), recognising(self._constants):
            inputs = []
            given: list[Any] = []
            for leaf in self.leaves:
                if leaf.folded and kind is GraphTracer and np.ndim(leaf.value):
                    constant: Any = trace.constant(leaf.value)
                    given.append(GraphTracer(trace, constant, None))
                elif leaf.folded:
                    given.append(leaf.value)
                else:
                    inputs.append(trace.input(next(rest), leaf.path))
                    given.append(inputs[-1])
            result = self.fun(*tree.unflatten(self.in_tree, given))
            outputs, out_tree = tree.flatten(result)
            for where, output in tree.leaves_with_path(result):
                if not is_number(output):
                    raise leaf_error(where or "the result", output, "onnx.export")
            atoms = [trace.atom(output) for output in outputs]
        program, captured = close(
            name_of(self.fun), [tracer.variable for tracer in inputs], trace.equations, atoms
        )
        if captured:
            raise ExportError(
                f"{name_of(self.fun)} uses a value that another transformation traces, "
                f"at {source.here()}\n  Call onnx.export outside of it."
            )
        return program, out_tree


def follows(traces: Traces, symbols: Symbols, sizes: dict[str, int]) -> bool:
    """Whether the program at other sizes has the same steps, and all its numbers are those that
    the other traces foretell."""
    example, out_tree = traces.at(sizes)
    others = [traces.at(dict(zip(symbols.names, row, strict=True))) for row in symbols.rows]
    try:
        program = merge([*[graph for graph, _ in others], example])
    except ExportError:
        return False
    return out_tree == others[0][1] and all(
        _foretold(part, symbols, sizes) for part in _parts(program)
    )


def _foretold(part: object, symbols: Symbols, sizes: dict[str, int]) -> bool:
    if isinstance(part, Dim):
        return symbols.predicts(of(part.values[:-1]), sizes, part.values[-1])
    if not isinstance(part, Known) or len(part.values) == 1:
        return True
    first, example = np.asarray(part.values[0]), np.asarray(part.values[-1])
    if first.shape == example.shape == ():
        return _number_foretold([np.asarray(n).item() for n in part.values], symbols, sizes)
    # What is longer at another size, such as arange(n) or a mask, begins alike.
    corner = tuple([slice(size) for size in example.shape])
    return first.ndim == example.ndim and np.array_equal(first[corner], example)


def _number_foretold(numbers: list[Any], symbols: Symbols, sizes: dict[str, int]) -> bool:
    for powers, at_traces in symbols.products():
        if len(set(at_traces)) > 1:
            fitted = fit_number(numbers[:-1], [Dim(at_traces)])
            if fitted is not None:
                factor, _, power, offset = fitted
                size = math.prod(sizes[name] ** p for name, p in powers.items())
                expected = factor * float(max(size, 1)) ** power + offset
                return size > 0 and math.isclose(expected, numbers[-1], rel_tol=1e-6)
    return False


def _parts(program: Any) -> Iterator[object]:
    """The sizes and constants of a merged program, and of those inside of it."""
    if isinstance(program, Program):
        yield from program.outputs
        for step in program.steps:
            yield from step.inputs
            yield from _parts(step.params)
            for variable in step.outputs:
                yield from variable.aval.shape
    elif isinstance(program, dict):
        yield from _parts(tuple(program.values()))
    elif isinstance(program, (tuple, list)):
        for part in program:
            yield from _parts(part)
    elif isinstance(program, slice):
        yield from _parts((program.start, program.stop, program.step))
    elif isinstance(program, Template):
        yield from _parts(program.parts)
    elif isinstance(program, Dim):
        yield program


_LARGE = 1 << 16  # bytes


class _Constants:
    """Recognises arrays in the traced programs: the folded leaves, which have a path, and large
    ones that the function closes over, of which each trace would make a copy."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.paths: dict[int, str] = {}
        self._places: dict[tuple[int, int, Any], str] = {}
        for leaf in leaves:
            if leaf.folded and isinstance(leaf.value, np.ndarray) and leaf.value.size:
                self._places[_place(leaf.value)] = leaf.path
        folded = set(self._places.values())
        self._leaves = {_place(leaf.value)[0]: leaf.value for leaf in leaves if leaf.path in folded}
        self.tables: dict[int, tuple[np.ndarray[Any, Any], str]] = {}  # of what a constant begins
        self._folded: dict[tuple[Any, ...], Constant] = {}
        self._kept: list[Constant] = []  # since `paths` and `tables` know them by their ids
        self._large: dict[tuple[Any, ...], tuple[np.ndarray[Any, Any], Constant]] = {}

    def __call__(self, value: np.ndarray[Any, Any]) -> Constant | None:
        path = self._places.get(_place(value)) if _is_whole(value) else None
        if path is not None:
            key = (path, value.shape, value.strides)
            if key not in self._folded:
                self._folded[key] = Constant(value)
                self.paths[id(self._folded[key])] = path
            return self._folded[key]
        core = value[tuple([slice(None) if step else slice(1) for step in value.strides])]
        path = self._places.get(_place(core)) if 0 in value.strides and _is_whole(core) else None
        if path is not None:  # a folded leaf, broadcast
            found = Constant(value)
            self.paths[id(found)] = path
            self._kept.append(found)
            return found
        table = self._leaves.get(_place(value)[0], value.base)
        if isinstance(table, np.ndarray) and _begins(table, value):
            found = Constant(value.copy())
            self.tables[id(found)] = table, self._places.get(_place(table), "")
            self._kept.append(found)
            return found
        if value.nbytes < _LARGE:
            return None
        # The value is kept with its copy, so that its memory is nobody else's meanwhile.
        where = (*_place(value), value.shape, value.strides)
        known = self._large.get(where)
        if known is None or not np.array_equal(_bits(value), _bits(known[1].value)):
            copy = value.copy(order="K")
            copy.flags.writeable = False
            known = self._large[where] = value, Constant(copy)
        return known[1]


def _begins(table: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> bool:
    """Whether an array is the beginning of a longer one, `table[:n]` or `table[:, :n]`."""
    return (
        _place(table)[0] == _place(value)[0]
        and table.dtype == value.dtype
        and table.strides == value.strides
        and table.shape != value.shape
        and all(n <= size for n, size in zip(value.shape, table.shape, strict=True))
    )


def _bits(array: Any) -> np.ndarray[Any, Any]:
    return np.ravel(array, order="K").view(np.uint8)


def _place(array: np.ndarray[Any, Any]) -> tuple[int, int, Any]:
    """Where an array's numbers lie: the same for views of all of it, as `reshape` makes them."""
    return array.__array_interface__["data"][0], array.nbytes, array.dtype


def _is_whole(array: np.ndarray[Any, Any]) -> bool:
    """Whether the array is all of a block of memory, with its axes in any order."""
    if array.flags.c_contiguous:
        return True
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return bool(np.transpose(array, order).flags.c_contiguous)
