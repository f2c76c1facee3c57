"""The header of a checkpoint: JSON that says what must be in the file, written and read.

{"format": "kinone checkpoint", "version": 1, "kinone": "0.1.0",
 "metadata": {...},
 "tree": {"dict": [["params", {"list": ["params/0", "params/1"]}]]},
 "leaves": {"params/0": {"kind": "array", "dtype": "<f4", "shape": [3], "sha256": "…"}, …}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import kinone

from .. import tree as trees
from ..errors import CheckpointError
from ..random import Key, Keys, wrap_key_data
from .leaves import PYTHON_NUMBERS, Array, Leaf, Spec, dtype_name, named_dtype, sha256s, to_array

FORMAT = "kinone checkpoint"
VERSION = 1
LIMIT = 32 * 2**20
"""Bytes: a million leaves have less. It keeps a hostile file from filling the memory."""

# Nodes of Kinone's own, which need no `like` to come back.
_REBUILT: dict[str, Any] = {"kinone.random.Key": wrap_key_data, "kinone.random.Keys": Keys}
_NODE_NAMES = {Key: "kinone.random.Key", Keys: "kinone.random.Keys"}


def make(
    refused: str, tree: Any, metadata: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header of a tree, and its leaves as arrays by path.

    Raises `CheckpointError` for what cannot be kept; `refused` begins its message.
    """
    named, treedef = trees.flatten_with_path(tree)
    kinds: dict[str, str] = {}
    arrays: dict[str, Array] = {}
    for path, leaf in named:
        if path in arrays:
            raise CheckpointError(f"{refused}two leaves have the path {path!r}; rename a key")
        _check_path(refused, path)
        kinds[path], arrays[path] = to_array(refused, path, leaf)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "kinone": kinone.__version__,
        "metadata": _plain(refused, metadata, "metadata"),
        "tree": _describe(treedef, iter(arrays)),
        "leaves": {
            path: {
                "kind": kinds[path],
                "dtype": dtype_name(array.dtype),
                "shape": array.shape,
                "sha256": digest,
            }
            for (path, array), digest in zip(
                arrays.items(), sha256s(list(arrays.values())), strict=True
            )
        },
    }
    return header, arrays


def dump(refused: str, header: dict[str, Any], indent: int | None = 1) -> bytes:
    """The header as bytes, of a length that `parse` accepts."""
    try:
        text = json.dumps(header, indent=indent).encode()
    except ValueError as error:  # an integer of more digits than Python cares to print
        raise CheckpointError(f"{refused}metadata: {error}") from None
    if len(text) > LIMIT:
        raise CheckpointError(
            f"{refused}its header would have {len(text)} bytes, and {LIMIT} are read; "
            "save large values as leaves of the tree, not as metadata"
        )
    return text


def check(name: str, header: Any) -> None:
    """Raises unless the header is one that this version reads."""
    if header["format"] != FORMAT or type(header["version"]) is not int:
        raise CheckpointError(f"{name}: not a Kinone checkpoint; load another file")
    if header["version"] > VERSION:
        raise CheckpointError(
            f"{name}: in format {header['version']} of Kinone {header['kinone']!r}; this is Kinone "
            f"{kinone.__version__!r} and reads format {VERSION}: upgrade kinone"
        )
    if type(header["metadata"]) is not dict:
        raise ValueError("its metadata are not a dict")


def read_leaves(header: dict[str, Any]) -> dict[str, Leaf]:
    """What the header says of every leaf, once it makes sense."""
    python = {number.__name__: dtype for number, dtype in PYTHON_NUMBERS.items()}
    leaves = {}
    for path, record in header["leaves"].items():
        kind, shape = record["kind"], tuple(record["shape"])
        dtype = named_dtype(record["dtype"])
        if not (
            all(type(size) is int and size >= 0 for size in shape)
            and (kind == "array" or shape == ())
            and (kind in ("array", "scalar") or python[kind] == dtype)
            and len(record["sha256"]) == 64
        ):
            raise ValueError(f"what it says of {path!r} makes no sense")
        leaves[path] = Leaf(kind, Spec(dtype, shape), record["sha256"])
    return leaves


def rebuild(name: str, structure: Any, values: dict[str, Any]) -> Any:
    """The tree that a header describes, from its leaves by path."""
    if structure is None:
        return None
    if isinstance(structure, str):
        return values[structure]
    ((kind, content),) = [item for item in structure.items() if item[0] != "children"]
    if kind == "dict":
        return {key: rebuild(name, child, values) for key, child in content}
    if kind in ("list", "tuple"):
        children = [rebuild(name, child, values) for child in content]
        return children if kind == "list" else tuple(children)
    if content in _REBUILT:
        (child,) = structure["children"]
        return _REBUILT[content](rebuild(name, child, values))
    raise CheckpointError(
        f"{name}: the tree holds a {content!r}, which cannot be rebuilt from the file alone; "
        "pass like=, a tree of the same structure"
    )


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
    kind = definition.kind
    node = _NODE_NAMES.get(kind, f"{kind.__module__}.{kind.__qualname__}")
    return {"other": node, "children": children}


def _check_path(refused: str, path: str) -> None:
    """Raises when no entry of the file can be named after the path."""
    try:
        fits = "\0" not in path and len(path.encode()) < 2**15
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise CheckpointError(f"{refused}the leaf {path[:80]!r} has an odd or long key; rename it")


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
