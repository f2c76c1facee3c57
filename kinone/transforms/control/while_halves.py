"""The two halves of a `while_loop` in reverse mode, as calls that differentiate again.

    forward    xs ↦ (*ys, record)                       y = f(x), and what its derivative keeps
    backward   (record, *given, *gs, *xs) ↦ J(x)ᵀ g     of the wanted xs

What they run inside, `while_record` and `while_replay`, is no matter of derivatives: those of the
forward half are the loop's own, and those of the backward half follow from the loop's tangent map.

    ⟨u, J(x)ᵀ g⟩ = ⟨J(x) u, g⟩

In reverse mode with the cotangent u, that of g is J(x) u, and that of x the gradient of ⟨J(x) u, g⟩
with u and g held. In forward mode along t it is the gradient of ⟨J(x) t, g⟩, as second derivatives
are symmetric. The tangent map of a loop is a loop again, so that this goes on to any order. The
backward half gets xs for these rules alone; `given` is the part of them that the replay reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, shape_of
from ...graph import Graph
from ..calls import Batch, Call, Flat, by_run, run_call, shape_of_call
from ..forward import jvp
from ..gradient import vjp
from ..split import batched
from .bodies import filled, picked, zeros_like


class Loop(Call):
    """The loop as a function of its operands; which of these the backward half differentiates, and
    which of its results have a derivative."""

    def __init__(
        self, name: str, function: Flat, wanted: Sequence[bool], floats: Sequence[bool]
    ) -> None:
        self.name = name
        self.function = function
        self.wanted = tuple(wanted)
        self.floats = tuple(floats)

    def run(self, *leaves: Array) -> tuple[Array, ...]:
        return self.function(*leaves)

    def batched(self, size: int, flags: Sequence[bool]) -> Loop:
        function = Batch(size, flags).run(self.function)
        return Loop(self.name, function, self.wanted, self.floats)

    def split(self, items: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """What belongs to (record, *given), to gs and to xs, of a list of the backward half's."""
        second = len(items) - len(self.wanted)
        first = second - sum(self.floats)
        return list(items[:first]), list(items[first:second]), list(items[second:])

    def along(self, xs: Sequence[Array], tangents: Sequence[Array | None]) -> tuple[Array, ...]:
        """J(x) t"""
        moving = [t is not None for t in tangents]

        def some(*chosen: Array) -> tuple[Array, ...]:
            return tuple(picked(self.function(*filled(xs, moving, chosen)), self.floats))

        directions = tuple(picked(tangents, moving))
        pushed: tuple[Array, ...] = jvp(some, tuple(picked(xs, moving)), directions)[1]
        return pushed


# ---- the forward half ----------------------------------------------------------------------------


def _forward_vjp(wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]) -> Any:
    call: Loop = params["call"]

    def floats(*some: Array) -> tuple[Array, ...]:
        return tuple(picked(call.run(*filled(xs, wanted, some)), call.floats))

    ys, again = vjp(floats, *picked(xs, wanted))
    found = forward_p(*xs, **params)

    def pullback(gs: Sequence[Array | None]) -> Any:
        seeds = zip(picked(gs[:-1], call.floats), ys, strict=True)
        return again(tuple([zeros_like(y) if g is None else g for g, y in seeds]))

    return (*filled(found[:-1], call.floats, ys), found[-1]), pullback


def _forward_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    call: Loop = params["call"]
    still: list[Array | None] = [None] * (len(call.floats) + 1)
    return forward_p(*xs, **params), tuple(
        filled(still, [*call.floats, False], call.along(xs, tangents))
    )


def _forward_batch(size: int, flags: Sequence[bool], *xs: Array, call: Loop, program: Graph) -> Any:
    return forward_p(*xs, call=call.batched(size, flags), program=batched(program, size, flags))


# ---- the backward half ---------------------------------------------------------------------------


def _backward_vjp(wanted: Sequence[bool], operands: Sequence[Array], params: dict[str, Any]) -> Any:
    call: Loop = params["call"]
    _, gs, xs = call.split(operands)
    w_given, w_gs, w_xs = call.split(wanted)
    found = backward_p(*operands, **params)

    def pullback(us: Sequence[Array | None]) -> list[Array | None]:
        full = [zeros_like(y) if u is None else u for u, y in zip(us, found, strict=True)]
        still: list[Array | None] = [None] * len(xs)

        def along(*some: Array) -> tuple[Array, ...]:
            return call.along(filled(xs, w_xs, some), filled(still, call.wanted, full))

        pushed, again = vjp(along, *picked(xs, w_xs))
        return [*[None] * sum(w_given), *picked(pushed, w_gs), *again(tuple(gs))]

    return found, pullback


def _backward_jvp(
    operands: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    call: Loop = params["call"]
    given, gs, xs = call.split(operands)
    _, t_gs, t_xs = call.split(tangents)
    # Linear in g …
    seeds = [zeros_like(g) if t is None else t for t, g in zip(t_gs, gs, strict=True)]
    found = backward_p(*operands, **params)
    moved = backward_p(*given, *seeds, *xs, **params)
    if all(t is None for t in t_xs):
        return found, moved

    # … and in x as the loop's tangent map is.
    def along(*some: Array) -> tuple[Array, ...]:
        return call.along(filled(xs, call.wanted, some), t_xs)

    _, again = vjp(along, *picked(xs, call.wanted))
    turned = again(tuple(gs))
    return found, tuple([a + b for a, b in zip(moved, turned, strict=True)])


def _backward_batch(
    size: int, flags: Sequence[bool], *operands: Array, call: Loop, program: Graph
) -> Any:
    # The cotangents are one for each example, of what they share as well: as if each had its own.
    start = len(operands) - len(call.wanted)
    xs = [
        x if flag else np.broadcast_to(x, (size, *shape_of(x)))
        for x, flag in zip(operands[start:], flags[start:], strict=True)
    ]
    every = [True] * len(xs)
    return backward_p(
        *operands[:start],
        *xs,
        call=call.batched(size, every),
        program=batched(program, size, [*flags[:start], *every]),
    )


# No samples: what passes between the halves is a record, no array that a sample holds. The checks
# of `while` run both.
forward_p: Primitive = Primitive(
    "while_forward",
    run_call,
    shape=shape_of_call,
    vjp=by_run,
    jvp=by_run,
    run_vjp=_forward_vjp,
    run_jvp=_forward_jvp,
    batch=_forward_batch,
    multiple=True,
)
backward_p: Primitive = Primitive(
    "while_backward",
    run_call,
    shape=shape_of_call,
    vjp=by_run,
    jvp=by_run,
    run_vjp=_backward_vjp,
    run_jvp=_backward_jvp,
    batch=_backward_batch,
    multiple=True,
)
