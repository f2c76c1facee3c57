"""What a compiled program calls besides NumPy's functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def own(result: Any, *others: Any) -> Any:
    """The result, or a copy of it where it shows the memory of another, or is not writeable."""
    if type(result) is not np.ndarray:
        return result
    if not result.flags.writeable or any(np.may_share_memory(result, x) for x in others):
        return result.copy(order="K")
    return result


def allocate(capacities: Sequence[int], buffers: Sequence[tuple[int, Any, Any]]) -> list[Any]:
    """The buffers of a program: `(part, shape, dtype)` is a view of an arena's part, each of which
    has its capacity in bytes."""
    parts = [aligned(capacity) for capacity in capacities]
    found = []
    for part, shape, dtype in buffers:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        found.append(parts[part][:size].view(dtype).reshape(shape))
    return found


def aligned(count: int) -> Any:
    """Uninitialised bytes that begin where a cache line does."""
    raw = np.empty(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count]
