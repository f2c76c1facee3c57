"""The record of a loop: an opaque value of a program that is as long as the loop ran.

A `while_loop` in a traced function does not know how many trips it will take. In reverse mode it
writes down what each trip keeps, and the backward pass walks the record from its end. A record has
no axes; the record of a batch holds the values of all examples, and for each trip the mask of those
whose loop was still going.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype
from ..ops.samples import Sample


class Record(list[Any]):
    """What each trip of a loop kept for the backward pass, the first trip first."""

    aval = ShapeDtype((), np.dtype(object))


def placeholder(aval: ShapeDtype) -> Array:
    """Stands for the records, in the shape of a scan over loops, of a branch that was not taken."""
    return np.zeros(aval.shape, object)


def _repeat(record: Any, *, count: int, outer: int) -> Any:
    """The record of a batch whose examples all ran the same loop; what is no record stays as it is.

    With `outer` batches around it, which have the first axes, the new axis comes after theirs, and
    the new mask before theirs.
    """
    if isinstance(record, np.ndarray) and record.dtype == object:  # of a scan over loops
        found = np.empty(record.shape, object)
        for index in np.ndindex(record.shape):
            found[index] = _repeat(record[index], count=count, outer=outer)
        return found
    if not isinstance(record, Record):
        return record
    trips = Record()
    for kept in record:
        values, masks = kept[: len(kept) - outer], kept[len(kept) - outer :]
        batch = np.shape(masks[0]) if outer else ()
        repeated = [
            np.broadcast_to(np.expand_dims(x, outer), (*batch, count, *np.shape(x)[outer:]))
            for x in values
        ]
        trips.append((*repeated, np.ones((*batch, count), np.bool_), *masks))
    return trips


def _choose(*records: Any) -> Any:
    """The one that is no placeholder: each branch has records of its own."""
    for record in records:
        if isinstance(record, np.ndarray):
            if any(isinstance(each, Record) for each in record.flat):
                return record
        elif isinstance(record, Record) and record:
            return record
    return records[0]


def _samples() -> list[Sample]:
    return [Sample((np.arange(3),), {"count": 2, "outer": 0})]


repeat_p: Primitive = Primitive(
    "while_repeat",
    _repeat,
    shape=lambda record, *, count, outer: record,
    vjp=None,
    jvp=None,
    batch=lambda size, flags, record, **params: repeat_p(
        record, count=params["count"], outer=params["outer"] + 1
    ),
    samples=_samples,
)
choose_p: Primitive = Primitive(
    "while_choose",
    _choose,
    shape=lambda *records: records[0],
    vjp=None,
    jvp=None,
    batch=lambda size, flags, *records: choose_p(*records),
    samples=lambda: [Sample((np.arange(3),))],
)
