"""Linear algebra, of which ONNX has products alone: the textbooks' algorithms as loops.

    systems, determinants, inverses     elimination with pivots in rows
    Cholesky                            column by column
    QR                                  Householder's reflections, with LAPACK's signs
    eigenvalues of Hermitian matrices   Jacobi's rotations, all pairs of rows in turn
    singular values                     the same rotations of the columns (Hestenes)

They are Kinone functions of stacks of matrices, in real and in complex numbers; they stand in
`elimination` and `rotations`. A loop is one node whatever the size of the matrices. Where NumPy
raises `LinAlgError`, for a singular matrix or one that is not positive definite, there is nobody to
raise: the result has infinities and NaNs.

Eigenvectors and singular vectors are those of LAPACK but for their signs (phases, in complex
numbers), and for the basis of equal values' planes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Array, shape_of
from ...ops.contract import matmul
from ...ops.linalg.matrices import adjoint
from ...ops.products import conjugate
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Lowered, cannot, lowers, lowers_complex, through
from .common import out
from .elimination import cholesky, det, inv, slogdet, solve
from .rotations import eigh, qr, svd


def pinv(a: Array, *, dtype: Any, rcond: float, hermitian: bool) -> Array:
    """The pseudo-inverse, in which singular values up to rcond · the largest count as 0."""
    u, s, vh = svd(a, dtype=dtype, full=False)
    large = s > rcond * np.max(s, axis=-1, keepdims=True)
    inverse = np.where(large, 1 / np.where(large, s, 1), 0).astype(dtype)
    return matmul(adjoint(vh) * inverse[..., None, :], adjoint(u))


def cofactors(a: Array, *, dtype: Any) -> Array:
    """The matrix of cofactors, by singular values, so that of singular matrices, too."""
    n = shape_of(a)[-1]
    if n == 0:
        return a.astype(dtype)
    u, s, vh = svd(a, dtype=dtype, full=False)
    others = np.prod(np.where(np.eye(n, dtype=bool), 1, s[..., None, :]), axis=-1)
    phase = det(u, dtype=dtype) * det(vh, dtype=dtype)
    return phase[..., None, None] * matmul(
        conjugate(u) * others.astype(dtype)[..., None, :], conjugate(vh)
    )


# ---- the rules -----------------------------------------------------------------------------------


def _rule(fun: Callable[..., Any]) -> Callable[..., Any]:
    def rule(b: Builder, step: Step, *operands: Lowered) -> Any:
        params = {key: value for key, value in step.params.items() if key != "uplo"}
        if fun in (eigh, svd):
            b.note(f"the vectors of {fun.__name__} may have other signs than LAPACK's")
        dtype = out(step, 1 if fun is eigh else 0)[1]  # that of matrices
        found = through(b, fun, *operands, dtype=dtype, **params)
        return found if step.primitive.multiple else found[0]

    return rule


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "solve": solve,
    "inv": inv,
    "det": det,
    "slogdet": slogdet,
    "cholesky": cholesky,
    "qr": qr,
    "eigh": eigh,
    "svd": svd,
    "pinv": pinv,
    "cofactors": cofactors,
}
for _name, _fun in _FUNCTIONS.items():
    lowers(_name)(_rule(_fun))
    lowers_complex(_name)(_rule(_fun))

cannot("the eigenvalues of any square matrix need LAPACK's whole algorithm; eigh is there", "eig")
