"""What runs along an axis: cumulative sums, products and extrema, convolution of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...transforms import scan
from ..export.builder import Builder
from ..export.dims import Dim
from ..export.merge import Step
from ..export.rules import lowers
from ..export.values import Value
from .common import out, written
from .taps import total


@lowers("cumsum")
def _cumsum(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    axis = x.order.index(step.params["axis"])
    return b.node(
        "CumSum",
        [b.cast(x, dtype), b.constant(axis, np.int64)],
        shape,
        dtype,
        order=x.order,
        typed=(0,),
    )


@lowers("cumprod")
def _cumprod(b: Builder, step: Step, x: Value) -> Value:
    x = b.cast(x, out(step)[1])
    y = written(b, _running, x, axis=step.params["axis"], ufunc=np.multiply)
    return y


@lowers("cumulative_extremum")
def _extremum(b: Builder, step: Step, x: Value) -> Value:
    y = written(b, _running, x, **step.params)
    return y


def _running(x: Any, *, axis: int, ufunc: np.ufunc) -> Any:
    """`ufunc.accumulate(x, axis)`, one element after the other as NumPy does it."""
    if x.shape[axis] <= 1 or 0 in x.shape:
        return x
    x = np.moveaxis(x, axis, 0)

    def trip(before: Any, each: Any) -> tuple[Any, Any]:
        found = ufunc(before, each)
        return found, found

    # What changes nothing: an extremum with itself, a product with 1.
    first = np.ones(x.shape[1:], x.dtype) if ufunc is np.multiply else x[0]
    return np.moveaxis(scan(trip, first, x)[1], 0, axis)


# ---- np.convolve: along the last axis, over broadcast leading ones -------------------------------

_UNROLLED = 16


@lowers("convolve")
def _convolve(b: Builder, step: Step, x: Value, y: Value) -> Value:
    shape, dtype = out(step)
    full = step.params["mode"] == "full"
    sizes = (x.shape[-1], y.shape[-1], shape[-1])
    if not any(isinstance(size, Dim) for size in sizes) and min(map(int, sizes)) > _UNROLLED:
        rule = _by_windows
    elif isinstance(sizes[1], Dim) or (
        not isinstance(sizes[2], Dim) and int(sizes[2]) < int(sizes[1])
    ):
        if isinstance(sizes[2], Dim):
            raise b.error("a convolution of two sequences whose lengths both vary has no ONNX form")
        rule = _by_places
    else:
        rule = _by_elements
    found = written(b, rule, b.cast(x, dtype), b.cast(y, dtype), full=full)
    return found


def _whole(x: Any, y: Any, full: bool) -> Any:
    """x with zeros around it, so that the convolution is of complete overlaps."""
    if not full:
        return x
    rest = y.shape[-1] - 1
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(rest, rest)])


def _by_windows(x: Any, y: Any, *, full: bool) -> Any:
    x, m = _whole(x, y, full), y.shape[-1]
    length = x.shape[-1] - m + 1
    windows = x[..., np.arange(length)[:, None] + np.arange(m)]
    return (windows @ y[..., ::-1, None])[..., 0]


def _by_places(x: Any, y: Any, *, full: bool) -> Any:
    x, m, turned = _whole(x, y, full), y.shape[-1], y[..., ::-1]
    length = x.shape[-1] - m + 1
    return np.stack([np.sum(x[..., i : i + m] * turned, -1) for i in range(length)], -1)


def _by_elements(x: Any, y: Any, *, full: bool) -> Any:
    x, m = _whole(x, y, full), y.shape[-1]
    length = x.shape[-1] - m + 1
    return total([x[..., i : i + length] * y[..., m - 1 - i, None] for i in range(m)])
