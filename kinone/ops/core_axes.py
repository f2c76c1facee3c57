"""`axis=`, `axes=` and `keepdims=` of the ufuncs that work on vectors and matrices: matmul, vecdot,
matvec, vecmat."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Array, ndim_of
from .axes import as_array


def on_axes(
    ufunc: np.ufunc,
    function: Callable[..., Array],
    *operands: Array,
    axes: Sequence[Any] | None = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Array:
    """`function` of the operands with the axes in question moved to the end, where it wants them.

    `axes` has a tuple of axes for each operand and for the result (which may be left out where it
    has none of them), an integer standing for a tuple of one; `axis` is the one axis of all.
    `keepdims` keeps it in the result, of length 1. Raises `TypeError` and `ValueError` as NumPy.
    """
    signature = str(ufunc.signature).replace("?", "").replace("(", "").split(")")
    counts = [len([n for n in part.strip(",->").split(",") if n]) for part in signature[:-1]]
    shared = counts[:-1] == [1] * len(operands) and counts[-1] == 0
    if (axis is not None or keepdims) and not shared:
        raise TypeError(
            f"{ufunc.__name__}: axis= and keepdims= are for functions of one axis that all "
            "operands share; write axes="
        )
    if axis is not None and axes is not None:
        raise TypeError("cannot specify both 'axis' and 'axes'")
    if axes is None:
        one = -1 if axis is None else operator.index(axis)
        axes = [*[(one,) for _ in operands], (one,) if keepdims else ()]
    places = [(each,) if hasattr(each, "__index__") else tuple(each) for each in axes]
    if len(places) == len(operands) and counts[-1] == 0:
        places.append((-1,) if keepdims else ())
    if len(places) != len(operands) + 1:
        raise ValueError(
            f"axes should be a list with an entry for all {len(operands) + 1} inputs and outputs"
        )
    moved = []
    for x, place in zip(operands, places, strict=False):
        x = as_array(x)
        moved.append(np.moveaxis(x, place, tuple(range(-len(place), 0))))
    result = function(*moved)
    if keepdims:
        return np.expand_dims(result, places[-1])
    target = places[-1]
    if not target or ndim_of(result) < len(target):
        return result
    return np.moveaxis(result, tuple(range(-len(target), 0)), target)
