"""The fully connected layer."""

from __future__ import annotations

from .. import ops
from ..core import Array, ShapeDtype, shape_error, shape_of
from ..random import Key
from .initializers import Initializer, lecun_normal, zeros
from .layer import Layer, Params, State, describe, entries, parameter_dtype, whole_number


def Dense(
    features: int,
    *,
    use_bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer = zeros,
) -> Layer:
    """Every output looks at every input: y = x @ kernel + bias.

    (…, inputs) → (…, features). `kernel` is (inputs, features) and starts from `lecun_normal()`,
    `bias` is (features,) and starts at zero.

    Raises `ShapeError` when the number of inputs is not the kernel's.

        >>> import numpy as np
        >>> from kinone import random
        >>> params, state = Dense(3).init(random.key(0), (1, 5))
        >>> y, state = Dense(3).apply(params, state, np.ones((8, 5), np.float32))
        >>> y.shape
        (8, 3)
    """
    start = lecun_normal() if kernel_init is None else kernel_init
    name = describe("Dense", features, use_bias=(use_bias, True))
    features = whole_number(features, "features")

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        if x.ndim < 1:
            raise shape_error(name, "Dense wants an input with at least one axis", x)
        dtype = parameter_dtype(x)
        params = {"kernel": start(key["kernel"], (x.shape[-1], features), dtype)}
        if use_bias:
            params["bias"] = bias_init(key["bias"], (features,), dtype)
        return params, {}

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        width = (features,) if use_bias else None
        kernel, bias = entries(params, name, kernel=(None, features), bias=width)
        inputs = shape_of(kernel)[0]
        if shape_of(x)[-1:] != (inputs,):
            raise shape_error(
                name,
                f"the input has shape {shape_of(x)}, and this layer was made for {inputs} numbers "
                "on the last axis",
                x,
                kernel,
            )
        y = ops.matmul(x, kernel)
        return (y if bias is None else y + bias), state

    return Layer(init, apply, name)
