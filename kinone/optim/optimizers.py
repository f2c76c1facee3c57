"""Optimisers: each a sentence of links. `learning_rate` is a number or a schedule everywhere."""

from __future__ import annotations

from typing import Any

from .base import GradientTransformation, chain
from .schedules import Schedule
from .transforms import (
    add_decayed_weights,
    scale_by_adam,
    scale_by_learning_rate,
    trace,
)


def sgd(
    learning_rate: float | Schedule,
    momentum: float | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> GradientTransformation:
    """Stochastic gradient descent, with momentum where `momentum` is given.

        p ← p - lr · g                          without momentum
        m ← g + momentum · m,  p ← p - lr · m   with it; p ← p - lr · (g + momentum · m) by Nesterov

    State: `trace` (`{"trace"}`, with momentum) and `lr` (`{"step", "value"}`). The momentum buffer
    is kept in `accumulator_dtype` if that is given.

        >>> import numpy as np
        >>> from kinone import grad, optim
        >>> optimizer = optim.sgd(0.1, momentum=0.9)
        >>> x = np.array([1.0, -2.0])
        >>> state = optimizer.init(x)
        >>> for _ in range(100):
        ...     updates, state = optimizer.update(grad(lambda x: np.sum(x**2))(x), state, x)
        ...     x = optim.apply_updates(x, updates)
        >>> bool(np.abs(x).max() < 0.02), int(state["lr"]["step"])
        (True, 100)

    (Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning")
    """
    links = [] if momentum is None else [trace(momentum, nesterov, accumulator_dtype)]
    return chain(*links, scale_by_learning_rate(learning_rate), name="sgd")


def adam(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam: steps of about `learning_rate` in each coordinate, whatever the gradient's size.

    `p ← p - lr · m̂ / (√(v̂ + eps_root) + eps)`; see `scale_by_adam`. State: `adam` (`{"step", "mu",
    "nu"}`) and `lr` (`{"step", "value"}`).

        >>> import numpy as np
        >>> from kinone import optim
        >>> optimizer = optim.adam(1e-3)
        >>> state = optimizer.init({"w": np.zeros(2)})
        >>> updates, state = optimizer.update({"w": np.array([5.0, -0.1])}, state)
        >>> updates["w"].round(6), int(state["adam"]["step"])
        (array([-0.001,  0.001]), 1)

    (Kingma & Ba 2015, arXiv:1412.6980)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
        name="adam",
    )


def adamw(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    weight_decay: float | Schedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam with decoupled weight decay: `p ← p - lr · (m̂ / (√v̂ + eps) + weight_decay · p)`.

    `mask` says which parameters decay: a path pattern (`"**/kernel"`), a list of them, a tree of
    booleans, a function of the parameters, or None for all; `optim.select(params, mask)` shows it.
    State: `adam`, `decay` and `lr`. `update` needs the parameters.

        >>> import numpy as np
        >>> from kinone import optim
        >>> optimizer = optim.adamw(0.1, weight_decay=0.01, mask="**/kernel")
        >>> params = {"kernel": np.ones(1), "bias": np.ones(1)}
        >>> updates, state = optimizer.update(
        ...     {"kernel": np.zeros(1), "bias": np.zeros(1)}, optimizer.init(params), params
        ... )
        >>> float(updates["kernel"][0]), abs(float(updates["bias"][0]))
        (-0.001, 0.0)

    (Loshchilov & Hutter 2019, arXiv:1711.05101)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
        name="adamw",
    )
