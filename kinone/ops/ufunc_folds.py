"""Reductions by a ufunc that no function of NumPy's is named after: `np.logaddexp.reduce`, …"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array, shape_dtype, shape_of
from ..core.protocol import rule_of
from .joining import concatenate, stack
from .reduce import reduced_shape
from .shape import astype, broadcast_to, moveaxis, reshape

# In whatever order these take the elements, the result is the same: halves are joined until one
# element is left. The others go from left to right.
_IN_ANY_ORDER = (
    np.fmax,
    np.fmin,
    np.logaddexp,
    np.logaddexp2,
    np.hypot,
    np.gcd,
    np.lcm,
    np.bitwise_and,
    np.bitwise_or,
    np.bitwise_xor,
    np.logical_xor,
)


def _loop(ufunc: np.ufunc, array: Array, dtype: Any) -> Array:
    """The array in the dtype in which the ufunc's results are its operands again.

    Raises `TypeError` where there is none, `ValueError` for a ufunc that is not binary.
    """
    if ufunc.nin != 2 or ufunc.signature is not None:
        raise ValueError("reduce only supported for binary functions")
    if ufunc.nout != 1:
        raise ValueError("reduce only supported for functions returning a single value")
    rule_of(ufunc)  # raises where there is none
    if ufunc is np.logical_xor:
        array = array != 0
    own = np.dtype(shape_dtype(array).dtype if dtype is None else dtype)
    if own.kind == "b" and ufunc is np.subtract:
        raise TypeError("numpy boolean subtract, the `-` operator, is not supported")
    result = ufunc.resolve_dtypes((own, own, None))[-1]
    if (result.kind == "b" and own.kind != "b") or (dtype is not None and result != own):
        raise no_loop(ufunc)
    return astype(array, result)


def no_loop(ufunc: np.ufunc) -> TypeError:
    """NumPy's error for a dtype in which a ufunc does not compute."""
    return TypeError(
        f"No loop matching the specified signature and casting was found for ufunc {ufunc.__name__}"
    )


def folded(
    ufunc: np.ufunc,
    array: Array,
    axes: tuple[int, ...],
    dtype: Any,
    keepdims: bool,
    initial: Any,
    where: Any,
) -> Array:
    """The elements over axes, joined two at a time by a ufunc; see `np.ufunc.reduce`.

    Raises `ValueError` for several axes where the order matters, and for what has no elements
    and no `initial`.
    """
    array = _loop(ufunc, array, dtype)
    known = shape_dtype(array)
    any_order = ufunc in _IN_ANY_ORDER
    if len(axes) > 1 and not any_order:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, "
            "so at most one axis may be specified"
        )
    everything = where is None or where is True
    start = ufunc.identity if initial is None else initial
    count = math.prod([known.shape[i] for i in axes])
    if start is None and not everything:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where "
            "mask one has to specify 'initial'"
        )
    if start is None and count == 0:
        raise ValueError(
            f"zero-size array to reduction operation {ufunc.__name__} which has no identity"
        )
    rest = [n for i, n in enumerate(known.shape) if i not in axes]
    flat = _in_front(array, axes, count, rest)
    if start is not None:
        start = astype(np.asarray(start) if np.isscalar(start) else start, known.dtype)
    mask = None
    if not everything:
        mask = _in_front(broadcast_to(where, known.shape), axes, count, rest)
    if any_order:
        if mask is not None:  # fmax and fmin take `initial` many times without a change
            neutral = start if ufunc.identity is None else ufunc.identity
            flat = astype(np.where(mask, flat, neutral), known.dtype)
        # Of one element alone NumPy makes hypot(0, x) = |x|; the others' identities do nothing.
        alone = count == 0 or (count == 1 and ufunc is np.hypot)
        if start is not None and (alone or initial is not None):
            flat = concatenate([broadcast_to(start, (1, *rest)), flat])
        result = _by_halves(ufunc, flat)
    else:
        rows = [flat[i] for i in range(count)]
        result = rows.pop(0) if start is None else broadcast_to(start, rest)
        for i, row in enumerate(rows):
            joined = ufunc(result, row)
            result = joined if mask is None else np.where(mask[i], joined, result)
    return reshape(result, reduced_shape(known, axes, True)) if keepdims else result


def _in_front(array: Array, axes: tuple[int, ...], count: int, rest: list[int]) -> Array:
    """The axes to reduce as one, the first."""
    return reshape(moveaxis(array, axes, tuple(range(len(axes)))), (count, *rest))


def _by_halves(ufunc: np.ufunc, flat: Array) -> Array:
    count = shape_of(flat)[0]
    while count > 1:
        half = count // 2
        joined = ufunc(flat[:half], flat[half : 2 * half])
        flat = joined if count == 2 * half else concatenate([joined, flat[2 * half :]])
        count -= half
    return flat[0]


def running(ufunc: np.ufunc, array: Array, axis: int, dtype: Any) -> Array:
    """The results so far along an axis, from left to right; see `np.ufunc.accumulate`."""
    array = _loop(ufunc, array, dtype)
    front = moveaxis(array, axis, 0)
    rows = [front[i] for i in range(shape_of(front)[0])]
    for i in range(1, len(rows)):
        rows[i] = ufunc(rows[i - 1], rows[i])
    return stack(rows, axis) if rows else array
