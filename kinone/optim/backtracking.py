"""How far to go along a direction: shorter and shorter steps until one is good enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..transforms import cond, value_and_grad, while_loop
from .base import GradientTransformation, Params, State, Updates, transformation
from .leaves import like, map_trained, weak, zeros_like
from .linesearch import accepted, dot, double, moved, search_inputs, shortfall


def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: float = 1e-4,
    decrease_factor: float = 0.8,
    increase_factor: float = 1.5,
    max_learning_rate: float = 1.0,
    atol: float = 0.0,
    rtol: float = 0.0,
    store_grad: bool = False,
) -> GradientTransformation:
    """u = η · g, with the first step size η of a falling row that makes the function fall enough.

        f(p + ηg) ≤ (1 + rtol) · f(p) + slope_rtol · η · f' + atol

    f' being the slope along g at p (Armijo's condition). The row starts from `increase_factor`
    times the last η, at most `max_learning_rate`, and falls by `decrease_factor`,
    `max_backtracking_steps` times at most. A step at which f is no number is not taken: η = 0.

    `update` takes what `scale_by_zoom_linesearch` takes; it calls `value_fn`, but not its gradient.
    State: `learning_rate` (η), `value` at the end and, with `store_grad`, `grad` there, which
    `value_and_grad_from_state` then finds; `info`: `num_linesearch_steps` and `decrease_error`, 0
    where the condition holds.

        >>> from kinone import optim
        >>> f = lambda p: np.sum(p**2)
        >>> optimizer = optim.chain(optim.sgd(1.0), scale_by_backtracking_linesearch(20))
        >>> p = np.array([4.0])
        >>> updates, state = optimizer.update(
        ...     2 * p, optimizer.init(p), p, value=f(p), grad=2 * p, value_fn=f
        ... )
        >>> updates.round(2), int(state["backtracking"]["info"]["num_linesearch_steps"])
        (array([-6.4]), 2)

    Raises `TypeError` when one of the three is missing or an argument is nobody's. (Armijo 1966;
    Vaswani et al. 2019, arXiv:1905.09997)
    """
    name = "backtracking"
    fall = weak(name, "decrease_factor", decrease_factor)
    grow = weak(name, "increase_factor", increase_factor)
    most = weak(name, "max_learning_rate", max_learning_rate)
    share, atol = weak(name, "slope_rtol", slope_rtol), weak(name, "atol", atol)
    rtol = weak(name, "rtol", rtol)

    def init(params: Params) -> State:
        return {
            "learning_rate": np.float64(1),
            "value": np.float64(np.inf),
            **({"grad": tree.map(zeros_like, params)} if store_grad else {}),
            "info": {
                "num_linesearch_steps": np.int64(0),
                "decrease_error": np.float64(np.inf),
            },
        }

    def step(
        updates: Updates,
        state: State,
        params: Params | None = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Callable[..., Any] | None = None,
        **extra: Any,
    ) -> Any:
        params, value_fn = search_inputs(params, value, grad, value_fn)
        kwargs = accepted(value_fn, extra)
        start, slope = double(value), dot(updates, grad)

        def more(s: State) -> Any:
            return ~(s["error"] <= atol) & (s["count"] <= max_backtracking_steps)

        def body(s: State) -> State:
            length = np.where(s["count"] > 0, fall * s["length"], s["length"])[()]
            there = double(value_fn(moved(params, length, updates), **kwargs))
            excess = there - (1 + rtol) * start - length * share * slope
            return {
                "count": s["count"] + 1,
                "length": length,
                "value": there,
                "error": shortfall(excess),
            }

        first = {
            "count": np.int64(0),
            "length": np.minimum(grow * state["learning_rate"], most),
            "value": start,
            "error": np.float64(np.inf),
        }
        with np.errstate(all="ignore"):  # a step too far may well overflow; it counts as too far
            s = while_loop(more, body, first)
        lost = np.isinf(s["error"])
        length = np.where(lost, 0.0, s["length"])[()]
        u = map_trained(lambda g, out: np.multiply(g, like(length, g), out=out), updates)
        kept = {}
        if store_grad:
            slopes = value_and_grad(value_fn)
            end = moved(params, length, updates)
            kept["grad"] = cond(lost, lambda p: grad, lambda p: slopes(p, **kwargs)[1], end)
        return u, {
            "learning_rate": length,
            "value": np.where(lost, start, s["value"])[()],
            **kept,
            "info": {"num_linesearch_steps": s["count"], "decrease_error": s["error"]},
        }

    return transformation(name, init, step)
