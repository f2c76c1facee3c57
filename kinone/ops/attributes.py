"""Questions about an array that its shape answers, and plain arrays like it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array, implements, ndim_of, shape_dtype, shape_of
from .declare import Rule
from .shape import reshape


@implements(np.atleast_1d)
def atleast_1d(a: Array) -> Array:
    """With at least one axis."""
    return reshape(a, (1,)) if ndim_of(a) == 0 else a


@implements(np.ndim)
def ndim(a: Array) -> int:
    """The number of axes."""
    return len(shape_of(a))


@implements(np.shape)
def shape(a: Array) -> tuple[int, ...]:
    """The shape of an array, number or tracer."""
    return shape_dtype(a).shape


@implements(np.size)
def size(a: Array, axis: int | None = None) -> int:
    """The number of elements."""
    return math.prod(shape(a)) if axis is None else shape(a)[axis]


def _constant_like(function: Rule) -> Rule:
    def like(a: Array, *args: Any, **kwargs: Any) -> Array:
        known = shape_dtype(a)
        return function(np.broadcast_to(np.zeros((), known.dtype), known.shape), *args, **kwargs)

    return like


for _function in (np.zeros_like, np.ones_like, np.full_like, np.empty_like):
    implements(_function)(_constant_like(_function))
