"""Images read at points, cropped, put together from patches, and decoded."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....ops.shape import astype
from ..known import integers, known
from ..registry import Node, operator
from ..sampling import Taps, gather, linear_taps, whole
from ..windows import check_size, counts, pads, spatial_of

_CUBIC = -0.75


@operator("GridSample")
def grid_sample(node: Node, x: Array, grid: Array) -> Array:
    spatial = spatial_of(node, x)
    images, channels = shape_of(x)[:2]
    if len(shape_of(grid)) != len(spatial) + 2 or shape_of(grid)[-1] != len(spatial):
        raise node.error(f"has a grid of shape {shape_of(grid)} for {len(spatial)} spatial axes")
    mode = node.attribute("mode", "linear").removeprefix("bi")
    outside = node.attribute("padding_mode", "zeros")
    corners = bool(node.attribute("align_corners", 0))
    if mode not in ("nearest", "linear", "cubic") or outside not in _OUTSIDE:
        raise node.error(f"has mode={mode!r} and padding_mode={outside!r}")
    out = shape_of(grid)[1:-1]
    axes = []
    for axis, size in enumerate(spatial):
        normal = np.reshape(grid[..., len(spatial) - 1 - axis], (images, math.prod(out)))
        if corners:
            points = (normal + 1) / 2 * (size - 1)
        else:
            points = ((normal + 1) * size - 1) / 2
        axes.append(_taps(points, size, mode, _OUTSIDE[outside], corners))
    return np.reshape(gather(x, axes), (images, channels, *out))


Outside = Callable[[Array, int, bool], Array]


def _taps(points: Array, size: int, mode: str, outside: Outside, corners: bool) -> Taps:
    if mode == "nearest":
        return [(whole(outside(np.rint(points), size, corners)), None)]
    if mode == "linear":
        return linear_taps(outside(points, size, corners))
    below = np.floor(points)
    t = points - below
    weights = [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)]
    places = [whole(outside(below + step, size, corners)) for step in (-1, 0, 1, 2)]
    return list(zip(places, weights, strict=True))


def _near(t: Array) -> Array:
    return ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1


def _far(t: Array) -> Array:
    return ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC


def _border(points: Array, size: int, corners: bool) -> Array:
    return np.clip(points, 0, size - 1)


def _reflected(points: Array, size: int, corners: bool) -> Array:
    """Back from the borders: the middles of the outermost elements, or their edges."""
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    if high == low:
        return np.zeros_like(points)
    away = np.abs(points - low) % (2 * (high - low))
    return np.clip(low + np.minimum(away, 2 * (high - low) - away), 0, size - 1)


_OUTSIDE: dict[str, Outside] = {
    "zeros": lambda points, size, corners: points,
    "border": _border,
    "reflection": _reflected,
}


@operator("AffineGrid")
def affine_grid(node: Node, theta: Array, size: Array) -> Array:
    spatial = integers(node, size, "size")[2:]
    check_size(node, *spatial, len(spatial))
    corners = bool(node.attribute("align_corners", 0))
    dtype = shape_dtype(theta).dtype
    lines = []
    for n in spatial:
        if corners:
            line = np.linspace(-1, 1, n) if n > 1 else np.zeros(n)  # as in PyTorch
        else:
            line = (2 * np.arange(n) + 1) / n - 1
        lines.append(line)
    axes = np.meshgrid(*lines, indexing="ij")[::-1]
    points = np.stack([*axes, np.ones(spatial)], axis=-1).reshape(-1, len(spatial) + 1)
    grid = ops.matmul(points.astype(dtype), np.swapaxes(theta, 1, 2))
    return np.reshape(grid, (shape_of(theta)[0], *spatial, len(spatial)))


@operator("CenterCropPad")
def center_crop_pad(node: Node, x: Array, shape: Array) -> Array:
    wanted = integers(node, shape, "shape")
    rank = len(shape_of(x))
    axes = [int(axis) % rank for axis in node.attribute("axes", None) or range(rank)]
    if len(axes) != len(wanted):
        raise node.error(f"has a shape of {len(wanted)} sizes for {len(axes)} axes")
    check_size(node, *wanted)
    crops, widths = [slice(None)] * rank, [(0, 0)] * rank
    for axis, size in zip(axes, wanted, strict=True):
        rest = shape_of(x)[axis] - size
        if rest > 0:
            crops[axis] = slice(rest // 2, rest // 2 + size)
        else:
            widths[axis] = (-rest // 2, -rest - -rest // 2)
    return np.pad(x[tuple(crops)], widths)


@operator("Col2Im")
def col2im(node: Node, x: Array, image: Array, block: Array) -> Array:
    spatial = integers(node, image, "image_shape")
    kernel = integers(node, block, "block_shape")
    rank = len(spatial)
    strides, dilation = counts(node, "strides", rank), counts(node, "dilations", rank)
    low, high = pads(node, rank)
    images, rows, columns = shape_of(x)
    out = tuple(
        [
            (n + a + b - (k - 1) * d - 1) // s + 1
            for n, a, b, k, d, s in zip(spatial, low, high, kernel, dilation, strides, strict=True)
        ]
    )
    taps = math.prod(kernel)
    if rows % taps or math.prod(out) != columns:
        raise node.error(f"has columns of shape {shape_of(x)} for {taps} taps at {out} places")
    channels = rows // taps
    values = np.reshape(x, (images, channels, taps, *out))
    padded = [n + a + b for n, a, b in zip(spatial, low, high, strict=True)]
    check_size(node, images, channels, *padded)
    y: Array = np.zeros((images, channels, *padded), shape_dtype(x).dtype)
    for number, tap in enumerate(itertools.product(*[range(k) for k in kernel])):
        place = [
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, dilation, out, strides, strict=True)
        ]
        y = ops.at(y)[(slice(None), slice(None), *place)].add(values[:, :, number])
    cut = [slice(a, a + n) for a, n in zip(low, spatial, strict=True)]
    return y[(slice(None), slice(None), *cut)]


@operator("ImageDecoder")
def image_decoder(node: Node, encoded: Array) -> Array:
    """Needs Pillow, as the extra `kinone[data]` has it."""
    kind = node.attribute("pixel_format", "RGB")
    if kind not in ("RGB", "BGR", "Grayscale"):
        raise node.error(f"has an unknown pixel_format, {kind!r}")
    data = known(node, encoded, "encoded stream").tobytes()
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise node.error("needs Pillow: pip install 'kinone[data]'") from error
    try:
        with Image.open(io.BytesIO(data)) as picture:
            pixels: np.ndarray[Any, Any] = np.asarray(
                picture.convert("L" if kind == "Grayscale" else "RGB")
            )
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise node.error(f"cannot read its image: {error}") from None
    if kind == "Grayscale":
        return pixels[:, :, None]
    return astype(pixels[:, :, ::-1] if kind == "BGR" else pixels, np.uint8)
