"""Matrix products.

ONNX Runtime fuses a Transpose with the MatMul that follows into a node of its own, which computes
another thing where the other operand is a vector (1.19 and 1.32), and has no kernel for float64
(1.19: the model does not load). So transposed matrices are operands of Gemm, which has flags for
them, change sides with a vector, or are written as an Einsum.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from ..export.builder import Builder
from ..export.dims import Size
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from .common import out


@lowers("matmul")
def _matmul(b: Builder, step: Step, x: Value, y: Value) -> Value:
    shape, dtype = out(step)
    x, y = b.cast(x, dtype), b.cast(y, dtype)
    if x.ndim == y.ndim == 2 and dtype.kind == "f" and 0 not in (*x.shape, *y.shape):
        return _gemm(b, x, y, shape)
    if 1 in (x.ndim, y.ndim) and max(x.ndim, y.ndim) > 1:
        return _with_vector(b, x, y, shape)
    moved = [v.known is None and not v.lies_as_is and _moves(v) for v in (x, y)]
    if dtype == np.float64 and any(moved) and x.ndim > 1:
        return _einsum(b, x, y, shape)
    return b.node("MatMul", [b.plain(x), b.plain(y)], shape, dtype)


def _moves(x: Value) -> bool:
    """Whether axes of the tensor lie in another order, apart from those of length 1."""
    return [a for a in x.order if x.shape[a] != 1] != [a for a in range(x.ndim) if x.shape[a] != 1]


def _gemm(b: Builder, x: Value, y: Value, shape: Sequence[Size]) -> Value:
    """The product of two matrices as they lie; `passes` makes it MatMul where nothing is added."""
    first, second = [1 if v.order == (1, 0) else None for v in (x, y)]
    return b.node("Gemm", [x, y], shape, x.dtype, transA=first, transB=second)


def _with_vector(b: Builder, x: Value, y: Value, shape: Sequence[Size]) -> Value:
    """x v is v xᵀ: the side is chosen on which the matrix lies as it is."""
    matrix, vector = (x, y) if y.ndim == 1 else (y, x)
    last = matrix.ndim - 1
    swapped = (*range(last - 1), last, last - 1)
    right = y.ndim == 1
    if matrix.order == swapped and matrix.known is None:
        matrix, right = matrix.reordered(swapped), not right
    elif matrix.known is None and _moves(matrix):
        # No Transpose may stand right before: the vector becomes a matrix.
        thin = b.reshape(vector, (vector.shape[0], 1) if right else (1, vector.shape[0]))
        axis = last if right else last - 1
        wide = (*shape[:axis], 1, *shape[axis:])
        pair = (matrix, thin) if right else (thin, matrix)
        if x.dtype == np.float64:
            return b.reshape(_einsum(b, *pair, wide), shape)
        y = b.node("MatMul", [b.plain(each) for each in pair], wide, x.dtype)
        return b.reshape(y, shape)
    pair = (matrix, vector) if right else (vector, matrix)
    return b.node("MatMul", [b.plain(each) for each in pair], shape, x.dtype)


def _einsum(b: Builder, x: Value, y: Value, shape: Sequence[Size]) -> Value:
    """The product of matrices, at least one in a batch, as they lie."""
    letters = string.ascii_lowercase
    batch = letters[: len(shape) - 2]
    x, y = (_with_batch(b, each, shape[:-2]) for each in (x, y))
    terms = []
    for each, pair in ((x, "yx"), (y, "xz")):
        axes = batch[len(batch) - each.ndim + 2 :] + pair
        terms.append("".join(axes[axis] for axis in each.order))
    return b.node("Einsum", [x, y], shape, x.dtype, equation=f"{','.join(terms)}->{batch}yz")


def _with_batch(b: Builder, x: Value, batch: Sequence[Size]) -> Value:
    """Without axes of length 1 in the batch where the result has others."""
    own = x.shape[:-2]
    wanted = batch[len(batch) - len(own) :]
    if all(n == m for n, m in zip(own, wanted, strict=True)):
        return x
    if all(n == 1 for n in own):
        return b.reshape(x, x.shape[-2:])
    return b.expand(x, (*wanted, *x.shape[-2:]))
