"""The factorizations into triangles: Cholesky and QR."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ... import source
from ...core import Array, Primitive, ShapeDtype, implements, shape_of
from ...errors import MissingRuleError
from ..contract import matmul
from ..declare import cast, primitive
from ..products import conjugate
from ..samples import Sample, values
from .matrices import (
    adjoint,
    diagonal,
    embedded,
    floating,
    hermitian,
    lower,
    matrices,
    squares,
)
from .spectral import triangle

QRResult: Any = type(np.linalg.qr(np.eye(1)))

# ---- Cholesky ------------------------------------------------------------------------------------


def _cholesky(a: Array) -> Array:
    """The lower triangle L with L Lᴴ = the Hermitian part of a matrix."""
    return np.linalg.cholesky(hermitian(np.asarray(a)))


def _half_lower(x: Array) -> Array:
    """The lower triangle with half of the diagonal: what Φ is called in the literature."""
    half = np.tri(shape_of(x)[-1]) - 0.5 * np.eye(shape_of(x)[-1])
    return x * half.astype(x.dtype)


def _cholesky_vjp(y: Array, a: Array) -> Any:
    """Murray, "Differentiation of the Cholesky decomposition" (2016)."""

    def pullback(g: Array) -> tuple[Array]:
        inner = _half_lower(matmul(adjoint(y), conjugate(g)))
        upper = adjoint(y)
        right = adjoint(np.linalg.solve(upper, adjoint(inner)))  # inner L⁻¹
        return (cast(conjugate(hermitian(np.linalg.solve(upper, right))), a.dtype),)

    return pullback


def _cholesky_jvp(y: Array, a: Array) -> Any:
    def pushforward(t: Array) -> Array:
        left = np.linalg.solve(y, hermitian(t))
        return matmul(y, _half_lower(np.linalg.solve(y, adjoint(left))))

    return pushforward


def _positive(*shape: int) -> Array:
    """A sample's Hermitian matrices, positive definite by a large diagonal."""
    return hermitian(values(*shape)) + 5.0 * np.eye(shape[-1])


cholesky_p: Primitive = primitive(
    "cholesky",
    _cholesky,
    shape=lambda a: ShapeDtype(a.shape, floating(a)),
    vjp=_cholesky_vjp,
    jvp=_cholesky_jvp,
    batch=lambda size, batched, a: cholesky_p(a),
    samples=lambda: [Sample((_positive(3, 3),)), Sample((_positive(2, 2, 2),))],
)


