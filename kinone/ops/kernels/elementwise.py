"""Elementwise formulas over large arrays: in cache-sized blocks, on all cores.

A formula of several ufuncs over a large array moves it through memory once for each of them, and
one core alone faults in the fresh pages of the result. On 2 M float32 relu took 0.69 ms and its
derivative 0.69 ms on one core; in blocks that two cores share, 0.42 and 0.45 ms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .parallel import for_blocks
from .scratch import Array

# Elements from which it pays, and of a block: in smaller ones threads queue for the interpreter.
_LARGE = 1 << 19
_BLOCK = 1 << 18


def is_large(*arrays: object) -> bool:
    """Whether these are contiguous float arrays of one shape and dtype, and worth the threads."""
    first = arrays[0]
    if type(first) is not np.ndarray or first.size < _LARGE or first.dtype.kind != "f":
        return False
    return all(
        type(x) is np.ndarray
        and x.shape == first.shape
        and x.dtype == first.dtype
        and x.flags.c_contiguous
        for x in arrays
    )


def blocked(formula: Callable[..., object], *arrays: Array) -> Array:
    """`formula(*blocks, out)` for all blocks of arrays that `is_large` let pass."""
    result: Array = np.empty(arrays[0].shape, arrays[0].dtype)
    operands = [x.reshape(-1) for x in arrays]
    flat = result.reshape(-1)

    def compute(part: slice) -> None:
        formula(*[x[part] for x in operands], flat[part])

    for_blocks(compute, flat.size, _BLOCK)
    return result
