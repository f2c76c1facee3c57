"""Max and average pooling with their gradients, channels last, any number of spatial dimensions.

Everything is a loop over the taps of a window: one tap's inputs, for all outputs, are one strided
slice. Threads share the images (or their rows), in blocks that stay in cache from tap to tap.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...core import is_bfloat16
from .parallel import for_blocks, for_each
from .scratch import Array, scratch
from .windows import Block, Padding, Sizes, block_windows, blocks, output_shape

# Bytes of a block of outputs, or of inputs where those are what is written.
_BLOCK = 1 << 20
_INPUT_BLOCK = 2 << 20
# Bytes of the integers that may stand for a number's bits; complex128 and longdouble have more.
_INTEGER_SIZES = (1, 2, 4, 8)


def max_pool(
    x: Array, *, window: Sizes, strides: Sizes, padding: Padding, dilation: Sizes | None = None
) -> tuple[Array, Array]:
    """(y, index): the maximum of each window and the flat position of its first occurrence.

    Padding counts as minus infinity, and is never the position as long as the window holds any
    input. NaN wins, and the first NaN is the one found (np.argmax's rule).

    Raises `TypeError` for a dtype that is not of numbers or booleans.
    """
    if x.dtype.kind not in "biufc" and not is_bfloat16(x.dtype):
        raise TypeError(
            f"max_pool takes booleans, integers, floating-point and complex numbers, not {x.dtype}"
        )
    dilation = dilation or (1,) * len(window)
    out = output_shape(x.shape[1:-1], window, strides, padding, dilation)
    y = np.empty((x.shape[0], *out, x.shape[-1]), x.dtype)
    index = np.empty(y.shape, np.min_scalar_type(max(math.prod(window) - 1, 0)))
    lowest = _lowest(x.dtype)
    low = tuple(pad for pad, _ in padding)
    first_inside = _first_inside(x.shape[1:-1], out, window, strides, padding, dilation)
    first_inside = first_inside.astype(index.dtype)

    def compute(block: Block) -> None:
        image, image_end, row, row_end = block
        best, found = y[image:image_end, row:row_end], index[image:image_end, row:row_end]
        view = block_windows(x, block, out, window, strides, low, dilation, lowest, x.dtype)
        slices = list(_tap_slices(view, window))
        np.copyto(best, slices[0])
        for tap in slices[1:]:
            np.maximum(best, tap, out=best)
        _first_equal(slices, best, found)
        # The window's maximum is what padding counts as: so is every input in it.
        np.copyto(found, first_inside[row:row_end], where=best == lowest)

    row_bytes = math.prod(y.shape[2:]) * y.itemsize
    if y.size:
        for_each(compute, list(blocks(y.shape[0], out[0], row_bytes, _BLOCK, 2)))
    return y, index


def max_pool_gather(
    t: Array,
    index: Array,
    *,
    window: Sizes,
    strides: Sizes,
    padding: Padding,
    dilation: Sizes | None = None,
) -> Array:
    """The values of t (shaped like max_pool's x) at the chosen positions: (N, *out, C)."""
    chosen = np.zeros(index.shape, t.dtype)
    taps = _taps(t.shape[1:-1], index.shape[1:-1], window, strides, padding, dilation)

    def compute(images: slice) -> None:
        for number, target, source in taps:
            where = index[images][target] == number
            part = chosen[images][target]
            if t.itemsize in _INTEGER_SIZES:
                part = _as_bits(part)
                np.bitwise_or(part, _where(where, t[images][source]), out=part)
            else:
                np.copyto(part, t[images][source], where=where)

    for_blocks(compute, len(index), _images_in_block(t))
    return chosen


def max_pool_scatter(
    g: Array,
    index: Array,
    *,
    input_shape: Sizes,
    window: Sizes,
    strides: Sizes,
    padding: Padding,
    dilation: Sizes | None = None,
) -> Array:
    """dx (N, *input_shape, C): each g added at its window's chosen position."""
    dx = np.empty((g.shape[0], *input_shape, g.shape[-1]), g.dtype)
    taps = _taps(input_shape, index.shape[1:-1], window, strides, padding, dilation)

    def compute(images: slice) -> None:
        dx[images] = 0
        for number, target, source in taps:
            where = index[images][target] == number
            part = dx[images][source]
            if g.itemsize in _INTEGER_SIZES:
                np.add(part, _where(where, g[images][target]).view(g.dtype), out=part)
            else:
                np.add(part, g[images][target], out=part, where=where)

    for_blocks(compute, len(dx), _images_in_block(dx))
    return dx


def _halves_summed_in_float32(run: Callable[..., Array]) -> Callable[..., Array]:
    @functools.wraps(run)
    def summed(x: Array, **options: Any) -> Array:
        if x.dtype == np.float16 or is_bfloat16(x.dtype):
            return run(x.astype(np.float32), **options).astype(x.dtype)
        return run(x, **options)

    return summed


@_halves_summed_in_float32
def avg_pool(
    x: Array, *, window: Sizes, strides: Sizes, padding: Padding, count_include_pad: bool
) -> Array:
    """The mean of each window; padding counts as zeros, or not at all."""
    out = output_shape(x.shape[1:-1], window, strides, padding, (1,) * len(window))
    y = np.empty((x.shape[0], *out, x.shape[-1]), np.result_type(x, np.float16))
    counts = _counts(x.shape[1:-1], out, window, strides, padding, count_include_pad)
    taps = _taps(x.shape[1:-1], out, window, strides, padding, None)

    def compute(images: slice) -> None:
        part = y[images]
        part[...] = 0
        for _, target, source in taps:
            np.add(part[target], x[images][source], out=part[target])
        np.divide(part, counts.astype(y.dtype), out=part)

    for_blocks(compute, len(y), _images_in_block(x))
    return y


@_halves_summed_in_float32
def avg_pool_gradient(
    g: Array,
    *,
    input_shape: Sizes,
    window: Sizes,
    strides: Sizes,
    padding: Padding,
    count_include_pad: bool,
) -> Array:
    """dx (N, *input_shape, C) from g (N, *out, C)."""
    out = g.shape[1:-1]
    counts = _counts(input_shape, out, window, strides, padding, count_include_pad)
    taps = _taps(input_shape, out, window, strides, padding, None)
    dx = np.empty((g.shape[0], *input_shape, g.shape[-1]), np.result_type(g, np.float16))

    def compute(images: slice) -> None:
        part = dx[images]
        part[...] = 0
        share = scratch("share", g[images].shape, dx.dtype)
        np.divide(g[images], counts.astype(dx.dtype), out=share)
        for _, target, source in taps:
            np.add(part[source], share[target], out=part[source])

    for_blocks(compute, len(dx), _images_in_block(dx))
    return dx


def _lowest(dtype: np.dtype[Any]) -> float:
    """What padding counts as."""
    if dtype.kind in "fc" or is_bfloat16(dtype):
        return -np.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def _first_equal(slices: list[Array], best: Array, found: Array) -> None:
    """Fill `found` with the number of the first slice that equals `best` (NaN equals NaN).

    A masked assignment for each tap is slow; small unsigned integers are fast: 0 - 1 is the largest
    of them, "not equal", and a minimum keeps the first.
    """
    one = found.dtype.type(1)
    found[...] = np.iinfo(found.dtype).max
    equal = scratch("equal", best.shape, np.dtype(np.bool))
    candidate = scratch("candidate", found.shape, found.dtype)
    has_nan = bool(np.isnan(best).any())
    for number, tap in enumerate(slices):
        np.equal(tap, best, out=equal)
        if has_nan:
            np.logical_or(equal, np.isnan(tap), out=equal)
        np.subtract(equal.view(np.uint8), one, out=candidate, dtype=found.dtype)
        np.bitwise_or(candidate, found.dtype.type(number), out=candidate)
        np.minimum(found, candidate, out=found)


def _where(condition: Array, values: Array) -> Array:
    """The bits of values where the condition holds, else of 0; scratch memory.

    A mask of all ones and an "and": 6 times as fast as np.where, whose branches cannot be
    predicted, and unlike a product with the condition it is right for infinity and NaN.
    """
    bits = _as_bits(values)
    mask = scratch("mask", bits.shape, bits.dtype)
    np.negative(condition.view(np.int8), out=mask, dtype=bits.dtype)
    return np.bitwise_and(mask, bits, out=mask)


def _as_bits(values: Array) -> Array:
    return values.view(f"i{values.itemsize}")


def _tap_slices(view: Array, window: Sizes) -> Iterator[Array]:
    """The windows (n, *out, *window, C) tap by tap: (n, *out, C) each."""
    rank = len(window)
    taps_first = np.moveaxis(view, range(rank + 1, 2 * rank + 1), range(rank))
    for tap in itertools.product(*(range(size) for size in window)):
        yield taps_first[tap]


def _taps(
    spatial: Sizes,
    out: Sizes,
    window: Sizes,
    strides: Sizes,
    padding: Padding,
    dilation: Sizes | None,
) -> list[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """For each tap that reads any input: (flat number, outputs that do, inputs that they read)."""
    found = []
    dilation = dilation or (1,) * len(window)
    for number, tap in enumerate(itertools.product(*(range(size) for size in window))):
        target, source = [slice(None)], [slice(None)]
        for position, size, count, stride, (low, _), spread in zip(
            tap, spatial, out, strides, padding, dilation, strict=True
        ):
            offset = position * spread - low
            first = max(-(offset // stride), 0)
            last = min((size - 1 - offset) // stride, count - 1)
            if last < first:
                break
            target.append(slice(first, last + 1))
            source.append(slice(first * stride + offset, last * stride + offset + 1, stride))
        else:
            found.append((number, tuple(target), tuple(source)))
    return found


def _first_inside(
    spatial: Sizes, out: Sizes, window: Sizes, strides: Sizes, padding: Padding, dilation: Sizes
) -> Array:
    """Each window's first position that is not padding (0 if there is none): (*out, 1)."""
    total: Array = np.zeros((1,) * (len(window) + 1), np.int64)
    for axis, (size, count, taps, stride, (low, _), spread) in enumerate(
        zip(spatial, out, window, strides, padding, dilation, strict=True)
    ):
        offset = np.arange(count) * stride - low
        tap = np.maximum(-(offset // spread), 0)
        tap = np.where((tap < taps) & (offset + tap * spread < size), tap, 0)
        shape = [1] * (len(window) + 1)
        shape[axis] = count
        total = total * taps + tap.reshape(shape)
    return total


def _counts(
    spatial: Sizes,
    out: Sizes,
    window: Sizes,
    strides: Sizes,
    padding: Padding,
    count_include_pad: bool,
) -> Array:
    """How many positions each mean divides by: (*out, 1)."""
    total: Array = np.ones((1,) * (len(window) + 1), np.int64)
    for axis, (size, count, taps, stride, (low, high)) in enumerate(
        zip(spatial, out, window, strides, padding, strict=True)
    ):
        first = np.arange(count) * stride - low
        bounds = (-low, size + high) if count_include_pad else (0, size)
        inside = np.minimum(first + taps, bounds[1]) - np.maximum(first, bounds[0])
        shape = [1] * (len(window) + 1)
        shape[axis] = count
        total = total * np.maximum(inside, 0).reshape(shape)
    return np.maximum(total, 1)


def _images_in_block(x: Array) -> int:
    image_bytes: int = math.prod(x.shape[1:]) * x.itemsize
    return max(min(_INPUT_BLOCK // max(image_bytes, 1), (len(x) + 1) // 2), 1)
