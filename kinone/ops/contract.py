"""Matrix products: `matmul` with NumPy's rules for batches and one-dimensional operands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_of
from ..core.layout import CONTIGUOUS, follows
from ..errors import ShapeError
from .axes import lifted
from .declare import bilinear, promote, unbroadcast
from .samples import Sample, values


def _matmul_shape(a: ShapeDtype, b: ShapeDtype) -> ShapeDtype:
    if not a.shape or not b.shape:
        raise ShapeError(f"matmul wants operands with at least one axis, got {a} and {b}")
    rows, inner_a = a.shape[-2:] if a.ndim > 1 else (None, a.shape[0])
    inner_b, columns = b.shape[-2:] if b.ndim > 1 else (b.shape[0], None)
    if inner_a != inner_b:
        raise ShapeError(_mismatch(a.shape, b.shape))
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    matrix = tuple(n for n in (rows, columns) if n is not None)
    return ShapeDtype(batch + matrix, promote(np.matmul, a, b))


def _mismatch(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    inner_b = b[-2] if len(b) > 1 else b[0]
    text = (
        f"matmul: the last axis of {a} has length {a[-1]}, "
        f"the {'second-last' if len(b) > 1 else 'only'} axis of {b} has {inner_b}"
    )
    if len(b) > 1 and a[-1] == b[-1]:
        text += "; did you mean to transpose the second (x @ w.T)?"
    elif len(a) > 1 and a[-2] == inner_b:
        text += "; did you mean to transpose the first (x.T @ w)?"
    return text


def _matmul(a: Array, b: Array) -> Array:
    """The matrix product over the last two axes; NumPy's rules for one axis and for batches.

    >>> matmul(np.ones((5, 2, 3)), np.ones((3, 4))).shape
    (5, 2, 4)
    """
    try:
        return np.matmul(a, b)
    except ValueError:
        _matmul_shape(  # says which axes do not fit, or lets NumPy say the rest
            ShapeDtype(shape_of(a), np.float64), ShapeDtype(shape_of(b), np.float64)
        )
        raise


def _matmul_left(g: Array, a: ShapeDtype, b: Array) -> Array:
    """The cotangent of `a` in a @ b: g @ bᵀ, over the batch axes that `a` has."""
    if a.ndim == b.ndim == 2:
        return np.matmul(g, b.mT)
    if ndim_of(b) == 1:
        if a.ndim == 1:
            return g * b
        return unbroadcast(np.expand_dims(g, -1) * b, a.shape)
    if a.ndim == 1:
        g = np.expand_dims(g, -2)
        return unbroadcast(np.matmul(g, b.mT)[..., 0, :], a.shape)
    return unbroadcast(np.matmul(g, b.mT), a.shape)


def _matmul_right(g: Array, a: Array, b: ShapeDtype) -> Array:
    """The cotangent of `b` in a @ b: aᵀ @ g, over the batch axes that `b` has."""
    if a.ndim == b.ndim == 2:
        return np.matmul(a.mT, g)
    if ndim_of(a) == 1:
        if b.ndim == 1:
            return g * a
        return unbroadcast(np.expand_dims(a, -1) * np.expand_dims(g, -2), b.shape)
    if b.ndim == 1:
        g = np.expand_dims(g, -1)
        return unbroadcast(np.matmul(a.mT, g)[..., 0], b.shape)
    if b.ndim == 2 and ndim_of(a) > 2:
        # One product over all batches instead of one each and a sum.
        a, g = _rows(a), _rows(g)
    return unbroadcast(np.matmul(a.mT, g), b.shape)


def _rows(x: Array) -> Array:
    """All axes but the last as one."""
    *rest, last = shape_of(x)
    return np.reshape(x, (math.prod(rest), last))


def _matmul_batch(size: int, batched: Sequence[bool], a: Array, b: Array) -> Array:
    """Products over one more axis; where one operand is the same for all, one large product."""
    of_a, of_b = batched
    shape_a, shape_b = shape_of(a)[of_a:], shape_of(b)[of_b:]
    if of_a and not of_b:
        if len(shape_b) <= 2:
            # The batch, and all of the axes in front of the last, are rows of one matrix.
            made = matmul(_rows(a), b)
            return np.reshape(made, (size, *shape_a[:-1], *shape_b[1:]))
        if len(shape_a) == 1:
            return np.moveaxis(matmul(a, b), -2, 0)  # the batch as rows
    elif of_b and not of_a:
        if len(shape_b) == 1:
            # A x of each x is x Aᵀ with the xs as rows.
            by_rows = a if len(shape_a) == 1 else _rows(a).mT
            return np.reshape(matmul(b, by_rows), (size, *shape_a[:-1]))
        if len(shape_a) <= 2:
            return matmul(a, b)
    # Both as matrices, with as many axes in front.
    if len(shape_a) == 1:
        a = np.expand_dims(a, -2)
    if len(shape_b) == 1:
        b = np.expand_dims(b, -1)
    ndim = max(ndim_of(a) - of_a, ndim_of(b) - of_b)
    made = matmul(lifted(a, ndim) if of_a else a, lifted(b, ndim) if of_b else b)
    batch = np.broadcast_shapes(shape_a[:-2], shape_b[:-2])
    return np.reshape(made, (size, *batch, *shape_a[:-1][-1:], *shape_b[-1:] * (len(shape_b) > 1)))


def _matmul_layout(known: Sequence[int], avals: Sequence[ShapeDtype]) -> int:
    # The matrices of a stack are in C order whatever the operands; the stack follows them.
    return CONTIGUOUS if max(aval.ndim for aval in avals) <= 2 else follows(known, avals)


matmul: Primitive = bilinear(
    "matmul",
    _matmul,
    shape=_matmul_shape,
    left=_matmul_left,
    right=_matmul_right,
    batch=_matmul_batch,
    code="np.matmul({0}, {1})",
    fresh=True,
    layout=_matmul_layout,
    flops=lambda operands, results: 2 * math.prod(results[0]) * operands[0][-1],
    samples=lambda: [
        Sample((values(3, 4), values(4, 2, seed=1))),
        Sample((values(4), values(4, seed=1))),
        Sample((values(4), values(4, 2, seed=1))),
        Sample((values(3, 4), values(4, seed=1))),
        Sample((values(2, 3, 4), values(4, 2, seed=1))),
        Sample((values(2, 1, 3, 4), values(5, 4, 2, seed=1))),
        Sample((values(3, 4), values(2, 4, 2, seed=1))),
        Sample((values(4), values(2, 4, 3, seed=1))),
        Sample((values(2, 3, 4), values(4, seed=1))),
        Sample((values(0, 4), values(4, 2, seed=1))),
        Sample((values(2, 0), values(0, 3, seed=1))),
        Sample((values(2, 3, 0), values(0, 3, seed=1))),
    ],
)
implements(np.matmul)(matmul)
