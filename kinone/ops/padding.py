"""`np.pad` in every mode, one axis after the other as NumPy does it.

Modes that repeat elements (edge, reflect, symmetric, wrap) let `np.pad` itself pad the *positions*
0 … n-1, and gather; the others compute their few new elements and concatenate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, Tracer, implements, ndim_of, shape_dtype, shape_of
from ..errors import MissingRuleError
from .axes import along, as_array
from .declare import linear
from .joining import concatenate
from .samples import Sample, values
from .shape import astype, moveaxis

_plain_pad: Callable[..., Any] = np.pad

Widths = tuple[tuple[int, int], ...]


def _unpad(g: Array, x: ShapeDtype, *, widths: Widths) -> Array:
    return g[tuple(slice(low, low + n) for (low, _), n in zip(widths, x.shape, strict=True))]


pad_p: Primitive = linear(
    "pad",
    # Of no axes NumPy would take no widths for floating ones.
    lambda x, *, widths: np.pad(x, widths) if widths else np.array(x),
    shape=lambda x, *, widths: ShapeDtype(
        [low + n + high for n, (low, high) in zip(x.shape, widths, strict=True)], x.dtype
    ),
    transpose=_unpad,
    batch=lambda size, batched, x, *, widths: pad_p(x, widths=((0, 0), *widths)),
    fresh=True,
    flops=0,
    samples=lambda: [
        Sample((values(2, 3),), {"widths": ((1, 2), (0, 3))}),
        Sample((values(2),), {"widths": ((0, 0),)}),
    ],
)

# The keyword arguments that each mode knows, with NumPy's defaults.
_OPTIONS: dict[str, dict[str, Any]] = {
    "constant": {"constant_values": 0},
    "edge": {},
    "empty": {},
    "linear_ramp": {"end_values": 0},
    "maximum": {"stat_length": None},
    "mean": {"stat_length": None},
    "median": {"stat_length": None},
    "minimum": {"stat_length": None},
    "reflect": {"reflect_type": "even"},
    "symmetric": {"reflect_type": "even"},
    "wrap": {},
}


@implements(np.pad)
def pad(array: Array, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Array:
    """Elements added at the ends of each axis.

    `pad_width` is a number, a pair, a pair for each axis, or a dict from axis to one of these.
    Mode "constant" takes `constant_values`, "linear_ramp" `end_values`, the four statistics
    `stat_length`, "reflect" and "symmetric" `reflect_type`. The elements of mode "empty" are zero.
    A mode that is a function writes into an array, which traced values do not allow.

    Raises `ValueError` for widths that are negative or do not fit, and for an unknown mode.

    >>> pad(np.array([1.0, 2.0, 3.0]), (2, 1), "reflect")
    array([3., 2., 1., 2., 3., 2.])
    """
    array = as_array(array)
    ndim = ndim_of(array)
    if callable(mode):
        raise MissingRuleError(
            f"np.pad with a function for its mode writes into an array, at {source.here()}\n"
            "  Pad with np.concatenate, or one of the modes that have a name."
        )
    if mode not in _OPTIONS:
        raise ValueError(f"mode '{mode}' is not supported")
    unknown = set(kwargs) - set(_OPTIONS[mode])
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    options = {**_OPTIONS[mode], **kwargs}
    widths = _widths(pad_width, ndim)
    if mode == "empty" or (mode == "constant" and _is_zero(options["constant_values"])):
        return pad_p(array, widths=widths)
    if mode == "constant":
        return _by_axis(array, widths, _constants(options["constant_values"], array))
    _refuse_empty(array, widths)
    if mode == "linear_ramp":
        return _by_axis(array, widths, _ramps(options["end_values"], array))
    if "stat_length" in options:
        return _by_axis(array, widths, _statistics(mode, options["stat_length"], ndim))
    if options.get("reflect_type", "even") == "odd":
        return _by_axis(array, widths, _odd_reflections(mode))
    for axis, pair in enumerate(widths):
        if pair != (0, 0):
            places = _plain_pad(np.arange(shape_of(array)[axis]), pair, mode, **kwargs)
            array = array[along(axis, places)]
    return array


def _widths(pad_width: Any, ndim: int) -> Widths:
    if isinstance(pad_width, dict):
        rows: list[Any] = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            rows[axis] = width if isinstance(width, (tuple, list)) else (width, width)
        pad_width = rows if rows else 0
    asked = np.asarray(pad_width)
    if asked.dtype.kind not in "iu" and asked.size:
        raise TypeError("`pad_width` must be of integral type.")
    pairs = np.broadcast_to(asked.astype(np.intp), (ndim, 2))
    if (asked < 0).any():
        raise ValueError("index can't contain negative values")
    return tuple((int(low), int(high)) for low, high in pairs)


def _is_zero(value: Any) -> bool:
    if isinstance(value, Tracer) or np.shape(value) != () or not np.equal(value, 0):
        return False
    return not (np.signbit(np.real(value)) or np.signbit(np.imag(value)))  # -0.0 is another number


def _refuse_empty(array: Array, widths: Widths) -> None:
    for axis, (n, pair) in enumerate(zip(shape_of(array), widths, strict=True)):
        if n == 0 and any(pair):
            raise ValueError(
                f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'"
            )


# Makes the elements before and after an axis, of the array padded along the earlier axes:
# (array, axis, (before, after)) → [elements before, elements after].
_Ends = Callable[[Array, int, tuple[int, int]], list[Array]]


def _by_axis(array: Array, widths: Widths, ends: _Ends) -> Array:
    for axis, pair in enumerate(widths):
        if pair != (0, 0):
            low, high = ends(array, axis, pair)
            array = concatenate([low, array, high], axis)
    return array


def _pairs(given: Any, ndim: int) -> Array:
    """Two entries for each axis; a traced value stands for all of them."""
    return np.broadcast_to(as_array(given), (ndim, 2))


def _with_length(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*shape[:axis], length, *shape[axis + 1 :])


def _constants(given: Any, array: Array) -> _Ends:
    fills = astype(_pairs(given, ndim_of(array)), shape_dtype(array).dtype)

    def ends(x: Array, axis: int, pair: tuple[int, int]) -> list[Array]:
        return [
            np.broadcast_to(fills[axis, side], _with_length(shape_of(x), axis, width))
            for side, width in enumerate(pair)
        ]

    return ends


def _ramps(given: Any, array: Array) -> _Ends:
    targets = _pairs(given, ndim_of(array))
    dtype = shape_dtype(array).dtype

    def ends(x: Array, axis: int, pair: tuple[int, int]) -> list[Array]:
        pieces = []
        for side, width in enumerate(pair):
            edge = x[along(axis, slice(0, 1) if side == 0 else slice(-1, None))]
            steps = np.arange(width) / max(width, 1)  # from the end value to before the edge
            steps = (steps if side == 0 else steps[::-1]).reshape(
                [-1 if i == axis else 1 for i in range(ndim_of(x))]
            )
            start = targets[axis, side]
            wide = astype(edge, np.result_type(dtype, np.float64))  # as np.linspace does
            ramp = start + (wide - start) * steps
            pieces.append(astype(np.floor(ramp) if dtype.kind in "iu" else ramp, dtype))
        return pieces

    return ends


_STATISTICS: dict[str, Callable[..., Array]] = {
    "maximum": np.max,
    "minimum": np.min,
    "mean": np.mean,
    "median": np.median,
}


def _statistics(mode: str, given: Any, ndim: int) -> _Ends:
    lengths = None if given is None else np.broadcast_to(np.asarray(given), (ndim, 2))
    if lengths is not None and (lengths < 0).any():
        raise ValueError("index can't contain negative values")

    def ends(x: Array, axis: int, pair: tuple[int, int]) -> list[Array]:
        dtype, n = shape_dtype(x).dtype, shape_of(x)[axis]
        pieces = []
        for side, width in enumerate(pair):
            length = n if lengths is None else min(int(lengths[axis, side]), n)
            if length == 0 and mode in ("maximum", "minimum"):
                raise ValueError("stat_length of 0 yields no value for padding")
            chosen = x[along(axis, slice(0, length) if side == 0 else slice(n - length, n))]
            statistic = _STATISTICS[mode](chosen, axis=axis, keepdims=True)
            if dtype.kind in "iu" and shape_dtype(statistic).dtype.kind == "f":
                statistic = np.round(statistic)
            shape = _with_length(shape_of(x), axis, width)
            pieces.append(np.broadcast_to(astype(statistic, dtype), shape))
        return pieces

    return ends


def _odd_reflections(mode: str) -> _Ends:
    """Reflection through the edge's value is linear: `np.pad` of the identity is its matrix."""

    def ends(x: Array, axis: int, pair: tuple[int, int]) -> list[Array]:
        dtype, n = shape_dtype(x).dtype, shape_of(x)[axis]
        matrix = _plain_pad(np.eye(n, dtype=np.int64), (pair, (0, 0)), mode, reflect_type="odd")
        last = moveaxis(x, axis, -1)
        return [
            moveaxis(last @ rows.T.astype(dtype), -1, axis)
            for rows in (matrix[: pair[0]], matrix[pair[0] + n :])
        ]

    return ends
