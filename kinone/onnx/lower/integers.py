"""Whole numbers: division, powers, bits, divisors.

An integer division by zero ends ONNX Runtime's process, and so does the least number by -1; NumPy
gives 0 and the least number again. So divisors are looked at first, unless they are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import transforms
from ...ops.integers import bitwise_and
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Rule, lowers
from ..export.values import Value
from .common import loop_types, out, pointwise, written

Array = Any
Shape = Sequence[Any]


# ---- division ------------------------------------------------------------------------------------


def _divisor(b: Builder, y: Value) -> tuple[Value, Value | None, Value | None]:
    """The divisor without 0 and -1, and where it was 0 and -1; None where it never is."""
    signed = y.dtype.kind == "i"
    if y.known is not None and not np.any((y.known == 0) | (signed & (y.known == -1))):
        return y, None, None
    one, none = b.constant(1, y.dtype), b.constant(0, y.dtype)
    zero = pointwise(b, "Equal", [y, none], y.shape, np.bool_)
    safe = pointwise(b, "Where", [zero, one, y], y.shape, y.dtype, typed=(1, 2))
    if not signed:
        return safe, zero, None
    minus = pointwise(b, "Equal", [y, b.constant(-1, y.dtype)], y.shape, np.bool_)
    safe = pointwise(b, "Where", [minus, one, safe], y.shape, y.dtype, typed=(1, 2))
    return safe, zero, minus


def _where(b: Builder, condition: Value, x: Value, y: Value, shape: Shape) -> Value:
    return pointwise(b, "Where", [condition, x, y], shape, x.dtype, typed=(1, 2))


def _remainder(b: Builder, x: Value, y: Value, shape: Shape) -> Value:
    """With the sign of the divisor; 0 of zero."""
    safe, zero, _ = _divisor(b, y)
    found = pointwise(b, "Mod", [x, safe], shape, x.dtype)
    return found if zero is None else _where(b, zero, b.constant(0, x.dtype), found, shape)


def _fmod(b: Builder, x: Value, y: Value, shape: Shape) -> Value:
    """With the sign of the dividend. `Mod(fmod=1)` goes by way of float64 in ONNX Runtime 1.19, and
    loses digits of int64."""
    if x.dtype.kind == "u":
        return _remainder(b, x, y, shape)
    safe, zero, _ = _divisor(b, y)
    quotient = pointwise(b, "Div", [x, safe], shape, x.dtype)
    whole = pointwise(b, "Mul", [quotient, safe], shape, x.dtype)
    found = pointwise(b, "Sub", [x, whole], shape, x.dtype)
    return found if zero is None else _where(b, zero, b.constant(0, x.dtype), found, shape)


def _floor_divide(b: Builder, x: Value, y: Value, shape: Shape) -> Value:
    safe, zero, minus = _divisor(b, y)
    dtype = x.dtype
    none = b.constant(0, dtype)
    if dtype == np.uint64:
        found = written(b, _unsigned_quotient, x, safe)
    else:
        found = pointwise(b, "Div", [x, safe], shape, dtype)
    if dtype.kind == "i":
        rest = pointwise(b, "Mod", [x, safe], shape, dtype)
        exact = pointwise(b, "Equal", [rest, none], shape, np.bool_)
        apart = pointwise(
            b,
            "Xor",
            [
                pointwise(b, "Less", [x, none], x.shape, np.bool_),
                pointwise(b, "Less", [safe, none], safe.shape, np.bool_),
            ],
            shape,
            np.bool_,
        )
        above = pointwise(
            b, "And", [apart, pointwise(b, "Not", [exact], shape, np.bool_)], shape, np.bool_
        )
        found = pointwise(b, "Sub", [found, b.cast(above, dtype)], shape, dtype)
    if minus is not None:
        negated = pointwise(b, "Sub", [none, x], x.shape, dtype)
        found = _where(b, minus, negated, found, shape)
    return found if zero is None else _where(b, zero, none, found, shape)


def _unsigned_quotient(x: Array, y: Array) -> Array:
    """By the division of int64: of x/2, doubled, and then one more where the rest allows it."""
    high = y.astype(np.int64) < 0
    divisor = np.where(high, 1, y.astype(np.int64))
    half = np.right_shift(x, np.uint64(1)).astype(np.int64)
    quotient = (np.floor_divide(half, np.maximum(divisor, 1)) * 2).astype(np.uint64)
    rest = x - quotient * y
    quotient = quotient + (rest >= y).astype(np.uint64)
    return np.where(high, (x >= y).astype(np.uint64), quotient)


def _power(b: Builder, x: Value, y: Value, shape: Shape) -> Value:
    """By squaring: what overflows wraps as NumPy's product does."""
    if y.known is not None and y.known.size and (y.known == y.known.flat[0]).all():
        exponent = int(y.known.flat[0])
        if 0 <= exponent <= 64:
            found = written(b, lambda x: _whole_power(x, exponent), x)
            return b.expand(found, shape)
    return written(b, _power_by_loop, x, y)


