"""`scan` as a primitive: a loop whose body is a program, for loops inside traced functions.

The body maps (*constants, *carry, *slices) to (*carry, *results): each trip takes a slice of every
sequence, and the results are stacked. All rules make another scan, so it differentiates, batches
and compiles to any order. Reverse mode stacks what each trip keeps and scans backwards; what
depends on the constants alone is computed again instead of stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...core.layout import unknown
from ...graph import Graph, evaluate
from ...ops.declare import linear
from ...ops.samples import Sample, values
from ..calls import by_run
from ..split import batched, forward_backward, is_floating, is_opaque, pushforward
from .bodies import filled, owned, parted, picked, program, recomputed, zeros_like
from .common import kind


def _scan(
    *operands: Array,
    body: Callable[..., Sequence[Array]],
    length: int,
    reverse: bool,
    constants: int,
    carried: int,
    results: tuple[tuple[tuple[int, ...], Any], ...],
) -> tuple[Array, ...]:
    fixed, carry = operands[:constants], operands[constants : constants + carried]
    sequences = operands[constants + carried :]
    stacks = [np.empty((length, *shape), dtype) for shape, dtype in results]
    for trip in range(length - 1, -1, -1) if reverse else range(length):
        found = body(*fixed, *carry, *[sequence[trip] for sequence in sequences])
        carry = tuple(found[:carried])
        for stack, result in zip(stacks, found[carried:], strict=True):
            stack[trip] = result
    return (*owned(carry, operands), *stacks)


def _shape(
    *avals: ShapeDtype,
    body: Graph,
    length: int,
    reverse: bool,
    constants: int,
    carried: int,
    results: Any,
) -> tuple[ShapeDtype, ...]:
    carry = [ShapeDtype(a.aval.shape, a.aval.dtype) for a in body.outputs[:carried]]
    return (*carry, *[ShapeDtype((length, *shape), dtype) for shape, dtype in results])


def bind_scan(
    body: Graph,
    fixed: Sequence[Array],
    carry: Sequence[Array],
    sequences: Sequence[Array],
    length: int,
    reverse: bool,
) -> tuple[Array, ...]:
    """Applies the primitive; the kinds of the results are read off the body."""
    found: tuple[Array, ...] = scan_p(
        *fixed,
        *carry,
        *sequences,
        body=body,
        length=length,
        reverse=reverse,
        constants=len(fixed),
        carried=len(carry),
        results=tuple([(a.aval.shape, a.aval.dtype) for a in body.outputs[len(carry) :]]),
    )
    return found


class _Parts:
    """A scan's operands, and any list like them, by what they are."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.body: Graph = params["body"]
        self.length: int = params["length"]
        self.reverse: bool = params["reverse"]
        self.constants: int = params["constants"]
        self.carried: int = params["carried"]
        avals = [atom.aval for atom in self.body.outputs]
        # Which results have a derivative. A carry moves as soon as anything does.
        self.moves, self.floats = self.outputs([is_floating(aval) for aval in avals])

    def split(self, items: Sequence[Any]) -> list[list[Any]]:
        """(*constants, *carry, *slices)"""
        return parted(items, self.constants, self.carried)

    def outputs(self, items: Sequence[Any]) -> list[list[Any]]:
        """(*carry, *results)"""
        return parted(items, self.carried)


def _slice(x: Array) -> ShapeDtype:
    aval = shape_dtype(x)
    return ShapeDtype(aval.shape[1:], aval.dtype)


# ---- forward mode --------------------------------------------------------------------------------


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    parts = _Parts(params)
    fixed, carry, sequences = parts.split(xs)
    t_fixed, t_carry, t_sequences = parts.split(tangents)
    t_carry = [
        zeros_like(x) if t is None and moves else t
        for x, t, moves in zip(carry, t_carry, parts.moves, strict=True)
    ]
    given, start, slices = [
        [*values, *[t for t in ts if t is not None]]
        for values, ts in ((fixed, t_fixed), (carry, t_carry), (sequences, t_sequences))
    ]
    body = _pushed(parts, [t is not None for t in (*t_fixed, *t_carry, *t_sequences)])
    found = bind_scan(body, given, start, slices, parts.length, parts.reverse)
    ys_carry, ts_carry, ys, ts = parted(found, len(carry), sum(parts.moves), len(parts.floats))
    none: list[Array | None] = [None] * len(parts.body.outputs)
    return (*ys_carry, *ys), tuple(filled(none, [*parts.moves, *parts.floats], [*ts_carry, *ts]))


def _pushed(parts: _Parts, moving: Sequence[bool]) -> Graph:
    """The body that carries tangents along: those of the constants, of the carry and of the slices
    stand behind them, and likewise in what it returns."""
    pushed = pushforward(parts.body, moving)
    groups = parts.split([var.aval for var in parts.body.inputs])
    moved = [
        [ShapeDtype(a.shape, a.dtype) for a in picked(g, flags)]
        for g, flags in zip(groups, parts.split(moving), strict=True)
    ]
    avals = [aval for pair in zip(groups, moved, strict=True) for group in pair for aval in group]
    sizes = [len(group) for pair in zip(groups, moved, strict=True) for group in pair]
    count, n_carry = len(parts.body.outputs), sum(parts.moves)

    def body(*leaves: Array) -> list[Array]:
        f, tf, c, tc, s, ts, _ = parted(leaves, *sizes)
        found = evaluate(pushed, [*f, *c, *s, *tf, *tc, *ts])
        y_carry, y, t_carry, t = parted(found, parts.carried, count - parts.carried, n_carry)
        return [*y_carry, *t_carry, *y, *t]

    return program(body, avals, pushed.name)


