"""Losses of scores, without a likelihood: the hinge, the perceptron, sparsemax and their family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source
from ..core import Array, shape_dtype
from ..errors import ShapeError
from ..ops import astype, expand_dims, flip, reshape, sort, stop_gradient, take_along_axis
from ..transforms import vmap
from .checks import checked_classes, integers, matching, reduced, require_floating


def hinge_loss(predictor_outputs: Array, targets: Array, *, reduction: str = "none") -> Array:
    """max(0, 1 - y · x), per element, for targets y of -1 and 1.

    >>> import numpy as np
    >>> hinge_loss(np.array([2.0, 0.5, 0.5]), np.array([1, 1, -1]))
    array([0. , 0.5, 1.5])

    Raises `ShapeError` when the shapes differ.
    """
    name = "hinge_loss"
    targets = matching(name, "predictor_outputs", predictor_outputs, "targets", targets)
    return reduced(name, np.maximum(1 - predictor_outputs * targets, 0), reduction)


def perceptron_loss(predictor_outputs: Array, targets: Array, *, reduction: str = "none") -> Array:
    """max(0, -y · x), per element, for targets y of -1 and 1: the hinge without a margin.

    >>> import numpy as np
    >>> perceptron_loss(np.array([2.0, 0.5, -0.5]), np.array([1, -1, 1]))
    array([0. , 0.5, 0.5])

    Source: Rosenblatt 1958. Raises `ShapeError` when the shapes differ.
    """
    name = "perceptron_loss"
    targets = matching(name, "predictor_outputs", predictor_outputs, "targets", targets)
    return reduced(name, np.maximum(-predictor_outputs * targets, 0), reduction)


def sparsemax_loss(logits: Array, labels: Array, *, reduction: str = "none") -> Array:
    """Between hinge and cross-entropy: smooth, and exactly 0 from a margin of 1 on, per element.

        loss = 0  for z ≤ -1,   (z + 1)² / 4  between,   z  for z ≥ 1

    z is -x for a label of 1 (or true) and x for one of 0.

    >>> import numpy as np
    >>> sparsemax_loss(np.array([2.0, 0.0, -2.0]), np.array([1, 1, 1]))
    array([0.  , 0.25, 2.  ])

    Source: Blondel et al. 2020, arXiv:1901.02324. Raises `ShapeError` when the shapes differ.
    """
    name = "sparsemax_loss"
    labels = matching(name, "logits", logits, "labels", labels)
    wrong = np.where(labels != 0, -logits, logits)
    near = np.minimum(np.maximum(wrong, -1), 1)
    return reduced(name, (near + 1) ** 2 / 4 + np.maximum(wrong - 1, 0), reduction)


def multiclass_hinge_loss(scores: Array, labels: Array, *, reduction: str = "none") -> Array:
    """How far the best wrong class comes within 1 of the right one, per example.

        loss = max(0, 1 + max over j ≠ label of sⱼ - s[label])

    `scores` s: floats `[..., classes]`; `labels`: integers of the shape without the last axis.

        >>> import numpy as np
        >>> multiclass_hinge_loss(np.array([[3.0, 1.0], [0.5, 0.2]]), np.array([0, 1]))
        array([0. , 1.3])

    Source: Crammer and Singer 2001. Raises as `softmax_cross_entropy_with_integer_labels`.
    """
    name = "multiclass_hinge_loss"
    index, own = _own(name, scores, labels)
    known = shape_dtype(scores)
    margin = astype(np.arange(known.shape[-1]) != index, known.dtype)
    return reduced(name, np.max(scores + margin, axis=-1) - own, reduction)


def multiclass_perceptron_loss(scores: Array, labels: Array, *, reduction: str = "none") -> Array:
    """How far the best class is above the right one, per example: max sⱼ - s[label].

    Arguments as for `multiclass_hinge_loss`.

    >>> import numpy as np
    >>> multiclass_perceptron_loss(np.array([[3.0, 1.0], [0.5, 0.25]]), np.array([0, 1]))
    array([0.  , 0.25])

    Source: Collins 2002, "Discriminative training methods for hidden Markov models".
    """
    name = "multiclass_perceptron_loss"
    _, own = _own(name, scores, labels)
    return reduced(name, np.max(scores, axis=-1) - own, reduction)


def multiclass_sparsemax_loss(scores: Array, labels: Array, *, reduction: str = "none") -> Array:
    """Cross-entropy's counterpart for probabilities that may be exactly 0, per example.

        loss = p · (s - s[label]) + ½ (1 - ‖p‖²)          p = sparsemax(s)

    p is the point of the simplex that is nearest to s, and p - one-hot the derivative: the loss is
    0 once the right class is ahead by 1. Arguments as for `multiclass_hinge_loss`.

        >>> import numpy as np
        >>> multiclass_sparsemax_loss(np.array([[3.0, 1.0], [0.5, 0.5]]), np.array([0, 1]))
        array([0.  , 0.25])

    Source: Martins and Astudillo 2016, arXiv:1602.02068.
    """
    name = "multiclass_sparsemax_loss"
    _, own = _own(name, scores, labels)
    known = shape_dtype(scores)
    zeros = np.zeros_like(scores)
    # Those classes have a probability that are among the k largest, k being the last rank whose
    # 1 + k · score is above the sum of the k largest. Which they are is a constant, to calculus.
    fixed = stop_gradient(scores) - np.max(stop_gradient(scores), axis=-1, keepdims=True)
    falling = flip(sort(fixed, axis=-1), axis=-1)
    ranks = np.arange(1, known.shape[-1] + 1, dtype=known.dtype)
    ahead = 1 + ranks * falling > np.cumsum(falling, axis=-1)
    last = np.sum(astype(ahead, np.int64), axis=-1, keepdims=True) - 1
    there = ~(fixed < take_along_axis(falling, last, axis=-1))  # a NaN is there, to be seen
    apart = np.where(there, scores - expand_dims(own, -1), zeros)
    count = np.sum(astype(there, known.dtype), axis=-1, keepdims=True)
    threshold = (np.sum(apart, axis=-1, keepdims=True) - 1) / count
    p = np.where(there, apart - threshold, zeros)
    return reduced(name, np.sum(p * apart, axis=-1) + (1 - np.sum(p * p, axis=-1)) / 2, reduction)


def make_fenchel_young_loss(max_fun: Callable[..., Any]) -> Callable[..., Any]:
    """The loss whose derivative is (the argmax that `max_fun` has as its derivative) - targets.

        loss(scores, targets) = max_fun(scores) - targets · scores

    `max_fun` maps scores `[n]` to a number: `logsumexp` makes it cross-entropy (but for the entropy
    of the targets), a perturbed maximum a loss of structured predictions. The loss takes
    `[..., n]` twice and returns one number per example; what else it is given goes to `max_fun`.

        >>> import numpy as np
        >>> from kinone.ops import logsumexp
        >>> loss = make_fenchel_young_loss(logsumexp)
        >>> loss(np.array([[1.2, -0.8, -0.5]]), np.array([[1.0, 0.0, 0.0]])).round(4)
        array([0.2761])

    Source: Blondel et al. 2020, arXiv:1901.02324.
    """

    def fenchel_young_loss(scores: Array, targets: Array, *args: Any, **kwargs: Any) -> Array:
        targets = matching("fenchel_young_loss", "scores", scores, "targets", targets)
        shape = shape_dtype(scores).shape
        flat = reshape(scores, (-1, *shape[-1:]))
        most = vmap(lambda each: max_fun(each, *args, **kwargs))(flat)
        return reshape(most, shape[:-1]) - np.sum(targets * scores, axis=-1)

    return fenchel_young_loss


def _own(name: str, scores: Array, labels: Array) -> tuple[Array, Array]:
    """The checked labels with an axis for the classes, and the scores of the right classes."""
    known = require_floating(name, "scores", scores)
    labels = integers(name, labels, "Write labels.astype(np.int64), or np.argmax of one-hot.")
    if not known.shape or labels.shape != known.shape[:-1]:
        raise ShapeError(
            f"{name}: scores {known} want labels of shape {known.shape[:-1]}, got {labels.shape}, "
            f"at {source.here()}"
        )
    index = expand_dims(checked_classes(name, labels, known.shape[-1]), -1)
    return index, reshape(take_along_axis(scores, index, axis=-1), labels.shape)
