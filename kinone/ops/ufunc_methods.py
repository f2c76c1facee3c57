"""What a ufunc can do besides being called: `np.add.accumulate`, `np.multiply.outer`, `dtype=`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import source
from ..core import Array, ndim_of, numpy_functions, shape_dtype, shape_of
from ..core.protocol import reductions, rule_of, ufunc_methods
from ..errors import MissingRuleError, TracerAssignmentError
from .axes import along, as_array, mean_axes, normalize_axis, reduced_axes
from .concrete import known
from .core_axes import on_axes
from .cumulative import cumprod, cumsum, cumulative_extremum_p
from .index import getitem
from .joining import stack
from .shape import astype, reshape
from .ufunc_folds import folded, no_loop, running
from .update import at


def reduce(
    ufunc: np.ufunc,
    array: Array,
    axis: Any = 0,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = np._NoValue,
    where: Any = True,
) -> Array:
    """`ufunc.reduce`: `np.sum` and its like, and what no function of NumPy's does."""
    array = as_array(array)
    if initial is np._NoValue:
        initial = None
    if ufunc in (np.add, np.multiply):
        named = numpy_functions[reductions[ufunc]]
        return named(array, axis, dtype, None, keepdims, initial, where)
    if ufunc in (np.maximum, np.minimum):
        array = array if dtype is None else astype(array, dtype)
        return numpy_functions[reductions[ufunc]](array, axis, None, keepdims, initial, where)
    if ufunc in (np.logical_and, np.logical_or):
        _of_truths(ufunc, dtype)
        found = numpy_functions[reductions[ufunc]](array, axis, None, keepdims, where=where)
        return found if initial is None else ufunc(found, initial)
    axes = reduced_axes(axis, ndim_of(array))
    return folded(ufunc, array, axes, dtype, bool(keepdims), initial, where)


def _of_truths(ufunc: np.ufunc, dtype: Any) -> None:
    if dtype is not None and np.dtype(dtype).kind != "b":
        raise no_loop(ufunc)


def accumulate(
    ufunc: np.ufunc, array: Array, axis: Any = 0, dtype: Any = None, out: None = None
) -> Array:
    """`ufunc.accumulate`: the results so far along an axis."""
    array = as_array(array)
    if ndim_of(array) == 0:
        raise TypeError("cannot accumulate on a scalar")
    axes = mean_axes(axis, ndim_of(array))
    if len(axes) != 1:
        raise ValueError("accumulate does not allow multiple axes")
    place = axes[0]
    if ufunc in (np.add, np.multiply):
        return (cumsum if ufunc is np.add else cumprod)(array, place, dtype)
    if ufunc in (np.logical_and, np.logical_or):
        _of_truths(ufunc, dtype)
        array = array != 0
        ufunc = np.minimum if ufunc is np.logical_and else np.maximum
    elif ufunc not in (np.maximum, np.minimum):
        return running(ufunc, array, place, dtype)
    if dtype is not None:
        array = astype(array, dtype)
    return cumulative_extremum_p(array, axis=place, ufunc=ufunc)


def outer(ufunc: np.ufunc, a: Array, b: Array, **kwargs: Any) -> Array:
    """`ufunc.outer`: of every pair of elements."""
    a, b = as_array(a), as_array(b)
    a = reshape(a, (*shape_of(a), *[1] * ndim_of(b)))
    return ufunc(a, b, **kwargs)


def reduceat(
    ufunc: np.ufunc,
    array: Array,
    indices: Any,
    axis: int = 0,
    dtype: Any = None,
    out: None = None,
) -> Array:
    """`ufunc.reduceat`: reductions of the slices from each index to the next."""
    array = as_array(array)
    axis = normalize_axis(axis, ndim_of(array))
    n = shape_of(array)[axis]
    starts = known(indices, "reduceat").astype(np.intp)
    if starts.ndim != 1:
        raise ValueError("object of too small depth for desired array")
    for start in starts:
        if not 0 <= start < n:
            raise IndexError(f"index {start} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})")
    if ufunc is not np.add and len(starts):
        pieces = []
        for first, end in zip(starts, [*starts[1:], n], strict=True):
            piece = array[along(axis, slice(first, max(first + 1, end)))]
            if end - first > 1:
                pieces.append(reduce(ufunc, piece, axis, dtype))
            else:  # the element itself
                pieces.append(accumulate(ufunc, piece, axis, dtype)[along(axis, 0)])
        return stack(pieces, axis)
    if dtype is not None:
        array = astype(array, dtype)
    stops = np.append(starts[1:], n)
    # An index that is not below the next one stands for itself alone.
    stops = np.maximum(stops, starts + 1)
    places = np.concatenate(
        [np.arange(0), *[np.arange(a, b) for a, b in zip(starts, stops, strict=True)]]
    )
    numbers = np.repeat(np.arange(len(starts)), stops - starts)
    chosen = getitem(array, along(axis, places))
    own = shape_dtype(array).dtype
    wide = own if dtype is not None else np.add.reduce(np.zeros(1, own)).dtype
    shape = (*shape_of(array)[:axis], len(starts), *shape_of(array)[axis + 1 :])
    return at(np.zeros(shape, wide))[along(axis, numbers)].add(chosen)


def write_at(ufunc: np.ufunc, *operands: Any, **kwargs: Any) -> Array:
    """`ufunc.at` writes into its operand: refused."""
    names = {"maximum": "max", "minimum": "min", "true_divide": "divide"}
    name = names.get(ufunc.__name__, ufunc.__name__)
    known = ("add", "subtract", "multiply", "divide", "power", "min", "max")
    form = f"{name}(v)" if name in known else f"apply(np.{ufunc.__name__})"
    raise TracerAssignmentError(
        f"np.{ufunc.__name__}.at writes into an array, and a traced value cannot be written to or "
        f"into one, at {source.here()}\n  Write x = x.at[i].{form}."
    )


def call(ufunc: np.ufunc, *operands: Array, **kwargs: Any) -> Array:
    """A ufunc with keyword arguments: `dtype` is that in which it computes; `where` leaves elements
    without a value, which nothing could differentiate."""
    function = rule_of(ufunc)
    if kwargs.pop("where", True) is not True:
        raise MissingRuleError(
            f"np.{ufunc.__name__} on a traced value takes no where=, for the other elements have "
            f"no value, at {source.here()}\n"
            f"  Write np.where(mask, np.{ufunc.__name__}(x), other)."
        )
    dtype, casting = kwargs.pop("dtype", None), kwargs.pop("casting", "same_kind")
    for ignored in ("order", "subok"):  # of memory and of subclasses, which tracers have not
        kwargs.pop(ignored, None)
    named = ("axes", "axis", "keepdims") if ufunc.signature else ()
    core = {key: kwargs.pop(key) for key in named if key in kwargs}
    if core:
        function = functools.partial(on_axes, ufunc, function, **core)
    if kwargs:
        raise MissingRuleError(
            f"np.{ufunc.__name__} on a traced value takes no {', '.join(sorted(kwargs))}=, "
            f"at {source.here()}"
        )
    if dtype is None:
        return function(*operands)
    result = function(*[astype(as_array(x), dtype, casting=casting) for x in operands])
    if shape_dtype(result).dtype != np.dtype(dtype):
        raise no_loop(ufunc)
    return result


ufunc_methods.update(
    reduce=reduce, accumulate=accumulate, outer=outer, reduceat=reduceat, at=write_at, __call__=call
)
