"""What the rules of linear algebra are written with: adjoints, triangles, dtypes, checks.

All of `np.linalg` works on stacks of matrices, (…, m, n); the batch axis of `vmap` is one more of
the axes in front, so most batching rules are the operation itself.

Derivatives of complex matrices follow the convention of the library: the cotangent `g` of `x` is
the one for which Re Σ g·t is the change of the loss, without a conjugate. The textbooks' gradient,
with Re Σ conj(ḡ)·t, is its conjugate. Rules whose formula is known from textbooks conjugate what
comes in and what goes out, which for real matrices does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array, ShapeDtype, shape_of
from ..axes import as_array
from ..declare import result_type
from ..products import conjugate

LinAlgError = np.linalg.LinAlgError

_DOUBLE = np.dtype(np.float64)


def floating(*avals: ShapeDtype) -> np.dtype[Any]:
    """The dtype in which `np.linalg` answers: integers and booleans count as float64.

    Raises `TypeError` for float16.
    """
    if any(a.dtype == np.float16 for a in avals):
        raise TypeError("array type float16 is unsupported in linalg")
    wide = [a if a.dtype.kind in "fc" else ShapeDtype(a.shape, _DOUBLE) for a in avals]
    return result_type(*[ShapeDtype(a.shape, a.dtype) for a in wide])


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 of complex64, and so on."""
    return np.zeros((), dtype).real.dtype


def matrices(a: Array) -> Array:
    """An operand that is a matrix or a stack of them. Raises `LinAlgError` for fewer axes."""
    a = as_array(a)
    if len(shape_of(a)) < 2:
        raise LinAlgError(
            f"{len(shape_of(a))}-dimensional array given. Array must be at least two-dimensional"
        )
    return a


def squares(a: Array) -> Array:
    """An operand that is a square matrix or a stack of them. Raises `LinAlgError` otherwise."""
    a = matrices(a)
    rows, columns = shape_of(a)[-2:]
    if rows != columns:
        raise LinAlgError(
            f"Last 2 dimensions of the array must be square, got {rows} and {columns}"
        )
    return a


def adjoint(x: Array) -> Array:
    """The conjugate transpose of the last two axes."""
    return conjugate(x).mT


def real(x: Array) -> Array:
    """The real part."""
    return np.real(x) if x.dtype.kind == "c" else x


def hermitian(x: Array) -> Array:
    """(x + xᴴ) / 2."""
    return 0.5 * (x + adjoint(x))


def lower(x: Array, offset: int = 0) -> Array:
    """The lower triangle; `offset` -1 leaves the diagonal away."""
    rows, columns = shape_of(x)[-2:]
    return np.where(np.tri(rows, columns, offset, dtype=bool), x, 0)


def diagonal(x: Array) -> Array:
    """The diagonal of the last two axes."""
    positions = np.arange(min(shape_of(x)[-2:]))
    return x[..., positions, positions]


def embedded(d: Array) -> Array:
    """The matrix with this diagonal."""
    return np.where(np.eye(shape_of(d)[-1], dtype=bool), d[..., None, :], 0)


def safe_inverse(x: Array) -> Array:
    """1 / x, and 0 where x is 0: what has no derivative there passes none."""
    zero = x == 0
    return np.where(zero, 0, 1 / np.where(zero, 1, x))


def like_operand(size: int, batched: Sequence[bool], *xs: Array) -> list[Array]:
    """Operands of a batch that broadcast as matrices do: those with fewer axes get more."""
    ndim = max([len(shape_of(x)) - flag for x, flag in zip(xs, batched, strict=True)])
    found = []
    for x, flag in zip(xs, batched, strict=True):
        shape = shape_of(x)
        missing = ndim + 1 - len(shape) if flag else 0
        found.append(np.reshape(x, (size, *[1] * missing, *shape[1:])) if missing else x)
    return found
