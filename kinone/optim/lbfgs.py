"""L-BFGS: Newton's direction from the last few steps, and a line search for how far to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype
from ..transforms import cond, value_and_grad
from .base import (
    GradientTransformation,
    Params,
    State,
    Updates,
    chain,
    needs_params,
    transformation,
)
from .leaves import trains, whole_leaves, zeros_like
from .linesearch import dot, moved, scale_by_zoom_linesearch
from .schedules import Schedule
from .transforms import scale, scale_by_learning_rate


def scale_by_lbfgs(
    memory_size: int = 10, scale_init_precond: bool = True
) -> GradientTransformation:
    """u = H · g, H being what the last `memory_size` steps tell of the inverse Hessian.

    From the differences s of the parameters and y of the gradients, by the two-loop recursion. It
    starts from γ · 1, with γ = sᵀy / yᵀy of the last step (of the first: min(1, 1/‖g‖)), or from 1
    without `scale_init_precond`. `update` needs the parameters. State: `step`, `params` and
    `updates` of the last step, `diff_params_memory` and `diff_updates_memory`, with a first axis of
    `memory_size`, the newest last, and `weights_memory`, 1 / sᵀy.

        >>> link = scale_by_lbfgs()
        >>> hessian, p = np.array([1.0, 10.0]), np.array([1.0, 1.0])
        >>> state = link.init(p)
        >>> for _ in range(8):
        ...     updates, state = link.update(hessian * p, state, p)
        ...     p = p - updates
        >>> bool(np.abs(p).max() < 1e-3)
        True

    Raises `ValueError` for a memory below 1 and for complex parameters. (Nocedal 1980, "Updating
    quasi-Newton matrices with limited storage")
    """
    if memory_size < 1:
        raise ValueError(
            f"scale_by_lbfgs wants a memory_size of 1 or more, got {memory_size}, "
            f"at {source.here()}"
        )

    def init(params: Params) -> State:
        for path, leaf in tree.leaves_with_path(params):
            if shape_dtype(leaf).dtype.kind == "c":
                raise ValueError(
                    f"lbfgs: {path} is complex, at {source.here()}\n  Train its parts."
                )

        def memory(p: Any) -> Any:
            known = shape_dtype(p)
            return np.zeros((memory_size, *known.shape), known.dtype)

        return {
            "step": np.int64(0),
            "params": tree.map(zeros_like, params),
            "updates": tree.map(zeros_like, params),
            "diff_params_memory": tree.map(memory, params),
            "diff_updates_memory": tree.map(memory, params),
            "weights_memory": np.zeros(memory_size),
        }

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        params = needs_params("lbfgs", params)
        started = state["step"] > 0

        def difference(new: Array, old: Array) -> Array:
            return np.where(started, new - old, 0)

        s = whole_leaves("lbfgs", difference, params, ("state", state["params"]))
        y = whole_leaves("lbfgs", difference, updates, ("state", state["updates"]))
        product = dot(s, y)
        flat = product == 0
        weight = np.where(flat, 0.0, 1 / np.where(flat, 1.0, product))
        steps = _remember(state["diff_params_memory"], s)
        changes = _remember(state["diff_updates_memory"], y)
        weights = np.concatenate([state["weights_memory"][1:], weight[None]])
        start: Any = 1.0
        if scale_init_precond:
            square, length = dot(y, y), np.sqrt(dot(updates, updates))
            known = np.where(square > 0, product / np.where(square > 0, square, 1.0), 1.0)
            start = np.where(started, known, 1 / np.maximum(length, 1.0))

        direction, alphas = updates, {}
        for i in reversed(range(memory_size)):
            alphas[i] = weights[i] * dot(_row(steps, i), direction)
            direction = moved(direction, -alphas[i], _row(changes, i))
        direction = moved(tree.map(zeros_like, direction), start, direction)
        for i in range(memory_size):
            beta = weights[i] * dot(_row(changes, i), direction)
            direction = moved(direction, alphas[i] - beta, _row(steps, i))
        return direction, {
            "step": state["step"] + 1,
            "params": params,
            "updates": updates,
            "diff_params_memory": steps,
            "diff_updates_memory": changes,
            "weights_memory": weights,
        }

    return transformation("lbfgs", init, step)


def _remember(memory: Any, new: Any) -> Any:
    """The memory with its oldest row gone and `new` as its last."""
    return tree.map(lambda rows, row: np.concatenate([rows[1:], row[None]]), memory, new)


def _row(memory: Any, index: int) -> Any:
    return tree.map(lambda rows: rows[index], memory)


ZOOM = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")


def lbfgs(
    learning_rate: float | Schedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = ZOOM,
) -> GradientTransformation:
    """L-BFGS with a zoom line search: for smooth losses of the whole data, without noise.

    `update` needs the parameters and, for the line search, the loss there, its gradient and the
    function itself: `value=`, `grad=`, `value_fn=`. `value_and_grad_from_state` takes the first two
    from the last search, which has them. State: `lbfgs`, `scale` (or `lr`) and `linesearch`.

        >>> import numpy as np
        >>> from kinone import optim
        >>> def rosenbrock(p):
        ...     return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        >>> optimizer = optim.lbfgs()
        >>> value_and_grad = optim.value_and_grad_from_state(rosenbrock)
        >>> p = np.array([-1.2, 1.0])
        >>> state = optimizer.init(p)
        >>> for _ in range(40):
        ...     value, grad = value_and_grad(p, state=state)
        ...     updates, state = optimizer.update(
        ...         grad, state, p, value=value, grad=grad, value_fn=rosenbrock
        ...     )
        ...     p = optim.apply_updates(p, updates)
        >>> p.round(6)
        array([1., 1.])

    Without a line search (`linesearch=None`) give a `learning_rate`. Raises `TypeError` when one of
    the three is missing. (Liu & Nocedal 1989, "On the limited memory BFGS method")
    """
    rate = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    links = [scale_by_lbfgs(memory_size, scale_init_precond), rate]
    return chain(*links, *([] if linesearch is None else [linesearch]), name="lbfgs")


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """`f(params, *args, state=state, **kwargs)`: the value and gradient that a line search found.

    The search ended where the parameters are now, so both are in its state and need not be computed
    again; before the first search they are computed. Only right for a `value_fn` whose other
    arguments have not changed. See `lbfgs` for an example.

        >>> optimizer, p = lbfgs(), np.array([3.0])
        >>> value, grad = value_and_grad_from_state(lambda p: np.sum(p**2))(
        ...     p, state=optimizer.init(p)
        ... )
        >>> float(value), grad
        (9.0, array([6.]))

    Raises `ValueError` for a state without a line search.
    """
    fresh = value_and_grad(value_fn)

    def found(params: Params, *args: Any, state: State, **kwargs: Any) -> tuple[Any, Any]:
        search = _search_state(state)
        if search is None:
            raise ValueError(
                "value_and_grad_from_state: this state is of no line search, at "
                f"{source.here()}\n  Write kn.value_and_grad(value_fn)(params)."
            )
        like_value = fresh_kind(params)
        value, grad = search["value"], search["grad"]
        return cond(  # type: ignore[no-any-return]
            np.isfinite(value),
            lambda p: (like_value(value), grad),
            lambda p: fresh(p, *args, **kwargs),
            params,
        )

    def fresh_kind(params: Params) -> Callable[[Any], Any]:
        floats = [shape_dtype(leaf).dtype for leaf in tree.leaves(params) if trains(leaf)]
        dtype = np.result_type(*floats) if floats else np.dtype(float)
        return lambda value: value.astype(dtype)

    return found


def _search_state(state: Any) -> State | None:
    """The first dict of the state, at any depth, that holds a value and its gradient."""
    if not isinstance(state, dict):
        return None
    if {"value", "grad"} <= set(state):
        return state
    inner = (_search_state(each) for each in state.values())
    return next((each for each in inner if each is not None), None)
