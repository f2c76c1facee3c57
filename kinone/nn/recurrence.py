"""What the recurrent layers share: the steps of the cells, and the loop that takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack, cast

import numpy as np

from .. import ops, random, source, tree
from ..core import Array, Tracer, shape_dtype, shape_error, shape_of
from ..errors import TreeError
from ..random import Key
from ..transforms import scan
from .dropout import Dropout
from .initializers import Initializer
from .layer import Layer, Params, State, describe, entries, entry, parameter_dtype, whole_number
from .lstm import lstm
from .named_inputs import check_boolean, named_inputs

Carry = dict[str, Array]
# (the input's part of the gates, carry, recurrent kernel, recurrent bias) -> the next carry
Step = Callable[[Array, Carry, Array, Array | None], Carry]


@dataclass(frozen=True)
class Cell:
    """One kind of recurrence: its step, the number of its gates and what it carries."""

    kind: str
    gates: int
    carries: tuple[str, ...]
    step: Step


def _recur(carry: Carry, kernel: Array, bias: Array | None) -> Array:
    y = ops.matmul(carry["h"], kernel)
    return y if bias is None else y + bias


def _split(gates: Array, count: int) -> list[Array]:
    # Not slices: the backward pass joins the parts of a split in one go.
    return list(np.split(gates, count, axis=-1))


def _lstm_step(x: Array, carry: Carry, kernel: Array, bias: Array | None) -> Carry:
    i, f, g, o = _split(x + _recur(carry, kernel, bias), 4)
    c = ops.sigmoid(f) * carry["c"] + ops.sigmoid(i) * np.tanh(g)
    return {"h": ops.sigmoid(o) * np.tanh(c), "c": c}


def _gru_step(x: Array, carry: Carry, kernel: Array, bias: Array | None) -> Carry:
    xr, xz, xn = _split(x, 3)
    hr, hz, hn = _split(_recur(carry, kernel, bias), 3)
    n = np.tanh(xn + ops.sigmoid(xr + hr) * hn)
    return {"h": n + ops.sigmoid(xz + hz) * (carry["h"] - n)}


def _rnn_step(activation: Callable[[Array], Array]) -> Step:
    return lambda x, carry, kernel, bias: {"h": activation(x + _recur(carry, kernel, bias))}


LSTM_CELL = Cell("LSTM", 4, ("h", "c"), _lstm_step)
GRU_CELL = Cell("GRU", 3, ("h",), _gru_step)


def rnn_cell(activation: str) -> Cell:
    functions: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "relu": ops.relu}
    if activation not in functions:
        raise ValueError(
            f"activation={activation!r} is neither 'tanh' nor 'relu', at {source.here()}"
        )
    return Cell("RNN", 1, ("h",), _rnn_step(functions[activation]))


class CellOptions(TypedDict, total=False):
    """What cells take; parameters start uniform within ±1 / √features unless told otherwise."""

    use_bias: bool
    kernel_init: Initializer | None
    recurrent_init: Initializer | None
    bias_init: Initializer | None


class RecurrentOptions(CellOptions, total=False):
    """What recurrent layers take; `LSTM` says what it means."""

    num_layers: int
    bidirectional: bool
    reverse: bool
    dropout: float
    return_sequences: bool
    return_carry: bool


def recurrent(
    cell: Cell,
    features: int,
    shown: Mapping[str, tuple[object, object]],
    *,
    projection: int | None = None,
    num_layers: int = 1,
    bidirectional: bool = False,
    reverse: bool = False,
    dropout: float = 0.0,
    return_sequences: bool = True,
    return_carry: bool = False,
    **cell_options: Unpack[CellOptions],
) -> Layer:
    name = describe(
        cell.kind,
        features,
        **shown,
        num_layers=(num_layers, 1),
        bidirectional=(bidirectional, False),
        reverse=(reverse, False),
        dropout=(dropout, 0.0),
        return_sequences=(return_sequences, True),
        return_carry=(return_carry, False),
        use_bias=(cell_options.get("use_bias", True), True),
    )
    num_layers = whole_number(num_layers, "num_layers")
    make, checked = _weights(cell, features, projection, name, **cell_options)
    sizes = dict.fromkeys(cell.carries, features) | {"h": projection or features}
    if bidirectional and reverse:
        raise ValueError(
            f"{name} reads in both directions, so that reverse=True says nothing, "
            f"at {source.here()}"
        )
    between = Dropout(dropout)
    directions = ("forward", "backward") if bidirectional else (("forward", "backward")[reverse],)

    def init(key: Key, x: Any) -> tuple[Params, State]:
        given = named_inputs(x, "x", ("mask", "lengths", "carry"), name)["x"]
        if given.ndim < 2:
            raise shape_error(name, f"{name} wants (…, moments, channels)", given)
        params: Params = {}
        inputs = given.shape[-1]
        for i in range(num_layers):
            layer_key = key[f"layer{i}"]
            params[f"layer{i}"] = {
                each: make(layer_key[each], inputs, parameter_dtype(given)) for each in directions
            }
            inputs = sizes["h"] * len(directions)
        return params, {}

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        given = named_inputs(x, "x", ("mask", "lengths", "carry"), name)
        shape = shape_of(given["x"])
        if len(shape) < 2:
            raise shape_error(name, f"{name} wants (…, moments, channels)", given["x"])
        mask = _mask_of(given, shape, name)
        rows = num_layers * len(directions)
        carries = _carry_of(sizes, given.get("carry"), (rows, *shape[:-2]), name)
        y = np.moveaxis(given["x"], -2, 0)
        finals: list[Carry] = []
        for i in range(num_layers):
            weights = entry(params, f"layer{i}", name)
            if i and dropout and train:
                y = between.apply({}, {}, y, True, key if key is None else key[f"layer{i}"])[0]
            parts = []
            for each in directions:
                start = None if carries is None else tree.map(_nth(len(finals)), carries)
                chosen = checked(entry(weights, each, f"{name} at layer{i}"))
                final, part = _run(cell, chosen, y, mask, start, each == "backward", name)
                finals.append(final)
                parts.append(part)
            y = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        if return_sequences:
            y = np.moveaxis(y, 0, -2)
        else:
            last = [final["h"] for final in finals[-len(directions) :]]
            y = last[0] if len(last) == 1 else np.concatenate(last, axis=-1)
        if not return_carry:
            return y, state
        return {"y": y, "carry": tree.map(lambda *each: np.stack(each), *finals)}, state

    return Layer(init, apply, name)


def _nth(number: int) -> Callable[[Array], Array]:
    return lambda stacked: stacked[number]


def _run(
    cell: Cell,
    weights: Params,
    x: Array,
    mask: Array | None,
    carry: Carry | None,
    reverse: bool,
    name: str,
) -> tuple[Carry, Array]:
    """One direction of one layer over all moments, which are the first axis of `x` and `mask`."""
    gates, kernel, bias = _project(cell, weights, x, name)
    projection = weights.get("projection")
    if carry is None:
        carry = _zeros(cell, kernel, gates, shape_of(x)[1:-1])
    if cell is LSTM_CELL and projection is None and shape_of(x)[0]:
        return lstm(gates, carry, kernel, mask, reverse)

    def step(carry: Carry, moment: Any) -> tuple[Carry, Array]:
        after = cell.step(moment["gates"], carry, kernel, bias)
        if projection is not None:
            after["h"] = ops.matmul(after["h"], projection)
        if mask is None:
            return after, after["h"]
        alive = moment["mask"]
        y = np.where(alive, after["h"], 0)
        return {each: np.where(alive, after[each], carry[each]) for each in cell.carries}, y

    moments = {"gates": gates} if mask is None else {"gates": gates, "mask": mask}
    final, y = scan(step, carry, moments, reverse=reverse)
    return final, y


def _project(cell: Cell, weights: Params, x: Array, name: str) -> tuple[Array, Array, Array | None]:
    """The inputs' part of the gates, and what is left for the step: kernel and bias."""
    kernel = entry(weights, "kernel", name)
    if shape_of(x)[-1] != shape_of(kernel)[0]:
        raise shape_error(
            name,
            f"the input has {shape_of(x)[-1]} channels, and this layer was made for "
            f"{shape_of(kernel)[0]}",
            x,
            kernel,
        )
    gates = ops.matmul(x, kernel)
    recurrent = entry(weights, "recurrent_kernel", name)
    if "bias" not in weights:
        return gates, recurrent, None
    bias, recurrent_bias = weights["bias"], entry(weights, "recurrent_bias", name)
    if cell.kind == "GRU":  # whose reset gate multiplies the recurrent part, bias and all
        return gates + bias, recurrent, recurrent_bias
    return gates + (bias + recurrent_bias), recurrent, None


