"""What works element by element on real numbers.

Most primitives are ONNX's operator of the same meaning, in the types in which NumPy's ufunc
computes. What ONNX does not have, or ONNX Runtime not for the type, is a formula of others, see
`formulas`; in float16 a formula is computed in float32 and rounded, as NumPy does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export import kernels
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Rule, lowers
from ..export.values import Value
from . import error_function, formulas, integers
from .common import is_floating, loop_types, out, pointwise, promoted, written

# Primitives of which ONNX has the very operator, and the ufunc whose types they compute in.
_SAME: dict[str, tuple[str, np.ufunc]] = {
    "add": ("Add", np.add),
    "subtract": ("Sub", np.subtract),
    "multiply": ("Mul", np.multiply),
    "divide": ("Div", np.divide),
    "negative": ("Neg", np.negative),
    "exp": ("Exp", np.exp),
    "log": ("Log", np.log),
    "sqrt": ("Sqrt", np.sqrt),
    "root": ("Sqrt", np.sqrt),
    "tanh": ("Tanh", np.tanh),
    "sin": ("Sin", np.sin),
    "absolute": ("Abs", np.absolute),
    "fabs": ("Abs", np.fabs),
    "rint": ("Round", np.rint),
}


def _same(op: str, ufunc: np.ufunc) -> Rule:
    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        return promoted(b, op, ufunc, step, *operands)

    return rule


for _name, (_op, _ufunc) in _SAME.items():
    lowers(_name)(_same(_op, _ufunc))


def formula(b: Builder, step: Step, fun: Callable[..., Any], *operands: Value) -> Value:
    """A primitive as a function of simpler ones, in its result's type or, of the narrow ones, in
    float32."""
    dtype = out(step)[1]
    wide = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)
    found = written(b, fun, *[b.cast(x, wide) for x in operands])
    return b.cast(found, dtype)


def operator_or_formula(op: str | None, fun: Callable[..., Any]) -> Rule:
    """The rule of a function of floats: the operator where it has a kernel, else the formula."""

    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        shape, dtype = out(step)
        if op is not None and (kernels.runs(op, dtype) or dtype.itemsize < 4):
            return pointwise(b, op, [b.cast(x, dtype) for x in operands], shape, dtype)
        return formula(b, step, fun, *operands)

    return rule


_FUNCTIONS: dict[str, tuple[str | None, Callable[..., Any]]] = {
    "cos": ("Cos", formulas.cos),
    "tan": ("Tan", formulas.tan),
    "arcsin": ("Asin", formulas.arcsin),
    "arccos": ("Acos", formulas.arccos),
    "arctan": ("Atan", formulas.arctan),
    "arctan2": (None, formulas.arctan2),
    "sinh": ("Sinh", formulas.sinh),
    "cosh": ("Cosh", formulas.cosh),
    "arcsinh": ("Asinh", formulas.arcsinh),
    "arccosh": ("Acosh", formulas.arccosh),
    "arctanh": ("Atanh", formulas.arctanh),
    "expm1": (None, formulas.expm1),
    "log1p": (None, formulas.log1p),
    "exp2": (None, formulas.exp2),
    "log2": (None, formulas.log2),
    "log10": (None, formulas.log10),
    "logaddexp": (None, formulas.logaddexp),
    "logaddexp2": (None, formulas.logaddexp2),
    "cbrt": (None, formulas.cbrt),
    "hypot": (None, formulas.hypot),
    "deg2rad": (None, lambda x: x * (math.pi / 180)),
    "rad2deg": (None, lambda x: x * (180 / math.pi)),
    "erf": ("Erf", error_function.erf_of_doubles),
}
for _name, (_single, _formula) in _FUNCTIONS.items():
    lowers(_name)(operator_or_formula(_single, _formula))


def by_width(single: Callable[..., Any], double: Callable[..., Any]) -> Rule:
    """The rule of a function with a formula for float32 and another for float64."""

    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        chosen = double if out(step)[1] == np.float64 else single
        return formula(b, step, chosen, *operands)

    return rule


for _name, (_short, _long) in {
    "erfc": (error_function.erfc_of_singles, error_function.erfc_of_doubles),
    "gelu_slope": (error_function.gelu_slope_of_singles, error_function.gelu_slope_of_doubles),
}.items():
    lowers(_name)(by_width(_short, _long))


@lowers("reciprocal")
def _reciprocal(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    x = b.cast(x, dtype)
    if is_floating(dtype):
        return pointwise(b, "Reciprocal", [x], shape, dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_zero = np.reciprocal(np.zeros((), dtype))

    def whole(x: Any) -> Any:
        return np.where(np.abs(x) == 1, x, np.where(x == 0, of_zero, np.zeros_like(x)))

    found = written(b, whole, x)
    return b.cast(found, dtype)


# ---- rounding ------------------------------------------------------------------------------------


def _rounding(op: str | None, ufunc: np.ufunc, fun: Callable[..., Any] | None) -> Rule:
    """Of whole numbers the number itself, as NumPy says it."""

    def rule(b: Builder, step: Step, x: Value) -> Value:
        shape, dtype = out(step)
        inside = loop_types(ufunc, [x])[0]
        x = b.cast(x, inside)
        if not is_floating(inside):
            return b.cast(x, dtype)
        if op is not None:
            return b.cast(pointwise(b, op, [x], shape, inside), dtype)
        assert fun is not None
        found = written(b, fun, x)
        return b.cast(found, dtype)

    return rule


for _name, (_rounder, _ufunc, _formula2) in {
    "floor": ("Floor", np.floor, None),
    "ceil": ("Ceil", np.ceil, None),
    "trunc": (None, np.trunc, formulas.trunc),
}.items():
    lowers(_name)(_rounding(_rounder, _ufunc, _formula2))


@lowers("sign")
def _sign(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    x = b.cast(x, dtype)
    if dtype != np.float16:
        return pointwise(b, "Sign", [x], shape, dtype)
    x = b.cast(x, np.float32)  # the kernel of float16 makes zero of NaN
    return b.cast(pointwise(b, "Sign", [x], shape, np.float32), dtype)


# ---- squares and types ---------------------------------------------------------------------------


@lowers("square")
def _square(b: Builder, step: Step, x: Value) -> Value:
    shape, dtype = out(step)
    x = b.cast(x, dtype)
    return pointwise(b, "Mul", [x, x], shape, dtype)


@lowers("astype", "astype_integer")
def _astype(b: Builder, step: Step, x: Value) -> Value:
    return b.cast(x, out(step)[1])


# ---- comparisons and truths ----------------------------------------------------------------------


def _compared(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """The operands in the types in which NumPy compares them; a Python number that the other
    operand's type cannot hold, in one that does."""
    pair = [x, y]
    for i, one in enumerate(pair):
        other = pair[1 - i].dtype
        if one.weak and one.known is not None and one.dtype.kind == "i" and other.kind in "iu":
            number, limits = int(one.known), np.iinfo(other)
            if not limits.min <= number <= limits.max:
                pair[i] = b.constant(number, np.int64 if number < 2**63 else np.uint64)
    types = loop_types(np.less, pair)
    return b.cast(pair[0], types[0]), b.cast(pair[1], types[1])


