"""`convolve` along some axes, with products along others: autograd's generalised convolution.

The work is one primitive on operands in a fixed layout, which is bilinear and whose two transposes
are convolutions again:

    a: (batch, i, d, *along)    b: (batch, j, d, *along)    →    (batch, i, j, *along)

with a product over d, and `pad` zeros (or, if negative, elements less) at the ends of `a`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, ShapeDtype, ndim_of, shape_of
from ..ops.axes import as_array, normalize_axis, with_batch
from ..ops.declare import bilinear, result_type, unbroadcast
from ..ops.samples import Sample, values

Pads = tuple[tuple[int, int], ...]


def _cut(a: Array, pads: Pads) -> Array:
    """The operand with zeros at its ends, and without the elements that a negative pad takes."""
    keep = tuple(slice(max(-low, 0), n - max(-high, 0)) for (low, high), n in
                 zip(pads, a.shape[3:], strict=True))  # fmt: skip
    a = a[(..., *keep)]
    if any(low > 0 or high > 0 for low, high in pads):
        zeros = [(max(low, 0), max(high, 0)) for low, high in pads]
        a = np.pad(a, [(0, 0)] * 3 + zeros)
    return a


def _convolve(a: Array, b: Array, *, pads: Pads) -> Array:
    """Σ over d and t of a[…, i, d, s + t] b[…, j, d, -t], as one matrix product."""
    a = _cut(a, pads)
    count = len(pads)
    batch, i, d = a.shape[:3]
    j, window = b.shape[1], b.shape[3:]
    axes = tuple(range(3, 3 + count))
    views = np.lib.stride_tricks.sliding_window_view(a, window, axis=axes) if count else a
    out = views.shape[3 : 3 + count]
    # (batch, i, d, out, window) → (batch, i · out, d · window)
    order = (0, 1, *axes, 2, *range(3 + count, 3 + 2 * count))
    rows = views.transpose(order).reshape(batch, i * math.prod(out), d * math.prod(window))
    flipped = np.flip(b, axes) if count else b
    columns = flipped.reshape(b.shape[0], j, d * math.prod(window))
    found = np.matmul(rows, columns.swapaxes(1, 2))
    return np.moveaxis(found.reshape(found.shape[0], i, *out, j), -1, 2)


def _shape(a: ShapeDtype, b: ShapeDtype, *, pads: Pads) -> ShapeDtype:
    out = [
        n + low + high - k + 1
        for n, k, (low, high) in zip(a.shape[3:], b.shape[3:], pads, strict=True)
    ]
    front = max(a.shape[0], b.shape[0]) if 0 not in (a.shape[0], b.shape[0]) else 0
    return ShapeDtype((front, a.shape[1], b.shape[1], *out), result_type(a, b))


def _flip(x: Array) -> Array:
    return np.flip(x, tuple(range(3, ndim_of(x)))) if ndim_of(x) > 3 else x


def _left(g: Array, a: Array, b: Array, *, pads: Pads) -> Array:
    """The cotangent of `a`: the full convolution of `g` with the flipped filter, over j."""
    window = shape_of(b)[3:]
    around = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(window, pads, strict=True))
    found = convolve_p(g, _flip(np.swapaxes(b, 1, 2)), pads=around)
    return unbroadcast(found, shape_of(a))


def _right(g: Array, a: Array, b: Array, *, pads: Pads) -> Array:
    """The cotangent of `b`: the correlation of `a` with `g`, over i."""
    found = convolve_p(np.swapaxes(a, 1, 2), _flip(np.swapaxes(g, 1, 2)), pads=pads)
    return unbroadcast(_flip(np.swapaxes(found, 1, 2)), shape_of(b))


def _batch(size: int, batched: Sequence[bool], a: Array, b: Array, *, pads: Pads) -> Array:
    """The new axis and the batch axis become one."""
    a, b = with_batch(a, batched[0], size), with_batch(b, batched[1], size)
    inner = max(shape_of(a)[1], shape_of(b)[1])

    def folded(x: Array) -> Array:
        x = np.broadcast_to(x, (size, inner, *shape_of(x)[2:]))
        return np.reshape(x, (size * inner, *shape_of(x)[2:]))

    found = convolve_p(folded(a), folded(b), pads=pads)
    return np.reshape(found, (size, inner, *shape_of(found)[1:]))


convolve_p: Primitive = bilinear(
    "scipy.signal.convolve",
    _convolve,
    shape=_shape,
    left=_left,
    right=_right,
    batch=_batch,
    samples=lambda: [
        Sample((values(1, 2, 3, 5), values(1, 2, 3, 2, seed=1)), {"pads": ((1, 1),)}),
        Sample((values(2, 1, 1, 4, 3), values(1, 2, 1, 2, 3)), {"pads": ((0, 1), (2, 2))}),
        Sample((values(1, 1, 2, 5), values(1, 1, 2, 2, seed=1)), {"pads": ((-1, 0),)}),
        Sample((values(1, 2, 3), values(1, 2, 3, seed=1)), {"pads": ()}),
    ],
)

# ---- the public function -------------------------------------------------------------------------


def _axes(given: Any, ndim: int, name: str) -> tuple[int, ...]:
    found = tuple(normalize_axis(operator.index(axis), ndim) for axis in given)
    if len(set(found)) != len(found):
        raise ValueError(f"convolve: {name} has an axis twice, {tuple(given)}")
    return found


def _laid_out(x: Array, along: Sequence[int], dot: Sequence[int]) -> tuple[Array, list[int]]:
    """The operand in the primitive's layout, and the lengths of its axes that stay."""
    stay = [axis for axis in range(ndim_of(x)) if axis not in (*along, *dot)]
    lengths = [shape_of(x)[axis] for axis in stay]
    moved = np.transpose(x, (*stay, *dot, *along))
    shape = (
        1,
        math.prod(lengths),
        math.prod([shape_of(x)[axis] for axis in dot]),
        *[shape_of(x)[axis] for axis in along],
    )
    return np.reshape(moved, shape), lengths


