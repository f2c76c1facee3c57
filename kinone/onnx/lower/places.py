"""Positions of several axes and of one: `ravel_multi_index` and `unravel_index`.

NumPy raises for a position that is not there; a graph has nobody to raise, and computes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import Array
from ..export.builder import Builder
from ..export.dims import Dim
from ..export.merge import Step
from ..export.rules import lowers, through
from ..export.values import Value


def _strides(shape: Sequence[int], order: str) -> list[int]:
    """How far apart in the flattened array are neighbours along each axis."""
    if order == "F":
        return [math.prod(shape[:i]) for i in range(len(shape))]
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def unravel(x: Array, *, shape: tuple[int, ...], order: str) -> tuple[Array, ...]:
    """The position along each axis."""
    x = x.astype(np.intp)
    strides = _strides(shape, order)
    return tuple([x // stride % n for stride, n in zip(strides, shape, strict=True)])


def ravel(*xs: Array, dims: tuple[int, ...], mode: Any, order: str) -> Array:
    """The position in the flattened array."""
    modes = (mode,) * len(xs) if isinstance(mode, str) else mode
    total: Array = np.zeros((), np.intp)
    for x, n, how, stride in zip(xs, dims, modes, _strides(dims, order), strict=True):
        x = x.astype(np.intp)
        if how == "wrap":
            x = x % n
        elif how == "clip":
            x = np.clip(x, 0, n - 1)
        total = total + x * stride
    return total


def _check(b: Builder, sizes: Sequence[Any]) -> None:
    if any(isinstance(n, Dim) for n in sizes):
        raise b.error("positions in an array whose shape varies have no ONNX form")


@lowers("unravel_index")
def _unravel_index(b: Builder, step: Step, x: Value) -> Sequence[Value]:
    _check(b, step.params["shape"])
    return through(b, unravel, x, **step.params)


@lowers("ravel_multi_index")
def _ravel_multi_index(b: Builder, step: Step, *xs: Value) -> Value:
    _check(b, step.params["dims"])
    found: Value = through(b, ravel, *xs, **step.params)[0]
    return found