_OPPOSITE = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual", "Equal": "Equal"}
_OPPOSITE |= {value: key for key, value in _OPPOSITE.items()}


def comparison(b: Builder, op: str, x: Value, y: Value, shape: Sequence[Any]) -> Value:
    """A node of a comparison of any two real types."""
    x, y = _compared(b, x, y)
    if x.dtype == np.uint64 != y.dtype and y.dtype.kind == "i":
        x, y, op = y, x, _OPPOSITE[op]
    if y.dtype == np.uint64 != x.dtype and x.dtype.kind == "i":
        # What is below zero is below everything unsigned.
        zero = b.constant(0, x.dtype)
        below = pointwise(b, "Less", [x, zero], x.shape, np.bool_)
        rest = comparison(b, op, b.cast(x, np.uint64), y, shape)
        if op in ("Less", "LessOrEqual"):
            return pointwise(b, "Or", [below, rest], shape, np.bool_)
        above = pointwise(b, "Not", [below], x.shape, np.bool_)
        return pointwise(b, "And", [above, rest], shape, np.bool_)
    if x.dtype == np.uint64 and op != "Equal":
        # int64 has kernels, and orders the same with the highest bit the other way round.
        least = b.constant(np.iinfo(np.int64).min, np.int64)
        x, y = (
            pointwise(b, "Add", [b.cast(v, np.int64), least], v.shape, np.int64) for v in (x, y)
        )
    return pointwise(b, op, [x, y], shape, np.bool_)


