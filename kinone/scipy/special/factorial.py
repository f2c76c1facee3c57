"""The gamma function and what is made of it: beta, digamma, polygamma, the incomplete ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special

from ...core import Array, Primitive, ShapeDtype, ndim_of
from ...ops.declare import cast, elementwise
from ...ops.plain import is_traced
from ...ops.samples import POSITIVE, REAL, Sample, broadcasting, values
from .declare import described, special, undefined, with_order
from .logarithm import xlog1py, xlogy

_positive = broadcasting(POSITIVE)
_pairs = broadcasting(POSITIVE, POSITIVE)

# ---- one operand ---------------------------------------------------------------------------------

gammaln: Primitive = special(
    "gammaln", "ln |Γ(x)| of real x.", lambda g, x: g * psi(x), samples=broadcasting((-0.9, 3.0))
)
loggamma: Primitive = special(
    "loggamma",
    "ln Γ(x), on its principal branch for complex x.",
    lambda g, x: g * psi(x),
    samples=_positive,
)
gamma: Primitive = special(
    "gamma",
    "Γ(x) = ∫₀^∞ t^(x-1) e^-t dt.",
    lambda g, x, y: g * (y * psi(x)),
    samples=_positive,
)
gammasgn: Primitive = special("gammasgn", "The sign of Γ(x).", None, samples=_positive)
psi: Primitive = special(
    "psi",
    "ψ(x), the derivative of ln Γ(x); `digamma` is another name.",
    lambda g, x: cast(g * polygamma(1, x), g.dtype),  # SciPy's is double for an integer order
    samples=_positive,
)
digamma = psi


def _rgamma_slope(g: Array, x: Array, y: Array) -> Array:
    """-ψ(x)/Γ(x), to the left by the reflection 1/Γ(x) = Γ(1-x) sin(πx)/π: 1/Γ is smooth at the
    poles of Γ, where ψ is infinite."""
    left = np.real(x) < 0.5
    other = 1 - np.where(left, x, 0.5)
    angle = math.pi * other  # sin(π - u) = sin u, cos(π - u) = -cos u
    reflected = gamma(other) * (-np.cos(angle) - np.sin(angle) * psi(other) / math.pi)
    return g * np.where(left, reflected, -y * psi(np.where(left, 0.5, x)))


rgamma: Primitive = special(
    "rgamma", "1/Γ(x), 0 at the poles of Γ.", _rgamma_slope, samples=broadcasting((-2.0, 3.0))
)


def _polygamma(n: Array, x: Array) -> Array:
    """The derivative of ψ of order n.

    >>> polygamma(1, 1.0).round(6)  # π² / 6
    np.float64(1.644934)
    """
    return scipy.special.polygamma(n, x)[()]


def _polygamma_dtype(n: ShapeDtype, x: ShapeDtype) -> Any:
    """What SciPy's formula gives: Python numbers are arrays to it, and integers count as double."""
    probes = [np.ones(1, a.dtype) for a in (n, x)]
    return scipy.special.polygamma(*probes).dtype


polygamma: Primitive = described(
    elementwise(
        "scipy.special.polygamma",
        _polygamma,
        undefined("polygamma", "n"),
        lambda g, a, b: g * polygamma(a + 1, b),
        dtype=_polygamma_dtype,
        samples=with_order(POSITIVE, orders=(0, 1, 3)),
    ),
    "polygamma",
    "polygamma(n, x): the derivative of ψ(x) of order n, an integer.",
)


def multigammaln(a: Array, d: Any) -> Array:
    """The logarithm of the multivariate gamma function, d(d-1)/4 ln π + Σⱼ ln Γ(a - j/2), j < d.

    Raises `ValueError` for a `d` that is no positive integer, and, of plain arrays, where
    `a` is not above (d - 1)/2.

    >>> float(multigammaln(3.0, 2).round(6))
    1.550195
    """
    if not is_traced((a,)):
        return scipy.special.multigammaln(a, d)
    if ndim_of(d) or np.floor(d) != d or d < 1:
        raise ValueError("d should be a positive integer (dimension)")
    terms = gammaln(np.expand_dims(a, -1) - np.arange(int(d)) / 2)
    return np.sum(terms, axis=-1) + d * (d - 1) * 0.25 * math.log(math.pi)


# ---- two and three -------------------------------------------------------------------------------


