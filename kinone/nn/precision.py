"""`mixed_precision`: activations in half the bytes, arithmetic in float32."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import source
from ..random import Key
from ..transforms import checkpoint as remat
from .casting import cast_floats, is_real_floating
from .combine import check_layer
from .layer import Layer, Params, State, calls, frame, rounded


def mixed_precision(layer: Layer, storage: Any = "float16", compute: Any = "float32") -> Layer:
    """The layer with what passes between its parts, and what its backward pass keeps, in float16.

    Each part of the model (a convolution, a normalisation; what `Sequential`, `compose` and the
    like are made of) reads its input in `storage`, computes in `compute`, sums and statistics
    included, and rounds its output to `storage` once. The backward pass keeps the rounded input and
    computes the part again in `compute`; compiled, what it does not need of that is left away.
    Parts that only choose or move numbers (`Relu`, `MaxPool`, `Flatten`) run in `storage`, where
    they are exact; of linear ones (`AvgPool`, `Dropout`) nothing is kept. So the backward pass
    keeps half the bytes: of convolution, `BatchNorm`, `Relu` two arrays in `storage`, not float32.
    The model's output, and so the loss, is in `compute`.

    Parameters are made and updated in float32, as masters, and their gradients are float32;
    for prediction alone they may be stored in float16 too. Cotangents between parts are in
    `storage`, whose smallest number is 6e-8: multiply the loss by a scale, such as
    `optim.dynamic_loss_scale` keeps.

    `storage="bfloat16"` (with the package ml_dtypes) has float32's range and eight bits of
    precision, and needs no scale.

    Raises `TypeError` when a dtype is no real floating-point one, `ValueError` when `storage` is
    wider than `compute`.

        >>> from kinone import nn, random
        >>> model = mixed_precision(nn.Sequential(nn.Dense(4), nn.Tanh()))
        >>> params, state = model.init(random.key(0), (1, 3))
        >>> y, state = model.apply(params, state, np.ones((2, 3), np.float32))
        >>> params["dense0"]["kernel"].dtype, y.dtype
        (dtype('float32'), dtype('float32'))

    Source: Micikevicius et al. 2017, arXiv:1710.03740.
    """
    check_layer(layer, "what mixed_precision runs")
    narrow, wide = _floating(storage, "storage"), _floating(compute, "compute")
    if narrow.itemsize > wide.itemsize:
        raise ValueError(
            f"storage {narrow} is wider than compute {wide}, at {source.here()}\n"
            '  Write storage="float16", compute="float32".'
        )

    def around(
        part: Layer, params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        """One part: `compute` inside, `storage` outside."""

        def inside(params: Params, state: State, x: Any, key: Key | None) -> tuple[Any, State]:
            with _applying(None):  # the layers that it applies itself compute alike
                y, new = rounded(part, narrow, wide, params, state, x, train, key)
            return y, new

        run = remat(inside) if part.arithmetic == "general" else inside
        y, new = run(params, state, x, key)
        return y, new

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        with _applying(around):
            y, new = layer.apply(params, state, cast_floats(x, narrow), train, key)
        return cast_floats(y, wide), new

    return frame(layer.init, apply, f"mixed_precision({layer}, {narrow})")


class _applying:
    """`with _applying(around):` has each part of a model applied by it, in this thread."""

    __slots__ = ("around", "before")

    def __init__(self, around: Callable[..., tuple[Any, State]] | None) -> None:
        self.around = around

    def __enter__(self) -> None:
        self.before, calls.around = calls.around, self.around

    def __exit__(self, *error: object) -> None:
        calls.around = self.before


def _floating(given: Any, what: str) -> np.dtype[Any]:
    if given == "bfloat16":
        try:
            given = importlib.import_module("ml_dtypes").bfloat16
        except ImportError:
            raise ImportError(
                f"{what} is 'bfloat16', which NumPy has from the package ml_dtypes, at "
                f"{source.here()}\n  Install it: pip install ml_dtypes"
            ) from None
    try:
        dtype: np.dtype[Any] = np.dtype(given)
    except TypeError:
        dtype = np.dtype(object)
    if not is_real_floating(dtype):
        raise TypeError(
            f"{what} is {given!r:.40}, and a floating-point dtype is wanted, at {source.here()}\n"
            '  Write storage="float16", compute="float32".'
        )
    return dtype
