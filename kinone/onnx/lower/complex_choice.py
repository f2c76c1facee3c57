"""Comparing complex numbers, and choosing among them.

They are ordered by the real part, then by the imaginary one, as NumPy orders them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Lowered, Rule, lowers_complex
from ..export.values import Pair, Value
from .common import out, written
from .complex import by_parts, paired, truth

_Compare = Callable[..., Any]
_BEFORE: dict[str, _Compare] = {"less": np.less, "less_equal": np.less_equal}
_BEFORE |= {"greater": np.greater, "greater_equal": np.greater_equal}
_STRICT: dict[str, _Compare] = {"less": np.less, "less_equal": np.less}
_STRICT |= {"greater": np.greater, "greater_equal": np.greater}


def _same(a: Any, b: Any, c: Any, d: Any) -> Any:
    return (a == c) & (b == d)


def _ordered(name: str) -> Callable[..., Any]:
    """By the real part, then by the imaginary one, as NumPy orders complex numbers."""

    def compare(a: Any, b: Any, c: Any, d: Any) -> Any:
        known = ~(np.isnan(b) | np.isnan(d))
        return (_STRICT[name](a, c) & known) | ((a == c) & _BEFORE[name](b, d))

    return compare


_COMPARISONS: dict[str, Callable[..., Any]] = {
    "equal": _same,
    "not_equal": lambda a, b, c, d: ~_same(a, b, c, d),
    **{name: _ordered(name) for name in _BEFORE},
}


def _compared(x: Lowered, y: Lowered) -> np.dtype[Any]:
    """The type in which two values are compared; a Python number takes the other's."""
    assert isinstance(x, Value | Pair)
    assert isinstance(y, Value | Pair)
    weak = [v.real.weak if isinstance(v, Pair) else v.weak for v in (x, y)]
    if weak == [True, False]:
        return np.result_type(y.dtype, np.complex64)
    if weak == [False, True]:
        return np.result_type(x.dtype, np.complex64)
    return np.result_type(x.dtype, y.dtype)


for _name, _compare in _COMPARISONS.items():

    def _comparison(
        b: Builder, step: Step, x: Lowered, y: Lowered, fun: Callable[..., Any] = _compare
    ) -> Value:
        kind = _compared(x, y)
        first, second = paired(b, x, kind), paired(b, y, kind)
        return written(b, fun, first.real, first.imag, second.real, second.imag)

    lowers_complex(_name)(_comparison)


def _extremum(name: str) -> Rule:
    """The first where it is NaN or not after the other; NumPy's fmax and fmin skip NaN instead."""
    before = _ordered(
        "greater_equal" if name.endswith("max") or name == "maximum" else "less_equal"
    )

    def choose(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
        lost, other = np.isnan(a) | np.isnan(b), np.isnan(c) | np.isnan(d)
        first = before(a, b, c, d)
        first = first | other if name.startswith("f") else first | lost
        return np.where(first, a, c), np.where(first, b, d)

    def rule(b: Builder, step: Step, x: Lowered, y: Lowered) -> Pair:
        return by_parts(b, step, choose, x, y)

    return rule


for _name in ("maximum", "minimum", "fmax", "fmin"):
    lowers_complex(_name)(_extremum(_name))


@lowers_complex("where")
def _where(b: Builder, step: Step, condition: Lowered, x: Lowered, y: Lowered) -> Value | Pair:
    kind = out(step)[1]
    chosen = truth(b, condition)
    if kind.kind != "c":  # the condition alone is complex
        assert isinstance(x, Value)
        assert isinstance(y, Value)
        return written(b, np.where, chosen, b.cast(x, kind), b.cast(y, kind))
    first, second = paired(b, x, kind), paired(b, y, kind)
    real = written(b, np.where, chosen, first.real, second.real)
    imag = written(b, np.where, chosen, first.imag, second.imag)
    return Pair(real, imag)


for _name, _asked in {
    "isnan": lambda x, y: np.isnan(x) | np.isnan(y),
    "isinf": lambda x, y: np.isinf(x) | np.isinf(y),
    "isfinite": lambda x, y: np.isfinite(x) & np.isfinite(y),
}.items():

    def _ask(b: Builder, step: Step, x: Pair, fun: Callable[..., Any] = _asked) -> Value:
        return written(b, fun, x.real, x.imag)

    lowers_complex(_name)(_ask)


def _logical(name: str) -> Rule:
    def rule(b: Builder, step: Step, *operands: Lowered) -> Any:
        return written(b, getattr(np, name), *[truth(b, x) for x in operands])

    return rule


for _name in ("logical_and", "logical_or", "logical_xor", "logical_not"):
    lowers_complex(_name)(_logical(_name))


@lowers_complex("any", "all")
def _any(b: Builder, step: Step, x: Pair) -> Any:
    rule: Any = step.primitive.onnx
    return rule(b, step, truth(b, x))
