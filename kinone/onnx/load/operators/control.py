"""If, Loop and Scan: Python's own where what they ask is known, Kinone's where it is traced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....core import Array, Tracer, shape_dtype, shape_of
from ....errors import KinoneError
from ....graph import eval_shape
from ....transforms import cond, scan, while_loop
from ..graph import Subgraph, node_reads
from ..known import flag, integer, integers, is_known
from ..registry import Node, operator

# A loop of more trips whose values are traced becomes one loop of the program, not as many copies.
UNROLLED = 8
ENDLESS = 2**40  # trips that no program waits for, such as the largest integer for "no limit"
_DRAWS = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli")


@operator("If")
def if_(node: Node, condition: Array) -> Any:
    branches = node.attribute("then_branch"), node.attribute("else_branch")
    if is_known(condition):
        return tuple(branches[0 if flag(node, condition, "condition") else 1]())
    asked = np.reshape(condition, ())
    return cond(asked, lambda: tuple(branches[0]()), lambda: tuple(branches[1]()))


# ---- Loop ----------------------------------------------------------------------------------------


@operator("Loop")
def loop(
    node: Node, limit: Array | None = None, condition: Array | None = None, *carried: Any
) -> Any:
    body: Subgraph = node.attribute("body")
    count = len(body.graph.inputs) - 2
    scans = len(body.graph.outputs) - 1 - count
    if count < 0 or scans < 0 or len(carried) > count:
        raise node.error(
            f"carries {len(carried)} values; its body has {len(body.graph.inputs)} inputs and "
            f"{len(body.graph.outputs)} outputs"
        )
    carried = (*carried, *[None] * (count - len(carried)))
    asked = np.array(True) if condition is None else np.reshape(condition, ())
    if not is_known(asked) or (limit is not None and not is_known(limit)):
        return _while(node, body, limit, asked, carried, scans)
    trips = None if limit is None else integer(node, limit, "trip count")
    going = flag(node, asked, "condition")
    values: Any = carried
    collected: list[list[Array]] = []
    trip = 0
    while going and (trips is None or trip < trips):
        again, *results = body(np.array(trip, np.int64), np.array(True), *values)
        if not is_known(again):
            return _while(node, body, limit, asked, carried, scans)
        going = flag(node, again, "condition")
        if trip == 0 and going and _same_condition(body):
            if trips is None or trips > ENDLESS:
                raise node.error("would never end: its condition stays true")
            if trips > UNROLLED and not is_known(results):
                found = _scanned(body, trips, carried)
                if found is not None:
                    return found
        values = tuple(results[:count])
        if scans:
            collected.append(results[count:])
        trip += 1
    return *values, *_stacked(body, collected, carried, scans)


def _same_condition(body: Subgraph) -> bool:
    """Whether the condition after a trip depends on none of what changes from trip to trip."""
    graph = body.graph
    changing = {graph.inputs[0], *graph.inputs[2:]}
    for node in graph.nodes:
        if node.op in _DRAWS or not changing.isdisjoint(node_reads(node)):
            changing.update(node.outputs)
    return graph.outputs[0] not in changing


def _stacked(
    body: Subgraph, collected: Sequence[Sequence[Array]], carried: Sequence[Any], scans: int
) -> list[Array]:
    """What the trips have made, along a new first axis, whose length may be 0."""
    if collected:
        return [np.stack(column) for column in zip(*collected, strict=True)]
    if not scans:
        return []
    try:
        kinds = eval_shape(body, np.array(0, np.int64), np.array(True), *carried)[-scans:]
        return [np.zeros((0, *kind.shape), kind.dtype) for kind in kinds]
    except (KinoneError, TypeError):  # values that cannot be traced: as the model declares it
        return [
            np.zeros(
                (0, *[size if isinstance(size, int) else 0 for size in port.shape or ()]),
                port.dtype or np.float32,
            )
            for port in body.graph.declared[-scans:]
        ]


def _scanned(body: Subgraph, trips: int, carried: Sequence[Any]) -> Any:
    """The loop as a `scan`, or None where its trips are not alike."""

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        trip, values = carry
        _, *results = body(trip, np.array(True), *values)
        return (trip + np.int64(1), results[: len(values)]), results[len(values) :]

    first = (np.array(0, np.int64), list(carried))
    try:
        (_, values), stacked = scan(step, first, length=trips)
    except (KinoneError, TypeError, ValueError):
        return None
    return *values, *stacked


def _while(
    node: Node,
    body: Subgraph,
    limit: Array | None,
    condition: Array,
    carried: Sequence[Any],
    scans: int,
) -> Any:
    if scans:
        raise node.error(
            "collects a value of each trip, and how many trips there are is computed from a traced "
            "input\n  Call the model without jit and vmap, or with the input that decides it as a "
            "plain array."
        )
    most = np.array(np.iinfo(np.int64).max) if limit is None else np.reshape(limit, ())

    def ask(state: Any) -> Array:
        trip, going, _ = state
        return np.logical_and(going, trip < most)

    def step(state: Any) -> Any:
        trip, going, values = state
        again, *results = body(trip, going, *values)
        return trip + np.int64(1), np.reshape(again, ()), results

    first = (np.array(0, np.int64), condition, list(carried))
    return tuple(while_loop(ask, step, first)[2])


# ---- Scan ----------------------------------------------------------------------------------------


@operator("Scan", since=9)
def scan_(node: Node, *operands: Array) -> Any:
    body: Subgraph = node.attribute("body")
    count = node.attribute("num_scan_inputs")
    states, columns = _parted(node, body, operands, count)
    results = len(body.graph.outputs) - len(states)
    axes = node.attribute("scan_input_axes", [0] * count)
    back = node.attribute("scan_input_directions", [0] * count)
    xs = [
        np.flip(moved, 0) if reverse else moved
        for x, axis, reverse in zip(columns, axes, back, strict=True)
        for moved in (np.moveaxis(x, axis, 0),)
    ]
    after, ys = _run(body, states, xs)
    axes = node.attribute("scan_output_axes", [0] * results)
    back = node.attribute("scan_output_directions", [0] * results)
    outputs = [
        np.moveaxis(np.flip(y, 0) if reverse else y, 0, axis)
        for y, axis, reverse in zip(ys, axes, back, strict=True)
    ]
    return *after, *outputs


@operator("Scan", since=8)
def batched_scan(node: Node, lengths: Array | None, *operands: Array) -> Any:
    body: Subgraph = node.attribute("body")
    count = node.attribute("num_scan_inputs")
    states, columns = _parted(node, body, operands, count)
    back = node.attribute("directions", [0] * count)
    batch, longest = shape_of(columns[0])[:2]
    ends = [longest] * batch if lengths is None else integers(node, lengths, "sequence lengths")
    rows = []
    for i in range(batch):
        xs = [
            np.flip(x[i, : ends[i]], 0) if reverse else x[i, : ends[i]]
            for x, reverse in zip(columns, back, strict=True)
        ]
        after, ys = _run(body, [each[i] for each in states], xs)
        rest = longest - ends[i]
        filled = [np.pad(y, [(0, rest), *[(0, 0)] * (len(shape_of(y)) - 1)]) for y in ys]
        rows.append([*after, *filled])
    return tuple([np.stack(column) for column in zip(*rows, strict=True)])


def _parted(
    node: Node, body: Subgraph, operands: Sequence[Array], count: int
) -> tuple[list[Array], list[Array]]:
    """The states and what is scanned."""
    if not 0 < count <= len(operands) or len(operands) != len(body.graph.inputs):
        raise node.error(
            f"scans {count} of {len(operands)} inputs; its body has {len(body.graph.inputs)}"
        )
    split = len(operands) - count
    return list(operands[:split]), list(operands[split:])


def _run(body: Subgraph, states: Sequence[Array], xs: Sequence[Array]) -> tuple[Any, Any]:
    def step(values: Any, slices: Any) -> tuple[Any, Any]:
        results = body(*values, *slices)
        kept = [
            np.asarray(new, shape_dtype(old).dtype) if not isinstance(new, Tracer) else new
            for old, new in zip(values, results, strict=False)
        ]
        return kept, results[len(values) :]

    return scan(step, list(states), list(xs))
