"""Where training starts: functions `(key, shape, dtype) -> array` for a layer's first parameters.

A kernel's last two axes are its inputs and its outputs; the axes before them are the window. With
`fan_in` = window · inputs and `fan_out` = window · outputs, a variance of 1 / fan_in keeps the size
of activations from layer to layer, 1 / fan_out that of gradients, and 2 / fan_in makes up for the
half that ReLU takes away.

| initializer      | variance               | distribution | source                           |
|------------------|------------------------|--------------|----------------------------------|
| `he_normal`      | 2 / fan_in             | normal       | He et al. 2015, arXiv:1502.01852 |
| `he_uniform`     | 2 / fan_in             | uniform      | the same                         |
| `glorot_normal`  | 2 / (fan_in + fan_out) | normal       | Glorot & Bengio 2010             |
| `glorot_uniform` | 2 / (fan_in + fan_out) | uniform      | the same                         |
| `lecun_normal`   | 1 / fan_in             | normal       | LeCun et al. 1998                |
| `lecun_uniform`  | 1 / fan_in             | uniform      | the same                         |
| `orthogonal`     | gain² / longer side    | orthonormal  | Saxe et al. 2013                 |

These are called to make an initializer, as in `jax.nn.initializers`: `he_normal()(key, shape)`.
`normal` here is the whole bell, as in the papers and in PyTorch; JAX and Keras cut it off at two
standard deviations, which is `variance_scaling(2.0, "fan_in", "truncated_normal")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from .. import random, source
from ..core import Array, shape_dtype
from ..random import Key

Initializer = Callable[[Key, tuple[int, ...], Any], Array]
Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "truncated_normal", "uniform"]

# The standard deviation of a standard normal variable cut off at ±2.
_TRUNCATED = 0.87962566103423978


def fans(shape: tuple[int, ...], in_axis: int = -2, out_axis: int = -1) -> tuple[int, int]:
    """How many inputs each output of a kernel depends on, and how many outputs on each input.

    The kernel of a grouped convolution has shape (*window, inputs / groups, outputs), and an output
    depends on as many inputs as that shape says. `nn.Conv` draws each group on its own, so that
    `fan_out` is right as well.

        >>> fans((3, 3, 16, 32))
        (144, 288)

    Raises `ValueError` for a shape of fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(
            f"a kernel has an axis of inputs and an axis of outputs, and this one has shape {shape}"
            f", at {source.here()}"
        )
    inputs, outputs = shape[in_axis], shape[out_axis]
    window = math.prod(shape) // max(inputs * outputs, 1)
    return window * inputs, window * outputs


def variance_scaling(
    scale: float, mode: Mode, distribution: Distribution, in_axis: int = -2, out_axis: int = -1
) -> Initializer:
    """Numbers of mean 0 and variance scale / fan, the fan chosen by `mode`.

    >>> from kinone import random
    >>> init = variance_scaling(2.0, "fan_out", "normal")
    >>> init(random.key(0), (3, 3, 16, 32)).dtype
    dtype('float32')
    """
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ValueError(
            f"mode={mode!r} is not 'fan_in', 'fan_out' or 'fan_avg', at {source.here()}"
        )
    if distribution not in ("normal", "truncated_normal", "uniform"):
        raise ValueError(
            f"distribution={distribution!r} is not 'normal', 'truncated_normal' or 'uniform', "
            f"at {source.here()}"
        )

    def init(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        fan_in, fan_out = fans(shape, in_axis, out_axis)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        deviation = math.sqrt(scale / max(fan, 1))
        if distribution == "normal":
            return _times(random.normal(key, shape, dtype), deviation)
        if distribution == "truncated_normal":
            cut = random.truncated_normal(key, -2.0, 2.0, shape, dtype)
            return _times(cut, deviation / _TRUNCATED)
        reach = math.sqrt(3) * deviation
        return random.uniform(key, shape, dtype, -reach, reach)

    return init


def _times(numbers: Array, scale: float) -> Array:
    """Their product in their own dtype: NumPy makes float32 of bfloat16 and a Python number."""
    scaled = numbers * scale
    dtype = shape_dtype(numbers).dtype
    return scaled if shape_dtype(scaled).dtype == dtype else scaled.astype(dtype)


def he_normal(in_axis: int = -2, out_axis: int = -1) -> Initializer:
    """Normal numbers of variance 2 / fan_in, for layers before a ReLU."""
    return variance_scaling(2.0, "fan_in", "normal", in_axis, out_axis)


def he_uniform(in_axis: int = -2, out_axis: int = -1) -> Initializer:
    """Uniform numbers of variance 2 / fan_in, within ±√(6 / fan_in)."""
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis)


