"""One array taken apart into several: unstack, split and their kin; the transposes put together.

One primitive makes all pieces, so the backward pass joins their cotangents in one go, where
slices would add up one array of zeros for each.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, implements, ndim_of, shape_of
from .axes import along, as_array, normalize_axis
from .declare import primitive
from .joining import concatenate, stack
from .samples import Sample, values
from .versions import present

# ---- unstack -------------------------------------------------------------------------------------


def _unstack(x: Array, *, axis: int) -> tuple[Array, ...]:
    moved = np.moveaxis(np.asarray(x), axis, 0)
    return tuple([moved[i] for i in range(len(moved))])


def _unstack_shape(x: ShapeDtype, *, axis: int) -> tuple[ShapeDtype, ...]:
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    return (ShapeDtype(rest, x.dtype),) * x.shape[axis]


unstack_p: Primitive = primitive(
    "unstack",
    _unstack,
    shape=_unstack_shape,
    vjp=lambda y, x, *, axis: lambda gs: (stack(gs, axis),),
    jvp=lambda y, x, *, axis: lambda t: unstack_p(t, axis=axis),
    batch=lambda size, batched, x, *, axis: unstack_p(x, axis=axis + 1),
    multiple=True,
    flops=0,
    samples=lambda: [
        Sample((values(3, 2),), {"axis": 0}),
        Sample((values(2, 3, 2),), {"axis": 1}),
        Sample((values(2),), {"axis": 0}),
    ],
)


@implements(*present("unstack"), iter)
def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis, which is gone in them; `stack` puts them together again.

    `x` of shape (n, …) gives n arrays of shape (…). Raises `AxisError` for a wrong axis and
    `ValueError` for an array without axes.

    >>> [a.tolist() for a in unstack(np.array([[1, 2], [3, 4]]), axis=1)]
    [[1, 3], [2, 4]]
    """
    x = as_array(x)
    ndim = ndim_of(x)
    if ndim == 0:
        raise ValueError("Input array must be at least 1-d.")
    axis = normalize_axis(axis, ndim)
    if shape_of(x)[axis] == 0:
        return ()
    return unstack_p(x, axis=axis)  # type: ignore[no-any-return]


# ---- split ---------------------------------------------------------------------------------------


def _split(x: Array, *, sizes: tuple[int, ...], axis: int) -> tuple[Array, ...]:
    pieces, start = [], 0
    for n in sizes:
        pieces.append(np.asarray(x)[along(axis, slice(start, start + n))])  # type: ignore[index]
        start += n
    return tuple(pieces)


def _split_shape(x: ShapeDtype, *, sizes: tuple[int, ...], axis: int) -> tuple[ShapeDtype, ...]:
    return tuple([ShapeDtype((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in sizes])


split_p: Primitive = primitive(
    "split",
    _split,
    shape=_split_shape,
    vjp=lambda y, x, *, sizes, axis: lambda gs: (concatenate(gs, axis),),
    jvp=lambda y, x, *, sizes, axis: lambda t: split_p(t, sizes=sizes, axis=axis),
    batch=lambda size, batched, x, *, sizes, axis: split_p(x, sizes=sizes, axis=axis + 1),
    multiple=True,
    flops=0,
    samples=lambda: [
        Sample((values(5, 2),), {"sizes": (2, 0, 3), "axis": 0}),
        Sample((values(2, 4),), {"sizes": (1, 3), "axis": 1}),
    ],
)


@implements(np.array_split)
def array_split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Pieces along an axis: a number of nearly equal ones, or cut at the given places.

    Raises `ValueError` for no sections.

    >>> array_split(np.arange(5), 2)
    [array([0, 1, 2]), array([3, 4])]
    """
    ary = as_array(ary)
    axis = normalize_axis(axis, ndim_of(ary))
    n = shape_of(ary)[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = operator.index(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.") from None
        each, extra = divmod(n, sections)
        sizes = (each + 1,) * extra + (each,) * (sections - extra)
        return list(split_p(ary, sizes=sizes, axis=axis))
    cuts = [operator.index(i) for i in indices_or_sections]
    ends = zip([0, *cuts], [*cuts, n], strict=True)
    ranges = [slice(start, stop).indices(n)[:2] for start, stop in ends]
    sizes = tuple([max(stop - start, 0) for start, stop in ranges])
    if sum(sizes) == n and all(start <= stop for start, stop in ranges):
        return list(split_p(ary, sizes=sizes, axis=axis))
    # Cuts that go back and forth show some elements twice and others never.
    return [ary[along(axis, slice(start, stop))] for start, stop in ranges]


@implements(np.split)
def split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Pieces along an axis: a number of equal ones, or cut at the given places.

    Raises `ValueError` when the number does not divide the axis.

    >>> [piece.tolist() for piece in split(np.arange(4), [1, 3])]
    [[0], [1, 2], [3]]
    """
    ary = as_array(ary)
    if np.ndim(indices_or_sections) == 0:
        n = shape_of(ary)[normalize_axis(axis, ndim_of(ary))]
        if n % operator.index(indices_or_sections):
            raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    """`split` along the second axis, or the only one.

    >>> [piece.shape for piece in hsplit(np.ones((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    if ndim_of(ary) == 0:
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return split(ary, indices_or_sections, 1 if ndim_of(ary) > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    """`split` along the first axis of at least two.

    >>> [piece.shape for piece in vsplit(np.ones((4, 2)), [1])]
    [(1, 2), (3, 2)]
    """
    if ndim_of(ary) < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    """`split` along the third axis.

    >>> [piece.shape for piece in dsplit(np.ones((2, 2, 4)), 2)]
    [(2, 2, 2), (2, 2, 2)]
    """
    if ndim_of(ary) < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return split(ary, indices_or_sections, 2)
