"""Which names in a piece of source text mean globals of its module."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def global_names(node: ast.AST) -> Iterator[ast.Name | ast.Global]:
    """The names in a statement of a module that are looked up, or assigned, in the module.

    Builtins are among them. Annotations are left out, for nothing evaluates them.
    """
    yield from _walk(node, [])


def _walk(node: ast.AST, scopes: list[set[str]]) -> Iterator[ast.Name | ast.Global]:
    if isinstance(node, ast.Global):
        yield node
    elif isinstance(node, ast.Name):
        if not any(node.id in scope for scope in scopes):
            yield node
    elif isinstance(node, _FUNCTIONS):
        yield from _function(node, scopes)
    elif isinstance(node, ast.ClassDef):
        for child in (*node.decorator_list, *node.bases, *node.keywords):
            yield from _walk(child, scopes)
        # The body's names are seen by its own statements, not by the methods.
        own = _bound(node.body)
        for statement in node.body:
            inner = scopes if isinstance(statement, _FUNCTIONS) else [*scopes, own]
            yield from _walk(statement, inner)
    elif isinstance(node, _COMPREHENSIONS):
        own = _bound([generator.target for generator in node.generators])
        # The first iterable belongs to the scope outside.
        yield from _walk(node.generators[0].iter, scopes)
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, [*scopes, own])
    elif isinstance(node, ast.AnnAssign):
        yield from _walk(node.target, scopes)
        if node.value is not None:
            yield from _walk(node.value, scopes)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, scopes)


def _function(node: Function, scopes: list[set[str]]) -> Iterator[ast.Name | ast.Global]:
    outside: list[ast.AST] = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
    body: list[ast.AST]
    if isinstance(node, ast.Lambda):
        body = [node.body]
    else:
        outside += node.decorator_list
        body = list(node.body)
    for child in outside:
        yield from _walk(child, scopes)
    arguments = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
    own = arguments | _bound(body)
    for child in body:
        yield from _walk(child, [*scopes, own])


def _bound(nodes: list[ast.AST] | list[ast.stmt] | list[ast.expr]) -> set[str]:
    """The names that a function's or class's own statements assign, without inner functions'."""
    found: set[str] = set()
    elsewhere: set[str] = set()
    pending: list[ast.AST] = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Global):
            elsewhere.update(node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((a.asname or a.name).split(".")[0] for a in node.names)
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            found.add(node.name)
        if isinstance(node, _COMPREHENSIONS):
            # Its targets are its own; := inside it binds here.
            pending += [n for n in ast.walk(node) if isinstance(n, ast.NamedExpr)]
            continue
        pending += ast.iter_child_nodes(node)
    return found - elsewhere


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module defines there."""
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return set()
    return _bound([statement])


def names_in(node: ast.AST) -> set[str]:
    """Every identifier that occurs in a piece of text, in whatever scope."""
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(each.name)
    return found
