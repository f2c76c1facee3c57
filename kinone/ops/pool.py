"""Max and average pooling in any number of spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    is_bfloat16,
    ndim_of,
    shape_dtype,
    shape_error,
    shape_of,
)
from .declare import linear, primitive
from .fold import over_images
from .kernels import pooling
from .samples import Sample, values
from .spatial import (
    Padding,
    Sizes,
    channels_first,
    output_sizes,
    pairs,
    sizes,
    to_channels_first,
    to_channels_last,
)


def _cases() -> list[tuple[Any, dict[str, Any]]]:
    def case(x: Sizes, window: Sizes, strides: Sizes, padding: Any) -> tuple[Any, dict[str, Any]]:
        return values(*x), {"window": window, "strides": strides, "padding": padding}

    return [
        case((2, 4, 4, 2), (2, 2), (2, 2), ((0, 0), (0, 0))),
        case((1, 5, 5, 2), (3, 3), (2, 2), ((1, 1), (1, 1))),
        case((1, 5, 4, 1), (3, 2), (1, 2), ((0, 1), (1, 0))),
        case((2, 7, 1), (3,), (2,), ((1, 0),)),
        case((1, 3, 3, 4, 1), (2, 2, 2), (1, 1, 2), ((0, 0),) * 3),
    ]


# ---- max -----------------------------------------------------------------------------------------

# Of each window the position of its first maximum is a second result. With it the derivative is a
# gather, its transpose a scatter, and neither needs the input again.


def _pooled(x: ShapeDtype, window: Sizes, strides: Sizes, padding: Any) -> Sizes:
    spatial = output_sizes(x.shape[1:-1], window, strides, padding, (1,) * len(window))
    return (x.shape[0], *spatial, x.shape[-1])


def _max_shape(x: ShapeDtype, **params: Any) -> tuple[ShapeDtype, ShapeDtype]:
    shape = _pooled(x, **params)
    return ShapeDtype(shape, x.dtype), ShapeDtype(
        shape, np.min_scalar_type(math.prod(params["window"]) - 1)
    )


def _max_vjp(ys: Any, x: Array, **params: Any) -> Any:
    spatial = shape_of(x)[1:-1]
    index = ys[1]
    return lambda gs: (max_pool_scatter_p(gs[0], index, input_shape=spatial, **params),)


def _max_jvp(ys: Any, x: Array, **params: Any) -> Any:
    return lambda t: (max_pool_gather_p(t, ys[1], **params), None)


def _max_samples() -> list[Sample]:
    return [Sample((x,), params) for x, params in _cases()]


max_pool_p: Primitive = primitive(
    "max_pool",
    pooling.max_pool,
    shape=_max_shape,
    vjp=_max_vjp,
    jvp=_max_jvp,
    multiple=True,
    batch=lambda *call, **params: over_images(max_pool_p, *call, **params),
    fresh=True,
    samples=_max_samples,
)
max_pool_gather_p: Primitive = linear(
    "max_pool_gather",
    pooling.max_pool_gather,
    shape=lambda t, index, **params: ShapeDtype(_pooled(t, **params), t.dtype),
    transpose=lambda g, t, index, **params: max_pool_scatter_p(
        g, index, input_shape=t.shape[1:-1], **params
    ),
    batch=lambda *call, **params: over_images(max_pool_gather_p, *call, **params),
    fresh=True,
    samples=lambda: [
        Sample((values(*x.shape, seed=2), pooling.max_pool(x, **params)[1]), params)
        for x, params in _cases()
    ],
)
max_pool_scatter_p: Primitive = linear(
    "max_pool_scatter",
    pooling.max_pool_scatter,
    shape=lambda g, index, *, input_shape, **params: ShapeDtype(
        (g.shape[0], *input_shape, g.shape[-1]), g.dtype
    ),
    transpose=lambda t, g, index, *, input_shape, **params: max_pool_gather_p(t, index, **params),
    batch=lambda *call, **params: over_images(max_pool_scatter_p, *call, **params),
    fresh=True,
    samples=lambda: [
        Sample((y, index), {"input_shape": x.shape[1:-1], **params})
        for x, params in _cases()
        for y, index in [pooling.max_pool(x, **params)]
    ],
)


def max_pool(
    x: Array,
    window: int | Sequence[int],
    *,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
    layout: str = "NHWC",
    ceil_mode: bool = False,
) -> Array:
    """The largest element of each window; padding counts as minus infinity, NaN as larger.

    `x` is (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`. `strides` are the window's
    sizes by default. A window's cotangent goes to its first maximum. With `ceil_mode` a last window
    that begins inside may end beyond the padding, as in PyTorch.

    Raises `ShapeError` when `x` has no spatial axis.

        >>> import numpy as np
        >>> max_pool(np.arange(4.0).reshape(1, 4, 1), 2).ravel()
        array([1., 3.])
    """
    x, params, first = _prepare("max_pool", x, window, strides, padding, layout)
    if ceil_mode:
        params["padding"] = _with_the_rest(x, **params)
    y = max_pool_p(x, **params)[0]
    return to_channels_first(y) if first else y


# ---- average -------------------------------------------------------------------------------------


def _averaged(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """That of means: floating-point at least. With bfloat16 NumPy compares no other half."""
    return dtype if is_bfloat16(dtype) else np.result_type(dtype, np.float16)


avg_pool_p: Primitive = linear(
    "avg_pool",
    pooling.avg_pool,
    shape=lambda x, *, count_include_pad, **params: ShapeDtype(
        _pooled(x, **params), _averaged(x.dtype)
    ),
    transpose=lambda g, x, **params: avg_pool_spread_p(g, input_shape=x.shape[1:-1], **params),
    batch=lambda *call, **params: over_images(avg_pool_p, *call, **params),
    fresh=True,
    samples=lambda: [
        Sample((x,), {"count_include_pad": flag, **params})
        for x, params in _cases()
        for flag in (False, True)
    ],
)
avg_pool_spread_p: Primitive = linear(
    "avg_pool_spread",
    pooling.avg_pool_gradient,
    shape=lambda g, *, input_shape, **params: ShapeDtype(
        (g.shape[0], *input_shape, g.shape[-1]), _averaged(g.dtype)
    ),
    transpose=lambda t, g, *, input_shape, **params: avg_pool_p(t, **params),
    batch=lambda *call, **params: over_images(avg_pool_spread_p, *call, **params),
    fresh=True,
    samples=lambda: [
        Sample(
            (values(*_pooled(shape_dtype(x), **params)),),
            {"input_shape": x.shape[1:-1], "count_include_pad": flag, **params},
        )
        for x, params in _cases()
        for flag in (False, True)
    ],
)


def avg_pool(
    x: Array,
    window: int | Sequence[int],
    *,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
    layout: str = "NHWC",
    count_include_pad: bool = False,
    ceil_mode: bool = False,
) -> Array:
    """The mean of each window; padded elements count only with `count_include_pad`.

    `x` is (N, *spatial, C), or (N, C, *spatial) with `layout="NCHW"`. `strides` are the window's
    sizes by default. With `ceil_mode` a last window that begins inside may end beyond the padding,
    as in PyTorch; what is beyond never counts.

    Raises `ShapeError` when `x` has no spatial axis.

        >>> import numpy as np
        >>> avg_pool(np.arange(4.0).reshape(1, 4, 1), 2).ravel()
        array([0.5, 2.5])
    """
    x, params, first = _prepare("avg_pool", x, window, strides, padding, layout)
    if ceil_mode:
        whole = _with_the_rest(x, **params)
        if count_include_pad:  # the padding is there, so that only the rest is padding
            own = params["padding"]
            x, count_include_pad = np.pad(x, ((0, 0), *own, (0, 0))), False
            whole = tuple([(0, b - a) for (_, a), (_, b) in zip(own, whole, strict=True)])
        params["padding"] = whole
    y = avg_pool_p(x, count_include_pad=count_include_pad, **params)
    return to_channels_first(y) if first else y


def global_avg_pool(x: Array, *, keepdims: bool = False, layout: str = "NHWC") -> Array:
    """The mean over all spatial axes: (N, *spatial, C) → (N, C).

    >>> import numpy as np
    >>> global_avg_pool(np.ones((2, 4, 4, 3))).shape
    (2, 3)
    """
    first = channels_first(layout)
    if ndim_of(x) < 3:
        raise shape_error("global_avg_pool", "it wants (N, *spatial, C), a spatial axis too", x)
    axes = tuple(range(2, ndim_of(x))) if first else tuple(range(1, ndim_of(x) - 1))
    return np.mean(x, axis=axes, keepdims=keepdims)


def _prepare(
    name: str,
    x: Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
    layout: str,
) -> tuple[Array, dict[str, Any], bool]:
    first = channels_first(layout)
    rank = ndim_of(x) - 2
    if rank < 1:
        raise shape_error(name, f"{name} wants (N, *spatial, C) with at least one spatial axis", x)
    if first:
        x = to_channels_last(x)
    shape = sizes(window, rank, "window")
    stride = shape if strides is None else sizes(strides, rank, "strides")
    widths = pairs(padding, shape_of(x)[1:-1], shape, stride, (1,) * rank)
    if any(low >= k or high >= k for k, (low, high) in zip(shape, widths, strict=True)):
        raise ValueError(
            f"padding={padding} is not smaller than window={shape}: a window of padding alone has "
            f"no value, at {source.here()}"
        )
    if 0 in output_sizes(shape_of(x)[1:-1], shape, stride, widths, (1,) * rank):
        raise shape_error(name, f"a window of {shape} does not fit into {shape_of(x)[1:-1]}", x)
    return x, {"window": shape, "strides": stride, "padding": widths}, first


def _with_the_rest(x: Array, *, window: Sizes, strides: Sizes, padding: Any) -> Any:
    """The padding, with what a last window that begins inside the image or before it lacks."""
    found = []
    for n, k, step, (low, high) in zip(shape_of(x)[1:-1], window, strides, padding, strict=True):
        count = -(-(n + low + high - k) // step) + 1
        if (count - 1) * step >= n + low:
            count -= 1
        found.append((low, max((count - 1) * step + k - n - low, high)))
    return tuple(found)
