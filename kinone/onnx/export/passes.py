"""What is done to an exported graph's nodes once all are there.

without_dead_nodes      what no output needs goes
with_biases             Gemm + Add → Gemm, Conv + Add → Conv with a bias
with_folded_norms       Conv + BatchNormalization → Conv, when asked for
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from .dims import Size
from .values import Body, Node

Arrays = dict[str, np.ndarray[Any, Any]]
Shapes = dict[str, tuple[Size, ...]]


def used_names(nodes: Iterable[Node], outputs: Iterable[str]) -> Counter[str]:
    """How often each tensor is read, by nodes, by their subgraphs, and as an output."""
    found: Counter[str] = Counter(outputs)
    for node in nodes:
        found.update(node.inputs)
        for attribute in node.attributes.values():
            if isinstance(attribute, Body):
                found.update(used_names(attribute.nodes, [v.name for v in attribute.outputs]))
    return found


# How many outputs a node must have; what it may have beyond goes where nobody reads it.
_OUTPUTS = {"MaxPool": 1, "LayerNormalization": 1, "LSTM": 1, "GRU": 1}


def without_dead_nodes(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that an output needs."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            for key, attribute in node.attributes.items():
                if isinstance(attribute, Body):
                    inner = [v.name for v in attribute.outputs]
                    attribute.nodes = without_dead_nodes(attribute.nodes, inner)
                    node.attributes[key] = attribute
            while len(node.outputs) > _OUTPUTS.get(node.op, len(node.outputs)):
                if node.outputs[-1] in needed:
                    break
                node.outputs.pop()
            kept.append(node)
            needed.update(used_names([node], ()))
    return kept[::-1]


def with_biases(nodes: list[Node], arrays: Arrays, shapes: Shapes, outputs: set[str]) -> list[Node]:
    """A sum with a vector that follows a product or a convolution becomes its bias; a Reshape of a
    Reshape becomes one.

    `shapes` are those of the tensors; products of matrices come as Gemm, and are MatMul
    afterwards where nothing is added.
    """
    reshaped = _reshaped(nodes)
    _join_reshapes(nodes, arrays, reshaped)
    nodes = without_dead_nodes(nodes, outputs)
    reads = used_names(nodes, outputs)

    def fuse(first: Node, second: Node) -> Node | None:
        return _bias(first, second, arrays, shapes, reads, reshaped)

    return _plain_products(without_dead_nodes(_fused(nodes, outputs, fuse), outputs))


def _join_reshapes(nodes: Iterable[Node], arrays: Arrays, reshaped: dict[str, str]) -> None:
    """A Reshape of what a Reshape gave reads what that read."""
    for node in nodes:
        for attribute in node.attributes.values():
            if isinstance(attribute, Body):
                _join_reshapes(attribute.nodes, arrays, reshaped)
        if node.op != "Reshape" or 0 in arrays.get(node.inputs[1], np.zeros(1)):
            continue  # a 0 copies a size of the tensor before
        while node.inputs[0] in reshaped:
            node.inputs[0] = reshaped[node.inputs[0]]
        reshaped[node.outputs[0]] = node.inputs[0]


def _reshaped(nodes: Iterable[Node]) -> dict[str, str]:
    """What each Reshape is of."""
    found: dict[str, str] = {}
    for node in nodes:
        if node.op == "Reshape":
            found[node.outputs[0]] = node.inputs[0]
        for attribute in node.attributes.values():
            if isinstance(attribute, Body):
                found |= _reshaped(attribute.nodes)
    return found


def _plain_products(nodes: list[Node]) -> list[Node]:
    taken = {node.name for node in nodes}
    for node in nodes:
        for attribute in node.attributes.values():
            if isinstance(attribute, Body):
                _plain_products(attribute.nodes)
        if node.op == "Gemm" and len(node.inputs) == 2 and not node.attributes:
            name = _named(node, "MatMul")
            node.op, node.name = "MatMul", node.name if name in taken else name
            taken.add(node.name)
    return nodes


def with_folded_norms(nodes: list[Node], arrays: Arrays, outputs: set[str]) -> list[Node]:
    """Batch normalisation with known statistics is one convolution with the one before it."""
    return _fused(nodes, outputs, lambda first, second: _norm(first, second, arrays))


def _fused(nodes: list[Node], outputs: set[str], fuse: Any) -> list[Node]:
    """Pairs of nodes, the first of which the second alone reads, as one where `fuse` makes one."""
    for node in nodes:
        for attribute in node.attributes.values():
            if isinstance(attribute, Body):
                inner = {v.name for v in attribute.outputs}
                attribute.nodes = _fused(attribute.nodes, inner, fuse)
    reads = used_names(nodes, outputs)
    makers = {output: node for node in nodes for output in node.outputs}
    replaced: dict[int, Node | None] = {}
    for node in nodes:
        for name in node.inputs:
            first = makers.get(name)
            if first is None or reads[name] != 1 or len(first.outputs) != 1:
                continue
            first = replaced.get(id(first), first)
            made = None if first is None else fuse(first, node)
            if made is not None:
                replaced[id(makers[name])] = None
                replaced[id(node)] = made
                break
    found = [replaced.get(id(node), node) for node in nodes]
    return [node for node in found if node is not None]


def _bias(
    first: Node,
    second: Node,
    arrays: Arrays,
    shapes: Shapes,
    reads: Counter[str],
    reshaped: dict[str, str],
) -> Node | None:
    if second.op != "Add" or first.op not in ("Gemm", "Conv", "ConvTranspose"):
        return None
    (name,) = first.outputs
    if len(first.inputs) > 2 or second.inputs.count(name) != 1:
        return None
    vector = second.inputs[1 - second.inputs.index(name)]
    whole, shape = shapes.get(name), shapes.get(vector)
    if whole is None or shape is None:
        return None
    if first.op == "Gemm":
        if len(shape) != 1 or shape[0] not in (1, whole[1]):
            return None
    else:
        spatial, channels = len(whole) - 2, whole[1]
        if shape not in ((channels, *[1] * spatial), (1, channels, *[1] * spatial)):
            return None
        if vector in arrays:
            if reads[vector] > 1:  # others may want its axes
                arrays[f"{vector}/vector"] = arrays[vector]
                vector = f"{vector}/vector"
            arrays[vector] = arrays[vector].reshape(-1)
            shapes[vector] = arrays[vector].shape
        elif shapes.get(reshaped.get(vector, "")) == (channels,):
            vector = reshaped[vector]
        else:
            return None
    return Node(
        first.op, [*first.inputs, vector], second.outputs, first.attributes, first.name, first.doc
    )


def _named(node: Node, op: str) -> str:
    return node.name.replace(node.op, op)


def _norm(first: Node, second: Node, arrays: Arrays) -> Node | None:
    if second.op != "BatchNormalization" or first.op not in ("Conv", "ConvTranspose"):
        return None
    if second.inputs[0] != first.outputs[0]:
        return None
    names = [first.inputs[1], *first.inputs[2:], *second.inputs[1:]]
    if any(name not in arrays for name in names):
        return None
    kernel = arrays[first.inputs[1]]
    scale, bias, mean, var = (arrays[name].astype(np.float64) for name in second.inputs[1:])
    factor = scale / np.sqrt(var + second.attributes["epsilon"])
    before = arrays[first.inputs[2]].astype(np.float64) if len(first.inputs) > 2 else 0.0
    wide = kernel.astype(np.float64) * _of_outputs(first, kernel, factor)
    new_kernel, new_bias = f"{first.inputs[1]}/folded", f"{second.inputs[2]}/folded"
    if new_kernel in arrays or new_bias in arrays:  # of several convolutions, or norms
        new_kernel, new_bias = f"{new_kernel}/{second.name}", f"{new_bias}/{second.name}"
    arrays[new_kernel] = wide.astype(kernel.dtype)
    arrays[new_bias] = (bias + (before - mean) * factor).astype(kernel.dtype)
    return Node(
        first.op,
        [first.inputs[0], new_kernel, new_bias],
        second.outputs,
        first.attributes,
        first.name,
        first.doc,
    )


def _of_outputs(node: Node, kernel: np.ndarray[Any, Any], factor: np.ndarray[Any, Any]) -> Any:
    """A factor for each output channel with the kernel's axes: (K, C, …), or of the transpose
    (C, K, …), where K and C are those of a group."""
    rest = [1] * (kernel.ndim - 2)
    if node.op == "Conv":
        return factor.reshape(-1, 1, *rest)
    groups = node.attributes.get("group", 1)
    rows = factor.reshape(groups, 1, -1)
    whole = np.broadcast_to(rows, (groups, kernel.shape[0] // groups, kernel.shape[1]))
    return whole.reshape(*kernel.shape[:2], *rest)
