"""`nn.mixed_precision`: half the bytes, float32 arithmetic, and float32's gradients."""

import itertools

import numpy as np
import pytest

import kinone as kn
from kinone import nn, optim, random, tree

key = random.key


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolution():
    return nn.Sequential(nn.Conv(16, (3, 3), use_bias=False), nn.BatchNorm(), nn.Relu())


plain = nn.Sequential(convolution(), nn.Residual(convolution()), nn.GlobalAvgPool(), nn.Dense(5))
x, g = numbers(8, 12, 12, 3), numbers(8, 5, seed=1)
params, state = plain.init(key(0), x)


def loss(layer):
    return lambda params: np.sum(layer.apply(params, state, x, train=True)[0] * g)


def error(found, want):
    """The largest relative error of a leaf, in the norm."""
    return max(
        tree.leaves(
            tree.map(lambda a, b: float(np.linalg.norm(a - b) / np.linalg.norm(b)), found, want)
        )
    )


@pytest.mark.parametrize(("storage", "within"), [("float16", 2e-2), ("bfloat16", 0.1)])
def test_gradients_are_float32_and_near_those_of_float32(storage, within):
    if storage == "bfloat16":
        pytest.importorskip("ml_dtypes")
    mixed = nn.mixed_precision(plain, storage)
    want = kn.grad(loss(plain))(params)
    found = kn.grad(loss(mixed))(params)
    assert {leaf.dtype for leaf in tree.leaves(found)} == {np.dtype(np.float32)}
    assert 1e-5 < error(found, want) < within  # it does round
    assert error(kn.jit(kn.grad(loss(mixed)))(params), found) < 1e-6
    assert nn.summary(mixed, x.shape).rows[1].output.dtype.name == storage


def test_a_gradient_goes_through_bfloat16():
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    given = np.array([0.5, 1.5, -2.0], np.float32)  # numbers that it holds exactly

    def f(x):
        return np.sum(x.astype(bfloat16).astype(np.float32) ** 2)

    want = 2 * given
    for slope in (kn.grad(f), kn.jit(kn.grad(f)), kn.jacfwd(f)):
        np.testing.assert_array_equal(slope(given), want)
    found = kn.grad(lambda x: np.sum((x + x).astype(np.float32)))(given.astype(bfloat16))
    assert found.dtype == bfloat16
    np.testing.assert_array_equal(found.astype(np.float32), [2, 2, 2])

    def carried(x):
        y, _ = kn.scan(lambda c, w: (c * w, None), np.ones((), bfloat16), x.astype(bfloat16))
        return y.astype(np.float32)

    want = np.prod(given) / given
    np.testing.assert_array_equal(kn.grad(carried)(given), want)
    np.testing.assert_array_equal(kn.jit(kn.grad(carried))(given), want)


def test_storage_float32_is_the_layer_itself():
    same = nn.mixed_precision(plain, storage="float32")
    want, new = plain.apply(params, state, x, train=True)
    y, found = same.apply(params, state, x, train=True)
    np.testing.assert_array_equal(y, want)
    tree.map(np.testing.assert_array_equal, found, new)
    assert error(kn.grad(loss(same))(params), kn.grad(loss(plain))(params)) < 1e-5


def kept_bytes(layer):
    """Of what a backward pass keeps, the bytes that are no input."""
    kept = kn.debug.residuals(loss(layer), params)
    return kept.nbytes - sum(leaf.nbytes for leaf in tree.leaves((params, x, g)))


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_the_backward_pass_keeps_half_of_the_bytes(storage):
    if storage == "bfloat16":
        pytest.importorskip("ml_dtypes")
    assert kept_bytes(nn.mixed_precision(plain, storage)) < 0.51 * kept_bytes(plain)


def test_a_model_under_another_name_is_its_parts():
    other = nn.Layer(plain.init, plain.apply, "other()")  # as models are, nn.named and repr
    assert kept_bytes(nn.mixed_precision(other)) == kept_bytes(nn.mixed_precision(plain))
    deep = nn.Sequential(nn.named("a", other), nn.named("b", nn.Relu()))
    rows = nn.summary(nn.mixed_precision(deep), x.shape).rows
    assert {row.output.dtype.name for row in rows[1:]} == {"float16"}


