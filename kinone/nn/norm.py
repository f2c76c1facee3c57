"""Batch normalisation, with running statistics; norms without are in `layer_norm`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops, source
from ..core import Array, ShapeDtype, shape_dtype, shape_error, shape_of
from ..ops.spatial import channels_first, to_channels_first, to_channels_last
from ..random import Key
from .initializers import Initializer, ones, zeros
from .layer import Layer, Params, State, describe, entries, parameter_dtype, real_number


def BatchNorm(
    *,
    momentum: float | None = 0.1,
    epsilon: float = 1e-5,
    layout: str = "NHWC",
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
) -> Layer:
    """Gives every channel mean 0 and variance 1 over the batch, then a mean and scale of its own.

    y = scale · (x - mean) / √(var + epsilon) + bias

    In training, `mean` and `var` are those of the batch, over all axes but the channels', and the
    state moves towards them: running ← (1 - momentum) · running + momentum · batch. As in PyTorch,
    `momentum` is the weight of the new batch (Keras and Flax mean the weight of the old), and the
    running variance takes the unbiased one, n / (n - 1) times that of the formula. Otherwise `mean`
    and `var` are the running ones, and the state stays. With `momentum=None` they are the plain
    average over all batches so far, whose number is `state["count"]`.

    With a mask the input is `{"x": x, "mask": mask}`: `mask` is True for what counts, over the
    first axes of x without its channels, such as (N,) or (N, *spatial), or with as many axes as x
    and 1 for the channels. What it leaves out has no part in the statistics, comes out as 0 and
    gets the gradient 0, whatever it is, NaN too.

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
        >>> y.round(3).tolist(), [round(float(state[name][0]), 6) for name in ("mean", "var")]
        ([[-1.0], [1.0]], [0.2, 1.7])
    """
    name = describe(
        "BatchNorm",
        momentum=(momentum, 0.1),
        epsilon=(epsilon, 1e-5),
        layout=(layout, "NHWC"),
        use_scale=(use_scale, True),
        use_bias=(use_bias, True),
    )
    first = channels_first(layout)
    epsilon = real_number(epsilon, "epsilon", 0)
    momentum = None if momentum is None else real_number(momentum, "momentum")
    if momentum is not None and not 0 <= momentum <= 1:
        raise ValueError(
            f"momentum={momentum} is not between 0 and 1: it weighs the new batch, "
            f"at {source.here()}"
        )

    def channels_of(x: Array | ShapeDtype) -> int:
        shape: tuple[int, ...] = x.shape if isinstance(x, ShapeDtype) else shape_of(x)
        if len(shape) < 2:
            raise shape_error(name, "BatchNorm wants an axis of examples and one of channels", x)
        return shape[1] if first else shape[-1]

    def init(key: Key, x: Any) -> tuple[Params, State]:
        x, _ = _parts(x, name)
        shape, dtype = (channels_of(x),), parameter_dtype(x)
        params = {}
        if use_scale:
            params["scale"] = scale_init(key["scale"], shape, dtype)
        if use_bias:
            params["bias"] = bias_init(key["bias"], shape, dtype)
        wide = np.result_type(dtype, np.float32)  # a variance may be too large for float16
        state = {"mean": np.zeros(shape, wide), "var": np.ones(shape, wide)}
        return params, state if momentum is not None else {**state, "count": np.zeros((), np.int64)}

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        x, mask = _parts(x, name)
        shape, dtype = (channels_of(x),), parameter_dtype(shape_dtype(x))
        scale, bias = entries(
            params, name, scale=shape if use_scale else None, bias=shape if use_bias else None
        )
        scale = np.ones(shape, dtype) if scale is None else scale
        bias = np.zeros(shape, dtype) if bias is None else bias
        batches = () if momentum is None else None
        mean, var, batches = entries(state, name, mean=shape, var=shape, count=batches)
        if mask is not None:
            mask = _placed(mask, x, name, first)
            x = np.where(mask, x, 0)
        if not train:
            y = ops.batch_norm_inference(x, scale, bias, mean, var, epsilon=epsilon, layout=layout)
            return (y if mask is None else np.where(mask, y, 0)), state
        some: Array | None = None
        if mask is not None:
            y, batch_mean, unbiased, some = _masked(x, mask, scale, bias, epsilon, layout)
        else:
            count = math.prod(shape_of(x)) // max(channels_of(x), 1)
            if count < 2:
                raise shape_error(
                    name,
                    f"in training a channel wants more than {count} element, to have a variance: "
                    "make the batch larger (drop_last=True leaves out a small last one), or pass "
                    "train=False",
                    x,
                )
            y, batch_mean, batch_var = ops.batch_norm(
                x, scale, bias, epsilon=epsilon, layout=layout
            )
            unbiased = batch_var * (count / (count - 1))
        # Running statistics are no part of the loss: nothing is kept for their derivative.
        kept = shape_dtype(mean).dtype  # whatever the input's: the state's dtype is for ever
        new_mean, new_var = (
            each.astype(kept) for each in ops.stop_gradient((batch_mean, unbiased))
        )
        weight: Any = momentum
        new = {}
        if momentum is None:
            new["count"] = batches + (1 if some is None else np.any(some))
            weight = (1 / np.maximum(new["count"], 1)).astype(shape_dtype(mean).dtype)
        if some is not None:  # a channel of which all is left out keeps what it had
            weight = np.where(some, weight, 0).astype(shape_dtype(mean).dtype)
        return y, {
            "mean": (1 - weight) * mean + weight * new_mean,
            "var": (1 - weight) * var + weight * new_var,
            **new,
        }

    return Layer(init, apply, name)


def _parts(x: Any, name: str) -> tuple[Any, Any]:
    """The input and its mask, None where there is none."""
    if not isinstance(x, dict):
        return x, None
    if "x" not in x or x.keys() - {"x", "mask"}:
        raise TypeError(
            f'{name} takes an array or {{"x": x, "mask": mask}}, got the keys '
            f"{', '.join(map(str, x))}, at {source.here()}"
        )
    return x["x"], x.get("mask")


def _placed(mask: Array, x: Array, name: str, first: bool) -> Array:
    """The mask with the axes of x."""
    known, shape = shape_dtype(mask), shape_of(x)
    examples = (shape[0], *(shape[2:] if first else shape[1:-1]))
    lengths = known.shape
    if known.dtype.kind == "b":
        place = 1 if first else len(shape) - 1
        if len(lengths) < len(shape) and lengths == examples[: len(lengths)] and lengths:
            filled = [*lengths, *[1] * (len(shape) - 1 - len(lengths))]
            filled.insert(place, 1)
            return np.reshape(mask, tuple(filled))
        if len(lengths) == len(shape) and all(
            n in (1, size) for n, size in zip(lengths, shape, strict=True)
        ):
            return mask
    raise shape_error(
        name,
        f"a mask of {known} does not tell which of {shape_dtype(x)} count: pass booleans of shape "
        f"{examples}, or of its first axes",
        x,
        mask,
    )


def _masked(
    x: Array, mask: Array, scale: Array, bias: Array, epsilon: float, layout: str
) -> tuple[Array, Array, Array, Array]:
    """The output, and each channel's mean, unbiased variance, and whether the mask leaves anything.

    x is 0 where the mask is False.
    """
    mask = np.broadcast_to(mask, shape_of(x))
    first = channels_first(layout)
    x, mask = (to_channels_last(x), to_channels_last(mask)) if first else (x, mask)
    known = shape_dtype(x).dtype
    x = x.astype(np.result_type(known, np.float32))
    axes = tuple(range(len(shape_of(x)) - 1))
    count = np.sum(mask, axis=axes).astype(shape_dtype(x).dtype)
    mean = np.sum(x, axis=axes) / np.maximum(count, 1)
    centred = np.where(mask, x - mean, 0)
    squares = np.sum(np.square(centred), axis=axes)
    var = squares / np.maximum(count, 1)
    y = np.where(mask, centred * (scale / np.sqrt(var + epsilon)) + bias, 0)
    y = y.astype(np.result_type(known, shape_dtype(scale).dtype, shape_dtype(bias).dtype))
    y = to_channels_first(y) if first else y
    return y, mean, squares / np.maximum(count - 1, 1), count > 0
