"""The multivariate normal distribution, (2π)^-d/2 det(cov)^-1/2 exp(-dᵀ cov⁻¹ d / 2), d = x - mean.

>>> logpdf(np.zeros(2), np.zeros(2), np.eye(2)).round(6)
np.float64(-1.837877)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.stats

from ...core import Array, ndim_of, shape_of
from ..linalg import solve_triangular
from .family import operand

_LOG_TWO_PI = math.log(2 * math.pi)


def _parameters(mean: Any, cov: Any, dim: int | None) -> tuple[Array, Array]:
    """A mean (…, d) and a covariance (…, d, d): a number stands for a multiple of the identity, a
    vector for a diagonal. The dimension is that of the mean, the covariance, or the points."""
    cov = operand(cov)
    if mean is not None:
        mean = operand(mean)
        size = shape_of(mean)[-1] if ndim_of(mean) else 1
    elif ndim_of(cov):
        size = shape_of(cov)[-1]
    else:
        size = 1 if dim is None else dim
    if ndim_of(cov) == 0:
        cov = cov * np.eye(size)
    elif ndim_of(cov) == 1:
        cov = cov[:, None] * np.eye(shape_of(cov)[0])
    if shape_of(cov)[-2:] != (size, size):
        raise ValueError(
            f"a covariance of shape {shape_of(cov)} does not fit a mean of {size} components"
        )
    mean = np.zeros(size) if mean is None else np.reshape(mean, (*shape_of(mean)[:-1], size))
    return mean, cov


def _spectrum(cov: Array) -> tuple[Array, Array]:
    """The logarithm of the product of the eigenvalues that are not 0, and how many they are."""
    found = np.linalg.eigvalsh(cov)
    size = np.max(np.abs(found), axis=-1, keepdims=True)
    counted = found > _threshold(cov) * size
    logarithm = np.sum(np.log(np.where(counted, found, 1)), axis=-1)
    return logarithm, np.sum(counted, axis=-1)


def _threshold(cov: Array) -> float:
    """Up to which part of the largest an eigenvalue is 0, as SciPy has it."""
    single = cov.dtype == np.float32
    return 1e3 * float(np.finfo(np.float32).eps) if single else 1e6 * float(np.finfo(float).eps)


def logpdf(x: Array, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Array:
    """The logarithm of the density at the points x (…, d).

    `mean` (d,), zeros by default; `cov` (d, d), symmetric, of which the lower triangle is read;
    both may be stacks. With `allow_singular` the density is the one on the subspace that `cov`
    spans, and 0 outside of it. Raises `LinAlgError` for a `cov` that is not positive definite.
    """
    x = operand(x)
    mean, cov = _parameters(mean, cov, shape_of(x)[-1] if ndim_of(x) else None)
    size = shape_of(mean)[-1]
    if ndim_of(x) == 0:
        x = np.reshape(x, (1,))
    elif size == 1 and shape_of(x)[-1] != 1:  # one-dimensional points, side by side
        x = np.expand_dims(x, -1)
    away = x - mean
    if allow_singular:
        inverse = np.linalg.pinv(cov, rcond=_threshold(cov), hermitian=True)
        scaled = np.matmul(away[..., None, :], inverse)[..., 0, :]
        distance = np.sum(scaled * away, axis=-1)
        logarithm, rank = _spectrum(cov)
        outside = away - np.matmul(scaled[..., None, :], cov)[..., 0, :]
        within = np.sqrt(np.sum(outside * outside, axis=-1)) < 1e3 * _threshold(cov)
        value = -0.5 * (rank * _LOG_TWO_PI + logarithm + distance)
        return np.where(within, value, -np.inf)[()]
    factor = np.linalg.cholesky(cov)
    positions = np.arange(size)
    diagonal = factor[..., positions, positions]
    if ndim_of(cov) == 2:  # all points at once
        columns = np.reshape(away, (-1, size)).T
        scaled = np.reshape(solve_triangular(factor, columns, lower=True).T, shape_of(away))
    else:
        scaled = solve_triangular(factor, away[..., None], lower=True)[..., 0]
    logarithm = np.sum(np.log(diagonal), axis=-1)
    return -0.5 * (size * _LOG_TWO_PI + np.sum(scaled * scaled, axis=-1)) - logarithm


def pdf(x: Array, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Array:
    """The density at the points x (…, d); arguments and errors as of `logpdf`."""
    return np.exp(logpdf(x, mean, cov, allow_singular))


def entropy(mean: Any = None, cov: Any = 1) -> Array:
    """The differential entropy (d (1 + ln 2π) + ln det cov) / 2, in nats; it has no mean in it."""
    _, cov = _parameters(None if mean is None else np.zeros(shape_of(operand(mean))), cov, None)
    logarithm, rank = _spectrum(cov)
    return 0.5 * (rank * (1 + _LOG_TWO_PI) + logarithm)


def __getattr__(name: str) -> Any:
    """What has no formula here (`rvs`, `cdf`, …) is SciPy's own, for plain arrays."""
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(scipy.stats.multivariate_normal, name)


__all__ = ["entropy", "logpdf", "pdf"]
