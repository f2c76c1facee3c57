"""Losses of independent yes-or-no labels, from logits or probabilities."""

from __future__ import annotations

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..ops import log, logsumexp, softplus, stack
from .checks import kept, mask, matching, plain, reduced, weight_of, weighted


def sigmoid_binary_cross_entropy(
    logits: Array,
    labels: Array,
    pos_weight: Array | float | None = None,
    *,
    class_weights: Array | float | None = None,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """The cross-entropy of independent yes-or-no labels, per element (binary cross-entropy, BCE).

        loss = -(w · y · ln σ(x) + (1 - y) · ln(1 - σ(x)))

    `logits` x: floats; `labels` y: 0 and 1, booleans or probabilities, of the same shape.
    `pos_weight` w, one number or one per class along the last axis, counts the positives w-fold,
    as in PyTorch: negatives / positives balances a rare finding. `class_weights`, shaped alike,
    multiplies both terms. Where `where` is false the label is not known: the loss is 0, and
    `reduction="mean"` divides by the number of the elements that are. Nothing overflows.

        >>> import numpy as np
        >>> x, y = np.array([2.0, -1.0]), np.array([1, 1])
        >>> sigmoid_binary_cross_entropy(x, y).round(4)
        array([0.1269, 1.3133])
        >>> sigmoid_binary_cross_entropy(x, y, pos_weight=np.array([1.0, 10.0])).round(4)
        array([ 0.1269, 13.1326])

    Raises `ShapeError` when the shapes differ, or a weight does not broadcast to them.
    """
    name = "sigmoid_binary_cross_entropy"
    labels = matching(name, "logits", logits, "labels", labels)
    known = shape_dtype(logits)
    where = mask(name, where, known.shape)
    logits, labels = kept(where, logits, labels)
    positive = labels
    if pos_weight is not None:
        positive = weight_of(name, "pos_weight", pos_weight, known) * labels
    # -ln σ(x) = softplus(-x) and -ln(1 - σ(x)) = softplus(x), neither of which overflows.
    loss = weighted(positive, softplus(-logits)) + weighted(1 - labels, softplus(logits))
    if class_weights is not None:
        loss = weight_of(name, "class_weights", class_weights, known) * loss
    return reduced(name, loss, reduction, where)


def sigmoid_focal_loss(
    logits: Array,
    labels: Array,
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """Binary cross-entropy that looks away from what is already right, per element.

        loss = αₜ · (1 - pₜ)^γ · BCE         pₜ = y σ(x) + (1 - y)(1 - σ(x))

    `logits` x, `labels` y, `where` as for `sigmoid_binary_cross_entropy`. `gamma` γ ≥ 0: 0 is plain
    cross-entropy; `alpha` weighs the positives, 1 - alpha the negatives (`None`: both 1).

        >>> import numpy as np
        >>> sigmoid_focal_loss(np.array([2.0, -1.0]), np.array([1, 1])).round(4)
        array([0.0018, 0.7019])

    Source: Lin et al. 2017, arXiv:1708.02002. Raises `ShapeError` when the shapes differ.
    """
    name = "sigmoid_focal_loss"
    labels = matching(name, "logits", logits, "labels", labels)
    where = mask(name, where, np.shape(logits))
    logits, labels = kept(where, logits, labels)
    loss = sigmoid_binary_cross_entropy(logits, labels)
    gamma, alpha = plain(gamma), plain(alpha)
    # ln(1 - pₜ) = ln(y σ(-x) + (1 - y) σ(x)) in the log domain, where a power has no pole.
    wrong = stack([_log(labels) - softplus(logits), _log(1 - labels) - softplus(-logits)])
    loss = np.exp(gamma * logsumexp(wrong, axis=0)) * loss
    if alpha is not None:
        loss = (alpha * labels + (1 - alpha) * (1 - labels)) * loss
    return reduced(name, loss, reduction, where)


def binary_cross_entropy(
    probabilities: Array,
    labels: Array,
    *,
    class_weights: Array | float | None = None,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """Binary cross-entropy of probabilities instead of logits, per element.

        loss = -(y · ln p + (1 - y) · ln(1 - p))         each ln at least -100, as in PyTorch

    A probability of exactly 0 or 1 that is wrong costs 100 and has no gradient, and near 1 float32
    has lost the digits: where there are logits, use `sigmoid_binary_cross_entropy`.

        >>> import numpy as np
        >>> binary_cross_entropy(np.array([0.9, 0.2, 0.0]), np.array([1, 0, 1])).round(4)
        array([  0.1054,   0.2231, 100.    ])

    Raises `ShapeError` when the shapes differ, `ValueError` for what is no probability.
    """
    name = "binary_cross_entropy"
    labels = matching(name, "probabilities", probabilities, "labels", labels)
    known = shape_dtype(probabilities)
    where = mask(name, where, known.shape)
    p, labels = kept(where, probabilities, labels)
    if not isinstance(p, Tracer) and not ((np.asarray(p) >= 0) & (np.asarray(p) <= 1)).all():
        raise ValueError(
            f"{name}: probabilities must lie between 0 and 1, at {source.here()}\n"
            "  Logits belong to sigmoid_binary_cross_entropy."
        )
    loss = -(labels * _clamped_log(p) + (1 - labels) * _clamped_log(1 - p))
    if class_weights is not None:
        loss = weight_of(name, "class_weights", class_weights, known) * loss
    return reduced(name, loss, reduction, where)


def _log(x: Array) -> Array:
    """ln x, and -inf without a warning or a derivative where x is 0."""
    there = x > 0
    return np.where(there, log(np.where(there, x, np.ones_like(x))), np.full_like(x, -np.inf))


def _clamped_log(x: Array) -> Array:
    """ln x, at least -100."""
    there = x > 0
    known = log(np.where(there, x, np.ones_like(x)))
    return np.maximum(np.where(there, known, np.full_like(x, -100)), -100)
