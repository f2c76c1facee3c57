"""Batch rules of what has images and channels: vmap's axis becomes part of an axis that is there.

A batch of batches of images is one batch of images. Where examples must not share their channels'
numbers (kernels, statistics), the batch axis becomes a part of the channels, with one group of
channels for each example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, shape_dtype, shape_of


def over_images(
    primitive: Primitive, size: int, batched: Sequence[bool], *xs: Array, **params: Any
) -> Any:
    """The batch rule of a primitive that treats each image, along axis 0 of all, by itself."""
    images = 1
    merged = []
    for x, flag in zip(xs, batched, strict=True):
        x = spread(size, flag, x)
        images = shape_of(x)[1]
        merged.append(merge_images(x))
    return each(primitive, split_images, primitive(*merged, **params), size, images)


def each(primitive: Primitive, function: Callable[..., Array], y: Any, *args: Any) -> Any:
    """`function` of the result, or of each of several."""
    if not primitive.multiple:
        return function(y, *args)
    return tuple([function(one, *args) for one in y])


def spread(size: int, flag: bool, x: Array) -> Array:
    """An operand with the batch axis first, repeated where all examples share it."""
    return x if flag else np.broadcast_to(x, (size, *shape_of(x)))


def merge_images(x: Array) -> Array:
    """(B, N, …) → (B · N, …)."""
    size, images, *rest = shape_of(x)
    return np.reshape(x, (size * images, *rest))


def split_images(y: Array, size: int, images: int) -> Array:
    """(B · N, …) → (B, N, …)."""
    return np.reshape(y, (size, images, *shape_of(y)[1:]))


def fold(x: Array, groups: int = 1) -> Array:
    """(B, …, C) → (…, B · C); with `groups`, the batch stands inside each group of channels."""
    size, *rest, channels = shape_of(x)
    split = np.reshape(x, (size, *rest, groups, channels // groups))
    return np.reshape(np.moveaxis(split, 0, -2), (*rest, channels * size))


def unfold(y: Array, size: int, groups: int = 1) -> Array:
    """(…, B · C) → (B, …, C), likewise."""
    *rest, both = shape_of(y)
    split = np.reshape(y, (*rest, groups, size, both // (groups * size)))
    return np.reshape(np.moveaxis(split, -2, 0), (size, *rest, both // size))


def of_no_examples(
    primitive: Primitive, batched: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]
) -> Any:
    """The results of an empty batch, where there are no channels to make groups of."""
    avals = []
    for x, flag in zip(xs, batched, strict=True):
        known = shape_dtype(x)
        avals.append(ShapeDtype(known.shape[1:], known.dtype) if flag else known)
    return each(primitive, _empty, primitive.shape(*avals, **params))


def _empty(aval: ShapeDtype) -> Array:
    return np.zeros((0, *aval.shape), aval.dtype)
