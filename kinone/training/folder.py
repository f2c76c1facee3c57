"""A run folder: a checkpoint for each step; old ones are deleted, the best one is kept."""

from __future__ import annotations

import contextlib
import numbers
import os
import pathlib
import re
import warnings
from typing import Any

from .. import source
from ..errors import CheckpointError, CheckpointWarning, DamagedCheckpointError
from .file import Checkpoint, load, read_metadata
from .leaves import Path

KeepBest = tuple[str, str]

_NAME = re.compile(r"step-(\d{12,})\.npz")
STALE = re.compile(r"\.step-\d{12,}\.npz\.[0-9a-f]{16}\.tmp")
"""What a killed process leaves behind."""


def file_of(folder: Path, step: int) -> pathlib.Path:
    """The file of a step: names sort by step, and are fit for every file system."""
    return pathlib.Path(os.fsdecode(folder), f"step-{step:012d}.npz")


def steps(folder: Path) -> dict[int, pathlib.Path]:
    """The checkpoints of a run folder, by step, the oldest first; none where there is no folder.

        >>> import numpy as np, tempfile
        >>> from kinone.training import checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> _ = checkpoint.save(folder, {"w": np.ones(2)}, step=7)
        >>> {step: path.name for step, path in steps(folder).items()}
        {7: 'step-000000000007.npz'}

    Raises `CheckpointError` when the folder cannot be read.
    """
    try:
        names = os.listdir(os.fsdecode(folder))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CheckpointError(
            f"{os.fsdecode(folder)}: cannot be read, {error.strerror}; pass the folder of a run "
            "(load reads one file)"
        ) from error
    found = sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)
    return {step: file_of(folder, step) for step in found}


def best_step(folder: Path, keep_best: KeepBest) -> int | None:
    """The step whose checkpoint has the best metric, such as `("val_auc", "max")`.

    Of several that are equally good, it is the earliest. NaN and None are never the best. What
    cannot be read is passed over with a `CheckpointWarning` that names it. None when there is none.

        >>> import numpy as np, tempfile
        >>> from kinone.training import checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> for step, auc in enumerate([0.7, 0.8, 0.75]):
        ...     _ = checkpoint.save(folder, {}, step=step, metadata={"val_auc": auc})
        >>> best_step(folder, ("val_auc", "max"))
        1

    Raises `CheckpointError` when there are checkpoints and none has noted such a metric.
    """
    check_keep_best(os.fsdecode(folder), keep_best)
    noted = _noted(folder, warn=True)
    if noted and not any(keep_best[0] in metadata for metadata in noted.values()):
        there = sorted({key for metadata in noted.values() for key in metadata})
        raise CheckpointError(
            f"{os.fsdecode(folder)}: no checkpoint has metadata[{keep_best[0]!r}], at "
            f"{source.here()}; there is: {', '.join(there)}"
        )
    return _best(noted, keep_best)


def restore_best(folder: Path, keep_best: KeepBest, like: Any = None) -> Checkpoint | None:
    """Loads the checkpoint of `best_step`; None when there is none yet.

        >>> import numpy as np, tempfile
        >>> from kinone.training import checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> for step, loss in enumerate([0.7, 0.5, 0.6]):
        ...     _ = checkpoint.save(
        ...         folder, {"w": np.full(2, step)}, step=step, metadata={"val_loss": loss}
        ...     )
        >>> restore_best(folder, ("val_loss", "min")).tree
        {'w': array([1, 1])}

    Raises what `best_step` and `load` raise.
    """
    step = best_step(folder, keep_best)
    return None if step is None else load(file_of(folder, step), like)


