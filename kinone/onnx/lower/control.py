"""Branches and loops: `cond` is If, `scan` is Scan or Loop, `while_loop` is Loop.

A while loop in reverse mode writes what each trip keeps on a record; in ONNX that is a Loop whose
scan outputs stack it, and a Loop that walks the stacks from their end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.dims import UNKNOWN, Size
from ..export.merge import Aval, Program, Step, Variable
from ..export.rules import Lowered, cannot, lowers, lowers_complex, write
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


def avals_of(step: Step) -> list[Aval]:
    return [variable.aval for variable in step.outputs]


# ---- branches ------------------------------------------------------------------------------------


def _refuse_records(b: Builder, avals: Sequence[Aval], outer: str) -> None:
    if any(aval.dtype.kind == "O" for aval in avals):
        raise b.error(
            f"the gradient of a while_loop inside of a {outer} cannot be written as ONNX: what its "
            f"trips keep has no type there\n  Use scan, or fori_loop with a known number of trips, "
            f"inside of the {outer}."
        )


@lowers("cond")
def _cond(b: Builder, step: Step, index: Value, *operands: Lowered) -> Sequence[Lowered]:
    branches: Sequence[Program] = step.params["branches"]
    if index.known is not None:
        return write(b, branches[min(max(int(index.known), 0), len(branches) - 1)], operands)
    avals = avals_of(step)
    kept = [_recorded(b, branches, place) for place in range(len(avals))]
    index = b.cast(index, np.int64)

    def results(inner: Builder, branch: Program) -> list[Value]:
        found: list[Value] = []
        for value, record in zip(write(inner, branch, operands), kept, strict=True):
            found += flat([value]) if record is None else _opened(inner, value, record)
        return found

    def choose(inner: Builder, first: int) -> list[Value]:
        if first == len(branches) - 1:
            return results(inner, branches[first])
        taken = inner.node(
            "LessOrEqual", [index, inner.constant(first, np.int64)], index.shape, np.bool_
        )
        outputs: list[Kind] = []
        for aval, record in zip(avals, kept, strict=True):
            outputs += kinds([aval]) if record is None else [*_stacks(record), ((), np.int64)]
        return inner.with_bodies(
            "If",
            [taken],
            outputs,
            then_branch=inner.body("then", (), lambda i: results(i, branches[first])),
            else_branch=inner.body("else", (), lambda i: choose(i, first + 1)),
        )

    rest = choose(b, 0)
    values: list[Lowered] = []
    for aval, record in zip(avals, kept, strict=True):
        count = len(kinds([aval])) if record is None else len(_stacks(record)) + 1
        own, rest = rest[:count], rest[count:]
        if record is None:
            values += joined([aval], own)
        else:
            values.append(Record(tuple(own[:-1]), tuple(record), own[-1]))
    return values


def _recorded(b: Builder, branches: Sequence[Program], place: int) -> list[Aval] | None:
    """What each trip keeps of the loop whose record one of the branches gives at this place."""
    for branch in branches:
        for step in branch.steps:
            for at, variable in enumerate(step.outputs):
                if variable is not branch.outputs[place]:
                    continue
                if variable.aval.dtype.kind != "O":
                    return None
                if step.primitive.name == "while_record":
                    return _kept(step.params["body"], at)
                if "body" in step.params:
                    _refuse_records(b, [variable.aval], step.primitive.name)
                inside = step.params.get("branches") or [step.params["program"]]
                return _recorded(b, inside, at)
    return None


def _stacks(record: Sequence[Aval]) -> list[Kind]:
    """What all trips keep: one trip's things, stacked."""
    return [((UNKNOWN, *shape), dtype) for shape, dtype in kinds(record)]


def _opened(b: Builder, value: Lowered, record: Sequence[Aval]) -> list[Value]:
    """A record's tensors; of no trips where another branch has it."""
    if isinstance(value, Record):
        return [*value.stacks, value.count]
    none = [b.expand(b.constant(0, dtype), (0, *shape)) for shape, dtype in kinds(record)]
    return [*none, b.constant(0, np.int64)]


# ---- loops of known length -----------------------------------------------------------------------


