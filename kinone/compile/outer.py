"""The function that a saved program shows to its user: named arguments, trees in and out."""

from __future__ import annotations

import builtins
import keyword
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from ..core import ShapeDtype
from ..graph import Graph
from ..tree import TreeDef
from .extract import ExtractError
from .inline import literal

CHECKS = ("check_array", "check_number", "check_node", "check_none")


class Outer:
    """The text of the outer function; `classes` are those of named tuples that it returns."""

    def __init__(
        self,
        name: str,
        program: Graph,
        in_tree: TreeDef,
        out_tree: TreeDef,
        names: Sequence[str],
    ) -> None:
        self.name = name
        self.program = program
        positional, keywords = in_tree.children
        self.parameters: dict[str, TreeDef] = {}
        for wanted, node in zip(names, positional.children, strict=True):
            self.parameters[re.sub(r"\W+", "_", wanted)] = node
        self.positional = len(self.parameters)
        self.parameters.update(zip(keywords.static, keywords.children, strict=True))
        self.classes: dict[str, str] = {}
        self.out_tree = out_tree
        self.names = {name, *self.parameters}
        # What the function calls, under names that none of its parameters has.
        self.called = {each: self.free(each) for each in (*CHECKS, "Program")}
        self.runs = self.free(f"{name}_run")
        self.names |= {*self.called.values(), self.runs}
        self.result = self.tree(out_tree, iter(range(out_tree.num_leaves)), "the result")

    def free(self, name: str) -> str:
        """A name that nothing here has."""
        while name in self.names:
            name += "_"
        return name

    def head(self) -> str:
        """`f(x, *, scale)`"""
        names = list(self.parameters)
        if self.positional < len(names):
            names.insert(self.positional, "*")
        return f"{self.name}({', '.join(names)})"

    def __str__(self) -> str:
        """The function's text."""
        lines = [f"def {self.head()}:"]
        leaves: list[str] = []
        avals = iter([var.aval for var in self.program.inputs])
        for name, node in self.parameters.items():
            for check, place in self.checks(name, name, node, avals):
                lines.append(f"    {check}")
                leaves += [] if place is None else [place]
        lines.append(f"    results = {self.runs}({', '.join(leaves)})")
        lines.append(f"    return {self.result}")
        return "\n".join(lines)

    def signature(self) -> Iterator[str]:
        """A line for each leaf of the arguments, and of the result."""
        for var in self.program.inputs:
            kind = f"a Python {_python(var.aval)}" if var.aval.weak else str(var.aval)
            yield f"{var.label}: {kind}"

    def checks(
        self, place: str, path: str, node: TreeDef, avals: Iterator[ShapeDtype]
    ) -> Iterator[tuple[str, str | None]]:
        """The lines that check an argument, and beside that of a leaf where it is found."""
        if node.kind is None:
            aval = next(avals)
            if aval.weak:
                call = f"{self.called['check_number']}({path!r}, {place}, {_python(aval)!r})"
            else:
                kind = f"{aval.shape}, {aval.dtype.str!r}"
                call = f"{self.called['check_array']}({path!r}, {place}, {kind})"
            yield call, place
            return
        if node.kind is type(None):
            yield f"{self.called['check_none']}({path!r}, {place})", None
            return
        kind, keys = _container(node, path)
        texts = tuple(map(_key, keys)) if kind == "dict" else tuple(map(str, range(len(keys))))
        listed = ", ".join(texts) + ("," if len(texts) == 1 else "")
        yield f"{self.called['check_node']}({path!r}, {place}, {kind!r}, ({listed}))", None
        for key, text, child in zip(keys, texts, node.children, strict=True):
            yield from self.checks(f"{place}[{text}]", f"{path}/{key}", child, avals)

    def tree(self, node: TreeDef, counter: Iterator[int], path: str) -> str:
        """The expression of a result."""
        if node.kind is None:
            return f"results[{next(counter)}]"
        if node.kind is type(None):
            return "None"
        kind, keys = _container(node, path)
        parts = [
            self.tree(child, counter, f"{path}/{key}")
            for key, child in zip(keys, node.children, strict=True)
        ]
        if kind == "dict":
            by_key = dict(zip(map(_key, keys), parts, strict=True))
            order = map(_key, node.order) if node.order is not None else by_key
            return "{" + ", ".join(f"{key}: {by_key[key]}" for key in order) + "}"
        if kind == "list":
            return f"[{', '.join(parts)}]"
        if node.kind is tuple:
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        name = self.free(node.kind.__name__)
        fields = list(keys)
        text = f"{name} = collections.namedtuple({node.kind.__name__!r}, {fields})"
        for known, other in self.classes.items():
            if other.partition(" = ")[2] == text.partition(" = ")[2]:
                name = known
                break
        else:
            self.classes[name] = text
            self.names.add(name)
        return f"{name}({', '.join(parts)})"


def identifier(name: str) -> str:
    """A name of Python that is like a text."""
    found = re.sub(r"\W+", "_", name).strip("_") or "function"
    if found[0].isdigit():
        found = f"_{found}"
    # A function of a builtin's name would take its place for all others in the file.
    return f"{found}_" if keyword.iskeyword(found) or hasattr(builtins, found) else found


def _python(aval: ShapeDtype) -> str:
    return {"i": "int", "f": "float", "c": "complex"}[aval.dtype.kind]


def _container(node: TreeDef, path: str) -> tuple[str, Sequence[object]]:
    """What kind of container a node is, and its keys. Raises for one that the file cannot know."""
    kind = node.kind
    assert kind is not None
    if kind is dict or kind is OrderedDict:
        return "dict", node.static
    if kind is list or kind is tuple:
        return kind.__name__, range(len(node.children))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return "tuple", kind._fields
    fix = "Pass a dict, list or tuple of what is in it, and make it inside of the function"
    if kind.__module__.startswith("kinone.random"):
        fix = "Pass kinone.random.key_data(key), and write kinone.random.wrap_key_data(data) inside"
    raise ExtractError(
        f"{path} is a {kind.__name__}, and the file knows dicts, lists, tuples and None alone\n"
        f"  {fix}."
    )


def _key(key: object) -> str:
    text = literal(key)
    if text is None:
        raise ExtractError(f"a dict has the key {key!r}, for which there is no text")
    return text
