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
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .errors import TreeError

T = TypeVar("T")
Tree = Any
IsLeaf = Callable[[Any], bool]


class _NodeType(NamedTuple):
    """How one container class is taken apart and put together.

    `flatten(node) -> (children, static, order)`: `static` takes part in equality; `order` does not
    (a dict's insertion order). `keys(static)` names the children for paths.
    """

    flatten: Callable[[Any], tuple[Iterable[Any], Any, Any]]
    unflatten: Callable[[Any, Any, Sequence[Any]], Any]
    keys: Callable[[Any, int], Sequence[Any]]


class TreeDef:
    """The structure of a tree: comparable, hashable, printable; `*` stands for a leaf."""

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


_LEAF = TreeDef(None, None, None, (), 1)
_node_types: dict[type, _NodeType] = {}


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


_dict_type = _NodeType(_flatten_dict, _unflatten_dict, lambda keys, count: keys)
_node_types[dict] = _dict_type
_node_types[list] = _NodeType(
    lambda node: (node, None, None), lambda static, order, children: list(children), _indices
)
_node_types[tuple] = _NodeType(
    lambda node: (node, None, None), lambda static, order, children: tuple(children), _indices
)
_node_types[type(None)] = _NodeType(
    lambda node: ((), None, None), lambda static, order, children: None, _indices
)
_node_types[OrderedDict] = _NodeType(
    lambda node: (tuple(node.values()), tuple(node), None),
    lambda keys, order, children: OrderedDict(zip(keys, children, strict=True)),
    lambda keys, count: keys,
)
_node_types[defaultdict] = _NodeType(
    lambda node: (_flatten_dict(node)[0], (node.default_factory, _sorted_keys(node)), tuple(node)),
    lambda static, order, children: defaultdict(
        static[0], _unflatten_dict(static[1], order, children)
    ),
    lambda static, count: static[1],
)