@implements(np.linalg.cholesky)
def cholesky(a: Array, /, *, upper: bool = False) -> Array:
    """The lower triangle L with a = L Lᴴ, of Hermitian positive definite matrices.

    With `upper` the upper triangle, Lᴴ, of which that of `a` is read. The derivative with respect
    to `a` is Hermitian, as `eigh` says. Raises `LinAlgError` where `a` is not positive definite.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    y = cholesky_p(triangle(squares(a), "U" if upper else "L"))
    return adjoint(y) if upper else y


# ---- QR ------------------------------------------------------------------------------------------


def _qr(a: Array, *, complete: bool) -> tuple[Array, ...]:
    """Q and R of a = Q R, of tall or square matrices; if `complete`, also the columns that complete
    Q to a square."""
    if not complete:
        q, r = np.linalg.qr(a)
        return q, r
    q, r = np.linalg.qr(a, mode="complete")
    n = r.shape[-1]
    return q[..., :n], r[..., :n, :], q[..., n:]


def _qr_shape(a: ShapeDtype, *, complete: bool) -> tuple[ShapeDtype, ...]:
    *front, m, n = a.shape
    dtype = floating(a)
    thin = ShapeDtype((*front, m, n), dtype), ShapeDtype((*front, n, n), dtype)
    return (*thin, ShapeDtype((*front, m, m - n), dtype)) if complete else thin


def _skew(x: Array) -> Array:
    """The skew-Hermitian matrix with the lower triangle of `x` and its imaginary diagonal."""
    below = lower(x, -1)
    made = below - adjoint(below)
    if x.dtype.kind == "c":
        made = made + embedded(1j * np.imag(diagonal(x)))
    return made


def _qr_jvp(y: tuple[Array, ...], a: Array, *, complete: bool) -> Any:
    """Walter and Lehmann, "Algorithmic differentiation of linear algebra functions" (2018)."""
    q, r = y[:2]

    def pushforward(t: Array) -> tuple[Array, ...]:
        scaled = adjoint(np.linalg.solve(adjoint(r), adjoint(t)))  # t R⁻¹
        inside = matmul(adjoint(q), scaled)
        turn = _skew(inside)
        of_q = scaled + matmul(q, turn - inside)
        of_r = matmul(inside - turn, r)
        if not complete:
            return of_q, of_r
        return of_q, of_r, -matmul(q, matmul(adjoint(of_q), y[2]))

    return pushforward


def _qr_vjp(y: tuple[Array, ...], a: Array, *, complete: bool) -> Any:
    q, r = y[:2]

    def pullback(gs: tuple[Array, ...]) -> tuple[Array]:
        of_q, of_r = conjugate(gs[0]), conjugate(gs[1])
        if complete:
            # The completing columns turn with the plane that they stand upright on.
            of_q = of_q - matmul(y[2], matmul(adjoint(conjugate(gs[2])), q))
        both = matmul(adjoint(q), of_q) - matmul(of_r, adjoint(r))
        # The transpose of `_skew`, of Qᴴ q̄ - r̄ Rᴴ.
        turn = lower(both - adjoint(both), -1)
        if q.dtype.kind == "c":
            turn = turn + embedded(1j * np.imag(diagonal(both)))
        scaled = of_q + matmul(q, turn - both)
        return (cast(conjugate(adjoint(np.linalg.solve(r, adjoint(scaled)))), a.dtype),)

    return pullback


qr_p: Primitive = primitive(
    "qr",
    _qr,
    shape=_qr_shape,
    vjp=_qr_vjp,
    jvp=_qr_jvp,
    batch=lambda size, batched, a, *, complete: qr_p(a, complete=complete),
    multiple=True,
    samples=lambda: [
        Sample((values(3, 3),), {"complete": False}),
        Sample((values(4, 2),), {"complete": False}),
        Sample((values(2, 3, 2),), {"complete": False}),
        Sample((values(3, 2),), {"complete": True}),
    ],
)


@implements(np.linalg.qr)
def qr(a: Array, mode: str = "reduced") -> Any:
    """a = Q R, with orthonormal columns in Q and the upper triangle R, of matrices (…, m, n).

    `mode` is "reduced" (Q is m × k and R k × n for k = min(m, n)), "complete" (m × m and m × n) or
    "r" (R alone). The derivative supposes that the first k columns of `a` are independent. The
    columns that complete Q are an arbitrary basis; their derivative is that of the plane which
    they span, right for whatever does not depend on the basis. Raises `ValueError` for another
    mode; "raw", LAPACK's own form, has no derivative and raises `MissingRuleError`.

    >>> q, r = qr(np.array([[2.0, 1.0], [0.0, 3.0]]))
    >>> np.abs(r)
    array([[2., 1.],
           [0., 3.]])
    """
    if mode in ("f", "full", "e", "economic"):
        warnings.warn(f"The {mode!r} option is deprecated.", DeprecationWarning, stacklevel=2)
    elif mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    if mode in ("raw", "e", "economic"):
        raise MissingRuleError(
            f"np.linalg.qr in mode {mode!r} has no rule for traced values, at {source.here()}\n"
            '  Write mode="reduced", whose Q and R are those that the raw form stands for.'
        )
    a = matrices(a)
    m, n = shape_of(a)[-2:]
    if mode == "complete" and m > n:
        q, r, more = qr_p(a, complete=True)
        shape = (*shape_of(a)[:-2], m - n, n)
        below = np.zeros(shape, r.dtype)
        return QRResult(np.concatenate([q, more], -1), np.concatenate([r, below], -2))
    if m >= n:
        q, r = qr_p(a, complete=False)
    else:
        q, left = qr_p(a[..., :m], complete=False)
        r = np.concatenate([left, matmul(adjoint(q), a[..., m:])], -1)
    return r if mode == "r" else QRResult(q, r)
