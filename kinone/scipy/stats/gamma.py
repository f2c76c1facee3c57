"""The gamma distribution of shape `a`, density z^(a-1) e^-z / Γ(a) / scale for z ≥ 0.

`cdf`, `sf` and `ppf` have no derivative by `a`: asking for it raises `MissingRuleError`.

    >>> pdf(2.0, 3.0).round(6)
    np.float64(0.270671)
"""

from __future__ import annotations

import math
from typing import Any

from ..special import gammainc, gammaincc, gammaincinv, gammaln, psi, xlogy
from .family import Continuous

_family = Continuous(
    "gamma",
    "a",
    logpdf=lambda z, a: xlogy(a - 1, z) - z - gammaln(a),
    cdf=lambda z, a: gammainc(a, z),
    sf=lambda z, a: gammaincc(a, z),
    ppf=lambda q, a: gammaincinv(a, q),
    entropy=lambda a: a + gammaln(a) + (1 - a) * psi(a),
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
