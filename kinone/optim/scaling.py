"""Links that divide by the size of the gradients so far, or scale by the size of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import random, tree
from ..core import Array, Tracer, shape_dtype
from .base import (
    GradientTransformation,
    Params,
    State,
    Updates,
    needs_params,
    stateless,
    transformation,
)
from .leaves import (
    formula,
    like,
    map_trained,
    norm,
    squared,
    trains,
    weak,
    whole_leaves,
    zeros_like,
)
from .moments import average, debias


def _filled(params: Params, number: Any) -> Params:
    """A tree of `number`s; leaves that are not trained get zeros."""
    return tree.map(
        lambda p: zeros_like(p) + like(number, p) if trains(p) else zeros_like(p), params
    )


def scale_by_rss(
    initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> GradientTransformation:
    """AdaGrad: divided by the root of the sum of all squares, s ← s + g², u = g / √(s + eps).

    u = 0 where s = 0. State: `sum_of_squares`, which starts from `initial_accumulator_value`.
    PyTorch's `Adagrad` divides by √s + eps and starts from 0.

        >>> link = scale_by_rss(initial_accumulator_value=0.0)
        >>> link.update(np.array([5.0, 0.0]), link.init(np.zeros(2)))[0].round(4)
        array([1., 0.])

    (Duchi et al. 2011, "Adaptive subgradient methods")
    """
    first = weak("adagrad", "initial_accumulator_value", initial_accumulator_value)
    eps = weak("adagrad", "eps", eps)

    def init(params: Params) -> State:
        return {"sum_of_squares": _filled(params, first)}

    def move(g: Array, s: Array) -> Any:
        s = s + squared(g)
        known = np.abs(s) > 0
        root = np.sqrt(np.where(known, s, 1) + like(eps, s))
        return np.where(known, g / root, 0), s

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        u, total = formula("adagrad", move, updates, state["sum_of_squares"])
        return u, {"sum_of_squares": total}

    return transformation("adagrad", init, step)


def scale_by_rms(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """RMSProp: divided by the root of an average of squares, u = g / √(v + eps).

    `v ← decay · v + (1 - decay) · g²`, from `initial_scale`. With `eps_in_sqrt=False` u = g / (√v +
    eps), PyTorch's; with `bias_correction` v̂ stands for v. State: `step` and `nu`.

        >>> link = scale_by_rms(decay=0.75)
        >>> link.update(np.array([5.0, -0.1]), link.init(np.zeros(2)))[0].round(4)
        array([ 2., -2.])

    (Hinton, "Neural networks for machine learning", lecture 6e)
    """
    return _by_rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction, centered=False)


def scale_by_stddev(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """RMSProp, centred: divided by the gradients' deviation, u = g / √(v - m² + eps).

    `m ← decay · m + (1 - decay) · g`, from 0, and the rest as in `scale_by_rms`. State: `step`,
    `mu` (m) and `nu` (v).

        >>> link = scale_by_stddev(decay=0.5)
        >>> link.update(np.array([5.0, -0.1]), link.init(np.zeros(2)))[0].round(4)
        array([ 2., -2.])

    (Graves 2013, "Generating sequences with recurrent neural networks", arXiv:1308.0850)
    """
    return _by_rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction, centered=True)


def _by_rms(
    decay: float, eps: float, first: float, eps_in_sqrt: bool, correct: bool, *, centered: bool
) -> GradientTransformation:
    decay, eps = weak("rmsprop", "decay", decay), weak("rmsprop", "eps", eps)
    first = weak("rmsprop", "initial_scale", first)

    def init(params: Params) -> State:
        mean = {"mu": tree.map(zeros_like, params)} if centered else {}
        return {"step": np.int64(0), **mean, "nu": _filled(params, first)}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        correction = debias(decay, count) if correct else 1.0

        def move(g: Array, v: Array, *means: Array) -> Any:
            v = average(v, squared(g), decay)
            variance = v / like(correction, v) if correct else v
            means = tuple([average(m, g, decay) for m in means])
            for m in means:
                variance = variance - squared(m / like(correction, m))
            if eps_in_sqrt:
                return g / np.sqrt(variance + like(eps, v)), v, *means
            return g / (np.sqrt(variance) + like(eps, v)), v, *means

        means = (state["mu"],) if centered else ()
        u, nu, *mu = formula("rmsprop", move, updates, state["nu"], *means)
        return u, {"step": count, **({"mu": mu[0]} if centered else {}), "nu": nu}

    return transformation("rmsprop", init, step)


def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6) -> GradientTransformation:
    """A step of the size of the recent steps: u = g · √(x + eps) / √(v + eps).

    `v ← rho · v + (1 - rho) · g²`, then `x ← rho · x + (1 - rho) · u²`. State: `e_g` (v) and `e_x`.

        >>> link = scale_by_adadelta(rho=0.75, eps=0.01)
        >>> link.update(np.array([5.0, -5.0]), link.init(np.zeros(2)))[0].round(4)
        array([ 0.1998, -0.1998])

    (Zeiler 2012, arXiv:1212.5701)
    """
    rho, eps = weak("adadelta", "rho", rho), weak("adadelta", "eps", eps)

    def init(params: Params) -> State:
        return {"e_g": tree.map(zeros_like, params), "e_x": tree.map(zeros_like, params)}

    def move(g: Array, v: Array, x: Array) -> Any:
        v = average(v, squared(g), rho)
        u = np.sqrt(x + like(eps, x)) / np.sqrt(v + like(eps, v)) * g
        return u, v, average(x, squared(u), rho)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        u, e_g, e_x = formula("adadelta", move, updates, state["e_g"], state["e_x"])
        return u, {"e_g": e_g, "e_x": e_x}

    return transformation("adadelta", init, step)


def scale_by_rprop(
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> GradientTransformation:
    """A step size of its own for each number: longer while the sign stays, shorter when it turns.

    u = step_size · sign(g), and 0 on the step at which the sign turns. State: `step_sizes` and
    `prev_updates`. For whole-batch gradients. As PyTorch's; optax 0.2 hands out each step one
    update later than it is due.

        >>> link = scale_by_rprop(0.1)
        >>> state = link.init(np.zeros(1))
        >>> for g in (3.0, 1.0, -2.0, -2.0):
        ...     updates, state = link.update(np.array([g]), state)
        ...     print(updates.round(3) + 0.0)
        [0.1]
        [0.12]
        [0.]
        [-0.06]

    (Riedmiller & Braun 1993)
    """
    minus, plus = weak("rprop", "eta_minus", eta_minus), weak("rprop", "eta_plus", eta_plus)
    least = weak("rprop", "min_step_size", min_step_size)
    most = weak("rprop", "max_step_size", max_step_size)
    first = weak("rprop", "learning_rate", learning_rate)

    def init(params: Params) -> State:
        return {"step_sizes": _filled(params, first), "prev_updates": tree.map(zeros_like, params)}

    def move(g: Array, size: Array, before: Array) -> Any:
        same = np.sign(g) * np.sign(before)
        factor = np.where(same > 0, like(plus, size), like(minus, size)).astype(size.dtype)
        moved = np.minimum(np.maximum(size * factor, like(least, size)), like(most, size))
        size = np.where(same == 0, size, moved)
        u = np.where(same < 0, 0, size * np.sign(g))
        return u, size, u

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        old = (state["step_sizes"], state["prev_updates"])
        u, sizes, before = formula("rprop", move, updates, *old)
        return u, {"step_sizes": sizes, "prev_updates": before}

    return transformation("rprop", init, step)


# ---- by the size of the parameters, the sign, the mean -------------------------------------------


def scale_by_trust_ratio(
    min_norm: float = 0.0, trust_coefficient: float = 1.0, eps: float = 0.0
) -> GradientTransformation:
    """A step in proportion to the parameters: u = g · trust_coefficient · ‖p‖ / (‖g‖ + eps).

    Leaf by leaf; both norms are at least `min_norm`, and where one is 0, u = g. `update` needs the
    parameters. This is what LARS and LAMB add to SGD and Adam.

        >>> link = scale_by_trust_ratio()
        >>> link.update(np.array([3.0, 4.0]), {}, np.array([0.0, 10.0]))[0]
        array([6., 8.])

    (You et al. 2017, arXiv:1708.03888; You et al. 2020, arXiv:1904.00962)
    """
    least, eps = weak("trust_ratio", "min_norm", min_norm), weak("trust_ratio", "eps", eps)
    coefficient = weak("trust_ratio", "trust_coefficient", trust_coefficient)

    def scaled(g: Array, p: Array) -> Array:
        p_norm = np.maximum(norm(p), like(least, p))
        g_norm = np.maximum(norm(g), like(least, g))
        none = (p_norm == 0) | (g_norm == 0)
        ratio = like(coefficient, p) * p_norm / np.where(none, 1, g_norm + like(eps, g))
        return g * np.where(none, 1, ratio).astype(shape_dtype(g_norm).dtype)

    def step(updates: Updates, params: Params | None) -> Updates:
        params = needs_params("scale_by_trust_ratio", params)
        return whole_leaves("trust_ratio", scaled, updates, ("parameters", params))

    return stateless("trust_ratio", step)


def scale_by_sign() -> GradientTransformation:
    """u = sign(g).

    >>> scale_by_sign().update(np.array([-3.0, 0.5]), {})[0]
    array([-1.,  1.])
    """
    return stateless(
        "sign", lambda updates, params: map_trained(lambda g, out: np.sign(g, out=out), updates)
    )


def scale_by_param_block_norm(min_scale: float = 1e-3) -> GradientTransformation:
    """u = g · max(‖p‖, min_scale), leaf by leaf; `update` needs the parameters.

    >>> scale_by_param_block_norm().update(np.ones(2), {}, np.array([3.0, -4.0]))[0]
    array([5., 5.])
    """
    return _by_size("param_block_norm", norm, min_scale)


def scale_by_param_block_rms(min_scale: float = 1e-3) -> GradientTransformation:
    """u = g · max(rms(p), min_scale), leaf by leaf; `update` needs the parameters.

    >>> scale_by_param_block_rms().update(np.ones(2), {}, np.array([3.0, -3.0]))[0]
    array([3., 3.])
    """
    return _by_size("param_block_rms", lambda p: np.sqrt(np.mean(squared(p))), min_scale)


def _by_size(name: str, size: Callable[[Array], Array], min_scale: float) -> GradientTransformation:
    least = weak(name, "min_scale", min_scale)

    def scaled(g: Array, p: Array) -> Array:
        return g * np.maximum(size(p), like(least, p))

    def step(updates: Updates, params: Params | None) -> Updates:
        params = needs_params(f"scale_by_{name}", params)
        return whole_leaves(name, scaled, updates, ("parameters", params))

    return stateless(name, step)


def centralize() -> GradientTransformation:
    """u = g - mean(g) over every axis but the first, for leaves of two axes or more.

    optax's axes. In Kinone's own layouts (kernels `(in, out)` and `HWIO`) the outputs are last.

        >>> centralize().update(np.array([[1.0, 3.0], [4.0, 4.0]]), {})[0]
        array([[-1.,  1.],
               [ 0.,  0.]])

    (Yong et al. 2020, "Gradient centralization", arXiv:2004.01461)
    """

    def centred(g: Array) -> Array:
        axes = tuple(range(1, len(shape_dtype(g).shape)))
        return g - np.mean(g, axis=axes, keepdims=True) if axes else g

    return stateless("centralize", lambda updates, params: whole_leaves("mean", centred, updates))


def add_noise(eta: float, gamma: float, key: random.Key) -> GradientTransformation:
    """u = g + ε, normal noise of variance eta / tᵞ: less and less of it.

    State: `step` (t) and `key`; each step folds its number into the key. The numbers are those of
    Kinone's generator, not optax's.

        >>> link = add_noise(0.01, 0.55, random.key(0))
        >>> updates, state = link.update(np.zeros(1000), link.init(np.zeros(1000)))
        >>> round(float(np.std(updates)), 2)
        0.1

    (Neelakantan et al. 2015, arXiv:1511.06807)
    """
    eta, gamma = weak("noise", "eta", eta), weak("noise", "gamma", gamma)

    def init(params: Params) -> State:
        return {"step": np.int64(0), "key": key.clone()}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        deviation = np.sqrt(eta / np.power(count, gamma))
        if not isinstance(deviation, Tracer):
            deviation = float(deviation)
        now = random.fold_in(state["key"], count)
        leaves, treedef = tree.flatten(updates)
        for number, g in enumerate(leaves):
            known = shape_dtype(g)
            if trains(g):
                each = random.fold_in(now, number)
                noise = random.normal(each, known.shape, known.dtype)
                leaves[number] = g + like(deviation, g) * noise
        return tree.unflatten(treedef, leaves), {"step": count, "key": state["key"]}

    return transformation("noise", init, step)
