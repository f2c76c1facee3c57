"""Axes as a user may write them, negative, in tuples or None, brought to one form."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from .. import tree
from ..core import Array, Tracer, numpy_functions, shape_of


def normalize_axis(axis: int, ndim: int) -> int:
    """A non-negative axis. Raises `numpy.exceptions.AxisError`, `TypeError` for no integer."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def normalize_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Non-negative axes, all of them for None. Raises `ValueError` for a repeated one."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list, range)):
        axes = tuple(normalize_axis(i, ndim) for i in axis)
    else:
        axes = (normalize_axis(axis, ndim),)  # type: ignore[arg-type]
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    return axes


def mean_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """`normalize_axes` as NumPy's reductions have it. Raises `TypeError` for a list of axes."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if isinstance(axis, (list, range)):
        raise TypeError(f"{type(axis).__name__!r} object cannot be interpreted as an integer")
    return normalize_axes(axis, ndim)


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """`mean_axes` as the reductions by a ufunc have it: of no axes, 0 and -1 mean none, too."""
    return mean_axes(axis if ndim else reduced_axis(axis, 0), ndim)


def reduced_axis(axis: Any, ndim: int) -> Any:
    """The axis of a reduction; None in place of 0 and -1 where there are no axes."""
    return None if ndim == 0 and isinstance(axis, Integral) and axis in (0, -1) else axis


def along(axis: int, entry: object) -> tuple[object, ...]:
    """The index that applies `entry` to one axis, counted from the front."""
    return (*(slice(None),) * axis, entry)


def as_array(x: Array) -> Array:
    """An operand that has a shape and a dtype: what has them, as it is; lists and numbers as
    arrays."""
    if hasattr(x, "dtype"):
        return x
    if isinstance(x, (list, tuple)) and any(isinstance(leaf, Tracer) for leaf in tree.leaves(x)):
        return numpy_functions[np.array](x)
    return np.asarray(x)


def lifted(x: Array, ndim: int) -> Array:
    """A batched operand with `ndim` axes after the batch axis, as broadcasting would give it."""
    size, *rest = shape_of(x)
    if len(rest) >= ndim:
        return x
    return np.reshape(x, (size, *[1] * (ndim - len(rest)), *rest))


def with_batch(x: Array, batched: bool, size: int) -> Array:
    """An operand with the batch axis first: its own, or the same for all examples."""
    return x if batched else np.broadcast_to(as_array(x), (size, *shape_of(x)))
