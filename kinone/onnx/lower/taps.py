"""Windows tap by tap: sums and maxima of slices, in the plain functions of NumPy.

A convolution is a sum over the kernel's elements, each of which sees a strided slice of the image.
So it is written where ONNX Runtime has no kernel: in float64, of integers, of many dimensions. The
functions here are traced, see `rules.through`; images are (N, *spatial, C).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...ops.conv import conv_transpose_p

Array = Any
Pads = Sequence[tuple[int, int]]


def widened(x: Array, pads: Pads, fill: Any = 0) -> Array:
    """The image with its padding; a negative one crops."""
    inner = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for n, (low, high) in zip(x.shape[1:-1], pads, strict=True)
    )
    x = x[(slice(None), *inner)]
    widths = [(max(low, 0), max(high, 0)) for low, high in pads]
    if not any(low or high for low, high in widths):
        return x
    if fill == 0:
        return np.pad(x, [(0, 0), *widths, (0, 0)])
    return np.pad(x, [(0, 0), *widths, (0, 0)], constant_values=fill)


def windows(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int],
    spread: Sequence[int],
    varies: bool,
    out: Sequence[int] = (),
) -> Iterator[Array]:
    """What the windows, as many as fit by default, have at each of their places: (N, *out, C).

    Where the image's size varies, one slice takes every stride-th element and one as many as there
    are windows: ONNX can compute that number, but not where the last window begins.
    """
    out = out or _lengths(x, window, strides, spread)
    for place in itertools.product(*map(range, window)):
        starts = [t * d for t, d in zip(place, spread, strict=True)]
        sizes = list(zip(starts, out, strides, strict=True))
        if varies:
            part = x[(slice(None), *[slice(start, None, s) for start, _, s in sizes])]
            yield part[(slice(None), *[slice(0, n) for n in out])]
        else:
            parts = [slice(start, start + (n - 1) * s + 1, s) for start, n, s in sizes]
            yield x[(slice(None), *parts)]


def _length(n: int, k: int, stride: int, spread: int) -> int:
    return (n - (k - 1) * spread - 1) // stride + 1


def _lengths(x: Array, window: Any, strides: Any, spread: Any) -> tuple[int, ...]:
    sizes = zip(x.shape[1:-1], window, strides, spread, strict=True)
    return tuple([_length(*each) for each in sizes])


def conv(
    x: Array,
    w: Array,
    *,
    strides: Any,
    padding: Pads,
    dilation: Any,
    groups: int,
    varies: bool = False,
) -> Array:
    """The convolution, as one product of all taps with the kernel: `ops.conv`'s primitive."""
    window, (inner, features) = w.shape[:-2], w.shape[-2:]
    x = widened(x, padding)
    out = _lengths(x, window, strides, dilation)
    taps = list(windows(x, window, strides, dilation, varies))
    if groups == 1:
        rows = taps[0] if len(taps) == 1 else np.concatenate(taps, axis=-1)
        return rows @ np.reshape(w, (-1, features))
    images, rest = x.shape[0], features // groups
    if inner == 1 and rest == 1:
        parts = zip(taps, itertools.product(*map(range, window)), strict=True)
        return total([part * w[place][0] for part, place in parts])
    taps = [np.reshape(part, (images, *out, groups, 1, inner)) for part in taps]
    rows = taps[0] if len(taps) == 1 else np.concatenate(taps, axis=-1)
    kernel = np.reshape(w, (-1, inner, groups, rest))
    kernel = np.reshape(np.transpose(kernel, (2, 0, 1, 3)), (groups, -1, rest))
    return np.reshape(rows @ kernel, (images, *out, features))


def total(parts: Sequence[Array]) -> Array:
    """Their sum."""
    y = parts[0]
    for part in parts[1:]:
        y = y + part
    return y


