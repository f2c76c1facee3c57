"""What branches and loops carry: complex values as two tensors, records of while loops as stacks.

In reverse mode a while loop gives a record, of what each of its trips keeps. ONNX has it as tensors
with an axis of trips; from a branch they come with a length of 0 where another branch was taken,
and out of a scan one after the other, with their lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.dims import UNKNOWN, Size
from ..export.merge import Aval, Program, Variable
from ..export.rules import Lowered
from ..export.values import Pair, Record, Value

Kind = tuple[Sequence[Size], Any]


def flat(values: Sequence[Lowered]) -> list[Value]:
    """The tensors that values are made of: a complex one is two."""
    found: list[Value] = []
    for value in values:
        assert not isinstance(value, Record)
        found += [value.real, value.imag] if isinstance(value, Pair) else [value]
    return found


def kinds(avals: Sequence[Aval]) -> list[Kind]:
    """Shape and dtype of the tensors of such values."""
    found: list[Kind] = []
    for aval in avals:
        if aval.dtype.kind == "c":
            found += [(aval.shape, np.zeros((), aval.dtype).real.dtype)] * 2
        else:
            found.append((aval.shape, aval.dtype))
    return found


def joined(avals: Sequence[Aval], tensors: Sequence[Value]) -> list[Lowered]:
    """The values again, from their tensors."""
    rest = iter(tensors)
    return [Pair(next(rest), next(rest)) if a.dtype.kind == "c" else next(rest) for a in avals]


def refuse_records(b: Builder, avals: Sequence[Aval], outer: str) -> None:
    if any(aval.dtype.kind == "O" for aval in avals):
        raise b.error(
            f"the gradient of a while_loop inside of a {outer} cannot be written as ONNX: what its "
            f"trips keep has no type there\n  Use scan, or fori_loop with a known number of trips, "
            f"inside of the {outer}."
        )


def record_of(b: Builder, branches: Sequence[Program], place: int) -> list[Aval] | None:
    """What each trip keeps of the loop whose record one of the branches gives at this place."""
    for branch in branches:
        for step in branch.steps:
            for at, variable in enumerate(step.outputs):
                if variable is not branch.outputs[place]:
                    continue
                if variable.aval.dtype.kind != "O":
                    return None
                if step.primitive.name == "while_record":
                    return kept_by(step.params["body"], at)
                if "body" in step.params:
                    refuse_records(b, [variable.aval], step.primitive.name)
                inside = step.params.get("branches") or [step.params["program"]]
                return record_of(b, inside, at)
    return None


def kept_by(body: Program, carried: int) -> list[Aval]:
    """What a trip keeps."""
    return [
        operand.aval
        if isinstance(operand, Variable)
        else Aval(np.shape(operand.values[0]), np.asarray(operand.values[0]).dtype)
        for operand in body.outputs[carried:]
    ]


def stacks_of(record: Sequence[Aval]) -> list[Kind]:
    """What all trips keep: one trip's things, stacked."""
    return [((UNKNOWN, *shape), dtype) for shape, dtype in kinds(record)]


def tensors_of(b: Builder, value: Lowered, record: Sequence[Aval]) -> list[Value]:
    """A record's tensors; of no trips where another branch has it."""
    if isinstance(value, Record):
        return [*value.stacks, value.count]
    none = [b.expand(b.constant(0, dtype), (0, *shape)) for shape, dtype in kinds(record)]
    return [*none, b.constant(0, np.int64)]


@dataclass(frozen=True, eq=False)
class Tape(Record):
    """The records of a while loop in each trip of a scan, one after the other; `count` are their
    lengths, and `ends` where each of them ends."""

    ends: Value


def of_trip(b: Builder, tape: Tape, place: Value) -> Record:
    """The record of one trip."""
    end, count = element(b, tape.ends, place), element(b, tape.count, place)
    start = b.node("Sub", [end, count], (), np.int64)
    bounds = [b.reshape(start, (1,)), b.reshape(end, (1,)), b.ints(0)]
    stacks = [b.node("Slice", [x, *bounds], x.shape, x.dtype, typed=(0,)) for x in tape.stacks]
    return Record(tuple(stacks), tape.kept, count)


def element(b: Builder, x: Value, place: Value) -> Value:
    return b.node("Gather", [x, place], x.shape[1:], x.dtype, typed=(0,), axis=0)
