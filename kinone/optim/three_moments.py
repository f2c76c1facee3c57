"""Adam's younger relatives: an average of differences, a long one, one that is a step behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..core import Array
from .base import GradientTransformation, Params, State, Updates, chain, transformation
from .leaves import formula, like, squared, weak, zeros_like
from .moments import average, debias, two_moments
from .schedules import Schedule
from .transforms import add_decayed_weights, scale_by_learning_rate


def scale_by_adan(
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> GradientTransformation:
    """Adam with Nesterov's look ahead by the differences of successive gradients.

        d = g - g of the step before              (0 on the first)
        m ← b1 · m + (1 - b1) · g                  v ← b2 · v + (1 - b2) · d
        n ← b3 · n + (1 - b3) · (g + (1 - b2) · d)²
        u = (m̂ + (1 - b2) · v̂) / (√(n̂ + eps_root) + eps)

    State: `step`, `mu` (m), `diff` (v), `nu` (n) and `grad`, the last gradient.

        >>> link = scale_by_adan()
        >>> link.update(np.array([5.0, -0.1]), link.init(np.zeros(2)))[0].round(4)
        array([ 1., -1.])

    (Xie et al. 2022, arXiv:2208.06677)
    """
    b1, b2, b3 = weak("adan", "b1", b1), weak("adan", "b2", b2), weak("adan", "b3", b3)
    eps, eps_root = weak("adan", "eps", eps), weak("adan", "eps_root", eps_root)

    def init(params: Params) -> State:
        zeros = {key: tree.map(zeros_like, params) for key in ("mu", "diff", "nu", "grad")}
        return {"step": np.int64(0), **zeros}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        first, count = state["step"] == 0, state["step"] + 1
        c1, c2, c3 = debias(b1, count), debias(b2, count), debias(b3, count)

        def move(g: Array, m: Array, v: Array, n: Array, before: Array) -> Any:
            change = np.where(first, np.zeros_like(g), g - before)
            ahead = like(1 - b2, g)
            m, v = average(m, g, b1), average(v, change, b2)
            n = average(n, squared(g + ahead * change), b3)
            root = np.sqrt(n / like(c3, n) + like(eps_root, n)) + like(eps, n)
            return (m / like(c1, m) + ahead * (v / like(c2, v))) / root, m, v, n, g

        old = (state["mu"], state["diff"], state["nu"], state["grad"])
        u, mu, diff, nu, grad = formula("adan", move, updates, *old)
        return u, {"step": count, "mu": mu, "diff": diff, "nu": nu, "grad": grad}

    return transformation("adan", init, step)


def adan(
    learning_rate: float | Schedule,
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 1e-8,
    weight_decay: float | Schedule = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adaptive Nesterov momentum: large steps for large batches; see `scale_by_adan`.

    >>> adan(1e-3)
    <GradientTransformation adan: adan, decay, lr>

    (Xie et al. 2022, arXiv:2208.06677)
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
        name="adan",
    )


def scale_by_ademamix(
    b1: float = 0.9,
    b2: float = 0.999,
    b3: float | Schedule = 0.9999,
    alpha: float | Schedule = 6.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
) -> GradientTransformation:
    """Adam with a second, much longer average of the gradients.

        m₁ ← b1 · m₁ + (1 - b1) · g       m₂ ← b3 · m₂ + (1 - b3) · g
        u = (m̂₁ + alpha · m₂) / (√(v̂ + eps_root) + eps)

    b3 and alpha may be schedules: the paper warms both up. State: `step`, `m1`, `m2` (in `mu_dtype`
    if that is given) and `nu`.

        >>> link = scale_by_ademamix()
        >>> link.update(np.array([5.0, -0.1]), link.init(np.zeros(2)))[0].round(4)
        array([ 1.0006, -1.0006])

    (Pagliardini et al. 2024, arXiv:2409.03137)
    """
    b1, b2 = weak("ademamix", "b1", b1), weak("ademamix", "b2", b2)
    eps, eps_root = weak("ademamix", "eps", eps), weak("ademamix", "eps_root", eps_root)
    of_step = {
        key: each if callable(each) else weak("ademamix", key, each)
        for key, each in (("b3", b3), ("alpha", alpha))
    }

    def init(params: Params) -> State:
        return {
            "step": np.int64(0),
            "m1": tree.map(lambda p: zeros_like(p, mu_dtype), params),
            "m2": tree.map(lambda p: zeros_like(p, mu_dtype), params),
            "nu": tree.map(zeros_like, params),
        }

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        before, count = state["step"], state["step"] + 1
        c1, c2 = debias(b1, count), debias(b2, count)
        long, share = (
            weak("ademamix", key, each(before) if callable(each) else each)
            for key, each in of_step.items()
        )

        def move(g: Array, m1: Array, m2: Array, v: Array) -> Any:
            m1, m2 = average(m1, g, b1), average(m2, g, long)
            v = average(v, squared(g), b2)
            root = np.sqrt(v / like(c2, v) + like(eps_root, v)) + like(eps, v)
            u = (m1 / like(c1, m1) + like(share, m2) * m2) / root
            kept = (m1, m2) if mu_dtype is None else (m1.astype(mu_dtype), m2.astype(mu_dtype))
            return u, *kept, v

        old = (state["m1"], state["m2"], state["nu"])
        u, m1, m2, nu = formula("ademamix", move, updates, *old)
        return u, {"step": count, "m1": m1, "m2": m2, "nu": nu}

    return transformation("ademamix", init, step)


def ademamix(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    b3: float | Schedule = 0.9999,
    alpha: float | Schedule = 5.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    weight_decay: float | Schedule = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adam that also remembers the gradients of long ago; see `scale_by_ademamix`.

    >>> ademamix(1e-3)
    <GradientTransformation ademamix: ademamix, decay, lr>

    (Pagliardini et al. 2024, arXiv:2409.03137)
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
        name="ademamix",
    )


def _fourth_root(step: Any) -> Any:
    return np.power(step, 0.25)


def scale_by_adopt(
    b1: float = 0.9,
    b2: float = 0.9999,
    eps: float = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] = _fourth_root,
) -> GradientTransformation:
    """Adam that divides by the v of the step before, so that it converges for any b2.

        u = m ← b1 · m + (1 - b1) · g / max(√v, eps),   then   v ← b2 · v + (1 - b2) · g²

    The first step only sets v = g². With `use_clipping` the quotient is held within
    ±`clip_value_fn(step)`, by default step^¼. State: `step`, `mu` and `nu`.

        >>> link = scale_by_adopt()
        >>> _, state = link.update(np.array([5.0]), link.init(np.zeros(1)))
        >>> link.update(np.array([5.0]), state)[0]
        array([0.1])

    (Taniguchi et al. 2024, arXiv:2411.02853)
    """
    b1, b2, eps = (weak("adopt", *each) for each in (("b1", b1), ("b2", b2), ("eps", eps)))

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"]
        keep = np.where(count > 0, b1, 1.0)[()]
        keep_square = np.where(count > 0, b2, 0.0)[()]
        bound = clip_value_fn(count) if use_clipping else None

        def move(g: Array, m: Array, v: Array) -> Any:
            size, scaled = np.maximum(np.sqrt(v), like(eps, v)), g
            if bound is not None:  # before the division, which might overflow
                limit = like(bound, g) * size
                scaled = np.minimum(np.maximum(g, -limit), limit)
            scaled = scaled / size
            m = average(m, scaled, keep)
            u = average(m, scaled, keep) if nesterov else m
            v = average(v, squared(g), keep_square)
            return u, m if mu_dtype is None else m.astype(mu_dtype), v

        u, mu, nu = formula("adopt", move, updates, state["mu"], state["nu"])
        return u, {"step": count + 1, "mu": mu, "nu": nu}

    return transformation("adopt", two_moments(mu_dtype), step)


def adopt(
    learning_rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.9999,
    eps: float = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] = _fourth_root,
) -> GradientTransformation:
    """Adam with the optimal rate of convergence, whatever b2; see `scale_by_adopt`.

    >>> adopt(1e-3)
    <GradientTransformation adopt: adopt, lr>

    (Taniguchi et al. 2024, arXiv:2411.02853)
    """
    link = scale_by_adopt(
        b1,
        b2,
        eps,
        mu_dtype,
        nesterov=nesterov,
        use_clipping=use_clipping,
        clip_value_fn=clip_value_fn,
    )
    return chain(link, scale_by_learning_rate(learning_rate), name="adopt")
