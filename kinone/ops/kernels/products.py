"""Matrix products that leave the threads to us.

OpenBLAS runs a product on all cores once rows * depth * columns reaches 2 * 4 * 65536, under one
global lock, and its idle threads then spin for tens of milliseconds, in which our own threads get
half a core. Cut into pieces below that size, every product stays on the thread that asked for it:
the pieces reach 85 to 95 % of the large product's speed, and all the rest of a convolution
(padding, im2col, tile transforms) runs twice as fast. One `np.matmul` loops over the pieces in C.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .scratch import Array, scratch

# rows * depth * columns of a piece; the threshold is 524288.
PIECE = 500_000
# A deeper product is summed from several: pieces would get too narrow. The sum costs little beside
# the 128 multiplications of every element.
_DEPTH = 128
# Elements of the products that are made in one call before they are summed.
_PARTIAL = 1 << 17


def multiply(a: Array, b: Array, out: Array, *, accumulate: bool = False) -> None:
    """out (B, M, N) = or += a (B, M, K) @ b (B, K, N), on the calling thread alone; any strides."""
    depth = a.shape[2]
    shallow = depth <= _DEPTH or a.shape[1] * depth * b.shape[2] <= PIECE
    if shallow and not accumulate:
        _multiply_pieces(a, b, out)
        return
    together = max(_PARTIAL // max(out.size, 1), 1)
    start = 0
    while start < depth:
        step = min(_DEPTH, depth - start)
        count = min(together, (depth - start) // step)
        left, right = a[:, :, start:], b[:, start:]
        (a0, a1, a2), (b0, b1, b2) = a.strides, b.strides
        partial = scratch("partial", (count, *out.shape), out.dtype)
        _multiply_pieces(
            as_strided(left, (count, *a.shape[:2], step), (step * a2, a0, a1, a2)),
            as_strided(right, (count, len(b), step, b.shape[2]), (step * b1, b0, b1, b2)),
            partial,
        )
        if start == 0 and not accumulate:
            np.add.reduce(partial, 0, out=out)
        else:
            np.add(out, np.add.reduce(partial, 0) if count > 1 else partial[0], out=out)
        start += count * step


def _multiply_pieces(a: Array, b: Array, out: Array) -> None:
    """out (..., M, N) = a (..., M, K) @ b (..., K, N)."""
    batch, (rows, depth), columns = a.shape[:-2], a.shape[-2:], b.shape[-1]
    if rows * depth * columns <= PIECE:
        np.matmul(a, b, out=out)
        return
    tall, wide = _piece(rows, depth, columns)
    down, across = rows // tall, columns // wide
    (*a0, a1, a2), (*b0, b1, b2), (*o0, o1, o2) = a.strides, b.strides, out.strides
    np.matmul(
        as_strided(a, (*batch, down, 1, tall, depth), (*a0, tall * a1, 0, a1, a2)),
        as_strided(b, (*batch, 1, across, depth, wide), (*b0, 0, wide * b2, b1, b2)),
        out=as_strided(
            out, (*batch, down, across, tall, wide), (*o0, tall * o1, wide * o2, o1, o2)
        ),
    )
    if down * tall < rows:
        below = slice(down * tall, None)
        _multiply_pieces(a[..., below, :], b, out[..., below, :])
    if across * wide < columns:
        above, right = slice(down * tall), slice(across * wide, None)
        _multiply_pieces(a[..., above, :], b[..., right], out[..., above, right])


@functools.lru_cache(maxsize=4096)
def _piece(rows: int, depth: int, columns: int) -> tuple[int, int]:
    """(rows, columns) of a piece: BLAS repacks both operands, at a cost of 1 / rows + 1 / columns.

    Its inner kernel computes 4 x 8 elements at a time, so a remainder costs what it rounds up to.
    """
    best, least = (1, 1), float("inf")
    for tall in {*range(4, min(rows, 256), 4), min(rows, 256)}:
        for wide in {*range(8, min(columns, 256), 8), min(columns, 256)}:
            if tall * depth * wide > PIECE:
                continue
            waste = -(-rows // tall) * tall / rows * (-(-columns // wide) * wide / columns)
            cost = (1 / 20 + 1 / tall + 1 / wide) * waste
            if cost < least:
                best, least = (tall, wide), cost
    return best
