"""The links that optimisers are made of. Names, arguments and numbers are optax's.

In the formulas g is what comes in (the gradient, or the last link's result) and u what goes out.
Leaves of integer type are not trained: every link passes them on unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Tracer
from .base import (
    GradientTransformation,
    Params,
    State,
    Updates,
    needs_params,
    stateless,
    transformation,
)
from .leaves import like, map_leaves, map_trained, select, trains, weak, zeros_like, zip_leaves
from .schedules import Schedule, constant_schedule

# ---- nothing and zero ----------------------------------------------------------------------------


def identity() -> GradientTransformation:
    """u = g.

    >>> identity().update(2.0, {})
    (2.0, {})
    """
    return stateless("identity", lambda updates, params: updates)


def set_to_zero() -> GradientTransformation:
    """u = 0: the parameters stay as they are.

    >>> set_to_zero().update(np.ones(2), {})[0]
    array([0., 0.])
    """
    return stateless("zero", lambda updates, params: tree.map(zeros_like, updates))


def freeze(mask: Any) -> GradientTransformation:
    """u = 0 for the leaves that `mask` selects, u = g for the others; the last link of a chain.

    `mask` is a path pattern such as `"encoder/**"`, or anything that `select` takes; `init` raises
    `ValueError` for a pattern that no leaf fits.

        >>> updates, _ = freeze("encoder/**").update({"encoder": {"w": 1.0}, "head": 2.0}, {})
        >>> float(updates["encoder"]["w"]), updates["head"]
        (0.0, 2.0)
    """

    def init(params: Params) -> State:
        select(params, mask)  # a pattern that nothing fits is an error at once
        return {}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        frozen = select(updates, mask)
        return tree.map(lambda flag, g: zeros_like(g) if flag else g, frozen, updates), state

    return transformation("freeze", init, step)


# ---- scaling -------------------------------------------------------------------------------------


def scale(step_size: float) -> GradientTransformation:
    """u = step_size · g.

    >>> scale(-0.5).update(np.array([2.0]), {})[0]
    array([-1.])
    """
    factor = weak("scale", "step_size", step_size)
    return stateless("scale", lambda updates, params: _scaled(factor, updates))


def _scaled(factor: Any, updates: Updates) -> Updates:
    return map_trained(lambda g, out: np.multiply(g, like(factor, g), out=out), updates)


def _counted(
    name: str,
    what: str,
    number: float | Schedule,
    apply: Callable[[Any, Updates, Params], Updates],
    mask: Any = None,
) -> GradientTransformation:
    """A transformation, of the leaves that `mask` selects, by a number that a schedule may change.

    Its state is `step`, the updates so far, and `value`, the number of the last update (at first:
    of the update to come).
    """
    schedule: Schedule = number if callable(number) else constant_schedule(weak(name, what, number))
    what = f"{what}(step)"
    weak(name, what, schedule(np.int64(0)))  # adam(constant_schedule) fails here, not later

    def init(params: Params) -> State:
        select(params, mask)  # a pattern that nothing fits is an error at once
        return {"step": np.int64(0), "value": _leaf(schedule(np.int64(0)))}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        value = weak(name, what, schedule(state["step"]))
        new_state = {"step": state["step"] + 1, "value": _leaf(value)}
        return apply(value, updates, params), new_state

    return transformation(name, init, step)


def _leaf(value: Any) -> Array:
    return value.astype(np.float64) if isinstance(value, Tracer) else np.float64(value)


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """u = f(step) · g, f being a function of the number of updates so far.

    State: `{"step", "value"}`; see `scale_by_learning_rate` for the sign that learning wants.

        >>> link = scale_by_schedule(lambda step: 1.0 / (1 + step))
        >>> state = link.init(0.0)
        >>> updates, state = link.update(np.float64(6.0), state)
        >>> float(link.update(np.float64(6.0), state)[0])
        3.0
    """
    return _counted(
        "schedule", "step_size_fn", step_size_fn, lambda value, g, params: _scaled(value, g)
    )


def scale_by_learning_rate(
    learning_rate: float | Schedule, *, flip_sign: bool = True
) -> GradientTransformation:
    """u = -learning_rate · g: downhill. The learning rate is a number or a schedule.

    State: `step`, an integer; `value`, the learning rate that the last update used (before the
    first: that it will use); `manual`, whether `set_learning_rate` has set it. With
    `flip_sign=False` the sign stays.

        >>> link = scale_by_learning_rate(0.1)
        >>> updates, state = link.update(np.ones(1), link.init(np.zeros(1)))
        >>> updates, int(state["step"]), float(state["value"])
        (array([-0.1]), 1, 0.1)
    """
    rate = learning_rate if callable(learning_rate) else weak("lr", "learning_rate", learning_rate)
    schedule: Schedule = rate if callable(rate) else constant_schedule(rate)
    sign = -1 if flip_sign else 1
    weak("lr", "learning_rate(step)", schedule(np.int64(0)))  # adam(constant_schedule) fails here

    def init(params: Params) -> State:
        first = _leaf(schedule(np.int64(0)))
        return {"step": np.int64(0), "value": first, "manual": np.bool_(False)}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        manual, count = state["manual"], state["step"]
        if isinstance(manual, Tracer):
            asked = weak("lr", "learning_rate(step)", schedule(count))
            value = np.where(manual, state["value"], _leaf(asked))
        else:
            value = state["value"] if manual else schedule(count)
        value = weak("lr", "learning_rate(step)", value)
        new_state = {"step": count + 1, "value": _leaf(value), "manual": manual}
        return _scaled(sign * value, updates), new_state

    return transformation("lr", init, step)


def set_learning_rate(state: Any, value: float | None) -> Any:
    """The optimiser's state with a learning rate that holds from the next update on.

    It stays until it is set again; None gives it back to the schedule (or number) that the
    optimiser was made with, which has gone on counting. A compiled step need not be compiled again.
    Every learning rate of the state is set, also those of optimisers within optimisers: give a part
    of the state to set one.

        >>> from kinone import optim
        >>> optimizer = optim.adam(optim.linear_schedule(1.0, 0.0, 10))
        >>> state = set_learning_rate(optimizer.init(1.0), 0.5)
        >>> _, state = optimizer.update(1.0, state)
        >>> float(state["lr"]["value"])
        0.5
        >>> _, state = optimizer.update(1.0, set_learning_rate(state, None))
        >>> float(state["lr"]["value"])
        0.9

    Raises `ValueError` for a state without a learning rate.
    """
    if value is not None:
        value = weak("set_learning_rate", "value", value)
    changed, count = _with_learning_rate(state, value)
    if count == 0:
        raise ValueError(
            f"set_learning_rate: there is no learning rate in this state, at {source.here()}\n"
            "  It wants the state of an optimiser that ends in scale_by_learning_rate."
        )
    return changed


def get_learning_rate(state: Any) -> Array:
    """The learning rate that the last update used, from an optimiser's state.

        >>> from kinone import optim
        >>> optimizer = optim.adam(optim.linear_schedule(1.0, 0.0, 10))
        >>> _, state = optimizer.update(1.0, optimizer.init(1.0))
        >>> float(get_learning_rate(state))
        1.0

    Raises `ValueError` for a state without a learning rate, and for one of several optimisers: give
    the part of the state that is meant.
    """
    found = _learning_rates(state, "")
    if len(found) != 1:
        several = "are " + ", ".join(found) if found else "is none"
        raise ValueError(
            f"get_learning_rate: of learning rates in this state there {several}, "
            f"at {source.here()}\n  Give it the part of one optimiser."
        )
    (rate,) = found.values()
    return rate


def _learning_rates(state: Any, path: str) -> dict[str, Array]:
    if not isinstance(state, dict):
        return {}
    if set(state) == {"step", "value", "manual"}:
        return {path or "the state": state["value"]}
    rates: dict[str, Array] = {}
    for key, each in state.items():
        rates.update(_learning_rates(each, f"{path}/{key}" if path else str(key)))
    return rates


def _with_learning_rate(state: Any, value: Any) -> tuple[Any, int]:
    if not isinstance(state, dict):
        return state, 0
    if set(state) == {"step", "value", "manual"}:
        new = state["value"] if value is None else _leaf(value)
        return {**state, "value": new, "manual": np.bool_(value is not None)}, 1
    found = {key: _with_learning_rate(each, value) for key, each in state.items()}
    return {key: each for key, (each, _) in found.items()}, sum(n for _, n in found.values())


# ---- weight decay --------------------------------------------------------------------------------


def add_decayed_weights(
    weight_decay: float | Schedule = 0.0, mask: Any = None
) -> GradientTransformation:
    """u = g + weight_decay · p, for the parameters p that `mask` selects.

    `mask` is a path pattern such as `"**/kernel"`, a list of patterns, a tree of booleans or a
    function of the parameters that returns one (see `select`, which shows what it selects); None
    means all. State: `{"step", "value"}` as in `scale_by_schedule`.

        >>> link = add_decayed_weights(0.1, mask="**/kernel")
        >>> p = {"kernel": np.array([2.0]), "bias": np.array([2.0])}
        >>> link.update({"kernel": np.zeros(1), "bias": np.zeros(1)}, link.init(p), p)[0]
        {'kernel': array([0.2]), 'bias': array([0.])}

    Raises `ValueError` when no parameter fits a pattern, and in `update` without parameters: write
    `update(gradients, state, params)`.
    """

    def decayed(rate: Any, updates: Updates, params: Params) -> Updates:
        params = needs_params("weight decay", params)
        columns = zip_leaves("decay", "gradients", updates, ("parameters", params))
        flags = tree.leaves(select(params, mask))

        def add(g: Array, p: Array, out: Any) -> Any:
            shift = np.multiply(p, like(rate, p), out=out[0])
            return (np.add(shift, g, out=out[0]),)

        chosen = [i for i, g in enumerate(columns[0]) if flags[i] and trains(g)]
        results = list(columns[0])
        found = map_leaves(add, *[[column[i] for i in chosen] for column in columns])
        for i, each in zip(chosen, found, strict=True):
            results[i] = each[0]
        return tree.unflatten(tree.structure(updates), results)

    return _counted("decay", "weight_decay", weight_decay, decayed, mask)
