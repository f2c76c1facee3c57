"""Chains of elementwise operations, run together block by block.

An operation on arrays larger than the cache reads and writes main memory; a chain of them does so
for each link. Run on a block that fits the cache, the links after the first find their operands
there, and what only the chain itself needs is never written out. Each element goes through the same
ufuncs in the same order, so the bits are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core import ShapeDtype
from ..core.layout import CONTIGUOUS
from ..graph import Atom, Equation, Graph, Var
from .layout import Layouts

LARGE = 1 << 15  # elements from which on a chain is worth its loop
_BLOCK = 1 << 14  # elements of a block


class Block:
    """Equations of one result shape; the first `split` axes are blocked, as one."""

    def __init__(self, equation: Equation, split: int) -> None:
        self.equations = [equation]
        self.split = split

    @property
    def shape(self) -> tuple[int, ...]:
        return self.equations[0].outputs[0].aval.shape

    @property
    def rows(self) -> int:
        return math.prod(self.shape[: self.split])

    @property
    def step(self) -> int:
        """How many rows make a block."""
        return max(_BLOCK // max(math.prod(self.shape[self.split :]), 1), 1)

    def defines(self, atom: Atom) -> bool:
        return any(atom in equation.outputs for equation in self.equations)


Step = Equation | Block


def schedule(program: Graph, known: Layouts) -> list[Step]:
    """The equations in an order of execution, chains of large elementwise ones together."""
    steps: list[Step] = []
    pending: Block | None = None

    def flush() -> None:
        nonlocal pending
        if pending is not None:
            steps.append(pending if len(pending.equations) > 1 else pending.equations[0])
        pending = None

    for equation in program.equations:
        split = _split(equation, known)
        if split:
            if pending is not None and pending.shape == equation.outputs[0].aval.shape:
                joint = min(split, pending.split)
                if _divides([*pending.equations, equation], joint):
                    pending.equations.append(equation)
                    pending.split = joint
                    continue
            flush()
            pending = Block(equation, split)
            continue
        if equation.primitive.effect or (
            pending is not None and any(pending.defines(atom) for atom in equation.inputs)
        ):
            flush()
        steps.append(equation)
    flush()
    return steps


def _split(equation: Equation, known: Layouts) -> int:
    """How many axes of the result can be blocked as one; 0 where the equation is none for it."""
    if not equation.primitive.elementwise or len(equation.outputs) != 1 or equation.params:
        return 0
    (out,) = equation.outputs
    if out.aval.size < LARGE or known[out] != CONTIGUOUS:
        return 0
    for atom in equation.inputs:
        if isinstance(atom, Var) and atom.aval.size > 1 and known[atom] != CONTIGUOUS:
            return 0
    for split in range(out.aval.ndim, 0, -1):
        if _divides([equation], split):
            return split
    return 0


def _divides(equations: Sequence[Equation], split: int) -> bool:
    """Whether each operand has all of the first `split` axes or none of them."""
    shape = equations[0].outputs[0].aval.shape
    if math.prod(shape[split:]) > _BLOCK:
        return False
    return all(
        is_sliced(atom.aval, shape, split) is not None for e in equations for atom in e.inputs
    )


def is_sliced(aval: ShapeDtype, shape: tuple[int, ...], split: int) -> bool | None:
    """Whether an operand runs along the blocked axes; None where it does along some alone."""
    missing = len(shape) - aval.ndim
    leading = ((1,) * missing + aval.shape)[:split]
    if leading == shape[:split]:
        return True
    return False if math.prod(leading) == 1 else None
