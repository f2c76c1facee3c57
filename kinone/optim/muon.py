"""Muon: momentum whose matrices are made orthogonal, and Adam for what is no matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype
from .base import (
    GradientTransformation,
    Params,
    State,
    Updates,
    chain,
    stateless,
    transformation,
)
from .leaves import formula, like, same_dtype, trains, weak, zeros_like
from .moments import average, debias, first_moment
from .optimizers import adamw
from .schedules import Schedule
from .transforms import add_decayed_weights, scale_by_learning_rate
from .wrappers import partition

Coefficients = tuple[float, float, float]

PRESETS: dict[str, Any] = {
    "standard": (3.4445, -4.7750, 2.0315),
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}
PRECONDITIONINGS = ("frobenius", "spectral", "aol", "schatten")


class MuonDimensionNumbers(NamedTuple):
    """Which axes of a leaf are the rows (inputs) of its matrix and which the columns (outputs).

    Several axes make one; the others count matrices. An `HWIO` kernel is one matrix by
    `MuonDimensionNumbers((0, 1, 2), 3)`.

    >>> MuonDimensionNumbers()
    MuonDimensionNumbers(reduction_axis=0, output_axis=1)
    """

    reduction_axis: int | Sequence[int] = 0
    output_axis: int | Sequence[int] = 1


def scale_by_muon(
    ns_coeffs: Any = PRESETS["standard"],
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: Any = None,
) -> GradientTransformation:
    """Momentum, its singular values all made about 1: the nearest orthogonal matrix.

        m ← beta · m + (1 - beta) · g,   X = m̂ / (‖m̂‖ + eps)
        ns_steps times  X ← aX + (bA + cA²)X  with  A = XXᵀ,   u = X

    `ns_coeffs`: (a, b, c), or one for each step. `preconditioning` says what X is divided by at
    first: "frobenius" or "spectral" its norm, "aol" and "schatten" bounds that cost no norm of
    their own. `adaptive` multiplies by Σ m̂ · X. `weight_dimension_numbers`: a tree of
    `MuonDimensionNumbers` or a function from the updates to one; None means that each leaf is a
    matrix. State: `step` and `mu`, in `mu_dtype` if that is given.

        >>> link = scale_by_muon(ns_steps=10)
        >>> g = np.diag([100.0, 1.0])
        >>> (np.abs(link.update(g, link.init(g))[0]) > 0.6).tolist()
        [[True, False], [False, True]]

    Raises `ValueError` for coefficients, axes or a preconditioning that do not fit. (Jordan et al.
    2024, "Muon: An optimizer for hidden layers in neural networks"; Bernstein & Newhouse 2024,
    arXiv:2409.20325)
    """
    if preconditioning not in PRECONDITIONINGS:
        raise ValueError(
            f"muon: preconditioning is one of {PRECONDITIONINGS}, not {preconditioning!r}, "
            f"at {source.here()}"
        )
    steps = _coefficients(ns_coeffs, ns_steps)
    beta, eps = weak("muon", "beta", beta), weak("muon", "eps", eps)

    def init(params: Params) -> State:
        _axes_of(weight_dimension_numbers, params)  # what does not fit is an error at once
        mu = tree.map(lambda p: zeros_like(p, mu_dtype), params)
        return {"step": np.int64(0), "mu": mu}

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        count = state["step"] + 1
        now, ahead = debias(beta, count), debias(beta, count + 1)

        def move(g: Array, m: Array) -> Any:
            m = average(m, g, beta)
            smooth = first_moment(g, m, beta, now, ahead if nesterov else None)
            return smooth, m if mu_dtype is None else m.astype(mu_dtype)

        smooth, mu = formula("muon", move, updates, state["mu"])
        leaves, treedef = tree.flatten(smooth)
        made = []
        for m, axes in zip(leaves, _axes_of(weight_dimension_numbers, updates), strict=True):
            if not trains(m):
                made.append(m)
                continue
            x = _orthogonal(m, axes, steps, preconditioning, eps)
            made.append(np.sum(np.conj(m) * x) * x if adaptive else x)
        return tree.unflatten(treedef, made), {"step": count, "mu": mu}

    return transformation("muon", init, step)


def muon(
    learning_rate: float | Schedule,
    ns_coeffs: Any = PRESETS["standard"],
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float | Schedule = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: float = 0.9,
    adam_b2: float = 0.999,
    adam_eps_root: float = 0.0,
    adam_weight_decay: float | Schedule = 0.0,
    adam_learning_rate: float | Schedule | None = None,
    muon_weight_dimension_numbers: Any = None,
    consistent_rms: float | None = None,
) -> GradientTransformation:
    """Steps of orthogonal matrices for hidden layers; AdamW for all that is no matrix.

    Leaves of two axes are matrices, or those for which `muon_weight_dimension_numbers` has
    `MuonDimensionNumbers` and not None. A step is scaled by √max(1, outputs / inputs), or with
    `consistent_rms` by that times √max(inputs, outputs). `ns_coeffs` may be "standard" or "dion".
    The other arguments are those of `scale_by_muon`; the `adam_` ones those of `adamw`.
    State: `muon` and `adam`. First and last layers do better with Adam: give those None as their
    dimension numbers.

        >>> optimizer = muon(0.02, weight_decay=0.01)
        >>> params = {"kernel": np.ones((3, 2)), "bias": np.ones(2)}
        >>> state = optimizer.init(params)
        >>> list(state), list(state["muon"]), list(state["adam"])
        (['muon', 'adam'], ['muon', 'shape', 'decay', 'lr'], ['adam', 'decay', 'lr'])

    (Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982)
    """
    numbers = muon_weight_dimension_numbers

    def labels(params: Params) -> Params:
        if numbers is None:
            return tree.map(lambda p: "muon" if np.ndim(p) == 2 else "adam", params)
        found = _numbers_of(numbers, params)
        return tree.unflatten(
            tree.structure(params), ["adam" if each is None else "muon" for each in found]
        )

    matrices = chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=numbers,
        ),
        _scale_by_shape(numbers, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    others = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        eps,
        adam_eps_root,
        mu_dtype,
        adam_weight_decay,
        nesterov=nesterov,
    )
    return partition({"muon": matrices, "adam": others}, labels)


def _scale_by_shape(numbers: Any, consistent_rms: float | None) -> GradientTransformation:
    """u = g · √max(1, outputs / inputs), or g · consistent_rms · √max(inputs, outputs)."""
    rms = None if consistent_rms is None else weak("muon", "consistent_rms", consistent_rms)

    def step(updates: Updates, params: Params | None) -> Updates:
        leaves, treedef = tree.flatten(updates)
        made = []
        for g, (_, rows, columns) in zip(leaves, _axes_of(numbers, updates), strict=True):
            inputs, outputs = _size(g, rows), _size(g, columns)
            if rms is None:
                made.append(g * math.sqrt(max(1, outputs / max(inputs, 1))))
            else:
                made.append(g * like(rms * math.sqrt(max(inputs, outputs)), g))
        return tree.unflatten(treedef, made)

    return stateless("shape", step)


def _coefficients(given: Any, count: int) -> list[Coefficients]:
    """One triple for each step; of more than there are steps, the last ones."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise ValueError(
                f"muon: ns_coeffs is one of {list(PRESETS)} or numbers, not {given!r}, "
                f"at {source.here()}"
            )
        given = PRESETS[given]
    known = np.asarray(given, np.float64)
    if known.ndim not in (1, 2) or known.shape[-1] != 3:
        raise ValueError(
            f"muon: ns_coeffs must have the shape (3,) or (n, 3), got {known.shape}, "
            f"at {source.here()}"
        )
    if known.ndim == 1:
        known = np.tile(known, (count, 1))
    if len(known) > count:
        raise ValueError(
            f"muon: there are {len(known)} ns_coeffs for {count} ns_steps, at {source.here()}"
        )
    return [(float(a), float(b), float(c)) for a, b, c in known]


