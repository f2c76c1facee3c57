"""Learning rates that change with the step: plain functions `step -> float`.

Step 0 is the first update. A schedule also takes an array of steps, which is how to plot it, and a
traced step, which is how a compiled training step uses it.

    >>> warm = warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=10, decay_steps=100)
    >>> [round(warm(step), 4) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

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
            f"piecewise_constant_schedule wants scales ≥ 0, got {boundaries_and_scales}"
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
        raise ValueError(f"cosine_decay_schedule wants decay_steps > 0, got {decay_steps}")

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
            f"warmup_steps, got {decay_steps} and {warmup_steps}"
        )
    alpha = 0.0 if peak_value == 0.0 else end_value / peak_value
    return join_schedules(
        [
            linear_schedule(init_value, peak_value, warmup_steps),
            cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent),
        ],
        [warmup_steps],
    )


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another; each counts its steps from the boundary where it begins.

    >>> joined = join_schedules([constant_schedule(1.0), linear_schedule(1.0, 0.0, 4)], [10])
    >>> [joined(step) for step in (9, 10, 12)]
    [1.0, 1.0, 0.5]

    Raises `ValueError` unless there is one boundary less than schedules.
    """
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules wants one boundary between each two schedules, got "
            f"{len(schedules)} schedules and {len(boundaries)} boundaries"
        )

    def schedule(step: Any) -> Any:
        value = schedules[0](step)
        for boundary, later in zip(boundaries, schedules[1:], strict=True):
            value = np.where(step < boundary, value, later(step - boundary))
        return _plain(value)

    return schedule
