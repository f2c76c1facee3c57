"""Links that vary Adam: by another denominator, another start, the sign alone. See `moments`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype
from .base import GradientTransformation, Params, State, Updates, needs_params, transformation
from .leaves import formula, like, norm, same_dtype, squared, trains, weak, zeros_like, zip_leaves
from .moments import average, debias, first_moment, two_moments


def scale_by_amsgrad(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """Adam with the largest v̂ so far: u = m̂ / (√(max v̂ + eps_root) + eps).

    State: `step`, `mu`, `nu` and `nu_max`. PyTorch's `Adam(amsgrad=True)` corrects after taking
    the largest: `bias_correction_nu=False` keeps the largest v instead.

        >>> link = scale_by_amsgrad(b1=0.0)
        >>> state = link.init(np.zeros(1))
        >>> for g in (4.0, 0.1):
        ...     updates, state = link.update(np.array([g]), state)
        >>> updates.round(4)  # the size of the first gradient is kept
        array([0.025])

    (Reddi et al. 2018, "On the convergence of Adam and beyond")
    """
    b1, b2 = weak("amsgrad", "b1", b1), weak("amsgrad", "b2", b2)
    eps, eps_root = weak("amsgrad", "eps", eps), weak("amsgrad", "eps_root", eps_root)
    start = two_moments(mu_dtype)

    def init(params: Params) -> State:
        return {**start(params), "nu_max": tree.map(zeros_like, params)}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        c1 = debias(b1, count) if bias_correction_mu else 1.0
        c2 = debias(b2, count) if bias_correction_nu else 1.0

        def move(g: Array, m: Array, v: Array, largest: Array) -> Any:
            m = average(m, g, b1)
            v = average(v, squared(g), b2)
            largest = np.maximum(largest, v / like(c2, v))
            u = (m / like(c1, m)) / (np.sqrt(largest + like(eps_root, v)) + like(eps, v))
            return u, m if mu_dtype is None else m.astype(mu_dtype), v, largest

        old = (state["mu"], state["nu"], state["nu_max"])
        u, mu, nu, nu_max = formula("amsgrad", move, updates, *old)
        return u, {"step": count, "mu": mu, "nu": nu, "nu_max": nu_max}

    return transformation("amsgrad", init, step)


def scale_by_adamax(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> GradientTransformation:
    """Adam in the largest norm: v ← max(|g| + eps, b2 · v), u = m̂ / v.

    State: `step`, `mu` and `nu`.

        >>> link = scale_by_adamax()
        >>> link.update(np.array([5.0, -0.1]), link.init(np.zeros(2)))[0].round(4)
        array([ 1., -1.])

    (Kingma & Ba 2015, arXiv:1412.6980, section 7)
    """
    b1, b2, eps = (weak("adamax", *each) for each in (("b1", b1), ("b2", b2), ("eps", eps)))

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        c1 = debias(b1, count)

        def move(g: Array, m: Array, v: Array) -> Any:
            m = average(m, g, b1)
            v = np.maximum(np.abs(g) + like(eps, g), like(b2, v) * v)
            return (m / like(c1, m)) / v, m, v

        u, mu, nu = formula("adamax", move, updates, state["mu"], state["nu"])
        return u, {"step": count, "mu": mu, "nu": nu}

    return transformation("adamax", two_moments(), step)


def scale_by_belief(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam by surprise: v averages (g - m)² + eps_root, how far the gradient is from expected.

    `v ← b2 · v + (1 - b2) · (g - m)² + eps_root`, `u = m̂ / (√v̂ + eps)`. State: `step`, `mu`, `nu`.

        >>> link = scale_by_belief()
        >>> link.update(np.array([5.0]), link.init(np.zeros(1)))[0].round(4)
        array([1.1111])

    (Zhuang et al. 2020, arXiv:2010.07468)
    """
    b1, b2 = weak("adabelief", "b1", b1), weak("adabelief", "b2", b2)
    eps, eps_root = weak("adabelief", "eps", eps), weak("adabelief", "eps_root", eps_root)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        c1, c2, ahead = debias(b1, count), debias(b2, count), debias(b1, count + 1)

        def move(g: Array, m: Array, v: Array) -> Any:
            m = average(m, g, b1)
            v = average(v, squared(g - m), b2) + like(eps_root, v)
            smooth = first_moment(g, m, b1, c1, ahead if nesterov else None)
            return smooth / (np.sqrt(v / like(c2, v)) + like(eps, v)), m, v

        u, mu, nu = formula("adabelief", move, updates, state["mu"], state["nu"])
        return u, {"step": count, "mu": mu, "nu": nu}

    return transformation("adabelief", two_moments(), step)


