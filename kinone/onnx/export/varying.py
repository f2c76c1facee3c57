"""Numbers and arrays of the program that vary with a dynamic size.

Tracing computes `1 / len(x)`, `np.arange(n)`, a causal mask or the identity as numbers, once for
each size. They are recognised, and computed in the exported graph for any size: a number that is a
size, a power of one, or a ratio; an array whose numbers are

    step0 · i + step1 · j + … + start           of their indices        arange, positions
    a where i - j >= k, b elsewhere             of the last two         tri, tril, masks
    a where i - j == k, b elsewhere             of the last two         eye
    the same along each axis that varies        broadcast_to, ones, a token for each example
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .builder import Builder
from .dims import Dim, Size, fit_number, fit_powers, of
from .values import Value

Array = np.ndarray[Any, Any]


def number(b: Builder, numbers: Sequence[Any], dtype: np.dtype[Any]) -> Value:
    """A number that follows a dynamic size."""
    if all(each == numbers[0] for each in numbers):
        return b.constant(numbers[0], dtype)
    if dtype.kind in "iu":
        size = of([int(each) for each in numbers])
        whole = b.exact_size(size) if isinstance(size, Dim) else b.ints(size)
        if whole is not None:
            return b.cast(b.reshape(whole, ()), dtype)
        raise b.error(f"a number follows no dynamic size: {b.symbols.describe(numbers)}")
    floats = [float(each) for each in numbers]
    ratio = _ratio(b, floats)
    if ratio is not None:
        return b.cast(ratio, dtype)
    fitted = fit_number(floats, b.candidates())
    if fitted is not None:
        factor, dim, power, offset = fitted
        terms = [(dim, power)]
    else:
        powers = fit_powers(floats, b.symbols)
        if powers is None:
            raise b.error(f"a number follows no dynamic size: {b.symbols.describe(numbers)}")
        factor, terms = powers
        offset = 0.0
    total: Value | None = None
    for dim, power in terms:
        value = b.number(dim, np.float64)
        if power != 1:
            value = b.node("Pow", [value, b.constant(power, np.float64)], (), np.float64)
        total = value if total is None else b.node("Mul", [total, value], (), np.float64)
    assert total is not None
    if factor != 1:
        total = b.node("Mul", [total, b.constant(factor, np.float64)], (), np.float64)
    if offset:
        total = b.node("Add", [total, b.constant(offset, np.float64)], (), np.float64)
    return b.cast(total, dtype)


def _ratio(b: Builder, numbers: Sequence[float]) -> Value | None:
    """n / (n - 1), as of unbiased variances, (n - 1) / n or 1 / (n - 1), n a size that varies."""
    ways: list[tuple[Callable[[float], float], int | None, int]] = [
        (lambda v: v / (v - 1), 0, -1),
        (lambda v: 1 / (1 - v), -1, 0),
        (lambda v: 1 / v + 1, None, -1),
    ]
    for inverse, top, bottom in ways:
        if any(number in (0, 1) for number in numbers):
            return None
        found = [inverse(number) for number in numbers]
        whole = [round(n) for n in found]
        exact = all(
            n > 1 and abs(n - size) <= 1e-9 * n * n for n, size in zip(found, whole, strict=True)
        )
        size = of(whole)
        if not (exact and isinstance(size, Dim)):
            continue
        if b.symbols.formula(size) is None and b.place_of(size) is None:
            continue
        n = b.number(size, np.float64)
        less = b.node("Sub", [n, b.constant(1, np.float64)], (), np.float64)
        parts = {0: n, -1: less, None: b.constant(1, np.float64)}
        return b.node("Div", [parts[top], parts[bottom]], (), np.float64)
    return None


def array(b: Builder, arrays: Sequence[Array], shape: Sequence[Size], name: str) -> Value | None:
    """The array as nodes, or None where it is none of these. `name` is that of its numbers."""
    found = _repeated(b, arrays, shape, name)
    if found is None:
        found = _ramp(b, arrays, shape)
    return _diagonals(b, arrays, shape) if found is None else found


def beginning(
    b: Builder, arrays: Sequence[Array], shape: Sequence[Size], table: Array, name: str
) -> Value | None:
    """What is `table[:n]` in all traces, such as positions that were learned, as a Slice."""
    for each in arrays:
        if not np.array_equal(table[tuple([slice(n) for n in each.shape])], each):
            return None
    axes = [axis for axis, size in enumerate(shape) if isinstance(size, Dim)]
    whole = table[tuple([slice(None) if i in axes else slice(n) for i, n in enumerate(shape)])]
    inputs = [
        b.constant(np.ascontiguousarray(whole), name=name),
        b.ints(*[0] * len(axes)),
        b.sizes([shape[axis] for axis in axes]),
        b.ints(*axes),
    ]
    return b.node("Slice", inputs, shape, table.dtype, typed=(0,))


def _repeated(
    b: Builder, arrays: Sequence[Array], shape: Sequence[Size], name: str
) -> Value | None:
    one = tuple([slice(1) if isinstance(size, Dim) else slice(None) for size in shape])
    first = arrays[0][one]
    if any(array.size == 0 for array in arrays) or not all(
        np.array_equal(array[one], first, equal_nan=array.dtype.kind == "f")
        and (array == array[one]).all()
        for array in arrays
    ):
        return None
    return b.expand(b.constant(np.ascontiguousarray(first), name=name), shape)


def _ramp(b: Builder, arrays: Sequence[Array], shape: Sequence[Size]) -> Value | None:
    dtype = arrays[0].dtype
    if dtype.kind in "bc" or any(array.size == 0 for array in arrays):
        return None
    if dtype.kind == "f" and not all(np.isfinite(array).all() for array in arrays):
        return None  # a mask of 0 and -∞: infinite steps would fit anything
    starts = [array.flat[0].item() for array in arrays]
    largest = max(arrays, key=lambda array: array.size)
    steps = []
    for axis in range(largest.ndim):
        second = [0] * largest.ndim
        second[axis] = 1 if largest.shape[axis] > 1 else 0
        steps.append(largest[tuple(second)].item() - largest.flat[0].item())
    for array, start in zip(arrays, starts, strict=True):
        places = np.indices(array.shape)
        expected = start + sum(step * place for step, place in zip(steps, places, strict=True))
        scale = np.abs(expected).max() * 4 * np.finfo(dtype).eps if dtype.kind == "f" else 0
        if np.abs(array.astype(np.float64) - expected).max() > scale:
            return None
    total: Value | None = None
    for axis, step in enumerate(steps):
        if not step:
            continue
        term = _indices(b, shape, axis)
        if step != 1 or dtype.kind == "f":
            kind = np.float64 if dtype.kind == "f" else np.int64
            term = b.cast(term, kind)
            if step != 1:
                term = b.node("Mul", [term, b.constant(step, kind)], term.shape, kind)
        total = term if total is None else _add(b, total, term)
    if total is None:
        return None
    if any(starts):
        first = b.cast(number(b, starts, dtype), total.dtype)
        total = b.node("Add", [total, first], total.shape, total.dtype)
    return b.expand(b.cast(total, dtype), shape)


def _add(b: Builder, x: Value, y: Value) -> Value:
    shape = tuple([m if n == 1 else n for m, n in zip(x.shape, y.shape, strict=True)])
    return b.node("Add", [x, y], shape, x.dtype)


def _indices(b: Builder, shape: Sequence[Size], axis: int) -> Value:
    """The indices of an axis, as int64, with length 1 in the others."""
    ends = [b.constant(0, np.int64), b.number(shape[axis], np.int64), b.constant(1, np.int64)]
    count = b.node("Range", ends, (shape[axis],), np.int64)
    return b.reshape(count, [size if i == axis else 1 for i, size in enumerate(shape)])


def _diagonals(b: Builder, arrays: Sequence[Array], shape: Sequence[Size]) -> Value | None:
    """What has one number on and below a diagonal, or on it, and another elsewhere."""
    largest = max(arrays, key=lambda array: array.size)
    numbers = np.unique(largest)
    if largest.ndim < 2 or len(numbers) != 2 or not all(array.size for array in arrays):
        return None
    for op, compare in (("GreaterOrEqual", np.greater_equal), ("Equal", np.equal)):
        for high, low in ((numbers[1], numbers[0]), (numbers[0], numbers[1])):
            place = _place(largest, high, op == "Equal")
            if place is not None and all(_is(array, compare, place, high, low) for array in arrays):
                rows, columns = (_indices(b, shape, len(shape) - n) for n in (2, 1))
                both = (*[1] * (len(shape) - 2), *shape[-2:])
                apart = b.node("Sub", [rows, columns], both, np.int64)
                mask = b.node(op, [apart, b.constant(place, np.int64)], both, np.bool_, typed=(0,))
                if largest.dtype.kind == "b" and high:
                    return b.expand(mask, shape)
                chosen = [mask, *[b.constant(n, largest.dtype) for n in (high, low)]]
                return b.expand(b.node("Where", chosen, both, largest.dtype, typed=(1, 2)), shape)
    return None


def _place(array: Array, high: Any, equal: bool) -> int | None:
    """The k of the highest diagonal i - j = k that begins with `high`, of an array's last axes."""
    last = array.reshape(-1, *array.shape[-2:])[0]
    places = np.argwhere(last == high)
    apart = places[:, 0] - places[:, 1]
    if not len(apart):  # NaN, which equals nothing
        return None
    if equal:
        return int(apart[0]) if (apart == apart[0]).all() else None
    return int(apart.min())


def _is(array: Array, compare: Any, place: int, high: Any, low: Any) -> bool:
    rows, columns = np.indices(array.shape[-2:])
    expected = np.where(compare(rows - columns, place), high, low)
    return bool((array == expected).all())
