"""What of a checkpoint goes where in a tree: names that changed, and the difference by path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import tree as trees
from ..errors import CheckpointError
from ..tree.patterns import matches, renamed
from .leaves import Leaf, Spec, to_array

Rename = Mapping[str, str | None] | Callable[[str], str | None]

_LISTED = 20


class Diff(NamedTuple):
    """What a partial restore did, by path; printed, one line for each group.

    `missing` and `mismatched` leaves kept the values of `like`; `unexpected` ones, by their names
    in the file, were left there. A mismatch is the path, what the file has, and what is wanted.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        others = [
            f"{path} is {found}, expected {wanted}" for path, found, wanted in self.mismatched
        ]
        groups = (
            ("loaded", self.loaded),
            ("missing in the file", self.missing),
            ("unexpected in the file", self.unexpected),
            ("of another shape or dtype", others),
        )
        return "\n".join(
            f"{len(paths)} {title}" + (": " if paths else "") + _some(paths, ", ")
            for title, paths in groups
        )


def sources(name: str, leaves: Mapping[str, Leaf], rename: Rename | None) -> dict[str, str]:
    """For each path in the tree, the path of its leaf in the file.

    Raises `CheckpointError` when two leaves come to have one path, or a pattern fits no leaf.
    """
    if rename is None:
        return {path: path for path in leaves}
    found: dict[str, str] = {}
    for path in leaves:
        target = rename(path) if callable(rename) else _by_pattern(name, rename, path)
        if target is None:
            continue
        if target in found:
            raise CheckpointError(
                f"{name}: rename makes {target!r} of both {found[target]!r} and {path!r}; "
                "give one of them another name, or None to leave it"
            )
        found[target] = path
    if not callable(rename):
        for pattern in rename:
            if not any(matches(pattern, path) for path in leaves):
                raise CheckpointError(
                    f"{name}: rename={{{pattern!r}: …}} fits no leaf; there are: "
                    f"{_some(list(leaves), ', ')}"
                )
    return found


def _by_pattern(name: str, rename: Mapping[str, str | None], path: str) -> str | None:
    """The new path by the first pattern that fits; the path itself where none does."""
    for old, new in rename.items():
        if new is None:
            if matches(old, path):
                return None
            continue
        try:
            found = renamed(old, new, path)
        except ValueError as error:
            raise CheckpointError(f"{name}: rename: {error}") from None
        if found is not None:
            return found
    return path


def compare(
    name: str, leaves: Mapping[str, Leaf], source: Mapping[str, str], like: Any, partial: bool
) -> Diff:
    """How a file fits a tree.

    Raises `CheckpointError`: with `partial`, when nothing fits, or when `like` has no value for a
    leaf that the file does not give; without it, when anything differs.
    """
    wanted = {}
    for path, leaf in trees.flatten_with_path(like)[0]:
        if isinstance(leaf, np.generic) or not hasattr(leaf, "dtype"):
            leaf = to_array(f"{name}: not loaded, in `like` ", path, leaf)[1]
        wanted[path] = Spec(np.dtype(leaf.dtype), tuple(leaf.shape))
    found = {path: leaves[origin].spec for path, origin in source.items()}
    both = [path for path in wanted if path in found]
    met = {source[path] for path in both}
    diff = Diff(
        tuple(path for path in both if found[path] == wanted[path]),
        tuple(path for path in wanted if path not in found),
        tuple(path for path in leaves if path not in met),
        tuple(
            (path, str(found[path]), str(wanted[path]))
            for path in both
            if found[path] != wanted[path]
        ),
    )
    if not partial:
        # What `rename` sent to None was left on purpose.
        extra = [path for path in found if path not in wanted]
        differences = [
            *(f"{path!r} is missing, expected {wanted[path]}" for path in diff.missing),
            *(f"{path!r} is {has}, expected {wants}" for path, has, wants in diff.mismatched),
            *(f"{path!r} is {found[path]}, expected no such leaf" for path in extra),
        ]
        if differences:
            raise CheckpointError(
                f"{name}: of another model: {_some(differences, '; ')}; build the model as it was "
                "when this was saved (read_metadata tells what was noted), or pass partial=True"
            )
    elif wanted and not diff.loaded:
        raise CheckpointError(
            f"{name}: nothing in it fits; it has {_some(list(leaves), ', ')}, and wanted are "
            f"{_some(list(wanted), ', ')}: pass rename="
        )
    else:
        kept = {*diff.missing, *(path for path, _, _ in diff.mismatched)}
        for path, leaf in trees.flatten_with_path(like)[0]:
            if path in kept and not isinstance(
                leaf, np.ndarray | np.generic | int | float | complex
            ):
                raise CheckpointError(
                    f"{name}: it does not give {path!r}, and `like` has no value for it, only "
                    f"{wanted[path]}; pass a tree of arrays"
                )
    return diff


def _some(texts: Any, separator: str) -> str:
    """The first of them, and how many more there are."""
    more = f"{separator}and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return separator.join(texts[:_LISTED]) + more
