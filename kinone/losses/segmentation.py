"""The overlap of regions as a loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..errors import ShapeError
from ..ops import expand_dims, sigmoid, softmax
from .checks import matching, plain, reduced, weight_of


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
    the same shape (of one class, either may lack the last axis). The sums run over `axis`, by
    default all but the first and the last. α = β = ½ is the Dice coefficient, α = β = 1 Jaccard's,
    others Tversky's; `smooth` s counts empty regions as right. `ignore_background` leaves
    class 0 out.

    As in optax, "mean" and "sum" reduce the classes and leave `[batch]`; "none" leaves
    `[batch, classes]`. Weighted means divide by the number of classes.

        >>> import numpy as np
        >>> logits = np.array([[[9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]]])
        >>> dice_loss(logits, np.array([[[1, 0], [0, 1], [1, 0]]])).round(4)
        array([0.2])

    Source: Milletari et al. 2016, arXiv:1606.04797. Raises `ShapeError` when the shapes differ,
    `ValueError` for what is no probability.
    """
    name = "dice_loss"
    axes_apart = len(np.shape(predictions)) - len(np.shape(targets))
    if axes_apart == 1 and np.shape(predictions)[-1] == 1:
        targets = expand_dims(targets, -1)
    elif axes_apart == -1 and np.shape(targets)[-1] == 1:
        predictions = expand_dims(predictions, -1)
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
        if not isinstance(predictions, Tracer):
            _check_probabilities(name, np.asarray(predictions))
    axes = tuple(range(1, len(known.shape) - 1)) if axis is None else axis
    both = np.sum(probability * targets, axis=axes)
    only_predicted = np.sum(probability, axis=axes) - both
    only_true = np.sum(targets, axis=axes) - both
    smooth, alpha, beta = plain(smooth), plain(alpha), plain(beta)
    loss = 1 - (both + smooth) / (both + alpha * only_predicted + beta * only_true + smooth)
    if class_weights is not None:
        loss = loss * weight_of(name, "class_weights", class_weights, known)
    if ignore_background and classes > 1:
        loss = loss[..., 1:]
    reduced(name, np.zeros(1), reduction)  # for what it refuses
    if reduction == "none":
        return loss
    return np.mean(loss, axis=-1) if reduction == "mean" else np.sum(loss, axis=-1)


def binary_dice_loss(
    predictions: Array, targets: Array, *, smooth: float = 1.0, apply_sigmoid: bool = True
) -> Array:
    """`dice_loss` of one region, per example: predictions and targets `[batch, ...]`.

    An axis of one class may stand at the end. `apply_sigmoid=False`: predictions are probabilities.

    >>> import numpy as np
    >>> binary_dice_loss(np.array([[9.0, -9.0, -9.0]]), np.array([[1, 1, 0]])).round(3)
    array([0.2])
    """
    if len(np.shape(predictions)) == len(np.shape(targets)) and np.shape(predictions)[-1:] != (1,):
        predictions, targets = expand_dims(predictions, -1), expand_dims(targets, -1)
    return dice_loss(predictions, targets, smooth=smooth, apply_softmax=apply_sigmoid)


def multiclass_generalized_dice_loss(
    predictions: Array,
    targets: Array,
    *,
    smooth: float = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Array:
    """`dice_loss` whose classes weigh 1 / (how often they are)², so that small regions count.

    A scalar, the mean over examples and classes. The weights are those of the whole batch, scaled
    to a mean of 1; arguments as for `dice_loss`.

        >>> import numpy as np
        >>> logits = np.array([[[9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]]])
        >>> targets = np.array([[[1, 0], [0, 1], [1, 0]]])
        >>> float(multiclass_generalized_dice_loss(logits, targets).round(3))
        0.2

    Source: Sudre et al. 2017, arXiv:1707.03237. Raises what `dice_loss` raises.
    """
    name = "multiclass_generalized_dice_loss"
    targets = matching(name, "predictions", predictions, "targets", targets)
    known = shape_dtype(predictions)
    frequency = np.sum(targets, axis=tuple(range(len(known.shape) - 1)))
    rarity = 1 / (frequency**2 + 1e-7)
    loss = dice_loss(
        predictions,
        targets,
        class_weights=rarity / np.mean(rarity),
        smooth=smooth,
        apply_softmax=apply_softmax,
        reduction="none",
        ignore_background=ignore_background,
    )
    return np.mean(loss)


def _check_probabilities(name: str, predictions: Any) -> None:
    """From 0 to 1 and, of several classes, 1 in all."""
    good = bool(((predictions >= 0) & (predictions <= 1)).all())
    if good and predictions.shape[-1] > 1:
        slack = 1e-5 + 8 * float(np.finfo(predictions.dtype).eps)
        good = bool((np.abs(predictions.sum(-1) - 1) <= slack).all())
    if not good:
        raise ValueError(
            f"{name}: with apply_softmax=False the predictions must be valid probability "
            f"distributions: from 0 to 1, and 1 in all along the classes, at {source.here()}"
        )