def conv_transpose(
    g: Array,
    w: Array,
    *,
    input_shape: Sequence[int],
    strides: Any,
    padding: Pads,
    dilation: Any,
    groups: int,
    varies: bool = False,
) -> Array:
    """The transpose in x: a convolution of what lies `strides` apart with the turned kernel."""
    window, (inner, features) = w.shape[:-2], w.shape[-2:]
    turned = np.flip(w, tuple(range(len(window))))
    turned = np.reshape(turned, (*window, inner, groups, features // groups))
    axes = len(window)
    turned = np.transpose(turned, (*range(axes), axes + 2, axes + 1, axes))
    turned = np.reshape(turned, (*window, features // groups, groups * inner))
    apart = spaced(g, strides)
    pads = []
    sizes = zip(apart.shape[1:-1], input_shape, window, dilation, padding, strict=True)
    for n, length, k, d, (low, _) in sizes:
        before = (k - 1) * d - low
        pads.append((before, length - n - before + (k - 1) * d))
    ones = (1,) * axes
    return conv(
        apart, turned, strides=ones, padding=pads, dilation=dilation, groups=groups, varies=varies
    )


def spaced(g: Array, strides: Sequence[int]) -> Array:
    """The image with zeros between its elements, which are `strides` apart."""
    for axis, stride in enumerate(strides, 1):
        n = g.shape[axis]
        if stride == 1 or n == 1:
            continue
        thin = np.reshape(g, (*g.shape[: axis + 1], 1, *g.shape[axis + 1 :]))
        thin = np.pad(thin, [(0, stride - 1 if i == axis + 1 else 0) for i in range(thin.ndim)])
        g = np.reshape(thin, (*g.shape[:axis], n * stride, *g.shape[axis + 1 :]))
        g = g[(*[slice(None)] * axis, slice(0, (n - 1) * stride + 1))]
    return g


def conv_kernel(
    x: Array,
    g: Array,
    *,
    kernel_shape: Sequence[int],
    strides: Any,
    padding: Pads,
    dilation: Any,
    groups: int,
    varies: bool = False,
) -> Array:
    """The transpose in w: for each tap what the images have there, times the cotangent."""
    out, features, channels = g.shape[1:-1], g.shape[-1], x.shape[-1]
    x = widened(x, padding)
    g = np.reshape(g, (-1, groups, features // groups))
    g = np.transpose(g, (1, 0, 2))
    found = []
    for part in windows(x, kernel_shape, strides, dilation, varies, out):
        part = np.reshape(part, (-1, groups, channels // groups))
        each = np.transpose(part, (1, 2, 0)) @ g  # (groups, C / groups, K / groups)
        found.append(np.reshape(np.transpose(each, (1, 0, 2)), (channels // groups, features)))
    return np.reshape(np.stack(found), (*kernel_shape, channels // groups, features))


def max_pool(
    x: Array,
    *,
    window: Any,
    strides: Any,
    padding: Pads,
    dilation: Any = None,
    varies: bool = False,
) -> tuple[Array, Array]:
    """The largest element of each window and its place there; NaN is larger than any number."""
    dtype = x.dtype
    least: Any = False
    if dtype.kind != "b":
        least = -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)
    spread = dilation or (1,) * len(window)
    x = widened(x, padding, least)
    best: Array = None
    where: Array = None
    for count, part in enumerate(windows(x, window, strides, spread, varies)):
        if best is None:
            best, where = part, np.zeros(part.shape, np.int64)
            continue
        larger = part > best
        if dtype.kind == "f":
            larger = larger | (np.isnan(part) & ~np.isnan(best))
        best = np.where(larger, part, best)
        where = np.where(larger, count, where)
    return best, where.astype(np.min_scalar_type(math.prod(window) - 1))


def avg_pool(
    x: Array,
    *,
    window: Any,
    strides: Any,
    padding: Pads,
    count_include_pad: bool,
    dilation: Any = None,
    varies: bool = False,
) -> Array:
    """The mean of each window."""
    spread = dilation or (1,) * len(window)
    summed = _summed(x, window, strides, padding, spread, varies)
    if _all_inside(padding, count_include_pad):
        return summed / np.asarray(math.prod(window), x.dtype)
    ones = np.ones((1, *x.shape[1:-1], 1), x.dtype) + 0 * x[:1, ..., :1]
    return summed / _summed(ones, window, strides, padding, spread, varies)


def _all_inside(padding: Pads, count_include_pad: bool) -> bool:
    """Whether each mean is of a whole window."""
    return count_include_pad or all(low <= 0 and high <= 0 for low, high in padding)


def _summed(x: Array, window: Any, strides: Any, padding: Pads, spread: Any, varies: bool) -> Array:
    return total(list(windows(widened(x, padding), window, strides, spread, varies)))


def avg_pool_spread(
    g: Array,
    *,
    input_shape: Sequence[int],
    window: Any,
    strides: Any,
    padding: Pads,
    count_include_pad: bool,
    dilation: Any = None,
    varies: bool = False,
) -> Array:
    """The transpose of averaging: each mean's share to all that it is the mean of."""
    spread = dilation or (1,) * len(window)
    if _all_inside(padding, count_include_pad):
        g = g * np.asarray(1 / math.prod(window), g.dtype)
    else:
        ones = np.ones((1, *input_shape, 1), g.dtype)
        g = g / _summed(ones, window, strides, padding, spread, varies)
    unpadded = not any(low or high for low, high in padding) and set(spread) == {1}
    if unpadded and all(
        k == s or n == 1 for k, s, n in zip(window, strides, g.shape[1:-1], strict=True)
    ):
        return _repeated(g, window, input_shape)
    channels = g.shape[-1]
    ones = np.ones((*window, 1, channels), g.dtype)
    return conv_transpose_p(
        g,
        ones,
        input_shape=tuple(input_shape),
        strides=strides,
        padding=padding,
        dilation=spread,
        groups=channels,
    )


def _repeated(g: Array, window: Sequence[int], input_shape: Sequence[int]) -> Array:
    """Each element in all places of its window, where windows do not overlap; zeros afterwards."""
    for axis, (k, length) in enumerate(zip(window, input_shape, strict=True), 1):
        n = g.shape[axis]
        thin = np.reshape(g, (*g.shape[: axis + 1], 1, *g.shape[axis + 1 :]))
        wide = np.broadcast_to(thin, (*g.shape[: axis + 1], k, *g.shape[axis + 1 :]))
        g = np.reshape(wide, (*g.shape[:axis], n * k, *g.shape[axis + 1 :]))
        if n * k < length:
            g = np.pad(g, [(0, length - n * k if i == axis else 0) for i in range(g.ndim)])
    return g
