"""`np.linalg` on traced values: systems, decompositions, norms, products.

All functions work on stacks of matrices, (…, m, n), and have derivatives of every order, for
complex matrices too.
"""

from .chains import cross, matrix_power, multi_dot, outer
from .eigen import eig, eigvals
from .factor import cholesky, qr
from .norms import matrix_norm, norm, vector_norm
from .pseudo import cond, lstsq, matrix_rank, pinv
from .solve import det, inv, slogdet, solve, tensorinv, tensorsolve
from .spectral import eigh, eigvalsh, svd, svdvals

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vector_norm",
]
