"""Streaming metrics equal those of the whole data, however it is cut; intervals are repeatable."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone import metrics
from kinone.errors import ShapeError

random = np.random.default_rng(3)
EXAMPLES = 50
CLASSES, GUESSES = random.integers(0, 3, (2, EXAMPLES))
LABELS, SAID = random.integers(0, 2, (2, EXAMPLES, 3))
BITS = LABELS[:, 0]
SCORES = np.round(random.normal(size=EXAMPLES) + BITS, 1)
CHANCES = random.dirichlet(np.ones(3), EXAMPLES)
TARGETS, OUTPUTS = random.normal(size=(2, EXAMPLES, 2)) + 1e6

# name: (the streaming metric, the whole metric, its data)
CASES: dict[str, tuple[metrics.Metric, Callable[..., Any], tuple[Any, Any]]] = {
    "accuracy": (metrics.Accuracy(), metrics.accuracy, (CLASSES, GUESSES)),
    "accuracy of labels": (metrics.Accuracy(), metrics.accuracy, (LABELS, SAID)),
    "top-k": (
        metrics.Averaged(metrics.top_k_accuracy, k=2),
        lambda y, s: metrics.top_k_accuracy(y, s, k=2),
        (CLASSES, CHANCES),
    ),
    "log loss": (metrics.Averaged(metrics.log_loss), metrics.log_loss, (CLASSES, CHANCES)),
    "mse": (metrics.Averaged(metrics.mse), metrics.mse, (TARGETS, OUTPUTS)),
    "r2": (metrics.R2(), metrics.r2, (TARGETS, OUTPUTS)),
    "confusion": (metrics.ConfusionMatrix(3), metrics.confusion_matrix, (CLASSES, GUESSES)),
    "f1 macro": (
        metrics.F1(3),
        lambda y, p: metrics.f1(y, p, average="macro"),
        (CLASSES, GUESSES),
    ),
    "f1 binary": (metrics.F1(2, "binary"), metrics.f1, (BITS, SAID[:, 0])),
    "precision, labels": (
        metrics.Precision(3, "weighted"),
        lambda y, p: metrics.precision(y, p, average="weighted"),
        (LABELS, SAID),
    ),
    "recall, each": (
        metrics.Recall(3, None),
        lambda y, p: metrics.recall(y, p, average=None),
        (CLASSES, GUESSES),
    ),
    "auc": (metrics.RocAuc(), metrics.roc_auc, (BITS, SCORES)),
    "average precision": (
        metrics.AveragePrecision(),
        metrics.average_precision,
        (CLASSES, CHANCES),
    ),
}


def pieces(cuts: list[int]) -> list[slice]:
    edges = [0, *sorted(set(cuts)), EXAMPLES]
    return [slice(a, b) for a, b in pairwise(edges)]


@pytest.mark.parametrize("name", CASES)
@given(cuts=st.lists(st.integers(1, EXAMPLES - 1), max_size=6))
def test_the_batches_do_not_matter(name: str, cuts: list[int]) -> None:
    metric, whole, (truth, guess) = CASES[name]
    want = whole(truth, guess)
    state = metric.init()
    shards = []
    for part in pieces(cuts):
        state = metric.update(state, truth[part], guess[part])
        shards.append(metric.update(metric.init(), truth[part], guess[part]))
    np.testing.assert_allclose(metric.compute(state), want, rtol=1e-9, atol=1e-12)
    merged = metric.merge(metric.init(), *shards)
    np.testing.assert_allclose(metric.compute(merged), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_update_changes_nothing_that_goes_in(name: str) -> None:
    metric, _, (truth, guess) = CASES[name]
    state = metric.update(metric.init(), truth, guess)
    before = kn.tree.map(np.array, state)
    truth, guess = truth.copy(), guess.copy()
    later = metric.update(state, truth, guess)
    want = np.array(metric.compute(later))
    truth[...], guess[...] = 0, 0  # a loader writes into the same memory
    np.testing.assert_array_equal(metric.compute(later), want)
    for was, now in zip(kn.tree.leaves(before), kn.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(metric.init().keys(), metric.init().keys())


@pytest.mark.parametrize("name", CASES)
def test_nothing_yet(name: str) -> None:
    metric = CASES[name][0]
    if name in ("confusion", "recall, each"):
        return  # a table of zeros is one
    with pytest.raises(ValueError, match=r"no example yet, at .*test_metrics_streaming"):
        metric.compute(metric.init())


def test_mean_and_accuracy_under_jit() -> None:
    mean, accuracy = metrics.Mean(), metrics.Accuracy()
    both = metrics.Collection({"a": accuracy, "b": accuracy})

    @kn.jit
    def step(state: Any, values: Any, truth: Any, guess: Any) -> Any:
        return mean.update(state[0], values, truth + 1.0), both.update(state[1], truth, guess)

    state = (mean.init(), both.init())
    for part in pieces([20]):
        state = step(state, SCORES[part], CLASSES[part], GUESSES[part])
    weighted = np.average(SCORES, weights=CLASSES + 1.0)
    assert mean.compute(state[0]) == pytest.approx(weighted, rel=1e-12)
    want = metrics.accuracy(CLASSES, GUESSES)
    assert both.compute(state[1]) == {"a": want, "b": want}


def test_streaming_refusals() -> None:
    for metric in (metrics.F1(3), metrics.ConfusionMatrix(3)):
        with pytest.raises(ValueError, match=r"y_pred ranges from 0 to 3, and the classes are"):
            metric.update(metric.init(), [0, 1], [0, 3])
    with pytest.raises(ShapeError):
        metrics.Accuracy().update(metrics.Accuracy().init(), [0, 1], [0])
    with pytest.raises(ShapeError):
        metrics.RocAuc().update(metrics.RocAuc().init(), [0, 1], [0.5])
    with pytest.raises(ValueError, match="has 2 classes, not 3"):
        metrics.F1(3, "binary")


def test_bootstrap() -> None:
    """The limits are the quantiles of the resampled metric; groups widen them."""
    first = metrics.bootstrap_interval(metrics.roc_auc, BITS, SCORES, resamples=300)
    assert first == metrics.bootstrap_interval(metrics.roc_auc, BITS, SCORES, resamples=300)
    assert first != metrics.bootstrap_interval(metrics.roc_auc, BITS, SCORES, resamples=300, seed=1)
    assert first.estimate == metrics.roc_auc(BITS, SCORES)
    assert first.low < first.estimate < first.high
    narrow = metrics.bootstrap_interval(
        metrics.roc_auc, BITS, SCORES, resamples=300, confidence=0.5
    )
    assert first.low < narrow.low < narrow.high < first.high
    # Each example eight times: by the example it looks sure of itself, by the patient it does not.
    truth, score, patient = (np.repeat(a, 8) for a in (BITS, SCORES, np.arange(EXAMPLES)))
    naive = metrics.bootstrap_interval(metrics.roc_auc, truth, score, resamples=200)
    honest = metrics.bootstrap_interval(
        metrics.roc_auc, truth, score, groups=patient, resamples=200
    )
    assert honest.high - honest.low > 2 * (naive.high - naive.low)
    assert honest.high - honest.low == pytest.approx(first.high - first.low, rel=0.25)


def test_bootstrap_of_means_is_that_of_theory() -> None:
    sample = random.normal(size=400)
    interval = metrics.bootstrap_interval(np.mean, sample, resamples=2000)
    reach = 1.96 * sample.std() / 20
    assert interval.high - interval.estimate == pytest.approx(reach, rel=0.12)
    assert interval.estimate - interval.low == pytest.approx(reach, rel=0.12)


def test_bootstrap_of_a_rare_finding() -> None:
    truth = np.stack([BITS, np.arange(EXAMPLES) == 3], axis=1)
    interval = metrics.bootstrap_interval(
        lambda y, s: metrics.roc_auc(y, s, average=None),
        truth,
        np.stack([SCORES, SCORES], axis=1),
        resamples=100,
    )
    assert interval.low.shape == interval.high.shape == (2,)
    assert 15 < interval.undefined < 60  # a resample misses one example with probability 1/e
    assert np.isfinite(interval.low).all()
    with pytest.raises(ShapeError, match="one length"):
        metrics.bootstrap_interval(metrics.roc_auc, BITS, SCORES, groups=[1, 2])
    with pytest.raises(ValueError, match="confidence=95"):
        metrics.bootstrap_interval(metrics.roc_auc, BITS, SCORES, confidence=95)


def test_delong_against_its_definition() -> None:
    """The structural components, pair by pair (DeLong, DeLong and Clarke-Pearson 1988)."""
    other = np.round(SCORES + random.normal(size=EXAMPLES), 1)
    yes = BITS == 1
    over, under = [], []
    for score in (SCORES, other):
        apart = score[yes][:, None] - score[~yes]
        wins = (apart > 0) + 0.5 * (apart == 0)
        over.append(wins.mean(1))
        under.append(wins.mean(0))
    covariance = np.cov(over) / yes.sum() + np.cov(under) / (~yes).sum()
    interval = metrics.delong_interval(BITS, SCORES)
    assert interval.estimate == pytest.approx(metrics.roc_auc(BITS, SCORES), rel=1e-12)
    reach = 1.959963984540054 * np.sqrt(covariance[0, 0])
    assert interval.low == pytest.approx(interval.estimate - reach, rel=1e-12)
    test = metrics.delong_test(BITS, SCORES, other)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = metrics.roc_auc(BITS, SCORES) - metrics.roc_auc(BITS, other)
    assert test.difference == pytest.approx(difference, rel=1e-12)
    assert test.high - test.low == pytest.approx(2 * 1.959963984540054 * error, rel=1e-12)
    assert 0 < test.p_value < 1
    assert metrics.delong_test(BITS, SCORES, SCORES * 2).p_value == 1
    with pytest.raises(ValueError, match="two of each class"):
        metrics.delong_interval([0, 1, 1], [0.1, 0.2, 0.3])
