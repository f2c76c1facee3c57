"""Losses of one class among many, from logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..errors import ShapeError
from ..ops import astype, expand_dims, logsumexp, reshape, take, take_along_axis
from ..ops.shape import normalize_axis
from .checks import (
    Axis,
    checked_classes,
    integers,
    kept,
    mask,
    matching,
    plain,
    reduced,
    require_floating,
    weighted,
)

_ONE_HOT = "Write labels.astype(np.int64), or use softmax_cross_entropy for probabilities."


def softmax_cross_entropy_with_integer_labels(
    logits: Array,
    labels: Array,
    axis: int | tuple[int, ...] = -1,
    where: Array | None = None,
    *,
    class_weights: Array | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "none",
) -> Array:
    """The cross-entropy of classes given as integers, per example.

        loss = ln Σⱼ exp(xⱼ) - x[label]          = -ln softmax(x)[label]

    `logits` x: floats `[..., classes, ...]`, unnormalised, the classes along `axis` (several axes
    are flattened into one); `labels`: integers from 0 to classes - 1, of the shape of `logits`
    without that axis, which is also the result's. Nothing overflows; a logit of -inf is a class of
    probability zero.

    - `where`: booleans of the shape of `labels` (which examples count) or of `logits` (which
      classes are there); an example without a class has loss 0;
    - `class_weights` w `[classes]`: the loss of an example is multiplied by w[label];
    - `label_smoothing` ε: the truth is 1 - ε on the label and ε spread over all classes;
    - `ignore_index`: examples with this label, which need be no class, have loss 0;
    - `reduction="mean"` divides by the number of the examples that count, or by their summed
      weights: PyTorch's weighted mean.

    >>> import numpy as np
    >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, 1.1]])
    >>> softmax_cross_entropy_with_integer_labels(logits, np.array([0, 1])).round(4)
    array([0.2761, 2.9518])
    >>> mean = softmax_cross_entropy_with_integer_labels(
    ...     logits, np.array([0, -100]), ignore_index=-100, reduction="mean"
    ... )
    >>> float(mean.round(4))
    0.2761

    Raises `ShapeError` when the shapes do not fit, `TypeError` for labels that are no integers,
    `IndexError` for a label that is no class (under `vmap` and `jit`, whose labels are not there
    yet, when the numbers are).
    """
    name = "softmax_cross_entropy_with_integer_labels"
    require_floating(name, "logits", logits)
    labels = integers(name, labels, _ONE_HOT)
    if isinstance(axis, tuple):
        logits, where = _flattened(logits, axis), _flattened_mask(logits, where, axis)
        axis = -1
    known = shape_dtype(logits)
    axis = normalize_axis(axis, len(known.shape))
    batch, classes = known.shape[:axis] + known.shape[axis + 1 :], known.shape[axis]
    if labels.shape != batch:
        hint = "\n  One-hot labels belong to softmax_cross_entropy." * (labels.shape == known.shape)
        raise ShapeError(
            f"{name}: logits {known} with the classes along axis {axis} want labels of shape "
            f"{batch}, got {labels.shape}, at {source.here()}{hint}"
        )
    there = _class_mask(name, where, known.shape, axis)
    counted = None if there is None else np.any(there, axis=axis)
    if ignore_index is not None:
        chosen = labels != ignore_index
        counted = chosen if counted is None else counted & chosen
    if counted is not None:
        labels = kept(counted, labels)
        logits = kept(expand_dims(counted, axis), logits)
    labels = checked_classes(name, labels, classes)
    index = expand_dims(labels, axis)
    if there is not None:
        # Classes that are not there have probability zero; an example without any keeps its zeros.
        absent = expand_dims(counted, axis) & ~there
        total = logsumexp(np.where(absent, np.full_like(logits, -np.inf), logits), axis=axis)
    else:
        total = logsumexp(logits, axis=axis)
    loss = total - reshape(take_along_axis(logits, index, axis=axis), batch)
    of_classes = weight = None
    if class_weights is not None:
        of_classes = _class_weights(name, class_weights, classes, known)
        weight = take(of_classes, labels)
        loss = loss * weight
    if label_smoothing:
        label_smoothing = _checked_smoothing(name, label_smoothing)
        surprise = expand_dims(total, axis) - logits
        if of_classes is not None:
            surprise = surprise * _along(of_classes, axis, len(known.shape))
        spread = 1 / classes
        if there is not None:
            surprise = kept(there, surprise)
            size = np.maximum(np.sum(astype(there, known.dtype), axis=axis), 1)
            spread = 1 / size
        smooth = np.sum(surprise, axis=axis) * spread
        loss = (1 - label_smoothing) * loss + label_smoothing * smooth
    return reduced(name, loss, reduction, counted, weight)


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    axis: Axis = -1,
    where: Array | None = None,
    *,
    class_weights: Array | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "none",
) -> Array:
    """The cross-entropy of classes given as probabilities, per example.

        loss = -Σⱼ yⱼ · ln softmax(x)ⱼ

    `logits` x: floats `[..., classes, ...]`; `labels` y: one-hot or any distribution along `axis`
    (or several axes), of the same shape. A class of probability zero may have a logit of -inf.

    `where`, `class_weights` (each term times wⱼ) and `label_smoothing` are those of
    `softmax_cross_entropy_with_integer_labels`; `reduction="mean"` divides by the number of
    examples that count, weighted or not, as PyTorch does for probabilities.

        >>> import numpy as np
        >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, 1.1]])
        >>> softmax_cross_entropy(logits, np.array([[1.0, 0, 0], [0, 0.5, 0.5]])).round(4)
        array([0.2761, 1.8018])

    Raises `ShapeError` when the shapes differ.
    """
    name = "softmax_cross_entropy"
    surprise, labels, there, axes = _surprise(name, logits, labels, axis, where)
    known = shape_dtype(logits)
    if label_smoothing:
        labels = smooth_labels(labels, label_smoothing, axis=axes, where=there)
        labels = kept(there, labels)
    if class_weights is not None:
        if len(axes) != 1:
            raise ValueError(
                f"{name}: class_weights want the classes along one axis, and axis={axis}, "
                f"at {source.here()}"
            )
        (only,) = axes
        of_classes = _class_weights(name, class_weights, known.shape[only], known)
        labels = labels * _along(of_classes, only, len(known.shape))
    loss = np.sum(weighted(labels, surprise), axis=axes)
    return reduced(name, loss, reduction, _counted(there, axes))


def poly_loss_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    epsilon: float = 2.0,
    axis: Axis = -1,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """Cross-entropy with its first term in powers of 1 - p weighed anew, per example.

        loss = Σⱼ yⱼ · (-ln pⱼ + ε · (1 - pⱼ))          p = softmax(x)

    `logits`, `labels`, `axis` and `where` as for `softmax_cross_entropy`, which ε = 0 makes it. A
    large ε looks at the confident examples, a negative one (above -1) at the others.

        >>> import numpy as np
        >>> logits = np.array([[1.2, -0.8, -0.5], [0.9, -1.2, 1.1]])
        >>> poly_loss_cross_entropy(logits, np.array([[1.0, 0, 0], [0, 0.5, 0.5]])).round(4)
        array([0.7587, 3.2284])

    Source: Leng et al. 2022, arXiv:2204.12511. Raises `ShapeError` when the shapes differ.
    """
    name = "poly_loss_cross_entropy"
    surprise, labels, there, axes = _surprise(name, logits, labels, axis, where)
    terms = weighted(labels, surprise) - plain(epsilon) * labels * np.expm1(-surprise)
    return reduced(name, np.sum(terms, axis=axes), reduction, _counted(there, axes))


def _surprise(
    name: str, logits: Array, labels: Array, axis: Axis, where: Array | None
) -> tuple[Array, Array, Array | None, tuple[int, ...]]:
    """-ln softmax(logits), the labels, the mask of the classes that are there, and their axes."""
    labels = matching(name, "logits", logits, "labels", labels)
    known = shape_dtype(logits)
    axes = _axes(axis, len(known.shape))
    there = _class_mask(name, where, known.shape, axes)
    if there is not None:
        counted = np.any(there, axis=axes, keepdims=True)
        logits, labels = kept(counted, logits), kept(there, labels)
        logits = np.where(counted & ~there, np.full_like(logits, -np.inf), logits)
    return logsumexp(logits, axis=axes, keepdims=True) - logits, labels, there, axes


def _counted(there: Array | None, axes: tuple[int, ...]) -> Array | None:
    """Which examples have a class."""
    return None if there is None else np.any(there, axis=axes)


# optax needs another function where a class of probability 0 has a logit of -inf.
safe_softmax_cross_entropy = softmax_cross_entropy


def smooth_labels(
    labels: Array, alpha: float, *, axis: Axis = -1, where: Array | None = None
) -> Array:
    """One-hot labels (or any distribution) mixed with the uniform one.

        y' = (1 - α) · y + α / classes

    `where` says which classes are there, to be counted.

        >>> import numpy as np
        >>> smooth_labels(np.array([0.0, 1.0, 0.0, 0.0]), 0.2)
        array([0.05, 0.85, 0.05, 0.05])

    Source: Szegedy et al. 2016, arXiv:1512.00567. Raises `ValueError` for α outside [0, 1].
    """
    known = require_floating("smooth_labels", "labels", labels)
    alpha = _checked_smoothing("smooth_labels", alpha)
    axes = _axes(axis, len(known.shape))
    there = mask("smooth_labels", where, known.shape)
    if there is None:
        return (1 - alpha) * labels + alpha / math.prod(known.shape[each] for each in axes)
    count = np.sum(astype(there, known.dtype), axis=axes, keepdims=True)
    return (1 - alpha) * labels + alpha / np.maximum(count, 1)


# ---- axes, masks and weights of classes ----------------------------------------------------------


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(normalize_axis(each, ndim) for each in axes)


def _flattened(x: Array, axes: tuple[int, ...]) -> Array:
    """The given axes last, as one."""
    shape = np.shape(x)
    last = _axes(axes, len(shape))
    first = tuple(each for each in range(len(shape)) if each not in last)
    size = math.prod(shape[each] for each in last)
    moved = np.transpose(x, (*first, *last))
    return reshape(moved, (*(shape[each] for each in first), size))


def _flattened_mask(logits: Array, where: Array | None, axes: tuple[int, ...]) -> Array | None:
    if where is None or np.ndim(where) != np.ndim(logits):
        return where
    return _flattened(np.broadcast_to(where, np.shape(logits)), axes)


def _class_mask(
    name: str, where: Array | None, shape: tuple[int, ...], axes: int | tuple[int, ...]
) -> Array | None:
    """A mask of examples or of classes, as one of the shape of the logits."""
    if where is not None and np.ndim(where) != len(shape):
        where = expand_dims(where, axes)
    return mask(name, where, shape)


def _class_weights(name: str, weights: Array, classes: int, known: Any) -> Array:
    if np.shape(weights) != (classes,):
        raise ShapeError(
            f"{name}: class_weights has shape {np.shape(weights)} and must have one number for "
            f"each of the {classes} classes of the logits {known}, at {source.here()}"
        )
    return astype(weights, known.dtype)


def _along(weights: Array, axis: int, ndim: int) -> Array:
    shape = [1] * ndim
    shape[axis] = -1
    return reshape(weights, tuple(shape))


def _checked_smoothing(name: str, alpha: Any) -> Any:
    alpha = plain(alpha)
    if not isinstance(alpha, Tracer) and not 0 <= alpha <= 1:
        raise ValueError(f"{name}: {alpha} must lie between 0 and 1, at {source.here()}")
    return alpha
