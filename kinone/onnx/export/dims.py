"""Sizes that vary: a program is traced at several sizes of its inputs, and the traces compared.

Kinone's programs know every shape as numbers. To find which of the numbers in a program stand for
the size of a named dimension, the function is traced several times: at the example's size, and at
larger ones. A number that is the same in all traces is just that; one that follows the dimension is
a `Dim`, which knows the number in each trace:

    traced at batch = 16, 47, 49        x.reshape(batch * 7, 3)        Dim(112, 329, 343)

Arithmetic on Dims is arithmetic on those numbers, and what a Dim is of the named dimensions
(`7*batch`) is told from them when the exported graph has to compute it.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from .errors import ExportError

_FACTORS = (3, 5, 7, 11, 13, 17, 19, 23)


class Dim:
    """A size that varies with the named dimensions: its number in each trace.

    >>> Dim((16, 24, 40)) * 7 // Dim((16, 24, 40))
    7
    """

    __slots__ = ("values",)

    def __init__(self, values: Sequence[int]) -> None:
        self.values = tuple(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and other.values == self.values

    def __hash__(self) -> int:
        return hash(self.values)

    def __repr__(self) -> str:
        return f"Dim{self.values}"

    def __bool__(self) -> bool:
        return all(self.values)

    def __index__(self) -> int:
        raise ExportError(f"a size that varies, {self.values} in the traces, is no number")

    __int__ = __index__

    def __neg__(self) -> Size:
        return of([-value for value in self.values])

    def __add__(self, other: Size) -> Size:
        return _apply(operator.add, self, other)

    def __sub__(self, other: Size) -> Size:
        return _apply(operator.sub, self, other)

    def __rsub__(self, other: Size) -> Size:
        return _apply(operator.sub, other, self)

    def __mul__(self, other: Size) -> Size:
        return _apply(operator.mul, self, other)

    def __floordiv__(self, other: Size) -> Size:
        return _apply(operator.floordiv, self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return _apply(operator.floordiv, other, self)

    def __mod__(self, other: Size) -> Size:
        return _apply(operator.mod, self, other)

    __radd__, __rmul__ = __add__, __mul__


Size = int | Dim
UNKNOWN = Dim(())  # the length of what a loop stacks, which follows no size of the inputs


def _apply(operation: Callable[[int, int], int], a: Size, b: Size) -> Size:
    count = len(a.values) if isinstance(a, Dim) else len(b.values) if isinstance(b, Dim) else 1
    return of([operation(x, y) for x, y in zip(spread(a, count), spread(b, count), strict=True)])


def spread(size: Size, count: int) -> tuple[int, ...]:
    """The number in each of `count` traces."""
    return size.values if isinstance(size, Dim) else (size,) * count


def of(values: Sequence[int]) -> Size:
    """The Dim of these numbers; the number itself where they are one."""
    return values[0] if all(value == values[0] for value in values) else Dim(values)


def product(sizes: Sequence[Size]) -> Size:
    """The product of sizes, 1 of none."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


class Formula(NamedTuple):
    """(Σ factor · Π symbolᵖᵒʷᵉʳ + offset) // denominator."""

    terms: tuple[tuple[int, dict[str, int]], ...]
    offset: int = 0
    denominator: int = 1

    def __str__(self) -> str:
        """`2*batch + 1`, as ONNX names dimensions."""
        text = ""
        for factor, powers in self.terms:
            product = "*".join(
                [name if power == 1 else f"{name}^{power}" for name, power in powers.items()]
            )
            text += f" {'+' if factor > 0 else '-'} " if text else "" if factor > 0 else "-"
            text += product if abs(factor) == 1 else f"{abs(factor)}*{product}"
        if self.offset:
            text += f" {'+' if self.offset > 0 else '-'} {abs(self.offset)}"
        return text if self.denominator == 1 else f"floor(({text})/{self.denominator})"


