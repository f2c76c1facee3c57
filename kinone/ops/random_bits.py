"""Randomness as a pure function: bits from a key, and what turns them into normal numbers.

`random_bits(key, stream, …)` enciphers a counter with Philox4x64-10: equal operands, equal bits, on
every machine and with every version of NumPy, which promises this for its bit streams and not for
the distributions that it makes of them. The maps to distributions are therefore our own, and use
only operations that IEEE 754 rounds in one way: + - * / sqrt and conversions.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core import Array, Primitive, ShapeDtype, shape_dtype
from .declare import constant, elementwise, promote
from .fold import of_no_examples
from .samples import Sample, values

# ---- bits ----------------------------------------------------------------------------------------


def _random_bits(
    key: Array, stream: Array, *, shape: tuple[int, ...], bits: int, purpose: str
) -> Array:
    """`bits` random bits in each element. `key` and `stream` are uint64[2]; `purpose`, up to eight
    characters, keeps apart what is drawn from one key for different ends.

    >>> key, stream = np.array([1, 2], np.uint64), np.array([0, 0], np.uint64)
    >>> random_bits(key, stream, shape=(3,), bits=8, purpose="draw")
    array([226, 218,  47], dtype=uint32)
    """
    low, high = np.asarray(stream).tolist()
    domain = int.from_bytes(purpose.encode(), "big")
    generator = np.random.Philox(
        key=np.asarray(key), counter=np.array([0, low, high, domain], np.uint64)
    )
    size = math.prod(shape)
    words: Array
    if bits > 32:
        words = generator.random_raw(size)
    else:  # each 64-bit word gives two of 32 bits, the lower half first
        pairs = generator.random_raw((size + 1) // 2)
        words = pairs.astype("<u8", copy=False).view("<u4").astype(np.uint32, copy=False)[:size]
    surplus = 8 * words.itemsize - bits
    if surplus:
        np.right_shift(words, words.dtype.type(surplus), out=words)
    return words.reshape(shape)


def _batch_bits(
    size: int, batched: Sequence[bool], key: Array, stream: Array, **params: Any
) -> Array:
    """Each key has a cipher of its own, so examples are drawn one after the other."""
    if size == 0:
        return of_no_examples(random_bits, batched, (key, stream), params)
    return np.stack(
        [
            random_bits(
                key[i] if batched[0] else key, stream[i] if batched[1] else stream, **params
            )
            for i in range(size)
        ]
    )


random_bits: Primitive = constant(
    "random_bits",
    _random_bits,
    shape=lambda key, stream, *, shape, bits, purpose: ShapeDtype(
        shape, np.uint64 if bits > 32 else np.uint32
    ),
    batch=_batch_bits,
    fresh=True,
    samples=lambda: [
        Sample(
            (np.array([1, 2], np.uint64), np.array([3, 4], np.uint64)),
            {"shape": shape, "bits": bits, "purpose": "draw"},
        )
        for shape, bits in (((3, 5), 64), ((7,), 24), ((), 53), ((0, 2), 32))
    ],
)


# ---- the quantile function of the normal distribution --------------------------------------------


class _Tables(NamedTuple):
    """Rational approximations, highest power first: near the middle, in the tail, far out.

    `logarithm` holds 1/1, 1/3, 1/5, … of the series of artanh.
    """

    middle: tuple[list[float], list[float]]
    tail: tuple[list[float], list[float]]
    far: tuple[list[float], list[float]] | None
    logarithm: list[float]


# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988. PPND7 has
# about 7 figures, PPND16 about 16.
_PPND7 = _Tables(
    middle=(
        [5.9109374720e1, 1.5929113202e2, 5.0434271938e1, 3.3871327179e0],
        [6.7187563600e1, 7.8757757664e1, 1.7895169469e1, 1.0],
    ),
    tail=(
        [1.7023821103e-1, 1.3067284816e0, 2.7568153900e0, 1.4234372777e0],
        [1.2021132975e-1, 7.3700164250e-1, 1.0],
    ),
    far=None,  # starts at e⁻²⁵, below the smallest probability that 32 bits give
    logarithm=[1 / n for n in range(9, 0, -2)],
)
_PPND16 = _Tables(
    middle=(
        [2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
         4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
         1.3314166789178437745e2, 3.3871328727963666080e0],
        [5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
         2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
         4.2313330701600911252e1, 1.0],
    ),
    tail=(
        [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
         1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
         4.63033784615654529590e0, 1.42343711074968357734e0],
        [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
         1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
         2.05319162663775882187e0, 1.0],
    ),
    far=(
        [2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
         2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
         5.46378491116411436990e0, 6.65790464350110377720e0],
        [2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
         7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
         5.99832206555887937690e-1, 1.0],
    ),
    logarithm=[1 / n for n in range(23, 0, -2)],
)  # fmt: skip

_BLOCK = 4096  # elements at a time, so that the dozens of passes below stay in the cache


def _horner(x: Array, coefficients: list[float]) -> Array:
    result = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        result += coefficient
        result *= x
    result += coefficients[-1]
    return result


def _ratio(x: Array, polynomials: tuple[list[float], list[float]]) -> Array:
    top, bottom = polynomials
    result = _horner(x, top)
    result /= _horner(x, bottom)
    return result


def _minus_log(p: Array, series: list[float]) -> Array:
    """-ln p for p in (0, 1), by p = 2ᵉ m and ln m = 2 artanh((m - 1)/(m + 1)).

    `np.log` would do, were its last bit the same on all machines.
    """
    mantissa, exponent = np.frexp(p)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, mantissa * 2, mantissa)
    exponent = np.where(small, exponent - 1, exponent).astype(p.dtype)
    s = (mantissa - 1) / (mantissa + 1)
    return -(exponent * math.log(2) + 2 * s * _horner(s * s, series))


def _distance(p: Array, tables: _Tables) -> Array:
    """|z| where a standard normal variable is below z with probability p, for p in (0, 1/2]."""
    q = 0.5 - p
    tail = np.flatnonzero(q > 0.425)
    r = q * q
    np.subtract(0.180625, r, out=r)
    result = _ratio(r, tables.middle)
    result *= q
    if tail.size:
        r = np.sqrt(_minus_log(p[tail], tables.logarithm))
        in_tail = _ratio(r - 1.6, tables.tail)
        if tables.far is not None and (far := np.flatnonzero(r > 5)).size:
            in_tail[far] = _ratio(r[far] - 5, tables.far)
        result[tail] = in_tail
    return result


def _normal_from_bits(bits: Array) -> Array:
    """Standard normal numbers: float32 from uint32, float64 from uint64.

    The lowest bit is the sign; the others, n in number, are an integer k that stands for the
    probability (k + 1/2) / 2ⁿ⁺¹ of a value further out on that side. The tails reach 6.3 standard
    deviations with 32 bits and 9.1 with 64.
    """
    bits = np.asarray(bits)
    wide = bits.dtype.itemsize == 8
    dtype, tables = (np.float64, _PPND16) if wide else (np.float32, _PPND7)
    width = 8 * bits.dtype.itemsize
    one = bits.dtype.type(1)
    flat = bits.reshape(-1)
    result = np.empty(flat.shape, dtype)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        p = (block >> one).astype(dtype)
        p += 0.5
        p *= 2.0**-width
        distance = _distance(p, tables)
        distance.view(bits.dtype)[...] |= block << bits.dtype.type(width - 1)  # the sign bit
        result[start : start + _BLOCK] = distance
    return result.reshape(bits.shape)


normal_from_bits: Primitive = constant(
    "normal_from_bits",
    _normal_from_bits,
    shape=lambda bits: ShapeDtype(
        bits.shape, np.float64 if bits.dtype.itemsize == 8 else np.float32
    ),
    batch=lambda size, batched, bits: normal_from_bits(bits),  # elementwise
    fresh=True,
    samples=lambda: [
        Sample((np.arange(12, dtype=np.uint64).reshape(3, 4) * np.uint64(0x9E3779B97F4A7C15),)),
        Sample((np.arange(5, dtype=np.uint32) * np.uint32(0x9E3779B9),)),
        Sample((np.zeros((0, 2), np.uint32),)),
    ],
)


def _ndtri(p: Array) -> Array:
    """The standard normal quantile function: the z below which a share p of the distribution is."""
    dtype = promote(np.sqrt, shape_dtype(p))  # integers become floats as under any function
    p = np.asarray(p)
    if dtype.kind == "c":
        raise TypeError(f"a probability is a real number, got {dtype}")
    double = p.astype(np.float64, copy=False).reshape(-1)
    with np.errstate(invalid="ignore"):
        inside = (double > 0) & (double < 1)
    result = np.full(double.shape, np.nan)
    result[double == 0] = -np.inf
    result[double == 1] = np.inf
    p_inside = double[inside]
    distance = _distance(np.minimum(p_inside, 1 - p_inside), _PPND16)
    result[inside] = np.where(p_inside < 0.5, -distance, distance)
    return result.reshape(p.shape).astype(dtype)[()]


def _ndtri_derivative(g: Any, y: Any) -> Any:
    return g * (math.sqrt(2 * math.pi) * np.exp(y * y / 2))


ndtri = elementwise(
    "ndtri",
    _ndtri,
    _ndtri_derivative,
    dtype=np.sqrt,
    samples=lambda: [
        Sample((values(3, 4, domain=(0.02, 0.98)),)),
        Sample((values(domain=(0.02, 0.98)),)),
        Sample((values(0, 2),)),
    ],
)
