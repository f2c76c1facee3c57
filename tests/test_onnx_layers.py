"""Every layer of `kinone.nn` as ONNX: prediction, training with a key, gradients; of any batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_onnx_models import Exported, close, shaken

import kinone as kn
import kinone.onnx
from kinone import nn, random, tree

_rng = np.random.default_rng(0)
IMAGES = _rng.normal(size=(4, 8, 8, 6))
SERIES = _rng.normal(size=(4, 5, 8))
ROWS = _rng.normal(size=(4, 12))
WORDS = _rng.integers(0, 20, (4, 6))
HEADS = _rng.normal(size=(4, 5, 2, 8))

ACTIVATIONS = (
    "Celu Elu Gelu Glu HardSigmoid HardSwish HardTanh LeakyRelu LogSigmoid LogSoftmax Mish PRelu "
    "Relu Relu6 Selu Sigmoid Silu Softmax Softplus Softsign Tanh"
)
LAYERS: dict[str, tuple[Callable[[], nn.Layer], Any]] = {
    "adaptive average": (lambda: nn.AdaptiveAvgPool(3), IMAGES),
    "adaptive maximum": (lambda: nn.AdaptiveMaxPool(3), IMAGES),
    "average pool": (lambda: nn.AvgPool(2), IMAGES),
    "batch norm": (nn.BatchNorm, IMAGES),
    "batch norm of rows": (nn.BatchNorm, ROWS),
    "convolution": (lambda: nn.Conv(4, 3), IMAGES),
    "strided groups": (lambda: nn.Conv(4, 3, strides=2, groups=2), IMAGES),
    "dilated": (lambda: nn.Conv(4, 3, dilation=2), IMAGES),
    "of series": (lambda: nn.Conv(4, (3,)), SERIES),
    "channels first": (lambda: nn.Conv(4, 3, layout="NCHW"), IMAGES),
    "transposed": (lambda: nn.ConvTranspose(4, 3, strides=2), IMAGES),
    "depthwise": (lambda: nn.DepthwiseConv(3), IMAGES),
    "dense": (lambda: nn.Dense(3), ROWS),
    "drop path": (lambda: nn.DropPath(0.3), IMAGES),
    "dropout": (lambda: nn.Dropout(0.3), IMAGES),
    "dropout of channels": (lambda: nn.Dropout(0.3, broadcast_dims=(1, 2)), IMAGES),
    "embedding": (lambda: nn.Embedding(20, 5), WORDS),
    "feed forward": (lambda: nn.FeedForward(9), SERIES),
    "flatten": (nn.Flatten, IMAGES),
    "global average": (nn.GlobalAvgPool, IMAGES),
    "global maximum": (nn.GlobalMaxPool, IMAGES),
    "group norm": (lambda: nn.GroupNorm(3), IMAGES),
    "instance norm": (nn.InstanceNorm, IMAGES),
    "layer norm": (nn.LayerNorm, SERIES),
    "root mean square norm": (nn.RMSNorm, SERIES),
    "learned positions": (lambda: nn.LearnedPositions(9), SERIES),
    "waves": (nn.SinusoidalPositions, SERIES),
    "rotary positions": (nn.RotaryPositions, HEADS),
    "maximum pool": (lambda: nn.MaxPool(2), IMAGES),
    "overlapping pool": (lambda: nn.MaxPool(3, strides=2, padding="SAME"), IMAGES),
    "attention": (lambda: nn.MultiHeadAttention(2), SERIES),
    "transformer": (lambda: nn.TransformerEncoder(2, 2, hidden_features=9, dropout=0.1), SERIES),
    "squeeze and excite": (lambda: nn.SqueezeExcite(3), IMAGES),
    "residual": (lambda: nn.Residual(nn.Conv(6, 3)), IMAGES),
    "repeated pixels": (lambda: nn.Upsample(2), IMAGES),
    "lines between pixels": (lambda: nn.Upsample(2, method="linear"), IMAGES),
    "gru": (lambda: nn.GRU(5), SERIES),
    "lstm": (lambda: nn.LSTM(5, num_layers=2, bidirectional=True), SERIES),
    "rnn": (lambda: nn.RNN(5), SERIES),
    **{name: (getattr(nn, name), ROWS) for name in ACTIVATIONS.split()},
}


def _double(leaf: Any) -> Any:
    return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    make, x = LAYERS[name]
    layer = make()
    params, state = tree.map(_double, shaken(layer.init(random.key(0), x)))

    def predict(params: Any, state: Any, x: Any) -> Any:
        return layer.apply(params, state, x)[0]

    def train(params: Any, state: Any, x: Any, key: Any) -> Any:
        return layer.apply(params, state, x, train=True, key=key)

    def slopes(params: Any, state: Any, x: Any, key: Any) -> Any:
        def loss(params: Any, x: Any) -> Any:
            y, _ = layer.apply(params, state, x, train=True, key=key)
            return sum(np.sum(leaf**3 + np.sin(leaf)) for leaf in tree.leaves(y))

        return kn.grad(loss, argnums=(0, 1) if x.dtype.kind == "f" else 0)(params, x)

    for fun, keys in ((predict, ()), (train, (1,)), (slopes, (1,))):
        try:
            fun(params, state, x, *map(random.key, keys))
        except TypeError:  # nothing there has a gradient
            continue
        exported = Exported(
            fun, params, state, x, *map(random.key, keys), dynamic={"x": {0: "batch"}}
        )
        for size in (4, 2):
            given = params, state, x[:size]
            wanted = fun(*given, *map(random.key, keys))
            found = exported(*given, *map(random.key, keys))
            # What is 0 but for rounding, such as the gradient of a key's bias, is so in both.
            close(found, wanted, 1e-11, 1e-12)
