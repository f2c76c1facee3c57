"""The whole run of an LSTM as one operation, with the bits of eager mode in compiled programs too.

The loops are those of `lstm_kernel`, and the recurrent kernel's gradient is one matrix product at
the end. Values and gradients of 64 features over 50 moments of 8 sequences took 2.3 ms, and 19 ms
as a loop of operations; those of 128 features over 64 moments of 32 sequences 17 ms, and 26 ms.

Here are the formulas that the loops compute, as `scan` runs them: `recurrence` forward and
`unrolled` backward. Forward mode and derivatives of higher order are those of the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..core import Array, Primitive, ShapeDtype, shape_dtype, shape_of
from ..ops.declare import cast, primitive, unbroadcast
from ..ops.samples import Sample, values
from ..transforms import jvp, scan, vjp
from .lstm_kernel import Arrays, backward, before, forward

# ---- the formulas --------------------------------------------------------------------------------


def _activate(gates: Array) -> list[Array]:
    i, f, g, o = np.split(gates, 4, axis=-1)
    return [ops.sigmoid(i), ops.sigmoid(f), np.tanh(g), ops.sigmoid(o)]


def recurrence(
    gates: Array, h: Array, c: Array, kernel: Array, *alive: Array, reverse: bool
) -> Arrays:
    """What `lstm_p` computes."""

    def step(carry: tuple[Array, Array], moment: tuple[Array, ...]) -> Any:
        h, c = carry
        i, f, g, o = _activate(moment[0] + ops.matmul(h, kernel))
        new_c = f * c + i * g
        new_h = o * np.tanh(new_c)
        for each in moment[1:]:
            new_h, new_c = np.where(each, new_h, h), np.where(each, new_c, c)
        return (new_h, new_c), (new_h, new_c, np.concatenate([i, f, g, o], axis=-1))

    found: Arrays = scan(step, (h, c), (gates, *alive), reverse=reverse)[1]
    return found


def unrolled(
    c: Array,
    kernel: Array,
    cells: Array,
    activated: Array,
    gh: Array,
    gc: Array,
    *alive: Array,
    reverse: bool,
) -> Arrays:
    """What `lstm_backward_p` computes."""
    i, f, g, o = np.split(activated, 4, axis=-1)
    back = np.swapaxes(kernel, -1, -2)
    moments = {
        "i": i, "f": f, "g": g, "o": o, "gh": gh, "gc": gc,
        "before": before(c, cells, reverse), "squashed": np.tanh(cells),
    }  # fmt: skip

    def step(carry: tuple[Array, Array], moment: tuple[dict[str, Array], Arrays]) -> Any:
        m, masks = moment
        dh, dc = carry[0] + m["gh"], carry[1] + m["gc"]
        inner = dc + dh * m["o"] * (1 - m["squashed"] * m["squashed"])
        parts = [
            inner * m["g"] * m["i"] * (1 - m["i"]),
            inner * m["before"] * m["f"] * (1 - m["f"]),
            inner * m["i"] * (1 - m["g"] * m["g"]),
            dh * m["squashed"] * m["o"] * (1 - m["o"]),
        ]
        gates = np.concatenate(parts, axis=-1)
        new_h, new_c = ops.matmul(gates, back), inner * m["f"]
        for each in masks:
            gates = np.where(each, gates, 0)
            new_h, new_c = np.where(each, new_h, dh), np.where(each, new_c, dc)
        return (new_h, new_c), gates

    zero = np.zeros(shape_of(c), shape_dtype(c).dtype)
    (dh, dc), d_gates = scan(step, (zero, zero), (moments, alive), reverse=not reverse)
    return d_gates, dh, dc


# ---- the rules -----------------------------------------------------------------------------------

# How an operand's or a result's axes lie: (moments, …, n, channels), (…, n, channels) or a matrix.
_MOMENTS, _STATE, _MATRIX = "moments", "state", "matrix"


def _through_formulas(formulas: Any, floats: int) -> tuple[Any, Any]:
    """Rules of reverse and forward mode by those of the formulas; the other operands are masks."""

    def of(xs: Sequence[Array], reverse: bool) -> Any:
        return lambda *moving: formulas(*moving, *xs[floats:], reverse=reverse)

    def back(ys: Any, *xs: Array, reverse: bool) -> Any:
        def pullback(gs: Sequence[Array | None]) -> tuple[Array | None, ...]:
            full = tuple([_zeros(y) if g is None else g for g, y in zip(gs, ys, strict=True)])
            found = vjp(of(xs, reverse), *xs[:floats])[1](full)
            return (*found, *[None] * (len(xs) - floats))

        return pullback

    def forth(ys: Any, *xs: Array, reverse: bool) -> Any:
        def pushforward(*tangents: Array | None) -> Arrays:
            ts = [_zeros(x) if t is None else t for x, t in zip(xs, tangents, strict=True)]
            found: Arrays = jvp(of(xs, reverse), xs[:floats], ts[:floats])[1]
            return found

        return pushforward

    return back, forth


def _zeros(x: Array) -> Array:
    known = shape_dtype(x)
    return np.broadcast_to(np.zeros((), known.dtype), known.shape)


def _batch(
    operation: Primitive,
    lie: tuple[Sequence[str], Sequence[str]],
    size: int,
    flags: Sequence[bool],
    xs: Sequence[Array],
    reverse: bool,
) -> list[Array]:
    """An operation of a whole batch: its examples are more sequences where they share the matrix,
    and have an axis before the sequences where they do not."""
    matrix, state = lie[0].index(_MATRIX), lie[0].index(_STATE)
    shared = not flags[matrix] and len(shape_of(xs[matrix])) == 2
    rank, sequences = len(shape_of(xs[state])) - flags[state], shape_of(xs[state])[-2]
    placed = []
    for x, flag, kind in zip(xs, flags, lie[0], strict=False):
        shape = shape_of(x)
        if kind == _MATRIX:
            missing = rank + 1 - len(shape) if flag else 0
            placed.append(np.reshape(x, (*shape[:flag], *[1] * missing, *shape[flag:])))
            continue
        axis = int(kind == _MOMENTS)
        if flag:
            x = np.moveaxis(x, 0, axis)
        else:
            x = np.broadcast_to(np.expand_dims(x, axis), (*shape[:axis], size, *shape[axis:]))
        placed.append(_merged(x, axis) if shared else x)
    whole = []
    for y, kind in zip(operation(*placed, reverse=reverse), lie[1], strict=True):
        axis = int(kind == _MOMENTS)
        if shared:
            shape = shape_of(y)
            y = np.reshape(y, (*shape[:axis], size, sequences, shape[-1]))
        whole.append(np.moveaxis(y, axis, 0))
    return whole


def _merged(x: Array, axis: int) -> Array:
    """An axis and the next as one."""
    shape = shape_of(x)
    joined = shape[axis] * shape[axis + 1]
    return np.reshape(x, (*shape[:axis], joined, *shape[axis + 2 :]))


def _vjp(
    ys: Any, gates: Array, h: Array, c: Array, kernel: Array, *alive: Array, reverse: bool
) -> Any:
    hs, cells, activated = ys
    by_formulas = _through_formulas(recurrence, 4)[0]

    def pullback(gs: Sequence[Array | None]) -> Any:
        gh, gc, g_activated = gs
        if g_activated is not None:  # of the backward operation, in a derivative of higher order
            return by_formulas(ys, gates, h, c, kernel, *alive, reverse=reverse)(gs)
        gh, gc = (_zeros(y) if g is None else g for g, y in ((gh, hs), (gc, cells)))
        d_gates, dh, dc = lstm_backward_p(
            c, kernel, cells, activated, gh, gc, *alive, reverse=reverse
        )
        # All moments of all sequences at once, where those stand next to each other.
        began, after = (
            _merged(np.moveaxis(x, 0, -3), -3 + len(shape_of(x)))
            for x in (before(h, hs, reverse), d_gates)
        )
        d_kernel = ops.matmul(np.swapaxes(began, -1, -2), after)
        d_kernel = unbroadcast(d_kernel, shape_of(kernel))
        return (d_gates, dh, dc, d_kernel, *[None] * len(alive))

    return pullback


_FORWARD = (_MOMENTS, _STATE, _STATE, _MATRIX, _MOMENTS), (_MOMENTS,) * 3
_BACKWARD = (_STATE, _MATRIX, *[_MOMENTS] * 5), (_MOMENTS, _STATE, _STATE)


def _flops(operands: Any, results: Any) -> float:
    """Those of the products with the recurrent kernel."""
    gates = max(results, key=math.prod)
    return float(2 * math.prod(gates) * (gates[-1] // 4))


def _samples(make: Callable[..., tuple[Array, ...]]) -> Callable[[], list[Sample]]:
    def samples() -> list[Sample]:
        alive = np.arange(3)[:, None, None] < np.array([[3], [2]])
        return [
            Sample((*make(2, 2), *masks), {"reverse": reverse})
            for masks, reverse in (((), False), ((alive,), True))
        ]

    return samples


lstm_p: Primitive = primitive(
    "lstm",
    forward,
    shape=lambda gates, h, *_, reverse: (
        *[ShapeDtype((*gates.shape[:-1], h.shape[-1]), gates.dtype)] * 2,
        ShapeDtype(gates.shape, gates.dtype),
    ),
    vjp=_vjp,
    jvp=_through_formulas(recurrence, 4)[1],
    batch=lambda size, flags, *xs, reverse: _batch(lstm_p, _FORWARD, size, flags, xs, reverse),
    multiple=True,
    fill=False,
    fresh=True,
    flops=_flops,
    samples=_samples(
        lambda n, width: (
            values(3, n, 4 * width),
            values(n, width, seed=1),
            values(n, width, seed=2),
            values(width, 4 * width, seed=3),
        )
    ),
)

lstm_backward_p: Primitive = primitive(
    "lstm_backward",
    backward,
    shape=lambda c, kernel, cells, activated, *_, reverse: (
        ShapeDtype(activated.shape, activated.dtype),
        *[ShapeDtype(c.shape, activated.dtype)] * 2,
    ),
    vjp=_through_formulas(unrolled, 6)[0],
    jvp=_through_formulas(unrolled, 6)[1],
    batch=lambda size, flags, *xs, reverse: _batch(
        lstm_backward_p, _BACKWARD, size, flags, xs, reverse
    ),
    multiple=True,
    fill=False,
    fresh=True,
    flops=_flops,
    samples=_samples(
        lambda n, width: (
            values(n, width),
            values(width, 4 * width, seed=1),
            values(3, n, width, seed=2),
            values(3, n, 4 * width, domain=(0.1, 0.9), seed=3),
            values(3, n, width, seed=4),
            values(3, n, width, seed=5),
        )
    ),
)


def lstm(
    gates: Array, carry: dict[str, Array], kernel: Array, mask: Array | None, reverse: bool
) -> tuple[dict[str, Array], Array]:
    """The last carry and the outputs of all moments, as `scan` of an LSTM's step gives them.

    `gates` (moments, …, 4 · features) are the inputs' part of the gates, `mask` is (moments, …, 1).
    """
    dtype = np.result_type(*[shape_dtype(x).dtype for x in (gates, kernel, *carry.values())])
    length, *examples, _ = shape_of(gates)
    count, features = math.prod(examples), shape_of(kernel)[0]
    alive = [] if mask is None else [np.reshape(mask, (length, count, 1))]
    hs, cells, _ = lstm_p(
        np.reshape(cast(gates, dtype), (length, count, 4 * features)),
        *[np.reshape(cast(carry[each], dtype), (count, features)) for each in ("h", "c")],
        cast(kernel, dtype),
        *alive,
        reverse=reverse,
    )
    last = 0 if reverse else -1
    shape = (*examples, features)
    y = np.where(alive[0], hs, 0) if alive else hs
    final = {"h": np.reshape(hs[last], shape), "c": np.reshape(cells[last], shape)}
    return final, np.reshape(y, (length, *shape))
