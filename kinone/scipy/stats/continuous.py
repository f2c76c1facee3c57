"""More continuous families, each by the formulas of its standard form."""

from __future__ import annotations

import math

import numpy as np

from ...core import Array
from ..special import (
    erf,
    erfc,
    erfinv,
    expit,
    gammainc,
    gammaincc,
    gammaincinv,
    gammaln,
    i0e,
    i1e,
    log_expit,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    psi,
    xlogy,
)
from ..special.logarithm import log
from .family import Continuous

_FROM_ZERO = (0.0, math.inf)
_LOG_2 = math.log(2)
_LOG_TWO_PI = math.log(2 * math.pi)
_EULER = 0.5772156649015329  # minus ψ(1)

uniform = Continuous(
    "uniform",
    logpdf=lambda z: 0 * z,
    cdf=lambda z: z,
    sf=lambda z: 1 - z,
    ppf=lambda q: q,
    entropy=lambda: 0.0,
    support=(0.0, 1.0),
)
expon = Continuous(
    "expon",
    logpdf=lambda z: -z,
    cdf=lambda z: -np.expm1(-z),
    sf=lambda z: np.exp(-z),
    logsf=lambda z: -z,
    ppf=lambda q: -np.log1p(-q),
    entropy=lambda: 1.0,
    support=_FROM_ZERO,
)


def _laplace_cdf(z: Array) -> Array:
    tail = 0.5 * np.exp(-np.abs(z))
    return np.where(z < 0, tail, 1 - tail)


def _laplace_logcdf(z: Array) -> Array:
    return np.where(z < 0, z - _LOG_2, np.log1p(-0.5 * np.exp(-np.abs(z))))


def _laplace_ppf(q: Array) -> Array:
    return np.where(q < 0.5, np.log(2 * q), -np.log(2 - 2 * q))


laplace = Continuous(
    "laplace",
    logpdf=lambda z: -np.abs(z) - _LOG_2,
    cdf=_laplace_cdf,
    sf=lambda z: _laplace_cdf(-z),
    logcdf=_laplace_logcdf,
    logsf=lambda z: _laplace_logcdf(-z),
    ppf=_laplace_ppf,
    entropy=lambda: 1 + _LOG_2,
)
logistic = Continuous(
    "logistic",
    logpdf=lambda z: log_expit(z) + log_expit(-z),
    cdf=expit,
    sf=lambda z: expit(-z),
    logcdf=log_expit,
    logsf=lambda z: log_expit(-z),
    ppf=logit,
    entropy=lambda: 2.0,
)
cauchy = Continuous(
    "cauchy",
    logpdf=lambda z: -math.log(math.pi) - np.log1p(z * z),
    cdf=lambda z: np.arctan2(1.0, -z) / math.pi,  # 1/2 + arctan(z)/π, right in the left tail too
    sf=lambda z: np.arctan2(1.0, z) / math.pi,
    ppf=lambda q: np.tan(math.pi * (q - 0.5)),
    entropy=lambda: math.log(4 * math.pi),
)
gumbel_r = Continuous(
    "gumbel_r",
    logpdf=lambda z: -z - np.exp(-z),
    cdf=lambda z: np.exp(-np.exp(-z)),
    sf=lambda z: -np.expm1(-np.exp(-z)),
    logcdf=lambda z: -np.exp(-z),
    ppf=lambda q: -np.log(-np.log(q)),
    entropy=lambda: 1 + _EULER,
)
gumbel_l = Continuous(
    "gumbel_l",
    logpdf=lambda z: z - np.exp(z),
    cdf=lambda z: -np.expm1(-np.exp(z)),
    sf=lambda z: np.exp(-np.exp(z)),
    logsf=lambda z: -np.exp(z),
    ppf=lambda q: np.log(-np.log1p(-q)),
    entropy=lambda: 1 + _EULER,
)
halfnorm = Continuous(
    "halfnorm",
    logpdf=lambda z: 0.5 * (2 * _LOG_2 - _LOG_TWO_PI) - 0.5 * z * z,
    cdf=lambda z: erf(z * math.sqrt(0.5)),
    sf=lambda z: erfc(z * math.sqrt(0.5)),
    ppf=lambda q: math.sqrt(2) * erfinv(q),
    entropy=lambda: 0.5 * (_LOG_TWO_PI + 1) - _LOG_2,
    support=_FROM_ZERO,
)


