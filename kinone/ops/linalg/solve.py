"""Linear systems, inverses and determinants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from ...errors import ShapeError
from ..axes import as_array
from ..contract import matmul
from ..declare import cast, primitive, unbroadcast
from ..products import conjugate, cross
from ..samples import Sample, values
from .matrices import (
    LinAlgError,
    diagonal,
    embedded,
    floating,
    like_operand,
    real,
    real_dtype,
    squares,
)
from .spectral import svd_p

SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


def well_conditioned(*shape: int, seed: int = 0) -> Array:
    """A sample's matrices: random ones, with a diagonal that keeps them far from singular."""
    return values(*shape, seed=seed) + 4.0 * np.eye(shape[-1])


# ---- solve ---------------------------------------------------------------------------------------


def _solve_shape(a: ShapeDtype, b: ShapeDtype) -> ShapeDtype:
    front = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ShapeDtype((*front, *b.shape[-2:]), floating(a, b))


def _solve_vjp(x: Array, a: Array, b: Array) -> Any:
    a_aval, b_aval = shape_dtype(a), shape_dtype(b)

    def pullback(g: Array) -> tuple[Array, Array]:
        of_b = solve_p(a.mT, g)
        of_a = -matmul(of_b, x.mT)
        return (
            cast(unbroadcast(of_a, a_aval.shape), a_aval.dtype),
            cast(unbroadcast(of_b, b_aval.shape), b_aval.dtype),
        )

    return pullback


def _solve_batch(size: int, batched: Sequence[bool], a: Array, b: Array) -> Array:
    if not batched[0] and ndim_of(a) == 2 and ndim_of(b) == 3:
        # One matrix for all: it is decomposed once, for the right-hand sides side by side.
        n, columns = shape_of(b)[1:]
        together = np.reshape(np.moveaxis(b, 0, 1), (n, size * columns))
        return np.moveaxis(np.reshape(solve_p(a, together), (n, size, columns)), 1, 0)
    return solve_p(*like_operand(size, batched, a, b))


solve_p: Primitive = primitive(
    "solve",
    lambda a, b: np.linalg.solve(a, b),
    shape=_solve_shape,
    vjp=_solve_vjp,
    jvp=lambda x, a, b: lambda ta, tb: solve_p(a, tb - matmul(ta, x)),
    batch=_solve_batch,
    samples=lambda: [
        Sample((well_conditioned(3, 3), values(3, 2, seed=1))),
        Sample((well_conditioned(2, 1, 2, 2), values(3, 2, 1, seed=1))),
        Sample((well_conditioned(2, 2), values(2, 2, 1, seed=1))),
    ],
)


@implements(np.linalg.solve)
def solve(a: Array, b: Array) -> Array:
    """x with a @ x = b, for matrices `a` (…, n, n) and `b` (n,) or (…, n, k).

    As in NumPy 2, `b` is a vector if it has one axis, and else a stack of matrices. Raises
    `LinAlgError` for singular matrices, `ValueError` when the shapes do not fit.

    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
    array([1. , 0.5])
    """
    a, b = squares(a), as_array(b)
    if ndim_of(b) == 0:
        raise ShapeError("solve: the right-hand side has no axes")
    rows = shape_of(b)[0] if ndim_of(b) == 1 else shape_of(b)[-2]
    if rows != shape_of(a)[-1]:
        raise ShapeError(
            f"solve: a matrix of {shape_of(a)} does not fit a right-hand side of {shape_of(b)}"
        )
    if ndim_of(b) == 1:
        return solve_p(a, b[:, None])[..., 0]
    return solve_p(a, b)


# ---- inverse -------------------------------------------------------------------------------------

inv_p: Primitive = primitive(
    "inv",
    lambda a: np.linalg.inv(a),
    shape=lambda a: ShapeDtype(a.shape, floating(a)),
    vjp=lambda y, a: lambda g: (-matmul(matmul(y.mT, g), y.mT),),
    jvp=lambda y, a: lambda t: -matmul(matmul(y, t), y),
    batch=lambda size, batched, a: inv_p(a),
    samples=lambda: [Sample((well_conditioned(3, 3),)), Sample((well_conditioned(2, 2, 2),))],
)


