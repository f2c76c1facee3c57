"""Exports what `train_resnet.py` has trained to ONNX, and shows that it computes the same.

    python examples/train_resnet.py                                 # trains, keeps a checkpoint
    python examples/export_onnx.py                                  # writes model.onnx beside it
    python examples/export_onnx.py --fold-batchnorm --layout NCHW   # as small boards want it

It prints the table of errors against the function itself, of ONNX Runtime and of Kinone's own
importer, and the accuracy of the exported model on the whole test set. Needs `kinone[onnx]`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from train_resnet import CLASSES, build_model, load_digits

import kinone as kn
from kinone import data
from kinone.errors import CheckpointError
from kinone.onnx import export
from kinone.training import checkpoint

Array = np.ndarray[Any, Any]


def restored(path: Path, images: Array) -> tuple[kn.nn.Layer, Any, Any]:
    """The model of a checkpoint, its parameters, and its running means and variances."""
    options = checkpoint.read_metadata(path).get("options")
    if not isinstance(options, dict):
        raise CheckpointError(f"{path} was not written by train_resnet.py")
    model = build_model(options["depth"], options["width"], images.shape[1])
    params, state = model.init(kn.random.key(0), (1, *images.shape[1:]))
    like = {"params": params, "state": state}
    found = checkpoint.load(path, like=like, partial=True)  # the optimiser stays behind
    if found.diff.missing:
        raise CheckpointError(f"{path} has no {found.diff.missing[0]}")
    return model, found.tree["params"], found.tree["state"]


def accuracy(path: Path, test: data.Split, layout: str) -> float:
    """The share of the test set that ONNX Runtime recognises, in batches of any size."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    hits = 0
    for images, labels in data.batches(test, 300, shuffle=False):
        if layout == "NCHW":
            images = np.ascontiguousarray(np.moveaxis(images, -1, 1))
        (logits,) = session.run(["logits"], {"image": images})
        hits += int(np.sum(np.argmax(logits, axis=1) == labels))
    return hits / len(test.labels)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Export a trained ResNet to ONNX, and verify it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("runs/resnet-mnist/checkpoint.npz"), help="of a run"
    )
    parser.add_argument("--output", type=Path, help="the file [model.onnx beside the checkpoint]")
    parser.add_argument("--layout", choices=("NHWC", "NCHW"), default="NHWC", help="of the images")
    parser.add_argument("--fold-batchnorm", action="store_true", help="into the convolutions")
    parser.add_argument("--opset", type=int, default=21, help="version of ONNX's operators")
    options = parser.parse_args(arguments)

    output = options.output or options.checkpoint.with_name("model.onnx")
    digits, (_, test) = data.mnist5k(), load_digits(None)
    try:
        model, params, state = restored(options.checkpoint, test.images)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}; examples/train_resnet.py writes one", file=sys.stderr)
        return 2

    def predict(params: Any, state: Any, image: Array) -> Any:
        """Logits of the ten digits, of images with mean 0 and variance 1."""
        logits, _ = model.apply(params, state, image)
        return logits

    found = export(
        predict,
        params,
        state,
        test.images[:8],
        path=output,
        fold=("params", "state"),
        names={"output": "logits"},
        input_layout=options.layout,
        fold_batchnorm=options.fold_batchnorm,
        opset=options.opset,
        normalization={
            "mean": float(digits.train.images.mean()),
            "std": float(digits.train.images.std()),
        },
        metadata={"classes": [str(digit) for digit in range(CLASSES)]},
        # On one image and on a hundred, too: the batch size is dynamic.
        verify=[(params, state, test.images[:count]) for count in (8, 1, 100)],
    )
    print(f"{output}: {len(found.graph.node)} nodes, {output.stat().st_size:,} bytes")
    print(f"test accuracy {accuracy(output, test, options.layout):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
