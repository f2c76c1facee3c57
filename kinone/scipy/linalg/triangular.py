"""Triangular systems, and what a Cholesky factor solves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from ...core import Array, Primitive, ShapeDtype, ndim_of, shape_dtype, shape_of
from ...ops.declare import cast, primitive, unbroadcast
from ...ops.linalg.matrices import adjoint, like_operand, squares
from ...ops.products import conjugate
from ...ops.samples import Sample, values
from .stacks import columns, fit_rows, stacked, widened


def _solve(a: Array, b: Array, *, transposed: bool, lower: bool, unit: bool) -> Array:
    """The solution of a @ x = b, of which one triangle counts; of aᵀ @ x = b if transposed."""

    def one(a: Array, b: Array) -> Array:
        return scipy.linalg.solve_triangular(
            a, b, trans=int(transposed), lower=lower, unit_diagonal=unit
        )

    return stacked(one, _shape, (a, b), (2, 2))


def _shape(a: ShapeDtype, b: ShapeDtype, **params: Any) -> ShapeDtype:
    front = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ShapeDtype((*front, *b.shape[-2:]), widened(a, b))


def _triangle(a: Array, lower: bool, unit: bool) -> Array:
    """What counts of a matrix: a triangle, without the diagonal where that is of ones."""
    count = shape_of(a)[-1]
    below = np.tri(count, k=-1 if unit else 0, dtype=bool)
    return np.where(below if lower else below.T, a, 0)


def _vjp(x: Array, a: Array, b: Array, *, transposed: bool, lower: bool, unit: bool) -> Any:
    a_aval, b_aval = shape_dtype(a), shape_dtype(b)

    def pullback(g: Array) -> tuple[Array, Array]:
        of_b = solve_p(a, g, transposed=not transposed, lower=lower, unit=unit)
        left, right = (x, of_b) if transposed else (of_b, x)
        of_a = -_triangle(np.matmul(left, right.mT), lower, unit)
        return (
            cast(unbroadcast(of_a, a_aval.shape), a_aval.dtype),
            cast(unbroadcast(of_b, b_aval.shape), b_aval.dtype),
        )

    return pullback


def _jvp(x: Array, a: Array, b: Array, *, transposed: bool, lower: bool, unit: bool) -> Any:
    def pushforward(ta: Array, tb: Array) -> Array:
        moved = _triangle(ta, lower, unit)
        rest = tb - np.matmul(moved.mT if transposed else moved, x)
        return solve_p(a, rest, transposed=transposed, lower=lower, unit=unit)

    return pushforward


def _batch(size: int, batched: Sequence[bool], a: Array, b: Array, **params: Any) -> Array:
    if not batched[0] and ndim_of(a) == 2 and ndim_of(b) == 3:
        # One matrix for all: the right-hand sides stand side by side.
        n, count = shape_of(b)[1:]
        together = np.reshape(np.moveaxis(b, 0, 1), (n, size * count))
        found = np.reshape(solve_p(a, together, **params), (n, size, count))
        return np.moveaxis(found, 1, 0)
    return solve_p(*like_operand(size, batched, a, b), **params)


def _samples() -> list[Sample]:
    a, b = values(3, 3) + 4 * np.eye(3), values(3, 2, seed=1)
    flags = ("transposed", "lower", "unit")
    kinds = ((False, True, False), (True, True, False), (False, False, True), (True, False, True))
    many = Sample(
        (values(2, 1, 3, 3) + 4 * np.eye(3), values(4, 3, 1)),
        {"transposed": False, "lower": True, "unit": False},
    )
    return [Sample((a, b), dict(zip(flags, kind, strict=True))) for kind in kinds] + [many]


solve_p: Primitive = primitive(
    "scipy.linalg.solve_triangular",
    _solve,
    shape=_shape,
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    samples=_samples,
)


def solve_triangular(
    a: Array,
    b: Array,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """x with a @ x = b, where one triangle of `a` (…, n, n) counts and the other is not read.

    `b` is (n,) or (…, n, k). With `trans` 1 or "T" the system is aᵀ @ x = b, with 2 or "C" that of
    the conjugate transpose. `unit_diagonal` takes the diagonal for ones. What may be overwritten
    or left unchecked is no matter here. Raises `LinAlgError` for a zero on the diagonal,
    `ValueError` where the shapes do not fit or `trans` is none of these.

    >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 5.0]), lower=True)
    array([1., 1.])
    """
    codes = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2, "H": 2}
    if trans not in codes:
        raise ValueError(f"trans is 0, 1, 2, 'N', 'T' or 'C'; got {trans!r}")
    code = codes[trans]
    a = squares(a)
    b, vector = columns(b)
    fit_rows("solve_triangular", a, b)
    x = solve_p(
        conjugate(a) if code == 2 else a,
        b,
        transposed=code > 0,
        lower=bool(lower),
        unit=bool(unit_diagonal),
    )
    return x[..., 0] if vector else x


def cholesky(
    a: Array, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Array:
    """The Cholesky factor of a Hermitian matrix: U with Uᴴ U = a, or L with L Lᴴ = a if `lower`.

    Raises `LinAlgError` for a matrix that is not positive definite.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 1.],
           [0., 2.]])
    """
    a = squares(a)
    return np.linalg.cholesky(a) if lower else adjoint(np.linalg.cholesky(adjoint(a)))


def cho_factor(
    a: Array, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, bool]:
    """The Cholesky factor for `cho_solve`, and whether it is the lower one.

    >>> factor, lower = cho_factor(np.diag([4.0, 9.0]), lower=True)
    >>> cho_solve((factor, lower), np.array([4.0, 9.0]))
    array([1., 1.])
    """
    return cholesky(a, lower), lower


def cho_solve(
    c_and_lower: tuple[Array, bool], b: Array, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """x with a @ x = b, of the factor that `cho_factor(a)` gave.

    >>> cho_solve(cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]])), np.array([6.0, 7.0]))
    array([1., 1.])
    """
    factor, lower = c_and_lower
    first = solve_triangular(factor, b, trans=0 if lower else 2, lower=lower)
    return solve_triangular(factor, first, trans=2 if lower else 0, lower=lower)