@lowers("scan")
def _scan(b: Builder, step: Step, *operands: Lowered) -> Sequence[Lowered]:
    params = step.params
    body: Program = params["body"]
    constants, carried = params["constants"], params["carried"]
    fixed, carry = operands[:constants], operands[constants : constants + carried]
    avals = avals_of(step)
    moving = operands[constants + carried :]
    if any(isinstance(x, Tape) for x in moving) or any(a.dtype.kind == "O" for a in avals):
        return _scan_of_records(b, step, fixed, carry, moving)
    sequences = flat(moving)
    carry_avals, stack_avals = avals[:carried], avals[carried:]
    slice_avals = [variable.aval for variable in body.inputs[constants + carried :]]
    inputs = [
        *[(f"carry{i}", *kind) for i, kind in enumerate(kinds(carry_avals))],
        *[(f"slice{i}", *kind) for i, kind in enumerate(kinds(slice_avals))],
    ]
    count = len(kinds(carry_avals))

    def run(inner: Builder, *given: Value) -> list[Value]:
        start = joined(carry_avals, given[:count])
        return flat(write(inner, body, [*fixed, *start, *joined(slice_avals, given[count:])]))

    tensors = [b.plain(value) for value in [*flat(carry), *sequences]]
    outputs = kinds(avals)
    direction = [int(params["reverse"])]
    if sequences:
        found = b.with_bodies(
            "Scan",
            tensors,
            outputs,
            body=b.body("body", inputs, run),
            num_scan_inputs=len(sequences),
            scan_input_directions=direction * len(sequences),
            scan_output_directions=direction * (len(outputs) - count) or None,
        )
        return joined(avals, found)
    found = _loop(
        b,
        b.number(params["length"], np.int64),
        None,
        tensors,
        inputs,
        outputs,
        lambda inner, trip, *given: (None, run(inner, *given)),
    )
    if params["reverse"]:
        found = [*found[:count], *[_reversed(b, stack) for stack in found[count:]]]
    assert len(stack_avals) == len(avals) - carried
    return joined(avals, found)


@dataclass(frozen=True, eq=False)
class Tape(Record):
    """The records of a while loop in each trip of a scan, one after the other; `count` are their
    lengths, and `ends` where each of them ends."""

    ends: Value


def _scan_of_records(
    b: Builder, step: Step, fixed: Sequence[Any], carry: Sequence[Any], moving: Sequence[Any]
) -> Sequence[Lowered]:
    """A scan whose body has a while loop, and its gradient: a Loop, which may carry a tensor that
    grows from trip to trip."""
    body: Program = step.params["body"]
    reverse, carried = step.params["reverse"], len(carry)
    avals = avals_of(step)
    carry_avals, stack_avals = avals[:carried], avals[carried:]
    recorded = [_recorded(b, [body], carried + i) for i in range(len(stack_avals))]
    tapes = [kind for record in recorded if record is not None for kind in _stacks(record)]
    length = step.params["length"]
    trips = b.number(length, np.int64)
    slice_avals = [variable.aval for variable in body.inputs[len(fixed) + carried :]]
    size = len(kinds(carry_avals))
    moving = [x if isinstance(x, Tape) else [b.plain(v) for v in flat([x])] for x in moving]

    def run(inner: Builder, trip: Value, *given: Value) -> tuple[None, list[Value]]:
        place = trip
        if reverse:
            last = inner.node("Sub", [trips, inner.constant(1, np.int64)], (), np.int64)
            place = inner.node("Sub", [last, trip], (), np.int64)
        slices: list[Any] = []
        for x, aval in zip(moving, slice_avals, strict=True):
            if isinstance(x, Tape):
                slices.append(_of_trip(inner, x, place))
            else:
                slices += joined([aval], [_element(inner, v, place) for v in x])
        found = write(inner, body, [*fixed, *joined(carry_avals, given[:size]), *slices])
        grown, results, rest = [], [], list(given[size:])
        for value, record in zip(found[carried:], recorded, strict=True):
            if record is None:
                results += flat([value])
                continue
            *stacks, count = _opened(inner, value, record)
            for stack in stacks:
                parts = [rest.pop(0), inner.plain(stack)]
                shape = (UNKNOWN, *stack.shape[1:])
                grown.append(inner.node("Concat", parts, shape, stack.dtype, axis=0))
            results.append(count)
        return None, [*flat(found[:carried]), *grown, *results]

    start = [b.expand(b.constant(0, dtype), (0, *shape[1:])) for shape, dtype in tapes]
    before = [*kinds(carry_avals), *tapes]
    outputs = list(before)
    for aval, record in zip(stack_avals, recorded, strict=True):
        outputs += kinds([aval]) if record is None else [((length,), np.int64)]
    inputs = [(f"carry{i}", *kind) for i, kind in enumerate(before)]
    found = _loop(b, trips, None, [*flat(carry), *start], inputs, outputs, run)
    values: list[Any] = joined(carry_avals, found[:size])
    grown, stacks = found[size : len(before)], found[len(before) :]
    for aval, record in zip(stack_avals, recorded, strict=True):
        if record is None:
            own, stacks = stacks[: len(kinds([aval]))], stacks[len(kinds([aval])) :]
            values += joined([aval], [_reversed(b, x) for x in own] if reverse else own)
            continue
        count, *stacks = stacks
        axis = b.constant(0, np.int64)
        ends = b.node("CumSum", [count, axis], count.shape, np.int64, typed=(0,))
        if reverse:
            count, ends = _reversed(b, count), _reversed(b, ends)
        number = len(_stacks(record))
        values.append(Tape(tuple(grown[:number]), tuple(record), count, ends))
        grown = grown[number:]
    return values


