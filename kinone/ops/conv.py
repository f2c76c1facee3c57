"""Convolution in any number of spatial dimensions, and its two transposes.

A convolution y = conv(x, w) is linear in x and in w, so there is one trilinear form ⟨g, conv(x, w)⟩
and three maps that give one of x, w, g from the other two:

    conv             (x, w) → g's space     the convolution
    conv_transpose   (g, w) → x's space     its transpose in x; also a layer of its own
    conv_kernel      (x, g) → w's space     its transpose in w

The derivative of each is made of the other two, so this family is closed: that is all there is to
convolutions of any order of differentiation. The kernels are in `kernels/convolution.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, ndim_of, shape_error, shape_of
from .declare import bilinear, result_type
from .fold import fold, merge_images, of_no_examples, split_images, unfold
from .kernels import convolution
from .samples import Sample, values
from .spatial import (
    Padding,
    Sizes,
    channels_first,
    kernel_to_channels_last,
    output_sizes,
    pairs,
    sizes,
    to_channels_first,
    to_channels_last,
)

# ---- samples: rank, strides, padding, dilation, groups -------------------------------------------


def _cases() -> list[tuple[Any, Any, dict[str, Any]]]:
    """(x, w, params) of small convolutions."""

    def case(
        x: Sizes, w: Sizes, strides: Sizes, padding: Any, dilation: Sizes, groups: int = 1
    ) -> tuple[Any, Any, dict[str, Any]]:
        params = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        return values(*x), values(*w, seed=1), params

    return [
        case((2, 5, 4, 2), (3, 3, 2, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
        case((1, 6, 5, 2), (3, 2, 2, 2), (2, 3), ((0, 1), (2, 0)), (1, 1)),
        case((1, 4, 4, 4), (1, 1, 4, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        case((1, 5, 5, 2), (1, 1, 2, 3), (2, 2), ((0, 0), (0, 0)), (1, 1)),
        case((1, 5, 5, 4), (3, 3, 2, 6), (1, 2), ((1, 1), (1, 1)), (1, 1), 2),
        case((1, 5, 5, 3), (3, 3, 1, 6), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
        case((2, 9, 2), (3, 2, 2), (2,), ((2, 1),), (3,)),
        case((1, 3, 4, 3, 1), (2, 2, 2, 1, 2), (1, 2, 1), ((0, 0), (1, 0), (0, 1)), (1, 1, 2)),
        case((1, 5, 4, 1), (2, 2, 1, 2), (1, 1), ((-1, 0), (0, -1)), (1, 1)),
    ]


def _conv_samples() -> list[Sample]:
    return [Sample((x, w), params) for x, w, params in _cases()]


def _transpose_samples() -> list[Sample]:
    return [
        Sample(
            (values(*_conv_shape(_aval(x), _aval(w), **params).shape, seed=2), w),
            {"input_shape": x.shape[1:-1], **params},
        )
        for x, w, params in _cases()
    ] + [
        # Dilation beyond the stride: there is room in the result for one more window than `g` has.
        Sample(
            (values(1, 3, 2), values(3, 1, 2, seed=1)),
            {
                "input_shape": (4,),
                "strides": (1,),
                "padding": ((2, 2),),
                "dilation": (2,),
                "groups": 1,
            },
        )
    ]


def _kernel_samples() -> list[Sample]:
    return [
        Sample(
            (x, values(*_conv_shape(_aval(x), _aval(w), **params).shape, seed=2)),
            {"kernel_shape": w.shape[:-2], **params},
        )
        for x, w, params in _cases()
    ]


def _aval(x: Any) -> ShapeDtype:
    return ShapeDtype(x.shape, x.dtype)


# ---- the three primitives ------------------------------------------------------------------------


def _conv_shape(
    x: ShapeDtype, w: ShapeDtype, *, strides: Sizes, padding: Any, dilation: Sizes, groups: int
) -> ShapeDtype:
    spatial = output_sizes(x.shape[1:-1], w.shape[:-2], strides, padding, dilation)
    return ShapeDtype((x.shape[0], *spatial, w.shape[-1]), result_type(x, w))


def _work(y: Sizes, w: Sizes) -> float:
    """2 · outputs · kernel height · kernel width · input channels of a group; of the transposes,
    where each element of `g` meets its window once, as well."""
    return 2.0 * math.prod(y) * math.prod(w[:-1])


conv_p: Primitive = bilinear(
    "conv",
    convolution.conv,
    shape=_conv_shape,
    left=lambda g, x, w, **p: conv_transpose_p(g, w, input_shape=x.shape[1:-1], **p),
    right=lambda g, x, w, **p: conv_kernel_p(x, g, kernel_shape=w.shape[:-2], **p),
    batch=lambda *call, **p: _batch_images(conv_p, *call, **p),
    fresh=True,
    flops=lambda operands, results: _work(results[0], operands[1]),
    samples=_conv_samples,
)
conv_transpose_p: Primitive = bilinear(
    "conv_transpose",
    convolution.conv_input_gradient,
    shape=lambda g, w, *, input_shape, groups, **p: ShapeDtype(
        (g.shape[0], *input_shape, w.shape[-2] * groups), result_type(g, w)
    ),
    left=lambda t, g, w, *, input_shape, **p: _cut_to(g.shape, conv_p(t, w, **p)),
    right=lambda t, g, w, *, input_shape, **p: conv_kernel_p(t, g, kernel_shape=w.shape[:-2], **p),
    batch=lambda *call, **p: _batch_images(conv_transpose_p, *call, **p),
    fresh=True,
    flops=lambda operands, results: _work(operands[0], operands[1]),
    samples=_transpose_samples,
)
conv_kernel_p: Primitive = bilinear(
    "conv_kernel",
    convolution.conv_weight_gradient,
    shape=lambda x, g, *, kernel_shape, groups, **p: ShapeDtype(
        (*kernel_shape, x.shape[-1] // groups, g.shape[-1]), result_type(x, g)
    ),
    left=lambda t, x, g, *, kernel_shape, **p: conv_transpose_p(
        g, t, input_shape=x.shape[1:-1], **p
    ),
    right=lambda t, x, g, *, kernel_shape, **p: _cut_to(g.shape, conv_p(x, t, **p)),
    batch=lambda *call, **p: _batch_kernels(*call, **p),
    fresh=True,
    flops=lambda operands, results: _work(operands[1], results[0]),
    samples=_kernel_samples,
)


def _cut_to(shape: Sizes, y: Array) -> Array:
    """Without the last positions, where a dilated kernel and `output_padding` leave room for one
    more window than the transposed convolution had."""
    return y if shape_of(y) == shape else y[tuple(slice(n) for n in shape)]


# ---- vmap ----------------------------------------------------------------------------------------

# Batched images are more images. Where every example has its own kernel, the batch axis goes into
# the channels: with images of its own too, each example is a group of its own (B · groups of them);
# with shared images, kernels of all examples are more features of each group. Examples that are
# large, more multiplications than `_LARGE` in each, are convolved one after the other: the calls
# cost nothing then, and groups have no Winograd transform (4 of 32x16x16x64 by 3x3x64x64 in float32
# took 33 ms as groups and 16 ms so; 32 of 1x8x8x64 took 3 ms as groups and 13 ms so).
_LARGE = 1 << 24


def _batch_images(
    of: Primitive, size: int, batched: Sequence[bool], x: Array, w: Array, *, groups: int, **p: Any
) -> Array:
    """`conv` and `conv_transpose`, whose operands are images and a kernel."""
    if size == 0:
        return of_no_examples(of, batched, (x, w), {"groups": groups, **p})
    if all(batched):
        if math.prod(shape_of(x)[1:-1]) * math.prod(shape_of(w)[1:]) > _LARGE:
            return np.stack([of(x[i], w[i], groups=groups, **p) for i in range(size)])
        return unfold(of(fold(x), fold(w), groups=size * groups, **p), size)
    if batched[0]:
        images = shape_of(x)[1]
        return split_images(of(merge_images(x), w, groups=groups, **p), size, images)
    # The kernel's axis that the result's channels come from: the last, or in the transpose (where
    # it counts the channels of one group) the last but one.
    kernel = fold(w, groups) if of is conv_p else _fold_inputs(w)
    return unfold(of(x, kernel, groups=groups, **p), size, groups)


def _batch_kernels(
    size: int, batched: Sequence[bool], x: Array, g: Array, *, groups: int, **p: Any
) -> Array:
    """`conv_kernel`, whose operands are images and cotangents of images."""
    if size == 0:
        return of_no_examples(conv_kernel_p, batched, (x, g), {"groups": groups, **p})
    if all(batched):
        kernel = math.prod(p["kernel_shape"]) * shape_of(x)[-1] // groups * shape_of(g)[-1]
        if math.prod(shape_of(g)[1:-1]) * kernel > _LARGE:
            return np.stack([conv_kernel_p(x[i], g[i], groups=groups, **p) for i in range(size)])
        return unfold(conv_kernel_p(fold(x), fold(g), groups=size * groups, **p), size)
    if batched[0]:
        kernels = conv_kernel_p(fold(x, groups), g, groups=groups, **p)
        return _unfold_inputs(kernels, size)
    return unfold(conv_kernel_p(x, fold(g, groups), groups=groups, **p), size, groups)


def _fold_inputs(w: Array) -> Array:
    """(B, *kernel, C, K) → (*kernel, B · C, K)."""
    return np.swapaxes(fold(np.swapaxes(w, -1, -2)), -1, -2)


def _unfold_inputs(w: Array, size: int) -> Array:
    """(*kernel, B · C, K) → (B, *kernel, C, K)."""
    return np.swapaxes(unfold(np.swapaxes(w, -1, -2), size), -1, -2)


# ---- the public functions ------------------------------------------------------------------------


def conv(
    x: Array,
    w: Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    layout: str = "NHWC",
) -> Array:
    """Convolution (cross-correlation: the kernel is not flipped) in any number of dimensions.

    y[n, p, k] = Σ_{t, c} x[n, p · stride + t · dilation - padding, c] · w[t, c, k]

    `x` is (N, *spatial, C), `w` (*kernel, C / groups, K), the result (N, *out, K); with
    `layout="NCHW"` they are (N, C, *spatial), (K, C / groups, *kernel) and (N, K, *out), PyTorch's
    and ONNX's. `padding` is "SAME", "VALID", an int, an int for each axis, or a (low, high) pair
    for each axis. With `groups`, group i of the outputs sees group i of the channels;
    `groups=C` is a depthwise convolution.

    Raises `ShapeError` when the operands do not fit.

        >>> import numpy as np
        >>> conv(np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4)), strides=2).shape
        (1, 3, 3, 4)
    """
    first = channels_first(layout)
    rank = _rank("conv", x, w, first)
    if first:
        x, w = to_channels_last(x), kernel_to_channels_last(w)
    channels, features = shape_of(x)[-1], shape_of(w)[-1]
    sizes(groups, 1, "groups")
    if channels != shape_of(w)[-2] * groups or features % groups:
        raise _channel_error("conv", x, w, channels, features, groups, first)
    params = _params(shape_of(x)[1:-1], shape_of(w)[:-2], rank, strides, padding, dilation, groups)
    spatial = shape_of(x)[1:-1]
    window = (shape_of(w)[:-2], params["strides"], params["padding"], params["dilation"])
    if 0 in output_sizes(spatial, *window):
        raise shape_error("conv", f"a kernel of {window[0]} does not fit into {spatial}", x, w)
    y = conv_p(x, w, **params)
    return to_channels_first(y) if first else y


def conv_transpose(
    x: Array,
    w: Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    layout: str = "NHWC",
) -> Array:
    """Transposed convolution: the transpose of `conv(·, w)` with the same parameters.

    ⟨conv_transpose(x, w), z⟩ = ⟨x, conv(z, w)⟩. So `w` has the shape that `conv` takes on the way
    back: (*kernel, K / groups, C) for `x` of (N, *spatial, C) and a result of (N, *out, K); with
    `layout="NCHW"` (C, K / groups, *kernel), as in PyTorch. Each axis has

    out = (size - 1) · stride - low - high + (kernel - 1) · dilation + 1 + output_padding,

    `padding="SAME"` makes it size · stride + output_padding. `output_padding` is less than the
    stride or the dilation.

    Raises `ShapeError` when the operands do not fit.

        >>> import numpy as np
        >>> conv_transpose(np.ones((1, 4, 4, 2)), np.ones((3, 3, 8, 2)), strides=2).shape
        (1, 8, 8, 8)
    """
    first = channels_first(layout)
    rank = _rank("conv_transpose", x, w, first)
    if first:
        x, w = to_channels_last(x), kernel_to_channels_last(w)
    channels, features = shape_of(x)[-1], shape_of(w)[-1]
    if channels != features or channels % groups:
        raise shape_error(
            "conv_transpose",
            f"the input has {channels} channels and the kernel's last axis {features} "
            f"(groups={groups}): the kernel is that of the convolution which this transposes",
            x,
            w,
        )
    stride, spread = sizes(strides, rank, "strides"), sizes(dilation, rank, "dilation")
    spatial, window = shape_of(x)[1:-1], shape_of(w)[:-2]
    extra: tuple[Any, ...]
    extra = (
        tuple(output_padding)
        if isinstance(output_padding, (tuple, list))
        else (output_padding,) * rank
    )
    if len(extra) != rank or any(
        not 0 <= e < max(s, d) for e, s, d in zip(extra, stride, spread, strict=False)
    ):
        raise ValueError(
            f"output_padding={output_padding} has to be less than strides={stride} or "
            f"dilation={spread}, for each of {rank} axes, at {source.here()}"
        )
    # The input that the forward convolution would have had; SAME pads that one.
    whole = tuple(n * s for n, s in zip(spatial, stride, strict=True))
    widths = pairs(padding, whole, window, stride, spread)
    if isinstance(padding, str) and padding.upper() == "SAME":
        target = tuple(n + e for n, e in zip(whole, extra, strict=True))
    else:
        target = tuple(
            max((n - 1) * s - low - high + (k - 1) * d + 1 + e, 0)
            for n, s, (low, high), k, d, e in zip(
                spatial, stride, widths, window, spread, extra, strict=True
            )
        )
    y = conv_transpose_p(
        x,
        w,
        input_shape=target,
        strides=stride,
        padding=widths,
        dilation=spread,
        groups=groups,
    )
    return to_channels_first(y) if first else y


def _params(
    spatial: Sizes,
    window: Sizes,
    rank: int,
    strides: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
) -> dict[str, Any]:
    stride, spread = sizes(strides, rank, "strides"), sizes(dilation, rank, "dilation")
    widths = pairs(padding, spatial, window, stride, spread)
    return {"strides": stride, "padding": widths, "dilation": spread, "groups": groups}


def _rank(name: str, x: Array, w: Array, first: bool) -> int:
    """The number of spatial axes."""
    rank = ndim_of(x) - 2
    if rank < 1 or ndim_of(w) != rank + 2:
        image = "(N, C, *spatial)" if first else "(N, *spatial, C)"
        kernel = "(K, C, *kernel)" if first else "(*kernel, C, K)"
        hint = "; add the batch axis with x[None]" if ndim_of(x) == ndim_of(w) - 1 else ""
        raise shape_error(
            name,
            f"{name} wants an input {image} and a kernel {kernel} with as many axes, got "
            f"{shape_of(x)} and {shape_of(w)}{hint}",
            x,
            w,
        )
    return rank


def _channel_error(
    name: str, x: Array, w: Array, channels: int, features: int, groups: int, first: bool
) -> Exception:
    wanted = shape_of(w)[-2] * groups
    text = (
        f"the input has {channels} channels and the kernel takes {wanted}"
        if channels != wanted
        else f"{features} outputs do not divide into {groups} groups"
    )
    if groups > 1:
        text += f" ({shape_of(w)[-2]} in each of groups={groups})"
    if channels != wanted and shape_of(x)[1] == wanted and not first:
        text += '; an (N, C, *spatial) array wants layout="NCHW"'
    elif channels != wanted and features == channels:
        text += "; are the kernel's last two axes exchanged?"
    return shape_error(name, text, x, w)
