"""How far decisions agree with the truth beyond chance: one number of a confusion matrix."""

from __future__ import annotations

import numpy as np

from ..core import Array
from .classification import Labels, confusion_matrix
from .inputs import choice, divided


def matthews_corrcoef(y_true: Array, y_pred: Array, *, sample_weight: Array | None = None) -> float:
    """The correlation of truth and prediction over classes, from -1 to 1 (Gorodkin 2004); 0 when
    one of them is constant.

    >>> round(matthews_corrcoef([1, 1, 1, 0], [1, 0, 1, 1]), 4)
    -0.3333
    """
    matrix = confusion_matrix(y_true, y_pred, sample_weight=sample_weight).astype(float)
    actual, predicted, total = matrix.sum(1), matrix.sum(0), matrix.sum()
    above = np.trace(matrix) * total - actual @ predicted
    spread = (total**2 - predicted @ predicted) * (total**2 - actual @ actual)
    return float(divided(above, np.sqrt(spread), 0.0))


def cohen_kappa(
    y_true: Array,
    y_pred: Array,
    *,
    weights: str | None = None,
    labels: Labels = None,
    sample_weight: Array | None = None,
) -> float:
    """Agreement beyond chance (Cohen 1960): 1 - disagreements / those expected by chance.

    `weights`: `None` counts every disagreement alike, "linear" by |i - j|, "quadratic" by (i - j)²,
    for ordered classes. NaN when both are one and the same class throughout.

        >>> cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0])
        0.5
    """
    choice("cohen_kappa", "weights", weights, (None, "linear", "quadratic"))
    matrix = confusion_matrix(y_true, y_pred, labels=labels, sample_weight=sample_weight)
    expected = np.outer(matrix.sum(1), matrix.sum(0)) / matrix.sum()
    apart = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix))))
    cost = {None: apart != 0, "linear": apart, "quadratic": apart**2}[weights]
    return float(1 - divided(np.sum(cost * matrix), np.sum(cost * expected)))
