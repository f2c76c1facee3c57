"""Random numbers, the same bits as Kinone draws: Philox4x64-10 in integers, and the quantiles.

The product of two words of 64 bits has 128. ONNX Runtime multiplies int64, which keeps the lower
half whatever the sign; the upper half is put together from products of halves of 32 bits. The ten
rounds are one loop, so that a draw is a few dozen nodes.

`normal_from_bits` is elementary arithmetic in the order of `ops.random_bits`, each operation of
which IEEE 754 rounds in one way, so it gives the same bits, too.
"""

from __future__ import annotations

import math

import numpy as np

from ...core import Array
from ...ops.random_bits import _PPND7, _PPND16, _horner, _ratio, _Tables
from ...transforms.control.scans import fori_loop
from ..export.builder import Builder
from ..export.dims import Size, product
from ..export.merge import Step
from ..export.rules import lowers, through
from ..export.values import Value
from .common import out

# The multipliers of the two products of a round, and what each round adds to the key.
_FACTORS = np.array([[0xD2E7470EE14C6C93], [0xCA5A826395121157]], np.uint64)
_WEYL = np.array([[0x9E3779B97F4A7C15], [0xBB67AE8584CAA73B]], np.uint64)
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


def _upper(x: Array, factor: Array) -> Array:
    """The upper 64 bits of x · factor."""
    high, low = x >> _HALF, x & _LOW
    factor_high, factor_low = factor >> _HALF, factor & _LOW
    across, other = low * factor_high, high * factor_low
    carried = ((low * factor_low) >> _HALF) + (across & _LOW) + (other & _LOW)
    return high * factor_high + (across >> _HALF) + (other >> _HALF) + (carried >> _HALF)


def philox(key: Array, stream: Array, count: Array, *, domain: int) -> Array:
    """The words (4 n,) of n blocks: of the counters (count, *stream, domain), enciphered."""
    zero = count ^ count  # in the shape of the counters
    even = np.stack([count, zero ^ stream[1]])
    odd = np.stack([zero ^ stream[0], zero ^ np.uint64(domain)])

    def one_round(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        even, odd, key = state
        upper = _upper(even, _FACTORS)
        lower = even * _FACTORS
        return upper[::-1] ^ odd ^ key, lower[::-1], key + _WEYL

    even, odd, _ = fori_loop(0, 10, one_round, (even, odd, key[:, None]))
    words = np.stack([even, odd])  # 0 and 2, 1 and 3
    return np.reshape(np.transpose(words, (2, 1, 0)), -1)


def _halves(words: Array) -> Array:
    """Each word as two of 32 bits, the lower half first."""
    return np.reshape(np.stack([words & _LOW, words >> _HALF], -1), -1)


@lowers("random_bits")
def _random_bits(b: Builder, step: Step, key: Value, stream: Value) -> Value:
    shape, dtype = out(step)
    bits: int = step.params["bits"]
    if b.opset < 18:
        raise b.error(
            "random bits need BitwiseXor, which ONNX has since opset 18\n"
            "  Call onnx.export with opset=18 or later"
        )
    size = product(shape)
    each = 4 if bits > 32 else 8
    domain = int.from_bytes(step.params["purpose"].encode(), "big")
    (words,) = through(b, philox, key, stream, _counters(b, size, each), domain=domain)
    if bits <= 32:
        (words,) = through(b, _halves, words)
    if surplus := (32 if bits <= 32 else 64) - bits:
        (words,) = through(b, lambda x: x >> np.uint64(surplus), words)
    first = b.node(
        "Slice", [words, b.ints(0), b.size(size), b.ints(0)], (size,), np.uint64, typed=(0,)
    )
    return b.reshape(b.cast(first, dtype), shape)


def _counters(b: Builder, size: Size, each: int) -> Value:
    """1, 2, 3, …: a block for every `each` elements."""
    blocks = (size + each - 1) // each
    if isinstance(blocks, int):
        return b.constant(np.arange(1, blocks + 1, dtype=np.uint64))
    # The rounded quotient follows no dynamic size, so it is computed here.
    whole = b.node(
        "Add", [b.number(size, np.int64), b.constant(2 * each - 1, np.int64)], (), np.int64
    )
    end = b.node("Div", [whole, b.constant(each, np.int64)], (), np.int64)
    one = b.constant(1, np.int64)
    return b.cast(b.node("Range", [one, end, one], (blocks,), np.int64), np.uint64)


# ---- the normal distribution ---------------------------------------------------------------------


def _minus_log(p: Array, series: list[float]) -> Array:
    """-ln p of `ops.random_bits`, for 0 < p ≤ 1/2, without `frexp`: multiplying by powers of 2 is
    exact."""
    mantissa, exponent = p, np.zeros((), p.dtype)
    for shift in (64, 32, 16, 8, 4, 2, 1):
        small = mantissa < 2.0**-shift
        mantissa = np.where(small, mantissa * 2.0**shift, mantissa)
        exponent = np.where(small, exponent - shift, exponent)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, mantissa * 2, mantissa)
    exponent = np.where(small, exponent - 1, exponent)
    s = (mantissa - 1) / (mantissa + 1)
    return -(exponent * math.log(2) + 2 * s * _horner(s * s, series))


def _distance(p: Array, tables: _Tables) -> Array:
    """|z| of `ops.random_bits`; what each part of the line needs is computed for all."""
    q = 0.5 - p
    result = _ratio(0.180625 - q * q, tables.middle) * q
    # The root is rounded from float64's, for ONNX Runtime's own of float32 need not be exact.
    r = np.sqrt(_minus_log(p, tables.logarithm).astype(np.float64)).astype(p.dtype)
    tail = _ratio(r - 1.6, tables.tail)
    if tables.far is not None:
        tail = np.where(r > 5, _ratio(r - 5, tables.far), tail)
    return np.where(q > 0.425, tail, result)


def normal(k: Array, negative: Array, *, width: int) -> Array:
    """Standard normal numbers of a sign and an integer, which comes as a floating-point number."""
    p = (k + 0.5) * 2.0**-width
    distance = _distance(p, _PPND16 if width == 64 else _PPND7)
    # A product, for ONNX Runtime's Where makes 0 of -0.
    return distance * np.where(negative, distance.dtype.type(-1), distance.dtype.type(1))


@lowers("normal_from_bits")
def _normal_from_bits(b: Builder, step: Step, bits: Value) -> Value:
    dtype = out(step)[1]
    one = bits.dtype.type(1)
    (k,) = through(b, lambda x: x >> one, bits)
    (lowest,) = through(b, lambda x: x & one, bits)
    k, negative = b.cast(k, dtype), b.cast(lowest, np.bool_)
    z: Value = through(b, normal, k, negative, width=8 * bits.dtype.itemsize)[0]
    return z
