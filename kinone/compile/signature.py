"""What a traced program was made for, and the code that recognises it in a call.

A call of a jitted function takes its arguments apart, looks whether they are what the program was
traced for, and puts the results together. For the kinds of tree that most arguments are this is
generated as straight-line Python: a few hundred nanoseconds instead of a walk over the tree.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..core import Array
from ..tree.structure import TreeDef, find_node_type, node_types
from .statics import frozen

Unpack = Callable[[tuple[Any, ...], dict[str, Any]], "tuple[Array, ...] | None"]


def unpacker(
    treedef: TreeDef, leaves: Sequence[Array], statics: dict[int | str, Any], count: int
) -> Unpack:
    """`(args, kwargs) ↦ leaves`, or None where they are not of this signature."""
    names: dict[str, Any] = {
        "ndarray": np.ndarray,
        "node_types": node_types,
        "find": find_node_type,
    }
    lines = ["def unpack(args, kwargs):", f"    if len(args) != {count}: return None"]
    positional, keyword = treedef.children
    named = [key for key in statics if isinstance(key, str)]
    lines.append(f"    if len(kwargs) != {len(keyword.children) + len(named)}: return None")
    counter = iter(range(10**9))
    found: list[str] = []
    kept = iter(leaves)
    traced = iter(positional.children)
    for place in range(count):
        if place in statics:
            _check_static(f"args[{place}]", statics[place], lines, names, counter)
        else:
            _take(f"args[{place}]", next(traced), kept, found, lines, names, counter)
    for key, child in zip(keyword.static, keyword.children, strict=True):
        _take(f"kwargs[{key!r}]", child, kept, found, lines, names, counter)
    for key in named:
        _check_static(f"kwargs[{key!r}]", statics[key], lines, names, counter)
    lines.append(f"    return ({', '.join(found)}{',' if found else ''})")
    exec("\n".join(lines), names)
    unpack: Unpack = names["unpack"]

    def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Array, ...] | None:
        try:
            return unpack(args, kwargs)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    return guarded


def _check_static(
    place: str, value: Any, lines: list[str], names: dict[str, Any], counter: Iterator[int]
) -> None:
    name = f"static{next(counter)}"
    names[name], names[f"{name}_frozen"], names["frozen"] = value, frozen(value), frozen
    # The very object is enough where it cannot have changed.
    unless = f"{place} is not {name} and " if isinstance(value, _IMMUTABLE) else ""
    lines.append(f"    if {unless}frozen({place}) != {name}_frozen: return None")


_IMMUTABLE = (int, float, str, type(None), type, types.FunctionType, np.dtype, np.generic)


def _take(
    place: str,
    treedef: TreeDef,
    leaves: Iterator[Array],
    found: list[str],
    lines: list[str],
    names: dict[str, Any],
    counter: Iterator[int],
) -> None:
    name = f"v{next(counter)}"
    lines.append(f"    {name} = {place}")
    if treedef.kind is None:
        _check_leaf(name, next(leaves), lines, names)
        found.append(name)
        return
    kind = f"kind{name}"
    names[kind] = treedef.kind
    lines.append(f"    if type({name}) is not {kind}: return None")
    if treedef.kind is dict:
        names[f"order{name}"] = treedef.order
        lines.append(f"    if (*{name},) != order{name}: return None")
        for index, child in enumerate(treedef.children):
            key = f"key{name}_{index}"
            names[key] = treedef.static[index]
            _take(f"{name}[{key}]", child, leaves, found, lines, names, counter)
        return
    if treedef.kind is not list and treedef.kind is not tuple:
        names[f"def{name}"] = treedef
        lines.append(f"    {name}, static{name}, _ = find({name}).flatten({name})")
        lines.append(f"    {name} = tuple({name})")
        lines.append(f"    if static{name} != def{name}.static: return None")
    lines.append(f"    if len({name}) != {len(treedef.children)}: return None")
    for index, child in enumerate(treedef.children):
        _take(f"{name}[{index}]", child, leaves, found, lines, names, counter)


def _check_leaf(name: str, leaf: Array, lines: list[str], names: dict[str, Any]) -> None:
    if isinstance(leaf, np.ndarray):
        names[f"dtype{name}"] = leaf.dtype
        lines.append(
            f"    if type({name}) is not ndarray or {name}.shape != {leaf.shape} or "
            f"{name}.dtype is not dtype{name} or not {name}.flags.c_contiguous: return None"
        )
    else:
        names[f"type{name}"] = type(leaf)
        lines.append(f"    if type({name}) is not type{name}: return None")


def packer(treedef: TreeDef) -> Callable[[Sequence[Array]], Any]:
    """`leaves ↦ tree`."""
    names: dict[str, Any] = {}
    counter = iter(range(treedef.num_leaves))

    def text(node: TreeDef) -> str | None:
        if node.kind is None:
            return f"r[{next(counter)}]"
        children = [text(child) for child in node.children]
        if any(child is None for child in children):
            return None
        parts = [str(child) for child in children]
        if node.kind is dict:
            values = dict(zip(node.static, parts, strict=True))
            for key in node.order:
                names.setdefault(f"k{len(names)}", key)
            labels = {id(value): name for name, value in names.items()}
            return "{" + ", ".join(f"{labels[id(k)]}: {values[k]}" for k in node.order) + "}"
        if node.kind is list:
            return f"[{', '.join(parts)}]"
        if node.kind is tuple:
            return f"({', '.join(parts)}{',' if parts else ''})"
        return "None" if node.kind is type(None) else None

    expression = text(treedef)
    if expression is None:
        return lambda leaves: tree.unflatten(treedef, leaves)
    made: Callable[[Sequence[Array]], Any] = eval(f"lambda r: {expression}", names)
    return made


class Signature:
    """The argument names and kinds that a program was traced for, for people to read."""

    def __init__(self, parts: dict[str, str]) -> None:
        self.parts = parts

    def statics(self) -> list[str]:
        """The static arguments and their values."""
        return [f"{name}: {k}" for name, k in self.parts.items() if k.startswith("static ")]

    def difference(self, other: Signature) -> list[str]:
        """One line for each argument in which two signatures differ."""
        lines = []
        for name in dict.fromkeys([*self.parts, *other.parts]):
            mine, theirs = self.parts.get(name, "absent"), other.parts.get(name, "absent")
            if mine != theirs:
                lines.append(f"{name}: {mine} (was {theirs})")
        return lines

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return ", ".join(f"{name}: {kind}" for name, kind in self.parts.items()) or "no arguments"
