"""Extracted definitions as the text of one file: in order, and each under a name of its own."""

from __future__ import annotations

import ast
import builtins
import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .extract import Definition, Extract, Function, module_of
from .scopes import names_in

Span = tuple[int, int, int, int]  # line, column, end line, end column


def compose(
    extract: Extract, pinned: Mapping[str, Definition], taken: Iterable[str]
) -> list[tuple[Definition, str]]:
    """The definitions and their texts, each after those that it needs.

    `pinned` are names that definitions must have; `taken` are names of other things in the file.
    """
    definitions = list(extract.definitions.values())
    _name(definitions, pinned, {*taken, *dir(builtins), "np", *_roots(extract)})
    done: set[int] = set()
    return [
        (each, _text(each, definitions))
        for definition in definitions
        for each in _in_order(definition, done)
    ]


def _roots(extract: Extract) -> set[str]:
    return {name.partition(".")[0] for name in extract.imports}


def _name(definitions: list[Definition], pinned: Mapping[str, Definition], taken: set[str]) -> None:
    """Gives every definition a name that no other has, and none that a text uses for its own."""
    inside = {name for d in definitions if d.statement for name in names_in(d.statement)}
    for name, definition in pinned.items():
        definition.called = name
    taken |= set(pinned)
    for definition in definitions:
        if definition.called:
            continue
        name = definition.name
        if name in taken or not name.isidentifier():
            base = f"{definition.home.rpartition('.')[2]}_{name.lstrip('_')}".lstrip("_")
            name, count = base, 0
            while name in taken or name in inside:
                count += 1
                name = f"{base}_{count}"
        definition.called = name
        taken.add(name)


def _in_order(definition: Definition, done: set[int]) -> list[Definition]:
    """A definition after those that it needs and that have not been written yet."""
    found: list[Definition] = []
    stack: list[tuple[Definition, bool]] = [(definition, False)]
    while stack:
        each, ready = stack.pop()
        key = id(each.statement or each)
        if ready:
            found.append(each)
        elif key not in done:
            done.add(key)
            stack.append((each, True))
            stack += [(d, False) for d in reversed(each.needs) if isinstance(d, Definition)]
    return found


def _text(definition: Definition, definitions: list[Definition]) -> str:
    """A definition's own text, with what it mentions by its name in the new file."""
    if definition.statement is None:
        needs = [d if isinstance(d, str) else d.called for d in definition.needs]
        return definition.text.format(*needs, name=definition.called)
    statement = definition.statement
    meanings = definition.meanings.items()
    names = {node: m if isinstance(m, str) else m.called for node, m in meanings}
    lines = module_of(definition.home).lines
    text = _rewritten(statement, lines, names, definition.dropped)
    if isinstance(statement, (Function, ast.ClassDef)) and definition.called != statement.name:
        head = rf"(?m)^((?:async )?def|class) {statement.name}\b"
        text = re.sub(head, rf"\1 {definition.called}", text, count=1)
    renamed = {d.name: d.called for d in definitions if d.home == definition.home}
    return re.sub(  # `global pool`, the one mention of a name that has no place of its own
        r"(?m)^( +global )(.*)$",
        lambda m: m[1] + ", ".join(renamed.get(n.strip(), n.strip()) for n in m[2].split(",")),
        text,
    )


def _rewritten(
    statement: ast.stmt, lines: list[str], names: dict[ast.expr, str], dropped: set[Function]
) -> str:
    first, last = _extent(statement)
    rows = [line.encode() for line in lines]  # columns count UTF-8 bytes
    places = [*_places(statement, names), *_annotations(statement, rows)]
    for (line, start, end_line, end), text in sorted(places, reverse=True):
        changed = rows[line - 1][:start] + text.encode() + rows[end_line - 1][end:]
        rows[line - 1 : end_line] = [changed] + [b""] * (end_line - line)
    gone = {n for method in dropped for n in range(_extent(method)[0], _extent(method)[1] + 1)}
    text = b"".join(rows[n - 1] for n in range(first, last + 1) if n not in gone).decode()
    if isinstance(statement, ast.ClassDef) and len(dropped) == len(statement.body):
        text += "    pass\n"
    text = re.sub(r"  # type: ignore(\[[\w, -]+\])?", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip()


def _extent(node: ast.stmt) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", [])
    assert node.end_lineno is not None
    return min([node.lineno, *[d.lineno for d in decorators]]), node.end_lineno


def _places(statement: ast.stmt, names: dict[ast.expr, str]) -> Iterator[tuple[Span, str]]:
    """Where in the source something changes, and to what.

    A name in an f-string has no place that can be trusted before Python 3.12, so an f-string with
    such a name is written anew.
    """
    inside: set[ast.AST] = set()
    for string in ast.walk(statement):
        if isinstance(string, ast.JoinedStr) and string not in inside:
            inside.update(ast.walk(string))
            if any(node in names and names[node] != ast.unparse(node) for node in ast.walk(string)):
                copies: dict[int, Any] = {}
                copied = copy.deepcopy(string, copies)
                new = {copies[id(n)]: names[n] for n in ast.walk(string) if n in names}
                yield _span(string), ast.unparse(_Renamed(new).visit(copied))
    for node, text in names.items():
        if node not in inside:
            yield _span(node), text


def _annotations(statement: ast.stmt, rows: list[bytes]) -> Iterator[tuple[Span, str]]:
    """Where annotations stand: the file goes without, for they mention what is not in it."""
    fields = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef):
            fields |= {child for child in node.body if isinstance(child, ast.AnnAssign)}
        elif isinstance(node, ast.arg) and node.annotation is not None:
            yield _span(node), node.arg
        elif isinstance(node, Function) and node.returns is not None:
            line, start, end_line, end = _span(node.returns)
            before = b"".join(rows[: line - 1]) + rows[line - 1][:start]
            arrow = before.rindex(b"->")
            while before[arrow - 1 : arrow].isspace():
                arrow -= 1
            begin = before.count(b"\n", 0, arrow) + 1
            yield (begin, arrow - (before.rfind(b"\n", 0, arrow) + 1), end_line, end), ""
        elif isinstance(node, ast.AnnAssign) and node in fields:
            yield _span(node.annotation), "object"  # a field of a dataclass or named tuple
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _, _, line, start = _span(node.target)
            _, _, end_line, end = _span(node.annotation)
            yield (line, start, end_line, end), ""


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[ast.AST, str]) -> None:
        self.names = names

    def visit(self, node: ast.AST) -> Any:
        text = self.names.get(node)
        return super().visit(node) if text is None else ast.Name(text, ast.Load())


def _span(node: ast.expr | ast.arg) -> Span:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
