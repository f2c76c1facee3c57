"""The links that optimisers are made of. Names, arguments and numbers are optax's.

In the formulas g is what comes in (the gradient, or the last link's result) and u what goes out.
Leaves of integer type are not trained: every link passes them on unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Tracer, shape_dtype
from .base import GradientTransformation, Params, State, Updates, stateless, transformation
from .leaves import like, map_leaves, same_dtype, select, trains, weak, zeros_like, zip_leaves
from .schedules import Schedule, constant_schedule


def _map(f: Callable[[Array, Any], Array], updates: Updates) -> Updates:
    """`f(g, out)` applied to each leaf that is trained."""
    leaves, treedef = tree.flatten(updates)
    found = map_leaves(lambda g, out: (f(g, out[0]) if trains(g) else g,), leaves)
    return tree.unflatten(treedef, [each[0] for each in found])


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
    return _map(lambda g, out: np.multiply(g, like(factor, g), out=out), updates)


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
    return value if isinstance(value, Tracer) else np.float64(value)


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

    State: `step`, an integer, and `value`, the learning rate that the last update used (before the
    first: that it will use). With `flip_sign=False` the sign stays. `value` is there to be read:
    writing into `state["lr"]["value"]` changes nothing, the next update asks the schedule again.

        >>> link = scale_by_learning_rate(0.1)
        >>> updates, state = link.update(np.ones(1), link.init(np.zeros(1)))
        >>> updates, int(state["step"]), float(state["value"])
        (array([-0.1]), 1, 0.1)
    """
    sign = -1 if flip_sign else 1
    return _counted(
        "lr",
        "learning_rate",
        learning_rate,
        lambda value, updates, params: _scaled(sign * value, updates),
    )


# ---- clipping ------------------------------------------------------------------------------------


def clip(max_delta: float) -> GradientTransformation:
    """u = min(max(g, -max_delta), max_delta), element by element.

    >>> clip(1.0).update(np.array([-3.0, 0.5]), {})[0]
    array([-1. ,  0.5])
    """
    limit = weak("clip", "max_delta", max_delta)

    def clipped(g: Array, out: Any) -> Array:
        bound = like(limit, g)
        return np.minimum(np.maximum(g, -bound, out=out), bound, out=out)

    return stateless("clip", lambda updates, params: _map(clipped, updates))


def global_norm(updates: Updates) -> Array:
    """The Euclidean norm of all leaves together, √Σ|g|²; integer leaves do not count.

    >>> float(global_norm({"a": np.array([3.0]), "b": np.array([4.0])}))
    5.0
    """
    total: Any = 0.0
    for leaf in tree.leaves(updates):
        if trains(leaf):
            flat = np.reshape(leaf, -1)
            if shape_dtype(leaf).dtype.kind == "c":
                flat = np.abs(flat)
            total = total + np.dot(flat, flat)  # one pass, nothing stored
    return np.sqrt(total)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """u = g · max_norm / max(norm, max_norm): shortened where the norm of all leaves is too large.

    State: `norm`, what `global_norm` was before clipping: a number worth logging.
    (Pascanu et al. 2013, arXiv:1211.5063)

        >>> link = clip_by_global_norm(1.0)
        >>> updates, state = link.update({"w": np.array([3.0, 4.0])}, {"norm": 0.0})
        >>> updates, float(state["norm"])
        ({'w': array([0.6, 0.8])}, 5.0)
    """
    limit = weak("clip", "max_norm", max_norm)

    def init(params: Params) -> State:
        return {"norm": global_norm(tree.map(lambda p: zeros_like(p).reshape(-1)[:1], params))}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        norm = global_norm(updates)
        small = norm < limit
        if not isinstance(small, Tracer) and small:
            return updates, {"norm": norm}
        divisor = np.where(small, 1, norm)

        def shortened(g: Array, out: Any) -> Array:
            long = np.divide(g, like(divisor, g), out=out)
            long = np.multiply(long, like(limit, g), out=out)
            return np.where(small, g, long) if isinstance(small, Tracer) else long

        return _map(shortened, updates), {"norm": norm}

    return transformation("clip", init, step)


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
        if params is None:
            raise ValueError(
                f"weight decay needs the parameters, at {source.here()}\n"
                "  Write updates, state = optimizer.update(gradients, state, params)."
            )
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


# ---- momentum and Adam ---------------------------------------------------------------------------


