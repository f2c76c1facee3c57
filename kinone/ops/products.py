"""The products that come down to `matmul`: dot, inner, outer, tensordot, kron, cross and kin.

Each brings its operands into the form of a matrix product (transpose, reshape) and BLAS does the
rest; none has a rule of its own, so all of them differentiate, batch and export as `matmul` does.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, implements, ndim_of, shape_of
from ..errors import ShapeError
from .axes import as_array, normalize_axes, normalize_axis
from .contract import matmul
from .joining import stack
from .shape import astype, broadcast_to, expand_dims, moveaxis, ravel, reshape, transpose
from .versions import present


@implements(np.dot)
def dot(a: Array, b: Array, out: None = None) -> Array:
    """`np.dot`: the sum over the last axis of `a` and the second-last of `b`, its only one if so.

    y[i…, j…, k] = Σ_m a[i…, m] · b[j…, m, k]. With an operand without axes, the product. Raises
    `ValueError` when the two axes differ in length.

    >>> dot(np.array([1.0, 2.0]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([13., 16.])
    """
    a, b = as_array(a), as_array(b)  # unlike `*`, np.dot makes arrays of Python numbers
    if ndim_of(a) == 0 or ndim_of(b) == 0:
        return np.multiply(a, b)
    if ndim_of(b) <= 2:
        return matmul(a, b)
    return tensordot(a, b, axes=(-1, -2))


@implements(np.inner)
def inner(a: Array, b: Array, /) -> Array:
    """The sum of products over the last axes: y[i…, j…] = Σ_m a[i…, m] · b[j…, m].

    >>> inner(np.ones((2, 3)), np.ones((4, 3))).shape
    (2, 4)
    """
    a, b = as_array(a), as_array(b)
    if ndim_of(a) == 0 or ndim_of(b) == 0:
        return np.multiply(a, b)
    return tensordot(a, b, axes=(-1, -1))


@implements(np.vdot)
def vdot(a: Array, b: Array, /) -> Array:
    """The scalar product of two flattened operands, Σ conj(aᵢ) · bᵢ.

    >>> complex(vdot(np.array([1 + 2j]), np.array([3 + 4j])))
    (11-2j)
    """
    return matmul(conjugate(ravel(as_array(a))), ravel(as_array(b)))


@implements(np.outer)
def outer(a: Array, b: Array, out: None = None) -> Array:
    """All products of the elements of two flattened operands, in a matrix.

    >>> outer(np.array([1, 2]), np.array([3, 4]))
    array([[3, 4],
           [6, 8]])
    """
    return expand_dims(ravel(as_array(a)), 1) * ravel(as_array(b))


@implements(np.tensordot)
def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    """The sum of products over pairs of axes, whose rest is that of `a`, then that of `b`.

    `axes` is a number n, for the last n axes of `a` and the first n of `b`, or two sequences of
    as many axes, or two axes. Raises `ValueError` when the axes do not fit.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = as_array(a), as_array(b)
    ndim_a, ndim_b = ndim_of(a), ndim_of(b)
    if np.ndim(axes) == 0:
        count = operator.index(axes)
        axes = (range(-count, 0), range(count))
    of_a, of_b = [
        (operator.index(each),) if np.ndim(each) == 0 else tuple(operator.index(i) for i in each)
        for each in axes
    ]
    if len(of_a) != len(of_b) or any(
        not -ndim_a <= i < ndim_a or not -ndim_b <= j < ndim_b or shape_of(a)[i] != shape_of(b)[j]
        for i, j in zip(of_a, of_b, strict=False)
    ):
        raise ShapeError(
            f"shape-mismatch for sum: axes {of_a} of {shape_of(a)} and {of_b} of {shape_of(b)}"
        )
    of_a, of_b = normalize_axes(of_a, ndim_a), normalize_axes(of_b, ndim_b)
    free_a = tuple(i for i in range(ndim_a) if i not in of_a)
    free_b = tuple(i for i in range(ndim_b) if i not in of_b)
    rest_a, rest_b = [shape_of(a)[i] for i in free_a], [shape_of(b)[i] for i in free_b]
    summed = math.prod([shape_of(a)[i] for i in of_a])
    left = reshape(_ordered(a, (*free_a, *of_a)), (math.prod(rest_a), summed))
    right = reshape(_ordered(b, (*of_b, *free_b)), (summed, math.prod(rest_b)))
    return reshape(matmul(left, right), (*rest_a, *rest_b))


def _ordered(x: Array, axes: tuple[int, ...]) -> Array:
    """The axes in this order, untouched where it is the one that they have."""
    return x if axes == tuple(range(len(axes))) else transpose(x, axes)


@implements(*present("vecdot"))
def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The scalar product along an axis, Σ conj(aᵢ) · bᵢ; the other axes broadcast.

    >>> vecdot(np.ones((5, 3)), np.ones(3))
    array([3., 3., 3., 3., 3.])
    """
    x1, x2 = as_array(x1), as_array(x2)
    if ndim_of(x1) == 0 or ndim_of(x2) == 0:
        raise ShapeError("vecdot wants operands with at least one axis")
    a, b = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    if shape_of(a)[-1] != shape_of(b)[-1]:
        raise ShapeError(f"vecdot: the lengths of axis {axis} differ, {shape_of(a)} {shape_of(b)}")
    return matmul(conjugate(a)[..., None, :], b[..., None])[..., 0, 0]


@implements(*present("matvec"))
def matvec(x1: Array, x2: Array, /) -> Array:
    """Matrices (…, m, n) times vectors (…, n); the axes in front broadcast.

    >>> matvec(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([3., 7.])
    """
    x1, x2 = as_array(x1), as_array(x2)
    if ndim_of(x1) < 2 or ndim_of(x2) < 1:
        raise ShapeError(f"matvec wants a matrix and a vector, got {shape_of(x1)} {shape_of(x2)}")
    return matmul(x1, x2) if ndim_of(x2) == 1 else matmul(x1, x2[..., None])[..., 0]


@implements(*present("vecmat"))
def vecmat(x1: Array, x2: Array, /) -> Array:
    """Vectors (…, n), conjugated, times matrices (…, n, m); the axes in front broadcast.

    >>> vecmat(np.array([1.0, 1.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    x1, x2 = as_array(x1), as_array(x2)
    if ndim_of(x1) < 1 or ndim_of(x2) < 2:
        raise ShapeError(f"vecmat wants a vector and a matrix, got {shape_of(x1)} {shape_of(x2)}")
    x1 = conjugate(x1)
    return matmul(x1, x2) if ndim_of(x1) == 1 else matmul(x1[..., None, :], x2)[..., 0, :]


@implements(np.kron)
def kron(a: Array, b: Array) -> Array:
    """The Kronecker product: each element of `a` times all of `b`, block by block.

    >>> kron(np.array([1, 10]), np.array([1, 2]))
    array([ 1,  2, 10, 20])
    """
    a, b = as_array(a), as_array(b)
    if ndim_of(a) == 0 or ndim_of(b) == 0:
        return np.multiply(a, b)
    ndim = max(ndim_of(a), ndim_of(b))
    shape_a = (1,) * (ndim - ndim_of(a)) + shape_of(a)
    shape_b = (1,) * (ndim - ndim_of(b)) + shape_of(b)
    left = reshape(a, [n for each in shape_a for n in (each, 1)])
    right = reshape(b, [n for each in shape_b for n in (1, each)])
    return reshape(left * right, [m * n for m, n in zip(shape_a, shape_b, strict=True)])


@implements(np.cross)
def cross(
    a: Array,
    b: Array,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Array:
    """The cross product of vectors of three elements; the other axes broadcast.

    A vector of two elements has a third that is zero; of two such, the third element of the
    product alone is returned. NumPy calls these deprecated (`DeprecationWarning`). Raises
    `ValueError` for other lengths.

    >>> cross(np.array([1, 0, 0]), np.array([0, 1, 0]))
    array([0, 0, 1])
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_array(a), as_array(b)
    if ndim_of(a) < 1 or ndim_of(b) < 1:
        raise ValueError("At least one array has zero dimension")
    a = moveaxis(a, normalize_axis(axisa, ndim_of(a)), -1)
    b = moveaxis(b, normalize_axis(axisb, ndim_of(b)), -1)
    lengths = shape_of(a)[-1], shape_of(b)[-1]
    if any(n not in (2, 3) for n in lengths):
        raise ShapeError(
            "incompatible dimensions for cross product\n(dimension must be 2 or 3), "
            f"got {lengths[0]} and {lengths[1]}"
        )
    if 2 in lengths:
        warnings.warn(
            "Arrays of 2-dimensional vectors are deprecated. Use arrays of 3-dimensional vectors "
            "instead. (deprecated in NumPy 2.0)",
            DeprecationWarning,
            stacklevel=2,
        )
    a0, a1, b0, b1 = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    last = a0 * b1 - a1 * b0
    if lengths == (2, 2):
        return last
    if lengths[0] == 2:
        b2 = b[..., 2]
        parts = [a1 * b2, -(a0 * b2), last]
    elif lengths[1] == 2:
        a2 = a[..., 2]
        parts = [-(a2 * b1), a2 * b0, last]
    else:
        a2, b2 = a[..., 2], b[..., 2]
        parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, last]
    shape = shape_of(last)
    return moveaxis(stack([broadcast_to(x, shape) for x in parts], axis=-1), -1, axisc)


def conjugate(x: Array) -> Array:
    """The complex conjugate; a real array as it is, without NumPy's copy."""
    return np.conj(x) if x.dtype.kind == "c" else x


def chain_order(shapes: Sequence[Sequence[int]]) -> Any:
    """The nesting of pairs that multiplies a chain of matrices with the fewest multiplications.

    ((0, 1), 2) says: the first two, then times the third (Cormen et al., "Matrix-chain
    multiplication").
    """
    count = len(shapes)
    sizes = [rows for rows, _ in shapes] + [shapes[-1][1]]
    cost = {(i, i): 0 for i in range(count)}
    nesting: dict[tuple[int, int], Any] = {(i, i): i for i in range(count)}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i, j], k = min(options)
            nesting[i, j] = (nesting[i, k], nesting[k + 1, j])
    return nesting[0, count - 1]


def in_dtype(x: Array, dtype: Any) -> Array:
    """An operand in the dtype that all operands of a product share."""
    return x if x.dtype == dtype else astype(x, dtype)
