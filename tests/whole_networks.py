"""Small networks of every family with a batch each, and training steps: for the tests of them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import kinone as kn
from kinone import losses, models, nn, optim, random, tree


class Case(NamedTuple):
    """A model and a batch of inputs for it, labels included.

    `make` takes a layout when `image`. `mixes` says that in training an example's output depends on
    the others of its batch (batch normalisation).
    """

    make: Callable[..., nn.Layer]
    x: Any
    rate: float = 1e-2
    image: bool = False
    mixes: bool = False

    @property
    def model(self) -> nn.Layer:
        return self.make()

    @property
    def labels(self) -> Any:
        return np.arange(BATCH) % CLASSES


BATCH, CLASSES = 8, 3


def _normal(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


IMAGES = _normal(BATCH, 8, 8, 3)
# The deepest stage still has 2 × 2 pixels, so that no part of a kernel sees padding alone.
MIDDLE_IMAGES = _normal(BATCH, 16, 16, 3)
LARGE_IMAGES = _normal(BATCH, 40, 40, 3)
SERIES = _normal(BATCH, 6, 4)
WORDS = np.random.default_rng(0).integers(0, 20, (BATCH, 6))
ROWS = _normal(BATCH, 12)


def _residual(make: Callable[..., nn.Layer], width: int, **options: Any) -> Callable[..., nn.Layer]:
    return lambda layout="NHWC": make(CLASSES, width=width, layout=layout, **options)


def _efficientnet(**options: Any) -> Callable[..., nn.Layer]:
    return lambda layout="NHWC": models.efficientnet(
        0.25, 0.3, CLASSES, stem="small", dropout=0, momentum=0.1, layout=layout, **options
    )


def _vit(**options: Any) -> Callable[..., nn.Layer]:
    return lambda layout="NHWC": models.vision_transformer(
        CLASSES, patch=4, features=16, num_heads=2, num_layers=2, layout=layout, **options
    )


CASES = {
    "mlp": Case(lambda: models.mlp((24, 16, CLASSES), dropout=0.05, norm=nn.LayerNorm), ROWS),
    "mlp batch norm": Case(lambda: models.mlp((24, CLASSES), norm=nn.BatchNorm), ROWS, mixes=True),
    "resnet18": Case(
        _residual(models.resnet18, 2, stem="small"), MIDDLE_IMAGES, image=True, mixes=True
    ),
    "resnet18 imagenet": Case(_residual(models.resnet18, 2), LARGE_IMAGES, image=True, mixes=True),
    "resnet50": Case(
        _residual(models.resnet50, 1, stem="small"), MIDDLE_IMAGES, image=True, mixes=True
    ),
    "cifar_resnet20": Case(
        _residual(models.cifar_resnet20, 4), MIDDLE_IMAGES, image=True, mixes=True
    ),
    "efficientnet": Case(_efficientnet(drop_path=0.05), MIDDLE_IMAGES, image=True, mixes=True),
    "efficientnet lite": Case(
        _efficientnet(act="relu6", se_ratio=0, fixed_ends=True, padding="torch"),
        MIDDLE_IMAGES,
        image=True,
        mixes=True,
    ),
    "vit": Case(_vit(dropout=0.05, drop_path=0.05), IMAGES, image=True),
    "vit mean": Case(_vit(pool="mean"), IMAGES, image=True),
    "lstm": Case(
        lambda: models.lstm_classifier(CLASSES, features=16, num_layers=2, dropout=0.05), SERIES
    ),
    "lstm words": Case(
        lambda: models.lstm_classifier(CLASSES, features=16, vocabulary=20, embedding=8), WORDS
    ),
    "gru": Case(
        lambda: models.gru_classifier(CLASSES, features=16, bidirectional=True, pool="mean"), SERIES
    ),
    "gru max": Case(lambda: models.gru_classifier(CLASSES, features=16, pool="max"), SERIES),
}


def wide(x: Any) -> Any:
    """The input in float64; words stay integers, which parameters of float32 go with."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def setting(name: str, seed: int = 0) -> tuple[Any, ...]:
    """A model, float64 parameters that are not its initial ones, which hide mistakes, and its
    state; inputs, labels and a key."""
    case = CASES[name]
    model, x = case.model, wide(case.x)
    params, state = model.init(random.key(seed), x)
    rng = np.random.default_rng(seed)
    params = tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape), params)
    return model, params, state, x, case.labels, random.key(seed)["dropout"]


def start(case: Case, optimizer: Any, x: Any = None, seed: int = 0) -> dict[str, Any]:
    """The tree that a run is: parameters, state, the optimiser's state, key."""
    key = random.key(seed)
    params, state = case.model.init(key["init"], case.x if x is None else x)
    return {
        "params": params,
        "state": state,
        "optimizer": optimizer.init(params),
        "key": key["train"],
    }


def make_loss(model: nn.Layer) -> Callable[..., Any]:
    """`loss(params, state, x, labels, key)`, of training, with the next state beside it."""

    def loss(params: Any, state: Any, x: Any, labels: Any, key: Any) -> Any:
        logits, state = model.apply(params, state, x, train=True, key=key)
        each = losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return np.mean(each), state

    return loss


def make_step(model: nn.Layer, optimizer: Any) -> Callable[..., Any]:
    """`step(run, x, labels)`: the run after a step of training, and the step's loss."""
    loss = make_loss(model)

    def step(run: Any, x: Any, labels: Any) -> Any:
        now, later = run["key"].split()
        (value, state), grads = kn.value_and_grad(loss, has_aux=True)(
            run["params"], run["state"], x, labels, now
        )
        updates, memory = optimizer.update(grads, run["optimizer"], run["params"])
        params = optim.apply_updates(run["params"], updates)
        return {"params": params, "state": state, "optimizer": memory, "key": later}, value

    return step


def make_optimizer(rate: float = 1e-2) -> Any:
    schedule = optim.warmup_cosine_decay_schedule(0.1 * rate, rate, 2, 100)
    return optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(schedule))


def digest(found: Any) -> str:
    """One text for a tree's paths, dtypes, shapes and bits."""
    text = hashlib.sha256()
    for path, leaf in tree.leaves_with_path(found):
        leaf = np.asarray(leaf)
        text.update(f"{path} {leaf.dtype.str} {leaf.shape}".encode())
        text.update(leaf.tobytes())
    return text.hexdigest()


def main() -> None:
    """Prints what becomes of each model in three steps: a new process should print the same."""
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        optimizer = make_optimizer(case.rate)
        run, step = start(case, optimizer), make_step(case.model, optimizer)
        for _ in range(3):
            run, _ = step(run, case.x, case.labels)
        print(f"{name}: {digest(run)}")


if __name__ == "__main__":
    main()
