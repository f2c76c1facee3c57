"""Batch normalisation over all axes but the last, and its gradient.

    y = (x - mean) * inv_std * scale + bias        inv_std = 1 / sqrt(var + epsilon)

x (..., C) is seen as rows of r * C elements, r dividing the number of rows: NumPy's inner loops are
slow on short rows (C = 64: half the speed). Blocks of such rows stay in cache while several ufuncs
pass over them; they are as large as 1 MB, for threads that meet at the GIL less often: 2 M elements
took 1.8, 1.4, 1.1 ms in blocks of 256 kB, 512 kB, 1 MB.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import is_bfloat16
from .parallel import for_blocks
from .scratch import Array, scratch

# Elements of a wide row (several fit the L1 cache) and of a block.
_ROW = 4096
_BLOCK = 1 << 18


def batch_norm(
    x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, Array, Array, Array]:
    """(y, mean, var, inv_std) of x (..., C); var is the biased one, each of the three is (C,).

    These are in `statistics_dtype`: in float16 the square of a deviation of 256 is infinite.
    The variance is taken about each block's own mean and combined in float64 (Chan, Golub and
    LeVeque, 1983): it is right for a mean far larger than the standard deviation.
    """
    dtype = np.result_type(x, scale, bias)
    wide = _wide(x)
    mean, var = _statistics(wide, x.shape[-1])
    inv_std = 1 / np.sqrt(var + epsilon)
    centre = mean.astype(wide.dtype)
    factor = scale * inv_std
    # What the mean lost by rounding goes into the bias.
    shift = _repeat(bias - (mean - centre) * factor, wide)
    factors, centres = _repeat(factor, wide), _repeat(centre, wide)
    y = np.empty(wide.shape, wide.dtype)

    def normalise(rows: slice) -> None:
        part = y[rows]
        np.subtract(wide[rows], centres, out=part)
        np.multiply(part, factors, out=part)
        np.add(part, shift, out=part)

    for_blocks(normalise, len(wide), _block_rows(wide))
    return (
        y.reshape(x.shape).astype(dtype, copy=False),
        centre,
        var.astype(wide.dtype),
        inv_std.astype(wide.dtype),
    )


def batch_norm_gradient(
    g: Array, x: Array, scale: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """(dx, dscale, dbias) from g (..., C), with mean and inv_std as `batch_norm` returned them.

    With n the normalised x:    dbias = sum(g)    dscale = sum(g n)
                                dx = scale * inv_std * (g - dbias / count - n * dscale / count)
    """
    dtype = np.result_type(g, x, scale)
    wide, cotangents = _wide(x), _wide(g)
    channels = x.shape[-1]
    count = max(x.size // max(channels, 1), 1)
    centres = _repeat(mean, wide)

    step = _block_rows(wide)
    sums = np.empty((2, -(-len(wide) // step), wide.shape[1]), wide.dtype)

    def reduce(rows: slice) -> None:
        number = rows.start // step
        part = scratch("centred", wide[rows].shape, wide.dtype)
        np.subtract(wide[rows], centres, out=part)
        np.multiply(part, cotangents[rows], out=part)
        np.add.reduce(cotangents[rows], 0, out=sums[0, number])
        np.add.reduce(part, 0, out=sums[1, number])

    for_blocks(reduce, len(wide), step)
    dbias, dscale = _fold(sums, channels).sum(1)
    dscale *= inv_std
    factors = _repeat(scale * inv_std, wide)
    slopes = _repeat(inv_std * dscale / count, wide)
    offsets = _repeat(dbias / count, wide)
    dx = np.empty(wide.shape, wide.dtype)

    def differentiate(rows: slice) -> None:
        part = dx[rows]
        np.subtract(wide[rows], centres, out=part)
        np.multiply(part, slopes, out=part)
        np.add(part, offsets, out=part)
        np.subtract(cotangents[rows], part, out=part)
        np.multiply(part, factors, out=part)

    for_blocks(differentiate, len(wide), step)
    return (
        dx.reshape(x.shape).astype(dtype, copy=False),
        dscale.astype(dtype),
        dbias.astype(dtype),
    )


def statistics_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """That of mean and variance: float32 for half ones, float64 for integers, else that of x."""
    if dtype == np.float16 or is_bfloat16(dtype):
        return np.dtype(np.float32)
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)


def _statistics(wide: Array, channels: int) -> tuple[Array, Array]:
    """Mean and biased variance in float64, each (C,)."""
    step = _block_rows(wide)
    blocks = -(-len(wide) // step)
    repeats = wide.shape[1] // max(channels, 1)
    counts = np.empty((blocks, 1))
    centres = np.empty((blocks, channels), wide.dtype)
    sums = np.empty((2, blocks, wide.shape[1]), wide.dtype)

    def reduce(rows: slice) -> None:
        number, block = rows.start // step, wide[rows]
        counts[number] = len(block) * repeats
        centres[number] = _fold(np.add.reduce(block, 0), channels) / counts[number]
        part = scratch("centred", block.shape, wide.dtype)
        np.subtract(block, _repeat(centres[number], wide), out=part)
        np.add.reduce(part, 0, out=sums[0, number])
        np.multiply(part, part, out=part)
        np.add.reduce(part, 0, out=sums[1, number])

    for_blocks(reduce, len(wide), step)
    # What the centred values still add up to corrects the centres' own rounding.
    rests, squares = _fold(sums, channels)
    squares -= rests**2 / counts
    means = centres + rests / counts
    total = max(counts.sum(), 1)
    mean = (counts * means).sum(0) / total
    var = (squares + counts * (means - mean) ** 2).sum(0) / total
    return mean, var


def _block_rows(wide: Array) -> int:
    return max(_BLOCK // max(int(wide.shape[1]), 1), 1)


def _wide(x: Array) -> Array:
    """x as a contiguous (rows / r, r * C), r as large as divides the rows."""
    channels = x.shape[-1]
    rows = x.size // max(channels, 1)
    repeats = next((r for r in range(max(_ROW // max(channels, 1), 1), 1, -1) if rows % r == 0), 1)
    dtype = statistics_dtype(x.dtype)
    return np.ascontiguousarray(x, dtype).reshape(rows // repeats, repeats * channels)


def _repeat(values: Array, wide: Array) -> Array:
    """One value for each channel, laid out like a wide row."""
    row = np.empty(wide.shape[1], wide.dtype)
    row.reshape(-1, values.size)[...] = values
    return row


def _fold(sums: Array, channels: int) -> Array:
    """(..., wide row) to (..., C): the rest of a sum over each channel, in float64."""
    folded: Array = np.add.reduce(
        sums.reshape(*sums.shape[:-1], -1, channels), -2, dtype=np.float64
    )
    return folded
