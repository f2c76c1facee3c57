"""Arrays that a derivative will need are read-only while the forward run goes on.

Writing into one in between would change the derivative of what was computed before. Runs nest and
share arrays, so each array counts the runs that hold it. Of a view it is the view that is held, and
its base too where the view shows all of it; of which only a part is seen, the rest may be written
to by others, such as a thread that loads the next batch into it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core import Array

Held = np.ndarray[Any, Any]

_lock = threading.Lock()
_counts: dict[int, int] = {}
_waiting: list[Held] = []  # views whose base another run still holds


class Keeping:
    """A pullback that needs more than the operands and the results, and what it needs.

    A primitive's `run_vjp` says so by returning one: arrays that a user's rule keeps.
    """

    __slots__ = ("kept", "pullback")

    def __init__(self, pullback: Callable[[Any], Sequence[Array]], kept: Sequence[Any]) -> None:
        self.pullback = pullback
        self.kept = kept

    def __call__(self, g: Any) -> Sequence[Array]:
        return self.pullback(g)


def shown(view: Held) -> Iterator[Held]:
    """The arrays all of whose elements a view shows: an operation that a user calls may look at his
    array through a view of its own. They come before the view, for NumPy thaws them in this order.
    """
    base = view.base
    while type(base) is np.ndarray and base.size <= view.size:
        yield base
        base = base.base


def hold(arrays: Iterable[Held]) -> list[Held]:
    """Makes arrays read-only for one more run: those that their owner has not made so already."""
    held = []
    with _lock:
        for array in arrays:
            key = id(array)
            if array.flags.writeable:
                array.setflags(False)  # type: ignore[call-arg]  # by position: twice as fast
                _counts[key] = 1
            elif key in _counts:
                _counts[key] += 1
            else:
                continue
            held.append(array)
    return held


def release(arrays: Iterable[Held]) -> None:
    """Ends what `hold` began; an array that no run holds any more is writeable again."""
    with _lock:
        for array in arrays:
            others = _counts.pop(id(array)) - 1
            if others:
                _counts[id(array)] = others
            else:
                _thaw(array)
        if _waiting:
            views = _waiting[:]
            _waiting.clear()
            for view in views:
                _thaw(view)


def _thaw(array: Held) -> None:
    try:
        array.setflags(True)  # type: ignore[call-arg]
    except ValueError:  # NumPy makes a view writeable only after its base
        _waiting.append(array)
