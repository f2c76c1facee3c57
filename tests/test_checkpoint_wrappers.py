"""Whatever wraps an optimiser, a run that is saved, loaded and gone on with has the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import data, losses, nn, optim
from kinone.training import checkpoint

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(64, 6)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)
MODEL = nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(2))

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "accumulation": lambda: optim.MultiSteps(
        optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(1e-2, mask="**/kernel")), 3
    ),
    "loss scale": lambda: optim.dynamic_loss_scale(optim.adam(1e-2)),
    "lookahead": lambda: optim.lookahead(optim.sgd(0.1, momentum=0.9), 4, 0.5),
    "groups": lambda: optim.partition({"**/kernel": optim.lamb(1e-2), "**": optim.sgd(0.1)}),
    "plateau and average": lambda: optim.chain(
        optim.adam(1e-2), optim.reduce_on_plateau(patience=2), optim.ema_params(0.9)
    ),
    "masked": lambda: optim.masked(optim.adam(1e-2), "**/kernel"),
    "noise": lambda: optim.noisy_sgd(0.1, key=kn.random.key(3)),
    "memory": lambda: optim.lbfgs(linesearch=None),
}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_goes_on_bit_for_bit(name, suffix, tmp_path):
    optimizer = OPTIMIZERS[name]()

    def loss_fn(params, run, batch):
        key = run["key"].fold_in(run["step"])
        logits, state = MODEL.apply(params, run["state"], batch[0], train=True, key=key)
        loss = losses.softmax_cross_entropy_with_integer_labels(logits, batch[1], reduction="mean")
        return loss, state

    @kn.jit
    def step(run, batch):
        (loss, state), gradients = kn.value_and_grad(loss_fn, has_aux=True)(
            run["params"], run, batch
        )
        updates, moments = optimizer.update(gradients, run["optimizer"], run["params"], value=loss)
        params = optim.apply_updates(run["params"], updates)
        new = {"params": params, "state": state, "optimizer": moments, "step": run["step"] + 1}
        return {**run, **new}

    params, state = MODEL.init(kn.random.key(0), X[:1])
    start = {
        "params": params, "state": state, "optimizer": optimizer.init(params),
        "key": kn.random.key(1), "step": np.int64(0),
    }  # fmt: skip
    batches = [batch for epoch in range(2) for batch in data.batches((X, LABELS), 16, epoch=epoch)]
    unbroken = broken = start
    for batch in batches:
        unbroken = step(unbroken, batch)
    for number, batch in enumerate(batches):
        broken = step(broken, batch)
        if number == 4:  # between two steps of the accumulation, and of the lookahead
            path = checkpoint.save(tmp_path / f"run.{suffix}", broken)
            broken = checkpoint.load(path, like=start).tree
    assert kn.tree.structure(broken) == kn.tree.structure(unbroken)
    for (where, a), b in zip(
        kn.tree.leaves_with_path(unbroken), kn.tree.leaves(broken), strict=True
    ):
        assert np.asarray(a).dtype == np.asarray(b).dtype, where
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    moved = kn.tree.leaves(unbroken["params"])
    assert not np.array_equal(moved[1], kn.tree.leaves(params)[1])
