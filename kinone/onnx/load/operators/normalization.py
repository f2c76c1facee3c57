"""Normalisation over a batch, a layer, groups, neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ....ops.axes import normalize_axis
from ..registry import Node, operator
from ..tensors import dtype_of
from .arithmetic import as_dtype, keeping_dtype
from .reduction import length


def _epsilon(node: Node) -> float:
    return float(node.attribute("epsilon", 1e-5))


# ---- over a batch --------------------------------------------------------------------------------


@operator("BatchNormalization")
def batch_norm_by_flag(
    node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array
) -> Any:
    """Before opset 7 a flag says that it is a test; before 9 the statistics may be of every
    element on its own, not of every channel."""
    is_training = not node.attribute("is_test", 0)
    return _batch_norm(node, x, scale, bias, mean, var, is_training)


@operator("BatchNormalization", since=7)
def batch_norm_by_outputs(
    node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array
) -> Any:
    """Opsets 7 to 13: a node with outputs for the statistics is in training."""
    is_training = any(node.wants(output) for output in range(1, 5))
    return _batch_norm(node, x, scale, bias, mean, var, is_training)


@operator("BatchNormalization", since=14)
def batch_norm(node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Any:
    is_training = bool(node.attribute("training_mode", 0))
    return _batch_norm(node, x, scale, bias, mean, var, is_training)


def _batch_norm(
    node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array, is_training: bool
) -> Any:
    known, given, vectors = shape_dtype(x), shape_dtype(mean).dtype, [scale, bias, mean, var]
    if node.opset < 9 and not node.attribute("spatial", 1):
        flat = np.reshape(x, (known.shape[0], math.prod(known.shape[1:])))
        vectors, wanted = [np.reshape(each, -1) for each in vectors], shape_dtype(mean).shape
    else:  # numbers alone are examples of one channel
        flat = np.reshape(x, (-1, 1)) if known.ndim == 1 else x
        wanted = shape_dtype(flat).shape[1:2]
    if any(shape_dtype(each).shape != shape_dtype(flat).shape[1:2] for each in vectors):
        shapes = ", ".join(str(shape_dtype(each).shape) for each in vectors)
        raise node.error(f"wants a number for each channel of {known}, and is given {shapes}")
    scale, bias, mean, var = vectors
    if not is_training:
        y = ops.batch_norm_inference(
            flat, scale, bias, mean, var, epsilon=_epsilon(node), layout="NCHW"
        )
        return np.reshape(as_dtype(y, known.dtype), known.shape)
    y, now, spread = ops.batch_norm(
        flat,
        as_dtype(scale, known.dtype),
        as_dtype(bias, known.dtype),
        epsilon=_epsilon(node),
        layout="NCHW",
    )
    momentum = node.attribute("momentum", 0.9)
    statistics = [mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum)]
    if node.opset < 14:
        statistics += [now, spread]
    statistics = [np.reshape(as_dtype(each, given), wanted) for each in statistics]
    return np.reshape(as_dtype(y, known.dtype), known.shape), *statistics


# ---- over an example -----------------------------------------------------------------------------


@operator("InstanceNormalization")
def instance_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    return _group_norm(node, x, shape_dtype(x).shape[1], scale, bias)


@operator("GroupNormalization")
def group_norm_by_group(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    """Before opset 21 there is a scale and a bias for each group."""
    groups = node.attribute("num_groups")
    if shape_dtype(scale).shape == shape_dtype(bias).shape == (groups,):
        each = shape_dtype(x).shape[1] // max(groups, 1)
        scale, bias = np.repeat(scale, each), np.repeat(bias, each)
    return _group_norm(node, x, groups, scale, bias)


@operator("GroupNormalization", since=21)
def group_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    return _group_norm(node, x, node.attribute("num_groups"), scale, bias)


def _group_norm(node: Node, x: Array, groups: int, scale: Array, bias: Array) -> Array:
    known, channels = shape_dtype(x), shape_dtype(x).shape[1]
    if groups < 1 or channels % groups:
        raise node.error(f"has {groups} groups of {channels} channels")
    if any(shape_dtype(each).shape != (channels,) for each in (scale, bias)):
        shapes = f"{shape_dtype(scale).shape} and {shape_dtype(bias).shape}"
        raise node.error(f"wants a number for each channel of {known}, and is given {shapes}")
    y = ops.group_norm(x, groups, scale, bias, epsilon=_epsilon(node), layout="NCHW")
    return as_dtype(y, known.dtype)


@operator("LayerNormalization")
def layer_norm(node: Node, x: Array, scale: Array, bias: Array = None) -> Any:
    known = shape_dtype(x)
    axes = _last(node, known.ndim)
    if all(_fits(each, known.shape, axes) for each in (scale, bias)):
        y = ops.layer_norm(x, scale, bias, axis=axes, epsilon=_epsilon(node))
    else:  # of other axes, too
        y = ops.standardize(x, axes, epsilon=_epsilon(node)) * scale
        y = y if bias is None else y + bias
    y = as_dtype(y, known.dtype)
    if not node.wants(1) and not node.wants(2):
        return y
    stash = dtype_of(node.attribute("stash_type", 1))
    wide = x if known.dtype == np.float64 else as_dtype(x, np.float32)
    mean = np.mean(wide, axis=axes, keepdims=True)
    var = np.mean(np.square(wide - mean), axis=axes, keepdims=True)
    return y, as_dtype(mean, stash), as_dtype(1 / np.sqrt(var + _epsilon(node)), stash)


@operator("RMSNormalization")
def rms_norm(node: Node, x: Array, scale: Array) -> Array:
    """The result has the dtype of the scale."""
    known = shape_dtype(x)
    axes = _last(node, known.ndim)
    if _fits(scale, known.shape, axes):
        y = ops.rms_norm(x, scale, axis=axes, epsilon=_epsilon(node))
    else:
        y = ops.standardize(x, axes, epsilon=_epsilon(node), centred=False) * scale
    return as_dtype(y, shape_dtype(scale).dtype)


def _fits(factor: Array | None, shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether a scale or bias has just the axes that are normalised."""
    return factor is None or shape_dtype(factor).shape == tuple([shape[axis] for axis in axes])


