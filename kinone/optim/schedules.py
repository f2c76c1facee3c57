"""Learning rates that change with the step: plain functions `step -> float`.

Step 0 is the first update. A schedule also takes an array of steps, which is how to plot it, and a
traced step, which is how a compiled training step uses it.

    >>> warm = warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=10, decay_steps=100)
    >>> [round(warm(step), 4) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Tracer

Schedule = Callable[[Any], Any]


def _plain(value: Any) -> Any:
    """A Python float, which is weak (NEP 50), where the value is one concrete number."""
    if isinstance(value, Tracer) or np.ndim(value) > 0:
        return value
    return float(value)


def constant_schedule(value: float) -> Schedule:
    """Always `value`.

    >>> constant_schedule(0.1)(1000)
    0.1
    """

    def schedule(step: Any) -> Any:
        if isinstance(step, Tracer) or np.ndim(step) == 0:
            return value
        return np.full(np.shape(step), value)

    return schedule


def polynomial_schedule(
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From `init_value` to `end_value` along (1 - t/T)^power, T being `transition_steps`.

    `(init - end) · (1 - t/T)^power + end`, with t counted from `transition_begin` and held within
    0 … T. With T ≤ 0 the value stays at `init_value`.

        >>> polynomial_schedule(1.0, 0.0, power=2, transition_steps=4)(2)
        0.25
    """
    if transition_steps <= 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)

    def schedule(step: Any) -> Any:
        rest = 1 - np.clip(step - begin, 0, transition_steps) / transition_steps
        if power != 1:
            rest = np.power(rest, power)
        return _plain((init_value - end_value) * rest + end_value)

    return schedule


