"""Floating-point leaves of a tree in another dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import tree
from ..core import Array, is_bfloat16, is_number, shape_dtype


def cast_floats(values: Any, dtype: np.dtype[Any]) -> Any:
    """The tree with its real floating-point leaves in a dtype; Python's numbers adapt anyway.

    >>> cast_floats({"w": np.ones(2), "n": 3}, np.dtype("float16"))
    {'w': array([1., 1.], dtype=float16), 'n': 3}
    """

    def cast(leaf: Array) -> Array:
        if not is_number(leaf):
            return leaf
        given = shape_dtype(leaf)
        if given.weak or not is_real_floating(given.dtype) or given.dtype == dtype:
            return leaf
        return leaf.astype(dtype)

    return tree.map(cast, values)


def is_real_floating(dtype: np.dtype[Any]) -> bool:
    """Whether it is a real floating-point dtype, bfloat16 among them."""
    return dtype.kind == "f" or is_bfloat16(dtype)


def only_bfloat16(x: Any, params: Any) -> np.dtype[Any] | None:
    """The dtype bfloat16, where `x` has such leaves and neither has wider real ones."""
    if not any(is_bfloat16(getattr(leaf, "dtype", None)) for leaf in tree.leaves(x)):
        return None
    dtypes = [shape_dtype(leaf).dtype for leaf in tree.leaves((x, params)) if is_number(leaf)]
    found = {dtype for dtype in dtypes if is_real_floating(dtype)}
    return found.pop() if len(found) == 1 else None
