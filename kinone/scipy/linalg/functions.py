"""Sylvester's equation, and functions of matrices: square root and exponential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...errors import ShapeError
from ...ops.axes import as_array
from ...ops.declare import cast, primitive, unbroadcast
from ...ops.linalg.matrices import like_operand, matrices, squares
from ...ops.samples import Sample, values
from .stacks import stacked, widened

# ---- a @ x + x @ b = q ---------------------------------------------------------------------------


def _sylvester(a: Array, b: Array, q: Array) -> Array:
    """The solution x of a @ x + x @ b = q, (…, m, n) for a of (…, m, m) and b of (…, n, n)."""

    return stacked(scipy.linalg.solve_sylvester, _sylvester_shape, (a, b, q), (2, 2, 2))


def _sylvester_shape(a: ShapeDtype, b: ShapeDtype, q: ShapeDtype) -> ShapeDtype:
    front = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], q.shape[:-2])
    return ShapeDtype((*front, *q.shape[-2:]), widened(a, b, q))


def _sylvester_vjp(x: Array, a: Array, b: Array, q: Array) -> Any:
    avals = [shape_dtype(each) for each in (a, b, q)]

    def pullback(g: Array) -> tuple[Array, ...]:
        of_q = sylvester_p(a.mT, b.mT, g)
        found = (-np.matmul(of_q, x.mT), -np.matmul(x.mT, of_q), of_q)
        return tuple(
            [
                cast(unbroadcast(each, aval.shape), aval.dtype)
                for each, aval in zip(found, avals, strict=True)
            ]
        )

    return pullback


def _sylvester_jvp(x: Array, a: Array, b: Array, q: Array) -> Any:
    return lambda ta, tb, tq: sylvester_p(a, b, tq - np.matmul(ta, x) - np.matmul(x, tb))


def _sylvester_batch(size: int, batched: Sequence[bool], *xs: Array) -> Array:
    return sylvester_p(*like_operand(size, batched, *xs))


sylvester_p: Primitive = primitive(
    "scipy.linalg.solve_sylvester",
    _sylvester,
    shape=_sylvester_shape,
    vjp=_sylvester_vjp,
    jvp=_sylvester_jvp,
    batch=_sylvester_batch,
    samples=lambda: [
        Sample((values(3, 3) + 4 * np.eye(3), values(2, 2) + 3 * np.eye(2), values(3, 2, seed=1))),
        Sample((values(2, 2, 2) + 4 * np.eye(2), values(1, 1) + 3, values(2, 1, seed=1))),
    ],
)


def solve_sylvester(a: Array, b: Array, q: Array) -> Array:
    """x with a @ x + x @ b = q, for a (…, m, m), b (…, n, n) and q (…, m, n).

    There is one where no eigenvalue of `a` is minus one of `b`. Raises `ValueError` where the
    shapes do not fit.

    >>> solve_sylvester(np.eye(2), np.eye(2), np.array([[2.0, 4.0], [6.0, 8.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    a, b, q = squares(a), squares(b), matrices(q)
    if (a.shape[-1], b.shape[-1]) != q.shape[-2:]:
        raise ShapeError(
            f"solve_sylvester: {a.shape} and {b.shape} do not fit a right-hand side of {q.shape}"
        )
    return sylvester_p(a, b, q)


# ---- the square root -----------------------------------------------------------------------------


def _sqrtm(a: Array) -> Array:
    """The principal square root of square matrices (…, n, n), complex where some of them is."""
    a = np.asarray(a)
    dtype = widened(shape_dtype(a))
    found = np.zeros(a.shape, dtype)
    for place in np.ndindex(a.shape[:-2]) if a.size else ():
        root = np.asarray(scipy.linalg.sqrtm(a[place].astype(dtype)))
        if root.dtype.kind == "c" and found.dtype.kind != "c":
            found = found.astype(np.result_type(dtype, np.complex64))
        found[place] = root
    return found


sqrtm_p: Primitive = primitive(
    "scipy.linalg.sqrtm",
    _sqrtm,
    shape=lambda a: ShapeDtype(a.shape, widened(a)),
    vjp=lambda y, a: lambda g: (cast(sylvester_p(y.mT, y.mT, g), a.dtype),),
    jvp=lambda y, a: lambda t: sylvester_p(y, y, t),
    batch=lambda size, batched, a: sqrtm_p(a),
    samples=lambda: [
        # Triangular, so that the integers and booleans that are made of them have a root.
        Sample((np.triu(values(3, 3)) + 4 * np.eye(3),)),
        Sample((np.triu(values(2, 2, 2)) + 5 * np.eye(2),)),
    ],
)


def sqrtm(A: Array) -> Array:
    """The principal square root of square matrices (…, n, n): r with r @ r = a.

    That of a real matrix with a negative eigenvalue is complex, which depends on values: in a
    compiled program pass `a.astype(complex)`, for there a real matrix has a real root.

    >>> sqrtm(np.diag([4.0, 9.0]))
    array([[2., 0.],
           [0., 3.]])
    """
    return sqrtm_p(squares(A))


# ---- the exponential -----------------------------------------------------------------------------


def _expm(a: Array) -> Array:
    """The exponential of square matrices (…, n, n)."""
    a = np.asarray(a)
    dtype = widened(shape_dtype(a))
    return scipy.linalg.expm(a.astype(dtype)) if a.size else np.zeros(a.shape, dtype)


def _moved(a: Array, t: Array) -> Array:
    """How exp(a) moves along t: the corner of exp [[a, t], [0, a]] (Van Loan 1978). As a map of t
    it is transposed by transposing a."""
    count = a.shape[-1]
    top = np.concatenate([a, t], axis=-1)
    bottom = np.concatenate([np.zeros_like(t), a], axis=-1)
    return expm_p(np.concatenate([top, bottom], axis=-2))[..., :count, count:]


expm_p: Primitive = primitive(
    "scipy.linalg.expm",
    _expm,
    shape=lambda a: ShapeDtype(a.shape, widened(a)),
    vjp=lambda y, a: lambda g: (cast(_moved(a.mT, g), a.dtype),),
    jvp=lambda y, a: lambda t: _moved(a, t),
    batch=lambda size, batched, a: expm_p(a),
    samples=lambda: [Sample((values(3, 3),)), Sample((values(2, 2, 2),))],
)


def expm(A: Array) -> Array:
    """The exponential Σ aᵏ/k! of square matrices (…, n, n).

    >>> expm(np.zeros((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """
    return expm_p(squares(as_array(A)))
