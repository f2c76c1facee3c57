"""3x3 convolutions with fewer multiplications: Winograd's algorithm, in 16, 25 or 36 GEMMs.

The one-dimensional algorithms of `toom_cook` act along both axes. The products become, for each of
the taps x taps positions of a tile, one GEMM over all tiles and channels. An output then costs 4
(F2), 2.25 (F4) or, with stride 2, 6.25 (STRIDED) multiplications; the definition needs 9.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from . import products
from .parallel import for_blocks, for_each
from .scratch import Array, scratch
from .toom_cook import F2, F4, STRIDED, Algorithm
from .windows import Block, blocks

# Bytes of one thread's transformed tiles. Between too many calls of NumPy and leaving the caches:
# 600 kB, 1.2, 2.4, 4.8 MB took 11.7, 9.2, 8.9, 9.1 ms on 64 channels at 32x32.
_TILES = 2400 << 10
# Bytes of transformed inputs and of cotangents that the weight gradient keeps for its GEMMs.
_KEPT = 10 << 20
# Elements of the products that one thread adds to them at a time.
_PARTIAL = 1 << 20


def choose(
    stride: int, images: int, height: int, width: int, channels: int, features: int
) -> Algorithm | None:
    """The algorithm for a 3x3 convolution with these outputs; None: im2col is better.

    Every tile costs taps^2 rows of GEMM; transforming and packing the taps^2 weight matrices costs
    as much as 48 rows more (measured: it makes F4 win for 8x8 outputs of 32 images, F2 for 4x4,
    im2col for a few images of 4x4). With few channels the tile transforms, more of them with
    stride 2, cost what the multiplications save.
    """
    if min(channels, features) < 16 * stride:
        return None

    def cost(algorithm: Algorithm) -> int:
        tiles = images * -(-height // algorithm.tile) * -(-width // algorithm.tile)
        return int(algorithm.taps**2 * (tiles + 48))

    best = min((F4, F2) if stride == 1 else (STRIDED,), key=cost)
    return best if cost(best) < 9 * images * height * width else None


def correlate(
    x: Array,
    w: Array,
    y: Array,
    low: tuple[int, ...],
    algorithm: Algorithm,
    transposed: bool = False,
) -> None:
    """Fill y (N, height, width, K) from x (N, *, *, C) and w (3, 3, C, K), in w's dtype inside.

    transposed: w is (3, 3, K, C), to be used with its taps flipped (the input gradient).
    """
    size, taps = algorithm.tile, algorithm.taps
    images, height, width, features = y.shape
    channels = x.shape[3]
    down, across = -(-height // size), -(-width // size)
    weights = _transformed_weights(w, algorithm, transposed)

    def compute(block: Block) -> None:
        image, image_end, row, row_end = block
        tiles = (taps, taps, image_end - image, row_end - row, across)
        v = scratch("tiles", (*tiles, channels), w.dtype)
        m = scratch("products", (*tiles, features), w.dtype)
        start = (row * algorithm.step - low[0], -low[1])
        _input_tiles(x[image:image_end], v, start, algorithm)
        products.multiply(
            v.reshape(taps**2, -1, channels), weights, m.reshape(taps**2, -1, features)
        )
        _output_tiles(m, y[image:image_end, row * size : row_end * size], algorithm)

    tile_bytes = taps**2 * across * max(channels, features) * w.itemsize
    for_each(compute, list(blocks(images, down, tile_bytes, _TILES, 2)))


def weight_gradient(
    x: Array, g: Array, low: tuple[int, ...], dtype: np.dtype[Any], algorithm: Algorithm
) -> Array:
    """dw (3, 3, C, K) in dtype from x (N, *, *, C) and g (N, height, width, K)."""
    size, taps = algorithm.tile, algorithm.taps
    channels, features = x.shape[3], g.shape[3]
    images, height, width = g.shape[:3]
    down, across = -(-height // size), -(-width // size)
    tile_bytes = taps**2 * across * max(channels, features) * dtype.itemsize
    total = scratch("total", (taps**2, channels, features), dtype)
    for block in blocks(images, down, tile_bytes, _KEPT):
        tiles = (taps, taps, block[1] - block[0], block[3] - block[2], across)
        v = scratch("kept tiles", (*tiles, channels), dtype)
        u = scratch("kept cotangents", (*tiles, features), dtype)

        def transform(piece: Block, block: Block = block, v: Array = v, u: Array = u) -> None:
            image, image_end, row, row_end = piece
            ours = (slice(None), slice(None), slice(image, image_end), slice(row, row_end))
            here = slice(block[0] + image, block[0] + image_end)
            row, row_end = block[2] + row, block[2] + row_end
            _input_tiles(x[here], v[ours], (row * algorithm.step - low[0], -low[1]), algorithm)
            _cotangent_tiles(g[here, row * size : row_end * size], u[ours], algorithm)

        for_each(transform, list(blocks(*tiles[2:4], tile_bytes, _TILES, 2)))
        left = v.reshape(taps**2, -1, channels).transpose(0, 2, 1)
        right = u.reshape(taps**2, -1, features)

        def contract(
            positions: slice, left: Array = left, right: Array = right, block: Block = block
        ) -> None:
            later = block[0] > 0 or block[2] > 0
            products.multiply(left[positions], right[positions], total[positions], accumulate=later)

        # A quarter of the positions at a time, unless their partial sums leave the cache.
        for_blocks(contract, taps**2, min(-(-(taps**2) // 4), _PARTIAL // (channels * features)))
    return _gathered_weights(total, algorithm)


def input_gradient(
    g: Array, w: Array, dx: Array, low: tuple[int, ...], algorithm: Algorithm
) -> None:
    """Fill dx (N, *, *, C) from g (N, height, width, K) and w (3, 3, C, K), in w's dtype inside.

    With stride 1 this is a convolution of g; else the transpose of the tiles' algorithm.
    """
    if algorithm.spread is None:
        correlate(g, w, dx, tuple(2 - pad for pad in low), algorithm, transposed=True)
        return
    size, taps = algorithm.tile, algorithm.taps
    images, height, width, features = g.shape
    channels = dx.shape[3]
    down, across = -(-height // size), -(-width // size)
    weights = _transformed_weights(w, algorithm, False).transpose(0, 2, 1)

    def compute(block: Block) -> None:
        image, image_end, _, _ = block
        tiles = (taps, taps, image_end - image, down, across)
        u = scratch("tiles", (*tiles, features), w.dtype)
        m = scratch("products", (*tiles, channels), w.dtype)
        _cotangent_tiles(g[image:image_end], u, algorithm)
        products.multiply(
            u.reshape(taps**2, -1, features), weights, m.reshape(taps**2, -1, channels)
        )
        _spread_tiles(m, dx[image:image_end], (-low[0], -low[1]), algorithm)

    # Tiles overlap in dx: an image is not cut into rows.
    tile_bytes = taps**2 * down * across * max(channels, features) * w.itemsize
    for_each(compute, list(blocks(images, 1, tile_bytes, _TILES, 2 if images > 1 else 1)))


def _input_tiles(x: Array, v: Array, start: tuple[int, int], algorithm: Algorithm) -> None:
    """B' x B of overlapping tiles, the first at `start` of x: v (taps, taps, n, down, across, C).

    v's first axis is the tile's column, the second its row.
    """
    step, taps = algorithm.step, algorithm.taps
    _, _, images, down, across, channels = v.shape
    height, width = x.shape[1:3]
    # Columns are dealt out by their residue modulo the step: what a transform adds up then lies in
    # runs of across * channels elements, long enough for NumPy's inner loops.
    rows = (down - 1) * step + taps
    padded = scratch("padded", (step, images, rows, across + 1, channels), v.dtype)
    top = min(max(-start[0], 0), rows)
    bottom = max(min(height - start[0], rows), top)
    padded[:, :, :top] = 0
    padded[:, :, bottom:] = 0
    inside = x[:, start[0] + top : start[0] + bottom]
    for residue in range(step):
        shift = start[1] + residue
        left = min(max(-(shift // step), 0), across + 1)
        right = max(min((width - 1 - shift) // step + 1, across + 1), left)
        dealt = padded[residue, :, top:bottom]
        dealt[:, :, :left] = 0
        dealt[:, :, right:] = 0
        if left < right:
            columns = slice(left * step + shift, (right - 1) * step + shift + 1, step)
            dealt[:, :, left:right] = inside[:, :, columns]
    shape = (step, images, down, across + 1, channels)
    turned = scratch("turned", (taps, *shape), v.dtype)
    lines = [padded[:, :, tap : tap + step * (down - 1) + 1 : step] for tap in range(taps)]
    algorithm.input(lines, turned, scratch("pair", (2, *shape), v.dtype))
    lines = [turned[:, tap % step, :, :, tap // step : tap // step + across] for tap in range(taps)]
    algorithm.input(lines, v, scratch("pair", (2, *v.shape[1:]), v.dtype))


def _output_tiles(m: Array, y: Array, algorithm: Algorithm) -> None:
    """A' m A of m (taps, taps, n, down, across, K), cropped to y (n, <= down * tile, *, K)."""
    size, taps = algorithm.tile, algorithm.taps
    shape = m.shape[2:]
    turned = scratch("turned", (size, taps, *shape), m.dtype)
    algorithm.output(m, turned, scratch("pair", (2, taps, *shape), m.dtype))
    tiles = scratch("padded", (size, size, *shape), m.dtype)
    lines = [turned[:, tap] for tap in range(taps)]
    algorithm.output(lines, tiles, scratch("pair", (2, size, *shape), m.dtype))
    for row in range(size):
        for column in range(size):
            target = y[:, row::size, column::size]
            np.copyto(
                target,
                tiles[row, column, :, : target.shape[1], : target.shape[2]],
                casting="same_kind",
            )


