"""Complex numbers: ONNX has none, so each is a pair of real tensors, see `values.Pair`.

What moves, copies or adds numbers does so to both parts; products mix them; functions are formulas
of the parts, see `complex_formulas`. A complex input or output of the model has the parts along a
last axis of 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ... import transforms
from ...core import registry
from ..export.builder import Builder
from ..export.merge import Aval, Step, Variable
from ..export.rules import Lowered, Rule, complex_rules, lowers, lowers_complex, through, write
from ..export.values import Pair, Value
from . import complex_formulas as formulas
from .common import out, written
from .special import sinc

_Parts = Callable[..., tuple[Any, Any]]


def part_dtype(dtype: Any) -> np.dtype[Any]:
    """The type of the parts of a complex type; a real type itself."""
    dtype = np.dtype(dtype)
    return np.zeros((), dtype).real.dtype if dtype.kind == "c" else dtype


def paired(b: Builder, x: Lowered, dtype: Any) -> Pair:
    """A value of any type as a complex one of this type."""
    kind = part_dtype(dtype)
    if isinstance(x, Pair):
        return Pair(b.cast(x.real, kind), b.cast(x.imag, kind))
    assert isinstance(x, Value)
    real = b.cast(x, kind)
    return Pair(real, b.expand(b.constant(0, kind), x.shape))


def cast(b: Builder, x: Lowered, dtype: Any) -> Value | Pair:
    """`astype` of and to complex numbers."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return paired(b, x, dtype)
    if isinstance(x, Pair):
        return truth(b, x) if dtype == np.bool_ else b.cast(x.real, dtype)
    assert isinstance(x, Value)
    return b.cast(x, dtype)


def truth(b: Builder, x: Lowered) -> Value:
    """Whether a number is not zero."""
    if isinstance(x, Pair):
        return written(b, lambda x, y: (x != 0) | (y != 0), x.real, x.imag)
    assert isinstance(x, Value)
    return b.cast(x, np.bool_)


# ---- both parts alike ----------------------------------------------------------------------------


def _real_step(step: Step) -> Step:
    """The step as that of one part."""
    outputs = [
        Variable(Aval(v.aval.shape, part_dtype(v.aval.dtype)), v.label) for v in step.outputs
    ]
    params = {
        key: part_dtype(value) if isinstance(value, np.dtype) else value
        for key, value in step.params.items()
    }
    return step._replace(outputs=tuple(outputs), params=params)


# The operands that stay as they are, such as index arrays: those from the second or third on.
_MOVED = {"getitem": 1, "scatter": 1, "set": 2}


def _both(b: Builder, step: Step, *operands: Lowered) -> Any:
    """The primitive's real rule, of the real parts and of the imaginary ones."""
    primitive = step.primitive
    count = _MOVED.get(primitive.name, len(operands))
    kind = next(v.aval.dtype for v in step.outputs if v.aval.dtype.kind == "c")
    pairs = [paired(b, x, kind) for x in operands[:count]]
    rest = operands[count:]
    part = _real_step(step)
    rule: Any = primitive.onnx
    if not callable(rule):
        raise b.error(f"{primitive.name} cannot be written as ONNX: {rule or 'it has no rule'}")
    real = rule(b, part, *[x.real for x in pairs], *rest)
    imag = rule(b, part, *[x.imag for x in pairs], *rest)
    if primitive.multiple:
        return tuple([Pair(x, y) for x, y in zip(real, imag, strict=True)])
    return Pair(real, imag)


_ALIKE = [
    *("add", "subtract", "negative", "positive", "stop_gradient", "rint"),
    *("reshape", "transpose", "broadcast_to", "getitem", "scatter", "set", "in_order"),
    *("concatenate", "stack", "split", "unstack", "pad"),
    *("sum", "mean", "cumsum", "avg_pool", "avg_pool_spread"),
]
for _name in _ALIKE:
    lowers_complex(_name)(_both)


