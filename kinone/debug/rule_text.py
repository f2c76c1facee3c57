"""The formula of a derivative rule, read from the source that declares it."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
from collections.abc import Callable
from types import CodeType
from typing import Any

from ..core import Primitive


def formula(primitive: Primitive, operand: int) -> str:
    """The rule that takes the result's cotangent `g` to that of an operand, as text.

    >>> from kinone.core import registry
    >>> formula(registry["tanh"], 0), formula(registry["multiply"], 1)
    ('g * (1 - y * y)', 'g * a')
    """
    if primitive.vjp is None:
        return "constant: no derivative"
    rule = _rule(primitive, operand)
    if rule is None:
        return f"see the rule of {primitive.name}"
    return text_of(rule)


def _rule(primitive: Primitive, operand: int) -> Callable[..., Any] | None:
    """The function that the declaration gave: the constructors' closures hold it by name."""
    names: dict[str, Any] = {}
    if inspect.isfunction(primitive.vjp):
        names = dict(inspect.getclosurevars(primitive.vjp).nonlocals)
    if "rules" in names:  # elementwise: one for each operand
        rule = names["rules"][operand][0]
    elif "left" in names and "right" in names:
        rule = names["left" if operand == 0 else "right"]
    else:
        rule = names.get("transpose") or names.get("vjp") or primitive.vjp
    return rule if inspect.isfunction(rule) else None


def text_of(function: Callable[..., Any]) -> str:
    """A lambda's body; of another function what it returns, or its name and first sentence."""
    code: CodeType = function.__code__
    found = _definition(code)
    if isinstance(found, ast.Lambda):
        return _shown(found.body)
    if isinstance(found, ast.FunctionDef):
        statements = found.body[1:] if ast.get_docstring(found) else found.body
        last = statements[-1] if len(statements) == 1 else None
        if isinstance(last, ast.Return) and last.value is not None:
            return _shown(last.value)
    sentence = (inspect.getdoc(function) or "").split("\n", 1)[0]
    name = function.__name__.lstrip("_")
    file = os.path.basename(code.co_filename)
    return f"{name}: {sentence}" if sentence else f"{name}, {file}:{code.co_firstlineno}"


def _shown(node: ast.expr) -> str:
    # A pullback within a curried rule, `return lambda g: …`, is the formula itself.
    while isinstance(node, ast.Lambda):
        node = node.body
    if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) == 1:
        node = node.elts[0]
    return ast.unparse(node)


def _definition(code: CodeType) -> ast.Lambda | ast.FunctionDef | None:
    """The syntax that a code object was compiled from."""
    candidates = [
        node
        for node in _functions(code.co_filename)
        if (node.name if isinstance(node, ast.FunctionDef) else "<lambda>") == code.co_name
        and _first_line(node) == code.co_firstlineno
        and _arguments(node) == list(code.co_varnames[: len(_arguments(node))])
    ]
    # Several lambdas on a line differ by their columns, which every instruction knows.
    if len(candidates) > 1:
        places = [
            (line, column, end_line, end_column)
            for line, end_line, column, end_column in code.co_positions()
            if line and end_line and column is not None and end_column and (column or end_column)
        ]
        candidates = [node for node in candidates if all(_covers(node, p) for p in places)]
    return candidates[0] if len(candidates) == 1 else None


def _first_line(node: ast.Lambda | ast.FunctionDef) -> int:
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        return node.decorator_list[0].lineno
    return node.lineno


def _covers(node: ast.Lambda | ast.FunctionDef, place: tuple[int, int, int, int]) -> bool:
    line, column, end_line, end_column = place
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset) <= (line, column) and (end_line, end_column) <= (
        node.end_lineno,
        node.end_col_offset,
    )


def _arguments(node: ast.Lambda | ast.FunctionDef) -> list[str]:
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [a.arg for a in names]


@functools.lru_cache(maxsize=256)
def _functions(filename: str) -> list[ast.Lambda | ast.FunctionDef]:
    try:
        module = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return []
    return [node for node in ast.walk(module) if isinstance(node, (ast.Lambda, ast.FunctionDef))]
