"""Which parameters train: a tree in two, by the paths of its leaves, and together again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import source, tree
from ..errors import TreeError
from ..tree.patterns import matches


class Partition(NamedTuple):
    """`trainable, frozen = freeze(…)`; printed, it lists what is frozen.

    Both are the whole tree, with None in place of the other's leaves.

        >>> freeze({"stem": np.ones(3), "head": np.ones(2)}, "stem").trainable
        {'stem': None, 'head': array([1., 1.])}
    """

    trainable: Any
    frozen: Any

    def __repr__(self) -> str:
        held = tree.leaves_with_path(self.frozen)
        rest = tree.leaves(self.trainable)
        numbers = sum(np.size(leaf) for _, leaf in held)
        whole = numbers + sum(map(np.size, rest))
        lines = [
            f"frozen are {len(held)} of {len(held) + len(rest)} leaves, "
            f"{numbers:,} of {whole:,} numbers:"
        ]
        return "\n".join([*lines, *[f"  {path}  {np.shape(leaf)}" for path, leaf in held]])

    def __str__(self) -> str:
        return repr(self)


def freeze(params: Any, *patterns: str) -> Partition:
    """The parameters in two trees: those that train, and those whose path fits a pattern.

    In a pattern `*` is any text within one name and `**` any names: "stem/**", "**/bias". Take
    gradients with respect to the first tree, and put both together with `merge`:

        >>> import kinone as kn
        >>> params = {"stem": {"kernel": np.ones((2, 2))}, "head": {"kernel": np.ones(2)}}
        >>> trainable, frozen = freeze(params, "stem/**")
        >>> def loss(trainable):
        ...     params = merge(trainable, frozen)
        ...     return np.sum(np.ones(2) @ params["stem"]["kernel"] @ params["head"]["kernel"])
        >>> kn.grad(loss)(trainable)
        {'stem': {'kernel': None}, 'head': {'kernel': array([2., 2.])}}
        >>> print(freeze(params, "stem/**"))
        frozen are 1 of 2 leaves, 4 of 6 numbers:
          stem/kernel  (2, 2)

    Raises `ValueError` when there is no pattern, or one fits no leaf.
    """
    paths = tree.paths(params)
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(
            f"freeze wants patterns of paths, at {source.here()}\n"
            '  Write freeze(params, "stem/**").'
        )
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            raise ValueError(
                f"{pattern!r} fits no leaf of the parameters, at {source.here()}\n"
                f"  The paths are {', '.join(paths[:8])}{', …' if len(paths) > 8 else ''}."
            )

    def held(path: str) -> bool:
        return any(matches(pattern, path) for pattern in patterns)

    return Partition(
        tree.map_with_path(lambda path, leaf: None if held(path) else leaf, params),
        tree.map_with_path(lambda path, leaf: leaf if held(path) else None, params),
    )


def merge(*parts: Any) -> Any:
    """The tree of which these are parts, as `freeze` makes them: each leaf is in one of them.

    >>> merge({"a": 1, "b": None}, {"a": None, "b": 2})
    {'a': 1, 'b': 2}

    Raises `TreeError` when the parts are not of one structure, or two of them have a leaf.
    """

    def pick(path: str, *leaves: Any) -> Any:
        found = [leaf for leaf in leaves if leaf is not None]
        if len(found) > 1:
            raise TreeError(
                f"{path or 'the leaf'} is in {len(found)} of the parts, at {source.here()}\n"
                "  Pass the trees that nn.freeze returned."
            )
        return found[0] if found else None

    return tree.map_with_path(pick, *parts, is_leaf=lambda leaf: leaf is None)
