"""The text of a program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import source, tree
from ..core import shape_dtype
from .atoms import Atom, Constant, Var

if TYPE_CHECKING:
    from .program import Graph


def letters() -> Iterator[str]:
    """a, b, …, z, aa, ab, …"""
    for length in itertools.count(1):
        for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=length):
            yield "".join(letters)


def format_graph(program: Graph) -> str:
    """The text of a program, one equation a line, the user's line beside it."""
    names: dict[Var, str] = {}
    for var in program.inputs:
        names[var] = (var.label or "").replace(" ", "") or f"input{len(names)}"
    taken = set(names.values())
    fresh = (name for name in letters() if name not in taken)

    def show(atom: Atom) -> str:
        return str(atom) if isinstance(atom, Constant) else names[atom]

    rows = []
    for equation in program.equations:
        for var in equation.outputs:
            names[var] = next(fresh)
        left = ", ".join(f"{names[var]}: {var.aval}" for var in equation.outputs)
        params = ", ".join(f"{key}={_brief(value)}" for key, value in equation.params.items())
        operands = " ".join(show(atom) for atom in equation.inputs)
        bracket = f"[{params}]" if params else ""
        made = f"{left} = " if left else ""  # an effect makes nothing
        rows.append((f"{made}{equation.primitive.name}{bracket} {operands}", equation.location))
    width = min(max((len(text) for text, _ in rows), default=0), 72)
    head = ", ".join(f"{names[var]}: {var.aval}" for var in program.inputs)
    lines = [f"graph {program.name}({head}):"]
    for text, location in rows:
        scope = source.scope_of(location)
        within = f"  in {scope}" if scope else ""
        lines.append(f"    {text.ljust(width)}  # {source.describe(location)}{within}")
    results = [
        f"{path}: {show(atom)}" if path else show(atom)
        for path, atom in zip(tree.treedef_paths(program.out_tree), program.outputs, strict=True)
    ]
    lines.append(f"    return {', '.join(results) or 'nothing'}")
    for part in _parts(program):
        lines += [f"    {line}" for line in format_graph(part).splitlines()]
    return "\n".join(lines)


def _parts(program: Graph) -> list[Graph]:
    """The programs inside of the program, the bodies of its loops and branches, each once."""
    found: dict[int, Any] = {}
    for equation in program.equations:
        for value in equation.params.values():
            for part in value if isinstance(value, tuple) else (value,):
                if hasattr(part, "equations"):
                    found[id(part)] = part
    return list(found.values())


def _brief(value: Any) -> str:
    if hasattr(value, "equations"):  # a program: the body of a loop
        return str(value.name)
    if isinstance(value, tuple) and any(hasattr(each, "equations") for each in value):
        return f"({', '.join(map(_brief, value))})"
    return f"<{shape_dtype(value)}>" if isinstance(value, np.ndarray) else str(value)
