"""Checkpoints: any tree of arrays and numbers in one `.npz`, without pickle.

The file is an ordinary, uncompressed `.npz`: `numpy.load(path)["params/conv/kernel"]` reads one
leaf without Kinone. One more entry, `kinone.json`, says what must be there:

    {"format": "kinone checkpoint", "version": 1, "kinone": "0.1.0",
     "metadata": {...},
     "tree": {"dict": [["params", {"list": ["params/0", "params/1"]}]]},
     "leaves": {"params/0": {"kind": "array", "dtype": "<f4", "shape": [3], "sha256": "…"}, …}}

The same tree and metadata give the same bytes.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import kinone

from .. import tree as trees
from ..errors import CheckpointError
from . import npz
from .atomic import atomic_write
from .npz import Array, Path, Spec

_HEADER = "kinone.json"
_FORMAT = "kinone checkpoint"
_VERSION = 1
_HEADER_LIMIT = 32 * 2**20
_LISTED = 20

_PYTHON_NUMBERS: dict[type, np.dtype[Any]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}
"""How a number of Python is stored; it comes back as the type that it was."""


class Checkpoint(NamedTuple):
    """What `load_checkpoint` returns: the tree and what was noted beside it."""

    tree: Any
    metadata: dict[str, Any]


class _Leaf(NamedTuple):
    """What the header says of one leaf; `kind` is array, scalar (of NumPy), or a Python type."""

    kind: str
    spec: Spec
    sha256: str


def save_checkpoint(path: Path, tree: Any, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes a tree of arrays and numbers to `path`, all or nothing.

    Leaves may be arrays of any shape, any strides and any dtype but objects and the likes of
    bfloat16, and numbers of NumPy or Python (integers of 64 bits); every bit is kept. `metadata` is
    what JSON can say, such as the epoch, the options and the best loss; there, tuples become lists
    and NumPy's numbers Python's. An interrupted save leaves the previous file as it was (see
    `atomic_write`).

        >>> import numpy as np, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> save_checkpoint(path, {"w": np.ones(2), "step": 7}, metadata={"epoch": 1})
        >>> load_checkpoint(path)
        Checkpoint(tree={'w': array([1., 1.]), 'step': 7}, metadata={'epoch': 1})

    Raises `CheckpointError` when a leaf or the metadata cannot be kept, before anything is written,
    and when the file cannot be written (a read-only folder, a full disk): then its `__cause__` is
    the `OSError`.
    """
    name = os.fspath(path)
    refused = f"{name}: not saved, "
    named, treedef = trees.flatten_with_path(tree)
    leaves: dict[str, tuple[str, Array]] = {}
    for leaf_path, leaf in named:
        if leaf_path in leaves:
            raise CheckpointError(f"{refused}two leaves have the path {leaf_path!r}; rename a key")
        _check_path(refused, leaf_path)
        leaves[leaf_path] = _to_array(refused, leaf_path, leaf)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "kinone": kinone.__version__,
        "metadata": _plain(refused, dict(metadata or {}), "metadata"),
        "tree": _describe(treedef, iter(leaves)),
        "leaves": {
            leaf_path: {
                "kind": kind,
                "dtype": array.dtype.str,
                "shape": array.shape,
                "sha256": npz.sha256(array),
            }
            for leaf_path, (kind, array) in leaves.items()
        },
    }
    try:
        with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
            npz.write(archive, _HEADER, json.dumps(header, indent=1).encode())
            for leaf_path, (_, array) in leaves.items():
                npz.write_array(archive, leaf_path, array)
    except OSError as error:
        raise CheckpointError(
            f"{refused}{error.strerror or error}; a previous checkpoint is as it was: "
            "choose a folder that exists, can be written to and has space"
        ) from error


