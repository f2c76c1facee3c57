"""Runs every benchmark and prints one table: `python -m benchmarks`, some minutes.

Each runs in a process of its own, so that one library's threads and allocator do not disturb the
next one's figures.
"""

from __future__ import annotations

import ast
import sys

from .harness import Row, Spread, machine, python, table

NAMES = ("import_time", "mlp", "optimizers", "resnet", "memory")

_PROGRAM = """
import sys
from benchmarks import {name}
sys.stdout.flush()
rows = {name}.main()
print("\\nROWS", [(r.what, r.kinone, r.other, tuple(r.ratio), r.bar) for r in rows])
"""


def main() -> None:
    names = sys.argv[1:] or NAMES
    rows = []
    for name in names:
        text, _, found = python(_PROGRAM.format(name=name)).partition("\nROWS")
        print(text, flush=True)
        for what, kinone, other, ratio, bar in ast.literal_eval(found.strip()):
            rows.append(Row(what, kinone, other, Spread(*ratio), bar))
    print(f"\n{machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