def _orthogonal(
    m: Array, axes: Any, steps: list[Coefficients], preconditioning: str, eps: Any
) -> Array:
    """The matrices of a leaf with their singular values moved towards 1, by Newton and Schulz."""
    batch, rows, columns = axes
    order = (*batch, *rows, *columns)
    shape = shape_dtype(m).shape
    x = np.transpose(m, order).reshape([_size(m, axes) for axes in (batch, rows, columns)])
    wide = _size(m, rows) <= _size(m, columns)
    x = x if wide else np.swapaxes(x, 1, 2)
    if preconditioning in ("frobenius", "spectral"):
        if preconditioning == "frobenius":
            size = np.sqrt(np.sum(np.real(x * np.conj(x)), axis=(1, 2), keepdims=True))
        else:
            size = np.linalg.norm(x, ord=2, axis=(1, 2), keepdims=True)
        x = x / (size + like(eps, size))
    for number, (a, b, c) in enumerate(steps):
        square = x @ np.conj(np.swapaxes(x, 1, 2))
        if number == 0 and preconditioning == "aol":
            sums = np.sum(np.abs(square), axis=2, keepdims=True)
            factor = 1 / np.sqrt(np.maximum(sums, 1e-8))
            x, square = x * factor, square * factor * np.swapaxes(factor, 1, 2)
        elif number == 0 and preconditioning == "schatten":
            size = np.sqrt(np.sum(np.abs(square) ** 2, axis=(1, 2), keepdims=True))
            factor = 1 / np.sqrt(np.maximum(size, 1e-8))
            x, square = x * factor, square * factor**2
        x = a * x + (b * square + c * (square @ square)) @ x
    x = x if wide else np.swapaxes(x, 1, 2)
    x = np.transpose(x.reshape([shape[axis] for axis in order]), np.argsort(order))
    return same_dtype(x, m)


