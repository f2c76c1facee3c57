"""The overlap of regions as a loss."""

from __future__ import annotations

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..errors import ShapeError
from ..ops import sigmoid, softmax
from .checks import matching, reduced, weight_of


def dice_loss(
    predictions: Array,
    targets: Array,
    *,
    class_weights: Array | None = None,
    smooth: float = 1.0,
    alpha: float = 0.5,
    beta: float = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: int | tuple[int, ...] | None = None,
) -> Array:
    """1 - the overlap of predicted and true regions, per example and class.

        I = Σ p t         loss = 1 - (I + s) / (I + α (Σp - I) + β (Σt - I) + s)

    `predictions`: logits `[batch, ..., classes]`, made probabilities by softmax, or by the sigmoid
    when there is one class (`apply_softmax=False`: they are probabilities); `targets`: one-hot of
    the same shape. The sums run over `axis`, by default all but the first and the last. α = β = ½
    is the Dice coefficient, α = β = 1 Jaccard's, others Tversky's; `smooth` s counts empty regions
    as right. `ignore_background` leaves class 0 out.

    As in optax, "mean" and "sum" reduce the classes and leave `[batch]`; "none" leaves
    `[batch, classes]`. Weighted means divide by the number of classes.

        >>> import numpy as np
        >>> logits = np.array([[[9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]]])
        >>> dice_loss(logits, np.array([[[1, 0], [0, 1], [1, 0]]])).round(4)
        array([0.2])

    Source: Milletari et al. 2016, arXiv:1606.04797. Raises `ShapeError` when the shapes differ.
    """
    name = "dice_loss"
    targets = matching(name, "predictions", predictions, "targets", targets)
    known = shape_dtype(predictions)
    if len(known.shape) < 2:
        raise ShapeError(
            f"{name}: predictions are {known} and must be [batch, ..., classes], at {source.here()}"
        )
    classes = known.shape[-1]
    if apply_softmax:
        probability = sigmoid(predictions) if classes == 1 else softmax(predictions, axis=-1)
    else:
        probability = predictions
        known_now = None if isinstance(predictions, Tracer) else np.asarray(predictions)
        if known_now is not None and ((known_now < 0) | (known_now > 1)).any():
            raise ValueError(
                f"{name}: with apply_softmax=False the predictions must lie between 0 and 1, at "
                f"{source.here()}"
            )
    axes = tuple(range(1, len(known.shape) - 1)) if axis is None else axis
    both = np.sum(probability * targets, axis=axes)
    only_predicted = np.sum(probability, axis=axes) - both
    only_true = np.sum(targets, axis=axes) - both
    loss = 1 - (both + smooth) / (both + alpha * only_predicted + beta * only_true + smooth)
    if class_weights is not None:
        loss = loss * weight_of(name, "class_weights", class_weights, known)
    if ignore_background and classes > 1:
        loss = loss[..., 1:]
    reduced(name, np.zeros(1), reduction)  # for what it refuses
    if reduction == "none":
        return loss
    return np.mean(loss, axis=-1) if reduction == "mean" else np.sum(loss, axis=-1)
