"""Singular values, eigenvalues of Hermitian matrices, and their vectors.

Where two eigenvalues (or singular values) are equal their vectors are any basis of a plane, and
have no derivative: the part of the rules that would divide by the distance of the two is left out,
as PyTorch and JAX do. The derivative of what does not depend on the choice of the basis, such as
the values themselves or V f(w) Vᴴ for all vectors together, is right for distinct values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, implements, shape_of
from ..arithmetic import stop_gradient
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
    matrices,
    real,
    real_dtype,
    safe_inverse,
    squares,
)

SVDResult: Any = type(np.linalg.svd(np.eye(1)))
EighResult: Any = type(np.linalg.eigh(np.eye(1)))

# ---- singular values -----------------------------------------------------------------------------


def _svd(a: Array, *, full: bool) -> tuple[Array, ...]:
    """U, s and Vᴴ of a = U diag(s) Vᴴ; if `full`, also the columns that complete U, the rows V."""
    u, s, vh = np.linalg.svd(a, full_matrices=full)
    if not full:
        return u, s, vh
    k = s.shape[-1]
    return u[..., :k], s, vh[..., :k, :], u[..., k:], vh[..., k:, :]


def _svd_shape(a: ShapeDtype, *, full: bool) -> tuple[ShapeDtype, ...]:
    *front, m, n = a.shape
    k = min(m, n)
    dtype = floating(a)
    thin = (
        ShapeDtype((*front, m, k), dtype),
        ShapeDtype((*front, k), real_dtype(dtype)),
        ShapeDtype((*front, k, n), dtype),
    )
    if not full:
        return thin
    rest = ShapeDtype((*front, m, m - k), dtype), ShapeDtype((*front, n - k, n), dtype)
    return (*thin, *rest)


def _distances(s: Array) -> Array:
    """1 / (s_j² - s_i²), 0 where the two are equal."""
    row, column = s[..., None, :], s[..., :, None]
    return safe_inverse((row - column) * (row + column))


def _svd_vjp(y: tuple[Array, ...], a: Array, *, full: bool) -> Any:
    """Townsend, "Differentiating the singular value decomposition" (2016); in complex numbers the
    part along the phases of the vectors, too."""
    u, s, vh = y[:3]
    v = adjoint(vh)

    def pullback(gs: tuple[Array, ...]) -> tuple[Array]:
        of_u, of_s, of_v = conjugate(gs[0]), gs[1], conjugate(gs[2]).mT
        of_v = conjugate(of_v)  # the gradient of V, from that of Vᴴ
        if full:
            # The completing vectors turn with the planes that they stand upright on.
            of_u = of_u - matmul(y[3], matmul(adjoint(conjugate(gs[3])), u))
            rest = adjoint(conjugate(gs[4]))
            of_v = of_v - matmul(adjoint(y[4]), matmul(adjoint(rest), v))
        f = _distances(s)
        x, z = matmul(adjoint(u), of_u), matmul(vh, of_v)
        fx, fz = f * x, f * z
        inner = (fx + adjoint(fx)) * s[..., None, :] + s[..., :, None] * (fz + adjoint(fz))
        inner = inner + embedded(of_s)
        inverse = safe_inverse(s)
        if x.dtype.kind == "c":
            inner = inner + embedded(1j * np.imag(diagonal(x)) * inverse)
        of_a = matmul(u, matmul(inner, vh))
        m, n = shape_of(a)[-2:]
        if m > n:
            outside = of_u - matmul(u, x)
            of_a = of_a + matmul(outside * inverse[..., None, :], vh)
        if n > m:
            outside = of_v - matmul(v, z)
            of_a = of_a + matmul(u, adjoint(outside * inverse[..., None, :]))
        return (cast(conjugate(of_a), a.dtype),)

    return pullback


def _svd_jvp(y: tuple[Array, ...], a: Array, *, full: bool) -> Any:
    u, s, vh = y[:3]
    v = adjoint(vh)
    f, inverse = _distances(s), safe_inverse(s)

    def pushforward(t: Array) -> tuple[Array, ...]:
        tv = matmul(t, v)
        e = matmul(adjoint(u), tv)
        right, left = e * s[..., None, :], s[..., :, None] * e
        turned_u, turned_v = f * (right + adjoint(right)), f * (left + adjoint(left))
        if e.dtype.kind == "c":
            turned_u = turned_u + embedded(1j * np.imag(diagonal(e)) * inverse)
        of_u, of_v = matmul(u, turned_u), matmul(v, turned_v)
        m, n = shape_of(a)[-2:]
        if m > n:
            of_u = of_u + (tv - matmul(u, e)) * inverse[..., None, :]
        if n > m:
            tu = matmul(adjoint(t), u)
            of_v = of_v + (tu - matmul(v, adjoint(e))) * inverse[..., None, :]
        thin = of_u, real(diagonal(e)), adjoint(of_v)
        if not full:
            return thin
        rest_u = -matmul(u, matmul(adjoint(of_u), y[3]))
        rest_v = -matmul(matmul(y[4], of_v), vh)
        return (*thin, rest_u, rest_v)

    return pushforward


svd_p: Primitive = primitive(
    "svd",
    _svd,
    shape=_svd_shape,
    vjp=_svd_vjp,
    jvp=_svd_jvp,
    batch=lambda size, batched, a, *, full: svd_p(a, full=full),
    multiple=True,
    samples=lambda: [
        Sample((values(3, 3),), {"full": False}),
        Sample((values(4, 2),), {"full": False}),
        Sample((values(2, 2, 3),), {"full": False}),
        Sample((values(3, 2),), {"full": True}),
        Sample((values(2, 3),), {"full": True}),
    ],
)


@implements(np.linalg.svd)
def svd(
    a: Array, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """The singular value decomposition a = U diag(s) Vᴴ of matrices (…, m, n), s descending.

    Returns `(U, S, Vh)`, or S alone without `compute_uv`. With `full_matrices` U is m × m and Vᴴ
    n × n; the vectors that complete them are an arbitrary basis, and their derivative is that of
    the plane which they span: right for whatever does not depend on the basis, such as the
    projection on the null space. In complex numbers the same holds for the phases of U and V.

    >>> svd(np.array([[3.0, 0.0], [0.0, 4.0]]), compute_uv=False)
    array([4., 3.])
    """
    a = squares(a) if hermitian else matrices(a)
    if hermitian:
        w, u = eigh(a)
        order = np.flip(np.argsort(np.abs(w), axis=-1), -1)
        w = np.take_along_axis(w, order, axis=-1)
        s = np.abs(w)
        if not compute_uv:
            return s
        u = np.take_along_axis(u, order[..., None, :], axis=-1)
        sign = np.where(w < 0, -1.0, 1.0).astype(w.dtype)
        return SVDResult(u, s, adjoint(u * sign[..., None, :]))
    m, n = shape_of(a)[-2:]
    if not compute_uv:
        return svd_p(a, full=False)[1]
    if not full_matrices or m == n:
        return SVDResult(*svd_p(a, full=False))
    u, s, vh, more_u, more_v = svd_p(a, full=True)
    if m > n:
        u = np.concatenate([u, more_u], axis=-1)
    else:
        vh = np.concatenate([vh, more_v], axis=-2)
    return SVDResult(u, s, vh)


@implements(np.linalg.svdvals)
def svdvals(x: Array, /) -> Array:
    """The singular values of matrices (…, m, n), descending.

    >>> svdvals(np.diag([3.0, 4.0]))
    array([4., 3.])
    """
    return svd(x, compute_uv=False)


# ---- eigenvalues of Hermitian matrices -----------------------------------------------------------


def _eigh(a: Array, *, uplo: Any) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of the Hermitian part of a matrix.

    Which triangle LAPACK reads decides the signs of the vectors.
    """
    w, v = np.linalg.eigh(hermitian(np.asarray(a)), uplo)
    return w, v


