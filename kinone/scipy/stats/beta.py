"""The beta distribution, density z^(a-1) (1-z)^(b-1) / B(a, b) / scale for 0 ≤ z ≤ 1.

`cdf`, `sf` and `ppf` have no derivative by `a` and `b`: asking for it raises `MissingRuleError`.

    >>> pdf(0.5, 2.0, 2.0).round(6)
    np.float64(1.5)
"""

from __future__ import annotations

from typing import Any

from ...core import Array
from ..special import betainc, betaincc, betaincinv, betaln, psi, xlog1py, xlogy
from .family import Continuous


def _entropy(a: Array, b: Array) -> Array:
    mixed = (a - 1) * psi(a) + (b - 1) * psi(b) - (a + b - 2) * psi(a + b)
    return betaln(a, b) - mixed


_family = Continuous(
    "beta",
    "a",
    "b",
    logpdf=lambda z, a, b: xlogy(a - 1, z) + xlog1py(b - 1, -z) - betaln(a, b),
    cdf=lambda z, a, b: betainc(a, b, z),
    sf=lambda z, a, b: betaincc(a, b, z),
    ppf=lambda q, a, b: betaincinv(a, b, q),
    entropy=_entropy,
    support=(0.0, 1.0),
)
cdf = _family.cdf
entropy = _family.entropy
isf = _family.isf
logcdf = _family.logcdf
logpdf = _family.logpdf
logsf = _family.logsf
pdf = _family.pdf
ppf = _family.ppf
sf = _family.sf


def __getattr__(name: str) -> Any:
    """What has no formula here (`rvs`, `fit`, …) is SciPy's own, for plain arrays."""
    return getattr(_family, name)


__all__ = ["cdf", "entropy", "isf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]
