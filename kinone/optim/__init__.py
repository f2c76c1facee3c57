"""Optimisers as pairs of pure functions, in optax's protocol and with its names and sign.

    optimizer = optim.adam(1e-3)
    state = optimizer.init(params)
    updates, state = optimizer.update(gradients, state, params)
    params = optim.apply_updates(params, updates)          # updates are added

An optimiser is a sentence: `adam(lr)` is `chain(scale_by_adam(), scale_by_learning_rate(lr))`. Its
state is a dict that reads like it: `state["adam"]["step"]`, `state["lr"]["value"]`.
"""

from .base import GradientTransformation, apply_updates, chain
from .leaves import select
from .optimizers import adam, adamw, sgd
from .schedules import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    join_schedules,
    linear_schedule,
    piecewise_constant_schedule,
    polynomial_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
)
from .transforms import (
    add_decayed_weights,
    clip,
    clip_by_global_norm,
    freeze,
    global_norm,
    identity,
    scale,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_schedule,
    set_to_zero,
    trace,
)

__all__ = [
    "GradientTransformation",
    "adam",
    "adamw",
    "add_decayed_weights",
    "apply_updates",
    "chain",
    "clip",
    "clip_by_global_norm",
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "freeze",
    "global_norm",
    "identity",
    "join_schedules",
    "linear_schedule",
    "piecewise_constant_schedule",
    "polynomial_schedule",
    "scale",
    "scale_by_adam",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "select",
    "set_to_zero",
    "sgd",
    "trace",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
]
