"""Layers, operations and optimisers on bfloat16 and float16 themselves, without mixed precision."""

import numpy as np
import pytest

import kinone as kn
from kinone import nn, optim, random, tree

key = random.key


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def error(found, want):
    return float(np.linalg.norm(found - want) / np.linalg.norm(want))


LOW = {
    "dense": (nn.Dense(3), (4, 6)),
    "conv": (nn.Conv(4, (3, 3), groups=2), (2, 5, 5, 4)),
    "channels first": (nn.Conv(4, 3, layout="NCHW", strides=2), (2, 3, 5, 5)),
    "transposed": (nn.ConvTranspose(4, (3, 3), strides=2), (2, 4, 4, 2)),
    "depthwise": (nn.DepthwiseConv((3, 3)), (2, 4, 4, 2)),
    "batch norm": (nn.BatchNorm(), (6, 4, 3)),
    "layer norm": (nn.LayerNorm(), (4, 6)),
    "group norm": (nn.GroupNorm(2), (2, 5, 4)),
    "instance norm": (nn.InstanceNorm(), (2, 5, 4)),
    "rms norm": (nn.RMSNorm(), (4, 6)),
    "squeeze": (nn.SqueezeExcite(2, activation=kn.ops.tanh), (2, 5, 5, 4)),
    "pools": (nn.Sequential(nn.MaxPool(2), nn.AvgPool(2), nn.AdaptiveAvgPool(1)), (2, 8, 8, 3)),
    "dropouts": (nn.Sequential(nn.Dropout(0.3), nn.DropPath(0.3)), (8, 4)),
    "embedding": (nn.Sequential(nn.Dense(4), nn.Reshape(2, 2), nn.GlobalAvgPool()), (3, 5)),
    **{
        str(layer): (layer, (5, 6))
        for layer in (
            nn.LeakyRelu(),
            nn.PRelu(),
            nn.Elu(),
            nn.Selu(),
            nn.Gelu(),
            nn.Gelu(approximate=True),
            nn.Swish(),
            nn.Mish(),
            nn.Softplus(2.0),
            nn.HardSigmoid(),
            nn.HardSwish(),
            nn.HardTanh(),
            nn.LogSoftmax(),
            nn.Glu(),
        )
    },
}


def half(name):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", LOW)
def test_layers_keep_half_precision(name, dtype):
    layer, shape = LOW[name]
    low = half(dtype)
    given = numbers(*shape).astype(low)
    weights, before = layer.init(key(0), given)
    assert {leaf.dtype for leaf in tree.leaves(weights)} <= {low}

    def run(weights, x):
        return layer.apply(weights, before, x, train=True, key=key(1))[0]

    y, pullback = kn.vjp(run, weights, given)
    cotangent = numbers(*y.shape, seed=4).astype(low)
    slopes = pullback(cotangent)
    assert {leaf.dtype for leaf in tree.leaves((y, slopes))} == {low}
    np.testing.assert_array_equal(kn.jit(run)(weights, given), y)
    assert kn.vmap(lambda x: run(weights, x))(np.stack([given, given])).dtype == low

    wide = tree.map(lambda leaf: leaf.astype(np.float32), (weights, given))
    want, wide_pullback = kn.vjp(run, *wide)
    step = 2.0 ** (-10 if dtype == "float16" else -7)
    assert error(y.astype(np.float32), want) < 2 * step
    found = tree.map(lambda leaf: leaf.astype(np.float32), slopes)
    for (path, mine), peer in zip(
        tree.leaves_with_path(found),
        tree.leaves(wide_pullback(cotangent.astype(np.float32))),
        strict=True,
    ):
        near = step * max(float(np.linalg.norm(peer)), 1e-2)
        assert np.linalg.norm(mine - peer) < 8 * near, path


def test_wider_parameters_make_wider_results():
    low = half("bfloat16")
    layer = nn.Dense(3)
    weights, _ = layer.init(key(0), (1, 4))
    given = numbers(2, 4).astype(low)
    y, _ = layer.apply(weights, {}, given)  # NumPy's promotion, as for float16
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, layer.apply(weights, {}, given.astype(np.float32))[0], rtol=1e-6)


@pytest.mark.parametrize("make", [optim.adamw, lambda r: optim.sgd(r, momentum=0.9), optim.lion])
def test_training_in_bfloat16_alone(make):
    low = half("bfloat16")
    model = nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(3))
    given, labels = numbers(32, 4).astype(low), np.arange(32) % 3
    weights, _ = model.init(key(0), given)
    optimizer = make(0.02)
    inner = optimizer.init(weights)

    def loss(weights):
        logits, _ = model.apply(weights, {}, given)
        return np.mean(kn.losses.softmax_cross_entropy_with_integer_labels(logits, labels))

    @kn.jit
    def step(weights, inner):
        value, grads = kn.value_and_grad(loss)(weights)
        updates, inner = optimizer.update(grads, inner, weights)
        return optim.apply_updates(weights, updates), inner, value

    kinds = tree.map(lambda leaf: leaf.dtype, (weights, inner))
    start = float(loss(weights))
    for _ in range(60):
        weights, inner, value = step(weights, inner)
    assert tree.map(lambda leaf: leaf.dtype, (weights, inner)) == kinds
    assert {leaf.dtype for leaf in tree.leaves(weights)} == {low}
    assert float(value) < 0.85 * start


OPS = {
    "average": lambda x: kn.ops.avg_pool(x, 2),
    "maximum": lambda x: kn.ops.max_pool(x, 2),
    "global": kn.ops.global_avg_pool,
    "adaptive": lambda x: kn.ops.adaptive_avg_pool(x, 3),
    "conv": lambda x: kn.ops.conv(x, np.ones((3, 3, 3, 2), x.dtype)),
    "depthwise": lambda x: kn.ops.conv(x, np.ones((3, 3, 1, 3), x.dtype), groups=3),
    "transposed": lambda x: kn.ops.conv_transpose(x, np.ones((3, 3, 2, 3), x.dtype)),
    "batch norm": lambda x: kn.ops.batch_norm(x, np.ones(3, x.dtype), np.zeros(3, x.dtype))[0],
    "log softmax": kn.ops.log_softmax,
    "logsumexp": lambda x: kn.ops.logsumexp(x, axis=-1),
    "mean": lambda x: np.mean(x, axis=0),
    "std": lambda x: np.std(x, axis=0),
    "where": lambda x: np.where(x > 0, x, 0),
}


@pytest.mark.parametrize("name", OPS)
def test_operations_take_bfloat16(name):
    low = half("bfloat16")
    f, given = OPS[name], numbers(2, 5, 5, 3).astype(low)

    def total(x):
        return np.sum(f(x))

    y, slopes = f(given), kn.grad(total)(given)
    assert {leaf.dtype for leaf in (y, kn.jit(f)(given), slopes)} == {low}
    assert kn.jit(kn.grad(total))(given).dtype == low
    wide = given.astype(np.float32)
    assert error(y.astype(np.float32), f(wide)) < 2**-6
    found, want = slopes.astype(np.float32), kn.grad(total)(wide)
    assert np.linalg.norm(found - want) < 2**-5 * max(np.linalg.norm(want), 1)
