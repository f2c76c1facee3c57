"""Diagonals, triangles and matrices made of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, implements, ndim_of, shape_dtype, shape_of
from .axes import as_array, normalize_axis
from .index import getitem, scatter_p
from .joining import stack
from .shape import astype, moveaxis, ravel
from .template import Template, split_index


@implements(np.diagonal)
def diagonal(a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal of the planes of two axes, as the last axis of the result.

    >>> diagonal(np.array([[1.0, 2.0], [3.0, 4.0]]), offset=1)
    array([2.])
    """
    a = as_array(a)
    ndim = ndim_of(a)
    if ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    axis1, axis2 = normalize_axis(axis1, ndim), normalize_axis(axis2, ndim)
    if axis1 == axis2:
        raise ValueError("axis1 and axis2 cannot be the same")
    return _diagonal(moveaxis(a, (axis1, axis2), (-2, -1)), offset)


@implements(np.linalg.diagonal)
def _matrix_diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """The diagonals of a stack of matrices."""
    return diagonal(x, offset, -2, -1)


def _diagonal(planes: Array, offset: int) -> Array:
    rows, columns = shape_of(planes)[-2:]
    first, second = max(-offset, 0), max(offset, 0)
    places = np.arange(max(min(rows - first, columns - second), 0))
    return getitem(planes, (..., places + first, places + second))


@implements(np.trace)
def trace(
    a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Array:
    """The sum over a diagonal.

    >>> float(trace(np.array([[1.0, 2.0], [3.0, 4.0]])))
    5.0
    """
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.linalg.trace)
def _matrix_trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """The traces of a stack of matrices."""
    return trace(x, offset, -2, -1, dtype)


@implements(np.diag)
def diag(v: Array, k: int = 0) -> Array:
    """The diagonal of a matrix, or a matrix with this diagonal and zeros.

    >>> diag(np.array([1.0, 2.0]))
    array([[1., 0.],
           [0., 2.]])
    >>> diag(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    v = as_array(v)
    if ndim_of(v) == 2:
        return _diagonal(v, k)
    if ndim_of(v) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = shape_of(v)[0] + abs(k)
    places = np.arange(n - abs(k))
    shape = (n, n)
    template, arrays = split_index((places + max(-k, 0), places + max(k, 0)), shape)
    once = Template(template.parts, template.scalar, once=True)
    return scatter_p(v, *arrays, template=once, shape=shape)


@implements(np.diagflat)
def diagflat(v: Array, k: int = 0) -> Array:
    """A matrix with all elements, in order, for its diagonal.

    >>> diagflat(np.array([[1.0, 2.0]]))
    array([[1., 0.],
           [0., 2.]])
    """
    return diag(ravel(as_array(v)), k)


def _triangle(m: Array, k: int) -> Array:
    """Where the lower triangle is; of a vector, of the square matrix with such rows."""
    *_, rows, columns = (*shape_of(m)[-1:], *shape_of(m)[-2:])
    return np.tri(rows, columns, k, dtype=np.bool_)


@implements(np.tril)
def tril(m: Array, k: int = 0) -> Array:
    """The lower triangle, with zeros above the `k`-th diagonal; a vector stands for equal rows.

    >>> tril(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 0.],
           [3., 4.]])
    """
    m = as_array(m)
    mask = _triangle(m, k)
    return np.where(mask, m, np.zeros(1, shape_dtype(m).dtype))


@implements(np.triu)
def triu(m: Array, k: int = 0) -> Array:
    """The upper triangle, with zeros below the `k`-th diagonal; a vector stands for equal rows.

    >>> triu(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [0., 4.]])
    """
    m = as_array(m)
    mask = _triangle(m, k - 1)
    return np.where(mask, np.zeros(1, shape_dtype(m).dtype), m)


@implements(np.tril_indices_from)
def tril_indices_from(arr: Array, k: int = 0) -> Any:
    """The positions of the lower triangle."""
    if ndim_of(arr) != 2:
        raise ValueError("input array must be 2-d")
    return np.tril_indices(shape_of(arr)[-2], k=k, m=shape_of(arr)[-1])


@implements(np.triu_indices_from)
def triu_indices_from(arr: Array, k: int = 0) -> Any:
    """The positions of the upper triangle."""
    if ndim_of(arr) != 2:
        raise ValueError("input array must be 2-d")
    return np.triu_indices(shape_of(arr)[-2], k=k, m=shape_of(arr)[-1])


@implements(np.diag_indices_from)
def diag_indices_from(arr: Array) -> Any:
    """The positions of the main diagonal."""
    shape = shape_of(arr)
    if len(shape) < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    return np.diag_indices(shape[0], len(shape))


@implements(np.vander)
def vander(x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of each element as rows, falling from N - 1 to 0 by default.

    >>> vander(np.array([2.0, 3.0]), 3)
    array([[4., 2., 1.],
           [9., 3., 1.]])
    """
    x = as_array(x)
    if ndim_of(x) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = shape_of(x)[0] if N is None else N
    x = astype(x, np.promote_types(shape_dtype(x).dtype, int))
    if count == 0:
        return np.zeros((shape_of(x)[0], 0), x.dtype)
    powers = [np.ones(shape_of(x), x.dtype)]
    while len(powers) < count:
        powers.append(powers[-1] * x)
    return stack(powers if increasing else powers[::-1], 1)
