"""Whether probabilities mean what they say: log loss, Brier score, reliability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array
from ..errors import ShapeError
from .inputs import (
    Numbers,
    bits,
    choice,
    class_numbers,
    numbers,
    same_shape,
    weights,
)


class CalibrationCurve(NamedTuple):
    """For each bin that has examples: how often it came true, what was said, how many there are.

    >>> CalibrationCurve._fields
    ('fraction_of_positives', 'mean_predicted', 'counts')
    """

    fraction_of_positives: NDArray[np.float64]
    mean_predicted: NDArray[np.float64]
    counts: NDArray[np.int64]


def log_loss(y_true: Array, y_prob: Array, *, sample_weight: Array | None = None) -> float:
    """The mean of -ln of the probability that was given to the truth, in nats.

    `y_true` `[n]` with `y_prob` `[n]`, the probability of class 1; or integers `[n]` with
    `[n, classes]`, whose rows add up to 1. A probability is taken as at least ε of its dtype.

        >>> round(log_loss([1, 0, 0, 1], [0.9, 0.1, 0.2, 0.65]), 4)
        0.2162

    Raises `ValueError` for what is no probability.
    """
    name = "log_loss"
    truth, prob = _distribution(name, y_true, y_prob)
    # The last digit of the dtype in which they were given, which is where they saturate.
    epsilon = float(np.finfo(np.result_type(np.asarray(y_prob).dtype, np.float16)).eps)
    own = prob[np.arange(len(truth)), truth].clip(epsilon, 1 - epsilon)
    return float(np.average(-np.log(own), weights=weights(name, sample_weight, len(own))))


def brier_score(y_true: Array, y_prob: Array, *, sample_weight: Array | None = None) -> float:
    """The mean squared distance of the probabilities from the truth (Brier 1950).

    Binary, `[n]` and `[n]`: the mean of (p - y)², from 0 to 1. With classes, `[n]` and
    `[n, classes]`: the mean of Σⱼ (pⱼ - yⱼ)², from 0 to 2.

        >>> round(brier_score([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]), 4)
        0.0375

    Raises `ValueError` for what is no probability.
    """
    truth, prob = _distribution("brier_score", y_true, y_prob)
    apart = np.sum((prob - np.eye(prob.shape[1])[truth]) ** 2, axis=1)
    if np.ndim(y_prob) == 1:
        apart = apart / 2  # both classes are off by the same
    return float(np.average(apart, weights=weights("brier_score", sample_weight, len(truth))))


def calibration_curve(
    y_true: Array, y_prob: Array, *, n_bins: int = 5, strategy: str = "uniform"
) -> CalibrationCurve:
    """The reliability diagram: in each bin of predicted probability, how often it came true.

    `strategy`: bins of equal width ("uniform") or of equally many examples ("quantile"). Empty
    bins are left out.

        >>> curve = calibration_curve([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], n_bins=2)
        >>> curve.fraction_of_positives, curve.mean_predicted.round(4), curve.counts
        (array([0., 1.]), array([0.2, 0.8]), array([2, 2]))

    Raises `ValueError` for what is no probability, `ShapeError` when the shapes differ.
    """
    name = "calibration_curve"
    truth, prob = bits(name, "y_true", y_true), _probabilities(name, y_prob)
    same_shape(name, "y_true", truth, "y_prob", prob)
    return _reliability(name, truth.ravel(), prob.ravel(), n_bins, strategy)


def expected_calibration_error(
    y_true: Array, y_prob: Array, *, n_bins: int = 15, strategy: str = "uniform"
) -> float:
    """How far confidence is from accuracy, on average over the examples (ECE, Naeini et al. 2015).

        ECE = Σ over bins of count / n · |share that came true - mean probability|

    Binary, `[n]` and `[n]` (multi-label, `[n, labels]` twice, counts every cell): the probability
    of class 1. With classes, `[n]` and `[n, classes]`: that of the class predicted, and whether it
    was right (Guo et al. 2017).

        >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], n_bins=2), 4)
        0.2

    Raises `ValueError` for what is no probability.
    """
    name = "expected_calibration_error"
    prob = _probabilities(name, y_prob)
    if prob.ndim == 2 and np.ndim(y_true) == 1:
        chosen, prob = _distribution(name, y_true, y_prob)
        truth, prob = prob.argmax(1) == chosen, prob.max(1)
    else:
        truth = bits(name, "y_true", y_true)
        same_shape(name, "y_true", truth, "y_prob", prob)
    curve = _reliability(name, truth.ravel(), prob.ravel(), n_bins, strategy)
    gaps = np.abs(curve.fraction_of_positives - curve.mean_predicted)
    return float(np.average(gaps, weights=curve.counts))


def _reliability(
    name: str, truth: NDArray[np.bool_], prob: Numbers, n_bins: int, strategy: str
) -> CalibrationCurve:
    choice(name, "strategy", strategy, ("uniform", "quantile"))
    if n_bins < 1:
        raise ValueError(f"{name}: n_bins={n_bins} must be 1 or more, at {source.here()}")
    edges = np.linspace(0, 1, n_bins + 1)
    if strategy == "quantile":
        edges = np.quantile(prob, edges)
    # A probability on an edge belongs to the bin below it.
    index = np.searchsorted(edges[1:-1], prob)
    counts = np.bincount(index, minlength=n_bins)
    there = counts > 0
    positives = np.bincount(index, weights=truth, minlength=n_bins)
    said = np.bincount(index, weights=prob, minlength=n_bins)
    return CalibrationCurve(
        positives[there] / counts[there], said[there] / counts[there], counts[there]
    )


def _probabilities(name: str, y_prob: Array) -> Numbers:
    prob = numbers(name, "y_prob", y_prob)
    if prob.min() < 0 or prob.max() > 1:
        raise ValueError(
            f"{name}: y_prob ranges from {prob.min():.4g} to {prob.max():.4g}, and probabilities "
            f"lie between 0 and 1, at {source.here()}\n  Of logits, take kn.ops.sigmoid or softmax."
        )
    return prob


def _distribution(name: str, y_true: Array, y_prob: Array) -> tuple[NDArray[np.int64], Numbers]:
    """The classes `[n]` and their probabilities `[n, classes]`; a binary one has two."""
    prob = _probabilities(name, y_prob)
    if prob.ndim == 1:
        truth = bits(name, "y_true", y_true)
        same_shape(name, "y_true", truth, "y_prob", prob)
        return truth.astype(np.int64), np.stack((1 - prob, prob), axis=1)
    if prob.ndim != 2 or np.shape(y_true) != prob.shape[:1]:
        raise ShapeError(
            f"{name} wants y_true [examples] and y_prob [examples] or [examples, classes], got "
            f"{np.shape(y_true)} and {prob.shape}, at {source.here()}"
        )
    totals = prob.sum(1)
    if np.abs(totals - 1).max() > 1e-3:
        raise ValueError(
            f"{name}: a row of y_prob must add up to 1, and row {int(np.abs(totals - 1).argmax())} "
            f"adds up to {totals[np.abs(totals - 1).argmax()]:.4g}, at {source.here()}"
        )
    return class_numbers(name, y_true, prob.shape[1]), prob
