"""Trees: taken apart, put together, named, compared."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone import tree
from kinone.errors import TreeError


class Pair(NamedTuple):
    left: Any
    right: Any


@tree.register_dataclass
@dataclass
class Affine:
    w: Any
    b: Any
    name: str = field(default="affine", metadata={"static": True})


@tree.register_dataclass
@dataclass(frozen=True)
class Checked:
    value: Any

    def __post_init__(self) -> None:
        if not isinstance(self.value, float):
            raise TypeError("value must be a float")


leaf = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=2), st.booleans())
keys = st.one_of(st.text(max_size=3), st.integers(-3, 3))
trees = st.recursive(
    st.one_of(leaf, st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict),
        st.builds(Pair, inner, inner),
        st.builds(Affine, inner, inner, st.text(max_size=2)),
    ),
    max_leaves=12,
)


@given(trees)
def test_round_trip(value: Any) -> None:
    leaves, treedef = tree.flatten(value)
    again = tree.unflatten(treedef, leaves)
    assert again == value
    assert type(again) is type(value)
    assert tree.structure(again) == treedef
    assert hash(tree.structure(again)) == hash(treedef)
    assert treedef.num_leaves == len(leaves) == len(tree.paths(value))
    assert treedef.unflatten(leaves) == value
    if isinstance(value, dict):
        assert list(again) == list(value)
    assert "*" in repr(treedef) or not leaves


@given(trees)
def test_paths_are_unique_in_trees_of_text_keys(value: Any) -> None:
    def has_text_keys_alone(node: Any) -> bool:
        if isinstance(node, dict):
            return all(isinstance(k, str) for k in node) and all(
                has_text_keys_alone(v) for v in node.values()
            )
        if isinstance(node, (list, tuple)):
            return all(has_text_keys_alone(v) for v in node)
        if isinstance(node, Affine):
            return has_text_keys_alone(node.w) and has_text_keys_alone(node.b)
        return True

    paths = tree.paths(value)
    if has_text_keys_alone(value) and "" not in str(value).split("'"):
        assert len(set(paths)) == len(paths)


@given(trees)
def test_map_identity_and_composition(value: Any) -> None:
    assert tree.map(lambda x: x, value) == value
    doubled = tree.map(lambda x: (x, x), value)
    assert tree.map(lambda x, pair: pair == (x, x), value, doubled) == tree.map(
        lambda x: True, value
    )
    assert tree.diff(value, value) == ""


@given(trees, trees)
def test_structures_are_equal_exactly_when_the_diff_is_empty(a: Any, b: Any) -> None:
    assert (tree.structure(a) == tree.structure(b)) == (tree.diff(a, b) == "")


def test_dicts_equal_whatever_their_order() -> None:
    a, b = {"x": 1, "y": 2}, {"y": 20, "x": 10}
    assert tree.structure(a) == tree.structure(b)
    assert hash(tree.structure(a)) == hash(tree.structure(b))
    assert tree.leaves(a) == [1, 2]
    assert tree.leaves(b) == [10, 20]
    assert list(tree.map(lambda p, q: p + q, b, a)) == ["y", "x"]
    assert tree.map(lambda p, q: p + q, b, a) == {"x": 11, "y": 22}
    assert list(tree.unflatten(tree.structure(b), [1, 2])) == ["y", "x"]


def test_dicts_of_mixed_keys() -> None:
    a, b = {1: "a", "1": "b", (2,): "c"}, {(2,): "c", "1": "b", 1: "a"}
    assert tree.structure(a) == tree.structure(b)
    assert tree.leaves(a) == tree.leaves(b)


def test_ordered_and_default_dicts() -> None:
    ordered = OrderedDict([("b", 1), ("a", 2)])
    assert tree.leaves(ordered) == [1, 2]
    assert type(tree.map(abs, ordered)) is OrderedDict
    assert tree.structure(ordered) != tree.structure(OrderedDict([("a", 2), ("b", 1)]))
    made = defaultdict(list, {"b": 1, "a": 2})
    again = tree.map(lambda x: x + 1, made)
    assert again == {"b": 2, "a": 3}
    assert again.default_factory is list
    assert list(again) == ["b", "a"]


def test_paths() -> None:
    value = {"params": {"layers": [{"w": 1, "b": 2}, Pair(3, None)]}, "n": Affine(4, (5,))}
    assert tree.paths(value) == [
        "n/w",
        "n/b/0",
        "params/layers/0/b",
        "params/layers/0/w",
        "params/layers/1/left",
    ]
    assert tree.paths({"a/b": 1, "c~d": 2}) == ["a~1b", "c~0d"]
    assert tree.paths(3.0) == [""]
    assert dict(tree.leaves_with_path(value))["n/w"] == 4
    assert tree.map_with_path(lambda path, x: f"{path}={x}", {"a": [1]}) == {"a": ["a/0=1"]}
    assert tree.map_with_path(lambda p, x, y: (p, x, y), {"a": 1}, {"a": 2}) == {"a": ("a", 1, 2)}


def test_none_is_a_node_without_leaves() -> None:
    assert tree.leaves({"a": None, "b": 1}) == [1]
    assert tree.map(abs, [None, -1]) == [None, 1]
    assert tree.leaves([None, 1], is_leaf=lambda x: x is None) == [None, 1]


def test_is_leaf_stops_the_descent() -> None:
    value = {"a": (1, 2), "b": [(3, 4)]}
    assert tree.map(sum, value, is_leaf=lambda x: isinstance(x, tuple)) == {"a": 3, "b": [7]}
    assert tree.paths(value, is_leaf=lambda x: isinstance(x, tuple)) == ["a", "b/0"]


def test_map_takes_subtrees_of_further_trees() -> None:
    assert tree.map(lambda n, sub: n + len(sub), {"a": 1}, {"a": [7, 7]}) == {"a": 3}


def test_map_names_what_differs() -> None:
    with pytest.raises(TreeError) as caught:
        tree.map(lambda a, b: a, {"w": 1, "b": {"x": 2}}, {"w": 1, "c": 2})
    text = str(caught.value)
    assert "b: missing in the second tree" in text
    assert "c: not in the first tree" in text
    assert "\n  w" not in str(caught.value)
    with pytest.raises(TreeError, match="a: a list against a tuple"):
        tree.map(lambda a, b: a, {"a": [1]}, {"a": (1,)})
    with pytest.raises(TreeError, match="a list against a leaf"):
        tree.map(lambda a, b: a, {"a": [1]}, {"a": 1})
    with pytest.raises(TreeError, match="2: not in the first tree"):
        tree.map(lambda a, b: a, [1, 2], [1, 2, 3])


def test_static_fields_are_structure() -> None:
    assert tree.structure(Affine(1, 2)) == tree.structure(Affine(3, 4))
    assert tree.structure(Affine(1, 2, "x")) != tree.structure(Affine(1, 2, "y"))
    assert tree.map(lambda x: -x, Affine(1, 2, "x")) == Affine(-1, -2, "x")
    assert "static data" in tree.diff(Affine(1, 2, "x"), Affine(1, 2, "y"))


def test_dataclasses_are_rebuilt_without_their_constructor() -> None:
    value = tree.map(lambda x: "a placeholder", Checked(1.0))
    assert value.value == "a placeholder"
    assert tree.map(lambda x: 2 * x, Checked(1.0)) == Checked(2.0)


def test_registration() -> None:
    class Box:
        def __init__(self, content: Any) -> None:
            self.content = content

    assert tree.leaves(Box(1))[0].content == 1
    tree.register_pytree_node(
        Box, lambda box: ((box.content,), "tag"), lambda aux, children: Box(*children)
    )
    assert tree.leaves(Box([1, 2])) == [1, 2]
    assert tree.map(lambda x: x + 1, Box([1, 2])).content == [2, 3]
    assert tree.paths(Box(1)) == ["0"]
    with pytest.raises(ValueError, match="registered"):
        tree.register_pytree_node(Box, lambda b: ((), None), lambda a, c: Box(None))
    with pytest.raises(TypeError, match="not a dataclass"):
        tree.register_dataclass(type("Plain", (), {}))


def test_unflatten_counts() -> None:
    treedef = tree.structure([1, 2])
    with pytest.raises(ValueError, match="2 leaves, got 3"):
        tree.unflatten(treedef, [1, 2, 3])
    with pytest.raises(ValueError, match="2 leaves, got 1"):
        tree.unflatten(treedef, [1])
    assert tree.unflatten(treedef, iter([3, 4])) == [3, 4]


def test_reductions() -> None:
    value = {"a": np.ones((2, 3)), "b": [np.ones(4, np.float32), 2.0]}
    assert tree.size(value) == 11
    assert tree.nbytes(value) == 48 + 16 + 8
    assert tree.reduce(lambda a, b: a + b, {"a": 1, "b": 2}) == 3
    assert tree.reduce(lambda a, b: a + b, {"a": 1, "b": 2}, 10) == 13
    assert tree.all({"a": True, "b": [1]})
    assert not tree.all({"a": True, "b": [0]})


def test_empty_trees() -> None:
    for value in ({}, [], (), None):
        assert tree.leaves(value) == []
        assert tree.map(abs, value) == value
    assert tree.structure([]) != tree.structure(())


def test_subclasses_of_containers_are_leaves() -> None:
    """A subclass may carry more than its items; it is a leaf until it is registered."""

    class Special(dict):  # type: ignore[type-arg]
        pass

    special = Special(a=1)
    assert tree.leaves([special])[0] is special


def test_deep_trees() -> None:
    value: Any = 1.0
    for _ in range(100):
        value = {"k": [value]}
    leaves, treedef = tree.flatten(value)
    assert tree.unflatten(treedef, leaves) == value


def test_trees_that_differ_name_the_users_line() -> None:
    with pytest.raises(TreeError, match=r"test_tree\.py:\d+  tree\.map") as caught:
        tree.map(lambda a, b: a, {"a": 1, "b": [1, 2]}, {"a": 1, "b": [1]})
    assert "b/1: missing in the second tree" in str(caught.value)
