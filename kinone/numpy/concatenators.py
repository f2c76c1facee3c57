"""`r_` and `c_`: arrays written as an index, `r_[0:3, x, 1.0]`, where `x` may be traced."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..core import Array, ndim_of
from .lists import array, holds_tracer


class Concatenator:
    """What NumPy's `r_` and `c_` are, for entries that may be traced.

    Each entry is an array, a number or a slice, which counts (`0:6:2`) or divides a line
    (`0:1:5j`). A string in front says how they are joined: `"axis"`, `"axis,ndim"` or
    `"axis,ndim,where"`, as NumPy's documentation explains; `"r"` and `"c"` make matrices, which
    traced values cannot be.
    """

    def __init__(self, plain: Any, axis: int, ndmin: int, trans1d: int) -> None:
        self._plain = plain
        self._how = axis, ndmin, trans1d

    def __getitem__(self, key: Any) -> Array:
        entries = key if isinstance(key, tuple) else (key,)
        if not holds_tracer(entries):
            return self._plain[key]
        axis, ndmin, trans1d = self._how
        if isinstance(entries[0], str):
            if entries[0] in ("r", "c"):
                raise ValueError("a traced value cannot be part of a matrix; leave 'r' or 'c' away")
            given = [int(each) for each in entries[0].split(",")]
            axis, ndmin, trans1d = (*given, *self._how[len(given) :])
            entries = entries[1:]
        return ops.concatenate([_entry(each, ndmin, trans1d) for each in entries], axis)

    def __len__(self) -> int:
        return 0


def _entry(entry: Any, ndmin: int, trans1d: int) -> Array:
    if isinstance(entry, str):
        raise ValueError("special directives must be the first entry.")
    x = np.r_[entry] if isinstance(entry, slice) else array(entry)
    missing = ndmin - ndim_of(x)
    if missing <= 0:
        return x if ndim_of(x) else x.reshape(1)
    own = ndim_of(x)
    x = x.reshape((1,) * missing + x.shape)
    if own == 0 or trans1d == -1:
        return x
    # NumPy's rule: the entry's own axes begin at `trans1d`, which counts among all the axes.
    start = trans1d + (missing + 1 if trans1d < 0 else 0)
    return np.moveaxis(x, list(range(missing, ndmin)), list(range(start, start + own)))


NAMES = {"r_": Concatenator(np.r_, 0, 1, -1), "c_": Concatenator(np.c_, -1, 2, 0)}
