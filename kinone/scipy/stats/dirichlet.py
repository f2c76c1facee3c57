"""The Dirichlet distribution on the simplex, density ∏ xᵢ^(αᵢ-1) / B(α).

The density is a function of all xᵢ; that they add up to 1 is for the caller to keep, and is not
asked for, so that a derivative may be taken by each.

    >>> pdf(np.array([0.2, 0.3, 0.5]), np.array([1.0, 1.0, 1.0])).round(6)
    np.float64(2.0)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.stats

from ...core import Array, shape_of
from ..special import gammaln, psi, xlogy
from .family import operand


def _log_beta(alpha: Array) -> Array:
    return np.sum(gammaln(alpha)) - gammaln(np.sum(alpha))


def logpdf(x: Array, alpha: Array) -> Array:
    """The logarithm of the density; x (k,) or (k, n), or one component less, the last being what
    is missing to 1; alpha (k,). Raises `ValueError` for shapes that do not fit."""
    x, alpha = operand(x), operand(alpha)
    count = shape_of(alpha)[0]
    if shape_of(x)[0] + 1 == count:
        x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)], axis=0)
    if shape_of(x)[0] != count:
        raise ValueError(
            f"x has {shape_of(x)[0]} components and alpha {count}; x has as many, or one less"
        )
    powers = xlogy(np.reshape(alpha - 1, (count, *[1] * (len(shape_of(x)) - 1))), x)
    return np.sum(powers, axis=0) - _log_beta(alpha)


def pdf(x: Array, alpha: Array) -> Array:
    """The density; arguments and errors as of `logpdf`."""
    return np.exp(logpdf(x, alpha))


def entropy(alpha: Array) -> Array:
    """The differential entropy, in nats."""
    alpha = operand(alpha)
    total = np.sum(alpha)
    mixed = np.sum((alpha - 1) * psi(alpha))
    return _log_beta(alpha) + (total - shape_of(alpha)[0]) * psi(total) - mixed


def __getattr__(name: str) -> Any:
    """What has no formula here (`rvs`, `mean`, …) is SciPy's own, for plain arrays."""
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(scipy.stats.dirichlet, name)


__all__ = ["entropy", "logpdf", "pdf"]
