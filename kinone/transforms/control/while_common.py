"""A loop without known end, as operands and programs; and the loop of a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array, ShapeDtype, shape_dtype
from ...graph import Graph, evaluate
from ..split import batched
from .bodies import for_mask, lent, program
from .common import kind


def carry_shape(body: Graph, count: int) -> list[ShapeDtype]:
    return [ShapeDtype(atom.aval.shape, atom.aval.dtype) for atom in body.outputs[:count]]


def split_operands(
    xs: Sequence[Any], params: dict[str, Any]
) -> tuple[list[Any], list[Any], list[Any]]:
    first = params["for_condition"]
    second = first + params["for_body"]
    return list(xs[:first]), list(xs[first:second]), list(xs[second:])


def batched_loop(
    size: int, flags: Sequence[bool], xs: Sequence[Array], params: dict[str, Any], results: int
) -> tuple[Graph, Graph, list[Array], list[Array], list[Array]]:
    """The loop of all examples: it goes on while any example's does, and an example whose own loop
    has ended keeps its carry, and runs on what it is lent. The body's further results, `results` in
    number, get company: the mask of the examples that are still running."""
    asked, fixed, carry = split_operands(xs, params)
    f_asked, f_fixed, f_carry = split_operands(flags, params)
    condition, body = params["condition"], params["body"]
    carry = [
        x if flag else np.broadcast_to(x, (size, *np.shape(x)))
        for x, flag in zip(carry, f_carry, strict=True)
    ]
    every = [True] * len(carry)
    asking = batched(condition, size, [*f_asked, *every])
    running = batched(body, size, [*f_fixed, *every])
    n_asked, n_fixed, n_carry = len(asked), len(fixed), len(carry)

    def ask(*leaves: Array) -> list[Array]:
        return [np.any(evaluate(asking, leaves)[0])]

    def run(*leaves: Array) -> list[Array]:
        a, f, c = leaves[:n_asked], leaves[n_asked : n_asked + n_fixed], leaves[n_asked + n_fixed :]
        going = evaluate(asking, [*a, *c])[0]
        found = evaluate(running, lent(going, [*f, *c], [*f_fixed, *every]))
        kept = [for_mask(going, new, old) for new, old in zip(found, c, strict=False)]
        return [*kept, *found[n_carry:], *([going] if results else [])]

    avals = [kind(x) for x in carry]
    return (
        program(ask, [*map(shape_dtype, asked), *avals], condition.name),
        program(run, [shape_dtype(x) for x in (*asked, *fixed)] + avals, body.name),
        asked,
        [*asked, *fixed],
        carry,
    )
