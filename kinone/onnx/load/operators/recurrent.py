"""RNN, GRU and LSTM: a `scan` over the moments in each direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....nn.lstm import lstm as fused_lstm
from ....transforms import scan
from ..registry import Node, operator

Function = Callable[[Array], Array]
# (the input's part of the gates, what is carried) -> what is carried next, the output first
Step = Callable[[Array, list[Array]], list[Array]]

# ---- activations ---------------------------------------------------------------------------------

# The functions by name, and what their alpha and beta are by default.
_ACTIVATIONS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "relu": (ops.relu, ()),
    "tanh": (np.tanh, ()),
    "sigmoid": (ops.sigmoid, ()),
    "softsign": (ops.softsign, ()),
    "softplus": (ops.softplus, ()),
    "affine": (lambda x, a, b: a * x + b, (1.0, 0.0)),
    "leakyrelu": (lambda x, a: np.where(x >= 0, x, a * x), (0.01,)),
    "thresholdedrelu": (lambda x, a: np.where(x > a, x, 0), (1.0,)),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), (1.0, 1.0)),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), (0.2, 0.5)),
    "elu": (lambda x, a: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))), (1.0,)),
}


def _activations(
    node: Node, usual: Sequence[str], directions: int
) -> tuple[list[list[Function]], bool]:
    """The functions of each direction, and whether they are the usual ones."""
    clip = node.attribute("clip", None)
    names = [name.lower() for name in node.attribute("activations", None) or ()]
    names = names or [name.lower() for name in usual] * directions
    if len(names) != len(usual) * directions:
        raise node.error(f"has {len(names)} activations for {directions} x {len(usual)}")
    alphas = list(node.attribute("activation_alpha", None) or ())
    betas = list(node.attribute("activation_beta", None) or ())
    found: list[Function] = []
    for number, name in enumerate(names):
        if name not in _ACTIVATIONS:
            raise node.error(f"has an unknown activation, {name!r}")
        function, numbers = _ACTIVATIONS[name]
        given = [
            float(some.pop(0)) if some else number
            for some, number in zip((alphas, betas), numbers, strict=False)
        ]
        # What an LSTM makes of its cell is not clipped, as in ONNX Runtime.
        found.append(_bound(function, given, None if number % len(usual) == 2 else clip))
    each = [found[i : i + len(usual)] for i in range(0, len(found), len(usual))]
    plain = clip is None and names == [name.lower() for name in usual] * directions
    return each, plain


def _bound(function: Callable[..., Array], numbers: list[float], clip: float | None) -> Function:
    if clip is None or clip <= 0:
        return lambda x: function(x, *numbers)
    return lambda x: function(np.clip(x, -clip, clip), *numbers)


# ---- what the three share ------------------------------------------------------------------------


class _Run:
    """The operands of a node by direction, and the loop over its moments."""

    def __init__(
        self,
        node: Node,
        gates: int,
        x: Array,
        w: Array,
        r: Array,
        bias: Array | None,
        lengths: Array | None,
    ) -> None:
        self.node = node
        self.batch_first = bool(node.attribute("layout", 0))
        self.x = np.swapaxes(x, 0, 1) if self.batch_first else x
        if len(shape_of(x)) != 3 or len(shape_of(w)) != 3 or len(shape_of(r)) != 3:
            raise node.error(
                f"wants 3 axes and is given {shape_of(x)}, {shape_of(w)}, {shape_of(r)}"
            )
        self.moments, self.examples, inputs = shape_of(self.x)
        self.dtype = shape_dtype(x).dtype
        direction = str(node.attribute("direction", "forward")).lower()
        if direction not in ("forward", "reverse", "bidirectional"):
            raise node.error(f"has an unknown direction, {direction!r}")
        self.reversed = (False, True) if direction == "bidirectional" else (direction == "reverse",)
        count, self.hidden = len(self.reversed), shape_of(r)[2]
        shapes = (count, gates * self.hidden, inputs), (count, gates * self.hidden, self.hidden)
        if (shape_of(w), shape_of(r)) != shapes:
            raise node.error(
                f"wants W {shapes[0]} and R {shapes[1]}, and is given {shape_of(w)}, {shape_of(r)}"
            )
        if int(node.attribute("hidden_size", self.hidden)) != self.hidden:
            raise node.error(f"has a hidden_size other than its weights' {self.hidden}")
        self.w, self.r = np.swapaxes(w, 1, 2), np.swapaxes(r, 1, 2)
        wanted = (count, 2 * gates * self.hidden)
        if bias is not None and shape_of(bias) != wanted:
            raise node.error(f"wants B {wanted}, and is given {shape_of(bias)}")
        self.bias = bias
        self.alive: Array | None = None
        if lengths is not None:
            mask = np.arange(self.moments)[:, None] < np.reshape(lengths, (1, -1))
            self.alive = np.reshape(mask, (self.moments, self.examples, 1))

    def start(self, given: Array | None) -> list[Array]:
        """The initial state of each direction."""
        shape = (len(self.reversed), self.examples, self.hidden)
        if given is None:
            return [np.zeros(shape[1:], self.dtype) for _ in self.reversed]
        given = np.swapaxes(given, 0, 1) if self.batch_first else given
        if shape_of(given) != shape:
            raise self.node.error(f"wants a state of {shape}, and is given {shape_of(given)}")
        return [given[i] for i in range(shape[0])]

    def biases(self, number: int) -> tuple[Array | None, Array | None]:
        """The biases of the inputs and of the state."""
        if self.bias is None:
            return None, None
        both = np.split(self.bias[number], 2)
        return both[0], both[1]

    def loop(self, step: Step, gates: Array, carry: list[Array], number: int) -> Any:
        """The last state, and the outputs of all moments."""

        def body(carry: list[Array], moment: tuple[Array, ...]) -> tuple[list[Array], Array]:
            after = step(moment[0], carry)
            if len(moment) == 1:
                return after, after[0]
            (alive,) = moment[1:]
            kept = [np.where(alive, new, old) for new, old in zip(after, carry, strict=True)]
            return kept, np.where(alive, after[0], 0)

        moments = (gates,) if self.alive is None else (gates, self.alive)
        return scan(body, carry, moments, reverse=self.reversed[number])

    def results(self, ys: list[Array], finals: list[list[Array]]) -> tuple[Array, ...]:
        """The node's outputs: Y, and the states."""
        y = np.stack(ys, axis=1)  # (moments, directions, examples, hidden)
        states = [np.stack(each) for each in zip(*finals, strict=True)]
        if self.batch_first:
            y = np.transpose(y, (2, 0, 1, 3))
            states = [np.swapaxes(state, 0, 1) for state in states]
        return (y, *states)


