"""Optimisers made of optimisers: for some leaves, for every k-th gradient, with lookahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import source, tree
from ..transforms import cond
from ..tree.patterns import matches
from .base import (
    GradientTransformation,
    Params,
    State,
    Updates,
    apply_updates,
    needs_params,
    transformation,
)
from .leaves import like, map_trained, same_dtype, select, trains, weak, zeros_like, zip_leaves

# ---- some of the leaves --------------------------------------------------------------------------


def _only(flags: list[bool], whole: Any) -> Any:
    """The tree with the leaves that are not flagged taken out: None stands for each of them.

    A leaf that is the whole tree leaves an empty tuple: None would mean that there are no
    parameters.
    """
    leaves, treedef = tree.flatten(whole)
    chosen = [leaf if flag else None for flag, leaf in zip(flags, leaves, strict=True)]
    made = tree.unflatten(treedef, chosen)
    return () if made is None and whole is not None else made


def _put_back(flags: list[bool], whole: Any, part: Any) -> Any:
    """`whole` with the leaves of `part` in the places that are flagged."""
    leaves, treedef = tree.flatten(whole)
    new = iter(tree.leaves(part))
    return tree.unflatten(
        treedef, [next(new) if flag else leaf for flag, leaf in zip(flags, leaves, strict=True)]
    )


def masked(inner: GradientTransformation, mask: Any) -> GradientTransformation:
    """`inner` for the leaves that `mask` selects; the others pass unchanged.

    `mask` is a path pattern or anything that `select` takes. The state is that of `inner`, under
    its name in a `chain`; a leaf that is not selected has no state: None stands in its place.

        >>> link = masked(GradientTransformation(
        ...     lambda params: {}, lambda updates, state, params=None: (
        ...         tree.map(lambda g: 10 * g, updates), state)), "**/kernel")
        >>> link.update({"kernel": 1.0, "bias": 2.0}, {})[0]
        {'kernel': 10.0, 'bias': 2.0}

    What passes unchanged is a gradient still: to keep a leaf as it is, use `freeze`; to train it
    otherwise, `partition`. Raises `ValueError` in `init` for a pattern that no leaf fits.
    """

    def init(params: Params) -> State:
        return inner.init(_only(tree.leaves(select(params, mask)), params))

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        flags = tree.leaves(select(updates, mask))
        shown = None if params is None else _only(flags, params)
        part, new_state = inner.step(_only(flags, updates), state, shown, **extra)
        return _put_back(flags, updates, part), new_state

    return transformation(inner.name, init, step)


def partition(
    transforms: Mapping[str, GradientTransformation], param_labels: Any = None
) -> GradientTransformation:
    """Each leaf by a transformation of its own: `{label: transformation}`.

    Without `param_labels` a label is a path pattern, and a leaf belongs to the first that it fits.
    Otherwise `param_labels` is a tree of labels with the structure of the parameters, a prefix of
    it, or a function from the parameters to one. State: one entry for each label.

        >>> import kinone.optim as optim
        >>> slow_and_fast = partition({"encoder/**": optim.sgd(0.01), "**": optim.sgd(1.0)})
        >>> params = {"encoder": {"w": 1.0}, "head": 1.0}
        >>> updates, state = slow_and_fast.update(params, slow_and_fast.init(params), params)
        >>> float(updates["encoder"]["w"]), float(updates["head"])
        (-0.01, -1.0)

    Raises `ValueError` naming a leaf that no pattern fits, a pattern that no leaf belongs to, or a
    label that has no transformation.
    """
    named = dict(transforms)

    def groups(params: Params) -> dict[str, list[bool]]:
        labels = _labels(named, param_labels, params)
        return {label: [each == label for each in labels] for label in named}

    def init(params: Params) -> State:
        found = groups(params)
        if param_labels is None and tree.leaves(params):
            for pattern, flags in found.items():
                if not any(flags):
                    raise ValueError(
                        f"partition: no parameter is left for the pattern {pattern!r}, at "
                        f"{source.here()}\n  A leaf belongs to the first pattern that it fits; "
                        f"there are: {', '.join(tree.paths(params)[:8])}"
                    )
        return {label: named[label].init(_only(flags, params)) for label, flags in found.items()}

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        result, new_state = updates, {}
        for label, flags in groups(updates).items():
            shown = None if params is None else _only(flags, params)
            part, new_state[label] = named[label].step(
                _only(flags, updates), state[label], shown, **extra
            )
            result = _put_back(flags, result, part)
        return result, new_state

    return transformation("partition", init, step)


multi_transform = partition  # optax's older name


def _labels(transforms: Mapping[str, Any], param_labels: Any, params: Params) -> list[str | None]:
    paths = tree.paths(params)
    if param_labels is None:
        labels = [next((p for p in transforms if matches(p, path)), None) for path in paths]
    else:
        made = param_labels(params) if callable(param_labels) else param_labels
        whole = tree.map(lambda label, part: tree.map(lambda _: label, part), made, params)
        labels = tree.leaves(whole)
    for path, label in zip(paths, labels, strict=True):
        if label not in transforms:
            what = "fits no pattern" if label is None else f"has the label {label!r}"
            raise ValueError(
                f"partition: {path} {what}; there are: {', '.join(map(repr, transforms))}, at "
                f"{source.here()}"
            )
    return labels


# ---- every k-th gradient -------------------------------------------------------------------------


class MultiSteps(GradientTransformation):
    """The mean of k gradients, then one step: a batch k times as large in the memory of one.

    `updates` are zeros but for every k-th call, which hands the mean (with `use_grad_mean=False`
    the sum) to `opt`. `every_k_schedule` is k, or a function from the number of steps of `opt` so
    far to k. With batches of equal size and a loss that is a mean, the steps are those of the big
    batch. State: `mini_step` (gradients since the last step), `gradient_step` (steps of `opt`),
    `acc_grads`, in the parameters' dtypes unless `accumulator_dtype` is given, and
    `inner_opt_state`.

    `should_skip_update_fn(updates, gradient_step, params)` returns whether to leave this gradient
    out, as if it had never come, and a tree that the state keeps as `skip_state`:
    `skip_not_finite`, or `skip_large_updates` with its limit.

        >>> import kinone.optim as optim
        >>> optimizer = MultiSteps(optim.sgd(0.1), every_k_schedule=2)
        >>> state = optimizer.init(np.zeros(1))
        >>> for g in (1.0, 3.0):
        ...     updates, state = optimizer.update(np.array([g]), state)
        ...     print(updates + 0.0, bool(optimizer.has_updated(state)))
        [0.] False
        [-0.2] True

    Raises `ValueError` for a k that is no positive integer.
    """

    def __new__(
        cls,
        opt: GradientTransformation,
        every_k_schedule: int | Callable[[Any], Any],
        use_grad_mean: bool = True,
        should_skip_update_fn: Callable[..., tuple[Any, Any]] | None = None,
        accumulator_dtype: Any = None,
    ) -> MultiSteps:
        period = every_k_schedule
        if not callable(period) and (type(period) is not int or period < 1):
            raise ValueError(
                f"MultiSteps: every_k_schedule is {period!r}, and a whole number of 1 or more is "
                f"wanted, at {source.here()}"
            )

        def init(params: Params) -> State:
            skipped = {}
            if should_skip_update_fn is not None:
                _, skipped["skip_state"] = should_skip_update_fn(params, np.int64(0), params)
            return {
                **skipped,
                "mini_step": np.int64(0),
                "gradient_step": np.int64(0),
                "acc_grads": tree.map(lambda p: zeros_like(p, accumulator_dtype), params),
                "inner_opt_state": opt.init(params),
            }

        def advance(updates: Updates, state: State, params: Params | None, extra: Any) -> Any:
            count = state["mini_step"]
            k = period(state["gradient_step"]) if callable(period) else period

            def add(g: Any, total: Any) -> Any:
                if not trains(g):
                    return g
                g = same_dtype(g, total)
                return total + ((g - total) / like(count + 1.0, g) if use_grad_mean else g)

            columns = zip_leaves("MultiSteps", "gradients", updates, ("state", state["acc_grads"]))
            treedef = tree.structure(updates)
            total = [add(*row) for row in zip(*columns, strict=True)]

            def emit(total: Any, inner: Any, params: Any) -> Any:
                cast = [same_dtype(t, g) for t, g in zip(total, columns[0], strict=True)]
                out, inner = opt.step(tree.unflatten(treedef, cast), inner, params, **extra)
                return out, [zeros_like(t) for t in total], inner

            def wait(total: Any, inner: Any, params: Any) -> Any:
                return tree.map(zeros_like, updates), total, inner

            now = count + 1 >= k
            inner = state["inner_opt_state"]
            out, total, inner = cond(now, emit, wait, total, inner, params)
            return out, {
                "mini_step": np.where(now, 0, count + 1)[()],
                "gradient_step": state["gradient_step"] + np.where(now, 1, 0)[()],
                "acc_grads": tree.unflatten(treedef, total),
                "inner_opt_state": inner,
            }

        def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
            if should_skip_update_fn is None:
                return advance(updates, state, params, extra)
            known = {key: each for key, each in state.items() if key != "skip_state"}
            skip, skip_state = should_skip_update_fn(updates, state["gradient_step"], params)
            out, known = cond(
                skip,
                lambda g, known: (tree.map(zeros_like, g), known),
                lambda g, known: advance(g, known, params, extra),
                updates,
                known,
            )
            return out, {**known, "skip_state": skip_state}

        made = transformation("accumulate", init, step)
        self = super().__new__(cls, made.init, made.update, "accumulate")
        self.step = made.step
        return self  # type: ignore[return-value]

    def has_updated(self, state: State) -> Any:
        """Whether the update that made this state was a step of the optimiser."""
        return (state["mini_step"] == 0) & (state["gradient_step"] > 0)


# ---- two sets of weights -------------------------------------------------------------------------


def lookahead(
    fast_optimizer: GradientTransformation,
    sync_period: int,
    slow_step_size: float,
    reset_state: bool = False,
) -> GradientTransformation:
    """Slow weights that follow the fast ones: every `sync_period` steps both go to

        slow + slow_step_size · (fast - slow)

    The parameters are the fast weights; the state holds `slow`, the weights to evaluate with, and
    `steps_since_sync` and `fast_state`. (optax keeps both sets in the parameters; the numbers are
    the same.) `reset_state` starts the fast optimiser afresh at every meeting.

        >>> import kinone.optim as optim
        >>> optimizer = lookahead(optim.sgd(1.0), sync_period=2, slow_step_size=0.5)
        >>> p, state = 0.0, optimizer.init(0.0)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(-1.0, state, p)
        ...     p = optim.apply_updates(p, updates)
        >>> float(p)  # two steps of 1 forward, one back
        1.0

    Raises `ValueError` for a `sync_period` below 1. (Zhang et al. 2019, arXiv:1907.08610)
    """
    if sync_period < 1:
        raise ValueError(
            f"lookahead wants a sync_period of 1 or more, got {sync_period}, at {source.here()}"
        )
    rate = weak("lookahead", "slow_step_size", slow_step_size)

    def init(params: Params) -> State:
        return {
            "steps_since_sync": np.int64(0),
            "slow": tree.map(np.copy, params),
            "fast_state": fast_optimizer.init(params),
        }

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        params = needs_params("lookahead", params)
        updates, fast_state = fast_optimizer.step(updates, state["fast_state"], params, **extra)
        meet = state["steps_since_sync"] == sync_period - 1

        def one(u: Any, p: Any, slow: Any) -> Any:
            if not trains(u):
                return u, slow
            apart = p + u - slow
            new_slow = np.where(meet, slow + like(rate, slow) * apart, slow)
            return np.where(meet, u - (1 - like(rate, u)) * apart, u), new_slow

        others = (("parameters", params), ("state", state["slow"]))
        columns = zip_leaves("lookahead", "gradients", updates, *others)
        rows = [one(*row) for row in zip(*columns, strict=True)]
        if reset_state:
            fast_state = cond(
                meet, lambda old: fast_optimizer.init(params), lambda old: old, fast_state
            )
        treedef = tree.structure(updates)
        return tree.unflatten(treedef, [row[0] for row in rows]), {
            "steps_since_sync": np.where(meet, 0, state["steps_since_sync"] + 1)[()],
            "slow": tree.unflatten(treedef, [row[1] for row in rows]),
            "fast_state": fast_state,
        }

    return transformation("lookahead", init, step)


def sam(
    optimizer: GradientTransformation,
    adv_optimizer: GradientTransformation,
    sync_period: int = 2,
    reset_state: bool = True,
) -> GradientTransformation:
    """Sharpness-aware: the gradient from where the loss is worst nearby.

    `adv_optimizer`, usually `chain(normalize(), sgd(radius))`, climbs `sync_period - 1` times; the
    gradient from there drives `optimizer`. `update` takes `grad_fn=`, which maps parameters and the
    number of the climb to gradients of the same batch: optax's `contrib.sam` in its opaque mode.
    State: `opt_state` and `adv_state`, which `reset_state` starts afresh on every step.

        >>> import kinone.optim as optim
        >>> optimizer = sam(optim.sgd(0.1), optim.chain(optim.normalize(), optim.sgd(0.5)))
        >>> p = np.array([1.0])
        >>> grad_fn = lambda p, climb: 2 * p
        >>> state = optimizer.init(p)
        >>> updates, state = optimizer.update(grad_fn(p, 0), state, p, grad_fn=grad_fn)
        >>> updates  # -0.1 · 2 · (1 + 0.5)
        array([-0.3])

    Raises `TypeError` without `grad_fn`. (Foret et al. 2021, arXiv:2010.01412)
    """
    if sync_period < 1:
        raise ValueError(
            f"sam wants a sync_period of 1 or more, got {sync_period}, at {source.here()}"
        )

    def init(params: Params) -> State:
        return {"opt_state": optimizer.init(params), "adv_state": adv_optimizer.init(params)}

    def step(
        updates: Updates,
        state: State,
        params: Params | None = None,
        *,
        grad_fn: Callable[[Params, int], Updates] | None = None,
        **extra: Any,
    ) -> Any:
        params = needs_params("sam", params)
        if grad_fn is None:
            raise TypeError(
                f"sam needs the gradient elsewhere too, at {source.here()}\n  Write "
                "optimizer.update(gradients, state, params, grad_fn=lambda params, climb: …)."
            )
        there, climb = params, state["adv_state"]
        for number in range(sync_period - 1):
            up, climb = adv_optimizer.step(updates, climb, there, **extra)
            there = apply_updates(there, map_trained(lambda g, out: np.negative(g, out=out), up))
            updates = grad_fn(there, number)
        climb = adv_optimizer.init(params) if reset_state else climb
        updates, inner = optimizer.step(updates, state["opt_state"], params, **extra)
        return updates, {"opt_state": inner, "adv_state": climb}

    return transformation("sam", init, step)
