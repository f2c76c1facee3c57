"""`cond` and `switch` as a primitive, for predicates that are known when the program runs.

The branches are programs with the same operands and the same kinds of results. Reverse mode runs
the forward program of the branch that is taken, and its backward program afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, shape_dtype
from ...graph import Graph, evaluate, trace_flat
from ...ops.samples import Sample, values
from ..records import choose_p, placeholder
from ..split import (
    batched,
    fill_zeros,
    floating,
    forward_backward,
    is_floating,
    is_opaque,
    pushforward,
)


def _impl(index: Array, *operands: Array, branches: Sequence[Callable[..., Any]]) -> Any:
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def _shape(
    index: ShapeDtype, *operands: ShapeDtype, branches: Sequence[Graph]
) -> tuple[ShapeDtype, ...]:
    return tuple([ShapeDtype(a.aval.shape, a.aval.dtype) for a in branches[0].outputs])


def _run_vjp(wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]) -> Any:
    index, *operands = xs
    branches: tuple[Graph, ...] = params["branches"]
    pairs = [forward_backward(branch, wanted[1:]) for branch in branches]
    count = len(branches[0].outputs)
    kept = [[atom.aval for atom in forward.outputs[count:]] for forward, _ in pairs]
    # All branches return the residuals of all: their own, and zeros for the others'.
    forwards = [
        _trace(
            lambda *leaves, i=i, forward=forward: _padded(
                i, kept, evaluate(forward, leaves), count
            ),
            [shape_dtype(x) for x in operands],
            forward.name,
        )
        for i, (forward, _) in enumerate(pairs)
    ]
    results = cond_p(index, *operands, branches=tuple(forwards))
    residuals = results[count:]
    avals = [aval for each in kept for aval in each] + floating(branches[0])
    backwards = [
        _trace(
            lambda *leaves, i=i, backward=backward: evaluate(backward, _own(i, kept, leaves)),
            avals,
            backward.name,
        )
        for i, (_, backward) in enumerate(pairs)
    ]

    def pullback(gs: Sequence[Array | None]) -> Sequence[Array]:
        seeds = fill_zeros(gs, branches[0])
        found: Sequence[Array] = cond_p(index, *residuals, *seeds, branches=tuple(backwards))
        return found

    return results[:count], pullback


def _padded(
    index: int, kept: Sequence[Sequence[ShapeDtype]], results: Sequence[Array], count: int
) -> list[Array]:
    found = list(results[:count])
    for i, avals in enumerate(kept):
        found += results[count:] if i == index else list(map(_nothing, avals))
    return found


def _nothing(aval: ShapeDtype) -> Array:
    return placeholder(aval) if is_opaque(aval) else np.zeros(aval.shape, aval.dtype)


def _own(index: int, kept: Sequence[Sequence[ShapeDtype]], leaves: Sequence[Array]) -> list[Array]:
    start = sum(len(avals) for avals in kept[:index])
    total = sum(len(avals) for avals in kept)
    return [*leaves[start : start + len(kept[index])], *leaves[total:]]


def _trace(fun: Callable[..., Any], avals: Sequence[ShapeDtype], name: str) -> Graph:
    traced, captured = trace_flat(fun, avals, name)
    assert not captured
    return traced


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
    # Each example has its own predicate: all branches run, and each example takes its result.
    found = [evaluate(branch, operands) for branch in whole]
    return tuple([select(index, results) for results in zip(*found, strict=True)])


def _repeated(branch: Graph, size: int) -> Graph:
    def function(*leaves: Array) -> list[Array]:
        return [np.broadcast_to(y, (size, *np.shape(y))) for y in evaluate(branch, leaves)]

    return _trace(function, [var.aval for var in branch.inputs], branch.name)


def select(index: Array, results: Sequence[Array]) -> Array:
    """For each example the result of the branch that its index chooses; clamped as in `switch`."""
    if is_opaque(shape_dtype(results[0])):  # a loop's record: of the one branch that has it
        return choose_p(*results)
    chosen = results[0]
    for number, result in enumerate(results[1:], 1):
        taken = np.reshape(index >= number, (-1, *[1] * (len(np.shape(result)) - 1)))
        chosen = np.where(taken, result, chosen)
    return chosen


def _by_run(*_: Any) -> Any:
    raise AssertionError("run_vjp and run_jvp stand in for this rule")


def _samples() -> list[Sample]:
    avals = [ShapeDtype((2, 3), np.float64), ShapeDtype((3,), np.float64)]
    first = _trace(lambda x, y: [np.sin(x) * y, np.sum(y)], avals, "first")
    second = _trace(lambda x, y: [x * x + y, np.sum(x * y)], avals, "second")
    x, y = values(2, 3), values(3, seed=1)
    return [Sample((np.int64(i), x, y), {"branches": (first, second)}) for i in (0, 1)]


cond_p = Primitive(
    "cond",
    _impl,
    shape=_shape,
    vjp=_by_run,
    jvp=_by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    samples=_samples,
)
