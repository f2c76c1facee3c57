"""Losses: how far predictions are from the truth.

Pure functions, under optax's names where it has one. Each says in its first line what it returns:
one number *per example*, *per element*, or a scalar. Reduce them yourself, or say how:

    loss = np.mean(softmax_cross_entropy_with_integer_labels(logits, labels))
    loss = softmax_cross_entropy_with_integer_labels(logits, labels, reduction="mean")

`reduction` is "none" (default), "sum" or "mean". A mean divides by how many elements there are, or
by how many `where` lets count; with class weights of integer labels by their sum, as in PyTorch.
The mean of nothing is NaN.

Shapes must agree exactly: a column against a row is an error here, not a matrix. The result has the
dtype of the predictions, whatever the dtype of the labels.
"""

from .binary import (
    binary_cross_entropy,
    hinge_loss,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
)
from .ctc import ctc_loss
from .divergence import (
    cosine_distance,
    cosine_similarity,
    generalized_kl_divergence,
    kl_divergence,
    kl_divergence_with_log_targets,
)
from .metric_learning import contrastive_loss, margin_ranking_loss, ntxent, triplet_margin_loss
from .regression import (
    absolute_error,
    gaussian_nll_loss,
    huber_loss,
    l2_loss,
    log_cosh,
    mae,
    mse,
    poisson_nll_loss,
    squared_error,
)
from .segmentation import dice_loss
from .softmax import (
    multiclass_hinge_loss,
    smooth_labels,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
)

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "contrastive_loss",
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "dice_loss",
    "gaussian_nll_loss",
    "generalized_kl_divergence",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "kl_divergence_with_log_targets",
    "l2_loss",
    "log_cosh",
    "mae",
    "margin_ranking_loss",
    "mse",
    "multiclass_hinge_loss",
    "ntxent",
    "poisson_nll_loss",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
    "triplet_margin_loss",
]
