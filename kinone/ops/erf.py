"""The error function and its complement, of real numbers, with NumPy alone.

    erf(x) = 2/√π ∫₀ˣ e^-t² dt        erfc(x) = 1 - erf(x)

On each of five intervals a quotient of polynomials in x², |x| - 1 or 1/x²; the coefficients are
those of FDLIBM's s_erf.c (Sun Microsystems, 1993; the C libraries of FreeBSD and musl have them
too), whose error is below one unit in the last place. They are computed in float64 and rounded. For
float32 a quotient and a polynomial of our own are enough, and several times as fast.

`kinone.scipy.special.erf` is SciPy's own function, which takes complex numbers too and is what
NumPy calls for `scipy.special.erf(tracer)`; it is there where SciPy is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Array, shape_dtype
from .declare import elementwise, promote
from .kernels.elementwise import blocked, is_large
from .samples import REAL, broadcasting

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

# Numerators and denominators, the constant term first.
_SMALL = (
    (
        1.28379167095512558561e-01,
        -3.25042107247001499370e-01,
        -2.84817495755985104766e-02,
        -5.77027029648944159157e-03,
        -2.37630166566501626084e-05,
    ),
    (
        1.0,
        3.97917223959155352819e-01,
        6.50222499887672944485e-02,
        5.08130628187576562776e-03,
        1.32494738004321644526e-04,
        -3.96022827877536812320e-06,
    ),
)
_MIDDLE = (
    (
        -2.36211856075265944077e-03,
        4.14856118683748331666e-01,
        -3.72207876035701323847e-01,
        3.18346619901161753674e-01,
        -1.10894694282396677476e-01,
        3.54783043256182359371e-02,
        -2.16637559486879084300e-03,
    ),
    (
        1.0,
        1.06420880400844228286e-01,
        5.40397917702171048937e-01,
        7.18286544141962662868e-02,
        1.26171219808761642112e-01,
        1.36370839120290507362e-02,
        1.19844998467991074170e-02,
    ),
)
_LARGE = (
    (
        -9.86494403484714822705e-03,
        -6.93858572707181764372e-01,
        -1.05586262253232909814e01,
        -6.23753324503260060396e01,
        -1.62396669462573470355e02,
        -1.84605092906711035994e02,
        -8.12874355063065934246e01,
        -9.81432934416914548592e00,
    ),
    (
        1.0,
        1.96512716674392571292e01,
        1.37657754143519042600e02,
        4.34565877475229228821e02,
        6.45387271733267880336e02,
        4.29008140027567833386e02,
        1.08635005541779435134e02,
        6.57024977031928170135e00,
        -6.04244152148580987438e-02,
    ),
)
_LARGEST = (
    (
        -9.86494292470009928597e-03,
        -7.99283237680523006574e-01,
        -1.77579549177547519889e01,
        -1.60636384855821916062e02,
        -6.37566443368389627722e02,
        -1.02509513161107724954e03,
        -4.83519191608651397019e02,
    ),
    (
        1.0,
        3.03380607434824582924e01,
        3.25792512996573918826e02,
        1.53672958608443695994e03,
        3.19985821950859553908e03,
        2.55305040643316442583e03,
        4.74528541206955367215e02,
        -2.24409524465858183362e01,
    ),
)
# e^x² erfc(x) for 0 ≤ x ≤ 11, to a relative error of 7e-9, an eighth of a unit in the last place of
# float32; and erf(x) / x in powers of x² for x ≤ 1, to 1.3e-9: both fitted by least squares whose
# weights follow the largest errors (Lawson's algorithm).
_SCALED = (
    (
        1.0000000067329191,
        1.2454176243963178,
        0.738967851909642,
        0.2327379038491267,
        0.03353839570249764,
    ),
    (
        1.0,
        2.373797462699654,
        2.417500748949283,
        1.3391176907304843,
        0.4125403237703512,
        0.05944467240985249,
    ),
)
_CENTRE = (
    1.1283791657272422,
    -0.37612625825674695,
    0.1128358515989368,
    -0.02685381231544967,
    0.005188328310723286,
    -0.0008010198569688848,
    7.853876426380801e-05,
)
_ZERO = 11.0  # beyond it erfc is zero in float32
_ERF_1 = 8.45062911510467529297e-01  # erf(1) to 24 bits
_BLOCK = 1 << 14  # elements whose few arrays of doubles stay in cache
_SLOPE = 2 / math.sqrt(math.pi)  # of erf at 0


def _polynomial(x: FloatArray, coefficients: tuple[float, ...]) -> FloatArray:
    """By Horner's scheme."""
    total = x * coefficients[-1]
    total += coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total *= x
        total += coefficient
    return total


def _quotient(x: FloatArray, coefficients: tuple[tuple[float, ...], ...]) -> FloatArray:
    """p(x) / q(x)."""
    found, divisor = (_polynomial(x, each) for each in coefficients)
    found /= divisor
    return found