@lowers_complex("barrier")
def _barrier(b: Builder, step: Step, *operands: Lowered) -> Sequence[Lowered]:
    return operands


@lowers_complex("astype", "astype_integer")
def _astype(b: Builder, step: Step, x: Lowered) -> Value | Pair:
    return cast(b, x, out(step)[1])


# ---- programs within programs --------------------------------------------------------------------


def _inside(b: Builder, step: Step, *operands: Lowered) -> Sequence[Lowered]:
    return write(b, step.params["program"], operands)


complex_rules[registry["composite"]] = _inside


def _own(name: str) -> Rule:
    """A rule that knows pairs by itself."""

    def rule(b: Builder, step: Step, *operands: Lowered) -> Any:
        own: Any = registry[name].onnx
        return own(b, step, *operands)

    return rule


for _name in ("custom_jvp", "checkpoint", "cond", "scan", "while", "while_record", "while_replay"):
    complex_rules.setdefault(registry[_name], _own(_name))


# ---- products ------------------------------------------------------------------------------------


@lowers_complex("multiply")
def _multiply(b: Builder, step: Step, x: Lowered, y: Lowered) -> Pair:
    kind = part_dtype(out(step)[1])
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Value) and isinstance(other, Pair):
            factor = b.cast(one, kind)
            parts = (b.cast(other.real, kind), b.cast(other.imag, kind))
            return Pair(*through(b, lambda a, b, c: (a * c, b * c), *parts, factor))
    return by_parts(b, step, formulas.multiply, x, y)


@lowers_complex("divide")
def _divide(b: Builder, step: Step, x: Lowered, y: Lowered) -> Pair:
    kind = part_dtype(out(step)[1])
    if isinstance(y, Value):
        whole = paired(b, x, kind)
        divisor = b.cast(y, kind)
        return Pair(*through(b, lambda a, b, c: (a / c, b / c), whole.real, whole.imag, divisor))
    return by_parts(b, step, formulas.divide, x, y)


@lowers_complex("matmul", "convolve", "conv", "conv_transpose", "conv_kernel")
def _bilinear(b: Builder, step: Step, x: Lowered, y: Lowered) -> Pair:
    """(a + ib)(c + id); of a real operand, the other's parts alone."""
    kind = out(step)[1]
    part = _real_step(step)
    dtype = part_dtype(kind)
    rule: Any = step.primitive.onnx
    if not callable(rule):
        raise b.error(f"{step.primitive.name} of complex numbers cannot be written as ONNX")

    def product(u: Value, v: Value) -> Value:
        found: Value = rule(b, part, b.cast(u, dtype), b.cast(v, dtype))
        return found

    if isinstance(x, Value):
        assert isinstance(y, Pair)
        return Pair(product(x, y.real), product(x, y.imag))
    assert isinstance(x, Pair)
    if isinstance(y, Value):
        return Pair(product(x.real, y), product(x.imag, y))
    assert isinstance(y, Pair)
    terms = [product(u, v) for u in (x.real, x.imag) for v in (y.real, y.imag)]
    return Pair(*through(b, lambda ac, ad, bc, bd: (ac - bd, ad + bc), *terms))


@lowers_complex("cumprod")
def _cumprod(b: Builder, step: Step, x: Lowered) -> Any:
    axis = step.params["axis"]

    def running(z: Any) -> Any:
        rows = np.moveaxis(z, axis, 0)

        def body(product: Any, row: Any) -> Any:
            return product * row, product * row

        products = transforms.scan(body, np.ones_like(rows[0]), rows)[1]
        return np.moveaxis(products, 0, axis)

    return through(b, running, paired(b, x, out(step)[1]))[0]


# ---- functions -----------------------------------------------------------------------------------


def by_parts(b: Builder, step: Step, fun: _Parts, *operands: Lowered) -> Pair:
    """A function of real and imaginary parts that gives both of its result's."""
    kind = out(step)[1]
    pairs = [paired(b, x, kind) for x in operands]
    return Pair(*through(b, fun, *[part for pair in pairs for part in (pair.real, pair.imag)]))


