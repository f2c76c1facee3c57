"""Convolutions, their transposes, and those whose places move."""

from __future__ import annotations

import math

import numpy as np

from .... import ops
from ....core import Array, shape_of
from ....ops.conv import conv_transpose_p
from ....ops.spatial import kernel_to_channels_last, to_channels_first, to_channels_last
from ..registry import Node, operator
from ..sampling import sample_linear
from ..windows import Sizes, check_size, counts, pads, per_channel, spatial_of, windows


@operator("Conv")
def conv(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    spatial, kernel = spatial_of(node, x), _kernel(node, w)
    over = windows(node, spatial, kernel)
    _check_channels(node, shape_of(x)[1], shape_of(w)[1] * _group(node))
    # A kernel that is one number all through, as ConstantOfShape makes it, is applied once.
    same = isinstance(w, np.ndarray) and w.size > 1 and w.strides[0] == 0 and _group(node) == 1
    y = ops.conv(
        x,
        w[:1] if same else w,
        strides=over.strides,
        padding=over.padding,
        dilation=over.dilation,
        groups=_group(node),
        layout="NCHW",
    )
    if same:
        y = np.broadcast_to(y, (shape_of(y)[0], shape_of(w)[0], *shape_of(y)[2:]))
    return y if bias is None else y + per_channel(bias, len(spatial))


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    spatial, kernel = spatial_of(node, x), _kernel(node, w)
    rank, groups = len(spatial), _group(node)
    _check_channels(node, shape_of(x)[1], shape_of(w)[0])
    if shape_of(x)[1] % groups:
        raise node.error(f"has {shape_of(x)[1]} channels, which are not {groups} equal groups")
    strides, dilation = counts(node, "strides", rank), counts(node, "dilations", rank)
    extra = tuple([int(e) for e in node.attribute("output_padding", None) or (0,) * rank])
    low, high = pads(node, rank)
    mode = node.attribute("auto_pad", "NOTSET")
    target = node.attribute("output_shape", None)
    if target:  # of the spatial axes, though some exporters name all
        target = [int(size) for size in target[-rank:]]
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        target = [n * s for n, s in zip(spatial, strides, strict=True)]
    whole = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(spatial, strides, kernel, dilation, extra, strict=True)
    ]
    if target:
        totals = [max(size - wanted, 0) for size, wanted in zip(whole, target, strict=True)]
        first = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in totals]
        low = tuple(first)
    else:
        target = [size - a - b for size, a, b in zip(whole, low, high, strict=True)]
    check_size(node, shape_of(x)[0], shape_of(w)[1] * groups, *[max(n, 0) for n in target])
    if min(target) < 1:
        raise node.error(f"has an output of the sizes {target}")
    # The padding of the convolution that this transposes. It may leave room for less than a window
    # (the output's own padding), and has to be less where there would be more.
    ends = []
    for size, e, a, wanted, s, d in zip(whole, extra, low, target, strides, dilation, strict=True):
        end = max(size - a - wanted, 0)
        room = wanted + a + end - (size - e)
        ends.append(end if room < max(s, d) else end - room)
    y = conv_transpose_p(
        to_channels_last(x),
        kernel_to_channels_last(w),
        input_shape=tuple(target),
        strides=strides,
        padding=tuple(zip(low, ends, strict=True)),
        dilation=dilation,
        groups=groups,
    )
    y = to_channels_first(y)
    return y if bias is None else y + per_channel(bias, rank)


@operator("DeformConv")
def deform_conv(
    node: Node,
    x: Array,
    w: Array,
    offset: Array,
    bias: Array | None = None,
    mask: Array | None = None,
) -> Array:
    spatial, kernel = spatial_of(node, x), _kernel(node, w)
    over = windows(node, spatial, kernel)
    rank, groups, parts = len(spatial), _group(node), int(node.attribute("offset_group", 1))
    images, channels = shape_of(x)[:2]
    taps = math.prod(kernel)
    _check_channels(node, channels, shape_of(w)[1] * groups)
    moved = np.reshape(offset, (images, parts, taps, rank, *over.out))
    points = []
    for axis in range(rank):
        # The regular place of each tap in each window, (1 or taps, 1 or out, …)
        places = over.places(axis)
        lie = [1] * (2 * rank)
        lie[axis], lie[rank + axis] = kernel[axis], over.out[axis]
        regular = np.broadcast_to(places.T.reshape(lie), (*kernel, *over.out))
        points.append(moved[:, :, :, axis] + regular.reshape(taps, *over.out).astype(np.float32))
    # Every group of channels is sampled at places of its own.
    grouped = np.reshape(x, (images * parts, channels // parts, *spatial))
    flat = [np.reshape(p, (images * parts, taps * math.prod(over.out))) for p in points]
    values = sample_linear(grouped, flat)
    values = np.reshape(values, (images, parts, channels // parts, taps, *over.out))
    if mask is not None:
        values = values * np.reshape(mask, (images, parts, 1, taps, *over.out))
    columns = np.reshape(values, (images, groups, channels // groups * taps, math.prod(over.out)))
    features = shape_of(w)[0]
    rows = np.reshape(w, (groups, features // groups, channels // groups * taps))
    y = np.reshape(ops.matmul(rows, columns), (images, features, *over.out))
    return y if bias is None else y + per_channel(bias, rank)


def _kernel(node: Node, w: Array) -> Sizes:
    """The kernel's spatial sizes, which the node may say, too."""
    found = spatial_of(node, w)
    said = node.attribute("kernel_shape", None)
    if said and tuple(said) != found:
        raise node.error(f"says that its kernel is {list(said)}, and its weights are {found}")
    return found


def _group(node: Node) -> int:
    groups = int(node.attribute("group", 1))
    if groups < 1:
        raise node.error(f"has {groups} groups")
    return groups


def _check_channels(node: Node, found: int, wanted: int) -> None:
    if found != wanted:
        raise node.error(f"is given {found} channels, and its weights are for {wanted}")
