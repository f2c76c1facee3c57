"""Layers: pairs of pure functions, `init` and `apply`, and how models are made of them.

    params, state = layer.init(key, x_shape)
    y, state      = layer.apply(params, state, x, train=False, key=None)

| family        | layers                                                                        |
|---------------|-------------------------------------------------------------------------------|
| dense         | `Dense`                                                                       |
| convolution   | `Conv`, `ConvTranspose`, in any number of dimensions                          |
| normalisation | `BatchNorm`                                                                   |
| dropout       | `Dropout`                                                                     |
| activation    | `Relu`, `Sigmoid`, `Tanh`, `Swish`, `HardSigmoid`, `HardSwish`, `Softmax`     |
|               | and any function by `Activation`                                              |
| pooling       | `MaxPool`, `AvgPool`, `GlobalAvgPool`                                         |
| shape         | `Flatten`                                                                     |
| combination   | `Sequential`, `Residual`, `Parallel`, `compose`                               |
| your own      | `Layer(init, apply)`                                                          |

    >>> import numpy as np, kinone as kn
    >>> from kinone import nn
    >>> model = nn.Sequential(nn.Conv(8, (3, 3)), nn.Relu(), nn.Flatten(), nn.Dense(10))
    >>> params, state = model.init(kn.random.key(0), (1, 8, 8, 1))
    >>> logits, state = model.apply(params, state, np.zeros((2, 8, 8, 1), np.float32))
    >>> logits.shape, kn.tree.size(params)
    ((2, 10), 5210)

Initial values are made by `nn.initializers`.
"""

from . import initializers
from .activation import (
    Activation,
    HardSigmoid,
    HardSwish,
    Relu,
    Sigmoid,
    Softmax,
    Swish,
    Tanh,
)
from .combine import Call, Parallel, Residual, Sequential, compose
from .conv import Conv, ConvTranspose
from .dense import Dense
from .dropout import Dropout
from .layer import Layer, stateless
from .norm import BatchNorm
from .pool import AvgPool, GlobalAvgPool, MaxPool
from .shape import Flatten

__all__ = [
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Call",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "HardSigmoid",
    "HardSwish",
    "Layer",
    "MaxPool",
    "Parallel",
    "Relu",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Swish",
    "Tanh",
    "compose",
    "initializers",
    "stateless",
]
