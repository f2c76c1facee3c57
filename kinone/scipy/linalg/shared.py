"""What NumPy's `linalg` has too: SciPy's own on plain arrays, NumPy's rules on traced values.

The options that say how SciPy works (`overwrite_a`, `check_finite`, `driver`, …) are no matter for
traced values; one that asks for another result and has no rule raises `MissingRuleError`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ... import source
from ...core import Array, ndim_of, shape_of
from ...errors import MissingRuleError
from ...ops.axes import as_array
from ...ops.plain import composed


def _refuse(name: str, **options: Any) -> None:
    """Raises for an option that asks for what has no rule."""
    for key, value in options.items():
        if value is not None and value is not False:
            raise MissingRuleError(
                f"scipy.linalg.{name} has no rule for {key}={value!r} on traced values, "
                f"at {source.here()}"
            )


@composed(scipy.linalg.det)
def det(a: Array, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The determinants of square matrices.

    >>> det(np.diag([2.0, 3.0]))
    np.float64(6.0)
    """
    return np.linalg.det(a)


@composed(scipy.linalg.inv)
def inv(a: Array, overwrite_a: bool = False, check_finite: bool = True, **structure: Any) -> Array:
    """The inverses of square matrices; `assume_a` and `lower` need all of a traced one.

    >>> inv(np.diag([2.0, 4.0]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    _refuse("inv", **structure)
    return np.linalg.inv(a)


@composed(scipy.linalg.solve)
def solve(
    a: Array,
    b: Array,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Array:
    """x with a @ x = b, or aᵀ @ x = b if `transposed`; a traced `a` is read as a whole.

    >>> solve(np.diag([2.0, 4.0]), np.array([1.0, 1.0]))
    array([0.5 , 0.25])
    """
    if assume_a not in (None, "gen", "general"):
        # Of a symmetric matrix one triangle is read, so the other has no derivative.
        a = _filled(a, lower, assume_a)
    a = as_array(a)
    return np.linalg.solve(a.mT if transposed else a, b)


def _filled(a: Array, lower: bool, kind: str) -> Array:
    """The matrix that SciPy takes the triangle that it reads for."""
    if kind not in ("sym", "symmetric", "her", "hermitian", "pos", "positive definite"):
        _refuse("solve", assume_a=kind)
    half, rest = (np.tril(a), np.tril(a, -1)) if lower else (np.triu(a), np.triu(a, 1))
    other = rest.mT
    return half + (other if kind in ("sym", "symmetric") else np.conj(other))


@composed(scipy.linalg.pinv)
def pinv(
    a: Array,
    *,
    atol: Any = None,
    rtol: Any = None,
    return_rank: bool = False,
    check_finite: bool = True,
) -> Array:
    """The pseudo-inverse; singular values up to `rtol` times the largest count as 0.

    >>> pinv(np.array([[2.0], [0.0]]))
    array([[0.5, 0. ]])
    """
    _refuse("pinv", atol=atol, return_rank=return_rank)
    if rtol is None:
        rtol = max(shape_of(a)[-2:]) * float(np.finfo(a.dtype).eps)
    return np.linalg.pinv(a, rtol)


@composed(scipy.linalg.norm)
def norm(
    a: Array,
    ord: Any = None,
    axis: Any = None,
    keepdims: bool = False,
    check_finite: bool = True,
) -> Array:
    """Norms of vectors and matrices; of all elements where there is neither `ord` nor `axis`.

    >>> norm(np.array([3.0, 4.0]))
    5.0
    """
    return np.linalg.norm(a, ord, axis, keepdims)


@composed(scipy.linalg.eigh)
def eigh(
    a: Array,
    b: Array | None = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    **how: Any,
) -> Any:
    """Eigenvalues and eigenvectors of a Hermitian matrix; not of a pair of traced ones.

    >>> eigh(np.diag([2.0, 3.0]))[0]
    array([2., 3.])
    """
    _refuse("eigh", b=b, subset_by_index=subset_by_index, subset_by_value=subset_by_value)
    side: Any = "L" if lower else "U"
    if eigvals_only:
        return np.linalg.eigvalsh(a, side)
    found = np.linalg.eigh(a, side)
    return found[0], found[1]


@composed(scipy.linalg.eigvalsh)
def eigvalsh(a: Array, b: Array | None = None, *, lower: bool = True, **how: Any) -> Array:
    """The eigenvalues of a Hermitian matrix.

    >>> eigvalsh(np.diag([2.0, 3.0]))
    array([2., 3.])
    """
    return eigh(a, b, lower=lower, eigvals_only=True, **how)


@composed(scipy.linalg.svd)
def svd(
    a: Array,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """The singular value decomposition (U, s, Vᴴ), or s alone.

    >>> svd(np.diag([2.0, 3.0]), compute_uv=False)
    array([3., 2.])
    """
    if not compute_uv:
        return np.linalg.svd(a, compute_uv=False)
    return tuple(np.linalg.svd(a, full_matrices))


@composed(scipy.linalg.svdvals)
def svdvals(a: Array, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The singular values, largest first.

    >>> svdvals(np.diag([2.0, 3.0]))
    array([3., 2.])
    """
    return np.linalg.svd(a, compute_uv=False)


_QR = {"full": "complete", "economic": "reduced", "r": "r"}


@composed(scipy.linalg.qr)
def qr(
    a: Array,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> Any:
    """The decomposition a = Q R; `(R,)` for `mode="r"`, as in SciPy.

    >>> [factor.shape for factor in qr(np.ones((3, 2)), mode="economic")]
    [(3, 2), (2, 2)]
    """
    _refuse("qr", pivoting=pivoting, mode=None if mode in _QR else mode)
    numpys: Any = _QR[mode]
    if mode == "r":
        # NumPy's is of the small form; SciPy's has the rows of zeros of the large one.
        factor = np.linalg.qr(a, "r")
        missing = shape_of(a)[-2] - shape_of(factor)[-2]
        return (np.pad(factor, [(0, 0)] * (ndim_of(a) - 2) + [(0, missing), (0, 0)]),)
    found = np.linalg.qr(a, numpys)
    return found[0], found[1]


@composed(scipy.linalg.block_diag)
def block_diag(*arrs: Array) -> Array:
    """The matrix with these blocks on its diagonal, and zeros elsewhere.

    >>> block_diag(np.ones((1, 2)), 3.0)
    array([[1., 1., 0.],
           [0., 0., 3.]])
    """
    blocks = [np.atleast_2d(as_array(each)) for each in arrs]
    widths = [shape_of(each)[1] for each in blocks]
    rows = [
        np.pad(each, [(0, 0), (sum(widths[:i]), sum(widths[i + 1 :]))])
        for i, each in enumerate(blocks)
    ]
    return np.concatenate(rows, axis=0)