EXACT = [
    nn.Relu(),
    nn.Relu6(),
    nn.HardTanh(-0.3, 0.7),
    nn.Activation(kn.ops.relu),
    nn.MaxPool(2),
    nn.MaxPool(3, strides=2, padding=1, layout="NCHW"),
    nn.AdaptiveMaxPool(3),
    nn.GlobalMaxPool(),
    nn.Flatten(),
    nn.Reshape(-1, 2),
]
LINEAR = [
    nn.Upsample(2),
    nn.AvgPool(2),
    nn.AdaptiveAvgPool(3),
    nn.GlobalAvgPool(),
    nn.Dropout(0.1),
    nn.DropPath(0.4),
    nn.Upsample(2, method="linear"),
]


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
@pytest.mark.parametrize("layer", [*EXACT, *LINEAR], ids=str)
def test_parts_that_are_not_computed_again_are_rounded_once(layer, storage):
    low = storage == "bfloat16"
    narrow = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if low else storage)
    assert layer.arithmetic == ("exact" if layer in EXACT else "linear")
    mixed = nn.mixed_precision(layer, narrow)
    given = numbers(4, 8, 8, 2).astype(narrow).astype(np.float32)

    def run(layer, rounding):
        def f(x):
            y, _ = layer.apply({}, {}, x, train=True, key=key(2))
            return y.astype(rounding).astype(np.float32)

        return f

    y, pullback = kn.vjp(run(mixed, np.float32), given)
    want, exact_pullback = kn.vjp(run(layer, narrow), given)
    np.testing.assert_array_equal(y, want)
    cotangent = numbers(*y.shape, seed=3)
    (found,), (wanted,) = pullback(cotangent), exact_pullback(cotangent)
    # A pool whose windows overlap adds in storage, one rounding for each.
    np.testing.assert_allclose(found, wanted, rtol=4 * 2.0 ** -(8 if low else 11))
    np.testing.assert_array_equal(kn.jit(run(mixed, np.float32))(given), y)
    rows = kn.debug.residuals(run(mixed, np.float32), given).rows
    floating = [row for row in rows if row.aval.dtype.kind not in "iub" and row.nbytes > 64]
    assert {row.aval.dtype for row in floating} <= {narrow}
    assert not floating or layer in EXACT


def test_between_layers_it_is_float16_and_inside_float32():
    inside = []

    def apply(params, state, x, train, key):
        inside.append(x.dtype)
        return nn.Relu().apply({}, {}, x)

    watching = nn.Layer(lambda key, x: ({}, {}), apply, "Watching()")
    between = []
    model = nn.compose(
        {"a": watching, "b": watching},
        lambda call, x: [between.append(x.dtype), call("b", call("a", x))][1],
    )
    y, _ = nn.mixed_precision(model).apply({}, {}, numbers(2, 3))
    assert set(inside) == {np.dtype(np.float32)}
    assert (between, y.dtype) == ([np.dtype(np.float16)], np.dtype(np.float32))
    rows = nn.summary(nn.mixed_precision(plain), (1, 12, 12, 3)).rows
    assert {row.output.dtype.name for row in rows[1:]} == {"float16"}


def test_sums_are_float32():
    layer = nn.mixed_precision(nn.Dense(1, use_bias=False))
    ones = {"kernel": np.full((70000, 1), 1e-4, np.float32)}
    y, _ = layer.apply(ones, {}, np.full((1, 70000), 0.5, np.float32))
    np.testing.assert_allclose(y, [[3.5]], rtol=1e-3)


def test_states_keys_and_scans_go_through():
    deep = nn.scanned(nn.Sequential(nn.Dense(6), nn.BatchNorm(), nn.Dropout(0.5)), 3)
    mixed = nn.mixed_precision(deep)
    given = numbers(16, 6)
    weights, before = mixed.init(key(0), given)
    y, after = mixed.apply(weights, before, given, train=True, key=key(1))
    want, new = deep.apply(weights, before, given, train=True, key=key(1))
    np.testing.assert_array_equal(y == 0, want == 0)
    np.testing.assert_allclose(y, want, atol=2e-2)
    assert error(after, new) < 1e-2
    compiled, _ = kn.jit(lambda w: mixed.apply(w, before, given, train=True, key=key(1)))(weights)
    np.testing.assert_allclose(compiled, y, atol=1e-3)