# ---- reverse mode --------------------------------------------------------------------------------


def _run_vjp(wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]) -> Any:
    parts = _Parts(params)
    fixed, carry, sequences = parts.split(xs)
    w_fixed, w_carry, w_sequences = parts.split(wanted)
    forward, backward = forward_backward(parts.body, [*w_fixed, *parts.moves, *w_sequences])
    forward, backward = recomputed(forward, backward, len(parts.body.outputs), range(len(fixed)))
    found = bind_scan(forward, fixed, carry, sequences, parts.length, parts.reverse)
    ys, kept = parted(found, len(parts.body.outputs))
    sums = picked(fixed, w_fixed)
    turned = _summing(parts, backward, [kind(x) for x in sums])

    def pullback(gs: Sequence[Array | None]) -> list[Array]:
        full = [zeros_like(y) if g is None else g for g, y in zip(gs, ys, strict=True)]
        g_carry, g_rest = parts.outputs(full)
        start = [*map(zeros_like, sums), *picked(g_carry, parts.moves)]
        slices = [*kept, *picked(g_rest, parts.floats)]
        result = bind_scan(turned, fixed, start, slices, parts.length, not parts.reverse)
        for_fixed, for_moved, for_slices = parted(result, len(sums), sum(parts.moves))
        for_carry = filled(carry, parts.moves, for_moved)
        return [*for_fixed, *picked(for_carry, w_carry), *for_slices]

    return ys, pullback


def _summing(parts: _Parts, backward: Graph, sums: Sequence[ShapeDtype]) -> Graph:
    """The body of the scan backwards, of a backward program

        (*constants, *kept, *cotangents of the carry and results)
            ↦ cotangents of (*wanted constants, *moving carry, *wanted slices)

    Its carry is the sums of the constants' cotangents, and the cotangents of the carry; its slices
    are what the trips kept, and the cotangents of the results."""
    n_moved, n_rest = sum(parts.moves), sum(parts.floats)
    n_kept = len(backward.inputs) - parts.constants - n_moved - n_rest
    given, kept, gs = parted([var.aval for var in backward.inputs], parts.constants, n_kept)

    def body(*leaves: Array) -> list[Array]:
        f, totals, g_carry, k, g_rest = parted(leaves, parts.constants, len(sums), n_moved, n_kept)
        found, rest = parted(evaluate(backward, [*f, *k, *g_carry, *g_rest]), len(sums))
        return [*[total + c for total, c in zip(totals, found, strict=True)], *rest]

    return program(body, [*given, *sums, *gs[:n_moved], *kept, *gs[n_moved:]], backward.name)


# ---- batches -------------------------------------------------------------------------------------


def _batch(size: int, flags: Sequence[bool], *xs: Array, **params: Any) -> tuple[Array, ...]:
    parts = _Parts(params)
    fixed, carry, sequences = parts.split(xs)
    f_fixed, f_carry, f_sequences = parts.split(flags)
    # A carry is of all examples as soon as anything is.
    carry = [
        x if flag else np.broadcast_to(x, (size, *np.shape(x)))
        for x, flag in zip(carry, f_carry, strict=True)
    ]
    sequences = [
        in_order_p(np.moveaxis(x, 0, 1)) if flag and not is_opaque(shape_dtype(x)) else x
        for x, flag in zip(sequences, f_sequences, strict=True)
    ]
    body = batched(parts.body, size, [*f_fixed, *[True] * len(carry), *f_sequences])
    found = bind_scan(body, fixed, carry, sequences, parts.length, parts.reverse)
    last, stacks = parts.outputs(found)
    # In the memory order that stacking them one by one gives: the order of later sums follows it.
    return (
        *last,
        *[x if is_opaque(shape_dtype(x)) else in_order_p(np.moveaxis(x, 1, 0)) for x in stacks],
    )


in_order_p: Primitive = linear(
    "in_order",
    lambda x: np.asarray(x, order="C"),
    shape=lambda x: ShapeDtype(x.shape, x.dtype),
    transpose=lambda g, x: g,
    batch=lambda size, flags, x: in_order_p(x),
    samples=lambda: [Sample((values(2, 3),)), Sample((values(2, 3, 4).transpose(2, 0, 1),))],
)


def _samples() -> list[Sample]:
    def body(w: Array, c: Array, x: Array) -> list[Array]:
        new = np.tanh(w * c + x)
        return [new, np.sum(new * w), x * c]

    avals = [ShapeDtype((3,), np.float64)] * 3
    traced = program(body, avals, "sample")
    operands = (values(3), values(3, seed=1), values(4, 3, seed=2))
    return [
        Sample(
            operands,
            {
                "body": traced, "length": 4, "reverse": reverse, "constants": 1, "carried": 1,
                "results": (((), np.dtype(np.float64)), ((3,), np.dtype(np.float64))),
            },
        )
        for reverse in (False, True)
    ]  # fmt: skip


scan_p = Primitive(
    "scan",
    _scan,
    shape=_shape,
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
