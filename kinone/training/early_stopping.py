"""When to end a run whose validation metric has stopped getting better."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field, replace
from typing import Literal, SupportsFloat

from ..tree import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class EarlyStopping:
    """Says stop after `patience` evaluations in a row without a better metric.

    A value is better when it is below the best one so far by more than `min_delta`, or with
    `mode="max"` above it. NaN never is. `update` returns the next state and changes nothing:

        >>> stopping = EarlyStopping(patience=2)
        >>> for epoch, loss in enumerate([0.9, 0.5, 0.6, 0.5, 0.4]):
        ...     stopping = stopping.update(loss)
        ...     if stopping.should_stop:
        ...         break
        >>> epoch, stopping.best_metric
        (3, 0.5)

    It is a tree of two numbers, `best_metric` (NaN before the first evaluation) and
    `patience_count`: saved with a checkpoint, a resumed run stops where an unbroken one does. The
    options are not leaves, so that a run may be resumed with more patience. `has_improved` says
    whether the last value was the best one, which is the time to keep a copy of the weights.

    Raises `ValueError` for a patience below 1, a negative `min_delta`, or another mode.

    Source: Prechelt 1998, "Early stopping, but when?"
    """

    patience: int = field(metadata={"static": True})
    min_delta: float = field(default=0.0, metadata={"static": True})
    mode: Literal["min", "max"] = field(default="min", metadata={"static": True})
    best_metric: float = math.nan
    patience_count: int = 0

    def __post_init__(self) -> None:
        if operator.index(self.patience) < 1:
            problem = f"patience is {self.patience}, and at least 1 is wanted"
        elif not self.min_delta >= 0:
            problem = f"min_delta is {self.min_delta}, and 0 or more is wanted"
        elif self.mode not in ("min", "max"):
            problem = f'mode is {self.mode!r}, and "min" or "max" is wanted'
        else:
            return
        raise ValueError(f"EarlyStopping: {problem}")

    def update(self, metric: SupportsFloat) -> EarlyStopping:
        """The state after one more evaluation."""
        value = float(metric)
        gain = self.best_metric - value if self.mode == "min" else value - self.best_metric
        first = math.isnan(self.best_metric) and not math.isnan(value)
        if first or gain > self.min_delta:
            return replace(self, best_metric=value, patience_count=0)
        return replace(self, patience_count=self.patience_count + 1)

    @property
    def has_improved(self) -> bool:
        """Whether the last evaluation was the best one."""
        return self.patience_count == 0 and not math.isnan(self.best_metric)

    @property
    def should_stop(self) -> bool:
        """Whether `patience` evaluations in a row brought nothing better."""
        return self.patience_count >= self.patience
