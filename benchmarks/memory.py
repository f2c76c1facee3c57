"""The peak memory of the ResNet-18 training step of `benchmarks.resnet`.

`python -m benchmarks.memory`. Each framework runs three steps in a process of its own. What is
counted is the peak of the resident set during the steps, less what was resident before the first
one (interpreter, library, parameters, optimiser state): activations, gradients and work buffers.
"""

from __future__ import annotations

from .harness import Row, Spread, python

BAR = 1.5
PROCESSES = 3

_PROGRAM = """
import gc
import {module}

step, _ = {maker}
gc.collect()

def resident():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]

try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # Linux: the high-water mark starts again from here
except OSError:
    pass
before, _ = resident()
for _ in range(3):
    step()
_, peak = resident()
print(before, peak)
"""


def measure(maker: str) -> tuple[float, float]:
    """Resident MiB before the first step, and at the peak; `maker`, such as
    `benchmarks.resnet.torch_step()`, is the expression that makes it."""
    module = maker.partition("(")[0].rpartition(".")[0]
    before, peak = python(_PROGRAM.format(module=module, maker=maker)).split()
    return float(before), float(peak)


def main() -> list[Row]:
    print("\npeak memory of a ResNet-18 step")
    ours, theirs, ratios, absolute = [], [], [], []
    for _ in range(PROCESSES):
        before, peak = measure("benchmarks.resnet.kinone_step()")
        torch_before, torch_peak = measure("benchmarks.resnet.torch_step()")
        ours.append(peak - before)
        theirs.append(torch_peak - torch_before)
        ratios.append(ours[-1] / theirs[-1])
        absolute.append(peak / torch_peak)
        print(
            f"  Kinone {before:.0f} → {peak:.0f} MiB, "
            f"PyTorch {torch_before:.0f} → {torch_peak:.0f} MiB"
        )
    print(f"  whole process: {Spread.of(absolute).median:.2f} × PyTorch")
    return [
        Row(
            "ResNet-18 step, peak memory above the start",
            f"{Spread.of(ours).median:.0f} MiB",
            f"PyTorch {Spread.of(theirs).median:.0f} MiB",
            Spread.of(ratios),
            BAR,
        )
    ]


if __name__ == "__main__":
    main()