def _size(leaf: Array, axes: Sequence[int]) -> int:
    return math.prod(shape_dtype(leaf).shape[axis] for axis in axes)


def _numbers_of(numbers: Any, whole: Any) -> list[MuonDimensionNumbers | None]:
    """The dimension numbers of each leaf; those of a part of the tree are of all its leaves."""
    given = numbers(whole) if callable(numbers) else numbers

    def ends(node: Any) -> bool:
        return node is None or isinstance(node, MuonDimensionNumbers)

    found, treedef = tree.flatten(given, is_leaf=ends)
    parts = tree.flatten_up_to(treedef, whole, given)
    return [each for each, part in zip(found, parts, strict=True) for _ in tree.leaves(part)]


def _axes_of(numbers: Any, whole: Any) -> list[Any]:
    """Of each leaf the axes that count matrices, those of the rows and those of the columns."""
    pairs = tree.leaves_with_path(whole)
    default = MuonDimensionNumbers()
    given = [default] * len(pairs) if numbers is None else _numbers_of(numbers, whole)
    made = []
    for (path, leaf), each in zip(pairs, given, strict=True):
        ndim = len(shape_dtype(leaf).shape)
        rows, columns = (
            tuple((axis,) if isinstance(axis, int) else axis) for axis in each or default
        )
        taken = [axis % ndim for axis in (*rows, *columns)] if ndim else []
        if len(set(taken)) != len(rows) + len(columns) or (numbers is None and ndim != 2):
            raise ValueError(
                f"muon: {path or 'the leaf'} is {shape_dtype(leaf)}, no matrix by {each}, at "
                f"{source.here()}\n  Name its rows and columns by MuonDimensionNumbers, or leave "
                "it to Adam."
            )
        batch = tuple(axis for axis in range(ndim) if axis not in taken)
        made.append((batch, tuple(taken[: len(rows)]), tuple(taken[len(rows) :])))
    return made
