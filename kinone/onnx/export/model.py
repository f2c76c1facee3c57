"""An exported graph as ONNX's protocol buffers, and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ... import __version__
from .dims import Dim, Size, Symbols
from .passes import Arrays
from .values import TYPES, Body, Node, Value


def model_of(
    name: str,
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    arrays: Arrays,
    symbols: Symbols,
    opset: int,
    metadata: Mapping[str, str],
    doc: str = "",
) -> onnx.ModelProto:
    """The whole model. `arrays` is used up, so that no weight is in memory twice for long."""
    model = onnx.ModelProto(
        ir_version=_ir_version(opset),
        producer_name="kinone",
        producer_version=__version__,
        opset_import=[helper.make_opsetid("", opset)],
        doc_string=doc,
    )
    graph = model.graph
    graph.name = name or "main"
    graph.node.extend([_node(node, symbols) for node in nodes])
    graph.input.extend([_info(value, symbols) for value in inputs])
    graph.output.extend([_info(value, symbols) for value in outputs])
    for key in list(arrays):
        _fill(graph.initializer.add(), arrays.pop(key), key)
    helper.set_model_props(model, dict(metadata))
    return model


def _ir_version(opset: int) -> int:
    """The oldest format that has the opset, so that older runtimes load the model; at least 8."""
    return max(8, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))


def tensor(array: np.ndarray[Any, Any], name: str) -> onnx.TensorProto:
    """An array as ONNX has it."""
    found = onnx.TensorProto()
    _fill(found, array, name)
    return found


def _fill(found: onnx.TensorProto, array: np.ndarray[Any, Any], name: str) -> None:
    found.name = name
    found.data_type = TYPES[array.dtype.name]
    found.dims.extend(array.shape)
    found.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _info(value: Value, symbols: Symbols) -> onnx.ValueInfoProto:
    shape = [_size(size, symbols) for size in value.physical]
    return helper.make_tensor_value_info(value.name, TYPES[value.dtype.name], shape)


def _size(size: Size, symbols: Symbols) -> int | str | None:
    if not isinstance(size, Dim):
        return size
    formula = symbols.formula(size)
    return None if formula is None else str(formula)


def _node(node: Node, symbols: Symbols) -> onnx.NodeProto:
    attributes = {key: _attribute(value, symbols) for key, value in node.attributes.items()}
    return helper.make_node(
        node.op, node.inputs, node.outputs, node.name, doc_string=node.doc or None, **attributes
    )


def _attribute(value: Any, symbols: Symbols) -> Any:
    if isinstance(value, Body):
        return helper.make_graph(
            [_node(node, symbols) for node in value.nodes],
            value.name,
            [_info(each, symbols) for each in value.inputs],
            [_info(each, symbols) for each in value.outputs],
        )
    if isinstance(value, np.dtype):
        return TYPES[value.name]
    if isinstance(value, np.ndarray):
        return tensor(value, "")
    return value
