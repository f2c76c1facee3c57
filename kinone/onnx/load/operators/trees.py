"""ai.onnx.ml: ensembles of decision trees, walked through by all rows and trees at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype, shape_of
from ..registry import Node, operator
from .table import ML, class_labels, floating, label_of, transformed, two_classes

Numbers = np.ndarray[Any, Any]

_MODES = {"BRANCH_LEQ": 0, "BRANCH_LT": 1, "BRANCH_GTE": 2, "BRANCH_GT": 3, "BRANCH_EQ": 4}
_MODES |= {"BRANCH_NEQ": 5, "BRANCH_MEMBER": 6, "LEAF": 7}
_MEMBER, _LEAF = 6, 7


@dataclass
class Trees:
    """Every node of every tree; a leaf's branches lead to itself."""

    roots: Numbers
    features: Numbers
    modes: Numbers
    splits: Numbers
    when_true: Numbers
    when_false: Numbers
    missing: Numbers  # whether a NaN takes the true branch
    members: Numbers  # (nodes, most members), filled up with NaN

    def leaves(self, node: Node, x: Array) -> Array:
        """The leaf that each row reaches in each tree, (N, trees)."""
        place: Any = np.broadcast_to(self.roots, (shape_of(x)[0], len(self.roots)))
        tests = {
            0: np.less_equal,
            1: np.less,
            2: np.greater_equal,
            3: np.greater,
            4: np.equal,
            5: np.not_equal,
        }
        used = [mode for mode in tests if (self.modes == mode).any()]
        for _ in range(self._depth(node)):
            value = np.take_along_axis(x, ops.take(self.features, place), axis=1)
            split, mode = ops.take(self.splits, place), ops.take(self.modes, place)
            goes: Any = np.isnan(value) & ops.take(self.missing, place)
            for each in used:
                goes = goes | (tests[each](value, split) & (mode == each))
            if self.members.shape[1]:
                member = np.any(value[..., None] == ops.take(self.members, place, 0), axis=-1)
                goes = goes | (member & (mode == _MEMBER))
            place = np.where(
                goes, ops.take(self.when_true, place), ops.take(self.when_false, place)
            )
        return place

    def _depth(self, node: Node) -> int:
        """The most steps to a leaf. Raises `LoadError` where a walk would not end."""
        depth, level = 0, np.unique(self.roots)
        while (self.modes[level] != _LEAF).any():
            inner = level[self.modes[level] != _LEAF]
            level = np.unique(np.concatenate([self.when_true[inner], self.when_false[inner]]))
            depth += 1
            if depth > len(self.modes):
                raise node.error("has a tree whose branches lead back to it")
        return depth


def _within(node: Node, numbers: Numbers, size: int, what: str) -> Numbers:
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < size):
        raise node.error(f"has {what} outside of 0 … {size - 1}")
    return numbers


def _added(node: Node, leaves: Array, weights: Numbers) -> Array:
    """The weights of all trees' leaves, (N, trees, targets), joined by `aggregate_function`.

    `weights` is (nodes, targets), NaN where a leaf says nothing of a target.
    """
    how = node.attribute("aggregate_function", "SUM")
    how = {0: "AVERAGE", 1: "SUM", 2: "MIN", 3: "MAX"}.get(how, how)
    found = ops.take(weights, leaves, 0)
    if how in ("SUM", "AVERAGE"):
        total = np.sum(np.where(np.isnan(found), 0, found), axis=1)
        return total / shape_of(leaves)[1] if how == "AVERAGE" else total
    if how not in ("MIN", "MAX"):
        raise node.error(f"has the unknown aggregate_function={how!r}")
    far = np.inf if how == "MIN" else -np.inf
    joined = (np.min if how == "MIN" else np.max)(np.where(np.isnan(found), far, found), axis=1)
    return np.where(np.isinf(joined), 0, joined)


def _matrix(
    node: Node,
    nodes: Numbers,
    targets: Numbers,
    weights: Numbers,
    shape: tuple[int, int],
    dtype: Any,
) -> Numbers:
    """What each node says of each target, NaN for nothing."""
    _within(node, targets, shape[1], "targets")
    found = np.full(shape, np.nan, dtype)
    for place, target, weight in zip(nodes, targets, weights, strict=True):
        old = found[place, target]
        found[place, target] = weight if np.isnan(old) else old + weight
    return found


# ---- before version 5: nodes by tree and number --------------------------------------------------


def _numbers(node: Node, name: str, dtype: Any, default: Any = ()) -> Numbers:
    tensor = node.attribute(f"{name}_as_tensor", None)
    return np.array(node.attribute(name, default) if tensor is None else tensor, dtype)


def _older(node: Node, x: Array) -> tuple[Trees, dict[tuple[int, int], int]]:
    names = list(zip(node.attribute("nodes_treeids"), node.attribute("nodes_nodeids"), strict=True))
    index = {name: place for place, name in enumerate(names)}
    trees = [tree for tree, _ in names]
    first = {tree: place for place, tree in reversed(list(enumerate(trees)))}
    kinds = node.attribute("nodes_modes")
    unknown = set(kinds) - set(_MODES)
    if unknown:
        raise node.error(f"has nodes of the unknown kind {min(unknown)}")
    modes = np.array([_MODES[kind] for kind in kinds])
    size = len(names)

    def branch(which: str) -> Numbers:
        ids = node.attribute(which)
        found = [
            place if modes[place] == _LEAF else index.get((trees[place], ids[place]), -1)
            for place in range(size)
        ]
        return _within(node, np.array(found), size, which)

    missing = _numbers(node, "nodes_missing_value_tracks_true", bool)
    features = np.where(modes == _LEAF, 0, _numbers(node, "nodes_featureids", np.int64))
    return Trees(
        np.array([first[tree] for tree in sorted(first)]),
        _within(node, features, shape_of(x)[1], "nodes_featureids"),
        modes,
        _numbers(node, "nodes_values", shape_dtype(x).dtype),
        branch("nodes_truenodeids"),
        branch("nodes_falsenodeids"),
        missing if missing.size else np.zeros(size, bool),
        np.zeros((size, 0)),
    ), index


