"""`while_loop` as a primitive, for traced functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...graph import Graph, evaluate
from ...ops.samples import Sample, values
from ..split import forward_backward, is_floating, pushforward
from .common import kind
from .scan_primitive import picked, program, recomputed, zeros_like
from .while_common import batched_loop, carry_shape, split_operands
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
    return tuple(carry)


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

    given = [kind(x) for x in (*fixed, *t_given)]
    carried = [kind(x) for x in (*carry, *moved)]
    found = bind_while(
        program(ask, [*map(kind, asked), *carried], condition.name),
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
    moves = [is_floating(shape_dtype(x)) for x in carry]
    forward, backward = forward_backward(params["body"], [*w_fixed, *moves])
    if params["checkpoint"]:
        forward, backward = keeping_the_carry(params["body"], forward, backward, len(fixed))
    else:
        forward, backward = recomputed(forward, backward, len(carry), len(fixed))
    found = record_p(
        *asked,
        *fixed,
        *carry,
        condition=params["condition"],
        body=forward,
        for_condition=len(asked),
        for_body=len(fixed),
    )
    ys, record = found[:-1], found[-1]
    sums, moved = picked(fixed, w_fixed), picked(carry, moves)
    zeros = [zeros_like(x) for x in picked(asked, w_asked)]

    def pullback(gs: Sequence[Array | None]) -> list[Array]:
        seeds = [zeros_like(y) if g is None else g for g, y in zip(gs, ys, strict=True)]
        result = replay_p(
            record,
            *fixed,
            *[zeros_like(x) for x in sums],
            *picked(seeds, moves),
            body=backward,
            constants=len(fixed),
            sums=len(sums),
        )
        by_carry = iter(result[len(sums) :])
        every = [next(by_carry) if m else None for m in moves]
        # Of what the condition alone reads, the result does not vary with small changes.
        return [*zeros, *result[: len(sums)], *picked(every, w_carry)]

    assert len(moved) == sum(moves)
    return ys, pullback


def _by_run(*_: Any) -> Any:
    raise AssertionError("run_vjp and run_jvp stand in for this rule")


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
    vjp=_by_run,
    jvp=_by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    samples=_samples,
)
