"""The named axes of the `vmap`s that are running, for collectives and compiled functions."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any

from .. import source
from ..errors import KinoneError


class AxisNameError(KinoneError, NameError):
    """A collective over an axis that no running `vmap` has named."""


class _State(threading.local):
    def __init__(self) -> None:
        self.running: list[Any] = []  # the traces of vmaps whose axis has a name, outermost first
        self.batching: Any = None  # the trace whose batching rule is at work


_state = _State()


class named_axis:
    """`with named_axis(trace):` makes the trace's axis known by its name, if it has one."""

    __slots__ = ("trace",)

    def __init__(self, trace: Any) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        _state.running.append(self.trace)

    def __exit__(self, *error: object) -> None:
        _state.running.pop()


class batching:
    """`with batching(trace):` says whose batching rule runs: the programs in a loop, a branch or a
    compiled function are traced for its axis, under its name."""

    __slots__ = ("before", "trace")

    def __init__(self, trace: Any) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        self.before, _state.batching = _state.batching, self.trace

    def __exit__(self, *error: object) -> None:
        _state.batching = self.before


def name_of_batch() -> Hashable:
    """The name of the axis whose batching rule is at work."""
    return getattr(_state.batching, "axis_name", None)


def named_axes() -> tuple[tuple[Hashable, int], ...]:
    """The names and sizes of all axes that are known here, outermost first."""
    return tuple([(t.axis_name, t.size) for t in _state.running if t.axis_name is not None])


def axis_of(name: Hashable) -> Any:
    """The innermost running `vmap` with this `axis_name`: its trace.

    Raises `AxisNameError` (a `NameError`) when there is none.
    """
    for trace in reversed(_state.running):
        if trace.axis_name is not None and trace.axis_name == name:
            return trace
    known = ", ".join(repr(each) for each, _ in named_axes())
    raise AxisNameError(
        f"no vmap with axis_name={name!r} is running, at {source.here()}\n"
        f"  {f'The names here are {known}.' if known else f'Write vmap(f, axis_name={name!r}).'}"
    )