def scale_by_yogi(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-3,
    eps_root: float = 0.0,
    initial_accumulator_value: float = 1e-6,
) -> GradientTransformation:
    """Adam whose v moves by a step of g² at most: v ← v - (1 - b2) · sign(v - g²) · g².

    State: `step`, `mu` and `nu`, which start from `initial_accumulator_value`.

        >>> link = scale_by_yogi()
        >>> link.update(np.array([5.0]), link.init(np.zeros(1)))[0].round(3)
        array([1.])

    (Zaheer et al. 2018, "Adaptive methods for nonconvex optimization")
    """
    b1, b2 = weak("yogi", "b1", b1), weak("yogi", "b2", b2)
    eps, eps_root = weak("yogi", "eps", eps), weak("yogi", "eps_root", eps_root)
    first = weak("yogi", "initial_accumulator_value", initial_accumulator_value)

    def init(params: Params) -> State:
        filled = tree.map(lambda p: zeros_like(p) + like(first, p) if trains(p) else p * 0, params)
        return {"step": np.int64(0), "mu": filled, "nu": tree.map(np.copy, filled)}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        c1, c2 = debias(b1, count), debias(b2, count)

        def move(g: Array, m: Array, v: Array) -> Any:
            m = average(m, g, b1)
            square = squared(g)
            v = v - like(1 - b2, v) * np.sign(v - square) * square
            root = np.sqrt(v / like(c2, v) + like(eps_root, v)) + like(eps, v)
            return (m / like(c1, m)) / root, m, v

        u, mu, nu = formula("yogi", move, updates, state["mu"], state["nu"])
        return u, {"step": count, "mu": mu, "nu": nu}

    return transformation("yogi", init, step)


