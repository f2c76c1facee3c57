"""`conv_general_dilated`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops, source
from ..core import Array, shape_of
from ..ops.spatial import pairs
from .parts import slice_in_dim


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Sequence[str] | None = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
) -> Array:
    """JAX's convolution; `kinone.ops.conv` is the plain form.

    `dimension_numbers` are the letters of the axes of image, kernel and result, such as
    `("NHWC", "HWIO", "NHWC")`; by default `("NCHW", "OIHW", "NCHW")`. `lhs_dilation` puts zeros
    between the elements of the image, `padding` may be negative, and each of the groups that
    `batch_group_count` makes of the images has its share of the kernel's outputs.

        >>> x, w = np.arange(1.0, 4.0).reshape(1, 1, 3), np.ones((1, 1, 2))
        >>> conv_general_dilated(x, w, (1,), [(0, -1)], lhs_dilation=(2,))
        array([[[1., 2., 2.]]])
    """
    if isinstance(padding, str) and any(step != 1 for step in lhs_dilation or ()):
        raise ValueError(
            f"lhs_dilation wants pairs of padding, not {padding!r}, at {source.here()}"
        )
    rank = len(shape_of(lhs)) - 2
    spatial = "DHW"[-rank:]
    image, kernel, result = dimension_numbers or (f"NC{spatial}", f"OI{spatial}", f"NC{spatial}")
    places = image.replace("N", "").replace("C", "")  # the spatial letters in the user's order
    x = np.transpose(lhs, [image.index(letter) for letter in f"N{places}C"])
    w = np.transpose(rhs, [kernel.index(letter) for letter in f"{places}IO"])
    if batch_group_count != 1:
        parts = np.reshape(x, (batch_group_count, -1, *shape_of(x)[1:]))
        parts = np.moveaxis(parts, 0, -2)
        x = np.reshape(parts, (*shape_of(parts)[:-2], -1))
    strides, dilation = tuple(window_strides), tuple(rhs_dilation or (1,) * rank)
    ends = pairs(padding, shape_of(x)[1:-1], shape_of(w)[:-2], strides, dilation)
    for axis, (step, (low, high)) in enumerate(
        zip(lhs_dilation or (1,) * rank, ends, strict=True), 1
    ):
        x = _with_zeros_between(x, axis, step)
        stop = shape_of(x)[axis] - max(-high, 0)
        x = slice_in_dim(x, max(-low, 0), max(stop, 0), axis=axis)
    y = ops.conv(
        x,
        w,
        strides=strides,
        padding=tuple([(max(low, 0), max(high, 0)) for low, high in ends]),
        dilation=dilation,
        groups=feature_group_count * batch_group_count,
    )
    return np.transpose(y, [f"N{places}C".index(letter) for letter in result])


def _with_zeros_between(x: Array, axis: int, step: int) -> Array:
    if step == 1:
        return x
    shape = shape_of(x)
    apart = np.pad(np.expand_dims(x, axis + 1), [(0, (step - 1) * (i == axis + 1))
        for i in range(len(shape) + 1)])  # fmt: skip
    longer = np.reshape(apart, (*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))
    return slice_in_dim(longer, 0, max((shape[axis] - 1) * step + 1, 0), axis=axis)
