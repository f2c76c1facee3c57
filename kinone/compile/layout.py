"""What the compiler knows of a program's memory: the order of each value, and who shares it.

Two values share memory where one is a view of the other; whatever is not known to be fresh is taken
for a view of all its operands.
"""

from __future__ import annotations

import numpy as np

from ..core.layout import CONTIGUOUS, UNKNOWN
from ..graph import Atom, Constant, Graph, Var

Layouts = dict[Var, int]
Roots = dict[Var, frozenset[Var]]


def layouts(program: Graph, inputs: int) -> Layouts:
    """The layout of every value of a program whose inputs all have this one."""
    known: Layouts = dict.fromkeys(program.inputs, inputs)

    def of(atom: Atom) -> int:
        if isinstance(atom, Constant):
            value = atom.value
            if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
                return UNKNOWN
            return CONTIGUOUS
        return CONTIGUOUS if atom.aval.size <= 1 else known[atom]

    for equation in program.equations:
        operands = [of(atom) for atom in equation.inputs]
        avals = [atom.aval for atom in equation.inputs]
        layout = equation.primitive.layout(operands, avals, **equation.params)
        known.update(dict.fromkeys(equation.outputs, layout))
    return known


def roots(program: Graph) -> Roots:
    """For each value those whose memory it may show, itself among them unless it is a view."""
    found = {var: frozenset({var}) for var in program.inputs}
    for equation in program.equations:
        shared: frozenset[Var] = frozenset()
        if not equation.primitive.fresh:
            shared = shared.union(*[found[a] for a in equation.inputs if isinstance(a, Var)])
        for var in equation.outputs:
            found[var] = shared | {var}
    return found
