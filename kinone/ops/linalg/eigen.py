"""Eigenvalues of any square matrix, and their vectors.

They are complex, and what `spectral` says of equal eigenvalues holds here, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, implements, shape_of
from ..contract import matmul
from ..declare import cast, primitive
from ..samples import Sample, values
from .matrices import (
    adjoint,
    diagonal,
    embedded,
    floating,
    lower,
    real_dtype,
    safe_inverse,
    squares,
)
from .spectral import gaps

EigResult: Any = type(np.linalg.eig(np.eye(1)))


def _eig(a: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors, in complex numbers even where all of them are real."""
    w, v = np.linalg.eig(a)
    dtype = np.result_type(v.dtype, np.complex64)
    return w.astype(dtype), v.astype(dtype)


def _eig_shape(a: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    dtype = np.result_type(floating(a), np.complex64)
    return ShapeDtype(a.shape[:-1], dtype), ShapeDtype(a.shape, dtype)


def _pivots(v: Array) -> tuple[Array, Array]:
    """Where each eigenvector's largest real element is, and 1 / its value.

    LAPACK scales the vectors to length 1, and turns them until their largest element is real; so
    it stays real, and that settles the phase of the derivative.
    """
    if shape_of(v)[-2] == 0:
        return np.zeros(shape_of(v), bool), np.zeros(shape_of(v)[:-1], real_dtype(v.dtype))
    size = np.where(np.imag(v) == 0, np.abs(np.real(v)), 0)
    place = np.argmax(size, axis=-2)
    chosen = np.arange(shape_of(v)[-2])[:, None] == place[..., None, :]
    return chosen, safe_inverse(np.sum(np.where(chosen, np.real(v), 0), axis=-2))


def _eig_vjp(y: tuple[Array, Array], a: Array) -> Any:
    w, v = y

    def pullback(gs: tuple[Array, Array]) -> tuple[Array]:
        of_w, of_v = np.conj(gs[0]), np.conj(gs[1])
        vh = adjoint(v)
        mixed = matmul(vh, of_v)
        own = diagonal(mixed)
        chosen, inverse = _pivots(v)
        rows = matmul(chosen.astype(v.dtype).mT, v)  # of each vector's pivot
        moved = mixed - matmul(vh, v) * np.real(own)[..., None, :]
        moved = moved - 1j * np.conj(rows.mT) * (np.imag(own) * inverse)[..., None, :]
        inner = embedded(of_w) + np.conj(gaps(w)) * moved
        of_a = np.linalg.solve(vh, matmul(inner, vh))
        return (cast(np.conj(of_a), a.dtype),)

    return pullback


def _eig_jvp(y: tuple[Array, Array], a: Array) -> Any:
    w, v = y

    def pushforward(t: Array) -> tuple[Array, Array]:
        e = np.linalg.solve(v, matmul(t, v))
        of_v = matmul(v, gaps(w) * e)
        length = np.sum(np.real(np.conj(v) * of_v), axis=-2)
        chosen, inverse = _pivots(v)
        phase = np.sum(np.where(chosen, np.imag(of_v), 0), axis=-2) * inverse
        return diagonal(e), of_v - v * (length + 1j * phase)[..., None, :]

    return pushforward


eig_p: Primitive = primitive(
    "eig",
    _eig,
    shape=_eig_shape,
    vjp=_eig_vjp,
    jvp=_eig_jvp,
    batch=lambda size, batched, a: eig_p(a),
    multiple=True,
    samples=lambda: [
        Sample((values(3, 3) + np.diag([0.0, 3.0, 6.0]),)),
        Sample((np.array([[1.0, 2.0], [-3.0, 0.5]]),)),
        Sample((lower(values(2, 2, 2)) + 0.3,)),
    ],
)


@implements(np.linalg.eig)
def eig(a: Array) -> Any:
    """Eigenvalues w and eigenvectors V of square matrices: a V = V diag(w).

    Of traced matrices both are complex, for whether all are real is a matter of numbers. The
    vectors have length 1 and a largest element that is real, which settles their derivative; the
    part of equal eigenvalues' vectors is left out.

    >>> w, v = eig(np.array([[2.0, 0.0], [0.0, 3.0]]))
    >>> w
    array([2.+0.j, 3.+0.j])
    """
    return EigResult(*eig_p(squares(a)))


@implements(np.linalg.eigvals)
def eigvals(a: Array) -> Array:
    """The eigenvalues of square matrices, complex for traced ones; see `eig`.

    >>> eigvals(np.array([[2.0, 0.0], [0.0, 3.0]]))
    array([2.+0.j, 3.+0.j])
    """
    return eig(a)[0]
