"""What follows a run along: averaged parameters, and a factor that falls when the loss does not."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
from ..transforms import cond
from .base import GradientTransformation, Params, State, Updates, needs_params, transformation
from .leaves import like, map_trained, same_dtype, trains, weak, zip_leaves
from .moments import average


def incremental_update(new_tensors: Params, old_tensors: Params, step_size: float) -> Params:
    """`step_size · new + (1 - step_size) · old`, leaf by leaf: a target network, a moving average.

    Leaves that are not floating are those of `new_tensors`.

        >>> incremental_update({"w": 1.0}, {"w": 0.0}, 0.25)
        {'w': 0.25}
    """
    keep = 1 - weak("incremental_update", "step_size", step_size)
    columns = zip_leaves("incremental_update", "new", new_tensors, ("old", old_tensors))
    found = [average(b, a, keep) if trains(a) else a for a, b in zip(*columns, strict=True)]
    return tree.unflatten(tree.structure(new_tensors), found)


def periodic_update(
    new_tensors: Params, old_tensors: Params, steps: Any, update_period: int
) -> Params:
    """`new_tensors` on every `update_period`-th of the `steps`, otherwise `old_tensors`.

    >>> [periodic_update({"w": 1.0}, {"w": 0.0}, step, 3)["w"] for step in range(4)]
    [1.0, 0.0, 0.0, 1.0]

    (Mnih et al. 2015, "Human-level control through deep reinforcement learning")
    """
    now = steps % update_period == 0
    return cond(now, lambda new, old: new, lambda new, old: old, new_tensors, old_tensors)


def ema_params(decay: float, accumulator_dtype: Any = None) -> GradientTransformation:
    """Keeps an average of the parameters, `ema ← decay · ema + (1 - decay) · (p + u)`; u = g.

    The last link of a chain, so that p + u are the parameters after the step; `update` needs the
    parameters. State: `ema`, in `accumulator_dtype` if that is given; it starts from the parameters
    that `init` was given. Evaluate with `state["ema_params"]["ema"]`.

        >>> import kinone.optim as optim
        >>> optimizer = optim.chain(optim.sgd(1.0), ema_params(0.75))
        >>> updates, state = optimizer.update(-4.0, optimizer.init(0.0), 0.0)
        >>> float(state["ema_params"]["ema"])
        1.0

    (Polyak & Juditsky 1992)
    """
    rate = weak("ema_params", "decay", decay)

    def stored(p: Any) -> Any:
        known = np.asarray(p) if isinstance(p, (int, float, complex)) else p
        if accumulator_dtype is not None and trains(known):
            return known.astype(accumulator_dtype)
        return known

    def init(params: Params) -> State:
        return {"ema": tree.map(lambda p: np.copy(stored(p))[()], params)}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        params = needs_params("ema_params", params)
        others = (("parameters", params), ("state", state["ema"]))
        columns = zip_leaves("ema_params", "gradients", updates, *others)

        def follow(u: Any, p: Any, old: Any) -> Any:
            return average(old, same_dtype(p + u, old), rate) if trains(u) else p

        found = [follow(*row) for row in zip(*columns, strict=True)]
        return updates, {"ema": tree.unflatten(tree.structure(updates), found)}

    return transformation("ema_params", init, step)


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> GradientTransformation:
    """u = scale · g; the scale is multiplied by `factor` when `value` has stopped falling.

    `update` takes `value=`, the loss or another number that should fall. A mean of
    `accumulation_size` of them is an improvement when it is below `(1 - rtol) · best - atol`. After
    `patience` means without one the scale falls, down to `min_scale`, and `cooldown` means do not
    count. Put it after the learning rate. State: `scale`, `best_value`, `plateau_count`,
    `cooldown_count`, `count` and `avg_value`.

        >>> import kinone.optim as optim
        >>> optimizer = optim.chain(optim.sgd(1.0), reduce_on_plateau(0.5, patience=2))
        >>> state = optimizer.init(0.0)
        >>> for _ in range(3):
        ...     updates, state = optimizer.update(1.0, state, value=7.0)
        >>> float(state["plateau"]["scale"]), float(updates)
        (0.5, -0.5)

    PyTorch's `ReduceLROnPlateau` waits for `patience + 1` of them. Raises `ValueError` for a
    factor outside (0, 1) or tolerances that allow no plateau, `TypeError` for an update without
    `value`.
    """
    if not 0 < factor < 1:
        raise ValueError(
            f"reduce_on_plateau wants a factor within (0, 1), got {factor}, at {source.here()}"
        )
    if not 0 <= rtol <= 1 or atol < 0 or rtol == atol == 0:
        raise ValueError(
            "reduce_on_plateau wants rtol within [0, 1] and atol ≥ 0, not both 0, got "
            f"{rtol} and {atol}, at {source.here()}"
        )

    def init(params: Params) -> State:
        return {
            "scale": np.float64(1),
            "best_value": np.float64(np.inf),
            "plateau_count": np.int64(0),
            "cooldown_count": np.int64(0),
            "count": np.int64(0),
            "avg_value": np.float64(0),
        }

    def step(
        updates: Updates, state: State, params: Params | None = None, *, value: Any = None
    ) -> Any:
        if value is None:
            raise TypeError(
                f"reduce_on_plateau needs the loss, at {source.here()}\n"
                "  Write optimizer.update(gradients, state, params, value=loss)."
            )
        count = state["count"] + 1
        mean = (state["count"] * state["avg_value"] + np.float64(1) * value) / count
        full = count == accumulation_size
        better = mean < (1 - rtol) * state["best_value"] - atol
        waited = np.where(better, 0, state["plateau_count"] + 1)
        cooling = state["cooldown_count"] > 0
        fall = full & ~cooling & (waited == patience)
        rest = np.where(cooling, state["cooldown_count"] - 1, np.where(fall, cooldown, 0))
        lower = np.maximum(np.where(fall, state["scale"] * factor, state["scale"]), min_scale)
        scale = np.where(full & ~cooling, lower, state["scale"])[()]
        new = {
            "scale": scale,
            "best_value": np.where(full & better, mean, state["best_value"])[()],
            "plateau_count": np.where(
                full, np.where(cooling | fall, 0, waited), state["plateau_count"]
            )[()],
            "cooldown_count": np.where(full, rest, state["cooldown_count"])[()],
            "count": np.where(full, 0, count)[()],
            "avg_value": np.where(full, 0.0, mean)[()],
        }
        return map_trained(lambda g, out: np.multiply(g, like(scale, g), out=out), updates), new

    return transformation("plateau", init, step)
