"""Choices by condition or number: where, select, choose, compress, piecewise; and grids of indices.

Where a condition's values are there (under differentiation they are), `compress`, `extract` and
`nonzero` work as in NumPy. Their results' shapes depend on the values, so `vmap` and tracing to a
program refuse them; `where`, `select` and `choose` work everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_dtype, shape_of
from . import arithmetic
from .axes import along, as_array, normalize_axis
from .concrete import is_known, known
from .declare import constant
from .index import getitem
from .joining import stack
from .samples import Sample
from .shape import astype, broadcast_arrays, broadcast_to, ravel, reshape
from .update import set_at

_MISSING: Any = object()

# ---- where they are true -------------------------------------------------------------------------


@implements(np.where)
def where(condition: Array, x: Array = _MISSING, y: Array = _MISSING, /) -> Any:
    """`x` where the condition holds, else `y`; of the condition alone, where it holds.

    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    if x is _MISSING and y is _MISSING:
        return nonzero(condition)
    if x is _MISSING or y is _MISSING:
        raise ValueError("either both or neither of x and y should be given")
    x, y = (as_array(each) if isinstance(each, (list, tuple)) else each for each in (x, y))
    return arithmetic.where(condition, x, y)


@implements(np.nonzero)
def nonzero(a: Array) -> tuple[Array, ...]:
    """The positions of the elements that are not zero, one array for each axis.

    >>> nonzero(np.array([0, 1, 1]))
    (array([1, 2]),)
    """
    return np.nonzero(known(a, "np.nonzero"))


@implements(np.argwhere)
def argwhere(a: Array) -> Array:
    """The positions of the elements that are not zero, one row for each.

    >>> argwhere(np.array([[0, 1], [1, 0]]))
    array([[0, 1],
           [1, 0]])
    """
    return np.argwhere(known(a, "np.argwhere"))


@implements(np.flatnonzero)
def flatnonzero(a: Array) -> Array:
    """The positions of the elements that are not zero, in the flattened array.

    >>> flatnonzero(np.array([[0, 1], [1, 0]]))
    array([1, 2])
    """
    return np.flatnonzero(known(a, "np.flatnonzero"))


@implements(np.compress)
def compress(condition: Array, a: Array, axis: int | None = None, out: None = None) -> Array:
    """The slices along an axis for which a condition holds.

    >>> compress([True, False], np.arange(4).reshape(2, 2), axis=1)
    array([[0],
           [2]])
    """
    a, flags = as_array(a), known(condition, "np.compress")
    if flags.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalize_axis(axis, ndim_of(a))
    return getitem(a, along(axis, np.flatnonzero(flags)))


@implements(np.extract)
def extract(condition: Array, arr: Array) -> Array:
    """The elements for which a condition holds, in order.

    >>> extract(np.array([True, False, True]), np.arange(3))
    array([0, 2])
    """
    places = np.flatnonzero(known(condition, "np.extract"))
    return getitem(ravel(as_array(arr)), places)


# ---- choices -------------------------------------------------------------------------------------


@implements(np.select)
def select(condlist: Sequence[Array], choicelist: Sequence[Array], default: Any = 0) -> Array:
    """For each element the first choice whose condition holds, or the default.

    >>> x = np.array([-2.0, 0.5, 3.0])
    >>> select([x < 0, x > 1], [np.zeros(3), np.ones(3)], x)
    array([0. , 0.5, 1. ])
    """
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if len(condlist) == 0:
        raise ValueError("select with an empty condition list is not possible")
    for i, condition in enumerate(condlist):
        if as_array(condition).dtype != np.bool_:
            raise TypeError(f"invalid entry {i} in condlist: should be boolean ndarray")
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = arithmetic.where(condition, choice, result)
    return as_array(result)


@implements(np.choose)
def choose(a: Array, choices: Any, out: None = None, mode: str = "raise") -> Array:
    """For each element of the integers `a` the element there of the choice with that number.

    >>> choose([0, 1, 0], [np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])])
    array([ 1., 20.,  3.])
    """
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    number, *rest = broadcast_arrays(as_array(a), *[as_array(choice) for choice in choices])
    if number.dtype.kind not in "iub":
        raise TypeError(f"Cannot cast array data from {number.dtype!r} to dtype('int64')")
    number = astype(number, np.intp)
    count = len(rest)
    if mode == "wrap":
        number = number % count
    elif mode == "clip":
        number = np.clip(number, 0, count - 1)
    elif is_known(number) and not ((plain := known(number, "")) >= 0).all() & (plain < count).all():
        raise ValueError("invalid entry in choice array")
    return np.take_along_axis(stack(rest), np.expand_dims(number, 0), 0)[0]