def _cotangent_tiles(g: Array, u: Array, algorithm: Algorithm) -> None:
    """A g A' of disjoint tiles of g (n, <= down * tile, *, K): u shaped like `_input_tiles`' v."""
    size, taps = algorithm.tile, algorithm.taps
    shape = u.shape[2:]
    tiles = scratch("padded", (size, size, *shape), u.dtype)
    for row in range(size):
        for column in range(size):
            source = g[:, row::size, column::size]
            tile = tiles[row, column]
            tile[:, source.shape[1] :] = 0
            tile[:, :, source.shape[2] :] = 0
            tile[:, : source.shape[1], : source.shape[2]] = source
    turned = scratch("turned", (taps, size, *shape), u.dtype)
    algorithm.cotangent(tiles, turned, scratch("pair", (2, size, *shape), u.dtype))
    lines = [turned[:, column] for column in range(size)]
    algorithm.cotangent(lines, u, scratch("pair", (2, taps, *shape), u.dtype))


def _spread_tiles(m: Array, dx: Array, start: tuple[int, int], algorithm: Algorithm) -> None:
    """B m B' of m (taps, taps, n, down, across, C): overlapping tiles, added up in dx."""
    step, taps = algorithm.step, algorithm.taps
    _, _, images, down, across, channels = m.shape
    assert algorithm.spread is not None
    # The lines beyond a step belong to the next tile; the last tile's to one more.
    columns = scratch("turned", (step, taps, images, down, across + 1, channels), m.dtype)
    beyond = scratch("pair", (taps - step, *m.shape[1:]), m.dtype)
    columns[..., across, :] = 0
    algorithm.spread(m, [*columns[..., :across, :], *beyond], beyond)
    columns[: taps - step, ..., 1:, :] += beyond
    tiles = scratch("padded", (step, step, images, down + 1, across + 1, channels), m.dtype)
    beyond = scratch("pair", (taps - step, step, images, down, across + 1, channels), m.dtype)
    tiles[..., down, :, :] = 0
    lines = [columns[:, tap] for tap in range(taps)]
    algorithm.spread(lines, [*tiles[..., :down, :, :], *beyond], beyond)
    tiles[: taps - step, ..., 1:, :, :] += beyond
    dx[...] = 0
    for row, column in itertools.product(range(step), range(step)):
        top, left = start[0] + row, start[1] + column
        above, before = max(-(top // step), 0), max(-(left // step), 0)
        target = dx[:, top + above * step :: step, left + before * step :: step]
        source = tiles[row, column, :, above:, before:]
        height, width = np.minimum(target.shape[1:3], source.shape[1:3])
        target = target[:, :height, :width]
        np.copyto(target, source[:, :height, :width], casting="same_kind")


def _transformed_weights(w: Array, algorithm: Algorithm, transposed: bool) -> Array:
    """G w G' of w (3, 3, C, K): (taps * taps, C, K) in scratch memory, columns first like tiles.

    Of the transposed, flipped kernel it is a view: turning w itself round would cost as much again.
    """
    taps = algorithm.taps
    both = np.einsum("iu,kv->kiuv", algorithm.weight, algorithm.weight).reshape(taps**2, 9)
    both = (both[:, ::-1] if transposed else both).astype(w.dtype)
    flat = np.ascontiguousarray(w).reshape(9, -1)
    weights = scratch("weights", (taps**2, flat.shape[1]), w.dtype)

    def transform(part: slice) -> None:
        np.matmul(both, flat[:, part], out=weights[:, part])

    for_blocks(transform, flat.shape[1], products.PIECE // (9 * taps**2))
    weights = weights.reshape(taps**2, *w.shape[2:])
    return weights.transpose(0, 2, 1) if transposed else weights


def _gathered_weights(total: Array, algorithm: Algorithm) -> Array:
    """G' s G of s (taps * taps, C, K): (3, 3, C, K)."""
    taps = algorithm.taps
    both = np.einsum("iu,kv->uvki", algorithm.weight, algorithm.weight).reshape(9, taps**2)
    both = both.astype(total.dtype)
    dw = np.empty((3, 3, *total.shape[1:]), total.dtype)
    source, target = total.reshape(taps**2, -1), dw.reshape(9, -1)

    def gather(part: slice) -> None:
        np.matmul(both, source[:, part], out=target[:, part])

    for_blocks(gather, source.shape[1], products.PIECE // (9 * taps**2))
    return dw
