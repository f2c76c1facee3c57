"""From protocol buffers to `Graph`s: every node finds its function, and the graph is checked."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import AttributeProto

from . import registry
from .gradient import differentiated
from .graph import Graph, Values, bodies, last_uses, needed, node_reads, reads
from .registry import LoadError, Node
from .tensors import Folder, array_of, port_of, sparse_array_of

# What a model may grow to when its functions are put in: each may call others, many times.
MOST_NODES = 2_000_000

Functions = dict[tuple[str, str, str], onnx.FunctionProto]


def domain_of(proto: Any) -> str:
    """The operator set of a node, function or import; ONNX's own has two names."""
    return "" if proto.domain == "ai.onnx" else proto.domain


def imported(proto: onnx.ModelProto | onnx.FunctionProto) -> dict[str, int]:
    """The version of each operator set that a model or function is written in."""
    found: dict[str, int] = {}
    for each in proto.opset_import:
        if each.version < 1 or each.version > 2**31:
            raise LoadError(f"the version {each.version} of the operator set {each.domain!r}")
        found[domain_of(each)] = each.version
    newest = onnx.defs.onnx_opset_version()
    if found.get("", 1) > newest:
        raise LoadError(
            f"the model is written in opset {found['']}, and the installed onnx "
            f"{onnx.__version__} knows up to {newest}\n  Run pip install -U onnx, or export the "
            "model in an earlier opset."
        )
    return found


@dataclass
class _Shared:
    """What the builders of one model have in common."""

    functions: Functions
    folder: Folder | None
    made: dict[Any, tuple[registry.Operator, int]] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)  # the functions that are being put in
    unknown: dict[str, str] = field(default_factory=dict)  # operators without a function: a node


