"""Dropout of single numbers, of whole channels, and of whole paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import random, source
from ..core import Array, shape_of
from ..ops.axes import normalize_axis
from ..random import Key
from .layer import Layer, Params, State, describe, real_number


def Dropout(rate: float, *, broadcast_dims: Sequence[int] = ()) -> Layer:
    """Forgets a random share of its input in training, so that nothing relies on a single number.

    y = x · mask / (1 - rate), where mask is 1 with probability 1 - rate, else 0: the mean of y is
    x. Without `train`, y = x. Any shape; no parameters. Along `broadcast_dims` the mask is one:
    (1, 2) drops whole channels of (N, H, W, C) (Tompson et al. 2014, arXiv:1411.4280).

    Raises `ValueError` when `rate` is not in [0, 1), or when `apply` with `train=True` got no key.

    Source: Srivastava et al. 2014, JMLR 15.

        >>> layer = Dropout(0.5)
        >>> layer.apply({}, {}, np.ones(6), train=True, key=random.key(1))[0]
        array([2., 2., 0., 2., 2., 0.])
        >>> layer.apply({}, {}, np.ones(6))[0]
        array([1., 1., 1., 1., 1., 1.])
    """
    name = describe("Dropout", rate, broadcast_dims=(tuple(broadcast_dims), ()))

    def mask_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
        shared = {normalize_axis(axis, len(shape)) for axis in broadcast_dims}
        return tuple(1 if axis in shared else n for axis, n in enumerate(shape))

    return _dropping(name, rate, mask_shape)


def DropPath(rate: float) -> Layer:
    """Leaves out a residual block for a random share of the examples: stochastic depth.

    y = x · mask / (1 - rate), with one mask for each example, 1 with probability 1 - rate, else 0.
    Without `train`, y = x. (N, …); no parameters. It stands at the end of a block's body:
    `Residual(Sequential(…, DropPath(0.1)))`.

    Raises `ValueError` as `Dropout` does.

    Source: Huang et al. 2016, arXiv:1603.09382.

        >>> layer = DropPath(0.5)
        >>> layer.apply({}, {}, np.ones((3, 2)), train=True, key=random.key(1))[0]
        array([[2., 2.],
               [2., 2.],
               [0., 0.]])
    """
    return _dropping(
        describe("DropPath", rate), rate, lambda shape: (*shape[:1], *[1] * (len(shape) - 1))
    )


def _dropping(
    name: str, rate: float, mask_shape: Callable[[tuple[int, ...]], tuple[int, ...]]
) -> Layer:
    """The layer whose mask has the shape `mask_shape(x.shape)`."""
    rate = real_number(rate, "rate")
    if not 0 <= rate < 1:
        raise ValueError(
            f"rate={rate} is not in [0, 1): it is the share that is dropped, at {source.here()}"
        )

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        if not train or rate == 0:
            return x, state
        if key is None:
            raise ValueError(
                f"{name} in training wants a random key, at {source.here()}\n"
                "  Write layer.apply(params, state, x, train=True, key=key), with a new key for "
                "each step: key.fold_in(step)."
            )
        mask = random.bernoulli(key, 1 - rate, mask_shape(shape_of(x)))
        return np.where(mask, x / (1 - rate), 0), state

    layer = Layer(lambda key, x: ({}, {}), apply, name)
    layer.arithmetic = "linear"  # the mask is all that the backward pass keeps
    return layer
