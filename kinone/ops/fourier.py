"""Fourier transforms: `np.fft` on traced values.

Three primitives, each along one axis; all are linear. The discrete Fourier transform, both ways, is
a symmetric matrix and its own transpose. `rfft` keeps the first half of the spectrum of real
numbers, for the second mirrors it; so the transpose of `irfft` counts what is mirrored twice, and
that of `rfft` halves it. The transforms over several axes go axis by axis, as NumPy's do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_of
from ..errors import ShapeError
from .axes import along, as_array, normalize_axis
from .declare import cast, linear
from .products import conjugate
from .samples import Sample, values

# The factor of a transform is 1, 1/√n or 1/n; that of the way back, the other one.
_OTHER_WAY = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _complex_dtype(x: ShapeDtype) -> np.dtype[Any]:
    """complex64 of float16 and float32, complex128 of float64 and integers."""
    return np.result_type(x.dtype if x.dtype.kind in "fc" else np.float64, np.complex64)


def _real_dtype(x: ShapeDtype) -> np.dtype[Any]:
    return np.zeros((), x.dtype).real.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)


def _resized(shape: Sequence[int], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], n, *shape[axis + 1 :])


# ---- the primitives ------------------------------------------------------------------------------


def _fft(x: Array, *, axis: int, norm: str, inverse: bool) -> Array:
    """The discrete Fourier transform along an axis, or its inverse."""
    return (np.fft.ifft if inverse else np.fft.fft)(x, axis=axis, norm=norm)  # type: ignore[arg-type]


fft_p: Primitive = linear(
    "fft",
    _fft,
    shape=lambda x, *, axis, norm, inverse: ShapeDtype(x.shape, _complex_dtype(x)),
    transpose=lambda g, x, *, axis, norm, inverse: cast(
        fft_p(g, axis=axis, norm=norm, inverse=inverse), x.dtype
    ),
    batch=lambda size, batched, x, *, axis, norm, inverse: fft_p(
        x, axis=axis + 1, norm=norm, inverse=inverse
    ),
    samples=lambda: [
        Sample((values(5),), {"axis": 0, "norm": "backward", "inverse": False}),
        Sample((values(2, 4),), {"axis": 1, "norm": "ortho", "inverse": False}),
        Sample((values(3, 2),), {"axis": 0, "norm": "forward", "inverse": True}),
        Sample((values(2, 5),), {"axis": 1, "norm": "backward", "inverse": True}),
    ],
)


def _rfft(x: Array, *, axis: int, norm: str) -> Array:
    """The first n // 2 + 1 elements of the discrete Fourier transform of real numbers."""
    return np.fft.rfft(x, axis=axis, norm=norm)  # type: ignore[arg-type]


