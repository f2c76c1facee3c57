"""Operators: the function of each ONNX operator, by version.

    @operator("Relu")
    def relu(node, x):
        return ops.relu(x)

    @operator("Clip", since=11)              # min and max have become inputs
    def clip(node, x, low=None, high=None): ...

`node.attribute("axis", default)` gives an attribute, `node.opset` the version of the operator set,
and an optional input that is left out is None. A function returns one array, or a tuple with one
for each output. It is written with NumPy's functions and Kinone's, so it differentiates, maps and
compiles; what it does to values that are known (shapes, axes) is plain NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import KinoneError

Operator = Callable[..., Any]


class LoadError(KinoneError, ValueError):
    """A file that is no ONNX model, is damaged, or needs something that Kinone has not."""


_REQUIRED = object()


@dataclass(eq=False)
class Node:
    """A node as its operator sees it."""

    op: str
    name: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    run: Operator | None = None

    def attribute(self, name: str, default: Any = _REQUIRED) -> Any:
        """An attribute as Python has it: numbers, texts, lists, arrays, `Subgraph`s."""
        if name in self.attributes:
            return self.attributes[name]
        if default is _REQUIRED:
            raise self.error(f"wants the attribute {name!r}")
        return default

    def wants(self, output: int) -> bool:
        """Whether somebody may read an output."""
        return output < len(self.outputs) and bool(self.outputs[output])

    def error(self, text: str) -> LoadError:
        """What to raise for a node that cannot be run."""
        return LoadError(f"{self} {text}")

    def __str__(self) -> str:
        where = f" {self.name!r}" if self.name else f" that makes {', '.join(self.outputs)}"
        return f"the {self.op} node{where}"


_operators: dict[tuple[str, str], list[tuple[int, Operator]]] = {}


def operator(*names: str, since: int = 1, domain: str = "") -> Callable[[Operator], Operator]:
    """Makes a function the operators of these names, from a version of the operator set on.

        >>> @operator("Cube", domain="my.domain")
        ... def cube(node, x):
        ...     return x ** node.attribute("power", 3)

    Raises `ValueError` for an operator that has another function since that version already.
    """

    def declare(function: Operator) -> Operator:
        for name in names:
            versions = _operators.setdefault((domain, name), [])
            for version, other in versions:
                if version == since and (not domain or _place(other) != _place(function)):
                    raise ValueError(f"{name} has a function since version {since} already")
            versions[:] = [pair for pair in versions if pair[0] != since]  # a cell that runs again
            versions.append((since, function))
            versions.sort(key=lambda pair: pair[0])
        return function

    return declare


def _place(function: Operator) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def find(domain: str, name: str, opset: int) -> Operator | None:
    """The function of an operator in a version of its operator set."""
    versions: Sequence[tuple[int, Operator]] = _operators.get((domain, name), ())
    found = [function for since, function in versions if since <= opset]
    return found[-1] if found else None


def names(domain: str = "") -> list[str]:
    """The operators that there are."""
    return sorted(name for where, name in _operators if where == domain)
