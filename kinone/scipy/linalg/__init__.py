"""`scipy.linalg` on plain arrays, with derivatives on traced values.

What NumPy's `linalg` has too is NumPy's, with its derivatives, where the two agree (`det`, `inv`,
`pinv`, `norm`, `solve`, `eigh`, …). What has no rule is SciPy's own, and raises for traced values.
"""

from typing import Any

import scipy.linalg as _theirs

from .banded import solve_banded
from .functions import expm, solve_sylvester, sqrtm
from .shared import block_diag, det, eigh, eigvalsh, inv, norm, pinv, qr, solve, svd, svdvals
from .triangular import cho_factor, cho_solve, cholesky, solve_triangular


def __getattr__(name: str) -> Any:
    """What has no rule is SciPy's own."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_theirs, name)


__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "det",
    "eigh",
    "eigvalsh",
    "expm",
    "inv",
    "norm",
    "pinv",
    "qr",
    "solve",
    "solve_banded",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "svd",
    "svdvals",
]
