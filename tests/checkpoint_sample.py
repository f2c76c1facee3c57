"""What the tests of checkpoints share: a sample, bitwise equality, errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kinone.errors import CheckpointError
from kinone.training.checkpoint import load, save

TREE = {
    "params": {"conv": [np.arange(6, dtype=np.float32).reshape(2, 3), (np.float64(0.1), None)]},
    "step": 7,
}
METADATA = {"epoch": 3, "best": float("inf"), "options": {"width": [16, 32], "name": "ré"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
in_one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit: structure, order of dicts, types, dtypes, shapes, NaNs."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, str) or first is None:
        return first == second
    left, right = np.asarray(first), np.asarray(second)
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


def error_of(path: Path, like: Any = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, like)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def save_sample(folder: Path) -> Path:
    """A small checkpoint with leaves of several kinds."""
    path = folder / "model.npz"
    save(path, TREE, metadata=METADATA)
    return path


def run(script: str, *arguments: object, quiet: bool = False) -> subprocess.Popen[str]:
    """A process of its own that runs the script."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
