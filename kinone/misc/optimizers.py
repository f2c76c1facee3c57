"""Autograd's three optimisers with a callback: a loop for scripts that have none of their own.

`grad(x, i)` is the gradient at step `i`; `callback(x, i, g)` is called before each step. `x` is any
tree of arrays. `kinone.optim` has the optimisers to build a training loop with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Array
from .flatten import flatten

Gradient = Callable[[Any, int], Any]
Callback = Callable[[Any, int, Any], Any]
# One step: (step number, vector, gradient) -> the next vector.
_Step = Callable[[int, Array, Array], Array]


def _run(grad: Gradient, x0: Any, callback: Callback | None, steps: int, step: _Step) -> Any:
    x, unflatten = flatten(x0)
    for i in range(steps):
        g, unflatten_gradient = flatten(grad(unflatten(x), i))
        if callback is not None:
            callback(unflatten(x), i, unflatten_gradient(g))
        x = step(i, x, g)
    return unflatten(x)


def sgd(
    grad: Gradient,
    x: Any,
    callback: Callback | None = None,
    num_iters: int = 200,
    step_size: float = 0.1,
    mass: float = 0.9,
) -> Any:
    """Gradient descent with momentum: v ← mass·v - (1 - mass)·g, x ← x + step_size·v.

    >>> sgd(lambda x, i: 2 * x, np.array([1.0]), num_iters=300).round(6)
    array([-0.])
    """
    velocity: Array = 0.0

    def step(i: int, x: Array, g: Array) -> Array:
        nonlocal velocity
        velocity = mass * velocity - (1.0 - mass) * g
        return x + step_size * velocity

    return _run(grad, x, callback, num_iters, step)


def rmsprop(
    grad: Gradient,
    x: Any,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.1,
    gamma: float = 0.9,
    eps: float = 1e-8,
) -> Any:
    """s ← gamma·s + (1 - gamma)·g², x ← x - step_size·g / (√s + eps); s begins as ones.

    >>> rmsprop(lambda x, i: 2 * x, np.array([1.0]), step_size=0.01).round(3)
    array([0.114])
    """
    square: Array = 1.0

    def step(i: int, x: Array, g: Array) -> Array:
        nonlocal square
        square = square * gamma + g**2 * (1 - gamma)
        return x - step_size * g / (np.sqrt(square) + eps)

    return _run(grad, x, callback, num_iters, step)


def adam(
    grad: Gradient,
    x: Any,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.001,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> Any:
    """Adam (Kingma and Ba 2014, arXiv:1412.6980).

    >>> adam(lambda x, i: 2 * x, np.array([1.0]), step_size=0.01).round(3)
    array([0.224])
    """
    first: Array = 0.0
    second: Array = 0.0

    def step(i: int, x: Array, g: Array) -> Array:
        nonlocal first, second
        first = (1 - b1) * g + b1 * first
        second = (1 - b2) * g**2 + b2 * second
        mean = first / (1 - b1 ** (i + 1))
        spread = second / (1 - b2 ** (i + 1))
        return x - step_size * mean / (np.sqrt(spread) + eps)

    return _run(grad, x, callback, num_iters, step)


__all__ = ["adam", "rmsprop", "sgd"]
