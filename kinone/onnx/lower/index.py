"""Indexing, and writing into places.

`x[i]` is Slice for its slices, Gather for one index array and GatherND for several. What writes
(`x.at[i].set(v)`, the gradient of `x[i]`) looks up which flat places the index shows, by indexing
an arange of x's shape, and scatters there; padding and whole rows are simpler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ops.index import getitem_p
from ...ops.template import ARRAY, Template
from ..export import dims
from ..export.builder import Builder
from ..export.dims import Dim, Size
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from .common import out, written

Parts = list[Any]


def _explicit(template: Template, ndim: int) -> Parts:
    """The parts of an index with a slice for each axis that it does not name."""
    taken = sum(part is not None and part is not Ellipsis for part in template.parts)
    whole = [slice(None)] * (ndim - taken)
    parts: Parts = []
    for part in template.parts:
        parts += whole if part is Ellipsis else [part]
    return parts if Ellipsis in template.parts else [*parts, *whole]


@lowers("getitem")
def _getitem(b: Builder, step: Step, x: Value, *arrays: Value) -> Value:
    shape, dtype = out(step)
    parts = _explicit(step.params["template"], x.ndim)
    rest = [part for part in parts if not _is_place(part)]
    if len(rest) == len(parts) - 1 and all(part == slice(None) for part in rest):
        return _one(b, x, [_is_place(part) for part in parts].index(True), parts)
    sliced, parts = _sliced(b, x, parts)
    if not arrays:
        return b.reshape(sliced, shape)
    axes = [part for part in parts if part is not None]
    places = [i for i, part in enumerate(axes) if part is ARRAY]
    if len(places) == 1 and not any(_is_place(part) for part in axes):
        (axis,) = places
        index = b.plain(_index(b, arrays[0]))
        # One axis for one: the tensor lies as it did, such as channels first between convolutions.
        sliced = sliced if index.ndim == 1 else b.plain(sliced)
        order = sliced.order if index.ndim == 1 else None
        found = (*sliced.shape[:axis], *index.shape, *sliced.shape[axis + 1 :])
        place = sliced.order.index(axis)
        y = b.node("Gather", [sliced, index], found, dtype, order=order, typed=(0,), axis=place)
        return b.reshape(y, shape)
    return _gathered(b, sliced, parts, arrays, shape, _together(step.params["template"]))


def _is_place(part: Any) -> bool:
    return type(part) is int or isinstance(part, Dim)


def _one(b: Builder, x: Value, axis: int, parts: Parts) -> Value:
    """`x[:, i]`"""
    kept = [a for a in x.order if a != axis]
    return b.node(
        "Gather",
        [x, b.number(parts[axis], np.int64)],
        [x.shape[a] for a in range(x.ndim) if a != axis],
        x.dtype,
        order=[sorted(kept).index(a) for a in kept],
        typed=(0,),
        axis=x.order.index(axis),
    )


def _index(b: Builder, index: Value) -> Value:
    return b.cast(index, np.int64)


def _sliced(b: Builder, x: Value, parts: Parts) -> tuple[Value, Parts]:
    """x with the slices of an index taken; the integers too, as axes of length 1, where the index
    has no arrays. The parts then are None, whole slices, integers and arrays."""
    starts: list[Size] = []
    stops: list[Size] = []
    steps: list[int] = []
    axes: list[int] = []
    shape = list(x.shape)
    left: Parts = []
    fancy = any(part is ARRAY for part in parts)
    axis = 0
    for part in parts:
        if part is None:
            left.append(part)
            continue
        size = shape[axis]
        if _is_place(part) and not fancy:
            starts.append(part)
            stops.append(part + 1 if part != -1 else _LAST)
            steps.append(1)
            axes.append(axis)
            shape[axis] = 1
        elif isinstance(part, slice) and part != slice(None):
            start, stop, stride, count = _bounds(part, size)
            # Where all traced sizes are less than the end, larger ones may come.
            if count != size or stride != 1 or isinstance(size, Dim):
                starts.append(start)
                stops.append(stop)
                steps.append(stride)
                axes.append(axis)
                shape[axis] = count
        left.append(slice(None) if isinstance(part, slice) else part)
        axis += 1
    if not axes:
        return x, left
    ends = [b.sizes(starts), b.sizes(stops), b.ints(*[x.order.index(a) for a in axes])]
    return (
        b.node(
            "Slice",
            [x, *ends, b.ints(*steps)],
            shape,
            x.dtype,
            order=x.order,
            typed=(0,),
        ),
        left,
    )


_LAST = int(np.iinfo(np.int64).max)
_FIRST = int(np.iinfo(np.int64).min)


def _bounds(part: slice, size: Size) -> tuple[Size, Size, int, Size]:
    """Start, stop and step as Slice wants them, and how many elements there are.

    What NumPy counts from the end so does ONNX; only a missing end needs a number.
    """
    stride = 1 if part.step is None else part.step
    count = _length(part, size)
    start: Size = part.start if part.start is not None else (0 if stride > 0 else _LAST)
    stop: Size = part.stop if part.stop is not None else (_LAST if stride > 0 else _FIRST)
    return start, stop, stride, count


def _length(part: slice, size: Size) -> Size:
    ends = [end for end in (part.start, part.stop, size) if isinstance(end, Dim)]
    if not ends:
        return len(range(*part.indices(int(size))))
    count = len(ends[0].values)
    rows = zip(
        *[
            [None] * count if end is None else dims.spread(end, count)
            for end in (part.start, part.stop, part.step)
        ],
        dims.spread(size, count),
        strict=True,
    )
    return dims.of([len(range(*slice(*row[:3]).indices(row[3]))) for row in rows])


def _together(template: Template) -> bool:
    """Whether nothing stands between the index arrays, not even an ellipsis of no axes."""
    spots = [i for i, part in enumerate(template.parts) if part is ARRAY or _is_place(part)]
    return spots[-1] - spots[0] + 1 == len(spots)


def _gathered(
    b: Builder,
    x: Value,
    parts: Parts,
    arrays: Sequence[Value],
    shape: Sequence[Size],
    together: bool,
) -> Value:
    """Several index arrays at once: GatherND, with the indexed axes first."""
    axes = [part for part in parts if part is not None]
    rest = iter(arrays)
    indices = [
        _index(b, next(rest)) if part is ARRAY else b.number(part, np.int64)
        for part in axes
        if not isinstance(part, slice)
    ]
    common: list[Size] = []
    for index in indices:
        common = _broadcast(common, index.shape)
    stacked = (
        b.node(
            "Concat",
            [b.reshape(b.expand(index, common), (*common, 1)) for index in indices],
            (*common, len(indices)),
            np.int64,
            axis=-1,
        )
        if len(indices) > 1
        else b.reshape(b.expand(indices[0], common), (*common, 1))
    )
    first = [i for i, part in enumerate(axes) if not isinstance(part, slice)]
    others = [i for i, part in enumerate(axes) if isinstance(part, slice)]
    data = b.plain(x.reordered([*first, *others]))
    tail = [x.shape[i] for i in others]
    y = b.node("GatherND", [data, stacked], (*common, *tail), x.dtype, typed=(0,))
    # NumPy: the arrays' axes stand where the arrays stood; first, where something is between.
    before = 0
    if together:
        first_spot = [part is ARRAY or _is_place(part) for part in parts].index(True)
        before = sum(isinstance(part, slice) for part in parts[:first_spot])
    n = len(common)
    order = [*range(n, n + before), *range(n), *range(n + before, n + len(tail))]
    return b.reshape(y.reordered(order), shape)


def _broadcast(a: Sequence[Size], b: Sequence[Size]) -> list[Size]:
    long, short = (a, b) if len(a) >= len(b) else (b, a)
    pad = len(long) - len(short)
    return [
        size if i < pad or short[i - pad] == 1 else short[i - pad] for i, size in enumerate(long)
    ]


# ---- writing -------------------------------------------------------------------------------------


def _places(b: Builder, x: Value, arrays: Sequence[Value], template: Template) -> Value:
    """The flat positions that an index shows."""
    total = dims.product(x.shape)
    if isinstance(total, Dim):
        ends = [b.number(n, np.int64) for n in (0, total, 1)]
        every = b.reshape(b.node("Range", ends, (total,), np.int64), x.shape)
    else:
        every = b.constant(np.arange(total).reshape(x.shape))

    places = written(b, _shown, every, *arrays, template=template)
    return places


def _shown(x: Any, *arrays: Any, template: Template) -> Any:
    return getitem_p(x, *arrays, template=template)


def scattered(
    b: Builder, x: Value, v: Value, arrays: Sequence[Value], template: Template, reduction: str
) -> Value:
    """x with v written to the places of an index, or combined with what is there."""
    parts = _explicit(template, x.ndim)
    if len(arrays) == 1 and parts[0] is ARRAY and all(p == slice(None) for p in parts[1:]):
        index = b.plain(_index(b, arrays[0]))
        updates = b.plain(b.expand(v, (*index.shape, *x.shape[1:])))
        rows = b.reshape(index, (*index.shape, 1))
        return _scatter_nd(b, x, rows, updates, reduction)
    places = _places(b, x, arrays, template)
    updates = b.reshape(b.expand(v, places.shape), (dims.product(places.shape),))
    total = dims.product(x.shape)
    rows = b.reshape(places, (*updates.shape, 1))
    flat = b.reshape(x, (total,))
    return b.reshape(_scatter_nd(b, flat, rows, updates, reduction), x.shape)


def _scatter_nd(b: Builder, x: Value, rows: Value, updates: Value, reduction: str) -> Value:
    return b.node(
        "ScatterND",
        [b.plain(x), rows, b.plain(updates)],
        x.shape,
        x.dtype,
        typed=(0, 2),
        reduction=None if reduction == "none" else reduction,
    )


@lowers("scatter")
def _scatter(b: Builder, step: Step, g: Value, *arrays: Value) -> Value:
    shape, dtype = out(step)
    template: Template = step.params["template"]
    if not arrays:
        padded = _padded(b, g, template, shape)
        if padded is not None:
            return padded
    zeros = b.expand(b.constant(0, dtype), shape)
    return scattered(b, zeros, g, arrays, template, "none" if template.once else "add")


def _padded(b: Builder, g: Value, template: Template, shape: Sequence[Size]) -> Value | None:
    """The transpose of taking slices of step 1 and single elements: zeros around it."""
    low: list[int] = []
    high: list[Size] = []
    inner: list[Size] = []
    for part, size in zip(
        [p for p in _explicit(template, len(shape)) if p is not None], shape, strict=True
    ):
        if isinstance(size, Dim):
            if part != slice(None):
                return None
            low, high, inner = [*low, 0], [*high, 0], [*inner, size]
            continue
        if any(
            isinstance(end, Dim) for end in (getattr(part, "start", 0), getattr(part, "stop", 0))
        ):
            return None
        taken = (
            range(size)[part] if isinstance(part, slice) else range(part % size, part % size + 1)
        )
        if taken.step != 1:
            return None
        low.append(taken.start if len(taken) else 0)
        high.append(size - low[-1] - len(taken))
        inner.append(len(taken))
    if not shape:
        return b.reshape(g, shape)  # a scalar has nothing around it
    g = b.plain(b.reshape(g, inner))
    pads = b.ints(*low, *[int(n) for n in high])
    return b.node("Pad", [g, pads], shape, g.dtype, typed=(0,))


@lowers("set")
def _set(b: Builder, step: Step, x: Value, v: Value, *arrays: Value) -> Value:
    dtype = out(step)[1]
    x, v = b.cast(x, dtype), b.cast(v, dtype)
    while v.ndim > x.ndim and v.shape[0] == 1:
        v = b.reshape(v, v.shape[1:])
    return scattered(b, x, v, arrays, step.params["template"], "none")


@lowers("extremum_at")
def _extremum_at(b: Builder, step: Step, x: Value, v: Value, *arrays: Value) -> Value:
    dtype = out(step)[1]
    reduction = {np.maximum: "max", np.minimum: "min"}.get(step.params["ufunc"])
    if reduction is None:
        raise b.error(f"x.at[i] with {step.params['ufunc']} has no ONNX form")
    x, v = b.cast(x, dtype), b.cast(v, dtype)
    return scattered(b, x, v, arrays, step.params["template"], reduction)
