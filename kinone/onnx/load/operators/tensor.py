"""Operators that arrange a tensor's elements: shapes, joining, repeating, padding, constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....core import Array, shape_dtype, shape_of
from ..known import integer, integers, known
from ..registry import Node, operator
from ..tensors import dtype_of

# ---- shapes --------------------------------------------------------------------------------------


@operator("Identity")
def identity(node: Node, x: Any) -> Any:
    return (x,)  # a sequence stays one output


@operator("Shape")
def shape(node: Node, x: Array) -> Array:
    axes = slice(node.attribute("start", 0), node.attribute("end", None))
    return np.array(shape_of(x)[axes], np.int64)


@operator("Size")
def size(node: Node, x: Array) -> Array:
    return np.array(math.prod(shape_of(x)), np.int64)


@operator("Reshape")
def reshape_to_attribute(node: Node, x: Array) -> Array:
    return _reshape(node, x, node.attribute("shape"))


@operator("Reshape", since=5)
def reshape(node: Node, x: Array, shape: Array) -> Array:
    return _reshape(node, x, integers(node, shape, "shape"))


def _reshape(node: Node, x: Array, wanted: Any) -> Array:
    sizes, before = [int(each) for each in wanted], shape_of(x)
    if not node.attribute("allowzero", 0):
        if any(each == 0 and axis >= len(before) for axis, each in enumerate(sizes)):
            raise node.error(f"copies an axis that its operand {before} has not, for {sizes}")
        sizes = [before[axis] if each == 0 else each for axis, each in enumerate(sizes)]
    if sizes.count(-1) == 1 and math.prod(before) == 0:  # NumPy cannot tell: there, 0
        rest = math.prod([each for each in sizes if each != -1])
        sizes = [(0 if rest else 1) if each == -1 else each for each in sizes]
    if sizes.count(-1) > 1 or any(each < -1 for each in sizes):
        raise node.error(f"is given the shape {sizes}")
    return np.reshape(x, sizes)


@operator("Flatten")
def flatten(node: Node, x: Array) -> Array:
    sizes = shape_of(x)
    axis = node.attribute("axis", 1)
    axis = axis + len(sizes) if axis < 0 else axis
    return np.reshape(x, (math.prod(sizes[:axis]), math.prod(sizes[axis:])))


@operator("Squeeze")
def squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    wanted = node.attribute("axes", None) if axes is None else integers(node, axes, "axes")
    return np.squeeze(x) if wanted is None else np.squeeze(x, tuple(wanted))


@operator("Unsqueeze")
def unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    wanted = node.attribute("axes") if axes is None else integers(node, axes, "axes")
    return np.expand_dims(x, tuple(wanted))


@operator("Transpose")
def transpose(node: Node, x: Array) -> Array:
    order = node.attribute("perm", None)
    return np.transpose(x, order)


@operator("Expand")
def expand(node: Node, x: Array, shape: Array) -> Array:
    wanted = integers(node, shape, "shape")
    return np.broadcast_to(x, np.broadcast_shapes(shape_of(x), wanted))


# ---- joining, splitting, repeating ---------------------------------------------------------------


@operator("Concat")
def concat(node: Node, *xs: Array) -> Array:
    return np.concatenate(xs, node.attribute("axis", 1 if node.opset < 4 else 0))


@operator("Split")
def split(node: Node, x: Array, sizes: Array | None = None) -> Any:
    axis = node.attribute("axis", 0)
    given = node.attribute("split", None)
    if sizes is not None:
        given = integers(node, sizes, "sizes")
    length = shape_of(x)[axis]
    if not given:
        count = node.attribute("num_outputs", len(node.outputs))
        if not 0 < count <= max(len(node.outputs), length):
            raise node.error(f"splits an axis of {length} into {count} parts")
        each = -(-length // count)  # the last one is the smaller where they are not equal
        given = [max(min(each, length - each * i), 0) for i in range(count)]
    if sum(given) != length or min(given, default=0) < 0:
        raise node.error(f"splits an axis of {length} into {list(given)}")
    ends = np.cumsum(given)[:-1].tolist()
    return tuple(np.split(x, ends, axis))


@operator("Tile")
def tile_along_one_axis(node: Node, x: Array, tiles: Array, axis: Array) -> Array:
    repeats = [1] * len(shape_of(x))
    repeats[integer(node, axis, "axis")] = integer(node, tiles, "count")
    return np.tile(x, repeats)


@operator("Tile", since=6)
def tile(node: Node, x: Array, repeats: Array) -> Array:
    return np.tile(x, integers(node, repeats, "repeats"))


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Array) -> Array:
    batch, depth, height, width = shape_of(x)
    block = node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "DCR":
        parts, order = (batch, block, block, depth // block**2, height, width), (0, 3, 4, 1, 5, 2)
    else:
        parts, order = (batch, depth // block**2, block, block, height, width), (0, 1, 4, 2, 5, 3)
    spread = np.transpose(np.reshape(x, parts), order)
    return np.reshape(spread, (batch, depth // block**2, height * block, width * block))


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Array) -> Array:
    batch, depth, height, width = shape_of(x)
    block = node.attribute("blocksize")
    high, wide = height // block, width // block
    parts = np.reshape(x, (batch, depth, high, block, wide, block))
    order = (0, 3, 5, 1, 2, 4) if node.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return np.reshape(np.transpose(parts, order), (batch, depth * block**2, high, wide))


@operator("Pad")
def pad_by_attributes(node: Node, x: Array) -> Array:
    widths = node.attribute("pads", None) or node.attribute("paddings")
    value = np.array(node.attribute("value", 0.0), shape_dtype(x).dtype)
    return _pad(node, x, widths, value, None)


@operator("Pad", since=11)
def pad(
    node: Node,
    x: Array,
    pads: Array,
    value: Array | None = None,
    axes: Array | None = None,
) -> Array:
    if value is None:
        value = np.zeros((), shape_dtype(x).dtype)
    along = None if axes is None else integers(node, axes, "axes")
    return _pad(node, x, integers(node, pads, "pads"), np.reshape(value, ()), along)


def _pad(node: Node, x: Array, pads: Any, value: Array, axes: tuple[int, ...] | None) -> Array:
    ndim = len(shape_of(x))
    along = tuple(range(ndim)) if axes is None else tuple([axis % ndim for axis in axes])
    if len(pads) != 2 * len(along):
        raise node.error(f"is given {len(pads)} pads for {len(along)} axes")
    widths = [(0, 0)] * ndim
    for i, axis in enumerate(along):
        widths[axis] = (int(pads[i]), int(pads[i + len(along)]))
    # A negative width takes elements away.
    kept = tuple(
        [
            slice(max(-before, 0), size - max(-after, 0))
            for (before, after), size in zip(widths, shape_of(x), strict=True)
        ]
    )
    x = x[kept] if min(map(min, widths), default=0) < 0 else x
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    mode = node.attribute("mode", "constant")
    if not any(map(any, widths)):
        return x
    if mode != "constant":
        return np.pad(x, widths, mode=mode)
    return np.pad(x, widths, mode="constant", constant_values=value)


# ---- constants -----------------------------------------------------------------------------------


@operator("Constant")
def constant(node: Node) -> Any:
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    for name in ("value", "sparse_value"):
        if name in node.attributes:
            return node.attributes[name]
    for name, value in node.attributes.items():
        if name.startswith("value_string"):
            return np.array(value, object)
        if name.startswith("value_"):
            return np.array(value, kinds.get(name, np.int64))
    raise node.error("has no value")


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Array) -> Array:
    value = node.attribute("value", None)
    value = np.zeros(1, np.float32) if value is None else value
    return np.broadcast_to(value.reshape(()), integers(node, shape, "shape"))  # takes no memory


@operator("EyeLike")
def eye_like(node: Node, x: Array) -> Array:
    rows, columns = shape_of(x)
    to = node.attribute("dtype", None)
    dtype = shape_dtype(x).dtype if to is None else dtype_of(to)
    return np.eye(rows, columns, node.attribute("k", 0), dtype)


@operator("Range")
def range_(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    first, last, step = [
        known(node, each, what).reshape(())
        for each, what in ((start, "start"), (limit, "limit"), (delta, "delta"))
    ]
    if step == 0:
        raise node.error("has the delta 0")
    dtype = first.dtype
    wide = np.float64 if dtype.kind not in "iu" else object  # as exact as the operands are
    count = max(
        math.ceil((last.astype(wide)[()] - first.astype(wide)[()]) / step.astype(wide)[()]), 0
    )
    if dtype.kind not in "iu" and dtype.itemsize == 2:  # has not all the integers to count with
        first, step = first.astype(np.float32), step.astype(np.float32)
    return (first + np.arange(count).astype(first.dtype) * step).astype(dtype)


@operator("OneHot")
def one_hot(node: Node, indices: Array, depth: Array, values: Array) -> Array:
    count = integer(node, depth, "depth")
    axis = node.attribute("axis", -1)
    axis = axis + len(shape_of(indices)) + 1 if axis < 0 else axis
    places = np.expand_dims(indices, axis)
    places = np.where(places < 0, places + count, places)
    along = [1] * (len(shape_of(indices)) + 1)
    along[axis] = count
    hot = places == np.arange(count).reshape(along).astype(shape_dtype(places).dtype)
    return np.where(hot, values[1], values[0])


@operator("Trilu")
def trilu(node: Node, x: Array, k: Array | None = None) -> Array:
    rows, columns = shape_of(x)[-2:]
    above = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    limit = 0 if k is None else np.reshape(k, ())
    kept = above >= limit if node.attribute("upper", 1) else above <= limit
    return np.where(kept, x, np.zeros((), shape_dtype(x).dtype))


@operator("Where")
def where(node: Node, condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)
