"""Trains a network where there is no Kinone: the training step itself is exported to ONNX.

    python examples/train_in_onnxruntime.py
    python examples/train_in_onnxruntime.py --epochs 3 --folder runs/onnx-step

This process writes three files and starts another one: `step.onnx`, a whole step of training (the
gradient and the optimiser, from parameters and optimiser state to the next ones), `predict.onnx`,
and `start.npz` with the first parameters and the data. The other process has NumPy and ONNX
Runtime, and cannot import Kinone (it looks, and gives up if it can). It feeds batches to the step,
hands what comes out back in, and prints the accuracy on images that it has not trained on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

Array = np.ndarray[Any, Any]

BATCH = 50
SEEN = "--without-kinone"  # how the other process is told that it is the other one


# ---- this process: Kinone writes the models ------------------------------------------------------


def write(folder: Path, epochs: int) -> None:
    """`step.onnx`, `predict.onnx` and `start.npz`."""
    import kinone as kn  # here alone: the other process runs this file, too
    from kinone import losses, nn, optim
    from kinone.onnx import export, verify

    digits = kn.data.mnist5k()
    mean, deviation = digits.train.images.mean(), digits.train.images.std()
    x, x_test = (
        ((images - mean) / deviation).astype(np.float32)
        for images in (digits.train.images, digits.test.images)
    )
    y, y_test = (labels.astype(np.int64) for labels in (digits.train.labels, digits.test.labels))

    model = nn.Sequential(
        nn.Conv(8, (5, 5), strides=2, use_bias=False), nn.BatchNorm(), nn.Relu(),
        nn.Conv(16, (3, 3), strides=2, use_bias=False), nn.BatchNorm(), nn.Relu(),
        nn.Flatten(), nn.Dense(64), nn.Relu(), nn.Dense(10),
    )  # fmt: skip
    steps = epochs * (len(x) // BATCH)
    optimizer = optim.sgd(optim.cosine_decay_schedule(0.05, steps), momentum=0.9, nesterov=True)
    params, running = model.init(kn.random.key(0), (1, *x.shape[1:]))
    state = {"params": params, "running": running, "optimizer": optimizer.init(params)}

    def loss_fn(params: Any, running: Any, images: Array, labels: Array) -> Any:
        logits, running = model.apply(params, running, images, train=True)
        loss = losses.softmax_cross_entropy_with_integer_labels(logits, labels, reduction="mean")
        return loss, running

    def step(state: Any, images: Array, labels: Array) -> tuple[Any, Any]:
        """One step of training: the next state, and the loss of this one."""
        (loss, running), gradients = kn.value_and_grad(loss_fn, has_aux=True)(
            state["params"], state["running"], images, labels
        )
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["params"])
        params = optim.apply_updates(state["params"], updates)
        return {"params": params, "running": running, "optimizer": optimizer_state}, loss

    def predict(state: Any, images: Array) -> Any:
        """The digit on each image."""
        logits, _ = model.apply(state["params"], state["running"], images)
        return np.argmax(logits, axis=1)

    example = (state, x[:BATCH], y[:BATCH])
    names = {"output/0": "next", "output/1": "loss"}
    exported = export(step, *example, names=names, path=folder / "step.onnx")
    report = verify(exported, step, *example)
    largest = max(row.absolute for row in report.rows)
    print(f"step.onnx: {len(exported.graph.node)} nodes, largest error of a step {largest:.1e}")
    export(predict, state, x[:BATCH], names={"output": "digit"}, path=folder / "predict.onnx")
    arrays = {"images": x, "labels": y, "test_images": x_test, "test_labels": y_test}
    for path, leaf in kn.tree.leaves_with_path({"state": state}):
        arrays[path] = np.asarray(leaf)
    np.savez(folder / "start.npz", allow_pickle=False, **arrays)


def packages(folder: Path) -> Path:
    """A folder with NumPy and ONNX Runtime, and nothing else that is installed."""
    folder.mkdir(exist_ok=True)
    for package in (np, onnxruntime):
        (home,) = package.__path__
        for source in (Path(home), Path(f"{home}.libs")):
            link = folder / source.name
            if source.is_dir() and not link.exists():
                link.symlink_to(source, target_is_directory=True)
    return folder


def start(folder: Path, epochs: int, seed: int) -> int:
    """Runs this file again, in a process that sees no installed package but those two."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as temporary:
        environment["PYTHONPATH"] = str(packages(Path(temporary, "packages")))
        script = Path(temporary, "train.py")
        script.write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
        command = [
            *(sys.executable, "-S", str(script), SEEN),  # -S: no site-packages
            *("--folder", str(folder.resolve())),
            *("--epochs", str(epochs), "--seed", str(seed)),
        ]
        return subprocess.run(command, env=environment, cwd=temporary, check=False).returncode


# ---- the other process: NumPy and ONNX Runtime train ---------------------------------------------


def train(folder: Path, epochs: int, seed: int) -> int:
    """Trains, and prints the loss and the accuracy of each epoch."""
    if importlib.util.find_spec("kinone") is not None:
        print("error: Kinone is here; it is to be shown that it need not be", file=sys.stderr)
        return 3
    step, predict = (
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        for name in ("step.onnx", "predict.onnx")
    )
    with np.load(folder / "start.npz") as arrays:
        start = {name: arrays[name] for name in arrays.files}
    images, labels = start["images"], start["labels"]
    state = {name: value for name, value in start.items() if name.startswith("state/")}
    needed = {each.name for each in predict.get_inputs()}
    outputs = [each.name for each in step.get_outputs()]
    random = np.random.default_rng(seed)
    accuracy = 0.0
    for epoch in range(epochs):
        total = 0.0
        order = random.permutation(len(labels))
        batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
        for batch in batches:
            feeds = {**state, "images": images[batch], "labels": labels[batch]}
            found = dict(zip(outputs, step.run(outputs, feeds), strict=True))
            total += float(found.pop("loss"))
            state = {name.replace("next/", "state/", 1): value for name, value in found.items()}
        feeds = {name: value for name, value in state.items() if name in needed}
        (digits,) = predict.run(["digit"], {**feeds, "images": start["test_images"]})
        accuracy = float(np.mean(digits == start["test_labels"]))
        mean = total / len(batches)
        print(f"epoch {epoch + 1}/{epochs}  loss {mean:.4f}  test accuracy {accuracy:.4f}")
    print(f"test accuracy {accuracy:.4f}, trained by ONNX Runtime {onnxruntime.__version__} alone")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Export a training step to ONNX, and train with it in a process of its own.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training set")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the images")
    parser.add_argument("--folder", type=Path, default=Path("runs/onnx-step"), help="of the files")
    parser.add_argument(SEEN, action="store_true", dest="seen", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.seen:
        return train(options.folder, options.epochs, options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    write(options.folder, options.epochs)
    return start(options.folder, options.epochs, options.seed)


if __name__ == "__main__":
    sys.exit(main())
