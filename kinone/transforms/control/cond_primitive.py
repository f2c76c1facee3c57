"""`cond` and `switch` as a primitive, for predicates that are known when the program runs.

The branches are programs with the same operands and the same kinds of results. Reverse mode runs
the forward program of the branch that is taken, and its backward program afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...graph import Graph, evaluate
from ...ops.samples import Sample, values
from ..calls import by_run
from ..records import choose_p
from ..split import (
    batched,
    fill_zeros,
    floating,
    forward_backward,
    is_floating,
    is_opaque,
    pushforward,
)
from .bodies import lent, nothing, program, recomputed


def _impl(index: Array, *operands: Array, branches: Sequence[Callable[..., Any]]) -> Any:
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def _shape(
    index: ShapeDtype, *operands: ShapeDtype, branches: Sequence[Graph]
) -> tuple[ShapeDtype, ...]:
    return tuple([ShapeDtype(a.aval.shape, a.aval.dtype) for a in branches[0].outputs])


def _run_vjp(wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]) -> Any:
    index, *operands = xs
    branches: tuple[Graph, ...] = params["branches"]
    count = len(branches[0].outputs)
    # As residuals, Python numbers would become arrays, and the results take another dtype.
    avals = [shape_dtype(x) for x in operands]
    weak = [place for place, aval in enumerate(avals) if aval.weak]
    pairs = [recomputed(*forward_backward(branch, wanted[1:]), count, weak) for branch in branches]
    kept = [[atom.aval for atom in forward.outputs[count:]] for forward, _ in pairs]
    slots, places = _shared(kept)
    forwards = [
        program(functools.partial(_keeping, forward, slots, own, count), avals, forward.name)
        for (forward, _), own in zip(pairs, places, strict=True)
    ]
    results = cond_p(index, *operands, branches=tuple(forwards))
    residuals = results[count:]
    numbers = [operands[place] for place in weak]
    avals = [*map(shape_dtype, numbers), *slots, *floating(branches[0])]
    places = [[*range(len(weak)), *[len(weak) + place for place in own]] for own in places]
    backwards = [
        program(
            functools.partial(_using, backward, len(weak) + len(slots), own), avals, backward.name
        )
        for (_, backward), own in zip(pairs, places, strict=True)
    ]

    def pullback(gs: Sequence[Array | None]) -> Sequence[Array]:
        seeds = fill_zeros(gs, branches[0])
        found: Sequence[Array] = cond_p(
            index, *numbers, *residuals, *seeds, branches=tuple(backwards)
        )
        return found

    return results[:count], pullback


def _shared(
    kept: Sequence[Sequence[ShapeDtype]],
) -> tuple[list[ShapeDtype], list[list[int]]]:
    """What all branches return as residuals, and which of these are each branch's own.

    Branches share the places of a kind: as one of them runs, there are as many as the most
    demanding one fills. The record of a loop has a place of its own, see `select`.
    """
    slots: list[ShapeDtype] = []
    places = []
    for avals in kept:
        free: dict[ShapeDtype, list[int]] = {}
        for place in reversed(range(len(slots))):
            if not is_opaque(slots[place]):
                free.setdefault(slots[place], []).append(place)
        own = []
        for aval in avals:
            bare = ShapeDtype(aval.shape, aval.dtype)
            if free.get(bare):
                own.append(free[bare].pop())
            else:
                own.append(len(slots))
                slots.append(bare)
        places.append(own)
    return slots, places


def _keeping(
    forward: Graph,
    slots: Sequence[ShapeDtype],
    own: Sequence[int],
    count: int,
    *leaves: Array,
) -> list[Array]:
    """A branch's results, and its residuals in their places; zeros are in the others."""
    results = evaluate(forward, leaves)
    places = dict(zip(own, results[count:], strict=True))
    return [
        *results[:count],
        *[places[i] if i in places else nothing(aval) for i, aval in enumerate(slots)],
    ]


def _using(backward: Graph, count: int, own: Sequence[int], *leaves: Array) -> list[Array]:
    return evaluate(backward, [*[leaves[i] for i in own], *leaves[count:]])


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    index, *operands = xs
    branches = params["branches"]
    moving = [t is not None for t in tangents[1:]]
    pushed = tuple([pushforward(branch, moving) for branch in branches])
    results = cond_p(index, *operands, *[t for t in tangents if t is not None], branches=pushed)
    outputs = branches[0].outputs
    rest = iter(results[len(outputs) :])
    ts = tuple([next(rest) if is_floating(atom.aval) else None for atom in outputs])
    return results[: len(outputs)], ts


def _batch(
    size: int, flags: Sequence[bool], index: Array, *operands: Array, branches: Sequence[Graph]
) -> Any:
    if any(flags[1:]):
        whole = [batched(branch, size, flags[1:]) for branch in branches]
    else:
        whole = [_repeated(branch, size) for branch in branches]
    if not flags[0]:
        return cond_p(index, *operands, branches=tuple(whole))
    # Each example has its own predicate: what some example takes runs, and each takes its result.
    chosen = np.clip(index, 0, len(branches) - 1)
    found = [
        _of_some(chosen == number, branch, operands, flags[1:])
        for number, branch in enumerate(whole)
    ]
    return tuple([select(index, results) for results in zip(*found, strict=True)])


def _of_some(
    taking: Array, branch: Graph, operands: Sequence[Array], flags: Sequence[bool]
) -> Sequence[Array]:
    """What a branch gives the examples that take it; of the others it computes nothing that they
    would have to forget, a NaN or the derivative of one."""
    if not branch.equations:
        return evaluate(branch, operands)

    def skipped(*leaves: Array) -> list[Array]:
        return [nothing(atom.aval) for atom in branch.outputs]

    avals = [var.aval for var in branch.inputs]
    either = (program(skipped, avals, "skipped"), branch)
    found: Sequence[Array] = cond_p(np.any(taking), *lent(taking, operands, flags), branches=either)
    return found


def _repeated(branch: Graph, size: int) -> Graph:
    def function(*leaves: Array) -> list[Array]:
        return [np.broadcast_to(y, (size, *np.shape(y))) for y in evaluate(branch, leaves)]

    return program(function, [var.aval for var in branch.inputs], branch.name)


def select(index: Array, results: Sequence[Array]) -> Array:
    """For each example the result of the branch that its index chooses; clamped as in `switch`."""
    if is_opaque(shape_dtype(results[0])):  # a loop's record: of the one branch that has it
        return choose_p(*results)
    chosen = results[0]
    for number, result in enumerate(results[1:], 1):
        taken = np.reshape(index >= number, (-1, *[1] * (len(np.shape(result)) - 1)))
        chosen = np.where(taken, result, chosen)
    return chosen


def _samples() -> list[Sample]:
    avals = [ShapeDtype((2, 3), np.float64), ShapeDtype((3,), np.float64)]
    first = program(lambda x, y: [np.sin(x) * y, np.sum(y)], avals, "first")
    second = program(lambda x, y: [x * x + y, np.sum(x * y)], avals, "second")
    x, y = values(2, 3), values(3, seed=1)
    return [Sample((np.int64(i), x, y), {"branches": (first, second)}) for i in (0, 1)]


cond_p = Primitive(
    "cond",
    _impl,
    shape=_shape,
    vjp=by_run,
    jvp=by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    samples=_samples,
)
