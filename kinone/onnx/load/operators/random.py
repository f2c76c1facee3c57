"""Random numbers, and windows of signals.

ONNX names no generator. These are the numbers of NumPy's `RandomState`, whose stream never changes,
as in the `onnx` package's reference: a node with a seed always draws the same ones, and one
without takes its seed from its name. So a model stays a pure function.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from .... import ops
from ....core import Array, shape_dtype
from ..known import flag, integer, is_known, known
from ..registry import Node, operator
from ..tensors import dtype_of


def _state(node: Node) -> np.random.RandomState:
    seed = node.attribute("seed", None)
    if seed is None:
        seed = zlib.crc32(" ".join([node.op, node.name, *node.outputs]).encode())
    if not math.isfinite(seed):
        raise node.error(f"has the seed {seed}")
    return np.random.RandomState(int(seed) % 2**32)


def _dtype(node: Node, like: Array = None) -> np.dtype[Any]:
    """The dtype that the node names, or that of its input."""
    code = node.attribute("dtype", None)
    if code is not None:
        return dtype_of(code)
    return dtype_of(TensorProto.FLOAT) if like is None else shape_dtype(like).dtype


def _float_dtype(node: Node, like: Array = None) -> np.dtype[Any]:
    dtype = _dtype(node, like)
    if dtype.kind != "f" and dtype.name != "bfloat16":
        raise node.error(f"draws {dtype}, which is no floating-point type")
    return dtype


def _shape(node: Node) -> tuple[int, ...]:
    shape = tuple(node.attribute("shape"))
    if any(size < 0 for size in shape):
        raise node.error(f"has the shape {list(shape)}")
    return shape


def _uniform(node: Node, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    low, high = node.attribute("low", 0.0), node.attribute("high", 1.0)
    return np.asarray(_state(node).random_sample(shape) * (high - low) + low).astype(dtype)


def _normal(node: Node, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    mean, scale = node.attribute("mean", 0.0), node.attribute("scale", 1.0)
    return np.asarray(_state(node).standard_normal(shape) * scale + mean).astype(dtype)


@operator("RandomUniform")
def random_uniform(node: Node) -> Array:
    return _uniform(node, _shape(node), _float_dtype(node))


@operator("RandomUniformLike")
def random_uniform_like(node: Node, x: Array) -> Array:
    return _uniform(node, shape_dtype(x).shape, _float_dtype(node, x))


@operator("RandomNormal")
def random_normal(node: Node) -> Array:
    return _normal(node, _shape(node), _float_dtype(node))


@operator("RandomNormalLike")
def random_normal_like(node: Node, x: Array) -> Array:
    return _normal(node, shape_dtype(x).shape, _float_dtype(node, x))


@operator("Bernoulli")
def bernoulli(node: Node, p: Array) -> Array:
    """1 with the probability p, else 0: what `RandomState.binomial(1, p)` draws."""
    drawn = _state(node).random_sample(shape_dtype(p).shape)
    p, dtype = ops.astype(p, np.float64), _dtype(node, p)
    return ops.astype(np.where(p > 0.5, drawn <= p, drawn > 1 - p), dtype)


@operator("Multinomial")
def multinomial(node: Node, logits: Array) -> Array:
    """Classes [batch, samples], of unnormalised log-probabilities [batch, classes]."""
    known = shape_dtype(logits)
    if known.ndim != 2 or not known.shape[1]:
        raise node.error(f"draws from {known}, not from classes for each of a batch")
    samples = node.attribute("sample_size", 1)
    drawn = _state(node).random_sample((known.shape[0], samples, 1))
    edges = np.cumsum(ops.softmax(ops.astype(logits, np.float64), -1), -1)
    below = drawn >= np.expand_dims(edges[:, :-1], 1)
    return ops.astype(np.sum(below, -1), dtype_of(node.attribute("dtype", TensorProto.INT32)))


# ---- dropout -------------------------------------------------------------------------------------


@operator("Dropout")
def dropout_by_flag(node: Node, x: Array) -> tuple[Array, Array]:
    """Before opset 7: in training, unless a flag says otherwise."""
    ratio = node.attribute("ratio", 0.5)
    y, mask = _dropped(node, x, ratio, not node.attribute("is_test", 0))
    return y, ops.astype(mask, shape_dtype(x).dtype)


@operator("Dropout", since=7)
def dropout_in_inference(node: Node, x: Array) -> tuple[Array, Array]:
    """Opsets 7 to 11: nothing is dropped."""
    ones = np.ones(shape_dtype(x).shape, bool if node.opset >= 10 else shape_dtype(x).dtype)
    return x, ones


@operator("Dropout", since=12)
def dropout(
    node: Node, x: Array, ratio: Array = None, training: Array = None
) -> tuple[Array, Array]:
    if training is None:
        return _dropped(node, x, 0.0, False)
    ratio = 0.5 if ratio is None else ratio
    if is_known(training):
        return _dropped(node, x, ratio, flag(node, training, "training_mode"))
    y, mask = _dropped(node, x, ratio, True)
    return np.where(training, y, x), mask | np.logical_not(training)


def _dropped(node: Node, x: Array, ratio: Any, is_training: bool) -> tuple[Array, Array]:
    aval = shape_dtype(x)
    if not is_training or (is_known(ratio) and bool(known(node, ratio, "ratio") == 0)):
        return x, np.ones(aval.shape, bool)
    mask = _state(node).random_sample(aval.shape) >= ratio
    scale = 1 / (1 - ratio)
    return ops.astype(np.where(mask, x * scale, 0), aval.dtype), mask


# ---- windows -------------------------------------------------------------------------------------


def _window(values: Callable[[Array], Array]) -> Callable[..., Array]:
    """A window that is a function of the angle; a periodic one is the first part of a longer."""

    def run(node: Node, size: Array) -> Array:
        count = integer(node, size, "size")
        if count < 0:
            raise node.error(f"has the size {count}")
        steps = count if node.attribute("periodic", 1) else count - 1
        angle = 2 * np.pi * np.arange(count) / max(steps, 1)
        return values(angle).astype(dtype_of(node.attribute("output_datatype", 1)))

    return run


operator("HannWindow")(_window(lambda t: 0.5 - 0.5 * np.cos(t)))
operator("HammingWindow")(_window(lambda t: 25 / 46 - 21 / 46 * np.cos(t)))
operator("BlackmanWindow")(_window(lambda t: 0.42 - 0.5 * np.cos(t) + 0.08 * np.cos(2 * t)))
