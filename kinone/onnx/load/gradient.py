"""Gradient of ai.onnx.preview.training: a derivative inside of a graph, taken by `kinone.grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array
from ...transforms import grad
from . import registry
from .graph import Graph, last_uses, node_reads
from .registry import Node

DOMAIN = "ai.onnx.preview.training"


def differentiated(nodes: Sequence[Node]) -> None:
    """Gives the Gradient nodes among these their function, which runs the others again."""
    for node in nodes:
        if (node.domain, node.op) == (DOMAIN, "Gradient"):
            node.run = _gradient(nodes, node)


def _gradient(nodes: Sequence[Node], node: Node) -> registry.Operator:
    """The derivatives of the sum of `y` by `xs`; `zs` are what else it is computed of."""
    xs, y = list(node.attribute("xs")), node.attribute("y")
    given = [*xs, *node.attribute("zs", [])]
    wanted, path = {y}, []
    for each in reversed(nodes):
        made = set(each.outputs)
        if not wanted.isdisjoint(made) and made.isdisjoint(given):
            path.append(each)
            wanted |= node_reads(each)
    path.reverse()
    missing = wanted - {*given, *[name for each in path for name in each.outputs]}
    if missing:
        raise node.error(f"does not name {min(missing)!r}, of which {y!r} is computed")
    graph = Graph("gradient", tuple(given), (y,), tuple(path), {}, last_uses(path, [y]))

    def run(node: Node, *operands: Array) -> Any:
        if len(operands) != len(given):
            raise node.error(f"has {len(operands)} inputs for {len(given)} names")

        def total(*leaves: Array) -> Array:
            values = dict(zip(given, [*leaves, *operands[len(xs) :]], strict=True))
            return np.sum(graph.run(values)[0])

        places = tuple(range(len(xs)))
        return tuple(grad(total, argnums=places)(*operands[: len(xs)]))

    return run


@registry.operator("Gradient", domain=DOMAIN)
def gradient(node: Node, *operands: Array) -> Any:
    """Stands for the function that the node gets when its graph is whole."""
    raise node.error("is in no graph")
