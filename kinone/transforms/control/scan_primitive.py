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
from ...graph import Constant, Graph, Var, evaluate, flat_graph, trace_flat
from ...ops.declare import linear
from ...ops.samples import Sample, values
from ..split import batched, forward_backward, is_floating, is_opaque, pushforward


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
    return (*carry, *stacks)


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

    def split(self, items: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        first, second = self.constants, self.constants + self.carried
        return list(items[:first]), list(items[first:second]), list(items[second:])

    def outputs(self, items: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        return list(items[: self.carried]), list(items[self.carried :])


def picked(items: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """The items whose flag is set."""
    return [item for item, flag in zip(items, flags, strict=True) if flag]


def zeros_like(x: Array) -> Array:
    """Zeros of an operand's shape and dtype."""
    aval = shape_dtype(x)
    return np.zeros(aval.shape, aval.dtype)


def program(fun: Callable[..., Any], avals: Sequence[ShapeDtype], name: str) -> Graph:
    """A program that closes over nothing."""
    traced, captured = trace_flat(fun, avals, name)
    assert not captured
    return traced


# ---- forward mode --------------------------------------------------------------------------------


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    parts = _Parts(params)
    fixed, carry, sequences = parts.split(xs)
    t_fixed, t_carry, t_sequences = parts.split(tangents)
    # A carry moves as soon as anything does.
    carry_moves = [is_floating(shape_dtype(x)) for x in carry]
    t_carry = [
        zeros_like(x) if t is None and moves else t
        for x, t, moves in zip(carry, t_carry, carry_moves, strict=True)
    ]
    moving = [t is not None for t in (*t_fixed, *t_carry, *t_sequences)]
    pushed = pushforward(parts.body, moving)
    m_fixed, m_carry, m_sequences = parts.split(moving)
    counts = [len(fixed), sum(m_fixed), len(carry), sum(m_carry), len(sequences)]
    out_carry, out_rest = parts.outputs([a.aval for a in parts.body.outputs])
    count = len(parts.body.outputs)

    def body(*leaves: Array) -> list[Array]:
        rest = list(leaves)
        groups = []
        for size in counts:
            groups.append(rest[:size])
            rest = rest[size:]
        f, tf, c, tc, s = groups
        found = evaluate(pushed, [*f, *c, *s, *tf, *tc, *rest])
        values, ts = found[:count], iter(found[count:])
        by_output = [next(ts) if is_floating(a) else None for a in (*out_carry, *out_rest)]
        tangents_carry, tangents_rest = parts.outputs(by_output)
        return [
            *values[: parts.carried],
            *[t for t, m in zip(tangents_carry, carry_moves, strict=True) if m],
            *values[parts.carried :],
            *[t for t in tangents_rest if t is not None],
        ]

    given = [
        *fixed, *picked(t_fixed, m_fixed), *carry, *picked(t_carry, m_carry),
    ]  # fmt: skip
    slices = [*sequences, *picked(t_sequences, m_sequences)]
    avals = [shape_dtype(x) for x in given] + [_slice(x) for x in slices]
    both = program(body, avals, pushed.name)
    whole = len(fixed) + sum(m_fixed)
    found = bind_scan(both, given[:whole], given[whole:], slices, parts.length, parts.reverse)
    rest = iter(found)
    ys_carry = [next(rest) for _ in carry]
    ts_carry = [next(rest) if moves else None for moves in carry_moves]
    ys_rest = [next(rest) for _ in out_rest]
    ts_rest = [next(rest) if is_floating(a) else None for a in out_rest]
    return (*ys_carry, *ys_rest), (*ts_carry, *ts_rest)


def _slice(x: Array) -> ShapeDtype:
    aval = shape_dtype(x)
    return ShapeDtype(aval.shape[1:], aval.dtype)


# ---- reverse mode --------------------------------------------------------------------------------


def _run_vjp(wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]) -> Any:
    parts = _Parts(params)
    fixed, carry, sequences = parts.split(xs)
    w_fixed, w_carry, w_sequences = parts.split(wanted)
    carry_moves = [is_floating(shape_dtype(x)) for x in carry]
    forward, backward = forward_backward(parts.body, [*w_fixed, *carry_moves, *w_sequences])
    forward, backward = recomputed(forward, backward, len(parts.body.outputs), len(fixed))
    found = bind_scan(forward, fixed, carry, sequences, parts.length, parts.reverse)
    count = len(parts.body.outputs)
    ys, kept = found[:count], found[count:]
    _, out_rest = parts.outputs([a.aval for a in parts.body.outputs])
    sums = picked(fixed, w_fixed)
    moved = picked(carry, carry_moves)
    # backward: (*fixed, *kept, *cotangents of the floating outputs) ↦ cotangents of
    # (*wanted fixed, *moving carry, *wanted slices). Scanned, the carry is the cotangent of the
    # carry and the sums of those of the constants.
    n_kept, n_sums, n_moved = len(kept), len(sums), len(moved)
    floats_rest = [a for a in out_rest if is_floating(a)]

    def body(*leaves: Array) -> list[Array]:
        rest = list(leaves)
        f, rest = rest[: len(fixed)], rest[len(fixed) :]
        totals, rest = rest[:n_sums], rest[n_sums:]
        g_carry, rest = rest[:n_moved], rest[n_moved:]
        k, g_rest = rest[:n_kept], rest[n_kept:]
        cotangents = evaluate(backward, [*f, *k, *g_carry, *g_rest])
        added = [total + c for total, c in zip(totals, cotangents[:n_sums], strict=True)]
        return [*added, *cotangents[n_sums:]]

    avals = [shape_dtype(x) for x in (*fixed, *sums, *moved)]
    avals = [ShapeDtype(a.shape, a.dtype) for a in avals]
    avals += [_slice(x) for x in kept] + [ShapeDtype(a.shape, a.dtype) for a in floats_rest]
    scanned = program(body, avals, backward.name)

    def pullback(gs: Sequence[Array | None]) -> list[Array]:
        g_carry, g_rest = parts.outputs(gs)
        seeds = [
            zeros_like(x) if g is None else g for g, x in zip(g_carry, ys, strict=False)
            if is_floating(shape_dtype(x))
        ]  # fmt: skip
        stacked = [
            zeros_like(y) if g is None else g
            for g, y in zip(g_rest, ys[parts.carried :], strict=True)
            if is_floating(shape_dtype(y))
        ]
        totals = [zeros_like(x) for x in sums]
        result = list(
            bind_scan(
                scanned, fixed, [*totals, *seeds], [*kept, *stacked], parts.length,
                not parts.reverse,
            )
        )  # fmt: skip
        for_fixed, for_moved = result[:n_sums], result[n_sums : n_sums + n_moved]
        by_carry = iter(for_moved)
        every = [next(by_carry) if moves else None for moves in carry_moves]
        return [*for_fixed, *picked(every, w_carry), *result[n_sums + n_moved :]]

    return ys, pullback


def recomputed(
    forward: Graph, backward: Graph, outputs: int, constants: int
) -> tuple[Graph, Graph]:
    """The two programs of a loop's body without residuals that the constants alone determine.

    forward:   inputs ↦ (*outputs, *residuals)
    backward:  (*constants, *residuals, *cotangents) ↦ cotangents; it computes the others again
    """
    given = forward.inputs[:constants]
    known: set[Var] = set(given)
    slices: dict[Var, Any] = {}
    for equation in forward.equations:
        operands = [a for a in equation.inputs if isinstance(a, Var)]
        if all(a in known for a in operands) and not equation.primitive.effect:
            known.update(equation.outputs)
            slices.update(dict.fromkeys(equation.outputs, equation))
    residuals = forward.outputs[outputs:]
    again = [isinstance(a, Constant) or a in known for a in residuals]
    needed: set[Any] = {a for a, flag in zip(residuals, again, strict=True) if flag}
    repeated = []
    for equation in reversed(forward.equations):
        if needed.intersection(equation.outputs):
            repeated.append(equation)
            needed.update(a for a in equation.inputs if isinstance(a, Var))
    inputs = backward.inputs[: len(residuals)]
    seeds = backward.inputs[len(residuals) :]

    def function(*leaves: Array) -> list[Array]:
        fixed, rest = leaves[:constants], list(leaves[constants:])
        wanted = [a for a, flag in zip(residuals, again, strict=True) if flag]
        before = flat_graph("again", given, repeated[::-1], wanted)
        computed = iter(evaluate(before, fixed))
        stacked = iter(rest[: len(rest) - len(seeds)])
        full = [next(computed) if flag else next(stacked) for flag in again]
        return evaluate(backward, [*full, *rest[len(rest) - len(seeds) :]])

    kept = [a for a, flag in zip(residuals, again, strict=True) if not flag]
    avals = [var.aval for var in given]
    avals += [v.aval for v, flag in zip(inputs, again, strict=True) if not flag]
    avals += [v.aval for v in seeds]
    shorter = flat_graph(
        forward.name, forward.inputs, forward.equations, [*forward.outputs[:outputs], *kept]
    )
    return shorter, program(function, avals, backward.name)


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
        np.moveaxis(x, 0, 1) if flag and not is_opaque(shape_dtype(x)) else x
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


def _by_run(*_: Any) -> Any:
    raise AssertionError("run_vjp and run_jvp stand in for this rule")


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
    vjp=_by_run,
    jvp=_by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    samples=_samples,
)