beta: Primitive = special(
    "beta",
    "B(a, b) = Γ(a) Γ(b) / Γ(a + b).",
    lambda g, a, b, y: g * (y * (psi(a) - psi(a + b))),
    lambda g, a, b, y: g * (y * (psi(b) - psi(a + b))),
    samples=_pairs,
)
betaln: Primitive = special(
    "betaln",
    "ln |B(a, b)|.",
    lambda g, a, b: g * (psi(a) - psi(a + b)),
    lambda g, a, b: g * (psi(b) - psi(a + b)),
    samples=_pairs,
)
poch: Primitive = special(
    "poch",
    "The rising factorial Γ(z + m) / Γ(z) of z and m.",
    lambda g, a, b, y: g * (y * (psi(a + b) - psi(a))),
    lambda g, a, b, y: g * (y * psi(a + b)),
    samples=_pairs,
)


def gamma_density(a: Array, x: Array) -> Array:
    """x^(a-1) e^-x / Γ(a)."""
    return np.exp(xlogy(a - 1, x) - x - gammaln(a))


def beta_density(a: Array, b: Array, x: Array) -> Array:
    """x^(a-1) (1-x)^(b-1) / B(a, b)."""
    return np.exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b))


gammainc: Primitive = special(
    "gammainc",
    "P(a, x) = 1/Γ(a) ∫₀ˣ t^(a-1) e^-t dt; no derivative by a.",
    undefined("gammainc", "a"),
    lambda g, a, b: cast(g * gamma_density(a, b), g.dtype),
    samples=with_order(POSITIVE, orders=(1, 2, 4)),
)
gammaincc: Primitive = special(
    "gammaincc",
    "Q(a, x) = 1 - P(a, x); no derivative by a.",
    undefined("gammaincc", "a"),
    lambda g, a, b: cast(g * -gamma_density(a, b), g.dtype),
    samples=with_order(POSITIVE, orders=(1, 2, 4)),
)
gammaincinv: Primitive = special(
    "gammaincinv",
    "The x with P(a, x) = y; no derivative by a.",
    undefined("gammaincinv", "a"),
    lambda g, a, y: cast(g / gamma_density(a, y), g.dtype),
    samples=with_order((0.1, 0.9), orders=(1, 2, 4)),
)
_UNIT = (0.05, 0.95)


def _of_two_orders(domain: Any) -> Any:
    """Samples whose first two operands are integers, for there is no derivative by them."""

    def make() -> list[Sample]:
        first, second = np.array([1, 2, 4]), np.array([3, 1, 2])
        return [
            Sample((first, second, values(2, 3, domain=domain))),
            Sample((first, second[:2, None], values(2, 1, domain=domain))),
            Sample((first[2], second[2], values(domain=domain))),
            Sample((1, 2, values(0, 2, domain=domain))),
        ]

    return make


betainc: Primitive = special(
    "betainc",
    "I(a, b, x) = 1/B(a, b) ∫₀ˣ t^(a-1) (1-t)^(b-1) dt; no derivative by a and b.",
    undefined("betainc", "a"),
    undefined("betainc", "b"),
    lambda g, a, b, c: cast(g * beta_density(a, b, c), g.dtype),
    samples=_of_two_orders(_UNIT),
)
betaincc: Primitive = special(
    "betaincc",
    "1 - I(a, b, x); no derivative by a and b.",
    undefined("betaincc", "a"),
    undefined("betaincc", "b"),
    lambda g, a, b, c: cast(g * -beta_density(a, b, c), g.dtype),
    samples=_of_two_orders(_UNIT),
)
betaincinv: Primitive = special(
    "betaincinv",
    "The x with I(a, b, x) = y; no derivative by a and b.",
    undefined("betaincinv", "a"),
    undefined("betaincinv", "b"),
    lambda g, a, b, y: cast(g / beta_density(a, b, y), g.dtype),
    samples=_of_two_orders(_UNIT),
)


def student_density(df: Array, t: Array) -> Array:
    """The density of Student's t with `df` degrees of freedom."""
    half = 0.5 * df
    return np.exp(-(half + 0.5) * np.log1p(t * t / df) - betaln(half, 0.5)) / np.sqrt(df)


stdtr: Primitive = special(
    "stdtr",
    "The distribution function of Student's t, of df and t; no derivative by df.",
    undefined("stdtr", "df"),
    lambda g, a, b: cast(g * student_density(a, b), g.dtype),
    samples=with_order(REAL, orders=(1, 2, 4)),
)
stdtrit: Primitive = special(
    "stdtrit",
    "The t with stdtr(df, t) = p, of df and p; no derivative by df.",
    undefined("stdtrit", "df"),
    lambda g, a, y: cast(g / student_density(a, y), g.dtype),
    samples=with_order(_UNIT, orders=(1, 2, 4)),
)
