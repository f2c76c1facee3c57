"""Metrics over many batches: a state, and pure functions that start, extend, merge and read it.

    metric = metrics.Accuracy()
    state = metric.init()
    for x, y in batches:
        state = metric.update(state, y, predict(params, x))
    metric.compute(state)

The result is that of the whole data at once, whatever the batches. States are dicts of arrays and
tuples, so they are saved, sent between processes and merged: `metric.merge(state_a, state_b)`.
Nothing that goes in is changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer
from ..errors import ShapeError
from .classification import Counts, accuracy, averaged, confusion_matrix, counts
from .inputs import array
from .regression import explained, mse

State = dict[str, Any]


class Metric(ABC):
    """What every streaming metric can do: `init`, `update`, `merge` and `compute`, all pure.

    The state here is a dict of sums, which `update` and `merge` add. One of your own says what a
    batch adds and how the sums are read:

    >>> class Positives(Metric):
    ...     def init(self):
    ...         return {"positives": 0}
    ...     def measure(self, y_true):
    ...         return {"positives": int(np.sum(y_true))}
    ...     def compute(self, state):
    ...         return state["positives"]
    >>> metric = Positives()
    >>> metric.compute(metric.update(metric.init(), np.array([0, 1, 1])))
    2
    """

    @abstractmethod
    def init(self) -> State:
        """The state before any example."""

    @abstractmethod
    def measure(self, *batch: Any, **options: Any) -> State:
        """What a batch adds to the state."""

    def update(self, state: State, *batch: Any, **options: Any) -> State:
        """The state with one more batch."""
        return self.merge(state, self.measure(*batch, **options))

    def merge(self, first: State, *others: State) -> State:
        """The state of all the examples of several states."""
        for other in others:
            if set(first or ()) != set(other):
                raise ValueError(
                    f"{type(self).__name__}: the state is not one of its own: "
                    f"{list(first or ())} and {list(other)}, at {source.here()}\n"
                    "  Start from metric.init(), and merge states of one kind of metric."
                )
            first = {key: value + other[key] for key, value in first.items()}
        return first

    @abstractmethod
    def compute(self, state: State) -> Any:
        """The metric of all the examples so far. Raises `ValueError` when there are none."""


class Mean(Metric):
    """The mean of numbers, such as the losses of examples; `weight` broadcasts to them.

    Works under `jit` too. NaN stays NaN.

    >>> mean = Mean()
    >>> state = mean.update(mean.init(), np.array([1.0, 2.0]))
    >>> mean.compute(mean.update(state, 6.0))
    3.0
    """

    def init(self) -> State:
        return {"total": np.float64(0), "weight": np.float64(0)}

    def measure(self, values: Array, weight: Array | float = 1.0) -> State:
        shape = np.shape(values)
        if not isinstance(weight, Tracer):
            weight = np.broadcast_to(np.asarray(weight, np.float64), shape)
        return {
            "total": np.sum(np.multiply(values, weight, dtype=np.float64)),
            "weight": np.sum(np.multiply(np.ones(shape), weight)),
        }

    def compute(self, state: State) -> Any:
        return float(ratio(self, state["total"], state["weight"]))


class Averaged(Metric):
    """Any metric that is a mean over examples: `mse`, `log_loss`, `brier_score`, `top_k_accuracy`.

    `options` go to the function. For metrics that are no such mean, see `Collected`.

    >>> metric = Averaged(mse)
    >>> state = metric.update(metric.init(), [1.0, 2.0], [1.0, 4.0])
    >>> round(metric.compute(metric.update(state, [3.0], [4.0])), 4)
    1.6667
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.function, self.options = function, options

    def init(self) -> State:
        return {"total": 0.0, "count": 0}

    def measure(self, y_true: Array, y_pred: Array) -> State:
        count = np.shape(y_true)[0]
        return {"total": self.function(y_true, y_pred, **self.options) * count, "count": count}

    def compute(self, state: State) -> Any:
        return ratio(self, state["total"], state["count"])


class Accuracy(Metric):
    """The streaming form of `accuracy`; under `jit` too, for classes of any shape.

    >>> metric = Accuracy()
    >>> state = metric.update(metric.init(), np.array([0, 1]), np.array([0, 2]))
    >>> metric.compute(metric.update(state, np.array([1, 1]), np.array([1, 1])))
    0.75
    """

    def init(self) -> State:
        return {"right": np.int64(0), "count": np.int64(0)}

    def measure(self, y_true: Array, y_pred: Array) -> State:
        if np.shape(y_true) != np.shape(y_pred):
            raise ShapeError(
                f"Accuracy: y_true has shape {np.shape(y_true)} and y_pred {np.shape(y_pred)}; "
                f"they must be equal, at {source.here()}"
            )
        if not isinstance(y_true, Tracer) and not isinstance(y_pred, Tracer):
            accuracy(y_true, y_pred)  # for what it refuses
            y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        right = y_true == y_pred
        axes = tuple(range(1, len(np.shape(right))))
        right = np.all(right, axis=axes) if axes else right
        return {"right": np.sum(right), "count": np.int64(np.shape(right)[0])}

    def compute(self, state: State) -> Any:
        return float(ratio(self, state["right"], state["count"]))


def _count(metric: Metric, number: Any) -> int:
    if not isinstance(number, (int, np.integer)) or number < 1:
        raise ValueError(
            f"{type(metric).__name__}: num_classes={number!r:.40} is not a positive integer, "
            f"at {source.here()}"
        )
    return int(number)