def restore_latest(folder: Path, like: Any = None) -> Checkpoint | None:
    """Loads the newest checkpoint of a run folder; None when there is none yet.

    One that is damaged is passed over with a `CheckpointWarning` that names it, for the newest that
    is whole. `like` is as in `load`; the step stands in the metadata.

        >>> import numpy as np, tempfile
        >>> from kinone.training import checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> restore_latest(folder) is None
        True
        >>> for step in (9, 10):
        ...     _ = checkpoint.save(folder, {"w": np.full(2, step)}, step=step)
        >>> restore_latest(folder)
        Checkpoint(tree={'w': array([10, 10])}, metadata={'step': 10})

    Raises `CheckpointError` when the newest whole one does not fit `like` or may not be read, and
    `DamagedCheckpointError` when all are damaged.
    """
    bad: dict[str, DamagedCheckpointError] = {}
    while True:
        left = [path for path in reversed(steps(folder).values()) if str(path) not in bad]
        if not left:
            break
        try:
            return load(left[0], like)
        except DamagedCheckpointError as error:
            bad[str(left[0])] = error
            if len(left) > 1:
                _warn(f"{error}; the one before it is tried")
        except CheckpointError as error:
            # Another process may have deleted it meanwhile, for a newer one.
            if not isinstance(error.__cause__, FileNotFoundError) or os.path.lexists(left[0]):
                raise
    if not bad:
        return None
    raise DamagedCheckpointError(
        f"{os.fsdecode(folder)}: all of its {len(bad)} checkpoints are damaged, the newest: "
        f"{next(iter(bad.values()))}"
    )


def prune(folder: Path, saved: int, keep: int, keep_best: KeepBest | None) -> None:
    """Deletes all but the newest `keep`, the best, and the one that was just saved.

    What cannot be read is neither counted nor deleted.
    """
    if len(steps(folder)) <= keep:
        return
    noted = _noted(folder)
    kept = {saved, *sorted(noted)[-keep:]}
    if keep_best is not None:
        kept.add(_best(noted, keep_best) if noted else saved)  # type: ignore[arg-type]
    for step in noted:
        if step not in kept:
            with contextlib.suppress(OSError):  # another process was quicker, or reads it
                os.unlink(file_of(folder, step))


def check_keep_best(name: str, keep_best: KeepBest) -> None:
    """Raises when it is not a metric and the better end of it."""
    given: Any = keep_best
    try:
        metric, end = given
        right = isinstance(metric, str) and end in ("max", "min")
    except (TypeError, ValueError):
        right = False
    if not right:
        raise CheckpointError(
            f'{name}: keep_best is {keep_best!r}, at {source.here()}; write ("val_auc", "max")'
        )


def check_metric(name: str, metadata: dict[str, Any], keep_best: KeepBest) -> None:
    """Raises unless the metric is noted: a number, or None where it was not measured."""
    metric = keep_best[0]
    value = metadata.get(metric, "")
    if value is not None and not _is_number(value):
        what = f"is {value!r:.60}" if metric in metadata else "is missing"
        raise CheckpointError(
            f"{name}: not saved, metadata[{metric!r}] {what}, and keep_best goes by it, at "
            f"{source.here()}; pass metadata={{{metric!r}: …}}, None where it was not measured"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _noted(folder: Path, *, warn: bool = False) -> dict[int, dict[str, Any]]:
    """The metadata of every checkpoint that can be read, by step."""
    found = {}
    for step, path in steps(folder).items():
        try:
            found[step] = read_metadata(path)
        except CheckpointError as error:
            if warn and os.path.lexists(path):  # another process may have deleted it meanwhile
                _warn(f"{error}; it may have been the best")
    return found


def _best(noted: dict[int, dict[str, Any]], keep_best: KeepBest) -> int | None:
    metric, end = keep_best
    values: dict[int, Any] = {step: noted[step].get(metric) for step in sorted(noted)}
    ranked = [step for step, value in values.items() if _is_number(value) and value == value]
    better = max if end == "max" else min
    return better(ranked, key=values.__getitem__, default=None)  # the first of those that are equal


def _warn(message: str) -> None:
    place = source.capture()
    at = None if place is None else source.resolve(place)
    filename, line = ("kinone", 0) if at is None else (at.filename, at.line)
    warnings.warn_explicit(message, CheckpointWarning, filename, line)
