"""What ONNX's convolutions and pools share: strides, dilations, padding and the windows' number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core import Array, shape_dtype, shape_of
from .registry import Node

Sizes = tuple[int, ...]


# By how much a window or its padding may be larger than what it lies on: more is an attack.
_BEYOND = 1 << 16
_MOST = 1 << 32


@dataclass(frozen=True)
class Windows:
    """How windows lie over the spatial axes, one entry for each."""

    kernel: Sizes
    strides: Sizes
    dilation: Sizes
    low: Sizes
    high: Sizes
    out: Sizes

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self.low, self.high, strict=True))

    @property
    def dense(self) -> bool:
        """Whether the elements of each window stand next to each other."""
        return all(d == 1 for d in self.dilation)

    def needed(self, spatial: Sizes) -> tuple[tuple[int, int], ...]:
        """The padding that the windows reach over, which `ceil_mode` makes larger (or the last
        window smaller) than what the node says."""
        ends = [
            (count - 1) * s + (k - 1) * d + 1 - size - low
            for size, k, s, d, low, count in zip(
                spatial, self.kernel, self.strides, self.dilation, self.low, self.out, strict=True
            )
        ]
        return tuple(zip(self.low, ends, strict=True))

    def places(self, axis: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """(windows, elements of each): the places in the input, before its start and after its end
        where there is padding."""
        starts = np.arange(self.out[axis]) * self.strides[axis] - self.low[axis]
        return starts[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]


def windows(node: Node, spatial: Sizes, kernel: Sizes) -> Windows:
    """The windows of a convolution or pool over axes of these sizes."""
    rank = len(spatial)
    if len(kernel) != rank:
        raise node.error(f"has a kernel of {len(kernel)} axes for {rank} spatial axes")
    strides = counts(node, "strides", rank)
    dilation = counts(node, "dilations", rank)
    reach = tuple([(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)])
    mode = node.attribute("auto_pad", "NOTSET")
    ceiling = bool(node.attribute("ceil_mode", 0))
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        out = tuple([-(-n // s) for n, s in zip(spatial, strides, strict=True)])
        totals = [
            max((o - 1) * s + r - n, 0)
            for n, s, r, o in zip(spatial, strides, reach, out, strict=True)
        ]
        halves = tuple([t // 2 for t in totals])
        rests = tuple([t - t // 2 for t in totals])
        low, high = (halves, rests) if mode == "SAME_UPPER" else (rests, halves)
        return Windows(kernel, strides, dilation, low, high, out)
    low, high = pads(node, rank)
    if any(
        max(k, a, b) - n > _BEYOND for n, k, a, b in zip(spatial, kernel, low, high, strict=True)
    ):
        raise node.error(f"has a kernel of {kernel} and pads of {low} and {high} for {spatial}")
    found = []
    for n, s, r, a, b in zip(spatial, strides, reach, low, high, strict=True):
        room = n + a + b - r
        count = (-(-room // s) if ceiling else room // s) + 1
        if ceiling and (count - 1) * s >= n + a:
            count -= 1  # the last window begins inside or before it
        if count < 1 or (room < 0 and not ceiling):
            raise node.error(f"has a kernel of {kernel} that does not fit into {spatial}")
        found.append(count)
    return Windows(kernel, strides, dilation, low, high, tuple(found))


def counts(node: Node, name: str, rank: int) -> Sizes:
    """`strides` or `dilations`: ones where the node says nothing."""
    found = tuple([int(each) for each in node.attribute(name, None) or (1,) * rank])
    if len(found) != rank or min(found, default=1) < 1:
        raise node.error(f"has {name} of {list(found)} for {rank} spatial axes")
    return found


def pads(node: Node, rank: int) -> tuple[Sizes, Sizes]:
    """The padding before and after each axis that `pads` says, none with `auto_pad="VALID"`."""
    mode = node.attribute("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""):
        raise node.error(f"has an unknown auto_pad, {mode!r}")
    given = node.attribute("pads", None)
    if not given or mode == "VALID":
        return (0,) * rank, (0,) * rank
    if len(given) != 2 * rank:
        raise node.error(f"has {len(given)} pads for {rank} spatial axes")
    return tuple([int(p) for p in given[:rank]]), tuple([int(p) for p in given[rank:]])


def spread(x: Array, found: Windows, fill: float) -> Array:
    """(N, C, *spatial) → (N, C, *[windows · elements]): every window's elements next to each other,
    so that windows whose elements are apart, or that overlap, are made of blocks.
    """
    for i in range(len(found.kernel)):
        axis = i + 2
        size = shape_of(x)[axis]
        places = found.places(i).reshape(-1)
        outside = (places < 0) | (places >= size)
        if outside.any():  # one more element, which stands for all of the padding
            widths = [(0, 0)] * len(shape_of(x))
            widths[axis] = (0, 1)
            x = np.pad(x, widths, constant_values=shape_dtype(x).dtype.type(fill))
            places = np.where(outside, size, places)
        x = np.take(x, places, axis=axis)
    return x


def check_size(node: Node, *sizes: int) -> None:
    """Raises `LoadError` for sizes that are negative, and for more elements than any array has that
    a model asks for in earnest: only some of a file's bytes are needed to ask."""
    if min(sizes, default=0) < 0 or math.prod(sizes) > _MOST:
        raise node.error(f"is to make an array of the sizes {list(sizes)}")


def per_channel(values: Array, rank: int) -> Array:
    """(C,) as it is added to (N, C, *spatial)."""
    return np.reshape(values, (-1, *[1] * rank))


def spatial_of(node: Node, x: Array, least: int = 1) -> Sizes:
    """The sizes of the axes after those of images and channels."""
    shape: Sequence[int] = shape_of(x)
    if len(shape) < 2 + least:
        raise node.error(f"wants (N, C, *spatial) and is given an array of shape {tuple(shape)}")
    return tuple(shape[2:])
