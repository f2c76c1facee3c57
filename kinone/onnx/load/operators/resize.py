"""Images of other sizes: Resize and Upsample, axis by axis.

Where the elements of the result lie in the input, and what weights those around have, is known when
the function runs: per axis one table of places and one of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....ops.shape import astype
from ..known import integers, known
from ..registry import Node, operator
from ..windows import check_size

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class _Rule:
    """How places are found, and how what is around them is mixed."""

    mode: str
    coordinates: str
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolation: float = 0.0


@operator("Resize", since=10)
def resize_10(node: Node, x: Array, scales: Array) -> Array:
    mode = _mode(node)
    rule = _Rule(mode, "asymmetric", "simple")
    return _resized(node, x, rule, _scales(node, scales))


@operator("Resize", since=11)
def resize(
    node: Node,
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
) -> Array:
    rule = _Rule(
        _mode(node),
        node.attribute("coordinate_transformation_mode", "half_pixel"),
        node.attribute("nearest_mode", "round_prefer_floor"),
        node.attribute("cubic_coeff_a", -0.75),
        bool(node.attribute("antialias", 0)),
        bool(node.attribute("exclude_outside", 0)),
        node.attribute("extrapolation_value", 0.0),
    )
    if rule.antialias and rule.mode == "nearest":
        raise node.error("has antialias=1, which there is not with mode='nearest'")
    shape = shape_of(x)
    rank = len(shape)
    axes = [int(axis) % rank for axis in node.attribute("axes", None) or range(rank)]
    region = None
    if rule.coordinates == "tf_crop_and_resize":
        if roi is None:
            raise node.error("wants a roi with coordinate_transformation_mode='tf_crop_and_resize'")
        given = known(node, roi, "roi").astype(np.float64)
        if given.shape != (2 * len(axes),):
            raise node.error(f"has a roi of shape {given.shape} for {len(axes)} axes")
        region = dict(zip(axes, given.reshape(2, -1).T.tolist(), strict=True))
    wanted = None if sizes is None else integers(node, sizes, "sizes")
    if wanted is None or (scales is not None and not wanted):
        if scales is None:
            raise node.error("has neither scales nor sizes")
        return _resized(node, x, rule, _scales(node, scales), axes, region)
    if len(wanted) != len(axes):
        raise node.error(f"has {len(wanted)} sizes for {len(axes)} axes")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    ratios = [size / max(shape[axis], 1) for size, axis in zip(wanted, axes, strict=True)]
    if policy in ("not_larger", "not_smaller"):
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(axes)
        wanted = tuple([math.floor(ratio * shape[axis] + 0.5) for axis in axes])
    elif policy != "stretch":
        raise node.error(f"has an unknown keep_aspect_ratio_policy, {policy!r}")
    return _resized(node, x, rule, np.array(ratios), axes, region, wanted)


@operator("Upsample", since=1)
def upsample_1(node: Node, x: Array) -> Array:
    scales = np.array(
        [1.0, 1.0, node.attribute("height_scale"), node.attribute("width_scale")], np.float32
    )
    return _resized(node, x, _Rule(_mode(node), "asymmetric", "floor"), scales)


@operator("Upsample", since=7)
def upsample_7(node: Node, x: Array) -> Array:
    scales = np.array(node.attribute("scales"), np.float32)
    return _resized(node, x, _Rule(_mode(node), "asymmetric", "floor"), scales)


@operator("Upsample", since=9)
def upsample(node: Node, x: Array, scales: Array) -> Array:
    rule = _Rule(_mode(node), "asymmetric", "floor")
    return _resized(node, x, rule, _scales(node, scales))


def _mode(node: Node) -> str:
    mode = node.attribute("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    if mode not in ("nearest", "linear", "cubic"):
        raise node.error(f"has an unknown mode, {mode!r}")
    return str(mode)


def _scales(node: Node, scales: Array) -> np.ndarray[Any, Any]:
    return known(node, scales, "scales").astype(np.float32)


def _resized(
    node: Node,
    x: Array,
    rule: _Rule,
    scales: np.ndarray[Any, Any],
    axes: list[int] | None = None,
    region: dict[int, list[float]] | None = None,
    sizes: tuple[int, ...] | None = None,
) -> Array:
    shape, dtype = shape_of(x), shape_dtype(x).dtype
    axes = list(range(len(shape))) if axes is None else axes
    if len(scales) != len(axes):
        raise node.error(f"has {len(scales)} scales for {len(axes)} axes")
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise node.error(f"has scales that are not positive, {scales.tolist()}")
    whole = list(shape)
    for number, axis in enumerate(axes):
        if sizes is not None:
            whole[axis] = sizes[number]
        else:  # as ONNX Runtime and shape inference have it: in float32, as the scales are
            whole[axis] = int(np.floor(scales[number] * np.float32(shape[axis])))
    check_size(node, *whole)
    outside: list[tuple[int, Any]] = []
    y = x
    # From the last axis on, as ONNX Runtime and Pillow do, who round integers after each.
    for axis, number in sorted(zip(axes, range(len(axes)), strict=True), reverse=True):
        scale = scales[number]
        size = shape[axis]
        out = whole[axis]
        crop = None if region is None else region[axis]
        if out == size and scale == 1 and (crop is None or crop == [0, 1]):
            continue
        if 0 in (size, out):
            if out:
                raise node.error(f"makes {out} elements of none")
            y = np.take(y, np.zeros(0, np.int64), axis=axis)
            continue
        at = _coordinates(node, rule, size, out, scale, crop)
        if rule.coordinates == "tf_crop_and_resize":
            beyond = (at < 0) | (at > size - 1)
            if beyond.any():
                outside.append((axis, beyond))
        if rule.mode == "nearest":
            y = np.take(y, _nearest(node, rule, at, size, float(scale)), axis=axis)
        else:
            y = _mixed(y, axis, *_weights(rule, at, size, float(scale)))
            if rule.antialias and dtype.kind in "iu":
                y = np.clip(np.floor(y + 0.5), np.iinfo(dtype).min, np.iinfo(dtype).max)
    for axis, beyond in outside:
        mask = beyond.reshape(-1, *[1] * (len(shape) - 1 - axis))
        y = np.where(mask, shape_dtype(y).dtype.type(rule.extrapolation), y)
    if dtype.kind in "iu" and shape_dtype(y).dtype != dtype:
        limits = np.iinfo(dtype)
        y = np.clip(y, limits.min, limits.max)
    return astype(y, dtype)


def _coordinates(
    node: Node, rule: _Rule, size: int, out: int, scale: Any, crop: list[float] | None
) -> np.ndarray[Any, Any]:
    """Where the elements of the result lie in the input."""
    # The nearest element of a place half-way between two depends on how it is rounded: as in ONNX
    # Runtime, in float32. What is mixed is exact.
    kind = np.float32 if rule.mode == "nearest" else np.float64
    i: Any = np.arange(out).astype(kind)
    s: Any = kind(scale)
    half: Any = kind(0.5)
    name, length = rule.coordinates, float(scale) * size
    found: Any
    if name == "half_pixel" or (name == "pytorch_half_pixel" and out > 1):
        found = (i + half) / s - half
    elif name == "pytorch_half_pixel":
        found = np.zeros(out, kind)
    elif name == "asymmetric":
        found = i / s
    elif name == "tf_half_pixel_for_nn":
        found = (i + half) / s
    elif name == "half_pixel_symmetric":
        found = kind(size) / kind(2) * (1 - kind(out) / (s * kind(size))) + (i + half) / s - half
    elif name == "align_corners":
        found = i * kind(size - 1) / kind(length - 1) if length != 1 else np.zeros(out, kind)
    elif name == "tf_crop_and_resize" and crop is not None:
        start, end = crop
        if length != 1:
            found = i * kind((end - start) * (size - 1) / (length - 1)) + kind(start * (size - 1))
        else:
            found = np.full(out, (start + end) / 2 * (size - 1), kind)
    else:
        raise node.error(f"has an unknown coordinate_transformation_mode, {name!r}")
    return np.asarray(found)


def _nearest(node: Node, rule: _Rule, at: np.ndarray[Any, Any], size: int, scale: float) -> Places:
    if rule.nearest == "round_prefer_floor":
        found = np.ceil(at - at.dtype.type(0.5))
    elif rule.nearest == "round_prefer_ceil":
        found = np.floor(at + at.dtype.type(0.5))
    elif rule.nearest == "floor":
        found = np.floor(at)
    elif rule.nearest == "ceil":
        found = np.ceil(at)
    elif rule.nearest == "simple":  # before nearest_mode
        found = np.ceil(at) if scale < 1 else np.floor(at)
    else:
        raise node.error(f"has an unknown nearest_mode, {rule.nearest!r}")
    return np.asarray(np.clip(found, 0, size - 1), np.int64)


def _weights(rule: _Rule, at: Floats, size: int, scale: float) -> tuple[Places, Floats]:
    """The elements that each place is mixed of, (out, taps), and their weights."""
    stretch = min(scale, 1.0) if rule.antialias else 1.0
    reach = 1 if rule.mode == "linear" else 2
    half = math.ceil(reach / stretch)
    places = np.floor(at)[:, None].astype(np.int64) + np.arange(1 - half, half + 1)
    distance = np.abs(places - at[:, None]) * stretch
    if rule.mode == "linear":
        weights = np.clip(1 - distance, 0, None)
    else:
        a, d = rule.cubic, distance
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weights = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    if rule.exclude_outside:
        weights = np.where((places >= 0) & (places < size), weights, 0.0)
    if rule.exclude_outside or rule.antialias:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return np.clip(places, 0, size - 1), weights


def _mixed(x: Array, axis: int, places: Places, weights: Floats) -> Array:
    """The elements at `places` along an axis, mixed."""
    dtype = shape_dtype(x).dtype
    kind = dtype if dtype.kind == "f" and dtype.itemsize >= 4 else np.dtype(np.float32)
    if dtype.kind in "iu" and dtype.itemsize > 2:
        kind = np.dtype(np.float64)
    x = astype(x, kind)
    out, taps = places.shape
    rest = [1] * (len(shape_of(x)) - 1 - axis)
    if taps > 8:  # one product with a matrix is less than so many passes
        matrix = np.zeros((out, shape_of(x)[axis]))
        np.add.at(matrix, (np.arange(out)[:, None], places), weights)
        return np.moveaxis(ops.matmul(np.moveaxis(x, axis, -1), matrix.T.astype(kind)), -1, axis)
    total: Array | None = None
    for tap in range(taps):
        share = weights[:, tap].reshape(-1, *rest).astype(kind)
        if not share.any():
            continue
        part = np.take(x, places[:, tap], axis=axis) * share
        total = part if total is None else total + part
    assert total is not None
    return total
