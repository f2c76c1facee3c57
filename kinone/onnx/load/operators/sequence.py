"""Sequences are Python's lists, and an optional value that is not there is None."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....core import Array, shape_of
from ..known import integer, integers, known
from ..registry import Node, operator


@operator("SequenceConstruct")
def sequence_construct(node: Node, *xs: Array) -> Any:
    return (list(xs),)


@operator("SequenceEmpty")
def sequence_empty(node: Node) -> Any:
    return ([],)


@operator("SequenceLength")
def sequence_length(node: Node, xs: list[Array]) -> Array:
    return np.array(len(xs), np.int64)


def _position(node: Node, xs: list[Array], position: Array | None, end: int) -> int:
    """Where in the sequence; the last place that there is is `end - 1`."""
    where = end - 1 if position is None else integer(node, position, "position")
    if not -len(xs) <= where < end:
        raise node.error(f"asks for place {where} of a sequence of {len(xs)}")
    return where + len(xs) if where < 0 else where


@operator("SequenceAt")
def sequence_at(node: Node, xs: list[Array], position: Array) -> Array:
    return (xs[_position(node, xs, position, len(xs))],)


@operator("SequenceInsert")
def sequence_insert(node: Node, xs: list[Array], x: Array, position: Array | None = None) -> Any:
    where = _position(node, xs, position, len(xs) + 1)
    return ([*xs[:where], x, *xs[where:]],)


@operator("SequenceErase")
def sequence_erase(node: Node, xs: list[Array], position: Array | None = None) -> Any:
    where = _position(node, xs, position, len(xs))
    return ([*xs[:where], *xs[where + 1 :]],)


@operator("ConcatFromSequence")
def concat_from_sequence(node: Node, xs: list[Array]) -> Array:
    join = np.stack if node.attribute("new_axis", 0) else np.concatenate
    return join(xs, node.attribute("axis"))


@operator("SplitToSequence")
def split_to_sequence(node: Node, x: Array, sizes: Array | None = None) -> Any:
    axis = node.attribute("axis", 0)
    length = shape_of(x)[axis]
    if sizes is None:
        parts = np.split(x, length, axis) if length else []
        keep = node.attribute("keepdims", 1)
        return ([each if keep else np.squeeze(each, axis) for each in parts],)
    given = integers(node, sizes, "sizes")
    if known(node, sizes, "sizes").ndim == 0:
        if given[0] <= 0:
            raise node.error(f"splits into parts of {given[0]}")
        ends = list(range(given[0], length, given[0]))
    elif sum(given) != length or min(given) < 0:
        raise node.error(f"splits an axis of {length} into {list(given)}")
    else:
        ends = np.cumsum(given)[:-1].tolist()
    return (list(np.split(x, ends, axis)),)


@operator("SequenceMap")
def sequence_map(node: Node, xs: list[Array], *others: Any) -> Any:
    body = node.attribute("body")
    results = [
        body(x, *[each[i] if isinstance(each, list) else each for each in others])
        for i, x in enumerate(xs)
    ]
    if not results:
        return tuple([[] for _ in node.outputs])
    return tuple([list(column) for column in zip(*results, strict=True)])


@operator("Optional")
def optional(node: Node, x: Any = None) -> Any:
    return (x,)


@operator("OptionalHasElement")
def optional_has_element(node: Node, x: Any = None) -> Array:
    return np.array(x is not None)


@operator("OptionalGetElement")
def optional_get_element(node: Node, x: Any = None) -> Any:
    if x is None:
        raise node.error("takes the element of an optional value that has none")
    return (x,)
