"""Questions about an array that its shape and dtype answer, and plain arrays like it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Tracer, implements, shape_dtype, shape_of
from .arithmetic import stop_gradient
from .axes import as_array, normalize_axes
from .concrete import is_known, known
from .declare import Rule
from .declare.common import result_type as promoted
from .plain import composed
from .shape import astype, broadcast_to

# ---- shape and dtype -----------------------------------------------------------------------------


@implements(np.ndim)
def ndim(a: Array) -> int:
    """The number of axes."""
    return len(shape_of(a))


@implements(np.shape)
def shape(a: Array) -> tuple[int, ...]:
    """The shape of an array, number or tracer."""
    return shape_dtype(a).shape


@implements(np.size)
def size(a: Array, axis: int | Sequence[int] | None = None) -> int:
    """The number of elements, along axes."""
    lengths = shape(a)
    return math.prod([lengths[i] for i in normalize_axes(axis, len(lengths))])


@implements(np.iscomplexobj)
def iscomplexobj(x: Array) -> bool:
    """Whether the dtype is a complex one, whatever the values."""
    return shape_dtype(x).dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Array) -> bool:
    """Whether the dtype is not a complex one."""
    return not iscomplexobj(x)


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that arrays, numbers and dtypes have together, by NumPy's promotion.

    >>> result_type(np.ones(2, np.float32), 3)
    dtype('float32')
    """
    kinds = [
        promoted(shape_dtype(x)) if isinstance(x, Tracer) and not shape_dtype(x).weak else _kind(x)
        for x in arrays_and_dtypes
    ]
    return np.result_type(*kinds)


def _kind(x: Any) -> Any:
    if isinstance(x, Tracer):  # a Python number, which adapts
        return {"i": 1, "f": 1.0, "c": 1j}[x.dtype.kind]
    return x


@implements(np.common_type)
def common_type(*arrays: Array) -> type:
    """The floating type that arrays have together."""
    return np.common_type(*[np.empty(0, shape_dtype(a).dtype) for a in arrays])


@implements(np.min_scalar_type)
def min_scalar_type(a: Array) -> np.dtype[Any]:
    """The dtype: the values, which would tell more, are not looked at."""
    return shape_dtype(a).dtype


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether a cast is allowed by the rule."""
    return np.can_cast(from_.dtype if isinstance(from_, Tracer) else from_, to, casting)


@implements(np.shares_memory, np.may_share_memory)
def shares_memory(a: Array, b: Array, max_work: Any = None) -> bool:
    """Never: traced values are values, not memory."""
    return False


@implements(np.array_repr, np.array_str, np.array2string)
def array_repr(a: Array, *args: Any, **options: Any) -> str:
    """Shape, dtype, and by what it is traced."""
    return repr(a)


# ---- plain arrays like it ------------------------------------------------------------------------


def _constant_like(function: Rule) -> Rule:
    def like(a: Array, *args: Any, **kwargs: Any) -> Array:
        aval = shape_dtype(a)
        return function(np.broadcast_to(np.zeros((), aval.dtype), aval.shape), *args, **kwargs)

    return like


for _function in (np.zeros_like, np.ones_like, np.empty_like):
    implements(_function)(_constant_like(_function))


@composed(np.full_like)
def full_like(
    a: Array,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Array:
    """An array of the shape and dtype of another, with this value everywhere; it may be traced.

    >>> full_like(np.array([1.5, 2.5]), 7)
    array([7., 7.])
    """
    aval = shape_dtype(a)
    like = aval.shape if shape is None else shape
    return _filled(like, fill_value, aval.dtype if dtype is None else dtype, device)


@composed(np.full)
def full(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Array:
    """An array with this value everywhere, which may be traced.

    NumPy's own `np.full(shape, value)` writes the value into an array, which a traced one refuses;
    it can be asked with `like=value`.

    >>> full((2, 3), [1.0, 2.0, 3.0])
    array([[1., 2., 3.],
           [1., 2., 3.]])
    """
    return _filled(shape, fill_value, dtype, device)


def _filled(shape: Any, fill_value: Any, dtype: Any, device: Any) -> Array:
    np.empty(0, device=device)  # raises NumPy's error for a device that there is not
    value = as_array(fill_value)
    if dtype is not None:
        value = astype(value, dtype)
    whole = broadcast_to(value, shape)
    return whole if isinstance(whole, Tracer) else np.array(whole)


# `np.zeros(3, like=x)` asks the tracer `x`: the constants are plain arrays.
for _constant in (
    np.zeros,
    np.ones,
    np.empty,
    np.eye,
    np.identity,
    np.tri,
    np.arange,
    np.fromfunction,
    np.fromiter,
    np.frombuffer,
    np.fromstring,
    np.loadtxt,
    np.genfromtxt,
):
    implements(_constant)(_constant)


@implements(np.linspace)
def linspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """Evenly spaced numbers from `start` to `stop`, both included by default; either may be an
    array, and traced.

    >>> linspace(0.0, 1.0, 5)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    start, stop = _inexact(start), _inexact(stop)
    real = result_type(start, stop)
    parts = num - 1 if endpoint else num
    shape = (-1, *[1] * len(np.broadcast_shapes(shape_of(start), shape_of(stop))))
    places = np.arange(num, dtype=_real(real)).reshape(shape)
    span = stop - start
    step = span / parts if parts > 0 else np.full(shape_of(span), np.nan) + 0 * span
    line = start + (places * step if parts > 0 else places * span)
    if endpoint and num > 1:
        line = np.where(places == num - 1, stop, line)  # not by way of rounding
    if axis != 0:
        line = np.moveaxis(line, 0, axis)
    if dtype is not None:
        wanted = np.dtype(dtype)
        line = astype(np.floor(line) if wanted.kind in "iu" else line, wanted)
    return (line, step) if retstep else line


