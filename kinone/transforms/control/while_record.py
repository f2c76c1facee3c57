"""Reverse mode of a loop whose number of trips nobody knows: it is recorded and played backwards.

The recording loop writes down what each trip keeps on a `Record`, an opaque value of the program
that is as long as the loop ran; the replay walks it from the end. Neither has derivatives of its
own: what is differentiated are the calls around them, see `while_halves`. Nor have they samples: a
record is no array that a sample could hold, and the checks of `while` run both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...core.layout import unknown
from ...graph import Graph, evaluate, flat_graph
from ..calls import by_run
from ..records import Record
from ..split import batched
from .bodies import for_mask, lent, owned, program
from .common import kind
from .while_common import batched_loop, carry_shape


def keeping_the_carry(
    body: Graph, forward: Graph, backward: Graph, constants: int
) -> tuple[Graph, Graph]:
    """The two programs of the body where each trip keeps its carry, and the rest is recomputed."""
    count = len(body.outputs)
    carry = body.inputs[constants:]
    seeds = backward.inputs[len(forward.outputs) - count :]

    def function(*leaves: Array) -> list[Array]:
        inputs, g = leaves[: len(body.inputs)], leaves[len(body.inputs) :]
        return evaluate(backward, [*evaluate(forward, inputs)[count:], *g])

    keeping = flat_graph(body.name, body.inputs, body.equations, [*body.outputs, *carry])
    avals = [var.aval for var in (*body.inputs, *seeds)]
    return keeping, program(function, avals, backward.name)


def _record(
    *operands: Array,
    condition: Callable[..., Sequence[Array]],
    body: Callable[..., Sequence[Array]],
    for_condition: int,
    for_body: int,
) -> tuple[Any, ...]:
    start = for_condition + for_body
    asked, fixed, carry = operands[:for_condition], operands[for_condition:start], operands[start:]
    count = len(carry)
    record = Record()
    while condition(*asked, *carry)[0]:
        found = body(*fixed, *carry)
        carry = tuple(found[:count])
        record.append(tuple(found[count:]))
    boxed = np.empty((), object)  # an array to all that hands it on, not a list to make one of
    boxed[()] = record
    return (*carry, boxed)


def _record_shape(*avals: ShapeDtype, body: Graph, **params: Any) -> tuple[ShapeDtype, ...]:
    count = len(avals) - params["for_condition"] - params["for_body"]
    return (*carry_shape(body, count), Record.aval)


def _record_batch(size: int, flags: Sequence[bool], *xs: Array, **params: Any) -> tuple[Any, ...]:
    condition, body, asked, fixed, carry = batched_loop(size, flags, xs, params, 1)
    found: tuple[Any, ...] = record_p(
        *asked,
        *fixed,
        *carry,
        condition=condition,
        body=body,
        for_condition=len(asked),
        for_body=len(fixed),
    )
    return found


def _replay(
    record: Any,
    *operands: Array,
    body: Callable[..., Sequence[Array]],
    constants: int,
    sums: int,
) -> tuple[Array, ...]:
    """Backwards over the record: (*constants, *kept, *cotangents of the carry) ↦ cotangents of
    (*constants, *carry), of which those of the constants add up."""
    fixed, totals = operands[:constants], list(operands[constants : constants + sums])
    carry = operands[constants + sums :]
    trips: Any = record[()] if isinstance(record, np.ndarray) else record
    for kept in reversed(trips):
        found = body(*fixed, *kept, *carry)
        totals = [total + c for total, c in zip(totals, found[:sums], strict=True)]
        carry = tuple(found[sums:])
    return owned((*totals, *carry), operands)


def _replay_shape(
    record: ShapeDtype, *avals: ShapeDtype, body: Graph, constants: int, sums: int
) -> tuple[ShapeDtype, ...]:
    return tuple([ShapeDtype(a.shape, a.dtype) for a in avals[constants:]])


def _replay_batch(
    size: int,
    flags: Sequence[bool],
    record: Any,
    *operands: Array,
    body: Graph,
    constants: int,
    sums: int,
) -> tuple[Array, ...]:
    fixed = operands[:constants]
    rest = [
        x if flag else np.broadcast_to(x, (size, *np.shape(x)))
        for x, flag in zip(operands[constants:], flags[1 + constants :], strict=True)
    ]
    n_carry = len(rest) - sums
    n_kept = len(body.inputs) - constants - n_carry
    of_all = [*flags[1 : 1 + constants], *[flags[0]] * n_kept, *[True] * n_carry]
    every = batched(body, size, of_all)
    if not flags[0]:  # one loop, and several cotangents: each trip is one of all of them
        found: tuple[Array, ...] = replay_p(
            record, *fixed, *rest, body=every, constants=constants, sums=sums
        )
        return found

    def masked(*leaves: Array) -> list[Array]:
        f, kept = leaves[:constants], leaves[constants : constants + n_kept]
        going, g = leaves[constants + n_kept], leaves[constants + n_kept + 1 :]
        # An example whose loop had ended hands its cotangent through.
        alive = [for_mask(going, x, np.zeros((), shape_dtype(x).dtype)) for x in g]
        # What the trip kept is of operands that it was lent, see `batched_loop`.
        same = lent(going, f, flags[1 : 1 + constants])
        found = evaluate(every, [*same, *kept, *alive])
        adds = [for_mask(going, x, np.zeros((), shape_dtype(x).dtype)) for x in found[:sums]]
        through = [for_mask(going, x, old) for x, old in zip(found[sums:], g, strict=True)]
        return [*adds, *through]

    avals = [shape_dtype(x) for x in fixed] + [
        v.aval for v in every.inputs[constants : constants + n_kept]
    ]
    avals += [ShapeDtype((size,), np.bool_), *[kind(x) for x in rest[sums:]]]
    result: tuple[Array, ...] = replay_p(
        record,
        *fixed,
        *rest,
        body=program(masked, avals, body.name),
        constants=constants,
        sums=sums,
    )
    return result


record_p = Primitive(
    "while_record",
    _record,
    shape=_record_shape,
    vjp=by_run,
    jvp=by_run,
    batch=_record_batch,
    multiple=True,
)
replay_p = Primitive(
    "while_replay",
    _replay,
    shape=_replay_shape,
    vjp=by_run,
    jvp=by_run,
    batch=_replay_batch,
    multiple=True,
    fresh=True,
    layout=unknown,
)
