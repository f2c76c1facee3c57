"""The normal distribution, density exp(-z²/2) / √(2π) / scale, with z = (x - loc)/scale.

>>> logpdf(1.0, loc=1.0, scale=2.0).round(6)
np.float64(-1.612086)
>>> logcdf(-40.0).round(6)  # Φ(-40) itself is below 1e-350
np.float64(-804.608442)
"""

from __future__ import annotations

import math
from typing import Any

from ..special import log_ndtr, ndtr, ndtri
from .family import Continuous

_HALF_LOG = 0.5 * math.log(2 * math.pi)
_family = Continuous(
    "norm",
    logpdf=lambda z: -0.5 * z * z - _HALF_LOG,
    cdf=ndtr,
    sf=lambda z: ndtr(-z),
    logcdf=log_ndtr,
    logsf=lambda z: log_ndtr(-z),
    ppf=ndtri,
    entropy=lambda: _HALF_LOG + 0.5,
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
