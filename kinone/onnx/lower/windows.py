"""Convolutions: ONNX has them channels-first, and so they are written; pools are, too.

The operand is asked for in the order (N, C, *spatial), the result lies in that order, see
`export.values`. So between convolutions there is no Transpose, whatever the program's layout.
Types and numbers of dimensions that ONNX Runtime has no kernel for are written tap by tap, `taps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..export import dims
from ..export.builder import Builder
from ..export.dims import Dim, Size
from ..export.merge import Step
from ..export.rules import lowers, through
from ..export.values import Value
from . import taps
from .common import out

SINGLE = ("float16", "float32", "bfloat16")


def channels_first(ndim: int) -> tuple[int, ...]:
    """The order in which the axes of (N, *spatial, C) lie as (N, C, *spatial)."""
    return (0, ndim - 1, *range(1, ndim - 1))


def kernel_first(ndim: int) -> tuple[int, ...]:
    """The order in which the axes of (*kernel, C, K) lie as (K, C, *kernel)."""
    return (ndim - 1, ndim - 2, *range(ndim - 2))


def padded(b: Builder, x: Value, widths: Sequence[tuple[int, int]]) -> tuple[Value, list[int]]:
    """The operand, cropped where padding is negative, and ONNX's `pads`, none of them negative."""
    starts = [max(-low, 0) for low, _ in widths]
    ends = [max(-high, 0) for _, high in widths]
    if any(starts) or any(ends):
        axes = [i + 1 for i in range(len(widths)) if starts[i] or ends[i]]
        shape = list(x.shape)
        for axis in axes:
            shape[axis] = shape[axis] - starts[axis - 1] - ends[axis - 1]
        stops = [-ends[axis - 1] if ends[axis - 1] else np.iinfo(np.int64).max for axis in axes]
        x = b.node(
            "Slice",
            [
                x,
                b.ints(*[starts[axis - 1] for axis in axes]),
                b.ints(*[int(stop) for stop in stops]),
                b.ints(*[x.order.index(axis) for axis in axes]),
            ],
            shape,
            x.dtype,
            order=x.order,
            typed=(0,),
        )
    pads = [max(low, 0) for low, _ in widths] + [max(high, 0) for _, high in widths]
    return x, pads


def pads_vary(params: dict[str, Any]) -> bool:
    return any(isinstance(width, Dim) for pair in params["padding"] for width in pair)


def by_taps(b: Builder, rule: Any, step: Step, *operands: Value) -> tuple[Value, ...]:
    """Writes a function of `taps`."""
    params = {key: value for key, value in step.params.items() if value is not None}
    if pads_vary(params):
        raise b.error(
            f"the padding of {step.primitive.name} varies with a dynamic size, which in "
            f"{out(step)[1]} has no ONNX form: pad with numbers, or make the size a fixed one"
        )
    shapes = [x.shape for x in operands] + [variable.aval.shape for variable in step.outputs]
    varies = any(isinstance(size, Dim) for shape in shapes for size in shape[1:-1])
    return through(b, rule, *operands, **params, varies=varies)