def _mirrored(n: int, axis: int, ndim: int, weight: float, dtype: Any) -> Array:
    """`weight` for the elements of a half spectrum that the other half repeats, 1 for the rest."""
    weights = np.full(n // 2 + 1, weight, dtype)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return weights.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _rfft_transpose(g: Array, x: ShapeDtype, *, axis: int, norm: str) -> Array:
    n = x.shape[axis]
    weights = _mirrored(n, axis, x.ndim, 0.5, _real_dtype(ShapeDtype((), g.dtype)))
    back = irfft_p(np.conj(g) * weights, n=n, axis=axis, norm=_OTHER_WAY[norm])
    return cast(back, x.dtype)


rfft_p: Primitive = linear(
    "rfft",
    _rfft,
    shape=lambda x, *, axis, norm: ShapeDtype(
        _resized(x.shape, axis, x.shape[axis] // 2 + 1), _complex_dtype(x)
    ),
    transpose=_rfft_transpose,
    batch=lambda size, batched, x, *, axis, norm: rfft_p(x, axis=axis + 1, norm=norm),
    samples=lambda: [
        Sample((values(5),), {"axis": 0, "norm": "backward"}),
        Sample((values(2, 4),), {"axis": 1, "norm": "ortho"}),
        Sample((values(6, 2),), {"axis": 0, "norm": "forward"}),
        Sample((values(1),), {"axis": 0, "norm": "backward"}),
    ],
)


def _irfft(x: Array, *, n: int, axis: int, norm: str) -> Array:
    """The n real numbers that a half spectrum of n // 2 + 1 elements stands for."""
    return np.fft.irfft(x, n=n, axis=axis, norm=norm)  # type: ignore[arg-type]


def _irfft_transpose(g: Array, x: ShapeDtype, *, n: int, axis: int, norm: str) -> Array:
    weights = _mirrored(n, axis, x.ndim, 2.0, g.dtype)
    return cast(np.conj(rfft_p(g, axis=axis, norm=_OTHER_WAY[norm])) * weights, x.dtype)


irfft_p: Primitive = linear(
    "irfft",
    _irfft,
    shape=lambda x, *, n, axis, norm: ShapeDtype(_resized(x.shape, axis, n), _real_dtype(x)),
    transpose=_irfft_transpose,
    batch=lambda size, batched, x, *, n, axis, norm: irfft_p(x, n=n, axis=axis + 1, norm=norm),
    samples=lambda: [
        Sample((values(3),), {"n": 5, "axis": 0, "norm": "backward"}),
        Sample((values(2, 3),), {"n": 4, "axis": 1, "norm": "ortho"}),
        Sample((values(4, 2),), {"n": 6, "axis": 0, "norm": "forward"}),
        Sample((values(1),), {"n": 1, "axis": 0, "norm": "backward"}),
    ],
)


# ---- along one axis ------------------------------------------------------------------------------


def _cut_or_padded(x: Array, n: int, axis: int) -> Array:
    """The first n elements along an axis, zeros after the last one there is."""
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    found = shape_of(x)[axis]
    if n < found:
        return x[along(axis, slice(n))]
    if n > found:
        zeros = np.zeros(_resized(shape_of(x), axis, n - found), x.dtype)
        return np.concatenate([x, zeros], axis=axis)
    return x


def _normal(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in _OTHER_WAY:
        raise ValueError(f'Invalid norm value {norm}; should be "backward","ortho" or "forward".')
    return norm


def _along(a: Array, axis: int) -> tuple[Array, int]:
    a = as_array(a)
    return a, normalize_axis(axis, ndim_of(a))


@implements(np.fft.fft)
def fft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The discrete Fourier transform along an axis: y_k = Σ_j a_j exp(-2πi jk / n).

    `n` cuts the axis or fills it up with zeros. `norm` says which way has the factor 1 / n:
    "backward" (the default), "forward", or both √ of it, "ortho". Raises `ValueError` for n < 1.

    >>> np.round(fft(np.array([1.0, 0.0, 0.0, 0.0])).real, 3)
    array([1., 1., 1., 1.])
    """
    a, axis = _along(a, axis)
    a = _cut_or_padded(a, shape_of(a)[axis] if n is None else n, axis)
    return fft_p(a, axis=axis, norm=_normal(norm), inverse=False)


@implements(np.fft.ifft)
def ifft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `fft`: a_j = 1/n Σ_k y_k exp(2πi jk / n)."""
    a, axis = _along(a, axis)
    a = _cut_or_padded(a, shape_of(a)[axis] if n is None else n, axis)
    return fft_p(a, axis=axis, norm=_normal(norm), inverse=True)


@implements(np.fft.rfft)
def rfft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The first n // 2 + 1 elements of `fft` of real numbers; the others mirror them.

    Raises `TypeError` for complex numbers.
    """
    a, axis = _along(a, axis)
    if a.dtype.kind == "c":
        raise TypeError(f"rfft is for real numbers, and these are {a.dtype}; use fft")
    a = _cut_or_padded(a, shape_of(a)[axis] if n is None else n, axis)
    return rfft_p(a, axis=axis, norm=_normal(norm))


@implements(np.fft.irfft)
def irfft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `rfft`: `n` real numbers, 2 (m - 1) of them by default."""
    a, axis = _along(a, axis)
    if n is None:
        n = 2 * (shape_of(a)[axis] - 1)
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    a = _cut_or_padded(a, n // 2 + 1, axis)
    return irfft_p(a, n=n, axis=axis, norm=_normal(norm))


@implements(np.fft.hfft)
def hfft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """`fft` of a signal whose second half mirrors the first: real numbers."""
    return irfft(conjugate(as_array(a)), n, axis, norm=_OTHER_WAY[_normal(norm)])


@implements(np.fft.ihfft)
def ihfft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `hfft`."""
    return np.conj(rfft(a, n, axis, norm=_OTHER_WAY[_normal(norm)]))


# ---- along several axes --------------------------------------------------------------------------


def _plan(
    a: Array, s: Sequence[int | None] | None, axes: Sequence[int] | None, halved: bool = False
) -> tuple[Array, list[tuple[int | None, int]]]:
    """The length and the axis of each step. Raises `ValueError` when there are not as many."""
    a = as_array(a)
    shape = shape_of(a)
    if axes is None:
        if s is not None:
            warnings.warn(
                "`axes` should not be `None` if `s` is not `None` (Deprecated in NumPy 2.0). In a "
                "future version of NumPy, this will raise an error and `s[i]` will correspond to "
                "the size along the transformed axis specified by `axes[i]`.",
                DeprecationWarning,
                stacklevel=4,
            )
        axes = range(-(len(shape) if s is None else len(s)), 0)
    axes = [normalize_axis(axis, len(shape)) for axis in axes]
    sizes: list[int | None]
    if s is None:
        sizes = [shape[axis] for axis in axes]
        if halved:
            sizes[-1:] = [None]
    else:
        sizes = list(s)
        if len(sizes) != len(axes):
            raise ShapeError("Shape and axes have different lengths.")
        if None in sizes:
            warnings.warn(
                "Passing an array containing `None` values to `s` is deprecated in NumPy 2.0 and "
                "will raise an error in a future version of NumPy.",
                DeprecationWarning,
                stacklevel=4,
            )
        sizes = [shape[i] if n == -1 else n for n, i in zip(sizes, axes, strict=True)]
    return a, list(zip(sizes, axes, strict=True))


def _several(
    step: Callable[..., Array], a: Array, steps: Sequence[tuple[int | None, int]], norm: str | None
) -> Array:
    """The last axis first, as NumPy goes."""
    for n, axis in reversed(steps):
        a = step(a, n, axis, norm)
    return a


Sizes = Sequence[int] | None
Axes = Sequence[int] | None


@implements(np.fft.fftn)
def fftn(
    a: Array, s: Sizes = None, axes: Axes = None, norm: str | None = None, out: None = None
) -> Array:
    """`fft` along several axes, all by default; `s` are their lengths."""
    a, steps = _plan(a, s, axes)
    return _several(fft, a, steps, norm)


@implements(np.fft.ifftn)
def ifftn(
    a: Array, s: Sizes = None, axes: Axes = None, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `fftn`."""
    a, steps = _plan(a, s, axes)
    return _several(ifft, a, steps, norm)


@implements(np.fft.fft2)
def fft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """`fft` along two axes, the last ones by default."""
    a, steps = _plan(a, s, axes)
    return _several(fft, a, steps, norm)


@implements(np.fft.ifft2)
def ifft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `fft2`."""
    a, steps = _plan(a, s, axes)
    return _several(ifft, a, steps, norm)


def _real_there(a: Array, s: Sizes, axes: Axes, norm: str | None) -> Array:
    a, steps = _plan(a, s, axes)
    n, axis = steps[-1]
    return _several(fft, rfft(a, n, axis, norm), steps[:-1], norm)


def _real_back(a: Array, s: Sizes, axes: Axes, norm: str | None) -> Array:
    a, steps = _plan(a, s, axes, halved=True)
    for n, axis in steps[:-1]:
        a = ifft(a, n, axis, norm)
    n, axis = steps[-1]
    return irfft(a, n, axis, norm)


@implements(np.fft.rfftn)
def rfftn(
    a: Array, s: Sizes = None, axes: Axes = None, norm: str | None = None, out: None = None
) -> Array:
    """`rfft` along the last of several axes, `fft` along the others."""
    return _real_there(a, s, axes, norm)


@implements(np.fft.irfftn)
def irfftn(
    a: Array, s: Sizes = None, axes: Axes = None, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `rfftn`."""
    return _real_back(a, s, axes, norm)


@implements(np.fft.rfft2)
def rfft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """`rfftn` along two axes, the last ones by default."""
    return _real_there(a, s, axes, norm)


@implements(np.fft.irfft2)
def irfft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `rfft2`."""
    return _real_back(a, s, axes, norm)


# ---- the order of the frequencies ----------------------------------------------------------------


def _turned(x: Array, axes: int | Sequence[int] | None, forward: bool) -> Array:
    """Each axis turned by half of its length."""
    x = as_array(x)
    if axes is None:
        axes = range(ndim_of(x))
    for axis in [axes] if isinstance(axes, int) else axes:
        axis = normalize_axis(axis, ndim_of(x))
        n = shape_of(x)[axis]
        cut = n - n // 2 if forward else n // 2
        parts = [x[along(axis, slice(cut, None))], x[along(axis, slice(cut))]]
        x = np.concatenate(parts, axis=axis)
    return x


@implements(np.fft.fftshift)
def fftshift(x: Array, axes: int | Sequence[int] | None = None) -> Array:
    """The frequency 0 in the middle of each axis instead of first.

    >>> fftshift(np.array([0, 1, 2, -2, -1]))
    array([-2, -1,  0,  1,  2])
    """
    return _turned(x, axes, True)


@implements(np.fft.ifftshift)
def ifftshift(x: Array, axes: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`."""
    return _turned(x, axes, False)
