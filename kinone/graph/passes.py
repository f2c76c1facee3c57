"""What is done to a program before it runs: checked, and rid of what nothing needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source
from ..errors import KinoneError
from .atoms import Atom, Constant, Var
from .program import Equation, Graph


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


def simplified(program: Graph) -> Graph:
    """The program without dead code, with equal equations merged and constant ones computed.

    No rounding changes: each remaining equation computes what it did.
    """
    return without_dead_code(_merged(program))


def _merged(program: Graph) -> Graph:
    replaced: dict[Var, Atom] = {}
    seen: dict[Any, Equation] = {}
    kept = []

    def current(atom: Atom) -> Atom:
        return replaced.get(atom, atom) if isinstance(atom, Var) else atom

    for equation in program.equations:
        if replaced:
            inputs = tuple([current(atom) for atom in equation.inputs])
            if inputs != equation.inputs:
                equation = equation.with_inputs(inputs)
        if equation.primitive.effect:
            kept.append(equation)
            continue
        if equation.primitive.code == "{0}":  # another name for its operand
            replaced[equation.outputs[0]] = equation.inputs[0]
            continue
        values = _computed(equation)
        if values is not None:
            replaced.update(zip(equation.outputs, values, strict=True))
            continue
        key = _key(equation)
        first = seen.get(key) if key is not None else None
        if first is not None:
            replaced.update(zip(equation.outputs, first.outputs, strict=True))
            continue
        if key is not None:
            seen[key] = equation
        kept.append(equation)
    outputs = [current(atom) for atom in program.outputs]
    return Graph(program.name, program.inputs, kept, outputs, program.in_tree, program.out_tree)


def _key(equation: Equation) -> Any:
    """Equal for equations that compute the same; None where that cannot be told."""
    try:
        params = tuple(sorted(equation.params.items()))
        key = (equation.primitive, tuple(map(_atom_key, equation.inputs)), params)
        hash(key)
    except TypeError:
        return None
    return key


def _atom_key(atom: Atom) -> Any:
    if isinstance(atom, Var):
        return atom
    value = atom.value
    if isinstance(value, np.ndarray):
        return ("array", id(value))
    # 0.0 == -0.0 == False, and they are not the same.
    return (type(value), repr(value))


_LARGEST_FOLDED = 1 << 16  # elements of a result that is computed while compiling


def _computed(equation: Equation) -> list[Atom] | None:
    """The results of an equation whose operands are all constants."""
    if not equation.inputs or not all(isinstance(atom, Constant) for atom in equation.inputs):
        return None
    if any(var.aval.size > _LARGEST_FOLDED for var in equation.outputs):
        return None
    operands = [atom.value for atom in equation.inputs if isinstance(atom, Constant)]
    try:
        result = equation.primitive(*operands, **equation.params)
    except Exception:
        return None  # it raises when the program runs, as in eager mode
    results = result if equation.primitive.multiple else (result,)
    return [Constant(value) for value in results]
