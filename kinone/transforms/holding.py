"""Arrays that a derivative will need are read-only while the forward run goes on.

Writing into one in between would change the derivative of what was computed before. Runs nest and
share arrays, so each array counts the runs that hold it. Of a view it is the view that is held; its
base may be written to by others, such as a thread that loads the next batch into another part.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

Held = np.ndarray[Any, Any]

_lock = threading.Lock()
_counts: dict[int, int] = {}
_waiting: list[Held] = []  # views whose base another run still holds


def hold(arrays: Iterable[Held]) -> list[Held]:
    """Makes arrays read-only for one more run: those that their owner has not made so already."""
    held = []
    with _lock:
        for array in arrays:
            key = id(array)
            if array.flags.writeable:
                array.setflags(write=False)
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
            key = id(array)
            count = _counts[key]
            if count > 1:
                _counts[key] = count - 1
                continue
            del _counts[key]
            _thaw(array)
        if _waiting:
            views = _waiting[:]
            _waiting.clear()
            for view in views:
                _thaw(view)


def _thaw(array: Held) -> None:
    try:
        array.setflags(write=True)
    except ValueError:  # NumPy makes a view writeable only after its base
        _waiting.append(array)
