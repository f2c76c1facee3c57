"""Estimates of floating-point operations, from what each primitive says of its work."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core import Array, Primitive, shape_of
from ..core.observe import Event


def flops(event: Event) -> float:
    """The floating-point operations of an event, estimated; 0 where others report them.

    The backward pass of a product or a convolution is as much work as the forward run for each
    operand that has a cotangent; an elementwise rule is taken for one operation an element.
    """
    if not event.leaf:
        return 0.0
    if event.forward is None:
        return _forward(event.primitive, event.operands, event.results)
    each = _forward(event.primitive, event.forward.operands, event.forward.results)
    return each * sum(result is not None for result in event.results)


def _forward(primitive: Primitive, operands: Sequence[Array], results: Sequence[Array]) -> float:
    """The work of the operation itself."""
    given, made = _shapes(operands), _shapes(results)
    if callable(primitive.flops):
        return float(primitive.flops(given, made))
    return primitive.flops * max([math.prod(shape) for shape in (*given, *made)], default=0)


def _shapes(values: Sequence[Array]) -> list[tuple[int, ...]]:
    return [shape_of(value) for value in values if value is not None]
