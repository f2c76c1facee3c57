"""Least squares: the pseudo-inverse, `lstsq`, and the rank and condition of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from ..arithmetic import stop_gradient
from ..axes import as_array
from ..contract import matmul
from ..declare import cast, primitive
from ..products import conjugate
from ..samples import Sample, values
from .matrices import LinAlgError, adjoint, floating, matrices, real, real_dtype, squares
from .norms import norm
from .solve import inv
from .spectral import svd

# ---- pseudo-inverse ------------------------------------------------------------------------------


def _pinv(a: Array, *, rcond: float, hermitian: bool) -> Array:
    """The pseudo-inverse, in which singular values up to rcond · the largest count as 0."""
    return np.linalg.pinv(a, rcond=rcond, hermitian=hermitian)


def _complements(y: Array, a: Array) -> tuple[Array, Array]:
    """The projections on what `a` does not reach, 1 - a a⁺, and on what it maps to 0, 1 - a⁺ a."""
    m, n = shape_of(a)[-2:]
    return np.eye(m, dtype=y.dtype) - matmul(a, y), np.eye(n, dtype=y.dtype) - matmul(y, a)


def _pinv_vjp(y: Array, a: Array, *, rcond: float, hermitian: bool) -> Any:
    def pullback(g: Array) -> tuple[Array]:
        gh = adjoint(conjugate(g))
        yh = adjoint(y)
        unreached, unseen = _complements(y, a)
        of_a = matmul(matmul(unreached, gh), matmul(y, yh))
        of_a = of_a + matmul(matmul(matmul(yh, y), gh), unseen)
        of_a = of_a - matmul(matmul(yh, adjoint(gh)), yh)
        return (cast(conjugate(of_a), a.dtype),)

    return pullback


def _pinv_jvp(y: Array, a: Array, *, rcond: float, hermitian: bool) -> Any:
    """Golub and Pereyra, "The differentiation of pseudo-inverses" (1973), for a constant rank."""

    def pushforward(t: Array) -> Array:
        th, yh = adjoint(t), adjoint(y)
        unreached, unseen = _complements(y, a)
        moved = matmul(matmul(y, yh), matmul(th, unreached))
        moved = moved + matmul(matmul(unseen, th), matmul(yh, y))
        return moved - matmul(matmul(y, t), y)

    return pushforward


pinv_p: Primitive = primitive(
    "pinv",
    _pinv,
    shape=lambda a, *, rcond, hermitian: ShapeDtype(
        (*a.shape[:-2], a.shape[-1], a.shape[-2]), floating(a)
    ),
    vjp=_pinv_vjp,
    jvp=_pinv_jvp,
    batch=lambda size, batched, a, *, rcond, hermitian: pinv_p(a, rcond=rcond, hermitian=hermitian),
    samples=lambda: [
        Sample((values(3, 2),), {"rcond": 1e-15, "hermitian": False}),
        Sample((values(2, 2, 3),), {"rcond": 1e-15, "hermitian": False}),
        Sample((values(2, 2),), {"rcond": 1e-6, "hermitian": False}),
    ],
)


@implements(np.linalg.pinv)
def pinv(a: Array, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Array:
    """The Moore-Penrose pseudo-inverses of matrices (…, m, n).

    Singular values up to `rcond` (`rtol`) times the largest count as 0. The derivative supposes
    that the rank stays as it is.

    >>> pinv(np.diag([4.0, 0.0]))
    array([[0.25, 0.  ],
           [0.  , 0.  ]])
    """
    a = matrices(a)
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if 0 in shape_of(a)[-2:]:
        return np.swapaxes(a, -1, -2)  # in its own dtype, for nothing is computed
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
    if rcond is None:
        rcond = max(shape_of(a)[-2:]) * float(np.finfo(floating(shape_dtype(a))).eps)
    if np.ndim(rcond) == 0:
        return pinv_p(a, rcond=float(rcond), hermitian=bool(hermitian))
    # A threshold for each matrix of the stack.
    u, s, vh = svd(a, full_matrices=False, hermitian=hermitian)
    large = s > np.asarray(rcond)[..., None] * np.max(s, axis=-1, keepdims=True)
    inverse = np.where(large, 1 / np.where(large, s, 1), 0)
    return matmul(adjoint(vh) * inverse[..., None, :], adjoint(u))


@implements(np.linalg.lstsq)
def lstsq(a: Array, b: Array, rcond: float | None = None) -> tuple[Array, Array, Array, Array]:
    """The x of least ‖a x - b‖, for one matrix (m, n) and `b` (m,) or (m, k).

    Returns `(x, residuals, rank, singular values)` as NumPy does. The shape of a traced result
    cannot depend on numbers: the residuals, ‖a x - b‖² for each column, are there whenever
    m > n, also where the rank is less than n. The derivative supposes that the rank stays as it
    is. Raises `LinAlgError` when the shapes do not fit.

    >>> x, *_ = lstsq(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> np.round(x, 6)
    array([1., 2.])
    """
    a, b = as_array(a), as_array(b)
    columns = b[:, None] if ndim_of(b) == 1 else b
    for each in (a, columns):
        if ndim_of(each) != 2:
            raise LinAlgError(
                f"{ndim_of(each)}-dimensional array given. Array must be two-dimensional"
            )
    m, n = shape_of(a)
    if shape_of(columns)[0] != m:
        raise LinAlgError("Incompatible dimensions")
    dtype = floating(shape_dtype(a), shape_dtype(b))
    a, columns = a.astype(dtype), columns.astype(dtype)
    if rcond is None:
        rcond = float(np.finfo(dtype).eps) * max(m, n)
    elif rcond < 0:
        rcond = float(np.finfo(dtype).eps)
    x = matmul(pinv(a, rcond=rcond), columns)
    missed = columns - matmul(a, x)
    residuals: Array = np.zeros(0, real_dtype(dtype))
    if m > n:
        residuals = np.sum(real(conjugate(missed) * missed), axis=0)
    s = svd(a, compute_uv=False)
    rank = matrix_rank(a, rtol=rcond)
    return (x[:, 0] if ndim_of(b) == 1 else x), residuals, rank, s


# ---- rank and condition --------------------------------------------------------------------------


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Array, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Array:
    """The number of singular values above `tol`, or above `rtol` times the largest; constant.

    >>> int(matrix_rank(np.array([[1.0, 2.0], [2.0, 4.0]])))
    1
    """
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    A = stop_gradient(as_array(A))
    if ndim_of(A) < 2:
        return np.any(A != 0).astype(np.intp)
    s = svd(A, compute_uv=False, hermitian=hermitian)
    if tol is not None:
        limit = as_array(tol)[..., None]
    else:
        if rtol is None:
            limit = max(shape_of(A)[-2:]) * float(np.finfo(s.dtype).eps)
        else:
            limit = as_array(rtol)[..., None]
        limit = np.max(s, axis=-1, keepdims=True, initial=0) * limit
    return np.sum(s > limit, axis=-1)


@implements(np.linalg.cond)
def cond(x: Array, p: Any = None) -> Array:
    """How much a matrix can enlarge relative errors: ‖x‖ · ‖x⁻¹‖ in the norm `p`.

    None and 2 stand for the ratio of the largest to the smallest singular value, -2 for its
    inverse. That of a singular matrix is infinite. Raises `LinAlgError` for empty matrices.

    >>> float(cond(np.diag([4.0, 2.0])))
    2.0
    """
    x = matrices(x)
    if 0 in shape_of(x)[-2:]:
        raise LinAlgError("cond is not defined on empty arrays")
    if p is None or p in (2, -2):
        s = svd(x, compute_uv=False)
        above, below = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
        singular = below == 0
        found = above / np.where(singular, 1, below)
    else:
        x = squares(x)
        # By the factors with which `inv` would find out: it has no result for the whole stack.
        singular = np.linalg.slogdet(stop_gradient(x))[0] == 0
        unit = np.eye(shape_of(x)[-1], dtype=floating(x))
        regular = np.where(singular[..., None, None], unit, x)
        found = norm(x, p, axis=(-2, -1)) * norm(inv(regular), p, axis=(-2, -1))
    lost = singular | np.isnan(found)
    return np.where(lost & ~np.any(np.isnan(x), axis=(-2, -1)), np.inf, found)
