"""Choosing among values: the larger, the smaller, by a condition, between bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export import kernels
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Rule, lowers
from ..export.values import Node, Value
from . import formulas
from .common import is_floating, out, pointwise
from .elementwise import formula


def _bound(b: Builder, node: Node, op: str) -> tuple[str, float] | None:
    """What a Max or Min bounds by one number: the tensor, and the number."""
    if node.op == "Relu" and op == "Max":
        return node.inputs[0], 0.0
    if node.op != op or len(node.inputs) != 2:
        return None
    for name, other in (node.inputs, node.inputs[::-1]):
        array = b.initializers.get(other)
        if array is not None and array.shape == ():
            return name, array.item()
    return None


def _clip(b: Builder, op: str, shape: Sequence[Any], x: Value, y: Value) -> Value | None:
    """A Max of a Min, or the other way round, with two numbers as one Clip; a
    Max with 0 as Relu."""
    if y.known is None:
        x, y = y, x
    if x.known is not None or y.known is None or y.ndim or x.shape != shape:
        return None
    found = _between(b, op, shape, x, y)
    if found is None and op == "Max" and is_floating(x.dtype) and y.known == 0:
        return b.node("Relu", [x], shape, x.dtype, order=x.order)
    if found is None and x.dtype == np.float16:  # whose Max and Min lose NaN
        ends = [y, None] if op == "Max" else [None, y]
        return b.node("Clip", [x, *ends], shape, x.dtype, order=x.order)
    return found


def _between(b: Builder, op: str, shape: Sequence[Any], x: Value, y: Value) -> Value | None:
    assert y.known is not None
    maker = next((node for node in reversed(b.nodes) if x.name in node.outputs), None)
    found = None if maker is None else _bound(b, maker, "Min" if op == "Max" else "Max")
    if found is None or not kernels.runs("Clip", x.dtype):
        return None
    name, bound = found
    low, high = (y.known.item(), bound) if op == "Max" else (bound, y.known.item())
    if not low <= high:
        return None
    ends = [b.constant(low, x.dtype), b.constant(high, x.dtype)]
    inner = Value(name, x.shape, x.dtype, x.order)
    return b.node("Clip", [inner, *ends], shape, x.dtype, order=x.order)


def _extremum(op: str) -> Rule:
    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        shape, dtype = out(step)
        cast = [b.cast(x, dtype) for x in operands]
        clipped = _clip(b, op, shape, *cast)
        if clipped is not None:
            return clipped
        # The kernels of float16 lose NaN.
        inside = np.dtype(np.float32) if dtype == np.float16 else dtype
        found = pointwise(b, op, [b.cast(x, inside) for x in operands], shape, inside)
        return b.cast(found, dtype)

    return rule


lowers("maximum")(_extremum("Max"))
lowers("minimum")(_extremum("Min"))


def _extremum_beside_nan(op: str, fun: Callable[..., Any]) -> Rule:
    whole = _extremum(op)

    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        if is_floating(out(step)[1]):
            return formula(b, step, fun, *operands)
        found: Value = whole(b, step, *operands)
        return found

    return rule


lowers("fmax")(_extremum_beside_nan("Max", formulas.fmax))
lowers("fmin")(_extremum_beside_nan("Min", formulas.fmin))


@lowers("where")
def _where(b: Builder, step: Step, condition: Value, x: Value, y: Value) -> Value:
    shape, dtype = out(step)
    operands = [b.cast(condition, np.bool_), b.cast(x, dtype), b.cast(y, dtype)]
    return pointwise(b, "Where", operands, shape, dtype, typed=(1, 2))