def _zeros(cell: Cell, kernel: Array, gates: Array, examples: tuple[int, ...]) -> Carry:
    dtype = np.result_type(shape_dtype(gates).dtype, shape_dtype(kernel).dtype)
    sizes = dict.fromkeys(cell.carries, shape_of(kernel)[1] // cell.gates)
    sizes["h"] = shape_of(kernel)[0]
    return {each: np.zeros((*examples, size), dtype) for each, size in sizes.items()}


def _weights(
    cell: Cell,
    features: int,
    projection: int | None,
    name: str,
    *,
    use_bias: bool = True,
    kernel_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    bias_init: Initializer | None = None,
) -> tuple[Callable[[Key, int, Any], Params], Callable[[Any], Params]]:
    """Makes the parameters of one direction of one layer for a number of inputs; and hands on those
    that are as it makes them."""
    width = cell.gates * whole_number(features, "features")
    carried = features if projection is None else whole_number(projection, "projection")
    reach = 1 / math.sqrt(features)

    def uniform(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return random.uniform(key, shape, dtype, -reach, reach)

    bias = (width,) if use_bias else None
    shapes: dict[str, tuple[int | None, ...] | None] = {
        "kernel": (None, width),
        "recurrent_kernel": (carried, width),
        "bias": bias,
        "recurrent_bias": bias,
        "projection": None if projection is None else (features, carried),
    }
    starts = {
        "kernel": kernel_init,
        "recurrent_kernel": recurrent_init,
        "bias": bias_init,
        "recurrent_bias": bias_init,
        "projection": recurrent_init,
    }

    def make(key: Key, inputs: int, dtype: Any) -> Params:
        return {
            leaf: (starts[leaf] or uniform)(
                key[leaf], tuple([inputs if n is None else n for n in shape]), dtype
            )
            for leaf, shape in shapes.items()
            if shape is not None
        }

    def checked(weights: Any) -> Params:
        entries(weights, name, **shapes)
        return cast(Params, weights)

    return make, checked


def cell_layer(
    cell: Cell,
    features: int,
    shown: Mapping[str, tuple[object, object]],
    **options: Unpack[CellOptions],
) -> Layer:
    use_bias = (options.get("use_bias", True), True)
    name = describe(f"{cell.kind}Cell", features, **shown, use_bias=use_bias)
    make, checked = _weights(cell, features, None, name, **options)

    def init(key: Key, x: Any) -> tuple[Params, State]:
        given = named_inputs(x, "x", ("carry",), name)["x"]
        if given.ndim < 1:
            raise shape_error(name, f"{name} wants (…, channels)", given)
        return make(key, given.shape[-1], parameter_dtype(given)), {}

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        given = named_inputs(x, "x", ("carry",), name)
        gates, kernel, bias = _project(cell, checked(params), given["x"], name)
        examples = shape_of(gates)[:-1]
        sizes = dict.fromkeys(cell.carries, features)
        carry = _carry_of(sizes, given.get("carry"), examples, name)
        if carry is None:
            carry = _zeros(cell, kernel, gates, examples)
        return cell.step(gates, carry, kernel, bias), state

    return Layer(init, apply, name)


def _mask_of(given: Mapping[str, Any], shape: tuple[int, ...], name: str) -> Array | None:
    """The mask with the moments first and an axis for the features last, (T, …, 1)."""
    moments, mask = shape[-2], given.get("mask")
    if (lengths := given.get("lengths")) is not None:
        if mask is not None:
            raise TreeError(f"{name} got a mask and lengths, at {source.here()}\n  Pass one.")
        if shape_dtype(lengths).dtype.kind not in "iu" or shape_of(lengths) != shape[:-2]:
            raise shape_error(
                name, f"lengths are integers of shape {shape[:-2]}, one for each sequence", lengths
            )
        if not isinstance(lengths, Tracer):
            known = np.asarray(lengths)
            if known.size and not 0 <= known.min() <= known.max() <= moments:
                raise ValueError(
                    f"{name}: lengths are from {known.min()} to {known.max()}, and the sequences "
                    f"have {moments} moments, at {source.here()}"
                )
        mask = np.arange(moments) < np.expand_dims(lengths, -1)
    if mask is None:
        return None
    check_boolean(mask, "mask", name, "there is a moment and not padding")
    if shape_of(mask) != shape[:-1]:
        raise shape_error(
            name, f"the mask has shape {shape_of(mask)}, and the sequences {shape[:-1]}", mask
        )
    return np.expand_dims(np.moveaxis(mask, -1, 0), -1)


def _carry_of(
    sizes: Mapping[str, int], carry: Any, examples: tuple[int, ...], name: str
) -> Carry | None:
    if carry is None:
        return None
    if not isinstance(carry, Mapping) or set(carry) != set(sizes):
        found = sorted(carry) if isinstance(carry, Mapping) else type(carry).__name__
        raise TreeError(
            f"{name}: the carry is {found}, and a dict of {', '.join(sizes)} is wanted, "
            f"at {source.here()}"
        )
    for each, size in sizes.items():
        shape = (*examples, size)
        if shape_of(carry[each]) != shape:
            raise shape_error(name, f"carry {each!r} wants shape {shape}", carry[each])
    return {each: carry[each] for each in sizes}
