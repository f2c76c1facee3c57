"""ROC AUC of 22,433 examples and 14 findings, and average precision.

`python -m benchmarks.metrics`. The predictions are random with the shape, the prevalence and the
ties of a chest X-ray test set; against scikit-learn.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from kinone import metrics

from .harness import Row, compare, milliseconds, show

EXAMPLES, CLASSES = 22_433, 14


def predictions() -> tuple[Any, Any]:
    """Rare labels, and scores that rank them fairly well."""
    generator = np.random.Generator(np.random.Philox(0))
    truth = generator.random((EXAMPLES, CLASSES)) < np.geomspace(0.002, 0.2, CLASSES)
    score = generator.normal(size=truth.shape) + truth
    return truth, score.round(3)


def main() -> list[Row]:
    truth, score = predictions()
    rows = []
    for title, ours, theirs in (
        ("roc_auc", metrics.roc_auc, roc_auc_score),
        ("average_precision", metrics.average_precision, average_precision_score),
    ):
        timings = compare(
            {
                "Kinone": partial(ours, truth, score, average=None),
                "scikit-learn": partial(theirs, truth, score, average=None),
            },
            turns=10,
            sample_seconds=0.0,
        )
        name = f"{title}, {EXAMPLES:,} × {CLASSES}"
        show(name, timings)
        rows.append(
            Row(
                name,
                milliseconds(timings["Kinone"].seconds),
                f"scikit-learn {milliseconds(timings['scikit-learn'].seconds)}",
                timings["Kinone"].ratio,
            )
        )
    return rows


if __name__ == "__main__":
    main()
