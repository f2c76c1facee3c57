"""Fourier transforms.

ONNX Runtime's DFT is a fast transform, exact to the last digits, where the length is a power of 2.
At other lengths it sums up term by term with angles that drift: in float32 3 or 4 digits are left
of 1,000 numbers, and its inverse in float64 has the digits of float32. So a short transform is two
products with matrices of cosines and sines, and a long one a convolution of chirps by transforms of
a power of 2 (Bluestein, 1970), all of it as precise as its element type.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...core import Array, shape_of
from ...ops.axes import along
from ..export.builder import Builder
from ..export.dims import Size
from ..export.merge import Step
from ..export.rules import Lowered, lowers, lowers_complex, through
from ..export.values import Pair, Value
from .common import out

_MATRIX = 64  # up to here two matrices are as good as anything


def _length(b: Builder, x: Lowered, axis: int) -> int:
    assert isinstance(x, Value | Pair)
    size: Size = x.shape[axis]
    if not isinstance(size, int):
        raise b.error(
            "a Fourier transform along an axis whose length varies has no ONNX form as precise as "
            "NumPy's\n  Transform along an axis of fixed length"
        )
    return size


def _real_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.zeros((), dtype).real.dtype


def _scale(n: int, norm: str, inverse: bool) -> float:
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if inverse == (norm == "backward") else 1.0


def _parts(b: Builder, x: Lowered, dtype: np.dtype[Any]) -> tuple[Value, Value]:
    """Real and imaginary part in the type of the result's."""
    assert isinstance(x, Value | Pair)
    real = _real_type(dtype)
    if isinstance(x, Pair):
        return b.cast(x.real, real), b.cast(x.imag, real)
    value = b.cast(x, real)
    (zero,) = through(b, lambda y: y * 0, value)
    return value, zero


# ---- lengths that are powers of 2 ----------------------------------------------------------------


def _node(b: Builder, real: Value, imag: Value, axis: int, inverse: bool) -> tuple[Value, Value]:
    """ONNX's own transform, with the factor 1 / n on the way back."""
    thin = (*real.shape, 1)
    shape = (*real.shape, 2)
    parts = [b.reshape(part, thin) for part in (real, imag)]
    both = b.node("Concat", parts, shape, real.dtype, axis=real.ndim)
    if b.opset < 20:
        y = b.node("DFT", [both], shape, real.dtype, inverse=int(inverse), axis=axis)
    else:
        place = b.constant(axis, np.int64)
        y = b.node("DFT", [both, None, place], shape, real.dtype, typed=(0,), inverse=int(inverse))
    one, other = [
        b.node("Gather", [y, b.constant(i, np.int64)], real.shape, real.dtype, typed=(0,), axis=-1)
        for i in (0, 1)
    ]
    return one, other


# ---- others --------------------------------------------------------------------------------------


def _angles(n: int, dtype: np.dtype[Any], sign: int) -> tuple[Array, Array]:
    """cos and sin of ±2π jk / n, whose remainders keep the angle small and exact."""
    steps = np.arange(n, dtype=np.int64)
    angle = (sign * 2 * np.pi / n) * (np.outer(steps, steps) % n)
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def _by_matrices(real: Array, imag: Array, *, axis: int, sign: int) -> tuple[Array, Array]:
    cos, sin = _angles(shape_of(real)[axis], real.dtype, sign)
    real, imag = np.moveaxis(real, axis, -1), np.moveaxis(imag, axis, -1)
    y = real @ cos - imag @ sin, real @ sin + imag @ cos
    return np.moveaxis(y[0], -1, axis), np.moveaxis(y[1], -1, axis)


def _chirp(n: int, sign: int) -> Array:
    """exp(±πi k² / n)"""
    squares = np.arange(n, dtype=np.int64) ** 2 % (2 * n)
    chirp: Array = np.exp(sign * 1j * np.pi / n * squares)
    return chirp


def _chirped(real: Array, imag: Array, *, axis: int, sign: int, length: int) -> tuple[Array, Array]:
    """The signal times the chirp, with zeros up to the length of the convolution."""
    n, ndim = shape_of(real)[axis], real.ndim
    chirp = along_axis(_chirp(n, sign), axis, ndim)
    of_real, of_imag = chirp.real.astype(real.dtype), chirp.imag.astype(real.dtype)
    widths = [(0, length - n if i == axis else 0) for i in range(ndim)]
    return (
        np.pad(real * of_real - imag * of_imag, widths),
        np.pad(real * of_imag + imag * of_real, widths),
    )