def glorot_normal(in_axis: int = -2, out_axis: int = -1) -> Initializer:
    """Normal numbers of variance 2 / (fan_in + fan_out), for tanh and sigmoid."""
    return variance_scaling(1.0, "fan_avg", "normal", in_axis, out_axis)


def glorot_uniform(in_axis: int = -2, out_axis: int = -1) -> Initializer:
    """Uniform numbers of variance 2 / (fan_in + fan_out), within ±√(6 / (fan_in + fan_out))."""
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis)


def lecun_normal(in_axis: int = -2, out_axis: int = -1) -> Initializer:
    """Normal numbers of variance 1 / fan_in, for layers that nothing follows."""
    return variance_scaling(1.0, "fan_in", "normal", in_axis, out_axis)


def lecun_uniform(in_axis: int = -2, out_axis: int = -1) -> Initializer:
    """Uniform numbers of variance 1 / fan_in, within ±√(3 / fan_in)."""
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis)


def normal(stddev: float = 1e-2) -> Initializer:
    """Normal numbers of this standard deviation."""

    def init(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return _times(random.normal(key, shape, dtype), float(stddev))

    return init


def truncated_normal(stddev: float = 1e-2, lower: float = -2.0, upper: float = 2.0) -> Initializer:
    """`stddev` times normal numbers that are cut off at `lower` and `upper`.

    The cut makes their standard deviation smaller: 0.88 · stddev at ±2.
    """

    def init(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return _times(random.truncated_normal(key, lower, upper, shape, dtype), float(stddev))

    return init


def uniform(scale: float = 1e-2) -> Initializer:
    """Uniform numbers from 0 up to `scale`."""

    def init(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return random.uniform(key, shape, dtype, 0.0, scale)

    return init


def orthogonal(gain: float = 1.0, out_axis: int = -1) -> Initializer:
    """A matrix that turns and mirrors, and stretches by `gain` alone.

    Of the kernel as a matrix, its `out_axis` against all other axes, the rows or the columns,
    whichever are fewer, are orthogonal and of length `gain`. It is the Q of a random normal
    matrix's decomposition QR, with the signs that make R's diagonal positive: so every such
    matrix is equally likely.

    Raises `ValueError` for a shape of fewer than two axes.

        >>> from kinone import random
        >>> q = orthogonal()(random.key(0), (3, 3), np.float64)
        >>> bool(np.allclose(q @ q.T, np.eye(3)))
        True

    Source: Saxe et al. 2013, arXiv:1312.6120.
    """

    def init(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        fans(shape)
        columns = shape[out_axis]
        rows = math.prod(shape) // max(columns, 1)
        tall = random.normal(key, (max(rows, columns), min(rows, columns)), np.float64)
        q, r = np.linalg.qr(tall)
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        if rows < columns:
            q = np.transpose(q)
        rest = [length for axis, length in enumerate(shape) if axis != out_axis % len(shape)]
        kernel = np.moveaxis(np.reshape(q, (*rest, columns)), -1, out_axis)
        return (gain * kernel).astype(dtype)

    return init


def constant(value: float) -> Initializer:
    """The same number everywhere."""

    def init(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return np.full(shape, value, dtype)

    return init


def zeros(key: Key | None, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Zeros: an initializer itself, not to be called first."""
    return np.zeros(shape, dtype)


def ones(key: Key | None, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Ones: an initializer itself, not to be called first."""
    return np.ones(shape, dtype)