def _element(b: Builder, x: Value, place: Value) -> Value:
    return b.node("Gather", [x, place], x.shape[1:], x.dtype, typed=(0,), axis=0)


def _of_trip(b: Builder, tape: Tape, place: Value) -> Record:
    """The record of one trip."""
    end, count = _element(b, tape.ends, place), _element(b, tape.count, place)
    start = b.node("Sub", [end, count], (), np.int64)
    bounds = [b.reshape(start, (1,)), b.reshape(end, (1,)), b.ints(0)]
    stacks = [b.node("Slice", [x, *bounds], x.shape, x.dtype, typed=(0,)) for x in tape.stacks]
    return Record(tuple(stacks), tape.kept, count)


def _reversed(b: Builder, x: Value) -> Value:
    least = int(np.iinfo(np.int64).min)
    bounds = [b.ints(-1), b.ints(least), b.ints(0), b.ints(-1)]
    return b.node("Slice", [x, *bounds], x.shape, x.dtype, typed=(0,))


def _loop(
    b: Builder,
    trips: Value | None,
    going: Value | None,
    start: Sequence[Value],
    inputs: Sequence[tuple[str, Sequence[Size], Any]],
    outputs: Sequence[Kind],
    body: Callable[..., tuple[Value | None, list[Value]]],
) -> list[Value]:
    """A Loop node. `body(builder, trip, *carry)` gives whether to go on, and (*carry, *results)."""

    def run(inner: Builder, trip: Value, before: Value, *given: Value) -> list[Value]:
        further, results = body(inner, trip, *given)
        return [before if further is None else further, *results]

    head = [("trip", (), np.int64), ("going", (), np.bool_)]
    first = b.constant(True) if going is None else going
    return b.with_bodies(
        "Loop",
        [trips, first, *[b.plain(x) for x in start]],
        outputs,
        body=b.body("body", [*head, *inputs], run),
    )


# ---- loops of unknown length ---------------------------------------------------------------------


@lowers("while")
def _while(b: Builder, step: Step, *operands: Lowered) -> Sequence[Lowered]:
    avals = avals_of(step)
    found, _ = _while_loop(b, step.params, operands, avals, step.params["body"], False)
    return joined(avals, found)


