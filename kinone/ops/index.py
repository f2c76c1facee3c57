"""Indexing and its transposes: `x[i]`, and what `x.at[i].set(v)` and `x.at[i].add(v)` stand on.

An index is split into its arrays, which become operands, and a `Template` that remembers the rest:
slices, integers, None, Ellipsis, and where the arrays go. Indices out of bounds raise NumPy's
IndexError in every transformation.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, Tracer, implements, ndim_of, shape_dtype, shape_of
from ..core.layout import ORDERED, UNKNOWN
from .axes import along, as_array, lifted, normalize_axis, with_batch
from .declare import cast, linear, primitive, unbroadcast, zeros
from .samples import Sample, values
from .template import BatchedIndex, Template, flags_as_axes, masked, split_index

# ---- x[i] ----------------------------------------------------------------------------------------


def _impl(x: Array, *arrays: Array, template: Template) -> Array:
    return np.asarray(x)[template.fill(arrays)]


def _shape(x: ShapeDtype, *arrays: ShapeDtype, template: Template) -> ShapeDtype:
    if any(a.dtype.kind == "b" for a in arrays):
        raise masked()
    # NumPy itself says the shape: the operands are zero-stride arrays and take no memory, index 0
    # stands for every traced index.
    stand_ins = tuple([zeros(a) for a in arrays])
    return ShapeDtype(zeros(x)[template.fill(stand_ins)].shape, x.dtype)


def _batch(
    size: int, batched: Sequence[bool], x: Array, *arrays: Array, template: Template
) -> Array:
    of_array, flags = batched[0], batched[1:]
    plan = BatchedIndex(size, of_array, flags, arrays, template, ndim_of(x) - of_array)
    y = getitem_p(x, *plan.arrays, template=plan.template)
    return np.transpose(y, plan.order) if plan.moves else y


def _layout(known: Sequence[int], avals: Sequence[ShapeDtype], *, template: Template) -> int:
    forward = all((part.step or 1) > 0 for part in template.parts if isinstance(part, slice))
    return min(known[0], ORDERED) if template.basic and forward else UNKNOWN


def _samples() -> list[Sample]:
    x = values(4, 3, 5)
    rows, columns = np.array([3, 0, 0]), np.array([[1], [2]])

    def sample(*index: Any) -> Sample:
        template, arrays = split_index(index if len(index) > 1 else index[0], x.shape)
        return Sample((x, *arrays), {"template": template})

    return [
        sample(slice(None, None, 2), 1),
        sample(..., None, slice(4, 1, -1)),
        sample(rows),
        sample(rows, slice(None), columns),
        sample(-1, columns),
        sample(slice(None), rows[:2] - 3, None, 2),
        sample(np.array(2), ..., np.array(1)),
        sample(np.array([True, False, True, True])),
    ]


getitem_p: Primitive = linear(
    "getitem",
    _impl,
    shape=_shape,
    transpose=lambda g, x, *arrays, template: scatter_p(
        g, *arrays, template=template, shape=x.shape
    ),
    batch=_batch,
    code=lambda x, *arrays, template: x + template.text(arrays),
    layout=_layout,
    flops=0,
    samples=_samples,
)


@implements(operator.getitem)
def getitem(x: Array, index: Any) -> Array:
    """`x[index]`, with integers, slices, None, Ellipsis, integer and boolean arrays.

    >>> getitem(np.arange(5), [0, -1])
    array([0, 4])
    """
    if not isinstance(x, Tracer):
        x = np.asarray(x)
    if type(index) is not int and type(index) is not slice:
        index, shape = flags_as_axes(index, shape_of(x))
        if shape != shape_of(x):
            x = np.reshape(x, shape)
    template, arrays = split_index(index, shape_of(x))
    return getitem_p(x, *arrays, template=template)


# ---- zeros with values added in places -----------------------------------------------------------


def _scatter(g: Array, *arrays: Array, template: Template, shape: tuple[int, ...]) -> Array:
    g = np.asarray(g)
    result = np.zeros(shape, g.dtype)
    if template.once:
        result[template.fill(arrays)] = g
    elif len(template.parts) == 1 < len(shape) and _add_rows(result, np.asarray(arrays[0]), g):
        pass
    else:
        np.add.at(result, template.fill(arrays), g)
    return result


def _add_rows(result: Any, rows: Any, g: Any) -> bool:
    """Adds to whole rows, as the gradient of an embedding does: `np.add.at` of the flattened array
    is several times faster, and gives the same bits. Whether it was possible."""
    count = len(result)
    if rows.size == 0 or rows.min() < -count or rows.max() >= count:
        return False  # NumPy says what is wrong
    size = math.prod(result.shape[1:])
    start = np.where(rows < 0, rows + count, rows).reshape(-1, 1).astype(np.intp) * size
    np.add.at(result.reshape(-1), (start + np.arange(size)).reshape(-1), g.reshape(-1))
    return True


def _scatter_batch(
    size: int,
    batched: Sequence[bool],
    g: Array,
    *arrays: Array,
    template: Template,
    shape: tuple[int, ...],
) -> Array:
    plan = BatchedIndex(size, True, batched[1:], arrays, template, len(shape))
    g = with_batch(g, batched[0], size)
    if plan.moves:
        g = np.transpose(g, plan.back)
    return scatter_p(g, *plan.arrays, template=plan.template, shape=(size, *shape))


scatter_p: Primitive = linear(
    "scatter",
    _scatter,
    shape=lambda g, *arrays, template, shape: ShapeDtype(shape, g.dtype),
    transpose=lambda g, x, *arrays, template, shape: getitem_p(g, *arrays, template=template),
    batch=_scatter_batch,
    fresh=True,
    samples=lambda: [
        Sample(
            (np.asarray(s.args[0])[s.params["template"].fill(s.args[1:])], *s.args[1:]),
            {**s.params, "shape": shape_of(s.args[0])},
        )
        for s in _samples()
    ],
)


# ---- values replaced -----------------------------------------------------------------------------


def _set(x: Array, v: Array, *arrays: Array, template: Template) -> Array:
    result = np.array(x)
    result[template.fill(arrays)] = v
    return result


def _set_shape(x: ShapeDtype, v: ShapeDtype, *arrays: ShapeDtype, template: Template) -> ShapeDtype:
    place = _shape(x, *arrays, template=template).shape
    extra = max(v.ndim - len(place), 0)
    fits = all(n == 1 for n in v.shape[:extra]) and all(
        n in (1, m) for n, m in zip(reversed(v.shape[extra:]), reversed(place), strict=False)
    )
    if not fits:
        raise ValueError(
            f"shape mismatch: value array of shape {v.shape} could not be broadcast to indexing "
            f"result of shape {place}"
        )
    return ShapeDtype(x.shape, x.dtype)


def _set_vjp(y: Array, x: Array, v: Array, *arrays: Array, template: Template) -> Any:
    x_aval, v_aval = shape_dtype(x), shape_dtype(v)

    def pullback(g: Array) -> tuple[Array, ...]:
        rest = cast(set_p(g, 0.0, *arrays, template=template), x_aval.dtype)
        taken = getitem_p(g, *arrays, template=template)
        if not template.once:
            # Of a place that is set twice the last value counts: number the values, set the
            # numbers, and see which of them are still there.
            numbers = np.arange(math.prod(shape_of(taken))).reshape(shape_of(taken))
            there = set_p(np.zeros(x_aval.shape, np.int64), numbers, *arrays, template=template)
            last = getitem_p(there, *arrays, template=template) == numbers
            taken = np.where(last, taken, 0)
        taken = unbroadcast(taken, v_aval.shape)
        return (rest, cast(taken, v_aval.dtype), *(None for _ in arrays))

    return pullback


def _set_jvp(y: Array, x: Array, v: Array, *arrays: Array, template: Template) -> Any:
    return lambda tx, tv, *_: set_p(tx, 0.0 if tv is None else tv, *arrays, template=template)


def in_place(v: Array, batched: bool, plan: BatchedIndex) -> Array:
    """The values of a batched update, in the order of axes that the batched index has."""
    ndim = len(plan.order) - 1  # of one example's values
    if not batched:
        shape = shape_of(v)
        if len(shape) <= ndim and not plan.moves:
            return v
        v = np.reshape(as_array(v), (1, *shape))
    size, *shape_one = shape_of(v)
    extra = max(len(shape_one) - ndim, 0)  # axes of length 1 that NumPy lets values have in front
    v = lifted(np.reshape(v, (size, *shape_one[extra:])), ndim)
    return np.transpose(v, plan.back) if plan.moves else v


def _set_batch(
    size: int, batched: Sequence[bool], x: Array, v: Array, *arrays: Array, template: Template
) -> Array:
    ndim = ndim_of(x) - batched[0]
    plan = BatchedIndex(size, True, batched[2:], arrays, template, ndim)
    x = with_batch(x, batched[0], size)
    v = in_place(v, batched[1], plan)
    return set_p(x, v, *plan.arrays, template=plan.template)


set_p: Primitive = primitive(
    "set",
    _set,
    shape=_set_shape,
    vjp=_set_vjp,
    jvp=_set_jvp,
    batch=_set_batch,
    fresh=True,
    flops=0,
    samples=lambda: [
        Sample(
            (values(4, 3), values(2, seed=3)),
            {"template": split_index((slice(1, 3), 0), (4, 3))[0]},
        ),
        Sample(
            (values(4, 3), values(3, seed=3), np.array([2, 0])),
            {"template": split_index(np.array([2, 0]), (4, 3))[0]},
        ),
        Sample(
            (values(4), values(seed=3)), {"template": split_index(slice(None, None, 2), (4,))[0]}
        ),
        Sample(
            (values(3, 2, 4), values(3, 2, seed=3), np.array([0, 0, 2]), np.array([3, 1, 3])),
            {"template": split_index(([0], slice(None), [0]), (3, 2, 4))[0]},
        ),
    ],
)


# ---- np.take and np.take_along_axis --------------------------------------------------------------


@implements(np.take)
def take(
    a: Array, indices: Array, axis: int | None = None, out: None = None, mode: str = "raise"
) -> Array:
    """Elements along an axis by integer index.

    Indices out of bounds raise `IndexError`, are taken modulo the length (`mode="wrap"`), or
    become the first or last one (`mode="clip"`, in which negative ones are the first).

    >>> take(np.array([10, 20, 30]), [0, 2])
    array([10, 30])
    """
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    a = as_array(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    axis = normalize_axis(axis, ndim_of(a))
    positions = _positions(indices)
    n: Any = shape_of(a)[axis]
    if mode != "raise":
        if n == 0 and math.prod(shape_of(positions)):
            raise IndexError("cannot do a non-empty take from an empty axes.")
        positions = positions % max(n, 1) if mode == "wrap" else np.clip(positions, 0, n - 1)
    return getitem(a, along(axis, positions))


def _positions(indices: Array) -> Any:
    """Indices as integers: to `take` True is 1, to `x[…]` a mask."""
    found = as_array(indices)
    if math.prod(shape_of(found)) == 0 and not hasattr(indices, "dtype"):
        return found.astype(np.intp)
    if found.dtype.kind == "b":
        return found.astype(np.intp)
    if found.dtype.kind not in "iu":
        raise TypeError(
            f"Cannot cast array data from {found.dtype!r} to {np.dtype(np.intp)!r} according to "
            "the rule 'safe'"
        )
    return found


@implements(np.take_along_axis)
def take_along_axis(arr: Array, indices: Array, axis: int | None = -1) -> Array:
    """One element of `arr` along an axis for each entry of `indices`.

    >>> take_along_axis(np.array([[1, 2], [3, 4]]), np.array([[1], [0]]), axis=1)
    array([[2],
           [3]])
    """
    arr, indices = as_array(arr), as_array(indices)
    if axis is None:
        if ndim_of(indices) != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        arr, axis = np.reshape(arr, -1), 0
    ndim = ndim_of(arr)
    axis = normalize_axis(axis, ndim)
    if ndim_of(indices) != ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    grid: list[Any] = []
    for i, n in enumerate(shape_of(arr)):
        if i == axis:
            grid.append(indices)
        else:
            grid.append(np.arange(n).reshape([-1 if j == i else 1 for j in range(ndim)]))
    return getitem(arr, tuple(grid))