def _plus(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias


def _sum(first: Array | None, second: Array | None) -> Array | None:
    return None if first is None or second is None else first + second


# ---- the three -----------------------------------------------------------------------------------


@operator("RNN")
def rnn(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Array | None = None,
    initial: Array | None = None,
) -> Any:
    run = _Run(node, 1, x, w, r, bias, lengths)
    functions, _ = _activations(node, ["Tanh"], len(run.reversed))
    ys, finals = [], []
    for number, start in enumerate(run.start(initial)):
        (f,), recurrent = functions[number], run.r[number]
        gates = _plus(ops.matmul(run.x, run.w[number]), _sum(*run.biases(number)))

        def step(
            gates: Array, carry: list[Array], f: Function = f, recurrent: Array = recurrent
        ) -> list[Array]:
            return [f(gates + ops.matmul(carry[0], recurrent))]

        final, y = run.loop(step, gates, [start], number)
        ys.append(y)
        finals.append(final)
    return run.results(ys, finals)


@operator("GRU")
def gru(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Array | None = None,
    initial: Array | None = None,
) -> Any:
    run = _Run(node, 3, x, w, r, bias, lengths)
    functions, _ = _activations(node, ["Sigmoid", "Tanh"], len(run.reversed))
    before = bool(node.attribute("linear_before_reset", 0))
    ys, finals = [], []
    for number, start in enumerate(run.start(initial)):
        step, own = _gru_step(functions[number], run.r[number], run.biases(number)[1], before)
        gates = _plus(ops.matmul(run.x, run.w[number]), run.biases(number)[0])
        final, y = run.loop(step, _plus(gates, own), [start], number)
        ys.append(y)
        finals.append(final)
    return run.results(ys, finals)


def _gru_step(
    functions: list[Function], recurrent: Array, bias: Array | None, before: bool
) -> tuple[Step, Array | None]:
    """One moment, and the part of the bias that is added to the inputs' part of the gates."""
    f, g = functions
    hidden = shape_of(recurrent)[0]

    def step(gates: Array, carry: list[Array]) -> list[Array]:
        (h,) = carry
        xz, xr, xn = np.split(gates, 3, axis=-1)
        if before:  # the reset gate multiplies the state's part, bias and all
            hz, hr, hn = np.split(_plus(ops.matmul(h, recurrent), bias), 3, axis=-1)
            z, reset = f(xz + hz), f(xr + hr)
            n = g(xn + reset * hn)
        else:
            hz, hr = np.split(ops.matmul(h, recurrent[:, : 2 * hidden]), 2, axis=-1)
            z, reset = f(xz + hz), f(xr + hr)
            n = g(xn + ops.matmul(reset * h, recurrent[:, 2 * hidden :]))
        return [(1 - z) * n + z * h]

    return step, None if before else bias


@operator("LSTM")
def lstm(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Array | None = None,
    initial: Array | None = None,
    initial_cell: Array | None = None,
    peepholes: Array | None = None,
) -> Any:
    run = _Run(node, 4, x, w, r, bias, lengths)
    functions, plain = _activations(node, ["Sigmoid", "Tanh", "Tanh"], len(run.reversed))
    coupled = bool(node.attribute("input_forget", 0))
    plain = plain and not coupled and peepholes is None and run.moments > 0
    starts = zip(run.start(initial), run.start(initial_cell), strict=True)
    ys, finals = [], []
    for number, (h, c) in enumerate(starts):
        weights, recurrent, own = run.w[number], run.r[number], _sum(*run.biases(number))
        if plain:
            gates = ops.matmul(run.x, _reordered(weights))
            gates = _plus(gates, None if own is None else _reordered(own))
            carry = {"h": h, "c": c}
            reverse = run.reversed[number]
            last, y = fused_lstm(gates, carry, _reordered(recurrent), run.alive, reverse)
            final = [last["h"], last["c"]]
        else:
            gates = _plus(ops.matmul(run.x, weights), own)
            peeps = None if peepholes is None else np.split(peepholes[number], 3)
            step = _lstm_step(functions[number], recurrent, peeps, coupled)
            final, y = run.loop(step, gates, [h, c], number)
        ys.append(y)
        finals.append(final)
    return run.results(ys, finals)


def _reordered(w: Array) -> Array:
    """The gates input, output, forget, cell as input, forget, cell, output."""
    i, o, f, c = np.split(w, 4, axis=-1)
    return np.concatenate([i, f, c, o], axis=-1)


def _lstm_step(
    functions: list[Function], recurrent: Array, peepholes: list[Array] | None, coupled: bool
) -> Step:
    f, g, h = functions

    def step(gates: Array, carry: list[Array]) -> list[Array]:
        hidden, cell = carry
        i, o, forget, c = np.split(gates + ops.matmul(hidden, recurrent), 4, axis=-1)
        if peepholes is not None:
            i, forget = i + peepholes[0] * cell, forget + peepholes[2] * cell
        i = f(i)
        keep = 1 - i if coupled else f(forget)
        after = keep * cell + i * g(c)
        if peepholes is not None:
            o = o + peepholes[1] * after
        return [f(o) * h(after), after]

    return step
