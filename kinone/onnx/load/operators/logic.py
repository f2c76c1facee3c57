"""Comparisons, booleans and bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ..registry import Node, operator
from .arithmetic import aligned, plain

_SAME: dict[str, Callable[..., Any]] = {
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "BitwiseNot": np.invert,
}
for _name, _function in _SAME.items():
    operator(_name, since=7)(plain(_function))


@operator("Equal", since=7)
def equal(node: Node, a: Array, b: Array) -> Array:
    return np.equal(a, b)  # of texts, too


@operator("Not")
def logical_not(node: Node, x: Array) -> Array:
    return np.logical_not(x)


aligned("Greater", "Less", "Equal", "And", "Or", "Xor")


@operator("IsNaN")
def is_nan(node: Node, x: Array) -> Array:
    return np.isnan(_in_numpy(x))


@operator("IsInf")
def is_infinite(node: Node, x: Array) -> Array:
    x = _in_numpy(x)
    found = np.isinf(x)
    if not node.attribute("detect_positive", 1):
        found = found & (x < 0)
    if not node.attribute("detect_negative", 1):
        found = found & (x > 0)
    return found


def _in_numpy(x: Array) -> Array:
    """The narrow floats of ml_dtypes as NumPy's."""
    return ops.astype(x, np.float32) if shape_dtype(x).dtype.kind == "V" else x


@operator("BitShift")
def bit_shift(node: Node, x: Array, by: Array) -> Array:
    """By as many bits as there are, or by a negative count, only the sign is left, and of a shift
    to the left nothing. (NumPy's result for those is any.)"""
    direction = node.attribute("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise node.error(f"shifts to the {direction!r}, which is neither LEFT nor RIGHT")
    dtype = shape_dtype(x).dtype
    width = 8 * dtype.itemsize
    outside = (by < 0) | (by >= width) if dtype.kind == "i" else by >= width
    some = np.where(outside, by - by, by)  # a zero of the dtype
    if direction == "LEFT":
        return np.where(outside, x - x, np.left_shift(x, some))
    gone = np.right_shift(x, x - x + (width - 1)) if dtype.kind == "i" else x - x
    return np.where(outside, gone, np.right_shift(x, some))
