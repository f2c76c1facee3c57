"""The inputs and outputs of an exported graph, as the program's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .builder import Builder
from .merge import Program
from .names import Leaf
from .rules import Lowered
from .values import Pair, Value, rename


def inputs(b: Builder, leaves: Sequence[Leaf], program: Program) -> list[Lowered]:
    """The graph's inputs: those leaves that are not folded, in order."""
    found: list[Lowered] = []
    given = [leaf for leaf in leaves if not leaf.folded]
    for leaf, variable in zip(given, program.inputs, strict=True):
        shape, dtype, weak = variable.aval
        name = b.names.fresh(leaf.name)
        if dtype.kind == "c":
            found.append(_complex(b, name, variable.aval))
            continue
        order = tuple(range(len(shape)))
        if leaf.layout == "NCHW" and len(shape) > 2:
            order = (0, len(shape) - 1, *range(1, len(shape) - 1))
        value = Value(name, shape, dtype, order, None, weak)
        _add(b, value)
        found.append(value)
    return found


def _add(b: Builder, value: Value) -> None:
    b.inputs.append(value)
    b.shapes[value.name] = value.physical
    b.shapes[value.name] = value.physical
    b.note_sizes([value])


def _complex(b: Builder, name: str, aval: Any) -> Pair:
    """A complex input: real and imaginary parts along a last axis of 2."""
    real = np.zeros((), aval.dtype).real.dtype
    shape = (*aval.shape, 2)
    whole = Value(name, shape, real, tuple(range(len(shape))))
    _add(b, whole)
    parts = [
        b.node("Gather", [whole, b.constant(part, np.int64)], aval.shape, real, typed=(0,), axis=-1)
        for part in (0, 1)
    ]
    return Pair(*parts)


def outputs(b: Builder, results: Sequence[Lowered], names: Sequence[str]) -> list[Value]:
    """The results as tensors of their own, under these names."""
    b.location = None
    found: list[Value] = []
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Pair):
            parts = [b.reshape(part, (*part.shape, 1)) for part in (result.real, result.imag)]
            shape = (*result.shape, 2)
            result = b.node("Concat", parts, shape, parts[0].dtype, axis=-1)
        assert isinstance(result, Value)
        found.append(b.output(b.plain(result), name))
    rename(b.nodes, b.renamed)
    return found
