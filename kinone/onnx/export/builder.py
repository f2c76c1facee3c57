"""The builder: what lowering rules write nodes with.

    y = b.node("Tanh", [x], x.shape, x.dtype)

Equal nodes are written once, constants become initialisers where a node first wants them, and a
node whose type ONNX Runtime does not compute gets casts around it, see `kernels` and `writer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .dims import Dim, Formula, Size
from .values import Body, Node, Value
from .writer import Shape, Writer


class Builder(Writer):
    """A writer of nodes that knows how values lie, sizes that vary, and subgraphs."""

    # -- how values lie

    def plain(self, value: Value) -> Value:
        """The value with its tensor's axes in its own order."""
        return self.ordered(value, range(value.ndim))

    def ordered(self, value: Value, order: Sequence[int]) -> Value:
        """The value with its tensor's axes in this order."""
        order = tuple(order)
        if value.order == order:
            return value
        if value.known is not None:
            return replace(value, order=order)
        shape = tuple([value.shape[axis] for axis in order])
        if _lie_alike(value, value.order, order):
            flat = self._reshaped(value, shape)
            return replace(flat, shape=value.shape, order=order)
        return self.node(
            "Transpose",
            [value],
            value.shape,
            value.dtype,
            order=order,
            perm=[value.order.index(axis) for axis in order],
        )

    def reshape(self, value: Value, shape: Shape) -> Value:
        """`np.reshape(value, shape)`."""
        shape = tuple(shape)
        if value.shape == shape:
            return value
        if value.known is not None and not any(isinstance(size, Dim) for size in shape):
            return self.constant(np.reshape(value.known, shape), name=value.name)
        if not _lie_alike(value, value.order, range(value.ndim)):
            value = self.plain(value)
        return self._reshaped(value, shape)

    def _reshaped(self, value: Value, shape: Shape) -> Value:
        """A Reshape of the tensor as it lies: the new tensor's axes are the result's."""
        target: list[int] = []
        physical = value.physical
        if len(shape) == 2 < len(physical) and physical[0] == shape[0] and 0 not in shape:
            return self.node("Flatten", [value], shape, value.dtype, axis=1)
        varying = [i for i, size in enumerate(shape) if isinstance(size, Dim)]
        copied = {i for i in varying if i < len(physical) and physical[i] == shape[i]}
        rest = [i for i in varying if i not in copied]
        wanted: Value
        if len(rest) <= 1 and 0 not in shape:
            target = [
                0 if i in copied else -1 if isinstance(size, Dim) else size
                for i, size in enumerate(shape)
            ]
            if len(varying) == 1:
                target = [-1 if t == 0 else t for t in target]
            wanted = self.ints(*target)
        else:
            wanted = self.sizes(shape)
        zeros = 1 if 0 in shape else None
        return self.node(
            "Reshape", [value, wanted], shape, value.dtype, typed=(0,), allowzero=zeros
        )

    # -- sizes that vary

    def size(self, dim: Size) -> Value:
        """A size as a vector of one int64, computed where it varies.

        It is read off an input that has it, or computed of those; what is no sum or product of
        the named dimensions (a stride rounds down) is read off the tensor that has it.
        """
        if not isinstance(dim, Dim):
            return self.ints(dim)
        found = self.exact_size(dim)
        if found is not None:
            return found
        formula = self.symbols.floored(dim)
        if formula is None:
            raise self.error(f"a size follows no dynamic one: {self.symbols.describe(dim.values)}")
        return self._formula(formula)

    def exact_size(self, dim: Dim) -> Value | None:
        """The same, but for quotients that are rounded down; None where there is none."""
        return self._found(dim, 3)

    def _found(self, dim: Dim, factors: int) -> Value | None:
        """A size of the named dimensions or of tensors, or a product of so many of them."""
        formula = self.symbols.formula(dim)
        if formula is not None:
            return self._formula(formula)
        place = self.place_of(dim)
        if place is not None:
            return self._read(place)
        for known in self.sized():
            rest = dim - known
            if not isinstance(rest, Dim):
                return self._whole("Add", self._read(self._place(known)), self.ints(rest))
        for known in self.sized():
            other = dim // known
            if other * known == dim:
                value = self.ints(other) if isinstance(other, int) else None
                if isinstance(other, Dim) and factors > 1:
                    value = self._found(other, factors - 1)
                if value is not None:
                    return self._whole("Mul", self._read(self._place(known)), value)
        return None

    def _place(self, dim: Dim) -> tuple[Value, int]:
        place = self.place_of(dim)
        assert place is not None
        return place

    def candidates(self) -> Iterator[Dim]:
        """Sizes of which a number that varies may have been computed: likely ones first."""
        for _, sizes in self.symbols.products():
            if len(set(sizes)) > 1:
                yield Dim(sizes)
        known = list(self.sized())
        yield from known
        yield from self.counts()
        for i, one in enumerate(known):
            for other in known[i:]:
                both = one * other
                if isinstance(both, Dim):
                    yield both

    def _read(self, place: tuple[Value, int]) -> Value:
        value, axis = place
        return self.node("Shape", [value], (1,), np.int64, start=axis, end=axis + 1)

    def _formula(self, formula: Formula) -> Value:
        total: Value | None = None
        for factor, powers in formula.terms:
            term: Value | None = None
            for name, power in powers.items():
                for _ in range(power):
                    symbol = self._symbol(name)
                    term = symbol if term is None else self._whole("Mul", term, symbol)
            assert term is not None
            if factor != 1:
                term = self._whole("Mul", term, self.ints(factor))
            total = term if total is None else self._whole("Add", total, term)
        assert total is not None
        if formula.offset:
            total = self._whole("Add", total, self.ints(formula.offset))
        if formula.denominator != 1:
            total = self._whole("Div", total, self.ints(formula.denominator))
        return total

    def _whole(self, op: str, a: Value, b: Value) -> Value:
        return self.node(op, [a, b], (1,), np.int64)

    def _symbol(self, name: str) -> Value:
        wanted = self.symbols.size(name)
        for value in self.root.inputs:
            for axis, size in enumerate(value.physical):
                if size == wanted:
                    return self._read((value, axis))
        raise self.error(f"no input has the dynamic size {name}")

    def sizes(self, shape: Shape) -> Value:
        """A shape as a vector of int64, computed where it varies."""
        if not any(isinstance(size, Dim) for size in shape):
            return self.ints(*[int(size) for size in shape])
        parts: list[Value] = []
        fixed: list[int] = []
        for size in shape:
            if isinstance(size, Dim):
                parts += [self.ints(*fixed)] if fixed else []
                parts.append(self.size(size))
                fixed = []
            else:
                fixed.append(size)
        parts += [self.ints(*fixed)] if fixed else []
        if len(parts) == 1:
            return parts[0]
        return self.node("Concat", parts, (len(shape),), np.int64, axis=0)

    def number(self, size: Size, dtype: Any) -> Value:
        """A size as a scalar of any type."""
        if not isinstance(size, Dim):
            return self.constant(size, dtype)
        return self.cast(self.reshape(self.size(size), ()), dtype)

    # -- shapes

    def expand(self, value: Value, shape: Shape) -> Value:
        """`np.broadcast_to(value, shape)`."""
        if value.shape == tuple(shape):
            return value
        value = self.plain(value)
        if value.known is not None and not any(isinstance(size, Dim) for size in shape):
            whole: tuple[Any, ...] = tuple(shape)
            if math.prod(whole) <= max(4 * value.known.size, 64):
                return self.constant(np.broadcast_to(value.known, whole))
        return self.node("Expand", [value, self.sizes(shape)], shape, value.dtype, typed=(0,))

    # -- subgraphs

    def body(
        self,
        name: str,
        inputs: Sequence[tuple[str, Shape, Any]],
        write: Callable[..., Sequence[Value]],
    ) -> Body:
        """A subgraph: `write(builder, *inputs)` gives its outputs, which lie as they are."""
        inner = Builder(self.opset, self.symbols, self)
        given = [
            Value(
                self.names.fresh(f"{self._label(name)}.{label}"),
                tuple(shape),
                np.dtype(dtype),
                tuple(range(len(shape))),
            )
            for label, shape, dtype in inputs
        ]
        inner.note_sizes(given)
        results: list[Value] = []
        for value in write(inner, *given):
            value = inner.plain(value)
            made = {output for node in inner.nodes for output in node.outputs}
            if (
                value.known is not None
                or value.name not in made
                or value.name in [r.name for r in results]
            ):
                # A subgraph's output is a tensor of its own.
                value = inner.unique("Identity", value)
            results.append(value)
        return Body(self.names.fresh(self._label(name)), given, inner.nodes, results)

    def unique(self, op: str, value: Value) -> Value:
        """A node that is written even where an equal one is."""
        label = self._label(op)
        name = self.names.fresh(label)
        self.nodes.append(
            Node(op, [self.tensor(value)], [name], {}, self._node_name(label), self._doc())
        )
        return Value(name, value.shape, value.dtype, value.order)

    def with_bodies(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[tuple[Shape, Any]],
        **attributes: Any,
    ) -> list[Value]:
        """A node that holds subgraphs: If, Loop, Scan."""
        names = ["" if x is None else self.tensor(x) for x in inputs]
        label = self._label(op)
        found = []
        for i, (shape, dtype) in enumerate(outputs):
            name = self.names.fresh(f"{label}.{i}")
            found.append(Value(name, tuple(shape), np.dtype(dtype), tuple(range(len(shape)))))
        self.nodes.append(
            Node(
                op, names, [v.name for v in found], attributes, self._node_name(label), self._doc()
            )
        )
        self.note_sizes(found)
        return found

    # -- the end

    def output(self, value: Value, name: str) -> Value:
        """The value as an output of the model: a tensor of this name, which is nobody else's.

        The node that makes it gives the name to its own (`values.rename` with `renamed`, when all
        are known); of an input, a constant or what is an output already, a copy gets it.
        """
        given = any(value.name == each.name for each in self.inputs)
        if value.known is not None or value.name in self.renamed or given:
            value = self.unique("Identity", value)
        self.renamed[value.name] = name
        return replace(value, name=name)


def _lie_alike(value: Value, order: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two orders of the axes differ in axes of length 1 alone."""
    return [a for a in order if value.shape[a] != 1] == [a for a in other if value.shape[a] != 1]
