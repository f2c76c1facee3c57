"""Pools: layers that make images smaller by summing up windows of them."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..ops.spatial import Padding, channels_first
from .layer import Layer, describe, stateless

Sizes = int | Sequence[int]


def MaxPool(
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    layout: str = "NHWC",
) -> Layer:
    """Keeps the largest element of each window; `strides` are the window's sizes by default.

    (N, *spatial, C) → (N, *out, C), or channels second with `layout="NCHW"`. Padding counts as
    minus infinity.

        >>> import numpy as np
        >>> y, _ = MaxPool(2).apply({}, {}, np.arange(4.0).reshape(1, 4, 1))
        >>> y.ravel()
        array([1., 3.])
    """
    return stateless(
        lambda x: ops.max_pool(x, window, strides=strides, padding=padding, layout=layout),
        describe(
            "MaxPool",
            window,
            strides=(strides, None),
            padding=(padding, "VALID"),
            layout=(layout, "NHWC"),
        ),
    )


def AvgPool(
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    layout: str = "NHWC",
    count_include_pad: bool = False,
) -> Layer:
    """The mean of each window; padded elements count only with `count_include_pad`.

    (N, *spatial, C) → (N, *out, C), or channels second with `layout="NCHW"`.

        >>> import numpy as np
        >>> y, _ = AvgPool(2).apply({}, {}, np.arange(4.0).reshape(1, 4, 1))
        >>> y.ravel()
        array([0.5, 2.5])
    """
    return stateless(
        lambda x: ops.avg_pool(
            x,
            window,
            strides=strides,
            padding=padding,
            layout=layout,
            count_include_pad=count_include_pad,
        ),
        describe(
            "AvgPool",
            window,
            strides=(strides, None),
            padding=(padding, "VALID"),
            layout=(layout, "NHWC"),
            count_include_pad=(count_include_pad, False),
        ),
    )


def GlobalAvgPool(*, layout: str = "NHWC") -> Layer:
    """The mean of each channel over the whole image: (N, *spatial, C) → (N, C).

    >>> import numpy as np
    >>> GlobalAvgPool().apply({}, {}, np.ones((2, 7, 7, 5)))[0].shape
    (2, 5)
    """
    channels_first(layout)  # an unknown name is an error here, not in the first step
    return stateless(
        lambda x: ops.global_avg_pool(x, layout=layout),
        describe("GlobalAvgPool", layout=(layout, "NHWC")),
    )
