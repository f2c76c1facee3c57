"""Trains a ResNet on 5,000 real handwritten digits; this page is also a tour of Kinone.

    python examples/train_resnet.py                      # about a minute and a half on two cores
    python examples/train_resnet.py --resume             # goes on where an interrupted run stopped
    python examples/train_resnet.py --width 16 --epochs 20 --output runs/wide

A progress line goes to standard error, results to standard output: two runs with the same options
print the same results to the last digit. After every epoch the output folder holds a checkpoint
with everything that training needs, so a run that was stopped and resumed ends bit for bit where an
unbroken one does.

Nothing here is hidden in a trainer object. A model is a pair of functions; its parameters are a
tree of arrays that this script holds, and a training step is a function from trees to trees.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import kinone as kn
from kinone import data, losses, models, nn, optim, random
from kinone.errors import CheckpointError
from kinone.training import Progress, checkpoint

Array = np.ndarray[Any, Any]

CLASSES = 10
DEPTHS = {
    18: models.resnet18,
    34: models.resnet34,
    50: models.resnet50,
    101: models.resnet101,
    152: models.resnet152,
}


# ---- the data ------------------------------------------------------------------------------------


def load_digits(limit: int | None) -> tuple[data.Split, data.Split]:
    """Training and test set, as float32 of mean 0 and variance 1 over the training set."""
    digits = data.mnist5k()
    mean, deviation = digits.train.images.mean(), digits.train.images.std()

    def prepare(split: data.Split) -> data.Split:
        images = ((split.images - mean) / deviation).astype(np.float32)
        return data.Split(images, split.labels)

    train = prepare(digits.train)
    return data.Split(train.images[:limit], train.labels[:limit]), prepare(digits.test)


def shift(images: Array, key: random.Key, reach: int = 2) -> Array:
    """Each image moved by up to `reach` pixels, differently in every epoch: more data for free."""
    height, width = images.shape[1:3]
    around = [(0, 0), (reach, reach), (reach, reach), (0, 0)]
    padded = np.pad(images, around, constant_values=images.min())
    corners = random.randint(key, (len(images), 2), 0, 2 * reach + 1)
    return np.stack(
        [
            image[y : y + height, x : x + width]
            for image, (y, x) in zip(padded, corners, strict=True)
        ]
    )


# ---- the model and one step of training ----------------------------------------------------------


def build_model(depth: int, width: int, image_size: int) -> nn.Layer:
    """The canonical ResNet, with the stem that suits the images."""
    stem: Literal["imagenet", "small"] = "imagenet" if image_size >= 64 else "small"
    # Blocks that start as the identity learn faster.
    return DEPTHS[depth](CLASSES, stem=stem, width=width, zero_init_last=True)


def build_optimizer(learning_rate: float, steps: int) -> optim.GradientTransformation:
    """SGD with Nesterov momentum; the rate rises to its peak and falls along half a cosine."""
    schedule = optim.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=learning_rate,
        warmup_steps=steps // 10,
        decay_steps=steps,
    )
    return optim.chain(
        # Weight decay keeps the convolutions small; scales and biases are left alone.
        optim.add_decayed_weights(5e-4, mask="**/kernel"),
        optim.sgd(schedule, momentum=0.9, nesterov=True),
    )


class Training(NamedTuple):
    """All that changes while training: a tree, so that one line saves it."""

    params: Any  # what the gradient is taken of
    state: Any  # the running means and variances of batch normalisation
    optimizer_state: Any  # momentum and step count


def make_step(
    model: nn.Layer, optimizer: optim.GradientTransformation
) -> Callable[[Training, Array, Array], tuple[Training, Array, Array]]:
    """The training step: a function from what was to what is, the loss, and the hits.

    It works without `jit` as well, a little slower, and then a debugger can walk through it.
    """

    def loss_fn(params: Any, state: Any, images: Array, labels: Array) -> Any:
        logits, state = model.apply(params, state, images, train=True)
        # A network that need not be certain generalises better (Szegedy et al. 2015,
        # arXiv:1512.00567). It keeps the loss above 0.5 even where every digit is recognised.
        loss = losses.softmax_cross_entropy_with_integer_labels(
            logits, labels, label_smoothing=0.1, reduction="mean"
        )
        return loss, (state, logits)  # what is not the loss goes along as `aux`

    loss_and_gradient = kn.value_and_grad(loss_fn, has_aux=True)

    @kn.jit
    def step(training: Training, images: Array, labels: Array) -> tuple[Training, Array, Array]:
        (loss, (state, logits)), gradients = loss_and_gradient(
            training.params, training.state, images, labels
        )
        updates, optimizer_state = optimizer.update(
            gradients, training.optimizer_state, training.params
        )
        params = optim.apply_updates(training.params, updates)
        hits = np.sum(np.argmax(logits, axis=1) == labels)
        return Training(params, state, optimizer_state), loss, hits

    return step


def accuracy(model: nn.Layer, training: Training, test: data.Split) -> float:
    """The share of the test set that is recognised. Without `train`, nothing changes."""
    hits = 0
    for images, labels in data.batches(test, 250, shuffle=False):
        logits, _ = model.apply(training.params, training.state, images)
        hits += int(np.sum(np.argmax(logits, axis=1) == labels))
    return hits / len(test.labels)


# ---- training ------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> None:
    """Trains from the start, or from the checkpoint, to the last epoch."""
    train_set, test_set = load_digits(options.limit_train)
    steps_per_epoch = len(data.batches(train_set, options.batch_size))
    model = build_model(options.depth, options.width, train_set.images.shape[1])
    optimizer = build_optimizer(options.learning_rate, options.epochs * steps_per_epoch)

    key = random.key(options.seed)
    params, state = model.init(key["init"], (1, *train_set.images.shape[1:]))
    training = Training(params, state, optimizer.init(params))
    step = make_step(model, optimizer)

    saved = options.output / "checkpoint.npz"
    settings = {name: getattr(options, name) for name in SETTINGS}
    prepare_folder(options.output)
    first_epoch = 0
    if options.resume and saved.exists():
        check_settings(saved, settings)
        training, metadata = checkpoint.load(saved, like=training)
        first_epoch = metadata["epoch"]
        print(f"resumed from {saved} after epoch {first_epoch}", file=sys.stderr)
    elif options.resume:
        print(f"there is no {saved} yet; training from the start", file=sys.stderr)

    print(
        f"ResNet-{options.depth} of width {options.width}: {kn.tree.size(params):,} parameters, "
        f"{len(train_set.labels):,} images",
        flush=True,
    )
    for epoch in range(first_epoch, options.epochs):
        seen, total_loss, total_hits = 0, 0.0, 0
        label = f"epoch {epoch + 1}/{options.epochs}"
        with Progress(len(train_set.labels), label=label) as progress:
            # The order follows from seed and epoch, the shifts from seed and step: nothing that a
            # resumed run would have to remember.
            order = data.batches(train_set, options.batch_size, seed=options.seed, epoch=epoch)
            for number, (images, labels) in enumerate(order):
                step_key = key["shift"].fold_in(epoch * steps_per_epoch + number)
                training, loss, hits = step(training, shift(images, step_key), labels)
                seen += len(labels)
                total_loss += float(loss) * len(labels)
                total_hits += int(hits)
                progress.update(len(labels), loss=total_loss / seen, accuracy=total_hits / seen)
        # Tested before it is saved: a run that is stopped meanwhile repeats the epoch when resumed,
        # instead of going on without its line.
        test_accuracy = accuracy(model, training, test_set)
        checkpoint.save(saved, training, metadata={"epoch": epoch + 1, "options": settings})
        print(
            f"{label}  loss {total_loss / seen:.8f}  accuracy {total_hits / seen:.4f}  "
            f"test accuracy {test_accuracy:.4f}",
            flush=True,
        )
    print(f"test accuracy {accuracy(model, training, test_set):.4f}", flush=True)


def prepare_folder(folder: Path) -> None:
    """Makes sure, before an epoch is spent, that a checkpoint can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"{folder}: {error.strerror}; choose a folder that can be written to with --output"
        ) from error


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raises when the checkpoint is of a run with other options: that run could not go on."""
    saved = checkpoint.read_metadata(path).get("options")
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path} is of another model: this script did not write it")
    other = [
        f"--{name.replace('_', '-')} {saved.get(name)}"
        for name in settings
        if saved.get(name) != settings[name]
    ]
    if other:
        why = "the learning rate falls over all epochs, so their number cannot change; "
        raise CheckpointError(
            f"{path} is of a run with {' '.join(other)}; "
            f"{why if saved.get('epochs') != settings['epochs'] else ''}"
            "pass the same to go on with it, or another --output"
        )


# ---- the command line ----------------------------------------------------------------------------

# The options that decide what a run computes; they are saved, and compared on resuming.
SETTINGS = ("depth", "width", "epochs", "batch_size", "learning_rate", "seed", "limit_train")


def whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**64:
        raise argparse.ArgumentTypeError(f"{number} is not a number from 0 to 2**64 - 1")
    return number


def rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a ResNet on 4,000 handwritten digits and test it on 1,000 others.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--depth", type=int, choices=DEPTHS, default=18, help="number of layers")
    parser.add_argument("--width", type=whole, default=8, help="channels of the first stage")
    parser.add_argument("--epochs", type=whole, default=10, help="passes over the training set")
    parser.add_argument("--batch-size", type=whole, default=32, help="images in a step")
    parser.add_argument("--learning-rate", type=rate, default=0.2, help="peak of the schedule")
    parser.add_argument("--seed", type=seed, default=0, help="decides all that is random")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/resnet-mnist"), help="folder of the checkpoint"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint there")
    parser.add_argument("--limit-train", type=whole, help="train on the first so many images alone")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    # A polite request to stop ends the run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        train(options)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; --resume goes on after the last finished epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
