"""Fixed points of an iteration, with the derivative of the point instead of that of the steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..transforms import custom_vjp, vjp

Step = Callable[[Any], Any]
Distance = Callable[[Any, Any], Any]


@functools.partial(custom_vjp, nondiff_argnums=(0, 3, 4))
def fixed_point(f: Callable[[Any], Step], a: Any, x0: Any, distance: Distance, tol: float) -> Any:
    """The x with x = f(a)(x), by iteration from `x0` until `distance(x, previous x)` is ≤ `tol`.

    `a` and `x` are arrays or trees of them. The derivative by `a` is that of the implicit function,
    ∂x/∂a = (1 - ∂f/∂x)⁻¹ ∂f/∂a, and is found by another such iteration, u ← u ∂f/∂x + g: it takes
    no memory for the steps, and none of them has to be differentiated. By `x0` the derivative is
    zero. Reverse mode alone, of every order. What `f` uses of traced values must be in `a`. It
    does not end where the iteration does not converge.

        >>> import kinone as kn
        >>> newton = lambda a: lambda x: 0.5 * (x + a / x)
        >>> root = lambda a: fixed_point(newton, a, 1.0, lambda x, y: np.abs(x - y), 1e-12)
        >>> kn.grad(root)(4.0).round(6)
        np.float64(0.25)
    """
    step = f(a)
    previous, x = x0, step(x0)
    while distance(x, previous) > tol:
        previous, x = x, step(x)
    return x


def _forward(
    f: Callable[[Any], Step], a: Any, x0: Any, distance: Distance, tol: float
) -> tuple[Any, Any]:
    x = fixed_point(f, a, x0, distance, tol)
    return x, (a, x)


def _backward(
    f: Callable[[Any], Step], distance: Distance, tol: float, kept: Any, g: Any
) -> tuple[Any, None]:
    a, x = kept

    def adjoint(given: Any) -> Step:
        a, x, g = given
        _, pull = vjp(f(a), x)
        return lambda u: tree.map(lambda moved, each: moved + each, pull(u)[0], g)

    u = fixed_point(adjoint, (a, x, g), tree.map(np.zeros_like, x), distance, tol)
    _, pull = vjp(lambda a: f(a)(x), a)
    return pull(u)[0], None


fixed_point.defvjp(_forward, _backward)

__all__ = ["fixed_point"]
