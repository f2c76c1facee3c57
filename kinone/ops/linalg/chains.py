"""Products of many matrices, powers, and the products of `ops` under their names in `np.linalg`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array, implements, ndim_of, shape_of
from .. import products
from ..axes import as_array
from ..contract import matmul
from .matrices import LinAlgError, squares
from .solve import inv

implements(np.linalg.matmul)(matmul)
implements(np.linalg.tensordot)(products.tensordot)
implements(np.linalg.vecdot)(products.vecdot)


@implements(np.linalg.outer)
def outer(x1: Array, x2: Array, /) -> Array:
    """All products of the elements of two vectors. Raises `ValueError` for other operands.

    >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    x1, x2 = as_array(x1), as_array(x2)
    if ndim_of(x1) != 1 or ndim_of(x2) != 1:
        raise ValueError(
            "Input arrays must be one-dimensional, but they are "
            f"x1.ndim={ndim_of(x1)} and x2.ndim={ndim_of(x2)}."
        )
    return products.outer(x1, x2)


@implements(np.linalg.cross)
def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of three elements along an axis.

    >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    array([0., 0., 1.])
    """
    x1, x2 = as_array(x1), as_array(x2)
    lengths = shape_of(x1)[axis], shape_of(x2)[axis]
    if lengths != (3, 3):
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, "
            f"but they are {lengths[0]} and {lengths[1]} dimensional instead."
        )
    return products.cross(x1, x2, axis=axis)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Array], *, out: None = None) -> Array:
    """The product of several matrices, in the order of fewest multiplications.

    The first and the last may be vectors. Raises `ValueError` for fewer than two, `LinAlgError`
    for other operands.

    >>> multi_dot([np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0])])
    array([3., 7.])
    """
    arrays = [as_array(a) for a in arrays]
    count = len(arrays)
    if count < 2:
        raise ValueError("Expecting at least two arrays.")
    if count == 2:
        return products.dot(arrays[0], arrays[1])
    first, last = ndim_of(arrays[0]) == 1, ndim_of(arrays[-1]) == 1
    if first:
        arrays[0] = arrays[0][None, :]
    if last:
        arrays[-1] = arrays[-1][:, None]
    for a in arrays:
        if ndim_of(a) != 2:
            raise LinAlgError(
                f"{ndim_of(a)}-dimensional array given. Array must be two-dimensional"
            )
    result = _product(arrays, products.chain_order([shape_of(a) for a in arrays]))
    if first:
        result = result[0]
    return result[..., 0] if last else result


def _product(arrays: Sequence[Array], nesting: Any) -> Array:
    if isinstance(nesting, int):
        return arrays[nesting]
    return matmul(_product(arrays, nesting[0]), _product(arrays, nesting[1]))


@implements(np.linalg.matrix_power)
def matrix_power(a: Array, n: int) -> Array:
    """The n-th power of square matrices; of their inverses where n is negative.

    By squaring, so with about log₂ n products. Raises `TypeError` when n is no integer.

    >>> matrix_power(np.array([[1.0, 1.0], [0.0, 1.0]]), 3)
    array([[1., 3.],
           [0., 1.]])
    """
    a = squares(a)
    try:
        n = operator.index(n)
    except TypeError as error:
        raise TypeError("exponent must be an integer") from error
    if n == 0:
        return np.broadcast_to(np.eye(shape_of(a)[-1], dtype=a.dtype), shape_of(a))
    if n < 0:
        a, n = inv(a), -n
    if n == 3:
        return matmul(matmul(a, a), a)
    result = None
    while n:
        n, odd = divmod(n, 2)
        if odd:
            result = a if result is None else matmul(result, a)
        if n:
            a = matmul(a, a)
    return result