def _lognorm_logpdf(z: Array, s: Array) -> Array:
    logarithm = log(z)  # one product, so that at 0 there is no ∞ - ∞
    return -logarithm * (0.5 * logarithm / (s * s) + 1) - np.log(s) - 0.5 * _LOG_TWO_PI


lognorm = Continuous(
    "lognorm",
    "s",
    logpdf=_lognorm_logpdf,
    cdf=lambda z, s: ndtr(log(z) / s),
    sf=lambda z, s: ndtr(-log(z) / s),
    logcdf=lambda z, s: log_ndtr(log(z) / s),
    logsf=lambda z, s: log_ndtr(-log(z) / s),
    ppf=lambda q, s: np.exp(s * ndtri(q)),
    entropy=lambda s: 0.5 * (1 + _LOG_TWO_PI) + np.log(s),
    support=_FROM_ZERO,
)
pareto = Continuous(
    "pareto",
    "b",
    logpdf=lambda z, b: np.log(b) - (b + 1) * log(z),
    cdf=lambda z, b: -np.expm1(-b * log(z)),
    sf=lambda z, b: np.exp(-b * log(z)),
    logsf=lambda z, b: -b * log(z),
    ppf=lambda q, b: np.exp(-np.log1p(-q) / b),
    entropy=lambda b: 1 + 1 / b - np.log(b),
    support=(1.0, math.inf),
)
weibull_min = Continuous(
    "weibull_min",
    "c",
    logpdf=lambda z, c: np.log(c) + xlogy(c - 1, z) - np.exp(xlogy(c, z)),
    cdf=lambda z, c: -np.expm1(-np.exp(xlogy(c, z))),
    sf=lambda z, c: np.exp(-np.exp(xlogy(c, z))),
    logsf=lambda z, c: -np.exp(xlogy(c, z)),
    ppf=lambda q, c: np.exp(np.log(-np.log1p(-q)) / c),
    entropy=lambda c: _EULER * (1 - 1 / c) - np.log(c) + 1,
    support=_FROM_ZERO,
)
invgamma = Continuous(
    "invgamma",
    "a",
    logpdf=lambda z, a: -(a + 1) * log(z) - gammaln(a) - 1 / z,
    cdf=lambda z, a: gammaincc(a, 1 / z),
    sf=lambda z, a: gammainc(a, 1 / z),
    ppf=lambda q, a: 1 / gammaincinv(a, 1 - q),
    entropy=lambda a: a - (a + 1) * psi(a) + gammaln(a),
    support=(1.2e-38, math.inf),  # at 0 itself there is ∞ - ∞; the density is 0 far before
)


def _gennorm_cdf(z: Array, beta: Array) -> Array:
    tail = 0.5 * gammaincc(1 / beta, np.exp(xlogy(beta, np.abs(z))))
    return np.where(z < 0, tail, 1 - tail)


gennorm = Continuous(
    "gennorm",
    "beta",
    logpdf=lambda z, beta: np.log(0.5 * beta) - gammaln(1 / beta) - np.exp(xlogy(beta, np.abs(z))),
    cdf=_gennorm_cdf,
    sf=lambda z, beta: _gennorm_cdf(-z, beta),
    entropy=lambda beta: 1 / beta - np.log(0.5 * beta) + gammaln(1 / beta),
)
vonmises = Continuous(
    "vonmises",
    "kappa",
    logpdf=lambda z, kappa: kappa * (np.cos(z) - 1) - _LOG_TWO_PI - np.log(i0e(kappa)),
    entropy=lambda kappa: (
        _LOG_TWO_PI + np.log(i0e(kappa)) + kappa - kappa * i1e(kappa) / i0e(kappa)
    ),
    valid=lambda kappa: kappa >= 0,
)
