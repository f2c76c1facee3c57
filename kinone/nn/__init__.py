"""Layers: pairs of pure functions, `init` and `apply`, and how models are made of them.

    params, state = layer.init(key, x_shape)
    y, state      = layer.apply(params, state, x, train=False, key=None)

| family        | layers                                                                        |
|---------------|-------------------------------------------------------------------------------|
| dense         | `Dense`                                                                       |
| convolution   | `Conv`, `ConvTranspose`, `DepthwiseConv`, in any number of dimensions         |
| normalisation | `BatchNorm`, `LayerNorm`, `GroupNorm`, `InstanceNorm`, `RMSNorm`              |
| dropout       | `Dropout`, `DropPath`                                                         |
| activation    | `Relu`, `Relu6`, `LeakyRelu`, `PRelu`, `Elu`, `Celu`, `Selu`, `Gelu`, `Swish` |
|               | or `Silu`, `Mish`, `Softplus`, `Softsign`, `Sigmoid`, `LogSigmoid`, `Tanh`,   |
|               | `HardSigmoid`, `HardSwish`, `HardTanh`, `Softmax`, `LogSoftmax`, `Glu`,       |
|               | and any function by `Activation`                                              |
| pooling       | `MaxPool`, `AvgPool`, `AdaptiveMaxPool`, `AdaptiveAvgPool`, `GlobalMaxPool`,  |
|               | `GlobalAvgPool`                                                               |
| attention to  | `SqueezeExcite`                                                               |
| channels      |                                                                               |
| embedding     | `Embedding`; `attend` with its parameters                                     |
| recurrent     | `LSTM`, `GRU`, `RNN`; one step: `LSTMCell`, `GRUCell`, `RNNCell`              |
| attention     | `MultiHeadAttention`; functions `dot_product_attention`, `attention_weights`  |
| positions     | `SinusoidalPositions`, `LearnedPositions`, `RotaryPositions`; `rotate`,       |
|               | `sinusoidal_positions`, `alibi_bias`                                          |
| transformer   | `TransformerEncoder`, `TransformerDecoder`, their `…Layer`s, `FeedForward`    |
| shape         | `Flatten`, `Reshape`, `Upsample`                                              |
| combination   | `Sequential`, `Residual`, `Parallel`, `compose`, `named`                      |
| running       | `scanned`: copies in a loop; `checkpoint`, `mixed_precision`: less memory     |
| parameters    | `freeze` and `merge`: which of them train                                     |
| a table       | `summary`: shapes, parameters, multiply-accumulates                           |
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

from typing import TYPE_CHECKING

from ..core.names import other_names
from . import initializers
from .activation import (
    Activation,
    Celu,
    Elu,
    Gelu,
    Glu,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyRelu,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PRelu,
    Relu,
    Relu6,
    Selu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Softsign,
    Swish,
    Tanh,
)
from .attention import MultiHeadAttention, attention_weights, dot_product_attention
from .combine import Call, Parallel, Residual, Sequential, compose
from .conv import Conv, ConvTranspose, DepthwiseConv
from .dense import Dense
from .dropout import Dropout, DropPath
from .embedding import Embedding, attend
from .freeze import Partition, freeze, merge
from .layer import Layer, named, stateless
from .layer_norm import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from .norm import BatchNorm
from .pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
)
from .positional import (
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    alibi_bias,
    rotate,
    sinusoidal_positions,
)
from .precision import mixed_precision
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .repeat import checkpoint, scanned
from .shape import Flatten, Reshape, Upsample
from .squeeze_excite import SqueezeExcite
from .summary import Summary, summary
from .transformer import (
    FeedForward,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "AvgPool",
    "BatchNorm",
    "Call",
    "Celu",
    "Conv",
    "ConvTranspose",
    "Dense",
    "DepthwiseConv",
    "DropPath",
    "Dropout",
    "Elu",
    "Embedding",
    "FeedForward",
    "Flatten",
    "GRUCell",
    "Gelu",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Glu",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "InstanceNorm",
    "LSTMCell",
    "Layer",
    "LayerNorm",
    "LeakyRelu",
    "LearnedPositions",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool",
    "Mish",
    "MultiHeadAttention",
    "PRelu",
    "Parallel",
    "Partition",
    "RMSNorm",
    "RNNCell",
    "Relu",
    "Relu6",
    "Reshape",
    "Residual",
    "RotaryPositions",
    "Selu",
    "Sequential",
    "Sigmoid",
    "Silu",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Softsign",
    "SqueezeExcite",
    "Summary",
    "Swish",
    "Tanh",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Upsample",
    "alibi_bias",
    "attend",
    "attention_weights",
    "checkpoint",
    "compose",
    "dot_product_attention",
    "freeze",
    "initializers",
    "merge",
    "mixed_precision",
    "named",
    "rotate",
    "scanned",
    "sinusoidal_positions",
    "stateless",
    "summary",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = other_names(
        __name__,
        {
            "Linear": "nn.Dense",
            "Module": "nn.Layer(init, apply), or nn.compose of children",
            "ModuleList": "nn.Sequential",
            "Identity": "nn.Sequential()",
            "Parameter": "an array in the params that init returns",
            "functional": "kinone.ops and kinone.losses",
            "CrossEntropyLoss": "kinone.losses.softmax_cross_entropy_with_integer_labels",
            "BCEWithLogitsLoss": "kinone.losses.sigmoid_binary_cross_entropy",
            "MSELoss": "kinone.losses.mse",
            "Embed": "nn.Embedding",
            "MultiHeadDotProductAttention": "nn.MultiHeadAttention",
            "StochasticDepth": "nn.DropPath",
            "remat": "nn.checkpoint",
            "scan": "nn.scanned",
            "one_hot": "np.eye(num_classes)[labels]",
            "tanh": "np.tanh, or nn.Tanh() as a layer",
            "relu": "kinone.ops.relu, or nn.Relu() as a layer",
            "gelu": "kinone.ops.gelu, or nn.Gelu() as a layer",
            "silu": "kinone.ops.silu, or nn.Silu() as a layer",
            "sigmoid": "kinone.ops.sigmoid, or nn.Sigmoid() as a layer",
            "softmax": "kinone.ops.softmax, or nn.Softmax() as a layer",
            "log_softmax": "kinone.ops.log_softmax, or nn.LogSoftmax() as a layer",
        },
    )
