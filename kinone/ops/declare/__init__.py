"""The constructors of primitives: what mathematics derives, nobody writes.

    elementwise(name, ufunc, *partials)            one local derivative per operand
    linear(name, impl, transpose=…)                linear in its first operand
    bilinear(name, impl, left=…, right=…)          linear in each of its first two operands
    primitive(name, impl, vjp=…, jvp=…)            the rules as they are
    constant(name, impl)                           piecewise constant: no derivative to follow

`batch=` is the rule of vmap: `batch(size, batched, *xs, **params)`, see `Primitive`. Elementwise
primitives have it by themselves.

Rules are plain NumPy. On arrays they cost what NumPy costs; on tracers NumPy's protocols bring
them back to primitives, so every rule differentiates again.
"""

from .common import (
    Rule,
    Samples,
    cast,
    fit,
    promote,
    result_type,
    unbroadcast,
    zeros,
)
from .pointwise import elementwise
from .rules import bilinear, constant, linear, primitive

__all__ = [
    "Rule",
    "Samples",
    "bilinear",
    "cast",
    "constant",
    "elementwise",
    "fit",
    "linear",
    "primitive",
    "promote",
    "result_type",
    "unbroadcast",
    "zeros",
]
