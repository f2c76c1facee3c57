"""Images read at places between their elements, for any number of spatial axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ...core import Array, shape_dtype, shape_of
from ...ops.index import getitem
from ...ops.shape import astype

# Of one axis: (places, weight) of each element that a point is mixed of. A weight of None is 1, and
# a place outside of the image counts as the weight 0.
Taps = Sequence[tuple[Array, Array | None]]


def gather(x: Array, axes: Sequence[Taps]) -> Array:
    """(N, C, *spatial) and the taps of each spatial axis, of shape (N, P) → (N, C, P)."""
    images, channels, *spatial = shape_of(x)
    rows = np.moveaxis(np.reshape(x, (images, channels, math.prod(spatial))), 1, 2)
    image = np.arange(images)[:, None]
    total: Array | None = None
    for taps in itertools.product(*axes):
        flat: Array = np.zeros((), np.int64)
        weight: Array | None = None
        for (place, share), size in zip(taps, spatial, strict=True):
            clipped = np.clip(place, 0, size - 1)
            flat = flat * size + clipped
            inside = (place >= 0) & (place < size)
            share = inside if share is None else np.where(inside, share, 0)
            weight = share if weight is None else weight * share
        assert weight is not None
        part = getitem(rows, (image, flat)) * astype(weight, shape_dtype(x).dtype)[..., None]
        total = part if total is None else total + part
    assert total is not None
    return np.moveaxis(total, 2, 1)


def linear_taps(points: Array) -> Taps:
    """The elements on both sides of each point of one axis."""
    below = np.floor(points)
    share = points - below
    place = whole(below)
    return [(place, 1 - share), (place + 1, share)]


def whole(points: Array) -> Array:
    """Points that are whole numbers as indices; what no image reaches is just outside."""
    return astype(np.clip(np.nan_to_num(points, nan=-2.0), -(2.0**31), 2.0**31), np.int64)


def sample_linear(x: Array, points: Sequence[Array]) -> Array:
    """(N, C, *spatial) at points, (N, P) for each spatial axis, mixed linearly; outside is 0."""
    return gather(x, [linear_taps(p) for p in points])
