"""SGD, Adam and Adam's family: each a sentence of links, with optax's arguments in their order.

`learning_rate` is a number or a schedule, `weight_decay` too, and a `mask` is anything that
`select` takes. Formulas, states and what PyTorch does otherwise stand with the links, under the
name `scale_by_…`; an optimiser printed shows its links, which are the keys of its state.
"""

from __future__ import annotations

from typing import Any

from .adam_family import (
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_belief,
    scale_by_lion,
    scale_by_novograd,
    scale_by_radam,
    scale_by_yogi,
)
from .base import GradientTransformation, chain
from .moments import scale_by_adam, trace
from .schedules import Schedule
from .transforms import add_decayed_weights, scale_by_learning_rate


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


def nadam(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
) -> GradientTransformation:
    """Adam with Nesterov's momentum: `adam(…, nesterov=True)`.

    PyTorch's `NAdam` lets b1 grow with the step; this one, like optax's, does not.

        >>> nadam(1e-3)
        <GradientTransformation adam: adam, lr>

    (Dozat 2016, "Incorporating Nesterov momentum into Adam")
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=True)


def nadamw(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    weight_decay: float | Schedule = 1e-4,
    mask: Any = None,
) -> GradientTransformation:
    """`nadam` with decoupled weight decay: `adamw(…, nesterov=True)`.

    >>> nadamw(1e-3, weight_decay=0.01)
    <GradientTransformation adamw: adam, decay, lr>
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=True)


def amsgrad(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """Adam whose steps never grow again: `p ← p - lr · m̂ / (√(max v̂) + eps)`.

    >>> amsgrad(1e-3)
    <GradientTransformation amsgrad: amsgrad, lr>

    (Reddi et al. 2018)
    """
    link = scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu)
    return chain(link, scale_by_learning_rate(learning_rate), name="amsgrad")


def adamax(
    learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> GradientTransformation:
    """Adam in the largest norm: `p ← p - lr · m̂ / v`, `v ← max(|g| + eps, b2 · v)`.

    >>> adamax(2e-3)
    <GradientTransformation adamax: adamax, lr>

    (Kingma & Ba 2015, arXiv:1412.6980, section 7)
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate), name="adamax")


def adamaxw(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float | Schedule = 1e-4,
    mask: Any = None,
) -> GradientTransformation:
    """`adamax` with decoupled weight decay.

    >>> adamaxw(2e-3)
    <GradientTransformation adamaxw: adamax, decay, lr>
    """
    return chain(
        scale_by_adamax(b1, b2, eps),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
        name="adamaxw",
    )


def adabelief(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Large steps where gradients come as expected: v averages (g - m)².

    >>> adabelief(1e-3)
    <GradientTransformation adabelief: adabelief, lr>

    (Zhuang et al. 2020, arXiv:2010.07468)
    """
    link = scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov)
    return chain(link, scale_by_learning_rate(learning_rate), name="adabelief")


def yogi(
    learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-3
) -> GradientTransformation:
    """Adam whose v moves by a bounded step.

    >>> yogi(1e-2)
    <GradientTransformation yogi: yogi, lr>

    (Zaheer et al. 2018)
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate), name="yogi")


def radam(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam that warms itself up: the first steps are those of momentum.

    >>> radam(1e-3)
    <GradientTransformation radam: radam, lr>

    (Liu et al. 2020, arXiv:1908.03265)
    """
    link = scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov)
    return chain(link, scale_by_learning_rate(learning_rate), name="radam")


def lion(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.99,
    mu_dtype: Any = None,
    weight_decay: float | Schedule = 1e-3,
    mask: Any = None,
) -> GradientTransformation:
    """Steps of ±lr everywhere, by the sign of an average of the gradients.

    Learning rates are three to ten times smaller than Adam's, weight decays as much larger.

        >>> lion(1e-4)
        <GradientTransformation lion: lion, decay, lr>

    (Chen et al. 2023, arXiv:2302.06675)
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
        name="lion",
    )


def novograd(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.25,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
) -> GradientTransformation:
    """Momentum of gradients divided by the norm of their leaf, with weight decay inside.

    >>> novograd(1e-2)
    <GradientTransformation novograd: novograd, lr>

    (Ginsburg et al. 2019, arXiv:1905.11286)
    """
    link = scale_by_novograd(b1, b2, eps, eps_root, weight_decay)
    return chain(link, scale_by_learning_rate(learning_rate), name="novograd")
