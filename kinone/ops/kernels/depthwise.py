"""Depthwise convolution (one input channel per group): a sum over taps of shifted, scaled slices.

A GEMM has nothing to do here: each channel has its own small kernel, so memory traffic decides. Rows
are taken in blocks that stay in cache while every tap is added to them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from .parallel import for_each
from .scratch import Array, scratch
from .windows import Block, Sizes, block_windows, blocks

_BLOCK = 256 << 10


def correlate(x: Array, w: Array, y: Array, strides: Sizes, low: Sizes, dilation: Sizes) -> None:
    """Fill y (N, *out, C * multiplier) from x (N, *spatial, C) and w (*kernel, 1, C * multiplier)."""
    kernel, out = w.shape[:-2], y.shape[1:-1]
    x = _repeated(x, w.shape[-1])
    work = np.dtype(np.float32) if y.dtype == np.float16 else y.dtype
    taps = w.astype(work, copy=False).reshape(*kernel, w.shape[-1])
    row_bytes = math.prod(y.shape[2:]) * work.itemsize

    def compute(block: Block) -> None:
        image, image_end, row, row_end = block
        target = y[image:image_end, row:row_end]
        view = block_windows(x, block, out, kernel, strides, low, dilation, 0, work)
        total = target if target.dtype == work else scratch("total", target.shape, work)
        product = scratch("product", target.shape, work)
        everywhere = (slice(None),) * (target.ndim - 1)
        for number, tap in enumerate(itertools.product(*(range(size) for size in kernel))):
            shifted = view[*everywhere, *tap]
            if number == 0:
                np.multiply(shifted, taps[tap], out=total)
            else:
                np.multiply(shifted, taps[tap], out=product)
                np.add(total, product, out=total)
        if total is not target:
            np.copyto(target, total, casting="same_kind")

    for_each(compute, list(blocks(y.shape[0], out[0], row_bytes, _BLOCK, 2)))


def weight_gradient(
    x: Array, g: Array, kernel: Sizes, strides: Sizes, low: Sizes, dilation: Sizes
) -> Array:
    """dw (*kernel, 1, C * multiplier) from x and g (N, *out, C * multiplier)."""
    channels, out = g.shape[-1], g.shape[1:-1]
    x = _repeated(x, channels)
    work = np.result_type(x, g, np.float32)
    row_bytes = math.prod(g.shape[2:]) * work.itemsize
    pieces = list(blocks(g.shape[0], out[0], row_bytes, _BLOCK, 2))
    partial = np.empty((len(pieces), *kernel, channels), work)

    def compute(numbered: tuple[int, Block]) -> None:
        number, block = numbered
        image, image_end, row, row_end = block
        cotangents = g[image:image_end, row:row_end]
        view = block_windows(x, block, out, kernel, strides, low, dilation, 0, work)
        product = scratch("product", cotangents.shape, work)
        flat = product.reshape(-1, channels)
        everywhere = (slice(None),) * (cotangents.ndim - 1)
        for tap in itertools.product(*(range(size) for size in kernel)):
            np.multiply(view[*everywhere, *tap], cotangents, out=product)
            np.add.reduce(flat, 0, out=partial[number, *tap])

    for_each(compute, list(enumerate(pieces)))
    return partial.sum(0).reshape(*kernel, 1, channels)


def _repeated(x: Array, channels: int) -> Array:
    """Each input channel once for every output channel that reads it."""
    return x if x.shape[-1] == channels else np.repeat(x, channels // x.shape[-1], axis=-1)