@implements(np.piecewise)
def piecewise(x: Array, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Array:
    """A function made of pieces: numbers, or functions of the elements for which a condition holds.

    Where the conditions' values are not there, each function is called on all elements.

    >>> x = np.array([-2.0, 3.0])
    >>> piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: x**2])
    array([2., 9.])
    """
    x = as_array(x)
    conditions = _conditions(condlist, x)
    pieces = list(funclist)
    if len(pieces) == len(conditions) + 1:
        otherwise = np.ones(shape_of(x), bool)
        for condition in conditions:
            otherwise = otherwise & ~condition
        conditions.append(otherwise)
    elif len(pieces) != len(conditions):
        raise ValueError(
            f"with {len(conditions)} condition(s), either {len(conditions)} or "
            f"{len(conditions) + 1} functions are expected"
        )
    shape, dtype = shape_of(x), shape_dtype(x).dtype
    if not shape:  # a function gets the elements in an array, be it one number
        x, conditions = x[None], [condition[None] for condition in conditions]
    y: Array = np.zeros(shape_of(x), dtype)
    for condition, piece in zip(conditions, pieces, strict=True):
        if is_known(condition):
            places = np.nonzero(known(condition, "np.piecewise"))
            if callable(piece):
                if not places or len(places[0]) == 0:
                    continue
                value = piece(getitem(x, places), *args, **kw)
            else:
                value = piece
            y = set_at(y, places, value)
        else:
            value = piece(x, *args, **kw) if callable(piece) else piece
            y = arithmetic.where(condition, astype(value, dtype), y)
    return reshape(y, shape)


def _conditions(condlist: Any, x: Array) -> list[Array]:
    many = isinstance(condlist, (list, tuple)) and not (
        len(condlist) and ndim_of(condlist[0]) == 0 and ndim_of(x) != 0
    )
    given = list(condlist) if many or ndim_of(condlist) > ndim_of(x) else [condlist]
    return [broadcast_to(astype(as_array(each), bool), shape_of(x)) for each in given]


# ---- positions of several axes and of one --------------------------------------------------------


def _unravel_shape(x: ShapeDtype, *, shape: tuple[int, ...], order: str) -> tuple[ShapeDtype, ...]:
    return (ShapeDtype(x.shape, np.intp),) * len(shape)


unravel_p: Primitive = constant(
    "unravel_index",
    lambda x, *, shape, order: tuple(np.unravel_index(x, shape, order)),
    shape=_unravel_shape,
    batch=lambda size, batched, x, *, shape, order: unravel_p(x, shape=shape, order=order),
    multiple=True,
    samples=lambda: [
        Sample((np.array([[5, 0], [3, 2]]),), {"shape": (2, 3), "order": "C"}),
        Sample((np.array(4),), {"shape": (2, 3), "order": "F"}),
    ],
)


@implements(np.unravel_index)
def unravel_index(indices: Array, shape: Any, order: str = "C") -> tuple[Array, ...]:
    """The positions along each axis of positions in the flattened array.

    >>> unravel_index([2, 3], (2, 3))
    (array([0, 1]), array([2, 0]))
    """
    sizes = tuple(int(n) for n in shape) if isinstance(shape, (tuple, list)) else (int(shape),)
    return unravel_p(as_array(indices), shape=sizes, order=order)  # type: ignore[no-any-return]


def _ravel_batch(size: int, batched: Sequence[bool], *xs: Array, **params: Any) -> Array:
    ndim = max(ndim_of(x) - flag for x, flag in zip(xs, batched, strict=True))
    lifted = [
        reshape(x, (size, *[1] * (ndim - ndim_of(x) + 1), *shape_of(x)[1:])) if flag else x
        for x, flag in zip(xs, batched, strict=True)
    ]
    return ravel_multi_p(*lifted, **params)


ravel_multi_p: Primitive = constant(
    "ravel_multi_index",
    lambda *xs, dims, mode, order: np.ravel_multi_index(xs, dims, mode, order),
    shape=lambda *xs, dims, mode, order: ShapeDtype(
        np.broadcast_shapes(*[x.shape for x in xs]), np.intp
    ),
    batch=_ravel_batch,
    samples=lambda: [
        Sample(
            (np.array([[1], [0]]), np.array([2, 1])),
            {"dims": (2, 3), "mode": "raise", "order": "C"},
        )
    ],
)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Array:
    """The positions in the flattened array of positions along each axis.

    >>> ravel_multi_index(([0, 1], [2, 0]), (2, 3))
    array([2, 3])
    """
    places = [as_array(x) for x in multi_index]
    modes = tuple(mode) if isinstance(mode, list) else mode
    sizes = tuple(int(n) for n in np.atleast_1d(dims))
    return ravel_multi_p(*places, dims=sizes, mode=modes, order=order)


@implements(np.ix_)
def ix_(*args: Array) -> tuple[Array, ...]:
    """Indices that show the grid of all combinations of positions along the axes.

    >>> [index.shape for index in ix_([0, 2], [1, 3, 4])]
    [(2, 1), (1, 3)]
    """
    found = []
    for i, one in enumerate(args):
        places = as_array(one)
        if ndim_of(places) != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if shape_of(places)[0] == 0 and isinstance(one, (list, tuple)):
            places = places.astype(np.intp)
        if places.dtype.kind == "b":
            places = np.flatnonzero(known(places, "np.ix_"))
        found.append(reshape(places, (1,) * i + (-1,) + (1,) * (len(args) - i - 1)))
    return tuple(found)


@implements(np.meshgrid)
def meshgrid(
    *xi: Array, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Array, ...]:
    """Coordinates of the grid that vectors span: each vector along its own axis.

    >>> [x.shape for x in meshgrid(np.arange(3), np.arange(2))]
    [(2, 3), (2, 3)]
    """
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    ndim = len(xi)
    grids = []
    for i, x in enumerate(xi):
        axis = 1 - i if indexing == "xy" and ndim > 1 and i < 2 else i
        grids.append(reshape(as_array(x), [-1 if j == axis else 1 for j in range(ndim)]))
    return tuple(grids) if sparse else broadcast_arrays(*grids)
