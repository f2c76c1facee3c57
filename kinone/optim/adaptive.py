"""Optimisers beside Adam's family: RMSProp and AdaGrad's, signs alone, large batches.

Arguments, states and masks are as in `optimizers`.
"""

from __future__ import annotations

from typing import Any

from ..random import Key
from .base import GradientTransformation, chain
from .moments import ema, scale_by_adam, trace
from .scaling import (
    add_noise,
    scale_by_adadelta,
    scale_by_rms,
    scale_by_rprop,
    scale_by_rss,
    scale_by_sign,
    scale_by_stddev,
    scale_by_trust_ratio,
)
from .schedules import Schedule, constant_schedule
from .transforms import add_decayed_weights, scale, scale_by_learning_rate
from .wrappers import masked


def rmsprop(
    learning_rate: float | Schedule,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Gradients divided by their recent size, `p ← p - lr · g / √(v + eps)`; then momentum.

    `centered` divides by the deviation instead. PyTorch's `RMSprop` has decay 0.99 (its `alpha`),
    `eps_in_sqrt=False` and momentum before the learning rate.

        >>> rmsprop(1e-3, momentum=0.9)
        <GradientTransformation rmsprop: rmsprop, lr, trace>

    (Hinton, "Neural networks for machine learning", lecture 6e)
    """
    link = scale_by_stddev if centered else scale_by_rms
    links = [] if momentum is None else [trace(momentum, nesterov)]
    return chain(
        link(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        *links,
        name="rmsprop",
    )


def adagrad(
    learning_rate: float | Schedule, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> GradientTransformation:
    """Gradients divided by the root of the sum of all their squares: for sparse gradients.

    >>> adagrad(0.1)
    <GradientTransformation adagrad: adagrad, lr>

    (Duchi et al. 2011)
    """
    link = scale_by_rss(initial_accumulator_value, eps)
    return chain(link, scale_by_learning_rate(learning_rate), name="adagrad")


def adadelta(
    learning_rate: float | Schedule | None = None,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float | Schedule = 0.0,
    weight_decay_mask: Any = None,
) -> GradientTransformation:
    """Steps of the size of the recent steps, which needs no learning rate (None is 1).

    The weight decay comes first, as part of the gradient.

        >>> adadelta()
        <GradientTransformation adadelta: decay, adadelta, lr>

    (Zeiler 2012, arXiv:1212.5701)
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(1.0 if learning_rate is None else learning_rate),
        name="adadelta",
    )


def rprop(
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> GradientTransformation:
    """Only the signs of whole-batch gradients; `learning_rate` is the first step size.

    >>> rprop(1e-2)
    <GradientTransformation rprop: rprop, scale>

    (Riedmiller & Braun 1993)
    """
    link = scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size)
    return chain(link, scale(-1.0), name="rprop")


def sign_sgd(learning_rate: float | Schedule) -> GradientTransformation:
    """`p ← p - lr · sign(g)`.

    >>> sign_sgd(1e-3)
    <GradientTransformation sign_sgd: sign, lr>

    (Bernstein et al. 2018, arXiv:1802.04434)
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate), name="sign_sgd")


def signum(
    learning_rate: float | Schedule, beta: float = 0.9, accumulator_dtype: Any = None
) -> GradientTransformation:
    """`sign_sgd` of an average of the gradients.

    >>> signum(1e-3)
    <GradientTransformation signum: ema, sign, lr>

    (Bernstein et al. 2018, arXiv:1802.04434)
    """
    average = ema(beta, debias=False, accumulator_dtype=accumulator_dtype)
    return chain(average, scale_by_sign(), scale_by_learning_rate(learning_rate), name="signum")


def noisy_sgd(
    learning_rate: float | Schedule, eta: float = 0.01, gamma: float = 0.55, *, key: Key
) -> GradientTransformation:
    """SGD with normal noise of variance eta / tᵞ; see `add_noise`.

    >>> from kinone import random
    >>> noisy_sgd(0.1, key=random.key(0))
    <GradientTransformation noisy_sgd: noise, lr>

    (Neelakantan et al. 2015, arXiv:1511.06807)
    """
    noise = add_noise(eta, gamma, key)
    return chain(noise, scale_by_learning_rate(learning_rate), name="noisy_sgd")


def lars(
    learning_rate: float | Schedule,
    weight_decay: float | Schedule = 0.0,
    weight_decay_mask: Any = None,
    trust_coefficient: float = 0.001,
    eps: float = 0.0,
    trust_ratio_mask: Any = None,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    """SGD with momentum for large batches: each leaf's step is in proportion to its norm.

    Leave biases and the scales of norms out of both masks: `weight_decay_mask="**/kernel"`.

        >>> lars(1.0, 1e-4, "**/kernel", trust_ratio_mask="**/kernel")
        <GradientTransformation lars: decay, trust_ratio, lr, trace>

    (You et al. 2017, arXiv:1708.03888)
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(0.0, trust_coefficient, eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
        name="lars",
    )


def lamb(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: float | Schedule = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """AdamW for large batches: each leaf's step is in proportion to its norm.

    >>> lamb(1e-3)
    <GradientTransformation lamb: adam, decay, trust_ratio, lr>

    (You et al. 2020, arXiv:1904.00962)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
        name="lamb",
    )


def fromage(learning_rate: float | Schedule, min_norm: float = 1e-6) -> GradientTransformation:
    """Steps in proportion to the norm of each leaf, and no growth: one rate fits all layers.

        p ← (p - lr · g · ‖p‖ / ‖g‖) / √(1 + lr²)          both norms at least `min_norm`

    >>> fromage(1e-2)
    <GradientTransformation fromage: trust_ratio, lr, decay>

    (Bernstein et al. 2020, arXiv:2002.03432)
    """
    rate = learning_rate if callable(learning_rate) else constant_schedule(learning_rate)

    def shrinkage(step: Any) -> Any:
        return 1 / (1 + rate(step) ** 2) ** 0.5

    return chain(
        scale_by_trust_ratio(min_norm),
        scale_by_learning_rate(lambda step: shrinkage(step) * rate(step)),
        add_decayed_weights(lambda step: shrinkage(step) - 1),
        name="fromage",
    )