class Builder:
    """Turns the graphs of a model into `Graph`s."""

    def __init__(self, opsets: Mapping[str, int], shared: _Shared) -> None:
        self.opsets = dict(opsets)
        self.shared = shared
        self.size = 0  # of nodes, with those of the functions that they call

    @classmethod
    def of(cls, model: onnx.ModelProto, folder: Folder | None) -> Builder:
        """The builder of a model's main graph."""
        functions = {(domain_of(f), f.name, f.overload): f for f in model.functions}
        if len(functions) < len(model.functions):
            raise LoadError("two functions of the model have one name")
        return cls(imported(model) or {"": 1}, _Shared(functions, folder))

    def main(self, proto: onnx.GraphProto) -> Graph:
        """The main graph.

        Raises `LoadError` for operators that Kinone has not, all of them in one message, and for
        values that nothing makes.
        """
        graph = self.graph(proto)
        unknown = self.shared.unknown
        if unknown:
            listed = "\n  ".join(f"{op}, in {where}" for op, where in sorted(unknown.items()))
            raise LoadError(
                f"the model needs operators that Kinone has not:\n  {listed}\n"
                "  Declare them, @kinone.onnx.operator(name, domain=…), or export the model "
                "without them."
            )
        _closed(graph)
        return graph

    def graph(self, proto: onnx.GraphProto) -> Graph:
        """A graph or subgraph."""
        constants = self.initializers(proto)
        inputs = [each.name for each in proto.input]
        # One that is named as an input, too, is a default, as before format version 4.
        own = tuple([name for name in inputs if name not in constants])
        outputs = tuple([each.name for each in proto.output])
        _texts(proto.name, *inputs, *constants, *outputs)
        nodes = [self.node(each) for each in proto.node]
        nodes = _in_order(nodes, proto.name, [*own, *constants])
        differentiated(nodes)
        nodes = needed(nodes, outputs)
        free = last_uses(nodes, outputs)
        declared = tuple([port_of(each) for each in proto.output])
        return Graph(proto.name, own, outputs, tuple(nodes), constants, free, declared)

    def initializers(self, proto: onnx.GraphProto) -> Values:
        """The constants of a graph."""
        folder = self.shared.folder
        _unique(
            [each.name for each in proto.initializer]
            + [each.values.name for each in proto.sparse_initializer],
            proto.name,
        )
        found: Values = {each.name: array_of(each, folder) for each in proto.initializer}
        for sparse in proto.sparse_initializer:
            found[sparse.values.name] = sparse_array_of(sparse, folder)
        return found

    def node(self, proto: onnx.NodeProto) -> Node:
        """A node with its function."""
        _texts(proto.op_type, proto.name, proto.domain, *proto.input, *proto.output)
        domain = domain_of(proto)
        attributes = {each.name: self.attribute(each) for each in proto.attribute}
        _texts(*attributes)
        node = Node(
            proto.op_type,
            "".join([c if c.isprintable() else "_" for c in proto.name]),  # it is printed a lot
            domain,
            self.opsets.get(domain, 1),
            tuple(proto.input),
            tuple(proto.output),
            attributes,
        )
        # A function of the model goes first, unless it is named as one of ONNX's own operators.
        run = registry.find("", node.op, node.opset) if not domain else None
        run = run or self._function(proto)
        if run is None or not domain:
            _fits(node, proto)
            run = run or registry.find(domain, node.op, node.opset) or self._defined(proto, node)
        if domain not in self.opsets and run is None:
            raise node.error(
                f"is of the operator set {domain or 'ai.onnx'!r}, of which the model imports no "
                "version"
            )
        if run is None:
            name = f"{domain}.{node.op}" if domain else node.op
            self.shared.unknown.setdefault(f"{name} (opset {node.opset})", str(node))
        node.run = run
        self.size += 1
        if self.size > MOST_NODES:
            raise LoadError(f"the model has more than {MOST_NODES} nodes, its functions put in")
        return node

    def attribute(self, proto: onnx.AttributeProto) -> Any:
        """An attribute as Python has it."""
        kind, folder = proto.type, self.shared.folder
        if kind == AttributeProto.GRAPH:
            return self.graph(proto.g)
        if kind == AttributeProto.GRAPHS:
            return [self.graph(each) for each in proto.graphs]
        if kind == AttributeProto.TENSOR:
            return array_of(proto.t, folder)
        if kind == AttributeProto.TENSORS:
            return [array_of(each, folder) for each in proto.tensors]
        if kind == AttributeProto.SPARSE_TENSOR:
            return sparse_array_of(proto.sparse_tensor, folder)
        if kind == AttributeProto.STRING:
            return proto.s.decode("utf-8", "replace")
        if kind == AttributeProto.STRINGS:
            return [each.decode("utf-8", "replace") for each in proto.strings]
        if proto.ref_attr_name:
            raise LoadError(
                f"the attribute {proto.name!r} refers to {proto.ref_attr_name!r} of a function, "
                "and is in none"
            )
        try:
            value = onnx.helper.get_attribute_value(proto)
        except ValueError as error:  # no type, or one that there is not
            raise LoadError(f"the attribute {proto.name!r} cannot be read: {error}") from None
        return list(value) if kind in (AttributeProto.INTS, AttributeProto.FLOATS) else value

    # ---- functions -------------------------------------------------------------------------------

    def _function(self, proto: onnx.NodeProto) -> registry.Operator | None:
        """A function of the model as an operator."""
        key = (domain_of(proto), proto.op_type, proto.overload)
        found = self.shared.functions.get(key)
        return None if found is None else self._expanded(found, proto)

    def _defined(self, proto: onnx.NodeProto, node: Node) -> registry.Operator | None:
        """An operator that ONNX itself defines by others, as those."""
        if node.domain not in self.opsets:
            return None
        try:
            schema = onnx.defs.get_schema(node.op, node.opset, node.domain)
        except onnx.defs.SchemaError:
            return None
        body: onnx.FunctionProto = schema.function_body
        if not body.node:
            return None
        # What is left away has the operator's defaults, which its function does not repeat.
        given = {each.name for each in proto.attribute}
        whole = onnx.NodeProto()
        whole.CopyFrom(proto)
        for name, attribute in schema.attributes.items():
            if name not in given and attribute.default_value.type:
                whole.attribute.append(attribute.default_value)
        return self._expanded(body, whole)

    def _expanded(self, function: onnx.FunctionProto, call: onnx.NodeProto) -> registry.Operator:
        """A function as an operator: its body, with the attributes of its call put in.

        Made once for the same attributes, so functions that call functions do not multiply.
        """
        name = f"{function.domain}.{function.name}"
        given = {each.name: each for each in function.attribute_proto}
        given.update({each.name: each for each in call.attribute})
        written = tuple(
            sorted(each.SerializeToString(deterministic=True) for each in given.values())
        )
        key = (id(function), name, function.overload, tuple(sorted(self.opsets.items())), written)
        if key not in self.shared.made:
            if name in self.shared.open:
                raise LoadError(f"the function {name!r} of the model calls itself")
            self.shared.open.append(name)
            inner = Builder({**self.opsets, **imported(function)}, self.shared)
            body = inner.body(function, given)
            self.shared.open.pop()
            self.shared.made[key] = (_call(body), inner.size)
        run, size = self.shared.made[key]
        self.size += size
        return run

    def body(self, function: onnx.FunctionProto, given: Mapping[str, onnx.AttributeProto]) -> Graph:
        """A function's graph, its attributes put in."""
        written = []
        for each in function.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(each)
            _refer(copy, given)
            written.append(self.node(copy))
        inputs, outputs = tuple(function.input), tuple(function.output)
        _texts(*inputs, *outputs)
        nodes = needed(_in_order(written, function.name, inputs), outputs)
        graph = Graph(function.name, inputs, outputs, tuple(nodes), {}, last_uses(nodes, outputs))
        _closed(graph)
        return graph


