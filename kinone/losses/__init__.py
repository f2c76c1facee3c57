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

from typing import TYPE_CHECKING

from ..core.names import other_names
from .binary import (
    binary_cross_entropy,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
)
from .ctc import ctc_loss, ctc_loss_with_forward_probs
from .divergence import (
    cosine_distance,
    cosine_similarity,
    generalized_kl_divergence,
    kl_divergence,
    kl_divergence_with_log_targets,
)
from .margins import (
    hinge_loss,
    make_fenchel_young_loss,
    multiclass_hinge_loss,
    multiclass_perceptron_loss,
    multiclass_sparsemax_loss,
    perceptron_loss,
    sparsemax_loss,
)
from .metric_learning import (
    contrastive_loss,
    margin_ranking_loss,
    ntxent,
    ranking_softmax_loss,
    triplet_margin_loss,
)
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
from .segmentation import binary_dice_loss, dice_loss, multiclass_generalized_dice_loss
from .softmax import (
    poly_loss_cross_entropy,
    safe_softmax_cross_entropy,
    smooth_labels,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
)

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "binary_dice_loss",
    "contrastive_loss",
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
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
    "make_fenchel_young_loss",
    "margin_ranking_loss",
    "mse",
    "multiclass_generalized_dice_loss",
    "multiclass_hinge_loss",
    "multiclass_perceptron_loss",
    "multiclass_sparsemax_loss",
    "ntxent",
    "perceptron_loss",
    "poisson_nll_loss",
    "poly_loss_cross_entropy",
    "ranking_softmax_loss",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "sparsemax_loss",
    "squared_error",
    "triplet_margin_loss",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = other_names(
        __name__,
        {
            "cross_entropy": "losses.softmax_cross_entropy_with_integer_labels",
            "CrossEntropyLoss": "losses.softmax_cross_entropy_with_integer_labels",
            "binary_cross_entropy_with_logits": "losses.sigmoid_binary_cross_entropy",
            "BCEWithLogitsLoss": "losses.sigmoid_binary_cross_entropy",
            "BCELoss": "losses.binary_cross_entropy",
            "mse_loss": "losses.mse, or losses.squared_error per element",
            "MSELoss": "losses.mse, or losses.squared_error per element",
            "l1_loss": "losses.mae, or losses.absolute_error per element",
            "L1Loss": "losses.mae, or losses.absolute_error per element",
            "smooth_l1_loss": "losses.huber_loss",
            "SmoothL1Loss": "losses.huber_loss",
            "kl_div": "losses.kl_divergence",
            "KLDivLoss": "losses.kl_divergence",
            "focal_loss": "losses.sigmoid_focal_loss",
        },
    )
