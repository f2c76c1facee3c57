"""Sorting and searching: TopK of all elements, which like NumPy's stable sort puts the first of
equal elements first. It has no place for NaN, so those are sorted to the end by a second TopK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.dims import Dim
from ..export.merge import Step
from ..export.rules import lowers, lowers_complex
from ..export.values import Pair, Value
from .common import out, written

_COMPARED = 64  # places: in longer arrays halves are searched


def _top(b: Builder, x: Value, axis: int) -> tuple[Value, Value]:
    """The elements in ascending order and their places; x has no NaN."""
    if x.dtype == np.uint64:  # as the int64 of the same order
        x = b.cast(x, np.int64)
        x = b.node("Add", [x, b.constant(np.iinfo(np.int64).min)], x.shape, np.int64, order=x.order)
    values, places = b.nodes_of(
        "TopK",
        [x, b.size(x.shape[axis])],
        [(x.shape, x.dtype), (x.shape, np.int64)],
        orders=[x.order] * 2,
        typed=(0,),
        axis=x.order.index(axis),
        largest=0,
        sorted=1,
    )
    return values, places


def _taken(b: Builder, x: Value, places: Value, axis: int) -> Value:
    """`np.take_along_axis(x, places, axis)`."""
    x = b.ordered(x, places.order)
    return b.node(
        "GatherElements",
        [x, places],
        x.shape,
        x.dtype,
        order=places.order,
        typed=(0,),
        axis=places.order.index(axis),
    )


def sorting(b: Builder, keys: Sequence[Value], axis: int) -> Value:
    """The places that sort by the last key, ties by the one before it; ties of all stay."""
    found: Value | None = None
    for key in keys:
        parts = [key]
        if key.dtype.kind == "f":
            missing = b.node("IsNaN", [key], key.shape, np.bool_, order=key.order)
            zero = b.constant(0, key.dtype)
            known = b.node(
                "Where", [missing, zero, key], key.shape, key.dtype, order=key.order, typed=(1, 2)
            )
            parts = [known, b.cast(missing, np.int32)]
        for part in parts:
            part = part if found is None else _taken(b, part, found, axis)
            _, places = _top(b, part, axis)
            found = places if found is None else _taken(b, found, places, axis)
    assert found is not None
    return found


def _order(b: Builder, x: Value | Pair, axis: int) -> Value:
    """NumPy's stable argsort. It orders complex numbers by their real, then imaginary part."""
    if isinstance(x, Pair):
        return _complex_order(b, x, axis)
    return sorting(b, [x], axis)


def _complex_order(b: Builder, x: Pair, axis: int) -> Value:
    """With NaN in a part the others go by the parts that are none: R + Rj, R + nanj, nan + Rj."""
    imag, real = b.ordered(x.imag, x.real.order), x.real

    def missing(part: Value) -> Value:
        flags = b.node("IsNaN", [part], part.shape, np.bool_, order=part.order)
        return b.cast(flags, np.int32)

    class_ = b.node(
        "Add",
        [
            b.node(
                "Mul",
                [missing(real), b.constant(2, np.int32)],
                real.shape,
                np.int32,
                order=real.order,
            ),
            missing(imag),
        ],
        real.shape,
        np.int32,
        order=real.order,
    )
    return sorting(b, [imag, real, class_], axis)


def _empty(x: Value | Pair) -> bool:
    return any(size == 0 for size in x.shape)


@lowers("argsort", "argpartition")
@lowers_complex("argsort", "argpartition")
def _argsort(b: Builder, step: Step, x: Value | Pair) -> Value:
    shape, dtype = out(step)
    if _empty(x):
        return b.expand(b.constant(0, dtype), shape)
    return b.cast(_order(b, x, step.params["axis"]), dtype)


@lowers("sort", "partition")
@lowers_complex("sort", "partition")
def _sort(b: Builder, step: Step, x: Value | Pair) -> Value | Pair:
    axis = step.params["axis"]
    if _empty(x) or x.shape[axis] == 1:
        return x
    if isinstance(x, Pair):
        places = _order(b, x, axis)
        return Pair(_taken(b, x.real, places, axis), _taken(b, x.imag, places, axis))
    if x.dtype.kind == "f" or x.dtype == np.uint64:
        return _taken(b, x, _order(b, x, axis), axis)
    values, _ = _top(b, x, axis)
    return values


@lowers("lexsort")
def _lexsort(b: Builder, step: Step, *keys: Value) -> Value:
    shape, dtype = out(step)
    if _empty(keys[0]):
        return b.expand(b.constant(0, dtype), shape)
    return b.cast(sorting(b, keys, step.params["axis"]), dtype)


@lowers("searchsorted")
def _searchsorted(b: Builder, step: Step, a: Value, v: Value, *sorter: Value) -> Value:
    common = np.result_type(a.dtype, v.dtype)
    if sorter:
        a = written(b, lambda a, places: a[places], a, sorter[0])
    compared = isinstance(a.shape[0], Dim) or a.shape[0] <= _COMPARED
    rule = _counted if compared else _halved
    a, v = b.cast(a, common), b.cast(v, common)
    places = written(b, rule, a, v, right=step.params["side"] == "right")
    return places


def _before(a: Any, v: Any, right: bool) -> Any:
    """Whether the element of `a` stands before where `v` goes; NaN is the largest number."""
    less = a <= v if right else a < v
    if a.dtype.kind != "f":
        return less
    return less | (np.isnan(v) if right else np.isnan(v) & ~np.isnan(a))


def _counted(a: Any, v: Any, *, right: bool) -> Any:
    """How many elements stand before it."""
    return np.sum(_before(a, v[..., None], right), axis=-1)


def _halved(a: Any, v: Any, *, right: bool) -> Any:
    """The place, bit by bit."""
    size = a.shape[0]
    found = np.zeros(v.shape, np.int64)
    for bit in reversed(range(size.bit_length())):
        wanted = found + (1 << bit)
        fits = wanted <= size
        element = a[np.minimum(wanted, size) - 1]
        found = np.where(fits & _before(element, v, right), wanted, found)
    return found
