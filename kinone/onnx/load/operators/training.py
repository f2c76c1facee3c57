"""ai.onnx.preview.training: one step of an optimiser, for several parameters at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....core import Array, shape_dtype
from ..registry import Node, operator

TRAINING = "ai.onnx.preview.training"


def _for_each(node: Node, kinds: int, rest: tuple[Array, ...], step: Callable[..., Any]) -> Any:
    """`step` for every parameter: its operands come one kind after the other, as do its results."""
    if not rest or len(rest) % kinds:
        raise node.error(f"has {len(rest)} tensors, not {kinds} for each parameter")
    count = len(rest) // kinds
    found = [step(*[rest[kind * count + i] for kind in range(kinds)]) for i in range(count)]
    return tuple(
        result.astype(shape_dtype(x).dtype)
        for results in zip(*found, strict=True)
        for result, x in zip(results, rest[:count], strict=True)
    )


@operator("Adagrad", domain=TRAINING)
def adagrad(node: Node, rate: Array, step: Array, *rest: Array) -> Any:
    decay, epsilon = node.attribute("decay_factor", 0.0), node.attribute("epsilon", 0.0)
    penalty = node.attribute("norm_coefficient", 0.0)

    def one(x: Array, g: Array, h: Array) -> Any:
        g = g + penalty * x
        h = h + g * g
        return x - rate / (1 + step * decay) * g / (np.sqrt(h) + epsilon), h

    return _for_each(node, 3, rest, one)


@operator("Adam", domain=TRAINING)
def adam(node: Node, rate: Array, step: Array, *rest: Array) -> Any:
    alpha, beta = node.attribute("alpha", 0.9), node.attribute("beta", 0.999)
    epsilon = node.attribute("epsilon", 0.0)
    before, after = (
        node.attribute(name, 0.0) for name in ("norm_coefficient", "norm_coefficient_post")
    )
    first = step == 0  # whose averages are not corrected
    late = np.where(first, 1, step)
    rate = np.where(first, rate, rate * np.sqrt(1 - beta**late) / (1 - alpha**late))

    def one(x: Array, g: Array, v: Array, h: Array) -> Any:
        g = g + before * x
        v = alpha * v + (1 - alpha) * g
        h = beta * h + (1 - beta) * g * g
        return (1 - after) * (x - rate * v / (np.sqrt(h) + epsilon)), v, h

    return _for_each(node, 4, rest, one)


@operator("Momentum", domain=TRAINING)
def momentum(node: Node, rate: Array, step: Array, *rest: Array) -> Any:
    alpha, beta = node.attribute("alpha"), node.attribute("beta")
    penalty, mode = node.attribute("norm_coefficient"), node.attribute("mode")
    if mode not in ("standard", "nesterov"):
        raise node.error(f"has mode={mode!r}, not standard or nesterov")

    def one(x: Array, g: Array, v: Array) -> Any:
        g = g + penalty * x
        v = alpha * v + np.where(step > 0, beta, 1) * g
        return x - rate * (g + alpha * v if mode == "nesterov" else v), v

    return _for_each(node, 3, rest, one)
