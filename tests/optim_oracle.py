"""One random problem for every optimiser, run by Kinone and by optax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import optim

STEPS = 50
MASK = {"layers": [{"kernel": True, "bias": False}], "scale": False}


def problem(dtype: Any = np.float64, seed: int = 0) -> tuple[Any, list[Any]]:
    random = np.random.default_rng(seed)

    def draw(size: float = 1.0) -> Any:
        made = {
            "layers": [{"kernel": random.normal(size=(3, 2)), "bias": random.normal(size=2)}],
            "scale": random.normal(size=()),
        }
        return kn.tree.map(lambda leaf: np.asarray(size * leaf, dtype), made)

    sizes = 10.0 ** random.uniform(-5, 1, STEPS)
    return draw(), [draw(size) for size in sizes]


def ours(optimizer: Any, params: Any, gradients: Any, **extra: Any) -> Any:
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params, **extra)
        params = optim.apply_updates(params, updates)
    return params, state


def optax_run(make: Any, params: Any, gradients: Any, extra: Any = None) -> Any:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        theirs = make(optax)
        params = jax.tree.map(jax.numpy.asarray, params)
        state = theirs.init(params)
        update = jax.jit(theirs.update)
        for index, gradient in enumerate(gradients):
            more = {} if extra is None else extra(index)
            updates, state = update(gradient, state, params, **more)
            params = optax.apply_updates(params, updates)
        return jax.tree.map(np.asarray, params), state


def assert_close(got: Any, want: Any, rtol: float = 1e-11) -> None:
    """Each leaf within `rtol` of its largest element, and of the same dtype."""
    assert len(kn.tree.leaves(got)) == len(kn.tree.leaves(want))
    for (path, a), b in zip(kn.tree.leaves_with_path(got), kn.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype, path
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max(), err_msg=path)