def trace(
    decay: float, nesterov: bool = False, accumulator_dtype: Any = None
) -> GradientTransformation:
    """Momentum: m ← g + decay · m, and u = m, or u = g + decay · m with `nesterov`.

    State: `trace`, the m of each parameter, in `accumulator_dtype` if that is given.

        >>> link = trace(0.9)
        >>> updates, state = link.update(np.ones(1), link.init(np.zeros(1)))
        >>> link.update(np.ones(1), state)[0]
        array([1.9])

    (Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning")
    """
    rate = weak("trace", "decay", decay)

    def init(params: Params) -> State:
        return {"trace": tree.map(lambda p: zeros_like(p, accumulator_dtype), params)}

    def move(g: Array, m: Array, out: Any) -> Any:
        if not trains(g):
            return g, m
        keep = like(rate, g)
        room = out[0] if accumulator_dtype is None and not nesterov else None
        new = np.multiply(same_dtype(m, g), keep, out=room)
        new = np.add(new, g, out=room)
        if not nesterov:
            return (new,) if accumulator_dtype is None else (new, new.astype(accumulator_dtype))
        ahead = np.multiply(new, keep, out=out[0])
        ahead = np.add(ahead, g, out=out[0])
        return ahead, new if accumulator_dtype is None else new.astype(accumulator_dtype)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        columns = zip_leaves("trace", "gradients", updates, ("state", state["trace"]))
        treedef = tree.structure(updates)
        rows = map_leaves(move, *columns)
        outs = tree.unflatten(treedef, [row[0] for row in rows])
        return outs, {"trace": tree.unflatten(treedef, [row[-1] for row in rows])}

    return transformation("trace", init, step)


def scale_by_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Each gradient divided by its own recent size, after smoothing both.

        t ← t + 1
        m ← b1 · m + (1 - b1) · g          v ← b2 · v + (1 - b2) · g²
        u = m̂ / (√(v̂ + eps_root) + eps)    m̂ = m / (1 - b1ᵗ),  v̂ = v / (1 - b2ᵗ)

    State: `step` (t, an integer), `mu` (m, in `mu_dtype` if that is given) and `nu` (v). With
    `nesterov` m̂ looks one step ahead (Dozat 2016). (Kingma & Ba 2015, arXiv:1412.6980)

        >>> link = scale_by_adam()
        >>> updates, state = link.update(np.array([5.0, -0.01]), link.init(np.zeros(2)))
        >>> updates.round(4), int(state["step"])
        (array([ 1., -1.]), 1)
    """
    b1, b2 = weak("adam", "b1", b1), weak("adam", "b2", b2)
    eps, eps_root = weak("adam", "eps", eps), weak("adam", "eps_root", eps_root)

    def init(params: Params) -> State:
        return {
            "step": np.int64(0),
            "mu": tree.map(lambda p: zeros_like(p, mu_dtype), params),
            "nu": tree.map(zeros_like, params),
        }

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        # 1 - bᵗ in double precision, whatever the parameters are: in single, 1 - 0.999 is off by
        # 1e-5 of itself.
        c1, c2 = 1 - np.power(b1, count), 1 - np.power(b2, count)
        ahead = 1 - np.power(b1, count + 1)

        def move(g: Array, m: Array, v: Array, out: Any) -> Any:
            if not trains(g):
                return g, m, v
            k1, k2 = like(b1, g), like(b2, g)
            room = out[1] if mu_dtype is None else None
            share = (1 - k1) * g
            m = np.multiply(same_dtype(m, g), k1, out=room)
            m = np.add(share, m, out=room)
            square = g * g if shape_dtype(g).dtype.kind == "f" else np.abs(g) ** 2
            square *= 1 - k2  # in place; for a traced value this is square = square * …
            v = np.multiply(v, k2, out=out[2])
            v = np.add(square, v, out=out[2])
            root = np.divide(v, like(c2, v), out=out[0])
            if eps_root != 0:
                root = np.add(root, like(eps_root, v), out=out[0])
            root = np.sqrt(root, out=out[0])
            root = np.add(root, like(eps, v), out=out[0])
            if nesterov:
                smooth = k1 * (m / like(ahead, m)) + (1 - k1) * (g / like(c1, g))
            else:
                smooth = m / like(c1, m)
            u = np.divide(smooth, root, out=out[0])
            return u, m if mu_dtype is None else m.astype(mu_dtype), v

        columns = zip_leaves(
            "adam", "gradients", updates, ("state", state["mu"]), ("state", state["nu"])
        )
        treedef = tree.structure(updates)
        rows = map_leaves(move, *columns)
        u, mu, nu = (tree.unflatten(treedef, [row[i] for row in rows]) for i in range(3))
        return u, {"step": count, "mu": mu, "nu": nu}

    return transformation("adam", init, step)
