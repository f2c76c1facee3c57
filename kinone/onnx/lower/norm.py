"""Normalisation: single nodes where ONNX has them, and the formula where they would lose digits.

ONNX's attributes are float32 numbers, and some of these operators keep float32 statistics of
float64 tensors; so float64 programs have the formula, or ε added to the variance beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..export import dims
from ..export.builder import Builder
from ..export.dims import Dim, Size
from ..export.merge import Step
from ..export.rules import lowers, lowers_composite, options, through
from ..export.values import Value
from .common import out
from .windows import channels_first

_SINGLE = ("float16", "float32")


def _is_single(number: float) -> bool:
    """Whether an attribute holds the very number."""
    return float(np.float32(number)) == number


# ---- batch normalisation -------------------------------------------------------------------------


@lowers_composite("BatchNormalization")
def _batch_norm_inference(
    b: Builder, step: Step, x: Value, scale: Value, bias: Value, mean: Value, var: Value
) -> Value | None:
    shape, dtype = out(step)
    if dtype.kind != "f":
        return None
    given = options(step)
    epsilon = float(given.get("epsilon", 1e-5))
    first = given.get("layout", "NHWC").startswith("NC") and x.ndim > 2
    order = tuple(range(x.ndim)) if first or x.ndim == 2 else channels_first(x.ndim)
    # Of float16 the statistics are float32, for they may be too large for float16.
    wide = np.result_type(dtype, mean.dtype, var.dtype)
    scale, bias, mean, var = (b.cast(v, wide) for v in (scale, bias, mean, var))
    if wide == np.float64 and not _is_single(epsilon):
        var = _plus(b, var, epsilon)
        epsilon = 0.0
    x = b.ordered(b.cast(x, wide), order)
    y = b.node(
        "BatchNormalization",
        [x, scale, bias, mean, var],
        shape,
        wide,
        order=order,
        epsilon=epsilon,
    )
    return b.cast(y, dtype)


def _plus(b: Builder, x: Value, number: float) -> Value:
    if x.known is not None:
        return b.constant(x.known + x.dtype.type(number), name=x.name and f"{x.name}/epsilon")
    return b.node("Add", [x, b.constant(number, x.dtype)], x.shape, x.dtype)


@lowers("batch_norm")
def _batch_norm(b: Builder, step: Step, x: Value, scale: Value, bias: Value) -> Sequence[Value]:
    """The batch's mean and variance, and normalisation by them.

    Not by the operator's `training_mode`: ONNX Runtime writes its statistics over the tensors that
    it was given, which other nodes may read.
    """
    (shape, dtype), (_, wide) = out(step), out(step, 1)
    epsilon = step.params["epsilon"]
    if (wide == np.float64 and not _is_single(epsilon)) or 0 in shape:
        return through(b, _by_formula, x, scale, bias, epsilon=epsilon, wide=wide, dtype=dtype)
    order = channels_first(x.ndim)
    x = b.ordered(b.cast(x, wide), order)
    mean, var = through(b, _moments, x)
    statistics = [b.cast(scale, wide), b.cast(bias, wide), mean, var]
    y = b.node("BatchNormalization", [x, *statistics], shape, wide, order=order, epsilon=epsilon)
    return b.cast(y, dtype), mean, var


def _moments(x: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    mean = np.mean(x, axes)
    return mean, np.mean(np.square(x - mean), axes)


def _by_formula(x: Any, scale: Any, bias: Any, *, epsilon: float, wide: Any, dtype: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    x = x.astype(wide)
    mean = np.mean(x, axes)
    centred = x - mean
    var = np.mean(centred * centred, axes)
    y = centred * (scale.astype(wide) / np.sqrt(var + wide.type(epsilon))) + bias.astype(wide)
    return y.astype(dtype), mean, var


@lowers("batch_norm_gradient")
def _batch_norm_gradient(b: Builder, step: Step, *operands: Value) -> Sequence[Value]:
    """The operands are g, x, scale, mean and 1 / √(var + ε)."""
    dtype = out(step)[1]
    return through(b, _gradient, *[b.cast(x, dtype) for x in operands])


def _gradient(g: Any, x: Any, scale: Any, mean: Any, inverse: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    normal = (x - mean) * inverse
    bias = np.sum(g, axes)
    product = np.sum(g * normal, axes)
    count = 1
    for size in x.shape[:-1]:
        count *= size
    part = np.asarray(1 / max(count, 1), x.dtype)
    dx = (g - bias * part - normal * (product * part)) * (scale * inverse)
    return dx, product, bias


# ---- layer, group, instance and RMS normalisation ------------------------------------------------


@lowers("standardize")
def _standardize(b: Builder, step: Step, x: Value) -> Sequence[Value]:
    (shape, dtype), wide = out(step), out(step, 1)[1]
    params = step.params
    axes, epsilon = params["axes"], params["epsilon"]
    lengths = [shape[axis] for axis in axes]
    single = wide == np.float32 and params["centred"]
    if not single or 0 in shape or any(isinstance(size, Dim) for size in lengths):
        return through(b, _standardized, x, **params, wide=wide, dtype=dtype)
    x = b.cast(x, wide)
    scale = b.expand(b.constant(1, wide), [shape[axis] for axis in axes])
    y = _layer_norm(b, x, axes, [scale], epsilon)
    inverse = through(b, _standardized, x, **params, wide=wide, dtype=wide)[1]
    return b.cast(y, dtype), inverse


def _standardized(
    x: Any, *, axes: Any, epsilon: float, centred: bool, wide: Any, dtype: Any
) -> Any:
    x = x.astype(wide)
    if centred:
        x = x - np.mean(x, axes, keepdims=True)
    squares = np.mean(x * x, axes, keepdims=True)
    inverse = wide.type(1) / np.sqrt(squares + wide.type(epsilon))
    return (x * inverse).astype(dtype), inverse


def _last(x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    """An order in which these axes lie last, in increasing order; that of the tensor if it is."""
    rest = [axis for axis in x.order if axis not in axes]
    return (*rest, *sorted(axes))


def _layer_norm(
    b: Builder, x: Value, axes: Sequence[int], factors: Sequence[Value], epsilon: float
) -> Value:
    """The node with one output: where its third is read, ONNX Runtime 1.19 makes of it and of a sum
    before it a SkipLayerNormalization, which has no third."""
    order = _last(x, axes)
    x = b.ordered(x, order)
    return b.node(
        "LayerNormalization",
        [x, *factors],
        x.shape,
        x.dtype,
        order=order,
        axis=-len(axes),
        epsilon=epsilon,
    )


@lowers_composite("LayerNormalization")
def _layer_norm_affine(b: Builder, step: Step, x: Value, *factors: Value) -> Value | None:
    shape, dtype = out(step)
    given = options(step)
    axes = given["axes"]
    if dtype.name not in _SINGLE or any(isinstance(n, Dim) for f in factors for n in f.shape):
        return None
    if 0 in shape:
        return None
    operands = [b.cast(v, np.float32) for v in (x, *factors)]
    return b.cast(_layer_norm(b, operands[0], axes, operands[1:], given["epsilon"]), dtype)


@lowers_composite("RMSNormalization")
def _rms_norm(b: Builder, step: Step, x: Value, scale: Value) -> Value | None:
    shape, dtype = out(step)
    given = options(step)
    axes = given["axes"]
    if b.opset < 23 or dtype.name not in _SINGLE or 0 in shape:
        return None
    order = _last(x, axes)
    x = b.ordered(b.cast(x, dtype), order)
    return b.node(
        "RMSNormalization",
        [x, b.cast(scale, dtype)],
        shape,
        dtype,
        order=order,
        axis=-len(axes),
        epsilon=given["epsilon"],
    )


@lowers_composite("GroupNormalization")
def _group_norm(b: Builder, step: Step, x: Value, *factors: Value) -> Value | None:
    shape, dtype = out(step)
    given = options(step)
    groups, place = given["groups"], given["place"]
    channels = shape[place]
    if dtype.name not in _SINGLE or 0 in shape or isinstance(channels, Dim):
        return None
    order = tuple(range(x.ndim)) if place == 1 else channels_first(x.ndim)
    x = b.ordered(b.cast(x, dtype), order)
    found = [b.cast(each, dtype) for each in factors]
    found += [b.constant(np.full(channels, i == 0, dtype)) for i in range(len(found), 2)]
    epsilon = given["epsilon"]
    if groups == channels and x.ndim > 2:
        return b.node(
            "InstanceNormalization", [x, *found], shape, dtype, order=order, epsilon=epsilon
        )
    if b.opset >= 21:
        return b.node(
            "GroupNormalization",
            [x, *found],
            shape,
            dtype,
            order=order,
            epsilon=epsilon,
            num_groups=groups,
        )
    # Before, as PyTorch writes it: the groups as channels, and the factors afterwards.
    rows = b.reshape(x.reordered(order), (shape[0], groups, *_joined(x, groups)))
    ones, zeros = (b.constant(np.full(groups, number, dtype)) for number in (1, 0))
    rows = b.node("InstanceNormalization", [rows, ones, zeros], rows.shape, dtype, epsilon=epsilon)
    y = b.reshape(rows, x.physical).reordered([order.index(axis) for axis in range(x.ndim)])
    for op, factor in zip(("Mul", "Add"), found[: len(factors)], strict=False):
        factor = b.reshape(factor, (channels, *[1] * (x.ndim - 2)))
        y = b.node(op, [y, factor], shape, dtype, order=order)
    return y


def _joined(x: Value, groups: int) -> tuple[Size, ...]:
    """The elements of a group as one axis."""
    return (dims.product(x.physical[1:]) // groups,)


# ---- softmax -------------------------------------------------------------------------------------


@lowers("softmax", "log_softmax")
def _softmax(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    op = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[step.primitive.name]
    axis = x.order.index(step.params["axis"])
    return b.node(op, [b.cast(x, dtype)], shape, dtype, order=x.order, axis=axis)
