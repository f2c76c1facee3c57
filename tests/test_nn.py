"""Layers: shapes, values against PyTorch, state, initial values, keys, composition, errors."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import errors, nn, ops, random, tree
from kinone.nn import initializers


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def double(*shape):
    return kn.ShapeDtype(shape, np.float64)


def key(number=0):
    return random.key(number)


# ---- the protocol --------------------------------------------------------------------------------

LAYERS = {
    "Dense": (nn.Dense(3), (2, 5), (2, 3)),
    "Dense on images": (nn.Dense(3, use_bias=False), (2, 4, 4, 5), (2, 4, 4, 3)),
    "Conv": (nn.Conv(6, (3, 3), strides=2), (2, 7, 8, 4), (2, 4, 4, 6)),
    "Conv int": (nn.Conv(6, 3, padding="VALID"), (2, 7, 4), (2, 5, 6)),
    "Conv 3d": (nn.Conv(2, (2, 1, 3), padding=[(1, 0), 0, 1]), (1, 4, 5, 6, 3), (1, 4, 5, 6, 2)),
    "Conv groups": (nn.Conv(6, (3, 3), groups=2, dilation=2), (2, 7, 7, 4), (2, 7, 7, 6)),
    "Conv NCHW": (nn.Conv(6, (3, 3), layout="NCHW"), (2, 4, 7, 8), (2, 6, 7, 8)),
    "ConvTranspose": (nn.ConvTranspose(6, (3, 3), strides=2), (2, 7, 8, 4), (2, 14, 16, 6)),
    "ConvTranspose NCHW": (
        nn.ConvTranspose(6, (3, 3), strides=2, padding=1, output_padding=1, layout="NCHW"),
        (2, 4, 7, 8),
        (2, 6, 14, 16),
    ),
    "ConvTranspose groups": (nn.ConvTranspose(6, 3, groups=2), (2, 7, 7, 4), (2, 7, 7, 6)),
    "BatchNorm": (nn.BatchNorm(), (4, 3, 3, 5), (4, 3, 3, 5)),
    "BatchNorm NCHW": (nn.BatchNorm(layout="NCHW"), (4, 5, 3, 3), (4, 5, 3, 3)),
    "BatchNorm rows": (nn.BatchNorm(), (4, 5), (4, 5)),
    "Dropout": (nn.Dropout(0.3), (4, 5), (4, 5)),
    "MaxPool": (nn.MaxPool(2), (2, 6, 5, 3), (2, 3, 2, 3)),
    "MaxPool NCHW": (
        nn.MaxPool((3, 3), strides=2, padding=1, layout="NCHW"),
        (2, 3, 6, 5),
        (2, 3, 3, 3),
    ),
    "AvgPool": (nn.AvgPool((2, 1), count_include_pad=True, padding=(1, 0)), (2, 6, 5, 3), None),
    "GlobalAvgPool": (nn.GlobalAvgPool(), (2, 6, 5, 3), (2, 3)),
    "GlobalAvgPool NCHW": (nn.GlobalAvgPool(layout="NCHW"), (2, 3, 6, 5), (2, 3)),
    "Flatten": (nn.Flatten(), (2, 6, 5, 3), (2, 90)),
    "Softmax": (nn.Softmax(), (2, 6), (2, 6)),
    "Relu": (nn.Relu(), (2, 6), (2, 6)),
    "Sigmoid": (nn.Sigmoid(), (2, 6), (2, 6)),
    "Tanh": (nn.Tanh(), (2, 6), (2, 6)),
    "Swish": (nn.Swish(), (2, 6), (2, 6)),
    "HardSigmoid": (nn.HardSigmoid(), (2, 6), (2, 6)),
    "HardSwish": (nn.HardSwish(), (2, 6), (2, 6)),
    "Activation": (nn.Activation(np.square), (2, 6), (2, 6)),
    "Residual": (nn.Residual(nn.Dense(5)), (2, 5), (2, 5)),
    "Parallel": (nn.Parallel(nn.Dense(3), nn.Dense(4)), (2, 5), (2, 7)),
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_shapes_dtypes_and_structures(name, dtype, train):
    layer, in_shape, out_shape = LAYERS[name]
    params, state = layer.init(key(), kn.ShapeDtype(in_shape, dtype))
    x = normal(*in_shape).astype(dtype)
    y, new_state = layer.apply(params, state, x, train=train, key=key(1))
    if out_shape is not None:
        assert y.shape == out_shape
    assert y.dtype == dtype
    assert {leaf.dtype for leaf in tree.leaves((params, state, new_state))} <= {np.dtype(dtype)}
    assert tree.structure(new_state) == tree.structure(state)
    aval = kn.eval_shape(lambda p, s, x: layer.apply(p, s, x)[0], params, state, x)
    assert aval == kn.ShapeDtype(y.shape, y.dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_every_parameter_gets_a_gradient(name):
    layer, in_shape, _ = LAYERS[name]
    params, state = layer.init(key(), double(*in_shape))
    x = normal(*in_shape)
    k = key(2)
    y, _ = layer.apply(params, state, x, train=True, key=k.clone())
    weights = normal(*y.shape, seed=3)

    def loss(params, x):
        y, new_state = layer.apply(params, state, x, train=True, key=k.clone())
        return np.sum(y * weights), new_state

    (gradients, x_gradient), new_state = kn.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
    assert all(type(leaf) is np.ndarray for leaf in tree.leaves(new_state))
    direction = tree.map(lambda leaf: normal(*leaf.shape, seed=4), (params, x))
    step = 1e-6
    moved = [
        loss(*tree.map(lambda leaf, d, sign=sign: leaf + sign * step * d, (params, x), direction))[
            0
        ]
        for sign in (1, -1)
    ]
    numeric = (moved[0] - moved[1]) / (2 * step)
    analytic = sum(
        np.sum(g * d)
        for g, d in zip(tree.leaves((gradients, x_gradient)), tree.leaves(direction), strict=True)
    )
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-7)
    for path, gradient in tree.leaves_with_path(gradients):
        if not (name.startswith("BatchNorm") and path == "x"):
            assert np.any(gradient), path


def test_shape_may_be_a_list_an_array_or_a_shape_dtype():
    layer = nn.Dense(2)
    for shape in ((1, 3), [1, 3], np.zeros((1, 3), np.float32), kn.ShapeDtype((1, 3), np.float32)):
        params, _ = layer.init(key(), shape)
        assert params["kernel"].dtype == np.float32
    assert layer.init(key(), np.zeros((1, 3)))[0]["kernel"].dtype == np.float64
    assert layer.init(key(), np.zeros((1, 3), np.uint8))[0]["kernel"].dtype == np.float32


def test_init_under_tracing():
    model = nn.Sequential(nn.Conv(4, 3, groups=2), nn.BatchNorm(), nn.Flatten(), nn.Dense(3))
    avals = kn.eval_shape(lambda k: model.init(k, (1, 5, 5, 2)), key())
    real = model.init(key(), (1, 5, 5, 2))
    assert tree.structure(avals) == tree.structure(real)
    for aval, leaf in zip(tree.leaves(avals), tree.leaves(real), strict=True):
        assert (aval.shape, aval.dtype) == (leaf.shape, leaf.dtype)
    program = kn.graph(lambda k: model.init(k, (1, 5, 5, 2)))(key())
    for got, leaf in zip(tree.leaves(program(key())), tree.leaves(real), strict=True):
        np.testing.assert_array_equal(got, leaf)


def test_repr_says_what_is_not_default():
    assert repr(nn.Conv(8, (3, 3), strides=2)) == "Conv(8, (3, 3), strides=2)"
    assert repr(nn.Sequential(nn.Dense(3), act=nn.Relu())) == "Sequential(dense0, act)"


# ---- against PyTorch -----------------------------------------------------------------------------


@pytest.mark.oracle
def test_conv_transpose_against_pytorch():
    torch = pytest.importorskip("torch")
    layer = nn.ConvTranspose(
        6, (3, 4), strides=(2, 3), padding=(1, 2), output_padding=1, groups=2, layout="NCHW"
    )
    params, state = layer.init(key(), double(2, 4, 5, 6))
    params["bias"] = normal(6)
    x = normal(2, 4, 5, 6)
    oracle = torch.nn.functional.conv_transpose2d(
        *map(torch.from_numpy, (x, params["kernel"], params["bias"])),
        stride=(2, 3),
        padding=(1, 2),
        output_padding=1,
        groups=2,
    )
    np.testing.assert_allclose(layer.apply(params, state, x)[0], oracle.numpy(), rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_batch_norm_running_state_against_pytorch(layout):
    torch = pytest.importorskip("torch")
    layer = nn.BatchNorm(momentum=0.3, epsilon=1e-3, layout=layout)
    oracle = torch.nn.BatchNorm2d(5, eps=1e-3, momentum=0.3).double()
    to_torch = (0, 3, 1, 2) if layout == "NHWC" else (0, 1, 2, 3)
    shape = (2, 3, 4, 5) if layout == "NHWC" else (2, 5, 3, 4)
    params, state = layer.init(key(), double(*shape))
    for step in range(4):
        x = normal(*shape, seed=step) * 2 + 3
        oracle.train(step < 3)
        expected = oracle(torch.from_numpy(x.transpose(to_torch).copy())).detach().numpy()
        y, state = layer.apply(params, state, x, train=step < 3)
        np.testing.assert_allclose(y.transpose(to_torch), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(state["mean"], oracle.running_mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(state["var"], oracle.running_var.numpy(), rtol=1e-12)


def test_batch_norm_state_has_no_part_in_the_gradient():
    layer = nn.BatchNorm()
    params, state = layer.init(key(), double(4, 3))
    x = normal(4, 3)

    def loss(x):
        _, new_state = layer.apply(params, state, x, train=True)
        return np.sum(new_state["mean"]) + np.sum(new_state["var"]) + np.sum(0 * x)

    np.testing.assert_array_equal(kn.grad(loss)(x), np.zeros_like(x))


# ---- initial values ------------------------------------------------------------------------------


def test_fans_of_a_grouped_convolution():
    """Each output sees 3 · 3 · 64 / groups inputs; each input has 3 · 3 · 64 / groups outputs."""
    for groups in (1, 4, 64):
        for init, factor in ((initializers.he_normal(), 2), (initializers.glorot_normal(), 1)):
            layer = nn.Conv(64, (3, 3), groups=groups, kernel_init=init)
            params, _ = layer.init(key(3), double(1, 8, 8, 64))
            kernel = params["kernel"]
            assert kernel.shape == (3, 3, 64 // groups, 64)
            assert kernel.var() * 9 * (64 // groups) / factor == pytest.approx(1, abs=0.2)
            assert len(np.unique(kernel)) == kernel.size


def test_fans_of_a_grouped_transposed_convolution():
    layer = nn.ConvTranspose(32, (3, 3), groups=4, kernel_init=initializers.he_normal())
    kernel = layer.init(key(3), double(1, 8, 8, 128))[0]["kernel"]
    assert kernel.shape == (3, 3, 8, 128)
    assert kernel.var() * 9 * 32 / 2 == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("make", [nn.Conv, nn.ConvTranspose])
def test_initial_values_do_not_depend_on_the_layout(make):
    last, _ = make(6, (2, 3), groups=2).init(key(), (1, 5, 5, 4))
    first, _ = make(6, (2, 3), groups=2, layout="NCHW").init(key(), (1, 4, 5, 5))
    np.testing.assert_array_equal(first["kernel"].transpose(2, 3, 1, 0), last["kernel"])
    assert first["kernel"].flags.c_contiguous


def test_initial_values_depend_on_the_name_alone():
    short = nn.Sequential(a=nn.Dense(4), c=nn.Dense(2))
    long = nn.Sequential(a=nn.Dense(4), b=nn.Relu(), d=nn.Dense(4), c=nn.Dense(2))
    first, _ = short.init(key(5), (1, 3))
    second, _ = long.init(key(5), (1, 3))
    for name in ("a", "c"):
        np.testing.assert_array_equal(first[name]["kernel"], second[name]["kernel"])
    assert not np.array_equal(first["a"]["kernel"], long.init(key(6), (1, 3))[0]["a"]["kernel"])


# ---- dropout -------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    layer = nn.Dropout(0.3)
    x = np.ones((400, 500), np.float32)
    y, state = layer.apply({}, {}, x, train=True, key=key(1))
    assert state == {}
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    share = np.mean(y == 0)
    assert abs(share - 0.3) < 4 * np.sqrt(0.21 / x.size)


def test_dropout_gradient_has_the_mask_of_the_forward_pass():
    layer = nn.Dropout(0.5)
    x = normal(100)
    k = key(2)
    y, _ = layer.apply({}, {}, x, train=True, key=k.clone())
    gradient = kn.grad(lambda x: np.sum(layer.apply({}, {}, x, train=True, key=k.clone())[0]))(x)
    np.testing.assert_array_equal(gradient, np.where(y == 0, 0, 2))


def test_dropout_without_training_is_the_identity():
    x = normal(3, 3)
    assert nn.Dropout(0.9).apply({}, {}, x)[0] is x
    assert nn.Dropout(0.0).apply({}, {}, x, train=True)[0] is x


def test_dropout_wants_a_key():
    with pytest.raises(ValueError, match=r"key\.fold_in\(step\)") as caught:
        nn.Sequential(nn.Dense(2), drop=nn.Dropout(0.5)).apply(
            {"dense0": {"kernel": normal(2, 2), "bias": normal(2)}}, {}, normal(3, 2), train=True
        )
    assert "test_nn.py" in str(caught.value)
    assert "in layer drop: Dropout(0.5)" in str(caught.value)
    with pytest.raises(ValueError, match="share that is dropped"):
        nn.Dropout(1.0)


def test_the_same_key_for_two_steps_warns():
    model = nn.Sequential(nn.Dropout(0.5), inner=nn.Sequential(nn.Dropout(0.5)))
    x, k = normal(3, 2), key()
    model.apply({}, {}, x, train=True, key=k)
    model.apply({}, {}, x, key=k)  # draws nothing
    with pytest.warns(kn.KeyReuseWarning, match=r"key\.clone"):
        model.apply({}, {}, x, train=True, key=k)


def test_two_dropouts_differ():
    both = nn.Parallel(a=nn.Dropout(0.5), b=nn.Dropout(0.5), combine=np.stack)
    y, _ = both.apply({}, {}, np.ones(64), train=True, key=key())
    assert not np.array_equal(y[0], y[1])


# ---- composition ---------------------------------------------------------------------------------


def small_model() -> nn.Layer:
    return nn.Sequential(
        nn.Conv(4, (3, 3)),
        nn.BatchNorm(),
        nn.Relu(),
        block=nn.Residual(nn.Sequential(conv=nn.Conv(4, (3, 3)), bn=nn.BatchNorm())),
        pool=nn.GlobalAvgPool(),
        head=nn.Dense(3),
    )


def test_paths_are_readable():
    params, state = small_model().init(key(), (1, 6, 6, 2))
    assert list(params) == ["conv0", "batchnorm0", "block", "head"]
    assert tree.paths(params) == [
        "batchnorm0/bias",
        "batchnorm0/scale",
        "block/body/bn/bias",
        "block/body/bn/scale",
        "block/body/conv/bias",
        "block/body/conv/kernel",
        "conv0/bias",
        "conv0/kernel",
        "head/bias",
        "head/kernel",
    ]
    assert tree.paths(state) == [
        "batchnorm0/mean",
        "batchnorm0/var",
        "block/body/bn/mean",
        "block/body/bn/var",
    ]


def test_sequential_is_its_layers_in_turn():
    model = nn.Sequential(nn.Dense(4), nn.Tanh(), out=nn.Dense(2))
    params, state = model.init(key(), double(1, 3))
    x = normal(5, 3)
    hidden = np.tanh(x @ params["dense0"]["kernel"] + params["dense0"]["bias"])
    expected = hidden @ params["out"]["kernel"] + params["out"]["bias"]
    np.testing.assert_allclose(model.apply(params, state, x)[0], expected, rtol=1e-13)


def test_state_of_every_depth_is_threaded():
    model = small_model()
    params, state = model.init(key(), (1, 6, 6, 2))
    x = normal(4, 6, 6, 2).astype(np.float32)
    before = tree.map(np.copy, state)
    _, after = model.apply(params, state, x, train=True)
    for path, leaf in tree.leaves_with_path(state):
        np.testing.assert_array_equal(leaf, dict(tree.leaves_with_path(before))[path])
        assert not np.array_equal(leaf, dict(tree.leaves_with_path(after))[path]), path
    y, same = model.apply(params, after, x)
    assert tree.all(tree.map(lambda a, b: bool(np.array_equal(a, b)), same, after))
    assert y.dtype == np.float32


def test_residual_with_and_without_a_shortcut():
    x = normal(2, 5)
    plain = nn.Residual(nn.Activation(np.sin))
    np.testing.assert_array_equal(plain.apply({}, {}, x)[0], np.sin(x) + x)
    wider = nn.Residual(nn.Dense(7), nn.Dense(7, use_bias=False))
    params, state = wider.init(key(), double(1, 5))
    assert tree.paths(params) == ["body/bias", "body/kernel", "shortcut/kernel"]
    expected = x @ params["body"]["kernel"] + x @ params["shortcut"]["kernel"]
    np.testing.assert_allclose(wider.apply(params, state, x)[0], expected, rtol=1e-12)


def test_parallel_combines():
    x = normal(2, 5)
    total = nn.Parallel(nn.Activation(np.sin), nn.Activation(np.cos), combine=sum)
    np.testing.assert_array_equal(total.apply({}, {}, x)[0], np.sin(x) + np.cos(x))


def test_a_child_called_twice_is_shared():
    twice = nn.compose(
        {"norm": nn.BatchNorm(momentum=0.5), "drop": nn.Dropout(0.5)},
        lambda call, x: call("drop", call("norm", call("drop", call("norm", x)))),
    )
    params, state = twice.init(key(), (1, 3))
    assert tree.paths(params) == ["norm/bias", "norm/scale"]
    x = np.ones((64, 3), np.float32) * 2
    y, new = twice.apply(params, state, x, train=True, key=key())  # and no KeyReuseWarning
    assert y.shape == x.shape
    # The batch's mean is 2 at the first use and 0 at the second, its variance 0: two halvings.
    np.testing.assert_array_equal(new["norm"]["mean"], [0.5] * 3)
    np.testing.assert_array_equal(new["norm"]["var"], [0.25] * 3)


def test_compose_wants_all_children_called():
    lazy = nn.compose({"a": nn.Dense(2), "b": nn.Dense(2)}, lambda call, x: call("a", x))
    with pytest.raises(ValueError, match=r"does not call \['b'\]"):
        lazy.init(key(), (1, 2))
    wrong = nn.compose({"a": nn.Dense(2)}, lambda call, x: call("A", x))
    with pytest.raises(ValueError, match="no child 'A' among a"):
        wrong.init(key(), (1, 2))


def test_names_must_be_distinct_and_layers_layers():
    with pytest.raises(ValueError, match="'dense0'"):
        nn.Sequential(nn.Dense(2), dense0=nn.Dense(3))
    with pytest.raises(TypeError, match=r"nn\.Activation"):
        nn.Sequential(nn.Dense(2), ops.relu)
    with pytest.raises(TypeError, match=r"Write nn\.Relu\(\)\."):
        nn.Sequential(nn.Dense(2), nn.Relu)
    with pytest.raises(TypeError, match=r"Write small_model\(\)\."):
        nn.Residual(small_model)
    with pytest.raises(TypeError, match=r"Write Sequential\(\*layers\)"):
        nn.Sequential([nn.Dense(2), nn.Relu()])


def test_a_layer_of_your_own():
    def init(k, x):
        return {"shift": random.normal(k["shift"], x.shape[-1:], x.dtype)}, {"calls": np.zeros(())}

    def apply(params, state, x, train, k):
        return x + params["shift"], {"calls": state["calls"] + train}

    model = nn.Sequential(nn.Layer(init, apply, "Shift()"), nn.Dense(2))
    params, state = model.init(key(), (1, 3))
    assert list(params) == ["shift0", "dense0"]
    _, state = model.apply(params, state, normal(4, 3), train=True)
    assert state["shift0"]["calls"] == 1


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (np.zeros((2, 3)), r"float64\[2,3\]"),  # a batch of two would unpack into its rows
        ((np.zeros(3), np.zeros(3)), r"\(float64\[3\], float64\[3\]\)"),
        ((np.zeros(3), {}, {}), r"\(float64\[3\], a value of type dict, a value of type dict\)"),
        (None, "None"),
    ],
)
def test_an_apply_function_that_returns_no_pair(result, shown):
    layer = nn.Layer(lambda key, x: ({}, {}), lambda *args: result, "Mine()")
    with raises(TypeError, r"Mine\(\): its apply function returned", shown, r"\(y, state\)"):
        layer.apply({}, {}, np.zeros((2, 3)))
    with raises(TypeError, r"its apply function returned", r"in layer mine0: Mine\(\)"):
        nn.Sequential(layer).apply({}, {}, np.zeros((2, 3)))


@pytest.mark.parametrize("result", [{"w": np.zeros(3)}, ({}, None), ({}, {}, {}), {"a": 1, "b": 2}])
def test_an_init_function_that_returns_no_pair(result):
    layer = nn.Layer(lambda key, x: result, lambda params, state, x, *_: (x, state), "Mine()")
    with raises(TypeError, r"Mine\(\): its init function returned", r"\(params, state\)"):
        layer.init(key(), (2, 3))


def test_train_is_no_text():
    with pytest.raises(TypeError, match=r"Dropout\(0.5\): train is 'eval', .*test_nn.py"):
        nn.Dropout(0.5).apply({}, {}, np.ones(3), "eval", key())


def test_apply_wants_a_key_or_none():
    for layer in (nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5))):
        with raises(TypeError, r"Dropout|Sequential", r"random key or None, got 0", r"random\.key"):
            layer.apply({}, {}, np.zeros((2, 3)), train=True, key=0)


def raises(kind, *parts):
    """`pytest.raises` for a message that has all the parts, this file's name among them."""
    lookahead = "".join(rf"(?=[\s\S]*{part})" for part in (*parts, r"test_nn\.py:\d+"))
    return pytest.raises(kind, match=lookahead)


