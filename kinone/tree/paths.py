"""The path of a leaf, its name everywhere; and the difference of two trees, path by path."""

from __future__ import annotations

from typing import Any

from .structure import IsLeaf, Tree, TreeDef, find_node_type, flatten, node_types, structure


def flatten_with_path(
    tree: Tree, is_leaf: IsLeaf | None = None
) -> tuple[list[tuple[str, Any]], TreeDef]:
    """Like `flatten`, each leaf with its path.

    >>> flatten_with_path({"a": [1, {"b/c": 2}]})[0]
    [('a/0', 1), ('a/1/b~1c', 2)]
    """
    values, treedef = flatten(tree, is_leaf)
    return list(zip(treedef_paths(treedef), values, strict=True)), treedef


def treedef_paths(treedef: TreeDef) -> list[str]:
    """The path of each leaf of a structure.

    >>> from kinone.tree import structure
    >>> treedef_paths(structure({"a": 1, "b": [2, 3]}))
    ['a', 'b/0', 'b/1']
    """
    found: list[str] = []

    def descend(definition: TreeDef, prefix: str) -> None:
        if definition.kind is None:
            found.append(prefix)
            return
        keys = node_types[definition.kind].keys(definition.static, len(definition.children))
        for key, child in zip(keys, definition.children, strict=True):
            name = str(key).replace("~", "~0").replace("/", "~1")
            descend(child, f"{prefix}/{name}" if prefix else name)

    descend(treedef, "")
    return found


def paths(tree: Tree, is_leaf: IsLeaf | None = None) -> list[str]:
    """The path of each leaf, in the order of `leaves`.

    >>> paths({"a": 1, "b": [2, 3]})
    ['a', 'b/0', 'b/1']
    """
    return treedef_paths(structure(tree, is_leaf))


def leaves_with_path(tree: Tree, is_leaf: IsLeaf | None = None) -> list[tuple[str, Any]]:
    """Pairs of path and leaf.

    >>> leaves_with_path({"a": 1, "b": [2, 3]})
    [('a', 1), ('b/0', 2), ('b/1', 3)]
    """
    return flatten_with_path(tree, is_leaf)[0]


def diff(expected: Tree, got: Tree) -> str:
    """What differs between two trees, path by path: only the differing places, both sides.

    >>> print(diff({"w": 1, "b": 2}, {"w": 1, "bias": 2}))
      b: missing in the second tree
      bias: not in the first tree
    """
    lines: list[str] = []

    def compare(first: Any, second: Any, path: str) -> None:
        first_type, second_type = find_node_type(first), find_node_type(second)
        if first_type is None and second_type is None:
            return
        where = path or "the root"
        if first_type is None or second_type is None or type(first) is not type(second):
            lines.append(f"  {where}: {_kind(first)} against {_kind(second)}")
            return
        sides = []
        for node, node_type in ((first, first_type), (second, second_type)):
            children, static, _ = node_type.flatten(node)
            children = list(children)
            keys = node_type.keys(static, len(children))
            sides.append((dict(zip(keys, children, strict=True)), static))
        (left, left_static), (right, right_static) = sides
        before = len(lines)
        for key in [*left, *(key for key in right if key not in left)]:
            name = str(key).replace("~", "~0").replace("/", "~1")
            inner = f"{path}/{name}" if path else name
            if key not in right:
                lines.append(f"  {inner}: missing in the second tree")
            elif key not in left:
                lines.append(f"  {inner}: not in the first tree")
            else:
                compare(left[key], right[key], inner)
        if len(lines) == before and left.keys() == right.keys() and left_static != right_static:
            lines.append(f"  {where}: static data {left_static!r} against {right_static!r}")

    compare(expected, got, "")
    return "\n".join(lines)


def _kind(node: Any) -> str:
    return "a leaf" if find_node_type(node) is None else f"a {type(node).__name__}"