class ConfusionMatrix(Metric):
    """The streaming form of `confusion_matrix`, of the classes 0 to `num_classes` - 1.

    >>> metric = ConfusionMatrix(2)
    >>> state = metric.update(metric.init(), [0, 1, 1], [0, 1, 0])
    >>> metric.compute(metric.update(state, [0], [1]))
    array([[1, 1],
           [1, 1]])
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = _count(self, num_classes)

    def init(self) -> State:
        return {"matrix": np.zeros((self.num_classes, self.num_classes), np.int64)}

    def measure(self, y_true: Array, y_pred: Array) -> State:
        _within(self, y_true, y_pred, self.num_classes)
        labels = np.arange(self.num_classes)
        return {"matrix": confusion_matrix(y_true, y_pred, labels=labels)}

    def compute(self, state: State) -> Any:
        return np.array(state["matrix"])


class F1(Metric):
    """The streaming form of `f1`: classes 0 to `num_classes` - 1, or that many labels.

    `average` is "macro" (default), "weighted", "micro", "binary" (two classes, of 1) or `None`;
    `zero_division` is as in `f1`.

    >>> metric = F1(3)
    >>> state = metric.update(metric.init(), [0, 1, 2], [0, 2, 1])
    >>> round(metric.compute(metric.update(state, [0, 1, 2], [0, 0, 1])), 4)
    0.2667
    """

    name = "f1"

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        zero_division: float | str = "warn",
    ) -> None:
        if average not in ("macro", "weighted", "micro", "binary", None):
            raise ValueError(f"{type(self).__name__}: average={average!r}, at {source.here()}")
        if average == "binary" and num_classes != 2:
            raise ValueError(
                f'{type(self).__name__}: average="binary" has 2 classes, not {num_classes}, '
                f"at {source.here()}"
            )
        self.num_classes = _count(self, num_classes)
        self.average, self.zero_division = average, zero_division

    def init(self) -> State:
        zeros = np.zeros(self.num_classes, np.int64)
        return {"true": zeros, "predicted": zeros.copy(), "actual": zeros.copy()}

    def measure(self, y_true: Array, y_pred: Array) -> State:
        if np.ndim(y_true) == 2 and np.shape(y_true)[1] != self.num_classes:
            raise ShapeError(
                f"{type(self).__name__}({self.num_classes}): y_true has shape {np.shape(y_true)}, "
                f"at {source.here()}"
            )
        labels = None if np.ndim(y_true) == 2 else np.arange(self.num_classes)
        if labels is not None:
            _within(self, y_true, y_pred, self.num_classes)
        return counts(self.name, y_true, y_pred, labels)[0]._asdict()

    def compute(self, state: State) -> Any:
        if not (state["actual"].any() or state["predicted"].any()) and self.average is not None:
            ratio(self, 0, state["actual"].sum())
        chosen = slice(1, None) if self.average == "binary" else slice(None)
        counted = Counts(*(state[key][chosen] for key in Counts._fields))
        classes = np.arange(self.num_classes)[chosen]
        return averaged(self.name, counted, classes, self.average, self.zero_division)


class Precision(F1):
    """The streaming form of `precision`, with the arguments of `F1`.

    >>> metric = Precision(2, "binary")
    >>> metric.compute(metric.update(metric.init(), [0, 1, 1], [1, 1, 0]))
    0.5
    """

    name = "precision"


class Recall(F1):
    """The streaming form of `recall`, with the arguments of `F1`.

    >>> metric = Recall(2, average=None)
    >>> metric.compute(metric.update(metric.init(), [0, 1, 1], [0, 1, 0]))
    array([1. , 0.5])
    """

    name = "recall"


class R2(Metric):
    """The streaming form of `r2`, of one output `[n]` or the mean over outputs `[n, …]`.

    Means and spreads are merged by Chan's formula, which keeps its digits far from zero.

    >>> metric = R2()
    >>> state = metric.update(metric.init(), [3.0, -0.5], [2.5, 0.0])
    >>> round(metric.compute(metric.update(state, [2.0, 7.0], [2.0, 8.0])), 4)
    0.9486
    """

    def init(self) -> State:
        return {"count": 0, "mean": 0.0, "spread": 0.0, "residual": 0.0}

    def measure(self, y_true: Array, y_pred: Array) -> State:
        error = mse(y_true, y_pred, average=None)
        truth = np.asarray(y_true, np.float64)
        spread = np.sum((truth - truth.mean(0)) ** 2, axis=0)
        count = len(truth)
        return {
            "count": count,
            "mean": truth.mean(0),
            "spread": spread,
            "residual": error * count,
        }

    def merge(self, first: State, *others: State) -> State:
        for other in others:
            count = first["count"] + other["count"]
            apart = other["mean"] - first["mean"]
            share = other["count"] / count if count else 0.0
            first = {
                "count": count,
                "mean": first["mean"] + apart * share,
                "spread": first["spread"] + other["spread"] + apart**2 * first["count"] * share,
                "residual": first["residual"] + other["residual"],
            }
        return first

    def compute(self, state: State) -> Any:
        ratio(self, 0.0, state["count"])
        return float(np.mean(explained(state["residual"], state["spread"])))


def ratio(metric: Metric, total: Any, count: Any) -> Any:
    """total / count, which needs an example."""
    if count == 0:
        raise ValueError(
            f"{type(metric).__name__}.compute: the state has no example yet, at {source.here()}\n"
            "  update it first: state = metric.update(state, …)."
        )
    return total / count


def _within(metric: Metric, y_true: Array, y_pred: Array, classes: int) -> None:
    for what, values in (("y_true", y_true), ("y_pred", y_pred)):
        known = array(type(metric).__name__, what, values)
        if known.min() < 0 or known.max() >= classes:
            raise ValueError(
                f"{type(metric).__name__}({classes}): {what} ranges from {known.min()} to "
                f"{known.max()}, and the classes are 0 to {classes - 1}, at {source.here()}"
            )
