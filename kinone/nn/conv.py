"""Convolutions, and their transposes that go the other way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..core import Array, ShapeDtype, ndim_of, shape_dtype, shape_error, shape_of
from ..ops.spatial import Padding, channels_first, is_several, sizes
from ..random import Key
from ..random.keys import draw, wrap_key_data
from ..transforms import vmap
from .initializers import Initializer, he_normal, zeros
from .layer import Layer, Params, State, describe, entries, parameter_dtype, whole_number

Sizes = int | Sequence[int]


def Conv(
    features: int,
    kernel: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    dilation: Sizes = 1,
    groups: int = 1,
    use_bias: bool = True,
    layout: str = "NHWC",
    kernel_init: Initializer | None = None,
    bias_init: Initializer = zeros,
) -> Layer:
    """A small window looks at every place of an image, and at each says the same thing about it.

    y[n, p, k] = Σ_{t, c} x[n, p · stride + t · dilation - padding, c] · kernel[t, c, k] + bias[k]

    (N, *spatial, C) → (N, *out, features), or (N, C, *spatial) → (N, features, *out) with
    `layout="NCHW"`. `kernel` is the window: its length says how many spatial axes there are, an int
    is for as many as the input has. `padding` is "SAME", "VALID", an int, an int for each axis, or
    a (low, high) pair for each axis, of zeros; "CIRCULAR", "REFLECT" and "REPLICATE" put the image
    itself around it, half a window wide; "CAUSAL" is for one axis, of time: no output sees what
    comes later. With `groups`, group i of the outputs sees group i of the channels; `groups=C` is a
    depthwise convolution.

    `params["kernel"]` is (*kernel, C / groups, features), or (features, C / groups, *kernel) with
    "NCHW", and starts from `he_normal()`, with the same numbers in either layout; `params["bias"]`
    is (features,) and starts at zero.

    Raises `ShapeError` when the input has not the right number of axes or channels.

        >>> from kinone import random
        >>> params, state = Conv(8, (3, 3), strides=2).init(random.key(0), (1, 28, 28, 1))
        >>> params["kernel"].shape
        (3, 3, 1, 8)
    """
    return _convolution(
        "Conv",
        _convolve,
        features,
        kernel,
        {
            "strides": (strides, 1),
            "padding": (padding, "SAME"),
            "dilation": (dilation, 1),
            "groups": (groups, 1),
        },
        use_bias,
        layout,
        kernel_init,
        bias_init,
    )


def DepthwiseConv(
    kernel: Sizes,
    *,
    multiplier: int = 1,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    dilation: Sizes = 1,
    use_bias: bool = True,
    layout: str = "NHWC",
    kernel_init: Initializer | None = None,
    bias_init: Initializer = zeros,
) -> Layer:
    """Every channel has `multiplier` windows of its own, and sees no other channel.

    It is `Conv(C * multiplier, kernel, groups=C)`, where C is the input's number of channels: the
    cheap half of a separable convolution, whose other half is `Conv(features, 1)`.

    `params["kernel"]` is (*kernel, 1, C * multiplier), or (C * multiplier, 1, *kernel) with "NCHW".

    Raises `ShapeError` when the input has not the right number of axes.

    Source: Howard et al. 2017, arXiv:1704.04861.

        >>> from kinone import random
        >>> params, state = DepthwiseConv((3, 3)).init(random.key(0), (1, 28, 28, 16))
        >>> params["kernel"].shape
        (3, 3, 1, 16)
    """
    name = describe(
        "DepthwiseConv",
        kernel,
        multiplier=(multiplier, 1),
        strides=(strides, 1),
        padding=(padding, "SAME"),
        dilation=(dilation, 1),
        use_bias=(use_bias, True),
        layout=(layout, "NHWC"),
    )
    first = channels_first(layout)
    multiplier = whole_number(multiplier, "multiplier")

    @functools.cache
    def layer(channels: int) -> Layer:
        return Conv(
            channels * multiplier,
            kernel,
            strides=strides,
            padding=padding,
            dilation=dilation,
            groups=channels,
            use_bias=use_bias,
            layout=layout,
            kernel_init=kernel_init,
            bias_init=bias_init,
        )

    def of(x: Array) -> Layer:
        shape = shape_of(x)
        if len(shape) < 3:
            raise shape_error(name, "the input has a batch, channel and spatial axes", x)
        return layer(shape[1] if first else shape[-1])

    return Layer(
        lambda key, x: of(x).init(key, x),
        lambda params, state, x, train, key: of(x).apply(params, state, x),
        name,
    )


def ConvTranspose(
    features: int,
    kernel: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    use_bias: bool = True,
    layout: str = "NHWC",
    kernel_init: Initializer | None = None,
    bias_init: Initializer = zeros,
) -> Layer:
    """A convolution run backwards: every input element paints a window; strides make images larger.

    It is the transpose of the linear map of `Conv` with the same options, plus a bias. Each axis
    becomes (size - 1) · stride - low - high + (kernel - 1) · dilation + 1 + output_padding long;
    with "SAME" size · stride + output_padding.

    `params["kernel"]` is the kernel of the convolution on the way back: (*kernel, features /
    groups, C), or (C, features / groups, *kernel) with "NCHW", as in PyTorch. It starts from
    `he_normal()`, whose fan_in is window · C / groups; `params["bias"]` is (features,) and zero.

    Raises `ShapeError` when the input has not the right number of axes or channels.

        >>> from kinone import random
        >>> layer = ConvTranspose(4, (3, 3), strides=2)
        >>> params, state = layer.init(random.key(0), (1, 8, 8, 2))
        >>> layer.apply(params, state, np.ones((1, 8, 8, 2), np.float32))[0].shape
        (1, 16, 16, 4)
    """
    return _convolution(
        "ConvTranspose",
        ops.conv_transpose,
        features,
        kernel,
        {
            "strides": (strides, 1),
            "padding": (padding, "SAME"),
            "output_padding": (output_padding, 0),
            "dilation": (dilation, 1),
            "groups": (groups, 1),
        },
        use_bias,
        layout,
        kernel_init,
        bias_init,
        backwards=True,
    )


# What `np.pad` calls it.
_AROUND: dict[str, Any] = {"CIRCULAR": "wrap", "REFLECT": "reflect", "REPLICATE": "edge"}


def _convolve(
    x: Array, weights: Array, *, padding: Padding, dilation: Sizes, layout: str, **options: Any
) -> Array:
    """`ops.conv`, and padding with what is in the image."""
    known = padding.upper() if isinstance(padding, str) else ""
    if known == "CAUSAL" or known in _AROUND:
        rank, first = ndim_of(x) - 2, channels_first(layout)
        window = shape_of(weights)[2:] if first else shape_of(weights)[:-2]
        reach = [
            (k - 1) * d for k, d in zip(window, sizes(dilation, rank, "dilation"), strict=True)
        ]
        if known in _AROUND:
            still, sides = (0, 0), [(n // 2, n - n // 2) for n in reach]
            widths = [still, still, *sides] if first else [still, *sides, still]
            x, padding = np.pad(x, widths, mode=_AROUND[known]), "VALID"
        elif rank == 1:
            padding = [(reach[0], 0)]
        else:
            raise shape_error("Conv", 'padding="CAUSAL" is for one spatial axis, of time', x)
    return ops.conv(x, weights, padding=padding, dilation=dilation, layout=layout, **options)


def _convolution(
    kind: str,
    run: Callable[..., Array],
    features: int,
    kernel: Sizes,
    options: dict[str, tuple[Any, Any]],
    use_bias: bool,
    layout: str,
    kernel_init: Initializer | None,
    bias_init: Initializer,
    backwards: bool = False,
) -> Layer:
    """The layer that is `run`, with its options given as their value and their default."""
    start = he_normal() if kernel_init is None else kernel_init
    name = describe(
        kind, features, kernel, **options, use_bias=(use_bias, True), layout=(layout, "NHWC")
    )
    first = channels_first(layout)
    values = {option: value for option, (value, _) in options.items()}
    features = whole_number(features, "features")
    groups = values["groups"] = whole_number(values["groups"], "groups")

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        channels, window = _check(name, x, kernel, groups, features, first)
        dtype = parameter_dtype(x)
        shape = (*window, channels // groups, features // groups)
        drawn = _draw_groups(start, key["kernel"], groups, shape, dtype)
        if backwards:
            # Each group's is drawn with its inputs before its outputs, and stored the other way.
            drawn = np.swapaxes(drawn, -1, -2)
        # The groups go into the last axis.
        weights = np.reshape(
            np.moveaxis(drawn, 0, -2), (*window, shape_of(drawn)[-2], groups * shape_of(drawn)[-1])
        )
        params = {"kernel": _to_channels_first(weights) if first else weights}
        if use_bias:
            params["bias"] = bias_init(key["bias"], (features,), dtype)
        return params, {}

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        _, window = _check(name, shape_dtype(x), kernel, groups, features, first)
        inner, outer = (features // groups, None) if backwards else (None, features)
        shape = (outer, inner, *window) if first else (*window, inner, outer)
        width = (features,) if use_bias else None
        weights, bias = entries(params, name, kernel=shape, bias=width)
        y = run(x, weights, layout=layout, **values)
        return (y if bias is None else _add_bias(y, bias, first)), state

    return Layer(init, apply, name)


def _check(
    name: str, x: ShapeDtype, kernel: Sizes, groups: int, features: int, first: bool
) -> tuple[int, tuple[int, ...]]:
    """The number of channels and the window; raises where the input cannot fit."""
    rank = x.ndim - 2
    given = len(kernel) if is_several(kernel) else rank
    if rank < 1 or given != rank:
        axes = "(N, C, *spatial)" if first else "(N, *spatial, C)"
        window = given if is_several(kernel) else "one or more"
        raise shape_error(
            name,
            f"the kernel has {window} spatial axes, so the input is {axes} with as many, and this "
            f"one has {x.ndim} axes",
            x,
        )
    channels = x.shape[1] if first else x.shape[-1]
    if channels % groups or features % groups:
        raise shape_error(
            name,
            f"{channels} channels and {features} features do not both divide into {groups} groups",
            x,
        )
    return channels, sizes(kernel, rank, "kernel")


def _draw_groups(
    start: Initializer, key: Key, groups: int, shape: tuple[int, ...], dtype: Any
) -> Array:
    """(groups, *shape): to the initializer, each group is a convolution of its own."""
    if groups == 1:
        return start(key, shape, dtype)[None]
    if start.__module__ == he_normal.__module__:
        # Our own draw from their key alone, so all may be drawn at once, with the same bits: a
        # depthwise convolution has thousands, and that many key objects would be made to split it.
        rows = draw(key, (groups, 2), 64, "split")
        return vmap(lambda row: start(wrap_key_data(row), shape, dtype))(rows)
    return np.stack([start(each, shape, dtype) for each in key.split(groups)])


def _to_channels_first(kernel: Array) -> Array:
    """(*kernel, C, K) → (K, C, *kernel), in memory of that order."""
    rank = ndim_of(kernel) - 2
    turned: Array = np.transpose(kernel, (rank + 1, rank, *range(rank)))
    return np.ascontiguousarray(turned) if isinstance(turned, np.ndarray) else turned


def _add_bias(y: Array, bias: Array, first: bool) -> Array:
    if first:
        bias = np.reshape(bias, (-1,) + (1,) * (ndim_of(y) - 2))
    return y + bias
