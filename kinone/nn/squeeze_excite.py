"""Squeeze-and-excitation: channels weighed by what the whole image shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import ops, source
from ..core import Array, ShapeDtype, ndim_of
from ..ops.spatial import channels_first
from ..random import Key
from .combine import Call, compose
from .conv import Conv
from .initializers import Initializer
from .layer import Layer, Params, State, describe

Function = Callable[[Array], Array]


def SqueezeExcite(
    features: int | None = None,
    *,
    ratio: float = 0.25,
    activation: Function = ops.relu,
    gate: Function = ops.sigmoid,
    layout: str = "NHWC",
    kernel_init: Initializer | None = None,
) -> Layer:
    """Multiplies each channel by a number between 0 and 1 that all channels of the image decide.

    y = x · gate(expand(activation(reduce(mean of x over the image)))), where `reduce` and `expand`
    are 1×1 convolutions with a bias, to `features` channels and back. `features` is ratio · C,
    rounded down, at least 1, where it is not given; EfficientNet counts from the block's input and
    gives it, with `activation=ops.swish`; MobileNetV3 has `gate=ops.hard_sigmoid`.

    (N, *spatial, C) → the same, or channels second with `layout="NCHW"`. The children are "reduce"
    and "expand", with `kernel` (1, 1, C, features) and `bias`.

    Source: Hu et al. 2017, arXiv:1709.01507.

        >>> from kinone import random, tree
        >>> layer = SqueezeExcite(2)
        >>> params, state = layer.init(random.key(0), (1, 7, 7, 8))
        >>> tree.paths(params)
        ['expand/bias', 'expand/kernel', 'reduce/bias', 'reduce/kernel']
    """
    name = describe(
        "SqueezeExcite",
        *(() if features is None else (features,)),
        ratio=(ratio, 0.25),
        layout=(layout, "NHWC"),
    )
    first = channels_first(layout)
    if features is None and ratio <= 0:
        raise ValueError(f"{name}: ratio={ratio} is not positive, at {source.here()}")

    def block(rank: int, channels: int) -> Layer:
        inner = max(int(channels * ratio), 1) if features is None else features
        children = {
            child: Conv(n, (1,) * (rank - 2), layout=layout, kernel_init=kernel_init)
            for child, n in (("reduce", inner), ("expand", channels))
        }
        axes = tuple(range(2, rank)) if first else tuple(range(1, rank - 1))

        def forward(call: Call, x: Array) -> Array:
            squeezed = np.mean(x, axis=axes, keepdims=True)
            return x * gate(call("expand", activation(call("reduce", squeezed))))

        return compose(children, forward, name)

    # The number of channels is the input's, so the children are made when there is one.
    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        return block(x.ndim, x.shape[1 if first else -1]).init(key, x)

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        made = block(ndim_of(x), np.shape(x)[1 if first else -1])
        return made.apply(params, state, x, train, key)

    return Layer(init, apply, name)
