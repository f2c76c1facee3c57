"""Operations that move elements and compute nothing: reshape, transpose, broadcast, pad, …

All are linear, so each declares its transpose and nothing else. On arrays they return views where
NumPy does.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    implements,
    is_bfloat16,
    ndim_of,
    shape_dtype,
    shape_of,
)
from ..core.layout import CONTIGUOUS, ORDERED, UNKNOWN, follows
from ..errors import ShapeError
from .axes import lifted, reduced_axes
from .axes import normalize_axes as normalize_axes
from .axes import normalize_axis as normalize_axis
from .declare import cast, constant, linear, unbroadcast
from .samples import Sample, values

reshape_p: Primitive = linear(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    shape=lambda x, *, shape: ShapeDtype(shape, x.dtype),
    transpose=lambda g, x, *, shape: np.reshape(g, x.shape),
    batch=lambda size, batched, x, *, shape: reshape_p(x, shape=(size, *shape)),
    layout=lambda known, avals, **_: CONTIGUOUS if known[0] == CONTIGUOUS else UNKNOWN,
    flops=0,
    samples=lambda: [
        Sample((values(3, 4),), {"shape": (2, 6)}),
        Sample((values(1, 1),), {"shape": ()}),
        Sample((values(0, 3),), {"shape": (3, 0, 2)}),
    ],
)


@implements(np.reshape)
def reshape(a: Array, shape: Any, order: str = "C", copy: Any = None) -> Array:
    """The same elements in another shape; one entry may be -1.

    With `order="F"` elements are read and placed with the first index changing fastest. Raises
    `ValueError` when the sizes differ, and for the orders "A" and "K": they ask for the order in
    memory, which traced values do not have.

    >>> reshape(np.arange(6), (2, -1))
    array([[0, 1, 2],
           [3, 4, 5]])
    """
    if order not in ("C", "F"):
        raise ValueError(f"reshape of a traced value takes order='C' or order='F', not {order!r}")
    given = tuple(shape) if isinstance(shape, Iterable) and ndim_of(shape) else (shape,)
    if order == "F":
        return transpose(reshape(transpose(a), given[::-1]))
    wanted = [operator.index(n) for n in given]
    size = math.prod(shape_of(a))
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = size // rest if rest else -1
    if math.prod(wanted) != size or any(n < 0 for n in wanted):
        raise ShapeError(
            f"cannot reshape array of size {size} and shape {shape_of(a)} into shape {given}"
        )
    target = tuple(wanted)
    return a if target == shape_of(a) and target != () else reshape_p(a, shape=target)


@implements(np.ravel)
def ravel(a: Array, order: str = "C") -> Array:
    """All elements in one axis.

    >>> ravel(np.array([[1, 2], [3, 4]]))
    array([1, 2, 3, 4])
    """
    return reshape(a, -1, order=order)


def _transposed_layout(known: Sequence[int], avals: Sequence[ShapeDtype], *, axes: Any) -> int:
    moved = [axis for axis in axes if avals[0].shape[axis] != 1]
    return known[0] if moved == sorted(moved) else UNKNOWN


transpose_p: Primitive = linear(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    shape=lambda x, *, axes: ShapeDtype([x.shape[i] for i in axes], x.dtype),
    transpose=lambda g, x, *, axes: np.transpose(g, tuple(int(i) for i in np.argsort(axes))),
    batch=lambda size, batched, x, *, axes: transpose_p(x, axes=(0, *[i + 1 for i in axes])),
    layout=_transposed_layout,
    flops=0,
    samples=lambda: [
        Sample((values(2, 3, 4),), {"axes": (2, 0, 1)}),
        Sample((values(3),), {"axes": (0,)}),
    ],
)


@implements(np.transpose, np.permute_dims)
def transpose(a: Array, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order; reversed by default.

    >>> transpose(np.ones((2, 3, 4)), (1, 2, 0)).shape
    (3, 4, 2)
    """
    ndim = ndim_of(a)
    order = tuple(reversed(range(ndim))) if axes is None else tuple(int(i) for i in axes)
    if len(order) != ndim:
        raise ValueError("axes don't match array")
    normal = tuple(normalize_axis(i, ndim) for i in order)
    if len(set(normal)) != ndim:
        raise ValueError("repeated axis in transpose")
    return transpose_p(a, axes=normal)