def _comparison(op: str) -> Rule:
    def rule(b: Builder, step: Step, x: Value, y: Value) -> Value:
        return comparison(b, op, x, y, out(step)[0])

    return rule


for _name, _op in {
    "equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
}.items():
    lowers(_name)(_comparison(_op))


@lowers("not_equal")
def _not_equal(b: Builder, step: Step, x: Value, y: Value) -> Value:
    shape = out(step)[0]
    return pointwise(b, "Not", [comparison(b, "Equal", x, y, shape)], shape, np.bool_)


def _logical(op: str) -> Rule:
    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        return pointwise(b, op, [b.cast(x, np.bool_) for x in operands], out(step)[0], np.bool_)

    return rule


for _name, _op in {"and": "And", "or": "Or", "xor": "Xor", "not": "Not"}.items():
    lowers(f"logical_{_name}")(_logical(_op))


def _asked(op: str) -> Rule:
    """Of whole numbers none is infinite or NaN."""

    def rule(b: Builder, step: Step, x: Value) -> Value:
        shape = out(step)[0]
        if not is_floating(x.dtype):
            return b.expand(b.constant(False), shape)
        return pointwise(b, op, [x], shape, np.bool_)

    return rule


lowers("isnan")(_asked("IsNaN"))
lowers("isinf")(_asked("IsInf"))


@lowers("isfinite")
def _isfinite(b: Builder, step: Step, x: Value) -> Value:
    shape = out(step)[0]
    if not is_floating(x.dtype):
        return b.expand(b.constant(True), shape)
    return written(b, lambda x: np.abs(x) < np.inf, x)


# ---- power and division --------------------------------------------------------------------------


def _whole_or(name: str, fun: Callable[..., Any] | str, ufunc: np.ufunc) -> Rule:
    """The rule of what floats and whole numbers have two rules for; `fun` is that of floats."""

    def rule(b: Builder, step: Step, x: Value, y: Value) -> Value:
        shape, dtype = out(step)
        inside = loop_types(ufunc, [x, y])[-1]
        if not is_floating(inside):
            found: Value = integers.RULES[name](b, b.cast(x, inside), b.cast(y, inside), shape)
            return b.cast(found, dtype)
        if callable(fun):
            return formula(b, step, fun, x, y)
        x, y = b.cast(x, dtype), b.cast(y, dtype)
        return pointwise(b, fun, [x, y], shape, dtype, fmod=1 if fun == "Mod" else None)

    return rule


_DIVISIONS: dict[str, tuple[Callable[..., Any] | str, np.ufunc]] = {
    "power": ("Pow", np.power),
    "fmod": ("Mod", np.fmod),
    "remainder": (formulas.remainder, np.remainder),
    "floor_divide": (formulas.floor_divide, np.floor_divide),
}
for _name, (_rule, _ufunc) in _DIVISIONS.items():
    lowers(_name)(_whole_or(_name, _rule, _ufunc))