def _tail(size: FloatArray, coefficients: tuple[tuple[float, ...], ...]) -> FloatArray:
    """erfc(size) for size ≥ 1.25, by e^-size² in two factors, for size² is not exact."""
    exponent = _quotient(1 / (size * size), coefficients)
    short = size.astype(np.float32).astype(np.float64)  # whose square is exact
    exponent += (short - size) * (short + size)
    found: FloatArray = np.exp(-short * short - 0.5625) * np.exp(exponent) / size
    return found


def erfc_of_doubles(x: FloatArray, complement: bool = True) -> FloatArray:
    """erfc(x), or erf(x), elementwise; NaN stays NaN."""
    size = np.abs(x)
    # Beyond 28 the complement is below the smallest double.
    y = np.where(x > 0, 0.0, 2.0) if complement else np.sign(x)
    y[np.isnan(x)] = np.nan

    near = size < 0.84375
    part = x[near]
    odd = part * _quotient(part * part, _SMALL)
    if complement:  # 1 - (part + odd) would lose digits where that is near 1
        y[near] = np.where(part < 0.25, 1 - (part + odd), 0.5 - ((part - 0.5) + odd))
    else:
        y[near] = part + odd

    place = (size >= 0.84375) & (size < 1.25)
    positive = x[place] > 0
    above = _quotient(size[place] - 1, _MIDDLE)
    if complement:
        y[place] = np.where(positive, (1 - _ERF_1) - above, 1 + (_ERF_1 + above))
    else:
        y[place] = np.copysign(_ERF_1 + above, x[place])

    for low, high, coefficients in ((1.25, 1 / 0.35, _LARGE), (1 / 0.35, 28.0, _LARGEST)):
        place = (size >= low) & (size < high)
        tail = _tail(size[place], coefficients)
        if complement:
            y[place] = np.where(x[place] > 0, tail, 2 - tail)
        else:
            y[place] = np.copysign(1 - tail, x[place])
    return y


def erfc_of_size(size: FloatArray) -> tuple[FloatArray, FloatArray]:
    """erfc(size) to the digits of float32, and e^-size², for size ≥ 0; writes into `size`, where
    what is beyond reach becomes what is just so."""
    np.minimum(size, _ZERO, out=size)
    y = _quotient(size, _SCALED)
    bell = size * size
    np.negative(bell, out=bell)
    np.exp(bell, out=bell)
    y *= bell
    return y, bell


def erfc_of_singles(x: FloatArray) -> FloatArray:
    """erfc(x) of float64 numbers to the digits of float32."""
    y, _ = erfc_of_size(np.abs(x))
    return np.where(x < 0, 2 - y, y)


def erf_of_singles(x: FloatArray) -> FloatArray:
    """erf(x) of float64 numbers to the digits of float32."""
    size = np.abs(x)
    y, _ = erfc_of_size(size)
    np.subtract(1, y, out=y)
    np.minimum(size, 1, out=size)
    size *= size
    return np.where(size < 1, x * _polynomial(size, _CENTRE), np.copysign(y, x))


def in_doubles(function: Any, x: Array, single: Any = None) -> Array:
    """A function of float64 arrays on any real array, in cache-sized blocks where it is large.

    `single` stands in for it where the digits of float32 are enough.
    """

    def compute(part: Any, out: Any) -> None:
        chosen = function if single is None or out.dtype.itemsize > 4 else single
        for start in range(0, part.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = chosen(part[block].astype(np.float64))

    if is_large(x):
        return blocked(compute, x)
    x = np.asarray(x)
    y = np.empty(x.shape, promote(np.exp, shape_dtype(x)))
    compute(x.reshape(-1), y.reshape(-1))
    return y[()]


def _erf(x: Array) -> Array:
    """2/√π ∫₀ˣ e^-t² dt, the share of a normal distribution within x√2 standard deviations.

    >>> erf(np.array([-1e4, 0.0, 0.5, 1e4])).round(6)
    array([-1.    ,  0.    ,  0.5205,  1.    ])
    """
    return in_doubles(lambda part: erfc_of_doubles(part, complement=False), x, erf_of_singles)


def _erfc(x: Array) -> Array:
    """1 - erf(x), with all digits where erf(x) is near 1.

    >>> bool(np.isclose(erfc(np.float64(10.0)), 2.088487583762545e-45, rtol=1e-14, atol=0))
    True
    """
    return in_doubles(erfc_of_doubles, x, erfc_of_singles)


def bell(x: Array) -> Array:
    """e^-x², where x² may be more than the dtype holds."""
    short = np.where(np.abs(x) > 30, 30, x)  # e^-900 is zero in every dtype
    return np.exp(-(short * short))


erf = elementwise(
    "erf", _erf, lambda g, x: g * (_SLOPE * bell(x)), dtype=np.exp, samples=broadcasting(REAL)
)
erfc = elementwise(
    "erfc", _erfc, lambda g, x: g * (-_SLOPE * bell(x)), dtype=np.exp, samples=broadcasting(REAL)
)
