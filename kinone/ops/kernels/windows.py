"""Padded regions and sliding windows: what convolution and pooling share.

Output position o and tap t of a window read input position `o * stride + t * dilation - low`; what
lies outside the input is the padding. `low` may be negative (cropping).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .scratch import Array, scratch

Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]
# (image, image_end, row, row_end): some images, some rows of each.
Block = tuple[int, int, int, int]


def output_shape(
    spatial: Sizes, kernel: Sizes, strides: Sizes, padding: Padding, dilation: Sizes
) -> Sizes:
    """Positions of a window in a padded input, rounded down; a window that does not fit gives 0."""
    return tuple(
        max((size + low + high - step * (taps - 1) - 1) // stride + 1, 0)
        for size, taps, stride, (low, high), step in zip(
            spatial, kernel, strides, padding, dilation, strict=True
        )
    )


def blocks(images: int, rows: int, row_bytes: int, budget: int, parts: int = 1) -> Iterator[Block]:
    """Cut images x rows into even blocks of at most `budget` bytes: several images, or rows of one.

    `parts`: for work that threads share, make the number of blocks a multiple (of 2, whatever the
    number of cores: the bits must not depend on it), unless there is very little work.
    """
    image_bytes = rows * row_bytes
    if image_bytes * images * 8 < budget:
        parts = 1
    if image_bytes <= budget and images >= parts:
        for image, image_end in _cuts(images, budget // max(image_bytes, 1), parts):
            yield image, image_end, 0, rows
        return
    for image in range(images):
        for row, row_end in _cuts(rows, budget // max(row_bytes, 1), parts):
            yield image, image + 1, row, row_end


def _cuts(count: int, most: int, parts: int) -> Iterator[tuple[int, int]]:
    """Even consecutive ranges of at most `most`, their number a multiple of `parts` if possible."""
    pieces = -(-count // max(most, 1))
    pieces = -(-pieces // parts) * parts
    step = max(-(-count // max(pieces, 1)), 1)
    for start in range(0, count, step):
        yield start, min(start + step, count)


def region(x: Array, start: Sizes, length: Sizes, fill: float, dtype: np.dtype[Any]) -> Array:
    """x[:, start : start + length] in every spatial dimension, `fill` where that leaves x.

    A view of x if it lies inside, has that dtype and rows contiguous in memory; else in scratch
    memory, valid until the next call on this thread.
    """
    sizes = x.shape[1:-1]
    inside = all(
        first >= 0 and first + extent <= size
        for first, extent, size in zip(start, length, sizes, strict=True)
    )
    contiguous = x.strides[-2:] == (x.shape[-1] * x.itemsize, x.itemsize)
    if inside and contiguous and x.dtype == dtype:
        cut = tuple(
            slice(first, first + extent) for first, extent in zip(start, length, strict=True)
        )
        return x[:, *cut]
    padded = scratch("region", (x.shape[0], *length, x.shape[-1]), dtype)
    source: list[slice] = [slice(None)]
    target: list[slice] = [slice(None)]
    for first, extent, size in zip(start, length, sizes, strict=True):
        low = min(max(-first, 0), extent)
        high = max(min(size - first, extent), low)
        # Slabs that leave x in this dimension; earlier dimensions are already cut to their inside.
        padded[*target, :low] = fill
        padded[*target, high:] = fill
        target.append(slice(low, high))
        source.append(slice(first + low, first + high))
    np.copyto(padded[*target], x[*source], casting="same_kind")
    return padded


def windows(padded: Array, out: Sizes, kernel: Sizes, strides: Sizes, dilation: Sizes) -> Array:
    """A view (N, *out, *kernel, C) of the windows of a region that begins at the first window."""
    steps = padded.strides[1:-1]
    return as_strided(
        padded,
        (padded.shape[0], *out, *kernel, padded.shape[-1]),
        (
            padded.strides[0],
            *(step * stride for step, stride in zip(steps, strides, strict=True)),
            *(step * spread for step, spread in zip(steps, dilation, strict=True)),
            padded.strides[-1],
        ),
    )


def block_windows(
    x: Array,
    block: Block,
    out: Sizes,
    kernel: Sizes,
    strides: Sizes,
    low: Sizes,
    dilation: Sizes,
    fill: float,
    dtype: np.dtype[Any],
) -> Array:
    """The windows of one of `blocks` of images x output rows: (n, rows, *out[1:], *kernel, C)."""
    image, image_end, row, row_end = block
    out = (row_end - row, *out[1:])
    start = [-pad for pad in low]
    start[0] += row * strides[0]
    length = tuple(
        (count - 1) * stride + (taps - 1) * spread + 1
        for count, stride, taps, spread in zip(out, strides, kernel, dilation, strict=True)
    )
    padded = region(x[image:image_end], tuple(start), length, fill, dtype)
    return windows(padded, out, kernel, strides, dilation)