@lowers("while_record")
def _record(b: Builder, step: Step, *operands: Lowered) -> Sequence[Any]:
    avals = avals_of(step)[:-1]
    body: Program = step.params["body"]
    kept = _kept(body, len(avals))
    _refuse_records(b, kept, "while_loop")
    found, count = _while_loop(b, step.params, operands, avals, body, True)
    size = len(kinds(avals))
    assert count is not None
    return [*joined(avals, found[:size]), Record(tuple(found[size:-1]), tuple(kept), count)]


def _kept(body: Program, carried: int) -> list[Aval]:
    """What a trip keeps."""
    return [
        operand.aval
        if isinstance(operand, Variable)
        else Aval(np.shape(operand.values[0]), np.asarray(operand.values[0]).dtype)
        for operand in body.outputs[carried:]
    ]


def _while_loop(
    b: Builder,
    params: dict[str, Any],
    operands: Sequence[Lowered],
    avals: Sequence[Aval],
    body: Program,
    recorded: bool,
) -> tuple[list[Value], Value | None]:
    """The loop's carry; where it is `recorded`, what each trip keeps, stacked, and the number of
    trips, too."""
    asked = operands[: params["for_condition"]]
    fixed = operands[len(asked) : len(asked) + params["for_body"]]
    carry = operands[len(asked) + len(fixed) :]
    condition: Program = params["condition"]
    inputs = [(f"carry{i}", *kind) for i, kind in enumerate(kinds(avals))]

    def ask(inner: Builder, values: Sequence[Lowered]) -> Value:
        (going,) = flat(write(inner, condition, [*asked, *values]))
        return inner.reshape(inner.cast(going, np.bool_), ())

    def run(inner: Builder, trip: Value, *given: Value) -> tuple[Value, list[Value]]:
        count = given[-1] if recorded else None
        found = write(inner, body, [*fixed, *joined(avals, given[: len(kinds(avals))])])
        results = flat(found[: len(avals)])
        if count is not None:
            one = inner.constant(1, np.int64)
            results += [inner.node("Add", [count, one], (), np.int64), *flat(found[len(avals) :])]
        return ask(inner, found[: len(avals)]), results

    outputs = kinds(avals)
    start = flat(carry)
    if not recorded:
        return _loop(b, None, ask(b, carry), start, inputs, outputs, run), None
    stacks = _stacks(_kept(body, len(avals)))
    found = _loop(
        b,
        None,
        ask(b, carry),
        [*start, b.constant(0, np.int64)],
        [*inputs, ("count", (), np.int64)],
        [*outputs, ((), np.int64), *stacks],
        run,
    )
    count = found.pop(len(outputs))
    return [*found, count], count


@lowers("while_replay")
def _replay(b: Builder, step: Step, record: Record, *operands: Lowered) -> Sequence[Lowered]:
    params = step.params
    body: Program = params["body"]
    constants, sums = params["constants"], params["sums"]
    fixed, start = operands[:constants], operands[constants:]
    avals = avals_of(step)

    def run(inner: Builder, trip: Value, *given: Value) -> tuple[None, list[Value]]:
        last = inner.node("Sub", [record.count, inner.constant(1, np.int64)], (), np.int64)
        place = inner.node("Sub", [last, trip], (), np.int64)
        slices = [
            inner.node("Gather", [stack, place], stack.shape[1:], stack.dtype, typed=(0,), axis=0)
            for stack in record.stacks
        ]
        carry = joined(avals, given)
        found = write(inner, body, [*fixed, *joined(record.kept, slices), *carry[sums:]])
        totals = [
            inner.node("Add", [old, new], old.shape, old.dtype)
            for old, new in zip(flat(carry[:sums]), flat(found[:sums]), strict=True)
        ]
        return None, [*totals, *flat(found[sums:])]

    inputs = [(f"carry{i}", *kind) for i, kind in enumerate(kinds(avals))]
    found = _loop(b, record.count, None, flat(start), inputs, kinds(avals), run)
    return joined(avals, found)


@lowers("while_forward", "while_backward")
@lowers_complex("while_forward", "while_backward")
def _half(b: Builder, step: Step, *operands: Any) -> Sequence[Any]:
    return write(b, step.params["program"], operands)


cannot(
    "the record of a while_loop under vmap, or in a branch, has no ONNX type",
    "while_repeat",
    "while_choose",
)
