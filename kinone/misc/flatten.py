"""A tree of arrays as one vector, for optimisers that know vectors alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, is_number, leaf_error, shape_dtype
from ..errors import ShapeError


def flatten(value: Any) -> tuple[Array, Callable[[Array], Any]]:
    """All numbers of a tree in one vector, and the function that puts them back.

    The leaves follow each other in the order of `kinone.tree.leaves` (dict keys sorted), each in C
    order; the vector has the dtype that NumPy gives to all of them together, the leaves that come
    back have their own. Both ways are differentiable.

    Raises `LeafError` for a leaf that is no number, `ShapeError` for a vector of another length.

        >>> vector, unflatten = flatten({"w": np.eye(2), "b": 3.0})
        >>> vector
        array([3., 1., 0., 0., 1.])
        >>> unflatten(10 * vector)
        {'w': array([[10.,  0.],
               [ 0., 10.]]), 'b': np.float64(30.0)}
    """
    leaves, treedef = tree.flatten(value)
    for path, leaf in zip(tree.treedef_paths(treedef), leaves, strict=True):
        if not is_number(leaf):
            raise leaf_error(path or "the value", leaf, "flatten")
    avals = [shape_dtype(leaf) for leaf in leaves]
    sizes = [math.prod(aval.shape) for aval in avals]
    total = sum(sizes)
    vector = np.concatenate([np.ravel(leaf) for leaf in leaves]) if leaves else np.zeros(0)

    def unflatten(vector: Array) -> Any:
        known = shape_dtype(vector)
        if known.shape != (total,):
            raise ShapeError(f"the vector is {known}, and {total} numbers are wanted, "
                             f"at {source.here()}")  # fmt: skip
        parts = []
        start = 0
        for aval, size in zip(avals, sizes, strict=True):
            part = vector[start] if aval.shape == () else vector[start : start + size]
            if aval.ndim > 1:
                part = np.reshape(part, aval.shape)
            if aval.dtype.kind != "c" and known.dtype.kind == "c":
                part = np.real(part)
            parts.append(part.astype(aval.dtype) if part.dtype != aval.dtype else part)
            start += size
        return tree.unflatten(treedef, parts)

    return vector, unflatten


def flatten_func(
    func: Callable[..., Any], example: Any
) -> tuple[Callable[..., Array], Callable[[Array], Any], Array]:
    """`func`, a map of trees to trees, as a map of vectors; `unflatten`; and the example's vector.

    >>> f, unflatten, x = flatten_func(lambda p: {"w": 2 * p["w"]}, {"w": np.ones(2)})
    >>> f(x)
    array([2., 2.])
    """
    vector, unflatten = flatten(example)
    return (lambda x, *args: flatten(func(unflatten(x), *args))[0]), unflatten, vector


__all__ = ["flatten", "flatten_func"]
