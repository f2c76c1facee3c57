"""How well scores rank positives above negatives: areas under curves, of one class or many."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array
from ..errors import ShapeError, UndefinedMetricWarning
from .curves import binary, table
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


def roc_auc(
    y_true: Array,
    y_score: Array,
    *,
    average: str | None = "macro",
    multi_class: str = "ovr",
    max_fpr: float | None = None,
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
    cell as one example, "samples" (multi-label) ranks the labels of each example, `None` returns
    the array of classes. A class without a positive or without a negative has no AUC: it is left
    out, an `UndefinedMetricWarning` names it, and so does `result.undefined` (with `None` it is
    NaN, without a warning).

    `max_fpr`, above 0 and at most 1, takes the curve only up to that rate of false positives, and
    scales the area so that chance is ½ and the best 1 (McClish 1989).

        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
        >>> roc_auc([[1, 0], [0, 0], [1, 1]], [[0.9, 0.1], [0.2, 0.6], [0.2, 0.8]], average=None)
        array([0.75, 1.  ])

    Raises `ValueError` for NaN scores, for no examples, and for labels that are not 0 and 1.
    """
    area: Area = _roc_area
    if max_fpr is not None and max_fpr != 1:
        if not 0 < max_fpr < 1:
            raise ValueError(
                f"roc_auc: max_fpr={max_fpr} must be above 0 and at most 1, at {source.here()}"
            )
        area = partial(_partial_roc_area, max_fpr)
    return _area("roc_auc", area, y_true, y_score, average, multi_class, sample_weight, both=True)


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


# ---- one class -----------------------------------------------------------------------------------


def _roc_area(truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None) -> float:
    true, false, _ = table(truth, score, weight)
    if true[-1] == 0 or false[-1] == 0:
        return np.nan
    # Twice the area under the trapezia, an integer without weights.
    steps = np.diff(false, prepend=0)
    twice = np.sum(steps * (2 * true - np.diff(true, prepend=0)))
    return float(twice / (2 * true[-1] * false[-1]))


def _partial_roc_area(
    max_fpr: float, truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None
) -> float:
    true, false, _ = table(truth, score, weight)
    if true[-1] == 0 or false[-1] == 0:
        return np.nan
    fpr = np.append(0.0, false / false[-1])
    tpr = np.append(0.0, true / true[-1])
    stop = int(np.searchsorted(fpr, max_fpr, "right"))
    ends = slice(stop - 1, stop + 1)
    tpr = np.append(tpr[:stop], np.interp(max_fpr, fpr[ends], tpr[ends]))
    fpr = np.append(fpr[:stop], max_fpr)
    inside = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2
    chance = max_fpr**2 / 2
    return float((1 + (inside - chance) / (max_fpr - chance)) / 2)


def _average_precision(truth: NDArray[np.bool_], score: Numbers, weight: Numbers | None) -> float:
    true, false, _ = table(truth, score, weight)
    if true[-1] == 0:
        return np.nan
    precision = divided(true, true + false, 0.0)
    return float(np.sum(np.diff(true, prepend=0) * precision) / true[-1])


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
    choice(name, "average", average, ("macro", "weighted", "micro", "samples", None))
    choice(name, "multi_class", multi_class, ("ovr", "ovo"))
    score = numbers(name, "y_score", y_score)
    known = array(name, "y_true", y_true)
    lacking = "positive or no negative" if both else "positive"
    if score.ndim == 1:
        truth, score, weight = binary(name, y_true, score, sample_weight)
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
    if average == "samples":
        if known.ndim == 1:
            raise ValueError(
                f'{name}: average="samples" is for labels [examples, labels], at {source.here()}'
            )
        per_row = np.array([area(*row, None) for row in zip(truth, score, strict=True)])
        importance = np.ones(count) if weight is None else weight
        return _averaged(name, per_row, importance, f"has no {lacking} label", "example")
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


def _averaged(
    name: str, per_class: Numbers, importance: Numbers, why: str | None, what: str = "class"
) -> Score:
    """The weighted mean over the classes that are defined; the others are named."""
    plural = {"class": "classes"}.get(what, f"{what}s")
    undefined = np.flatnonzero(np.isnan(per_class))
    if len(undefined) and why is not None:
        listed = ", ".join(map(str, undefined[:20])) + (", …" if len(undefined) > 20 else "")
        total = len(per_class)
        _warn(f"{name}: {what} {listed} {why}: left out of the average of {total} {plural}")
    there = ~np.isnan(per_class)
    weight = importance[there].sum() if there.any() else 0.0
    value = np.sum(per_class[there] * importance[there]) / weight if weight else np.nan
    return Score(value, undefined.tolist(), per_class)


def _warn(message: str) -> None:
    warnings.warn(f"{message}, at {source.here()}", UndefinedMetricWarning, stacklevel=2)