def _node_type(node: Any) -> _NodeType | None:
    kind = type(node)
    found = _node_types.get(kind)
    if found is None and isinstance(node, tuple) and hasattr(kind, "_fields"):
        found = _node_types[kind] = _NodeType(
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
    """
    if nodetype in _node_types:
        raise ValueError(f"{nodetype.__qualname__} is registered as a tree node already")

    def flatten_node(node: Any) -> tuple[Iterable[Any], Any, Any]:
        children, aux = flatten_func(node)
        return children, aux, None

    _node_types[nodetype] = _NodeType(
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
        >>> map(lambda leaf: 2 * leaf, Affine(3.0))
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
    """The leaves of a tree, depth first, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten_into(tree, leaves, is_leaf)


def _flatten_into(tree: Tree, leaves: list[Any], is_leaf: IsLeaf | None) -> TreeDef:
    if is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return _LEAF
    node_type = _node_type(tree)
    if node_type is None:
        leaves.append(tree)
        return _LEAF
    before = len(leaves)
    children, static, order = node_type.flatten(tree)
    definitions = []
    for child in children:
        if type(child) is np.ndarray and is_leaf is None:  # most are; saves a call
            leaves.append(child)
            definitions.append(_LEAF)
        else:
            definitions.append(_flatten_into(child, leaves, is_leaf))
    return TreeDef(type(tree), static, order, tuple(definitions), len(leaves) - before)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Tree:
    """The inverse of `flatten`. Raises `ValueError` when the number of leaves is wrong."""
    leaves = list(leaves)
    if len(leaves) != treedef.num_leaves:
        raise ValueError(f"this structure has {treedef.num_leaves} leaves, got {len(leaves)}")
    return _unflatten_from(treedef, iter(leaves))


def _unflatten_from(treedef: TreeDef, leaves: Any) -> Tree:
    if treedef.kind is None:
        return next(leaves)
    children = [
        next(leaves) if child.kind is None else _unflatten_from(child, leaves)
        for child in treedef.children
    ]
    return _node_types[treedef.kind].unflatten(treedef.static, treedef.order, children)


def leaves(tree: Tree, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree in the order of `flatten`."""
    return flatten(tree, is_leaf)[0]


def structure(tree: Tree, is_leaf: IsLeaf | None = None) -> TreeDef:
    """The `TreeDef` of a tree."""
    return flatten(tree, is_leaf)[1]


def map(
    f: Callable[..., Any], tree: Tree, *rest: Tree, is_leaf: IsLeaf | None = None
) -> Tree:
    """`f` applied leaf by leaf; the further trees must have the first one's structure.

        >>> map(lambda a, b: a + b, {"w": 1, "b": 2}, {"b": 20, "w": 10})
        {'w': 11, 'b': 22}

    Raises `TreeError` with the diff when the structures differ.
    """
    first, treedef = flatten(tree, is_leaf)
    columns = [first]
    for other in rest:
        columns.append(_flatten_up_to(treedef, other, tree))
    return unflatten(treedef, [f(*row) for row in zip(*columns, strict=True)])


def _flatten_up_to(treedef: TreeDef, other: Tree, tree: Tree) -> list[Any]:
    """The subtrees of `other` at the places where `treedef` has leaves (JAX's prefix rule)."""
    found: list[Any] = []

    def descend(definition: TreeDef, node: Any) -> bool:
        if definition.kind is None:
            found.append(node)
            return True
        node_type = _node_type(node)
        if type(node) is not definition.kind or node_type is None:
            return False
        children, static, _ = node_type.flatten(node)
        children = list(children)
        return (
            bool(static == definition.static)
            and len(children) == len(definition.children)
            and builtins.all(
                [descend(d, c) for d, c in zip(definition.children, children, strict=True)]
            )
        )

    if not descend(treedef, other):
        raise TreeError("the trees differ:\n" + diff(tree, other))
    return found


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
    """The path of each leaf of a structure."""
    found: list[str] = []

    def descend(definition: TreeDef, prefix: str) -> None:
        if definition.kind is None:
            found.append(prefix)
            return
        keys = _node_types[definition.kind].keys(definition.static, len(definition.children))
        for key, child in zip(keys, definition.children, strict=True):
            name = str(key).replace("~", "~0").replace("/", "~1")
            descend(child, f"{prefix}/{name}" if prefix else name)

    descend(treedef, "")
    return found


def paths(tree: Tree, is_leaf: IsLeaf | None = None) -> list[str]:
    """The path of each leaf, in the order of `leaves`."""
    return treedef_paths(structure(tree, is_leaf))


def leaves_with_path(tree: Tree, is_leaf: IsLeaf | None = None) -> list[tuple[str, Any]]:
    """Pairs of path and leaf."""
    return flatten_with_path(tree, is_leaf)[0]


def map_with_path(
    f: Callable[..., Any], tree: Tree, *rest: Tree, is_leaf: IsLeaf | None = None
) -> Tree:
    """`f(path, leaf, *others)` applied leaf by leaf."""
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
    """`functools.reduce` over the leaves."""
    return functools.reduce(f, leaves(tree), *initial)


def all(tree: Tree) -> bool:
    """Whether every leaf is true."""
    return builtins.all(leaves(tree))


def size(tree: Tree) -> int:
    """The number of array elements in all leaves: for parameters, the parameter count."""
    return int(sum(np.size(leaf) for leaf in leaves(tree)))


def nbytes(tree: Tree) -> int:
    """The number of bytes in all leaves."""
    return int(sum(np.asarray(leaf).nbytes for leaf in leaves(tree)))


def diff(expected: Tree, got: Tree) -> str:
    """What differs between two trees, path by path: only the differing places, both sides.

    >>> print(diff({"w": 1, "b": 2}, {"w": 1, "bias": 2}))
      b: missing in the second tree
      bias: not in the first tree
    """
    lines: list[str] = []

    def compare(first: Any, second: Any, path: str) -> None:
        first_type, second_type = _node_type(first), _node_type(second)
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
    return "a leaf" if _node_type(node) is None else f"a {type(node).__name__}"
