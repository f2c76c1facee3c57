"""Pools: layers that make images smaller by summing up windows of them."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..ops.adaptive import OutputSize
from ..ops.spatial import Padding, channels_first
from .layer import Layer, describe, stateless

Sizes = int | Sequence[int]


def MaxPool(
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    layout: str = "NHWC",
    ceil_mode: bool = False,
) -> Layer:
    """Keeps the largest element of each window; `strides` are the window's sizes by default.

    (N, *spatial, C) → (N, *out, C), or channels second with `layout="NCHW"`. Padding counts as
    minus infinity. With `ceil_mode` a last window that begins inside may end beyond the padding.

        >>> import numpy as np
        >>> y, _ = MaxPool(2).apply({}, {}, np.arange(4.0).reshape(1, 4, 1))
        >>> y.ravel()
        array([1., 3.])
    """
    channels_first(layout)  # an unknown name is an error here, not in the first step
    return stateless(
        lambda x: ops.max_pool(
            x, window, strides=strides, padding=padding, layout=layout, ceil_mode=ceil_mode
        ),
        describe(
            "MaxPool",
            window,
            strides=(strides, None),
            padding=(padding, "VALID"),
            layout=(layout, "NHWC"),
            ceil_mode=(ceil_mode, False),
        ),
        "exact",
    )


def AvgPool(
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    layout: str = "NHWC",
    count_include_pad: bool = False,
    ceil_mode: bool = False,
) -> Layer:
    """The mean of each window; padded elements count only with `count_include_pad`.

    (N, *spatial, C) → (N, *out, C), or channels second with `layout="NCHW"`. With `ceil_mode` a
    last window that begins inside may end beyond the padding; what is beyond never counts.

        >>> import numpy as np
        >>> y, _ = AvgPool(2).apply({}, {}, np.arange(4.0).reshape(1, 4, 1))
        >>> y.ravel()
        array([0.5, 2.5])
    """
    channels_first(layout)
    return stateless(
        lambda x: ops.avg_pool(
            x,
            window,
            strides=strides,
            padding=padding,
            layout=layout,
            count_include_pad=count_include_pad,
            ceil_mode=ceil_mode,
        ),
        describe(
            "AvgPool",
            window,
            strides=(strides, None),
            padding=(padding, "VALID"),
            layout=(layout, "NHWC"),
            count_include_pad=(count_include_pad, False),
            ceil_mode=(ceil_mode, False),
        ),
        "linear",
    )


def GlobalAvgPool(*, layout: str = "NHWC") -> Layer:
    """The mean of each channel over the whole image: (N, *spatial, C) → (N, C).

    >>> import numpy as np
    >>> GlobalAvgPool().apply({}, {}, np.ones((2, 7, 7, 5)))[0].shape
    (2, 5)
    """
    channels_first(layout)
    return stateless(
        lambda x: ops.global_avg_pool(x, layout=layout),
        describe("GlobalAvgPool", layout=(layout, "NHWC")),
        "linear",
    )


def AdaptiveAvgPool(output_size: OutputSize, *, layout: str = "NHWC") -> Layer:
    """The means of `output_size` windows that cover the image, whatever its size.

    Window i of an axis goes from ⌊i · size / out⌋ to ⌈(i + 1) · size / out⌉, as in PyTorch. One
    number is for all spatial axes; None leaves an axis as it is.

    (N, *spatial, C) → (N, *output_size, C), or channels second with `layout="NCHW"`.

        >>> import numpy as np
        >>> AdaptiveAvgPool(3).apply({}, {}, np.arange(5.0).reshape(1, 5, 1))[0].ravel()
        array([0.5, 2. , 3.5])
    """
    channels_first(layout)
    return stateless(
        lambda x: ops.adaptive_avg_pool(x, output_size, layout=layout),
        describe("AdaptiveAvgPool", output_size, layout=(layout, "NHWC")),
        "linear",
    )


def AdaptiveMaxPool(output_size: OutputSize, *, layout: str = "NHWC") -> Layer:
    """The largest elements of `output_size` windows that cover the image; see `AdaptiveAvgPool`.

    >>> import numpy as np
    >>> AdaptiveMaxPool(3).apply({}, {}, np.arange(5.0).reshape(1, 5, 1))[0].ravel()
    array([1., 3., 4.])
    """
    channels_first(layout)
    return stateless(
        lambda x: ops.adaptive_max_pool(x, output_size, layout=layout),
        describe("AdaptiveMaxPool", output_size, layout=(layout, "NHWC")),
        "exact",
    )


def GlobalMaxPool(*, layout: str = "NHWC") -> Layer:
    """The largest element of each channel over the whole image: (N, *spatial, C) → (N, C).

    >>> import numpy as np
    >>> GlobalMaxPool().apply({}, {}, np.arange(8.0).reshape(1, 2, 2, 2))[0]
    array([[6., 7.]])
    """
    channels_first(layout)
    return stateless(
        lambda x: ops.global_max_pool(x, layout=layout),
        describe("GlobalMaxPool", layout=(layout, "NHWC")),
        "exact",
    )
