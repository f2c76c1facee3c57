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
from ..core.layout import CONTIGUOUS
from ..graph import Equation, Graph, Var
from .blocks import Block, Step
from .inline import wording
from .layout import Layouts, Roots
from .runtime import allocate


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
    planner = _Planner(program, steps, known, memory)
    for number, step in enumerate(steps):
        planner.place(number, step)
    planner.note_large_ones()
    return planner.plan


class _Planner:
    """A plan in the making: what is read last where, and which parts of the arena are free."""

    def __init__(
        self, program: Graph, steps: Sequence[Step], known: Layouts, memory: Roots
    ) -> None:
        self.plan = Plan()
        self.plan.blocked = any(isinstance(step, Block) for step in steps)
        self.known = known
        self.memory = memory
        self.last: dict[Var, int] = {}  # the step that reads a value, or a view of it, last
        for number, step in enumerate(steps):
            for equation in _equations(step):
                for atom in equation.inputs:
                    if isinstance(atom, Var):
                        self.last.update(dict.fromkeys(memory[atom], number))
        self.seen_outside: set[Var] = set()
        for atom in program.outputs:
            if isinstance(atom, Var):
                self.seen_outside |= memory[atom]
        self.free: dict[int, list[int]] = {}  # parts that nobody uses, by their size in bytes
        self.expiring: dict[int, list[int]] = {}  # parts by the step after which they are free
        self.views: dict[tuple[int, tuple[int, ...], np.dtype[Any]], int] = {}

    def place(self, number: int, step: Step) -> None:
        """Gives the results of a step their buffers."""
        candidates = [var for var in _written(step) if self.plannable(var)]
        inside: dict[Var, int] = {}
        if isinstance(step, Block):
            inside = self.read_inside(number, step)
        elif candidates:
            # An elementwise operation may write over an operand that it is the last to read.
            self.release_operand(number, step, candidates[0])
        for var in candidates:
            if var not in inside:
                self.plan.places[var] = self.buffer(var.aval.shape, var.aval.dtype, self.last[var])
        if isinstance(step, Block):
            self.place_inside(number, step, inside)
        for part in self.expiring.pop(number, []):
            self.give_back(part)

    def plannable(self, var: Var) -> bool:
        return (
            var.aval.ndim > 0
            and var.aval.size > 0
            and self.known[var] == CONTIGUOUS
            and var in self.last
            and var not in self.seen_outside
        )

    def release_operand(self, number: int, step: Equation, out: Var) -> None:
        if not step.primitive.elementwise:
            return
        for atom in step.inputs:
            if (
                isinstance(atom, Var)
                and atom in self.plan.places
                and self.memory[atom] == {atom}
                and self.last[atom] == number
                and (atom.aval.shape, atom.aval.dtype) == (out.aval.shape, out.aval.dtype)
                and not any(
                    other is not atom and isinstance(other, Var) and atom in self.memory[other]
                    for other in step.inputs
                )
            ):
                part = self.plan.buffers[self.plan.places[atom]][0]
                if part in self.expiring.get(number, []):
                    self.expiring[number].remove(part)
                    self.give_back(part)
                    return

    # -- inside of a block

    def read_inside(self, number: int, block: Block) -> dict[Var, int]:
        """The values that only the block itself reads, and its equation that does so last."""
        inside: dict[Var, int] = {}
        for equation in block.equations:
            (var,) = equation.outputs
            if self.last.get(var) == number and var not in self.seen_outside:
                for index, reader in enumerate(block.equations):
                    if var in reader.inputs:
                        inside[var] = index
        return inside

    def place_inside(self, number: int, block: Block, inside: dict[Var, int]) -> None:
        """Buffers of one block's size, each used again as soon as its value has been read."""
        shape = (min(block.step, block.rows), *block.shape[block.split :])
        idle: dict[np.dtype[Any], list[int]] = {}
        places = self.plan.places
        for index, equation in enumerate(block.equations):
            for atom in dict.fromkeys(equation.inputs):
                if isinstance(atom, Var) and inside.get(atom) == index and atom in places:
                    idle.setdefault(atom.aval.dtype, []).append(places[atom])
            (var,) = equation.outputs
            if var in inside and takes_out(equation):
                spare = idle.get(var.aval.dtype)
                places[var] = spare.pop() if spare else self.buffer(shape, var.aval.dtype, number)

    # -- the arena

    def buffer(self, shape: tuple[int, ...], dtype: np.dtype[Any], last: int) -> int:
        """A buffer in use up to a step: in a free part of the arena, the smallest that is large
        enough and at most twice as large, or in a new one."""
        wanted = math.prod(shape) * dtype.itemsize
        fitting = [n for n, parts in self.free.items() if parts and wanted <= n <= 2 * wanted]
        if fitting:
            part = self.free[min(fitting)].pop()
        else:
            part = len(self.plan.capacities)
            self.plan.capacities.append(wanted)
        self.expiring.setdefault(last, []).append(part)
        view = (part, shape, dtype)
        if view not in self.views:
            self.views[view] = len(self.plan.buffers)
            self.plan.buffers.append((part, ShapeDtype(shape, dtype)))
        return self.views[view]

    def give_back(self, part: int) -> None:
        self.free.setdefault(self.plan.capacities[part], []).append(part)

    def note_large_ones(self) -> None:
        """What lies outside of the arena and is large goes as soon as nothing reads it."""
        for var, number in self.last.items():
            placed = var in self.plan.places or var in self.seen_outside
            if not placed and var.aval.size >= 1 << 16:
                self.plan.dead.setdefault(number, []).append(var)


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
    return wording(primitive, len(equation.inputs), tuple(equation.params)).takes_out
