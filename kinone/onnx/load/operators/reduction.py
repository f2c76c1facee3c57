"""Reductions over axes, running sums, positions of extrema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, Tracer, shape_dtype
from ....ops.axes import normalize_axis
from ..known import integer, integers
from ..registry import Node, operator

Axes = tuple[int, ...]
Rule = Callable[[Array, Axes, bool], Array]


def _sum(x: Array, axes: Axes, keep: bool) -> Array:
    return np.sum(x, axis=axes, dtype=shape_dtype(x).dtype, keepdims=keep)


def _mean(x: Array, axes: Axes, keep: bool) -> Array:
    known = shape_dtype(x)
    if known.dtype.kind not in "iu":
        return np.mean(x, axis=axes, keepdims=keep)
    total, count = np.sum(x, axis=axes, keepdims=keep), _count(x, axes)
    return ops.astype(np.sign(total) * (np.abs(total) // count), known.dtype)


def _count(x: Array, axes: Axes) -> int:
    count = 1
    for axis in axes:
        count *= shape_dtype(x).shape[axis]
    return max(count, 1)


def _sum_square(x: Array, axes: Axes, keep: bool) -> Array:
    return _sum(np.square(x), axes, keep)


def _l1(x: Array, axes: Axes, keep: bool) -> Array:
    return _sum(np.abs(x), axes, keep)


def _l2(x: Array, axes: Axes, keep: bool) -> Array:
    return _of_floats(lambda x: length(x, axes, keep), x)


def length(x: Array, axes: Axes, keep: bool) -> Array:
    """√ Σ x², whose derivative at 0 is 0."""
    squares = _sum_square(x, axes, keep)
    is_zero = squares == 0
    return np.where(is_zero, squares, np.sqrt(np.where(is_zero, True, squares)))


def _log_sum(x: Array, axes: Axes, keep: bool) -> Array:
    return _of_floats(lambda x: np.log(_sum(x, axes, keep)), x)


def _log_sum_exp(x: Array, axes: Axes, keep: bool) -> Array:
    if 0 in [shape_dtype(x).shape[axis] for axis in axes]:
        return _log_sum(x, axes, keep)
    if not axes:
        return x
    return _of_floats(lambda x: ops.logsumexp(x, axes, keepdims=keep), x)


def _of_floats(function: Callable[[Array], Array], x: Array) -> Array:
    """A function that NumPy takes of floats alone; of integers its result is cut to integers."""
    dtype = shape_dtype(x).dtype
    if dtype.kind in "fV":
        return function(x)
    return ops.astype(function(ops.astype(x, np.float64)), dtype)


def _prod(x: Array, axes: Axes, keep: bool) -> Array:
    return np.prod(x, axis=axes, dtype=shape_dtype(x).dtype, keepdims=keep)


def _max(x: Array, axes: Axes, keep: bool) -> Array:
    return _extremum(np.max, x, axes, keep, lowest=True)


def _min(x: Array, axes: Axes, keep: bool) -> Array:
    return _extremum(np.min, x, axes, keep, lowest=False)


def _extremum(
    function: Callable[..., Any], x: Array, axes: Axes, keep: bool, lowest: bool
) -> Array:
    known = shape_dtype(x)
    if 0 not in [known.shape[axis] for axis in axes]:
        return function(x, axis=axes, keepdims=keep)
    shape = [1 if i in axes else n for i, n in enumerate(known.shape) if keep or i not in axes]
    if known.dtype.kind == "b":
        return np.full(shape, not lowest)
    if known.dtype.kind in "iu":
        limits = np.iinfo(known.dtype)
        return np.full(shape, limits.min if lowest else limits.max, known.dtype)
    return np.full(shape, -np.inf if lowest else np.inf, known.dtype)


_RULES: dict[str, Rule] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": _max,
    "ReduceMin": _min,
    "ReduceProd": _prod,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": _sum_square,
}


def _reduction(rule: Rule) -> Callable[..., Array]:
    """The axes are an attribute, later an input; none are all, or with a flag none."""

    def run(node: Node, x: Array, axes: Array = None) -> Array:
        ndim = shape_dtype(x).ndim
        given = node.attribute("axes", None) if axes is None else integers(node, axes, "axes")
        if not given:
            chosen = () if node.attribute("noop_with_empty_axes", 0) else tuple(range(ndim))
        else:
            chosen = _axes(node, given, ndim)
        return rule(x, chosen, bool(node.attribute("keepdims", 1)))

    return run


for _name, _rule in _RULES.items():
    operator(_name)(_reduction(_rule))


def _axes(node: Node, given: Any, ndim: int) -> Axes:
    found = tuple(sorted({_axis(node, axis, ndim) for axis in given}))
    if len(found) != len(given):
        raise node.error(f"names an axis twice: {list(given)}")
    return found


def _axis(node: Node, axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise node.error(f"has the axis {axis} of an input with {ndim} axes")
    return normalize_axis(axis, ndim)


# ---- positions -----------------------------------------------------------------------------------


@operator("ArgMax")
def arg_max(node: Node, x: Array) -> Array:
    return _position(node, x, np.argmax)


@operator("ArgMin")
def arg_min(node: Node, x: Array) -> Array:
    return _position(node, x, np.argmin)


def _position(node: Node, x: Array, function: Callable[..., Any]) -> Array:
    known = shape_dtype(x)
    axis = _axis(node, node.attribute("axis", 0), known.ndim)
    keep = bool(node.attribute("keepdims", 1))
    if known.shape[axis] == 0:
        raise node.error(f"looks for a position in nothing: its input is {known}")
    if node.attribute("select_last_index", 0):
        found = function(np.flip(x, axis), axis=axis, keepdims=keep)
        found = known.shape[axis] - 1 - found
    else:
        found = function(x, axis=axis, keepdims=keep)
    return ops.astype(found, np.int64)


@operator("TopK")
def top_k_of_attribute(node: Node, x: Array) -> tuple[Array, Array]:
    return _top_k(node, x, node.attribute("k"))


@operator("TopK", since=10)
def top_k(node: Node, x: Array, k: Array) -> tuple[Array, Array]:
    return _top_k(node, x, integer(node, k, "K"))


def _top_k(node: Node, x: Array, k: int) -> tuple[Array, Array]:
    """Of equal elements the first comes first, among the largest and among the smallest."""
    known = shape_dtype(x)
    axis = _axis(node, node.attribute("axis", -1), known.ndim)
    size = known.shape[axis]
    if not 0 <= k <= size:
        raise node.error(f"wants {k} of {size} elements")
    largest = bool(node.attribute("largest", 1))
    places = None if isinstance(x, Tracer) or 8 * k > size else _selected(x, k, axis, largest)
    if places is not None:
        return np.take_along_axis(x, places, axis), places
    if largest:
        order = size - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    cut = (*[slice(None)] * axis, slice(0, k))
    places = ops.astype(order[cut], np.int64)
    return np.take_along_axis(x, places, axis), places


def _selected(x: Any, k: int, axis: int, largest: bool) -> np.ndarray[Any, Any] | None:
    """The same places by a partition, much faster for a few of many elements; None where NaN, which
    has no place in an order, comes into it."""
    rows = np.moveaxis(np.asarray(x), axis, -1)
    size = rows.shape[-1]
    kth = size - k if largest else k - 1
    if not k or rows.dtype.kind == "V":
        return None
    bound = np.partition(rows, kth)[..., kth : kth + 1]
    inside = rows >= bound if largest else rows <= bound
    count = np.count_nonzero(inside, -1)
    if np.any(count > k):  # of those that tie at the bound only the first
        tied = rows == bound
        inside &= ~tied | (np.cumsum(tied, -1) <= (k - count + tied.sum(-1))[..., None])
        count = np.count_nonzero(inside, -1)
    if np.any(count != k):
        return None
    places = np.nonzero(inside)[-1].reshape(*rows.shape[:-1], k)  # in their order
    found = np.take_along_axis(rows, places, -1)
    if largest:
        order = k - 1 - np.flip(np.argsort(np.flip(found, -1), -1, kind="stable"), -1)
    else:
        order = np.argsort(found, -1, kind="stable")
    return np.moveaxis(np.take_along_axis(places, order, -1), -1, axis)


# ---- running sums and products -------------------------------------------------------------------


@operator("CumSum")
def cumulative_sum(node: Node, x: Array, axis: Array) -> Array:
    return _running(node, np.cumsum, 0, x, axis)


@operator("CumProd")
def cumulative_product(node: Node, x: Array, axis: Array) -> Array:
    return _running(node, np.cumprod, 1, x, axis)


def _running(node: Node, function: Callable[..., Any], first: int, x: Array, axis: Array) -> Array:
    """`exclusive` leaves each element itself out, `reverse` comes from the end."""
    known = shape_dtype(x)
    along = _axis(node, integer(node, axis, "axis"), known.ndim)
    backwards = bool(node.attribute("reverse", 0))
    x = np.flip(x, along) if backwards else x
    if node.attribute("exclusive", 0) and known.shape[along]:
        start = [1 if i == along else n for i, n in enumerate(known.shape)]
        cut = (*[slice(None)] * along, slice(0, -1))
        x = np.concatenate([np.full(start, first, known.dtype), x[cut]], along)
    y = function(x, along, dtype=known.dtype)
    return np.flip(y, along) if backwards else y
