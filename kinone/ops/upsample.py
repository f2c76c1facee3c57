"""Images made larger or smaller: the nearest element, or a line between the two nearest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import source
from ..core import Array, ndim_of, shape_dtype, shape_error, shape_of
from .index import take
from .shape import astype
from .spatial import channels_first, sizes


def resize_images(
    x: Array, size: int | Sequence[int], *, method: str = "nearest", layout: str = "NHWC"
) -> Array:
    """Images of `size`, one number for all spatial axes or one for each.

    Element i of `out` comes from place p of `n`: `method="nearest"` takes element ⌊i · n / out⌋;
    "linear" has p = (i + 1/2) · n / out - 1/2, the middle of the element, and mixes the elements on
    both sides, on every axis in turn: bilinear on images, trilinear on volumes. These are PyTorch's
    `interpolate` with "nearest" and "bilinear", `align_corners=False`, without antialiasing.

    `x` is (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`; the dtype stays, but linear
    mixtures of integers are float64.

    Raises `ShapeError` when `x` has no spatial axis or an empty one.

        >>> resize_images(np.array([1.0, 3.0]).reshape(1, 2, 1), 4).ravel()
        array([1., 1., 3., 3.])
        >>> resize_images(np.array([1.0, 3.0]).reshape(1, 2, 1), 4, method="linear").ravel()
        array([1. , 1.5, 2.5, 3. ])
    """
    check_method(method)
    start = 2 if channels_first(layout) else 1
    rank = ndim_of(x) - 2
    if rank < 1 or 0 in shape_of(x)[start : start + rank]:
        raise shape_error("resize_images", "resize_images wants (N, *spatial, C), not empty", x)
    if method == "linear" and shape_dtype(x).dtype.kind in "iub":
        x = astype(x, np.float64)
    for axis, out in enumerate(sizes(size, rank, "size"), start):
        n = shape_of(x)[axis]
        if n == out:
            continue
        if method == "nearest":
            x = take(x, np.arange(out) * n // out, axis=axis)
            continue
        places = np.maximum((np.arange(out) + 0.5) * (n / out) - 0.5, 0)
        low = places.astype(np.intp)
        share = (places - low).astype(shape_dtype(x).dtype)
        share = share.reshape(-1, *[1] * (ndim_of(x) - axis - 1))
        below, above = take(x, low, axis=axis), take(x, np.minimum(low + 1, n - 1), axis=axis)
        x = below * (1 - share) + above * share
    return x


def check_method(method: str) -> None:
    """Raises `ValueError` for an unknown method of `resize_images`."""
    if method not in ("nearest", "linear"):
        raise ValueError(f"method={method!r} is not 'nearest' or 'linear', at {source.here()}")
