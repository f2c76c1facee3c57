"""Checkpoints: any tree of arrays and numbers in one file, without pickle; and folders of them.

| name              | what it does                                                        |
|-------------------|---------------------------------------------------------------------|
| `save`            | a tree into one file, all or nothing; with `step=`, into a run folder |
| `load`            | the tree back, bit for bit, checked against the tree that is wanted |
| `restore_latest`  | the newest whole checkpoint of a run folder                         |
| `read_metadata`   | what was noted beside the tree, without reading the arrays          |
| `steps`           | the checkpoints of a run folder, by step                            |
| `best_step`       | the one of them with the best metric; `restore_best` loads it       |

An `.npz` is uncompressed: `numpy.load(path)["params/conv/kernel"]` reads one leaf without Kinone. A
`.safetensors` is for exchange with other libraries. docs/checkpoints.md writes both formats out.
The same tree and metadata give the same bytes.
"""

from __future__ import annotations

import operator
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from .. import source
from ..errors import (
    CheckpointError,
    CheckpointWarning,
    DamagedCheckpointError,
)
from .atomic import remove_stale
from .file import Checkpoint, PartialCheckpoint, load, read_metadata, write
from .fit import Diff
from .folder import (
    STALE,
    KeepBest,
    best_step,
    check_keep_best,
    check_metric,
    file_of,
    prune,
    restore_best,
    restore_latest,
    steps,
)
from .leaves import Path

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointWarning",
    "DamagedCheckpointError",
    "Diff",
    "PartialCheckpoint",
    "best_step",
    "load",
    "read_metadata",
    "restore_best",
    "restore_latest",
    "save",
    "steps",
]


def save(
    path: Path,
    tree: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
    step: int | None = None,
    keep: int | None = None,
    keep_best: KeepBest | None = None,
) -> pathlib.Path:
    """Writes a tree of arrays and numbers to `path`, all or nothing, and returns the file's path.

    Leaves may be arrays of any shape, any strides and any dtype but objects (bfloat16 and the like
    of `ml_dtypes` too), and numbers of NumPy or Python (integers of 64 bits); every bit is kept.
    Random keys and registered nodes are trees as any. `metadata` is what JSON can say, such as the
    epoch, the options and the place in the data; there, tuples become lists and NumPy's numbers
    Python's. An interrupted save leaves the previous file as it was (see `atomic_write`).

    A path that ends in `.safetensors` gives that format, any other an `.npz`.

        >>> import numpy as np, tempfile, os
        >>> folder = tempfile.mkdtemp()
        >>> path = save(
        ...     os.path.join(folder, "model.npz"),
        ...     {"w": np.ones(2), "n": 7},
        ...     metadata={"epoch": 1},
        ... )
        >>> load(path)
        Checkpoint(tree={'w': array([1., 1.]), 'n': 7}, metadata={'epoch': 1})

    With `step`, `path` is the folder of a run, made where it is missing, and the file in it is
    named after the step, which is noted in the metadata as well. Afterwards, all but the `keep`
    newest (by step; None keeps all) are deleted, and so is what killed processes left half-written.
    `keep_best=("val_auc", "max")` never deletes the one whose metadata has the best `val_auc`; see
    `best_step` for ties and NaN.

        >>> for step, auc in enumerate([0.9, 0.7, 0.8]):
        ...     path = save(
        ...         folder, {"w": np.ones(2)}, step=step, metadata={"val_auc": auc},
        ...         keep=1, keep_best=("val_auc", "max"),
        ...     )
        >>> list(steps(folder))
        [0, 2]

    Raises `CheckpointError` when a leaf or the metadata cannot be kept, before anything is written,
    and when the file cannot be written (a read-only folder, a full disk): then its `__cause__` is
    the `OSError`.
    """
    named: Any = path  # callers without a type checker pass anything
    if not isinstance(named, str | os.PathLike):
        raise TypeError(
            f"save takes the path first and the tree second, got a {type(named).__name__} for the "
            f"path, at {source.here()}\n  Write checkpoint.save(path, tree)."
        )
    name = os.fsdecode(path)
    if not isinstance(metadata, Mapping | None):
        _refuse(name, f"the metadata are {metadata!r:.40}", 'pass a dict, such as {"epoch": 3}')
    noted = dict(metadata or {})
    if step is None:
        if keep is not None or keep_best is not None:
            _refuse(name, "keep= and keep_best= are for a folder", "pass step= too")
        write(path, tree, noted)
        return pathlib.Path(name)
    step = _check_step(name, step, noted)
    _check_keep(name, keep, keep_best, noted)
    try:
        os.makedirs(name, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{name}: not saved, {error.strerror}; with step=, pass the folder of a run"
        ) from error
    remove_stale(name, STALE)
    path = file_of(name, step)
    write(path, tree, noted)
    if keep is not None:
        prune(name, step, keep, keep_best)
    return path


def _check_step(name: str, step: Any, noted: dict[str, Any]) -> int:
    """The step as a number of Python, which is noted in the metadata as well."""
    if not isinstance(step, int | np.integer) or step < 0:
        _refuse(name, f"step is {step!r:.40}", "pass an int, 0 or more")
    if noted.setdefault("step", int(step)) != step:
        _refuse(name, f"step is {step} and metadata['step'] {noted['step']!r}", "pass step alone")
    return int(step)


def _check_keep(
    name: str, keep: int | None, keep_best: KeepBest | None, noted: dict[str, Any]
) -> None:
    """Raises where the two do not say what is to be kept."""
    if keep is not None and operator.index(keep) < 1:
        _refuse(name, f"keep is {keep}", "pass 1 or more, or None for all")
    if keep_best is None:
        return
    if keep is None:
        _refuse(
            name, "without keep= nothing is deleted, and keep_best= means nothing", "pass keep=1"
        )
    check_keep_best(name, keep_best)
    check_metric(name, noted, keep_best)


def _refuse(name: str, problem: str, fix: str) -> NoReturn:
    raise CheckpointError(f"{name}: not saved, {problem}, at {source.here()}; {fix}")
