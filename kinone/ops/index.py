"""Indexing and its transposes: `x[i]`, `x.at[i].set(v)`, `x.at[i].add(v)`.

An index is split into its arrays, which become operands, and a `Template` that remembers the rest:
slices, integers, None, Ellipsis, and where the arrays go. Indices out of bounds raise NumPy's
IndexError in every transformation.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, Tracer, implements, ndim_of, shape_dtype, shape_of
from ..errors import TracerConversionError
from .declare import cast, linear, primitive, unbroadcast, zeros
from .samples import Sample, values
from .shape import normalize_axis


class Template:
    """An index with its arrays taken out; hashable, so that equal indices are equal params."""

    __slots__ = ("parts", "scalar")

    def __init__(self, parts: tuple[Any, ...], scalar: bool) -> None:
        self.parts = parts
        self.scalar = scalar  # the index was one object, not a tuple

    def fill(self, arrays: tuple[Array, ...]) -> Any:
        """The index that NumPy understands."""
        rest = iter(arrays)
        filled = tuple([next(rest) if part is _ARRAY else part for part in self.parts])
        return filled[0] if self.scalar else filled

    @property
    def basic(self) -> bool:
        """Only slices, integers, None and Ellipsis: the result shows each element at most once."""
        return not any(part is _ARRAY for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        # Slices are hashable only from Python 3.12 on.
        return tuple(
            [(p.start, p.stop, p.step, "slice") if isinstance(p, slice) else p for p in self.parts]
        )

    def __str__(self) -> str:
        def show(part: Any) -> str:
            if isinstance(part, slice):
                ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
                return ":".join(ends + ([] if part.step is None else [str(part.step)]))
            return "array" if part is _ARRAY else "..." if part is Ellipsis else str(part)

        return f"[{', '.join(show(part) for part in self.parts)}]"

    __repr__ = __str__


class _ArrayPlace:
    """Where an array goes in a `Template`."""

    def __repr__(self) -> str:
        return "array"


_ARRAY = _ArrayPlace()


def split_index(index: Any) -> tuple[Template, tuple[Array, ...]]:
    """Takes an index apart. Raises `IndexError` for what NumPy does not index with."""
    entries = index if isinstance(index, tuple) else (index,)
    parts: list[Any] = []
    arrays: list[Array] = []
    for entry in entries:
        if entry is None or entry is Ellipsis or (type(entry) is int):
            parts.append(entry)
        elif isinstance(entry, slice):
            parts.append(slice(*[_bound(end) for end in (entry.start, entry.stop, entry.step)]))
        elif isinstance(entry, np.integer):
            parts.append(int(entry))
        else:
            known = entry if isinstance(entry, Tracer) else np.asarray(entry)
            if not isinstance(entry, Tracer) and known.size == 0 and known.dtype.kind == "f":
                known = known.astype(np.intp)  # NumPy takes [] as an integer index
            if known.dtype.kind not in "iub":
                raise IndexError(
                    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
                    f"integer or boolean arrays are valid indices, got {shape_dtype(known)}"
                )
            parts.append(_ARRAY)
            arrays.append(known)
    return Template(tuple(parts), not isinstance(index, tuple)), tuple(arrays)


def _bound(end: Any) -> int | None:
    if end is None or type(end) is int:
        return end
    return operator.index(end)


def _impl(x: Array, *arrays: Array, template: Template) -> Array:
    return np.asarray(x)[template.fill(arrays)]


def _shape(x: ShapeDtype, *arrays: ShapeDtype, template: Template) -> ShapeDtype:
    if any(a.dtype.kind == "b" for a in arrays):
        raise TracerConversionError(
            "the shape of x[mask] depends on the mask's values, which are not there while tracing, "
            f"at {source.here()}\n  Write np.where(mask, x, other), or index with integers."
        )
    # NumPy itself says the shape: the operands are zero-stride arrays and take no memory, index 0
    # stands for every traced index.
    stand_ins = tuple([zeros(a) for a in arrays])
    return ShapeDtype(zeros(x)[template.fill(stand_ins)].shape, x.dtype)


def _samples() -> list[Sample]:
    x = values(4, 3, 5)
    rows, columns = np.array([3, 0, 0]), np.array([[1], [2]])
    return [
        Sample((x,), {"template": split_index((slice(None, None, 2), 1))[0]}),
        Sample((x,), {"template": split_index((..., None, slice(4, 1, -1)))[0]}),
        Sample((x, rows), {"template": split_index(rows)[0]}),
        Sample((x, rows, columns), {"template": split_index((rows, slice(None), columns))[0]}),
        Sample((x, columns), {"template": split_index((-1, columns))[0]}),
    ]


getitem_p: Primitive = linear(
    "getitem",
    _impl,
    shape=_shape,
    transpose=lambda g, x, *arrays, template: scatter_p(
        g, *arrays, template=template, shape=x.shape
    ),
    samples=_samples,
)


@implements(operator.getitem)
def getitem(x: Array, index: Any) -> Array:
    """`x[index]`, with integers, slices, None, Ellipsis, integer and boolean arrays."""
    template, arrays = split_index(index)
    return getitem_p(x, *arrays, template=template)


def _once(template: Template, arrays: tuple[Array, ...]) -> bool:
    """Whether the index shows no place twice, whatever its numbers are."""
    return template.basic or (
        len(template.parts) == len(arrays) == 1 and shape_dtype(arrays[0]).dtype.kind == "b"
    )


def _scatter(g: Array, *arrays: Array, template: Template, shape: tuple[int, ...]) -> Array:
    result = np.zeros(shape, np.asarray(g).dtype)
    if _once(template, arrays):
        result[template.fill(arrays)] = g
    else:
        np.add.at(result, template.fill(arrays), g)
    return result


scatter_p: Primitive = linear(
    "scatter",
    _scatter,
    shape=lambda g, *arrays, template, shape: ShapeDtype(shape, g.dtype),
    transpose=lambda g, x, *arrays, template, shape: getitem_p(g, *arrays, template=template),
    samples=lambda: [
        Sample(
            (np.asarray(s.args[0])[s.params["template"].fill(s.args[1:])], *s.args[1:]),
            {**s.params, "shape": shape_of(s.args[0])},
        )
        for s in _samples()
    ],
)


def _set(x: Array, v: Array, *arrays: Array, template: Template) -> Array:
    result = np.array(x)
    result[template.fill(arrays)] = v
    return result


def _set_vjp(y: Array, x: Array, v: Array, *arrays: Array, template: Template) -> Any:
    x_aval, v_aval = shape_dtype(x), shape_dtype(v)

    def pullback(g: Array) -> tuple[Array, ...]:
        rest = cast(set_p(g, 0.0, *arrays, template=template), x_aval.dtype)
        taken = getitem_p(g, *arrays, template=template)
        if not _once(template, arrays):
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


set_p: Primitive = primitive(
    "set",
    _set,
    shape=lambda x, v, *arrays, template: ShapeDtype(x.shape, x.dtype),
    vjp=_set_vjp,
    jvp=_set_jvp,
    samples=lambda: [
        Sample((values(4, 3), values(2, seed=3)), {"template": split_index((slice(1, 3), 0))[0]}),
        Sample(
            (values(4, 3), values(3, seed=3), np.array([2, 0])),
            {"template": split_index(np.array([2, 0]))[0]},
        ),
        Sample((values(4), values(seed=3)), {"template": split_index(slice(None, None, 2))[0]}),
    ],
)


@implements(operator.setitem)
def set_at(x: Array, index: Any, value: Array) -> Array:
    """What `x` would be after `x[index] = value`; of a place set twice the last value counts."""
    template, arrays = split_index(index)
    return set_p(x, value, *arrays, template=template)


@implements(np.add.at)
def add_at(x: Array, index: Any, value: Array) -> Array:
    """What `x` would be after `np.add.at(x, index, value)`: repeated places add up."""
    template, arrays = split_index(index)
    known = shape_dtype(x)
    value = value.astype(known.dtype) if hasattr(value, "dtype") else np.asarray(value, known.dtype)
    spread = np.broadcast_to(value, shape_of(getitem_p(zeros(known), *arrays, template=template)))
    return x + scatter_p(spread, *arrays, template=template, shape=known.shape)


@implements(np.take)
def take(
    a: Array, indices: Array, axis: int | None = None, out: None = None, mode: str = "raise"
) -> Array:
    """Elements along an axis by integer index. Raises `IndexError` when one is out of bounds."""
    if mode != "raise":
        raise ValueError(f"take of a traced value knows mode='raise', not {mode!r}")
    if axis is None:
        return getitem(np.reshape(a, -1), _positions(indices))
    axis = normalize_axis(axis, ndim_of(a))
    return getitem(a, (slice(None),) * axis + (_positions(indices),))


def _positions(indices: Array) -> Array:
    """Indices as integers: to `take` True is 1, to `x[…]` a mask."""
    if isinstance(indices, Tracer):
        return indices
    indices = np.asarray(indices)
    return indices.astype(np.intp) if indices.dtype.kind == "b" else indices


@implements(np.take_along_axis)
def take_along_axis(arr: Array, indices: Array, axis: int | None = -1) -> Array:
    """One element of `arr` along an axis for each entry of `indices`."""
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    ndim = ndim_of(arr)
    axis = normalize_axis(axis, ndim)
    if ndim_of(indices) != ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    grid: list[Any] = []
    for i, n in enumerate(shape_of(arr)):
        if i == axis:
            grid.append(indices)
        else:
            grid.append(np.arange(n).reshape([-1 if j == i else 1 for j in range(ndim)]))
    return getitem(arr, tuple(grid))
