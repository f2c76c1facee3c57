"""`profile`: the time, the bytes and the work of each of your lines, forward and backward."""

from __future__ import annotations

import linecache
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import source
from ..core.observe import Event, observing
from .table import megabytes, milliseconds, operations, table
from .work import flops


@dataclass(slots=True)
class Row:
    """What one line of a file cost. Times are seconds, `nbytes` the size of all results.

    `forward_flops` and `backward_flops` are estimates: exact for products and convolutions, one
    operation an element for the rest. `primitives` counts the calls of each operation.
    """

    filename: str
    line: int
    text: str
    forward_calls: int = 0
    backward_calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    forward_flops: float = 0.0
    backward_flops: float = 0.0
    nbytes: int = 0
    primitives: Counter[str] = field(default_factory=Counter)

    @property
    def seconds(self) -> float:
        return self.forward_seconds + self.backward_seconds

    @property
    def flops(self) -> float:
        return self.forward_flops + self.backward_flops

    @property
    def calls(self) -> int:
        return self.forward_calls + self.backward_calls


class profile:
    """`with profile() as p:` measures each operation inside; `print(p)` is a table by your line.

    Forward and backward stand apart: a backward pass counts for the line that it differentiates.
    `p.rows` is the data, the slowest line first, `p.seconds` the time between start and end. What
    is in that and in no row is Python, Kinone's own bookkeeping and the profiler's. Compiled
    functions run step by step meanwhile.

        >>> import numpy as np, kinone as kn
        >>> with kn.debug.profile() as p:
        ...     slope = kn.grad(lambda w: np.sum(np.ones((8, 4)) @ w))(np.ones((4, 2)))
        >>> row = p.rows[0]
        >>> row.forward_calls, row.backward_calls, row.primitives["matmul"]
        (2, 2, 2)
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._rows: dict[tuple[str, int], Row] = {}
        self._keys: dict[source.Location | None, tuple[str, int]] = {}
        self._listening = observing(self._add)
        self._lock = threading.Lock()
        self._start = 0.0

    def __enter__(self) -> profile:
        self._start = time.perf_counter()
        self._listening.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._listening.__exit__(*error)
        self.seconds += time.perf_counter() - self._start

    @property
    def rows(self) -> list[Row]:
        """One row for each line, the slowest first."""
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    def _add(self, event: Event) -> None:
        nbytes = sum(np.asarray(x).nbytes for x in event.results if x is not None)
        work = flops(event)
        with self._lock:
            row = self._row(event.location)
            row.primitives[event.primitive.name] += 1
            row.nbytes += nbytes
            if event.phase == "backward":
                row.backward_calls += 1
                row.backward_seconds += event.seconds
                row.backward_flops += work
            else:
                row.forward_calls += 1
                row.forward_seconds += event.seconds
                row.forward_flops += work

    def _row(self, location: source.Location | None) -> Row:
        key = self._keys.get(location)
        if key is None:
            place = None if location is None else source.resolve(location)
            key = ("an unknown line", 0) if place is None else (place.filename, place.line)
            self._keys[location] = key
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(*key, linecache.getline(*key).strip())
        return row

    def __str__(self) -> str:
        found = self.rows
        inside = sum(row.seconds for row in found)
        lines = [
            (
                milliseconds(row.forward_seconds),
                milliseconds(row.backward_seconds),
                f"{100 * row.seconds / self.seconds:.0f}" if self.seconds else "",
                str(row.calls),
                megabytes(row.nbytes),
                operations(row.flops) if row.flops else "",
                _rate(row),
                f"{source.shortened(row.filename)}:{row.line}  {row.text}",
            )
            for row in found
        ]
        foot = (
            milliseconds(sum(row.forward_seconds for row in found)),
            milliseconds(sum(row.backward_seconds for row in found)),
            f"{100 * inside / self.seconds:.0f}" if self.seconds else "",
            str(sum(row.calls for row in found)),
            megabytes(sum(row.nbytes for row in found)),
            operations(sum(row.flops for row in found)),
            "",
            "in all",
        )
        head = (
            f"{1000 * self.seconds:.1f} ms, of which {1000 * inside:.1f} ms in "
            f"{foot[3]} operations; times in ms"
        )
        titles = ("forward", "backward", "%", "calls", "results", "work", "GFLOP/s", "line")
        return table(head, titles, lines, right=range(7), foot=foot)

    __repr__ = __str__


def _rate(row: Row) -> str:
    return f"{row.flops / row.seconds / 1e9:.1f}" if row.flops and row.seconds else ""
