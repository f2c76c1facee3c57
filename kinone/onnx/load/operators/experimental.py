"""Operators that were ONNX's for a while, before opset 10: files of that time still have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import ops
from ....core import Array, shape_of
from ..known import integers
from ..registry import Node, operator
from ..tensors import dtype_of


def _along_channels(values: Any, x: Array) -> Array:
    """Numbers of each channel beside an array whose axis 1 are the channels."""
    return np.asarray(values, np.float32).reshape(-1, *[1] * (len(shape_of(x)) - 2))


@operator("ConstantFill")
def constant_fill(node: Node, like: Array | None = None) -> Array:
    shape = node.attribute("shape", None)
    if like is not None:
        shape = integers(node, like, "shape") if node.attribute("input_as_shape", 0) else None
        shape = shape_of(like) if shape is None else shape
    shape = (*shape, *node.attribute("extra_shape", ()))
    return np.full(shape, node.attribute("value", 0.0), dtype_of(node.attribute("dtype", 1)))


@operator("ImageScaler")
def image_scaler(node: Node, x: Array) -> Array:
    scale = np.float32(node.attribute("scale", 1.0))
    return x * scale + _along_channels(node.attribute("bias", [0.0]), x)


@operator("Scale")
def scale(node: Node, x: Array) -> Array:
    return x * np.float32(node.attribute("scale", 1.0))


@operator("Affine")
def affine(node: Node, x: Array) -> Array:
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 0.0)
    return x * np.float32(alpha) + np.float32(beta)


@operator("ScaledTanh")
def scaled_tanh(node: Node, x: Array) -> Array:
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    return np.tanh(x * np.float32(beta)) * np.float32(alpha)


@operator("ParametricSoftplus")
def parametric_softplus(node: Node, x: Array) -> Array:
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    return ops.softplus(x * np.float32(beta)) * np.float32(alpha)


@operator("Crop")
def crop(node: Node, x: Array) -> Array:
    left, top, right, bottom = node.attribute("border")
    height, width = shape_of(x)[2:]
    if size := node.attribute("scale", None):
        bottom, right = height - top - size[0], width - left - size[1]
    return x[:, :, top : height - bottom, left : width - right]
