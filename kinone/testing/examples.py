"""Examples for a batch, made of a sample: other numbers that are as good as its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core import Array, Primitive
from ..ops.samples import Sample

Operands = tuple[Array, ...]


def examples(primitive: Primitive, sample: Sample, size: int) -> list[Operands]:
    """`size` times the sample's operands, each time different, the first time as they are.

    The elements of an operand change places and shrink a little. What a primitive may require goes
    on to hold: elements stay in their domain, sorted numbers sorted, symmetric and triangular
    matrices so, integers in bounds. What the primitive refuses after all shrinks alone.
    """
    found: list[Operands] = []
    for number in range(size):
        moved = tuple(_varied(np.asarray(x), number) for x in sample.args)
        try:
            primitive(*moved, **sample.params)
        except ValueError:  # also np.linalg.LinAlgError
            moved = tuple(_shrunk(np.asarray(x), number) for x in sample.args)
        found.append(moved)
    return found


def stacked(many: Sequence[Operands], batched: Sequence[int]) -> list[Array]:
    """The operands of all examples, of which those not batched are the first's."""
    return [
        np.stack(column) if i in batched else column[0]
        for i, column in enumerate(zip(*many, strict=True))
    ]


def taken(xs: Operands, batched: Sequence[int], number: int) -> Operands:
    """One example of stacked operands."""
    return tuple(x[number] if i in batched else x for i, x in enumerate(xs))


def _varied(x: Array, number: int) -> Array:
    if x.dtype.kind == "b" and x.size == 1:
        return x ^ bool(number % 2)
    if x.dtype.kind in "fc" and _has_order(x):
        return _shrunk(x, number)
    return _shrunk(np.roll(x, number), number)


def _shrunk(x: Array, number: int) -> Array:
    return x * (1 - 0.01 * number) if x.dtype.kind in "fc" else x


def _has_order(x: Array) -> bool:
    """Whether the places of the elements mean something: sorted, symmetric or triangular."""
    if x.ndim and x.shape[-1] > 2 and x.dtype.kind == "f" and np.all(np.diff(x) > 0):
        return True
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 2:
        return False
    turned = np.conj(np.swapaxes(x, -1, -2))
    return bool(
        np.allclose(x, turned) or np.array_equal(x, np.tril(x)) or np.array_equal(x, np.triu(x))
    )
