"""NumPy's functions that make an array of nested lists, for lists that hold traced values.

NumPy asks an argument what it is, but not what is in it: `np.array([x, 1.0])` never learns that
`x` is traced, and asks it for its number, which it refuses. The functions here then stack what the
list holds, and try again. On anything else they are NumPy's own, at the price of one call more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from .. import ops
from ..core import Array, Tracer
from ..errors import TracerConversionError
from .standard import check_device

F = TypeVar("F", bound=Callable[..., Any])


def holds_tracer(x: Any) -> bool:
    """Whether nested lists and tuples have a traced value somewhere in them."""
    if isinstance(x, (list, tuple)):
        return any(holds_tracer(each) for each in x)
    return isinstance(x, Tracer)


def gathered(x: Any) -> Any:
    return ops.array(x) if isinstance(x, (list, tuple)) and holds_tracer(x) else x


def gathered_parts(x: Any) -> Any:
    return [gathered(each) for each in x] if isinstance(x, (list, tuple)) else x


def trying_again(function: F, gather: Callable[[Any], Any]) -> F:
    """The function; where a list hid a traced value from it, once more with what the lists hold."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TracerConversionError:
            if not any(isinstance(x, (list, tuple)) and holds_tracer(x) for x in args):
                raise
        return function(*[gather(x) for x in args], **kwargs)

    return call  # type: ignore[return-value]


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
) -> Array:
    """`np.array`, of nested lists that may hold traced values.

    The dtype and shape are those that NumPy finds for the same numbers.

        >>> import kinone, kinone.numpy as knp
        >>> kinone.grad(lambda x: knp.sum(knp.array([x, 2.0 * x, 1.0])))(3.0)
        np.float64(3.0)
    """
    if not isinstance(object, Tracer):
        try:
            return np.array(
                object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin, like=like
            )
        except TracerConversionError:
            if not holds_tracer(object):
                raise
            if copy is False:
                raise ValueError(
                    "Unable to avoid copy while creating an array as requested: a list of traced "
                    "values is stacked into a new one"
                ) from None
    return ops.array(object, dtype, ndmin=ndmin)


def asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    device: Any = None,
    copy: bool | None = None,
    like: Any = None,
) -> Array:
    """`np.asarray`, of traced values, which it returns as they are, and of lists that hold some.

    `copy=True` copies; `copy=False` raises `ValueError` where that cannot be avoided, as it can
    for a traced value unless the dtype changes.

        >>> import kinone, kinone.numpy as knp
        >>> kinone.grad(lambda x: knp.asarray([x, x]).sum())(3.0)
        np.float64(2.0)
    """
    if isinstance(a, Tracer):
        check_device(device)
        if dtype is None or np.dtype(dtype) == a.dtype:
            return a
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        return ops.astype(a, dtype)
    return _of_list(np.asarray, a, dtype, order, device=device, copy=copy, like=like)


def _of_list(make: Callable[..., Any], a: Any, dtype: Any, order: Any, **options: Any) -> Array:
    try:
        return make(a, dtype, order, **given(options))
    except TracerConversionError:
        if not holds_tracer(a):
            raise
    return array(a, dtype, copy=options["copy"])


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were not left at None: NumPy 2.0 knows fewer of them."""
    return {name: option for name, option in options.items() if option is not None}


def asanyarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    device: Any = None,
    copy: bool | None = None,
    like: Any = None,
) -> Array:
    """`np.asanyarray`: as `asarray`, and a subclass of ndarray stays one."""
    if isinstance(a, Tracer):
        return asarray(a, dtype, device=device, copy=copy)
    return _of_list(np.asanyarray, a, dtype, order, device=device, copy=copy, like=like)


def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Array:
    """`np.ascontiguousarray`. A traced value has no memory order; 0-d ones get an axis."""
    known = a if isinstance(a, Tracer) or holds_tracer(a) else np.ascontiguousarray(a, dtype)
    return ops.array(known, dtype, copy=None, ndmin=1)


def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Array:
    """`np.asfortranarray`. A traced value has no memory order; 0-d ones get an axis."""
    if isinstance(a, Tracer) or holds_tracer(a):
        return ops.array(a, dtype, copy=None, ndmin=1)
    return np.asfortranarray(a, dtype)


def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Array:
    """`np.asarray_chkfinite`: an array, or `ValueError` if it has a NaN or infinity.

    A traced value under differentiation is checked; where there are no values yet, under `vmap`
    and `jit`, it raises `TracerConversionError`.
    """
    made = asarray(a, dtype, order)
    if not isinstance(made, Tracer):
        return np.asarray_chkfinite(made)
    if not bool(ops.all(ops.isfinite(made))):
        raise ValueError("array must not contain infs or NaNs")
    return made


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """`np.from_dlpack`. A traced value is returned as it is."""
    check_device(device)
    return x if isinstance(x, Tracer) else np.from_dlpack(x, **given({"copy": copy}))


def isfortran(a: Any) -> bool:
    """`np.isfortran`: no traced value is in Fortran's order."""
    return not isinstance(a, Tracer) and np.isfortran(a)


