"""Activation functions, softmax and its kin, losses, dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ....ops.axes import normalize_axis
from ..registry import Node, operator
from .arithmetic import keeping_dtype, plain

operator("Relu")(plain(ops.relu))
operator("Sigmoid")(plain(ops.sigmoid))
operator("Softplus")(plain(ops.softplus))
operator("Softsign")(plain(ops.softsign))
operator("HardSwish")(plain(ops.hard_swish))
operator("Mish")(plain(ops.mish))

# The defaults that are no short decimals, as the float32 that ONNX has.
_SELU_ALPHA = 1.67326319217681884765625
_SELU_GAMMA = 1.05070102214813232421875


@operator("LeakyRelu")
@keeping_dtype
def leaky_relu(node: Node, x: Array) -> Array:
    return ops.leaky_relu(x, node.attribute("alpha", 0.01))


@operator("PRelu")
def parametric_relu_by_channel(node: Node, x: Array, slope: Array) -> Array:
    """A slope for each channel, of which no axis had to be written."""
    ndim = shape_dtype(x).ndim
    if shape_dtype(slope).ndim == 1 and shape_dtype(slope).size > 1 and ndim > 2:
        slope = np.reshape(slope, (-1, *[1] * (ndim - 2)))
    return parametric_relu(node, x, slope)


@operator("PRelu", since=7)
def parametric_relu(node: Node, x: Array, slope: Array) -> Array:
    if shape_dtype(x).dtype.kind in "iu":
        return np.where(x < 0, x * slope, x)
    return ops.leaky_relu(x, slope)


@operator("Elu")
@keeping_dtype
def elu(node: Node, x: Array) -> Array:
    return ops.elu(x, node.attribute("alpha", 1.0))


@operator("Celu")
@keeping_dtype
def celu(node: Node, x: Array) -> Array:
    alpha = node.attribute("alpha", 1.0)
    if alpha > 0:
        return ops.celu(x, alpha)
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0)


@operator("Selu")
@keeping_dtype
def selu(node: Node, x: Array) -> Array:
    alpha, gamma = node.attribute("alpha", _SELU_ALPHA), node.attribute("gamma", _SELU_GAMMA)
    if (alpha, gamma) == (_SELU_ALPHA, _SELU_GAMMA) and shape_dtype(x).dtype == np.float32:
        return ops.selu(x)  # the same in float32
    return gamma * ops.elu(x, alpha)


@operator("ThresholdedRelu")
@keeping_dtype
def thresholded_relu(node: Node, x: Array) -> Array:
    return np.where(x > node.attribute("alpha", 1.0), x, 0)


@operator("Shrink")
@keeping_dtype
def shrink(node: Node, x: Array) -> Array:
    """Nothing is left of what is between ±lambd; the rest comes nearer to 0 by `bias`."""
    bias, lambd = node.attribute("bias", 0.0), node.attribute("lambd", 0.5)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


@operator("HardSigmoid")
@keeping_dtype
def hard_sigmoid(node: Node, x: Array) -> Array:
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if (alpha, beta) == (float(np.float32(1 / 6)), 0.5) and shape_dtype(x).dtype == np.float32:
        return ops.hard_sigmoid(x)
    return np.clip(alpha * x + beta, 0, 1)


@operator("Gelu")
@keeping_dtype
def gelu(node: Node, x: Array) -> Array:
    return ops.gelu(x, approximate=node.attribute("approximate", "none") == "tanh")


@operator("Swish")
@keeping_dtype
def swish(node: Node, x: Array) -> Array:
    alpha = node.attribute("alpha", 1.0)
    return ops.swish(x) if alpha == 1 else x * ops.sigmoid(alpha * x)


@operator("SwiGLU")
def swish_gate(node: Node, gate: Array, x: Array) -> Array:
    return swish(node, gate) * x


# ---- along an axis -------------------------------------------------------------------------------


@operator("Softmax", "LogSoftmax", "Hardmax")
def flattened_softmax(node: Node, x: Array) -> Array:
    """Before opset 13: over all axes from one on."""
    shape = shape_dtype(x).shape
    axis = node.attribute("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis <= len(shape):
        raise node.error(f"has the axis {axis} of an input with {len(shape)} axes")
    table = np.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return np.reshape(_SOFTMAX[node.op](table, 1), shape)


@operator("Softmax", "LogSoftmax", "Hardmax", since=13)
def softmax(node: Node, x: Array) -> Array:
    return _SOFTMAX[node.op](x, normalize_axis(node.attribute("axis", -1), shape_dtype(x).ndim))


def _hardmax(x: Array, axis: int) -> Array:
    """1 at the first largest element, 0 elsewhere."""
    known = shape_dtype(x)
    if not known.shape[axis]:
        return x
    places = np.reshape(np.arange(known.shape[axis]), (-1, *[1] * (known.ndim - 1 - axis)))
    return ops.astype(places == np.argmax(x, axis=axis, keepdims=True), known.dtype)


_SOFTMAX = {"Softmax": ops.softmax, "LogSoftmax": ops.log_softmax, "Hardmax": _hardmax}


# ---- losses --------------------------------------------------------------------------------------


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node, x: Array, target: Array, weight: Array = None) -> Array:
    return _likelihood_loss(node, x, target, weight)


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    node: Node, scores: Array, labels: Array, weights: Array = None
) -> tuple[Array, Array]:
    logs = ops.log_softmax(scores, 1)
    return _likelihood_loss(node, logs, labels, weights), logs


def _likelihood_loss(node: Node, logs: Array, target: Array, weight: Array | None) -> Array:
    """-logs[target] along axis 1, weighted by class, 0 where the target is to be ignored. The mean
    is that with these weights."""
    known = shape_dtype(logs)
    if known.ndim < 2 or shape_dtype(target).shape != (known.shape[0], *known.shape[2:]):
        raise node.error(f"does not fit: scores {known}, labels {shape_dtype(target)}")
    ignored: Any = node.attribute("ignore_index", None)
    kept = None if ignored is None else target != ignored
    place = target if kept is None else np.where(kept, target, target - target)
    picked = np.take_along_axis(logs, np.expand_dims(place, 1), 1)
    loss = -np.squeeze(picked, 1)
    factor = None if weight is None else ops.take(weight, place)
    if kept is not None:
        factor = ops.astype(kept, known.dtype) if factor is None else np.where(kept, factor, 0)
        loss = np.where(kept, loss, 0)
    loss = loss if factor is None else loss * factor
    reduction = node.attribute("reduction", "mean")
    if reduction == "none":
        return loss
    if reduction == "sum":
        return np.sum(loss)
    if reduction != "mean":
        raise node.error(f"has the reduction {reduction!r}, which is none of none, sum, mean")
    return np.mean(loss) if factor is None else np.sum(loss) / np.sum(factor)
