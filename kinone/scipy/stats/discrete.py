"""More discrete families, each by the formulas of its standard form."""

from __future__ import annotations

import numpy as np

from ...core import Array
from ..special import betainc, betaincc, betaln, entr, gammaln, xlog1py, xlogy
from .family import Discrete


def _probability(p: Array) -> Array:
    return np.greater_equal(p, 0) & np.less_equal(p, 1)


def _trials(n: Array, p: Array) -> Array:
    return np.greater_equal(n, 0) & np.equal(n, np.floor(n)) & _probability(p)


bernoulli = Discrete(
    "bernoulli",
    "p",
    logpmf=lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
    cdf=lambda k, p: 1 - p + 0 * k,  # of 0, the one value between the ends
    high=lambda p: 1,
    entropy=lambda p: entr(p) + entr(1 - p),
    valid=_probability,
)
binom = Discrete(
    "binom",
    "n",
    "p",
    logpmf=lambda k, n, p: (
        -betaln(k + 1, n - k + 1) - np.log1p(n) + xlogy(k, p) + xlog1py(n - k, -p)
    ),
    cdf=lambda k, n, p: betaincc(k + 1, n - k, p),
    sf=lambda k, n, p: betainc(k + 1, n - k, p),
    high=lambda n, p: n,
    valid=_trials,
)
geom = Discrete(
    "geom",
    "p",
    logpmf=lambda k, p: xlog1py(k - 1, -p) + np.log(p),
    cdf=lambda k, p: -np.expm1(xlog1py(k, -p)),
    sf=lambda k, p: np.exp(xlog1py(k, -p)),
    low=1,
    valid=lambda p: np.greater(p, 0) & np.less_equal(p, 1),
)
nbinom = Discrete(
    "nbinom",
    "n",
    "p",
    logpmf=lambda k, n, p: (
        gammaln(n + k) - gammaln(k + 1) - gammaln(n) + xlogy(n, p) + xlog1py(k, -p)
    ),
    cdf=lambda k, n, p: betainc(n, k + 1, p),
    sf=lambda k, n, p: betaincc(n, k + 1, p),
    valid=lambda n, p: np.greater(n, 0) & np.greater(p, 0) & np.less_equal(p, 1),
)