def test_parameters_may_be_stored_in_float16():
    stored = tree.map(lambda leaf: leaf.astype(np.float16), params)
    y, _ = nn.mixed_precision(plain).apply(stored, state, x)
    np.testing.assert_allclose(y, plain.apply(params, state, x)[0], atol=5e-3)


def test_a_loss_scale_trains_where_gradients_underflow():
    model = nn.mixed_precision(nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(1)))
    given, small = numbers(32, 4), 1e-7  # cotangents of the mean are 1e-7 / 32
    want = np.sin(given[:, :1])
    start, _ = model.init(key(0), given)

    def loss(params):
        return small * np.mean((model.apply(params, {}, given)[0] - want) ** 2)

    lost = kn.grad(loss)(start)
    assert not np.any(lost["dense0"]["kernel"])  # it underflows
    optimizer = optim.dynamic_loss_scale(optim.sgd(0.3 / small), init=2.0**20)
    weights, inner = start, optimizer.init(start)

    @kn.jit
    def step(weights, inner):
        grads = kn.grad(lambda w: optim.scale_loss(loss(w), inner))(weights)
        updates, inner = optimizer.update(grads, inner, weights)
        return optim.apply_updates(weights, updates), inner

    for _ in range(150):
        weights, inner = step(weights, inner)
    assert loss(weights) < 0.05 * loss(start)
    assert int(inner["skipped"]) == 0


@pytest.mark.parametrize(
    ("options", "raised", "text"),
    [
        ({"storage": "int8"}, TypeError, "storage is 'int8'"),
        ({"compute": "nothing"}, TypeError, "compute is 'nothing'"),
        ({"storage": "float64"}, ValueError, "storage float64 is wider than compute float32"),
    ],
)
def test_dtypes_that_cannot_be(options, raised, text):
    with pytest.raises(raised, match=rf"{text}[\s\S]*test_nn_precision\.py"):
        nn.mixed_precision(plain, **options)


def test_each_example_has_its_gradient():
    mixed = nn.mixed_precision(
        nn.Sequential(convolution(), nn.MaxPool(2), nn.Flatten(), nn.Dense(2))
    )
    weights, before = mixed.init(key(0), x)

    def loss(weights, x):
        return np.sum(mixed.apply(weights, before, x[None])[0] ** 2)

    each = kn.vmap(kn.grad(loss), (None, 0))
    want = tree.map(lambda *rows: np.stack(rows), *[kn.grad(loss)(weights, row) for row in x])
    assert error(each(weights, x), want) < 1e-5
    assert error(kn.jit(each)(weights, x), want) < 1e-5
    tangent = kn.jvp(lambda x: mixed.apply(weights, before, x)[0], (x,), (x,))[1]
    wide = nn.mixed_precision(mixed, "float32")  # the one inside decides
    assert tangent.dtype == np.float32
    assert error(kn.jvp(lambda x: wide.apply(weights, before, x)[0], (x,), (x,))[1], tangent) < 1e-2


def test_a_loss_scale_too_large_halves_until_steps_are_made():
    model = nn.mixed_precision(nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(1)))
    given = numbers(32, 4)
    weights, _ = model.init(key(0), given)
    optimizer = optim.dynamic_loss_scale(optim.sgd(0.3), init=2.0**30, period=20)
    inner = optimizer.init(weights)

    def loss(weights):
        return np.mean((model.apply(weights, {}, given)[0] - np.sin(given[:, :1])) ** 2)

    @kn.jit
    def step(weights, inner):
        grads = kn.grad(lambda w: optim.scale_loss(loss(w), inner))(weights)
        updates, inner = optimizer.update(grads, inner, weights)
        return optim.apply_updates(weights, updates), inner

    start, scales = loss(weights), []
    with np.errstate(over="ignore", invalid="ignore"):  # what the scale is there to find
        for _ in range(100):
            before, scales = weights, [*scales, float(inner["scale"])]
            weights, inner = step(weights, inner)
            if float(inner["scale"]) < scales[-1]:  # an overflow: nothing moved
                tree.map(np.testing.assert_array_equal, weights, before)
    skipped = int(inner["skipped"])
    assert 5 < skipped < 25
    assert scales[:6] == [2.0 ** (30 - i) for i in range(6)]
    assert any(b == 2 * a for a, b in itertools.pairwise(scales))  # and it grows again
    assert loss(weights) < 0.1 * start
