"""`while_loop` as a primitive, for traced functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...core.layout import unknown
from ...graph import Graph, evaluate
from ...ops.samples import Sample, values
from ..calls import by_run
from ..records import Record
from ..split import forward_backward, is_floating, pushforward
from .bodies import filled, owned, parted, picked, program, recomputed, zeros_like
from .common import kind
from .while_common import batched_loop, carry_shape, split_operands
from .while_halves import Loop, backward_p, forward_p
from .while_record import keeping_the_carry, record_p, replay_p


def _while(
    *operands: Array,
    condition: Callable[..., Sequence[Array]],
    body: Callable[..., Sequence[Array]],
    for_condition: int,
    for_body: int,
    checkpoint: bool,
) -> tuple[Array, ...]:
    start = for_condition + for_body
    asked, fixed, carry = operands[:for_condition], operands[for_condition:start], operands[start:]
    while condition(*asked, *carry)[0]:
        carry = tuple(body(*fixed, *carry))
    return owned(carry, operands)


def bind_while(
    condition: Graph,
    body: Graph,
    asked: Sequence[Array],
    fixed: Sequence[Array],
    carry: Sequence[Array],
    checkpoint: bool,
) -> tuple[Array, ...]:
    """Applies the primitive. With `checkpoint`, reverse mode keeps each trip's carry alone."""
    found: tuple[Array, ...] = while_p(
        *asked,
        *fixed,
        *carry,
        condition=condition,
        body=body,
        for_condition=len(asked),
        for_body=len(fixed),
        checkpoint=checkpoint,
    )
    return found


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    asked, fixed, carry = split_operands(xs, params)
    _, t_fixed, t_carry = split_operands(tangents, params)
    condition, body = params["condition"], params["body"]
    moves = [is_floating(shape_dtype(x)) for x in carry]
    t_carry = [
        zeros_like(x) if t is None and m else t
        for x, t, m in zip(carry, t_carry, moves, strict=True)
    ]
    m_fixed = [t is not None for t in t_fixed]
    pushed = pushforward(body, [*m_fixed, *moves])
    moved = picked(carry, moves)
    t_given = picked(t_fixed, m_fixed)
    n_fixed, n_given, n_carry = len(fixed), len(t_given), len(carry)

    def both(*leaves: Array) -> list[Array]:
        f, rest = leaves[:n_fixed], leaves[n_fixed:]
        tf, rest = rest[:n_given], rest[n_given:]
        c, tc = rest[:n_carry], rest[n_carry:]
        return evaluate(pushed, [*f, *c, *tf, *tc])

    def ask(*leaves: Array) -> list[Array]:
        return evaluate(condition, leaves[: len(asked) + n_carry])

    given = [*map(shape_dtype, fixed), *map(kind, t_given)]
    carried = [kind(x) for x in (*carry, *moved)]
    found = bind_while(
        program(ask, [*map(shape_dtype, asked), *carried], condition.name),
        program(both, [*given, *carried], pushed.name),
        asked,
        [*fixed, *t_given],
        [*carry, *picked(t_carry, moves)],
        params["checkpoint"],
    )
    rest = iter(found[n_carry:])
    return found[:n_carry], tuple([next(rest) if m else None for m in moves])


def _batch(size: int, flags: Sequence[bool], *xs: Array, **params: Any) -> tuple[Array, ...]:
    return bind_while(*batched_loop(size, flags, xs, params, 0), params["checkpoint"])


def _run_vjp(wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]) -> Any:
    asked, fixed, carry = split_operands(xs, params)
    w_asked, w_fixed, w_carry = split_operands(wanted, params)
    body: Graph = params["body"]
    moves = [is_floating(shape_dtype(x)) for x in carry]
    forward, backward = forward_backward(body, [*w_fixed, *moves])
    if params["checkpoint"]:
        forward, backward = keeping_the_carry(body, forward, backward, len(fixed))
    else:
        forward, backward = recomputed(forward, backward, len(carry), range(len(fixed)))
    loop = Loop(
        body.name,
        lambda *leaves: while_p(*leaves, **params),
        [*[False] * len(asked), *w_fixed, *moves],
        moves,
    )
    found = forward_p(*xs, call=loop, program=_recording(forward, xs, params))
    ys, record = found[:-1], found[-1]
    sums = picked(fixed, w_fixed)
    replaying = _replaying(backward, xs, fixed, sums, picked(carry, moves))
    zeros = [zeros_like(x) for x in picked(asked, w_asked)]

    def pullback(gs: Sequence[Array | None]) -> list[Array]:
        seeds = [zeros_like(y) if g is None else g for g, y in zip(gs, ys, strict=True)]
        result = backward_p(
            record, *fixed, *picked(seeds, moves), *xs, call=loop, program=replaying
        )
        for_fixed, for_moved = parted(result, len(sums))
        for_carry = filled(carry, moves, for_moved)
        # Of what the condition alone reads, the result does not vary with small changes.
        return [*zeros, *for_fixed, *picked(for_carry, w_carry)]

    return ys, pullback


def _recording(forward: Graph, xs: Sequence[Array], params: dict[str, Any]) -> Graph:
    """The forward half: operands of the loop ↦ (*carry, record)"""

    def run(*leaves: Array) -> tuple[Array, ...]:
        found: tuple[Array, ...] = record_p(
            *leaves,
            condition=params["condition"],
            body=forward,
            for_condition=params["for_condition"],
            for_body=params["for_body"],
        )
        return found

    return program(run, [shape_dtype(x) for x in xs], forward.name)


def _replaying(
    backward: Graph,
    xs: Sequence[Array],
    fixed: Sequence[Array],
    sums: Sequence[Array],
    moved: Sequence[Array],
) -> Graph:
    """The backward half: (record, *constants, *cotangents of the carry, *operands of the loop) ↦
    cotangents of (*wanted constants, *moving carry)"""
    totals = [kind(x) for x in sums]

    def run(record: Array, *leaves: Array) -> tuple[Array, ...]:
        given, seeds, _ = parted(leaves, len(fixed), len(moved))
        found: tuple[Array, ...] = replay_p(
            record,
            *given,
            *map(zeros_like, totals),
            *seeds,
            body=backward,
            constants=len(fixed),
            sums=len(sums),
        )
        return found

    avals = [Record.aval, *map(shape_dtype, fixed), *map(kind, moved), *map(shape_dtype, xs)]
    return program(run, avals, backward.name)


def _samples() -> list[Sample]:
    def ask(limit: Array, i: Array, x: Array) -> list[Array]:
        return [i < limit]

    def step(w: Array, i: Array, x: Array) -> list[Array]:
        return [i + 1, np.tanh(x * w) + x]

    whole, vector = ShapeDtype((), np.int64), ShapeDtype((3,), np.float64)
    params = {
        "condition": program(ask, [whole, whole, vector], "ask"),
        "body": program(step, [vector, whole, vector], "step"),
        "for_condition": 1,
        "for_body": 1,
        "checkpoint": False,
    }
    operands = (np.int64(3), values(3), np.int64(0), values(3, seed=1))
    return [Sample(operands, params)]


while_p = Primitive(
    "while",
    _while,
    shape=lambda *avals, body, **params: tuple(carry_shape(body, len(body.outputs))),
    vjp=by_run,
    jvp=by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    fresh=True,
    layout=unknown,
    samples=_samples,
)