def convolve(
    A: Array,
    B: Array,
    axes: Any = None,
    dot_axes: Any = ((), ()),
    mode: str = "full",
) -> Array:
    """The convolution of A and B along `axes`, with a product over `dot_axes`.

    `axes` and `dot_axes` are pairs: axes of A, and as many of B, one by one; by default all axes
    are convolved and none is summed over. The result has the remaining axes of A, then those of B,
    then the convolved ones. `mode` is "full", "same" (as long as A) or "valid" (where the shorter
    operand lies inside of the longer one). Raises `ValueError` for axes and lengths that do not
    fit.

    >>> convolve(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0]))
    array([1., 3., 5., 3.])
    """
    A, B = as_array(A), as_array(B)
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"convolve: mode is 'full', 'same' or 'valid'; got {mode!r}")
    if axes is None:
        if ndim_of(A) != ndim_of(B):
            raise ValueError(
                f"convolve: {ndim_of(A)} and {ndim_of(B)} axes; say which belong together by axes="
            )
        axes = [range(ndim_of(A)), range(ndim_of(B))]
    along = [_axes(axes[0], ndim_of(A), "axes"), _axes(axes[1], ndim_of(B), "axes")]
    dot = [_axes(dot_axes[0], ndim_of(A), "dot_axes"), _axes(dot_axes[1], ndim_of(B), "dot_axes")]
    if len(along[0]) != len(along[1]) or len(dot[0]) != len(dot[1]):
        raise ValueError("convolve: axes and dot_axes need as many axes of A as of B")
    if set(along[0]) & set(dot[0]) or set(along[1]) & set(dot[1]):
        raise ValueError("convolve: an axis is in axes and in dot_axes")
    for i, j in zip(*dot, strict=True):
        if shape_of(A)[i] != shape_of(B)[j]:
            raise ValueError(
                f"convolve: a product over axis {i} of A, of length {shape_of(A)[i]}, and axis {j} "
                f"of B, of length {shape_of(B)[j]}"
            )
    a, of_a = _laid_out(A, along[0], dot[0])
    b, of_b = _laid_out(B, along[1], dot[1])
    lengths, windows = shape_of(a)[3:], shape_of(b)[3:]
    if 0 in (*lengths, *windows):
        raise ValueError("convolve: an axis that is convolved has no elements")
    shorter = [n < k for n, k in zip(lengths, windows, strict=True)]
    if mode == "valid" and any(shorter):
        if any(n > k for n, k in zip(lengths, windows, strict=True)):
            raise ValueError(
                "convolve: for mode='valid' one operand must be at least as long as the other "
                "along every axis that is convolved"
            )
        found = np.swapaxes(convolve_p(b, a, pads=((0, 0),) * len(windows)), 1, 2)
    else:
        pads = {
            "full": tuple((k - 1, k - 1) for k in windows),
            "same": tuple((k - 1 - (k - 1) // 2, (k - 1) // 2) for k in windows),
            "valid": tuple((0, 0) for _ in windows),
        }[mode]
        found = convolve_p(a, b, pads=pads)
    return np.reshape(found, (*of_a, *of_b, *shape_of(found)[3:]))


__all__ = ["convolve"]
