"""How SciPy's ufuncs become primitives, and how a rule refuses an operand."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import scipy.special

from ... import source
from ...core import Array, Primitive
from ...errors import MissingRuleError
from ...ops.declare import Rule, Samples, elementwise
from ...ops.samples import Domain, Sample, values


def special(name: str, text: str, *partials: Rule | None, samples: Samples) -> Primitive:
    """Declares the SciPy ufunc of this name, as `elementwise` does; `text` says what it computes.

    NumPy asks the operands of any ufunc, SciPy's too, so `scipy.special.erf(x)` itself comes here
    for a traced `x`.
    """
    made = elementwise(
        f"scipy.special.{name}", getattr(scipy.special, name), *partials, samples=samples
    )
    return described(made, name, text)


def described(made: Primitive, name: str, text: str) -> Primitive:
    """A primitive with the name and the description of a public function."""
    made.__name__ = name
    made.__doc__ = f"{text}\n\n`scipy.special.{name}`, on traced values too."
    return made


def undefined(name: str, operand: str) -> Callable[[Array], NoReturn]:
    """The rule of an operand whose derivative has no closed form.

    It raises `MissingRuleError`: zero, which None stands for, would be wrong without a word.
    """

    def rule(g: Array) -> NoReturn:
        raise MissingRuleError(
            f"the derivative of {name} with respect to {operand} has no closed form and no rule, "
            f"at {source.here()}\n"
            f"  Where {operand} is meant to be a constant, pass it through kinone.stop_gradient."
        )

    return rule


def with_order(*domains: Domain, orders: tuple[int, ...] = (0, 1, 2)) -> Samples:
    """Samples of a function of an integer order and of real operands, such as Bessel's."""

    def make() -> list[Sample]:
        order = np.array(orders)
        columns = [values(2, len(orders), domain=d, seed=i) for i, d in enumerate(domains)]
        row = [values(3, 1, domain=d, seed=i) for i, d in enumerate(domains)]
        scalars = [values(domain=d, seed=i) for i, d in enumerate(domains)]
        empty = [values(0, 2, domain=d) for d in domains]
        return [
            Sample((order, *columns)),
            Sample((order, *row)),
            Sample((order[-1], *scalars)),
            Sample((orders[0], *empty)),
        ]

    return make


__all__ = ["described", "special", "undefined", "with_order"]
