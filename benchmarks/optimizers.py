"""The optimiser's update over ResNet-18's parameters: 62 arrays, 11.7 million float32 numbers.

`python -m benchmarks.optimizers`. Against `torch.optim` as it comes (for-loop over tensors) and
with its fused kernel. Kinone's time is `update` and `apply_updates`; both return new arrays, where
PyTorch writes in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kinone import optim

from .harness import Row, compare, milliseconds, show


def resnet18_shapes(num_classes: int = 1000) -> list[tuple[int, ...]]:
    """The shapes of ResNet-18's parameters, kernels HWIO."""
    shapes: list[tuple[int, ...]] = [(7, 7, 3, 64), (64,), (64,)]
    inputs = 64
    for channels in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(3, 3, inputs, channels), (channels,), (channels,)]
            shapes += [(3, 3, channels, channels), (channels,), (channels,)]
            if block == 0 and inputs != channels:
                shapes += [(1, 1, inputs, channels), (channels,), (channels,)]
            inputs = channels
    return [*shapes, (512, num_classes), (num_classes,)]


def kinone_step(
    optimizer: optim.GradientTransformation, params: Any, gradients: Any
) -> Callable[[], object]:
    """One update, from the state that the last call left."""
    kept = {"params": params, "state": optimizer.init(params)}

    def step() -> None:
        updates, kept["state"] = optimizer.update(gradients, kept["state"], kept["params"])
        kept["params"] = optim.apply_updates(kept["params"], updates)

    return step


def torch_step(make: Callable[..., Any], params: Any, gradients: Any) -> Callable[[], object]:
    import torch

    leaves = [torch.nn.Parameter(torch.tensor(params[name])) for name in params]
    for leaf, name in zip(leaves, params, strict=True):
        leaf.grad = torch.tensor(gradients[name])
    step: Callable[[], object] = make(leaves).step
    return step


def main() -> list[Row]:
    import torch

    random = np.random.default_rng(0)

    def draw() -> dict[str, Any]:
        return {
            f"{number:02}": random.standard_normal(shape).astype(np.float32)
            for number, shape in enumerate(resnet18_shapes())
        }

    params, gradients = draw(), draw()
    rows = []
    for name, ours, theirs in (
        ("sgd, momentum 0.9", optim.sgd(1e-3, 0.9), (torch.optim.SGD, {"momentum": 0.9})),
        ("adam", optim.adam(1e-3), (torch.optim.Adam, {})),
    ):
        kind, options = theirs
        candidates = {"Kinone": kinone_step(ours, params, gradients)}
        for label, extra in (("PyTorch, fused", {"fused": True}), ("PyTorch", {})):
            candidates[label] = torch_step(
                lambda leaves, kind=kind, all_options={**options, **extra, "lr": 1e-3}: kind(
                    leaves, **all_options
                ),
                params,
                gradients,
            )
        timings = compare(candidates, turns=30, sample_seconds=0.0, pause=0.03)
        title = f"{name}: ResNet-18's update"
        show(title, timings)
        rows.append(
            Row(
                title,
                milliseconds(timings["Kinone"].seconds),
                f"PyTorch {milliseconds(timings['PyTorch'].seconds)} "
                f"(fused {milliseconds(timings['PyTorch, fused'].seconds)})",
                timings["Kinone"].ratio,
            )
        )
    return rows


if __name__ == "__main__":
    main()