def _eigh_shape(a: ShapeDtype, *, uplo: str) -> tuple[ShapeDtype, ShapeDtype]:
    dtype = floating(a)
    return ShapeDtype(a.shape[:-1], real_dtype(dtype)), ShapeDtype(a.shape, dtype)


def gaps(w: Array) -> Array:
    """1 / (w_j - w_i), 0 where the two are equal."""
    return safe_inverse(w[..., None, :] - w[..., :, None])


def _eigh_vjp(y: tuple[Array, Array], a: Array, *, uplo: str) -> Any:
    w, v = y

    def pullback(gs: tuple[Array, Array]) -> tuple[Array]:
        inner = embedded(gs[0]) + gaps(w) * matmul(adjoint(v), conjugate(gs[1]))
        of_a = hermitian(matmul(matmul(v, inner), adjoint(v)))
        return (cast(conjugate(of_a), a.dtype),)

    return pullback


def _eigh_jvp(y: tuple[Array, Array], a: Array, *, uplo: str) -> Any:
    w, v = y

    def pushforward(t: Array) -> tuple[Array, Array]:
        e = matmul(matmul(adjoint(v), hermitian(t)), v)
        return real(diagonal(e)), matmul(v, gaps(w) * e)

    return pushforward


eigh_p: Primitive = primitive(
    "eigh",
    _eigh,
    shape=_eigh_shape,
    vjp=_eigh_vjp,
    jvp=_eigh_jvp,
    batch=lambda size, batched, a, *, uplo: eigh_p(a, uplo=uplo),
    multiple=True,
    samples=lambda: [
        Sample((hermitian(values(3, 3)) + np.diag([0.0, 3.0, 6.0]),), {"uplo": "L"}),
        Sample((hermitian(values(2, 2, 2)) + np.diag([0.0, 3.0]),), {"uplo": "U"}),
    ],
)