def load_checkpoint(path: Path, like: Any = None) -> Checkpoint:
    """Reads what `save_checkpoint` wrote and returns `Checkpoint(tree, metadata)`.

    With `like`, a tree of arrays, numbers or anything else with a shape and a dtype, the file must
    hold the very same paths, shapes and dtypes, and the result has the structure of `like`. Without
    it, the tree is rebuilt from the file: dicts, lists, tuples and None.

        >>> import numpy as np, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> save_checkpoint(path, {"w": np.ones(2)})
        >>> load_checkpoint(path, like={"w": np.ones(3)})
        Traceback (most recent call last):
            ...
        kinone.errors.CheckpointError: ...'w' is float64[2], expected float64[3]; build ...

    Raises `CheckpointError` when the file cannot be read, is not a checkpoint, is damaged, is of a
    newer format, or does not fit `like`: one line, with every leaf that differs (the first 20).
    """
    name = os.fspath(path)
    with npz.opened(path) as archive:
        header = _read_header(name, archive)
        leaves = _read_leaves(header)
        specs = {leaf_path: leaf.spec for leaf_path, leaf in leaves.items()}
        if like is not None:
            _check_fit(name, specs, like)
        npz.check_entries(name, archive, specs, beside=_HEADER)
        values = {}
        for leaf_path, (kind, spec, sha256) in leaves.items():
            array = npz.read_array(name, archive, leaf_path, spec, sha256)
            values[leaf_path] = (
                array if kind == "array" else array[()] if kind == "scalar" else array.item()
            )
        metadata: dict[str, Any] = header["metadata"]
        if like is None:
            return Checkpoint(_rebuild(name, header["tree"], values), metadata)
    named, treedef = trees.flatten_with_path(like)
    return Checkpoint(trees.unflatten(treedef, [values[leaf] for leaf, _ in named]), metadata)


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads only what was noted beside the tree, such as the options to build the model with.

    Raises `CheckpointError` as `load_checkpoint` does; the arrays are not checked.
    """
    with npz.opened(path) as archive:
        metadata: dict[str, Any] = _read_header(os.fspath(path), archive)["metadata"]
        return metadata


# Leaves


def _to_array(refused: str, path: str, leaf: Any) -> tuple[str, Array]:
    """The kind of a leaf and the C-contiguous array that stands for it in the file."""
    problem = None
    if isinstance(leaf, np.ma.MaskedArray):
        problem = "is a masked array; save its data and its mask"
    elif isinstance(leaf, np.ndarray | np.generic):
        kind, array = "scalar" if isinstance(leaf, np.generic) else "array", np.asarray(leaf)
        if npz.storable(array.dtype):
            return kind, np.asarray(array, order="C")
        problem = f"has dtype {array.dtype}, which .npz cannot hold; convert it, say to float32"
    elif type(leaf) not in _PYTHON_NUMBERS:
        problem = f"is a {type(leaf).__name__}; save arrays and numbers, the rest as metadata"
    elif type(leaf) is int and not -(2**63) <= leaf < 2**63:
        problem = "is an integer of more than 64 bits; save it as metadata"
    else:
        return type(leaf).__name__, np.asarray(leaf, dtype=_PYTHON_NUMBERS[type(leaf)])
    raise CheckpointError(f"{refused}the leaf {path!r} {problem}")


def _check_path(refused: str, path: str) -> None:
    """Raises when no entry of the file can be named after the path."""
    try:
        fits = "\0" not in path and len(path.encode()) < 2**15
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise CheckpointError(f"{refused}the leaf {path[:80]!r} has an odd or long key; rename it")


def _check_fit(name: str, found: dict[str, Spec], like: Any) -> None:
    """Raises with every path at which the file and the wanted tree differ."""
    wanted = {}
    for path, leaf in trees.flatten_with_path(like)[0]:
        if isinstance(leaf, np.generic) or not hasattr(leaf, "dtype"):
            leaf = _to_array(f"{name}: not loaded, in `like` ", path, leaf)[1]
        wanted[path] = Spec(np.dtype(leaf.dtype), tuple(leaf.shape))
    differences = []
    for path in wanted | found:
        if path not in found:
            differences.append(f"{path!r} is missing, expected {wanted[path]}")
        elif path not in wanted:
            differences.append(f"{path!r} is {found[path]}, expected no such leaf")
        elif found[path] != wanted[path]:
            differences.append(f"{path!r} is {found[path]}, expected {wanted[path]}")
    if differences:
        more = f"; and {len(differences) - _LISTED} more" if len(differences) > _LISTED else ""
        raise CheckpointError(
            f"{name}: of another model: {'; '.join(differences[:_LISTED])}{more}; "
            "build the model as it was when this was saved (read_metadata tells what was noted)"
        )


# The header


def _describe(definition: trees.TreeDef, paths: Iterator[str]) -> Any:
    """The structure of a tree as JSON: a leaf is its path, None is null."""
    if definition.kind is None:
        return next(paths)
    children = [_describe(child, paths) for child in definition.children]
    if definition.kind is type(None):
        return None
    if definition.kind in (list, tuple):
        return {definition.kind.__name__: children}
    if definition.kind is dict and all(type(key) in (str, int, bool) for key in definition.static):
        named = dict(zip(definition.static, children, strict=True))
        return {"dict": [[key, named[key]] for key in definition.order]}
    return {"other": f"{definition.kind.__module__}.{definition.kind.__qualname__}"}


def _rebuild(name: str, structure: Any, values: dict[str, Any]) -> Any:
    """The inverse of `_describe`."""
    if structure is None:
        return None
    if isinstance(structure, str):
        return values[structure]
    ((kind, content),) = structure.items()
    if kind == "dict":
        return {key: _rebuild(name, child, values) for key, child in content}
    if kind in ("list", "tuple"):
        children = [_rebuild(name, child, values) for child in content]
        return children if kind == "list" else tuple(children)
    raise CheckpointError(
        f"{name}: the tree holds a {content!r}, which cannot be rebuilt from the file alone; "
        "pass like=, a tree of the same structure"
    )


def _plain(refused: str, value: Any, where: str) -> Any:
    """The value as JSON will give it back, or an error that says where it cannot."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(refused, item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(refused, item, f"{where}[{key!r}]") for key, item in value.items()}
    keys = " with keys that are not strings" if isinstance(value, Mapping) else ""
    raise CheckpointError(
        f"{refused}{where} is a {type(value).__name__}{keys}; "
        "metadata may be strings, numbers, booleans, None, and lists and dicts of them"
    )


