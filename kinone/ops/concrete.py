"""Operations whose answer's shape depends on values: possible where the values are there.

Under differentiation they are: `np.nonzero(x)` and `np.unique(x)` work, and what they say about
positions is constant. Under `vmap` and while a program is traced they are not, and the error says
what to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, Tracer, shape_dtype
from .joining import stack


def known(x: Array, what: str) -> np.ndarray[Any, Any]:
    """The plain array behind an operand. Raises `TracerConversionError` where there is none.

    `what` names the function that asks. The result must not become part of a differentiable value:
    positions, counts and truths may be made from it.
    """
    while isinstance(x, Tracer):
        x = x._concrete(what)
    return np.asarray(x)


def is_known(x: Array) -> bool:
    """Whether there is a plain array behind an operand."""
    while isinstance(x, Tracer):
        value = getattr(x, "value", None)
        if value is None or type(x)._concrete is Tracer._concrete:
            return False
        x = value
    return True


def looped(
    primitive: Primitive, size: int, batched: Sequence[bool], xs: Sequence[Array], **params: Any
) -> Array:
    """The results of a primitive for a whole batch by one call for each example, for what NumPy
    does not do for several arrays at once."""
    if size == 0:
        avals = [shape_dtype(x) for x in xs]
        one = [ShapeDtype(a.shape[flag:], a.dtype) for a, flag in zip(avals, batched, strict=True)]
        result = primitive.shape(*one, **params)
        return np.zeros((0, *result.shape), result.dtype)
    rows = [
        primitive(*[x[i] if flag else x for x, flag in zip(xs, batched, strict=True)], **params)
        for i in range(size)
    ]
    return stack(rows)
