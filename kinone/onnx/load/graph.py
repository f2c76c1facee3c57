"""A model's graph as a Python function: node after node, on a table of named values.

Values that are known when the function runs (constants, shapes, what is computed of them) are plain
NumPy arrays, and what is traced is traced: so Reshape's shape is a number even under `jit`, as long
as the graph computes it from shapes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ... import source
from ...core import Array, shape_dtype
from ...errors import KinoneError
from .registry import LoadError, Node
from .tensors import Port

Values = dict[str, Any]


@dataclass(eq=False)
class Graph:
    """A graph or subgraph: its nodes in order, and what of it is known from the start."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Values
    free: tuple[tuple[str, ...], ...] = ()  # after each node, the values that nothing reads again
    declared: tuple[Port, ...] = ()  # what the model says of the outputs

    def run(self, values: Values) -> list[Any]:
        """The outputs, given a table with the inputs and what the subgraph uses from outside.

        The table is used up.
        """
        for node, dead in zip(self.nodes, self.free, strict=True):
            _step(node, values)
            for name in dead:
                values.pop(name, None)
        missing = [name for name in self.outputs if name not in values]
        if missing:
            raise LoadError(f"the graph {self.name!r} does not make its output {missing[0]!r}")
        return [values[name] for name in self.outputs]


@dataclass(eq=False)
class Subgraph:
    """The body of an If, Loop or Scan while its node runs: a graph, and the values around it."""

    graph: Graph
    outer: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *inputs: Array) -> list[Any]:
        if len(inputs) != len(self.graph.inputs):
            raise LoadError(
                f"the subgraph {self.graph.name!r} has {len(self.graph.inputs)} inputs and is "
                f"given {len(inputs)}"
            )
        values = {**self.outer, **self.graph.constants}
        values.update(zip(self.graph.inputs, inputs, strict=True))
        return self.graph.run(values)


def _step(node: Node, values: Values) -> None:
    try:
        operands = [values[name] if name else None for name in node.inputs]
    except KeyError as missing:
        raise node.error(f"reads {missing.args[0]!r}, which nothing makes before it") from None
    while operands and operands[-1] is None:
        operands.pop()
    run = node.run
    if run is None:
        raise node.error(
            f"(opset {node.opset} of {node.domain or 'ai.onnx'!r}) has no function in Kinone"
        )
    if any(isinstance(value, Graph) for value in node.attributes.values()):
        bound = {
            key: Subgraph(value, values) if isinstance(value, Graph) else value
            for key, value in node.attributes.items()
        }
        node = dataclasses.replace(node, attributes=bound)
    try:
        with source.named_scope(node.name or node.op) if node.name.strip("/") else _nothing:
            results = run(node, *operands)
    except LoadError:
        raise
    except KinoneError as error:  # an error of tracing, which tells the user's own line
        error.add_note(f"  in {node}")
        raise
    except Exception as error:
        kinds = f" of {', '.join(map(_kind, operands))}" if operands else ""
        text = f"{type(error).__name__}: {str(error).strip(' .')}"
        raise node.error(f"cannot be computed{kinds}: {text}") from error
    if not isinstance(results, tuple):  # a list is one sequence, unless there are more outputs
        several = isinstance(results, list) and len(node.outputs) > 1
        results = tuple(results) if several else (results,)
    if len(results) < len(node.outputs) and any(node.outputs[len(results) :]):
        raise node.error(f"has {len(node.outputs)} outputs, and its function makes {len(results)}")
    for name, result in zip(node.outputs, results, strict=False):
        if name:
            values[name] = result


def _kind(operand: Any) -> str:
    if operand is None or isinstance(operand, (list, tuple)):
        return "nothing" if operand is None else f"a sequence of {len(operand)}"
    return str(shape_dtype(operand))


class _Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


_nothing = _Nothing()


# ---- what reads what -----------------------------------------------------------------------------


def reads(graph: Graph) -> set[str]:
    """The names that a graph reads and does not make itself."""
    made = {*graph.inputs, *graph.constants}
    wanted: set[str] = set()
    for node in graph.nodes:
        wanted |= {name for name in node_reads(node) if name not in made}
        made.update(node.outputs)
    return wanted | {name for name in graph.outputs if name not in made}


def node_reads(node: Node) -> set[str]:
    """The names that a node reads, its subgraphs included."""
    found = {name for name in node.inputs if name}
    for body in bodies(node):
        found |= reads(body)
    return found


def bodies(node: Node) -> list[Graph]:
    """The subgraphs of a node."""
    return [value for value in node.attributes.values() if isinstance(value, Graph)]


def needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """The nodes, in order, that the outputs are computed of."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs):
            kept.append(node)
            wanted |= node_reads(node)
    return kept[::-1]


def last_uses(nodes: Sequence[Node], outputs: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """After each node, the names that nothing reads again."""
    later = set(outputs)
    found: list[tuple[str, ...]] = []
    for node in reversed(nodes):
        used = node_reads(node) | {name for name in node.outputs if name}
        found.append(tuple(sorted(used - later)))
        later |= used
    return tuple(found[::-1])
