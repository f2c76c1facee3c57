"""The χ² distribution with `df` degrees of freedom: the gamma distribution of df/2, twice as wide.

`cdf`, `sf` and `ppf` have no derivative by `df`: asking for it raises `MissingRuleError`.

    >>> pdf(2.0, 2).round(6)
    np.float64(0.18394)
"""

from __future__ import annotations

import math
from typing import Any

from ..special import gammainc, gammaincc, gammaincinv, gammaln, psi, xlogy
from .family import Continuous

_LOG_2 = math.log(2)
_family = Continuous(
    "chi2",
    "df",
    logpdf=lambda z, df: xlogy(0.5 * df - 1, z) - 0.5 * z - gammaln(0.5 * df) - 0.5 * df * _LOG_2,
    cdf=lambda z, df: gammainc(0.5 * df, 0.5 * z),
    sf=lambda z, df: gammaincc(0.5 * df, 0.5 * z),
    ppf=lambda q, df: 2 * gammaincinv(0.5 * df, q),
    entropy=lambda df: 0.5 * df + _LOG_2 + gammaln(0.5 * df) + (1 - 0.5 * df) * psi(0.5 * df),
    support=(0.0, math.inf),
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