def triangle(a: Array, uplo: str) -> Array:
    """A Hermitian matrix from one triangle of a matrix, the one that NumPy reads.

    The derivative of a Hermitian matrix is that of the Hermitian part, hence Hermitian itself, as
    everybody expects of `cholesky` and `eigh`. A matrix that is not Hermitian (to half of the
    digits, lest rounding decide) stands for its triangle alone, and the derivative is that of the
    triangle's elements.
    """
    n, dtype = shape_of(a)[-1], floating(a)
    a = a if a.dtype == dtype else a.astype(dtype)  # differences of integers could overflow
    below = np.tri(n, k=-1, dtype=bool)
    other = below.T if uplo == "L" else below
    mirrored = np.where(other, adjoint(a), a)
    fixed = stop_gradient(a)
    apart = np.max(np.abs(fixed - adjoint(fixed)), axis=(-2, -1), initial=0)
    rounding = np.sqrt(np.finfo(dtype).eps).astype(apart.dtype)
    alone = apart > rounding * np.max(np.abs(fixed), axis=(-2, -1), initial=0)
    return np.where(alone[..., None, None], mirrored, a + stop_gradient(mirrored - a))


@implements(np.linalg.eigh)
def eigh(a: Array, UPLO: str = "L") -> Any:
    """Eigenvalues w, ascending, and eigenvectors V of Hermitian matrices: a V = V diag(w).

    `UPLO` says which triangle of `a` is read. The derivative with respect to `a` is Hermitian, as
    if (a + aᴴ) / 2 were taken, where `a` is so, and else that of the triangle; the part of equal
    eigenvalues' vectors is left out.

    >>> w, v = eigh(np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> w
    array([1., 2.])
    """
    uplo = UPLO.upper()
    if uplo not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return EighResult(*eigh_p(triangle(squares(a), uplo), uplo=uplo))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Array, UPLO: str = "L") -> Array:
    """The eigenvalues of Hermitian matrices, ascending; see `eigh`.

    >>> eigvalsh(np.array([[2.0, 0.0], [0.0, 1.0]]))
    array([1., 2.])
    """
    return eigh(a, UPLO)[0]