def linear_schedule(
    init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """A straight line from `init_value` to `end_value` in `transition_steps` steps, then level.

    >>> linear_schedule(0.0, 1.0, transition_steps=4)(1)
    0.25
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def piecewise_constant_schedule(
    init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """Multiplied by `scale` from each `boundary` step on: `{boundary: scale}`; scales accumulate.

    The classical ImageNet schedule divides by ten twice:

        >>> steps = piecewise_constant_schedule(0.1, {30: 0.1, 60: 0.1})
        >>> [round(steps(step), 6) for step in (29, 30, 60)]
        [0.1, 0.01, 0.001]

    Raises `ValueError` for a negative scale.
    """
    factors = sorted((boundaries_and_scales or {}).items())
    if any(scale < 0 for _, scale in factors):
        raise ValueError(
            f"piecewise_constant_schedule wants scales ≥ 0, got {boundaries_and_scales}, "
            f"at {source.here()}"
        )

    def schedule(step: Any) -> Any:
        value: Any = constant_schedule(init_value)(step)
        for boundary, scale in factors:
            value = np.where(step >= boundary, scale * value, value)
        return _plain(value)

    return schedule


def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """`init_value · decay_rate^(t/T)`, T being `transition_steps`, t counted from the begin.

    With `staircase` t/T is rounded down: step decay, constant for T steps at a time. `end_value` is
    where the decay stops: a lower bound for a rate below 1, else an upper one. With T ≤ 0 or a
    rate of 0 the value stays at `init_value`.

        >>> halved = exponential_decay(1.0, transition_steps=10, decay_rate=0.5, staircase=True)
        >>> [halved(step) for step in (0, 9, 10, 25)]
        [1.0, 1.0, 0.5, 0.25]
    """
    if transition_steps <= 0 or decay_rate == 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)
    bound = np.maximum if decay_rate < 1 else np.minimum

    def schedule(step: Any) -> Any:
        since = step - begin
        exponent = since / transition_steps
        if staircase:
            exponent = np.floor(exponent)
        value = np.where(since <= 0, init_value, init_value * np.power(decay_rate, exponent))
        return _plain(value if end_value is None else bound(value, end_value))

    return schedule


def cosine_decay_schedule(
    init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0
) -> Schedule:
    """Half a cosine from `init_value` down to `alpha · init_value` in `decay_steps` steps.

    `init · ((1 - α) · (½ (1 + cos π t/T))^exponent + α)`, level after T = `decay_steps`.

        >>> cosine_decay_schedule(0.1, decay_steps=100)(50)
        0.05

    Raises `ValueError` when `decay_steps` is not positive. (Loshchilov & Hutter 2017,
    arXiv:1608.03983)
    """
    if decay_steps <= 0:
        raise ValueError(
            f"cosine_decay_schedule wants decay_steps > 0, got {decay_steps}, at {source.here()}"
        )

    def schedule(step: Any) -> Any:
        cosine = 0.5 * (1 + np.cos(np.pi * np.minimum(step, decay_steps) / decay_steps))
        if exponent != 1:
            cosine = np.power(cosine, exponent)
        return _plain(init_value * ((1 - alpha) * cosine + alpha))

    return schedule


def warmup_constant_schedule(init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    """A straight line to `peak_value` in `warmup_steps` steps, then level.

    >>> warmup_constant_schedule(0.0, 0.1, warmup_steps=10)(20)
    0.1
    """
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Schedule:
    """A straight line to `peak_value`, then half a cosine down to `end_value`.

    `decay_steps` is the length of the whole schedule, its `warmup_steps` included. Raises
    `ValueError` unless it is the larger of the two.

        >>> warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=2, decay_steps=6)(4)
        0.5
    """
    if decay_steps <= warmup_steps:
        raise ValueError(
            "warmup_cosine_decay_schedule: decay_steps counts the warm-up too and must exceed "
            f"warmup_steps, got {decay_steps} and {warmup_steps}, at {source.here()}"
        )
    alpha = 0.0 if peak_value == 0.0 else end_value / peak_value
    return join_schedules(
        [
            linear_schedule(init_value, peak_value, warmup_steps),
            cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent),
        ],
        [warmup_steps],
    )


def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """A straight line to `peak_value`, then `exponential_decay`, counted from the end of the line.

    >>> schedule = warmup_exponential_decay_schedule(0.0, 1.0, 2, 3, decay_rate=0.5)
    >>> [schedule(step) for step in (1, 2, 5)]
    [0.5, 1.0, 0.5]
    """
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return join_schedules(
        [linear_schedule(init_value, peak_value, warmup_steps), decay], [warmup_steps]
    )


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Warm restarts: one `warmup_cosine_decay_schedule` after another, from the arguments of each.

        >>> cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 1}
        >>> restarts = sgdr_schedule([{**cycle, "decay_steps": 3}, {**cycle, "decay_steps": 5}])
        >>> [round(restarts(step), 2) for step in range(8)]
        [0.0, 1.0, 0.5, 0.0, 1.0, 0.85, 0.5, 0.15]

    (Loshchilov & Hutter 2017, arXiv:1608.03983)
    """
    every = list(cosine_kwargs)
    ends = np.cumsum([each["decay_steps"] for each in every]).tolist()
    return join_schedules([warmup_cosine_decay_schedule(**each) for each in every], ends[:-1])


