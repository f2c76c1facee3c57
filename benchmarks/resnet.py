"""One training step of ResNet-18: forward, backward, SGD with momentum.

`python -m benchmarks.resnet`. Images 32×32×3, batch 32, the small-image stem, float32, both eager,
PyTorch in its faster layout (channels_last). Two threads each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kinone as kn

from .harness import Row, compare, milliseconds, show

BATCH = 32
CLASSES = 10
THREADS = 2
BAR = 1.8


def data() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    images = random.standard_normal((BATCH, 32, 32, 3)).astype(np.float32)
    return images, random.integers(0, CLASSES, BATCH)


def kinone_step() -> tuple[Callable[[], object], int]:
    """A training step that goes on from where the last call ended, and the parameter count."""
    model = kn.models.resnet18(CLASSES, stem="small")
    images, labels = data()
    params, state = model.init(kn.random.key(0), images.shape)
    optimizer = kn.optim.sgd(1e-3, momentum=0.9)
    kept = {"params": params, "state": state, "optimizer": optimizer.init(params)}
    size = kn.tree.size(params)
    del params, state

    def loss(params: Any, state: Any) -> Any:
        logits, state = model.apply(params, state, images, train=True)
        losses = kn.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return np.mean(losses), state

    gradient_of = kn.value_and_grad(loss, has_aux=True)

    def step() -> None:
        (_, kept["state"]), gradients = gradient_of(kept["params"], kept["state"])
        updates, kept["optimizer"] = optimizer.update(gradients, kept["optimizer"], kept["params"])
        kept["params"] = kn.optim.apply_updates(kept["params"], updates)

    return step, size


def torch_resnet() -> Any:
    """ResNet-18 in PyTorch, with the stem for small images."""
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):  # type: ignore[misc]  # mypy does not read torch
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Sequential()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.norm1(self.conv1(x)))
            return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    layers: list[Any] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


def torch_step(channels_last: bool = True) -> tuple[Callable[[], object], int]:
    """The same step in eager PyTorch."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = torch_resnet()
    images, labels = data()
    x, y = torch.tensor(images.transpose(0, 3, 1, 2).copy()), torch.tensor(labels)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step, sum(p.numel() for p in model.parameters())


def main() -> list[Row]:
    ours, our_size = kinone_step()
    theirs, their_size = torch_step()
    if our_size != their_size:
        raise AssertionError(f"the models differ: {our_size} and {their_size} parameters")
    timings = compare({"Kinone": ours, "PyTorch": theirs}, turns=10, sample_seconds=0.0, pause=0.1)
    title = f"ResNet-18 training step, 32×32×3, batch {BATCH}"
    show(f"{title} ({our_size:,} parameters)", timings)
    return [
        Row(
            title,
            milliseconds(timings["Kinone"].seconds),
            f"PyTorch {milliseconds(timings['PyTorch'].seconds)}",
            timings["Kinone"].ratio,
            BAR,
        )
    ]


if __name__ == "__main__":
    main()