def _whole_power(x: Array, exponent: int) -> Array:
    found, square = None, x
    while exponent:
        if exponent & 1:
            found = square if found is None else found * square
        exponent >>= 1
        square = square * square if exponent else square
    return np.ones_like(x) if found is None else found


def _power_by_loop(x: Array, y: Array) -> Array:
    x, y = np.broadcast_arrays(x, y)

    def going(state: Any) -> Array:
        return np.any(state[2] > 0)

    def body(state: Any) -> Any:
        found, square, left = state
        half = np.floor_divide(left, 2)
        return np.where(left != 2 * half, found * square, found), square * square, half

    found: Array = transforms.while_loop(going, body, (np.ones_like(x), x, y))[0]
    return found


RULES: dict[str, Callable[..., Value]] = {
    "power": _power,
    "fmod": _fmod,
    "remainder": _remainder,
    "floor_divide": _floor_divide,
}


# ---- bits ----------------------------------------------------------------------------------------


def _bitwise(op: str, logical: str, ufunc: np.ufunc) -> Rule:
    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        shape, dtype = out(step)
        types = loop_types(ufunc, operands)
        operands = tuple([b.cast(x, kind) for x, kind in zip(operands, types, strict=False)])
        if dtype == np.bool_:
            return pointwise(b, logical, operands, shape, dtype)
        if b.opset < 18:
            raise b.error(f"{step.primitive.name} of integers is {op} in ONNX, from opset 18 on")
        return pointwise(b, op, operands, shape, dtype)

    return rule


for _name, _entry in {
    "bitwise_and": ("BitwiseAnd", "And", np.bitwise_and),
    "bitwise_or": ("BitwiseOr", "Or", np.bitwise_or),
    "bitwise_xor": ("BitwiseXor", "Xor", np.bitwise_xor),
    "invert": ("BitwiseNot", "Not", np.invert),
}.items():
    lowers(_name)(_bitwise(*_entry))

# The unsigned type in which numbers of so many bytes are shifted.
_SHIFTED = {1: np.uint8, 2: np.uint32, 4: np.uint32, 8: np.uint64}


def _shift(b: Builder, direction: str, x: Value, places: Value, shape: Shape) -> Value:
    """BitShift, which has kernels for unsigned numbers alone."""
    kind = np.dtype(_SHIFTED[x.dtype.itemsize])
    x, places = b.cast(x, kind), b.cast(places, kind)
    return pointwise(b, "BitShift", [x, places], shape, kind, direction=direction)


def _places(b: Builder, places: Value) -> tuple[Value, Value | None]:
    """How far to shift, 0 for what is beyond the width, and where that is; None where nowhere."""
    width = 8 * places.dtype.itemsize
    if places.known is not None and np.all((places.known >= 0) & (places.known < width)):
        return places, None
    shape = places.shape
    zero = b.constant(0, places.dtype)
    beyond = written(b, lambda n: (n < 0) | (n >= width), places)
    return _where(b, beyond, zero, places, shape), beyond


