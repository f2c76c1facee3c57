"""Pools told how many outputs to make, not how large the windows are.

Of `size` elements and `out` windows, window i goes from ⌊i · size / out⌋ to ⌈(i + 1) · size / out⌉,
as in PyTorch: windows overlap where `out` does not divide `size`, and their lengths differ by one.
A window over several axes is the product of one for each, so a mean is taken axis by axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, ndim_of, shape_error, shape_of
from .index import take, take_along_axis
from .pool import avg_pool, max_pool
from .spatial import channels_first, to_channels_first, to_channels_last

OutputSize = int | None | Sequence[int | None]


def bins(size: int, out: int) -> list[tuple[int, int]]:
    """Where each of `out` windows over `size` elements starts and ends.

    >>> bins(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def adaptive_avg_pool(x: Array, output_size: OutputSize, *, layout: str = "NHWC") -> Array:
    """The mean of each of `output_size` windows that cover the image.

    `x` is (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`. `output_size` is one number
    for all spatial axes or one for each; None leaves an axis as it is. The windows are PyTorch's.

    Raises `ShapeError` when `x` has no spatial axis or an empty one.

        >>> adaptive_avg_pool(np.arange(5.0).reshape(1, 5, 1), 3).ravel()
        array([0.5, 2. , 3.5])
    """
    return _pooled("adaptive_avg_pool", x, output_size, layout, avg_pool, _mean)


def adaptive_max_pool(x: Array, output_size: OutputSize, *, layout: str = "NHWC") -> Array:
    """The largest element of each of `output_size` windows that cover the image.

    As `adaptive_avg_pool`; as in `max_pool`, a window's cotangent goes to its first maximum, and a
    NaN counts as the largest.

    Raises `ShapeError` when `x` has no spatial axis or an empty one.

        >>> adaptive_max_pool(np.arange(5.0).reshape(1, 5, 1), 3).ravel()
        array([1., 3., 4.])
    """
    return _pooled("adaptive_max_pool", x, output_size, layout, max_pool, _maximum)


def global_max_pool(x: Array, *, keepdims: bool = False, layout: str = "NHWC") -> Array:
    """The largest element over all spatial axes: (N, *spatial, C) → (N, C).

    >>> global_max_pool(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[6., 7.]])
    """
    y = adaptive_max_pool(x, 1, layout=layout)
    if keepdims:
        return y
    first = channels_first(layout)
    return np.squeeze(y, tuple(range(2, ndim_of(x)) if first else range(1, ndim_of(x) - 1)))


def _pooled(
    name: str,
    x: Array,
    output_size: OutputSize,
    layout: str,
    even: Callable[..., Array],
    uneven: Callable[[Array, tuple[int, ...]], Array],
) -> Array:
    first = channels_first(layout)
    rank = ndim_of(x) - 2
    if rank < 1:
        raise shape_error(name, f"{name} wants (N, *spatial, C) with at least one spatial axis", x)
    x = to_channels_last(x) if first else x
    spatial = shape_of(x)[1:-1]
    if 0 in spatial:
        raise shape_error(name, f"{name} wants images that are not empty", x)
    target = _target(output_size, spatial)
    if target == spatial:
        y = x
    elif all(size % out == 0 for size, out in zip(spatial, target, strict=True)):
        y = even(x, tuple(size // out for size, out in zip(spatial, target, strict=True)))
    else:
        y = uneven(x, target)
    return to_channels_first(y) if first else y


def _target(output_size: OutputSize, spatial: tuple[int, ...]) -> tuple[int, ...]:
    each: Any = output_size
    if output_size is None or isinstance(output_size, (int, np.integer)):
        each = [output_size] * len(spatial)
    if len(each) != len(spatial):
        raise ValueError(
            f"output_size={output_size} has {len(each)} entries for {len(spatial)} axes, "
            f"at {source.here()}"
        )
    if not all(n is None or (isinstance(n, (int, np.integer)) and n >= 1) for n in each):
        raise ValueError(
            f"output_size={output_size} is not made of positive integers and None, "
            f"at {source.here()}"
        )
    return tuple(size if n is None else int(n) for n, size in zip(each, spatial, strict=True))


def _mean(x: Array, target: tuple[int, ...]) -> Array:
    """Axis by axis: the windows of one length are gathered and averaged together.

    A product with a matrix of shares would be shorter, and make NaN of infinite elements that a
    window does not hold.
    """
    for axis, out in enumerate(target, 1):
        size = shape_of(x)[axis]
        if size == out:
            continue
        windows = bins(size, out)
        lengths = np.array([end - start for start, end in windows])
        parts, order = [], []
        for length in np.unique(lengths).tolist():
            chosen = np.flatnonzero(lengths == length)
            starts = np.array([windows[i][0] for i in chosen])
            gathered = take(x, starts[:, None] + np.arange(length), axis=axis)
            parts.append(np.mean(gathered, axis=axis + 1))
            order.append(chosen)
        x = parts[0]
        if len(parts) > 1:
            x = take(np.concatenate(parts, axis=axis), np.argsort(np.concatenate(order)), axis=axis)
    return x


def _maximum(x: Array, target: tuple[int, ...]) -> Array:
    """All axes at once, so that the first maximum is that of the whole window.

    Short windows are filled up with their own last element, which changes no first maximum.
    """
    rank = len(target)
    for axis, out in enumerate(target):
        windows = bins(shape_of(x)[1 + 2 * axis], out)
        longest = max(end - start for start, end in windows)
        places = np.array(
            [np.minimum(start + np.arange(longest), end - 1) for start, end in windows]
        )
        x = take(x, places, axis=1 + 2 * axis)
    # (N, out, window, out, window, …, C) → (N, *out, C, windows)
    order = (0, *range(1, 2 * rank, 2), 2 * rank + 1, *range(2, 2 * rank + 1, 2))
    x = np.transpose(x, order)
    # Not -1: an empty batch would not tell it.
    x = np.reshape(x, (*shape_of(x)[: rank + 2], math.prod(shape_of(x)[rank + 2 :])))
    return take_along_axis(x, np.argmax(x, axis=-1, keepdims=True), axis=-1)[..., 0]
