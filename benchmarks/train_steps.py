"""Whole training steps, eager and compiled: a perceptron, an LSTM, a vision transformer, ResNet-18.

`python -m benchmarks.train_steps`, or with names of models behind it. A step is the loss, its
gradient, Adam and the new parameters; PyTorch's twin has as many parameters and runs eagerly, its
images channels_last. The peak memory is measured in processes of their own, as in
`benchmarks.memory`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import kinone as kn

from .harness import Row, Spread, compare, milliseconds, show
from .memory import measure
from .resnet import CLASSES, THREADS, torch_resnet

RATE = 1e-3


class Workload(NamedTuple):
    """A model, its twin, and the shape of a batch."""

    title: str
    model: Callable[[], kn.nn.Layer]
    twin: Callable[[], Any]
    shape: tuple[int, ...]
    turns: int


def data(shape: tuple[int, ...]) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.standard_normal(shape).astype(np.float32), random.integers(0, CLASSES, shape[0])


def kinone_step(name: str, compiled: bool = False) -> tuple[Callable[[], object], int]:
    """A step that goes on from where the last call ended, and the number of parameters."""
    work = WORKLOADS[name]
    model = work.model()
    x, labels = data(work.shape)
    optimizer = kn.optim.adam(RATE)

    def loss(params: Any, state: Any, x: Any, labels: Any) -> Any:
        logits, state = model.apply(params, state, x, train=True)
        losses = kn.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return np.mean(losses), state

    def step(params: Any, state: Any, memory: Any, x: Any, labels: Any) -> Any:
        (value, state), gradients = kn.value_and_grad(loss, has_aux=True)(params, state, x, labels)
        updates, memory = optimizer.update(gradients, memory, params)
        return (kn.optim.apply_updates(params, updates), state, memory), value

    params, state = model.init(kn.random.key(0), x.shape)
    run = kn.jit(step) if compiled else step
    kept = {"training": (params, state, optimizer.init(params))}
    size = kn.tree.size(params)
    del params, state

    def one() -> object:
        kept["training"], value = run(*kept["training"], x, labels)
        return value

    return one, size


def torch_step(name: str) -> tuple[Callable[[], object], int]:
    """The same step in eager PyTorch."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    work = WORKLOADS[name]
    model = work.twin()
    images, labels = data(work.shape)
    x, y = torch.tensor(images), torch.tensor(labels)
    if x.ndim == 4:
        model = model.to(memory_format=torch.channels_last)
        x = x.permute(0, 3, 1, 2)  # a view: its memory stays channels_last
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def one() -> object:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return one, sum(p.numel() for p in model.parameters())


def torch_perceptron() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, CLASSES)
    )


def torch_lstm() -> Any:
    from torch import nn

    class Classifier(nn.Module):  # type: ignore[misc]  # mypy does not read torch
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(32, 128, batch_first=True)
            self.head = nn.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Classifier()


def torch_vit(width: int = 192, heads: int = 3, layers: int = 12, patch: int = 4) -> Any:
    import torch
    from torch import nn

    class Transformer(nn.Module):  # type: ignore[misc]  # mypy does not read torch
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, width, patch, patch)
            self.token = nn.Parameter(torch.zeros(1, 1, width))
            self.positions = nn.Parameter(torch.zeros(1, (32 // patch) ** 2 + 1, width))
            layer = nn.TransformerEncoderLayer(
                width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(
                layer, layers, nn.LayerNorm(width), enable_nested_tensor=False
            )
            self.head = nn.Linear(width, CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
            return self.head(self.encoder(x)[:, 0])

    return Transformer()


WORKLOADS = {
    "mlp": Workload(
        "MLP 784-256-256-10, batch 64",
        lambda: kn.models.mlp((256, 256, CLASSES)),
        torch_perceptron,
        (64, 784),
        40,
    ),
    "lstm": Workload(
        "LSTM classifier, 128 features, 64 moments of 32 numbers, batch 32",
        lambda: kn.models.lstm_classifier(CLASSES),
        torch_lstm,
        (32, 64, 32),
        20,
    ),
    "vit": Workload(
        "ViT-Ti, patch 4, 32×32×3, batch 16",
        lambda: kn.models.vit_tiny(CLASSES, patch=4),
        torch_vit,
        (16, 32, 32, 3),
        8,
    ),
    "resnet": Workload(
        "ResNet-18, 32×32×3, batch 32",
        lambda: kn.models.resnet18(CLASSES, stem="small"),
        torch_resnet,
        (32, 32, 32, 3),
        6,
    ),
}


def time_of(name: str) -> list[Row]:
    work = WORKLOADS[name]
    (eager, size), (compiled, _) = kinone_step(name), kinone_step(name, compiled=True)
    theirs, their_size = torch_step(name)
    if size != their_size:
        raise AssertionError(f"the models differ: {size} and {their_size} parameters")
    if eager() != compiled():
        raise AssertionError("the compiled step's loss is not the eager one's")
    timings = compare(
        {"Kinone, eager": eager, "Kinone, jit": compiled, "PyTorch": theirs},
        turns=work.turns,
        pause=0.1,
    )
    show(f"training step: {work.title} ({size:,} parameters)", timings)
    return [
        Row(
            f"step of {work.title}, {mode}",
            milliseconds(timings[f"Kinone, {mode}"].seconds),
            f"PyTorch {milliseconds(timings['PyTorch'].seconds)}",
            timings[f"Kinone, {mode}"].ratio,
        )
        for mode in ("eager", "jit")
    ]


def memory_of(name: str) -> list[Row]:
    program = "benchmarks.train_steps.{}"
    before, theirs = measure(program.format(f"torch_step({name!r})"))
    rows = []
    for mode in ("eager", "jit"):
        start, peak = measure(program.format(f"kinone_step({name!r}, {mode == 'jit'})"))
        ratio = (peak - start) / max(theirs - before, 1)
        rows.append(
            Row(
                f"memory of the step of {WORKLOADS[name].title}, {mode}",
                f"{peak - start:.0f} MiB",
                f"PyTorch {theirs - before:.0f} MiB",
                Spread(ratio, ratio, ratio),
            )
        )
        print(rows[-1])
    return rows


def main(names: list[str] | None = None) -> list[Row]:
    rows = []
    for name in names or WORKLOADS:
        rows += time_of(name) + memory_of(name)
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
