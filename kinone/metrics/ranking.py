"""How well scores rank positives above negatives: ROC and precision-recall curves, their areas.

Everything comes from one table per class, the true and false positives at each distinct score in
falling order, which one sort makes: O(n log n). Counts stay integers until the last division.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array
from ..errors import ShapeError, UndefinedMetricWarning
from .inputs import (
    Numbers,
    Score,
    array,
    bits,
    choice,
    class_numbers,
    divided,
    numbers,
    same_shape,
    weights,
)


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


class _Table(NamedTuple):
    true: Numbers  # positives with a score at or above the threshold, rising
    false: Numbers
    thresholds: Numbers  # the distinct scores, falling


def roc_auc(
    y_true: Array,
    y_score: Array,
    *,
    average: str | None = "macro",
    multi_class: str = "ovr",
    sample_weight: Array | None = None,
) -> Score | NDArray[np.float64]:
    """The area under the ROC curve: how often a positive example outscores a negative one.

        AUC = (Σ over pairs of [s⁺ > s⁻] + ½ [s⁺ = s⁻]) / (positives · negatives)

    Three shapes are understood:

    - binary: `y_true` `[n]` of 0 and 1, `y_score` `[n]`;
    - multi-label: `y_true` `[n, classes]` of 0 and 1, `y_score` of the same shape;
    - multi-class: `y_true` `[n]` integers, `y_score` `[n, classes]`: each class against the rest
      (`multi_class="ovr"`) or against each other one ("ovo", Hand and Till 2001).

    `average`: "macro" is the mean over classes, "weighted" by their positives, "micro" takes every
    cell as one example, `None` returns the array of classes. A class without a positive or without
    a negative has no AUC: it is left out, an `UndefinedMetricWarning` names it, and so does
    `result.undefined` (with `None` it is NaN, without a warning).

        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
        >>> roc_auc([[1, 0], [0, 0], [1, 1]], [[0.9, 0.1], [0.2, 0.6], [0.2, 0.8]], average=None)
        array([0.75, 1.  ])

    Raises `ValueError` for NaN scores, for no examples, and for labels that are not 0 and 1.
    """
    return _area(
        "roc_auc", _roc_area, y_true, y_score, average, multi_class, sample_weight, both=True
    )


def average_precision(
    y_true: Array,
    y_score: Array,
    *,
    average: str | None = "macro",
    sample_weight: Array | None = None,
) -> Score | NDArray[np.float64]:
    """The mean precision over the positives, in the order of their scores (AP).

        AP = Σₖ (Rₖ - Rₖ₋₁) · Pₖ        over the distinct thresholds k, without interpolation

    Shapes, `average` and classes without a positive are as for `roc_auc`; a class is compared with
    the rest.

        >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.8333

    Raises `ValueError` for NaN scores, for no examples, and for labels that are not 0 and 1.
    """
    return _area(
        *("average_precision", _average_precision, y_true, y_score, average, "ovr"),
        *(sample_weight, False),
    )


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
    truth, score, weight = _binary("roc_curve", y_true, y_score, sample_weight)
    table = _table(truth, score, weight)
    positives, negatives = table.true[-1], table.false[-1]
    _require(positives > 0 and negatives > 0, "roc_curve", "a positive and a negative")
    true, false, thresholds = table
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
    y_true: Array, y_score: Array, *, sample_weight: Array | None = None
) -> PrecisionRecallCurve:
    """Precision and recall of a binary score at each of its distinct values, rising.

        >>> curve = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> curve.precision.round(4), curve.recall
        (array([0.5   , 0.6667, 0.5   , 1.    , 1.    ]), array([1. , 1. , 0.5, 0.5, 0. ]))

    Raises `ValueError` as `roc_auc`, and when there is no positive.
    """
    truth, score, weight = _binary("precision_recall_curve", y_true, y_score, sample_weight)
    table = _table(truth, score, weight)
    _require(table.true[-1] > 0, "precision_recall_curve", "a positive")
    precision = divided(table.true, table.true + table.false, 0.0)
    recall = table.true / table.true[-1]
    return PrecisionRecallCurve(
        np.concatenate((precision[::-1], [1.0])),
        np.concatenate((recall[::-1], [0.0])),
        table.thresholds[::-1],
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


# ---- one class -----------------------------------------------------------------------------------


def _table(truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None) -> _Table:
    if weight is not None and not weight.all():
        there = weight > 0
        truth, score, weight = truth[there], score[there], weight[there]
    order = np.argsort(score, kind="stable")[::-1]
    truth, score = truth[order], score[order]
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    if weight is None:
        true = np.cumsum(truth, dtype=np.int64)[last]
        return _Table(true, last + 1 - true, score[last])
    weight = weight[order]
    return _Table(np.cumsum(weight * truth)[last], np.cumsum(weight * ~truth)[last], score[last])


def _roc_area(truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None) -> float:
    true, false, _ = _table(truth, score, weight)
    if true[-1] == 0 or false[-1] == 0:
        return np.nan
    # Twice the area under the trapezia, an integer without weights.
    steps = np.diff(false, prepend=0)
    twice = np.sum(steps * (2 * true - np.diff(true, prepend=0)))
    return float(twice / (2 * true[-1] * false[-1]))


def _average_precision(truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None) -> float:
    true, false, _ = _table(truth, score, weight)
    if true[-1] == 0:
        return np.nan
    precision = divided(true, true + false, 0.0)
    return float(np.sum(np.diff(true, prepend=0) * precision) / true[-1])


def _binary(
    name: str, y_true: Array, y_score: Array, sample_weight: Array | None
) -> tuple[NDArray[np.bool_], Numbers, Numbers | None]:
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


# ---- many classes --------------------------------------------------------------------------------

Area = Callable[[NDArray[np.bool_], Numbers, Numbers | None], float]


def _area(
    name: str,
    area: Area,
    y_true: Array,
    y_score: Array,
    average: str | None,
    multi_class: str,
    sample_weight: Array | None,
    both: bool,
) -> Score | NDArray[np.float64]:
    """The area of every class, averaged; `both` says that negatives are needed too."""
    choice(name, "average", average, ("macro", "weighted", "micro", None))
    choice(name, "multi_class", multi_class, ("ovr", "ovo"))
    score = numbers(name, "y_score", y_score)
    known = array(name, "y_true", y_true)
    lacking = "positive or no negative" if both else "positive"
    if score.ndim == 1:
        truth, score, weight = _binary(name, y_true, score, sample_weight)
        value = area(truth, score, weight)
        if np.isnan(value):
            _warn(f"{name} is undefined with no {lacking} example and returned as NaN")
        return Score(value, (0,) * bool(np.isnan(value)))
    if score.ndim != 2:
        raise ShapeError(
            f"{name}: y_score must be [examples] or [examples, classes] and has shape "
            f"{score.shape}, at {source.here()}"
        )
    count, classes = score.shape
    weight = weights(name, sample_weight, count)
    if known.ndim == 1:
        if len(known) != count:
            raise ShapeError(
                f"{name}: y_true has {len(known)} examples and y_score {score.shape} has {count}, "
                f"at {source.here()}"
            )
        if classes == 1:
            raise ShapeError(
                f"{name}: y_score {score.shape} has one column for y_true {known.shape}, at "
                f"{source.here()}\n  Write y_score[:, 0] for a binary score."
            )
        chosen = class_numbers(name, known, classes)
        if multi_class == "ovo":
            return _one_versus_one(name, area, chosen, score, average, weight)
        truth = chosen[:, None] == np.arange(classes)
    else:
        same_shape(name, "y_true", known, "y_score", score)
        truth = bits(name, "y_true", known)
    if average == "micro":
        spread = None if weight is None else np.repeat(weight, classes)
        return Score(area(truth.ravel(), score.ravel(), spread))
    per_class = np.array([area(truth[:, k], score[:, k], weight) for k in range(classes)])
    if average is None:
        return per_class
    importance = np.ones(classes)
    if average == "weighted":
        importance = truth.sum(0) if weight is None else weight @ truth
    return _averaged(name, per_class, importance, f"has no {lacking} example")


def _one_versus_one(
    name: str,
    area: Area,
    chosen: NDArray[np.int64],
    score: Numbers,
    average: str | None,
    weight: Numbers | None,
) -> Score:
    """The mean over pairs of classes of the AUC within the two, either one as the positive."""
    choice(name, 'with multi_class="ovo", average', average, ("macro", "weighted"))
    if weight is not None:
        raise ValueError(
            f'{name}: multi_class="ovo" has no sample_weight, at {source.here()}\n'
            '  Use multi_class="ovr".'
        )
    pairs = list(combinations(range(score.shape[1]), 2))
    areas, sizes = [], []
    for a, b in pairs:
        within = (chosen == a) | (chosen == b)
        first = chosen[within] == a
        if first.all() or not first.any():
            areas.append(np.nan)
        else:
            scores = score[within]
            areas.append((area(first, scores[:, a], None) + area(~first, scores[:, b], None)) / 2)
        sizes.append(np.count_nonzero(within))
    importance = np.array(sizes if average == "weighted" else [1.0] * len(pairs))
    absent = np.setdiff1d(np.arange(score.shape[1]), chosen)
    result = _averaged(name, np.array(areas), importance, None)
    if len(absent):
        _warn(f"{name}: classes {absent.tolist()} have no example and are left out of the pairs")
    return Score(result, absent.tolist())


def _averaged(name: str, per_class: Numbers, importance: Numbers, why: str | None) -> Score:
    """The weighted mean over the classes that are defined; the others are named."""
    undefined = np.flatnonzero(np.isnan(per_class))
    if len(undefined) and why is not None:
        listed = ", ".join(map(str, undefined))
        _warn(f"{name}: class {listed} {why}: left out of the average of {len(per_class)} classes")
    there = ~np.isnan(per_class)
    total = importance[there].sum() if there.any() else 0.0
    value = np.sum(per_class[there] * importance[there]) / total if total else np.nan
    return Score(value, undefined.tolist(), per_class)


def _warn(message: str) -> None:
    warnings.warn(f"{message}, at {source.here()}", UndefinedMetricWarning, stacklevel=2)
