"""Losses: how far predictions are from the truth.

Pure functions, under optax's names where it has one. Each says in its first line what it returns:
one number *per example*, *per element*, or *the mean*, a scalar that `grad` takes. Reduce the
others yourself, so that the code shows what is averaged:

    loss = np.mean(softmax_cross_entropy_with_integer_labels(logits, labels))

Shapes must agree exactly: a column against a row is an error here, not a matrix. The result has the
dtype of the predictions, whatever the dtype of the labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import source
from .core import Array, Tracer, shape_dtype
from .errors import ShapeError
from .ops import astype, expand_dims, logsumexp, reshape, softplus, take_along_axis
from .ops.shape import normalize_axis


def softmax_cross_entropy_with_integer_labels(
    logits: Array, labels: Array, axis: int = -1
) -> Array:
    """The cross-entropy of classes given as integers, per example.

        loss = ln Σⱼ exp(xⱼ) - x[label]          = -ln softmax(x)[label]

    `logits` x: floats `[..., classes, ...]`, unnormalised, the classes along `axis`; `labels`:
    integers from 0 to classes - 1, of the shape of `logits` without that axis, which is also the
    result's. Nothing overflows; a logit of -inf is a class of probability zero.

        >>> import numpy as np
        >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, 1.1]])
        >>> softmax_cross_entropy_with_integer_labels(logits, np.array([0, 1])).round(4)
        array([0.2761, 2.9518])

    Raises `ShapeError` when the shapes do not fit, `TypeError` for labels that are no integers,
    `IndexError` for a label that is no class (under `vmap` and `jit`, whose labels are not there
    yet, when the numbers are).
    """
    name = "softmax_cross_entropy_with_integer_labels"
    known = _require_floating(name, "logits", logits)
    axis = normalize_axis(axis, len(known.shape))
    labels = labels if isinstance(labels, Tracer) else np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: labels are {shape_dtype(labels)} and must be integers, at {source.here()}\n"
            "  Write labels.astype(np.int64), or use softmax_cross_entropy for probabilities."
        )
    batch = known.shape[:axis] + known.shape[axis + 1 :]
    if labels.shape != batch:
        hint = "\n  One-hot labels belong to softmax_cross_entropy." * (labels.shape == known.shape)
        raise ShapeError(
            f"{name}: logits {known} with the classes along axis {axis} want labels of shape "
            f"{batch}, got {labels.shape}, at {source.here()}{hint}"
        )
    classes = known.shape[axis]
    if not isinstance(labels, Tracer) and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise IndexError(
                f"{name}: there are {classes} classes, 0 to {classes - 1}, and the labels range "
                f"from {low} to {high}, at {source.here()}"
            )
    elif isinstance(labels, Tracer) and labels.dtype.kind == "i":
        # NumPy would take -1 as the last class; -1 - classes it refuses.
        labels = astype(labels, np.int64)
        labels = np.where(labels < 0, labels - classes, labels)
    chosen = take_along_axis(logits, expand_dims(labels, axis), axis=axis)
    return logsumexp(logits, axis=axis) - reshape(chosen, batch)


def softmax_cross_entropy(logits: Array, labels: Array, axis: int = -1) -> Array:
    """The cross-entropy of classes given as probabilities, per example.

        loss = -Σⱼ yⱼ · ln softmax(x)ⱼ

    `logits` x: floats `[..., classes, ...]`; `labels` y: one-hot or any distribution along `axis`,
    of the same shape. A class of probability zero may have a logit of -inf.

        >>> import numpy as np
        >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, 1.1]])
        >>> softmax_cross_entropy(logits, np.array([[1.0, 0, 0], [0, 0.5, 0.5]])).round(4)
        array([0.2761, 1.8018])

    Raises `ShapeError` when the shapes differ.
    """
    labels = _matching("softmax_cross_entropy", "logits", logits, "labels", labels)
    axis = normalize_axis(axis, np.ndim(logits))
    surprise = logsumexp(logits, axis=axis, keepdims=True) - logits
    return np.sum(_weighted(labels, surprise), axis=axis)


def sigmoid_binary_cross_entropy(
    logits: Array, labels: Array, pos_weight: Array | float | None = None
) -> Array:
    """The cross-entropy of independent yes-or-no labels, per element (binary cross-entropy, BCE).

        loss = -(w · y · ln σ(x) + (1 - y) · ln(1 - σ(x)))

    `logits` x: floats; `labels` y: 0 and 1, booleans or probabilities, of the same shape.
    `pos_weight` w, one number or one per class along the last axis, counts the positives w-fold,
    as in PyTorch: negatives / positives balances a rare finding. Nothing overflows.

        >>> import numpy as np
        >>> x, y = np.array([2.0, -1.0]), np.array([1, 1])
        >>> sigmoid_binary_cross_entropy(x, y).round(4)
        array([0.1269, 1.3133])
        >>> sigmoid_binary_cross_entropy(x, y, pos_weight=np.array([1.0, 10.0])).round(4)
        array([ 0.1269, 13.1326])

    Raises `ShapeError` when the shapes differ, or `pos_weight` does not broadcast to them.
    """
    name = "sigmoid_binary_cross_entropy"
    labels = _matching(name, "logits", logits, "labels", labels)
    positive = labels
    if pos_weight is not None:
        known, shape = shape_dtype(logits), np.shape(pos_weight)
        if not _broadcasts(shape, known.shape):
            raise ShapeError(
                f"{name}: pos_weight has shape {shape} and must be one number, or one for each "
                f"class along the last axis of the logits {known}, at {source.here()}"
            )
        positive = astype(pos_weight, known.dtype) * labels
    # -ln σ(x) = softplus(-x) and -ln(1 - σ(x)) = softplus(x), neither of which overflows.
    return _weighted(positive, softplus(-logits)) + _weighted(1 - labels, softplus(logits))


def squared_error(predictions: Array, targets: Array | None = None) -> Array:
    """(p - t)², per element; t = 0 without targets.

    >>> import numpy as np
    >>> squared_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    array([0., 9.])

    Raises `ShapeError` when the shapes differ.
    """
    return _difference("squared_error", predictions, targets) ** 2


def l2_loss(predictions: Array, targets: Array | None = None) -> Array:
    """½ (p - t)², per element, whose derivative is p - t.

    >>> import numpy as np
    >>> l2_loss(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    array([0. , 4.5])

    Raises `ShapeError` when the shapes differ.
    """
    return 0.5 * _difference("l2_loss", predictions, targets) ** 2


def absolute_error(predictions: Array, targets: Array | None = None) -> Array:
    """|p - t|, per element; the derivative where they are equal is 0.

    >>> import numpy as np
    >>> absolute_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    array([0., 3.])

    Raises `ShapeError` when the shapes differ.
    """
    return np.abs(_difference("absolute_error", predictions, targets))


def mse(predictions: Array, targets: Array) -> Array:
    """The mean squared error: the mean of `squared_error` over all elements, a scalar.

    >>> import numpy as np
    >>> float(mse(np.array([1.0, 2.0]), np.array([1.0, 5.0])))
    4.5

    Raises `ShapeError` when the shapes differ.
    """
    return np.mean(_difference("mse", predictions, targets) ** 2)


def mae(predictions: Array, targets: Array) -> Array:
    """The mean absolute error: the mean of `absolute_error` over all elements, a scalar.

    >>> import numpy as np
    >>> float(mae(np.array([1.0, 2.0]), np.array([1.0, 5.0])))
    1.5

    Raises `ShapeError` when the shapes differ.
    """
    return np.mean(np.abs(_difference("mae", predictions, targets)))


# ---- checks --------------------------------------------------------------------------------------


def _require_floating(name: str, x_name: str, x: Array) -> Any:
    """The shape and dtype of `x`, which must be floating."""
    if isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], dict):
        raise TypeError(
            f"{name}: {x_name} are a pair of an output and a dict, at {source.here()}\n"
            "  apply returns (y, state): write y, state = model.apply(…) and pass y."
        )
    known = shape_dtype(x)
    if known.dtype.kind != "f":
        raise TypeError(
            f"{name}: {x_name} are {known} and must be floating-point, at {source.here()}\n"
            f"  The order is (predictions, truth); write x.astype(np.float32) if it is right."
        )
    return known


def _matching(name: str, x_name: str, x: Array, y_name: str, y: Array) -> Array:
    """`y` in the dtype of `x`, whose shape it must have."""
    known, other = _require_floating(name, x_name, x), shape_dtype(y)
    if known.shape != other.shape:
        raise ShapeError(
            f"{name}: {x_name} are {known} and {y_name} {other}; the shapes must be equal, "
            f"at {source.here()}"
        )
    return y if other.dtype == known.dtype else astype(y, known.dtype)


def _difference(name: str, predictions: Array, targets: Array | None) -> Array:
    if targets is None:
        _require_floating(name, "predictions", predictions)
        return predictions
    return predictions - _matching(name, "predictions", predictions, "targets", targets)


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def _weighted(weight: Array, loss: Array) -> Array:
    """weight · loss, where 0 · ∞ is 0: what has no weight may be impossible."""
    return weight * np.where((weight == 0) & (loss == np.inf), 0, loss)
