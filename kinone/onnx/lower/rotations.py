"""QR by reflections; eigenvalues of Hermitian matrices and singular values by rotations.

Functions of stacks of matrices, as in `elimination`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array, shape_of
from ...ops.contract import matmul
from ...ops.linalg.matrices import adjoint, real, real_dtype
from ...ops.products import conjugate
from ...transforms.control.scans import fori_loop
from ...transforms.control.whiles import while_loop
from .elimination import column_of

# ---- QR ------------------------------------------------------------------------------------------


def _reflection(a: Array, k: Array) -> tuple[Array, Array]:
    """v and s for which (1 - s v vᴴ)ᴴ makes column k of `a` zero below row k; 0 where it is so.

    As in LAPACK the diagonal becomes real, of the other sign than before.
    """
    m, n = shape_of(a)[-2:]
    rows = np.arange(m)
    column = np.where(rows >= k, column_of(a, np.arange(n) == k), 0)
    largest = np.max(np.abs(column), axis=-1, keepdims=True)
    scaled = column / np.where(largest == 0, 1, largest).astype(a.dtype)
    length = largest * np.sqrt(np.sum(squares(scaled), axis=-1, keepdims=True))
    head = np.sum(np.where(rows == k, column, 0), axis=-1, keepdims=True)
    needed = np.any(np.where(rows > k, column, 0) != 0, axis=-1, keepdims=True)
    if a.dtype.kind == "c":
        needed = needed | (np.imag(head) != 0)
    end = np.where(real(head) < 0, length, -length).astype(a.dtype)
    v = np.where(rows == k, head - end, column)
    v = np.where(needed, v / np.where(needed, end, 1), 0)  # lest the square overflow
    ahead = np.where(needed, 1 - conjugate(head) / np.where(needed, end, 1), 1)
    return v, np.where(needed, 1 / ahead, 0)[..., 0]


def squares(x: Array) -> Array:
    return x * x if x.dtype.kind != "c" else np.real(x) ** 2 + np.imag(x) ** 2


def reflected(a: Array) -> tuple[Array, Array]:
    """Q, complete, and what it makes of R: a = Q R."""
    m, n = shape_of(a)[-2:]

    def step(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        q, r = state
        v, s = _reflection(r, k)
        v, s = v[..., None], s[..., None, None]
        r = r - conjugate(s) * v * matmul(adjoint(v), r)
        done = (np.arange(m)[:, None] > k) & (np.arange(n) == k)
        return q - s * matmul(q, v) * adjoint(v), np.where(done, 0, r)

    unit = np.broadcast_to(np.eye(m, dtype=a.dtype), (*shape_of(a)[:-2], m, m))
    found: tuple[Array, Array] = fori_loop(0, min(m, n), step, (unit, a))
    return found


def qr(a: Array, *, dtype: Any, complete: bool) -> tuple[Array, ...]:
    """Q and R of tall matrices; if `complete`, also the columns that complete Q."""
    n = shape_of(a)[-1]
    q, r = reflected(a.astype(dtype))
    thin = q[..., :n], r[..., :n, :]
    return (*thin, q[..., n:]) if complete else thin


# ---- rotations -----------------------------------------------------------------------------------
#
# A round turns the neighbours 0 and 1, 2 and 3, … all at once; then all but the first move on by
# one place, as in a tournament, so that n - 1 rounds turn each pair once and are a sweep, after
# which everybody is back in his place. An odd number gets a neighbour of zeros, whom nobody turns.

_SWEEPS = 40  # there are 6 to 10


def _tournament(n: int) -> Array:
    """Who comes to each place after a round."""
    ring = [*range(1, n, 2), *range(n - 2, 0, -2)]  # round the table, but for the first
    order = np.arange(n)
    order[ring] = ring[-1:] + ring[:-1]
    return order


def _angles(p: Array, q: Array, r: Array) -> tuple[Array, Array]:
    """c and s for which columns c·x - s̄·y and s·x + c·y have no product, for |x|² = p, |y|² = q and
    xᴴy = r; of the two the smaller angle."""
    size = np.abs(r)
    nothing = size == 0
    ratio = (q - p) / (2 * np.where(nothing, 1, size))
    tangent = np.where(ratio < 0, -1, 1) / (np.abs(ratio) + np.sqrt(ratio * ratio + 1))
    tangent = np.where(nothing, 0, tangent).astype(p.dtype)
    c = 1 / np.sqrt(tangent * tangent + 1)
    return c.astype(r.dtype), (tangent * c).astype(r.dtype) * (
        r / np.where(nothing, 1, size).astype(r.dtype)
    )


def _turned(x: Array, c: Array, s: Array) -> Array:
    """The columns of x, turned pair by pair."""
    shape = shape_of(x)
    pairs = np.reshape(x, (*shape[:-1], shape[-1] // 2, 2))
    even, odd = pairs[..., 0], pairs[..., 1]
    c, s = c[..., None, :], s[..., None, :]
    turned = np.stack([c * even - conjugate(s) * odd, s * even + c * odd], axis=-1)
    return np.reshape(turned, shape)


def _evened(x: Array, axes: int) -> Array:
    """With a row of zeros at the end of the last axes where their length is odd."""
    odd = shape_of(x)[-1] % 2
    return np.pad(x, [(0, 0)] * (x.ndim - axes) + [(0, odd)] * axes) if odd else x


def _identity(a: Array, n: int) -> Array:
    return np.broadcast_to(np.eye(n, dtype=a.dtype), (*shape_of(a)[:-2], n, n))


def eigh(a: Array, *, dtype: Any) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of the Hermitian part of a matrix."""
    n = shape_of(a)[-1]
    a = a.astype(dtype)
    if n < 2:
        return real(np.sum(a, axis=-1)), _identity(a, n)
    a = 0.5 * (a + adjoint(a))
    scale = _scale(a)[..., 0]
    a = _evened(_scaled(a), 2)
    size = shape_of(a)[-1]
    order, even, off = _tournament(size), np.arange(0, size, 2), ~np.eye(size, dtype=bool)
    tiny = float(np.finfo(dtype).eps) ** 2

    def turn(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        a, v = state
        p, q = real(a[..., even, even]), real(a[..., even + 1, even + 1])
        c, s = _angles(p, q, a[..., even, even + 1])
        a = adjoint(_turned(adjoint(_turned(a, c, s)), c, s))
        return a[..., order, :][..., order], _turned(v, c, s)[..., order]

    def further(state: tuple[Array, Array, Array]) -> Array:
        a, _, sweeps = state
        sizes = squares(a)
        rest = np.sum(np.where(off, sizes, 0), axis=(-2, -1))
        return np.any(rest > tiny * np.sum(sizes, axis=(-2, -1))) & (sweeps < _SWEEPS)

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        a, v, sweeps = state
        a, v = fori_loop(0, size - 1, turn, (a, v))
        return a, v, sweeps + 1

    a, v, _ = while_loop(further, sweep, (a, _identity(a, size), np.zeros((), np.int64)))
    places = np.arange(n)
    w, v = real(a[..., places, places]) * scale, v[..., :n, :n]
    rank = np.argsort(w, axis=-1, kind="stable")
    return (
        np.take_along_axis(w, rank, axis=-1),
        np.take_along_axis(v, np.broadcast_to(rank[..., None, :], shape_of(v)), axis=-1),
    )


def _orthogonal(a: Array) -> tuple[Array, Array]:
    """`a` @ V with columns that have no products, the longest first, and V."""
    n = shape_of(a)[-1]
    a = _evened(a, 1)
    size = shape_of(a)[-1]
    order = _tournament(size)
    tiny = float(np.finfo(a.dtype).eps) * np.sqrt(float(shape_of(a)[-2]))

    def turn(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, v, worst = state
        shape = shape_of(a)
        pairs = np.reshape(a, (*shape[:-1], shape[-1] // 2, 2))
        even, odd = pairs[..., 0], pairs[..., 1]
        p, q = np.sum(squares(even), axis=-2), np.sum(squares(odd), axis=-2)
        r = np.sum(conjugate(even) * odd, axis=-2)
        small = np.abs(r) <= tiny * np.sqrt(p) * np.sqrt(q)
        c, s = _angles(p, q, np.where(small, 0, r))
        return (
            _turned(a, c, s)[..., order],
            _turned(v, c, s)[..., order],
            worst | ~np.all(small),
        )

    def further(state: tuple[Array, ...]) -> Array:
        return state[2] & (state[3] < _SWEEPS)

    def sweep(state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, v, _, sweeps = state
        found = fori_loop(0, size - 1, turn, (a, v, np.zeros((), bool)))
        return (*found, sweeps + 1)

    start = (a, _identity(a, size), np.ones((), bool), np.zeros((), np.int64))
    a, v = while_loop(further, sweep, start)[:2]
    a, v = a[..., :n], v[..., :n, :n]
    rank = np.argsort(-np.sum(squares(a), axis=-2), axis=-1, kind="stable")[..., None, :]
    return (
        np.take_along_axis(a, np.broadcast_to(rank, shape_of(a)), axis=-1),
        np.take_along_axis(v, np.broadcast_to(rank, shape_of(v)), axis=-1),
    )


def svd(a: Array, *, dtype: Any, full: bool) -> tuple[Array, ...]:
    """U, s and Vᴴ of a = U diag(s) Vᴴ; if `full`, also the columns that complete U, the rows V."""
    a = a.astype(dtype)
    m, n = shape_of(a)[-2:]
    if m < n:
        v, s, uh, *rest = svd(adjoint(a), dtype=dtype, full=full)
        return (adjoint(uh), s, adjoint(v), *[adjoint(part) for part in rest[::-1]])
    # The columns that complete U come from reflections, and those of singular values that are 0.
    columns, v = _orthogonal(_scaled(a)) if n > 1 else (a, _identity(a, n))
    q, r = reflected(columns)
    places = np.arange(n)
    s = real(r[..., places, places])
    sign = np.where(s < 0, -1, 1).astype(dtype)
    s = np.abs(s) * (_scale(a)[..., 0] if n > 1 else 1)
    thin = q[..., :n] * sign[..., None, :], s.astype(real_dtype(dtype)), adjoint(v)
    return (*thin, q[..., n:], adjoint(v[..., n:])) if full else thin


def _scale(a: Array) -> Array:
    """The largest |x| of each matrix, 1 where that is 0."""
    largest = np.max(np.abs(a), axis=(-2, -1), keepdims=True)
    return np.where(largest == 0, 1, largest)


def _scaled(a: Array) -> Array:
    return a / _scale(a).astype(a.dtype)
