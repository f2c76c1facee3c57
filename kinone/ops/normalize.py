"""Softmax and batch normalisation: hot enough to have their derivatives in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, ndim_of, shape_dtype, shape_error, shape_of
from ..core.layout import follows
from ..graph import composite
from .declare import cast, primitive, promote, result_type, zeros
from .fold import fold, of_no_examples, spread, unfold
from .kernels import normalization
from .samples import Sample, values
from .shape import normalize_axis
from .spatial import channels_first, to_channels_first, to_channels_last

# ---- softmax -------------------------------------------------------------------------------------


def _softmax(x: Array, *, axis: int) -> Array:
    x = _floating(x)
    y = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf))
    y /= np.add.reduce(y, axis=axis, keepdims=True)
    return y


def _log_softmax(x: Array, *, axis: int) -> Array:
    x = _floating(x)
    shifted = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    shifted -= np.log(np.add.reduce(np.exp(shifted), axis=axis, keepdims=True))
    return shifted


def _floating(x: Array) -> Array:
    """Integers in the dtype in which `np.exp` would take them."""
    x = np.asarray(x)
    return x.astype(promote(np.exp, shape_dtype(x)), copy=False)


def _softmax_derivative(y: Array, x: Array, *, axis: int) -> Any:
    """The Jacobian diag(y) - y yᵀ is symmetric: one map for tangents and cotangents."""
    return lambda g: (y * (g - np.sum(g * y, axis=axis, keepdims=True)),)


def _same_shape(x: ShapeDtype, *, axis: int) -> ShapeDtype:
    return ShapeDtype(x.shape, promote(np.exp, x))


def _axis_samples() -> list[Sample]:
    return [Sample((values(3, 4),), {"axis": 1}), Sample((values(2, 3, 2),), {"axis": 0})]


softmax_p: Primitive = primitive(
    "softmax",
    _softmax,
    shape=_same_shape,
    vjp=_softmax_derivative,
    jvp=lambda y, x, *, axis: lambda t: _softmax_derivative(y, x, axis=axis)(t)[0],
    batch=lambda size, batched, x, *, axis: softmax_p(x, axis=axis + 1),
    fresh=True,
    layout=follows,
    flops=5,
    samples=_axis_samples,
)
log_softmax_p: Primitive = primitive(
    "log_softmax",
    _log_softmax,
    shape=_same_shape,
    vjp=lambda y, x, *, axis: lambda g: (g - np.exp(y) * np.sum(g, axis=axis, keepdims=True),),
    jvp=lambda y, x, *, axis: lambda t: t - np.sum(np.exp(y) * t, axis=axis, keepdims=True),
    batch=lambda size, batched, x, *, axis: log_softmax_p(x, axis=axis + 1),
    fresh=True,
    layout=follows,
    flops=5,
    samples=_axis_samples,
)


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(xᵢ) / Σⱼ exp(xⱼ) along an axis, shifted so that nothing overflows.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    return softmax_p(x, axis=normalize_axis(axis, ndim_of(x)))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """ln softmax(x), without the loss of digits of taking the logarithm afterwards.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return log_softmax_p(x, axis=normalize_axis(axis, ndim_of(x)))


# ---- batch normalisation -------------------------------------------------------------------------

# Channels are last; statistics are over all other axes. With n elements a channel, m and v its mean
# and (biased) variance, r = 1 / √(v + ε) and x̂ = (x - m) r:
#
#     y  = scale · x̂ + bias
#     dx = scale · r · (g - Σg / n - x̂ · Σ(g x̂) / n),   dscale = Σ(g x̂),   dbias = Σg.


def _batch_norm(x: Array, scale: Array, bias: Array, *, epsilon: float) -> Any:
    return normalization.batch_norm(x, scale, bias, epsilon)[:3]


def _batch_norm_shape(x: ShapeDtype, scale: ShapeDtype, bias: ShapeDtype, *, epsilon: float) -> Any:
    channels = ShapeDtype(x.shape[-1:], normalization.statistics_dtype(x.dtype))
    return ShapeDtype(x.shape, result_type(x, scale, bias)), channels, channels


def _total(x: Array) -> Array:
    return np.sum(x, axis=tuple(range(ndim_of(x) - 1)))


def _per_channel(x: Array) -> int:
    return max(math.prod(shape_of(x)[:-1]), 1)


