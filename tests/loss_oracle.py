"""A loss beside optax's of the same name: the value, and the gradient for a random cotangent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import losses


def assert_like_optax(name: str, args: Any, options: Any) -> None:
    """Both are differentiated with respect to the first of `args`."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    ours, theirs = getattr(losses, name), getattr(optax.losses, name)
    value, pullback = kn.vjp(lambda x: ours(x, *args[1:], **options), args[0])
    ct = np.random.default_rng(1).normal(size=np.shape(value))
    with jax.enable_x64(True):
        fixed = [jax.numpy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        known = {
            k: jax.numpy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()
        }

        @jax.jit  # one compilation instead of one for each operation
        def both(x: Any, ct: Any) -> Any:
            want, back = jax.vjp(lambda x: theirs(x, *fixed[1:], **known), x)
            return want, back(ct)[0]

        want, gradient = map(np.asarray, both(fixed[0], jax.numpy.asarray(ct)))
    np.testing.assert_allclose(value, want, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(pullback(ct)[0], gradient, rtol=1e-9, atol=1e-12)
    assert np.abs(gradient).max() > 0