@implements(np.linalg.inv)
def inv(a: Array) -> Array:
    """The inverses of square matrices (…, n, n). Raises `LinAlgError` for singular ones.

    `solve(a, b)` is faster and more accurate than `inv(a) @ b`.

    >>> inv(np.diag([2.0, 4.0]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    return inv_p(squares(a))


# ---- determinant ---------------------------------------------------------------------------------


def _cofactors(a: Array) -> Array:
    """The matrix of cofactors, the derivative of the determinant: det(a) · a⁻ᵀ where a⁻¹ exists."""
    a = np.asarray(a)
    if a.shape[-1] == 0:
        return a.astype(floating(shape_dtype(a)))
    try:
        # The two share their factors, so what is wrong with a small determinant cancels.
        inverse = np.linalg.inv(a)
        return np.linalg.det(a)[..., None, None] * inverse.mT
    except LinAlgError:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        others = np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(-1)
        phase = np.linalg.det(u) * np.linalg.det(vh)
        return phase[..., None, None] * ((u * others[..., None, :]).conj() @ vh.conj())


def _without_two(s: Array) -> Array:
    """∏ s_k over all k but i and j, in a matrix; the diagonal is 0."""
    n = shape_of(s)[-1]
    eye = np.eye(n, dtype=bool)
    if n > 64:  # the products of n³ factors would take too much memory
        whole = np.prod(s, axis=-1)[..., None, None]
        return np.where(eye, 0, whole / (s[..., :, None] * s[..., None, :]))
    left_out = eye[:, None, :] | eye[None, :, :]
    products = np.prod(np.where(left_out, 1, s[..., None, None, :]), axis=-1)
    return np.where(eye, 0, products)


def _cofactors_derivative(a: Array, t: Array) -> Array:
    """How the cofactors move along `t`, without a division, so for singular matrices too.

    With a = U Σ Vᴴ, e = Uᴴ t V and p_ij the product of all singular values but two, the adjugate
    moves by det(U Vᴴ) V (diag(p diag(e)) - e ∘ p) Uᴴ. As a map of `t` to a matrix of cofactors it
    is its own transpose.
    """
    u, s, vh = svd_p(a, full=False)[:3]
    phase = det_p(u) * det_p(vh)
    e = matmul(matmul(conjugate(u).mT, t), conjugate(vh).mT)
    p = _without_two(s)
    moved = embedded(matmul(p.astype(e.dtype), diagonal(e)[..., None])[..., 0]) - e * p
    adjugate = matmul(matmul(conjugate(vh).mT, moved), conjugate(u).mT)
    return phase[..., None, None] * adjugate.mT


cofactors_p: Primitive = primitive(
    "cofactors",
    _cofactors,
    shape=lambda a: ShapeDtype(a.shape, floating(a)),
    vjp=lambda y, a: lambda g: (cast(_cofactors_derivative(a, g), a.dtype),),
    jvp=lambda y, a: lambda t: _cofactors_derivative(a, t),
    batch=lambda size, batched, a: cofactors_p(a),
    samples=lambda: [Sample((well_conditioned(3, 3),)), Sample((values(2, 2, 2),))],
)


def _derivative(a: Array) -> Array:
    """The cofactors, of small matrices by their polynomials, of which all derivatives are right."""
    n = shape_of(a)[-1]
    if n == 3:
        first, second, third = (a[..., i, :] for i in range(3))
        rows = [cross(second, third), cross(third, first), cross(first, second)]
        return np.stack(rows, axis=-2)
    if n == 2:
        signs = np.array([[1, -1], [-1, 1]], a.dtype)
        return np.flip(a, (-2, -1)) * signs
    return np.ones_like(a) if n == 1 else cofactors_p(a)


det_p: Primitive = primitive(
    "det",
    lambda a: np.linalg.det(a),
    shape=lambda a: ShapeDtype(a.shape[:-2], floating(a)),
    vjp=lambda y, a: lambda g: (cast(g[..., None, None] * _derivative(a), a.dtype),),
    jvp=lambda y, a: lambda t: np.sum(_derivative(a) * t, axis=(-2, -1)),
    batch=lambda size, batched, a: det_p(a),
    samples=lambda: [
        Sample((well_conditioned(3, 3),)),
        Sample((values(2, 2, 2),)),
        Sample((values(1, 1),)),
        Sample((well_conditioned(4, 4),)),
    ],
)


@implements(np.linalg.det)
def det(a: Array) -> Array:
    """The determinants of square matrices (…, n, n).

    The derivative is the matrix of cofactors, which exists for singular matrices too, and so has a
    derivative. Those of third order and higher are right up to 3 × 3 always, and for larger
    matrices where the singular values are distinct.

    >>> from kinone import grad
    >>> grad(np.linalg.det)(np.zeros((1, 1)))
    array([[1.]])
    """
    return det_p(squares(a))


def _slogdet(a: Array) -> tuple[Array, Array]:
    """Sign, or phase, and logarithm of the absolute value of the determinant."""
    sign, logarithm = np.linalg.slogdet(a)
    return sign, logarithm


def _slogdet_shape(a: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    dtype = floating(a)
    return ShapeDtype(a.shape[:-2], dtype), ShapeDtype(a.shape[:-2], real_dtype(dtype))


def _slogdet_vjp(y: tuple[Array, Array], a: Array) -> Any:
    sign = y[0]

    def pullback(gs: tuple[Array, Array]) -> tuple[Array]:
        of_sign, of_logarithm = gs
        g = of_logarithm
        if sign.dtype.kind == "c":  # the phase turns with the imaginary part of d ln det
            g = g + 1j * np.imag(of_sign * sign)
        return (cast(g[..., None, None] * inv_p(a).mT, a.dtype),)

    return pullback


def _slogdet_jvp(y: tuple[Array, Array], a: Array) -> Any:
    sign = y[0]

    def pushforward(t: Array) -> tuple[Array, Array]:
        moved = np.sum(inv_p(a).mT * t, axis=(-2, -1))
        if sign.dtype.kind != "c":
            return np.zeros_like(moved), moved
        return sign * (1j * np.imag(moved)), real(moved)

    return pushforward


slogdet_p: Primitive = primitive(
    "slogdet",
    _slogdet,
    shape=_slogdet_shape,
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    batch=lambda size, batched, a: slogdet_p(a),
    multiple=True,
    samples=lambda: [Sample((well_conditioned(3, 3),)), Sample((well_conditioned(2, 2, 2),))],
)


@implements(np.linalg.slogdet)
def slogdet(a: Array) -> Any:
    """Sign and natural logarithm of the absolute value of determinants: `(sign, logabsdet)`.

    The derivative of the logarithm is a⁻ᵀ; of a singular matrix there is none, and asking for it
    raises `LinAlgError`.

    >>> sign, logarithm = slogdet(np.diag([-1.0, 1.0]))
    >>> float(sign), float(logarithm)
    (-1.0, 0.0)
    """
    return SlogdetResult(*slogdet_p(squares(a)))


# ---- systems of more than two axes ---------------------------------------------------------------


@implements(np.linalg.tensorinv)
def tensorinv(a: Array, ind: int = 2) -> Array:
    """The inverse of the map that `tensordot(a, ·, ind)` is.

    >>> tensorinv(2.0 * np.eye(4).reshape(2, 2, 2, 2)).shape
    (2, 2, 2, 2)
    """
    a = as_array(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = shape_of(a)
    size = math.prod(shape[ind:])
    rows = math.prod(shape[:ind])
    return np.reshape(inv(np.reshape(a, (rows, size))), (*shape[ind:], *shape[:ind]))


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Array, b: Array, axes: Any = None) -> Array:
    """x with `tensordot(a, x, x.ndim) == b`; `axes` of `a` are moved to its end before.

    >>> tensorsolve(2.0 * np.eye(4).reshape(2, 2, 2, 2), np.ones((2, 2)))
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    a, b = as_array(a), as_array(b)
    order = list(range(ndim_of(a)))
    for k in axes or ():
        order.remove(k)
        order.append(k)
    a = np.transpose(a, order)
    shape = shape_of(a)[ndim_of(b) :]
    size = math.prod(shape)
    if math.prod(shape_of(a)) != size**2:
        raise LinAlgError(
            "Input arrays must satisfy the requirement "
            "prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    return np.reshape(solve(np.reshape(a, (size, size)), np.ravel(b)), shape)
