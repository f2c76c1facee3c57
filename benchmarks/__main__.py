"""Runs every benchmark and prints one table: `python -m benchmarks`, some minutes.

Each runs in a process of its own, so that one library's threads and allocator do not disturb the
next one's figures.
"""

from __future__ import annotations

import ast
import sys

from .harness import Row, Spread, machine, python, table, wait_until_idle

# The large multi-layer perceptron is matrix products for the most part, which two threads halve:
# with one, less of the time is overhead, and the figures are steadier.
RUNS: tuple[tuple[str, dict[str, str]], ...] = (
    ("import_time", {}),
    ("mlp", {}),
    ("mlp", {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}),
    ("jit", {}),
    ("optimizers", {}),
    ("metrics", {}),
    ("resnet", {}),
    ("memory", {}),
    ("train_steps", {}),
)

_PROGRAM = """
import sys
from benchmarks import {name}
sys.stdout.flush()
rows = {name}.main()
print("\\nROWS", [(r.what, r.kinone, r.other, tuple(r.ratio), r.bar) for r in rows])
"""


def main() -> None:
    """All benchmarks, or those that the command line names."""
    names = sys.argv[1:]
    rows, noise = [], []
    for name, environment in RUNS:
        if names and name not in names:
            continue
        noise.append(wait_until_idle())
        program = _PROGRAM.format(name=name)
        text, _, found = python(program, **environment).partition("\nROWS")
        print(text, flush=True)
        for what, kinone, other, ratio, bar in ast.literal_eval(found.strip()):
            rows.append(Row(what, kinone, other, Spread(*ratio), bar))
    print(f"\n{machine()}\n- used by other programs before a run: at most {max(noise):.0%}")
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
