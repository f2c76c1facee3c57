"""Banded systems, in LAPACK's storage: `ab[u + i - j, j]` is element (i, j) of the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from ...core import Array, Primitive, ShapeDtype, shape_dtype, shape_of
from ...errors import ShapeError
from ...ops.axes import as_array
from ...ops.declare import cast, primitive, unbroadcast
from ...ops.linalg.matrices import like_operand
from ...ops.samples import Sample, values
from .stacks import columns, fit_rows, stacked, widened


def _solve(ab: Array, b: Array, *, below: int) -> Array:
    """The solution of a @ x = b for a banded matrix with `below` diagonals below its main one."""

    def one(ab: Array, b: Array) -> Array:
        return scipy.linalg.solve_banded((below, len(ab) - 1 - below), ab, b)

    return stacked(one, _shape, (ab, b), (2, 2))


def _shape(ab: ShapeDtype, b: ShapeDtype, **params: Any) -> ShapeDtype:
    front = np.broadcast_shapes(ab.shape[:-2], b.shape[:-2])
    return ShapeDtype((*front, *b.shape[-2:]), widened(ab, b))


def _band(count: int, below: int, above: int) -> Array:
    """Which places of the storage are elements of the matrix; the corners are not."""
    row = np.arange(below + above + 1)[:, None] - above + np.arange(count)  # i = r - u + j
    return (row >= 0) & (row < count)


def _transposed(ab: Array, below: int) -> Array:
    """The storage of the transposed matrix, in which the diagonals stand in reverse order."""
    above = shape_of(ab)[-2] - 1 - below
    ab = np.where(_band(shape_of(ab)[-1], below, above), ab, 0)
    rows = [
        np.roll(ab[..., below + above - r, :], below - r, axis=-1) for r in range(below + above + 1)
    ]
    return np.stack(rows, axis=-2)


def _times(ab: Array, x: Array, below: int) -> Array:
    """a @ x, diagonal by diagonal."""
    above = shape_of(ab)[-2] - 1 - below
    ab = np.where(_band(shape_of(ab)[-1], below, above), ab, 0)
    terms = [np.roll(ab[..., r, :, None] * x, r - above, axis=-2) for r in range(below + above + 1)]
    return sum(terms[1:], terms[0])


def _outer(u: Array, x: Array, below: int, above: int) -> Array:
    """The band of u @ xᵀ."""
    rows = [np.sum(np.roll(u, above - r, axis=-2) * x, axis=-1) for r in range(below + above + 1)]
    return np.where(_band(shape_of(x)[-2], below, above), np.stack(rows, axis=-2), 0)


def _vjp(x: Array, ab: Array, b: Array, *, below: int) -> Any:
    ab_aval, b_aval = shape_dtype(ab), shape_dtype(b)
    above = ab_aval.shape[-2] - 1 - below

    def pullback(g: Array) -> tuple[Array, Array]:
        of_b = solve_p(_transposed(ab, below), g, below=above)
        of_ab = -_outer(of_b, x, below, above)
        return (
            cast(unbroadcast(of_ab, ab_aval.shape), ab_aval.dtype),
            cast(unbroadcast(of_b, b_aval.shape), b_aval.dtype),
        )

    return pullback


def _batch(size: int, batched: Sequence[bool], ab: Array, b: Array, *, below: int) -> Array:
    return solve_p(*like_operand(size, batched, ab, b), below=below)


def _samples() -> list[Sample]:
    def matrix(*shape: int, main: int) -> Array:
        return values(*shape) + 6 * (np.arange(shape[-2]) == main)[:, None]

    return [
        Sample((matrix(3, 5, main=1), values(5, 2, seed=1)), {"below": 1}),
        Sample((matrix(4, 5, main=1), values(5, 1, seed=1)), {"below": 2}),
        Sample((matrix(2, 1, 2, 4, main=1), values(2, 4, 2, seed=1)), {"below": 0}),
    ]


solve_p: Primitive = primitive(
    "scipy.linalg.solve_banded",
    _solve,
    shape=_shape,
    vjp=_vjp,
    jvp=lambda x, ab, b, *, below: (
        lambda tab, tb: solve_p(ab, tb - _times(tab, x, below), below=below)
    ),
    batch=_batch,
    samples=_samples,
)


def solve_banded(
    l_and_u: tuple[int, int],
    ab: Array,
    b: Array,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """x with a @ x = b, for a matrix with `l` diagonals below and `u` above its main one.

    `ab` (…, l + u + 1, n) holds the diagonals as rows, `ab[u + i - j, j] == a[i, j]`; its corners
    outside of the matrix are not read. `b` is (n,) or (…, n, k). Raises `LinAlgError` for a
    singular matrix, `ValueError` where the shapes do not fit.

    >>> ab = np.array([[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]])  # the upper diagonal, and the main one
    >>> solve_banded((0, 1), ab, np.array([3.0, 3.0, 2.0]))
    array([1., 1., 1.])
    """
    below, above = (int(n) for n in l_and_u)
    ab = as_array(ab)
    b, vector = columns(b)
    if len(shape_of(ab)) < 2 or shape_of(ab)[-2] != below + above + 1:
        raise ShapeError(
            f"solve_banded: {below} diagonals below and {above} above the main one are "
            f"{below + above + 1} rows; ab has the shape {shape_of(ab)}"
        )
    fit_rows("solve_banded", ab, b)
    x = solve_p(ab, b, below=below)
    return x[..., 0] if vector else x