def test_init_refuses_what_does_not_fit():
    with raises(errors.ShapeError, r"2 spatial axes", r"float32\[1,8,3\]", r"Conv\(4, \(3, 3\)\)"):
        nn.Conv(4, (3, 3)).init(key(), (1, 8, 3))
    with raises(errors.ShapeError, r"3 channels", r"2 groups"):
        nn.Conv(4, (3, 3), groups=2).init(key(), (1, 8, 8, 3))
    with raises(errors.ShapeError, r"at least one axis"):
        nn.Dense(4).init(key(), ())
    with raises(errors.ShapeError, r"one of channels"):
        nn.BatchNorm().init(key(), (3,))
    with raises(errors.ShapeError, r"in layer outer/conv0: Conv"):
        nn.Sequential(outer=nn.Sequential(nn.Conv(4, (3, 3)))).init(key(), (1, 8, 3))
    with raises(TypeError, r"random key", r"layer\.init"):
        nn.Dense(3).init(0, (1, 8))


def test_apply_refuses_what_does_not_fit():
    model = small_model()
    params, state = model.init(key(), (1, 6, 6, 2))
    with raises(errors.ShapeError, r"3 channels", r"float32\[1,6,6,3\]", r"in layer conv0: Conv"):
        model.apply(params, state, np.zeros((1, 6, 6, 3), np.float32))
    with raises(errors.ShapeError, r"in layer conv0"):
        model.apply(params, state, np.zeros((6, 6, 2), np.float32))
    bad = {**params, "head": {**params["head"], "kernel": np.zeros((9, 3), np.float32)}}
    with raises(errors.ShapeError, r"for 9 numbers", r"in layer head: Dense\(3\)"):
        model.apply(bad, state, np.zeros((1, 6, 6, 2), np.float32))
    body = params["block"]["body"]
    bad_body = {**body, "conv": {"kernel": np.zeros((3, 3, 5, 4)), "bias": body["conv"]["bias"]}}
    bad = {**params, "block": {"body": bad_body}}
    with raises(errors.ShapeError, r"params/block/body/conv/kernel", r"in layer block/body/conv"):
        kn.grad(lambda params: np.sum(model.apply(params, state, np.zeros((1, 6, 6, 2)))[0]))(bad)


