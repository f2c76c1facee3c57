"""NumPy's functions, made of the primitives: along one axis, and axis by axis along several."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from ...core import Array, implements, ndim_of, shape_of
from ...errors import ShapeError
from ..axes import along, as_array, normalize_axis
from ..products import conjugate
from .primitives import OTHER_WAY, fft_p, irfft_p, resized, rfft_p

# ---- along one axis ------------------------------------------------------------------------------


def _cut_or_padded(x: Array, n: int, axis: int) -> Array:
    """The first n elements along an axis, zeros after the last one there is."""
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    found = shape_of(x)[axis]
    if n < found:
        return x[along(axis, slice(n))]
    if n > found:
        zeros = np.zeros(resized(shape_of(x), axis, n - found), x.dtype)
        return np.concatenate([x, zeros], axis=axis)
    return x


def _normal(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in OTHER_WAY:
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
    """The inverse of `fft`: a_j = 1/n Σ_k y_k exp(2πi jk / n).

    >>> np.allclose(ifft(fft(np.arange(4.0))), np.arange(4.0))
    True
    """
    a, axis = _along(a, axis)
    a = _cut_or_padded(a, shape_of(a)[axis] if n is None else n, axis)
    return fft_p(a, axis=axis, norm=_normal(norm), inverse=True)


@implements(np.fft.rfft)
def rfft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The first n // 2 + 1 elements of `fft` of real numbers; the others mirror them.

    Raises `TypeError` for complex numbers.

    >>> rfft(np.ones(6)).shape
    (4,)
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
    """The inverse of `rfft`: `n` real numbers, 2 (m - 1) of them by default.

    >>> np.allclose(irfft(rfft(np.arange(6.0))), np.arange(6.0))
    True
    """
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
    """`fft` of a signal whose second half mirrors the first: real numbers.

    >>> hfft(np.array([1.0, 0.0, 0.0])).shape
    (4,)
    """
    return irfft(conjugate(as_array(a)), n, axis, norm=OTHER_WAY[_normal(norm)])


@implements(np.fft.ihfft)
def ihfft(
    a: Array, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `hfft`.

    >>> ihfft(np.ones(4)).shape
    (3,)
    """
    return np.conj(rfft(a, n, axis, norm=OTHER_WAY[_normal(norm)]))


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
    """`fft` along several axes, all by default; `s` are their lengths.

    >>> fftn(np.ones((4, 6))).shape
    (4, 6)
    """
    a, steps = _plan(a, s, axes)
    return _several(fft, a, steps, norm)


@implements(np.fft.ifftn)
def ifftn(
    a: Array, s: Sizes = None, axes: Axes = None, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `fftn`.

    >>> np.allclose(ifftn(fftn(np.eye(4))), np.eye(4))
    True
    """
    a, steps = _plan(a, s, axes)
    return _several(ifft, a, steps, norm)


@implements(np.fft.fft2)
def fft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """`fft` along two axes, the last ones by default.

    >>> fft2(np.ones((5, 4, 6))).shape
    (5, 4, 6)
    """
    a, steps = _plan(a, s, axes)
    return _several(fft, a, steps, norm)


@implements(np.fft.ifft2)
def ifft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `fft2`.

    >>> np.allclose(ifft2(fft2(np.eye(4))), np.eye(4))
    True
    """
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
    """`rfft` along the last of several axes, `fft` along the others.

    >>> rfftn(np.ones((4, 6))).shape
    (4, 4)
    """
    return _real_there(a, s, axes, norm)


@implements(np.fft.irfftn)
def irfftn(
    a: Array, s: Sizes = None, axes: Axes = None, norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `rfftn`.

    >>> np.allclose(irfftn(rfftn(np.eye(4))), np.eye(4))
    True
    """
    return _real_back(a, s, axes, norm)


@implements(np.fft.rfft2)
def rfft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """`rfftn` along two axes, the last ones by default.

    >>> rfft2(np.ones((5, 4, 6))).shape
    (5, 4, 4)
    """
    return _real_there(a, s, axes, norm)


@implements(np.fft.irfft2)
def irfft2(
    a: Array, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None, out: None = None
) -> Array:
    """The inverse of `rfft2`.

    >>> np.allclose(irfft2(rfft2(np.eye(4))), np.eye(4))
    True
    """
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
    """The inverse of `fftshift`.

    >>> ifftshift(np.array([-2, -1, 0, 1, 2]))
    array([ 0,  1,  2, -2, -1])
    """
    return _turned(x, axes, False)
