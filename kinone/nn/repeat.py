"""Layers that run other layers differently: many of one kind in a loop, or with less memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source, tree
from ..core import shape_dtype
from ..errors import ShapeError, TreeError
from ..graph import eval_shape
from ..random import Key
from ..transforms import checkpoint as remat
from ..transforms import scan
from .combine import check_layer
from .layer import Layer, Params, State, frame, whole_number


def scanned(layer: Layer, n: int) -> Layer:
    """`n` copies of a layer one after the other, which compile as fast as one.

    y = layer_n(… layer_2(layer_1(x)))

    Each copy has parameters, a state and a key of its own. They are those of `layer`, stacked along
    a first axis of length `n`, and `kn.scan` runs over it: values and gradients are a
    `Sequential`'s of the same weights, and a compiled program holds the layer once.

    Raises `ValueError` for n < 1, `ShapeError` when the layer's output is not like its input,
    `TreeError` when parameters are not stacked from `n` layers.

        >>> from kinone import nn, random
        >>> deep = scanned(nn.Residual(nn.Dense(4)), 12)
        >>> params, state = deep.init(random.key(0), (1, 4))
        >>> params["body"]["kernel"].shape
        (12, 4, 4)
        >>> deep.apply(params, state, np.ones((2, 4), np.float32))[0].shape
        (2, 4)
    """
    check_layer(layer, "what scanned repeats")
    n = whole_number(n, "n")
    name = f"scanned({layer}, {n})"

    def init(key: Key, x: Any) -> tuple[Params, State]:
        made = [layer.init(each, x) for each in key.split(n)]
        y = eval_shape(lambda p, s, x: layer.apply(p, s, x)[0], *made[0], x)
        given, found = tree.map(shape_dtype, x), tree.map(shape_dtype, y)
        if tree.structure(given) != tree.structure(found) or tree.leaves(given) != tree.leaves(
            found
        ):
            raise ShapeError(
                f"{name}: the layer makes {found} of {given}, at {source.here()}\n"
                "  Each copy runs on the output of the one before, which must be like the input."
            )
        params, state = tree.map(lambda *leaves: np.stack(leaves), *made)
        return params, state

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        for path, leaf in tree.leaves_with_path((params, state)):
            if np.shape(leaf)[:1] != (n,):
                raise TreeError(
                    f"{name}: {path.partition('/')[2]} has shape {np.shape(leaf)}, and a first "
                    f"axis of length {n} is wanted, at {source.here()}\n"
                    "  Stack the layers' parameters: tree.map(lambda *x: np.stack(x), *params)."
                )
        keys = None if key is None else key.split(n)

        def step(x: Any, each: tuple[Params, State, Key | None]) -> tuple[Any, State]:
            return layer.apply(each[0], each[1], x, train, each[2])

        y, new = scan(step, x, (params, state, keys), length=n)
        return y, new

    return frame(init, apply, name)


def checkpoint(layer: Layer) -> Layer:
    """The layer, of which a backward pass keeps the input and the parameters alone and computes the
    rest again: less memory for one more forward run.

    Parameters, state, values and gradients are those of `layer`. See `kn.checkpoint`.

    Source: Chen et al. 2016, arXiv:1604.06174.

        >>> from kinone import nn, random
        >>> block = checkpoint(nn.Sequential(nn.Dense(4), nn.Tanh()))
        >>> params, state = block.init(random.key(0), (1, 3))
        >>> block.apply(params, state, np.ones((2, 3), np.float32))[0].shape
        (2, 4)
    """
    check_layer(layer, "what checkpoint runs")

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        def run(params: Params, state: State, x: Any, key: Key | None) -> tuple[Any, State]:
            return layer.apply(params, state, x, train, key)

        y, new = remat(run)(params, state, x, key)
        return y, new

    return frame(layer.init, apply, f"checkpoint({layer})")
