"""Branches and loops: `cond` is If, `scan` is Scan or Loop, `while_loop` is Loop.

A while loop in reverse mode writes what each trip keeps on a record; in ONNX that is a Loop whose
scan outputs stack it, and a Loop that walks the stacks from their end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.dims import UNKNOWN, Size
from ..export.merge import Aval, Program, Step
from ..export.rules import Lowered, cannot, lowers, lowers_complex, write
from ..export.values import Record, Value
from .records import (
    Kind,
    Tape,
    element,
    flat,
    joined,
    kept_by,
    kinds,
    of_trip,
    record_of,
    refuse_records,
    stacks_of,
    tensors_of,
)


def avals_of(step: Step) -> list[Aval]:
    return [variable.aval for variable in step.outputs]


# ---- branches ------------------------------------------------------------------------------------


@lowers("cond")
def _cond(b: Builder, step: Step, index: Value, *operands: Lowered) -> Sequence[Lowered]:
    branches: Sequence[Program] = step.params["branches"]
    if index.known is not None:
        return write(b, branches[min(max(int(index.known), 0), len(branches) - 1)], operands)
    avals = avals_of(step)
    kept = [record_of(b, branches, place) for place in range(len(avals))]
    refuse_records(b, [a for a, k in zip(avals, kept, strict=True) if k is None], "cond of a vmap")
    index = b.cast(index, np.int64)

    def results(inner: Builder, branch: Program) -> list[Value]:
        found: list[Value] = []
        for value, record in zip(write(inner, branch, operands), kept, strict=True):
            found += flat([value]) if record is None else tensors_of(inner, value, record)
        return found

    def choose(inner: Builder, first: int) -> list[Value]:
        if first == len(branches) - 1:
            return results(inner, branches[first])
        taken = inner.node(
            "LessOrEqual", [index, inner.constant(first, np.int64)], index.shape, np.bool_
        )
        outputs: list[Kind] = []
        for aval, record in zip(avals, kept, strict=True):
            outputs += kinds([aval]) if record is None else [*stacks_of(record), ((), np.int64)]
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
        count = len(kinds([aval])) if record is None else len(stacks_of(record)) + 1
        own, rest = rest[:count], rest[count:]
        if record is None:
            values += joined([aval], own)
        else:
            values.append(Record(tuple(own[:-1]), tuple(record), own[-1]))
    return values


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


def _scan_of_records(
    b: Builder, step: Step, fixed: Sequence[Any], carry: Sequence[Any], moving: Sequence[Any]
) -> Sequence[Lowered]:
    """A scan whose body has a while loop, and its gradient: a Loop, which may carry a tensor that
    grows from trip to trip."""
    body: Program = step.params["body"]
    reverse, carried = step.params["reverse"], len(carry)
    avals = avals_of(step)
    carry_avals, stack_avals = avals[:carried], avals[carried:]
    recorded = [record_of(b, [body], carried + i) for i in range(len(stack_avals))]
    tapes = [kind for record in recorded if record is not None for kind in stacks_of(record)]
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
                slices.append(of_trip(inner, x, place))
            else:
                slices += joined([aval], [element(inner, v, place) for v in x])
        found = write(inner, body, [*fixed, *joined(carry_avals, given[:size]), *slices])
        grown, results, rest = [], [], list(given[size:])
        for value, record in zip(found[carried:], recorded, strict=True):
            if record is None:
                results += flat([value])
                continue
            *stacks, count = tensors_of(inner, value, record)
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
        number = len(stacks_of(record))
        values.append(Tape(tuple(grown[:number]), tuple(record), count, ends))
        grown = grown[number:]
    return values


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
    kept = kept_by(body, len(avals))
    refuse_records(b, kept, "while_loop")
    found, count = _while_loop(b, step.params, operands, avals, body, True)
    size = len(kinds(avals))
    assert count is not None
    return [*joined(avals, found[:size]), Record(tuple(found[size:-1]), tuple(kept), count)]


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
    stacks = stacks_of(kept_by(body, len(avals)))
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
    "the record of a while_loop that vmap repeats or chooses from has no ONNX type",
    "while_repeat",
    "while_choose",
)
