"""Steps refused or corrected: NaN, infinity, negative parameters, losses in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype
from ..transforms import cond
from .base import GradientTransformation, Params, State, Updates, needs_params, transformation
from .clipping import global_norm
from .leaves import like, map_trained, trains, weak, whole_leaves, zeros_like


def all_finite(updates: Updates) -> Array:
    """Whether no number of the tree is infinite or NaN.

    >>> bool(all_finite({"a": np.ones(2)})), bool(all_finite({"a": np.array([1.0, np.inf])}))
    (True, False)
    """
    found: Any = np.bool_(True)
    for leaf in tree.leaves(updates):
        if trains(leaf):
            found = found & np.all(np.isfinite(leaf))
    return found


def skip_not_finite(
    updates: Updates, gradient_step: Any, params: Params | None
) -> tuple[Array, dict[str, Array]]:
    """For `MultiSteps`: leave out a gradient that has a NaN or an infinity.

    >>> skip, about = skip_not_finite({"w": np.array([1.0, np.nan])}, 0, None)
    >>> bool(skip), int(about["num_not_finite"])
    (True, 1)
    """
    count: Any = np.int64(0)
    for leaf in tree.leaves(updates):
        if trains(leaf):
            count = count + np.sum(~np.isfinite(leaf))
    return count > 0, {"should_skip": count > 0, "num_not_finite": count}


def skip_large_updates(
    updates: Updates, gradient_step: Any, params: Params | None, max_squared_norm: float
) -> tuple[Array, dict[str, Array]]:
    """For `MultiSteps`: leave out a gradient whose squared norm is not below a limit.

    >>> import functools
    >>> skip = functools.partial(skip_large_updates, max_squared_norm=20.0)
    >>> bool(skip({"w": np.array([3.0, 4.0])}, 0, None)[0])
    True
    """
    square = global_norm(updates) ** 2
    chosen = ~(square < max_squared_norm)
    return chosen, {"should_skip": chosen, "norm_squared": square}


def zero_nans() -> GradientTransformation:
    """u = g, and 0 where g is NaN.

    State: `found_nan`, whether there was one, leaf by leaf.

        >>> link = zero_nans()
        >>> updates, state = link.update(np.array([1.0, np.nan]), link.init(np.zeros(2)))
        >>> updates, bool(state["found_nan"])
        (array([1., 0.]), True)
    """

    def init(params: Params) -> State:
        return {"found_nan": tree.map(lambda p: np.bool_(False), params)}

    def found(g: Array) -> Any:
        return np.any(np.isnan(g)) if trains(g) else np.bool_(False)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        cleaned = map_trained(lambda g, out: np.where(np.isnan(g), 0, g), updates)
        return cleaned, {"found_nan": tree.map(found, updates)}

    return transformation("zero_nans", init, step)


def conditionally_transform(
    inner: GradientTransformation,
    should_transform_fn: Callable[..., Any],
    forward_extra_args: bool = False,
) -> GradientTransformation:
    """`inner` on the steps of which a function of their number says so; on the others u = g.

    The function takes the number of updates so far and, with `forward_extra_args`, what `update`
    takes by name. State: `step`, and `inner_state`, which stays on the other steps.

        >>> from kinone import optim
        >>> link = conditionally_transform(optim.clip(1.0), lambda step: step < 1)
        >>> updates, state = link.update(np.array([5.0]), link.init(np.zeros(1)))
        >>> updates, link.update(np.array([5.0]), state)[0]
        (array([1.]), array([5.]))
    """
    return _conditional(inner, should_transform_fn, forward_extra_args, lambda updates: updates)


def conditionally_mask(
    inner: GradientTransformation,
    should_transform_fn: Callable[..., Any],
    forward_extra_args: bool = False,
) -> GradientTransformation:
    """As `conditionally_transform`, and no step at all on the others: u = 0.

    >>> from kinone import optim
    >>> optimizer = conditionally_mask(optim.sgd(1.0), lambda step: step % 2 == 1)
    >>> updates, state = optimizer.update(np.array([5.0]), optimizer.init(np.zeros(1)))
    >>> updates, optimizer.update(np.array([5.0]), state)[0]
    (array([0.]), array([-5.]))
    """
    return _conditional(
        inner,
        should_transform_fn,
        forward_extra_args,
        lambda updates: tree.map(zeros_like, updates),
    )


def _conditional(
    inner: GradientTransformation,
    condition: Callable[..., Any],
    forward: bool,
    otherwise: Callable[[Updates], Updates],
) -> GradientTransformation:
    def init(params: Params) -> State:
        return {"step": np.int64(0), "inner_state": inner.init(params)}

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        count = state["step"]
        chosen = condition(count, **extra) if forward else condition(count)
        u, new_state = cond(
            chosen,
            lambda g, old: inner.step(g, old, params, **extra),
            lambda g, old: (otherwise(g), old),
            updates,
            state["inner_state"],
        )
        return u, {"step": count + 1, "inner_state": new_state}

    return transformation("conditional", init, step)


def keep_params_nonnegative() -> GradientTransformation:
    """u = g, and -p where p + g would be negative; the last link of a chain.

    `update` needs the parameters.

        >>> keep_params_nonnegative().update(np.array([-1.0, -3.0]), {}, np.array([2.0, 2.0]))[0]
        array([-1., -2.])
    """

    def held(g: Array, p: Array) -> Array:
        return np.where(p + g < 0, -p, g)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        params = needs_params("keep_params_nonnegative", params)
        return whole_leaves("nonnegative", held, updates, ("parameters", params)), state

    return transformation("nonnegative", lambda params: {}, step)


def apply_if_finite(
    inner: GradientTransformation, max_consecutive_errors: int
) -> GradientTransformation:
    """`inner` where every gradient is finite; otherwise no step, and the state of `inner` stays.

    After `max_consecutive_errors` refusals in a row the next gradient goes through whatever it is,
    so that a broken run shows. State: `notfinite_count` (in a row), `last_finite`,
    `total_notfinite` and `inner_state`.

        >>> import kinone.optim as optim
        >>> optimizer = apply_if_finite(optim.sgd(1.0), max_consecutive_errors=3)
        >>> updates, state = optimizer.update(np.array([np.nan]), optimizer.init(np.zeros(1)))
        >>> updates, int(state["notfinite_count"]), int(state["inner_state"]["lr"]["step"])
        (array([0.]), 1, 0)
    """

    def init(params: Params) -> State:
        return {
            "notfinite_count": np.int64(0),
            "last_finite": np.bool_(True),
            "total_notfinite": np.int64(0),
            "inner_state": inner.init(params),
        }

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        finite = all_finite(updates)
        count = np.where(finite, 0, state["notfinite_count"] + 1)[()]
        updates, inner_state = _if(
            finite | (count > max_consecutive_errors), inner, updates, state, params, extra
        )
        return updates, {
            "notfinite_count": count,
            "last_finite": finite,
            "total_notfinite": state["total_notfinite"] + np.where(finite, 0, 1)[()],
            "inner_state": inner_state,
        }

    return transformation("apply_if_finite", init, step)


def _if(
    wanted: Any,
    inner: GradientTransformation,
    updates: Updates,
    state: State,
    params: Params | None,
    extra: dict[str, Any],
) -> Any:
    """A step of `inner` and its new state where `wanted`, otherwise zeros and the old state."""
    return cond(
        wanted,
        lambda updates, state, params: inner.step(updates, state, params, **extra),
        lambda updates, state, params: (tree.map(zeros_like, updates), state),
        updates,
        state["inner_state"],
        params,
    )


# ---- losses in half precision --------------------------------------------------------------------


def dynamic_loss_scale(
    inner: GradientTransformation,
    init: float = 2.0**15,
    period: int = 2000,
    factor: float = 2.0,
    min_scale: float = 1.0,
) -> GradientTransformation:
    """`inner` for gradients of a loss that `scale_loss` has scaled; the scale is sought on the go.

    Small float16 gradients vanish; those of a loss times 2¹⁵ do not. The gradients are divided by
    the scale. Where one is not finite there is no step and the scale is divided by `factor` (down
    to `min_scale`); after `period` good steps in a row it is multiplied by it. State: `scale`,
    `good_steps` (since the last change), `skipped` (in all) and `inner_state`. Not a link of a
    chain but round the whole of it: its clipping must see the true gradients.

        >>> import kinone as kn
        >>> optimizer = dynamic_loss_scale(kn.optim.sgd(0.1), init=1024.0)
        >>> p = np.array([3.0])
        >>> state = optimizer.init(p)
        >>> gradients = kn.grad(lambda p: scale_loss(np.sum(p**2), state))(p)
        >>> updates, state = optimizer.update(gradients, state, p)
        >>> gradients, updates.round(3), float(state["scale"])
        (array([6144.]), array([-0.6]), 1024.0)
        >>> updates, state = optimizer.update(np.array([np.inf]), state, p)
        >>> updates, float(state["scale"]), int(state["skipped"])
        (array([0.]), 512.0, 1)

    Raises `ValueError` for a `factor` of 1 or less or a `period` below 1. (Micikevicius et al.
    2018, "Mixed precision training", arXiv:1710.03740)
    """
    if factor <= 1 or period < 1:
        raise ValueError(
            f"dynamic_loss_scale wants factor > 1 and period ≥ 1, got {factor} and {period}, at "
            f"{source.here()}"
        )
    first, least = weak("loss_scale", "init", init), weak("loss_scale", "min_scale", min_scale)
    return _loss_scale(inner, first, period, weak("loss_scale", "factor", factor), least)


def static_loss_scale(inner: GradientTransformation, scale: float) -> GradientTransformation:
    """`inner` for gradients of a loss that `scale_loss` has multiplied by `scale`, always the same.

    The gradients are divided by it. A gradient that is not finite gives no step, as in
    `dynamic_loss_scale`, whose state this has.

        >>> import kinone.optim as optim
        >>> optimizer = static_loss_scale(optim.sgd(0.1), 128.0)
        >>> optimizer.update(np.array([256.0]), optimizer.init(np.zeros(1)))[0]
        array([-0.2])
    """
    number = weak("loss_scale", "scale", scale)
    return _loss_scale(inner, number, 1, 1.0, number)


def _loss_scale(
    inner: GradientTransformation, first: float, period: int, factor: float, least: float
) -> GradientTransformation:
    def init(params: Params) -> State:
        return {
            "scale": np.float64(first),
            "good_steps": np.int64(0),
            "skipped": np.int64(0),
            "inner_state": inner.init(params),
        }

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        scale = state["scale"]
        finite = all_finite(updates)
        updates = map_trained(lambda g, out: np.divide(g, like(scale, g), out=out), updates)
        updates, inner_state = _if(finite, inner, updates, state, params, extra)
        good = np.where(finite, state["good_steps"] + 1, 0)[()]
        grow = good >= period
        lower = np.where(finite, scale, np.maximum(scale / factor, least))
        return updates, {
            "scale": np.where(grow, scale * factor, lower)[()],
            "good_steps": np.where(grow, 0, good)[()],
            "skipped": state["skipped"] + np.where(finite, 0, 1)[()],
            "inner_state": inner_state,
        }

    return transformation("loss_scale", init, step)


def scale_loss(loss: Array, state: Any) -> Array:
    """The loss times the scale that the state of a loss-scaling optimiser holds, in its dtype.

    >>> import kinone.optim as optim
    >>> optimizer = static_loss_scale(optim.sgd(0.1), 128.0)
    >>> float(scale_loss(0.5, optimizer.init(np.zeros(1))))
    64.0

    Raises `ValueError` for a state without `scale`.
    """
    if not isinstance(state, dict) or "scale" not in state:
        raise ValueError(
            f"scale_loss wants the state of dynamic_loss_scale or static_loss_scale, at "
            f"{source.here()}"
        )
    return loss * state["scale"].astype(shape_dtype(loss).dtype)
