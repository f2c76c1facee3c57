"""Metrics against scikit-learn on random, tied, weighted and degenerate data; the refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone import metrics
from kinone.errors import ShapeError

random = np.random.default_rng(0)
EXAMPLES = 60
BITS = random.integers(0, 2, EXAMPLES)
SCORES = np.round(random.normal(size=EXAMPLES) + BITS, 1)  # with many ties
WEIGHTS = np.where(random.random(EXAMPLES) < 0.2, 0, random.random(EXAMPLES))
CLASSES = random.integers(0, 4, EXAMPLES)
GUESSES = np.where(random.random(EXAMPLES) < 0.5, CLASSES, random.integers(0, 4, EXAMPLES))
CHANCES = random.dirichlet(np.ones(4), EXAMPLES)
LABELS = random.integers(0, 2, (EXAMPLES, 3))
SAID = random.integers(0, 2, (EXAMPLES, 3))
CELLS = np.round(random.random((EXAMPLES, 3)), 1)
TOLERANCE = {"rtol": 1e-12, "atol": 1e-15}


def oracle() -> Any:
    return pytest.importorskip("sklearn.metrics")


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want, **TOLERANCE)


WEIGHTED = pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["plain", "weighted"])


@pytest.mark.oracle
@WEIGHTED
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
def test_areas(average: str | None, weight: Any) -> None:
    sk, options = oracle(), {"average": average, "sample_weight": weight}
    pairs = ((BITS, SCORES), (LABELS, CELLS), (LABELS > 0, CELLS.astype(np.float32)))
    for truth, score in pairs:
        close(metrics.roc_auc(truth, score, **options), sk.roc_auc_score(truth, score, **options))
        close(
            metrics.average_precision(truth, score, **options),
            sk.average_precision_score(truth, score, **options),
        )
    close(
        metrics.roc_auc(CLASSES, CHANCES, **options),
        sk.roc_auc_score(CLASSES, CHANCES, multi_class="ovr", **options),
    )
    close(
        metrics.average_precision(CLASSES, CHANCES, **options),
        sk.average_precision_score(CLASSES, CHANCES, **options),
    )


@pytest.mark.oracle
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_one_versus_one(average: str) -> None:
    options = {"multi_class": "ovo", "average": average}
    close(
        metrics.roc_auc(CLASSES, CHANCES, **options),
        oracle().roc_auc_score(CLASSES, CHANCES, **options),
    )


@pytest.mark.oracle
@WEIGHTED
@pytest.mark.parametrize("drop", [True, False])
def test_curves(drop: bool, weight: Any) -> None:
    sk = oracle()
    options = {"sample_weight": weight, "drop_intermediate": drop}
    for got, want in zip(
        metrics.roc_curve(BITS, SCORES, **options),
        sk.roc_curve(BITS, SCORES, **options),
        strict=True,
    ):
        close(got, want)
    for got, want in zip(
        metrics.precision_recall_curve(BITS, SCORES, sample_weight=weight),
        sk.precision_recall_curve(BITS, SCORES, sample_weight=weight),
        strict=True,
    ):
        close(got, want)
    cut = metrics.youden_threshold(BITS, SCORES, sample_weight=weight)
    fpr, tpr, thresholds = sk.roc_curve(BITS, SCORES, **options)
    assert cut.threshold == thresholds[np.argmax(tpr - fpr)]
    close(cut.sensitivity + cut.specificity - 1, np.max(tpr - fpr))


@pytest.mark.oracle
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_an_auc_counts_the_pairs(examples: list[tuple[bool, int]]) -> None:
    truth, score = (np.array(column) for column in zip(*examples, strict=True))
    if truth.all() or not truth.any():
        with pytest.warns(metrics.UndefinedMetricWarning, match="undefined with no positive"):
            assert np.isnan(metrics.roc_auc(truth, score))
        return
    apart = score[truth][:, None] - score[~truth]
    assert metrics.roc_auc(truth, score) == np.mean((apart > 0) + 0.5 * (apart == 0))
    assert metrics.roc_auc(truth, -score) == pytest.approx(1 - metrics.roc_auc(truth, score))


def test_undefined_classes_are_left_out_and_named() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]])
    score = np.array([[0.9, 0.1, 0.2], [0.2, 0.3, 0.1], [0.1, 0.2, 0.9], [0.05, 0.2, 0.3]])
    with pytest.warns(metrics.UndefinedMetricWarning, match=r"class 1, 2 has no .*test_metrics"):
        result = metrics.roc_auc(truth, score)
    assert result == 0.75
    assert result.undefined == (1, 2)
    assert "undefined=(1, 2)" in repr(result)
    np.testing.assert_array_equal(result.per_class, [0.75, np.nan, np.nan])
    np.testing.assert_array_equal(metrics.roc_auc(truth, score, average=None), result.per_class)
    with pytest.warns(metrics.UndefinedMetricWarning, match="class 1 has no positive example"):
        assert metrics.average_precision(truth, score).undefined == (1,)
    with pytest.warns(metrics.UndefinedMetricWarning, match=r"\[2\] have no example"):
        ovo = metrics.roc_auc([0, 1, 0, 1], score, multi_class="ovo")
    assert ovo.undefined == (2,)
    with pytest.warns(metrics.UndefinedMetricWarning):
        assert np.isnan(metrics.roc_auc(np.zeros((3, 2)), score[:3, :2]))


@pytest.mark.oracle
@WEIGHTED
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", "samples", None])
def test_decisions(average: str | None, weight: Any) -> None:
    sk = oracle()
    options = {"average": average, "sample_weight": weight, "zero_division": 0.0}
    pairs = [("precision", "precision_score"), ("recall", "recall_score"), ("f1", "f1_score")]
    for name, theirs in pairs:
        ours, theirs = getattr(metrics, name), getattr(sk, theirs)
        close(ours(LABELS, SAID, **options), theirs(LABELS, SAID, **options))
        if average == "samples":
            continue
        close(ours(CLASSES, GUESSES, **options), theirs(CLASSES, GUESSES, **options))
        chosen = {**options, "labels": [3, 0]}
        close(ours(CLASSES, GUESSES, **chosen), theirs(CLASSES, GUESSES, **chosen))
        words = np.array(["a", "b", "c", "d"])
        close(
            ours(words[CLASSES], words[GUESSES], **options),
            theirs(CLASSES, GUESSES, **options),
        )
    close(
        metrics.fbeta(LABELS, SAID, beta=2.0, **options),
        sk.fbeta_score(LABELS, SAID, beta=2.0, **options),
    )


@pytest.mark.oracle
@pytest.mark.parametrize("zero", [0.0, 1.0, np.nan])
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
def test_zero_division(average: str | None, zero: float) -> None:
    sk = oracle()
    truth, guess = np.array([0, 0, 1, 3]), np.array([0, 2, 0, 0])
    options = {"average": average, "zero_division": zero, "labels": [0, 1, 2, 3, 4]}
    for name in ("precision", "recall", "f1"):
        theirs = getattr(sk, f"{name}_score")
        close(getattr(metrics, name)(truth, guess, **options), theirs(truth, guess, **options))


def test_a_zero_division_is_said() -> None:
    with pytest.warns(metrics.UndefinedMetricWarning, match=r"precision of \[2\] is 0 / 0"):
        assert metrics.precision([0, 1, 2], [0, 1, 1], average="macro") == 0.5
    with pytest.warns(metrics.UndefinedMetricWarning):
        assert metrics.f1([0, 0], [0, 0]) == 0


@pytest.mark.oracle
@WEIGHTED
def test_the_other_decisions(weight: Any) -> None:
    sk, options = oracle(), {"sample_weight": weight}
    pair = (CLASSES, GUESSES)
    close(metrics.accuracy(*pair, **options), sk.accuracy_score(*pair, **options))
    close(metrics.accuracy(LABELS, SAID, **options), sk.accuracy_score(LABELS, SAID, **options))
    close(metrics.f1(BITS, SAID[:, 0], **options), sk.f1_score(BITS, SAID[:, 0], **options))
    for normalize in (None, "true", "pred", "all"):
        for labels in (None, [2, 0, 1]):
            more = {**options, "normalize": normalize, "labels": labels}
            close(metrics.confusion_matrix(*pair, **more), sk.confusion_matrix(*pair, **more))
    for k in (1, 2, 3):
        close(
            metrics.top_k_accuracy(CLASSES, CHANCES, k=k, **options),
            sk.top_k_accuracy_score(CLASSES, CHANCES, k=k, **options),
        )
    close(metrics.matthews_corrcoef(*pair, **options), sk.matthews_corrcoef(*pair, **options))
    for weights in (None, "linear", "quadratic"):
        close(
            metrics.cohen_kappa(*pair, weights=weights, **options),
            sk.cohen_kappa_score(*pair, weights=weights, **options),
        )


def test_equal_scores_do_not_look_perfect() -> None:
    assert metrics.top_k_accuracy([0, 1, 2, 3], np.zeros((4, 4)), k=1) == 0.25
    assert metrics.top_k_accuracy([0, 1, 2, 3], np.zeros((4, 4)), k=4) == 1


@pytest.mark.oracle
@WEIGHTED
def test_probabilities(weight: Any) -> None:
    sk, options = oracle(), {"sample_weight": weight}
    chances = CELLS[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        close(metrics.log_loss(BITS, chances, **options), sk.log_loss(BITS, chances, **options))
    close(metrics.log_loss(CLASSES, CHANCES, **options), sk.log_loss(CLASSES, CHANCES, **options))
    assert metrics.log_loss([0, 1, 1], [0, 1, 1]) < 1e-3
    close(
        metrics.brier_score(BITS, chances, **options),
        sk.brier_score_loss(BITS, chances, **options),
    )
    close(
        metrics.brier_score(CLASSES, CHANCES, **options),
        sk.brier_score_loss(CLASSES, CHANCES, **options),
    )


@pytest.mark.oracle
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration(strategy: str) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    chances = random.random(EXAMPLES)
    curve = metrics.calibration_curve(BITS, chances, n_bins=7, strategy=strategy)
    want = calibration.calibration_curve(BITS, chances, n_bins=7, strategy=strategy)
    close(curve.fraction_of_positives, want[0])
    close(curve.mean_predicted, want[1])
    assert curve.counts.sum() == EXAMPLES
    gap = np.abs(want[0] - want[1]) @ curve.counts / EXAMPLES
    close(metrics.expected_calibration_error(BITS, chances, n_bins=7, strategy=strategy), gap)
    top = metrics.calibration_curve(CHANCES.argmax(1) == CLASSES, CHANCES.max(1), n_bins=10)
    close(
        metrics.expected_calibration_error(CLASSES, CHANCES, n_bins=10),
        np.abs(top[0] - top[1]) @ top.counts / EXAMPLES,
    )
    # One probability, right half of the time: perfectly calibrated; always 0.9 is 0.4 off.
    assert metrics.expected_calibration_error([0, 1], [0.5, 0.5]) == 0
    assert metrics.expected_calibration_error([0, 1], [0.9, 0.9]) == pytest.approx(0.4)


@pytest.mark.oracle
@WEIGHTED
def test_regression(weight: Any) -> None:
    sk, options = oracle(), {"sample_weight": weight}
    truth, guess = random.normal(size=(2, EXAMPLES, 3))
    for ours, theirs in (
        ("mse", "mean_squared_error"),
        ("mae", "mean_absolute_error"),
        ("r2", "r2_score"),
    ):
        ours, theirs = getattr(metrics, ours), getattr(sk, theirs)
        for a, b in ((truth, guess), (truth[:, 0], guess[:, 0])):
            close(ours(a, b, **options), theirs(a, b, **options))
        close(
            ours(truth, guess, average=None, **options),
            theirs(truth, guess, multioutput="raw_values", **options),
        )
    close(metrics.r2(np.ones(3), np.ones(3)), 1)
    close(metrics.r2(np.ones(3), np.zeros(3)), 0)


def test_refusals() -> None:
    holed = np.where(np.arange(EXAMPLES) == 7, np.nan, SCORES)
    for call in (
        lambda: metrics.roc_auc(BITS, holed),
        lambda: metrics.average_precision(BITS, holed),
        lambda: metrics.mse(holed, holed),
        lambda: metrics.roc_curve(BITS, holed),
    ):
        with pytest.raises(ValueError, match=r"1 NaN, the first at \(7,\), at .*test_metrics.py"):
            call()
    for name in ("roc_auc", "accuracy", "f1", "confusion_matrix", "log_loss", "mse", "r2"):
        with pytest.raises(ValueError, match=rf"{name}: .* is empty"):
            getattr(metrics, name)([], [])
    for name in ("roc_auc", "accuracy", "mae", "average_precision", "brier_score"):
        with pytest.raises(ShapeError, match=r"\(3,\) and .* \(2,\)"):
            getattr(metrics, name)([0, 1, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"y_true == positive_label"):
        metrics.roc_auc([-1, 1], [0.1, 0.2])
    with pytest.raises(ShapeError, match=r"Write y_score\[:, 0\]"):
        metrics.roc_auc(BITS, SCORES[:, None])
    with pytest.raises(ValueError, match=r"classes, 0 to 3"):
        metrics.roc_auc(CLASSES + 1, CHANCES)
    with pytest.raises(ValueError, match="fractions or NaN"):
        metrics.accuracy([0, 1], [0.2, 0.7])
    with pytest.raises(ShapeError, match="argmax"):
        metrics.accuracy(CLASSES, CHANCES)
    with pytest.raises(ValueError, match='Say average="macro"'):
        metrics.f1(CLASSES, GUESSES)
    with pytest.raises(ValueError, match="is none of 'macro'"):
        metrics.roc_auc(BITS, SCORES, average="mean")
    with pytest.raises(ValueError, match="must not be negative"):
        metrics.roc_auc(BITS, SCORES, sample_weight=-WEIGHTS)
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        metrics.log_loss(BITS, SCORES)
    with pytest.raises(ValueError, match="add up to 1"):
        metrics.log_loss(CLASSES, CHANCES / 2)
    with pytest.raises(ValueError, match="wants a positive and a negative"):
        metrics.roc_curve([1, 1], [0.1, 0.2])
    with pytest.raises(TypeError, match="measure outside it"):
        kn.graph(lambda s: metrics.roc_auc(BITS, s))(SCORES)


def test_the_areas_of_chest_x_ray_findings(shared_data: Callable[[str], Path]) -> None:
    """22,433 examples of 14 findings, whose published areas come with the predictions."""
    with np.load(shared_data("nih/chexnet_repro_preds.npz")) as data:
        truth, score, want = data["labels"], data["probs"], data["ref_auc"]
    got = metrics.roc_auc(truth, score, average=None)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    assert metrics.roc_auc(truth, score) == pytest.approx(want.mean(), abs=1e-12)
    metric = metrics.RocAuc(average=None)
    halves = [
        metric.update(metric.init(), truth[part], score[part])
        for part in (slice(0, 9000), slice(9000, None))
    ]
    np.testing.assert_array_equal(metric.compute(metric.merge(*halves)), got)


@pytest.mark.oracle
@WEIGHTED
def test_areas_up_to_a_rate_of_false_positives(weight: Any) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    for limit in (0.001, 0.1, 0.37, 0.9, 1.0):
        for truth, score in ((LABELS[:, 0], CELLS[:, 0]), (LABELS, CELLS)):
            got = metrics.roc_auc(truth, score, max_fpr=limit, sample_weight=weight)
            want = sk.roc_auc_score(truth, score, max_fpr=limit, sample_weight=weight)
            assert got == pytest.approx(want, abs=1e-12)
    with pytest.raises(ValueError, match="max_fpr=0 must be above 0"):
        metrics.roc_auc([0, 1], [0.1, 0.2], max_fpr=0)


@pytest.mark.oracle
@WEIGHTED
def test_areas_of_examples_and_fewer_points(weight: Any) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    some = LABELS.any(1) & ~LABELS.all(1)
    part = None if weight is None else weight[some]
    given = {"average": "samples", "sample_weight": part}
    for ours, theirs in (
        (metrics.roc_auc, sk.roc_auc_score),
        (metrics.average_precision, sk.average_precision_score),
    ):
        got, want = (f(LABELS[some], CELLS[some], **given) for f in (ours, theirs))
        assert got == pytest.approx(want, abs=1e-12)
    with pytest.warns(
        metrics.UndefinedMetricWarning, match="example 1 has no positive or no negative"
    ):
        assert metrics.roc_auc([[0, 1], [1, 1]], [[0, 1], [1, 2]], average="samples") == 1
    with pytest.raises(ValueError, match="labels"):
        metrics.roc_auc([0, 1], [[0, 1], [1, 0]], average="samples")
    options = {"sample_weight": weight, "drop_intermediate": True}
    got = metrics.precision_recall_curve(LABELS[:, 0], CELLS[:, 0], **options)
    want = sk.precision_recall_curve(LABELS[:, 0], CELLS[:, 0], **options)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_what_labels_may_be() -> None:
    with pytest.raises(ValueError, match=r"none of the labels \[7\] occurs in y_true"):
        metrics.confusion_matrix([0, 1], [0, 1], labels=[7])
    with pytest.raises(ValueError, match="labels must be columns, 0 to 1"):
        metrics.recall([[0, 1]], [[0, 1]], labels=[0, 2], average="macro")
    assert metrics.fbeta([0, 1, 1], [0, 1, 0], beta=np.inf) == 0.5  # recall alone
    assert metrics.fbeta([0, 0], [0, 0], beta=np.inf, zero_division=0.0) == 0
