"""Early stopping: what counts as better, when it says stop, and that a checkpoint keeps it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kinone import tree
from kinone.training import EarlyStopping, checkpoint

NAN = math.nan


def stops_after(stopping, values):
    """How many values it wanted to see; None when it never said stop."""
    for count, value in enumerate(values, 1):
        stopping = stopping.update(value)
        if stopping.should_stop:
            return count
    return None


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({"patience": 1}, [3, 2, 1], None),
        ({"patience": 1}, [3, 2, 2], 3),  # equal is not better
        ({"patience": 2}, [3, 4, 2, 3, 4], 5),  # a better one starts the count again
        ({"patience": 3}, [1, 2, 3], None),
        ({"patience": 2, "mode": "max"}, [1, 2, 3, 2, 2], 5),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.5], 3),  # neither by more than 0.5
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.4], None),  # small steps add up
        ({"patience": 2}, [NAN, NAN], 2),
        ({"patience": 2}, [NAN, 1, NAN, 2], 4),
        ({"patience": 2}, [math.inf, 1, 2], None),
        ({"patience": 1}, [-math.inf, -math.inf], 2),
        ({"patience": 1, "mode": "max"}, [np.float32(0.5), np.array(0.25)], 2),
    ],
)
def test_when_it_says_stop(options, values, expected):
    assert stops_after(EarlyStopping(**options), values) == expected


def test_the_state_says_what_was_best_and_whether_it_is_new():
    start = EarlyStopping(patience=2)
    assert not start.has_improved
    assert not start.should_stop
    first = start.update(np.float32(0.5))
    assert first.has_improved
    assert type(first.best_metric) is float
    second = first.update(0.75)
    assert not second.has_improved
    assert second.best_metric == 0.5
    assert second.patience_count == 1
    assert first.patience_count == 0
    assert math.isnan(start.best_metric)


def test_a_checkpoint_keeps_it_and_more_patience_goes_on(tmp_path):
    stopping = EarlyStopping(patience=2)
    for value in (0.5, 0.75, 0.625):
        stopping = stopping.update(value)
    assert stopping.should_stop
    assert tree.paths({"stopping": stopping}) == [
        "stopping/best_metric",
        "stopping/patience_count",
    ]
    path = checkpoint.save(tmp_path / "run.npz", {"stopping": stopping})
    assert checkpoint.load(path, like={"stopping": EarlyStopping(2)}).tree["stopping"] == stopping
    patient = checkpoint.load(path, like={"stopping": EarlyStopping(9)}).tree["stopping"]
    assert not patient.should_stop
    assert patient.best_metric == 0.5
    assert stops_after(patient, [1] * 9) == 7


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"patience": 0}, "patience is 0"),
        ({"patience": 3, "min_delta": -1.0}, "min_delta is -1.0"),
        ({"patience": 3, "min_delta": NAN}, "min_delta is nan"),
        ({"patience": 3, "mode": "best"}, "mode is 'best'"),
    ],
)
def test_options_that_mean_nothing(options, problem):
    with pytest.raises(ValueError, match=f"EarlyStopping: {problem}"):
        EarlyStopping(**options)
