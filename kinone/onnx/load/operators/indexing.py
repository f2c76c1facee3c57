"""Operators that pick elements by position, and that put elements at positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ....ops.update import update
from ..known import integers, known
from ..registry import Node, operator

# ---- slices --------------------------------------------------------------------------------------


@operator("Slice")
def slice_by_attributes(node: Node, x: Array) -> Array:
    starts, ends = node.attribute("starts"), node.attribute("ends")
    return _slice(node, x, starts, ends, node.attribute("axes", None), None)


@operator("Slice", since=10)
def slice_(
    node: Node,
    x: Array,
    starts: Array,
    ends: Array,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    return _slice(
        node,
        x,
        integers(node, starts, "starts"),
        integers(node, ends, "ends"),
        None if axes is None else integers(node, axes, "axes"),
        None if steps is None else integers(node, steps, "steps"),
    )


def _slice(node: Node, x: Array, starts: Any, ends: Any, axes: Any, steps: Any) -> Array:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * len(shape_of(x))
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise node.error("has not as many starts as ends, axes and steps")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0 or not -len(index) <= axis < len(index):
            raise node.error(f"slices {x.shape} along axis {axis} in steps of {step}")
        size = shape_of(x)[axis]
        stop: int | None = end
        if step < 0 and end + size < 0:  # before the first one: Python says None for it
            stop = None
        if step < 0 and start + size < 0:  # and ONNX begins at the first one, where Python has none
            start = 0
        index[axis] = slice(start, stop, step)
    return x[tuple(index)]


# ---- gather --------------------------------------------------------------------------------------


@operator("Gather")
def gather(node: Node, x: Array, indices: Array) -> Array:
    return ops.take(x, indices, node.attribute("axis", 0))


@operator("GatherElements")
def gather_elements(node: Node, x: Array, indices: Array) -> Array:
    axis = node.attribute("axis", 0) % len(shape_of(x))
    return np.take_along_axis(_corner(x, indices, axis), indices, axis)


def _corner(x: Array, indices: Array, axis: int) -> Array:
    """`x` as far as the indices reach, which may be shorter than it along the other axes."""
    wanted = shape_of(indices)
    if all(i == axis or size == wanted[i] for i, size in enumerate(shape_of(x))):
        return x
    cut = [slice(None) if i == axis else slice(size) for i, size in enumerate(wanted)]
    return x[tuple(cut)]


@operator("GatherND")
def gather_nd(node: Node, x: Array, indices: Array) -> Array:
    batch = node.attribute("batch_dims", 0)
    return ops.getitem(x, _places(indices, batch))  # either may be traced


def _places(indices: Array, batch: int = 0) -> tuple[Array, ...]:
    """The rows of `indices` as an index; the first axes, `batch` of them, are as they are."""
    around = shape_of(indices)[:-1]
    axes = [
        np.arange(size).reshape([size if i == axis else 1 for i in range(len(around))])
        for axis, size in enumerate(around[:batch])
    ]
    columns = [indices[..., i] for i in range(shape_of(indices)[-1])]
    return (*[np.broadcast_to(each, around) for each in axes], *columns)


# ---- scatter -------------------------------------------------------------------------------------

_REDUCTIONS = {"none": "set", "add": "add", "mul": "multiply", "min": "min", "max": "max"}


def _put(node: Node, x: Array, places: tuple[Array, ...], values: Array) -> Array:
    how = node.attribute("reduction", "none")
    if how not in _REDUCTIONS:
        raise node.error(f"has the reduction {how!r}")
    dtype = shape_dtype(x).dtype
    if dtype.kind in "OSU":  # texts, which are never traced
        result = np.array(x)
        result[places] = values
        return result
    if dtype.kind == "b" and how != "none":
        joined = np.logical_or if how in ("add", "max") else np.logical_and
        counts = update(x.astype(np.int32), places, _REDUCTIONS[how], values.astype(np.int32))
        return counts != 0 if joined is np.logical_or else counts > 0
    return update(x, places, _REDUCTIONS[how], values)


@operator("Scatter", "ScatterElements")
def scatter_elements(node: Node, x: Array, indices: Array, values: Array) -> Array:
    axis = node.attribute("axis", 0) % len(shape_of(x))
    wanted = shape_of(indices)
    places = [
        indices
        if i == axis
        else np.arange(size).reshape([-1 if j == i else 1 for j in range(len(wanted))])
        for i, size in enumerate(wanted)
    ]
    return _put(node, x, tuple(places), values)


@operator("ScatterND")
def scatter_nd(node: Node, x: Array, indices: Array, values: Array) -> Array:
    return _put(node, x, _places(indices), values)


@operator("TensorScatter")
def tensor_scatter(node: Node, cache: Array, new: Array, first: Array | None = None) -> Array:
    ndim = len(shape_of(cache))
    axis = node.attribute("axis", -2) % ndim
    batch, length = shape_of(cache)[0], shape_of(new)[axis]
    start = np.zeros(batch, np.int64) if first is None else first
    rows = np.reshape(start, (batch, 1)) + np.arange(length)
    if node.attribute("mode", "linear") == "circular":
        rows = rows % shape_of(cache)[axis]
    # The axis stands beside the batch's while it is written.
    moved, values = np.moveaxis(cache, axis, 1), np.moveaxis(new, axis, 1)
    written = update(moved, (np.arange(batch)[:, None], rows), "set", values)
    return np.moveaxis(written, 1, axis)


# ---- selections, whose size depends on the numbers -----------------------------------------------


@operator("NonZero")
def non_zero(node: Node, x: Array) -> Array:
    numbers = known(node, x, "operand")
    if not numbers.ndim:  # no axis, one place: the empty index, where the number is not zero
        return np.zeros((0, int(numbers != 0)), np.int64)
    return np.array(np.nonzero(numbers), np.int64)


@operator("Compress")
def compress(node: Node, x: Array, condition: Array) -> Array:
    chosen = np.flatnonzero(known(node, condition, "condition"))
    axis = node.attribute("axis", None)
    return ops.take(np.reshape(x, -1) if axis is None else x, chosen, 0 if axis is None else axis)


@operator("Unique")
def unique(node: Node, x: Array) -> Any:
    axis = node.attribute("axis", None)
    flat = known(node, x, "operand")
    _, first, inverse, counts = np.unique(
        flat, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not node.attribute("sorted", 1):  # in the order in which they come
        order = np.argsort(first)
        inverse = np.argsort(order)[inverse]
        first, counts = first[order], counts[order]
    values = ops.take(np.reshape(x, -1) if axis is None else x, first, 0 if axis is None else axis)
    return values, *[np.asarray(each, np.int64) for each in (first, inverse, counts)]


@operator("ReverseSequence")
def reverse_sequence(node: Node, x: Array, lengths: Array) -> Array:
    time, batch = node.attribute("time_axis", 0), node.attribute("batch_axis", 1)
    ndim = len(shape_of(x))
    time, batch = time % ndim, batch % ndim

    def along(values: Array, axis: int) -> Array:
        return np.reshape(values, [-1 if i == axis else 1 for i in range(ndim)])

    steps = along(np.arange(shape_of(x)[time]), time)
    ends = along(lengths, batch)
    return np.take_along_axis(x, np.where(steps < ends, ends - 1 - steps, steps), time)
