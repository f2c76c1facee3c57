"""Dropout."""

from __future__ import annotations

import numpy as np

from .. import random, source
from ..core import Array, shape_of
from ..random import Key
from .layer import Layer, Params, State


def Dropout(rate: float) -> Layer:
    """Forgets a random share of its input in training, so that nothing relies on a single number.

    y = x · mask / (1 - rate), where mask is 1 with probability 1 - rate, else 0: the mean of y is
    x. Without `train`, y = x. Any shape; no parameters.

    Raises `ValueError` when `rate` is not in [0, 1), or when `apply` with `train=True` got no key.

    Source: Srivastava et al. 2014, JMLR 15.

        >>> layer = Dropout(0.5)
        >>> layer.apply({}, {}, np.ones(6), train=True, key=random.key(1))[0]
        array([2., 2., 0., 2., 2., 0.])
        >>> layer.apply({}, {}, np.ones(6))[0]
        array([1., 1., 1., 1., 1., 1.])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate} is not in [0, 1): it is the share that is dropped")

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        if not train or rate == 0:
            return x, state
        if key is None:
            raise ValueError(
                f"Dropout({rate}) in training wants a random key, at {source.here()}\n"
                "  Write layer.apply(params, state, x, train=True, key=key), with a new key for "
                "each step: key.fold_in(step)."
            )
        mask = random.bernoulli(key, 1 - rate, shape_of(x))
        return np.where(mask, x / (1 - rate), 0), state

    return Layer(lambda key, x: ({}, {}), apply, f"Dropout({rate})")
