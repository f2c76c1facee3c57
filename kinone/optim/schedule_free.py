"""Training without a schedule: the average of the steps does what a falling learning rate does."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Tracer
from .base import (
    GradientTransformation,
    Params,
    State,
    Updates,
    chain,
    needs_params,
    transformation,
)
from .leaves import like, same_dtype, trains, weak, zip_leaves
from .optimizers import sgd
from .scaling import scale_by_rms
from .schedules import Schedule, warmup_constant_schedule
from .transforms import add_decayed_weights, scale_by_learning_rate


def schedule_free(
    base_optimizer: GradientTransformation,
    learning_rate: float | Schedule,
    b1: float = 0.9,
    weight_lr_power: float = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    """`base_optimizer` without momentum of its own, made to need no falling learning rate.

        z ← z + base_optimizer's update at y           the steps
        x ← (1 - c) · x + c · z                        their average, to evaluate with
        y ← b1 · x + (1 - b1) · z                      the parameters, where gradients are taken

    c is the share of this step in the sum of the weights, (largest learning rate so far) to the
    power of `weight_lr_power`. `learning_rate` is that of `base_optimizer`. Evaluate with
    `schedule_free_eval_params`. State: `z` (in `state_dtype` if that is given), `b1`, `weight_sum`,
    `step_count`, `max_lr` and `base_optimizer_state`.

        >>> from kinone import optim
        >>> optimizer = schedule_free(optim.sgd(0.1), learning_rate=0.1)
        >>> p = np.array([1.0])
        >>> state = optimizer.init(p)
        >>> for _ in range(100):
        ...     updates, state = optimizer.update(2 * p, state, p)
        ...     p = optim.apply_updates(p, updates)
        >>> bool(np.abs(schedule_free_eval_params(state, p)) < 0.1)
        True

    Raises `ValueError` in `update` without the parameters, and for a `b1` of 0. (Defazio et al.
    2024, arXiv:2405.15682)
    """
    keep = weak("schedule_free", "b1", b1)
    power = weak("schedule_free", "weight_lr_power", weight_lr_power)
    if not isinstance(keep, Tracer) and not 0 < keep <= 1:
        raise ValueError(f"schedule_free: b1 is {b1}, and must lie above 0, at {source.here()}")
    rate = learning_rate if callable(learning_rate) else weak("lr", "learning_rate", learning_rate)

    def init(params: Params) -> State:
        def start(p: Array) -> Array:
            return p.astype(state_dtype) if state_dtype is not None and trains(p) else np.copy(p)

        return {
            "b1": np.float64(keep),
            "weight_sum": np.float64(0),
            "step_count": np.int64(1),
            "max_lr": np.float64(0),
            "base_optimizer_state": base_optimizer.init(params),
            "z": tree.map(start, params),
        }

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        params = needs_params("schedule_free", params)
        lr = rate(state["step_count"]) if callable(rate) else rate
        largest = np.maximum(state["max_lr"], lr)
        weight = largest**power
        total = state["weight_sum"] + weight
        share = np.where(total == 0, 0.0, weight / np.where(total == 0, 1.0, total))[()]
        moved, base_state = base_optimizer.step(
            updates, state["base_optimizer_state"], params, **extra
        )

        def move(u: Array, y: Array, z: Array) -> tuple[Array, Array]:
            if not trains(u):
                return u, z
            new_z = same_dtype(z + u, z)
            part, c = like(keep, y), like(share, y)
            x = (1 - c) * _averaged(y, same_dtype(z, y), part) + c * same_dtype(new_z, y)
            return part * x + (1 - part) * same_dtype(new_z, y) - y, new_z

        others = (("parameters", params), ("state", state["z"]))
        columns = zip_leaves("schedule_free", "gradients", moved, *others)
        rows = [move(*row) for row in zip(*columns, strict=True)]
        treedef = tree.structure(updates)
        return tree.unflatten(treedef, [row[0] for row in rows]), {
            "b1": state["b1"],
            "weight_sum": total,
            "step_count": state["step_count"] + 1,
            "max_lr": largest,
            "base_optimizer_state": base_state,
            "z": tree.unflatten(treedef, [row[1] for row in rows]),
        }

    return transformation("schedule_free", init, step)


def _averaged(y: Array, z: Array, b1: Any) -> Array:
    """x, of which y = b1 · x + (1 - b1) · z."""
    return (y - (1 - b1) * z) / b1


def schedule_free_eval_params(state: Any, params: Params) -> Params:
    """The averaged parameters x, to evaluate, save and export; see `schedule_free`.

    >>> optimizer = schedule_free_sgd(0.5)
    >>> state = optimizer.init(np.ones(1))
    >>> schedule_free_eval_params(state, np.ones(1))
    array([1.])

    Raises `ValueError` for the state of another optimiser.
    """
    if not isinstance(state, dict) or not {"b1", "z"} <= set(state):
        raise ValueError(
            f"schedule_free_eval_params: this is no state of schedule_free, at {source.here()}\n"
            "  In a chain it stands under its name: state['schedule_free']."
        )
    b1 = weak("schedule_free", "b1", state["b1"])
    columns = zip_leaves("schedule_free_eval_params", "parameters", params, ("state", state["z"]))
    averaged = [
        _averaged(y, same_dtype(z, y), like(b1, y)) if trains(y) else y
        for y, z in zip(*columns, strict=True)
    ]
    return tree.unflatten(tree.structure(params), averaged)


def schedule_free_sgd(
    learning_rate: float = 1.0,
    warmup_steps: int | None = None,
    b1: float = 0.9,
    weight_decay: float | None = None,
    weight_lr_power: float = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    """`schedule_free` of SGD, whose learning rate grows for `warmup_steps` and then stays.

    >>> schedule_free_sgd(0.5, warmup_steps=10)
    <GradientTransformation schedule_free>

    (Defazio et al. 2024, arXiv:2405.15682)
    """
    rate = _warm(learning_rate, warmup_steps)
    decay = [] if weight_decay is None else [add_decayed_weights(weight_decay)]
    return schedule_free(chain(*decay, sgd(rate)), rate, b1, weight_lr_power, state_dtype)


def schedule_free_adamw(
    learning_rate: float = 0.0025,
    warmup_steps: int | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_lr_power: float = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    """`schedule_free` of AdamW, whose averaging takes the place of the first moment.

    >>> schedule_free_adamw(1e-3, warmup_steps=100, weight_decay=0.01)
    <GradientTransformation schedule_free>

    (Defazio et al. 2024, arXiv:2405.15682)
    """
    rate = _warm(learning_rate, warmup_steps)
    optimizer = chain(
        scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(optimizer, rate, b1, weight_lr_power, state_dtype)


def _warm(learning_rate: float, warmup_steps: int | None) -> float | Schedule:
    if warmup_steps is None:
        return learning_rate
    return warmup_constant_schedule(0.0, learning_rate, warmup_steps)