class Symbols:
    """The named dimensions and their sizes in each trace: `rows`.

    The first row has the example's sizes, then each name alone is another, then all are. A size
    of 0 or 1 is traced as 2 and more, since an axis of length 1 broadcasts as no other does;
    `is_example` then is False.

    `ways` has the names that are traced otherwise: at "multiples" of the example's size, for
    functions that cut an axis into parts, at sizes "near" it or at "smaller" ones, for those that
    have a largest.
    """

    def __init__(self, bases: dict[str, int], ways: Mapping[str, str] | None = None) -> None:
        self.names = tuple(bases)
        ways = ways or {}
        self.is_example = all(bases[name] > 1 and ways.get(name) != "smaller" for name in bases)
        sizes = [
            _sizes(i, size, ways.get(name, "larger"))
            for i, (name, size) in enumerate(bases.items())
        ]
        first = tuple([three[0] for three in sizes])
        self.rows = [first]
        for i, three in enumerate(sizes):
            self.rows.append((*first[:i], three[1], *first[i + 1 :]))
        if sizes:
            self.rows.append(tuple([three[2] for three in sizes]))
        self.count = len(self.rows)

    def size(self, name: str) -> Size:
        """A named dimension as a size."""
        place = self.names.index(name)
        return of([row[place] for row in self.rows])

    def describe(self, values: Sequence[object]) -> str:
        """Numbers of the traces for a message: `32 at batch = 4, 33 at batch = 5`."""
        said: list[str] = []
        for value, row in zip(values, self.rows, strict=True):
            sizes = ", ".join(f"{n} = {size}" for n, size in zip(self.names, row, strict=True))
            said.append(f"{value} at {sizes}")
        return "; ".join(said)

    def predicts(self, size: Size, sizes: dict[str, int], wanted: int) -> bool:
        """Whether a size is so long, as its formula says, where the named dimensions are these."""
        if not isinstance(size, Dim):
            return size == wanted
        formula = self.formula(size)
        if formula is None:
            return False
        total = formula.offset
        for factor, powers in formula.terms:
            total += factor * math.prod(sizes[name] ** p for name, p in powers.items())
        return total == wanted

    def formula(self, dim: Dim) -> Formula | None:
        """What a size is of the named dimensions, exactly: the simplest product of them that fits
        all traces, times and plus something, or a sum of them; None where there is none."""
        if dim is UNKNOWN:
            return None
        for powers, sizes in self.products():
            found = _line(sizes, dim.values)
            if found is not None:
                return Formula(((found[0], powers),), found[1])
        return self._sum(dim)

    def floored(self, dim: Dim) -> Formula | None:
        """A size as a quotient that is rounded down, such as strides make; None where it is none.

        Three traces do not determine it for certain.
        """
        if dim is UNKNOWN:
            return None
        for powers, sizes in self.products():
            for d in range(2, 65):
                for a in (1, 2, 4, 8):
                    # y = (a·x + c) // d, so that d·y - a·x <= c < d·y - a·x + d
                    low = max(d * y - a * x for x, y in zip(sizes, dim.values, strict=True))
                    high = min(d * y - a * x + d for x, y in zip(sizes, dim.values, strict=True))
                    if low < high and math.gcd(a, d) == 1:
                        return Formula(((a, powers),), high - 1, d)
        return None

    def products(self) -> list[tuple[dict[str, int], tuple[int, ...]]]:
        """Products of the named dimensions, simple ones first, and their sizes in the traces."""
        powers = itertools.product(range(3), repeat=len(self.names))
        chosen = sorted((p for p in powers if 0 < sum(p) <= 4), key=lambda p: (sum(p), max(p)))
        return [
            (
                {name: p for name, p in zip(self.names, each, strict=True) if p},
                tuple(
                    [math.prod(n**p for n, p in zip(row, each, strict=True)) for row in self.rows]
                ),
            )
            for each in chosen
        ]

    def _sum(self, dim: Dim) -> Formula | None:
        """A sum of several named dimensions; each has a row in which it alone is another."""
        first, last = self.rows[0], self.rows[-1]
        factors = [
            Fraction(dim.values[i + 1] - dim.values[0], self.rows[i + 1][i] - first[i])
            for i in range(len(self.names))
        ]
        offset = dim.values[0] - sum(f * n for f, n in zip(factors, first, strict=True))
        fits = sum(f * n for f, n in zip(factors, last, strict=True)) + offset == dim.values[-1]
        if not fits or any(f.denominator != 1 for f in factors) or len(self.names) < 2:
            return None
        terms = [(int(f), {name: 1}) for f, name in zip(factors, self.names, strict=True) if f != 0]
        return Formula(tuple(terms), int(offset))


