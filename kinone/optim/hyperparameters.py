"""Any hyper-parameter in the state, to be read, changed and differentiated with respect to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import source
from ..core import Tracer
from .base import GradientTransformation, Params, State, Updates, transformation


def inject_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = np.float64,
) -> Callable[..., GradientTransformation]:
    """`inner_factory` whose numbers and schedules stand in the state, under `hyperparams`.

    State: `step`, `hyperparams`, a dict of numbers by the factory's argument names, and
    `inner_state`. A number that is changed there holds from the next update on, in a compiled step
    too; a schedule overwrites its own with what the update uses. Arguments that are no numbers,
    booleans and those named in `static_args` stay outside: name there a callable that is no
    schedule, such as a mask, and a number that decides on shapes or steps.

    For the learning rate alone, every optimiser has `state["lr"]` and `set_learning_rate`.

        >>> from kinone import optim
        >>> optimizer = inject_hyperparams(optim.sgd)(learning_rate=0.1, momentum=0.5)
        >>> state = optimizer.init(np.zeros(1))
        >>> {key: float(value) for key, value in state["hyperparams"].items()}
        {'learning_rate': 0.1, 'momentum': 0.5}
        >>> state["hyperparams"]["learning_rate"] = 0.2
        >>> optimizer.update(np.ones(1), state)[0]
        array([-0.2])

    Raises `ValueError` for a static argument that the factory has no name for.
    """
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    unknown = static - set(signature.parameters)
    if unknown:
        raise ValueError(
            f"inject_hyperparams: {inner_factory.__name__} has no argument {sorted(unknown)}; "
            f"there are {list(signature.parameters)}, at {source.here()}"
        )

    @functools.wraps(inner_factory)
    def made(*args: Any, **kwargs: Any) -> GradientTransformation:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        numbers, schedules, others = {}, {}, {}
        for name, value in bound.arguments.items():
            if name in static or isinstance(value, bool | np.bool_):
                others[name] = value
            elif callable(value):
                schedules[name] = value
            elif isinstance(value, int | float | np.number | np.ndarray | Tracer):
                numbers[name] = value
            else:
                others[name] = value
        positional = {
            name for name, each in signature.parameters.items() if each.kind is each.POSITIONAL_ONLY
        }

        def build(hyperparams: dict[str, Any]) -> GradientTransformation:
            values = {**bound.arguments, **others, **hyperparams}
            first = [values.pop(name) for name in signature.parameters if name in positional]
            return inner_factory(*first, **values)

        def at(step: Any) -> dict[str, Any]:
            return {name: stored(schedule(step)) for name, schedule in schedules.items()}

        def stored(value: Any) -> Any:
            if isinstance(value, Tracer):
                return value
            known = np.asarray(value)
            return known.astype(hyperparam_dtype)[()] if known.dtype.kind == "f" else known[()]

        def init(params: Params) -> State:
            hyperparams = {name: stored(value) for name, value in numbers.items()}
            hyperparams |= at(np.int64(0))
            inner_state = build(hyperparams).init(params)
            return {"step": np.int64(0), "hyperparams": hyperparams, "inner_state": inner_state}

        def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
            hyperparams = {**state["hyperparams"], **at(state["step"])}
            inner = build(hyperparams)
            u, inner_state = inner.step(updates, state["inner_state"], params, **extra)
            return u, {
                "step": state["step"] + 1,
                "hyperparams": {name: stored(value) for name, value in hyperparams.items()},
                "inner_state": inner_state,
            }

        return transformation(build(numbers | at(np.int64(0))).name, init, step)

    return made
