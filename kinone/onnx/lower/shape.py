"""Shapes: reshape, transpose, broadcast, types."""

from __future__ import annotations

from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from .common import out


@lowers("reshape")
def _reshape(b: Builder, step: Step, x: Value) -> Value:
    return b.reshape(x, out(step)[0])


@lowers("transpose")
def _transpose(b: Builder, step: Step, x: Value) -> Value:
    return x.reordered(step.params["axes"])


@lowers("broadcast_to")
def _broadcast_to(b: Builder, step: Step, x: Value) -> Value:
    return b.expand(x, out(step)[0])


@lowers("stop_gradient", "positive", "in_order")
def _same(b: Builder, step: Step, x: Value) -> Value:
    return b.cast(x, out(step)[1])
