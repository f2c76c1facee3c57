"""Depthwise convolution: one input channel per group.

Each channel has its own small kernel, so there is nothing for a GEMM to do. `np.einsum`, which must
not touch the heavy part of other convolutions, is right here: over a view of the windows it runs
one multiply-add loop in C, without the GIL, on blocks that stay in cache.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...core import is_bfloat16
from .parallel import for_each
from .scratch import Array, scratch
from .windows import Block, Sizes, block_windows, blocks

# Bytes of a block of outputs; for smaller ones the calls themselves begin to count.
_BLOCK = 512 << 10
# Bytes that the taps may take when repeated along a row.
_TAPS = 2 << 20


def correlate(x: Array, w: Array, y: Array, strides: Sizes, low: Sizes, dilation: Sizes) -> None:
    """Fill y (N, *out, C * m) from x (N, *spatial, C) and w (*kernel, 1, C * m)."""
    kernel, out = w.shape[:-2], y.shape[1:-1]
    x = _repeated(x, w.shape[-1])
    narrow = y.dtype == np.float16 or is_bfloat16(y.dtype)
    work = np.dtype(np.float32) if narrow else y.dtype
    taps = np.ascontiguousarray(w, work).reshape(*kernel, 1, w.shape[-1])
    widen = strides[-1] == 1 and taps.nbytes * out[-1] <= _TAPS
    taps = np.repeat(taps, out[-1] if widen else 1, axis=-2).reshape(*kernel, -1)
    positions, offsets, row = _axes(len(kernel))
    windows = [*positions, *offsets, row]

    def compute(block: Block) -> None:
        image, image_end, top, bottom = block
        target = y[image:image_end, top:bottom]
        view = block_windows(x, block, out, kernel, strides, low, dilation, 0, work)
        view, wide = _widened(view) if widen else (view, view.shape[-1])
        direct = target.dtype == work and target.flags.c_contiguous
        total = target if direct else scratch("total", target.shape, work)
        flat = total.reshape(*total.shape[:-2], -1, wide)
        # A block of a one-dimensional image is a part of its only row.
        np.einsum(view, windows, taps[..., :wide], [*offsets, row], [*positions, row], out=flat)
        if not direct:
            np.copyto(target, total, casting="same_kind")

    row_bytes = math.prod(y.shape[2:]) * work.itemsize
    for_each(compute, list(blocks(y.shape[0], out[0], row_bytes, _BLOCK, 2)))


def weight_gradient(
    x: Array, g: Array, kernel: Sizes, strides: Sizes, low: Sizes, dilation: Sizes
) -> Array:
    """dw (*kernel, 1, C * m) from x (N, *spatial, C) and g (N, *out, C * m)."""
    channels, out = g.shape[-1], g.shape[1:-1]
    x = _repeated(x, channels)
    work = np.result_type(x, g, np.float32)
    row_bytes = math.prod(g.shape[2:]) * work.itemsize
    pieces = list(blocks(g.shape[0], out[0], row_bytes, _BLOCK, 2))
    partial = np.empty((len(pieces), *kernel, channels), work)
    positions, offsets, row = _axes(len(kernel))
    windows = [*positions, *offsets, row]

    def compute(numbered: tuple[int, Block]) -> None:
        number, block = numbered
        image, image_end, top, bottom = block
        cotangents = np.ascontiguousarray(g[image:image_end, top:bottom], work)
        view = block_windows(x, block, out, kernel, strides, low, dilation, 0, work)
        view, wide = _widened(view) if strides[-1] == 1 else (view, channels)
        flat = cotangents.reshape(*cotangents.shape[:-2], -1, wide)
        sums = np.einsum(view, windows, flat, [*positions, row], [*offsets, row])
        np.add.reduce(sums.reshape(*kernel, -1, channels), -2, out=partial[number])

    for_each(compute, list(enumerate(pieces)))
    dw: Array = partial.sum(0).reshape(*kernel, 1, channels)
    return dw


def _axes(rank: int) -> tuple[list[int], list[int], int]:
    """einsum's axes of a view of windows: (image and outputs, taps, channels or wide row)."""
    return list(range(rank + 1)), list(range(rank + 1, 2 * rank + 1)), 2 * rank + 1


def _widened(view: Array) -> tuple[Array, int]:
    """Windows (n, *out, *kernel, C) of stride 1 with the last of `out` moved into the channels.

    Neighbouring outputs read neighbouring memory, at every tap: the inner loop gets out * C
    elements long. That dimension of `out` stays, with size 1.
    """
    rank, channels = view.ndim // 2 - 1, view.shape[-1]
    wide = view.shape[rank] * channels
    shape = (*view.shape[:rank], 1, *view.shape[rank + 1 : -1], wide)
    return as_strided(view, shape, view.strides), wide


def _repeated(x: Array, channels: int) -> Array:
    """Each input channel once for every output channel that reads it."""
    return x if x.shape[-1] == channels else np.repeat(x, channels // x.shape[-1], axis=-1)
