"""Arrays one after the other, or side by side along a new axis: two primitives.

Both are linear in all operands, and the transpose takes the cotangent apart again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from ..core.layout import follows
from ..errors import ShapeError
from .axes import as_array, normalize_axis, with_batch
from .declare import Rule, cast, zeros
from .samples import Sample, values
from .shape import astype, ravel


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
        name,
        impl,
        shape=shape,
        vjp=reverse,
        jvp=forward,
        batch=batch,
        fresh=True,
        layout=follows,
        flops=0,
        samples=samples,
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
    """The arrays one after the other along an axis; flattened first where `axis` is None.

    >>> concatenate([np.array([1, 2]), np.array([3])])
    array([1, 2, 3])
    """
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
    """The arrays side by side along a new axis.

    >>> stack([np.array([1, 2]), np.array([3, 4])], axis=1)
    array([[1, 3],
           [2, 4]])
    """
    arrays = [as_array(a) for a in arrays]
    if dtype is not None:
        arrays = [astype(a, dtype, casting=casting) for a in arrays]
    if not arrays:
        raise ValueError("need at least one array to stack")
    return stack_p(*arrays, axis=normalize_axis(axis, ndim_of(arrays[0]) + 1))