def _last(node: Node, ndim: int) -> tuple[int, ...]:
    """The axes from one on."""
    return tuple(range(normalize_axis(node.attribute("axis", -1), ndim), ndim))


@operator("MeanVarianceNormalization")
@keeping_dtype
def mean_variance_norm(node: Node, x: Array) -> Array:
    axes = tuple(node.attribute("axes", [0, 2, 3]))
    ndim = shape_dtype(x).ndim
    axes = tuple([normalize_axis(axis, ndim) for axis in axes])
    centred = x - np.mean(x, axis=axes, keepdims=True)
    count = math.prod([shape_dtype(x).shape[axis] for axis in axes])
    return centred / (length(centred, axes, True) / math.sqrt(max(count, 1)) + 1e-9)


@operator("LpNormalization")
@keeping_dtype
def lp_norm(node: Node, x: Array) -> Array:
    """Divided by the sum of sizes or the length; zeros stay zeros."""
    axes = (normalize_axis(node.attribute("axis", -1), shape_dtype(x).ndim),)
    order = node.attribute("p", 2)
    if order not in (1, 2):
        raise node.error(f"has p = {order}, which is neither 1 nor 2")
    if order == 1:
        size = np.sum(np.abs(x), axis=axes, keepdims=True)
    else:
        size = length(x, axes, True)
    return x / np.where(size == 0, True, size)


@operator("LRN")
@keeping_dtype
def local_response_norm(node: Node, x: Array) -> Array:
    """Each element is divided by a power of the squares of its neighbours in the channels."""
    known, size = shape_dtype(x), node.attribute("size")
    if known.ndim < 2 or size < 1:
        raise node.error(f"has the size {size} and the input {known}")
    channels = known.shape[1]
    before, after = (size - 1) // 2, size // 2
    squares = np.square(x)
    # Neighbours beyond both ends are none: a window need not be longer than the channels.
    low, high = min(before, channels - 1), min(after, channels - 1)
    padded = np.pad(squares, [(0, 0), (low, high), *[(0, 0)] * (known.ndim - 2)])
    total = padded[:, 0:channels]
    for shift in range(1, low + high + 1):
        total = total + padded[:, shift : shift + channels]
    bias, beta = node.attribute("bias", 1.0), node.attribute("beta", 0.75)
    return x / (bias + (node.attribute("alpha", 1e-4) / size) * total) ** beta
