"""Arithmetic and functions of one number, element by element."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, Tracer, shape_dtype
from ..known import is_known, known
from ..registry import Node, find, operator


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator that is a function of NumPy or Kinone as it is."""

    def run(node: Node, *operands: Array) -> Any:
        return function(*operands)

    return run


def as_dtype(x: Array, dtype: Any) -> Array:
    """`x` in a dtype, cast where it has another."""
    return x if shape_dtype(x).dtype == dtype else ops.astype(x, dtype)


def keeping_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator whose result has the dtype of its first operand: bfloat16, where NumPy makes
    float32 of it and of a Python number."""

    @functools.wraps(function)
    def run(node: Node, x: Array, *rest: Any) -> Any:
        return as_dtype(function(node, x, *rest), shape_dtype(x).dtype)

    return run


_SAME: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Round": np.rint,  # halves go to the even neighbour
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Log": np.log,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tan": np.tan,
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Sinh": np.sinh,
    "Cosh": np.cosh,
    "Tanh": np.tanh,
    "Asinh": np.arcsinh,
    "Acosh": np.arccosh,
    "Atanh": np.arctanh,
    "Sign": np.sign,
}
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow")
for _name, _function in _SAME.items():
    operator(_name, since=7 if _name in _BROADCAST else 1)(plain(_function))


def aligned(*names: str) -> None:
    """Declares what operators of two operands were before opset 7, when `axis` said with which axis
    of the first the axes of the second begin."""
    for name in names:
        function = find("", name, 7)
        assert function is not None
        operator(name)(_aligned(function))


def _aligned(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(node: Node, a: Array, b: Array) -> Any:
        rank, known, axis = shape_dtype(a).ndim, shape_dtype(b), node.attribute("axis", None)
        if axis is not None and node.attribute("broadcast", 0):
            missing = rank - (axis + rank if axis < 0 else axis) - known.ndim
            if missing < 0:
                raise node.error(f"puts {known} at axis {axis} of {shape_dtype(a)}")
            b = np.reshape(b, (*known.shape, *[1] * missing))
        return function(node, a, b)

    return run


@operator("Erf")
@keeping_dtype
def erf(node: Node, x: Array) -> Array:
    return ops.erf(x if shape_dtype(x).dtype.kind in "fV" else ops.astype(x, np.float64))


@operator("Reciprocal")
@keeping_dtype
def reciprocal(node: Node, x: Array) -> Array:
    return 1 / x


@operator("Div", since=7)
def divide(node: Node, a: Array, b: Array) -> Array:
    """Integers are divided towards zero, as in C."""
    kind = shape_dtype(a).dtype.kind
    if kind == "u":
        return np.floor_divide(a, b)
    if kind != "i":
        return np.divide(a, b)
    down, rest = np.floor_divide(a, b), np.remainder(a, b)
    upwards = (rest != 0) & ((a < 0) != (b < 0))
    return down + ops.astype(upwards, shape_dtype(down).dtype)


@operator("Mod")
def modulo(node: Node, a: Array, b: Array) -> Array:
    """The rest, with the sign of the divisor; with `fmod` that of the dividend, as in C."""
    return np.fmod(a, b) if node.attribute("fmod", 0) else np.remainder(a, b)


@operator("Pow", since=7)
def power(node: Node, x: Array, exponent: Array) -> Array:
    """The result has the dtype of `x`, whatever that of the exponent."""
    base, by = shape_dtype(x).dtype, shape_dtype(exponent).dtype
    if base.kind in "iu" and by.kind in "iu":
        return _whole_power(x, exponent, base)
    if base.kind in "iu":
        return ops.astype(np.power(ops.astype(x, np.float64), exponent), base)
    number = _whole_number(exponent)
    if number is not None:  # then x² is x · x, and the derivative has no logarithm
        rank = shape_dtype(exponent).ndim - shape_dtype(x).ndim
        y = x**number
        return np.reshape(y, (*[1] * rank, *shape_dtype(x).shape)) if rank > 0 else y
    return np.power(x, as_dtype(exponent, base))


def _whole_number(exponent: Array) -> int | None:
    if isinstance(exponent, Tracer) or np.size(exponent) != 1:
        return None
    number = float(np.asarray(exponent).reshape(()))
    return int(number) if number.is_integer() and abs(number) < 100 else None


def _whole_power(x: Array, exponent: Array, dtype: np.dtype[Any]) -> Array:
    """A power of integers; one that is no integer is cut to one: 2 to the -1 is 0."""
    if shape_dtype(exponent).dtype.kind == "i":
        negative, odd = exponent < 0, np.remainder(exponent, 2) == 1
        result = np.power(x, ops.astype(np.maximum(exponent, 0), dtype))
        ones = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0))
        return ops.astype(np.where(negative, ones, result), dtype)
    return np.power(x, ops.astype(exponent, dtype))


aligned(*_BROADCAST)

# ---- of any number of operands -------------------------------------------------------------------


@operator("Sum")
def total(node: Node, *operands: Array) -> Array:
    return functools.reduce(np.add, _some(node, operands))


@operator("Mean")
def mean(node: Node, *operands: Array) -> Array:
    return ops.astype(total(node, *operands) / len(operands), shape_dtype(operands[0]).dtype)


@operator("Max")
def largest(node: Node, *operands: Array) -> Array:
    return functools.reduce(np.maximum, _some(node, operands))


@operator("Min")
def smallest(node: Node, *operands: Array) -> Array:
    return functools.reduce(np.minimum, _some(node, operands))


def _some(node: Node, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    if not operands:
        raise node.error("wants at least one input")
    return operands


@operator("Clip")
def clip_between(node: Node, x: Array) -> Array:
    """With bounds as attributes, that are the largest float32 where they are not given."""
    return clip(node, x, node.attribute("min", None), node.attribute("max", None))


@operator("Clip", since=11)
@keeping_dtype
def clip(node: Node, x: Array, low: Array = None, high: Array = None) -> Array:
    """min(max(x, low), high): where they cross, `high` wins."""
    if low is None and high is None:
        return x
    bounded = low is not None and high is not None
    if bounded and shape_dtype(x).dtype.kind == "f" and _is(node, low, 0) and _is(node, high, 6):
        return ops.relu6(x)
    return np.clip(x, _number(low), _number(high))


def _is(node: Node, bound: Any, value: float) -> bool:
    return is_known(bound) and bool(np.all(known(node, bound, "bound") == value))


def _number(bound: Any) -> Any:
    """A bound without axes; some exporters write it as a tensor with one number."""
    if bound is None or isinstance(bound, (int, float)) or shape_dtype(bound).ndim == 0:
        return bound
    return np.reshape(bound, ()) if shape_dtype(bound).size == 1 else bound
