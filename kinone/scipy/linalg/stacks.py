"""SciPy's functions of single matrices, on stacks of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, ShapeDtype, ndim_of, shape_dtype, shape_of
from ...errors import ShapeError
from ...ops.axes import as_array
from ...ops.linalg.matrices import floating


def stacked(
    function: Callable[..., Any],
    shape: Callable[..., ShapeDtype],
    operands: Sequence[Array],
    ndims: Sequence[int],
) -> Array:
    """`function` of matrices, for each of a stack; `ndims` says how many axes each operand has of
    its own, and those in front broadcast. `shape` is the shape rule: of nothing, it is all that
    there is."""
    arrays = [np.asarray(x) for x in operands]
    known = shape(*[shape_dtype(x) for x in arrays])
    if known.size == 0:
        return np.zeros(known.shape, known.dtype)
    if all(x.ndim == n for x, n in zip(arrays, ndims, strict=True)):
        return np.asarray(function(*arrays), known.dtype)
    fronts = [x.shape[: x.ndim - n] for x, n in zip(arrays, ndims, strict=True)]
    front = np.broadcast_shapes(*fronts)
    rows = []
    for x, n in zip(arrays, ndims, strict=True):
        own = x.shape[x.ndim - n :]
        rows.append(np.broadcast_to(x, (*front, *own)).reshape(math.prod(front), *own))
    found = [np.asarray(function(*each), known.dtype) for each in zip(*rows, strict=True)]
    return np.stack(found).reshape(known.shape)


def widened(*avals: ShapeDtype) -> np.dtype[Any]:
    """The dtype of a result that LAPACK computes: half precision becomes single."""
    dtype = floating(*avals)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def columns(b: Array) -> tuple[Array, bool]:
    """A right-hand side as a matrix, and whether it was a vector. Raises `ShapeError`."""
    b = as_array(b)
    if ndim_of(b) == 0:
        raise ShapeError("the right-hand side has no axes")
    return (b[:, None], True) if ndim_of(b) == 1 else (b, False)


def fit_rows(name: str, a: Array, b: Array) -> None:
    """Raises `ShapeError` where the right-hand side has another number of rows."""
    if shape_of(a)[-1] != shape_of(b)[-2]:
        raise ShapeError(
            f"{name}: a matrix of {shape_of(a)} does not fit a right-hand side of {shape_of(b)}"
        )
