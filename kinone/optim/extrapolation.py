"""Steps from more than the gradient: the value of the loss, the gradient of the step before."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Tracer
from .base import GradientTransformation, Params, State, Updates, chain, transformation
from .leaves import formula, like, map_trained, squared, trains, weak, zeros_like
from .moments import scale_by_adam
from .optimizers import sgd
from .schedules import Schedule
from .transforms import scale_by_learning_rate


def scale_by_polyak(
    f_min: float = 0.0, max_learning_rate: float = 1.0, eps: float = 0.0, variant: str = "sps"
) -> GradientTransformation:
    """The step after which a straight line would be at `f_min`, the least that f can be.

        u = g · min((f - f_min) / (‖g‖² + eps), max_learning_rate)

    f is the loss, which `update` takes as `value=`. `variant="sps+"` makes no step where f is below
    `f_min`, where "sps" goes back up. u = 0 where the gradient is.

        >>> link = scale_by_polyak()
        >>> p = np.array([3.0])
        >>> link.update(2 * p, link.init(p), p, value=9.0)[0]     # f = p²
        array([1.5])

    Raises `TypeError` without `value`, `ValueError` for another variant. (Loizou et al. 2021,
    arXiv:2002.10542; Berrada et al. 2020, arXiv:1906.05661)
    """
    lowest, most = (
        weak("polyak", "f_min", f_min),
        weak("polyak", "max_learning_rate", max_learning_rate),
    )
    eps = weak("polyak", "eps", eps)
    if variant not in ("sps", "sps+"):
        raise ValueError(
            f"scale_by_polyak: variant is 'sps' or 'sps+', not {variant!r}, at {source.here()}"
        )

    def step(
        updates: Updates, state: State, params: Params | None = None, *, value: Any = None
    ) -> Any:
        if value is None:
            raise TypeError(
                f"scale_by_polyak needs the loss, at {source.here()}\n"
                "  Write optimizer.update(gradients, state, params, value=loss)."
            )
        square: Any = np.float64(0)
        for leaf in tree.leaves(updates):
            if trains(leaf):
                square = square + np.sum(squared(leaf)).astype(np.float64)
        gap = (value if isinstance(value, Tracer) else np.float64(value)) - lowest
        if variant == "sps+":
            gap = np.maximum(gap, 0)
        flat = square + eps <= np.finfo(np.float64).eps
        length = np.minimum(gap / np.where(flat, 1.0, square + eps), most)
        length = np.where(flat, 0.0, length)[()]
        return map_trained(lambda g, out: np.multiply(g, like(length, g), out=out), updates), state

    return transformation("polyak", lambda params: {}, step)


def polyak_sgd(
    max_learning_rate: float = 1.0,
    scaling: float | Schedule = 1.0,
    f_min: float = 0.0,
    eps: float = 0.0,
    variant: str = "sps",
) -> GradientTransformation:
    """SGD that takes its step size from how far the loss is above its minimum; `scale_by_polyak`.

    `update` takes the loss as `value=`.

    >>> polyak_sgd()
    <GradientTransformation polyak_sgd: lr, polyak>

    (Loizou et al. 2021, arXiv:2002.10542)
    """
    link = scale_by_polyak(f_min, max_learning_rate, eps, variant)
    return chain(sgd(scaling), link, name="polyak_sgd")


def scale_by_optimistic_gradient(alpha: float = 1.0, beta: float = 1.0) -> GradientTransformation:
    """u = (alpha + beta) · g - beta · (g of the step before): where the gradient will be next.

    State: `is_initial_step`, on which u = alpha · g, and `previous_gradient`.

        >>> link = scale_by_optimistic_gradient()
        >>> updates, state = link.update(np.array([1.0]), link.init(np.zeros(1)))
        >>> link.update(np.array([3.0]), state)[0]
        array([5.])

    (Mokhtari et al. 2020, arXiv:1901.08511)
    """
    alpha, beta = weak("optimistic", "alpha", alpha), weak("optimistic", "beta", beta)

    def init(params: Params) -> State:
        previous = tree.map(zeros_like, params)
        return {"is_initial_step": np.bool_(True), "previous_gradient": previous}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        first = state["is_initial_step"]

        def move(g: Array, before: Array) -> Any:
            before = np.where(first, g, before)
            return like(alpha, g) * g + like(beta, g) * (g - before), g

        u, previous = formula("optimistic", move, updates, state["previous_gradient"])
        return u, {"is_initial_step": np.bool_(False), "previous_gradient": previous}

    return transformation("optimistic", init, step)


def optimistic_gradient_descent(
    learning_rate: float | Schedule, alpha: float = 1.0, beta: float = 1.0
) -> GradientTransformation:
    """Gradient descent that converges in games, where the plain one goes round in circles.

    >>> optimistic_gradient_descent(0.1)
    <GradientTransformation optimistic_gradient_descent: optimistic, lr>

    (Mokhtari et al. 2020, arXiv:1901.08511)
    """
    return chain(
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
        name="optimistic_gradient_descent",
    )


def optimistic_adam_v2(
    learning_rate: float | Schedule,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> GradientTransformation:
    """Adam's steps extrapolated: for games such as generator against discriminator.

    >>> optimistic_adam_v2(1e-3)
    <GradientTransformation optimistic_adam: adam, optimistic, lr>

    (Daskalakis et al. 2018, arXiv:1711.00141)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
        name="optimistic_adam",
    )