def along_axis(vector: Array, axis: int, ndim: int) -> Array:
    return np.reshape(vector, [-1 if i == axis else 1 for i in range(ndim)])


def _times(real: Array, imag: Array, *, kernel: Array, axis: int) -> tuple[Array, Array]:
    kernel = along_axis(kernel, axis, real.ndim)
    of_real, of_imag = kernel.real.astype(real.dtype), kernel.imag.astype(real.dtype)
    return real * of_real - imag * of_imag, real * of_imag + imag * of_real


def _bluestein(b: Builder, real: Value, imag: Value, axis: int, sign: int) -> tuple[Value, Value]:
    """jk = (j² + k² - (j - k)²) / 2: chirp, convolve with a chirp, chirp again."""
    n = _length(b, real, axis)
    length = 1 << (2 * n - 2).bit_length()
    chirp = _chirp(n, sign)
    kernel = np.zeros(length, np.complex128)
    kernel[:n] = np.conj(chirp)
    kernel[length - n + 1 :] = np.conj(chirp[1:])[::-1]
    real, imag = through(b, _chirped, real, imag, axis=axis, sign=sign, length=length)
    real, imag = _node(b, real, imag, axis, False)
    real, imag = through(b, _times, real, imag, kernel=np.fft.fft(kernel), axis=axis)
    real, imag = _node(b, real, imag, axis, True)
    first = along(axis, slice(n))
    real, imag = through(b, lambda x, y: (x[first], y[first]), real, imag)
    return through(b, _times, real, imag, kernel=chirp, axis=axis)


def _transformed(
    b: Builder, real: Value, imag: Value, axis: int, norm: str, inverse: bool
) -> tuple[Value, Value]:
    """The discrete Fourier transform, or its inverse."""
    n = _length(b, real, axis)
    scale = _scale(n, norm, inverse)
    if n & (n - 1) == 0 and n > 1:
        real, imag = _node(b, real, imag, axis, inverse)
        scale *= n if inverse else 1
    elif n <= _MATRIX:
        sign = 1 if inverse else -1
        real, imag = through(b, _by_matrices, real, imag, axis=axis, sign=sign)
    else:
        real, imag = _bluestein(b, real, imag, axis, 1 if inverse else -1)
    if scale != 1:
        real, imag = through(b, lambda x, y: (x * scale, y * scale), real, imag)
    return real, imag


def _fft(b: Builder, step: Step, x: Lowered) -> Pair:
    axis, norm, inverse = (step.params[key] for key in ("axis", "norm", "inverse"))
    return Pair(*_transformed(b, *_parts(b, x, out(step)[1]), axis, norm, inverse))


def _rfft(b: Builder, step: Step, x: Lowered) -> Pair:
    axis: int = step.params["axis"]
    parts = _parts(b, x, out(step)[1])
    real, imag = _transformed(b, *parts, axis, step.params["norm"], False)
    half = along(axis, slice(_length(b, x, axis) // 2 + 1))
    return Pair(*through(b, lambda x, y: (x[half], y[half]), real, imag))


def _whole(real: Array, imag: Array, *, n: int, axis: int) -> tuple[Array, Array]:
    """A spectrum from its first half: the other mirrors it, and its ends are real."""
    k = shape_of(real)[axis]
    other = along(axis, slice(n - k, 0, -1))
    ends = along_axis((np.arange(k) > 0) & (2 * np.arange(k) != n), axis, real.ndim)
    imag = imag * ends.astype(imag.dtype)
    return (
        np.concatenate([real, real[other]], axis),
        np.concatenate([imag, -imag[other]], axis),
    )


def _irfft(b: Builder, step: Step, x: Lowered) -> Value:
    n, axis = step.params["n"], step.params["axis"]
    _length(b, x, axis)
    real, imag = _parts(b, x, np.result_type(out(step)[1], np.complex64))
    real, imag = through(b, _whole, real, imag, n=n, axis=axis)
    y, _ = _transformed(b, real, imag, axis, step.params["norm"], True)
    return b.cast(y, out(step)[1])


for _name, _rule in {"fft": _fft, "rfft": _rfft, "irfft": _irfft}.items():
    lowers(_name)(_rule)
    lowers_complex(_name)(_rule)
