"""Which of a model's constants are its parameters.

Every floating-point initialiser is one, and so is a floating-point array of more than one number in
a Constant node, where some converters keep the weights; in the bodies of If, Loop and Scan, too.
Not those whose numbers
decide what is computed, as the scales of Resize decide a shape: they stay part of the function, so
that they are known under `jit`, and are none of an optimiser's business.
"""

from __future__ import annotations

import collections
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core.values import is_inexact
from .graph import Graph, Values, bodies, last_uses, node_reads
from .registry import Node
from .tensors import is_narrow

# The operands, by their place, whose numbers an operator must know, or that are settings of it.
SETTINGS: dict[str, tuple[int, ...]] = {
    "Clip": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "If": (0,),
    "Loop": (0, 1),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1, 2),
    "TopK": (1,),
    "Upsample": (1,),
}
_SHAPES = ("Shape", "Size")  # which read no numbers at all


def settings(graph: Graph, fed: frozenset[str] = frozenset()) -> set[str]:
    """The names whose numbers decide what is computed: settings, and what these are computed of.

    Not the conditions of If and Loop that are computed of inputs, `fed`: these are traced anyway.
    """
    found: set[str] = set()
    fed |= {name for name in graph.inputs if name not in graph.constants} if not fed else set()
    for node in graph.nodes:
        if node.op not in _SHAPES and not fed.isdisjoint(node_reads(node)):
            fed |= {*node.outputs} - {""}
    for node in reversed(graph.nodes):
        made = {name for name in node.outputs if name}
        if made and made <= found and node.op not in _SHAPES:
            found |= node_reads(node)
        places = _places(node)
        if node.op == "Resize" and node.opset == 10:
            places = (1,)
        if node.op == "Pow" and len(node.inputs) == 2 and _is_whole(graph, node.inputs[1]):
            places = (1,)  # x ** 2.0, whose derivative by the exponent is NaN where x < 0
        decisive = {node.inputs[i] for i in places if i < len(node.inputs) and node.inputs[i]}
        found |= decisive - fed if node.op in ("If", "Loop") else decisive
        for body in bodies(node):
            carried = () if fed.isdisjoint(node.inputs) else body.inputs
            found |= settings(body, fed.union(carried))
    return found


def _is_whole(graph: Graph, name: str) -> bool:
    value = graph.constants.get(name)
    return value is not None and is_inexact(value) and bool((value == np.rint(value)).all())


def _places(node: Node) -> tuple[int, ...]:
    return () if node.domain else SETTINGS.get(node.op, ())


def parameters(graph: Graph) -> Values:
    """Takes the parameters out of a graph's constants and Constant nodes, and its subgraphs'.

    Those of a branch or body are read from around it instead: under their own name where no other
    value of the model has it, otherwise under that of their node and place.
    """
    taken = collections.Counter(_made(graph))
    params = _taken_out(graph, settings(graph), "", taken)
    _count_uses(graph)
    return params


def _made(graph: Graph) -> Iterator[str]:
    """The names of all values, those of the subgraphs included."""
    yield from (*graph.inputs, *graph.constants)
    for node in graph.nodes:
        yield from node.outputs
        for body in bodies(node):
            yield from _made(body)


def _taken_out(graph: Graph, kept: set[str], path: str, taken: Counter[str]) -> Values:
    """The parameters of a graph and its subgraphs, which have them no longer."""
    found = {
        name: value
        for name, value in graph.constants.items()
        if _trainable(value) and name not in kept
    }
    graph.constants = {name: value for name, value in graph.constants.items() if name not in found}
    nodes = []
    for node in graph.nodes:
        value = _held(node)
        if value is None or node.outputs[0] in kept:
            nodes.append(node)
        else:
            found[node.outputs[0]] = value
    graph.nodes = tuple(nodes)
    params: Values = {}
    for name, value in found.items():
        key = f"{path}/{name}" if path and taken[name] > 1 else name
        while key != name and taken[key]:
            key += "_"
        if key != name:
            taken[key] += 1
            _rename(graph, name, key)
        params[key] = value
    for node in graph.nodes:
        for place, body in node.attributes.items():
            if isinstance(body, Graph):
                inner = f"{node.name or node.outputs[0]}/{place}"
                params.update(_taken_out(body, kept, inner, taken))
    return params


def _rename(graph: Graph, old: str, new: str) -> None:
    """Has a graph read a value of another name, and the subgraphs that have no such value."""
    graph.outputs = tuple([new if name == old else name for name in graph.outputs])
    for node in graph.nodes:
        node.inputs = tuple([new if name == old else name for name in node.inputs])
        for body in bodies(node):
            own = {*body.inputs, *body.constants, *[n for each in body.nodes for n in each.outputs]}
            if old not in own:
                _rename(body, old, new)


def _count_uses(graph: Graph) -> None:
    """Finds once more which values are read for the last time where."""
    for node in graph.nodes:
        for body in bodies(node):
            _count_uses(body)
    graph.free = last_uses(graph.nodes, graph.outputs)


def _held(node: Node) -> np.ndarray[Any, Any] | None:
    """The array in a Constant node that may be a parameter."""
    if node.op != "Constant" or node.domain:
        return None
    value = node.attributes.get("value", node.attributes.get("sparse_value"))
    fits = isinstance(value, np.ndarray) and value.size > 1 and _trainable(value)
    return value if fits else None


def _trainable(value: np.ndarray[Any, Any]) -> bool:
    return is_inexact(value) and not is_narrow(value.dtype)
