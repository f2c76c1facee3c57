"""Normalisation of each example by itself: without running statistics, in training and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .. import ops, source
from ..core import Array, ShapeDtype, shape_dtype, shape_error, shape_of
from ..ops.axes import normalize_axis
from ..ops.spatial import channels_first
from ..random import Key
from .initializers import Initializer, ones, zeros
from .layer import (
    Layer,
    Params,
    State,
    describe,
    entries,
    parameter_dtype,
    real_number,
    whole_number,
)

Normalise = Callable[[Array, Array | None, Array | None, bool], Array]


def LayerNorm(
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-5,
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
) -> Layer:
    """Gives each example's features mean 0 and variance 1, then a mean and scale of their own.

    y = scale · (x - mean) / √(var + epsilon) + bias, mean and biased variance over `axis`, one axis
    or several. `params["scale"]` and `params["bias"]` have the lengths of these axes and start at 1
    and 0. Any shape and layout: `axis=1` normalises the channels of (N, C, H, W).

    Raises `ShapeError` when the lengths do not fit.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.

        >>> import numpy as np
        >>> norm = LayerNorm(use_scale=False, use_bias=False)
        >>> norm.apply({}, {}, np.array([[1.0, 5.0]]))[0].round(4)
        array([[-1.,  1.]])
    """
    epsilon = real_number(epsilon, "epsilon", 0)
    name = describe(
        "LayerNorm",
        axis=(axis, -1),
        epsilon=(epsilon, 1e-5),
        use_scale=(use_scale, True),
        use_bias=(use_bias, True),
    )

    def normalise(x: Array, scale: Array | None, bias: Array | None, train: bool) -> Array:
        return ops.layer_norm(x, scale, bias, axis=axis, epsilon=epsilon)

    return _norm(
        name,
        lambda x: _lengths(x, axis),
        normalise,
        scale_init if use_scale else None,
        bias_init if use_bias else None,
    )


def RMSNorm(
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-6,
    use_scale: bool = True,
    scale_init: Initializer = ones,
) -> Layer:
    """Gives each example's features mean square 1, then a scale of their own.

    y = scale · x / √(mean(x²) + epsilon), the mean over `axis`, one axis or several.
    `params["scale"]` has the lengths of these axes and starts at 1. Any shape. PyTorch's default
    epsilon is the dtype's `finfo.eps`, Flax's is this one.

    Raises `ShapeError` when the lengths do not fit.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467.

        >>> import numpy as np
        >>> RMSNorm(use_scale=False).apply({}, {}, np.array([[3.0, -3.0]]))[0].round(4)
        array([[ 1., -1.]])
    """
    epsilon = real_number(epsilon, "epsilon", 0)
    name = describe(
        "RMSNorm", axis=(axis, -1), epsilon=(epsilon, 1e-6), use_scale=(use_scale, True)
    )

    def normalise(x: Array, scale: Array | None, bias: Array | None, train: bool) -> Array:
        return ops.rms_norm(x, scale, axis=axis, epsilon=epsilon)

    return _norm(
        name, lambda x: _lengths(x, axis), normalise, scale_init if use_scale else None, None
    )


def GroupNorm(
    groups: int = 32,
    *,
    epsilon: float = 1e-5,
    layout: str = "NHWC",
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
) -> Layer:
    """Gives each group of an example's channels mean 0 and variance 1, whatever the batch is.

    y = scale · (x - mean) / √(var + epsilon) + bias, mean and biased variance over a group's
    channels and all spatial axes. (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`;
    `params["scale"]` and `params["bias"]` are (C,) and start at 1 and 0.

    Raises `ShapeError` when `groups` does not divide the channels.

    Source: Wu & He 2018, arXiv:1803.08494.

        >>> import numpy as np
        >>> norm = GroupNorm(2, use_scale=False, use_bias=False)
        >>> norm.apply({}, {}, np.array([[1.0, 5.0, 10.0, 50.0]]))[0].round(4)
        array([[-1.,  1., -1.,  1.]])
    """
    epsilon = real_number(epsilon, "epsilon", 0)
    name = describe(
        "GroupNorm",
        groups,
        epsilon=(epsilon, 1e-5),
        layout=(layout, "NHWC"),
        use_scale=(use_scale, True),
        use_bias=(use_bias, True),
    )
    groups = whole_number(groups, "groups")
    place = 1 if channels_first(layout) else -1

    def channels(x: Array | ShapeDtype) -> tuple[int, ...]:
        shape = x.shape if isinstance(x, ShapeDtype) else shape_of(x)
        if len(shape) < 2:
            raise shape_error(name, "GroupNorm wants an axis of examples and one of channels", x)
        if shape[place] % groups:
            raise shape_error(
                name,
                f"{shape[place]} channels are not in {groups} equal groups: groups wants a number "
                "that divides them",
                x,
            )
        return (shape[place],)

    def normalise(x: Array, scale: Array | None, bias: Array | None, train: bool) -> Array:
        return ops.group_norm(x, groups, scale, bias, epsilon=epsilon, layout=layout)

    return _norm(
        name,
        channels,
        normalise,
        scale_init if use_scale else None,
        bias_init if use_bias else None,
    )


def InstanceNorm(
    *,
    epsilon: float = 1e-5,
    layout: str = "NHWC",
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = ones,
    bias_init: Initializer = zeros,
) -> Layer:
    """Gives each channel of each image mean 0 and variance 1: its contrast and brightness are lost.

    `GroupNorm` with a group for each channel. Scale and bias start at 1 and 0 (PyTorch has them
    only with `affine=True`).

    Raises `ShapeError` when the input has no spatial axis, or in training when images have only one
    element: its variance would be 0 whatever it is.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022.

        >>> import numpy as np
        >>> norm = InstanceNorm(use_scale=False, use_bias=False)
        >>> norm.apply({}, {}, np.array([[[1.0], [5.0]]]))[0].round(4).ravel()
        array([-1.,  1.])
    """
    epsilon = real_number(epsilon, "epsilon", 0)
    name = describe(
        "InstanceNorm",
        epsilon=(epsilon, 1e-5),
        layout=(layout, "NHWC"),
        use_scale=(use_scale, True),
        use_bias=(use_bias, True),
    )
    place = 1 if channels_first(layout) else -1

    def channels(x: Array | ShapeDtype) -> tuple[int, ...]:
        shape = x.shape if isinstance(x, ShapeDtype) else shape_of(x)
        if len(shape) < 3:
            raise shape_error(name, "InstanceNorm wants (N, *spatial, C), a spatial axis too", x)
        return (shape[place],)

    def normalise(x: Array, scale: Array | None, bias: Array | None, train: bool) -> Array:
        (groups,) = channels(x)
        shape = shape_of(x)
        if train and math.prod(shape[1:]) == groups:
            raise shape_error(
                name, f"in training a channel wants more than one element, got {shape}", x
            )
        return ops.group_norm(x, groups, scale, bias, epsilon=epsilon, layout=layout)

    return _norm(
        name,
        channels,
        normalise,
        scale_init if use_scale else None,
        bias_init if use_bias else None,
    )


def _lengths(x: ShapeDtype, axis: int | Sequence[int]) -> tuple[int, ...]:
    """The lengths of the normalised axes, in increasing order of the axes."""
    given = axis if isinstance(axis, Sequence) else (axis,)
    axes = sorted(normalize_axis(a, x.ndim) for a in given)
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"axis={axis} are not different axes of {x}, at {source.here()}")
    return tuple(x.shape[each] for each in axes)


def _norm(
    name: str,
    shape: Callable[[ShapeDtype], tuple[int, ...]],
    normalise: Normalise,
    scale_init: Initializer | None,
    bias_init: Initializer | None,
) -> Layer:
    """The layer that normalises with a scale and a bias of the shape of an input's `shape`."""

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        lengths, dtype = shape(x), parameter_dtype(x)
        starts = {"scale": scale_init, "bias": bias_init}
        return {
            each: start(key[each], lengths, dtype)
            for each, start in starts.items()
            if start is not None
        }, {}

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        lengths = shape(shape_dtype(x))
        scale, bias = entries(
            params,
            name,
            scale=None if scale_init is None else lengths,
            bias=None if bias_init is None else lengths,
        )
        return normalise(x, scale, bias, train), state

    return Layer(init, apply, name)
