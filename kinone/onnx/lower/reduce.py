"""Sums, means and extrema over axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..export import dims, kernels
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Rule, lowers, lowers_complex, through
from ..export.values import Pair, Value
from .common import out, written
from .windows import channels_first

_SINGLE = ("float16", "float32", "bfloat16")  # ONNX Runtime pools no other types


def reduced(
    b: Builder, op: str, step: Step, x: Value, axes: Sequence[int], keepdims: bool
) -> Value:
    """A node that reduces over axes, of an operand that lies anyhow."""
    shape, dtype = out(step)
    x = b.cast(x, dtype)
    if not axes:
        return b.reshape(x, shape)
    return _reduce(b, op, x, axes, keepdims)


def _reduce(b: Builder, op: str, x: Value, axes: Sequence[int], keepdims: bool) -> Value:
    dtype = x.dtype
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes]
    kept = [axis for axis in x.order if axis not in axes]
    order = x.order if keepdims else tuple([sorted(kept).index(axis) for axis in kept])
    places = sorted(x.order.index(axis) for axis in axes)
    if op == "ReduceSum" or b.opset >= 18:
        return b.node(
            op, [x, b.ints(*places)], shape, dtype, order=order, typed=(0,), keepdims=int(keepdims)
        )
    return b.node(op, [x], shape, dtype, order=order, axes=places, keepdims=int(keepdims))


@lowers("sum")
def _sum(b: Builder, step: Step, x: Value) -> Value:
    return reduced(b, "ReduceSum", step, x, step.params["axis"], step.params["keepdims"])


@lowers("mean")
def _mean(b: Builder, step: Step, x: Value) -> Value:
    axes, keepdims = step.params["axis"], step.params["keepdims"]
    shape, dtype = out(step)
    if any(x.shape[axis] == 0 for axis in axes):
        return b.expand(b.constant(np.nan, dtype), shape)
    order = channels_first(x.ndim) if x.ndim > 2 and dtype.name in _SINGLE else ()
    if x.order == order != tuple(range(x.ndim)) and tuple(axes) == tuple(range(1, x.ndim - 1)):
        ones = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
        pooled = b.node("GlobalAveragePool", [b.cast(x, dtype)], ones, dtype, order=order)
        return pooled if keepdims else b.reshape(pooled, shape)
    return reduced(b, "ReduceMean", step, x, axes, keepdims)


@lowers("logsumexp")
def _logsumexp(b: Builder, step: Step, x: Value) -> Value:
    axes, keepdims = step.params["axis"], step.params["keepdims"]
    if any(x.shape[axis] == 0 for axis in axes):
        return b.expand(b.constant(-np.inf, out(step)[1]), out(step)[0])
    if not axes:  # ln exp x, which shifted by x itself is x
        return b.cast(x, out(step)[1])
    return reduced(b, "ReduceLogSumExp", step, x, axes, keepdims)


# ---- extrema -------------------------------------------------------------------------------------

# ONNX Runtime's extrema know nothing of NaN, which in NumPy is larger and smaller than any number.


def _extremum(op: str) -> Rule:
    def rule(b: Builder, step: Step, x: Value) -> Value:
        axes, keepdims = step.params["axis"], step.params["keepdims"]
        dtype = x.dtype
        if dtype == np.bool_ and b.opset < 20:
            return b.cast(_truth_of(b, op, step, x, axes, keepdims), np.bool_)
        wide = _wide_extremum(b, x)
        if wide is not None:
            shape = out(step)[0]
            y = written(b, wide, x, axes=axes, keepdims=keepdims, largest=op == "ReduceMax")
            assert y.shape == shape
            return y
        y = reduced(b, op, step, x, axes, keepdims)
        if dtype.kind != "f" or not axes:
            return y
        flags = b.cast(_missing(b, x), np.int32)
        missing = b.cast(_reduce(b, "ReduceMax", flags, axes, keepdims), np.bool_)
        missing = b.ordered(missing, y.order)
        nothing = b.constant(np.nan, dtype)
        return b.node("Where", [missing, nothing, y], y.shape, dtype, order=y.order, typed=(1, 2))

    return rule


def _missing(b: Builder, x: Value) -> Value:
    return b.node("IsNaN", [x], x.shape, np.bool_, order=x.order)


def _wide_extremum(b: Builder, x: Value) -> Any:
    """A rule for uint64, which has no kernel, nor a wider type."""
    return _by_sorting if x.dtype == np.uint64 else None


def _by_sorting(x: Any, *, axes: Any, keepdims: bool, largest: bool) -> Any:
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    shape = [x.shape[axis] for axis in rest]
    rows = np.sort(np.reshape(np.transpose(x, (*rest, *axes)), (*shape, -1)), -1)
    y = rows[..., -1 if largest else 0]
    return np.expand_dims(y, axes) if keepdims and axes else y


for _name, _op in {"max": "ReduceMax", "min": "ReduceMin"}.items():
    lowers(_name)(_extremum(_op))


def _truth(op: str) -> Rule:
    def rule(b: Builder, step: Step, x: Value) -> Value:
        shape = out(step)[0]
        axes, keepdims = step.params["axis"], step.params["keepdims"]
        if any(x.shape[axis] == 0 for axis in axes):
            return b.expand(b.constant(op == "ReduceMin"), shape)
        x = b.cast(x, np.bool_)
        if not axes:
            return x
        return b.cast(_truth_of(b, op, step, x, axes, keepdims), np.bool_)

    return rule


def _truth_of(
    b: Builder, op: str, step: Step, x: Value, axes: Sequence[int], keepdims: bool
) -> Value:
    """The extremum of truths, as numbers: older opsets compare no booleans."""
    return _reduce(b, op, b.cast(x, np.int32), axes, keepdims)


for _name, _op in {"any": "ReduceMax", "all": "ReduceMin"}.items():
    lowers(_name)(_truth(_op))


@lowers("argmax", "argmin")
def _position(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    axis, largest = step.params["axis"], step.primitive.name == "argmax"
    if axis is None:
        x, axis = b.reshape(x, (dims.product(x.shape),)), 0
    kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    op = "ArgMax" if largest else "ArgMin"
    if x.dtype.kind in "iub" and not kernels.runs(op, x.dtype):
        if x.dtype.itemsize < 4:
            x = b.cast(x, np.int32)
        else:  # there is no kernel, nor one of a wider type: the first that is the extremum
            x = written(b, _equal_to_extremum, x, axis=axis, largest=largest)
            x, op = b.cast(x, np.int32), "ArgMax"

    def place(op: str, value: Value) -> Value:
        return b.node(
            op,
            [value],
            kept,
            np.int64,
            order=x.order,
            typed=(0,),
            axis=x.order.index(axis),
            keepdims=1,
        )

    y = place(op, x)
    if x.dtype.kind == "f":  # the first NaN, where there is one
        flags = b.cast(_missing(b, x), np.int32)
        there = b.cast(_reduce(b, "ReduceMax", flags, (axis,), True), np.bool_)
        first = place("ArgMax", flags)
        y = b.node("Where", [there, first, y], kept, np.int64, order=x.order, typed=(1, 2))
    return b.cast(b.reshape(y, shape), dtype)


def _equal_to_extremum(x: Any, *, axis: int, largest: bool) -> Any:
    extremum = np.max if largest else np.min
    return x == extremum(x, axis, keepdims=True)


# ---- extrema of complex numbers: by the real part, then by the imaginary one ---------------------


def _extreme_place(real: Any, imag: Any, *, largest: bool) -> Any:
    """The first place of the extremum along the first axis; the first NaN where there is one."""
    missing = np.isnan(real) | np.isnan(imag)
    extremum, worst = (np.max, -np.inf) if largest else (np.min, np.inf)
    there = np.any(missing, 0, keepdims=True)
    # Where something is NaN the rest does not matter.
    real, imag = (np.where(there, 0, part) for part in (real, imag))
    best = real == extremum(real, 0, keepdims=True)
    equal = best & (imag == extremum(np.where(best, imag, worst), 0, keepdims=True))
    return np.argmax(np.where(there, missing, equal).astype(np.int32), 0)


def _rows(x: Any, axes: Sequence[int]) -> Any:
    """The elements over axes as a first axis."""
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    return np.reshape(np.transpose(x, (*axes, *rest)), (-1, *[x.shape[axis] for axis in rest]))


def _complex_position(real: Any, imag: Any, *, axes: Any, largest: bool, keepdims: bool) -> Any:
    place = _extreme_place(_rows(real, axes), _rows(imag, axes), largest=largest)
    return np.expand_dims(place, axes) if keepdims else place


def _complex_extremum(real: Any, imag: Any, *, axes: Any, largest: bool, keepdims: bool) -> Any:
    parts = _rows(real, axes), _rows(imag, axes)
    place = _extreme_place(*parts, largest=largest)[None]
    found = [np.take_along_axis(part, place, 0)[0] for part in parts]
    return tuple([np.expand_dims(each, axes) if keepdims else each for each in found])


@lowers_complex("argmax", "argmin")
def _position_of_pair(b: Builder, step: Step, x: Pair) -> Value:
    axis = step.params["axis"]
    return written(
        b,
        _complex_position,
        x.real,
        x.imag,
        axes=tuple(range(x.ndim)) if axis is None else (axis,),
        largest=step.primitive.name == "argmax",
        keepdims=step.params["keepdims"],
    )


@lowers_complex("max", "min")
def _extremum_of_pair(b: Builder, step: Step, x: Pair) -> Pair:
    axes, keepdims = step.params["axis"], step.params["keepdims"]
    if not axes:
        return x
    largest = step.primitive.name == "max"
    params = {"axes": axes, "largest": largest, "keepdims": keepdims}
    return Pair(*through(b, _complex_extremum, x.real, x.imag, **params))
