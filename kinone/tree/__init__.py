"""Trees of arrays: nested dicts, lists, tuples, namedtuples, None and registered classes.

A tree is flattened into its leaves and a `TreeDef`, its shape without the leaves. Dicts are
flattened in sorted key order, so that equal dicts have equal structures however they were filled,
and rebuilt in the insertion order of the dict that was flattened. The path of a leaf, such as
`params/layers/0/kernel`, is its name in errors, checkpoints, ONNX initialisers and masks; a `/` or
`~` inside a key is escaped as in JSON Pointer (RFC 6901).

    >>> from kinone import tree
    >>> leaves, treedef = tree.flatten({"w": 1.0, "b": [2.0, None]})
    >>> leaves
    [2.0, 1.0]
    >>> tree.unflatten(treedef, ["one", "two"])
    {'w': 'two', 'b': ['one', None]}
    >>> tree.paths({"w": 1.0, "b": [2.0, None]})
    ['b/0', 'w']
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source
from ..errors import TreeError
from .paths import diff, flatten_with_path, leaves_with_path, paths, treedef_paths
from .structure import (
    IsLeaf,
    Tree,
    TreeDef,
    find_node_type,
    flatten,
    leaves,
    register_dataclass,
    register_pytree_node,
    structure,
    unflatten,
)


def map(f: Callable[..., Any], tree: Tree, *rest: Tree, is_leaf: IsLeaf | None = None) -> Tree:
    """`f` applied leaf by leaf; the further trees must have the first one's structure.

        >>> map(lambda a, b: a + b, {"w": 1, "b": 2}, {"b": 20, "w": 10})
        {'w': 11, 'b': 22}

    Raises `TreeError` with the diff when the structures differ.
    """
    first, treedef = flatten(tree, is_leaf)
    columns = [first]
    for other in rest:
        columns.append(flatten_up_to(treedef, other, tree))
    return unflatten(treedef, [f(*row) for row in zip(*columns, strict=True)])


def flatten_up_to(treedef: TreeDef, other: Tree, tree: Tree) -> list[Any]:
    """The subtrees of `other` at the places where `treedef` has leaves (JAX's prefix rule)."""
    found: list[Any] = []

    def descend(definition: TreeDef, node: Any) -> bool:
        if definition.kind is None:
            found.append(node)
            return True
        node_type = find_node_type(node)
        if type(node) is not definition.kind or node_type is None:
            return False
        children, static, _ = node_type.flatten(node)
        children = list(children)
        return (
            bool(static == definition.static)
            and len(children) == len(definition.children)
            and builtins.all(builtins.map(descend, definition.children, children))
        )

    if not descend(treedef, other):
        raise TreeError(
            f"the trees do not have the same structure, at {source.here()}\n" + diff(tree, other)
        )
    return found


def map_with_path(
    f: Callable[..., Any], tree: Tree, *rest: Tree, is_leaf: IsLeaf | None = None
) -> Tree:
    """`f(path, leaf, *others)` applied leaf by leaf.

    >>> map_with_path(lambda path, leaf: f"{path}={leaf}", {"a": 1, "b": [2, 3]})
    {'a': 'a=1', 'b': ['b/0=2', 'b/1=3']}
    """
    pairs, treedef = flatten_with_path(tree, is_leaf)
    named = unflatten(treedef, [_Named(path, leaf) for path, leaf in pairs])
    return map(lambda named, *others: f(named.path, named.leaf, *others), named, *rest)


class _Named:
    """A leaf that knows its path."""

    __slots__ = ("leaf", "path")

    def __init__(self, path: str, leaf: Any) -> None:
        self.path = path
        self.leaf = leaf


def reduce(f: Callable[[Any, Any], Any], tree: Tree, *initial: Any) -> Any:
    """`functools.reduce` over the leaves.

    >>> reduce(lambda a, b: a + b, {"a": 1, "b": [2, 3]})
    6
    """
    return functools.reduce(f, leaves(tree), *initial)


def all(tree: Tree) -> bool:
    """Whether every leaf is true.

    >>> all({"a": True, "b": [1, 0]})
    False
    """
    return builtins.all(leaves(tree))


def size(tree: Tree) -> int:
    """The number of array elements in all leaves: for parameters, the parameter count.

    >>> size({"w": np.zeros((2, 3)), "b": np.zeros(3)})
    9
    """
    return int(sum(np.size(leaf) for leaf in leaves(tree)))


def nbytes(tree: Tree) -> int:
    """The number of bytes in all leaves.

    >>> nbytes({"w": np.zeros((2, 3)), "b": np.zeros(3, np.float32)})
    60
    """
    return int(sum(np.asarray(leaf).nbytes for leaf in leaves(tree)))


__all__ = [
    "TreeDef",
    "all",
    "diff",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "nbytes",
    "paths",
    "reduce",
    "register_dataclass",
    "register_pytree_node",
    "size",
    "structure",
    "treedef_paths",
    "unflatten",
]
