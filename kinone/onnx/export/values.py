"""The values of an exported graph.

A `Value` has the shape and dtype of the Kinone value that it stands for. How its numbers lie in the
ONNX tensor may differ: physical axis i is the value's axis `order[i]`. So NHWC programs become NCHW
graphs without any rewriting afterwards: a convolution asks for its operand in the order N, C, H, W
and gives its result in that order, whatever works element by element hands the order on, a
transposition only changes the order, and a Transpose node is written where somebody needs another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .dims import Dim, Size

# What ONNX calls the element types, as in onnx.TensorProto.
TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
    "bfloat16": 16,
}


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph, or (`known`) numbers that are a tensor as soon as a node wants them.

    `name` is the tensor's; of what is known it is the wanted one, such as a parameter's path, or
    empty. `known` has the value's own axes, whatever `order` is.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    known: np.ndarray[Any, Any] | None = None
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def lies_as_is(self) -> bool:
        """Whether the tensor's axes are the value's."""
        return self.order == tuple(range(self.ndim))

    @property
    def physical(self) -> tuple[Size, ...]:
        """The tensor's shape."""
        return tuple([self.shape[axis] for axis in self.order])

    def reordered(self, axes: Sequence[int]) -> Value:
        """`np.transpose(value, axes)`: the same tensor."""
        axes = tuple(axes)
        return replace(
            self,
            shape=tuple([self.shape[axis] for axis in axes]),
            order=tuple([axes.index(axis) for axis in self.order]),
            known=None if self.known is None else np.transpose(self.known, axes),
        )


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex value, which ONNX has not: its real and its imaginary part."""

    real: Value
    imag: Value

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.real.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(self.real.dtype, np.complex64)

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, eq=False)
class Record:
    """What each trip of a while loop kept, stacked, and the number of trips."""

    stacks: tuple[Value, ...]
    kept: tuple[Any, ...]  # shape and dtype of what one trip keeps
    count: Value


@dataclass(eq=False)
class Node:
    """An ONNX node: `outputs = op(*inputs, **attributes)`; an input that is left out is ""."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    name: str
    doc: str = ""


@dataclass(eq=False)
class Body:
    """A subgraph, as the attribute of If, Loop or Scan: what `Builder.body` has collected."""

    name: str
    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Value]


def is_fixed(shape: Sequence[Size]) -> bool:
    """Whether no size varies."""
    return not any(isinstance(size, Dim) for size in shape)


def rename(nodes: Sequence[Node], names: Mapping[str, str]) -> None:
    """Gives tensors other names, in nodes and in their subgraphs."""
    for node in nodes:
        node.inputs = [names.get(name, name) for name in node.inputs]
        node.outputs = [names.get(name, name) for name in node.outputs]
        for attribute in node.attributes.values():
            if isinstance(attribute, Body):
                rename(attribute.nodes, names)
                attribute.outputs = [
                    replace(value, name=names.get(value.name, value.name))
                    for value in attribute.outputs
                ]
