"""The text of an operation: a primitive's `impl` as an expression of NumPy.

A primitive of a ufunc is a call of it. Where `impl` is a lambda, its body is the expression, with
the operands and parameters in place of its arguments: what stands in `kinone/ops` as
`lambda x, *, shape: np.reshape(x, shape)` becomes `np.reshape(a, (2, 6))`. Any other function is
called by its name.
"""

from __future__ import annotations

import ast
import builtins
import functools
import linecache
import re
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..core import Primitive


class Wording(NamedTuple):
    """The text of a primitive's application, with `{0}`, `{1}`, … for operands, `{name}` for
    parameters, `{@name}` for other objects that it needs besides NumPy; and those objects."""

    text: str
    names: dict[str, Any]
    takes_out: bool  # the expression is one call that accepts out=


@functools.lru_cache(maxsize=4096)
def wording(primitive: Primitive, arity: int, params: tuple[str, ...]) -> Wording:
    """The wording of a primitive with this many operands and these parameters."""
    impl = primitive.impl
    if isinstance(primitive.code, str):
        return Wording(primitive.code, {}, _takes_out(_expression(primitive.code)))
    if getattr(np, getattr(impl, "__name__", ""), None) is impl and not params:
        takes_out = isinstance(impl, np.ufunc) and impl.nout == 1
        return Wording(f"np.{impl.__name__}({_operands(arity)})", {}, takes_out)
    if isinstance(impl, types.FunctionType):
        expression = _body(impl)
        if expression is not None and not impl.__closure__:
            inlined = _inlined(impl, expression, arity, params)
            if inlined is not None:
                return inlined
    name = _identifier(getattr(impl, "__name__", "impl"), primitive.name)
    keywords = [f"{key}={{{key}}}" for key in params]
    arguments = ", ".join([part for part in (_operands(arity), *keywords) if part])
    return Wording(f"{{@{name}}}({arguments})", {name: impl}, takes_out=False)


def _operands(arity: int) -> str:
    return ", ".join(f"{{{i}}}" for i in range(arity))


def _identifier(name: str, fallback: str) -> str:
    name = name.lstrip("_")
    return name if name.isidentifier() and name != "impl" else fallback


@functools.lru_cache(maxsize=256)
def _lambdas(filename: str) -> dict[int, list[ast.Lambda]]:
    """The lambdas of a source file by the line that they begin on."""
    found: dict[int, list[ast.Lambda]] = {}
    try:
        module = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return found
    for node in ast.walk(module):
        if isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


def _body(impl: types.FunctionType) -> ast.Lambda | None:
    """The syntax of a lambda; None for another function, or where the text is not to be had."""
    if impl.__name__ != "<lambda>":
        return None
    code = impl.__code__
    columns = [(p[2], p[3]) for p in code.co_positions() if p[2] is not None and p[0] is not None]
    candidates = [
        node
        for node in _lambdas(code.co_filename).get(code.co_firstlineno, [])
        if _same_arguments(node, code)
        and all(
            node.lineno != node.end_lineno or node.col_offset <= start
            for start, _ in columns
            if start
        )
    ]
    return candidates[0] if len(candidates) == 1 else None


def _same_arguments(node: ast.Lambda, code: types.CodeType) -> bool:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    names += [a.arg for a in node.args.kwonlyargs]
    names += [a.arg for a in (node.args.vararg, node.args.kwarg) if a is not None]
    return names == list(code.co_varnames[: len(names)])


def _inlined(
    impl: Callable[..., Any], node: ast.Lambda, arity: int, params: tuple[str, ...]
) -> Wording | None:
    """The lambda's body with placeholders; None where a name in it is not to be had."""
    positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    places: dict[str, str] = {name: f"{{{i}}}" for i, name in enumerate(positional)}
    if node.args.vararg is not None:
        rest = [f"{{{i}}}" for i in range(len(positional), arity)]
        places[node.args.vararg.arg] = "(" + ", ".join(rest) + ("," if len(rest) == 1 else "") + ")"
    elif arity != len(positional):
        return None
    places.update({name: f"{{{name}}}" for name in params})
    if {a.arg for a in node.args.kwonlyargs} != set(params):
        return None
    names: dict[str, Any] = {}
    inside = list(ast.walk(node.body))
    if any(isinstance(each, ast.Lambda) for each in inside):
        return None
    used = [each for each in inside if isinstance(each, ast.Name)]
    # No operand is called `_i_`, so a comprehension's variable hides none.
    bound = {n.id for n in used if not isinstance(n.ctx, ast.Load)}
    places.update({name: f"_{name}_" for name in bound})
    for each in used:
        if each.id not in places:
            if each.id in impl.__globals__:
                names[each.id] = impl.__globals__[each.id]
            elif not hasattr(builtins, each.id):
                return None
    if names.pop("np", np) is not np:
        return None
    places.update({name: f"{{@{name}}}" for name in names})
    marks = {name: f"__place_{i}__" for i, name in enumerate(places)}
    tree = _Rename(marks).visit(ast.parse(ast.unparse(node.body), mode="eval").body)
    text = ast.unparse(tree).replace("{", "{{").replace("}", "}}")
    for known, mark in marks.items():
        text = text.replace(mark, places[known])
    return Wording(text, names, _takes_out(tree))


class _Rename(ast.NodeTransformer):
    def __init__(self, marks: dict[str, str]) -> None:
        self.marks = marks

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(self.marks.get(node.id, node.id), node.ctx), node)


def _expression(text: str) -> ast.AST:
    return ast.parse(re.sub(r"{\w+}", "place", text), mode="eval").body


def _takes_out(tree: ast.AST) -> bool:
    """Whether an expression is one call of a ufunc of NumPy, or of its `reduce`."""
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute)):
        return False
    function = tree.func
    if function.attr == "reduce" and isinstance(function.value, ast.Attribute):
        function = function.value
    return (
        isinstance(function.value, ast.Name)
        and function.value.id == "np"
        and isinstance(getattr(np, function.attr, None), np.ufunc)
    )


def literal(value: Any) -> str | None:
    """The text of a parameter; None for one that has no such text."""
    kind = type(value)
    if kind in (int, bool, str, type(None)):
        return repr(value)
    if kind is float:
        return repr(value) if np.isfinite(value) else f'float("{value!r}")'
    if kind is tuple:
        parts = [literal(each) for each in value]
        if any(part is None for part in parts):
            return None
        return "(" + ", ".join(map(str, parts)) + ("," if len(parts) == 1 else "") + ")"
    if isinstance(value, np.dtype) and value.isbuiltin == 1:
        return f"np.dtype({value.name!r})"
    name = str(getattr(value, "__name__", ""))
    if isinstance(value, np.ufunc) and getattr(np, name, None) is value:
        return f"np.{name}"
    return None
