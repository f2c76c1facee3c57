"""Functions to which the array API standard gives arguments that NumPy's own have not.

Without these arguments each of them is NumPy's function.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..core import Array, Tracer, shape_of


def check_device(device: Any) -> None:
    """Raises `ValueError` for any device but the one there is."""
    if device not in (None, "cpu"):
        raise ValueError(f"Device not understood. Only 'cpu' is allowed, but received: {device}")


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    """`np.astype`, whose `device` traced values know too."""
    check_device(device)
    return np.astype(x, dtype, copy=copy)


def sort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Array:
    """`np.sort`; with `descending=True`, the largest first.

    >>> sort(np.array([2.0, 3.0, 1.0]), descending=True)
    array([3., 2., 1.])
    """
    ordered = np.sort(a, axis, kind, order, stable=stable)
    if not descending:
        return ordered
    return np.flip(ordered, 0 if axis is None else axis)


def argsort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Array:
    """`np.argsort`; with `descending=True`, the places of the largest first.

    Of equal elements the first stays first, in both directions, if the sort is stable.

        >>> argsort(np.array([2.0, 3.0, 1.0, 3.0]), descending=True, stable=True)
        array([1, 3, 0, 2])
    """
    if not descending:
        return np.argsort(a, axis, kind, order, stable=stable)
    if axis is None:
        a, axis = np.ravel(a), 0
    # The mirrored array, sorted upwards, has its equal elements the other way round.
    places = np.argsort(np.flip(a, axis), axis, kind, order, stable=stable)
    return np.flip(shape_of(a)[axis] - 1 - places, axis)


def finfo(type: Any, /) -> Any:
    """`np.finfo`, of an array, too."""
    return np.finfo(_dtype(type))


def iinfo(type: Any, /) -> Any:
    """`np.iinfo`, of an array, too."""
    return np.iinfo(_dtype(type))


def _dtype(x: Any) -> Any:
    return x.dtype if isinstance(x, np.ndarray | np.generic | Tracer) else x


def fftfreq(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Array:
    """`np.fft.fftfreq`, in a dtype; `d` may be traced."""
    check_device(device)
    return _in(dtype, np.fft.fftfreq(n, d))


def rfftfreq(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Array:
    """`np.fft.rfftfreq`, in a dtype; `d` may be traced."""
    check_device(device)
    return _in(dtype, np.fft.rfftfreq(n, d))


def _in(dtype: Any, frequencies: Array) -> Array:
    if dtype is not None and np.dtype(dtype).kind not in "f":
        raise ValueError(f"the frequencies are real floating numbers, got dtype {np.dtype(dtype)}")
    return frequencies if dtype is None else ops.astype(frequencies, dtype)


NAMES = {f.__name__: f for f in (argsort, astype, finfo, iinfo, sort)}
