"""Counting right and wrong decisions: accuracy, confusion, precision, recall, F1, agreement.

`y_true` and `y_pred` are classes `[n]` (integers or any values that sort) or, multi-label, zeros
and ones `[n, labels]`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array
from ..errors import ShapeError, UndefinedMetricWarning
from .inputs import (
    Numbers,
    array,
    bits,
    choice,
    class_numbers,
    divided,
    numbers,
    same_shape,
    weights,
)

Labels = Sequence[Any] | Numbers | None


class Counts(NamedTuple):
    """What precision, recall and F1 are made of: true positives, predicted and actual positives,
    one number per class."""

    true: Numbers
    predicted: Numbers
    actual: Numbers


def accuracy(y_true: Array, y_pred: Array, *, sample_weight: Array | None = None) -> float:
    """The share of examples that are right; of a multi-label example, all labels must be.

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75

    `y_pred` are classes, not scores: `np.argmax(logits, -1)`. Raises `ShapeError` when the shapes
    differ, `ValueError` for no examples.
    """
    truth, guess = _pair("accuracy", y_true, y_pred)
    right = truth == guess
    if right.ndim > 1:
        right = right.all(tuple(range(1, right.ndim)))
    return float(np.average(right, weights=weights("accuracy", sample_weight, len(right))))


def top_k_accuracy(
    y_true: Array, y_score: Array, *, k: int = 2, sample_weight: Array | None = None
) -> float:
    """The share of examples whose class is among the `k` with the highest scores.

    `y_true`: integers `[n]`; `y_score`: `[n, classes]`. Of equal scores the lower class number
    counts as the higher, so that constant scores do not look perfect.

        >>> scores = [[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.2, 0.4, 0.3], [0.7, 0.2, 0.1]]
        >>> top_k_accuracy([0, 1, 2, 2], scores, k=2)
        0.75

    Raises `ValueError` for a `k` that is no number of classes, for NaN and for no examples.
    """
    name = "top_k_accuracy"
    score = numbers(name, "y_score", y_score)
    if score.ndim != 2 or np.shape(y_true) != score.shape[:1]:
        raise ShapeError(
            f"{name} wants y_true [examples] and y_score [examples, classes], got "
            f"{np.shape(y_true)} and {score.shape}, at {source.here()}"
        )
    if not 1 <= k <= score.shape[1]:
        raise ValueError(
            f"{name}: k={k} must be from 1 to the {score.shape[1]} classes, at {source.here()}"
        )
    truth = class_numbers(name, y_true, score.shape[1])[:, None]
    own = np.take_along_axis(score, truth, axis=1)
    ahead = (score > own) | ((score == own) & (np.arange(score.shape[1]) < truth))
    right = ahead.sum(1) < k
    return float(np.average(right, weights=weights(name, sample_weight, len(right))))


def confusion_matrix(
    y_true: Array,
    y_pred: Array,
    *,
    labels: Labels = None,
    normalize: str | None = None,
    sample_weight: Array | None = None,
) -> Numbers:
    """How often class i was taken for class j: rows are the truth, columns the predictions.

    `labels` chooses and orders the classes (default: all that occur, sorted). `normalize`: "true"
    divides by the row, "pred" by the column, "all" by the whole; 0 / 0 is 0. Counts are int64,
    with weights or normalised float64.

        >>> confusion_matrix([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2])
        array([[2, 0, 0],
               [0, 0, 1],
               [1, 0, 2]])

    Raises `ShapeError` when the shapes differ, `ValueError` for no examples.
    """
    name = "confusion_matrix"
    truth, guess = _pair(name, y_true, y_pred)
    if truth.ndim != 1:
        raise ShapeError(
            f"{name} wants one class per example, [examples], and the shape is {truth.shape}, at "
            f"{source.here()}\n  Of a multi-label task, take one label: y_true[:, k]."
        )
    choice(name, "normalize", normalize, ("true", "pred", "all", None))
    classes = _classes(name, truth, guess, labels)
    if not np.isin(truth, classes).any():
        raise ValueError(
            f"{name}: none of the labels {classes.tolist()} occurs in y_true, at {source.here()}"
        )
    matrix = _confusion(truth, guess, classes, weights(name, sample_weight, len(truth)))
    if normalize is None:
        return matrix
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    return np.asarray(divided(matrix, matrix.sum(axis=axis, keepdims=True), 0.0))


def precision(y_true: Array, y_pred: Array, **options: Any) -> Any:
    """The share of the predicted positives that are positive: true / predicted positives.

    The options are those of `f1`.

    >>> precision([0, 1, 1, 0], [1, 1, 1, 0]), precision([0, 1, 0], [0, 1, 1], average=None)
    (0.6666666666666666, array([1. , 0.5]))
    """
    return _score("precision", y_true, y_pred, **options)


def recall(y_true: Array, y_pred: Array, **options: Any) -> Any:
    """The share of the positives that are found (sensitivity): true / actual positives.

    The options are those of `f1`.

    >>> recall([0, 1, 1, 0], [1, 1, 0, 0]), recall([0, 1, 2], [0, 2, 2], average="macro")
    (0.5, 0.6666666666666666)
    """
    return _score("recall", y_true, y_pred, **options)


def f1(y_true: Array, y_pred: Array, **options: Any) -> Any:
    """The harmonic mean of precision and recall: 2 · true / (predicted + actual positives).

    Keyword options:

    - `average`: "binary" (default: of the class `pos_label`), "macro" (the mean over classes),
      "weighted" (by how often a class is the truth), "micro" (all decisions counted together),
      "samples" (multi-label: the mean over examples), `None` (the array of classes);
    - `pos_label`: the positive class of "binary", 1;
    - `labels`: the classes to score, in order; default all that occur, sorted;
    - `zero_division`: what 0 / 0 is: 0.0, 1.0, or NaN, which averages leave out. The default takes
      0.0 and gives an `UndefinedMetricWarning` that names the classes;
    - `sample_weight`: one weight per example.

    >>> f1([0, 1, 1, 0], [1, 1, 1, 0])
    0.8
    >>> round(f1([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1], average="macro", zero_division=0), 4)
    0.2667

    Raises `ValueError` for "binary" with more than two classes, `ShapeError` when shapes differ.
    """
    return _score("f1", y_true, y_pred, **options)


def fbeta(y_true: Array, y_pred: Array, *, beta: float, **options: Any) -> Any:
    """The F-score that weighs recall `beta` times as much as precision.

        F = (1 + β²) · true / (predicted + β² · actual positives)

    The options are those of `f1`.

        >>> round(fbeta([0, 1, 1, 0], [1, 1, 1, 0], beta=2.0), 4)
        0.9091
    """
    if not beta >= 0:
        raise ValueError(f"fbeta: beta={beta} must be 0 or more, at {source.here()}")
    return _score("fbeta", y_true, y_pred, beta=beta, **options)


# ---- how it is counted ---------------------------------------------------------------------------


def _pair(name: str, y_true: Array, y_pred: Array) -> tuple[Numbers, Numbers]:
    truth, guess = array(name, "y_true", y_true), array(name, "y_pred", y_pred)
    if truth.shape != guess.shape and guess.ndim == truth.ndim + 1:
        raise ShapeError(
            f"{name}: y_true has shape {truth.shape} and y_pred {guess.shape}, which look like "
            f"scores, at {source.here()}\n  Write np.argmax(y_pred, axis=-1)."
        )
    same_shape(name, "y_true", truth, "y_pred", guess)
    if truth.ndim == 0:
        raise ShapeError(f"{name} wants arrays of examples, not numbers, at {source.here()}")
    for what, known in (("y_true", truth), ("y_pred", guess)):
        if known.dtype.kind == "f" and not (known == np.rint(known)).all():
            raise ValueError(
                f"{name}: {what} holds fractions or NaN, and classes are whole, at "
                f"{source.here()}\n  Decide first: scores >= threshold, or np.argmax(scores, -1)."
            )
    if (truth.dtype.kind in "US") != (guess.dtype.kind in "US"):
        raise TypeError(
            f"{name}: y_true is {truth.dtype} and y_pred {guess.dtype}, and a text is never equal "
            f"to a number, at {source.here()}\n  Number the classes alike: np.unique(…, "
            "return_inverse=True)."
        )
    return truth, guess


def _classes(name: str, truth: Numbers, guess: Numbers, labels: Labels) -> Numbers:
    if labels is None:
        return np.unique(np.concatenate((truth, guess)))
    classes = array(name, "labels", labels)
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes):
        raise ValueError(f"{name}: labels must be distinct classes, at {source.here()}")
    return classes


def _positions(values: Numbers, classes: Numbers) -> NDArray[np.int64]:
    """The index of each value in `classes`, and -1 for one that is not there."""
    order = np.argsort(classes)
    found = order[np.searchsorted(classes, values, sorter=order).clip(max=len(classes) - 1)]
    return np.where(classes[found] == values, found, -1)


def _confusion(truth: Numbers, guess: Numbers, classes: Numbers, weight: Numbers | None) -> Numbers:
    row, column = _positions(truth, classes), _positions(guess, classes)
    there, size = (row >= 0) & (column >= 0), len(classes)
    cells = np.bincount(
        row[there] * size + column[there],
        weights=None if weight is None else weight[there],
        minlength=size * size,
    )
    return cells.reshape(size, size)


def counts(
    name: str,
    y_true: Array,
    y_pred: Array,
    labels: Labels = None,
    weight: Numbers | None = None,
    by_sample: bool = False,
) -> tuple[Counts, Numbers]:
    """The counts per class (per example with `by_sample`), and the classes."""
    truth, guess = _pair(name, y_true, y_pred)
    if truth.ndim == 1:
        classes = _classes(name, truth, guess, labels)
        actual, predicted = _positions(truth, classes), _positions(guess, classes)
        hit = np.where(actual == predicted, actual, -1)

        def tally(index: NDArray[np.int64]) -> Numbers:
            # Shifted by one, what is no class falls into a bin of its own.
            return np.bincount(index + 1, weights=weight, minlength=len(classes) + 1)[1:]

        return Counts(tally(hit), tally(predicted), tally(actual)), classes
    if truth.ndim != 2:
        raise ShapeError(
            f"{name} wants classes [examples] or labels [examples, labels], and the shape is "
            f"{truth.shape}, at {source.here()}"
        )
    yes, said = bits(name, "y_true", truth), bits(name, "y_pred", guess)
    classes = np.arange(truth.shape[1])
    if labels is not None:
        classes = _classes(name, truth, guess, labels)
        if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= truth.shape[1]:
            raise ValueError(
                f"{name}: labels must be columns, 0 to {truth.shape[1] - 1}, and are "
                f"{classes.tolist()}, at {source.here()}"
            )
        yes, said = yes[:, classes], said[:, classes]
    if by_sample:
        return Counts((yes & said).sum(1), said.sum(1), yes.sum(1)), classes
    each = np.ones(len(yes), np.int64) if weight is None else weight
    return Counts(each @ (yes & said), each @ said, each @ yes), classes


def _score(
    name: str,
    y_true: Array,
    y_pred: Array,
    *,
    average: str | None = "binary",
    pos_label: Any = 1,
    labels: Labels = None,
    zero_division: float | str = "warn",
    sample_weight: Array | None = None,
    beta: float = 1.0,
) -> Any:
    choice(name, "average", average, ("binary", "macro", "weighted", "micro", "samples", None))
    truth = array(name, "y_true", y_true)
    weight = weights(name, sample_weight, len(truth)) if truth.ndim else None
    if average == "samples" and truth.ndim != 2:
        raise ValueError(
            f'{name}: average="samples" is for labels [examples, labels], at {source.here()}'
        )
    if average == "binary":
        found = np.unique(np.concatenate((truth.ravel(), np.ravel(y_pred))))
        if truth.ndim != 1 or len(np.union1d(found, [pos_label])) > 2:
            raise ValueError(
                f'{name}: average="binary" wants two classes, of which pos_label={pos_label!r} is '
                f"one, and found {found[:6].tolist()} in shape {truth.shape}, at {source.here()}\n"
                '  Say average="macro", "micro" or "weighted", or None for one number per class.'
            )
        labels = [pos_label]
    counted, classes = counts(name, y_true, y_pred, labels, weight, average == "samples")
    if average == "samples":
        classes = np.arange(len(truth))
    return averaged(name, counted, classes, average, zero_division, beta, weight)


def averaged(
    name: str,
    counted: Counts,
    classes: Numbers,
    average: str | None,
    zero_division: float | str,
    beta: float = 1.0,
    weight: Numbers | None = None,
) -> Any:
    """Precision, recall or an F-score of counts per class, and the average over the classes."""
    allowed = ("warn", 0.0, 1.0)
    if not (isinstance(zero_division, float) and np.isnan(zero_division)):
        choice(name, "zero_division", zero_division, allowed)
    if average == "micro":
        counted = Counts(*(np.atleast_1d(part.sum()) for part in counted))
    below, above = counted.predicted, counted.true
    if name == "recall" or beta == np.inf:
        below = counted.actual
    elif name != "precision":
        below, above = below + beta**2 * counted.actual, (1 + beta**2) * above
    otherwise = 0.0 if zero_division == "warn" else float(zero_division)
    each = np.asarray(divided(above, below, otherwise))
    if zero_division == "warn" and (below == 0).any():
        which = "" if average == "micro" else f" of {classes[below == 0][:9].tolist()}"
        warnings.warn(
            f"{name}{which} is 0 / 0 and taken as 0; zero_division=0.0, 1.0 or np.nan says what it "
            f"shall be, at {source.here()}",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    if average is None:
        return each
    if average in ("binary", "micro"):
        return float(each[0])
    importance = np.ones(len(each))
    if average == "weighted":
        importance = counted.actual
    elif average == "samples" and weight is not None:
        importance = weight
    there = ~np.isnan(each)
    if not there.any():
        return float("nan")
    if not importance[there].sum():
        return otherwise
    return float(np.average(each[there], weights=importance[there]))
