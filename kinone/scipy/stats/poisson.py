"""The Poisson distribution, probability μᵏ e^-μ / k! of k = 0, 1, …; a count has no derivative.

>>> pmf(2, 3.0).round(6)
np.float64(0.224042)
"""

from __future__ import annotations

from typing import Any

from ..special import gammainc, gammaincc, gammaln, xlogy
from .family import Discrete

_family = Discrete(
    "poisson",
    "mu",
    logpmf=lambda k, mu: xlogy(k, mu) - gammaln(k + 1) - mu,
    cdf=lambda k, mu: gammaincc(k + 1, mu),
    sf=lambda k, mu: gammainc(k + 1, mu),
    valid=lambda mu: mu >= 0,
)
cdf = _family.cdf
entropy = _family.entropy
logcdf = _family.logcdf
logpmf = _family.logpmf
logsf = _family.logsf
pmf = _family.pmf
sf = _family.sf


def __getattr__(name: str) -> Any:
    """What has no formula here (`rvs`, `fit`, …) is SciPy's own, for plain arrays."""
    return getattr(_family, name)


__all__ = ["cdf", "entropy", "logcdf", "logpmf", "logsf", "pmf", "sf"]
