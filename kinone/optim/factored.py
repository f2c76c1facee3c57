"""Adafactor and SM3: what is known of the squares of a matrix, kept as a row and a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype
from ..errors import TreeError
from .base import GradientTransformation, Params, State, Updates, chain, transformation
from .clipping import clip_by_block_rms
from .leaves import equals, like, squared, trains, weak, zeros_like, zip_leaves
from .moments import average, ema
from .scaling import scale_by_param_block_rms
from .schedules import Schedule
from .transforms import add_decayed_weights, scale, scale_by_learning_rate


def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: float = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: float = 1e-30,
) -> GradientTransformation:
    """u = g / √v, v averaging g² + epsilon; a matrix keeps the means of rows and columns.

    The average forgets less and less: its decay is 1 - (t - step_offset)^(-decay_rate). A leaf is
    factored along its two longest axes where both have `min_dim_size_to_factor` or more. State:
    `step`, and for each leaf `v_row` and `v_col`, or `v`; the others are of size 1.

        >>> link = scale_by_factored_rms(min_dim_size_to_factor=2)
        >>> g = np.outer([1.0, 2.0, 3.0], [1.0, 10.0])
        >>> updates, state = link.update(g, link.init(g))
        >>> updates.round(6)[0], state["v_row"].shape, state["v_col"].shape
        (array([1., 1.]), (2,), (3,))

    (Shazeer & Stern 2018, "Adafactor", arXiv:1804.04235)
    """
    rate = weak("adafactor", "decay_rate", decay_rate)
    epsilon = weak("adafactor", "epsilon", epsilon)

    def axes(leaf: Array) -> tuple[int, int] | None:
        """The second longest axis and the longest."""
        shape = shape_dtype(leaf).shape
        if not factored or len(shape) < 2:
            return None
        second, longest = np.argsort(shape)[-2:].tolist()
        return (second, longest) if shape[second] >= min_dim_size_to_factor else None

    def without(leaf: Array, which: int | None) -> Array:
        """Zeros in the shape of the leaf without its second longest (0) or longest axis (1)."""
        found, known = axes(leaf), shape_dtype(leaf)
        if which is None:
            return np.zeros(1, known.dtype) if found else zeros_like(leaf)
        if not found:
            return np.zeros(1, known.dtype)
        return np.zeros([n for i, n in enumerate(known.shape) if i != found[which]], known.dtype)

    def init(params: Params) -> State:
        return {
            "step": np.int64(0),
            "v_row": tree.map(lambda p: without(p, 1), params),
            "v_col": tree.map(lambda p: without(p, 0), params),
            "v": tree.map(lambda p: without(p, None), params),
        }

    def scaled(g: Array, decay: Any, row: Array, column: Array, v: Array) -> Any:
        square = squared(g) + like(epsilon, g)
        found = axes(g)
        if found is None:
            v = average(v, square, decay).astype(v.dtype)
            return g / np.sqrt(v), row, column, v
        second, longest = found
        row = average(row, np.mean(square, axis=longest), decay).astype(row.dtype)
        column = average(column, np.mean(square, axis=second), decay).astype(column.dtype)
        # `row` has lost its longest axis, so that the second longest may stand one place earlier.
        place = second - 1 if second > longest else second
        by_row = np.sqrt(row / np.mean(row, axis=place, keepdims=True))
        u = g / np.expand_dims(by_row, longest) / np.expand_dims(np.sqrt(column), second)
        return u, row, column, v

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        decay = 1 - np.power(state["step"] - step_offset + 1.0, -rate)
        (gradients,) = zip_leaves("adafactor", "gradients", updates)
        for name in ("v_row", "v_col", "v"):
            if tree.structure(state[name]) != tree.structure(updates):
                raise TreeError(
                    f"adafactor: this state was made for other parameters, at {source.here()}\n"
                    + tree.diff(updates, state[name])
                )
        kept = [tree.leaves(state[name]) for name in ("v_row", "v_col", "v")]
        rows = [
            scaled(g, decay, *row) if trains(g) else (g, *row)
            for g, *row in zip(gradients, *kept, strict=True)
        ]
        treedef = tree.structure(updates)
        u, *new = (tree.unflatten(treedef, [row[i] for row in rows]) for i in range(4))
        return u, {
            "step": state["step"] + 1,
            **dict(zip(("v_row", "v_col", "v"), new, strict=True)),
        }

    return transformation("adafactor", init, step)


def adafactor(
    learning_rate: float | Schedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: float = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    dtype_momentum: Any = np.float32,
    weight_decay_rate: float | Schedule | None = None,
    eps: float = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> GradientTransformation:
    """Adam's steps with hardly any memory: averages of squares by row and column, no momentum.

    Steps are clipped by their size and multiplied by that of the parameters, so that
    `learning_rate` is relative. `weight_decay_rate` is not multiplied by it. `update` needs the
    parameters. State: `adafactor`, `lr` and what the options add.

        >>> adafactor(1e-2)
        <GradientTransformation adafactor: adafactor, clip, lr, param_block_rms, scale>

    (Shazeer & Stern 2018, arXiv:1804.04235)
    """
    links = [scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps)]
    if clipping_threshold is not None:
        links.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        links.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        links.append(scale_by_param_block_rms())
    if momentum is not None:
        links.append(ema(momentum, debias=False, accumulator_dtype=dtype_momentum))
    if weight_decay_rate is not None:
        links.append(add_decayed_weights(weight_decay_rate, weight_decay_mask))
    return chain(*links, scale(-1.0), name="adafactor")


def scale_by_sm3(b1: float = 0.9, b2: float = 1.0, eps: float = 1e-8) -> GradientTransformation:
    """AdaGrad in little memory: one sum of squares for each row, and one for each column.

        v = min over the axes of s + g²           s of an axis ← the largest v along the others
        m ← b1 · m + (1 - b1) · g / √(v + eps),   u = m

    With b2 below 1 the sums forget: v = b2 · min s + (1 - b2) · g². State: `sums`, a list for each
    leaf, one entry for each of its axes, and `mu` (m).

        >>> link = scale_by_sm3(b1=0.0)
        >>> g = np.array([[3.0, 4.0], [0.0, 8.0]])
        >>> updates, state = link.update(g, link.init(g))
        >>> updates.round(4), state["sums"]
        (array([[1., 1.],
               [0., 1.]]), [array([16., 64.]), array([ 9., 64.])])

    Raises `ValueError` for complex parameters. (Anil et al. 2019, arXiv:1901.11150)
    """
    b1, eps = weak("sm3", "b1", b1), weak("sm3", "eps", eps)
    b2 = weak("sm3", "b2, which may be 1 here,", b2)
    fresh = 1.0 if equals(b2, 1) else 1 - b2

    def start(p: Any) -> list[Any]:
        known = shape_dtype(p)
        return [np.zeros(size, known.dtype) for size in known.shape or ((),)]

    def init(params: Params) -> State:
        for path, leaf in tree.leaves_with_path(params):
            if shape_dtype(leaf).dtype.kind == "c":
                raise ValueError(f"sm3: {path} is complex, at {source.here()}\n  Train its parts.")
        return {"sums": tree.map(start, params), "mu": tree.map(zeros_like, params)}

    def move(g: Array, sums: list[Array], m: Array) -> tuple[Array, list[Array]]:
        axes = range(len(shape_dtype(g).shape))
        least = sums[0]
        for axis in axes:
            along = sums[axis].reshape([-1 if each == axis else 1 for each in axes])
            least = along if axis == 0 else np.minimum(least, along)
        v = like(fresh, g) * g * g + like(b2, g) * least
        known = v > 0
        scaled = np.where(known, g / np.sqrt(np.where(known, v, 1) + like(eps, v)), 0)
        others = [tuple(each for each in axes if each != axis) for axis in axes]
        return average(m, scaled, b1), [np.max(v, axis=each) for each in others] or [v]

    def step(updates: Updates, state: State, params: Params | None = None) -> Any:
        columns = zip_leaves("sm3", "gradients", updates, ("state", state["mu"]))
        treedef = tree.structure(updates)
        sums = tree.flatten_up_to(treedef, state["sums"], updates)
        rows = [
            move(g, each, m) if trains(g) and np.size(g) else (g, each)
            for g, m, each in zip(*columns, sums, strict=True)
        ]
        u = tree.unflatten(treedef, [row[0] for row in rows])
        new_mu = [row[0] if trains(row[0]) else m for row, m in zip(rows, columns[1], strict=True)]
        return u, {
            "sums": tree.unflatten(treedef, [row[1] for row in rows]),
            "mu": tree.unflatten(treedef, new_mu),
        }

    return transformation("sm3", init, step)


def sm3(learning_rate: float | Schedule, momentum: float = 0.9) -> GradientTransformation:
    """AdaGrad with momentum for embeddings of millions of rows; see `scale_by_sm3`.

    >>> sm3(0.1)
    <GradientTransformation sm3: sm3, lr>

    (Anil et al. 2019, arXiv:1901.11150)
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate), name="sm3")
