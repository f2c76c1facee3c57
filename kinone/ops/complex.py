"""The parts of complex numbers, and what makes a complex number of them.

Derivatives follow one convention, which is JAX's and is explained in docs/complex.md: a cotangent
`g` meets a tangent `t` in Re(g · t), without conjugation. A holomorphic rule is then its own
transpose, and so are the three rules here, although they are not holomorphic:

    real    t → Re t       g → g + 0i, for Re(g · Re t) = Re(g · t) where g is real
    imag    t → Im t       g → -i g,   for Im t = Re(-i t)
    conj    t → conj t     g → conj g, for Re(g · conj t) = Re(conj g · t)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array, ShapeDtype, implements, shape_dtype
from .axes import as_array
from .declare import elementwise
from .samples import Sample, values


def _samples() -> list[Sample]:
    return [
        Sample((values(3, 4) + 1j * values(3, 4, seed=1),)),
        Sample((values(0, 2) + 1j * values(0, 2),)),
    ]


def _part_dtype(x: ShapeDtype) -> np.dtype[Any]:
    """float32 for complex64: the dtype of the parts; that of a real number is its own."""
    return np.zeros((), x.dtype).real.dtype


# np.positive copies: the part alone would be a view with gaps.
real_p = elementwise(
    "real",
    np.real,
    lambda g: g,  # the tangent's real part, by the cast to the result's dtype
    impl=lambda x: np.positive(np.real(x)),
    dtype=_part_dtype,
    samples=_samples,
)
imag_p = elementwise(
    "imag",
    np.imag,
    lambda g: g * -1j,  # the complex number last: Python's before np.float64 makes Python's
    impl=lambda x: np.positive(np.imag(x)),
    dtype=_part_dtype,
    samples=_samples,
)
conj_p = elementwise("conj", np.conj, lambda g: np.conj(g), samples=_samples)


def is_complex(x: Array) -> bool:
    """Whether a value is of a complex dtype."""
    return shape_dtype(x).dtype.kind == "c"


@implements(np.real)
def real(val: Array) -> Array:
    """The real part; of a real number the number itself.

    >>> real(np.array([1 + 2j, 3 - 4j]))
    array([1., 3.])
    """
    val = as_array(val)
    return real_p(val) if is_complex(val) else val


@implements(np.imag)
def imag(val: Array) -> Array:
    """The imaginary part; of a real number 0.

    >>> imag(np.array([1 + 2j, 3 - 4j]))
    array([ 2., -4.])
    """
    val = as_array(val)
    return imag_p(val) if is_complex(val) else np.zeros_like(val)


@implements(np.conj)
def conj(x: Array) -> Array:
    """The complex conjugate; of a real number the number itself.

    >>> conj(np.array([1 + 2j, 3 - 4j]))
    array([1.-2.j, 3.+4.j])
    """
    x = as_array(x)
    # NumPy makes small integers of booleans here.
    return x if x.dtype.kind in "fiu" else conj_p(x)


@implements(np.angle)
def angle(z: Array, deg: bool = False) -> Array:
    """The argument of a complex number, `arctan2(imag, real)`, in radians or degrees.

    >>> float(angle(1j, deg=True))
    90.0
    """
    z = as_array(z)
    found = np.arctan2(imag_p(z), real_p(z)) if is_complex(z) else np.arctan2(0, z)
    return found * (180 / math.pi) if deg else found


@implements(np.iscomplexobj)
def iscomplexobj(x: Array) -> bool:
    """Whether the dtype is complex, whatever the numbers are.

    >>> iscomplexobj(np.array([2 + 0j]))
    True
    """
    return is_complex(as_array(x))


@implements(np.isrealobj)
def isrealobj(x: Array) -> bool:
    """Whether the dtype is not complex.

    >>> isrealobj(np.array([2 + 0j]))
    False
    """
    return not is_complex(as_array(x))


@implements(np.iscomplex)
def iscomplex(x: Array) -> Array:
    """Where the imaginary part is not zero.

    >>> iscomplex(np.array([1 + 1j, 2 + 0j]))
    array([ True, False])
    """
    return imag(x) != 0


@implements(np.isreal)
def isreal(x: Array) -> Array:
    """Where the imaginary part is zero.

    >>> isreal(np.array([1 + 1j, 2 + 0j]))
    array([False,  True])
    """
    return imag(x) == 0


@implements(np.real_if_close)
def real_if_close(a: Array, tol: float = 100) -> Array:
    """The real part where all imaginary parts are close to zero, else the numbers as they are.

    `tol` counts in machine epsilons, or is absolute where it is at most 1. The dtype depends on
    the numbers, so vmap and tracing to a program raise `TracerConversionError`.

    >>> real_if_close(np.array([1 + 1e-20j, 2 + 0j]))
    array([1., 2.])
    """
    a = as_array(a)
    if not is_complex(a):
        return a
    if tol > 1:
        tol = float(np.finfo(a.dtype).eps) * tol
    small = np.abs(imag_p(a)) < tol
    return real_p(a) if np.all(small) else a
