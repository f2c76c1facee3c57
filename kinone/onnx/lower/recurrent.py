"""The whole run of an LSTM, by the formulas that its kernel computes: a Scan over the moments."""

from __future__ import annotations

from collections.abc import Sequence

from ...nn import lstm
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import lowers, through
from ..export.values import Value


@lowers("lstm")
def _lstm(b: Builder, step: Step, *operands: Value) -> Sequence[Value]:
    return through(b, lstm.recurrence, *operands, **step.params)


@lowers("lstm_backward")
def _lstm_backward(b: Builder, step: Step, *operands: Value) -> Sequence[Value]:
    return through(b, lstm.unrolled, *operands, **step.params)
