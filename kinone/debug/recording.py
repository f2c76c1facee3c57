"""A forward run that remembers which operation left which node on the tape."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Primitive, ShapeDtype, is_inexact, running, shape_dtype
from ..core.messages import label_of
from ..transforms.arguments import Arguments, check_leaves, numbers_given
from ..transforms.reverse import Node, ReverseTrace, ReverseTracer


@dataclass(slots=True)
class Record:
    """One operation of the forward run, by shapes alone: it keeps no array alive."""

    node: Node
    primitive: Primitive
    operands: list[tuple[str | None, ShapeDtype]]  # the leaf's label, for an input
    wanted: list[int]  # the operands whose cotangents the pullback returns
    results: list[ShapeDtype]
    params: dict[str, Any]


class RecordingTrace(ReverseTrace):
    """Reverse mode that keeps a `Record` of each node, and knows who made an array."""

    def __init__(self, label: Callable[[int], str]) -> None:
        super().__init__(label)
        self.records: list[Record] = []
        self._makers: dict[int, tuple[weakref.ref[Any], str, source.Location | None]] = {}

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        before = self.count
        for arg in args:
            self.made(arg, "a constant", None)
        result = super().process(primitive, args, params)
        results = result if primitive.multiple else (result,)
        location = source.capture(3)
        for each in results:
            self.made(lower(each, self), f"result of {primitive.name}", location)
        if self.count > before:
            mine = [each for each in results if isinstance(each, ReverseTracer)]
            operands = [(label_of(arg), shape_dtype(arg)) for arg in args]
            wanted = [
                i for i, a in enumerate(args) if isinstance(a, ReverseTracer) and a._trace is self
            ]
            avals = [shape_dtype(each) for each in results]
            self.records.append(Record(mine[0].node, primitive, operands, wanted, avals, params))
        return result

    def made(self, value: Array, what: str, location: source.Location | None) -> None:
        """Notes that an array, unless it shows an older one, came from here."""
        if isinstance(value, np.ndarray) and self.maker(owner(value)) is None:
            array = owner(value)
            self._makers[id(array)] = (weakref.ref(array), what, location)

    def maker(self, array: Any) -> tuple[str, source.Location | None] | None:
        found = self._makers.get(id(array))
        return None if found is None or found[0]() is not array else found[1:]


@dataclass(slots=True)
class Recording:
    """A finished forward run."""

    trace: RecordingTrace
    inputs: list[Array]
    result: Any

    def seeds(self) -> list[tuple[Node, int, Array]]:
        """A cotangent of ones for each traced leaf of the result."""
        return [
            (leaf.node, leaf.slot, np.ones(leaf.shape, leaf.dtype))
            for leaf in tree.leaves(self.result)
            if isinstance(leaf, ReverseTracer) and leaf._trace is self.trace
        ]

    def nodes(self) -> list[Node]:
        """The nodes of the inputs."""
        return [x.node for x in self.inputs if isinstance(x, ReverseTracer)]


def record(
    fun: Callable[..., Any], args: Sequence[Any], argnums: int | Sequence[int] | None, name: str
) -> Recording:
    """Runs `fun(*args)`, traced in the arguments `argnums`, or in all of them."""
    if argnums is None:
        argnums = range(len(args))
    numbers = numbers_given(argnums, "argnums")
    arguments = Arguments(fun, args, {}, numbers, ())
    check_leaves(arguments, name, integers="ignore")
    trace = RecordingTrace(arguments.label)
    trace.name = name
    try:
        with running(trace):
            trace.freeze(arguments.leaves)
            inputs = [trace.input(x) if is_inexact(x) else x for x in arguments.leaves]
            everything = Arguments(fun, args, {}, range(len(args)), ())
            for leaf, label in zip(everything.leaves, everything.labels(), strict=True):
                trace.made(leaf, f"input {label}", None)
            result = arguments.call(fun, inputs)
    finally:
        trace.thaw()
    return Recording(trace, inputs, result)


def lower(value: Any, trace: ReverseTrace) -> Any:
    """The value below a tracer of this trace."""
    if isinstance(value, ReverseTracer) and value._trace is trace:
        return value.value
    return value


def owner(x: Any) -> Any:
    """The array whose memory `x` shows."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def held(holder: Any) -> Iterator[Any]:
    """The arrays that a function, such as a pullback, keeps alive: in its closure, its defaults and
    what these hold in turn. Each array once."""
    seen: set[int] = set()
    stack = [holder]
    while stack:
        x = stack.pop()
        if id(x) in seen or isinstance(x, (Primitive, type, ModuleType, str, bytes, np.generic)):
            continue
        seen.add(id(x))
        if isinstance(x, np.ndarray):
            yield x
        else:
            stack += reversed(list(_parts(x)))


def _parts(x: Any) -> Iterator[Any]:
    """What an object refers to by itself."""
    if isinstance(x, (tuple, list, set, frozenset)):
        yield from x
    elif isinstance(x, dict):
        yield from x.values()
    elif isinstance(x, FunctionType):
        for cell in x.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        yield from x.__defaults__ or ()
        yield from (x.__kwdefaults__ or {}).values()
    elif isinstance(x, MethodType):
        yield x.__self__
        yield x.__func__
    else:
        for slot in (s for kind in type(x).__mro__ for s in kind.__dict__.get("__slots__", ())):
            if hasattr(x, slot):
                yield getattr(x, slot)
        # `functools.partial`, operator.itemgetter and their like tell by reduction.
        if hasattr(x, "func") and hasattr(x, "keywords"):
            yield from (x.func, x.args, x.keywords)
        yield from getattr(x, "__dict__", {}).values()
