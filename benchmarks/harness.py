"""Fair timing: alternating runs in one process, medians, ratios with their spread.

Two programs that are timed one after the other see two different machines: the clock rate, the
caches and the neighbours change within seconds. Here they take turns, A B A B …, and the ratio is
taken inside each turn, so that what changes slowly cancels.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """Median and quartiles of some samples."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        if len(samples) < 2:
            return cls(samples[0], samples[0], samples[0])
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high)


class Timing(NamedTuple):
    """One candidate: seconds per call, and its time over the baseline's, turn by turn."""

    seconds: Spread
    ratio: Spread


def compare(
    candidates: Mapping[str, Callable[[], object]],
    *,
    turns: int = 30,
    sample_seconds: float = 0.02,
    pause: float = 0.0,
) -> dict[str, Timing]:
    """Times the candidates in turns. The last one is the baseline that ratios refer to.

    A sample is a batch of calls that lasts about `sample_seconds`. `pause` is slept before each
    sample: a thread pool (OpenBLAS, OpenMP) spins for some milliseconds after its last job, and
    would take a core away from the next candidate.
    """
    calls: dict[str, int] = {}
    for name, run in candidates.items():
        run()
        once = _timed(run, 1)
        calls[name] = max(1, round(sample_seconds / max(once, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(turns):
        order = list(candidates)
        for name in order if turn % 2 == 0 else order[::-1]:
            if pause:
                time.sleep(pause)
            samples[name].append(_timed(candidates[name], calls[name]))
    baseline = samples[list(candidates)[-1]]
    return {
        name: Timing(
            Spread.of(times),
            Spread.of([mine / other for mine, other in zip(times, baseline, strict=True)]),
        )
        for name, times in samples.items()
    }


def _timed(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


class Row(NamedTuple):
    """A line of the final table; `bar` is the ratio that the project wants, if it wants one."""

    what: str
    kinone: str
    other: str
    ratio: Spread
    bar: float | None = None

    def __str__(self) -> str:
        low, high = (f"{value:.2f}" for value in (self.ratio.low, self.ratio.high))
        verdict = "" if self.bar is None else f"≤ {self.bar:g}"
        if self.bar is not None:
            verdict += "  met" if self.ratio.median <= self.bar else "  MISSED"
        return (
            f"| {self.what} | {self.kinone} | {self.other} "
            f"| {self.ratio.median:.2f} ({low}–{high}) | {verdict} |"
        )


HEADER = "| what | Kinone | against | ratio (quartiles) | bar |\n|---|---:|---:|---:|---|"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    return "\n".join([HEADER, *map(str, rows)])


def milliseconds(spread: Spread) -> str:
    value = 1e3 * spread.median
    return f"{value:.3f} ms" if value < 10 else f"{value:.0f} ms"


def show(title: str, timings: Mapping[str, Timing]) -> None:
    """Prints every candidate of one comparison."""
    baseline = list(timings)[-1]
    print(f"\n{title}")
    width = max(map(len, timings))
    for name, timing in timings.items():
        low, high = timing.ratio.low, timing.ratio.high
        print(
            f"  {name.ljust(width)}  {milliseconds(timing.seconds):>10}"
            f"  {timing.ratio.median:6.3f} × {baseline} ({low:.3f}–{high:.3f})"
        )
    sys.stdout.flush()


def python(code: str, **environment: str) -> str:
    """Runs code in a fresh interpreter of this environment and returns what it printed."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # An interpreter may write byte code, which is out of date after an edit, and then times itself
    # alone and not the compiler.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**inherited, "PYTHONPATH": path, **environment},
        cwd=root,
    )
    if done.returncode:
        raise RuntimeError(f"a subprocess failed:\n{done.stderr}")
    return done.stdout


def machine() -> str:
    """The machine and the versions, as a Markdown list."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    lines = [
        f"- CPU: {_cpu_name()}, {len(_cpus())} cores for this process",
        f"- memory: {_memory_gib():.0f} GiB",
        f"- {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}",
        f"- NumPy {np.__version__} with {blas['name']} {blas['version']}",
    ]
    for name in ("torch", "autograd"):
        try:
            from importlib.metadata import version

            lines.append(f"- {name} {version(name)}")
        except ImportError:
            lines.append(f"- {name}: not installed")
    threads = {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
        if name in os.environ
    }
    lines.append(f"- thread settings: {threads or 'none (each library takes every core)'}")
    return "\n".join(lines)


def wait_until_idle(patience: float = 60.0, busy: float = 0.1) -> float:
    """Waits until other programs use less than `busy` of the cores; returns the share they use.

    Gives up after `patience` seconds. 0 where the system does not tell.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            before = _processor_times()
            time.sleep(1.0)
            after = _processor_times()
        except (OSError, ValueError):
            return 0.0
        idle, total = (new - old for new, old in zip(after, before, strict=True))
        share = 1 - idle / max(total, 1)
        if share < busy or time.monotonic() > deadline:
            return share


def _processor_times() -> tuple[int, int]:
    """Idle and total ticks of all cores since the start (Linux)."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _cpu_name() -> str:
    try:
        fields: dict[str, str] = {}
        with open("/proc/cpuinfo") as file:
            for line in file:
                key, _, value = line.partition(":")
                fields[key.strip()] = value.strip()
        return (
            f"{fields.get('model name', platform.machine())} "
            f"(family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"
        )
    except OSError:
        return platform.processor() or platform.machine()


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError):
        return float("nan")
