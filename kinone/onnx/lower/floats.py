"""What floating-point numbers are made of, by arithmetic: ONNX cannot look at their bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import lowers, through
from ..export.values import Value
from .common import loop_types, out, written
from .formulas import negative, with_sign

Array = Any


class _Form:
    """Of a binary format: digits of the mantissa, the exponents of its normal numbers."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        short = dtype.name == "bfloat16"  # float32 with 8 digits of the mantissa
        limits = np.finfo(np.float32 if short else dtype)
        self.digits = 8 if short else limits.nmant + 1
        self.least = int(limits.minexp) + 1  # of the mantissa in [1/2, 1)
        self.most = int(limits.maxexp)
        self.largest = (2.0 - 2.0 ** (1 - self.digits)) * 2.0 ** (self.most - 1)
        self.tiny = limits.tiny.item()
        self.smallest = 2.0 ** (self.least - self.digits)


def _times_power(x: Array, exponent: Array, form: _Form) -> Array:
    """x · 2^exponent, in steps whose factors are finite and whose products round but once."""
    limit = form.most - 2
    for _ in range(3):
        part = np.minimum(np.maximum(exponent, float(-limit)), float(limit))
        x = x * np.power(2.0, part)
        exponent = exponent - part
    return x


def _split(x: Array, form: _Form) -> tuple[Array, Array]:
    """Mantissa and exponent, the exponent as a float; of zero, NaN and ∞ x itself and 0."""
    size = np.abs(x)
    plain = (size == 0) | ~(size < np.inf)
    small = size < form.tiny
    scaled = np.where(plain, 1.0, np.where(small, size * 2.0**form.digits, size))
    guess = np.floor(np.log(scaled) * 1.4426950408889634) + 1
    half = np.floor(guess * 0.5)  # in two factors, for 2^-guess may be subnormal
    mantissa = (scaled * np.power(2.0, -half)) * np.power(2.0, half - guess)
    high, low = mantissa >= 1, mantissa < 0.5
    mantissa = np.where(high, mantissa * 0.5, np.where(low, mantissa * 2, mantissa))
    high, low, scale = (truth.astype(x.dtype) for truth in (high, low, small))
    shift = high - low - form.digits * scale
    exponent = np.where(plain, 0.0, guess + shift)
    return with_sign(np.where(plain, size, mantissa), x), exponent


def _spacing_of_size(size: Array, form: _Form) -> Array:
    """The distance from what is ≥ 0 to the next larger number."""
    _, exponent = _split(size, form)
    exponent = np.where(size == 0, float(form.least), exponent)
    place = np.maximum(exponent, float(form.least)) - form.digits
    half = np.floor(place * 0.5)
    return np.power(2.0, half) * np.power(2.0, place - half)


def _spacing(x: Array, form: _Form) -> Array:
    size = np.abs(x)
    gap = _spacing_of_size(size, form)
    gap = np.where(size == form.largest, np.inf, gap)
    if form.digits == 11:  # NumPy goes towards +∞ in float16, and away from 0 in the others
        mantissa, exponent = _split(size, form)
        inner = np.where((mantissa == 0.5) & (exponent > form.least), 0.5, 1)
        gap = np.where(x < 0, inner * _spacing_of_size(size, form), gap)
    else:
        gap = np.where(x < 0, -gap, gap)
    return np.where(size < np.inf, gap, np.nan)


def _nextafter(x: Array, y: Array, form: _Form) -> Array:
    size = np.abs(x)
    gap = _spacing_of_size(np.minimum(size, form.largest), form)
    mantissa, exponent = _split(size, form)
    # Below a power of two numbers are twice as dense, except among the subnormal ones.
    inner = np.where((mantissa == 0.5) & (exponent > form.least), gap * 0.5, gap)
    outward = (y > x) == (x > 0)
    moved = np.where(outward, size + gap, size - inner)
    moved = np.where(outward & (size == form.largest), np.inf, moved)
    moved = with_sign(np.where(size == np.inf, form.largest, moved), x)
    number = x.dtype.type
    least = np.where(y < 0, number(-form.smallest), number(form.smallest))
    moved = np.where(x == 0, least, moved)
    return np.where(np.isnan(x) | np.isnan(y), x + y, np.where(x == y, y, moved))


def _in(dtype: np.dtype[Any], fun: Callable[..., Any]) -> tuple[np.dtype[Any], Callable[..., Any]]:
    """The type in which a formula is computed, and it with the format that it asks of."""
    form = _Form(dtype)
    wide = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    return wide, lambda *xs: fun(*xs, form)


@lowers("signbit")
def _signbit(b: Builder, step: Step, x: Value) -> Value:
    x = b.cast(x, loop_types(np.signbit, [x])[0])
    return written(b, negative, x)


@lowers("spacing")
def _spacing_rule(b: Builder, step: Step, x: Value) -> Value:
    dtype = out(step)[1]
    wide, fun = _in(dtype, _spacing)
    found = written(b, fun, b.cast(x, wide))
    return b.cast(found, dtype)


@lowers("nextafter")
def _nextafter_rule(b: Builder, step: Step, x: Value, y: Value) -> Value:
    dtype = out(step)[1]
    wide, fun = _in(dtype, _nextafter)
    found = written(b, fun, b.cast(x, wide), b.cast(y, wide))
    return b.cast(found, dtype)


@lowers("frexp")
def _frexp(b: Builder, step: Step, x: Value) -> tuple[Value, Value]:
    dtype = out(step)[1]
    wide, _ = _in(dtype, _split)
    form = _Form(wide)  # float16's subnormal numbers are normal in float32
    mantissa, exponent = through(b, lambda x: _split(x, form), b.cast(x, wide))
    return b.cast(mantissa, dtype), b.cast(exponent, out(step, 1)[1])


@lowers("ldexp")
def _ldexp(b: Builder, step: Step, x: Value, n: Value) -> Value:
    dtype = out(step)[1]
    wide, _ = _in(dtype, _times_power)
    form = _Form(wide)
    found = written(b, lambda x, n: _times_power(x, n, form), b.cast(x, wide), b.cast(n, wide))
    return b.cast(found, dtype)


@lowers("modf")
def _modf(b: Builder, step: Step, x: Value) -> tuple[Value, Value]:
    dtype = out(step)[1]

    def parts(x: Array) -> tuple[Array, Array]:
        size = np.abs(x)
        whole = np.floor(size)
        rest = np.where(np.isinf(x), 0.0, size - whole)
        return with_sign(rest, x), with_sign(whole, x)

    wide, _ = _in(dtype, parts)
    fraction, whole = through(b, parts, b.cast(x, wide))
    return b.cast(fraction, dtype), b.cast(whole, dtype)
