"""The memory plan: which results are written into buffers that the program keeps from call to call.

A fresh large array costs page faults, a third of a convolution; a fresh small one an allocation.
Results that nobody outside sees are therefore written into an arena, and a part of it is used again
as soon as nothing reads it any more. What a result of the program may be a view of is never in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, ShapeDtype
from ..graph import Equation, Graph, Var
from .blocks import Block, Step
from .inline import template
from .layout import CONTIGUOUS, Layouts, Roots
from .runtime import allocate

Free = dict[int, list[int]]  # parts of the arena that nobody uses, by their size in bytes


class Plan:
    """Which buffer holds which value. `buffers[i]` is the part of the arena and the view of it."""

    def __init__(self) -> None:
        self.places: dict[Var, int] = {}
        self.buffers: list[tuple[int, ShapeDtype]] = []
        self.capacities: list[int] = []
        self.dead: dict[int, list[Var]] = {}  # after which step a large value is not needed
        self.blocked = False  # some steps are loops over blocks, which need contiguous operands

    def allocate(self) -> list[Array]:
        """A new arena: one array for each buffer."""
        return allocate(self.capacities, self.views)

    @property
    def views(self) -> list[tuple[int, tuple[int, ...], np.dtype[Any]]]:
        return [(part, aval.shape, aval.dtype) for part, aval in self.buffers]

    @property
    def nbytes(self) -> int:
        return sum(self.capacities)


def plan(program: Graph, steps: Sequence[Step], known: Layouts, memory: Roots) -> Plan:
    """Assigns buffers in the order of execution; the smallest free one that is large enough."""
    result = Plan()
    result.blocked = any(isinstance(step, Block) for step in steps)
    last: dict[Var, int] = {}
    for number, step in enumerate(steps):
        for equation in _equations(step):
            for atom in equation.inputs:
                if isinstance(atom, Var):
                    last.update(dict.fromkeys(memory[atom], number))
    seen_outside: set[Var] = set()
    for atom in program.outputs:
        if isinstance(atom, Var):
            seen_outside |= memory[atom]
    free: Free = {}
    views: dict[tuple[int, tuple[int, ...], np.dtype[Any]], int] = {}
    expiring: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        candidates = [var for var in _written(step) if _plannable(var, known, last, seen_outside)]
        if candidates and not isinstance(step, Block):
            # An elementwise operation may write over an operand that it is the last to read.
            _release_operand(step, candidates[0], result, memory, last, number, free, expiring)
        inside = _in_block(step, last, number, seen_outside) if isinstance(step, Block) else {}
        for var in candidates:
            if var in inside:
                continue
            part = _take(result, free, var.aval)
            view = (part, var.aval.shape, var.aval.dtype)
            if view not in views:
                views[view] = len(result.buffers)
                result.buffers.append((part, ShapeDtype(var.aval.shape, var.aval.dtype)))
            result.places[var] = views[view]
            expiring.setdefault(last[var], []).append(part)
        if isinstance(step, Block):
            _place_inside(step, inside, result, free, views, expiring, number)
        for part in expiring.pop(number, []):
            _give_back(result, free, part)
    for var, number in last.items():
        if var not in result.places and var.aval.size >= 1 << 16 and var not in seen_outside:
            result.dead.setdefault(number, []).append(var)
    return result


def _in_block(
    block: Block, last: dict[Var, int], number: int, seen_outside: set[Var]
) -> dict[Var, int]:
    """The values that only the block itself reads, and its equation that does so last."""
    inside: dict[Var, int] = {}
    for equation in block.equations:
        (var,) = equation.outputs
        if last.get(var) == number and var not in seen_outside:
            for index, reader in enumerate(block.equations):
                if var in reader.inputs:
                    inside[var] = index
    return inside


def _place_inside(
    block: Block,
    inside: dict[Var, int],
    result: Plan,
    free: Free,
    views: dict[tuple[int, tuple[int, ...], np.dtype[Any]], int],
    expiring: dict[int, list[int]],
    number: int,
) -> None:
    """Buffers of one block's size, each used again as soon as its value has been read."""
    shape = (min(block.step, block.rows), *block.shape[block.split :])
    idle: dict[np.dtype[Any], list[int]] = {}
    for index, equation in enumerate(block.equations):
        for atom in dict.fromkeys(equation.inputs):
            if isinstance(atom, Var) and inside.get(atom) == index and atom in result.places:
                idle.setdefault(atom.aval.dtype, []).append(result.places[atom])
        (var,) = equation.outputs
        if var in inside and takes_out(equation):
            spare = idle.get(var.aval.dtype)
            if spare:
                result.places[var] = spare.pop()
                continue
            part = _take(result, free, ShapeDtype(shape, var.aval.dtype))
            view = (part, shape, var.aval.dtype)
            if view not in views:
                views[view] = len(result.buffers)
                result.buffers.append((part, ShapeDtype(shape, var.aval.dtype)))
            result.places[var] = views[view]
            expiring.setdefault(number, []).append(part)


def _equations(step: Step) -> list[Equation]:
    return step.equations if isinstance(step, Block) else [step]


def _written(step: Step) -> list[Var]:
    """The results of a step that can be written where one wants them."""
    if isinstance(step, Block):
        return [var for equation in step.equations for var in equation.outputs]
    return [step.outputs[0]] if takes_out(step) else []


def takes_out(equation: Equation) -> bool:
    """Whether the text of an equation is one call that accepts out=."""
    primitive = equation.primitive
    if len(equation.outputs) != 1 or callable(primitive.code) or equation.outputs[0].aval.weak:
        return False
    return template(primitive, len(equation.inputs), tuple(equation.params)).takes_out


def _plannable(var: Var, known: Layouts, last: dict[Var, int], seen_outside: set[Var]) -> bool:
    return (
        var.aval.ndim > 0
        and var.aval.size > 0
        and known[var] == CONTIGUOUS
        and var in last
        and var not in seen_outside
    )


def _release_operand(
    step: Step,
    out: Var,
    result: Plan,
    memory: Roots,
    last: dict[Var, int],
    number: int,
    free: Free,
    expiring: dict[int, list[int]],
) -> None:
    assert not isinstance(step, Block)
    if not step.primitive.elementwise:
        return
    for atom in step.inputs:
        if (
            isinstance(atom, Var)
            and atom in result.places
            and memory[atom] == {atom}
            and last[atom] == number
            and (atom.aval.shape, atom.aval.dtype) == (out.aval.shape, out.aval.dtype)
            and not any(
                other is not atom and isinstance(other, Var) and atom in memory[other]
                for other in step.inputs
            )
        ):
            part = result.buffers[result.places[atom]][0]
            if part in expiring.get(number, []):
                expiring[number].remove(part)
                _give_back(result, free, part)
                return


def _take(result: Plan, free: Free, aval: ShapeDtype) -> int:
    """A free part of the arena, the smallest that is large enough, at most twice as large; or a
    new one."""
    wanted = math.prod(aval.shape) * aval.dtype.itemsize
    fitting = [n for n, parts in free.items() if parts and wanted <= n <= 2 * wanted]
    if fitting:
        return free[min(fitting)].pop()
    result.capacities.append(wanted)
    return len(result.capacities) - 1


def _give_back(result: Plan, free: Free, part: int) -> None:
    free.setdefault(result.capacities[part], []).append(part)
