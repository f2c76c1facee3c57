"""Operations across the examples of a `vmap` that has an `axis_name`: sums, maxima, exchanges.

To one example's code they show the others. Reverse mode inside of the `vmap` follows JAX: each
example's result is differentiated with respect to its own operand as if the results of all were
added up, so the transpose of `psum` is `psum`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Primitive, ShapeDtype, is_number, leaf_error, shape_dtype
from ..errors import BatchError
from ..ops.declare import primitive
from ..ops.samples import Sample, values
from .axis_names import axis_of
from .batch import BatchTrace, BatchTracer, collectives

AxisName = Hashable | tuple[Hashable, ...]

# Where the operand is the same for all examples no trace of the axis sees the operation, and the
# primitive's own `impl` says what comes of `count` equal values.


def _summed(x: ShapeDtype, **params: Any) -> ShapeDtype:
    dtype = x.dtype if x.dtype.kind != "b" else np.dtype(np.int64)
    return ShapeDtype(x.shape, dtype)


def _psum(x: Array, *, axis_name: Hashable, count: int) -> Array:
    """The sum of equal values, one for each example."""
    x = np.asarray(x)
    total: Array = (x * count).astype(_summed(shape_dtype(x)).dtype)
    return total


def _samples() -> list[Sample]:
    return [Sample((values(2, 3),), {"axis_name": "a kinone sample", "count": 3})]


psum_p: Primitive = primitive(
    "psum",
    _psum,
    shape=_summed,
    vjp=lambda y, x, **params: lambda g: (psum_p(g, **params),),
    jvp=lambda y, x, **params: lambda t: psum_p(t, **params),
    batch=lambda size, batched, x, **params: psum_p(x, **params),
    samples=_samples,
)


def _sum_of_all(
    trace: BatchTrace, xs: Sequence[Array], batched: Sequence[bool], params: dict[str, Any]
) -> Array:
    (x,) = xs
    return np.sum(x, axis=0, dtype=_summed(shape_dtype(x)).dtype)


collectives["psum"] = _sum_of_all


def _largest(y: Array, x: Array, params: dict[str, Any]) -> tuple[Array, Array]:
    """Which examples have the largest value, and how many: they share the derivative."""
    mask = (x == y).astype(shape_dtype(x).dtype)
    return mask, psum_p(mask, **params)


def _unchanged(x: Array, **params: Any) -> Array:
    """Of equal values the largest is that value, and so is the one that another example has."""
    return np.array(x)


def _same_kind(x: ShapeDtype, **params: Any) -> ShapeDtype:
    return ShapeDtype(x.shape, x.dtype)


pmax_p: Primitive = primitive(
    "pmax",
    _unchanged,
    shape=_same_kind,
    vjp=lambda y, x, **params: lambda g: (_pmax_transposed(y, x, g, params),),
    jvp=lambda y, x, **params: lambda t: _pmax_tangent(y, x, t, params),
    batch=lambda size, batched, x, **params: pmax_p(x, **params),
    samples=_samples,
)


def _pmax_transposed(y: Array, x: Array, g: Array, params: dict[str, Any]) -> Array:
    mask, count = _largest(y, x, params)
    return psum_p(g, **params) * mask / count


def _pmax_tangent(y: Array, x: Array, t: Array, params: dict[str, Any]) -> Array:
    mask, count = _largest(y, x, params)
    return psum_p(t * mask, **params) / count


collectives["pmax"] = lambda trace, xs, batched, params: np.max(xs[0], axis=0)

ppermute_p: Primitive = primitive(
    "ppermute",
    _unchanged,
    shape=_same_kind,
    vjp=lambda y, x, **params: lambda g: (ppermute_p(g, **_backwards(params)),),
    jvp=lambda y, x, **params: lambda t: ppermute_p(t, **params),
    batch=lambda size, batched, x, **params: ppermute_p(x, **params),
    samples=lambda: [
        Sample((values(2, 3),), {"axis_name": "a kinone sample", "sources": (2, 0, 1)})
    ],
)


def _backwards(params: dict[str, Any]) -> dict[str, Any]:
    sources = params["sources"]
    back = tuple([sources.index(i) if i in sources else -1 for i in range(len(sources))])
    return {**params, "sources": back}


def _exchanged(
    trace: BatchTrace, xs: Sequence[Array], batched: Sequence[bool], params: dict[str, Any]
) -> Array:
    (x,) = xs
    sources = np.array(params["sources"])
    taken = x[sources]
    mask = (sources >= 0).reshape(-1, *[1] * (len(np.shape(x)) - 1))
    return BatchTracer(trace, np.where(mask, taken, np.zeros_like(taken)), source.capture())


collectives["ppermute"] = _exchanged


# ---- public --------------------------------------------------------------------------------------


def _names(axis_name: AxisName) -> tuple[Hashable, ...]:
    return axis_name if isinstance(axis_name, tuple) else (axis_name,)


def _each(name: str, f: Callable[[Array], Array], x: Any) -> Any:
    for path, leaf in tree.leaves_with_path(x):
        if not is_number(leaf):
            raise leaf_error(path or "x", leaf, name)
    return tree.map(f, x)


def psum(x: Any, axis_name: AxisName) -> Any:
    """The sum of a tree of arrays over the examples of the `vmap` with this `axis_name`.

    All examples get the same result; `out_axes=None` may return it once. A tuple of names sums over
    all of these axes. `psum(1, axis_name)` is the number of examples.

    Raises `AxisNameError` (a `NameError`) when no such `vmap` is running.

        >>> from kinone import vmap
        >>> vmap(lambda x: x / psum(x, "i"), axis_name="i")(np.array([1.0, 2.0, 5.0]))
        array([0.125, 0.25 , 0.625])
    """

    def total(leaf: Array) -> Array:
        for name in _names(axis_name):
            size = axis_of(name).size
            if isinstance(leaf, (bool, int, float, complex)):
                leaf = leaf * size
            else:
                leaf = psum_p(leaf, axis_name=name, count=size)
        return leaf

    return _each("psum", total, x)


def pmean(x: Any, axis_name: AxisName) -> Any:
    """The mean over the examples; see `psum`.

    >>> from kinone import vmap
    >>> vmap(lambda x: x - pmean(x, "i"), axis_name="i")(np.array([1.0, 2.0, 6.0]))
    array([-2., -1.,  3.])
    """
    count = axis_size(axis_name)
    return tree.map(lambda total: total / count, psum(x, axis_name))


def pmax(x: Any, axis_name: AxisName) -> Any:
    """The largest value among the examples, element by element; see `psum`. Equal ones share the
    derivative.

        >>> from kinone import vmap
        >>> vmap(lambda x: pmax(x, "i"), axis_name="i", out_axes=None)(np.array([1.0, 2.0, 6.0]))
        np.float64(6.0)
    """

    def largest(leaf: Array) -> Array:
        for name in _names(axis_name):
            leaf = pmax_p(leaf, axis_name=name, count=axis_of(name).size)
        return leaf

    return _each("pmax", largest, x)


def pmin(x: Any, axis_name: AxisName) -> Any:
    """The smallest value among the examples, of real numbers; see `pmax`.

    >>> from kinone import vmap
    >>> vmap(lambda x: pmin(x, "i"), axis_name="i", out_axes=None)(np.array([1.0, 2.0, 6.0]))
    np.float64(1.0)
    """
    return tree.map(np.negative, pmax(tree.map(np.negative, x), axis_name))


def ppermute(x: Any, axis_name: Hashable, perm: Sequence[tuple[int, int]]) -> Any:
    """An exchange: for each pair `(source, destination)` the destination gets the source's value,
    and who is no destination gets zeros.

    Raises `BatchError` (a `ValueError`) when a place is named twice or does not exist.

        >>> from kinone import vmap
        >>> ring = [(0, 1), (1, 2), (2, 0)]
        >>> vmap(lambda x: ppermute(x, "i", ring), axis_name="i")(np.array([10, 20, 30]))
        array([30, 10, 20])
    """
    size = axis_of(axis_name).size
    sources = [-1] * size
    for start, end in perm:
        if not (0 <= start < size and 0 <= end < size):
            raise BatchError(f"ppermute has ({start}, {end}) among {size}, at {source.here()}")
        if sources[end] != -1 or start in sources:
            raise BatchError(f"ppermute names a place twice: ({start}, {end}), at {source.here()}")
        sources[end] = start

    def exchange(leaf: Array) -> Array:
        # As a value of each example, also where it is the same for all.
        each = np.where(axis_index(axis_name) >= 0, leaf, leaf)
        return ppermute_p(each, axis_name=axis_name, sources=tuple(sources))

    return _each("ppermute", exchange, x)


def all_gather(x: Any, axis_name: Hashable, *, axis: int = 0, tiled: bool = False) -> Any:
    """All examples' values, stacked along a new axis, or with `tiled` concatenated along `axis`.

    >>> from kinone import vmap
    >>> vmap(lambda x: all_gather(x, "i"), axis_name="i")(np.array([1, 2]))
    array([[1, 2],
           [1, 2]])
    """
    size = axis_of(axis_name).size

    def gather(leaf: Array) -> Array:
        # Each puts its own into zeros at its place, and the sum has them all.
        known = shape_dtype(leaf)
        mine = np.arange(size) == axis_index(axis_name)
        mask = np.reshape(mine, (size, *[1] * known.ndim))
        own = np.where(mask, leaf, np.zeros((), known.dtype))
        total = psum(own, axis_name)
        whole = np.moveaxis(total.astype(known.dtype), 0, axis)
        if not tiled:
            return whole
        place = axis % known.ndim
        shape = list(known.shape)
        shape[place] *= size
        return np.reshape(np.moveaxis(total.astype(known.dtype), 0, place), tuple(shape))

    return _each("all_gather", gather, x)


def axis_index(axis_name: Hashable) -> Array:
    """Which of the examples this one is, from 0.

    >>> from kinone import vmap
    >>> vmap(lambda x: x * axis_index("i"), axis_name="i")(np.ones(3))
    array([0., 1., 2.])
    """
    trace = axis_of(axis_name)
    return BatchTracer(trace, np.arange(trace.size), source.capture())


def axis_size(axis_name: AxisName) -> int:
    """How many examples there are, a Python integer.

    >>> from kinone import vmap
    >>> vmap(lambda x: x / axis_size("i"), axis_name="i")(np.array([2.0, 4.0]))
    array([1., 2.])
    """
    size = 1
    for name in _names(axis_name):
        size *= axis_of(name).size
    return size


__all__ = [
    "all_gather",
    "axis_index",
    "axis_size",
    "pmax",
    "pmean",
    "pmin",
    "ppermute",
    "psum",
]
