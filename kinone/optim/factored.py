"""Adafactor: the averages of squares of a matrix kept as a row and a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import tree
from ..core import Array, shape_dtype
from .base import GradientTransformation, Params, State, Updates, chain, transformation
from .clipping import clip_by_block_rms
from .leaves import like, squared, trains, weak, zeros_like, zip_leaves
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