def _score(node: Node, x: Array, group: str, targets: int, ids: Numbers) -> Array:
    trees, index = _older(node, x)
    places = [
        index.get(name, -1)
        for name in zip(
            node.attribute(f"{group}_treeids"), node.attribute(f"{group}_nodeids"), strict=True
        )
    ]
    dtype = shape_dtype(x).dtype
    nodes = _within(node, np.array(places), len(trees.modes), f"{group}_nodeids")
    weights = _numbers(node, f"{group}_weights", dtype)
    table = _matrix(node, nodes, ids, weights, (len(trees.modes), targets), dtype)
    return _added(node, trees.leaves(node, x), table)


@operator("TreeEnsembleRegressor", domain=ML)
def tree_ensemble_regressor(node: Node, x: Array) -> Any:
    x = floating(x)
    targets = node.attribute("n_targets", 1)
    y = _score(node, x, "target", targets, np.array(node.attribute("target_ids")))
    base = _numbers(node, "base_values", shape_dtype(x).dtype)
    return transformed(node, (y + base if base.size else y).astype(np.float32))


@operator("TreeEnsembleClassifier", domain=ML)
def tree_ensemble_classifier(node: Node, x: Array) -> Any:
    x = floating(x)
    count = max(1, len(class_labels(node)))
    ids = np.array(node.attribute("class_ids"))
    scores = _score(node, x, "class", count, ids)
    base = _numbers(node, "base_values", shape_dtype(x).dtype)
    if count == 2 and len(np.unique(ids)) == 1:  # one score, of the second class
        one = scores[:, ids[:1]]
        one = one + base[-1] if base.size else one
        sure = _numbers(node, "class_weights", np.float64).min(initial=0) >= 0
        label = (one[:, 0] > (0.5 if sure else 0)).astype(np.int64)
        return label_of(node, label), two_classes(node, one.astype(np.float32), sure)
    if base.size:
        scores = scores + base
    scores = scores.astype(np.float32)
    return label_of(node, np.argmax(scores, axis=1)), transformed(node, scores)


# ---- version 5: inner nodes and leaves apart -----------------------------------------------------


@operator("TreeEnsemble", domain=ML, since=5)
def tree_ensemble(node: Node, x: Array) -> Any:
    """Inner nodes come first in our numbering, then leaves."""
    splits = np.asarray(node.attribute("nodes_splits"), shape_dtype(x).dtype)
    inner, weights = len(splits), np.asarray(node.attribute("leaf_weights"))
    size = inner + len(weights)

    def branch(which: str) -> Numbers:
        ids = np.array(node.attribute(f"nodes_{which}nodeids"))
        ends = np.array(node.attribute(f"nodes_{which}leafs"), bool)
        _within(node, ids[~ends], inner, f"nodes_{which}nodeids")
        _within(node, ids[ends], len(weights), f"nodes_{which}nodeids")
        return np.concatenate([np.where(ends, ids + inner, ids), np.arange(inner, size)])

    features = np.array(node.attribute("nodes_featureids"))
    missing = np.array(node.attribute("nodes_missing_value_tracks_true", [0] * inner), bool)
    modes = np.asarray(node.attribute("nodes_modes"), np.int64)
    last = np.zeros(len(weights), np.int64)
    roots = np.array(node.attribute("tree_roots"))
    trees = Trees(
        _within(node, roots, max(inner, 1), "tree_roots"),
        np.concatenate([_within(node, features, shape_of(x)[1], "nodes_featureids"), last]),
        np.concatenate([modes, last + _LEAF]),
        np.concatenate([splits, last.astype(splits.dtype)]),
        branch("true"),
        branch("false"),
        np.concatenate([missing, last.astype(bool)]),
        _members(node, modes, size),
    )
    count = node.attribute("n_targets", 1)
    ids = np.array(node.attribute("leaf_targetids"))
    nodes = np.arange(inner, size)
    table = _matrix(node, nodes, ids, weights, (size, count), shape_dtype(x).dtype)
    found = _added(node, trees.leaves(node, x), table)
    return transformed(node, found.astype(shape_dtype(x).dtype))


def _members(node: Node, modes: Numbers, size: int) -> Numbers:
    """The values of each node that asks for membership; NaN ends a node's list in the file."""
    values = np.asarray(node.attribute("membership_values", []), np.float64)
    lists = [
        [float(v) for v in part[~np.isnan(part)]]
        for part in np.split(values, np.flatnonzero(np.isnan(values)) + 1)
    ]
    asking = np.flatnonzero(modes == _MEMBER)
    if len(lists) - 1 != len(asking):
        raise node.error("lacks membership_values for some of its nodes")
    found = np.full((size, max(map(len, lists)) if len(asking) else 0), np.nan)
    for place, some in zip(asking, lists, strict=False):
        found[place, : len(some)] = some
    return found
