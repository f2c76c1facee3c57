"""Estimates of floating-point operations, by primitive: a small table and a default."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..core import Array, shape_of
from ..core.observe import Event

Shapes = Sequence[tuple[int, ...]]


def _product(operands: Shapes, results: Shapes, params: dict[str, Any]) -> float:
    """2 · rows · inner · columns: a multiplication and an addition for each term."""
    inner = operands[0][-1] if operands[0] else 1
    return 2.0 * math.prod(results[0]) * inner


def _convolution(operands: Shapes, results: Shapes, params: dict[str, Any]) -> float:
    """2 · outputs · kernel height · kernel width · input channels of a group."""
    *window, _ = operands[1]
    return 2.0 * math.prod(results[0]) * math.prod(window)


def _transposed(operands: Shapes, results: Shapes, params: dict[str, Any]) -> float:
    """As the convolution that it is the transpose of: each element of `g` meets the kernel once."""
    *window, _ = operands[1]
    return 2.0 * math.prod(operands[0]) * math.prod(window)


def _kernel_gradient(operands: Shapes, results: Shapes, params: dict[str, Any]) -> float:
    """As the convolution itself: each element of `g` meets its window once."""
    *window, _ = results[0]
    return 2.0 * math.prod(operands[1]) * math.prod(window)


def _elements(operands: Shapes, results: Shapes, params: dict[str, Any]) -> float:
    """One for each element that comes in or goes out, whichever are more."""
    return float(max([math.prod(shape) for shape in (*operands, *results)], default=0))


def _scaled(factor: float) -> Callable[[Shapes, Shapes, dict[str, Any]], float]:
    return lambda operands, results, params: factor * _elements(operands, results, params)


def _nothing(operands: Shapes, results: Shapes, params: dict[str, Any]) -> float:
    return 0.0


_NO_WORK = (
    *("reshape", "transpose", "broadcast_to", "getitem", "concatenate", "stack", "unstack"),
    *("split", "astype", "pad", "expand_dims", "squeeze", "stop_gradient", "set"),
)
_SEVERAL_PASSES = ("batch_norm", "softmax", "log_softmax", "logsumexp", "var", "std")

# What is not here counts one operation for each element.
_FLOPS: dict[str, Callable[[Shapes, Shapes, dict[str, Any]], float]] = {
    "matmul": _product,
    "dot": _product,
    "tensordot": _product,
    "conv": _convolution,
    "conv_transpose": _transposed,
    "conv_kernel": _kernel_gradient,
    **dict.fromkeys(_SEVERAL_PASSES, _scaled(5)),
    **dict.fromkeys(_NO_WORK, _nothing),
}


def flops(event: Event) -> float:
    """The floating-point operations of an event, estimated; 0 where others report them.

    The backward pass of a product or a convolution is as much work as the forward run for each
    operand that has a cotangent; an elementwise rule is taken for one operation an element.
    """
    if not event.leaf:
        return 0.0
    count = _FLOPS.get(event.primitive.name, _elements)
    if event.forward is None:
        return count(_shapes(event.operands), _shapes(event.results), event.params)
    each = count(_shapes(event.forward.operands), _shapes(event.forward.results), event.params)
    return each * sum(result is not None for result in event.results)


def _shapes(values: Sequence[Array]) -> list[tuple[int, ...]]:
    return [shape_of(value) for value in values if value is not None]
