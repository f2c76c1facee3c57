"""How sure a metric is: bootstrap intervals by example or by patient, DeLong's for the AUC."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array
from ..errors import ShapeError, UndefinedMetricWarning
from .inputs import Numbers, array, bits, numbers, same_shape


class Interval(NamedTuple):
    """An estimate with its confidence limits; `undefined` resamples had no value.

    >>> Interval(0.8, 0.7, 0.9)
    Interval(estimate=0.8, low=0.7, high=0.9, undefined=0)
    """

    estimate: Any
    low: Any
    high: Any
    undefined: int = 0


class Comparison(NamedTuple):
    """The difference of two AUCs on the same examples, with its limits and two-sided p-value.

    >>> Comparison._fields
    ('difference', 'low', 'high', 'p_value')
    """

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    metric: Callable[..., Any],
    y_true: Array,
    *predictions: Array,
    groups: Array | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of any metric (Efron 1979).

    Each resample draws as many examples as there are, with replacement, and measures them:
    `metric(y_true, *predictions)`, which may return a number or an array. With `groups` (one label
    per example, such as the patient), whole groups are drawn: examples of one patient resemble each
    other, and drawing them one by one would promise too much. Resamples where the metric is NaN are
    left out, and counted in `undefined`. The same `seed` gives the same interval.

        >>> from kinone.metrics import roc_auc
        >>> y, s = np.arange(60) % 3 == 0, np.sin(np.arange(60.0)) + np.arange(60) % 3
        >>> interval = bootstrap_interval(roc_auc, y, s, resamples=200)
        >>> bool(interval.low < interval.estimate < interval.high)
        True

    Raises `ShapeError` when the lengths differ, `ValueError` for a confidence outside (0, 1).
    """
    name = "bootstrap_interval"
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            f"{name}: confidence={confidence} must lie between 0 and 1, and resamples={resamples} "
            f"be positive, at {source.here()}"
        )
    arrays = [array(name, "y_true", y_true)]
    arrays += [array(name, f"prediction {index}", each) for index, each in enumerate(predictions)]
    columns = [*arrays, *([] if groups is None else [array(name, "groups", groups)])]
    if len({np.shape(column)[:1] for column in columns}) != 1 or columns[0].ndim == 0:
        shapes = ", ".join(str(column.shape) for column in columns)
        raise ShapeError(f"{name}: all must have one length, got {shapes}, at {source.here()}")
    if len(np.unique(columns[-1]) if groups is not None else arrays[0]) < 2:
        raise ValueError(
            f"{name} wants two examples or groups at least: drawn again, one says nothing of the "
            f"spread, at {source.here()}"
        )
    draw = _drawing(len(arrays[0]), groups)
    generator = np.random.Generator(np.random.Philox(seed))
    estimate = metric(*arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # counted instead
        values = np.array(
            [metric(*(each[chosen] for each in arrays)) for chosen in draw(generator, resamples)],
            dtype=np.float64,
        )
    missing = np.isnan(values)
    if missing.all(axis=0).any():
        raise ValueError(f"{name}: the metric is NaN in every resample, at {source.here()}")
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail], axis=0)
    undefined = int(missing.reshape(resamples, -1).any(axis=1).sum())
    if values.ndim == 1:
        return Interval(float(estimate), float(low), float(high), undefined)
    return Interval(np.asarray(estimate), low, high, undefined)


def delong_interval(y_true: Array, y_score: Array, *, confidence: float = 0.95) -> Interval:
    """The AUC of a binary score with DeLong's normal interval (DeLong et al. 1988), cut to [0, 1].

    Exact in the variance, without resampling, in O(n log n) (Sun and Xu 2014); it assumes
    independent examples, so use `bootstrap_interval` with `groups` for several of one patient.

        >>> interval = delong_interval([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7])
        >>> round(interval.estimate, 4), round(interval.low, 4), interval.high
        (0.8333, 0.3714, 1.0)

    Raises `ValueError` when there are fewer than two examples of a class.
    """
    areas, covariance = _placements("delong_interval", y_true, y_score)
    reach = _quantile("delong_interval", confidence) * np.sqrt(covariance[0, 0])
    area = float(areas[0])
    return Interval(area, max(0.0, float(area - reach)), min(1.0, float(area + reach)))


def delong_test(
    y_true: Array, y_score: Array, other_score: Array, *, confidence: float = 0.95
) -> Comparison:
    """Whether two scores of the same examples have different AUCs (DeLong et al. 1988).

        >>> y = [0, 0, 0, 1, 1, 1]
        >>> test = delong_test(y, [1, 2, 4, 3, 5, 6], [1, 6, 4, 2, 3, 5])
        >>> round(test.difference, 4), round(test.p_value, 4)
        (0.4444, 0.1573)

    Raises `ValueError` when there are fewer than two examples of a class.
    """
    areas, covariance = _placements("delong_test", y_true, y_score, other_score)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    reach = _quantile("delong_test", confidence) * error
    if error == 0:
        p_value = 1.0 if difference == 0 else 0.0
    else:
        p_value = 2 * NormalDist().cdf(-abs(difference) / error)
    return Comparison(difference, difference - reach, difference + reach, p_value)


def _drawing(count: int, groups: Array | None) -> Callable[[np.random.Generator, int], Any]:
    """A function that yields the examples of each resample."""
    if groups is None:
        return lambda generator, resamples: (
            generator.integers(0, count, count) for _ in range(resamples)
        )
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(group))[:-1])
    return lambda generator, resamples: (
        np.concatenate([members[k] for k in generator.integers(0, len(members), len(members))])
        for _ in range(resamples)
    )


def _quantile(name: str, confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(
            f"{name}: confidence={confidence} must lie between 0 and 1, at {source.here()}"
        )
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _midranks(values: Numbers) -> NDArray[np.float64]:
    """Ranks from 1; equals share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _placements(name: str, y_true: Array, *scores: Array) -> tuple[Numbers, Numbers]:
    """The AUC of each score and their covariance matrix, by the ranks within and across classes."""
    truth = bits(name, "y_true", y_true)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if truth.ndim != 1 or min(positives, negatives) < 2:
        raise ValueError(
            f"{name} wants binary labels [examples] with two of each class at least, got "
            f"{positives} positives and {negatives} negatives, at {source.here()}"
        )
    over, under = [], []
    for index, each in enumerate(scores):
        score = numbers(name, ("y_score", "other_score")[index], each)
        same_shape(name, "y_true", truth, ("y_score", "other_score")[index], score)
        ranks = _midranks(score)
        over.append((ranks[truth] - _midranks(score[truth])) / negatives)
        under.append(1 - (ranks[~truth] - _midranks(score[~truth])) / positives)
    areas = np.mean(over, axis=1)
    covariance = np.atleast_2d(np.cov(over)) / positives + np.atleast_2d(np.cov(under)) / negatives
    return areas, covariance
