"""Pools: channels-first as convolutions are, see `windows`, and tap by tap without a kernel.

A max pool also gives where in its window the maximum is, for derivatives; that is computed of the
flat positions that ONNX gives, and goes where nobody reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..export import dims, kernels
from ..export.builder import Builder
from ..export.dims import Size
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from . import taps
from .common import out, written
from .windows import SINGLE, by_taps, channels_first, padded, paddings

_POOLED_AXES = 3  # ONNX Runtime's pools have at most so many


def _attributes(params: dict[str, Any]) -> dict[str, Any]:
    spread = params.get("dilation")
    return {
        "kernel_shape": list(params["window"]),
        "strides": list(params["strides"]),
        "dilations": None if spread is None or set(spread) == {1} else list(spread),
    }


def _is_whole(params: dict[str, Any], x: Value) -> bool:
    """Whether there is one window, which is the whole image."""
    unpadded = not any(low or high for low, high in params["padding"])
    return unpadded and tuple(params["window"]) == x.shape[1:-1]


def _global(b: Builder, op: str, x: Value, shape: Sequence[Size]) -> Value:
    order = channels_first(x.ndim)
    return b.node(op, [b.ordered(x, order)], shape, x.dtype, order=order)


@lowers("avg_pool")
def _avg_pool(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    params = step.params
    x = b.cast(x, dtype)
    if _is_whole(params, x) and 0 not in x.shape:
        if dtype.name in SINGLE:
            return _global(b, "GlobalAveragePool", x, shape)
        return written(b, _whole_mean, x)
    order = channels_first(x.ndim)
    attributes = _attributes(params)
    odd = attributes["dilations"] is not None and b.opset < 19
    if dtype.name not in SINGLE or x.ndim - 2 > _POOLED_AXES or dims.product(shape) == 0 or odd:
        (y,) = by_taps(b, taps.avg_pool, step, x)
        return y
    x = b.ordered(x, order)
    places = paddings(b, step, params["window"], x.shape[1:-1])
    if places is None:
        x, pads = padded(b, x, params["padding"])
        places = {"pads": pads}
    return b.node(
        "AveragePool",
        [x],
        shape,
        dtype,
        order=order,
        count_include_pad=int(params["count_include_pad"]),
        **attributes,
        **places,
    )


@lowers("avg_pool_spread")
def _avg_pool_spread(b: Builder, step: Step, g: Value) -> Value:
    (y,) = by_taps(b, taps.avg_pool_spread, step, b.cast(g, out(step)[1]))
    return y


def _whole_mean(x: Any) -> Any:
    return np.mean(x, tuple(range(1, x.ndim - 1)), keepdims=True)


def _first_of_whole(x: Any, *, dtype: Any) -> Any:
    rows = np.reshape(x, (x.shape[0], -1, x.shape[-1]))
    places = np.argmax(rows, 1, keepdims=True).astype(dtype)
    return np.reshape(places, (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]))


@dataclass(frozen=True, eq=False)
class Places(Value):
    """The index that max_pool gives, and the flat positions in the image that it stands for."""

    flat: Value | None = None


@lowers("max_pool")
def _max_pool(b: Builder, step: Step, x: Value) -> tuple[Value, Value]:
    shape, dtype = out(step)
    params = step.params
    rank = x.ndim - 2
    if _is_whole(params, x) and dtype.name in SINGLE and 0 not in x.shape:
        index = written(b, _first_of_whole, x, dtype=out(step, 1)[1])
        return _global(b, "GlobalMaxPool", x, shape), index
    plain = dtype.name == "bfloat16" or kernels.runs("MaxPool", dtype)
    if not plain or rank > _POOLED_AXES or dims.product(shape) == 0:
        y, index = by_taps(b, taps.max_pool, step, x)
        return y, index
    order = channels_first(x.ndim)
    x = b.ordered(x, order)
    widths = params["padding"]
    places = paddings(b, step, params["window"], x.shape[1:-1])
    spatial = x.shape[1:-1]
    if places is None:
        x, pads = padded(b, x, widths)
        places = {"pads": pads}
        cropped = x.shape[1:-1] != spatial
        lows = pads[:rank]
    else:
        cropped, lows = False, [low for low, _ in widths]
    attributes = {**_attributes(params), **places}
    y, flat = b.nodes_of(
        "MaxPool", [x], [(shape, dtype), (shape, np.int64)], orders=[order] * 2, **attributes
    )
    # The position counts from the first element of the first image.
    size = b.reshape(b.size(dims.product(x.shape[1:-1])), ())
    flat = b.node("Mod", [flat, size], shape, np.int64, order=order)
    index = written(
        b,
        _window_places,
        flat,
        spatial=x.shape[1:-1],
        lows=lows,
        window=params["window"],
        strides=params["strides"],
        spread=params.get("dilation") or (1,) * rank,
    )
    index = b.cast(index, out(step, 1)[1])
    own = {field.name: getattr(index, field.name) for field in fields(Value)}
    return y, Places(**own, flat=None if cropped else flat)


def _window_places(
    flat: Any, *, spatial: Any, lows: Any, window: Any, strides: Any, spread: Any
) -> Any:
    """Positions in the window from flat positions in the image."""
    found: Any = 0
    below = 1
    for axis in reversed(range(len(spatial))):
        coordinate, flat = _digit(flat, spatial[axis], axis)
        start = np.arange(flat.shape[axis + 1]) * strides[axis] - lows[axis]
        offset = _along(axis, coordinate, start, np.subtract)
        if spread[axis] != 1:
            offset = offset // spread[axis]
        found = found + (offset * below if below != 1 else offset)
        below *= window[axis]
    return found


def _image_places(
    index: Any, *, spatial: Any, lows: Any, window: Any, strides: Any, spread: Any
) -> Any:
    """Flat positions in the image from positions in the window."""
    rest = index.astype(np.int64)
    found: Any = 0
    below = 1
    for axis in reversed(range(len(spatial))):
        offset, rest = _digit(rest, window[axis], axis)
        start = np.arange(index.shape[axis + 1]) * strides[axis] - lows[axis]
        if spread[axis] != 1:
            offset = offset * spread[axis]
        coordinate = _along(axis, offset, start, np.add)
        found = found + (coordinate if axis == len(spatial) - 1 else coordinate * below)
        below = below * spatial[axis]
    return found


def _digit(number: Any, base: int, axis: int) -> tuple[Any, Any]:
    """The last digit of a number and the rest; of the first axis all that is left."""
    return (number % base, number // base) if axis else (number, number)


def _along(axis: int, x: Any, vector: Any, combine: Any) -> Any:
    """x combined with a vector along a spatial axis."""
    moved = combine(np.moveaxis(x, axis + 1, -1), vector)
    return np.moveaxis(moved, -1, axis + 1)


def _flat_places(b: Builder, index: Value, params: dict[str, Any], spatial: Any) -> Value:
    """(N, C, outputs): which element of its image each output shows."""
    flat = index.flat if isinstance(index, Places) else None
    if flat is None:
        flat = written(
            b,
            _image_places,
            index,
            spatial=tuple(spatial),
            lows=[low for low, _ in params["padding"]],
            window=params["window"],
            strides=params["strides"],
            spread=params.get("dilation") or (1,) * len(params["window"]),
        )
    return _rows(b, flat)


def _rows(b: Builder, x: Value) -> Value:
    """(N, *spatial, C) as (N, C, elements)."""
    x = b.ordered(x, channels_first(x.ndim))
    shape = (x.shape[0], x.shape[-1], dims.product(x.shape[1:-1]))
    return b.reshape(x.reordered(x.order), shape)


def _image(b: Builder, rows: Value, shape: Sequence[Size]) -> Value:
    """(N, C, elements) as (N, *spatial, C)."""
    y = b.reshape(rows, (shape[0], shape[-1], *shape[1:-1]))
    return y.reordered((0, *range(2, y.ndim), 1))


@lowers("max_pool_gather")
def _max_pool_gather(b: Builder, step: Step, t: Value, index: Value) -> Value:
    shape, dtype = out(step)
    places = _flat_places(b, index, step.params, t.shape[1:-1])
    rows = _rows(b, t)
    y = b.node("GatherElements", [rows, places], places.shape, dtype, typed=(0,), axis=2)
    return _image(b, y, shape)


@lowers("max_pool_scatter")
def _max_pool_scatter(b: Builder, step: Step, g: Value, index: Value) -> Value:
    shape, dtype = out(step)
    spatial = step.params["input_shape"]
    places = _flat_places(b, index, step.params, spatial)
    zeros = b.expand(b.constant(0, dtype), (shape[0], shape[-1], dims.product(spatial)))
    apart = all(k <= s for k, s in zip(step.params["window"], step.params["strides"], strict=True))
    rows = b.node(
        "ScatterElements",
        [zeros, places, _rows(b, g)],
        zeros.shape,
        dtype,
        typed=(0, 2),
        axis=2,
        reduction=None if apart else "add",
    )
    return _image(b, rows, shape)