def _inexact(x: Array) -> Array:
    """A number or an array as a floating one; a Python number still adapts."""
    return x * 1.0 if isinstance(x, (int, float, complex)) else as_array(x) * 1.0


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.zeros(0, dtype).real.dtype


@implements(np.logspace)
def logspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Powers of a base, evenly spaced in the exponent; the base may be an array, too.

    >>> logspace(0.0, 2.0, 3)
    array([  1.,  10., 100.])
    """
    if shape_of(base):
        # The axis is counted among those of all three.
        ndim = len(np.broadcast_shapes(shape_of(start), shape_of(stop), shape_of(base)))
        start, stop, base = (_lengthened(as_array(x), ndim) for x in (start, stop, base))
        base = np.expand_dims(base, axis)
    powers = np.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return powers if dtype is None else astype(powers, dtype)


def _lengthened(x: Array, ndim: int) -> Array:
    """With axes of length 1 in front, up to `ndim` axes."""
    missing = ndim - len(shape_of(x))
    return np.reshape(x, (1,) * missing + shape_of(x)) if missing else x


@implements(np.geomspace)
def geomspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Numbers each of which is the same multiple of the one before.

    Real ends are of one sign; complex ones make a spiral. Raises `ValueError` for an end that can
    be seen to be zero.

    >>> geomspace(1.0, 8.0, 4)
    array([1., 2., 4., 8.])
    """
    start, stop = as_array(_inexact(start)), as_array(_inexact(stop))
    for end in (start, stop):
        if is_known(end) and np.any(known(end, "np.geomspace") == 0):
            raise ValueError("Geometric sequence cannot include zero")
    dtype_of_both = result_type(start, stop)
    start, stop = astype(start, dtype_of_both), astype(stop, dtype_of_both)
    start, stop = np.broadcast_arrays(start, stop)
    # Turned so that the first one is positive. By how much does not matter to the result, whose
    # derivative therefore is right although that of the sign is left out.
    sign = stop_gradient(np.sign(start))
    line = sign * np.exp(linspace(np.log(start / sign), np.log(stop / sign), num, endpoint))
    if num > 0:
        last = [stop[None]] if endpoint and num > 1 else []
        line = np.concatenate([start[None], line[1 : num - len(last)], *last])
    if axis != 0:
        line = np.moveaxis(line, 0, axis)
    return line if dtype is None else astype(line, dtype)
