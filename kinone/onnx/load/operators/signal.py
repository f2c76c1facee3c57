"""Spectra: DFT, STFT and the mel scale. Complex numbers are pairs along a last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....core import Array, shape_dtype, shape_of
from ....ops.shape import astype
from ..known import integer, known
from ..registry import Node, operator
from ..tensors import dtype_of
from ..windows import check_size


@operator("DFT", since=17)
def dft_17(node: Node, x: Array, length: Array | None = None) -> Array:
    return _dft(node, x, length, int(node.attribute("axis", 1)))


@operator("DFT", since=20)
def dft(node: Node, x: Array, length: Array | None = None, axis: Array | None = None) -> Array:
    return _dft(node, x, length, -2 if axis is None else integer(node, axis, "axis"))


def _dft(node: Node, x: Array, length: Array | None, axis: int) -> Array:
    rank = len(shape_of(x))
    if not -rank <= axis < rank or axis % rank == rank - 1:
        raise node.error(f"has the axis {axis} for {rank} axes, of which the last has the parts")
    axis %= rank
    inverse, half = bool(node.attribute("inverse", 0)), bool(node.attribute("onesided", 0))
    size = shape_of(x)[axis]
    usual = 2 * (size - 1) if inverse and half else size
    count = usual if length is None else integer(node, length, "dft_length")
    return spectrum(node, x, count, axis, inverse, half)


def spectrum(node: Node, x: Array, count: int, axis: int, inverse: bool, half: bool) -> Array:
    """The transform of signals, (…, 1) or (…, 2)."""
    if count < 1:
        raise node.error(f"has a length of {count}")
    check_size(node, *shape_of(x)[:axis], count, *shape_of(x)[axis + 1 :])
    parts, dtype = shape_of(x)[-1], shape_dtype(x).dtype
    if parts not in (1, 2):
        raise node.error(f"wants a last axis of 1 or 2, the parts of a number, and has {parts}")
    wide = astype(x, np.float32) if dtype.itemsize < 4 else x
    signal = wide[..., 0] if parts == 1 else wide[..., 0] + 1j * wide[..., 1]
    if inverse and half:
        return astype(np.fft.irfft(signal, n=count, axis=axis)[..., None], dtype)
    if inverse:
        found = np.fft.ifft(signal, n=count, axis=axis)
    elif half and parts == 1:
        found = np.fft.rfft(signal, n=count, axis=axis)
    else:
        found = np.fft.fft(signal, n=count, axis=axis)
        if half:
            found = found[(*[slice(None)] * axis, slice(count // 2 + 1))]
    return astype(np.stack([np.real(found), np.imag(found)], axis=-1), dtype)


@operator("STFT")
def stft(
    node: Node, x: Array, step: Array, window: Array | None = None, length: Array | None = None
) -> Array:
    if len(shape_of(x)) == 2:
        x = x[..., None]
    hop = integer(node, step, "frame_step")
    size = shape_of(x)[1]
    if length is not None:
        count = integer(node, length, "frame_length")
    else:
        count = size if window is None else shape_of(window)[0]
    if hop < 1 or not 1 <= count <= size:
        raise node.error(f"has frames of {count}, {hop} apart, in {size} moments")
    frames = (size - count) // hop + 1
    places = np.arange(frames)[:, None] * hop + np.arange(count)
    cut = np.take(x, places, axis=1)  # (examples, frames, moments, parts)
    if window is not None:
        if shape_of(window) != (count,):
            raise node.error(f"has a window of shape {shape_of(window)} for frames of {count}")
        cut = cut * window[:, None]
    half = bool(node.attribute("onesided", 1))
    return spectrum(node, cut, count, 2, False, half)


@operator("MelWeightMatrix")
def mel_weight_matrix(
    node: Node, bins: Array, length: Array, rate: Array, low: Array, high: Array
) -> np.ndarray[Any, Any]:
    count = integer(node, bins, "num_mel_bins")
    size = integer(node, length, "dft_length")
    sampled = integer(node, rate, "sample_rate")
    edges = [float(known(node, edge, "edges").reshape(-1)[0]) for edge in (low, high)]
    dtype = dtype_of(int(node.attribute("output_datatype", 1)))
    if count < 1 or size < 1 or sampled < 1:
        raise node.error(f"has {count} bins, {size} moments, {sampled} of them each second")
    check_size(node, count, size)
    first, last = 2595 * np.log10(1 + np.array(edges) / 700)
    mels = np.arange(count + 2) * ((last - first) / (count + 2)) + first
    hertz = 700 * (10 ** (mels / 2595) - 1)
    points = ((size + 1) * hertz // sampled).astype(np.int64)
    rows = np.arange(size // 2 + 1)[:, None]
    start, middle, end = points[:-2], points[1:-1], points[2:]
    rising = np.where(rows <= middle, rows - start, 0) / np.maximum(middle - start, 1)
    falling = np.where(rows >= middle, end - rows, 0) / np.maximum(end - middle, 1)
    weights = np.where(rows < middle, rising, np.where(end > middle, falling, rows == middle))
    weights = np.where((rows == middle) & (middle >= start), 1, weights)
    inside = (rows >= start) & (rows <= end)
    return np.asarray(np.where(inside, weights, 0)).astype(dtype)