@implements(np.swapaxes)
def swapaxes(a: Array, axis1: int, axis2: int) -> Array:
    """Two axes exchanged.

    >>> swapaxes(np.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    order = list(range(ndim_of(a)))
    i, j = normalize_axis(axis1, len(order)), normalize_axis(axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return transpose(a, order)


@implements(np.moveaxis)
def moveaxis(a: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Axes moved to new places, the others keeping their order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    ndim = ndim_of(a)
    origins, targets = normalize_axes(source, ndim), normalize_axes(destination, ndim)
    if len(origins) != len(targets):
        raise ValueError(
            "`source` and `destination` arguments must have the same number of elements"
        )
    order = [i for i in range(ndim) if i not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return transpose(a, order)


@implements(np.squeeze)
def squeeze(a: Array, axis: int | Sequence[int] | None = None) -> Array:
    """Without axes of length 1.

    >>> squeeze(np.ones((1, 3, 1))).shape
    (3,)
    """
    shape = shape_of(a)
    if axis is None:
        return reshape(a, tuple(n for n in shape if n != 1))
    axes = reduced_axes(axis, len(shape))
    if any(shape[i] != 1 for i in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return reshape(a, tuple(n for i, n in enumerate(shape) if i not in axes))


@implements(np.expand_dims)
def expand_dims(a: Array, axis: int | Sequence[int]) -> Array:
    """With new axes of length 1 at these places of the result.

    >>> expand_dims(np.ones((3, 4)), (0, -1)).shape
    (1, 3, 4, 1)
    """
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = normalize_axes(axis, ndim_of(a) + count)
    rest = iter(shape_of(a))
    shape = tuple(1 if i in axes else next(rest) for i in range(ndim_of(a) + count))
    return reshape(a, shape)


broadcast_p: Primitive = linear(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    shape=lambda x, *, shape: ShapeDtype(shape, x.dtype),
    transpose=lambda g, x, *, shape: unbroadcast(g, x.shape),
    batch=lambda size, batched, x, *, shape: broadcast_p(
        lifted(x, len(shape)), shape=(size, *shape)
    ),
    layout=lambda known, avals, **_: min(known[0], ORDERED),
    flops=0,
    samples=lambda: [
        Sample((values(3, 1),), {"shape": (2, 3, 4)}),
        Sample((values(),), {"shape": (2, 2)}),
        Sample((values(1),), {"shape": (0,)}),
    ],
)


@implements(np.broadcast_to)
def broadcast_to(array: Array, shape: int | Sequence[int], subok: bool = False) -> Array:
    """The elements repeated along new or length-1 axes.

    >>> broadcast_to(np.arange(2), (2, 2))
    array([[0, 1],
           [0, 1]])
    """
    target = tuple(int(n) for n in np.atleast_1d(np.asarray(shape, dtype=np.intp)))
    if np.broadcast_shapes(shape_of(array), target) != target:
        raise ShapeError(f"cannot broadcast shape {shape_of(array)} to {target}")
    return broadcast_p(array, shape=target)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Array, subok: bool = False) -> tuple[Array, ...]:
    """Each operand broadcast to the shape of all.

    >>> [x.shape for x in broadcast_arrays(np.ones((3, 1)), np.ones(4))]
    [(3, 4), (3, 4)]
    """
    shape = np.broadcast_shapes(*[shape_of(a) for a in args])
    return tuple(broadcast_to(a, shape) for a in args)


convert_p: Primitive = linear(
    "astype",
    lambda x, *, dtype: np.asarray(x).astype(dtype),
    shape=lambda x, *, dtype: ShapeDtype(x.shape, dtype),
    transpose=lambda g, x, *, dtype: cast(g, x.dtype),
    batch=lambda size, batched, x, *, dtype: convert_p(x, dtype=dtype),
    fresh=True,
    layout=follows,
    flops=0,
    samples=lambda: [Sample((values(3, 2),), {"dtype": np.dtype(np.float64)})],
)
truncate_p: Primitive = constant(
    "astype_integer",
    lambda x, *, dtype: np.asarray(x).astype(dtype),
    shape=lambda x, *, dtype: ShapeDtype(x.shape, dtype),
    batch=lambda size, batched, x, *, dtype: truncate_p(x, dtype=dtype),
    fresh=True,
    layout=follows,
    flops=0,
    samples=lambda: [Sample((values(3, 2),), {"dtype": np.dtype(np.int64)})],
)


@implements(np.astype)
def astype(
    x: Array,
    dtype: Any,
    order: str = "K",
    casting: Any = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Array:
    """The values in another dtype. To an integer or boolean type no derivative passes.

    Raises `TypeError` when `casting` does not allow it. Traced values have no memory order and are
    never written to, so `order`, `subok` and `copy` change nothing.

    >>> astype(np.array([1.5, -2.5]), np.float32)
    array([ 1.5, -2.5], dtype=float32)
    """
    wanted = np.dtype(dtype)
    known = shape_dtype(x)
    if not np.can_cast(known.dtype, wanted, casting):
        raise TypeError(f"cannot cast from {known.dtype} to {wanted} by the rule {casting!r}")
    if wanted == known.dtype and not known.weak:
        return x
    floats = wanted.kind in "fc" or is_bfloat16(wanted)
    return (convert_p if floats else truncate_p)(x, dtype=wanted)
