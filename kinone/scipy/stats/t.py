"""Student's t with `df` degrees of freedom, density (1 + z²/df)^-(df+1)/2 / (√df B(df/2, 1/2)).

`cdf` and `ppf` have no derivative by `df`: asking for it raises `MissingRuleError`.

    >>> pdf(0.0, 3.0).round(6)
    np.float64(0.367553)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array
from ..special import betaln, psi, stdtr, stdtrit
from .family import Continuous


def _logpdf(z: Array, df: Array) -> Array:
    half = 0.5 * df
    one_half = 0 * half + 0.5  # in the dtype of df: SciPy would go to double for a Python number
    return -(half + 0.5) * np.log1p(z * z / df) - 0.5 * np.log(df) - betaln(half, one_half)


def _entropy(df: Array) -> Array:
    half = 0.5 * df
    spread = (half + 0.5) * (psi(half + 0.5) - psi(half))
    return spread + 0.5 * np.log(df) + betaln(half, 0.5)


_family = Continuous(
    "t",
    "df",
    logpdf=_logpdf,
    cdf=lambda z, df: stdtr(df, z),
    sf=lambda z, df: stdtr(df, -z),
    ppf=lambda q, df: stdtrit(df, q),
    entropy=_entropy,
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
