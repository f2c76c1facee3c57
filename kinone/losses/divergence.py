"""How far distributions and directions are apart: Kullback-Leibler divergence and cosines."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array
from ..ops import log
from .checks import Axis, kept, mask, matching, plain, reduced, weighted


def kl_divergence(
    log_predictions: Array,
    targets: Array,
    axis: Axis = -1,
    where: Array | None = None,
    *,
    reduction: str = "none",
) -> Array:
    """The Kullback-Leibler divergence of the predictions from the targets, per example.

        loss = Σⱼ tⱼ · (ln tⱼ - log_predictionsⱼ)          with 0 · ln 0 = 0

    `log_predictions`: logarithms of probabilities (`log_softmax`), summed over `axis`; `targets`:
    probabilities of the same shape. Elements where `where` is false do not count; PyTorch's
    "batchmean" is `reduction="mean"`.

        >>> import numpy as np
        >>> kl_divergence(np.log([[0.5, 0.5]]), np.array([[1.0, 0.0]])).round(4)
        array([0.6931])

    Source: Kullback and Leibler 1951. Raises `ShapeError` when the shapes differ.
    """
    name = "kl_divergence"
    q, t, _ = _pair(name, "log_predictions", log_predictions, targets, where)
    known = log(np.where(t > 0, t, np.ones_like(t)))
    # A class without probability may be impossible: 0 · ∞ is 0.
    return reduced(name, np.sum(t * known + weighted(t, -q), axis=axis), reduction)


def kl_divergence_with_log_targets(
    log_predictions: Array,
    log_targets: Array,
    axis: Axis = -1,
    where: Array | None = None,
    *,
    reduction: str = "none",
) -> Array:
    """`kl_divergence` of targets that are given as logarithms, -inf for a probability of 0.

    >>> import numpy as np
    >>> kl_divergence_with_log_targets(np.log([[0.5, 0.5]]), np.log([[0.75, 0.25]])).round(4)
    array([0.1308])
    """
    name = "kl_divergence_with_log_targets"
    q, t, _ = _pair(name, "log_predictions", log_predictions, log_targets, where)
    there = t > -np.inf
    known, q = np.where(there, t, np.zeros_like(t)), np.where(there, q, np.zeros_like(q))
    terms = np.where(there, np.exp(known), np.zeros_like(t)) * (known - q)
    if where is not None:
        terms = kept(mask(name, where, np.shape(terms)), terms)
    return reduced(name, np.sum(terms, axis=axis), reduction)


def generalized_kl_divergence(
    log_predictions: Array,
    targets: Array,
    axis: Axis = -1,
    where: Array | None = None,
    *,
    reduction: str = "none",
) -> Array:
    """`kl_divergence` plus Σ exp(log_predictions) - Σ targets: convex for what is not normalised.

    >>> import numpy as np
    >>> generalized_kl_divergence(np.log([[1.0, 1.0]]), np.array([[1.0, 0.0]])).round(4)
    array([1.])
    """
    name = "generalized_kl_divergence"
    divergence = kl_divergence(log_predictions, targets, axis, where)
    q, t, there = _pair(name, "log_predictions", log_predictions, targets, where)
    excess = kept(there, np.exp(q) - t)
    return reduced(name, divergence + np.sum(excess, axis=axis), reduction)


def cosine_similarity(
    predictions: Array,
    targets: Array,
    *,
    epsilon: float = 0.0,
    axis: Axis = -1,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """The cosine of the angle between vectors along `axis`: 1 for the same direction.

        cos = p · t / (√max(‖p‖², ε) √max(‖t‖², ε))

    `epsilon` ε > 0 keeps a zero vector from dividing by 0. Elements where `where` is false do not
    count.

        >>> import numpy as np
        >>> cosine_similarity(np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[3.0, 4], [0, 2]]))
        array([1., 0.])

    Raises `ShapeError` when the shapes differ.
    """
    name = "cosine_similarity"
    a, b, _ = _pair(name, "predictions", predictions, targets, where)

    epsilon = plain(epsilon)

    def unit(x: Array) -> Array:
        square = np.sum(x**2, axis=axis, keepdims=True)
        # Without ε, maximum(0, 0) would halve the derivative, and hide the division by zero.
        return x / np.sqrt(np.maximum(square, epsilon) if epsilon else square)

    return reduced(name, np.sum(unit(a) * unit(b), axis=axis), reduction)


def cosine_distance(
    predictions: Array,
    targets: Array,
    *,
    epsilon: float = 0.0,
    axis: Axis = -1,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """1 - `cosine_similarity`: 0 for the same direction, 2 for the opposite one.

    >>> import numpy as np
    >>> cosine_distance(np.array([1.0, 0.0]), np.array([-2.0, 0.0])).item()
    2.0
    """
    near = cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis, where=where)
    return reduced("cosine_distance", 1 - near, reduction)


def _pair(
    name: str, x_name: str, x: Array, targets: Array, where: Array | None
) -> tuple[Array, Array, Any]:
    """Predictions and targets of one shape and dtype, 0 where they do not count."""
    targets = matching(name, x_name, x, "targets", targets)
    there = mask(name, where, np.shape(x))
    x, targets = kept(there, x, targets)
    return x, targets, there
