"""Containers as tree nodes, the `TreeDef`, and taking trees apart and putting them together."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
Tree = Any
IsLeaf = Callable[[Any], bool]


class NodeType(NamedTuple):
    """How one container class is taken apart and put together.

    `flatten(node) -> (children, static, order)`: `static` takes part in equality; `order` does not
    (a dict's insertion order). `keys(static, count)` names the children for paths.
    """

    flatten: Callable[[Any], tuple[Iterable[Any], Any, Any]]
    unflatten: Callable[[Any, Any, Sequence[Any]], Any]
    keys: Callable[[Any, int], Sequence[Any]]


class TreeDef:
    """The structure of a tree: comparable, hashable, printable; `*` stands for a leaf.

    >>> structure({"a": 1, "b": [2, None]})
    TreeDef({'a': *, 'b': [*, None]})
    """

    __slots__ = ("children", "kind", "num_leaves", "order", "static")

    def __init__(
        self,
        kind: type | None,
        static: Any,
        order: Any,
        children: tuple[TreeDef, ...],
        num_leaves: int,
    ) -> None:
        self.kind = kind
        self.static = static
        self.order = order
        self.children = children
        self.num_leaves = num_leaves

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, TreeDef)
            and self.kind is other.kind
            and self.num_leaves == other.num_leaves
            and bool(self.static == other.static)
            and self.children == other.children
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.static, self.children))

    def unflatten(self, leaves: Iterable[Any]) -> Tree:
        """The tree of this structure with these leaves."""
        return unflatten(self, leaves)

    def __repr__(self) -> str:
        return f"TreeDef({unflatten(self, [_Star()] * self.num_leaves)!r})"


class _Star:
    def __repr__(self) -> str:
        return "*"


LEAF = TreeDef(None, None, None, (), 1)
node_types: dict[type, NodeType] = {}


def _sorted_keys(node: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(node))
    except TypeError:  # keys of several types: any order will do that insertion does not change
        return tuple(sorted(node, key=lambda key: (type(key).__qualname__, repr(key))))


def _flatten_dict(node: dict[Any, Any]) -> tuple[Iterable[Any], Any, Any]:
    keys = _sorted_keys(node)
    return [node[key] for key in keys], keys, tuple(node)


def _unflatten_dict(keys: Any, order: Any, children: Sequence[Any]) -> dict[Any, Any]:
    values = dict(zip(keys, children, strict=True))
    return values if keys == order else {key: values[key] for key in order}


def _indices(static: Any, count: int) -> Sequence[Any]:
    return range(count)


_dict_type = NodeType(_flatten_dict, _unflatten_dict, lambda keys, count: keys)
node_types[dict] = _dict_type
node_types[list] = NodeType(
    lambda node: (node, None, None), lambda static, order, children: list(children), _indices
)
node_types[tuple] = NodeType(
    lambda node: (node, None, None), lambda static, order, children: tuple(children), _indices
)
node_types[type(None)] = NodeType(
    lambda node: ((), None, None), lambda static, order, children: None, _indices
)
node_types[OrderedDict] = NodeType(
    lambda node: (tuple(node.values()), tuple(node), None),
    lambda keys, order, children: OrderedDict(zip(keys, children, strict=True)),
    lambda keys, count: keys,
)
node_types[defaultdict] = NodeType(
    lambda node: (_flatten_dict(node)[0], (node.default_factory, _sorted_keys(node)), tuple(node)),
    lambda static, order, children: defaultdict(
        static[0], _unflatten_dict(static[1], order, children)
    ),
    lambda static, count: static[1],
)


def find_node_type(node: Any) -> NodeType | None:
    kind = type(node)
    found = node_types.get(kind)
    if found is None and isinstance(node, tuple) and hasattr(kind, "_fields"):
        found = node_types[kind] = NodeType(
            lambda node: (node, None, None),
            lambda static, order, children: kind(*children),
            lambda static, count: kind._fields,
        )
    return found


def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten_func: Callable[[Any, Sequence[Any]], Any],
    keys: Callable[[Hashable], Sequence[Any]] | None = None,
) -> None:
    """Makes a class a tree node: `flatten_func(node) -> (children, aux)`, `unflatten_func(aux,
    children) -> node`, as in JAX; `keys(aux)` may name the children for paths.

    Raises `ValueError` when the class is registered already.

    >>> class Interval:
    ...     def __init__(self, low, high):
    ...         self.low, self.high = low, high
    >>> register_pytree_node(
    ...     Interval, lambda i: ((i.low, i.high), None), lambda aux, ends: Interval(*ends)
    ... )
    >>> leaves({"range": Interval(1, 2)})
    [1, 2]
    """
    if nodetype in node_types:
        raise ValueError(f"{nodetype.__qualname__} is registered as a tree node already")

    def flatten_node(node: Any) -> tuple[Iterable[Any], Any, Any]:
        children, aux = flatten_func(node)
        return children, aux, None

    node_types[nodetype] = NodeType(
        flatten_node,
        lambda aux, order, children: unflatten_func(aux, children),
        _indices if keys is None else lambda aux, count: keys(aux),
    )


def register_dataclass(cls: type[T]) -> type[T]:
    """Makes a dataclass a tree node: its fields are children, those made with
    `field(metadata={"static": True})` are part of the structure. Use as a decorator.

        >>> from dataclasses import dataclass, field
        >>> @register_dataclass
        ... @dataclass
        ... class Affine:
        ...     w: float
        ...     name: str = field(default="affine", metadata={"static": True})
        >>> from kinone import tree
        >>> tree.map(lambda leaf: 2 * leaf, Affine(3.0))
        Affine(w=6.0, name='affine')
    """
    fields = getattr(cls, "__dataclass_fields__", None)
    if fields is None:
        raise TypeError(f"{cls.__qualname__} is not a dataclass; put @dataclass below this line")
    static = tuple(name for name, field in fields.items() if field.metadata.get("static"))
    dynamic = tuple(name for name in fields if name not in static)

    def rebuild(aux: Any, children: Sequence[Any]) -> T:
        # Not the constructor: a leaf may be a placeholder that __post_init__ would refuse.
        node = object.__new__(cls)
        for name, value in zip(dynamic + static, (*children, *aux), strict=True):
            object.__setattr__(node, name, value)
        return node

    register_pytree_node(
        cls,
        lambda node: (
            [getattr(node, name) for name in dynamic],
            tuple(getattr(node, name) for name in static),
        ),
        rebuild,
        lambda aux: dynamic,
    )
    return cls


def flatten(tree: Tree, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeDef]:
    """The leaves of a tree, depth first, and its structure.

    >>> flatten({"a": 1, "b": [2, 3]})
    ([1, 2, 3], TreeDef({'a': *, 'b': [*, *]}))
    """
    leaves: list[Any] = []
    return leaves, _flatten_into(tree, leaves, is_leaf)


def _flatten_into(tree: Tree, leaves: list[Any], is_leaf: IsLeaf | None) -> TreeDef:
    if is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return LEAF
    kind = type(tree)
    if kind is list or kind is tuple:  # half of all nodes; saves two calls
        children, static, order = tree, None, None
    else:
        node_type = find_node_type(tree)
        if node_type is None:
            leaves.append(tree)
            return LEAF
        children, static, order = node_type.flatten(tree)
    before = len(leaves)
    definitions = []
    for child in children:
        if type(child) is np.ndarray and is_leaf is None:  # most are; saves a call
            leaves.append(child)
            definitions.append(LEAF)
        else:
            definitions.append(_flatten_into(child, leaves, is_leaf))
    return TreeDef(kind, static, order, tuple(definitions), len(leaves) - before)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Tree:
    """The inverse of `flatten`. Raises `ValueError` when the number of leaves is wrong.

    >>> unflatten(structure({"a": 1, "b": [2, 3]}), "xyz")
    {'a': 'x', 'b': ['y', 'z']}
    """
    leaves = list(leaves)
    if len(leaves) != treedef.num_leaves:
        raise ValueError(f"this structure has {treedef.num_leaves} leaves, got {len(leaves)}")
    return _unflatten_from(treedef, iter(leaves))


def _unflatten_from(treedef: TreeDef, leaves: Any) -> Tree:
    kind = treedef.kind
    if kind is None:
        return next(leaves)
    children = []
    for child in treedef.children:
        children.append(next(leaves) if child.kind is None else _unflatten_from(child, leaves))
    if kind is list:
        return children
    if kind is tuple:
        return tuple(children)
    return node_types[kind].unflatten(treedef.static, treedef.order, children)


def leaves(tree: Tree, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree in the order of `flatten`.

    >>> leaves({"a": 1, "b": [2, None, 3]})
    [1, 2, 3]
    """
    return flatten(tree, is_leaf)[0]


def structure(tree: Tree, is_leaf: IsLeaf | None = None) -> TreeDef:
    """The `TreeDef` of a tree.

    >>> structure({"a": 1, "b": [2, 3]}) == structure({"b": [0, 0], "a": 0})
    True
    """
    return flatten(tree, is_leaf)[1]