def _shift_types(step: Step, x: Value, places: Value, b: Builder) -> tuple[Value, Value]:
    kind = loop_types(np.left_shift, [x, places])[-1]
    return b.cast(x, kind), b.cast(places, kind)


@lowers("left_shift")
def _left_shift(b: Builder, step: Step, x: Value, places: Value) -> Value:
    shape, dtype = out(step)
    x, places = _shift_types(step, x, places, b)
    places, beyond = _places(b, places)
    found = b.cast(_shift(b, "LEFT", x, places, shape), dtype)
    return found if beyond is None else _where(b, beyond, b.constant(0, dtype), found, shape)


@lowers("right_shift")
def _right_shift(b: Builder, step: Step, x: Value, places: Value) -> Value:
    """Of what is below zero, -1 - x is shifted, which is not, and taken back."""
    shape, dtype = out(step)
    x, places = _shift_types(step, x, places, b)
    places, beyond = _places(b, places)
    zero, minus = b.constant(0, dtype), None
    if dtype.kind == "i":
        minus = b.constant(-1, dtype)
        below = pointwise(b, "Less", [x, zero], x.shape, np.bool_)
        turned = pointwise(b, "Sub", [minus, x], x.shape, dtype)
        size = _where(b, below, turned, x, x.shape)
        found = b.cast(_shift(b, "RIGHT", size, places, shape), dtype)
        back = pointwise(b, "Sub", [minus, found], shape, dtype)
        found = _where(b, below, back, found, shape)
        edge = _where(b, below, minus, zero, x.shape)
    else:
        found, edge = b.cast(_shift(b, "RIGHT", x, places, shape), dtype), zero
    return found if beyond is None else _where(b, beyond, edge, found, shape)


_MASKS = [np.uint64(int(digits * 8, 16)) for digits in ("55", "33", "0F", "01")]


def _count(x: Array) -> Array:
    """The ones of |x|: neighbours are added, in twos, fours and eights, then all bytes by one
    product."""
    wide = x.astype(np.uint64) if x.dtype.kind in "ub" else np.abs(x.astype(np.int64))
    wide = wide.astype(np.uint64)
    twos, fours, eights, ones = _MASKS
    shifted = np.right_shift
    wide = wide - bitwise_and(shifted(wide, np.uint64(1)), twos)
    wide = bitwise_and(wide, fours) + bitwise_and(shifted(wide, np.uint64(2)), fours)
    wide = bitwise_and(wide + shifted(wide, np.uint64(4)), eights)
    return shifted(wide * ones, np.uint64(56)).astype(np.uint8)


@lowers("bitwise_count")
def _bitwise_count(b: Builder, step: Step, x: Value) -> Value:
    found = written(b, _count, b.cast(x, loop_types(np.bitwise_count, [x])[0]))
    return b.cast(found, out(step)[1])


# ---- divisors ------------------------------------------------------------------------------------


def _gcd(x: Array, y: Array) -> Array:
    """Euclid's algorithm, as long as any pair has a rest."""
    x, y = np.broadcast_arrays(np.abs(x), np.abs(y))

    def going(state: Any) -> Array:
        return np.any(state[1] != 0)

    def body(state: Any) -> Any:
        large, small = state
        return np.where(small == 0, large, small), np.remainder(large, small)

    found: Array = transforms.while_loop(going, body, (x, y))[0]
    return np.abs(found)


def _lcm(x: Array, y: Array) -> Array:
    divisor = _gcd(x, y)
    return np.floor_divide(np.abs(x), divisor) * np.abs(y)


for _name, _fun in {"gcd": _gcd, "lcm": _lcm}.items():

    def _divisors(
        b: Builder, step: Step, x: Value, y: Value, fun: Callable[..., Any] = _fun
    ) -> Value:
        dtype = out(step)[1]
        found = written(b, fun, b.cast(x, dtype), b.cast(y, dtype))
        return b.cast(found, dtype)

    lowers(_name)(_divisors)
