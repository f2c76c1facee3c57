"""What lowering rules share: operands of one type, whose tensors lie so that they broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.dims import Size
from ..export.merge import Step
from ..export.rules import through
from ..export.values import Value


def out(step: Step, index: int = 0) -> tuple[tuple[Size, ...], np.dtype[Any]]:
    """Shape and dtype of a step's result."""
    aval = step.outputs[index].aval
    return aval.shape, aval.dtype


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether a type is one of floating-point numbers, bfloat16 among them."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def loop_types(ufunc: np.ufunc, operands: Sequence[Value]) -> tuple[np.dtype[Any], ...]:
    """The types in which a ufunc computes with these operands, and that of its result."""
    python: dict[str, type] = {"i": int, "f": float, "c": complex}
    kinds = [python[x.dtype.kind] if x.weak else x.dtype for x in operands]
    if all(isinstance(kind, type) for kind in kinds):
        kinds = [x.dtype for x in operands]
    return ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))


def aligned(
    b: Builder, operands: Sequence[Value], shape: Sequence[Size]
) -> tuple[list[Value], tuple[int, ...]]:
    """The operands with tensors that broadcast to `shape`, and the order of the result's axes.

    The order is that of the first whole operand that does not lie as it is, so that what a
    convolution made stays in its layout, and what broadcasts follows.
    """
    ndim = len(shape)
    order = tuple(range(ndim))
    given = [x for x in operands if x.known is None and x.ndim == ndim]
    for x in [x for x in given if x.shape == tuple(shape)] or given:
        if not x.lies_as_is:
            order = x.order
            break
    return [_placed(b, x, order) for x in operands], order


def _placed(b: Builder, x: Value, order: tuple[int, ...]) -> Value:
    ndim = len(order)
    if x.ndim == ndim:
        return b.ordered(x, order)
    if all(size == 1 for size in x.shape) or order == tuple(range(ndim)):
        return b.plain(x)
    x = b.ordered(b.reshape(x, ((1,) * (ndim - x.ndim)) + x.shape), order)
    if x.known is None:
        return x
    # (1, C, 1, 1) as (C, 1, 1), which broadcasts the same
    array = np.transpose(x.known, order)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return b.constant(array, name=x.name)


def pointwise(
    b: Builder,
    op: str,
    operands: Sequence[Value],
    shape: Sequence[Size],
    dtype: Any,
    typed: Sequence[int] | None = None,
    **attributes: Any,
) -> Value:
    """A node that works element by element, of operands that have its types already."""
    placed, order = aligned(b, operands, shape)
    return b.node(op, placed, shape, dtype, order=order, typed=typed, **attributes)


def promoted(b: Builder, op: str, ufunc: np.ufunc, step: Step, *operands: Value) -> Value:
    """The node of a ufunc, of operands in the types in which NumPy would compute."""
    types = loop_types(ufunc, operands)
    cast = [b.cast(x, dtype) for x, dtype in zip(operands, types, strict=False)]
    shape, dtype = out(step)
    return b.cast(pointwise(b, op, cast, shape, types[-1]), dtype)


def written(b: Builder, fun: Callable[..., Any], *operands: Any, **params: Any) -> Value:
    """`fun(*operands, **params)`, a Kinone function with one real result, in nodes."""
    (found,) = through(b, fun, *operands, **params)
    assert isinstance(found, Value)
    return found
