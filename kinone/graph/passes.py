"""What is done to a program before it runs: checked, and rid of what nothing needs."""

from __future__ import annotations

from .. import source
from ..errors import KinoneError
from .atoms import Atom, Var
from .program import Graph


def without_dead_code(program: Graph) -> Graph:
    """The program without the equations that no output depends on."""
    needed = {atom for atom in program.outputs if isinstance(atom, Var)}
    kept = []
    for equation in reversed(program.equations):
        if equation.primitive.effect or needed.intersection(equation.outputs):
            kept.append(equation)
            needed.update(atom for atom in equation.inputs if isinstance(atom, Var))
    return Graph(
        program.name,
        program.inputs,
        kept[::-1],
        program.outputs,
        program.in_tree,
        program.out_tree,
    )


def check(program: Graph) -> None:
    """Raises `KinoneError` unless every value is defined once, before its use, with the shape and
    dtype that its primitive's shape rule gives."""
    defined = set(program.inputs)

    def need(atom: Atom, where: str) -> None:
        if isinstance(atom, Var) and atom not in defined:
            raise KinoneError(f"{where} uses a value that is not defined before it")

    for equation in program.equations:
        where = f"{equation.primitive.name} at {source.describe(equation.location)}"
        for atom in equation.inputs:
            need(atom, where)
        avals = equation.primitive.shape(*[a.aval for a in equation.inputs], **equation.params)
        expected = tuple(avals) if equation.primitive.multiple else (avals,)
        found = tuple(var.aval for var in equation.outputs)
        if expected != found:
            raise KinoneError(f"{where} is {found}, and its shape rule says {expected}")
        for var in equation.outputs:
            if var in defined:
                raise KinoneError(f"{where} defines a value a second time")
            defined.add(var)
    for atom in program.outputs:
        need(atom, "the result")