def _read_header(name: str, archive: zipfile.ZipFile) -> dict[str, Any]:
    if _HEADER not in archive.namelist():
        raise CheckpointError(
            f"{name}: not a Kinone checkpoint, it has no {_HEADER}; numpy.load reads other .npz"
        )
    entry = archive.getinfo(_HEADER)
    npz.check_sizes(name, archive, [entry])
    if entry.file_size > _HEADER_LIMIT:
        raise CheckpointError(f"{name}: damaged, its header has {entry.file_size} bytes")
    header: dict[str, Any] = json.loads(archive.read(entry))
    if header["format"] != _FORMAT or type(header["version"]) is not int:
        raise CheckpointError(f"{name}: not a Kinone checkpoint; load another file")
    if header["version"] > _VERSION:
        raise CheckpointError(
            f"{name}: in format {header['version']} of Kinone {header['kinone']!r}; this is Kinone "
            f"{kinone.__version__!r} and reads format {_VERSION}: upgrade kinone"
        )
    if type(header["metadata"]) is not dict:
        raise ValueError("its metadata are not a dict")
    return header


def _read_leaves(header: dict[str, Any]) -> dict[str, _Leaf]:
    """What the header says of every leaf, once it makes sense."""
    python = {number.__name__: dtype for number, dtype in _PYTHON_NUMBERS.items()}
    leaves = {}
    for path, record in header["leaves"].items():
        kind, shape, dtype = record["kind"], tuple(record["shape"]), np.dtype(record["dtype"])
        if not (
            all(type(size) is int and size >= 0 for size in shape)
            and npz.storable(dtype)
            and dtype.str == record["dtype"]
            and (kind == "array" or shape == ())
            and (kind in ("array", "scalar") or python[kind] == dtype)
        ):
            raise ValueError(f"what it says of {path!r} makes no sense")
        leaves[path] = _Leaf(kind, Spec(dtype, shape), record["sha256"])
    return leaves
