"""Links that remember: averages of the gradients and of their squares.

In the formulas g is what comes in, u what goes out, t the number of the update, from 1 on. A hat is
the average without the zero that it started from: m̂ = m / (1 - b1ᵗ), v̂ = v / (1 - b2ᵗ).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..core import Array, shape_dtype
from .base import GradientTransformation, Params, State, Updates, transformation
from .leaves import (
    equals,
    formula,
    like,
    map_leaves,
    rows_to_trees,
    same_dtype,
    squared,
    trains,
    weak,
    zeros_like,
    zip_leaves,
)


def average(old: Array, new: Array, decay: Any) -> Array:
    """(1 - decay) · new + decay · old."""
    if shape_dtype(old).dtype.kind != "c":  # |g|² is real, and its average has the dtype of p
        old = same_dtype(old, new)
    return like(1 - decay, new) * new + like(decay, new) * old


def debias(decay: Any, count: Any) -> Any:
    """1 - decayᵗ, in double precision whatever the parameters are: in single, 1 - 0.999 is off by
    1e-5 of itself."""
    return 1 - np.power(decay, count)


def first_moment(g: Array, m: Array, b1: Any, correction: Any, ahead: Any = None) -> Array:
    """m̂; with `ahead`, the correction of the step after this one, Nesterov's look at that step."""
    if ahead is None:
        return m / like(correction, m)
    return like(b1, g) * (m / like(ahead, m)) + like(1 - b1, g) * (g / like(correction, g))


def two_moments(mu_dtype: Any = None) -> Callable[[Params], State]:
    """The `init` of Adam and his family."""

    def init(params: Params) -> State:
        return {
            "step": np.int64(0),
            "mu": tree.map(lambda p: zeros_like(p, mu_dtype), params),
            "nu": tree.map(zeros_like, params),
        }

    return init


def trace(
    decay: float, nesterov: bool = False, accumulator_dtype: Any = None
) -> GradientTransformation:
    """Momentum: m ← g + decay · m, and u = m, or u = g + decay · m with `nesterov`.

    State: `trace`, the m of each parameter, in `accumulator_dtype` if that is given.

        >>> link = trace(0.9)
        >>> updates, state = link.update(np.ones(1), link.init(np.zeros(1)))
        >>> link.update(np.ones(1), state)[0]
        array([1.9])

    (Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning")
    """
    rate = weak("trace", "decay", decay)

    def init(params: Params) -> State:
        return {"trace": tree.map(lambda p: zeros_like(p, accumulator_dtype), params)}

    def move(g: Array, m: Array, out: Any) -> Any:
        if not trains(g):
            return g, m
        keep = like(rate, g)
        room = out[0] if accumulator_dtype is None and not nesterov else None
        new = np.multiply(same_dtype(m, g), keep, out=room)
        new = np.add(new, g, out=room)
        if not nesterov:
            return (new,) if accumulator_dtype is None else (new, new.astype(accumulator_dtype))
        ahead = np.multiply(new, keep, out=out[0])
        ahead = np.add(ahead, g, out=out[0])
        return ahead, new if accumulator_dtype is None else new.astype(accumulator_dtype)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        columns = zip_leaves("trace", "gradients", updates, ("state", state["trace"]))
        rows = [(row[0], row[-1]) for row in map_leaves(move, *columns)]
        outs, kept = rows_to_trees(updates, rows, 2)
        return outs, {"trace": kept}

    return transformation("trace", init, step)


def ema(decay: float, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """The exponential moving average of what comes in: m ← decay · m + (1 - decay) · g, u = m̂.

    With `debias=False` u = m. State: `step`, and `ema`, the m of each parameter, in
    `accumulator_dtype` if that is given. `ema_params` averages the parameters.

        >>> link = ema(0.9)
        >>> updates, state = link.update(np.array([2.0]), link.init(np.zeros(1)))
        >>> updates, state["ema"].round(3)
        (array([2.]), array([0.2]))
    """
    rate = weak("ema", "decay", decay)

    def init(params: Params) -> State:
        zeros = tree.map(lambda p: zeros_like(p, accumulator_dtype), params)
        return {"step": np.int64(0), "ema": zeros}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        correction = 1 - np.power(rate, count)

        def move(g: Array, m: Array) -> Any:
            m = average(m, g, rate)
            u = m / like(correction, m) if debias else m
            return u, m if accumulator_dtype is None else m.astype(accumulator_dtype)

        u, kept = formula("ema", move, updates, state["ema"])
        return u, {"step": count, "ema": kept}

    return transformation("ema", init, step)


def scale_by_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Each gradient divided by its own recent size, after smoothing both.

        t ← t + 1
        m ← b1 · m + (1 - b1) · g          v ← b2 · v + (1 - b2) · g²
        u = m̂ / (√(v̂ + eps_root) + eps)    m̂ = m / (1 - b1ᵗ),  v̂ = v / (1 - b2ᵗ)

    State: `step` (t, an integer), `mu` (m, in `mu_dtype` if that is given) and `nu` (v). With
    `nesterov` m̂ looks one step ahead (Dozat 2016). (Kingma & Ba 2015, arXiv:1412.6980)

        >>> link = scale_by_adam()
        >>> updates, state = link.update(np.array([5.0, -0.01]), link.init(np.zeros(2)))
        >>> updates.round(4), int(state["step"])
        (array([ 1., -1.]), 1)
    """
    b1, b2 = weak("adam", "b1", b1), weak("adam", "b2", b2)
    eps, eps_root = weak("adam", "eps", eps), weak("adam", "eps_root", eps_root)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        c1, c2, ahead = debias(b1, count), debias(b2, count), debias(b1, count + 1)

        def move(g: Array, m: Array, v: Array, out: Any) -> Any:
            if not trains(g):
                return g, m, v
            k1, k2 = like(b1, g), like(b2, g)
            room = out[1] if mu_dtype is None else None
            share = like(1 - b1, g) * g
            m = np.multiply(same_dtype(m, g), k1, out=room)
            m = np.add(share, m, out=room)
            square = squared(g)
            square *= like(
                1 - b2, square
            )  # in place; for a traced value this is square = square * …
            v = np.multiply(v, k2, out=out[2])
            v = np.add(square, v, out=out[2])
            root = np.divide(v, like(c2, v), out=out[0])
            if not equals(eps_root, 0):
                root = np.add(root, like(eps_root, v), out=out[0])
            root = np.sqrt(root, out=out[0])
            root = np.add(root, like(eps, v), out=out[0])
            smooth = first_moment(g, m, b1, c1, ahead if nesterov else None)
            u = np.divide(smooth, root, out=out[0])
            return u, m if mu_dtype is None else m.astype(mu_dtype), v

        columns = zip_leaves(
            "adam", "gradients", updates, ("state", state["mu"]), ("state", state["nu"])
        )
        u, mu, nu = rows_to_trees(updates, map_leaves(move, *columns), 3)
        return u, {"step": count, "mu": mu, "nu": nu}

    return transformation("adam", two_moments(mu_dtype), step)
