"""Gradients that are too large made shorter: by element, by leaf, by unit, all together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
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
from .leaves import like, map_trained, norm, squared, trains, weak, whole_leaves, zeros_like


def clip(max_delta: float) -> GradientTransformation:
    """u = min(max(g, -max_delta), max_delta), element by element.

    >>> clip(1.0).update(np.array([-3.0, 0.5]), {})[0]
    array([-1. ,  0.5])
    """
    limit = weak("clip", "max_delta", max_delta)

    def clipped(g: Array, out: Any) -> Array:
        bound = like(limit, g)
        return np.minimum(np.maximum(g, -bound, out=out), bound, out=out)

    return stateless("clip", lambda updates, params: map_trained(clipped, updates))


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
            if shape_dtype(flat).dtype.itemsize < 4:  # 256² is too large for float16
                flat = flat.astype(np.float32)
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

        return map_trained(shortened, updates), {"norm": norm}

    return transformation("clip", init, step)


def clip_by_norm(max_norm: float) -> GradientTransformation:
    """u = g · min(1, max_norm / ‖g‖), each leaf by its own Euclidean norm.

    >>> clip_by_norm(1.0).update({"a": np.array([3.0, 4.0]), "b": np.array([0.5])}, {})[0]
    {'a': array([0.6, 0.8]), 'b': array([0.5])}
    """
    limit = weak("clip", "max_norm", max_norm)

    def shortened(g: Array) -> Array:
        return g / np.maximum(1, norm(g) / like(limit, g)).astype(g.dtype)

    return stateless("clip", lambda updates, params: whole_leaves("clip", shortened, updates))


def clip_by_block_rms(threshold: float) -> GradientTransformation:
    """u = g / max(1, rms(g) / threshold), each leaf by its own root mean square.

    >>> clip_by_block_rms(1.0).update(np.array([3.0, -3.0]), {})[0]
    array([ 1., -1.])

    (Shazeer & Stern 2018, "Adafactor", arXiv:1804.04235, section 6)
    """
    limit = weak("clip", "threshold", threshold)

    def shortened(g: Array) -> Array:
        rms = np.sqrt(np.mean(squared(g)))
        return g / np.maximum(1, rms / like(limit, g)).astype(g.dtype)

    return stateless("clip", lambda updates, params: whole_leaves("clip", shortened, updates))


def adaptive_grad_clip(
    clipping: float, eps: float = 1e-3, axis: int | tuple[int, ...] | None = None
) -> GradientTransformation:
    """A gradient at most `clipping` times as long as its parameters, unit by unit.

        u = g · min(1, clipping · max(‖p‖, eps) / ‖g‖)

    The norms are those of the units of a leaf: all of a scalar or vector; what leads to one output
    of a `(in, out)` matrix or of an `HWIO` kernel (every axis but the last; of three axes the first
    alone is summed over). `axis` says otherwise, for kernels in another layout: `(1, 2, 3)` for
    `OIHW`. `update` needs the parameters.

        >>> link = adaptive_grad_clip(0.1)
        >>> p = np.array([[3.0, 1.0], [4.0, 0.0]])
        >>> link.update(np.array([[0.0, 0.01], [2.0, 0.0]]), {}, p)[0]
        array([[0.  , 0.01],
               [0.5 , 0.  ]])

    Raises `ValueError` for a leaf of more than five axes when `axis` is None. (Brock et al. 2021,
    "High-performance large-scale image recognition without normalization", arXiv:2102.06171)
    """
    ratio, least = weak("agc", "clipping", clipping), weak("agc", "eps", eps)

    def shortened(g: Array, p: Array) -> Array:
        along = _unit_axes(shape_dtype(g).shape) if axis is None else axis
        g_norm = np.sqrt(np.sum(squared(g), axis=along, keepdims=True))
        p_norm = np.sqrt(np.sum(squared(p), axis=along, keepdims=True))
        limit = (like(ratio, g) * np.maximum(p_norm, like(least, g))).astype(g_norm.dtype)
        return np.where(g_norm < limit, g, g * (limit / np.maximum(g_norm, 1e-6)))

    def clipped(updates: Updates, params: Params | None) -> Updates:
        params = needs_params("adaptive_grad_clip", params)
        return whole_leaves("agc", shortened, updates, ("parameters", params))

    return stateless("agc", clipped)


def _unit_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    if sum(size != 1 for size in shape) <= 1:  # a scalar or a vector, perhaps with axes of 1
        return tuple(range(len(shape)))
    if len(shape) > 5:
        raise ValueError(
            f"adaptive_grad_clip wants axis= for a leaf of shape {shape}, at {source.here()}"
        )
    return {2: (0,), 3: (0,), 4: (0, 1, 2), 5: (0, 1, 2, 3)}[len(shape)]


def normalize() -> GradientTransformation:
    """u = g / ‖g‖, by the norm of all leaves together: what `sam` climbs along.

    A gradient of zero stays zero.

        >>> normalize().update({"a": np.array([3.0]), "b": np.array([4.0])}, {})[0]
        {'a': array([0.6]), 'b': array([0.8])}
    """

    def unit(updates: Updates, params: Params | None) -> Updates:
        length = global_norm(updates)
        divisor = np.where(length == 0, 1.0, length)
        return map_trained(lambda g, out: np.divide(g, like(divisor, g), out=out), updates)

    return stateless("normalize", unit)


def normalize_by_update_norm(
    scale_factor: float = 1.0, eps: float = 1e-6
) -> GradientTransformation:
    """u = g · scale_factor / (‖g‖ + eps), by the norm of all leaves together.

    >>> normalize_by_update_norm(10.0, eps=0.0).update(np.array([3.0, 4.0]), {})[0]
    array([6., 8.])
    """
    factor = weak("normalize", "scale_factor", scale_factor)
    eps = weak("normalize", "eps", eps)

    def step(updates: Updates, params: Params | None) -> Updates:
        divisor = (global_norm(updates) + eps) / factor
        return map_trained(lambda g, out: np.divide(g, like(divisor, g), out=out), updates)

    return stateless("normalize", step)
