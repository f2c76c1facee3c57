"""Layer, group, instance and RMS normalisation: one operation over different axes.

Over n elements, with their mean m (of RMS normalisation: 0) and r = 1 / √(Σ(x - m)² / n + ε):

    y = (x - m) r        dx = r (g - Σg / n - y Σ(g y) / n)        dr/dx = -r² y / n

The map from g to dx is symmetric: it is also that of tangents. RMS normalisation has no Σg / n.
Batch normalisation has an operation of its own, in `normalize`, for it also returns what its
running statistics want.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, ndim_of, shape_dtype, shape_error, shape_of
from ..graph import composite
from .axes import normalize_axis
from .declare import cast, primitive, promote
from .kernels.normalization import statistics_dtype
from .kernels.parallel import for_blocks
from .samples import Sample, values
from .spatial import channels_first

Axes = tuple[int, ...]
_BLOCK = 1 << 16  # elements, of which a block's few arrays fit the cache


def _standardize(x: Array, *, axes: Axes, epsilon: float, centred: bool) -> tuple[Array, Array]:
    dtype = promote(np.sqrt, shape_dtype(x))
    x = np.asarray(x, statistics_dtype(dtype))
    last = axes == tuple(range(x.ndim - len(axes), x.ndim))
    if not (last and x.size > _BLOCK and x.flags.c_contiguous):
        y, inverse = _normalised(x, axes, epsilon, centred)
        return y.astype(dtype, copy=False), inverse
    # What is normalised lies together: blocks of such rows stay in cache.
    rows = x.reshape(-1, _count(x, axes))
    y = np.empty(rows.shape, dtype)
    inverse = np.empty((len(rows), 1), x.dtype)

    def compute(part: slice) -> None:
        y[part], inverse[part] = _normalised(rows[part], (1,), epsilon, centred)

    for_blocks(compute, len(rows), _BLOCK // rows.shape[1])
    return y.reshape(x.shape), inverse.reshape(*x.shape[: -len(axes)], *[1] * len(axes))


def _normalised(x: Array, axes: Axes, epsilon: float, centred: bool) -> tuple[Array, Array]:
    if centred:
        x = x - x.mean(axes, keepdims=True)
    squares = np.square(x)
    inverse = 1 / np.sqrt(squares.mean(axes, keepdims=True) + x.dtype.type(epsilon))
    return np.multiply(x, inverse, out=squares), inverse


def _shape(x: ShapeDtype, *, axes: Axes, **_: Any) -> tuple[ShapeDtype, ShapeDtype]:
    dtype = promote(np.sqrt, x)
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    return ShapeDtype(x.shape, dtype), ShapeDtype(kept, statistics_dtype(dtype))


def _through(ys: Any, axes: Axes, centred: bool, g: Array) -> Array:
    """dx of the first result; the same for tangents."""
    y, inverse = ys
    g = cast(g, shape_dtype(inverse).dtype)
    if centred:
        g = g - np.mean(g, axis=axes, keepdims=True)
    return inverse * (g - y * np.mean(g * y, axis=axes, keepdims=True))


def _vjp(ys: Any, x: Array, *, axes: Axes, epsilon: float, centred: bool) -> Any:
    y, inverse = ys
    dtype = shape_dtype(x).dtype

    def pullback(gs: Any) -> tuple[Array | None]:
        g, g_inverse = gs
        dx = None if g is None else _through(ys, axes, centred, g)
        if g_inverse is not None:
            part = (g_inverse * inverse * inverse * (-1 / _count(x, axes))) * y
            dx = part if dx is None else dx + part
        return (None if dx is None else cast(dx, dtype),)

    return pullback


def _jvp(ys: Any, x: Array, *, axes: Axes, epsilon: float, centred: bool) -> Any:
    y, inverse = ys

    def pushforward(t: Array) -> tuple[Array, Array]:
        along = np.mean(cast(t, shape_dtype(inverse).dtype) * y, axis=axes, keepdims=True)
        ty = cast(_through(ys, axes, centred, t), shape_dtype(y).dtype)
        return ty, -inverse * inverse * along

    return pushforward


def _count(x: Array, axes: Axes) -> int:
    return max(math.prod(shape_of(x)[axis] for axis in axes), 1)


standardize_p: Primitive = primitive(
    "standardize",
    _standardize,
    shape=_shape,
    vjp=_vjp,
    jvp=_jvp,
    batch=lambda size, batched, x, *, axes, **params: standardize_p(
        x, axes=tuple([axis + 1 for axis in axes]), **params
    ),
    multiple=True,
    fresh=True,
    flops=5,
    samples=lambda: [
        Sample((values(*shape),), {"axes": axes, "epsilon": epsilon, "centred": centred})
        for shape, axes, epsilon in (((3, 4), (1,), 1e-5), ((2, 3, 2, 2), (1, 3), 1e-2))
        for centred in (True, False)
    ],
)


def standardize(
    x: Array,
    axis: int | Sequence[int] = -1,
    *,
    epsilon: float = 1e-5,
    centred: bool = True,
) -> Array:
    """(x - mean) / √(var + ε), mean and biased variance over one axis or several.

    Without `centred` the mean is not subtracted: x / √(mean of squares + ε). Of a float16 `x` the
    statistics are float32. Any shape; the dtype stays.

    Raises `ShapeError` when there is nothing along the axes, `TypeError` for complex numbers.

        >>> standardize(np.array([1.0, 3.0]), epsilon=0.0)
        array([-1.,  1.])
    """
    known = shape_dtype(x)
    if known.dtype.kind == "c":
        raise TypeError(f"standardize takes real numbers, got {known}, at {source.here()}")
    axes = _axes(axis, known.ndim)
    if any(known.shape[each] == 0 for each in axes):
        raise shape_error("standardize", f"nothing along axis {axis} has no mean", x)
    y: Array = standardize_p(x, axes=axes, epsilon=float(epsilon), centred=centred)[0]
    return y


def _axes(axis: int | Sequence[int], ndim: int) -> Axes:
    """The axes in increasing order. Raises `ValueError` where one is named twice."""
    given = axis if isinstance(axis, Sequence) else (axis,)
    axes = tuple(sorted({normalize_axis(each, ndim) for each in given}))
    if len(axes) != len(given):
        raise ValueError(f"axis={axis} names an axis twice, at {source.here()}")
    return axes


def _affine(y: Array, scale: Array | None, bias: Array | None) -> Array:
    """y · scale + bias in the dtype of y; either may be missing."""
    dtype = shape_dtype(y).dtype
    y = y if scale is None else y * scale
    y = y if bias is None else y + bias
    return cast(y, dtype)


def layer_norm(
    x: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-5,
) -> Array:
    """Each example's features with mean 0 and variance 1: standardize(x) · scale + bias.

    `scale` and `bias` have the lengths of `axis`, in increasing order of the axes (Ba, Kiros &
    Hinton 2016, arXiv:1607.06450).

    Raises `ShapeError` when their shapes are others.

        >>> layer_norm(np.array([[1.0, 3.0]]), np.array([2.0, 2.0]), epsilon=0.0)
        array([[-2.,  2.]])
    """
    axes = _axes(axis, ndim_of(x))
    if scale is None:
        return _affine(
            standardize(x, axes, epsilon=epsilon), None, _placed("layer_norm", x, bias, axes)
        )
    factors = [scale] if bias is None else [scale, bias]
    return _layer_norm(x, *factors, axes=axes, epsilon=float(epsilon))


@composite("LayerNormalization")
def _layer_norm(x: Array, scale: Array, *bias: Array, axes: Axes, epsilon: float) -> Array:
    y = standardize(x, axes, epsilon=epsilon)
    factors = [_placed("layer_norm", x, each, axes) for each in (scale, *bias)]
    return _affine(y, factors[0], factors[1] if bias else None)


def rms_norm(
    x: Array,
    scale: Array | None = None,
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-6,
) -> Array:
    """Each example's features with mean square 1: x / √(mean(x²) + ε) · scale (Zhang & Sennrich
    2019, arXiv:1910.07467).

    Raises `ShapeError` when the shape of `scale` is not that of the axes.

        >>> rms_norm(np.array([3.0, 3.0]), epsilon=0.0)
        array([1., 1.])
    """
    axes = _axes(axis, ndim_of(x))
    if scale is None:
        return standardize(x, axes, epsilon=epsilon, centred=False)
    return _rms_norm(x, scale, axes=axes, epsilon=float(epsilon))


@composite("RMSNormalization")
def _rms_norm(x: Array, scale: Array, *, axes: Axes, epsilon: float) -> Array:
    y = standardize(x, axes, epsilon=epsilon, centred=False)
    return _affine(y, _placed("rms_norm", x, scale, axes), None)


def group_norm(
    x: Array,
    groups: int,
    scale: Array | None = None,
    bias: Array | None = None,
    *,
    epsilon: float = 1e-5,
    layout: str = "NHWC",
) -> Array:
    """Each example's channels in groups, every group with mean 0 and variance 1 over the image.

    `x` is (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`; `scale` and `bias` are (C,).
    One group is layer normalisation of the whole example; as many as channels is instance
    normalisation (Wu & He 2018, arXiv:1803.08494).

    Raises `ShapeError` when `groups` does not divide the channels.

        >>> group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2, epsilon=0.0)
        array([[-1.,  1., -1.,  1.]])
    """
    rank = ndim_of(x)
    if rank < 2:
        raise shape_error("group_norm", "group_norm wants an axis of examples and of channels", x)
    shape = shape_of(x)
    place = 1 if channels_first(layout) else rank - 1
    channels = shape[place]
    if groups < 1 or channels % groups:
        raise shape_error("group_norm", f"{channels} channels are not in {groups} equal groups", x)
    params: dict[str, Any] = {"groups": groups, "place": place, "epsilon": float(epsilon)}
    if scale is None:
        y = _group_norm(x, **params)
        return _affine(y, None, _placed("group_norm", x, bias, place))
    return _group_norm(x, *([scale] if bias is None else [scale, bias]), **params)


@composite("GroupNormalization")
def _group_norm(x: Array, *factors: Array, groups: int, place: int, epsilon: float) -> Array:
    shape, rank = shape_of(x), ndim_of(x)
    channels = shape[place]
    split = (*shape[:place], groups, channels // groups, *shape[place + 1 :])
    axes = [axis for axis in range(1, rank + 1) if axis != place]
    y = np.reshape(standardize(np.reshape(x, split), axes, epsilon=epsilon), shape)
    placed = [_placed("group_norm", x, each, place) for each in (*factors, None, None)]
    return _affine(y, placed[0], placed[1])


def _placed(name: str, x: Array, factor: Array | None, axis: int | Sequence[int]) -> Array | None:
    """A scale or bias with the axes of `x`."""
    if factor is None:
        return None
    shape = shape_of(x)
    axes = [normalize_axis(each, len(shape)) for each in np.atleast_1d(axis).tolist()]
    lengths = tuple(shape[each] for each in sorted(axes))
    if shape_of(factor) != lengths:
        raise shape_error(
            name,
            f"{name} of {shape_dtype(x)} wants a scale and a bias of shape {lengths}, got "
            f"{shape_of(factor)}",
            x,
            factor,
        )
    return np.reshape(factor, tuple(n if i in axes else 1 for i, n in enumerate(shape)))
