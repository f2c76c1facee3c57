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

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from ..errors import ShapeError
from .axes import as_array, lifted, reduced_axes, with_batch
from .axes import normalize_axes as normalize_axes
from .axes import normalize_axis as normalize_axis
from .declare import Rule, cast, constant, linear, unbroadcast, zeros
from .samples import Sample, values

# ---- one operand ---------------------------------------------------------------------------------

reshape_p: Primitive = linear(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    shape=lambda x, *, shape: ShapeDtype(shape, x.dtype),
    transpose=lambda g, x, *, shape: np.reshape(g, x.shape),
    batch=lambda size, batched, x, *, shape: reshape_p(x, shape=(size, *shape)),
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
    """All elements in one axis."""
    return reshape(a, -1, order=order)


transpose_p: Primitive = linear(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    shape=lambda x, *, axes: ShapeDtype([x.shape[i] for i in axes], x.dtype),
    transpose=lambda g, x, *, axes: np.transpose(g, tuple(int(i) for i in np.argsort(axes))),
    batch=lambda size, batched, x, *, axes: transpose_p(x, axes=(0, *[i + 1 for i in axes])),
    samples=lambda: [
        Sample((values(2, 3, 4),), {"axes": (2, 0, 1)}),
        Sample((values(3),), {"axes": (0,)}),
    ],
)


@implements(np.transpose, np.permute_dims)
def transpose(a: Array, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order; reversed by default."""
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
    """Two axes exchanged."""
    order = list(range(ndim_of(a)))
    i, j = normalize_axis(axis1, len(order)), normalize_axis(axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return transpose(a, order)


@implements(np.moveaxis)
def moveaxis(a: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Axes moved to new places, the others keeping their order."""
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
    """Without axes of length 1."""
    shape = shape_of(a)
    if axis is None:
        return reshape(a, tuple(n for n in shape if n != 1))
    axes = reduced_axes(axis, len(shape))
    if any(shape[i] != 1 for i in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return reshape(a, tuple(n for i, n in enumerate(shape) if i not in axes))


@implements(np.expand_dims)
def expand_dims(a: Array, axis: int | Sequence[int]) -> Array:
    """With new axes of length 1 at these places of the result."""
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
    samples=lambda: [
        Sample((values(3, 1),), {"shape": (2, 3, 4)}),
        Sample((values(),), {"shape": (2, 2)}),
        Sample((values(1),), {"shape": (0,)}),
    ],
)


@implements(np.broadcast_to)
def broadcast_to(array: Array, shape: int | Sequence[int], subok: bool = False) -> Array:
    """The elements repeated along new or length-1 axes."""
    target = tuple(int(n) for n in np.atleast_1d(np.asarray(shape, dtype=np.intp)))
    if np.broadcast_shapes(shape_of(array), target) != target:
        raise ShapeError(f"cannot broadcast shape {shape_of(array)} to {target}")
    return broadcast_p(array, shape=target)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Array, subok: bool = False) -> tuple[Array, ...]:
    """Each operand broadcast to the shape of all."""
    shape = np.broadcast_shapes(*[shape_of(a) for a in args])
    return tuple(broadcast_to(a, shape) for a in args)


convert_p: Primitive = linear(
    "astype",
    lambda x, *, dtype: np.asarray(x).astype(dtype),
    shape=lambda x, *, dtype: ShapeDtype(x.shape, dtype),
    transpose=lambda g, x, *, dtype: cast(g, x.dtype),
    batch=lambda size, batched, x, *, dtype: convert_p(x, dtype=dtype),
    samples=lambda: [Sample((values(3, 2),), {"dtype": np.dtype(np.float64)})],
)
truncate_p: Primitive = constant(
    "astype_integer",
    lambda x, *, dtype: np.asarray(x).astype(dtype),
    shape=lambda x, *, dtype: ShapeDtype(x.shape, dtype),
    batch=lambda size, batched, x, *, dtype: truncate_p(x, dtype=dtype),
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
    """
    wanted = np.dtype(dtype)
    known = shape_dtype(x)
    if not np.can_cast(known.dtype, wanted, casting):
        raise TypeError(f"cannot cast from {known.dtype} to {wanted} by the rule {casting!r}")
    if wanted == known.dtype and not known.weak:
        return x
    return (convert_p if wanted.kind in "fc" else truncate_p)(x, dtype=wanted)


# ---- several operands ----------------------------------------------------------------------------


def _joining(name: str, impl: Rule, shape: Rule, parts: Rule, samples: Rule) -> Primitive:
    """A primitive that is linear in all of its operands; `parts(g, xs, axis)` takes `g` apart."""

    def reverse(wanted: Sequence[bool], y: Array, xs: Sequence[Array], params: Any) -> Rule:
        avals = [shape_dtype(x) for x in xs]
        axis = params["axis"]

        def pullback(g: Array) -> list[Array]:
            pieces = parts(g, avals, axis)
            return [
                cast(piece, aval.dtype)
                for piece, aval, flag in zip(pieces, avals, wanted, strict=True)
                if flag
            ]

        return pullback

    def forward(y: Array, xs: Sequence[Array], tangents: Sequence[Array], params: Any) -> Array:
        filled = [
            zeros(ShapeDtype(shape_of(x), shape_dtype(y).dtype)) if t is None else t
            for t, x in zip(tangents, xs, strict=True)
        ]
        return made(*filled, **params)

    def batch(size: int, batched: Sequence[bool], *xs: Array, axis: int) -> Array:
        whole = [with_batch(x, flag, size) for x, flag in zip(xs, batched, strict=True)]
        return made(*whole, axis=axis + 1)

    made = Primitive(
        name, impl, shape=shape, vjp=reverse, jvp=forward, batch=batch, samples=samples
    )
    return made


def _concatenate_shape(*xs: ShapeDtype, axis: int) -> ShapeDtype:
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    for x in xs:
        rest = [(m, n) for i, (m, n) in enumerate(zip(x.shape, shape, strict=True)) if i != axis]
        if any(m != n for m, n in rest):
            raise ShapeError(
                "all the input array dimensions except for the concatenation axis must match "
                "exactly"
            )
    return ShapeDtype(shape, np.result_type(*[x.dtype for x in xs]))  # numbers are arrays here


def _split_at(g: Array, xs: Sequence[ShapeDtype], axis: int) -> list[Array]:
    pieces, start = [], 0
    before = (slice(None),) * axis
    for x in xs:
        stop = start + x.shape[axis]
        pieces.append(g[(*before, slice(start, stop))])
        start = stop
    return pieces


concatenate_p = _joining(
    "concatenate",
    lambda *xs, axis: np.concatenate(xs, axis=axis),
    _concatenate_shape,
    _split_at,
    lambda: [
        Sample((values(2, 3), values(2, 1, seed=1), values(2, 0)), {"axis": 1}),
        Sample((values(3), values(2, seed=1)), {"axis": 0}),
    ],
)


@implements(np.concatenate, np.concat)
def concatenate(
    arrays: Sequence[Array],
    axis: int | None = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    """The arrays one after the other along an axis; flattened first where `axis` is None."""
    arrays = [as_array(a) for a in arrays]
    if dtype is not None:
        arrays = [astype(a, dtype, casting=casting) for a in arrays]
    if not arrays:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        return concatenate_p(*[ravel(a) for a in arrays], axis=0)
    if len({ndim_of(a) for a in arrays}) > 1:
        raise ShapeError("all the input array dimensions must match in number")
    return concatenate_p(*arrays, axis=normalize_axis(axis, ndim_of(arrays[0])))


def _stack_shape(*xs: ShapeDtype, axis: int) -> ShapeDtype:
    if len({x.shape for x in xs}) > 1:
        raise ShapeError("all input arrays must have the same shape")
    shape = list(xs[0].shape)
    shape.insert(axis, len(xs))
    return ShapeDtype(shape, np.result_type(*[x.dtype for x in xs]))


stack_p = _joining(
    "stack",
    lambda *xs, axis: np.stack(xs, axis=axis),
    _stack_shape,
    lambda g, xs, axis: [g[(slice(None),) * axis + (i,)] for i in range(len(xs))],
    lambda: [
        Sample((values(2, 3), values(2, 3, seed=1)), {"axis": 1}),
        Sample((values(), values(seed=1)), {"axis": 0}),
    ],
)


@implements(np.stack)
def stack(
    arrays: Sequence[Array],
    axis: int = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    """The arrays side by side along a new axis."""
    arrays = [as_array(a) for a in arrays]
    if dtype is not None:
        arrays = [astype(a, dtype, casting=casting) for a in arrays]
    if not arrays:
        raise ValueError("need at least one array to stack")
    return stack_p(*arrays, axis=normalize_axis(axis, ndim_of(arrays[0]) + 1))