def _batch_norm_vjp(ys: Any, x: Array, scale: Array, bias: Array, *, epsilon: float) -> Any:
    _, mean, var = ys
    dtypes = [shape_dtype(operand).dtype for operand in (x, scale, bias)]

    def pullback(gs: Any) -> list[Array | None]:
        g, g_mean, g_var = gs
        dx = dscale = dbias = None
        if g is not None:
            inv_std = 1 / np.sqrt(var + epsilon)
            dx, dscale, dbias = batch_norm_gradient_p(g, x, scale, mean, inv_std)
        n = _per_channel(x)
        if g_mean is not None:
            part = np.broadcast_to(g_mean / n, shape_of(x))
            dx = part if dx is None else dx + part
        if g_var is not None:
            part = (x - mean) * (g_var * (2 / n))
            dx = part if dx is None else dx + part
        return [
            None if each is None else cast(each, dtype)
            for each, dtype in zip((dx, dscale, dbias), dtypes, strict=True)
        ]

    return pullback


def _batch_norm_jvp(ys: Any, x: Array, scale: Array, bias: Array, *, epsilon: float) -> Any:
    y, mean, var = ys
    dtype, wide = shape_dtype(y).dtype, shape_dtype(mean).dtype

    def pushforward(tx: Array, tscale: Array, tbias: Array) -> tuple[Array, Array, Array]:
        tx, tscale, tbias = (
            zeros(shape_dtype(primal)) if t is None else t
            for t, primal in ((tx, x), (tscale, scale), (tbias, bias))
        )
        tx = cast(tx, wide)
        n = _per_channel(x)
        inv_std = 1 / np.sqrt(var + epsilon)
        centred = x - mean
        tmean = _total(tx) / n
        tvar = _total(centred * tx) * (2 / n)
        tinv = -0.5 * inv_std**3 * tvar
        ty = (tx - tmean) * (inv_std * scale) + centred * (tinv * scale + inv_std * tscale) + tbias
        return cast(ty, dtype), tmean, tvar

    return pushforward


def _batch_channels(
    of: Primitive, size: int, batched: Sequence[bool], *xs: Array, **params: Any
) -> Any:
    """Each example has channels of its own: (B, …, C) becomes (…, B · C), in all operands alike."""
    if size == 0:
        return of_no_examples(of, batched, xs, params)
    folded = [fold(spread(size, flag, x)) for x, flag in zip(xs, batched, strict=True)]
    return tuple([unfold(y, size) for y in of(*folded, **params)])


batch_norm_p: Primitive = primitive(
    "batch_norm",
    _batch_norm,
    shape=_batch_norm_shape,
    vjp=_batch_norm_vjp,
    jvp=_batch_norm_jvp,
    batch=lambda *call, **params: _batch_channels(batch_norm_p, *call, **params),
    multiple=True,
    fill=False,
    fresh=True,
    flops=5,
    samples=lambda: [
        Sample(
            (values(*shape), values(shape[-1], seed=1), values(shape[-1], seed=2)),
            {"epsilon": epsilon},
        )
        for shape, epsilon in (((4, 3), 1e-5), ((2, 3, 2, 2), 1e-3))
    ],
)


def _gradient_shape(g: ShapeDtype, x: ShapeDtype, scale: ShapeDtype, *_: ShapeDtype) -> Any:
    dtype = result_type(g, x, scale)
    channels = ShapeDtype(scale.shape, dtype)
    return ShapeDtype(x.shape, dtype), channels, channels


def _gradient_vjp(ys: Any, g: Array, x: Array, scale: Array, mean: Array, inv_std: Array) -> Any:
    _, dscale, dbias = ys
    dtypes = [shape_dtype(operand).dtype for operand in (g, x, scale, mean, inv_std)]

    def pullback(hs: Any) -> list[Array]:
        h, h_scale, h_bias = hs
        n = _per_channel(x)
        centred = x - mean
        normal = centred * inv_std
        inner = g - dbias / n - normal * (dscale / n)
        factor = scale * inv_std
        along_bias = h_bias - factor * _total(h) / n
        along_scale = h_scale - factor * _total(h * normal) / n
        along_factor = _total(h * inner)
        along_normal = g * along_scale - h * (factor * dscale / n)
        along_x = along_normal * inv_std
        cotangents = (
            h * factor + along_bias + normal * along_scale,
            along_x,
            along_factor * inv_std,
            -_total(along_x),
            _total(along_normal * centred) + along_factor * scale,
        )
        return [cast(each, dtype) for each, dtype in zip(cotangents, dtypes, strict=True)]

    return pullback


