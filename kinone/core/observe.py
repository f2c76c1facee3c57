"""Watching a computation: every operation on numbers is reported to whoever listens.

    with observing(lambda event: print(event.primitive.name, event.seconds)):
        grad(loss)(params, batch)

Nobody listens as a rule, and then an operation costs one look at an empty list. A listener is told
of each primitive that ran on plain arrays (a traced value comes down to that in the end), and of
each pullback that ran in a backward pass. Listening is process-wide: other threads report too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .. import source
from .tracer import Tracer
from .values import Array

if TYPE_CHECKING:
    from .primitive import Primitive

Phase = Literal["forward", "backward", "tangent"]


class Event(NamedTuple):
    """One operation that ran.

    In the backward pass `operands` are the cotangents of the results, and `results` those of the
    operands; `forward` is then the operation that was differentiated. Where a rule itself is traced
    (a gradient inside of `vmap`), its operations report one by one, and `within` is what they
    differentiate. `seconds` is the operation's own time, without that of operations
    that it asked for and that report themselves; `leaf` says that there were none.
    """

    primitive: Primitive
    phase: Phase
    operands: Sequence[Array]
    results: Sequence[Array]
    params: dict[str, Any]
    location: source.Location | None
    seconds: float
    leaf: bool
    forward: Forward | None = None
    within: Forward | None = None


class Forward(NamedTuple):
    """The operation that is differentiated, by a transformation that was called at a line."""

    primitive: Primitive
    operands: Sequence[Array]
    results: Sequence[Array]
    transformation: str
    called: source.Location | None


Observer = Callable[[Event], None]

# Written to in place only: the engine tests this very list before each operation.
observers: list[Observer] = []


def active() -> bool:
    """Whether anybody listens. A compiled function then runs its program step by step."""
    return bool(observers)


class observing:
    """`with observing(observer):` calls `observer(event)` after every operation."""

    __slots__ = ("observer",)

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    def __enter__(self) -> None:
        observers.append(self.observer)

    def __exit__(self, *error: object) -> None:
        # By identity, the last one first: the same observer may listen twice.
        for index in reversed(range(len(observers))):
            if observers[index] is self.observer:
                del observers[index]
                return


class _State(threading.local):
    """What the operation that is running now has handed on to others."""

    seconds = 0.0
    count = 0
    phase: Phase = "forward"
    within: Forward | None = None


_state = _State()


def run(primitive: Primitive, impl: Callable[..., Any], args: Sequence[Array], params: Any) -> Any:
    """`impl(*args, **params)`, reported."""
    return _reported(primitive, _state.phase, lambda: impl(*args, **params), args, params)


def run_vjp(primitive: Primitive, wanted: Sequence[bool], values: Any, params: Any) -> Any:
    """`primitive.run_vjp(wanted, values, params)`, its forward run reported."""
    rule = primitive.run_vjp
    assert rule is not None
    if _traced(values):
        return rule(wanted, values, params)
    return _reported(
        primitive,
        _state.phase,
        lambda: rule(wanted, values, params),
        values,
        params,
        pick=lambda pair: pair[0],
    )


def watched(
    primitive: Primitive,
    pullback: Callable[[Any], Sequence[Array]],
    y: Any,
    values: Sequence[Array],
    params: dict[str, Any],
    transformation: str,
    called: source.Location | None,
) -> Callable[[Any], Sequence[Array]]:
    """A pullback that reports its runs."""
    results = tuple(y) if primitive.multiple else (y,)
    forward = Forward(primitive, tuple(values), results, transformation, called)
    traced = _traced((*values, *results))

    def pull(g: Any) -> Sequence[Array]:
        if not observers:
            return pullback(g)
        before = _state.phase, _state.within
        _state.phase, _state.within = "backward", forward
        try:
            gs = tuple(g) if primitive.multiple else (g,)
            if traced or _traced(gs):
                return pullback(g)  # its operations come down to primitives, which report
            cotangents: Sequence[Array] = _reported(
                primitive, "backward", lambda: pullback(g), gs, params, forward, pick=tuple
            )
            return cotangents
        finally:
            _state.phase, _state.within = before

    pull.__wrapped__ = pullback  # type: ignore[attr-defined]  # for those who look into closures
    return pull


def tangent(
    primitive: Primitive, y: Any, values: Sequence[Array], tangents: Sequence[Any], params: Any
) -> Any:
    """`primitive.jvp(y, values, tangents, params)`, reported."""
    rule = primitive.jvp
    assert rule is not None
    results = tuple(y) if primitive.multiple else (y,)
    forward = Forward(primitive, tuple(values), results, "jvp", None)
    operands = [t for t in tangents if t is not None]
    before = _state.phase, _state.within
    _state.phase, _state.within = "tangent", forward
    try:
        if _traced((*values, *results, *operands)):
            return rule(y, values, tangents, params)
        return _reported(
            primitive,
            "tangent",
            lambda: rule(y, values, tangents, params),
            operands,
            params,
            forward,
        )
    finally:
        _state.phase, _state.within = before


def _traced(values: Sequence[Array]) -> bool:
    return any(isinstance(value, Tracer) for value in values)


def _reported(
    primitive: Primitive,
    phase: Phase,
    function: Callable[[], Any],
    operands: Sequence[Array],
    params: dict[str, Any],
    forward: Forward | None = None,
    pick: Callable[[Any], Any] | None = None,
) -> Any:
    """The function's result; `pick` takes out of it what the event calls its results."""
    location = source.capture()
    if phase == "forward" and source.is_backward(location):
        phase = "backward"  # an equation of a program that was traced from a backward pass
    state = _state
    outer = state.seconds, state.count
    state.seconds, state.count = 0.0, 0
    start = time.perf_counter()
    try:
        value = function()
        seconds = max(time.perf_counter() - start - state.seconds, 0.0)
        leaf = state.count == 0
    finally:
        state.seconds, state.count = outer
    results = value if pick is None else pick(value)
    if not isinstance(results, (tuple, list)):
        results = () if results is None else (results,)
    event = Event(
        primitive,
        phase,
        operands,
        results,
        params,
        location,
        seconds,
        leaf,
        forward,
        state.within,
    )
    for observer in tuple(observers):
        observer(event)
    # The listeners' time is no part of the operation around this one either.
    state.seconds += time.perf_counter() - start
    state.count += 1
    return value