def _call(body: Graph) -> registry.Operator:
    def run(node: Node, *operands: Any) -> tuple[Any, ...]:
        if len(operands) > len(body.inputs):
            raise node.error(f"has {len(operands)} inputs; its function takes {len(body.inputs)}")
        padded = [*operands, *[None] * (len(body.inputs) - len(operands))]
        return tuple(body.run(dict(zip(body.inputs, padded, strict=True))))

    return run


def _refer(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Puts the values of a function's attributes in the places of those that refer to them."""
    kept = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in given:
                continue  # not given: the inner node's own default
            name = attribute.name
            attribute = _copy(given[attribute.ref_attr_name])
            attribute.name = name
        for graph in [attribute.g, *attribute.graphs]:
            for each in graph.node:
                _refer(each, given)
        kept.append(_copy(attribute))
    del node.attribute[:]
    node.attribute.extend(kept)


def _copy(attribute: onnx.AttributeProto) -> onnx.AttributeProto:
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    return copy


# ---- checks --------------------------------------------------------------------------------------


def _texts(*names: Any) -> None:
    """Raises `LoadError` for a name that is no UTF-8, which protocol buffers give as bytes."""
    for name in names:
        if not isinstance(name, str):
            raise LoadError(f"the name {name!r} is no text in UTF-8")


def _fits(node: Node, proto: onnx.NodeProto) -> None:
    """Raises `LoadError` for inputs, outputs or attributes that the operator has not."""
    try:
        schema = onnx.defs.get_schema(node.op, node.opset, node.domain)
    except onnx.defs.SchemaError:
        return
    for names, least, most, what in (
        (node.inputs, schema.min_input, schema.max_input, "inputs"),
        (node.outputs, schema.min_output, schema.max_output, "outputs"),
    ):
        if not least <= len(names) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise node.error(f"has {len(names)} {what}; in opset {node.opset} it has {wanted}")
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in node.attributes:
            raise node.error(f"wants the attribute {name!r}")
    for each in proto.attribute:
        known = schema.attributes.get(each.name)
        if known is not None and each.type not in (_number(known.type), 0):
            name = AttributeProto.AttributeType.Name
            wanted, found = name(_number(known.type)), name(each.type)
            raise node.error(f"has a {found} as its attribute {each.name!r}: it is {wanted}")


def _number(kind: Any) -> int:
    """The type of an attribute as protocol buffers have it."""
    return int(kind.value)


def _unique(names: Sequence[str], graph: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise LoadError(f"two values of the graph {graph!r} have the name {name!r}")
        seen.add(name)


def _in_order(nodes: Sequence[Node], graph: str, given: Sequence[str]) -> list[Node]:
    """The nodes, each after those whose values it reads; no value is made twice, or is `given`."""
    _unique([*given, *[name for node in nodes for name in node.outputs]], graph)
    makers = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    needs = [{makers[name] for name in node_reads(node) if name in makers} for node in nodes]
    if all(max(some, default=-1) < i for i, some in enumerate(needs)):
        return list(nodes)
    try:
        order = graphlib.TopologicalSorter(dict(enumerate(needs))).static_order()
        return [nodes[i] for i in order]
    except graphlib.CycleError as error:
        cycle = " → ".join(str(nodes[i]) for i in error.args[1][:8])
        raise LoadError(f"nodes of the graph {graph!r} wait for each other: {cycle}") from None


def _closed(graph: Graph) -> None:
    """Raises `LoadError` for a value that nothing makes."""
    missing = sorted(reads(graph))
    if not missing:
        return
    name = missing[0]
    for node in graph.nodes:
        if name in node_reads(node):
            inside = "" if name in node.inputs or not bodies(node) else ", inside of it"
            raise node.error(f"reads {name!r}{inside}, which nothing makes")
    raise LoadError(f"nothing makes the output {name!r} of the graph {graph.name!r}")
