"""How far numbers are from numbers: mean squared and absolute error, R²."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import Array
from .inputs import Numbers, choice, divided, numbers, same_shape, weights


def mse(
    y_true: Array,
    y_pred: Array,
    *,
    sample_weight: Array | None = None,
    average: str | None = "uniform",
) -> Any:
    """The mean squared error. Outputs `[n, …]` are averaged alike, or with `average=None` kept.

    >>> mse([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.375

    Raises `ShapeError` when the shapes differ, `ValueError` for NaN and for no examples.
    """
    truth, guess, weight = _regression("mse", y_true, y_pred, sample_weight, average)
    return _over_outputs(np.average((truth - guess) ** 2, axis=0, weights=weight), average)


def mae(
    y_true: Array,
    y_pred: Array,
    *,
    sample_weight: Array | None = None,
    average: str | None = "uniform",
) -> Any:
    """The mean absolute error, with the options of `mse`.

    >>> mae([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.5
    """
    truth, guess, weight = _regression("mae", y_true, y_pred, sample_weight, average)
    return _over_outputs(np.average(np.abs(truth - guess), axis=0, weights=weight), average)


def r2(
    y_true: Array,
    y_pred: Array,
    *,
    sample_weight: Array | None = None,
    average: str | None = "uniform",
) -> Any:
    """The share of the variance that is explained (R²), with the options of `mse`.

        R² = 1 - Σ (y - ŷ)² / Σ (y - ȳ)²

    1 is perfect, 0 no better than the mean, and it may be negative. For a constant truth it is 1
    when that is predicted exactly and 0 otherwise, as scikit-learn has it.

        >>> round(r2([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]), 4)
        0.9486
    """
    truth, guess, weight = _regression("r2", y_true, y_pred, sample_weight, average)
    residual = np.average((truth - guess) ** 2, axis=0, weights=weight)
    spread = np.average((truth - np.average(truth, 0, weight)) ** 2, axis=0, weights=weight)
    return _over_outputs(explained(residual, spread), average)


def explained(residual: Any, spread: Any) -> NDArray[np.float64]:
    """1 - residual / spread, with scikit-learn's values for a constant truth."""
    constant = np.where(np.asarray(residual) == 0, 0.0, 1.0)
    return np.asarray(1 - np.where(np.asarray(spread) == 0, constant, divided(residual, spread)))


def _regression(
    name: str, y_true: Array, y_pred: Array, sample_weight: Array | None, average: str | None
) -> tuple[Numbers, Numbers, Numbers | None]:
    choice(name, "average", average, ("uniform", None))
    truth, guess = numbers(name, "y_true", y_true), numbers(name, "y_pred", y_pred)
    same_shape(name, "y_true", truth, "y_pred", guess)
    truth, guess = np.atleast_1d(truth), np.atleast_1d(guess)
    return truth, guess, weights(name, sample_weight, len(truth))


def _over_outputs(values: Any, average: str | None) -> Any:
    return float(np.mean(values)) if average else np.asarray(values)