def paddings(
    b: Builder, step: Step, window: Sequence[int], shape: Sequence[Size]
) -> dict[str, Any] | None:
    """`auto_pad` where the padding follows a size that varies, as "SAME" does; else None."""
    params = step.params
    if not pads_vary(params):
        return None
    strides, widths = params["strides"], params["padding"]
    spread = params.get("dilation") or (1,) * len(window)
    for n, k, s, d, (low, high) in zip(shape, window, strides, spread, widths, strict=True):
        rows = b.symbols.count
        each = zip(*[dims.spread(size, rows) for size in (n, low, high)], strict=True)
        for size, before, after in each:
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            if (before, after) != (total // 2, total - total // 2):
                raise b.error(
                    f"the padding of {step.primitive.name} varies with a dynamic size, and is not "
                    '"SAME": pad with numbers, or make the size a fixed one'
                )
    return {"auto_pad": "SAME_UPPER"}


# ---- convolution and its two transposes ----------------------------------------------------------


@lowers("conv")
def _conv(b: Builder, step: Step, x: Value, w: Value) -> Value:
    shape, dtype = out(step)
    params = step.params
    x, w = b.cast(x, dtype), b.cast(w, dtype)
    if dtype.name not in SINGLE or dims.product(shape) == 0:
        (y,) = by_taps(b, taps.conv, step, x, w)
        return y
    order = channels_first(x.ndim)
    x = b.ordered(x, order)
    places = paddings(b, step, [int(k) for k in w.shape[:-2]], x.shape[1:-1])
    if places is None:
        x, pads = padded(b, x, params["padding"])
        places = {"pads": pads}
    return b.node(
        "Conv",
        [x, b.ordered(w, kernel_first(w.ndim))],
        shape,
        dtype,
        order=order,
        kernel_shape=[int(n) for n in w.shape[:-2]],
        strides=list(params["strides"]),
        dilations=list(params["dilation"]),
        group=params["groups"],
        **places,
    )


@lowers("conv_transpose")
def _conv_transpose(b: Builder, step: Step, g: Value, w: Value) -> Value:
    shape, dtype = out(step)
    params = step.params
    strides, dilation = params["strides"], params["dilation"]
    g, w = b.cast(g, dtype), b.cast(w, dtype)
    # What is beyond the result at its ends, as ONNX's pads; negative where zeros are to be added.
    pads: list[tuple[Size, Size]] = [
        (low, (n - 1) * s + (k - 1) * d + 1 - low - length)
        for n, k, s, d, length, (low, _) in zip(
            g.shape[1:-1],
            w.shape[:-2],
            strides,
            dilation,
            params["input_shape"],
            params["padding"],
            strict=True,
        )
    ]
    varies = any(isinstance(end, Dim) for pair in pads for end in pair)
    if dtype.name not in SINGLE or varies or 0 in (*g.shape, *shape):
        (y,) = by_taps(b, taps.conv_transpose, step, g, w)
        return y
    order = channels_first(g.ndim)
    ends = [(int(low), int(high)) for low, high in pads]
    kept = [
        (length if low >= 0 else length + low, max(low, 0), max(high, 0), max(-high, 0))
        for length, (low, high) in zip(params["input_shape"], ends, strict=True)
    ]
    # ONNX Runtime wants output_padding to be less than the stride.
    extra = [e if e < s else 0 for (_, _, _, e), s in zip(kept, strides, strict=True)]
    widths = [
        (max(-low, 0), e - given)
        for (low, _), (_, _, _, e), given in zip(ends, kept, extra, strict=True)
    ]
    inner = [n - low - high for n, (low, high) in zip(params["input_shape"], widths, strict=True)]
    y = b.node(
        "ConvTranspose",
        [b.ordered(g, order), b.ordered(w, kernel_first(w.ndim))],
        (shape[0], *inner, shape[-1]),
        dtype,
        order=order,
        kernel_shape=[int(n) for n in w.shape[:-2]],
        strides=list(strides),
        dilations=list(dilation),
        group=params["groups"],
        pads=[low for _, low, _, _ in kept] + [high for _, _, high, _ in kept],
        output_padding=extra if any(extra) else None,
    )
    return _zeros_around(b, y, widths, shape)


def _zeros_around(
    b: Builder, y: Value, widths: Sequence[tuple[int, int]], shape: Sequence[Size]
) -> Value:
    if not any(low or high for low, high in widths):
        return y
    whole = [(0, 0), *widths, (0, 0)]
    ends = [whole[axis][0] for axis in y.order] + [whole[axis][1] for axis in y.order]
    return b.node("Pad", [y, b.ints(*ends)], shape, y.dtype, order=y.order, typed=(0,))


@lowers("conv_kernel")
def _conv_kernel(b: Builder, step: Step, x: Value, g: Value) -> Value:
    """The gradient of the kernel is a convolution of the images with the cotangents, in which the
    examples are the channels, and strides and dilations change places."""
    _shape, dtype = out(step)
    params = step.params
    groups, kernel = params["groups"], params["kernel_shape"]
    x, g = b.cast(x, dtype), b.cast(g, dtype)
    pads = [
        (low, (o - 1) * s + (k - 1) * d + 1 - n - low)
        for n, o, k, s, d, (low, _) in zip(
            x.shape[1:-1],
            g.shape[1:-1],
            kernel,
            params["strides"],
            params["dilation"],
            params["padding"],
            strict=True,
        )
    ]
    varies = any(isinstance(end, Dim) for pair in pads for end in pair)
    if dtype.name not in SINGLE or varies or 0 in (*x.shape, *g.shape):
        (y,) = by_taps(b, taps.conv_kernel, step, x, g)
        return y
    images, spatial, channels = x.shape[0], x.shape[1:-1], x.shape[-1]
    features = g.shape[-1]
    last = x.ndim - 1
    # Images: (C, N, *spatial), of groups (C / groups, groups · N, *spatial).
    x, ends = padded(b, x, pads)
    spatial = x.shape[1:-1]
    if groups > 1:
        x = b.ordered(x, channels_first(x.ndim))
        x = b.reshape(x.reordered(x.order), (images, groups, channels // groups, *spatial))
        x = b.ordered(x, (2, 1, 0, *range(3, x.ndim)))
        x = b.reshape(x.reordered(x.order), (channels // groups, groups * images, *spatial))
    else:
        x = b.ordered(x, (last, 0, *range(1, last)))
        x = x.reordered(x.order)
    g = b.ordered(g, (last, 0, *range(1, last)))
    y = b.node(
        "Conv",
        [x, g.reordered(g.order)],
        (channels // groups, features, *kernel),
        dtype,
        strides=list(params["dilation"]),
        dilations=list(params["strides"]),
        pads=ends,
        group=groups,
    )
    return y.reordered((*range(2, y.ndim), 0, 1))
