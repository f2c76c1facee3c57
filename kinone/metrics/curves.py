"""Curves of a binary score: ROC, precision and recall, and the cut-offs that they suggest.

Everything comes from one table, the true and false positives at each distinct score in falling
order, which one sort makes: O(n log n). Counts stay integers until the last division.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array
from ..errors import ShapeError
from .inputs import Numbers, bits, divided, numbers, same_shape, weights


class RocCurve(NamedTuple):
    """The rates of false and true positives at each threshold; the first is ∞, nothing positive.

    >>> RocCurve._fields
    ('fpr', 'tpr', 'thresholds')
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall at each rising threshold, and the end point (1, 0) that has none.

    >>> PrecisionRecallCurve._fields
    ('precision', 'recall', 'thresholds')
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class Threshold(NamedTuple):
    """A cut-off of the score, `y_score >= threshold`, with the rates that it gives.

    >>> Threshold(0.5, sensitivity=0.9, specificity=0.8).sensitivity
    0.9
    """

    threshold: float
    sensitivity: float
    specificity: float


class Table(NamedTuple):
    true: Numbers  # positives with a score at or above the threshold, rising
    false: Numbers
    thresholds: Numbers  # the distinct scores, falling


def roc_curve(
    y_true: Array,
    y_score: Array,
    *,
    sample_weight: Array | None = None,
    drop_intermediate: bool = True,
) -> RocCurve:
    """The ROC curve of a binary score: `fpr`, `tpr` and the falling `thresholds`.

    Point k counts `y_score >= thresholds[k]` as positive. `drop_intermediate` leaves out points on
    a straight line between their neighbours.

        >>> curve = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> curve.fpr, curve.tpr
        (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))

    Raises `ValueError` as `roc_auc`, and when one of the two classes is missing.
    """
    truth, score, weight = binary("roc_curve", y_true, y_score, sample_weight)
    known = table(truth, score, weight)
    positives, negatives = known.true[-1], known.false[-1]
    _require(positives > 0 and negatives > 0, "roc_curve", "a positive and a negative")
    true, false, thresholds = known
    if drop_intermediate and len(true) > 2:
        bends = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
        kept = np.flatnonzero(np.concatenate(([True], bends, [True])))
        true, false, thresholds = true[kept], false[kept], thresholds[kept]
    start = np.zeros(1)
    return RocCurve(
        np.concatenate((start, false / negatives)),
        np.concatenate((start, true / positives)),
        np.concatenate(([np.inf], thresholds)),
    )


def precision_recall_curve(
    y_true: Array,
    y_score: Array,
    *,
    sample_weight: Array | None = None,
    drop_intermediate: bool = False,
) -> PrecisionRecallCurve:
    """Precision and recall of a binary score at each of its distinct values, rising.

    `drop_intermediate` leaves out points between others of the same recall.

        >>> curve = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> curve.precision.round(4), curve.recall
        (array([0.5   , 0.6667, 0.5   , 1.    , 1.    ]), array([1. , 1. , 0.5, 0.5, 0. ]))

    Raises `ValueError` as `roc_auc`, and when there is no positive.
    """
    truth, score, weight = binary("precision_recall_curve", y_true, y_score, sample_weight)
    known = table(truth, score, weight)
    _require(known.true[-1] > 0, "precision_recall_curve", "a positive")
    true, false, thresholds = known
    if drop_intermediate:
        ends = np.ones(len(true), bool)
        ends[1:-1] = (np.diff(true[:-1]) != 0) | (np.diff(true[1:]) != 0)
        true, false, thresholds = true[ends], false[ends], thresholds[ends]
    precision = divided(true, true + false, 0.0)
    recall = true / true[-1]
    return PrecisionRecallCurve(
        np.concatenate((precision[::-1], [1.0])),
        np.concatenate((recall[::-1], [0.0])),
        thresholds[::-1],
    )


def youden_threshold(
    y_true: Array, y_score: Array, *, sample_weight: Array | None = None
) -> Threshold:
    """The cut-off with the largest sensitivity + specificity - 1 (Youden 1950); of equals, the
    highest.

        >>> youden_threshold([0, 0, 1, 1], [0.1, 0.4, 0.5, 0.8])
        Threshold(threshold=0.5, sensitivity=1.0, specificity=1.0)

    Choose it on validation data: on the data that it is reported on, it flatters. Raises
    `ValueError` as `roc_curve`.
    """
    curve = roc_curve(y_true, y_score, sample_weight=sample_weight, drop_intermediate=False)
    best = int(np.argmax(curve.tpr - curve.fpr))
    return Threshold(
        float(curve.thresholds[best]), float(curve.tpr[best]), 1 - float(curve.fpr[best])
    )


# ---- what all of them are made of ----------------------------------------------------------------


def table(truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None) -> Table:
    """The counts at every distinct score, from one sort: O(n log n)."""
    if weight is not None and not weight.all():
        there = weight > 0
        truth, score, weight = truth[there], score[there], weight[there]
    order = np.argsort(score, kind="stable")[::-1]
    truth, score = truth[order], score[order]
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    if weight is None:
        true = np.cumsum(truth, dtype=np.int64)[last]
        return Table(true, last + 1 - true, score[last])
    weight = weight[order]
    return Table(np.cumsum(weight * truth)[last], np.cumsum(weight * ~truth)[last], score[last])


def binary(
    name: str, y_true: Array, y_score: Array, sample_weight: Array | None
) -> tuple[NDArray[np.bool_], Numbers, Numbers | None]:
    """The checked truth, scores and weights of one class."""
    truth, score = bits(name, "y_true", y_true), numbers(name, "y_score", y_score)
    same_shape(name, "y_true", truth, "y_score", score)
    if truth.ndim != 1:
        raise ShapeError(
            f"{name}: one binary label per example, [examples], was expected and the shape is "
            f"{truth.shape}, at {source.here()}\n  Take one class: y_true[:, k], y_score[:, k]."
        )
    return truth, score, weights(name, sample_weight, len(truth))


def _require(there: bool, name: str, what: str) -> None:
    if not there:
        raise ValueError(f"{name} wants {what} at least among the examples, at {source.here()}")
