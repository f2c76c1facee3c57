"""Losses of numbers: squared, absolute and in between, and likelihoods with a spread."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..ops import log, log1p, softplus, stop_gradient
from .checks import kept, mask, matching, plain, reduced, require_floating


def squared_error(
    predictions: Array,
    targets: Array | None = None,
    *,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """(p - t)², per element; t = 0 without targets.

    Where `where` is false the loss is 0, and `reduction="mean"` divides by the elements that count.

    >>> import numpy as np
    >>> squared_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    array([0., 9.])

    Raises `ShapeError` when the shapes differ.
    """
    error, where = _difference("squared_error", predictions, targets, where)
    return reduced("squared_error", error**2, reduction, where)


def l2_loss(
    predictions: Array,
    targets: Array | None = None,
    *,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """½ (p - t)², per element, whose derivative is p - t; otherwise as `squared_error`.

    >>> import numpy as np
    >>> l2_loss(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    array([0. , 4.5])
    """
    error, where = _difference("l2_loss", predictions, targets, where)
    return reduced("l2_loss", 0.5 * error**2, reduction, where)


def absolute_error(
    predictions: Array,
    targets: Array | None = None,
    *,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """|p - t|, per element; the derivative where they are equal is 0. As `squared_error`.

    >>> import numpy as np
    >>> absolute_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    array([0., 3.])
    """
    error, where = _difference("absolute_error", predictions, targets, where)
    return reduced("absolute_error", np.abs(error), reduction, where)


def mse(predictions: Array, targets: Array, *, where: Array | None = None) -> Array:
    """The mean squared error: the mean of `squared_error` over all elements, a scalar.

    >>> import numpy as np
    >>> float(mse(np.array([1.0, 2.0]), np.array([1.0, 5.0])))
    4.5

    Raises `ShapeError` when the shapes differ.
    """
    error, where = _difference("mse", predictions, targets, where)
    return reduced("mse", error**2, "mean", where)


def mae(predictions: Array, targets: Array, *, where: Array | None = None) -> Array:
    """The mean absolute error: the mean of `absolute_error` over all elements, a scalar.

    >>> import numpy as np
    >>> float(mae(np.array([1.0, 2.0]), np.array([1.0, 5.0])))
    1.5

    Raises `ShapeError` when the shapes differ.
    """
    error, where = _difference("mae", predictions, targets, where)
    return reduced("mae", np.abs(error), "mean", where)


def huber_loss(
    predictions: Array,
    targets: Array | None = None,
    *,
    delta: float = 1.0,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """Squared near zero and linear beyond `delta`, per element; otherwise as `squared_error`.

        loss = ½ e²  for |e| ≤ δ,   δ (|e| - ½ δ)  beyond           e = p - t

    >>> import numpy as np
    >>> huber_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]))
    array([0.125, 2.5  ])

    Source: Huber 1964. (PyTorch's `smooth_l1_loss` is this divided by δ.)
    """
    error, where = _difference("huber_loss", predictions, targets, where)
    bound: Any = plain(delta)
    if not isinstance(bound, Tracer) and not np.all(np.greater(bound, 0)):
        raise ValueError(f"huber_loss: delta={bound} must be positive, at {source.here()}")
    size = np.abs(error)
    near = np.minimum(size, bound)
    return reduced("huber_loss", 0.5 * near**2 + bound * (size - near), reduction, where)


def log_cosh(
    predictions: Array,
    targets: Array | None = None,
    *,
    where: Array | None = None,
    reduction: str = "none",
) -> Array:
    """ln cosh(p - t), per element: about ½ e² near zero and |e| - ln 2 far off. As `squared_error`.

    Exact to round-off for small errors too, and nothing overflows; the derivative is tanh e.

    >>> import numpy as np
    >>> log_cosh(np.array([1e-5, 1.0, 1000.0])).round(12)
    array([5.00000000e-11, 4.33780830e-01, 9.99306853e+02])
    """
    error, where = _difference("log_cosh", predictions, targets, where)
    is_near = np.abs(error) < 1
    # cosh e = 1 + 2 sinh²(e/2) keeps the digits near zero; far off, |e| + ln(1 + e^-2|e|) - ln 2.
    near = log1p(2 * np.sinh(np.where(is_near, error, np.zeros_like(error)) / 2) ** 2)
    size = np.abs(np.where(is_near, np.ones_like(error), error))
    far = size + softplus(-2 * size) - math.log(2)
    return reduced("log_cosh", np.where(is_near, near, far), reduction, where)


def gaussian_nll_loss(
    predictions: Array,
    targets: Array,
    variance: Array,
    *,
    full: bool = False,
    epsilon: float = 1e-6,
    reduction: str = "none",
) -> Array:
    """The surprise of targets under a normal distribution with a predicted variance, per element.

        loss = ½ (ln v + (p - t)² / v)      v = max(variance, ε); plus ½ ln 2π when `full`

    `variance`: floats of the shape of `predictions`, or with a last axis of length 1. Below ε its
    derivative is that at ε, so that a collapsed variance can recover.

        >>> import numpy as np
        >>> gaussian_nll_loss(np.array([0.0, 1.0]), np.array([0.0, 3.0]), np.array([1.0, 4.0]))
        array([0.        , 1.19314718])

    Source: Nix and Weigend 1994. Raises `ShapeError` when the shapes differ, `ValueError` for a
    negative variance.
    """
    name = "gaussian_nll_loss"
    targets = matching(name, "predictions", predictions, "targets", targets)
    shape = np.shape(predictions)
    if np.shape(variance) == (*shape[:-1], 1):
        variance = np.broadcast_to(variance, shape)
    variance = matching(name, "predictions", predictions, "variance", variance)
    if not isinstance(variance, Tracer) and (np.asarray(variance) < 0).any():
        raise ValueError(f"{name}: variance must not be negative, at {source.here()}")
    variance = variance + stop_gradient(np.maximum(variance, plain(epsilon)) - variance)
    loss = 0.5 * (log(variance) + (predictions - targets) ** 2 / variance)
    return reduced(name, loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def poisson_nll_loss(
    predictions: Array,
    targets: Array,
    *,
    log_input: bool = True,
    full: bool = False,
    epsilon: float = 1e-8,
    reduction: str = "none",
) -> Array:
    """The surprise of counts under a Poisson distribution with a predicted rate, per element.

        loss = exp(p) - t · p          p = ln rate;  p - t · ln(p + ε)  with `log_input=False`

    `full` adds Stirling's ln t! ≈ t ln t - t + ½ ln 2πt for t > 1.

        >>> import numpy as np
        >>> poisson_nll_loss(np.array([0.0, 1.0]), np.array([1, 3])).round(4)
        array([ 1.    , -0.2817])

    Raises `ShapeError` when the shapes differ.
    """
    name = "poisson_nll_loss"
    targets = matching(name, "predictions", predictions, "targets", targets)
    if log_input:
        loss = np.exp(predictions) - targets * predictions
    else:
        loss = predictions - targets * log(predictions + plain(epsilon))
    if full:
        many = targets > 1
        count = np.where(many, targets, np.ones_like(targets))
        stirling = count * log(count) - count + 0.5 * log(2 * math.pi * count)
        loss = loss + np.where(many, stirling, np.zeros_like(targets))
    return reduced(name, loss, reduction)


def _difference(
    name: str, predictions: Array, targets: Array | None, where: Array | None
) -> tuple[Array, Array | None]:
    """What separates predictions and targets, 0 where it does not count; and the mask."""
    if targets is None:
        require_floating(name, "predictions", predictions)
        error = predictions
    else:
        error = predictions - matching(name, "predictions", predictions, "targets", targets)
    where = mask(name, where, shape_dtype(error).shape)
    return kept(where, error), where
