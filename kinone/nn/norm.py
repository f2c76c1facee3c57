"""Normalisation layers."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..core import Array, ShapeDtype, shape_error, shape_of
from ..ops.spatial import channels_first
from ..random import Key
from .initializers import Initializer, ones, zeros
from .layer import Layer, Params, State, describe, entry, parameter_dtype


def BatchNorm(
    *,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    layout: str = "NHWC",
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
) -> Layer:
    """Gives every channel mean 0 and variance 1 over the batch, then a mean and scale of its own.

    y = scale · (x - mean) / √(var + epsilon) + bias

    In training, `mean` and `var` are those of the batch, over all axes but the channels', and the
    state moves towards them: running ← (1 - momentum) · running + momentum · batch. As in PyTorch,
    `momentum` is the weight of the new batch (Keras and Flax mean the weight of the old), and the
    running variance takes the unbiased one, n / (n - 1) times that of the formula. Otherwise `mean`
    and `var` are the running ones, and the state stays.

    (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`; all of `params["scale"]`,
    `params["bias"]`, `state["mean"]` and `state["var"]` are (C,), and start at 1, 0, 0 and 1.
    `scale_init=zeros` in the last norm of a residual block makes the block start as the identity
    (Goyal et al. 2017, arXiv:1706.02677).

    Raises `ShapeError` when the channels do not fit, or when a training batch has only one element
    for a channel: its variance would be 0 whatever it is.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167.

        >>> from kinone import random
        >>> norm = BatchNorm()
        >>> params, state = norm.init(random.key(0), (1, 1))
        >>> y, state = norm.apply(params, state, np.array([[0.0], [4.0]]), train=True)
        >>> y.round(3).tolist(), state["mean"].tolist(), state["var"].round(6).tolist()
        ([[-1.0], [1.0]], [0.2], [1.7])
    """
    name = describe(
        "BatchNorm",
        momentum=(momentum, 0.1),
        epsilon=(epsilon, 1e-5),
        layout=(layout, "NHWC"),
    )
    first = channels_first(layout)
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum={momentum} is not between 0 and 1: it weighs the new batch")

    def channels_of(x: Array | ShapeDtype) -> int:
        shape: tuple[int, ...] = x.shape if isinstance(x, ShapeDtype) else shape_of(x)
        if len(shape) < 2:
            raise shape_error(name, "BatchNorm wants an axis of examples and one of channels", x)
        return shape[1] if first else shape[-1]

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        shape, dtype = (channels_of(x),), parameter_dtype(x)
        params = {
            "scale": scale_init(key["scale"], shape, dtype),
            "bias": bias_init(key["bias"], shape, dtype),
        }
        wide = np.result_type(dtype, np.float32)  # a variance may be too large for float16
        return params, {"mean": np.zeros(shape, wide), "var": np.ones(shape, wide)}

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        scale, bias = entry(params, "scale", name), entry(params, "bias", name)
        mean, var = entry(state, "mean", name), entry(state, "var", name)
        if not train:
            y = ops.batch_norm_inference(x, scale, bias, mean, var, epsilon=epsilon, layout=layout)
            return y, state
        count = math.prod(shape_of(x)) // max(channels_of(x), 1)
        if count < 2:
            raise shape_error(
                name,
                f"in training a channel wants more than {count} element, to have a variance: "
                "make the batch larger (drop_last=True leaves out a small last one), or pass "
                "train=False",
                x,
            )
        y, batch_mean, batch_var = ops.batch_norm(x, scale, bias, epsilon=epsilon, layout=layout)
        # Running statistics are no part of the loss: nothing is kept for their derivative.
        new_mean, new_var = ops.stop_gradient((batch_mean, batch_var * (count / (count - 1))))
        return y, {
            "mean": (1 - momentum) * mean + momentum * new_mean,
            "var": (1 - momentum) * var + momentum * new_var,
        }

    return Layer(init, apply, name)
