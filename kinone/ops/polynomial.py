"""Polynomials given by their coefficients, the highest power first: NumPy's `poly…` functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, implements, ndim_of, shape_dtype, shape_of
from .axes import as_array
from .calculus import convolve
from .concrete import is_known, known
from .diagonal import diag
from .joining import concatenate, stack
from .rearrange import atleast_1d
from .shape import astype, ravel


def _coefficients(p: Array) -> Array:
    return ravel(atleast_1d(p))


@implements(np.polyval)
def polyval(p: Array, x: Array) -> Array:
    """The value at `x`, by Horner's rule: p₀ xⁿ⁻¹ + … + pₙ₋₁.

    >>> float(polyval(np.array([1.0, 2.0, 3.0]), 2.0))
    11.0
    """
    x = as_array(x)
    y = np.zeros(shape_of(x), x.dtype)
    for coefficient in as_array(p):
        y = y * x + coefficient
    return y


@implements(np.polyadd)
def polyadd(a1: Array, a2: Array) -> Array:
    """The sum of two polynomials.

    >>> polyadd(np.array([1.0, 2.0]), np.array([3.0]))
    array([1., 5.])
    """
    a1, a2 = atleast_1d(a1), atleast_1d(a2)
    longer = max(shape_of(a1)[0], shape_of(a2)[0])
    return _to_length(a1, longer) + _to_length(a2, longer)


@implements(np.polysub)
def polysub(a1: Array, a2: Array) -> Array:
    """The difference of two polynomials.

    >>> polysub(np.array([1.0, 2.0]), np.array([3.0]))
    array([ 1., -1.])
    """
    a1, a2 = atleast_1d(a1), atleast_1d(a2)
    longer = max(shape_of(a1)[0], shape_of(a2)[0])
    return _to_length(a1, longer) - _to_length(a2, longer)


def _to_length(a: Array, length: int) -> Array:
    missing = length - shape_of(a)[0]
    return concatenate([np.zeros(missing, a.dtype), a]) if missing else a


@implements(np.polymul)
def polymul(a1: Array, a2: Array) -> Array:
    """The product of two polynomials.

    >>> polymul(np.array([1.0, 2.0]), np.array([1.0, -2.0]))
    array([ 1.,  0., -4.])
    """
    return convolve(_trimmed(a1), _trimmed(a2))


def _trimmed(a: Array) -> Array:
    """Without zeros in front, where it can be seen that they are zero; [0] for no coefficients."""
    if ndim_of(a) > 1:
        raise ValueError("Polynomial must be 1d only")
    a = _coefficients(a)
    if shape_of(a)[0] == 0:
        return np.zeros(1, a.dtype)
    if not is_known(a):
        return a
    places = np.flatnonzero(known(a, "np.poly1d"))
    return a[int(places[0]) :] if len(places) else a[-1:]


@implements(np.polydiv)
def polydiv(u: Array, v: Array) -> tuple[Array, Array]:
    """Quotient and remainder of two polynomials.

    Zeros in front of the remainder are left away where it can be seen that they are zero.

    >>> polydiv(np.array([1.0, 0.0, -4.0]), np.array([1.0, 2.0]))
    (array([ 1., -2.]), array([0.]))
    """
    u, v = atleast_1d(u) + 0.0, atleast_1d(v) + 0.0
    dtype = (u[0] + v[0]).dtype
    m = shape_of(v)[0]
    scale = 1.0 / v[0]
    rest, quotient = astype(u, dtype), []
    for _ in range(shape_of(u)[0] - m + 1):
        factor = scale * rest[0]
        quotient.append(factor)
        rest = concatenate([rest[1:m] - factor * v[1:], rest[m:]])
    if shape_of(rest)[0] == 0:
        rest = np.zeros(1, dtype)
    if is_known(rest):
        small = np.isclose(known(rest, "np.polydiv"), 0, rtol=1e-14)
        rest = rest[len(small) - 1 if small.all() else int(np.argmin(small)) :]
    return (stack(quotient) if quotient else np.zeros(1, dtype)), rest


@implements(np.polyder)
def polyder(p: Array, m: int = 1) -> Array:
    """The m-th derivative of a polynomial.

    >>> polyder(np.array([1.0, 0.0, -4.0]))
    array([2., 0.])
    """
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    p = as_array(p)
    for _ in range(m):
        n = shape_of(p)[0] - 1
        p = p[:-1] * np.arange(n, 0, -1)
    return p


@implements(np.polyint)
def polyint(p: Array, m: int = 1, k: Any = None) -> Array:
    """The m-th integral of a polynomial, with the constants `k`.

    >>> polyint(np.array([2.0, 0.0]))
    array([1., 0., 0.])
    """
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = atleast_1d(np.zeros(m) if k is None else k)
    if shape_of(constants)[0] == 1 and m > 1:
        constants = np.broadcast_to(constants, (m,))
    if shape_of(constants)[0] < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    p = as_array(p)
    for i in range(m):
        p = concatenate([p / np.arange(shape_of(p)[0], 0, -1), constants[i : i + 1]])
    return p


@implements(np.poly)
def poly(seq_of_zeros: Array) -> Array:
    """The polynomial with these roots, or the characteristic one of a square matrix.

    >>> poly(np.array([1.0, 2.0]))
    array([ 1., -3.,  2.])
    """
    zeros = atleast_1d(seq_of_zeros)
    shape = shape_of(zeros)
    if len(shape) == 2 and shape[0] == shape[1] != 0:
        matrix = zeros
        zeros = np.linalg.eigvals(matrix)
        real = shape_dtype(matrix).dtype.kind != "c"
    elif len(shape) == 1:
        zeros = astype(zeros, np.dtype(np.mintypecode(zeros.dtype.char)))
        real = zeros.dtype.kind != "c" or _in_pairs(zeros)
        if shape[0] == 0:
            return np.ones(())
    else:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    a: Array = np.ones(1, zeros.dtype)
    for zero in zeros:
        a = convolve(a, stack([np.ones((), zeros.dtype), -zero]))
    return np.real(a) if real and shape_dtype(a).dtype.kind == "c" else a


def _in_pairs(zeros: Array) -> bool:
    """Whether complex roots can be seen to come with their conjugates."""
    if not is_known(zeros):
        return False
    plain = known(zeros, "np.poly")
    return bool(np.all(np.sort(plain) == np.sort(plain.conj())))


@implements(np.roots)
def roots(p: Array) -> Array:
    """The roots of a polynomial, as the eigenvalues of its companion matrix.

    >>> roots(np.array([1.0, -3.0, 2.0]))
    array([2., 1.])
    """
    p = atleast_1d(p)
    if ndim_of(p) != 1:
        raise ValueError("Input must be a rank-1 array.")
    places = np.flatnonzero(known(p, "np.roots"))
    if len(places) == 0:
        return np.array([])
    trailing = shape_of(p)[0] - int(places[-1]) - 1
    p = p[int(places[0]) : int(places[-1]) + 1]
    p = p if p.dtype.kind in "fc" else astype(p, np.float64)
    n = shape_of(p)[0]
    found: Array = np.array([])
    if n > 1:
        below = diag(np.ones(n - 2, p.dtype), -1)
        found = np.linalg.eigvals(concatenate([(-p[1:] / p[0])[None], below[1:]]))
    if trailing:
        found = concatenate([found, np.zeros(trailing, found.dtype)])
    return found


@implements(np.polyfit)
def polyfit(
    x: Array,
    y: Array,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Any = None,
    cov: Any = False,
) -> Array:
    """The polynomial of a degree that fits points best, by least squares.

    Differentiable in `y`, and in `x` and `w`; `full` and `cov` are not served for traced values.

    >>> np.round(polyfit(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]), 1), 6)
    array([2., 1.])
    """
    if full or cov:
        raise ValueError("polyfit of a traced value gives the coefficients alone")
    x, y = as_array(x) + 0.0, as_array(y) + 0.0
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if ndim_of(x) != 1:
        raise TypeError("expected 1D vector for x")
    if shape_of(x)[0] == 0:
        raise TypeError("expected non-empty vector for x")
    if ndim_of(y) not in (1, 2):
        raise TypeError("expected 1D or 2D array for y")
    if shape_of(x)[0] != shape_of(y)[0]:
        raise TypeError("expected x and y to have same length")
    left, right = np.vander(x, deg + 1), y
    if w is not None:
        w = as_array(w) + 0.0
        left = left * w[:, None]
        right = right * (w[:, None] if ndim_of(y) == 2 else w)
    scale = np.sqrt(np.sum(left * left, axis=0))
    cutoff = shape_of(x)[0] * np.finfo(x.dtype).eps if rcond is None else rcond
    solution = np.linalg.lstsq(left / scale, right, cutoff)[0]
    return (solution.T / scale).T