def _gradient_jvp(ys: Any, g: Array, x: Array, scale: Array, mean: Array, inv_std: Array) -> Any:
    dx, dscale, dbias = ys
    dtype = shape_dtype(dx).dtype

    def pushforward(tg: Array, tx: Array, tscale: Array, tmean: Array, tinv: Array) -> Any:
        n = _per_channel(x)
        centred = x - mean
        normal = centred * inv_std
        tnormal = (tx - tmean) * inv_std + centred * tinv
        tdbias = _total(tg)
        tdscale = _total(tg * normal + g * tnormal)
        inner = g - dbias / n - normal * (dscale / n)
        tinner = tg - tdbias / n - tnormal * (dscale / n) - normal * (tdscale / n)
        tfactor = tscale * inv_std + scale * tinv
        tdx = inner * tfactor + tinner * (scale * inv_std)
        return cast(tdx, dtype), cast(tdscale, dtype), cast(tdbias, dtype)

    return pushforward


batch_norm_gradient_p: Primitive = primitive(
    "batch_norm_gradient",
    normalization.batch_norm_gradient,
    shape=_gradient_shape,
    vjp=_gradient_vjp,
    jvp=_gradient_jvp,
    batch=lambda *call, **params: _batch_channels(batch_norm_gradient_p, *call, **params),
    multiple=True,
    fresh=True,
    samples=lambda: [
        Sample(
            (
                values(*shape, seed=3),
                values(*shape),
                *[values(shape[-1], seed=i) for i in (1, 2)],
                values(shape[-1], seed=4, domain=(0.5, 2.0)),
            )
        )
        for shape in ((4, 3), (2, 3, 2, 2))
    ],
)


def batch_norm(
    x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5, layout: str = "NHWC"
) -> tuple[Array, Array, Array]:
    """Batch normalisation with the batch's own statistics: `(y, mean, var)`.

    y = scale · (x - mean) / √(var + ε) + bias, with mean and biased variance of each channel over
    all other axes. `x` is (N, …, C), or (N, C, …) with `layout="NCHW"`; the others are (C,). Of a
    float16 `x`, mean and variance are float32, for they may be too large or small for float16.
    Derivatives pass through all three results (Ioffe & Szegedy 2015, arXiv:1502.03167).

    Raises `ShapeError` when the channels do not fit, `TypeError` for complex numbers.

        >>> y, mean, var = batch_norm(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1))
        >>> float(mean[0]), float(var[0])
        (2.0, 1.0)
    """
    first = channels_first(layout) and ndim_of(x) > 2
    x = to_channels_last(x) if first else x
    _check_channels(x, scale, bias)
    if shape_dtype(x).dtype.kind == "c":
        raise TypeError(f"batch_norm takes real numbers, got {shape_dtype(x)}, at {source.here()}")
    y, mean, var = batch_norm_p(x, scale, bias, epsilon=epsilon)
    return (to_channels_first(y) if first else y), mean, var


@composite("BatchNormalization")
def batch_norm_inference(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = 1e-5,
    layout: str = "NHWC",
) -> Array:
    """Batch normalisation with given statistics: x · a + (bias - mean · a), a = scale / √(var + ε).

    The result has the dtype of `x`, `scale` and `bias`, whatever that of the statistics.

    Raises `ShapeError` when the channels do not fit.

        >>> batch_norm_inference(np.array([[3.0]]), *map(np.array, ([2.0], [1.0], [1.0], [4.0])),
        ...                      epsilon=0.0)
        array([[3.]])
    """
    first = channels_first(layout) and ndim_of(x) > 2
    x = to_channels_last(x) if first else x
    _check_channels(x, scale, bias, mean, var)
    factor = scale / np.sqrt(var + epsilon)
    dtype = result_type(shape_dtype(x), shape_dtype(scale), shape_dtype(bias))
    y = cast(x * factor + (bias - mean * factor), dtype)
    return to_channels_first(y) if first else y


def _check_channels(x: Array, *vectors: Array) -> None:
    if ndim_of(x) < 2 or any(shape_of(v) != shape_of(x)[-1:] for v in vectors):
        known = ", ".join(str(shape_of(v)) for v in vectors)
        raise shape_error(
            "batch_norm",
            f"batch_norm wants one value for each of the channels of {shape_dtype(x)}, got {known}",
            x,
            *vectors,
        )
