"""Joining and splitting along an axis, and padding with zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..export.builder import Builder
from ..export.dims import Size
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from .common import aligned, out


@lowers("concatenate")
def _concatenate(b: Builder, step: Step, *parts: Value) -> Value:
    shape, dtype = out(step)
    axis: int = step.params["axis"]
    parts = tuple([part for part in parts if part.shape[axis] != 0] or parts[:1])
    placed, order = aligned(b, [b.cast(part, dtype) for part in parts], shape)
    if len(placed) == 1:
        return placed[0]
    return b.node("Concat", placed, shape, dtype, order=order, axis=order.index(axis))


@lowers("stack")
def _stack(b: Builder, step: Step, *parts: Value) -> Value:
    shape, dtype = out(step)
    axis: int = step.params["axis"]
    thin = (*shape[:axis], 1, *shape[axis + 1 :])
    lifted = [b.reshape(b.plain(b.cast(part, dtype)), thin) for part in parts]
    return lifted[0] if len(lifted) == 1 else b.node("Concat", lifted, shape, dtype, axis=axis)


@lowers("split")
def _split(b: Builder, step: Step, x: Value) -> Sequence[Value]:
    axis: int = step.params["axis"]
    return _parts(b, x, axis, step.params["sizes"], [v.aval.shape for v in step.outputs])


def _parts(
    b: Builder, x: Value, axis: int, sizes: Sequence[Size], shapes: Sequence[Sequence[Size]]
) -> list[Value]:
    if len(sizes) == 1:
        return [x]
    kinds: list[tuple[Any, Any]] = [(shape, x.dtype) for shape in shapes]
    return b.nodes_of(
        "Split",
        [x, b.sizes(sizes)],
        kinds,
        orders=[x.order] * len(sizes),
        typed=(0,),
        axis=x.order.index(axis),
    )


@lowers("unstack")
def _unstack(b: Builder, step: Step, x: Value) -> Sequence[Value]:
    axis: int = step.params["axis"]
    count = len(step.outputs)
    thin = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    parts = _parts(b, x, axis, [1] * count, [thin] * count)
    return [b.reshape(part, out(step, i)[0]) for i, part in enumerate(parts)]


@lowers("pad")
def _pad(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    widths = step.params["widths"]
    if not any(low or high for low, high in widths):
        return x
    lows: list[Size] = [widths[axis][0] for axis in x.order]
    highs: list[Size] = [widths[axis][1] for axis in x.order]
    return b.node("Pad", [x, b.sizes([*lows, *highs])], shape, dtype, order=x.order, typed=(0,))
