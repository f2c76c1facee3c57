"""One checkpoint in one file: `.npz`, or `.safetensors` where the name ends so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Literal, NamedTuple, overload

import numpy as np

from .. import tree as trees
from ..errors import CheckpointError
from . import header as headers
from . import npz, safetensors
from .atomic import atomic_write
from .container import Container, damaged, open_regular, understood
from .fit import Diff, Rename, compare, sources
from .leaves import Path, sha256s


class Checkpoint(NamedTuple):
    """What `load` returns: the tree and what was noted beside it."""

    tree: Any
    metadata: dict[str, Any]


class PartialCheckpoint(NamedTuple):
    """What `load(…, partial=True)` returns: also which leaves came from the file."""

    tree: Any
    metadata: dict[str, Any]
    diff: Diff


def write(path: Path, tree: Any, metadata: Mapping[str, Any]) -> None:
    """Writes one checkpoint, all or nothing; see `checkpoint.save`."""
    name = os.fsdecode(path)
    refused = f"{name}: not saved, "
    header, arrays = headers.make(refused, tree, metadata)
    kind = safetensors if name.endswith(".safetensors") else npz
    try:
        with atomic_write(path) as file:
            kind.write(file, refused, header, arrays)
    except IsADirectoryError as error:
        raise CheckpointError(
            f"{refused}it is a folder; pass step= to save into the folder of a run, or name a file"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{refused}{error.strerror or error}; a previous checkpoint is as it was: "
            "choose a folder that exists, can be written to and has space"
        ) from error


@overload
def load(
    path: Path, like: Any = None, *, partial: Literal[False] = False, rename: Rename | None = None
) -> Checkpoint: ...


@overload
def load(
    path: Path, like: Any, *, partial: Literal[True], rename: Rename | None = None
) -> PartialCheckpoint: ...


def load(
    path: Path, like: Any = None, *, partial: bool = False, rename: Rename | None = None
) -> Checkpoint | PartialCheckpoint:
    """Reads what `save` wrote, or a `.safetensors` of anyone: `Checkpoint(tree, metadata)`.

    With `like`, a tree of arrays, numbers or anything else with a shape and a dtype, the file must
    hold the very same paths, shapes and dtypes, and the result has the structure of `like`. Without
    it, the tree is rebuilt from the file: dicts, lists, tuples, None and random keys.

    With `partial=True`, leaves of `like` that the file lacks, or has in another shape or dtype,
    keep their values, and the result is `PartialCheckpoint(tree, metadata, diff)`; print `diff`.
    `rename` says where leaves of other names belong: patterns as `{"encoder/**": "body/**"}`, of
    which the first that fits counts, or a function from a path in the file to one in the tree; None
    in the place of a new name leaves the leaf in the file.

        >>> import numpy as np, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> write(path, {"old": {"w": np.ones(2)}}, {})
        >>> like = {"new": {"w": np.zeros(2), "b": np.zeros(1)}}
        >>> found = load(path, like, partial=True, rename={"old/**": "new/**"})
        >>> found.tree
        {'new': {'w': array([1., 1.]), 'b': array([0.])}}
        >>> print(found.diff)
        1 loaded: new/w
        1 missing in the file: new/b
        0 unexpected in the file
        0 of another shape or dtype
        >>> load(path, like={"old": {"w": np.ones(3)}})
        Traceback (most recent call last):
            ...
        kinone.errors.CheckpointError: ...'old/w' is float64[2], expected float64[3]; build ...

    Raises `CheckpointError` when the file cannot be read, is of a newer format, or does not fit
    `like`: one line, with every leaf that differs (the first 20); `DamagedCheckpointError` when it
    is damaged, or not a checkpoint at all.
    """
    name = os.fsdecode(path)
    if like is None and (partial or rename is not None):
        raise CheckpointError(f"{name}: partial= and rename= need like=, the tree that is wanted")
    with open_regular(path) as file:
        with understood(name):
            reader = _reader(name, file)
            leaves = reader.leaves()
        # Not understood: an error of the user's own function is no damage of the file.
        source = sources(name, leaves, rename)
        diff = None if like is None else compare(name, leaves, source, like, partial)
        wanted = leaves if diff is None else [source[path] for path in diff.loaded]
        with understood(name):
            arrays = {path: reader.read(path, leaves[path]) for path in wanted}
    for path, digest in zip(arrays, sha256s(list(arrays.values())), strict=True):
        if leaves[path].sha256 not in ("", digest):
            damaged(name, f"the leaf {path!r} is not what was saved")
    values = {path: leaves[path].value(array) for path, array in arrays.items()}
    metadata: dict[str, Any] = reader.header["metadata"]
    if diff is None:
        with understood(name):
            return Checkpoint(headers.rebuild(name, reader.header["tree"], values), metadata)
    named, treedef = trees.flatten_with_path(like)
    loaded = set(diff.loaded)
    tree = trees.unflatten(
        treedef,
        [values[source[path]] if path in loaded else _kept(leaf) for path, leaf in named],
    )
    return PartialCheckpoint(tree, metadata, diff) if partial else Checkpoint(tree, metadata)


def _kept(leaf: Any) -> Any:
    """A leaf of `like`, copied: who writes into the result must not change `like`."""
    return np.copy(leaf) if isinstance(leaf, np.ndarray) else leaf


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads only what was noted beside the tree, such as the options to build the model with.

    Raises `CheckpointError` as `load` does; the arrays are not checked.
    """
    name = os.fsdecode(path)
    with open_regular(path) as file, understood(name):
        metadata: dict[str, Any] = _reader(name, file).header["metadata"]
        return metadata


def _reader(name: str, file: BinaryIO) -> Container:
    """The file, read as what its first bytes say that it is."""
    start = file.read(9)
    file.seek(0)
    kind = safetensors.Reader if safetensors.looks_like(start) else npz.Reader
    return kind(name, file)
