"""Pools over windows, over whole images, over regions of them, and the way back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....ops.pool import max_pool_p
from ....ops.shape import astype
from ....ops.spatial import to_channels_first, to_channels_last
from ..known import integers, known
from ..registry import Node, operator
from ..windows import Sizes, Windows, check_size, counts, pads, spatial_of, spread, windows


@operator("MaxPool")
def max_pool(node: Node, x: Array) -> Any:
    spatial = spatial_of(node, x)
    over = windows(node, spatial, _kernel(node))
    widths = over.needed(spatial)
    if over.dense and all(
        0 <= low < k and high < k for (low, high), k in zip(widths, over.kernel, strict=True)
    ):
        # What lies behind the last window is not read.
        x = _cut(x, widths)
        padding = tuple([(low, max(high, 0)) for low, high in widths])
        if not node.wants(1) and _is_large(over):
            return _by_axes(x, over, padding)
        y, found = max_pool_p(
            to_channels_last(x), window=over.kernel, strides=over.strides, padding=padding
        )
    else:
        blocks = spread(x, over, _lowest(shape_dtype(x).dtype))
        y, found = max_pool_p(
            to_channels_last(blocks),
            window=over.kernel,
            strides=over.kernel,
            padding=((0, 0),) * len(spatial),
        )
    y = to_channels_first(y)
    if not node.wants(1):
        return y
    return y, _places(
        to_channels_first(found), spatial, over, bool(node.attribute("storage_order", 0))
    )


def _by_axes(x: Array, over: Windows, padding: tuple[tuple[int, int], ...]) -> Array:
    """The maxima of large windows, axis after axis: the last first, so that of equal elements the
    same, the first, gets the cotangent."""
    y, rank = to_channels_last(x), len(over.kernel)
    for axis in reversed(range(rank)):
        along = [i == axis for i in range(rank)]
        y = max_pool_p(
            y,
            window=tuple([k if here else 1 for k, here in zip(over.kernel, along, strict=True)]),
            strides=tuple([s if here else 1 for s, here in zip(over.strides, along, strict=True)]),
            padding=tuple([p if here else (0, 0) for p, here in zip(padding, along, strict=True)]),
        )[0]
    return to_channels_first(y)


def _places(found: Array, spatial: Sizes, over: Windows, columns: bool) -> Array:
    """The flat places in the input of the elements that windows have chosen."""
    rank = len(spatial)
    rest = astype(found, np.int64)
    steps = np.array(
        [math.prod(spatial[:i]) if columns else math.prod(spatial[i + 1 :]) for i in range(rank)]
    )
    flat: Array = np.zeros((), np.int64)
    for axis in reversed(range(rank)):
        tap = rest % over.kernel[axis]
        rest = rest // over.kernel[axis]
        starts = np.arange(over.out[axis]) * over.strides[axis] - over.low[axis]
        starts = starts.reshape(-1, *[1] * (rank - 1 - axis))
        flat = flat + (starts + tap * over.dilation[axis]) * int(steps[axis])
    images, channels = shape_of(found)[:2]
    whole = np.arange(images * channels).reshape(images, channels, *[1] * rank)
    return flat + whole * math.prod(spatial)


@operator("AveragePool")
def average_pool(node: Node, x: Array) -> Array:
    spatial = spatial_of(node, x)
    over = windows(node, spatial, _kernel(node))
    padded = bool(node.attribute("count_include_pad", 0))
    if over.dense and over.kernel == spatial and over.padding == ((0, 0),) * len(spatial):
        return np.mean(x, axis=_all_spatial(node, x), keepdims=True)
    reached = all(
        high <= said and 0 <= low < k and said < k
        for (low, high), (_, said), k in zip(
            over.needed(spatial), over.padding, over.kernel, strict=True
        )
    )
    if over.dense and reached and not _is_large(over):
        return ops.avg_pool(
            x,
            over.kernel,
            strides=over.strides,
            padding=over.padding,
            count_include_pad=padded,
            layout="NCHW",
        )
    # The mean over the whole window is made one over those of its elements that count.
    count: np.ndarray[Any, Any] = np.ones((), np.int64)
    for axis, size in enumerate(spatial):
        low, high = over.padding[axis] if padded else (0, 0)
        places = over.places(axis)
        inside = ((places >= -low) & (places < size + high)).sum(axis=1)
        count = count[..., None] * inside
    mean = _mean(x, over, spatial)
    return mean * (math.prod(over.kernel) / np.maximum(count, 1)).astype(shape_dtype(mean).dtype)


@operator("LpPool")
def lp_pool(node: Node, x: Array) -> Array:
    spatial = spatial_of(node, x)
    over = windows(node, spatial, _kernel(node))
    p = node.attribute("p", 2)
    mean = _mean(_power(x, p), over, spatial)
    return _root(mean * shape_dtype(mean).dtype.type(math.prod(over.kernel)), p)


def _mean(x: Array, over: Windows, spatial: Sizes) -> Array:
    """The mean of each window; padding is 0."""
    widths = over.needed(spatial)
    if over.dense:
        whole = np.pad(_cut(x, widths), ((0, 0), (0, 0), *[(a, max(b, 0)) for a, b in widths]))
        strides = over.strides
    else:
        whole, strides = spread(x, over, 0), over.kernel
    rank = len(spatial)
    alone = [[k if i == axis else 1 for i, k in enumerate(over.kernel)] for axis in range(rank)]
    steps = [[s if i == axis else 1 for i, s in enumerate(strides)] for axis in range(rank)]
    parts = zip(alone, steps, strict=True) if _is_large(over) else [(over.kernel, strides)]
    for window, step in parts:  # one axis after the other, or all at once
        whole = ops.avg_pool(whole, window, strides=step, layout="NCHW")
    return whole


def _is_large(over: Windows) -> bool:
    """Whether windows are so large that a pass over each axis is less work than one over all."""
    return math.prod(over.kernel) > 3 * sum(over.kernel)


def _cut(x: Array, widths: tuple[tuple[int, int], ...]) -> Array:
    """Without what negative padding takes away."""
    if all(high >= 0 for _, high in widths):
        return x
    return x[(..., *[slice(None, min(high, 0) or None) for _, high in widths])]


@operator("GlobalAveragePool")
def global_average_pool(node: Node, x: Array) -> Array:
    return np.mean(x, axis=_all_spatial(node, x), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, x: Array) -> Array:
    return np.max(x, axis=_all_spatial(node, x), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node, x: Array) -> Array:
    p = node.attribute("p", 2)
    return _root(np.sum(_power(x, p), axis=_all_spatial(node, x), keepdims=True), p)


def _power(x: Array, p: float) -> Array:
    if p == 1:
        return np.abs(x)
    return x * x if p == 2 else np.abs(x) ** p


def _root(total: Array, p: float) -> Array:
    """total^(1/p), whose derivative at 0 is 0 here."""
    if p == 1:
        return total
    positive = total > 0
    safe = np.where(positive, total, 1)
    root = np.sqrt(safe) if p == 2 else safe ** (1 / p)
    return np.where(positive, root, total)


@operator("MaxUnpool")
def max_unpool(node: Node, x: Array, indices: Array, shape: Array | None = None) -> Array:
    kernel = _kernel(node)
    spatial = spatial_of(node, x)
    strides = counts(node, "strides", len(spatial))
    low, high = pads(node, len(spatial))
    pooled = [
        (n - 1) * s - a - b + k
        for n, s, a, b, k in zip(spatial, strides, low, high, kernel, strict=True)
    ]
    images, channels = shape_of(x)[:2]
    inferred = (images, channels, *pooled)
    check_size(node, *inferred)
    wanted = inferred if shape is None else integers(node, shape, "output_shape")
    if len(wanted) != len(inferred):
        raise node.error(f"has an output_shape of {len(wanted)} axes for {len(inferred)}")
    # Indices count the elements of the array that was pooled, whose size the output's may pass.
    flat = np.zeros(math.prod(inferred), shape_dtype(x).dtype)
    y = ops.at(flat)[np.reshape(indices, -1)].set(np.reshape(x, -1))
    y = np.reshape(y, inferred)
    check_size(node, *wanted)
    rest = [(0, a - b) for a, b in zip(wanted, inferred, strict=True)]
    if any(high < 0 for _, high in rest):
        raise node.error(f"has an output_shape of {wanted}, less than the windows' {inferred}")
    return np.pad(y, rest) if any(high for _, high in rest) else y


# ---- regions -------------------------------------------------------------------------------------


@operator("MaxRoiPool")
def max_roi_pool(node: Node, x: Array, rois: Array) -> Array:
    height, width = spatial_of(node, x, 2)
    rows, columns = [int(n) for n in node.attribute("pooled_shape")]
    scale = node.attribute("spatial_scale", 1.0)
    image = astype(rois[:, 0], np.int64)
    # To the nearest, halves away from zero, as in C.
    corners = np.floor(np.abs(rois[:, 1:] * scale) + 0.5) * np.sign(rois[:, 1:])
    chosen = x[image]

    def best(values: Array, low: Array, high: Array, size: int, parts: int) -> Array:
        """The largest of each part of the last axis, in each region."""
        step = np.maximum(high - low + 1, 1) / parts
        found = []
        for part in range(parts):
            start = np.clip(np.floor(part * step) + low, 0, size)[:, None]
            end = np.clip(np.ceil((part + 1) * step) + low, 0, size)[:, None]
            places = np.arange(size)
            inside = ((places >= start) & (places < end))[:, None, None, :]
            found.append(np.max(np.where(inside, values, -np.inf), axis=-1))
        return np.stack(found, axis=-1)

    wide = best(chosen, corners[:, 0], corners[:, 2], width, columns)  # (regions, C, H, columns)
    y = best(np.swapaxes(wide, 2, 3), corners[:, 1], corners[:, 3], height, rows)
    y = np.swapaxes(y, 2, 3)
    return astype(np.where(np.isneginf(y), 0, y), shape_dtype(x).dtype)


@operator("RoiAlign")
def roi_align(node: Node, x: Array, rois: Array, images: Array) -> Array:
    height, width = spatial_of(node, x, 2)
    rows, columns = (int(node.attribute(f"output_{axis}", 1)) for axis in ("height", "width"))
    ratio = int(node.attribute("sampling_ratio", 0))
    usual = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    check_size(node, shape_of(rois)[0], shape_of(x)[1], rows, columns, *[max(ratio, 1)] * 2)
    half = node.attribute("coordinate_transformation_mode", usual) == "half_pixel"
    mode = node.attribute("mode", "avg")
    corners = rois * node.attribute("spatial_scale", 1.0) - (0.5 if half else 0.0)
    starts, sizes = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not half:
        sizes = np.maximum(sizes, 1)
    channels, regions = shape_of(x)[1], shape_of(rois)[0]
    dtype = shape_dtype(x).dtype
    if ratio > 0:
        number = {(ratio, ratio): np.arange(regions)}
    else:  # as many as the regions are large, so that they are sampled group by group
        steps = np.ceil(known(node, sizes, "rois, as sampling_ratio=0 asks") / [columns, rows])
        number = {}
        for pair in sorted({(int(h), int(w)) for w, h in steps}):
            number[pair] = np.flatnonzero((steps == pair[::-1]).all(axis=1))
    parts, order = [], []
    for (high, wide), some in number.items():
        count = (len(some), channels, rows, columns)
        order.append(some)
        if high <= 0 or wide <= 0:
            parts.append(np.zeros(count, dtype))
            continue
        y = _samples(starts[some, 1], sizes[some, 1], rows, high, height)
        z = _samples(starts[some, 0], sizes[some, 0], columns, wide, width)
        chosen = images[some]
        parts.append(_aligned(x, chosen, y, z, (rows, high, columns, wide), mode == "max"))
    if not parts:
        return np.zeros((0, channels, rows, columns), dtype)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts)[np.argsort(np.concatenate(order))]


def _samples(start: Array, size: Array, parts: int, number: int, limit: int) -> Any:
    """The places of samples along one axis of each region, (regions, parts · number): the elements
    on both sides with their weights, which are 0 outside of the image."""
    at = (np.arange(parts)[:, None] + (np.arange(number) + 0.5) / number).reshape(-1) / parts
    points = start[:, None] + size[:, None] * at.astype(shape_dtype(start).dtype)
    inside = (points >= -1) & (points <= limit)
    points = np.clip(points, 0, limit - 1)
    low = np.floor(points)
    share = points - low
    place = astype(low, np.int64)
    weights = (np.where(inside, 1 - share, 0), np.where(inside, share, 0))
    return list(zip((place, np.minimum(place + 1, limit - 1)), weights, strict=True))


def _aligned(
    x: Array, images: Array, ys: Any, zs: Any, lie: tuple[int, int, int, int], largest: bool
) -> Array:
    corners = []
    for row, row_share in ys:
        for column, column_share in zs:
            values = ops.getitem(
                np.moveaxis(x, 1, -1), (images[:, None, None], row[:, :, None], column[:, None, :])
            )
            share = row_share[:, :, None] * column_share[:, None, :]
            corners.append(values * astype(share, shape_dtype(x).dtype)[..., None])
    if largest:  # of what is mixed, weighted as it is
        y = corners[0]
        for corner in corners[1:]:
            y = np.maximum(y, corner)
    else:
        y = (corners[0] + corners[1]) + (corners[2] + corners[3])
    regions, _, _, channels = shape_of(y)
    y = np.reshape(y, (regions, *lie, channels))
    y = np.max(y, axis=(2, 4)) if largest else np.mean(y, axis=(2, 4))
    return np.moveaxis(y, -1, 1)


def _kernel(node: Node) -> Sizes:
    found = tuple([int(k) for k in node.attribute("kernel_shape")])
    if min(found, default=1) < 1:
        raise node.error(f"has a kernel of {list(found)}")
    return found


def _all_spatial(node: Node, x: Array) -> tuple[int, ...]:
    spatial_of(node, x)
    return tuple(range(2, len(shape_of(x))))


def _lowest(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).min) if dtype.kind in "iu" else -np.inf
