"""Results that are the caller's own: no two leaves share memory, nor does one with an argument."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..core import Array


def owner(x: Array) -> int:
    """The identity of the array whose memory `x` shows."""
    while type(x) is np.ndarray and x.base is not None:
        x = x.base
    return id(x)


class Owners:
    """The arrays whose memory is somebody's already: the arguments', and the results' so far."""

    __slots__ = ("seen",)

    def __init__(self, given: Iterable[Array]) -> None:
        self.seen = {owner(x) for x in given}

    def own(self, x: Array) -> Array:
        """A result, or a copy of it where its memory is somebody's or may not be written to."""
        if type(x) is not np.ndarray:
            return x
        found = id(x) if x.base is None else owner(x)
        if found in self.seen or not x.flags.writeable:
            x = x.copy()
            found = id(x)
        self.seen.add(found)
        return x
