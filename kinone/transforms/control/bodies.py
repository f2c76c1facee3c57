"""Bodies of loops and branches as programs: how they are split, batched and differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...core import Array, ShapeDtype, shape_dtype, shape_of
from ...graph import Constant, Graph, Var, evaluate, flat_graph, trace_flat
from ...ops import stop_gradient, take
from ..records import placeholder
from ..split import is_opaque


def picked(items: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """The items whose flag is set."""
    return [item for item, flag in zip(items, flags, strict=True) if flag]


def filled(items: Sequence[Any], flags: Sequence[bool], chosen: Iterable[Any]) -> list[Any]:
    """The items with others, in their order, in place of those whose flag is set."""
    rest = iter(chosen)
    return [next(rest) if flag else item for item, flag in zip(items, flags, strict=True)]


def parted(items: Sequence[Any], *sizes: int) -> list[list[Any]]:
    """The items in groups of these sizes, and the rest of them."""
    groups, start = [], 0
    for size in sizes:
        groups.append(list(items[start : start + size]))
        start += size
    return [*groups, list(items[start:])]


def zeros_like(x: Array) -> Array:
    """Zeros of an operand's shape and dtype."""
    aval = shape_dtype(x)
    return np.zeros(aval.shape, aval.dtype)


def nothing(aval: ShapeDtype) -> Array:
    """Stands for a result of what did not run."""
    return placeholder(aval) if is_opaque(aval) else np.zeros(aval.shape, aval.dtype)


def lent(mask: Array, xs: Sequence[Array], flags: Sequence[bool]) -> list[Array]:
    """Operands with which a whole batch can run what the examples of the mask alone should: each of
    the others is lent those of one of them, which it was meant for.

    What the others have made of theirs is thrown away. Had they run on their own, a NaN or an
    infinity, 1 / (n - i) after the last trip, would stay behind in the derivatives: 0 · ∞.
    """
    if shape_of(mask) == (0,):
        return list(xs)
    lender = np.argmax(mask)
    return [
        for_mask(mask, x, stop_gradient(take(x, lender, axis=0)))
        if flag and not is_opaque(shape_dtype(x))
        else x
        for x, flag in zip(xs, flags, strict=True)
    ]


def for_mask(mask: Array, new: Array, old: Array) -> Array:
    """The new value for the examples of the mask, the old one for the others."""
    return np.where(np.reshape(mask, (-1, *[1] * (len(shape_of(new)) - 1))), new, old)


def owned(results: Sequence[Array], operands: Sequence[Array]) -> tuple[Array, ...]:
    """The results of a loop, none of which shows the memory of an operand or of another: a body may
    hand an operand on, or a part of it, or one array twice."""
    taken = {id(_memory(x)) for x in operands}
    found = []
    for x in results:
        if isinstance(x, np.ndarray) and (id(_memory(x)) in taken or not x.flags.writeable):
            x = x.copy(order="K")
        taken.add(id(_memory(x)))
        found.append(x)
    return tuple(found)


def _memory(x: Array) -> Any:
    """The array whose memory another one shows: NumPy keeps no chain of views."""
    return x if getattr(x, "base", None) is None else x.base


def program(fun: Callable[..., Any], avals: Sequence[ShapeDtype], name: str) -> Graph:
    """A program that closes over nothing."""
    traced, captured = trace_flat(fun, avals, name)
    assert not captured
    return traced


def recomputed(
    forward: Graph, backward: Graph, outputs: int, given: Sequence[int]
) -> tuple[Graph, Graph]:
    """The two programs of a body without residuals that some inputs, `given`, alone determine.

    forward:   inputs ↦ (*outputs, *residuals)
    backward:  (*given, *residuals, *cotangents) ↦ cotangents; it computes the others again
    """
    fixed = [forward.inputs[place] for place in given]
    residuals = forward.outputs[outputs:]
    known = _determined(forward, fixed)
    again = [isinstance(a, Constant) or a in known for a in residuals]
    kept_on = [not flag for flag in again]
    wanted = picked(residuals, again)
    before = flat_graph("again", fixed, _needed(forward, wanted), wanted)

    def function(*leaves: Array) -> list[Array]:
        start, kept, seeds = parted(leaves, len(fixed), sum(kept_on))
        full = filled(filled(residuals, again, evaluate(before, start)), kept_on, kept)
        return evaluate(backward, [*full, *seeds])

    inputs, seeds = backward.inputs[: len(residuals)], backward.inputs[len(residuals) :]
    avals = [var.aval for var in (*fixed, *picked(inputs, kept_on), *seeds)]
    outgoing = [*forward.outputs[:outputs], *picked(residuals, kept_on)]
    shorter = flat_graph(forward.name, forward.inputs, forward.equations, outgoing)
    return shorter, program(function, avals, backward.name)


def _determined(forward: Graph, given: Sequence[Var]) -> set[Var]:
    """What these inputs alone determine."""
    known = set(given)
    for equation in forward.equations:
        operands = [a for a in equation.inputs if isinstance(a, Var)]
        if all(a in known for a in operands) and not equation.primitive.effect:
            known.update(equation.outputs)
    return known


def _needed(forward: Graph, wanted: Sequence[Any]) -> list[Any]:
    """The equations that these values come from."""
    needed, found = set(wanted), []
    for equation in reversed(forward.equations):
        if needed.intersection(equation.outputs):
            found.append(equation)
            needed.update(a for a in equation.inputs if isinstance(a, Var))
    return found[::-1]
