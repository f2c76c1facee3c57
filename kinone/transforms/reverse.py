"""Reverse mode: the tape of nodes and the run backward over it.

The forward run leaves a node for each operation: its pullback, which holds exactly the values that
the derivative needs, and the nodes of its operands. Nodes are numbered in the order in which they
were made, so an operation's number is higher than its operands'. The backward run takes the
highest pending number from a heap: every contribution to that node has then arrived. It needs no
recursion, touches only what the result depends on, and lets go of each cotangent as soon as it has
been passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import source
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Trace,
    Tracer,
    foreign,
    is_foreign,
    is_inexact,
    leaked,
    observe,
    shape_dtype,
    weaken,
)
from ..core.observe import observers
from ..source import Location
from .holding import Held, Keeping, hold, release, shown

P = ParamSpec("P")
R = TypeVar("R")


class Node:
    """One operation of the forward run; an input's node has no pullback.

    `parents` are the `(node, slot)` of the operands whose cotangents the pullback returns; `slot`
    tells apart the results of an operation that has several, of which there are `results`.
    """

    __slots__ = ("location", "number", "parents", "pullback", "results")

    def __init__(
        self,
        number: int,
        pullback: Callable[[Any], Sequence[Array]] | None,
        parents: Sequence[tuple[Node, int]],
        results: int,
        location: Location | None,
    ) -> None:
        self.number = number
        self.pullback = pullback
        self.parents = parents
        self.results = results
        self.location = location


class ReverseTracer(Tracer):
    """A concrete value (or a tracer of lower level) and the node that made it."""

    __slots__ = ("node", "slot", "value")

    def __init__(self, trace: ReverseTrace, value: Array, node: Node, slot: int = 0) -> None:
        self._trace = trace
        self.value = value
        self.node = node
        self.slot = slot

    @property
    def aval(self) -> ShapeDtype:
        return shape_dtype(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        return getattr(self.value, "shape", ())

    @property
    def dtype(self) -> np.dtype[Any]:
        return shape_dtype(self.value).dtype

    @property
    def location(self) -> Location | None:
        return self.node.location

    def _concrete(self, wanted: str) -> Any:
        if not self._trace.alive:
            raise leaked(self)
        return self.value


class ReverseTrace(Trace):
    name = "grad"

    def __init__(self, label: Callable[[int], str]) -> None:
        super().__init__()
        self.count = 0
        self.inputs = 0
        self.input_label = label
        self.frozen: dict[int, Held] = {}  # the arrays met so far
        self.held: list[Held] = []  # of these, those that this run has made read-only
        self.outermost = True  # no operand is a tracer of another trace

    def input(self, value: Array) -> ReverseTracer:
        """The tracer of an input leaf, which is frozen by who asks for it where it is not his."""
        if isinstance(value, Tracer):
            self.outermost = False
        node = Node(self.count, None, (), 1, self.started)
        self.count += 1
        self.inputs += 1
        return ReverseTracer(self, value, node)

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        values = list(args)
        wanted = [False] * len(values)
        parents = []
        for i, arg in enumerate(args):
            kind = type(arg)
            if kind is ReverseTracer and arg._trace is self:
                values[i] = arg.value
                wanted[i] = True
                parents.append((arg.node, arg.slot))
            elif kind is np.ndarray:
                if id(arg) not in self.frozen:
                    self.freeze((arg,))
            elif isinstance(arg, Tracer):
                self.outermost = False
            elif kind is list or kind is tuple:
                values[i] = np.asarray(arg)
            elif isinstance(arg, np.ndarray) and is_foreign(arg):
                raise foreign(arg)
        if primitive.run_vjp is not None:
            if observers:
                y, pullback = observe.run_vjp(primitive, wanted, values, params)
            else:
                y, pullback = primitive.run_vjp(wanted, values, params)
            if pullback is None:
                return y
            if type(pullback) is Keeping:
                self.freeze(pullback.kept)
        else:
            # With no tracers below, the operation itself; this saves the dispatch a second look.
            direct = self.outermost and not observers
            y = (primitive.impl if direct else primitive)(*values, **params)
            if type(y) is not np.ndarray and primitive.weak and isinstance(y, np.generic):
                y = weaken(y, values)
            vjp = primitive.vjp
            if vjp is None:
                return y
            pullback = vjp(wanted, y, values, params)
        if observers:
            pullback = observe.watched(
                primitive, pullback, y, values, params, self.name, self.started
            )
        number = self.count
        self.count = number + 1
        if not primitive.multiple:
            return ReverseTracer(self, y, Node(number, pullback, parents, 1, source.capture(3)))
        if len(y) == 1:  # a node of one result has one cotangent, not a list of one
            pullback = _of_one(pullback)
        node = Node(number, pullback, parents, len(y), source.capture(3))
        return tuple(
            ReverseTracer(self, each, node, slot) if is_inexact(each) else each
            for slot, each in enumerate(y)
        )

    def freeze(self, values: Iterable[Array]) -> None:
        """Makes arrays that a pullback may need read-only until the forward run is over."""
        new: list[Held] = []
        for x in values:
            if type(x) is np.ndarray and id(x) not in self.frozen:
                self.frozen[id(x)] = x
                if x.base is not None:
                    new += shown(x)
                new.append(x)
        self.held += hold(new)

    def thaw(self) -> None:
        release(self.held)
        self.held.clear()
        self.frozen.clear()

    def label(self, tracer: Tracer) -> str | None:
        assert isinstance(tracer, ReverseTracer)
        number = tracer.node.number
        return self.input_label(number) if number < self.inputs else None


def _of_one(pullback: Callable[..., Any]) -> Callable[..., Any]:
    return lambda g: pullback((g,))


def backward(
    seeds: Sequence[tuple[Node, int, Array]], inputs: Sequence[Node], *, once: bool
) -> list[Array | None]:
    """Cotangents of the input nodes, None where nothing arrived.

    With `once` each node lets go of its pullback, and with it of the values that it kept, as soon
    as it has run.
    """
    heap: list[int] = []
    pending: dict[int, tuple[Node, Any]] = {}
    arrived: dict[int, Array] = {}
    targets: Sequence[tuple[Node, int]] = [(node, slot) for node, slot, _ in seeds]
    cotangents: Sequence[Array | None] = [cotangent for _, _, cotangent in seeds]
    with source.inherit(backward=True) as state:
        while True:
            for target, cotangent in zip(targets, cotangents, strict=True):
                if cotangent is None:
                    continue
                node, slot = target
                number = node.number
                if node.pullback is None:
                    if number in arrived:
                        cotangent = arrived[number] + cotangent
                    arrived[number] = cotangent
                elif node.results == 1:
                    if number in pending:
                        cotangent = pending[number][1] + cotangent
                    else:
                        heappush(heap, -number)
                    pending[number] = (node, cotangent)
                else:
                    if number not in pending:
                        heappush(heap, -number)
                        pending[number] = (node, [None] * node.results)
                    slots = pending[number][1]
                    slots[slot] = cotangent if slots[slot] is None else slots[slot] + cotangent
            # The largest arrays of all: nothing here may outlive its use.
            cotangents = cotangent = slots = None  # type: ignore[assignment]
            if not heap:
                return [arrived.get(node.number) for node in inputs]
            node, cotangent = pending.pop(-heappop(heap))
            state.inherited = node.location
            targets = node.parents
            cotangents = node.pullback(cotangent)  # type: ignore[misc]  # only inputs have none
            if once:
                node.pullback = None
                node.parents = ()
