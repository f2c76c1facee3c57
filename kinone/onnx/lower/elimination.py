"""Systems, inverses, determinants and Cholesky's triangle, by elimination.

Functions of stacks of matrices. Rows and columns are chosen by masks and not by indices, so that
every step is the same operation on all matrices of a stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array, shape_of
from ...ops.contract import matmul
from ...ops.linalg.matrices import adjoint, real, real_dtype, safe_inverse
from ...ops.products import conjugate
from ...transforms.control.scans import fori_loop

# ---- elimination ---------------------------------------------------------------------------------


def _magnitude(x: Array) -> Array:
    """What pivots are compared by: |x|, or |Re x| + |Im x| as in LAPACK."""
    return np.abs(x) if x.dtype.kind != "c" else np.abs(np.real(x)) + np.abs(np.imag(x))


def column_of(x: Array, chosen: Array) -> Array:
    """The column (…, n) of the only place where a mask (n,) is true."""
    return np.sum(np.where(chosen, x, 0), axis=-1)


def row_of(x: Array, chosen: Array) -> Array:
    """The row of the only place where a mask (…, n) is true."""
    return np.sum(np.where(chosen[..., None], x, 0), axis=-2)


def eliminated(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """The upper triangle U and what becomes of `b` when multiples of rows are taken from the rows
    below; and whether each matrix's rows changed places an odd number of times."""
    n = shape_of(a)[-1]
    rows = np.arange(n)

    def step(k: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b, odd = state
        here = rows == k
        column = column_of(a, here)
        size = np.where(rows >= k, _magnitude(column), -1)
        pivot = rows == np.argmax(size, axis=-1)[..., None]
        of_a, of_b = row_of(a, pivot), row_of(b, pivot)
        moved = ~np.any(pivot & here, axis=-1)
        a = _exchanged(a, here, pivot, of_a)
        b = _exchanged(b, here, pivot, of_b)
        column = column_of(a, here)
        head = np.sum(np.where(here, column, 0), axis=-1, keepdims=True)
        nothing = head == 0
        factor = np.where(rows > k, column / np.where(nothing, 1, head), 0)
        a = a - factor[..., None] * of_a[..., None, :]
        b = b - factor[..., None] * of_b[..., None, :]
        return np.where(here & (rows > k)[:, None], 0, a), b, odd ^ moved

    start = np.zeros(shape_of(a)[:-2], bool)
    found: tuple[Array, Array, Array] = fori_loop(0, n, step, (a, b, start))
    return found


def _exchanged(x: Array, here: Array, pivot: Array, of_pivot: Array) -> Array:
    """Two rows in each other's place."""
    own = row_of(x, here)
    x = np.where(pivot[..., None], own[..., None, :], x)
    return np.where(here[:, None], of_pivot[..., None, :], x)


def substituted(u: Array, b: Array) -> Array:
    """x with u @ x = b, for an upper triangle `u`, from the last row up."""
    n = shape_of(u)[-1]
    rows = np.arange(n)

    def step(i: Array, x: Array) -> Array:
        here = rows == n - 1 - i
        row = row_of(u, here)
        head = np.sum(np.where(here, row, 0), axis=-1)[..., None]
        known = matmul(np.where(here, 0, row)[..., None, :], x)[..., 0, :]
        value = (row_of(b, here) - known) / head
        return np.where(here[:, None], value[..., None, :], x)

    zeros = u[..., :, :1] * 0 + b * 0
    solved: Array = fori_loop(0, n, step, zeros)
    return solved


def solve(a: Array, b: Array, *, dtype: Any) -> Array:
    """x with a @ x = b."""
    a, b = a.astype(dtype), b.astype(dtype)
    front = np.broadcast_shapes(shape_of(a)[:-2], shape_of(b)[:-2])
    a = np.broadcast_to(a, (*front, *shape_of(a)[-2:]))
    b = np.broadcast_to(b, (*front, *shape_of(b)[-2:]))
    if 0 in shape_of(b)[-2:]:
        return b
    u, b, _ = eliminated(a, b)
    return substituted(u, b)


def inv(a: Array, *, dtype: Any) -> Array:
    """The inverse of matrices."""
    return solve(a, np.eye(shape_of(a)[-1], dtype=dtype), dtype=dtype)


def _pivots(a: Array, dtype: Any) -> tuple[Array, Array]:
    """The diagonal after elimination, and 1 or -1 for the order of the rows."""
    u, _, odd = eliminated(a.astype(dtype), a[..., :0].astype(dtype))
    rows = np.arange(shape_of(a)[-1])
    return u[..., rows, rows], np.where(odd, -1, 1).astype(dtype)


def det(a: Array, *, dtype: Any) -> Array:
    """The determinant."""
    if shape_of(a)[-1] == 0:
        return np.ones(shape_of(a)[:-2], dtype)
    diagonal, sign = _pivots(a, dtype)
    return sign * np.prod(diagonal, axis=-1)


def slogdet(a: Array, *, dtype: Any) -> tuple[Array, Array]:
    """Sign, or phase, and logarithm of the absolute value of the determinant."""
    if shape_of(a)[-1] == 0:
        front = shape_of(a)[:-2]
        return np.ones(front, dtype), np.zeros(front, real_dtype(dtype))
    diagonal, sign = _pivots(a, dtype)
    size = np.abs(diagonal)
    phase = np.sign(diagonal) if dtype.kind != "c" else diagonal * safe_inverse(size)
    return sign * np.prod(phase, axis=-1), np.sum(np.log(size), axis=-1)


# ---- Cholesky ------------------------------------------------------------------------------------


def cholesky(a: Array, *, dtype: Any) -> Array:
    """The lower triangle L with L Lᴴ = the Hermitian part of a matrix."""
    a = a.astype(dtype)
    a = 0.5 * (a + adjoint(a))
    n = shape_of(a)[-1]
    rows = np.arange(n)

    def step(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, triangle = state
        here = rows == k
        column = np.where(rows >= k, column_of(rest, here), 0)
        head = np.sqrt(real(np.sum(np.where(here, column, 0), axis=-1, keepdims=True)))
        column = np.where(here, head.astype(dtype), column / head.astype(dtype))
        triangle = np.where(here, column[..., None], triangle)
        return rest - column[..., None] * conjugate(column)[..., None, :], triangle

    if n == 0:
        return a
    _, triangle = fori_loop(0, n, step, (a, a * 0))
    found: Array = triangle
    return found
