"""How far to go along a direction: the zoom line search, with every number that it looked at."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Tracer
from ..transforms import cond, value_and_grad, while_loop
from .base import GradientTransformation, Params, State, Updates, needs_params, transformation
from .leaves import like, trains, zeros_like

Point = dict[str, Any]


def dot(first: Any, second: Any) -> Array:
    """The inner product of two trees, in double precision; integer leaves do not count."""
    total: Any = np.float64(0)
    for a, b in zip(tree.leaves(first), tree.leaves(second), strict=True):
        if trains(a):
            total = total + np.sum(a * b).astype(np.float64)
    return total


def moved(start: Any, length: Any, direction: Any) -> Any:
    """`start + length · direction`, leaf by leaf, in the dtypes of `start`."""

    def move(p: Array, u: Array) -> Array:
        return p + like(length, p) * u if trains(p) else p

    return tree.map(move, start, direction)


def scale_by_zoom_linesearch(
    max_linesearch_steps: int,
    max_learning_rate: float | None = None,
    tol: float = 0.0,
    increase_factor: float = 2.0,
    slope_rtol: float = 1e-4,
    curv_rtol: float = 0.9,
    approx_dec_rtol: float | None = 1e-6,
    stepsize_precision: float = 1e-5,
    initial_guess_strategy: str = "keep",
) -> GradientTransformation:
    """u = η · g, with a step size η that fulfils the strong Wolfe conditions.

        f(p + ηg) ≤ f(p) + slope_rtol · η · f'      |f'(p + ηg)| ≤ curv_rtol · |f'|

    f' being the slope along g at p; near a minimum, where f no longer tells (it differs by less
    than `approx_dec_rtol · |f|`), the slopes decide (Hager & Zhang). From a first guess (1, or with
    `"keep"` the last η) the step grows by `increase_factor` until an interval holds a solution, and
    cubic or quadratic interpolation narrows it. After `max_linesearch_steps`, or in an interval
    shorter than `stepsize_precision`, the best step so far that makes f fall is taken.

    `update` needs the parameters and `value=` (f(p)), `grad=` (its gradient) and `value_fn=` (f; it
    is given those other keyword arguments of `update` that it has names for). State:
    `learning_rate` (η), `value` and `grad` where the search ended, and `info`:
    `num_linesearch_steps`, `decrease_error` and `curvature_error`, 0 where the conditions hold.

        >>> f = lambda p: np.sum((p - 3.0) ** 2)
        >>> link, p = scale_by_zoom_linesearch(20), np.zeros(1)
        >>> updates, state = link.update(
        ...     np.array([1.0]), link.init(p), p, value=f(p), grad=2 * (p - 3.0), value_fn=f
        ... )
        >>> updates, float(state["value"]), int(state["info"]["num_linesearch_steps"])
        (array([1.]), 4.0, 1)

    Raises `TypeError` when one of the three is missing or an argument is nobody's, `ValueError` for
    another strategy. (Nocedal & Wright, "Numerical optimization", algorithms 3.5 and 3.6; Hager &
    Zhang 2006)
    """
    if initial_guess_strategy not in ("one", "keep"):
        raise ValueError(
            f"initial_guess_strategy is 'one' or 'keep', not {initial_guess_strategy!r}, "
            f"at {source.here()}"
        )

    def init(params: Params) -> State:
        return {
            "learning_rate": np.float64(1),
            "value": np.float64(np.inf),
            "grad": tree.map(zeros_like, params),
            "info": {
                "num_linesearch_steps": np.int64(0),
                "decrease_error": np.float64(np.inf),
                "curvature_error": np.float64(np.inf),
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
        evaluate = value_and_grad(value_fn)
        kwargs = accepted(value_fn, extra)
        start = double(value)
        slope = dot(updates, grad)
        guess = np.float64(1) if initial_guess_strategy == "one" else state["learning_rate"]

        def look(length: Any) -> Point:
            there, there_grad = evaluate(moved(params, length, updates), **kwargs)
            return {
                "at": length,
                "value": double(there),
                "slope": dot(there_grad, updates),
                "grad": there_grad,
            }

        def errors(point: Point) -> tuple[Any, Any]:
            decrease = point["value"] - start - slope_rtol * point["at"] * slope
            if approx_dec_rtol is not None:
                level = point["value"] - start - approx_dec_rtol * np.abs(start)
                near = np.maximum(point["slope"] - (2 * slope_rtol - 1) * slope, level)
                decrease = np.minimum(near, decrease)
            curvature = np.abs(point["slope"]) - curv_rtol * np.abs(slope)
            return shortfall(decrease), shortfall(curvature)

        def next_length(s: State) -> Any:
            longer = np.where(s["count"] == 0, guess, increase_factor * s["last"]["at"])
            return longer if max_learning_rate is None else np.minimum(longer, max_learning_rate)

        def body(s: State) -> State:
            zooming, old = s["found"], s["last"]
            new = look(cond(zooming, _between, next_length, s))
            decrease, curvature = errors(new)
            error = np.maximum(decrease, curvature)
            safe = (decrease <= tol) & (~zooming | (new["value"] < s["safe"]["value"]))
            line, low, high = _line(new), s["low"], s["high"]
            # While the interval is sought, its ends are the last two steps.
            up = (decrease > 0) | ((new["value"] >= old["value"]) & (s["count"] > 0))
            down = (new["slope"] >= 0) & ~up
            sought_low = _where(down, line, _line(old))
            sought_high = _where(down, _line(old), line)
            found = up | down | (error <= tol)
            # Afterwards the new point takes the place of one of them.
            worse = (decrease > 0) | (new["value"] >= low["value"])
            turned = (new["slope"] * (high["at"] - low["at"]) >= 0) & ~worse
            zoom_high = _where(worse, line, _where(turned, low, high))
            zoom_low = _where(worse, low, line)
            zoom_third = _where(worse | turned, high, low)
            done = error <= tol
            if max_learning_rate is not None:
                done = done | (~zooming & (new["at"] >= max_learning_rate) & ~found)
            safe_point = _where(safe, new, s["safe"])
            short = zooming & (np.abs(high["at"] - low["at"]) <= stepsize_precision)
            over = (s["count"] + 1 >= max_linesearch_steps) | (short & (safe_point["at"] > 0))
            return {
                "count": s["count"] + 1,
                "last": new,
                "safe": safe_point,
                "low": _where(zooming, zoom_low, sought_low),
                "high": _where(zooming, zoom_high, sought_high),
                "third": _where(zooming, zoom_third, sought_low),
                "decrease": decrease,
                "curvature": curvature,
                "found": zooming | found,
                "done": done,
                "failed": over & ~done,
            }

        here = {"at": np.float64(0), "value": start, "slope": slope, "grad": grad}
        first = {
            "count": np.int64(0),
            "last": here,
            "safe": here,
            "low": _line(here),
            "high": _line(here),
            "third": _line(here),
            "decrease": np.float64(np.inf),
            "curvature": np.float64(np.inf),
            "found": np.bool_(False),
            "done": np.bool_(False),
            "failed": np.bool_(False),
        }
        with np.errstate(all="ignore"):  # a step too far may well overflow; it counts as too far
            s = while_loop(lambda s: ~(s["done"] | s["failed"]), body, first)
        fall_back = s["failed"] & ((s["safe"]["at"] > 0) | np.isinf(s["decrease"]))
        end = _where(fall_back, s["safe"], s["last"])
        return moved(tree.map(zeros_like, updates), end["at"], updates), {
            "learning_rate": end["at"],
            "value": end["value"],
            "grad": end["grad"],
            "info": {
                "num_linesearch_steps": s["count"],
                "decrease_error": s["decrease"],
                "curvature_error": s["curvature"],
            },
        }

    return transformation("linesearch", init, step)


def search_inputs(
    params: Params | None, value: Any, grad: Any, value_fn: Callable[..., Any] | None
) -> tuple[Params, Callable[..., Any]]:
    """The parameters and the function, when nothing of what a line search wants is missing."""
    params = needs_params("the line search", params)
    if value is None or grad is None or value_fn is None:
        raise TypeError(
            f"the line search needs the function and what it was, at {source.here()}\n  Write "
            "optimizer.update(gradients, state, params, value=f(params), grad=gradients, "
            "value_fn=f)."
        )
    return params, value_fn


def accepted(value_fn: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments, all of which `value_fn` must have names for."""
    known = inspect.signature(value_fn).parameters
    unknown = [name for name in extra if name not in known]
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in known.values()):
        raise TypeError(
            f"the line search: value_fn takes no {', '.join(unknown)}, at {source.here()}"
        )
    return extra


