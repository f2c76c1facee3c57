"""A run that is broken off and resumed in a new process ends with the bits of an unbroken one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoint_sample import run

from kinone.training import checkpoint

TRAINING = """
    import sys
    from typing import NamedTuple, Any
    import numpy as np
    import kinone as kn
    from kinone import data, losses, models, nn, optim, random
    from kinone.training import checkpoint

    folder, kind, last_step = sys.argv[1], sys.argv[2], int(sys.argv[3])
    EPOCHS, BATCH = 6, 8

    class Training(NamedTuple):
        params: Any
        state: Any
        optimizer: Any
        key: Any

    if kind == "mlp":
        model = nn.Sequential(
            nn.Dense(16), nn.BatchNorm(), nn.Relu(), nn.Dropout(0.3), nn.Dense(3)
        )
        shape = (12,)
    else:
        model = models.resnet18(3, stem="small", width=2)
        shape = (8, 8, 3)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((52, *shape)).astype(np.float32)
    labels = rng.integers(0, 3, 52)
    optimizer = optim.adam(optim.cosine_decay_schedule(1e-2, 100))

    key = random.key(0)
    params, state = model.init(key["init"], (1, *shape))
    training = Training(params, state, optimizer.init(params), key["train"])
    position = {"epoch": 0, "start": 0}
    found = checkpoint.restore_latest(folder, like=training)
    if found is not None:
        training, metadata = found
        position = metadata["position"]

    def step(training, x, y):
        now, later = training.key.split()

        def loss_fn(params):
            logits, state = model.apply(params, training.state, x, train=True, key=now)
            loss = losses.softmax_cross_entropy_with_integer_labels(logits, y)
            return np.mean(loss), state

        (loss, state), grads = kn.value_and_grad(loss_fn, has_aux=True)(training.params)
        updates, opt = optimizer.update(grads, training.optimizer, training.params)
        return Training(optim.apply_updates(training.params, updates), state, opt, later)

    number = found.metadata["step"] if found else 0
    for epoch in range(position["epoch"], EPOCHS):
        start = position["start"] if epoch == position["epoch"] else 0
        order = data.batches((images, labels), BATCH, seed=3, epoch=epoch, start=start)
        for x, y in order:
            training = step(training, x, y)
            number, start = number + 1, start + 1
            if number == last_step:
                place = {"epoch": epoch, "start": start}
                checkpoint.save(folder, training, step=number, metadata={"position": place})
                sys.exit()
    raise SystemExit("the last step was not reached")
"""


def train(folder: Path, kind: str, last_step: int) -> Path:
    child = run(TRAINING, folder, kind, last_step)
    assert child.communicate(timeout=300)[0] == ""
    assert child.returncode == 0
    return checkpoint.steps(folder)[last_step]


@pytest.mark.parametrize("kind", ["mlp", pytest.param("resnet", marks=pytest.mark.slow)])
def test_resumed_training_has_the_bits_of_unbroken_training(tmp_path, kind):
    whole = train(tmp_path / "whole", kind, 42)  # six epochs of seven batches
    train(tmp_path / "parts", kind, 21)  # three epochs
    train(tmp_path / "parts", kind, 25)  # in the middle of the fourth
    parts = train(tmp_path / "parts", kind, 42)
    # Parameters, running statistics, Adam's moments and step, key, place in the data: one tree and
    # its metadata, and equal ones have equal bytes.
    assert parts.read_bytes() == whole.read_bytes()


def test_the_comparison_could_fail(tmp_path):
    path = train(tmp_path / "whole", "mlp", 42)
    earlier = train(tmp_path / "parts", "mlp", 41)
    assert earlier.read_bytes() != path.read_bytes()
    with np.load(path) as one, np.load(earlier) as other:
        paths = [name for name in one.files if not np.array_equal(one[name], other[name])]
    assert {name.split("/")[0] for name in paths} >= {"params", "state", "optimizer", "key"}
