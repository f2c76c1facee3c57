"""An index taken apart: its arrays, which are operands, and a `Template` that remembers the rest.

Also where NumPy puts the axes of index arrays, and how an index of one example becomes the index
of a whole batch.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, ndim_of, shape_dtype
from ..errors import TracerConversionError
from .axes import lifted


class Template:
    """An index with its arrays taken out; hashable, so that equal indices are equal params."""

    __slots__ = ("once", "parts", "scalar")

    def __init__(self, parts: tuple[Any, ...], scalar: bool, once: bool = False) -> None:
        self.parts = parts
        self.scalar = scalar  # the index was one object, not a tuple
        # No place is shown twice, whatever numbers the arrays hold; they come from a mask.
        self.once = once or self.basic

    def fill(self, arrays: Sequence[Array]) -> Any:
        """The index that NumPy understands."""
        rest = iter(arrays)
        filled = tuple([next(rest) if part is ARRAY else part for part in self.parts])
        return filled[0] if self.scalar else filled

    @property
    def basic(self) -> bool:
        """Only slices, integers, None and Ellipsis: the result can be a view."""
        return not any(part is ARRAY for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        # Slices are hashable only from Python 3.12 on.
        parts = [
            (p.start, p.stop, p.step, "slice") if isinstance(p, slice) else p for p in self.parts
        ]
        return (self.scalar, self.once, *parts)

    def text(self, arrays: Sequence[str]) -> str:
        """The index as it is written, with these names for its arrays: `[:, 0]`."""
        rest = iter(arrays)

        def show(part: Any) -> str:
            if isinstance(part, slice):
                ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
                return ":".join(ends + ([] if part.step is None else [str(part.step)]))
            return next(rest) if part is ARRAY else "..." if part is Ellipsis else str(part)

        return f"[{', '.join(show(part) for part in self.parts) or '()'}]"

    def __str__(self) -> str:
        return self.text(["array"] * len(self.parts))

    __repr__ = __str__


class _ArrayPlace:
    """Where an array goes in a `Template`."""

    def __repr__(self) -> str:
        return "array"


ARRAY = _ArrayPlace()


# ---- taking an index apart -----------------------------------------------------------------------


def split_index(index: Any, shape: tuple[int, ...]) -> tuple[Template, tuple[Array, ...]]:
    """Takes apart an index of an array of this shape; a mask becomes its positions.

    Raises `IndexError` for what NumPy does not index with, and `TracerConversionError` for a mask
    whose values are not there.
    """
    entries = index if isinstance(index, tuple) else (index,)
    parts: list[Any] = []
    arrays: list[Array] = []
    masks = 0
    for place, entry in enumerate(entries):
        if entry is None or entry is Ellipsis or type(entry) is int:
            parts.append(entry)
        elif isinstance(entry, slice):
            parts.append(slice(*[_bound(end) for end in (entry.start, entry.stop, entry.step)]))
        elif isinstance(entry, np.integer):
            parts.append(int(entry))
        else:
            array = _index_array(entry)
            if array.dtype.kind != "b":
                parts.append(ARRAY)
                arrays.append(array)
                continue
            masks += 1
            _check_mask(array, entries, place, shape)
            found = array.nonzero()
            parts += [ARRAY] * len(found)
            arrays += found
    once = masks == 1 and _only_mask(entries)
    scalar = len(parts) == 1 and not isinstance(index, tuple)
    return Template(tuple(parts), scalar, once), tuple(arrays)


def _only_mask(entries: Sequence[Any]) -> bool:
    """Whether all entries but one (a mask) are basic."""
    basic = [e is None or e is Ellipsis or isinstance(e, (int, np.integer, slice)) for e in entries]
    return basic.count(False) <= 1


def _index_array(entry: Any) -> Array:
    """An entry of an index as an array of integers, or as a mask that is there."""
    array: Any
    if isinstance(entry, Tracer):
        if entry.dtype.kind == "b":
            raise masked()
        array = entry
    else:
        array = np.asarray(entry)
        if array.size == 0 and array.dtype.kind == "f" and not hasattr(entry, "dtype"):
            array = array.astype(np.intp)  # NumPy takes [] as an integer index
    if array.dtype.kind not in "iub":
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
            f"integer or boolean arrays are valid indices, got {shape_dtype(array)}"
        )
    return array


def masked() -> TracerConversionError:
    """The error for a mask whose values are not known while tracing."""
    return TracerConversionError(
        "the shape of x[mask] depends on the mask's values, which are not there while tracing, "
        f"at {source.here()}\n  Write np.where(mask, x, other), or index with integers."
    )


def _bound(end: Any) -> int | None:
    if end is None or type(end) is int:
        return end
    if isinstance(end, Tracer):
        raise TracerConversionError(
            f"a slice from or to a traced value has no known length, at {source.here()}\n"
            "  Write x[i + np.arange(length)] for x[i : i + length]."
        )
    return operator.index(end)


def consumed(entry: Any) -> int:
    """How many axes of the indexed array an entry of an index is about."""
    if entry is None or entry is Ellipsis:
        return 0
    if isinstance(entry, (bool, np.bool_)):
        return 0
    dtype = getattr(entry, "dtype", None)
    if dtype is None and not isinstance(entry, (int, slice)):
        entry = np.asarray(entry)
        dtype = entry.dtype
    return entry.ndim if dtype is not None and dtype.kind == "b" else 1


def _check_mask(
    mask: np.ndarray[Any, Any], entries: Sequence[Any], place: int, shape: tuple[int, ...]
) -> None:
    """NumPy's check of a mask's shape, which the positions in it no longer tell."""
    before = entries[:place]
    axis = sum(map(consumed, before))
    if any(entry is Ellipsis for entry in before):
        axis = len(shape) - sum(map(consumed, entries[place:]))
    if sum(map(consumed, entries)) > len(shape):
        raise IndexError(
            f"too many indices for array: array is {len(shape)}-dimensional, but "
            f"{sum(map(consumed, entries))} were indexed"
        )
    for i, n in enumerate(mask.shape):
        if shape[axis + i] != n:
            raise IndexError(
                "boolean index did not match indexed array along axis "
                f"{axis + i}; size of axis is {shape[axis + i]} but size of corresponding "
                f"boolean axis is {n}"
            )


def flags_as_axes(index: Any, shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """`x[True]`: a mask without axes is a new axis of length 1 of which it takes all or nothing.

    Gives the index and the shape of the array with these axes.
    """
    entries = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(e, (bool, np.bool_)) or _is_flag(e) for e in entries):
        return index, shape
    total = sum(map(consumed, entries))
    found: list[Any] = []
    new_shape = list(shape)
    axis = 0  # in new_shape
    for entry in entries:
        if isinstance(entry, (bool, np.bool_)) or _is_flag(entry):
            new_shape.insert(axis, 1)
            found.append(np.zeros(1 if entry else 0, np.intp))
            axis += 1
            continue
        axis += len(shape) - total if entry is Ellipsis else consumed(entry)
        found.append(entry)
    return tuple(found), tuple(new_shape)


def _is_flag(entry: Any) -> bool:
    return isinstance(entry, np.ndarray) and entry.ndim == 0 and entry.dtype.kind == "b"


# ---- a whole batch -------------------------------------------------------------------------------


def _rest(parts: Sequence[Any], ndim: int) -> list[int]:
    """How many axes of the result each part gives that is no index array; last, the implicit."""
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    gives = [
        ndim - taken if part is Ellipsis else 1 if part is None or isinstance(part, slice) else 0
        for part in parts
    ]
    return [*gives, 0 if any(part is Ellipsis for part in parts) else ndim - taken]


def _before(parts: Sequence[Any], ndim: int, fancy: bool) -> int:
    """How many of the result's other axes stand before those of the index arrays.

    NumPy's rule: they stand where the arrays stood; first, where something is between two of them.
    An integer counts as an array when there is one.
    """
    if not fancy:
        return 0
    places = [i for i, part in enumerate(parts) if part is ARRAY or type(part) is int]
    if places[-1] - places[0] + 1 != len(places):
        return 0
    return sum(_rest(parts, ndim)[: places[0]])


class BatchedIndex:
    """The index of a whole batch, whose array has the batch axis first.

    `order` are the axes of its result in the order in which a batch wants them: the batch axis
    first, and the rest as for one example.
    """

    def __init__(
        self,
        size: int,
        of_array: bool,
        flags: Sequence[bool],
        arrays: Sequence[Array],
        template: Template,
        ndim: int,
    ) -> None:
        """`ndim` counts the axes of one example's array; `of_array` says whether it is batched."""
        parts = template.parts
        ndims = [ndim_of(a) - flag for a, flag in zip(arrays, flags, strict=True)]
        common = max(ndims, default=0)
        fancy = common > 0
        total = sum(_rest(parts, ndim))
        rest: list[Any] = list(range(total))
        shown = [f"index {i}" for i in range(common)]
        if any(flags):
            arrays = [
                lifted(a, common) if flag else a for a, flag in zip(arrays, flags, strict=True)
            ]
            new_parts = parts
            if of_array:
                new_parts = (ARRAY, *parts)
                arrays = [np.arange(size).reshape(size, *[1] * common), *arrays]
            start = _before(new_parts, ndim + of_array, True)
            found = [*rest[:start], "batch", *shown, *rest[start:]]
        else:
            new_parts = (slice(None), *parts)
            start = _before(new_parts, ndim + 1, fancy)
            rest = ["batch", *rest]
            found = [*rest[:start], *shown, *rest[start:]]
            rest = rest[1:]
        place = _before(parts, ndim, fancy)
        wanted = ["batch", *rest[:place], *shown, *rest[place:]]
        self.template = Template(tuple(new_parts), False, template.once)
        self.arrays = tuple(arrays)
        self.order = tuple([found.index(axis) for axis in wanted])
        self.back = tuple([wanted.index(axis) for axis in found])
        self.moves = self.order != tuple(range(len(self.order)))
