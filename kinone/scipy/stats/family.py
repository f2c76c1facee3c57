"""Families of distributions: from the formulas of a standard one, the functions of all of them.

A continuous family is moved by `loc` and stretched by `scale`, as in SciPy: with
z = (x - loc)/scale,

    logpdf(x) = logpdf₀(z) - ln scale,     cdf(x) = cdf₀(z),     ppf(q) = loc + scale ppf₀(q).

The formulas are plain NumPy with functions of `kinone.scipy.special`, so they differentiate, batch
and compile. Outside of the support densities are 0 and have the derivative 0; with a scale or a
shape that is no such (not positive, in most families) everything is NaN, as in SciPy. What floats
come in come out: float32 stays float32, where SciPy's own functions make float64 of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats

from ... import source
from ...core import Array, shape_dtype
from ...errors import MissingRuleError
from ...ops.plain import is_traced
from ..special.logarithm import log

Formula = Callable[..., Array]
_INF = float("inf")


def operand(x: Any) -> Array:
    """An operand that is computed with: lists become arrays, Python numbers stay weak."""
    return np.asarray(x) if isinstance(x, (list, tuple)) else x


def alike(*given: Array) -> list[Array]:
    """Python numbers in the dtype of the arrays among which they stand: functions of numbers alone,
    such as the logarithm of a scale, would be double precision, and widen all that they meet."""
    known = [shape_dtype(x).dtype for x in given if not isinstance(x, (bool, int, float))]
    if not known or np.result_type(*known).kind != "f":
        return list(given)
    make = np.result_type(*known).type
    return [make(x) if isinstance(x, (bool, int, float)) else x for x in given]


def quiet() -> Any:
    """Logarithms of 0 at the ends of a support are meant."""
    return np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")


def only(right: Array, value: Array) -> Array:
    """The value where the arguments are right, and NaN elsewhere."""
    if isinstance(right, (bool, np.bool_)):  # of plain numbers: nothing to choose, most often
        return value if right else value * np.nan
    return np.where(right, value, np.nan)[()]


class _Family:
    """What continuous and discrete families share: how arguments are bound, and SciPy's rest."""

    moved: tuple[str, ...]  # the arguments after the shapes
    standard: tuple[Any, ...]  # and their values by default

    def __init__(self, name: str, shapes: Sequence[str], valid: Formula | None) -> None:
        self.name = name
        self.shapes = tuple(shapes)
        self.valid = valid
        self.__doc__ = f"`scipy.stats.{name}`, on traced values too."

    def bind(self, args: Sequence[Any], named: dict[str, Any]) -> tuple[list[Array], list[Array]]:
        """The shapes, and `loc` (and `scale`). Raises `TypeError` as a call of a function would."""
        names = (*self.shapes, *self.moved)
        if len(args) > len(names):
            raise TypeError(f"{self.name} takes {', '.join(names)}; got {len(args)} arguments")
        found = dict(zip(names, args, strict=False))
        for key, value in named.items():
            if key not in names or key in found:
                why = "twice" if key in found else f"and takes {', '.join(names)}"
                raise TypeError(f"{self.name} got {key!r} {why}")
            found[key] = value
        missing = [name for name in self.shapes if name not in found]
        if missing:
            raise TypeError(f"{self.name} needs {', '.join(missing)}")
        defaults = dict(zip(self.moved, self.standard, strict=True))
        shapes = [operand(found[name]) for name in self.shapes]
        return shapes, [operand(found.get(name, defaults[name])) for name in self.moved]

    def right(self, shapes: Sequence[Array]) -> Array:
        """Where the shapes are such; True where there are none."""
        if self.valid is not None:
            return self.valid(*shapes)
        right: Array = True
        for shape in shapes:
            right = right & np.greater(shape, 0)
        return right

    def theirs(self, method: str, *args: Any, **named: Any) -> Any:
        """SciPy's own, for want of a formula. Raises `MissingRuleError` for traced values."""
        if is_traced((*args, *named.values())):
            raise MissingRuleError(
                f"kinone.scipy.stats.{self.name} has no formula for {method}, so it takes no "
                f"traced values, at {source.here()}"
            )
        return getattr(getattr(scipy.stats, self.name), method)(*args, **named)

    def __getattr__(self, name: str) -> Any:
        """What has no formula here (`rvs`, `fit`, `mean`, …) is SciPy's own, for plain arrays."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(getattr(scipy.stats, self.name), name)

    def __repr__(self) -> str:
        return f"<kinone.scipy.stats.{self.name}>"


class Continuous(_Family):
    """A continuous family. Every formula is of z and the shapes, in the standard position.

    `support` are the ends of the standard support; `valid` of the shapes says where they are such.
    """

    moved = ("loc", "scale")
    standard = (0, 1)

    def __init__(
        self,
        name: str,
        *shapes: str,
        logpdf: Formula,
        cdf: Formula | None = None,
        sf: Formula | None = None,
        logcdf: Formula | None = None,
        logsf: Formula | None = None,
        ppf: Formula | None = None,
        entropy: Formula | None = None,
        support: tuple[float, float] = (-_INF, _INF),
        valid: Formula | None = None,
    ) -> None:
        super().__init__(name, shapes, valid)
        self.formulas = {
            "logpdf": logpdf,
            "cdf": cdf,
            "sf": sf,
            "logcdf": logcdf,
            "logsf": logsf,
            "ppf": ppf,
            "entropy": entropy,
        }
        self.support = support

    def _inside(
        self,
        name: str,
        x: Array,
        args: Sequence[Any],
        named: dict[str, Any],
        below: float,
        above: float,
    ) -> Array:
        """A formula at x, and `below` or `above` outside of the support."""
        formula = self.formulas[name]
        if formula is None:
            return self.theirs(name, x, *args, **named)
        shapes, place = self.bind(args, named)
        low, high = self.support
        with quiet():
            x, loc, scale, *shapes = alike(operand(x), *place, *shapes)
            z = (x - loc) / scale
            under, over = np.less(z, low), np.greater(z, high)
            bounded = low > -_INF or high < _INF
            inner = min(max(0.5, low), high) if low > -_INF else 0.0
            value = formula(np.where(under | over, inner, z) if bounded else z, *shapes)
            if name == "logpdf":
                value = value - log(scale)
            if bounded:
                value = np.where(under, below, np.where(over, above, value))[()]
            right = np.greater(scale, 0) & self.right(shapes)
            return only(right, value)

    def logpdf(self, x: Array, *args: Any, **named: Any) -> Array:
        """The logarithm of the density, -∞ outside of the support."""
        return self._inside("logpdf", x, args, named, -_INF, -_INF)

    def pdf(self, x: Array, *args: Any, **named: Any) -> Array:
        """The density."""
        with quiet():
            return np.exp(self.logpdf(x, *args, **named))

    def cdf(self, x: Array, *args: Any, **named: Any) -> Array:
        """The distribution function: the probability of at most x."""
        if self.formulas["cdf"] is None and self.formulas["sf"] is not None:
            return 1 - self.sf(x, *args, **named)
        return self._inside("cdf", x, args, named, 0.0, 1.0)

    def sf(self, x: Array, *args: Any, **named: Any) -> Array:
        """The survival function, 1 - cdf."""
        if self.formulas["sf"] is None and self.formulas["cdf"] is not None:
            return 1 - self._inside("cdf", x, args, named, 0.0, 1.0)
        return self._inside("sf", x, args, named, 1.0, 0.0)

    def logcdf(self, x: Array, *args: Any, **named: Any) -> Array:
        """The logarithm of the distribution function."""
        if self.formulas["logcdf"] is None:
            with quiet():
                return log(self.cdf(x, *args, **named))
        return self._inside("logcdf", x, args, named, -_INF, 0.0)

    def logsf(self, x: Array, *args: Any, **named: Any) -> Array:
        """The logarithm of the survival function."""
        if self.formulas["logsf"] is None:
            with quiet():
                return log(self.sf(x, *args, **named))
        return self._inside("logsf", x, args, named, 0.0, -_INF)

    def ppf(self, q: Array, *args: Any, **named: Any) -> Array:
        """The quantile: the x with cdf(x) = q; NaN outside of [0, 1]."""
        formula = self.formulas["ppf"]
        if formula is None:
            return self.theirs("ppf", q, *args, **named)
        shapes, place = self.bind(args, named)
        low, high = self.support
        q, loc, scale, *shapes = alike(operand(q), *place, *shapes)
        with quiet():
            right = np.greater(scale, 0) & self.right(shapes)
            right = right & np.greater_equal(q, 0) & np.less_equal(q, 1)
            inside = formula(q, *shapes)
            standard = np.where(np.equal(q, 0), low, np.where(np.equal(q, 1), high, inside))
            return only(right, loc + scale * standard[()])

    def isf(self, q: Array, *args: Any, **named: Any) -> Array:
        """The x with sf(x) = q."""
        return self.ppf(1 - operand(q), *args, **named)

    def entropy(self, *args: Any, **named: Any) -> Array:
        """The differential entropy -∫ pdf ln pdf, in nats."""
        formula = self.formulas["entropy"]
        if formula is None:
            return self.theirs("entropy", *args, **named)
        shapes, place = self.bind(args, named)
        scale, *shapes = alike(place[1], *shapes)
        with quiet():
            right = np.greater(scale, 0) & self.right(shapes)
            return only(right, formula(*shapes) + log(scale))


class Discrete(_Family):
    """A family on the integers, which `loc` moves. A count has no derivative: it is constant.

    `support` are the ends of the standard support, functions of the shapes.
    """

    moved = ("loc",)
    standard = (0,)

    def __init__(
        self,
        name: str,
        *shapes: str,
        logpmf: Formula,
        cdf: Formula,
        sf: Formula | None = None,
        low: int = 0,
        high: Formula = lambda *shapes: _INF,
        entropy: Formula | None = None,
        valid: Formula | None = None,
    ) -> None:
        super().__init__(name, shapes, valid)
        self.of_counts = logpmf
        self.formulas = {"cdf": cdf, "sf": sf}
        self.of_shapes = entropy
        self.low = low
        self.high = high

    def logpmf(self, k: Array, *args: Any, **named: Any) -> Array:
        """The logarithm of the probability of k, -∞ where k is no integer of the support."""
        shapes, (loc,) = self.bind(args, named)
        k, *shapes = alike(operand(k), *shapes)
        whole = np.floor(k - loc)
        with quiet():
            inside = np.equal(whole, k - loc) & np.greater_equal(whole, self.low)
            inside = inside & np.less_equal(whole, self.high(*shapes))
            value = self.of_counts(np.where(inside, whole, self.low), *shapes)
            right = self.right(shapes) & np.equal(loc, np.floor(loc))
            outside = np.where(np.isnan(whole), np.nan, -_INF)
            return only(right, np.where(inside, value, outside)[()])

    def pmf(self, k: Array, *args: Any, **named: Any) -> Array:
        """The probability of k."""
        with quiet():
            return np.exp(self.logpmf(k, *args, **named))

    def _upto(self, name: str, k: Array, args: Sequence[Any], named: dict[str, Any]) -> Array:
        shapes, (loc,) = self.bind(args, named)
        k, *shapes = alike(operand(k), *shapes)
        whole = np.floor(k - loc)
        with quiet():
            under = np.less(whole, self.low)
            over = np.greater_equal(whole, self.high(*shapes))
            formula = self.formulas[name]
            assert formula is not None
            value = formula(np.where(under | over, self.low, whole), *shapes)
            first, last = (0.0, 1.0) if name == "cdf" else (1.0, 0.0)
            value = np.where(under, first, np.where(over, last, value))
            return only(self.right(shapes), value[()])

    def cdf(self, k: Array, *args: Any, **named: Any) -> Array:
        """The probability of at most k."""
        return self._upto("cdf", k, args, named)

    def sf(self, k: Array, *args: Any, **named: Any) -> Array:
        """The probability of more than k."""
        if self.formulas["sf"] is None:
            return 1 - self.cdf(k, *args, **named)
        return self._upto("sf", k, args, named)

    def logcdf(self, k: Array, *args: Any, **named: Any) -> Array:
        """The logarithm of the probability of at most k."""
        with quiet():
            return log(self.cdf(k, *args, **named))

    def logsf(self, k: Array, *args: Any, **named: Any) -> Array:
        """The logarithm of the probability of more than k."""
        with quiet():
            return log(self.sf(k, *args, **named))

    def entropy(self, *args: Any, **named: Any) -> Array:
        """The entropy -Σ pmf ln pmf, in nats."""
        if self.of_shapes is None:
            return self.theirs("entropy", *args, **named)
        shapes, _ = self.bind(args, named)
        with quiet():
            return only(self.right(shapes), self.of_shapes(*shapes))
