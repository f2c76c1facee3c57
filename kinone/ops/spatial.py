"""What convolutions and pools share: layouts, strides and padding in one canonical form.

Primitives know channels-last arrays and explicit pairs of padding alone; the public functions
bring `"SAME"`, single numbers and `layout="NCHW"` to that form.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from .. import source
from ..core import Array, ndim_of

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]

_LAST = ("NHWC", "NWC", "NDHWC")
_FIRST = ("NCHW", "NCW", "NCDHW")


def channels_first(layout: str) -> bool:
    """Whether a layout's name puts the channels second. Raises `ValueError` for an unknown one."""
    if layout not in _LAST and layout not in _FIRST:
        raise ValueError(
            f"layout={layout!r} is not known: 'NHWC' is channels-last, 'NCHW' channels-first, for "
            f"any number of spatial axes, at {source.here()}"
        )
    return layout in _FIRST


def to_channels_last(x: Array) -> Array:
    """(N, C, *spatial) → (N, *spatial, C)."""
    return np.moveaxis(x, 1, -1)


def to_channels_first(x: Array) -> Array:
    """(N, *spatial, C) → (N, C, *spatial)."""
    return np.moveaxis(x, -1, 1)


def kernel_to_channels_last(w: Array) -> Array:
    """(K, C, *kernel) → (*kernel, C, K), PyTorch's OIHW to HWIO."""
    return np.transpose(w, (*range(2, ndim_of(w)), 1, 0))


def is_several(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a size or a padding says something for each axis; a number is for all of them."""
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def sizes(value: int | Sequence[int], rank: int, name: str) -> Sizes:
    """One positive integer for each spatial axis."""
    each: list[Any] = list(value) if is_several(value) else [value] * rank
    if len(each) != rank:
        raise ValueError(
            f"{name}={value} has {len(each)} entries for {rank} axes, at {source.here()}"
        )
    if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in each):
        raise ValueError(f"{name}={value} is not made of positive integers, at {source.here()}")
    return tuple(int(n) for n in each)


def pairs(
    padding: Padding, spatial: Sizes, window: Sizes, strides: Sizes, dilation: Sizes
) -> Pairs:
    """The padding before and after each spatial axis.

    `"VALID"` is none; `"SAME"` makes ⌈size / stride⌉ outputs, the odd element after (TensorFlow's
    and JAX's rule); an int is for both ends of all axes; ints are for both ends of one axis each;
    pairs say all.
    """
    rank = len(spatial)
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return ((0, 0),) * rank
        if padding.upper() == "SAME":
            totals = [
                max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
                for n, k, s, d in zip(spatial, window, strides, dilation, strict=True)
            ]
            return tuple((t // 2, t - t // 2) for t in totals)
        raise ValueError(
            f"padding={padding!r} is not 'SAME', 'VALID', an int or pairs, at {source.here()}"
        )
    entries: list[Any] = list(padding) if is_several(padding) else [padding] * rank
    if len(entries) != rank:
        raise ValueError(
            f"padding={padding} has {len(entries)} entries for {rank} axes, at {source.here()}"
        )
    try:
        ends = [tuple(entry) if is_several(entry) else (entry, entry) for entry in entries]
        return tuple((operator.index(low), operator.index(high)) for low, high in ends)
    except (TypeError, ValueError):
        raise ValueError(
            f"padding={padding!r} is not made of integers, or pairs of them, at {source.here()}"
        ) from None


def output_sizes(
    spatial: Sizes, window: Sizes, strides: Sizes, padding: Pairs, dilation: Sizes
) -> Sizes:
    """⌊(size + padding - reach) / stride⌋ + 1 for each axis, 0 where the window does not fit."""
    return tuple(
        max((n + low + high - ((k - 1) * d + 1)) // s + 1, 0)
        for n, k, s, (low, high), d in zip(spatial, window, strides, padding, dilation, strict=True)
    )
