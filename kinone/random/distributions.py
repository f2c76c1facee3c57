"""From random bits to numbers of every distribution, and to choices among things."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, is_bfloat16, shape_dtype
from ..ops.index import take
from ..ops.random_bits import ndtri, normal_from_bits
from ..ops.shape import astype, normalize_axis
from .keys import Key, Shape, draw, to_shape


def _float(dtype: Any) -> np.dtype[Any]:
    wanted: np.dtype[Any] = np.dtype(dtype)
    if (wanted.kind != "f" or wanted.itemsize > 8) and not is_bfloat16(wanted):
        raise TypeError(
            f"dtype is {wanted}, and float16, float32 or float64 is wanted, at {source.here()}"
        )
    return wanted


def _mantissa_bits(dtype: np.dtype[Any]) -> int:
    return 7 if is_bfloat16(dtype) else np.finfo(dtype).nmant


def _in(dtype: np.dtype[Any], x: Array) -> Array:
    """`x` in the dtype it should have: NumPy makes float32 of bfloat16 and a Python number."""
    return x if shape_dtype(x).dtype == dtype else astype(x, dtype)


# ---- numbers -------------------------------------------------------------------------------------


def bits(key: Key, shape: Shape = (), dtype: Any = np.uint32) -> Array:
    """Random bits: unsigned integers of 8 to 64 bits, all values equally likely.

    >>> from kinone import random
    >>> random.bits(random.key(0), (3,))
    array([3151185420,  635582882,   98085048], dtype=uint32)
    """
    wanted = np.dtype(dtype)
    if wanted.kind != "u":
        raise TypeError(f"dtype is {wanted}, and an unsigned one is wanted, at {source.here()}")
    return astype(draw(key, shape, 8 * wanted.itemsize), wanted)


def uniform(
    key: Key,
    shape: Shape = (),
    dtype: Any = np.float32,
    minval: Array = 0.0,
    maxval: Array = 1.0,
) -> Array:
    """Numbers spread evenly over [minval, maxval), which broadcast to `shape`.

    They are the multiples of 2⁻ⁿ, n the precision of `dtype`: 24 for float32, 53 for float64.

        >>> from kinone import random
        >>> random.uniform(random.key(0), (3,))
        array([0.7336925 , 0.14798313, 0.02283716], dtype=float32)

    Raises `ValueError` for a bound that is not finite in `dtype`.
    """
    wanted = _float(dtype)
    precision = _mantissa_bits(wanted) + 1
    with np.errstate(over="ignore"):
        low, high = _as(minval, wanted), _as(maxval, wanted)
    traced = isinstance(low, Tracer) or isinstance(high, Tracer)
    for name, given, bound in (("minval", minval, low), ("maxval", maxval, high)):
        if not isinstance(bound, Tracer) and not np.all(np.isfinite(bound)):
            raise ValueError(f"{name}={given} is not finite in {wanted}, at {source.here()}")
    unit = _in(wanted, astype(draw(key, shape, precision), wanted) * 2.0**-precision)
    if isinstance(minval, float) and minval == 0.0 and isinstance(maxval, float) and maxval == 1.0:
        return unit
    with np.errstate(over="ignore", invalid="ignore"):  # a span may be infinite
        span = high - low
        x = low + unit * span
        if traced or not np.all(np.isfinite(span)):
            x = np.where(np.isfinite(span), x, low * (1 - unit) + high * unit)
    return np.where(x < high, x, low)  # the sum may be rounded up to maxval


def normal(key: Key, shape: Shape = (), dtype: Any = np.float32) -> Array:
    """Standard normal numbers: mean 0, variance 1.

    Each is the normal quantile function at one random probability (Wichura, AS 241, 1988), not one
    of a Box-Muller pair: logarithms, sines and cosines differ between machines in their last bit,
    quotients of polynomials do not.

        >>> from kinone import random
        >>> random.normal(random.key(0), (3,))
        array([0.34021774, 1.446692  , 2.2761471 ], dtype=float32)
    """
    wanted = _float(dtype)
    return astype(normal_from_bits(draw(key, shape, 64 if wanted.itemsize == 8 else 32)), wanted)


def truncated_normal(
    key: Key, lower: Array, upper: Array, shape: Shape | None = None, dtype: Any = np.float32
) -> Array:
    """Standard normal numbers that fall into [lower, upper], which broadcast to `shape`.

    Φ⁻¹(u) for u uniform on [Φ(lower), Φ(upper)], computed in float64.

    Raises `ValueError` when `lower` exceeds `upper`, and for an interval so far out (37.5 standard
    deviations) that float64 has no number for its probability.

    >>> from kinone.random import key
    >>> truncated_normal(key(0), -1.0, 1.0, (3,)).round(3)
    array([-0.644,  0.895, -0.363], dtype=float32)
    """
    wanted = _float(dtype)
    if shape is None:
        shape = np.broadcast_shapes(np.shape(lower), np.shape(upper))
    low, high = (np.asarray(bound, np.float64) for bound in (lower, upper))
    interval = f"the interval from lower={lower} to upper={upper}"
    if not np.all(low <= high):
        raise ValueError(f"{interval} is empty, at {source.here()}")
    # In the lower half, where probabilities are small numbers with all their digits.
    mirrored = high > -low
    near, far = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    start, stop = _normal_cdf(near), _normal_cdf(far)
    point = (low == high) & np.isfinite(low)
    if np.any((stop < np.finfo(np.float64).tiny) & ~point):
        raise ValueError(
            f"{interval} is too far out: its probability is 0 in float64, at {source.here()}"
        )
    # Not 0, whose quantile is infinite: the middle of the first step.
    p = np.maximum(uniform(key, shape, np.float64, start, stop), stop * 2.0**-54)
    z = ndtri(p)
    z = np.where(mirrored, -z, z)
    return astype(np.minimum(np.maximum(z, low), high), wanted)


def _normal_cdf(x: Array) -> Array:
    """Φ(x) of a few bounds."""
    flat = [math.erfc(-value / math.sqrt(2)) / 2 for value in x.ravel().tolist()]
    return np.array(flat, np.float64).reshape(x.shape)


def bernoulli(key: Key, p: Array = 0.5, shape: Shape | None = None) -> Array:
    """True with probability `p`, which broadcasts to `shape`.

    >>> from kinone import random
    >>> random.bernoulli(random.key(0), 0.2, (5,))
    array([False,  True,  True, False, False])
    """
    dtype = shape_dtype(p).dtype if _is_wide(p) else np.float32
    return uniform(key, np.shape(p) if shape is None else shape, dtype) < p


def _is_wide(x: Array) -> bool:
    return isinstance(x, (np.ndarray, np.generic, Tracer)) and x.dtype == np.float64


def randint(key: Key, shape: Shape, minval: Array, maxval: Array, dtype: Any = np.int64) -> Array:
    """Integers from `minval` to `maxval - 1`, which broadcast to `shape`.

    The remainder of 64 random bits: for a range of n, no number is more than n/2⁶⁴ likelier than
    another.

        >>> from kinone import random
        >>> random.randint(random.key(0), (6,), 1, 7)
        array([3, 3, 3, 5, 4, 3])

    Raises `ValueError` for an empty range.
    """
    wanted = np.dtype(dtype)
    if wanted.kind not in "iu":
        raise TypeError(f"dtype is {wanted}, and an integer one is wanted, at {source.here()}")
    if any(shape_dtype(bound).dtype.kind not in "iu" for bound in (minval, maxval)):
        raise TypeError(f"minval and maxval are to be integers, at {source.here()}")
    if not isinstance(minval, Tracer) and not isinstance(maxval, Tracer):
        low, high = np.min(minval), np.max(maxval)
        if np.any(np.greater_equal(minval, maxval)):
            raise ValueError(
                f"no integer is in the range from minval={minval} to maxval={maxval} - 1, "
                f"at {source.here()}"
            )
        if int(low) < np.iinfo(wanted).min or int(high) - 1 > np.iinfo(wanted).max:
            raise ValueError(
                f"minval={minval}, maxval={maxval} do not fit {wanted}, at {source.here()}"
            )
    words = draw(key, shape, 64)
    start, stop = _modulo_word(minval), _modulo_word(maxval)
    with np.errstate(over="ignore"):  # modulo 2⁶⁴ all comes out right
        count = stop - start
        # A count of 2⁶⁴ is 0 modulo 2⁶⁴: then every word is a result.
        values = start + np.where(count == 0, words, words % np.maximum(count, np.uint64(1)))
    return astype(astype(values, np.int64), wanted)


def _modulo_word(bound: Array) -> Array:
    if isinstance(bound, int):
        return np.uint64(bound % 2**64)
    return astype(bound, np.uint64)


def exponential(key: Key, shape: Shape = (), dtype: Any = np.float32) -> Array:
    """Numbers with density e⁻ˣ on [0, ∞): -ln(1 - u).

    >>> from kinone.random import key
    >>> exponential(key(0), (2,)).round(3)
    array([1.323, 0.16 ], dtype=float32)
    """
    wanted = _float(dtype)
    return _in(wanted, -np.log1p(-uniform(key, shape, wanted)))


def gumbel(key: Key, shape: Shape = (), dtype: Any = np.float32) -> Array:
    """Numbers with distribution function exp(-e⁻ˣ): -ln(-ln u), for u strictly inside (0, 1).

    `argmax(logits + gumbel)` is a draw from softmax(logits).

    >>> from kinone.random import key
    >>> gumbel(key(0), (2,)).round(3)
    array([ 1.172, -0.647], dtype=float32)
    """
    wanted = _float(dtype)
    precision = _mantissa_bits(wanted)  # one bit less makes room for the half
    u = (astype(draw(key, shape, precision), wanted) + 0.5) * 2.0**-precision
    return _in(wanted, -np.log(-np.log(u)))


# ---- choices -------------------------------------------------------------------------------------


def permutation(key: Key, x: Any, axis: int = 0, independent: bool = False) -> Array:
    """The numbers below `x`, or the array `x` along an axis, in random order.

    They are sorted by 64 random bits each. With `independent`, every line along the axis gets an
    order of its own.

        >>> from kinone import random
        >>> random.permutation(random.key(0), 5)
        array([4, 0, 2, 3, 1])
    """
    if np.ndim(x) == 0:
        return _order(key, (operator.index(x),), 0)
    if not independent:
        return take(x, _order(key, (np.shape(x)[axis],), 0), axis=axis)
    return np.take_along_axis(x, _order(key, np.shape(x), axis), axis=axis)


def _order(key: Key, shape: tuple[int, ...], axis: int) -> Array:
    return np.argsort(draw(key, shape, 64), axis=axis, kind="stable")


def choice(
    key: Key, a: Any, shape: Shape = (), replace: bool = True, p: Any = None, axis: int = 0
) -> Array:
    """Entries of the array `a` along an axis, or numbers below the integer `a`, chosen at random.

    `p` are their probabilities, equal by default; without `replace` none is chosen twice.

    Raises `ValueError` when there are too few entries to choose from, or `p` does not fit them.

    >>> from kinone.random import key
    >>> choice(key(0), 10, (3,), replace=False)
    array([4, 8, 0])
    """
    size = operator.index(a) if np.ndim(a) == 0 else np.shape(a)[axis]
    wanted = to_shape(shape)
    count = math.prod(wanted)
    if count > size and (not replace or size == 0):
        raise ValueError(f"{count} of {size} entries cannot be chosen, at {source.here()}")
    if p is not None and np.shape(p) != (size,):
        raise ValueError(
            f"p has shape {np.shape(p)}, and there are {size} entries, at {source.here()}"
        )
    if p is None:
        places = (
            randint(key, (count,), 0, size) if replace and count else permutation(key, size)[:count]
        )
    else:
        weights = np.asarray(p, np.float64)
        if np.any(weights < 0) or not 0 < weights.sum() < math.inf:
            raise ValueError(f"p are to be probabilities, at {source.here()}")
        if not replace and np.count_nonzero(weights) < count:
            raise ValueError(
                f"{count} of {np.count_nonzero(weights)} entries of positive probability cannot "
                f"be chosen, at {source.here()}"
            )
        if replace:
            total = np.cumsum(weights)
            u = uniform(key, (count,), np.float64) * total[-1]
            places = np.minimum(np.searchsorted(total, u, side="right"), _last(weights))
        else:  # the largest of ln p + gumbel are a sample without replacement
            with np.errstate(divide="ignore"):
                scores = np.log(weights) + gumbel(key, (size,), np.float64)
            places = np.argsort(-scores, kind="stable")[:count]
    places = np.reshape(places, wanted)
    return places if np.ndim(a) == 0 else take(a, places, axis=axis)


def _last(weights: Array) -> Any:
    """The last entry that may be chosen: rounding must not lead beyond it."""
    return np.flatnonzero(weights)[-1]


def categorical(key: Key, logits: Array, axis: int = -1, shape: Shape | None = None) -> Array:
    """Classes drawn with probabilities softmax(logits) along an axis.

    The result has the shape of `logits` without the axis, or `shape`, which ends in it.

    Raises `ValueError` when `shape` does not end so, and when all logits along the axis are -∞;
    `AxisError` for an axis that is not there.

    >>> from kinone.random import key
    >>> categorical(key(0), np.log([0.1, 0.9]), shape=(8,))
    array([1, 1, 1, 1, 1, 1, 1, 1])
    """
    dtype = np.result_type(shape_dtype(logits).dtype, np.float16)
    full = np.shape(logits)
    axis = normalize_axis(axis, len(full)) - len(full)
    batch = tuple(n for i, n in enumerate(full) if i != axis + len(full))
    wanted = batch if shape is None else to_shape(shape)
    if wanted[len(wanted) - len(batch) :] != batch:
        raise ValueError(
            f"shape is {wanted}, and logits of shape {full} give {batch}, with any axes before, "
            f"at {source.here()}"
        )
    if not isinstance(logits, Tracer) and np.any(np.all(np.equal(logits, -np.inf), axis=axis)):
        raise ValueError(
            f"all logits are -inf along axis {axis}: there is no class to draw, at {source.here()}"
        )
    noise = gumbel(key, (*wanted[: len(wanted) - len(batch)], *full), dtype)
    return np.argmax(logits + noise, axis=axis)


def _as(bound: Array, dtype: np.dtype[Any]) -> Array:
    if isinstance(bound, Tracer):
        return astype(bound, dtype)
    return np.asarray(bound, dtype)[()]
