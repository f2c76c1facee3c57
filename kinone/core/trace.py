"""Traces: one run of one transformation each, ordered by level."""

from __future__ import annotations

import itertools
import math
import threading
from typing import TYPE_CHECKING, Any

from .. import source
from ..errors import TracerConversionError
from .values import Array

if TYPE_CHECKING:
    from .primitive import Primitive
    from .tracer import Tracer


# An inner run starts later than the outer one, in whatever thread: the later, the higher.
_levels = itertools.count(1)


class Trace:
    """One run of one transformation. `label(tracer)` is the path of an input leaf, or None."""

    name = "a transformation"

    def __init__(self) -> None:
        self.level: float = 0
        self.alive = False
        self.started = source.capture()

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        """Applies a primitive to operands of which at least one is a tracer of this trace."""
        raise NotImplementedError

    def label(self, tracer: Tracer) -> str | None:
        return None


# The body that each thread is tracing: of a loop or a branch, which may run never or often. What it
# does with values of outer transformations belongs into it, not to where those are traced.
bodies: dict[int, Trace] = {}


class tracing_body:
    """`with tracing_body(trace):` has the trace take every operation on traced values of outer
    transformations in this thread, too."""

    __slots__ = ("before", "thread", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.thread = threading.get_ident()

    def __enter__(self) -> None:
        self.before = bodies.get(self.thread)
        bodies[self.thread] = self.trace

    def __exit__(self, *error: object) -> None:
        if self.before is None:
            del bodies[self.thread]
        else:
            bodies[self.thread] = self.before


class running:
    """`with running(trace):` gives a trace its level and ends it afterwards.

    An ended trace has infinite level: a tracer that outlived it wins every dispatch and is found.
    """

    __slots__ = ("trace",)

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        self.trace.level = next(_levels)
        self.trace.alive = True

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.trace.level = math.inf
        self.trace.alive = False
        # NumPy wraps what a tracer says when it is put into an array, `a[0] = tracer`.
        if isinstance(error, ValueError) and isinstance(error.__cause__, TracerConversionError):
            raise error.__cause__ from None
