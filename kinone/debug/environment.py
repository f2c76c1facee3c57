"""`env`: what a bug report needs to say of the machine, and nothing of its owner."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

import kinone

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "KINONE_FULL_TRACEBACK",
)
_EXTRAS = ("numba", "scipy", "threadpoolctl", "onnx", "onnxruntime")


@dataclass(slots=True)
class Environment:
    """Versions, libraries and settings; `print` it, or take `text`. `rows` holds the pairs."""

    rows: list[tuple[str, str]]

    @property
    def text(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name.ljust(width)}  {value}" for name, value in self.rows)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def env() -> Environment:
    """What Kinone runs on: versions, BLAS, the CPU's features, and the threads that are in force
    at this moment, in BLAS and in Python. For bug reports.

    No path and no name of the user or the machine is in it. `python -m kinone env` prints it.

        >>> print(env().text.splitlines()[0].split()[0])
        kinone
    """
    rows = [
        ("kinone", kinone.__version__),
        ("numpy", np.__version__),
        ("python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("platform", f"{platform.system()} {platform.machine()}, {sys.byteorder}-endian"),
    ]
    rows += [(name, version) for name in _EXTRAS if (version := _version(name))]
    build = np.show_config(mode="dicts")
    assert build is not None
    rows += [
        (kind, _library(build.get("Build Dependencies", {}).get(kind, {})))
        for kind in ("blas", "lapack")
    ]
    features = build.get("SIMD Extensions", {})
    rows.append(("simd baseline", " ".join(features.get("baseline", ())) or "none"))
    rows.append(("simd found", " ".join(features.get("found", ())) or "none"))
    rows.append(("cpus", _cpus()))
    rows += _pools()
    rows.append(("python threads", str(threading.active_count())))
    rows += [(name, os.environ[name]) for name in _VARIABLES if name in os.environ]
    return Environment(rows)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _library(known: Any) -> str:
    """`scipy-openblas 0.3.29`; of the build's configuration only words that hold no path."""
    if not known:
        return "unknown"
    words = [known.get("name", ""), known.get("version", "")]
    options = str(known.get("openblas configuration", "")).split()
    words += [word for word in options if "/" not in word and word not in words]
    return " ".join(word for word in words if word and word != "unknown") or "unknown"


def _pools() -> list[tuple[str, str]]:
    """How many threads each library that is loaded computes with now."""
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return [
            ("blas threads", "not known without threadpoolctl, but for variables such as below")
        ]
    return [
        (f"{pool['internal_api']} {pool.get('version') or ''} threads", str(pool["num_threads"]))
        for pool in threadpoolctl.threadpool_info()
    ]


def _cpus() -> str:
    count = os.cpu_count() or 0
    if hasattr(os, "sched_getaffinity"):
        mine = len(os.sched_getaffinity(0))
        return f"{count}, of which {mine} for this process" if mine != count else str(count)
    return str(count)
