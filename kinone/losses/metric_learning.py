"""Losses of embeddings and rankings: what belongs together comes closer than what does not."""

from __future__ import annotations

import numpy as np

from .. import source
from ..core import Array, shape_dtype
from ..errors import ShapeError
from ..ops import astype, logaddexp, logsumexp
from .checks import broadcasts, integers, mask, matching, plain, reduced, require_floating
from .divergence import cosine_similarity
from .softmax import softmax_cross_entropy


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
        apart = np.abs(anchors - other) ** plain(norm_degree)
        return (np.sum(apart, axis=axis) + plain(eps)) ** (1 / plain(norm_degree))

    loss = np.maximum(distance(positives) - distance(negatives) + plain(margin), 0)
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
    return reduced(name, np.maximum(plain(margin) - targets * (first - second), 0), reduction)


def ranking_softmax_loss(
    logits: Array,
    labels: Array,
    *,
    where: Array | None = None,
    weights: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """The cross-entropy of a ranking: what is relevant should score above the rest of its list.

        loss = -Σⱼ wⱼ yⱼ · ln softmax(x)ⱼ          over the items of one list

    `logits` x: floats `[..., items]`; `labels` y: how relevant each item is, 0 or more, of the same
    shape; `where`: which items there are; `weights` w of items, or `[..., 1]` of lists. The mean,
    here the default as in optax, is over the lists that have items, and 0 when none has.

        >>> import numpy as np
        >>> x, y = np.array([[2.0, 1.0, 3.0]]), np.array([[1.0, 0.0, 0.0]])
        >>> float(ranking_softmax_loss(x, y).round(4))
        1.4076

    Source: Cao et al. 2007 (ListNet). Raises `ShapeError` when the shapes differ.
    """
    name = "ranking_softmax_loss"
    labels = matching(name, "logits", logits, "labels", labels)
    known = shape_dtype(logits)
    where = mask(name, where, known.shape)
    if weights is not None:
        if not broadcasts(np.shape(weights), known.shape):
            raise ShapeError(
                f"{name}: weights have shape {np.shape(weights)} and must broadcast to the logits "
                f"{known}, at {source.here()}"
            )
        labels = labels * astype(weights, known.dtype)
    loss = softmax_cross_entropy(logits, labels, where=where)
    if reduction != "mean" or where is None:
        return reduced(name, loss, reduction)
    lists = np.sum(astype(np.any(where, axis=-1), known.dtype))
    return np.sum(loss) / np.maximum(lists, 1)


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
    apart = np.maximum(plain(margin) - distances, 0)
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
    near = near / plain(temperature)
    same = labels[:, None] == labels[None]
    others = logsumexp(np.where(same, np.full_like(near, -np.inf), near), axis=1, keepdims=True)
    pairs = same & ~np.eye(count, dtype=bool)
    surprise = logaddexp(near, np.broadcast_to(others, near.shape)) - near
    return reduced(name, surprise, "mean", pairs)