def test_training_batch_of_one_element_for_a_channel():
    norm = nn.BatchNorm()
    params, state = norm.init(key(), (1, 3))
    with raises(errors.ShapeError, r"more than 1 element", r"drop_last"):
        norm.apply(params, state, np.zeros((1, 3), np.float32), train=True)
    norm.apply(params, state, np.zeros((1, 3), np.float32))


def test_params_of_another_model():
    model = small_model()
    params, state = model.init(key(), (1, 6, 6, 2))
    x = np.zeros((2, 6, 6, 2), np.float32)
    with raises(errors.TreeError, r"stem", r"children are conv0"):
        model.apply({**params, "stem": {}}, state, x)
    with raises(errors.TreeError, r"'kernel'", r"in layer conv0"):
        model.apply({}, state, x)
    with raises(errors.TreeError, r"'mean'", r"in layer batchnorm0"):
        model.apply(params, {}, x)
    with raises(errors.TreeError, r"tuple, not a dict"):
        model.apply((params, state), {}, x)


def test_bad_options():
    with pytest.raises(ValueError, match="layout"):
        nn.Conv(3, 3, layout="HWCN")
    for pool in (nn.GlobalAvgPool, lambda layout: nn.MaxPool(2, layout=layout)):
        with pytest.raises(ValueError, match="layout"):
            pool(layout="HWCN")
    with pytest.raises(ValueError, match="weighs the new batch"):
        nn.BatchNorm(momentum=1.5)


def test_batch_norm_of_half_precision_keeps_its_state_in_single():
    layer, x = nn.BatchNorm(), 1000 * np.random.default_rng(0).standard_normal((64, 3))
    params, state = layer.init(random.key(0), kn.ShapeDtype((1, 3), np.float16))
    y, new = layer.apply(params, state, x.astype(np.float16), train=True)
    assert y.dtype == np.float16
    assert {leaf.dtype for leaf in kn.tree.leaves((state, new))} == {np.dtype(np.float32)}
    assert np.isfinite(new["var"]).all()


def test_a_tensor_of_another_library_is_refused() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.Dense(2)
    params, state = layer.init(random.key(0), (1, 3))
    with pytest.raises(TypeError, match=r"x\.numpy\(force=True\)"):
        layer.apply(params, state, torch.ones(1, 3))
