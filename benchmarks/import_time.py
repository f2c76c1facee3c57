"""What `import kinone` adds to `import numpy`, in fresh interpreters that take turns.

`python -m benchmarks.import_time`. Byte code is cached, as it is for an installed package.
"""

from __future__ import annotations

from .harness import Row, Spread, python

BAR = 0.040  # seconds
TURNS = 25

_PROGRAM = """
import time
import numpy
start = time.perf_counter()
import kinone
print(time.perf_counter() - start)
"""

_BASE = """
import time
start = time.perf_counter()
import numpy
print(time.perf_counter() - start)
"""


def main() -> list[Row]:
    python(_PROGRAM)  # writes the byte code
    added, base = [], []
    for _ in range(TURNS):
        added.append(float(python(_PROGRAM)))
        base.append(float(python(_BASE)))
    ours, numpys = Spread.of(added), Spread.of(base)
    print(
        f"\nimport kinone: {1e3 * ours.median:.1f} ms ({1e3 * ours.low:.1f}–{1e3 * ours.high:.1f}) "
        f"after import numpy: {1e3 * numpys.median:.1f} ms"
    )
    share = Spread(*[value / BAR for value in ours])
    return [
        Row(
            "import kinone after import numpy, in 40 ms",
            f"{1e3 * ours.median:.1f} ms",
            f"NumPy {1e3 * numpys.median:.1f} ms",
            share,
            1.0,
        )
    ]


if __name__ == "__main__":
    main()