def scale_by_radam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam that trusts v̂ only as far as enough gradients have gone into it.

        ρ∞ = 2 / (1 - b2) - 1,   ρ = ρ∞ - 2t · b2ᵗ / (1 - b2ᵗ)
        u = r · m̂ / (√(v̂ + eps_root) + eps)   where ρ ≥ threshold, otherwise u = m̂
        r = √((ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ))

    State: `step`, `mu` and `nu`. PyTorch's `RAdam` compares ρ > 5 and divides by √v + eps.

        >>> link = scale_by_radam()
        >>> link.update(np.array([5.0]), link.init(np.zeros(1)))[0].round(4)  # too early for v̂
        array([5.])

    (Liu et al. 2020, arXiv:1908.03265)
    """
    b1, b2 = weak("radam", "b1", b1), weak("radam", "b2", b2)
    eps, eps_root = weak("radam", "eps", eps), weak("radam", "eps_root", eps_root)
    threshold = weak("radam", "threshold", threshold)
    limit = 2 / (1 - b2) - 1

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        c1, c2, ahead = debias(b1, count), debias(b2, count), debias(b1, count + 1)
        rho = limit - 2 * count * np.power(b2, count) / c2
        enough = rho >= threshold
        known = np.where(enough, rho, limit)  # keeps the root of a negative number away
        factors = (limit - 4) * (limit - 2)
        divisor = np.where(factors == 0, 1.0, factors)  # 0 where there is never enough
        ratio = (known - 4) * (known - 2) * limit / (divisor * known)
        rectifier = np.sqrt(np.maximum(ratio, 0))

        def move(g: Array, m: Array, v: Array) -> Any:
            m = average(m, g, b1)
            v = average(v, squared(g), b2)
            smooth = first_moment(g, m, b1, c1, ahead if nesterov else None)
            root = np.sqrt(v / like(c2, v) + like(eps_root, v)) + like(eps, v)
            return np.where(enough, like(rectifier, m) * smooth / root, smooth), m, v

        u, mu, nu = formula("radam", move, updates, state["mu"], state["nu"])
        return u, {"step": count, "mu": mu, "nu": nu}

    return transformation("radam", two_moments(), step)


def scale_by_lion(
    b1: float = 0.9,
    b2: float = 0.99,
    mu_dtype: Any = None,
    *,
    mode: str = "hard",
    smooth_beta: float = 1.0,
) -> GradientTransformation:
    """The sign of an average: u = sign(b1 · m + (1 - b1) · g), then m ← b2 · m + (1 - b2) · g.

    `mode` may soften the sign: "smooth" is tanh(smooth_beta · x), "refined" x itself within ±1.
    State: `step` and `mu`, in `mu_dtype` if that is given: half of Adam's memory.

        >>> link = scale_by_lion()
        >>> link.update(np.array([5.0, -0.1, 0.0]), link.init(np.zeros(3)))[0]
        array([ 1., -1.,  0.])

    (Chen et al. 2023, "Symbolic discovery of optimization algorithms", arXiv:2302.06675)
    """
    b1, b2 = weak("lion", "b1", b1), weak("lion", "b2", b2)
    slope = weak("lion", "smooth_beta", smooth_beta)
    if mode not in ("hard", "smooth", "refined"):
        raise ValueError(
            f"scale_by_lion: mode is 'hard', 'smooth' or 'refined', not {mode!r}, "
            f"at {source.here()}"
        )

    def sign(x: Array) -> Array:
        if mode == "smooth":
            return np.tanh(like(slope, x) * x)
        return np.sign(x) if mode == "hard" else np.where(np.abs(x) < 1, x, np.sign(x))

    def init(params: Params) -> State:
        zeros = tree.map(lambda p: zeros_like(p, mu_dtype), params)
        return {"step": np.int64(0), "mu": zeros}

    def move(g: Array, m: Array) -> Any:
        u = sign(average(m, g, b1))
        new = average(m, g, b2)
        return u, new if mu_dtype is None else new.astype(mu_dtype)

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        u, mu = formula("lion", move, updates, state["mu"])
        return u, {"step": state["step"] + 1, "mu": mu}

    return transformation("lion", init, step)


def scale_by_novograd(
    b1: float = 0.9,
    b2: float = 0.25,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
    mu_dtype: Any = None,
) -> GradientTransformation:
    """Momentum of gradients that are divided by the norm of their leaf.

        v ← b2 · v + (1 - b2) · ‖g‖²                           (v = ‖g‖² at first)
        m ← b1 · m + g / (√(v + eps_root) + eps) + weight_decay · p,   u = m

    State: `step`, `mu` (m) and `nu` (v, one number for each leaf). `update` needs the parameters.

        >>> link = scale_by_novograd()
        >>> p = np.zeros(2)
        >>> link.update(np.array([3.0, 4.0]), link.init(p), p)[0].round(4)
        array([0.6, 0.8])

    (Ginsburg et al. 2019, arXiv:1905.11286)
    """
    b1, b2 = weak("novograd", "b1", b1), weak("novograd", "b2", b2)
    eps, eps_root = weak("novograd", "eps", eps), weak("novograd", "eps_root", eps_root)
    decay = weak("novograd", "weight_decay", weight_decay)

    def init(params: Params) -> State:
        return {
            "step": np.int64(0),
            "mu": tree.map(lambda p: zeros_like(p, mu_dtype), params),
            "nu": tree.map(lambda p: shape_dtype(p).dtype.type(0), params),
        }

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        params = needs_params("novograd", params)
        others = (("parameters", params), ("state", state["mu"]))
        columns = zip_leaves("novograd", "gradients", updates, *others)
        first = state["step"] == 0
        rows = []
        for g, p, m, v in zip(*columns, tree.leaves(state["nu"]), strict=True):
            if not trains(g):
                rows.append((g, m, v))
                continue
            square = np.square(norm(g)).astype(shape_dtype(v).dtype)
            new_v = np.where(first, square, average(v, square, b2))[()]
            root = np.sqrt(new_v + like(eps_root, new_v)) + like(eps, new_v)
            u = like(b1, g) * same_dtype(m, g) + g / same_dtype(root, g) + like(decay, p) * p
            rows.append((u, u if mu_dtype is None else u.astype(mu_dtype), new_v))
        treedef = tree.structure(updates)
        u, mu, nu = (tree.unflatten(treedef, [row[i] for row in rows]) for i in range(3))
        return u, {"step": state["step"] + 1, "mu": mu, "nu": nu}

    return transformation("novograd", init, step)