def _function(fun: _Parts) -> Rule:
    def rule(b: Builder, step: Step, *operands: Lowered) -> Pair:
        return by_parts(b, step, fun, *operands)

    return rule


for _name, _fun in {
    "square": formulas.square,
    "reciprocal": formulas.reciprocal,
    "sign": formulas.sign,
    "exp": formulas.exp,
    "expm1": formulas.expm1,
    "log": formulas.log,
    "log1p": formulas.log1p,
    "sqrt": formulas.sqrt,
    "root": formulas.sqrt,
    "sin": formulas.sin,
    "cos": formulas.cos,
    "tan": formulas.tan,
    "sinh": formulas.sinh,
    "cosh": formulas.cosh,
    "tanh": formulas.tanh,
    "arcsin": formulas.arcsin,
    "arccos": formulas.arccos,
    "arctan": formulas.arctan,
    "arcsinh": formulas.arcsinh,
    "arccosh": formulas.arccosh,
    "arctanh": formulas.arctanh,
}.items():
    lowers_complex(_name)(_function(_fun))


def _whole(fun: Callable[..., Any]) -> Rule:
    """The rule of a formula in complex arithmetic."""

    def rule(b: Builder, step: Step, *operands: Lowered) -> Pair:
        kind = out(step)[1]
        (found,) = through(b, fun, *[paired(b, x, kind) for x in operands])
        return paired(b, found, kind)

    return rule


for _name, _fun2 in {
    "log2": formulas.log2,
    "log10": formulas.log10,
    "exp2": formulas.exp2,
}.items():
    lowers_complex(_name)(_whole(_fun2))


@lowers_complex("sinc")
def _sinc(b: Builder, step: Step, x: Lowered) -> Pair:
    order = step.params["order"]
    found: Pair = _whole(lambda z: sinc(z, order))(b, step, paired(b, x, np.complex128))
    return found


@lowers_complex("power")
def _power(b: Builder, step: Step, x: Lowered, y: Lowered) -> Pair:
    number = _one_number(y)
    if number is not None and number == round(number) and abs(number) < 100:
        exponent = int(number)
        found: Pair = _whole(lambda z: formulas.whole_power(z, exponent))(b, step, x)
        shape = out(step)[0]
        return Pair(b.expand(found.real, shape), b.expand(found.imag, shape))
    return _whole(formulas.power)(b, step, x, y)  # type: ignore[no-any-return]


def _one_number(x: Lowered) -> float | None:
    """The real number that a value is known to be."""
    parts = (x.real, x.imag) if isinstance(x, Pair) else (x,)
    for part in parts:
        if not isinstance(part, Value) or part.known is None or part.known.size != 1:
            return None
    first = parts[0]
    assert isinstance(first, Value)
    assert first.known is not None
    if isinstance(x, Pair) and x.imag.known is not None and x.imag.known.item() != 0:
        return None
    return float(first.known.item())


# ---- from and to real numbers --------------------------------------------------------------------


@lowers_complex("absolute")
def _absolute(b: Builder, step: Step, x: Pair) -> Value:
    found = written(b, np.hypot, x.real, x.imag)
    return b.cast(found, out(step)[1])


@lowers_complex("real")
def _real(b: Builder, step: Step, x: Pair) -> Value:
    return x.real


@lowers_complex("imag")
def _imag(b: Builder, step: Step, x: Pair) -> Value:
    return x.imag


@lowers("real", "imag", "conj")
def _of_real(b: Builder, step: Step, x: Value) -> Value:
    """Of a real number, where its type says that it is one."""
    if step.primitive.name == "imag":
        return b.expand(b.constant(0, x.dtype), x.shape)
    return b.cast(x, out(step)[1])


@lowers_complex("conj")
def _conj(b: Builder, step: Step, x: Pair) -> Pair:
    imag = written(b, np.negative, x.imag)
    return replace(x, imag=imag)