def row_stack(tup: Sequence[Any], *, dtype: Any = None, casting: Any = "same_kind") -> Array:
    """`np.vstack` under its older name."""
    return OF_LISTS["vstack"](tup, dtype=dtype, casting=casting)


def lexsort(keys: Any, axis: int = -1) -> Array:
    """`np.lexsort`, whose keys may stand in a list."""
    return np.lexsort(tuple(keys) if isinstance(keys, list) else keys, axis)


def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Array:
    """`np.require`. A traced value meets all requirements, but for being written to."""
    if isinstance(a, Tracer) or holds_tracer(a):
        return asarray(a, dtype)
    return np.require(a, dtype, requirements, like=like)


def make_diagonal(D: Array, offset: int = 0, axis1: int = -1, axis2: int = -2) -> Array:
    """Square matrices of zeros whose diagonals are the last axis of `D`: autograd's name for it.

    The inverse of `np.diagonal(a, offset, axis1, axis2)`, where the axes are counted in the result.

    >>> make_diagonal([1.0, 2.0])
    array([[1., 0.],
           [0., 2.]])
    >>> make_diagonal([1.0, 2.0], offset=-1, axis1=0, axis2=1)
    array([[0., 0., 0.],
           [1., 0., 0.],
           [0., 2., 0.]])
    """
    D = asarray(D)
    before, after = max(-offset, 0), max(offset, 0)
    rows = np.pad(D, [*[(0, 0)] * (D.ndim - 1), (before, after)])[..., None]
    where = np.eye(rows.shape[-2], k=offset, dtype=bool)
    return np.moveaxis(np.where(where, rows, np.zeros((), D.dtype)), (-2, -1), (axis1, axis2))


# The functions above that stand for NumPy's, or beside them.
MAKERS = (
    *("array", "asanyarray", "asarray", "asarray_chkfinite", "ascontiguousarray"),
    *("asfortranarray", "from_dlpack", "isfortran", "lexsort", "make_diagonal", "require"),
    "row_stack",
)
# Each takes arrays: a list among its arguments is one.
OF_ARRAYS: dict[str, Callable[..., Any]] = {
    name: trying_again(getattr(np, name), gathered)
    for name in (
        *("all", "amax", "amin", "any", "append", "argmax", "argmin", "average", "cumprod"),
        *("cumsum", "dot", "max", "mean", "median", "min", "prod", "std", "sum", "var"),
    )
}
# Each takes a list of arrays: a list in that list is one.
OF_LISTS: dict[str, Callable[..., Any]] = {
    name: trying_again(getattr(np, name), gathered_parts)
    for name in (
        *("column_stack", "concat", "concatenate", "dstack", "hstack", "select"),
        *("stack", "vstack"),
    )
}
# Each takes a shape and a value, which NumPy would write into an array; a traced one refuses that.
OF_VALUES: dict[str, Callable[..., Any]] = {"full": ops.full, "full_like": ops.full_like}
# Functions that came after NumPy 2.0 and are in the standard: Kinone's own where NumPy's is not.
NEWER: dict[str, Callable[..., Any]] = {
    name: getattr(np, name, None) or getattr(ops, name)
    for name in ("cumulative_prod", "cumulative_sum", "matvec", "unstack", "vecmat")
}
