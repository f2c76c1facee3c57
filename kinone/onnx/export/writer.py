"""Writing nodes: names, constants, casts, and which node has been written already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ... import source
from ...source import Location
from . import kernels
from .dims import UNKNOWN, Dim, Size, Symbols, product
from .errors import ExportError
from .values import Body, Node, Value

Shape = Sequence[Size]


class Names:
    """Gives every tensor and node of a model a name of its own."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.counts: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """The wanted name, with a number behind it where it is taken."""
        name = wanted
        while name in self.taken:
            self.counts[wanted] = self.counts.get(wanted, 0) + 1
            name = f"{wanted}_{self.counts[wanted]}"
        self.taken.add(name)
        return name


class Writer:
    """Collects the nodes and initialisers of a graph, or (with `outer`) of a subgraph in one."""

    def __init__(self, opset: int, symbols: Symbols, outer: Writer | None = None) -> None:
        self.opset = opset
        self.symbols = symbols
        self.outer = outer
        self.nodes: list[Node] = []
        self.location: Location | None = outer.location if outer else None
        self.names: Names = outer.names if outer else Names()  # of tensors
        self.node_names: Names = outer.node_names if outer else Names()
        self.initializers: dict[str, np.ndarray[Any, Any]] = outer.initializers if outer else {}
        self.inputs: list[Value] = []  # of the model; sizes are read off these
        self.notes: list[str] = outer.notes if outer else []
        self._written: dict[Any, list[Value]] = {}  # what a node with these inputs gave
        self._constants: dict[Any, list[str]] = outer._constants if outer else {}
        self.tables: dict[int, tuple[Any, str]] = outer.tables if outer else {}  # see `varying`
        self._named: dict[int, str] = outer._named if outer else {}  # an array of a given name
        self.renamed: dict[str, str] = {}  # the names that tensors got as outputs
        self.ranks: dict[str, int] = outer.ranks if outer else {}  # of every tensor
        self.shapes: dict[str, tuple[Size, ...]] = outer.shapes if outer else {}
        self._sized: dict[Dim, tuple[Value, int]] = {}  # a tensor, and which of its axes is so long
        self._counts: dict[Dim, None] = {}  # products of the sizes of a tensor that vary

    # -- nodes

    def node(
        self,
        op: str,
        inputs: Sequence[Value | None],
        shape: Shape,
        dtype: Any,
        *,
        order: Sequence[int] | None = None,
        typed: Sequence[int] | None = None,
        **attributes: Any,
    ) -> Value:
        """One node with one output: its value, of `shape` and `dtype`.

        The inputs' tensors are taken as they lie; `order` is how the output's lies. `typed` are the
        inputs of the operator's main type, all by default: those are cast where there is no kernel
        for it, and the output back. Attributes that are None are left out.
        """
        results = self.nodes_of(
            op, inputs, [(shape, dtype)], orders=[order], typed=typed, **attributes
        )
        return results[0]

    def nodes_of(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[tuple[Shape, Any]],
        *,
        orders: Sequence[Sequence[int] | None] | None = None,
        typed: Sequence[int] | None = None,
        **attributes: Any,
    ) -> list[Value]:
        """One node with several outputs, as `node`."""
        inputs = list(inputs)
        places = range(len(inputs)) if typed is None else typed
        main = next((x.dtype for i in places if (x := inputs[i]) is not None), None)
        kinds = [np.dtype(dtype) for _, dtype in outputs]
        if main is not None and not kernels.runs(op, main):
            instead = self._stand_in(op, main)
            for i in places:
                value = inputs[i]
                if value is not None:
                    inputs[i] = self.cast(value, instead)
            made = [instead if kind == main else kind for kind in kinds]
        else:
            made = kinds
        attributes = {k: v for k, v in attributes.items() if v is not None}
        names = ["" if x is None else self.tensor(x) for x in inputs]
        key = self._key(op, names, attributes)
        found = self._lookup(key) if key is not None else None
        if found is None:
            label = self._label(op)
            found = []
            for i, ((shape, _), kind) in enumerate(zip(outputs, made, strict=True)):
                order = orders[i] if orders is not None else None
                name = self.names.fresh(label if len(outputs) == 1 else f"{label}.{i}")
                axes = tuple(range(len(shape))) if order is None else tuple(order)
                found.append(Value(name, tuple(shape), kind, axes))
                self.ranks[name] = len(shape)
                self.shapes[name] = found[-1].physical
            self.nodes.append(
                Node(
                    op,
                    names,
                    [v.name for v in found],
                    attributes,
                    self._node_name(label),
                    self._doc(),
                )
            )
            self.note_sizes(found)
            if key is not None:
                self._written[key] = found
        results = []
        for i, ((shape, _), kind) in enumerate(zip(outputs, kinds, strict=True)):
            order = orders[i] if orders is not None else None
            axes = tuple(range(len(shape))) if order is None else tuple(order)
            # An equal node's tensor may have stood for a value of other axes.
            value = replace(found[i], shape=tuple(shape), order=axes)
            results.append(self.cast(value, kind))
        return results

    def _stand_in(self, op: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
        instead = kernels.stand_in(op, dtype)
        if instead is None and dtype == np.float64:
            instead = np.dtype(np.float32)
            self.note(f"{op} in float32, for ONNX Runtime has no float64 kernel of it")
        if instead is None and dtype == np.uint64 and "int64" in kernels.KERNELS[op]:
            instead = np.dtype(np.int64)
        if instead is None:
            raise self.error(
                f"ONNX Runtime has no kernel of {op} for {dtype}, nor for a wider type"
            )
        return instead

    def _key(self, op: str, names: Sequence[str], attributes: dict[str, Any]) -> Any:
        if op.startswith("Random") or any(isinstance(v, Body) for v in attributes.values()):
            return None
        parts = [
            (k, v.tobytes() if isinstance(v, np.ndarray) else repr(v))
            for k, v in sorted(attributes.items())
        ]
        return op, tuple(names), tuple(parts)

    def _lookup(self, key: Any) -> list[Value] | None:
        found = self._written.get(key)
        return self.outer._lookup(key) if found is None and self.outer is not None else found

    def _label(self, op: str) -> str:
        scope = source.scope_of(self.location) if self.location is not None else ""
        return f"{scope}/{op}" if scope else op

    def _node_name(self, label: str) -> str:
        return self.node_names.fresh(label)

    def _doc(self) -> str:
        if self.location is None:
            return ""
        scope = source.scope_of(self.location)
        where = source.describe(self.location).replace("\n", " ")
        return f"{where}  in {scope}" if scope else where

    def note(self, text: str) -> None:
        """Something that the reader of the model ought to know; it is stored in the metadata."""
        where = self._doc()
        text = f"{text}, at {where}" if where else text
        if text not in self.notes:
            self.notes.append(text)

    def error(self, why: str) -> ExportError:
        """What to raise for a program that cannot be written, at the line that is lowered now."""
        return ExportError(f"{why}, at {source.describe(self.location)}")

    # -- sizes that vary

    def note_sizes(self, values: Sequence[Value]) -> None:
        """Remembers which sizes these tensors have."""
        for value in values:
            for axis, size in enumerate(value.physical):
                if isinstance(size, Dim) and size.values:
                    self._sized.setdefault(size, (value, axis))
            varying = [size for size in value.physical if isinstance(size, Dim)]
            count = product(varying) if UNKNOWN not in varying else 1
            if isinstance(count, Dim) and count.values:
                self._counts[count] = None

    def place_of(self, size: Dim) -> tuple[Value, int] | None:
        """A tensor that is so long in one of its axes, and the axis."""
        found = self._sized.get(size)
        return self.outer.place_of(size) if found is None and self.outer is not None else found

    def sized(self) -> Iterator[Dim]:
        """The sizes that vary and that a tensor has."""
        yield from list(self._sized)
        if self.outer is not None:
            yield from self.outer.sized()

    def counts(self) -> Iterator[Dim]:
        """Products of the sizes that vary of the tensors that there are, as means divide by."""
        yield from list(self._counts)
        if self.outer is not None:
            yield from self.outer.counts()

    # -- constants

    def constant(self, value: Any, dtype: Any = None, name: str = "") -> Value:
        """Numbers as a value; it becomes an initialiser where a node takes it."""
        array = np.asarray(value, dtype)
        return Value(name, array.shape, array.dtype, tuple(range(array.ndim)), array)

    def ints(self, *values: int) -> Value:
        """A vector of int64, such as axes and shapes are."""
        return self.constant(np.array(values, np.int64))

    def tensor(self, value: Value) -> str:
        """The name of a value's tensor."""
        if value.known is None:
            return value.name
        array = np.array(np.transpose(value.known, value.order), order="C", copy=None)
        kind = (array.dtype.name, array.shape)
        wanted = value.name or self._label("constant")
        if array.nbytes <= 64:
            key: Any = (*kind, array.tobytes()) if not value.name else (*kind, value.name)
        else:
            key = (*kind, value.name or _digest(array))
        for name in self._constants.setdefault(key, []):
            if _same_bits(self.initializers[name], array):
                return name
        name = self.names.fresh(wanted)
        self._constants[key].append(name)
        self.initializers[name] = array
        self.ranks[name] = array.ndim
        self.shapes[name] = array.shape
        return name

    @property
    def root(self) -> Writer:
        """The builder of the model itself."""
        return self if self.outer is None else self.outer.root

    # -- element types

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in another type, as `astype`."""
        dtype = np.dtype(dtype)
        if value.dtype == dtype:
            return replace(value, weak=False) if value.weak else value
        if value.known is not None:
            return replace(value, known=value.known.astype(dtype), dtype=dtype, weak=False)
        return self.node("Cast", [value], value.shape, dtype, order=value.order, to=dtype)


def _digest(array: np.ndarray[Any, Any]) -> bytes:
    return hashlib.blake2b(array.reshape(-1).view(np.uint8).data).digest()


def _same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a is b or (a.ctypes.data == b.ctypes.data and a.strides == b.strides):
        return True
    return bool(np.array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8)))
