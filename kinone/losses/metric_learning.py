"""Losses of embeddings and rankings: what belongs together comes closer than what does not."""

from __future__ import annotations

import numpy as np

from .. import source
from ..core import Array, shape_dtype
from ..errors import ShapeError
from ..ops import logaddexp, logsumexp
from .checks import integers, matching, reduced, require_floating
from .divergence import cosine_similarity


def triplet_margin_loss(
    anchors: Array,
    positives: Array,
    negatives: Array,
    axis: int = -1,
    norm_degree: float = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
    *,
    reduction: str = "none",
) -> Array:
    """How far a positive is from being nearer than a negative by `margin`, per anchor.

        loss = max(0, d(a, p) - d(a, n) + margin)        d(a, b) = (Σ |a - b|^k + ε)^(1/k)

    All three: floats `[..., features]` of one shape; k is `norm_degree`.

        >>> import numpy as np
        >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 5.5]])
        >>> triplet_margin_loss(a, p, n).round(4)
        array([0.5])

    Source: Schroff et al. 2015, arXiv:1503.03832. Raises `ShapeError` when the shapes differ.
    """
    name = "triplet_margin_loss"
    positives = matching(name, "anchors", anchors, "positives", positives)
    negatives = matching(name, "anchors", anchors, "negatives", negatives)

    def distance(other: Array) -> Array:
        apart = np.abs(anchors - other) ** norm_degree
        return (np.sum(apart, axis=axis) + eps) ** (1 / norm_degree)

    loss = np.maximum(distance(positives) - distance(negatives) + margin, 0)
    return reduced(name, loss, reduction)


def margin_ranking_loss(
    first: Array, second: Array, targets: Array, *, margin: float = 0.0, reduction: str = "none"
) -> Array:
    """max(0, margin - y · (first - second)), per element: y = 1 wants first above second, -1 not.

    >>> import numpy as np
    >>> margin_ranking_loss(np.array([2.0, 2.0]), np.array([1.0, 1.0]), np.array([1, -1]))
    array([0., 1.])

    Raises `ShapeError` when the shapes differ.
    """
    name = "margin_ranking_loss"
    second = matching(name, "first", first, "second", second)
    targets = matching(name, "first", first, "targets", targets)
    return reduced(name, np.maximum(margin - targets * (first - second), 0), reduction)


def contrastive_loss(
    distances: Array, targets: Array, *, margin: float = 1.0, reduction: str = "none"
) -> Array:
    """y · d² + (1 - y) · max(0, margin - d)², per pair: y = 1 for two of one kind.

    >>> import numpy as np
    >>> contrastive_loss(np.array([0.5, 0.5, 2.0]), np.array([1, 0, 0]))
    array([0.25, 0.25, 0.  ])

    Source: Hadsell et al. 2006, without its factor ½. Raises `ShapeError` when the shapes differ.
    """
    name = "contrastive_loss"
    targets = matching(name, "distances", distances, "targets", targets)
    apart = np.maximum(margin - distances, 0)
    return reduced(name, targets * distances**2 + (1 - targets) * apart**2, reduction)


def ntxent(embeddings: Array, labels: Array, temperature: float = 0.07) -> Array:
    """The normalised, temperature-scaled cross-entropy of pairs with one label, a scalar.

        loss = mean over pairs (i, j) of one label of
               -ln (exp sᵢⱼ / (exp sᵢⱼ + Σ over k of another label of exp sᵢₖ)),   s = cosine / τ

    `embeddings`: floats `[n, features]`; `labels`: integers `[n]`, some of which occur twice or
    more (two views of one image). Without a pair the mean is NaN.

        >>> import numpy as np
        >>> x = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> float(ntxent(x, np.array([0, 0, 1, 1]), temperature=0.5).round(4))
        0.2899

    Source: Chen et al. 2020 (SimCLR), arXiv:2002.05709. Raises `ShapeError` when `n` differs.
    """
    name = "ntxent"
    known = require_floating(name, "embeddings", embeddings)
    labels = integers(name, labels, "Number what belongs together: 0, 0, 1, 1, ….")
    if len(known.shape) != 2 or labels.shape != known.shape[:1]:
        raise ShapeError(
            f"{name}: embeddings {known} must be [n, features] and labels {shape_dtype(labels)} "
            f"[n], at {source.here()}"
        )
    count, features = known.shape
    shape = (count, count, features)
    near = cosine_similarity(
        np.broadcast_to(embeddings[None], shape),
        np.broadcast_to(embeddings[:, None], shape),
        epsilon=float(np.finfo(known.dtype).eps),
    )
    near = near / temperature
    same = labels[:, None] == labels[None]
    others = logsumexp(np.where(same, np.full_like(near, -np.inf), near), axis=1, keepdims=True)
    pairs = same & ~np.eye(count, dtype=bool)
    surprise = logaddexp(near, np.broadcast_to(others, near.shape)) - near
    return reduced(name, surprise, "mean", pairs)
