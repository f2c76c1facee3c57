"""Activation functions: ONNX's own nodes in float32 and float16, formulas in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..export import kernels
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Rule, lowers, lowers_composite, options
from ..export.values import Value
from . import error_function, formulas
from .common import is_floating, out, pointwise, written
from .elementwise import formula, operator_or_formula

lowers("hard_swish")(operator_or_formula("HardSwish", formulas.hard_swish))
lowers("softplus")(operator_or_formula("Softplus", formulas.softplus))


def _has(b: Builder, op: str, dtype: np.dtype[Any]) -> bool:
    """Whether an operator has kernels for floats of this type; of a narrow one by a cast."""
    return is_floating(dtype) and (kernels.runs(op, dtype) or dtype.itemsize < 4)


@lowers("relu")
def _relu(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    x = b.cast(x, dtype)
    if is_floating(dtype) or dtype in (np.int8, np.int32):
        return pointwise(b, "Relu", [x], shape, dtype)
    return pointwise(b, "Max", [x, b.constant(0, dtype)], shape, dtype)


@lowers("sigmoid")
def _sigmoid(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    if dtype == np.float64:  # the kernel has absolute, not relative precision
        return formula(b, step, formulas.sigmoid, x)
    return pointwise(b, "Sigmoid", [b.cast(x, dtype)], shape, dtype)


@lowers("swish")
def _swish(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    x = b.cast(x, dtype)
    return pointwise(b, "Mul", [x, _sigmoid(b, step, x)], shape, dtype)


@lowers("hard_sigmoid")
def _hard_sigmoid(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    if not _has(b, "HardSigmoid", dtype):
        return formula(b, step, formulas.hard_sigmoid, x)
    return pointwise(b, "HardSigmoid", [b.cast(x, dtype)], shape, dtype, alpha=1 / 6, beta=0.5)


@lowers("relu6")
def _relu6(b: Builder, step: Step, x: Value) -> Value:
    _shape, dtype = out(step)
    return clipped(b, b.cast(x, dtype), 0, 6)


def clipped(b: Builder, x: Value, low: Any, high: Any) -> Value:
    """A Clip between two numbers, either of which may be None."""
    bounds = [None if bound is None else b.constant(bound, x.dtype) for bound in (low, high)]
    return b.node("Clip", [x, *bounds], x.shape, x.dtype, order=x.order)


def _number(x: Value) -> float | None:
    """What a value is, where it is one known number."""
    if x.known is None or x.known.size != 1:
        return None
    return float(x.known.reshape(()))


@lowers("leaky_relu")
def _leaky_relu(b: Builder, step: Step, x: Value, slope: Value) -> Value:
    shape, dtype = out(step)
    number = _number(slope)
    if x.shape == shape and _has(b, "LeakyRelu", dtype):
        x = b.cast(x, dtype)
        if number is not None:
            return pointwise(b, "LeakyRelu", [x], shape, dtype, alpha=number)
        if slope.ndim <= x.ndim:
            return pointwise(b, "PRelu", [x, b.cast(slope, dtype)], shape, dtype)
    if is_floating(dtype):
        return formula(b, step, formulas.leaky_relu, x, slope)
    found = written(b, formulas.leaky_relu, x, slope)
    return b.cast(found, dtype)


@lowers("elu")
def _elu(b: Builder, step: Step, x: Value, alpha: Value) -> Value:
    shape, dtype = out(step)
    number = _number(alpha)
    if number is not None and x.shape == shape and _has(b, "Elu", dtype):
        return pointwise(b, "Elu", [b.cast(x, dtype)], shape, dtype, alpha=number)
    return formula(b, step, formulas.elu, x, alpha)


@lowers("gelu")
def _gelu(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    if dtype == np.float64:
        return formula(b, step, error_function.gelu_of_doubles, x)
    if b.opset < 20:
        return formula(b, step, error_function.gelu_of_singles, x)
    return pointwise(b, "Gelu", [b.cast(x, dtype)], shape, dtype)


def _numbers(step: Step, given: Sequence[Value], **defaults: float) -> list[float | None]:
    """A composite's further arguments, given by position or name: None for what is no number."""
    found: list[float | None] = []
    for i, (name, default) in enumerate(defaults.items()):
        value = options(step).get(name, default)
        number = value if isinstance(value, (int, float)) else None
        found.append(_number(given[i]) if i < len(given) else number)
    return found


# ---- composites, which are one node here ---------------------------------------------------------


def _one_node(op: str, since: int = 1, **attributes: Any) -> Rule:
    def rule(b: Builder, step: Step, x: Value) -> Value | None:
        shape, dtype = out(step)
        if b.opset < since or x.dtype != dtype or not _has(b, op, dtype):
            return None
        return pointwise(b, op, [x], shape, dtype, **attributes)

    return rule


lowers_composite("GeluTanh")(_one_node("Gelu", 20, approximate="tanh"))
lowers_composite("Mish")(_one_node("Mish", 18))
lowers_composite("Softsign")(_one_node("Softsign"))
lowers_composite("Selu")(
    _one_node("Selu", alpha=1.67326319217681884765625, gamma=1.0507010221481323)
)


@lowers_composite("Celu")
def _celu(b: Builder, step: Step, x: Value, *rest: Value) -> Value | None:
    shape, dtype = out(step)
    (number,) = _numbers(step, rest, alpha=1.0)
    if number is None or x.dtype != dtype or not _has(b, "Celu", dtype):
        return None
    return pointwise(b, "Celu", [x], shape, dtype, alpha=number)


@lowers_composite("HardTanh")
def _hard_tanh(b: Builder, step: Step, x: Value, *rest: Value) -> Value | None:
    ends = _numbers(step, rest, minimum=-1.0, maximum=1.0)
    if None in ends or x.dtype != out(step)[1] or not is_floating(x.dtype):
        return None
    return clipped(b, x, *ends)
