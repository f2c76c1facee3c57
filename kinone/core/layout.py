"""What is known before an operation runs about how its result lies in memory.

NumPy gives a result the memory order of its operands, and sums run in memory order, so a result
that a compiled program writes elsewhere must lie there in the same order for its last bit to be the
same. A value is

    CONTIGUOUS   in C order without gaps
    ORDERED      with strides that do not increase, zeros aside, and none negative: a ufunc's result
                 of such operands is contiguous
    UNKNOWN      anything

A primitive's `layout` maps the layouts of its operands to that of its results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .values import ShapeDtype

UNKNOWN, ORDERED, CONTIGUOUS = 0, 1, 2


def unknown(known: Sequence[int], avals: Sequence[ShapeDtype], **params: Any) -> int:
    """Of a primitive that says nothing."""
    return UNKNOWN


def follows(known: Sequence[int], avals: Sequence[ShapeDtype], **params: Any) -> int:
    """Of what allocates as a ufunc does: in the order of the operands, without gaps."""
    return CONTIGUOUS if min(known, default=CONTIGUOUS) >= ORDERED else UNKNOWN


def made(known: Sequence[int], avals: Sequence[ShapeDtype], **params: Any) -> int:
    """Of what allocates in C order, and may look at the order of its operands."""
    return CONTIGUOUS if min(known, default=CONTIGUOUS) == CONTIGUOUS else UNKNOWN