def piecewise_interpolate_schedule(
    interpolate_type: str,
    init_value: float,
    boundaries_and_scales: Mapping[int, float] | None = None,
) -> Schedule:
    """From one value to the next, "linear" or by half a "cosine": `{boundary: scale}`.

    The value at each boundary is `scale` times that at the one before; the first is `init_value`,
    at step 0, and after the last boundary the value is level.

        >>> up_and_down = piecewise_interpolate_schedule("linear", 1.0, {2: 3.0, 4: 0.5})
        >>> [up_and_down(step) for step in range(6)]
        [1.0, 2.0, 3.0, 2.25, 1.5, 1.5]

    Raises `ValueError` for another type or a negative scale.
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ValueError(
            f"interpolate_type is 'linear' or 'cosine', not {interpolate_type!r}, "
            f"at {source.here()}"
        )
    factors = sorted((boundaries_and_scales or {}).items())
    if any(factor < 0 for _, factor in factors):
        raise ValueError(
            f"piecewise_interpolate_schedule wants scales ≥ 0, got {boundaries_and_scales}, "
            f"at {source.here()}"
        )
    bounds = [0, *[boundary for boundary, _ in factors]]
    values = np.cumprod([init_value, *[factor for _, factor in factors]]).tolist()

    def schedule(step: Any) -> Any:
        value: Any = constant_schedule(values[-1])(step)
        for i in reversed(range(len(factors))):
            begin, end = bounds[i], bounds[i + 1]
            part = (step - begin) / max(end - begin, 1)
            if interpolate_type == "linear":
                here = (values[i + 1] - values[i]) * part + values[i]
            else:
                half = (values[i] - values[i + 1]) / 2
                here = values[i + 1] + half * (np.cos(np.pi * part) + 1)
            value = np.where((begin <= step) & (step < end), here, value)
        return _plain(value)

    return schedule


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """One cycle of straight lines: up to `peak_value`, back, and down to nearly nothing.

    From `peak_value / div_factor` to `peak_value` at `pct_start` of `transition_steps`, back at
    `pct_final`, and at the end `final_div_factor` times lower still.

        >>> schedule = linear_onecycle_schedule(100, 1.0, div_factor=4.0)
        >>> [schedule(step) for step in (0, 15, 30, 85)]
        [0.25, 0.625, 1.0, 0.25]

    Raises `ValueError` unless `transition_steps` is positive. (Smith & Topin 2018,
    "Super-convergence", arXiv:1708.07120)
    """
    _check_cycle("linear_onecycle_schedule", transition_steps)
    return piecewise_interpolate_schedule(
        "linear",
        peak_value / div_factor,
        {
            int(pct_start * transition_steps): div_factor,
            int(pct_final * transition_steps): 1.0 / div_factor,
            transition_steps: 1.0 / final_div_factor,
        },
    )


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """One cycle of half cosines: up to `peak_value`, then down to nearly nothing.

    From `peak_value / div_factor` to `peak_value` at `pct_start` of `transition_steps`, then to
    `peak_value / (div_factor · final_div_factor)`: PyTorch's `OneCycleLR`.

        >>> schedule = cosine_onecycle_schedule(100, 1.0, pct_start=0.5, div_factor=4.0)
        >>> [round(schedule(step), 3) for step in (0, 25, 50, 75)]
        [0.25, 0.625, 1.0, 0.5]

    Raises `ValueError` unless `transition_steps` is positive. (Smith & Topin 2018,
    "Super-convergence", arXiv:1708.07120)
    """
    _check_cycle("cosine_onecycle_schedule", transition_steps)
    return piecewise_interpolate_schedule(
        "cosine",
        peak_value / div_factor,
        {
            int(pct_start * transition_steps): div_factor,
            transition_steps: 1.0 / (div_factor * final_div_factor),
        },
    )


def _check_cycle(name: str, transition_steps: int) -> None:
    if transition_steps <= 0:
        raise ValueError(
            f"{name} wants transition_steps > 0, got {transition_steps}, at {source.here()}"
        )


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another; each counts its steps from the boundary where it begins.

    >>> joined = join_schedules([constant_schedule(1.0), linear_schedule(1.0, 0.0, 4)], [10])
    >>> [joined(step) for step in (9, 10, 12)]
    [1.0, 1.0, 0.5]

    Raises `ValueError` unless there is one boundary less than schedules, and they are in order.
    """
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules wants one boundary between each two schedules, got "
            f"{len(schedules)} schedules and {len(boundaries)} boundaries, at {source.here()}"
        )
    if sorted(boundaries) != list(boundaries):
        raise ValueError(
            f"join_schedules wants its boundaries in order, got {list(boundaries)}, "
            f"at {source.here()}"
        )

    def schedule(step: Any) -> Any:
        value = schedules[0](step)
        for boundary, later in zip(boundaries, schedules[1:], strict=True):
            value = np.where(step < boundary, value, later(step - boundary))
        return _plain(value)

    return schedule