def double(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, Tracer) else np.float64(value)


def shortfall(excess: Any) -> Any:
    """By how much a condition fails; infinite where the function is no number."""
    return np.where(np.isnan(excess), np.inf, np.maximum(excess, 0))[()]


def _line(point: Point) -> Point:
    return {key: point[key] for key in ("at", "value", "slope")}


def _where(choice: Any, first: Any, second: Any) -> Any:
    def pick(a: Any, b: Any) -> Any:
        return np.where(choice, a, b)[()]

    return tree.map(pick, first, second)


def _between(s: State) -> Any:
    """A point within the interval: where the cubic through the three last points is lowest, or the
    parabola, or the middle, whichever is the first to be well inside."""
    low, high, third = s["low"], s["high"], s["third"]
    width = np.abs(high["at"] - low["at"])
    left = np.minimum(high["at"], low["at"])
    right = np.maximum(high["at"], low["at"])
    rise, to_high, to_third = low["slope"], high["at"] - low["at"], third["at"] - low["at"]
    over_high = high["value"] - low["value"] - rise * to_high
    over_third = third["value"] - low["value"] - rise * to_third
    scale, ok = _divisor((to_high * to_third) ** 2 * (to_high - to_third))
    a = (to_third**2 * over_high - to_high**2 * over_third) / scale
    b = (to_high**3 * over_third - to_third**3 * over_high) / scale
    radical = b * b - 3 * a * rise
    bottom, ok_a = _divisor(3 * a)
    cubic = low["at"] + (np.sqrt(np.maximum(radical, 0)) - b) / bottom
    inside = (cubic > left + 0.2 * width) & (cubic < right - 0.2 * width)
    use_cubic = ok & ok_a & (radical >= 0) & inside
    square, ok = _divisor(to_high**2)
    bend, ok_b = _divisor(2 * over_high / square)
    parabola = low["at"] - rise / bend
    inside = (parabola > left + 0.1 * width) & (parabola < right - 0.1 * width)
    middle = np.where(ok & ok_b & inside, parabola, (low["at"] + high["at"]) / 2)
    return np.where(use_cubic, cubic, middle)[()]


def _divisor(number: Any) -> tuple[Any, Any]:
    """A number to divide by, and whether it is the one that was given and not 0 or NaN."""
    good = np.isfinite(number) & (number != 0)
    return np.where(good, number, 1.0), good
