"""`x.at[i].set(v)` and its kin: an array with some elements replaced, added to, multiplied …

What `x[i] = v`, `np.add.at(x, i, v)` and so on would leave in `x`, as a new array. An index that
shows a place twice counts twice, as in `np.ufunc.at`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, Tracer, implements, ndim_of, shape_dtype, shape_of
from ..core.protocol import At, AtIndex
from ..errors import TracerConversionError
from .axes import along, as_array, with_batch
from .declare import primitive
from .index import getitem, getitem_p, in_place, scatter_p, set_p
from .samples import Sample, values
from .shape import astype
from .template import ARRAY, BatchedIndex, Template, flags_as_axes, split_index

Arrays = Sequence[Array]


def at(x: Array) -> At:
    """`at(x)[index].set(value)` for plain arrays, which have no `.at` of their own.

    >>> at(np.zeros(3))[np.array([0, 0, 2])].add(1.0)
    array([2., 0., 1.])
    """
    return At(as_array(x))


@implements(operator.setitem)
def set_at(x: Array, index: Any, value: Array) -> Array:
    """What `x` would be after `x[index] = value`; of a place set twice the last value counts.

    >>> set_at(np.zeros(3), 1, 5.0)
    array([0., 5., 0.])
    """
    return update(x, index, "set", value)


@implements(np.add.at)
def add_at(x: Array, index: Any, value: Array) -> Array:
    """What `x` would be after `np.add.at(x, index, value)`: repeated places add up.

    >>> add_at(np.zeros(3), [0, 0, 2], 1.0)
    array([2., 0., 1.])
    """
    return update(x, index, "add", value)


@implements(AtIndex)
def update(
    x: Array, index: Any, operation: str, value: Any, mode: str | None = None, unique: bool = False
) -> Array:
    """`x.at[index].operation(value)`; the operation "get" reads, "apply" calls `value` on elements.

    `mode` is for indices out of bounds: None raises NumPy's `IndexError`; "clip" takes the nearest
    place; "drop" leaves such updates away; "fill" does, too, and "get" has `value` in their place.
    `unique` promises that no place is shown twice.
    """
    x = as_array(x)
    if mode not in (None, "promise_in_bounds", "clip", "drop", "fill"):
        raise ValueError(f"mode={mode!r} is not one of None, 'clip', 'drop', 'fill'")
    mask = _traced_mask(index)
    if mask is not None:
        return _where(x, mask, operation, value)
    shape = shape_of(x)
    index, with_flags = flags_as_axes(index, shape)
    flat = with_flags != shape
    template, arrays = split_index(index, with_flags)
    place = _Places(template, arrays, unique)
    inner = np.reshape(x, with_flags) if flat else x
    if mode in ("clip", "drop", "fill"):
        result = _out_of_bounds(inner, place, operation, value, mode)
    else:
        result = _OPERATIONS[operation](inner, place, value)
    return np.reshape(result, shape) if flat and operation != "get" else result


class _Places:
    """The places that an index shows."""

    def __init__(self, template: Template, arrays: Arrays, unique: bool = False) -> None:
        self.template = template
        self.arrays = tuple(arrays)
        # One place alone is not shown twice, either.
        shown = math.prod(np.broadcast_shapes(*[shape_of(a) for a in arrays]))
        self.once = unique or template.once or shown <= 1

    def take(self, x: Array) -> Array:
        return getitem_p(x, *self.arrays, template=self.template)

    def set(self, x: Array, v: Array) -> Array:
        return set_p(x, v, *self.arrays, template=self.template)

    def values(self, x: Array, v: Array) -> Array:
        """The values of an update, in the dtype of `x`, one for each place shown."""
        known = shape_dtype(x)
        v = astype(as_array(v), known.dtype)
        return np.broadcast_to(v, self.shape(known))

    def shape(self, x: ShapeDtype) -> tuple[int, ...]:
        avals = [shape_dtype(a) for a in self.arrays]
        return getitem_p.shape(x, *avals, template=self.template).shape  # type: ignore[no-any-return]


# ---- the operations ------------------------------------------------------------------------------


def _get(x: Array, places: _Places, value: Any) -> Array:
    return places.take(x)


def _set(x: Array, places: _Places, value: Array) -> Array:
    return places.set(x, value)


def _add(x: Array, places: _Places, value: Array) -> Array:
    spread = places.values(x, value)
    template, shape = places.template, shape_of(x)
    return x + scatter_p(spread, *places.arrays, template=template, shape=shape)


def _subtract(x: Array, places: _Places, value: Array) -> Array:
    return _add(x, places, -places.values(x, value))


def _multiply(x: Array, places: _Places, value: Array) -> Array:
    return places.set(x, places.take(x) * _products(x, places, value))


def _divide(x: Array, places: _Places, value: Array) -> Array:
    dtype = shape_dtype(x).dtype
    if dtype.kind not in "fc":
        raise TypeError(
            f"Cannot cast ufunc 'divide' output from dtype('float64') to {dtype!r} with casting "
            "rule 'same_kind'"
        )
    return places.set(x, places.take(x) / _products(x, places, value))


def _power(x: Array, places: _Places, value: Array) -> Array:
    return places.set(x, np.power(places.take(x), _products(x, places, value)))


def _products(x: Array, places: _Places, value: Array) -> Array:
    """For each place shown the product of all values that the index has for it.

    Sorted by place, the values of one place are neighbours; a scan that doubles its reach
    multiplies them up. There is no division, so zeros have their derivatives.
    """
    spread = places.values(x, value)
    if places.once:
        return spread
    shape = shape_of(x)
    size = math.prod(shape)
    numbers = np.reshape(places.take(np.arange(size).reshape(shape)), -1)
    order = np.argsort(numbers, kind="stable")
    sorted_numbers, product = numbers[order], getitem(np.reshape(spread, -1), order)
    reach = 1
    while reach < math.prod(shape_of(numbers)):
        same = sorted_numbers[reach:] == sorted_numbers[:-reach]
        if not isinstance(same, Tracer) and not same.any():
            break
        longer = product[reach:] * np.where(same, product[:-reach], np.ones((), spread.dtype))
        product = np.concatenate([product[:reach], longer])
        reach *= 2
    # Set in order, the last one of each place stays: the product of all.
    whole = at(np.ones(size, shape_dtype(spread).dtype))[sorted_numbers].set(product)
    return np.reshape(getitem(whole, numbers), shape_of(spread))


def _apply(x: Array, places: _Places, function: Callable[[Array], Array]) -> Array:
    if places.once:
        return places.set(x, function(places.take(x)))
    if any(isinstance(a, Tracer) for a in places.arrays):
        raise TracerConversionError(
            "x.at[i].apply(f) with traced indices cannot see which places are shown twice, "
            f"at {source.here()}\n  Say x.at[i].apply(f, unique_indices=True) if none is."
        )
    # As often as a place is shown: the first time of each, then the second time of each, …
    shape = shape_of(x)
    numbers = places.take(np.arange(math.prod(shape)).reshape(shape)).ravel()
    order = np.argsort(numbers, kind="stable")
    _, starts, counts = np.unique(numbers[order], return_index=True, return_counts=True)
    flat = np.reshape(x, -1)
    for turn in range(int(counts.max(initial=0))):
        now = numbers[order[starts[counts > turn] + turn]]
        flat = set_at(flat, now, function(getitem(flat, now)))
    return np.reshape(flat, shape)


# ---- the largest and the smallest ----------------------------------------------------------------


def _extremum(x: Array, v: Array, *arrays: Array, template: Template, ufunc: np.ufunc) -> Array:
    result = np.array(x)
    ufunc.at(result, template.fill(arrays), v)
    return result


def _shares(y: Array, x: Array, v: Array, arrays: Arrays, template: Template) -> Any:
    """Of each element and of each value, the part that it has in the result: all that tie share."""
    dtype = shape_dtype(y).dtype
    own = astype(x == y, dtype)
    given = astype(v == getitem_p(y, *arrays, template=template), dtype)
    count = own + scatter_p(given, *arrays, template=template, shape=shape_of(x))
    return own, given, np.maximum(count, 1)  # none is chosen where the result is NaN


def _extremum_vjp(
    y: Array, x: Array, v: Array, *arrays: Array, template: Template, **_: Any
) -> Any:
    def pullback(g: Array) -> tuple[Array, ...]:
        own, given, count = _shares(y, x, v, arrays, template)
        part = g / count
        taken = getitem_p(part, *arrays, template=template)
        return (own * part, given * taken, *(None for _ in arrays))

    return pullback


def _extremum_jvp(
    y: Array, x: Array, v: Array, *arrays: Array, template: Template, **_: Any
) -> Any:
    def pushforward(tx: Array, tv: Array, *_: Array) -> Array:
        own, given, count = _shares(y, x, v, arrays, template)
        moved = scatter_p(given * tv, *arrays, template=template, shape=shape_of(x))
        return (own * tx + moved) / count

    return pushforward


def _extremum_batch(
    size: int, batched: Sequence[bool], x: Array, v: Array, *arrays: Array, **params: Any
) -> Array:
    plan = BatchedIndex(
        size, True, batched[2:], arrays, params["template"], ndim_of(x) - batched[0]
    )
    x, v = with_batch(x, batched[0], size), with_batch(v, batched[1], size)
    params["template"] = plan.template
    return extremum_at_p(x, in_place(v, True, plan), *plan.arrays, **params)


def _extremum_samples() -> list[Sample]:
    places = np.array([2, 0, 2, 3])
    template = split_index(places, (4,))[0]
    return [
        Sample((values(4), values(4, seed=2), places), {"template": template, "ufunc": np.maximum}),
        Sample(
            (values(4, 3), values(4, 3, seed=3), places),
            {"template": template, "ufunc": np.minimum},
        ),
    ]


extremum_at_p: Primitive = primitive(
    "extremum_at",
    _extremum,
    shape=lambda x, v, *arrays, template, ufunc: ShapeDtype(x.shape, x.dtype),
    vjp=_extremum_vjp,
    jvp=_extremum_jvp,
    batch=_extremum_batch,
    samples=_extremum_samples,
)


def _extremum_operation(ufunc: np.ufunc) -> Callable[[Array, _Places, Array], Array]:
    def run(x: Array, places: _Places, value: Array) -> Array:
        template, v = places.template, places.values(x, value)
        return extremum_at_p(x, v, *places.arrays, template=template, ufunc=ufunc)

    return run


_OPERATIONS: dict[str, Callable[[Array, _Places, Any], Array]] = {
    "get": _get,
    "set": _set,
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "min": _extremum_operation(np.minimum),
    "max": _extremum_operation(np.maximum),
    "apply": _apply,
}


# ---- masks whose values are not there, and indices out of bounds ---------------------------------


def _traced_mask(index: Any) -> Array | None:
    entry = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    return entry if isinstance(entry, Tracer) and entry.dtype.kind == "b" else None


def _where(x: Array, mask: Array, operation: str, value: Any) -> Array:
    """An update by a traced mask: everywhere, and chosen by the mask."""
    if operation == "get" or (operation != "apply" and math.prod(shape_of(value)) != 1):
        split_index(mask, shape_of(x))  # raises: the number of elements depends on the mask
    if shape_of(mask) != shape_of(x)[: ndim_of(mask)]:
        raise IndexError(
            f"boolean index of shape {shape_of(mask)} did not match indexed array of shape "
            f"{shape_of(x)}"
        )
    everywhere = (slice(None),) * ndim_of(x) or Ellipsis
    template, arrays = split_index(everywhere, shape_of(x))
    if operation != "apply":
        value = np.reshape(as_array(value), ())
    changed = _OPERATIONS[operation](x, _Places(template, arrays), value)
    wide = np.reshape(mask, (*shape_of(mask), *[1] * (ndim_of(x) - ndim_of(mask))))
    return np.where(wide, changed, x)


def _out_of_bounds(x: Array, places: _Places, operation: str, value: Any, mode: str) -> Array:
    parts = list(places.template.parts)
    shape = shape_of(x)
    if any(part is Ellipsis for part in parts):
        where = next(i for i, part in enumerate(parts) if part is Ellipsis)
        missing = len(shape) - sum(part is not None and part is not Ellipsis for part in parts)
        parts[where : where + 1] = [slice(None)] * missing
    rest = iter(places.arrays)
    axis = -1
    found: dict[int, tuple[int, Array]] = {}  # where in parts → axis, positions
    for i, part in enumerate(parts):
        axis += part is not None
        if part is ARRAY or type(part) is int:
            position = next(rest) if part is ARRAY else np.asarray(part)
            found[i] = axis, np.where(position < 0, position + shape[axis], position)
    inside = np.asarray(True)
    for axis, position in found.values():
        inside = inside & (position >= 0) & (position < shape[axis])
    for i, (axis, position) in found.items():
        parts[i] = np.clip(position, 0, max(shape[axis] - 1, 0))
    if mode == "clip" or not found:
        return update(x, tuple(parts), operation, value, None, places.once)
    # One more place at the end of an axis for all updates that are out of bounds.
    i, (axis, _) = next(iter(found.items()))
    n = shape[axis]
    parts[i] = np.where(inside, parts[i], n)
    extra = _filling(x, value) if operation == "get" else np.zeros((), x.dtype)
    border = np.broadcast_to(extra, (*shape[:axis], 1, *shape[axis + 1 :]))
    wide = np.concatenate([x, border], axis)
    result = update(wide, tuple(parts), operation, value)
    return result if operation == "get" else result[along(axis, slice(0, n))]


def _filling(x: Array, value: Any) -> Array:
    """JAX's default for what is out of bounds: NaN, or the integer that is as far off as can be."""
    dtype = shape_dtype(x).dtype
    if value is None:
        limits = {"i": lambda: np.iinfo(dtype).min, "u": lambda: np.iinfo(dtype).max}
        value = limits[dtype.kind]() if dtype.kind in "iu" else dtype.kind == "b" or np.nan
    return astype(as_array(value), dtype)
