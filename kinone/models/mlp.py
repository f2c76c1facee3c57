"""The multi-layer perceptron: dense layers with a bend between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import nn, ops, source
from ..core import Array


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[Array], Array] = ops.relu,
    dropout: float = 0.0,
    norm: Callable[[], nn.Layer] | None = None,
    use_bias: bool = True,
) -> nn.Layer:
    """Dense layers of these sizes, the last of which gives the output: (…, C) → (…, sizes[-1]).

    After each but the last come `norm()`, if there is one, the activation and dropout. Kernels
    start `he_normal`, made for ReLU, and the last one `lecun_normal`. Children are `dense0`,
    `norm0`, `dense1`, ….

    Raises `ValueError` without sizes.

        >>> import numpy as np
        >>> from kinone import random, tree
        >>> model = mlp((64, 32, 10), dropout=0.1, norm=nn.LayerNorm)
        >>> params, state = model.init(random.key(0), (1, 20))
        >>> model.apply(params, state, np.ones((8, 20), np.float32))[0].shape
        (8, 10)
        >>> tree.size(mlp((64, 10)).init(random.key(0), (1, 20))[0])
        1994
    """
    given: Any = sizes
    sizes = tuple(given) if isinstance(given, Iterable) else ()
    if not sizes:
        raise ValueError(
            f"mlp wants the sizes of its layers, such as (64, 10), and got {given!r:.40}, "
            f"at {source.here()}"
        )
    layers: dict[str, nn.Layer] = {}
    for i, size in enumerate(sizes[:-1]):
        layers[f"dense{i}"] = nn.Dense(
            size, use_bias=use_bias, kernel_init=nn.initializers.he_normal()
        )
        if norm is not None:
            layers[f"norm{i}"] = norm()
        layers[f"activation{i}"] = nn.Activation(activation)
        layers[f"dropout{i}"] = nn.Dropout(dropout)
    layers[f"dense{len(sizes) - 1}"] = nn.Dense(sizes[-1], use_bias=use_bias)
    inside = nn.Sequential(**layers)
    return nn.Layer(
        inside.init, inside.apply, nn.layer.describe("mlp", sizes, dropout=(dropout, 0.0))
    )
