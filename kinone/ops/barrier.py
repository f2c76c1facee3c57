"""`barrier`: the identity of several values at once, none of which is there before all are.

In a traced program what computes on the barrier's results comes after everything that its operands
need. That keeps a computation that is to be repeated late (`checkpoint`) from being merged with the
first one, or done early.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, shape_of
from .declare import Rule
from .samples import Sample, values


def _barrier(*xs: Array) -> tuple[Array, ...]:
    """The operands themselves, as one operation.

    >>> barrier(1.0, 2.0)
    (1.0, 2.0)
    """
    return xs


def _shape(*avals: ShapeDtype) -> tuple[ShapeDtype, ...]:
    return avals


def _vjp(wanted: Sequence[bool], y: Any, xs: Sequence[Array], params: Any) -> Rule:
    return lambda gs: [g for g, flag in zip(gs, wanted, strict=True) if flag]


def _jvp(y: Any, xs: Sequence[Array], tangents: Sequence[Array], params: Any) -> Any:
    return tuple(tangents)


def _batch(size: int, batched: Sequence[bool], *xs: Array) -> Any:
    return barrier(
        *[
            x if flag else np.broadcast_to(x, (size, *shape_of(x)))
            for x, flag in zip(xs, batched, strict=True)
        ]
    )


barrier = Primitive(
    "barrier",
    _barrier,
    shape=_shape,
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    multiple=True,
    samples=lambda: [Sample((values(2, 3), values(3, seed=1))), Sample((values(2),))],
)
