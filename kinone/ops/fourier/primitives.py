"""The three primitives: the transform both ways, and the half of it that real numbers have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype
from ..declare import cast, linear
from ..samples import Sample, values

# The factor of a transform is 1, 1/√n or 1/n; that of the way back, the other one.
OTHER_WAY = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _complex_dtype(x: ShapeDtype) -> np.dtype[Any]:
    """complex64 of float16 and float32, complex128 of float64 and integers."""
    return np.result_type(x.dtype if x.dtype.kind in "fc" else np.float64, np.complex64)


def _real_dtype(x: ShapeDtype) -> np.dtype[Any]:
    return np.zeros((), x.dtype).real.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)


def resized(shape: Sequence[int], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], n, *shape[axis + 1 :])


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
    back = irfft_p(np.conj(g) * weights, n=n, axis=axis, norm=OTHER_WAY[norm])
    return cast(back, x.dtype)


rfft_p: Primitive = linear(
    "rfft",
    _rfft,
    shape=lambda x, *, axis, norm: ShapeDtype(
        resized(x.shape, axis, x.shape[axis] // 2 + 1), _complex_dtype(x)
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
    return cast(np.conj(rfft_p(g, axis=axis, norm=OTHER_WAY[norm])) * weights, x.dtype)


irfft_p: Primitive = linear(
    "irfft",
    _irfft,
    shape=lambda x, *, n, axis, norm: ShapeDtype(resized(x.shape, axis, n), _real_dtype(x)),
    transpose=_irfft_transpose,
    batch=lambda size, batched, x, *, n, axis, norm: irfft_p(x, n=n, axis=axis + 1, norm=norm),
    samples=lambda: [
        Sample((values(3),), {"n": 5, "axis": 0, "norm": "backward"}),
        Sample((values(2, 3),), {"n": 4, "axis": 1, "norm": "ortho"}),
        Sample((values(4, 2),), {"n": 6, "axis": 0, "norm": "forward"}),
        Sample((values(1),), {"n": 1, "axis": 0, "norm": "backward"}),
    ],
)
