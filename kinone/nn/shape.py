"""Layers that change an array's shape alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import ops, source
from ..core import Array, ndim_of, shape_error, shape_of
from ..ops.spatial import channels_first, sizes
from ..ops.upsample import check_method
from .layer import Layer, describe, stateless


def Flatten() -> Layer:
    """All of an example's numbers in one row: (N, …) → (N, size).

    >>> Flatten().apply({}, {}, np.ones((2, 7, 7, 5)))[0].shape
    (2, 245)
    """
    return stateless(
        lambda x: np.reshape(x, (shape_of(x)[0], math.prod(shape_of(x)[1:]))), "Flatten()", "exact"
    )


def Reshape(*shape: int | Sequence[int]) -> Layer:
    """An example's numbers in another shape: (N, …) → (N, *shape), their order kept.

    `Reshape(7, 7, 5)` or `Reshape((7, 7, 5))`; one length may be -1, for what is left.

    Raises `ShapeError` when an example has not as many numbers.

        >>> Reshape(7, 7, -1).apply({}, {}, np.ones((2, 245)))[0].shape
        (2, 7, 7, 5)
    """
    lengths = tuple(n for each in shape for n in (each if isinstance(each, Sequence) else (each,)))
    name = describe("Reshape", *lengths)
    if lengths.count(-1) > 1 or any(n < -1 for n in lengths):
        raise ValueError(
            f"{name}: lengths are positive, but for one -1, for what is left, at {source.here()}"
        )

    def reshape(x: Array) -> Array:
        examples, *rest = shape_of(x) or (0,)
        size, known = math.prod(rest), math.prod(n for n in lengths if n != -1)
        open_length = size // max(known, 1)
        target = [open_length if n == -1 else n for n in lengths]
        if ndim_of(x) < 1 or math.prod(target) != size:
            raise shape_error(name, f"an example has {size} numbers, not {target}", x)
        return np.reshape(x, (examples, *target))

    return stateless(reshape, name, "exact")


def Upsample(scale: int | Sequence[int], *, method: str = "nearest", layout: str = "NHWC") -> Layer:
    """Images `scale` times as large: each element repeated, or lines between with "linear".

    (N, *spatial, C) → (N, *(scale · spatial), C), or channels second with `layout="NCHW"`; `scale`
    is a whole number for all spatial axes or one for each. See `kinone.ops.resize_images`.

        >>> Upsample(2).apply({}, {}, np.array([1.0, 3.0]).reshape(1, 2, 1))[0].ravel()
        array([1., 1., 3., 3.])
    """
    start = 2 if channels_first(layout) else 1
    check_method(method)

    def upsample(x: Array) -> Array:
        rank = ndim_of(x) - 2
        if rank < 1:
            raise shape_error(name, "Upsample wants (N, *spatial, C), a spatial axis too", x)
        spatial = shape_of(x)[start : start + rank]
        size = [k * n for k, n in zip(sizes(scale, rank, "scale"), spatial, strict=True)]
        return ops.resize_images(x, size, method=method, layout=layout)

    name = describe("Upsample", scale, method=(method, "nearest"), layout=(layout, "NHWC"))
    return stateless(upsample, name, "linear")
