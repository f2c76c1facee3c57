"""A compiled program as a Python file that needs NumPy alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence

import numpy as np

from .. import source
from ..core import Tracer
from ..errors import KinoneError
from ..graph import Graph
from ..tree import TreeDef, treedef_paths
from . import saved
from .compose import compose
from .emit import Text, emit
from .expressions import Writer
from .extract import Definition, Extract, ExtractError
from .outer import Outer, identifier


class SaveError(KinoneError, ValueError):
    """A program that cannot be written as a file of its own."""


def save(
    path: str | os.PathLike[str],
    program: Graph,
    out_tree: TreeDef,
    names: Sequence[str],
    statics: Sequence[str],
    captured: Sequence[Tracer],
) -> None:
    """Writes the file; `names` are those of the positional arguments, `statics` lines about the
    static ones, `captured` traced values that the function closes over, and there may be none.

    Raises `SaveError` naming what has no text: a function made inside of another one that is a part
    of the program, an argument of a class that the file would have to know. Raises `OSError` as
    `open` does. The file appears whole or not at all.
    """
    if captured:
        raise SaveError(
            f"{program.name} uses a value that {captured[0]._trace.name} traces, so it cannot be "
            f"saved, at {source.here()}\n  Pass it as an argument."
        )
    try:
        text = file_text(program, out_tree, names, statics)
    except ExtractError as error:
        message, _, fix = str(error).partition("\n")
        raise SaveError(
            f"{program.name} cannot be saved: {message}, at {source.here()}\n{fix}".rstrip()
        ) from None
    target = os.path.realpath(path)
    temporary = f"{target}.{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def file_text(
    program: Graph, out_tree: TreeDef, names: Sequence[str], statics: Sequence[str]
) -> str:
    """The text of the file."""
    outer = Outer(identifier(program.name), program, program.in_tree, out_tree, names)
    text = Text()
    text.names.update(dict.fromkeys(outer.names - set(outer.parameters), outer))
    function, plan = emit(text, program, arena=True, name=f"{outer.name}_program")
    plain = "None"
    if plan.blocked:
        plain, _ = emit(text, program, arena=False, name=f"{outer.name}_plain")
    extract = Extract()
    pinned = {
        outer.called[each]: extract.take(getattr(saved, each), outer.name) for each in outer.called
    }
    extract.make(pinned[outer.called["Program"]])
    data = _objects(extract, text, outer, pinned)
    extract.follow()
    definitions = {n: d for n, d in pinned.items() if isinstance(d, Definition)}
    found = compose(extract, definitions, text.names)
    if outer.classes:
        extract.imports.add("collections")
    buffers = [(part, shape, dtype.str) for part, shape, dtype in plan.views]
    called = [each for definition, each in found if definition not in data]
    head = [
        _heading(outer, statics),
        "\n".join(f"import {each}" for each in sorted(extract.imports)),
        "import numpy as np",
    ]
    body = [
        *outer.classes.values(),
        str(outer),
        _title("the program"),
        str(text),
        _title("what it calls"),
        *called,
        *([_title("constants")] if data else []),
        *[each for definition, each in found if definition in data],
        _title("the memory that it keeps"),
        f"{outer.runs} = {outer.called['Program']}(\n"
        f"    {function},\n    {plain},\n    {plan.capacities},\n    {buffers},\n)",
    ]
    return "\n\n\n".join(["\n\n".join(filter(None, head)), *body]) + "\n"


def _objects(
    extract: Extract, text: Text, outer: Outer, pinned: dict[str, Definition | str]
) -> set[Definition]:
    """Definitions of what the generated text names; those of constant arrays are returned."""
    writer = Writer(extract)
    arrays = set()
    by_definition: dict[Definition, str] = {}
    for name, value in text.names.items():
        if value is np or value is outer or isinstance(value, Graph):
            continue
        what = f"{outer.name}, for {name},"
        if isinstance(value, np.ndarray):
            pinned[name] = definition = writer.define(name, value, what)
            arrays.add(definition)
            continue
        found = writer.function(value, what)
        if isinstance(found, Definition) and found not in by_definition:
            pinned[name] = found
            by_definition[found] = name
        elif found is not None:
            pinned[name] = writer.alias(name, found)
        else:
            pinned[name] = writer.define(name, value, what)
    return arrays


def _heading(outer: Outer, statics: Sequence[str]) -> str:
    lines = [f'"""`{outer.head()}`, compiled to NumPy alone.', ""]
    lines += [f"    {line}" for line in outer.signature()] or ["    no arguments"]
    for static in statics:
        lines.append(f"    {static}")
    results = [
        f"{path}: {atom.aval}" if path else str(atom.aval)
        for path, atom in zip(treedef_paths(outer.out_tree), outer.program.outputs, strict=True)
    ]
    lines += ["", f"It returns {', '.join(results) or 'nothing'}.", '"""']
    return "\n".join(lines).replace("\\", "\\\\")


def _title(text: str) -> str:
    return f"# ---- {text} ".ljust(100, "-")
