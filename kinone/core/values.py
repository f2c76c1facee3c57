"""What a value is to the engine: an array, a number or a tracer, with a shape and a dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# An ndarray, a NumPy scalar, a Python number or a Tracer. Rules run on all of them alike, which no
# static type expresses without a cast on every line.
Array = Any


class ShapeDtype:
    """Shape and dtype of a value that is not there (yet).

    `weak` marks a Python number, which adapts to the arrays that it meets (NEP 50).

        >>> ShapeDtype((8, 16), "float32")
        float32[8,16]
    """

    __slots__ = ("dtype", "shape", "weak")

    def __init__(self, shape: Sequence[int], dtype: Any, weak: bool = False) -> None:
        self.shape = tuple(shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.weak = weak

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ShapeDtype)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.weak == other.weak
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.weak))

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


def shape_dtype(x: Array) -> ShapeDtype:
    """The `ShapeDtype` of an array, number, tracer or `ShapeDtype`."""
    if isinstance(x, (np.ndarray, np.generic)):
        return ShapeDtype(x.shape, x.dtype)
    if isinstance(x, ShapeDtype):
        return x
    aval = getattr(x, "aval", None)
    if isinstance(aval, ShapeDtype):  # a tracer
        return aval
    for kind in (bool, int, float, complex):
        if isinstance(x, kind):  # whatever its size: an integer, too, adapts to what it meets
            return ShapeDtype((), kind, weak=type(x) is not bool)
    array = np.asarray(x)
    return ShapeDtype(array.shape, array.dtype)


def zeros_of(x: Array) -> Array:
    """Zeros of the shape and dtype of a value or `ShapeDtype`; a NumPy scalar without axes."""
    aval = shape_dtype(x)
    return np.zeros(aval.shape, aval.dtype)[()]


def shape_of(x: Array) -> tuple[int, ...]:
    """`np.shape(x)`, which for a tracer would go all the way round NumPy's protocol."""
    try:
        shape: tuple[int, ...] = x.shape
    except AttributeError:
        return np.shape(x)
    return shape


def ndim_of(x: Array) -> int:
    """`np.ndim(x)`, likewise."""
    return len(shape_of(x))


def is_foreign(x: Any) -> bool:
    """Whether `x` is an ndarray by inheritance alone: a masked array, whose reductions skip
    elements, or a matrix, whose `*` is a product. No rule is written for these."""
    return any(kind.__name__ in ("MaskedArray", "matrix") for kind in type(x).__mro__)


def is_number(leaf: Any) -> bool:
    """Whether a leaf is an array, a number, a tracer or a `ShapeDtype`, of a numeric dtype."""
    if type(leaf) is np.ndarray:
        return leaf.dtype.kind in "fiubc" or is_bfloat16(leaf.dtype)
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        return isinstance(leaf, (bool, int, float, complex))
    if isinstance(leaf, np.ndarray) and is_foreign(leaf):
        return False
    return getattr(dtype, "kind", None) in ("f", "i", "u", "b", "c") or is_bfloat16(dtype)


def is_inexact(x: Array) -> bool:
    """Whether a value is of a floating or complex type, that is, differentiable."""
    if type(x) is np.ndarray:
        return x.dtype.kind in "fc" or is_bfloat16(x.dtype)
    if isinstance(x, (float, complex)):
        return True
    dtype = getattr(x, "dtype", None)
    return getattr(dtype, "kind", None) in ("f", "c") or is_bfloat16(dtype)


def is_bfloat16(dtype: Any) -> bool:
    """Whether it is the dtype of the package ml_dtypes, a float that NumPy takes for raw bytes."""
    return getattr(dtype, "kind", None) == "V" and str(dtype) == "bfloat16"