def _sizes(index: int, size: int, way: str) -> tuple[int, int, int]:
    """The first size at which a dimension is traced, one where it alone is another, and a third."""
    if way == "smaller":
        return size - 1, size // 2, size - 3
    if size < 2:
        size = 2 + index
    if way == "near":
        return size, size + 1, size + 3
    if way == "multiples":
        return size, 2 * size, _FACTORS[index % len(_FACTORS)] * size
    # Large steps, so that what strides make of two sizes differs. In their five lowest bits the
    # first two differ, and so do the first and the last less one: halved again and again, rounding
    # down or up, there are odd and even numbers among them, on which padding depends.
    one = 2 * size + 1 + (-3 * size - 2) % 32
    far = one + 1 + (-size - one) % 32 + 32 * index
    return size, one, far


def _line(xs: Sequence[int], ys: Sequence[int]) -> tuple[int, int] | None:
    """(a, c) with y = a·x + c everywhere, whole numbers, or None."""
    low, high = min(xs), max(xs)
    if low == high:
        return None
    y_low, y_high = ys[xs.index(low)], ys[xs.index(high)]
    slope = Fraction(y_high - y_low, high - low)
    if slope.denominator != 1 or not slope:
        return None
    a, c = int(slope), y_low - int(slope) * low
    return (a, c) if all(y == a * x + c for x, y in zip(xs, ys, strict=True)) else None


def fit_number(
    values: Sequence[float], candidates: Iterable[Dim]
) -> tuple[float, Dim, float, float] | None:
    """(factor, dim, power, offset) with value = factor · dimᵖᵒʷᵉʳ + offset in all traces, of the
    first of the candidates that has them.

    Means divide by a size, and attention by the root of one.
    """
    scale = max(abs(value) for value in values)
    for dim in candidates:
        sizes = dim.values
        if len(sizes) != len(values) or not all(sizes):
            continue
        for power in (1.0, -1.0, 0.5, -0.5, 2.0, -2.0):
            xs = [float(size) ** power for size in sizes]
            order = sorted(range(len(xs)), key=xs.__getitem__)
            first, last = order[0], order[-1]
            factor = (values[last] - values[first]) / (xs[last] - xs[first])
            offset = values[first] - factor * xs[first]
            if abs(offset) <= 1e-6 * scale:
                offset = 0.0
                factor = values[last] / xs[last]
            nearest: Any = round(factor)
            if nearest and abs(factor - nearest) <= 1e-6 * abs(factor):
                factor = float(nearest)
            if factor and all(
                abs(factor * x + offset - value) <= 1e-6 * scale
                for x, value in zip(xs, values, strict=True)
            ):
                return factor, dim, power, offset
    return None


def fit_powers(
    values: Sequence[float], symbols: Symbols
) -> tuple[float, list[tuple[Dim, float]]] | None:
    """(factor, [(dim, power), …]) with value = factor · Π dimᵖᵒʷᵉʳ in all traces, of the named
    dimensions: means over several, roots."""
    if not all(values) or len({value > 0 for value in values}) > 1:
        return None
    first, found = symbols.rows[0], []
    factor = values[0]
    expected = [1.0] * len(values)
    for i, name in enumerate(symbols.names):
        ratio = math.log(values[i + 1] / values[0]) / math.log(symbols.rows[i + 1][i] / first[i])
        power = round(2 * ratio) / 2
        if power:
            dim = symbols.size(name)
            assert isinstance(dim, Dim)
            found.append((dim, power))
            factor /= first[i] ** power
            expected = [e * n**power for e, n in zip(expected, dim.values, strict=True)]
    pairs = zip(expected, values, strict=True)
    if not all(math.isclose(factor * e, value, rel_tol=1e-6) for e, value in pairs):
        return None
    nearest = round(factor) or 1
    return (nearest if math.isclose(factor, nearest, rel_tol=1e-6) else factor), found
