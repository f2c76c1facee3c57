"""Norms of vectors and matrices. The derivative of a norm that is 0 is 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...core import Array, implements, ndim_of, shape_of
from ..axes import as_array, normalize_axes, normalize_axis
from ..transcendental import root
from .matrices import real
from .spectral import svd


def _inexact(x: Array) -> Array:
    x = as_array(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def _root(x: Array, exponent: float) -> Array:
    """A root, whose derivative at 0 is 0 instead of infinite."""
    zero = x == 0
    return np.where(zero, 0, np.power(np.where(zero, 1, x), exponent))


def _length(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """√ Σ |x|²"""
    squares = x * x
    if x.dtype.kind == "c":
        squares = np.square(real(x)) + np.square(np.imag(x))
    return root(np.sum(squares, axis=axis, keepdims=keepdims))


@implements(np.linalg.norm)
def norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """The norm of vectors, along one axis, or of matrices, along two.

    For vectors `ord` is 2 (the default: √ Σ |xᵢ|²), any other number p ((Σ |xᵢ|ᵖ)^(1/p)), inf and
    -inf (the largest and smallest |xᵢ|), or 0 (how many are not 0). For matrices it is "fro" (the
    default: √ Σ |xᵢⱼ|²), "nuc" (the sum of the singular values), 2 and -2 (the largest and the
    smallest of them), 1 and -1 (the largest and smallest sum of |xᵢⱼ| over a column), inf and
    -inf (over a row). Without `axis` and `ord`, √ Σ |x|² over an array of any shape. Derivatives
    at 0 are 0; ties share. Raises `ValueError` for an order that does not exist.

    >>> from kinone import grad
    >>> grad(np.linalg.norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    x = _inexact(x)
    ndim = ndim_of(x)
    everything = tuple(range(ndim))
    if axis is None and (
        ord is None or (ord in ("f", "fro") and ndim == 2) or (ndim == 1 and ord == 2)
    ):
        return _length(x, everything, keepdims)
    if axis is None:
        axis = everything
    elif not isinstance(axis, tuple):
        try:
            axis = (int(axis),)
        except Exception as error:
            raise TypeError("'axis' must be None, an integer or a tuple of integers") from error
    axes = tuple([normalize_axis(i, ndim) for i in axis])
    if len(axes) == 1:
        return _of_vectors(x, ord, axes, keepdims)
    if len(axes) == 2:
        if axes[0] == axes[1]:
            raise ValueError("Duplicate axes given.")
        result = _of_matrices(x, ord, *axes)
        return np.expand_dims(result, axes) if keepdims else result
    raise ValueError("Improper number of dimensions to norm.")


def _of_vectors(x: Array, ord: Any, axis: tuple[int, ...], keepdims: bool) -> Array:
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord is None or ord == 2:
        return _length(x, axis, keepdims)
    if ord == 0:
        return np.sum((x != 0).astype(real(x).dtype), axis=axis, keepdims=keepdims)
    size = np.abs(x)
    if ord == math.inf:
        return np.max(size, axis=axis, keepdims=keepdims, initial=0)
    if ord == -math.inf:
        return np.min(size, axis=axis, keepdims=keepdims)
    if ord == 1:
        return np.sum(size, axis=axis, keepdims=keepdims)
    ord = float(ord)
    if ord > 1:
        return _root(np.sum(size**ord, axis=axis, keepdims=keepdims), 1 / ord)
    return np.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


def _of_matrices(x: Array, ord: Any, row: int, column: int) -> Array:
    if ord is None or ord in ("fro", "f"):
        return _length(x, (row, column), False)
    if ord in ("nuc", 2, -2):
        s = svd(np.moveaxis(x, (row, column), (-2, -1)), compute_uv=False)
        if ord == "nuc":
            return np.sum(s, axis=-1)
        return np.max(s, axis=-1, initial=0) if ord == 2 else np.min(s, axis=-1)
    if ord in (1, -1):
        summed, left = row, column
    elif ord in (math.inf, -math.inf):
        summed, left = column, row
    else:
        raise ValueError("Invalid norm order for matrices.")
    sums = np.sum(np.abs(x), axis=summed)
    left -= left > summed
    return np.max(sums, axis=left, initial=0) if ord > 0 else np.min(sums, axis=left)


@implements(np.linalg.vector_norm)
def vector_norm(x: Array, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Array:
    """The norm of vectors along one axis or several, all by default; see `norm`.

    >>> float(vector_norm(np.array([3.0, 4.0])))
    5.0
    """
    x = _inexact(x)
    ndim = ndim_of(x)
    axes = normalize_axes(axis, ndim)
    rest = tuple([i for i in range(ndim) if i not in axes])
    shape = shape_of(x)
    count = math.prod([shape[i] for i in axes])
    flat = np.reshape(np.transpose(x, (*axes, *rest)), (count, *[shape[i] for i in rest]))
    result = _of_vectors(flat, ord, (0,), False)
    return np.expand_dims(result, axes) if keepdims else result


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """The norm of matrices (…, m, n); see `norm`.

    >>> float(matrix_norm(np.array([[3.0, 0.0], [0.0, 4.0]])))
    5.0
    """
    return norm(x, ord, axis=(-2, -1), keepdims=keepdims)
