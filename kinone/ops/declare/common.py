"""What rules are written with: NumPy's promotion, and cotangents in their operand's shape."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np

from ...core import Array, ShapeDtype

Rule = Callable[..., Any]
Samples = Callable[[], Sequence[Any]]


class Slots(TypedDict, total=False):
    """What every constructor hands on to `Primitive`, which says what they are."""

    batch: Rule | None
    code: str | Callable[..., str] | None
    fresh: bool | None
    layout: Callable[..., int] | None
    flops: float | Callable[..., float]
    kink: Rule | None
    samples: Samples | None


_PYTHON_TYPES: dict[str, type] = {"i": int, "f": float, "c": complex}


def promote(ufunc: Rule, *avals: ShapeDtype) -> np.dtype[Any]:
    """The dtype of `ufunc`'s result by NumPy's own rules, Python numbers being weak (NEP 50)."""
    if not isinstance(ufunc, np.ufunc):
        return result_type(*avals)
    kinds = [_PYTHON_TYPES[aval.dtype.kind] if aval.weak else aval.dtype for aval in avals]
    return _resolve(ufunc, tuple(kinds))


@functools.lru_cache(maxsize=4096)
def _resolve(ufunc: np.ufunc, kinds: tuple[Any, ...]) -> np.dtype[Any]:
    if all(isinstance(kind, type) for kind in kinds):
        values = [kind(1) for kind in kinds]
        return np.asarray(ufunc(*values)).dtype
    return ufunc.resolve_dtypes((*kinds, None))[-1]


def result_type(*avals: ShapeDtype) -> np.dtype[Any]:
    """`np.result_type` of operands that are not there."""
    weak = [_PYTHON_TYPES[a.dtype.kind](1) for a in avals if a.weak]
    known = [a.dtype for a in avals if not a.weak]
    # One after the other: of a boolean, a bfloat16 and a Python number NumPy knows no common type.
    return np.result_type(np.result_type(*known), *weak) if known else np.result_type(*weak)


def fit(g: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """A cotangent in its operand's shape and dtype."""
    return cast(unbroadcast(g, shape), dtype)


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting from `shape`: sums the axes that were repeated."""
    found = g.shape
    if found == shape:
        return g
    extra = len(found) - len(shape)
    if extra > 0 and found[extra:] == shape:
        return np.add.reduce(g, axis=0 if extra == 1 else tuple(range(extra)))
    repeated = tuple(
        i for i in range(g.ndim) if i < extra or (shape[i - extra] == 1 and g.shape[i] != 1)
    )
    if repeated:
        g = np.add.reduce(g, axis=repeated, keepdims=True)
    return g if g.shape == shape else np.reshape(g, shape)


def cast(g: Array, dtype: Any) -> Array:
    """A (co)tangent in its primal's dtype; the real part where that is real."""
    if g.dtype is dtype or g.dtype == dtype:
        return g
    if g.dtype.kind == "c" and dtype.kind != "c":
        g = np.real(g)
    return g.astype(dtype)


def zeros(aval: ShapeDtype) -> Array:
    """Zeros of a shape and dtype, without memory of their own."""
    return np.broadcast_to(np.zeros((), aval.dtype), aval.shape)
