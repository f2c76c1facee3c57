"""Convolution and its two gradients: im2col blocks that stay in cache, then BLAS.

All arrays are channels last, with one to three (or more) spatial dimensions:

    x (N, *spatial, C)    w (*kernel, C / groups, K)    y (N, *out, K)
    y[n, o, k] = sum over t, c of x[n, o * stride + t * dilation - low, c] * w[t, c, k]

The input gradient is again a convolution: one of stride 1 for each residue of the input position
modulo the stride. The weight gradient is one GEMM, accumulated over blocks.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...core import is_bfloat16
from . import depthwise, products, winograd
from .parallel import for_blocks, for_each
from .scratch import Array, scratch
from .toom_cook import Algorithm
from .windows import Block, Padding, Sizes, block_windows, blocks, output_shape

# Bytes of im2col columns that one thread makes at a time: they stay in its cache until multiplied.
_COLUMNS = 1 << 20
# Bytes of columns that the weight gradient keeps for its GEMM; each such block adds a whole dw.
_KEPT_COLUMNS = 8 << 20


def conv(
    x: Array, w: Array, *, strides: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Array:
    """y (N, *out, K) from x (N, *spatial, C) and w (*kernel, C // groups, K); no kernel flip."""
    out = output_shape(x.shape[1:-1], w.shape[:-2], strides, padding, dilation)
    y = np.empty((x.shape[0], *out, w.shape[-1]), np.result_type(x, w))
    low = tuple(pad for pad, _ in padding)
    _correlate(x, w, y, strides, low, dilation, groups)
    return y


def conv_input_gradient(
    g: Array,
    w: Array,
    *,
    input_shape: Sizes,
    strides: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Array:
    """dx (N, *input_shape, C) from g (N, *out, K): the transpose of `conv` in x.

    Input position i is read by output o at tap t when i + low = o * stride + t * dilation. For the
    positions of one residue r = (i + low) mod stride only the taps with t * dilation = r (mod
    stride) count, and over those it is a stride-1 convolution of g with the flipped kernel. No
    zeros are inserted and nothing is scattered.
    """
    kernel = w.shape[:-2]
    dx = np.empty((g.shape[0], *input_shape, w.shape[-2] * groups), np.result_type(g, w))
    work = _work_dtype(dx.dtype)
    if algorithm := _winograd(g.shape, kernel, dx.shape[-1], strides, dilation, groups, work):
        low = tuple(pad for pad, _ in padding)
        winograd.input_gradient(g, w.astype(work, copy=False), dx, low, algorithm)
        return dx
    turned = _swap_channels(w, groups)
    for residues in itertools.product(*(range(stride) for stride in strides)):
        phases = [
            _phase(*sizes)
            for sizes in zip(residues, input_shape, kernel, strides, padding, dilation, strict=True)
        ]
        target = dx[:, *(positions for positions, _, _, _ in phases)]
        taps = turned[*(selected for _, selected, _, _ in phases)]
        low = tuple(pad for _, _, pad, _ in phases)
        spread = tuple(step for _, _, _, step in phases)
        _correlate(g, taps, target, (1,) * len(kernel), low, spread, groups)
    return dx


def conv_weight_gradient(
    x: Array,
    g: Array,
    *,
    kernel_shape: Sizes,
    strides: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Array:
    """dw (*kernel_shape, C // groups, K) from x and g (N, *out, K)."""
    dtype = np.result_type(x, g)
    work = _work_dtype(dtype)
    out, features, channels = g.shape[1:-1], g.shape[-1], x.shape[-1]
    low = tuple(pad for pad, _ in padding)
    if g.size == 0 or x.size == 0:
        return np.zeros((*kernel_shape, channels // groups, features), dtype)
    if groups == channels > 1:
        dw = depthwise.weight_gradient(x, g, kernel_shape, strides, low, dilation)
        return dw.astype(dtype, copy=False)
    if algorithm := _winograd(g.shape, kernel_shape, channels, strides, dilation, groups, work):
        dw = winograd.weight_gradient(x, g, low, work, algorithm)
        return dw.astype(dtype, copy=False)
    depth = math.prod(kernel_shape) * (channels // groups)
    total = np.zeros((groups, depth, features // groups), work)
    row_bytes = math.prod(out[1:]) * depth * groups * work.itemsize
    for block in blocks(g.shape[0], out[0], row_bytes, _KEPT_COLUMNS):
        image, image_end, row, row_end = block
        images, rows = image_end - image, row_end - row
        columns = scratch("kept columns", (groups, images, rows, *out[1:], depth), work)
        kept = columns.reshape(*columns.shape[:-1], *kernel_shape, channels // groups)

        def gather(piece: Block, block: Block = block, kept: Array = kept) -> None:
            image, image_end, row, row_end = piece
            here = (block[0] + image, block[0] + image_end, block[2] + row, block[2] + row_end)
            view = block_windows(x, here, out, kernel_shape, strides, low, dilation, 0, work)
            np.copyto(kept[:, image:image_end, row:row_end], _split(view, groups))

        for_each(gather, list(blocks(images, rows, row_bytes, _COLUMNS, 2)))
        cotangents = np.ascontiguousarray(g[image:image_end, row:row_end], work)
        _add_product(
            columns.reshape(groups, -1, depth).transpose(0, 2, 1),
            cotangents.reshape(-1, groups, features // groups).transpose(1, 0, 2),
            total,
        )
    dw = total.transpose(1, 0, 2).reshape(*kernel_shape, channels // groups, features)
    return dw.astype(dtype, copy=False)


def _correlate(
    x: Array, w: Array, y: Array, strides: Sizes, low: Sizes, dilation: Sizes, groups: int
) -> None:
    """Fill y (any strided view): its shape says how many outputs; x is zero outside its bounds."""
    kernel, features, out = w.shape[:-2], w.shape[-1], y.shape[1:-1]
    channels = w.shape[-2]
    depth = math.prod(kernel) * channels
    if y.size == 0:
        return
    if depth == 0 or x.size == 0:
        y[...] = 0
        return
    if groups == x.shape[-1] > 1:
        depthwise.correlate(x, w, y, strides, low, dilation)
        return
    work = _work_dtype(y.dtype)
    w = w.astype(work, copy=False)
    if algorithm := _winograd(y.shape, kernel, channels, strides, dilation, groups, work):
        winograd.correlate(x, w, y, low, algorithm)
        return
    weights = w.reshape(depth, groups, features // groups).transpose(1, 0, 2)
    row_bytes = math.prod(out[1:]) * depth * groups * work.itemsize

    def compute(block: Block) -> None:
        view = block_windows(x, block, out, kernel, strides, low, dilation, 0, work)
        columns = _columns(view, len(out), groups)
        image, image_end, row, row_end = block
        target = y[image:image_end, row:row_end]
        direct = target.flags.c_contiguous and target.dtype == work
        product = target if direct else scratch("product", target.shape, work)
        split = product.reshape(-1, groups, features // groups).transpose(1, 0, 2)
        products.multiply(columns, weights, split)
        if not direct:
            np.copyto(target, product, casting="same_kind")

    for_each(compute, list(blocks(y.shape[0], out[0], row_bytes, _COLUMNS, 2)))


def _add_product(left: Array, right: Array, total: Array) -> None:
    """total (groups, L, K) += left (groups, L, M) @ right (groups, M, K), threads sharing L."""

    def add(rows: slice) -> None:
        products.multiply(left[:, rows], right, total[:, rows], accumulate=True)

    for_blocks(add, total.shape[1], max(min(total.shape[1] // 4, 128), 8))


def _columns(view: Array, rank: int, groups: int) -> Array:
    """im2col of a block's windows: (groups, positions, taps * C // groups), taps major as in w."""
    positions, taps = math.prod(view.shape[: 1 + rank]), math.prod(view.shape[1 + rank : -1])
    channels = view.shape[-1] // groups
    if taps == 1 and view.flags.c_contiguous:
        return view.reshape(positions, groups, channels).transpose(1, 0, 2)
    columns = scratch("columns", (groups, positions, taps * channels), view.dtype)
    np.copyto(columns.reshape(groups, *view.shape[:-1], channels), _split(view, groups))
    return columns


def _split(view: Array, groups: int) -> Array:
    """(..., C) to (groups, ..., C // groups), without the copy that reshape makes of windows."""
    channels = view.shape[-1] // groups
    step = view.strides[-1]
    shape = (groups, *view.shape[:-1], channels)
    return as_strided(view, shape, (channels * step, *view.strides[:-1], step))


def _winograd(
    out: Sizes,
    kernel: Sizes,
    channels: int,
    strides: Sizes,
    dilation: Sizes,
    groups: int,
    dtype: np.dtype[Any],
) -> Algorithm | None:
    """The algorithm if one applies and is faster; float64 keeps the smaller error of im2col."""
    square = kernel == (3, 3) and strides in ((1, 1), (2, 2)) and dilation == (1, 1)
    if dtype != np.float32 or not square or groups != 1:
        return None
    images, height, width, features = out
    return winograd.choose(strides[0], images, height, width, channels, features)


def _swap_channels(w: Array, groups: int) -> Array:
    """(*kernel, C / groups, K) to (*kernel, K / groups, C), group by group: the transposed GEMM."""
    kernel, channels, features = w.shape[:-2], w.shape[-2], w.shape[-1]
    split = w.reshape(*kernel, channels, groups, features // groups)
    turned = np.swapaxes(split, -1, -3)
    return turned.reshape(*kernel, features // groups, groups * channels)


def _phase(
    residue: int, size: int, taps: int, stride: int, pads: tuple[int, int], dilation: int
) -> tuple[slice, slice, int, int]:
    """One residue class in one dimension: (positions of dx, flipped taps, padding, dilation)."""
    low = pads[0]
    first = (residue - low) % stride
    positions = slice(first, None, stride)
    selected = [tap for tap in range(taps) if tap * dilation % stride == residue]
    if not selected:
        return positions, slice(0, 0), 0, 1
    step = stride // math.gcd(dilation, stride)
    spread = dilation // math.gcd(dilation, stride)
    # The last of these taps reads the earliest output, at g[start].
    start = (first + low - residue) // stride - (selected[-1] * dilation - residue) // stride
    stop = selected[0] - 1 if selected[0] else None
    return positions, slice(selected[-1], stop, -step), -start, spread


def _work_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Halves are computed in float32: BLAS has no such precision, and sums need more than it."""
    return np.dtype(np.float32) if dtype == np.float16 or is_bfloat16(dtype) else dtype
