"""Pools, norms, dropout, activations, embeddings, squeeze-excite: against PyTorch in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

import kinone as kn
from kinone import errors, nn, ops, random

torch = pytest.importorskip("torch")
F = torch.nn.functional

rng = np.random.default_rng(0)


def double(*shape):
    return kn.ShapeDtype(shape, np.float64)


def first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def agree(f, peer, *xs, rtol=1e-12, atol=1e-14):
    """Values and gradients of all operands, for a random cotangent; jit has eager's bits; vmap is
    the loop; gradients of gradients agree too."""
    theirs = [torch.tensor(x, requires_grad=True) for x in xs]
    wanted = peer(*theirs)
    y, pullback = kn.vjp(f, *xs)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol, atol)
    g = np.random.default_rng(1).normal(size=np.shape(y))
    slopes = torch.autograd.grad(wanted, theirs, torch.tensor(g), create_graph=True)
    mine = pullback(g)
    for found, want in zip(mine, slopes, strict=True):
        np.testing.assert_allclose(found, want.detach().numpy(), rtol, atol * 100)
    directions = [np.random.default_rng(2 + i).normal(size=x.shape) for i, x in enumerate(xs)]

    def through(*xs):
        found = kn.vjp(f, *xs)[1](g)
        return sum(np.sum(a * b) for a, b in zip(found, directions, strict=True))

    total = sum((a * torch.tensor(b)).sum() for a, b in zip(slopes, directions, strict=True))
    if total.requires_grad:
        second = torch.autograd.grad(total, theirs, allow_unused=True)
        for found, want in zip(
            kn.grad(through, argnums=tuple(range(len(xs))))(*xs), second, strict=True
        ):
            want = np.zeros(found.shape) if want is None else want.numpy()
            np.testing.assert_allclose(found, want, rtol * 100, 1e-10)
    np.testing.assert_array_equal(kn.jit(f)(*xs), y)
    np.testing.assert_array_equal(
        kn.jit(lambda g, *xs: kn.vjp(f, *xs)[1](g))(g, *xs)[0], pullback(g)[0]
    )
    stacked = [np.stack([x, x[::-1]]) for x in xs[:1]]
    mapped = kn.vmap(lambda x: f(x, *xs[1:]))(*stacked)
    np.testing.assert_allclose(mapped[0], y, 1e-13, 1e-15)
    single = f(*[x.astype(np.float32) for x in xs])
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, y, 1e-4, 1e-5)


# ---- activations ---------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": (ops.relu, F.relu),
    "relu6": (ops.relu6, F.relu6),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    "elu": (lambda x: ops.elu(x, 0.7), lambda x: F.elu(x, 0.7)),
    "celu": (lambda x: ops.celu(x, 0.5), lambda x: F.celu(x, 0.5)),
    "selu": (ops.selu, F.selu),
    "gelu": (ops.gelu, F.gelu),
    "gelu tanh": (lambda x: ops.gelu(x, True), lambda x: F.gelu(x, approximate="tanh")),
    "silu": (ops.silu, F.silu),
    "hard_swish": (ops.hard_swish, F.hardswish),
    "hard_sigmoid": (ops.hard_sigmoid, lambda x: F.relu6(x + 3) / 6),
    "hard_tanh": (lambda x: ops.hard_tanh(x, -2, 1.5), lambda x: F.hardtanh(x, -2, 1.5)),
    "mish": (ops.mish, F.mish),
    "softplus": (ops.softplus, F.softplus),
    "softsign": (ops.softsign, F.softsign),
    "log_sigmoid": (ops.log_sigmoid, F.logsigmoid),
    "sigmoid": (ops.sigmoid, torch.sigmoid),
    "softmax": (ops.softmax, lambda x: F.softmax(x, -1)),
    "log_softmax": (ops.log_softmax, lambda x: F.log_softmax(x, -1)),
    "glu": (ops.glu, F.glu),
    "erf": (ops.erf, torch.erf),
    "erfc": (ops.erfc, torch.erfc),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_against_pytorch(name):
    f, peer = ACTIVATIONS[name]
    x = np.random.default_rng(3).normal(scale=3, size=(4, 6))
    # PyTorch has the 1/6 of hardsigmoid and the alpha of celu in single precision.
    agree(f, peer, x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_far_out(name, dtype):
    """Values and gradients are finite, without a warning, and right: each has an asymptote."""
    f, peer = ACTIVATIONS[name]
    x = np.array([-1e4, -300.0, 300.0, 1e4], dtype)
    y, pullback = kn.vjp(f, x)
    g = pullback(np.ones_like(y))[0]
    theirs = torch.tensor(x, requires_grad=True)
    wanted = peer(theirs)
    wanted.sum().backward()
    assert y.dtype == g.dtype == dtype
    np.testing.assert_allclose(y, wanted.detach().numpy(), 1e-5, 1e-12)
    np.testing.assert_allclose(g, theirs.grad.numpy(), 1e-5, 1e-12)


@pytest.mark.parametrize(("function", "peer"), [(ops.erf, math.erf), (ops.erfc, math.erfc)])
def test_erf_to_the_last_digits(function, peer):
    x = np.concatenate(
        [np.linspace(-27, 27, 3001), np.linspace(-3, 3, 3001), [0.0, 1e-300, np.inf, -np.inf]]
    )
    want = np.array([peer(each) for each in x])
    found = function(x)
    normal = want > 1e-300
    np.testing.assert_array_less(np.abs(found - want)[normal], 5 * np.spacing(np.abs(want))[normal])
    np.testing.assert_allclose(found, want, rtol=0, atol=3e-16)
    assert np.isnan(function(np.nan))
    large = np.linspace(-5, 5, 1 << 19, dtype=np.float32)
    np.testing.assert_array_equal(function(large)[::1001], function(large[::1001]))


@pytest.mark.parametrize(
    ("f", "x", "count"),
    [
        (ops.relu6, [0.0, 3.0, 6.0], {"relu6": 2}),
        (lambda x: ops.leaky_relu(x, 0.1), [0.0, 1.0], {"leaky_relu": 1}),
        (ops.selu, [0.0, 1.0], {"elu": 1}),
        (ops.elu, [0.0, 1.0], {}),
    ],
)
def test_corners_are_counted(f, x, count):
    with kn.debug.kinks() as kinks:
        kn.grad(lambda x: np.sum(f(x)))(np.array(x))
    assert {name: n for _, name, n in kinks.rows} == count


def test_prelu_against_pytorch():
    x = np.random.default_rng(4).normal(size=(2, 3, 4, 5))
    for shared, layout in ((True, "NHWC"), (False, "NHWC"), (False, "NCHW")):
        layer = nn.PRelu(shared=shared, layout=layout)
        params, _ = layer.init(random.key(0), double(*x.shape))
        slope = params["negative_slope"] + np.random.default_rng(5).normal(
            size=params["negative_slope"].shape
        )
        last = layout == "NHWC"
        agree(
            lambda x, slope, layer=layer: layer.apply({"negative_slope": slope}, {}, x)[0],
            lambda x, slope, last=last: (
                F.prelu(x.movedim(-1, 1), slope).movedim(1, -1) if last else F.prelu(x, slope)
            ),
            x,
            slope,
        )
    y, _ = nn.PRelu().apply({"negative_slope": np.array([0.5])}, {}, np.array(-2.0))
    assert (y, np.shape(y)) == (-1.0, ())  # a number stays one


# ---- norms ---------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("axis", [-1, (-2, -1), (1, 2, 3)])
def test_layer_norm_against_pytorch(axis):
    x = np.random.default_rng(6).normal(2, 3, (4, 3, 5, 6))
    shape = tuple(x.shape[i] for i in np.atleast_1d(axis))
    scale, bias = np.random.default_rng(7).normal(size=(2, *shape))
    layer = nn.LayerNorm(axis=axis, epsilon=1e-3)
    assert layer.init(random.key(0), double(*x.shape))[0]["scale"].shape == shape
    agree(
        lambda x, s, b: layer.apply({"scale": s, "bias": b}, {}, x)[0],
        lambda x, s, b: F.layer_norm(x, shape, s, b, 1e-3),
        x,
        scale,
        bias,
    )


@pytest.mark.oracle
def test_rms_norm_against_pytorch():
    x, scale = np.random.default_rng(8).normal(2, 3, (4, 6)), rng.normal(size=6)
    agree(
        lambda x, s: nn.RMSNorm(epsilon=1e-2).apply({"scale": s}, {}, x)[0],
        lambda x, s: F.rms_norm(x, (6,), s, 1e-2),
        x,
        scale,
    )


@pytest.mark.oracle
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("groups", [1, 2, 6, None])
@pytest.mark.parametrize("spatial", [(5,), (3, 4)])
def test_group_and_instance_norm_against_pytorch(groups, layout, spatial):
    x = np.random.default_rng(9).normal(2, 3, (2, *spatial, 6))
    x = first(x) if layout == "NCHW" else x
    scale, bias = np.random.default_rng(10).normal(size=(2, 6))
    layer = (
        nn.InstanceNorm(layout=layout) if groups is None else nn.GroupNorm(groups, layout=layout)
    )

    def peer(x, s, b):
        x = x if layout == "NCHW" else x.movedim(-1, 1)
        y = F.group_norm(x, groups, s, b) if groups else F.instance_norm(x, weight=s, bias=b)
        return y if layout == "NCHW" else y.movedim(1, -1)

    agree(
        lambda x, s, b: layer.apply({"scale": s, "bias": b}, {}, x, train=True)[0],
        peer,
        x,
        scale,
        bias,
    )


def test_norm_of_half_precision():
    x = (np.random.default_rng(0).normal(size=(3, 8)) * 1000).astype(np.float16)
    for layer in (nn.LayerNorm(), nn.RMSNorm(), nn.GroupNorm(2)):
        params, state = layer.init(random.key(0), kn.ShapeDtype(x.shape, x.dtype))
        y, _ = layer.apply(params, state, x)
        assert y.dtype == np.float16
        wide, _ = layer.apply(params, state, x.astype(np.float64))
        np.testing.assert_allclose(y, wide, rtol=2e-3, atol=1e-3)


def test_norms_refuse_what_does_not_fit():
    with pytest.raises(errors.ShapeError, match="not in 4 equal groups"):
        nn.GroupNorm(4).init(random.key(0), (2, 3, 6))
    with pytest.raises(errors.ShapeError, match=r"numbers of shape \(5,\) are wanted"):
        nn.LayerNorm(use_bias=False).apply({"scale": np.ones(4)}, {}, np.ones((2, 5)))
    with pytest.raises(errors.ShapeError, match="a spatial axis too"):
        nn.InstanceNorm().init(random.key(0), (2, 5))
    layer = nn.InstanceNorm(use_scale=False, use_bias=False)
    with pytest.raises(errors.ShapeError, match="more than one element"):
        layer.apply({}, {}, np.ones((2, 1, 5)), train=True)


# ---- batch normalisation -------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_over_several_steps(momentum, affine):
    layer = nn.BatchNorm(momentum=momentum, use_scale=affine, use_bias=affine)
    peer = torch.nn.BatchNorm1d(3, momentum=momentum, affine=affine).double()
    params, state = layer.init(random.key(0), double(4, 5, 3))
    assert set(params) == ({"scale", "bias"} if affine else set())
    step = kn.jit(lambda p, s, x: layer.apply(p, s, x, train=True))
    for number in range(4):
        x = np.random.default_rng(number).normal(number, 1 + number, (4, 5, 3))
        y, state = step(params, state, x)
        want = peer(torch.tensor(first(x))).detach().numpy()
        np.testing.assert_allclose(first(y), want, 1e-11, 1e-13)
    np.testing.assert_allclose(state["mean"], peer.running_mean.numpy(), 1e-12)
    np.testing.assert_allclose(state["var"], peer.running_var.numpy(), 1e-12)
    if momentum is None:
        assert state["count"] == peer.num_batches_tracked.item() == 4
    y, after = layer.apply(params, state, x)
    assert after is state
    np.testing.assert_allclose(
        first(y), peer.eval()(torch.tensor(first(x))).detach().numpy(), 1e-12, 1e-13
    )


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_masked_batch_norm_is_that_of_what_is_left(layout):
    """Padded examples do not matter, whatever they hold."""
    x = np.random.default_rng(11).normal(100, 2, (5, 4, 3))
    mask = np.arange(4) < np.array([4, 2, 0, 3, 1])[:, None]
    garbage = np.where(mask[..., None], x, np.nan)
    shaped = first(garbage) if layout == "NCHW" else garbage
    layer, plain = nn.BatchNorm(layout=layout), nn.BatchNorm()
    params, state = layer.init(random.key(0), {"x": double(*shaped.shape), "mask": mask})
    params = {"scale": np.array([1.0, 2.0, 3.0]), "bias": np.array([0.5, 0.0, 1.0])}
    rows = x[mask]
    g = np.random.default_rng(12).normal(size=rows.shape)
    full = np.full(x.shape, 7.0)  # what arrives at padded places
    full[mask] = g

    def masked(params, x):
        y, new = layer.apply(params, state, {"x": x, "mask": mask}, train=True)
        return (np.moveaxis(y, 1, -1) if layout == "NCHW" else y), new

    y, pullback, new = kn.vjp(masked, params, shaped, has_aux=True)
    want, back, wanted = kn.vjp(
        lambda p, x: plain.apply(p, state, x, train=True), params, rows, has_aux=True
    )
    np.testing.assert_allclose(y[mask], want, 1e-10)
    assert not np.any(y[~mask])
    for each in ("mean", "var"):
        np.testing.assert_allclose(new[each], wanted[each], 1e-12)
    (by_params, by_x), (want_params, want_x) = pullback(full), back(g)
    by_x = np.moveaxis(by_x, 1, -1) if layout == "NCHW" else by_x
    np.testing.assert_allclose(by_x[mask], want_x, 1e-8, 1e-10)
    assert not np.any(by_x[~mask])
    for each in ("scale", "bias"):
        np.testing.assert_allclose(by_params[each], want_params[each], 1e-10)
    # After training: the running statistics, and the padded places out of the way.
    y, same = layer.apply(params, new, {"x": shaped, "mask": mask})
    want, _ = plain.apply(params, new, rows)
    y = np.moveaxis(y, 1, -1) if layout == "NCHW" else y
    np.testing.assert_allclose(y[mask], want, 1e-12)
    assert same is new


def test_masked_batch_norm_compiled_and_batched():
    layer = nn.BatchNorm()
    x = np.random.default_rng(25).normal(size=(2, 6, 3, 4))
    mask = np.random.default_rng(26).random((2, 6, 3)) < 0.6
    params, state = layer.init(random.key(0), double(6, 3, 4))

    def step(x, mask):
        return layer.apply(params, state, {"x": x, "mask": mask}, train=True)

    each = [step(*pair) for pair in zip(x, mask, strict=True)]
    y, new = kn.vmap(step)(x, mask)
    np.testing.assert_allclose(y, np.stack([one[0] for one in each]), 1e-12, 1e-14)
    np.testing.assert_allclose(new["var"], np.stack([one[1]["var"] for one in each]), 1e-12)
    compiled, moved = kn.jit(step)(x[0], mask[0])
    np.testing.assert_array_equal(compiled, each[0][0])
    np.testing.assert_array_equal(moved["mean"], each[0][1]["mean"])


def test_masks_of_batch_norm():
    layer = nn.BatchNorm(momentum=None)
    x = np.random.default_rng(13).normal(size=(4, 2, 3))
    params, state = layer.init(random.key(0), double(*x.shape))
    examples = np.array([True, True, False, True])
    y, new = layer.apply(params, state, {"x": x, "mask": examples}, train=True)
    want, wanted = layer.apply(params, state, x[examples], train=True)
    np.testing.assert_allclose(y[examples], want, 1e-12)
    np.testing.assert_allclose(new["var"], wanted["var"], 1e-12)
    # Of nothing there are no statistics, so nothing moves.
    nothing = {"x": x, "mask": np.zeros(4, bool)}
    y, after = layer.apply(params, new, nothing, train=True)
    assert not np.any(y)
    for each in new:
        np.testing.assert_array_equal(after[each], new[each])
    for wrong in (np.ones(3, bool), np.ones(4), np.ones((4, 3), bool)):
        with pytest.raises(errors.ShapeError, match="which of"):
            layer.apply(params, state, {"x": x, "mask": wrong}, train=True)
    with pytest.raises(TypeError, match="got the keys"):
        layer.apply(params, state, {"x": x, "maks": examples})


# ---- pools ---------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.oracle
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("size", "window", "strides", "padding"),
    [
        (7, 2, 2, 0),
        (7, 2, 2, 1),
        (8, 3, 3, 1),
        (5, 3, 4, 1),
        (6, 2, 3, 1),
        (4, 2, 5, 0),
        (6, 3, 2, 1),
    ],
)
def test_pools_that_round_up_against_pytorch(size, window, strides, padding, layout):
    x = np.random.default_rng(25).normal(size=(2, 3, size, size + 1))
    turned = x if layout == "NCHW" else np.moveaxis(x, 1, -1)
    options = {"strides": strides, "padding": padding, "layout": layout, "ceil_mode": True}

    def peer(run, **more):
        def f(x):
            x = x if layout == "NCHW" else x.movedim(-1, 1)
            y = run(x, window, strides, padding, ceil_mode=True, **more)
            return y if layout == "NCHW" else y.movedim(1, -1)

        return f

    agree(lambda x: nn.MaxPool(window, **options).apply({}, {}, x)[0], peer(F.max_pool2d), turned)
    for counted in (False, True):
        layer = nn.AvgPool(window, count_include_pad=counted, **options)
        agree(
            lambda x, layer=layer: layer.apply({}, {}, x)[0],
            peer(F.avg_pool2d, count_include_pad=counted),
            turned,
        )


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize(
    ("spatial", "out"),
    [
        ((7,), 3),
        ((8,), 2),
        ((7,), 9),
        ((7, 5), (2, None)),
        ((6, 5), (3, 4)),
        ((7, 5), 1),
        ((4, 5, 3), 2),
    ],
    ids=str,
)
def test_adaptive_pools_against_pytorch(kind, spatial, out):
    shape = (2, *spatial, 3)
    # Whole numbers have ties, whose first takes all.
    x = np.random.default_rng(14).normal(size=shape)
    x = np.round(x) if kind == "max" else x
    peer = getattr(F, f"adaptive_{kind}_pool{len(spatial)}d")
    make = {"avg": nn.AdaptiveAvgPool, "max": nn.AdaptiveMaxPool}[kind]
    agree(
        lambda x: make(out).apply({}, {}, x)[0],
        lambda x: peer(x.movedim(-1, 1), out).movedim(1, -1),
        x,
    )
    y, _ = make(out, layout="NCHW").apply({}, {}, first(x))
    np.testing.assert_array_equal(y, first(make(out).apply({}, {}, x)[0]))


def test_infinite_elements_stay_in_their_windows():
    x = np.array([np.inf, 1.0, 2.0, 3.0, 4.0]).reshape(1, 5, 1)
    assert ops.adaptive_avg_pool(x, 3).ravel().tolist() == [np.inf, 2.0, 3.5]
    x[0, 0] = np.nan
    np.testing.assert_array_equal(ops.adaptive_max_pool(x, 3).ravel(), [np.nan, 3.0, 4.0])


def test_global_max_pool():
    x = np.random.default_rng(15).normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(nn.GlobalMaxPool().apply({}, {}, x)[0], x.max((1, 2)))
    y, _ = nn.GlobalMaxPool(layout="NCHW").apply({}, {}, x)
    np.testing.assert_array_equal(y, x.max((2, 3)))
    assert ops.global_max_pool(x, keepdims=True).shape == (2, 1, 1, 5)


def test_adaptive_pools_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="2 entries for 1 axes"):
        ops.adaptive_avg_pool(np.ones((1, 4, 1)), (2, 2))
    with pytest.raises(ValueError, match="positive integers"):
        ops.adaptive_max_pool(np.ones((1, 4, 1)), 0)
    with pytest.raises(errors.ShapeError, match="spatial"):
        ops.adaptive_max_pool(np.ones((4, 1)), 1)


# ---- other sizes ---------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("spatial", "out"), [((5,), 8), ((5, 4), (3, 9)), ((2, 3, 4), (4, 3, 2)), ((1, 3), 2)], ids=str
)
def test_resize_images_against_pytorch(method, spatial, out):
    x = np.random.default_rng(23).normal(size=(2, *spatial, 3))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)]
    mode = "nearest" if method == "nearest" else mode
    agree(
        lambda x: ops.resize_images(x, out, method=method),
        lambda x: F.interpolate(x.movedim(-1, 1), out, mode=mode).movedim(1, -1),
        x,
    )
    y = ops.resize_images(first(x), out, method=method, layout="NCHW")
    np.testing.assert_allclose(y, first(ops.resize_images(x, out, method=method)), 1e-15)


def test_upsample():
    x = np.random.default_rng(24).normal(size=(2, 3, 4, 5))
    for layout in ("NHWC", "NCHW"):
        axes = (1, 2) if layout == "NHWC" else (2, 3)
        y, _ = nn.Upsample((2, 3), layout=layout).apply({}, {}, x)
        np.testing.assert_array_equal(y, x.repeat(2, axes[0]).repeat(3, axes[1]))
    with pytest.raises(ValueError, match="'nearest' or 'linear'"):
        nn.Upsample(2, method="cubic")
    with pytest.raises(errors.ShapeError, match="spatial"):
        nn.Upsample(2).apply({}, {}, np.ones((2, 3)))


# ---- dropout -------------------------------------------------------------------------------------


def test_spatial_dropout_drops_channels():
    x = np.ones((8, 3, 4, 16))
    y, _ = nn.Dropout(0.25, broadcast_dims=(1, 2)).apply({}, {}, x, train=True, key=random.key(0))
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert 0.6 < (y[:, 0, 0] > 0).mean() < 0.9


def test_drop_path_drops_examples():
    layer = nn.DropPath(0.4)
    x = np.random.default_rng(16).normal(size=(1000, 2, 3))
    y, pullback = kn.vjp(lambda x: layer.apply({}, {}, x, train=True, key=random.key(3))[0], x)
    kept = np.any(y, axis=(1, 2))
    assert 0.55 < kept.mean() < 0.65
    np.testing.assert_allclose(y, np.where(kept[:, None, None], x / 0.6, 0))
    g = np.random.default_rng(17).normal(size=x.shape)
    np.testing.assert_allclose(pullback(g)[0], np.where(kept[:, None, None], g / 0.6, 0))
    assert layer.apply({}, {}, x)[0] is x
    with pytest.raises(ValueError, match=r"DropPath\(0.4\) in training wants a random key"):
        layer.apply({}, {}, x, train=True)
    with pytest.raises(ValueError, match="not in"):
        nn.DropPath(1.0)


# ---- convolutions padded with the image ----------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT", "REPLICATE"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_padded_with_the_image(padding, rank):
    x = np.random.default_rng(22).normal(size=(2, 4, *(7, 6, 5)[:rank]))
    kernel = np.random.default_rng(23).normal(size=(6, 2, *(3, 5, 1)[:rank]))
    options = {"groups": 2, "strides": 2, "dilation": (2, 1, 1)[:rank], "layout": "NCHW"}
    layer = nn.Conv(6, kernel.shape[2:], padding=padding, use_bias=False, **options)
    sides = (2, 2, 0)[:rank]
    mode = padding.lower()
    agree(
        lambda x, kernel: layer.apply({"kernel": kernel}, {}, x)[0],
        lambda x, kernel: getattr(F, f"conv{rank}d")(
            F.pad(x, [side for side in sides[::-1] for _ in range(2)], mode=mode),
            kernel,
            stride=2,
            dilation=options["dilation"],
            groups=2,
        ),
        x,
        kernel,
        rtol=1e-10,
    )
    last = nn.Conv(
        6, kernel.shape[2:], padding=mode, use_bias=False, **{**options, "layout": "NHWC"}
    )
    turned = {"kernel": np.moveaxis(kernel, (0, 1), (-1, -2))}
    np.testing.assert_allclose(
        first(last.apply(turned, {}, np.moveaxis(x, 1, -1))[0]),
        layer.apply({"kernel": kernel}, {}, x)[0],
        1e-10,
    )


def test_a_causal_convolution_sees_the_past_alone():
    layer = nn.Conv(3, 4, padding="CAUSAL", dilation=2)
    params, _ = layer.init(random.key(0), double(1, 9, 2))
    x = np.random.default_rng(24).normal(size=(1, 9, 2))
    y = layer.apply(params, {}, x)[0]
    assert y.shape == (1, 9, 3)
    for t in (0, 3, 8):
        later = x.copy()
        later[:, t + 1 :] = 7.0
        np.testing.assert_allclose(layer.apply(params, {}, later)[0][:, : t + 1], y[:, : t + 1])
        seen = np.abs(kn.grad(lambda x, t=t: np.sum(layer.apply(params, {}, x)[0][:, t]))(x)).sum(
            (0, 2)
        )
        assert set(np.flatnonzero(seen)) == {i for i in range(t - 6, t + 1, 2) if i >= 0}
    with pytest.raises(errors.ShapeError, match="one spatial axis"):
        nn.Conv(3, (2, 2), padding="CAUSAL").apply(
            {"kernel": np.ones((2, 2, 1, 3)), "bias": np.zeros(3)}, {}, np.ones((1, 4, 4, 1))
        )


# ---- shape ---------------------------------------------------------------------------------------


def test_reshape_keeps_the_batch():
    x = np.random.default_rng(21).normal(size=(3, 4, 6))
    for layer, shape in (
        (nn.Reshape(2, 12), (2, 12)),
        (nn.Reshape((2, -1, 3)), (2, 4, 3)),
        (nn.Reshape(-1), (24,)),
    ):
        agree(
            lambda x, layer=layer: layer.apply({}, {}, x)[0] ** 2,
            lambda x, s=shape: x.reshape(3, *s) ** 2,
            x,
        )
    assert nn.Reshape(5, -1).apply({}, {}, x[:0].reshape(0, 10))[0].shape == (0, 5, 2)
    assert nn.Reshape().apply({}, {}, np.ones((3, 1)))[0].shape == (3,)
    assert repr(nn.Reshape((2, -1))) == "Reshape(2, -1)"
    for wrong in ((5, -1), (23,), (0, -1)):
        with pytest.raises(errors.ShapeError, match="an example has 24 numbers"):
            nn.Reshape(*wrong).apply({}, {}, x)
    for wrong in ((-1, -1), (-2, 3)):
        with pytest.raises(ValueError, match=r"Reshape\(-[12].*test_nn_layers"):
            nn.Reshape(*wrong)


# ---- embedding -----------------------------------------------------------------------------------


@pytest.mark.oracle
def test_embedding_against_pytorch():
    table = np.random.default_rng(18).normal(size=(7, 4))
    x = np.array([[0, 6, 3], [3, 3, 1]])
    layer = nn.Embedding(7, 4)
    agree(
        lambda table: layer.apply({"embedding": table}, {}, x)[0],
        lambda table: F.embedding(torch.tensor(x), table),
        table,
    )
    h = np.random.default_rng(19).normal(size=(2, 4))
    agree(
        lambda table, h: nn.attend({"embedding": table}, h),
        lambda table, h: h @ table.T,
        table,
        h,
    )
    y = kn.vmap(lambda x: layer.apply({"embedding": table}, {}, x)[0])(x)
    np.testing.assert_array_equal(y, table[x])


@pytest.mark.oracle
@pytest.mark.parametrize("padding", [2, -1])
def test_the_padding_row_of_an_embedding_stays(padding):
    layer = nn.Embedding(7, 4, padding_idx=padding, dtype=np.float64)
    params, _ = layer.init(random.key(0), (1, 3))
    started = params["embedding"]
    assert not started[padding].any()
    assert np.delete(started, padding, axis=0).all()
    table = np.random.default_rng(20).normal(size=(7, 4))  # whatever is there, it is looked up
    x = np.array([[2, 6, 3], [6, 2, 6]])
    agree(
        lambda table: layer.apply({"embedding": table}, {}, x)[0] ** 2,
        lambda table: F.embedding(torch.tensor(x), table, padding_idx=padding) ** 2,
        table,
    )
    with pytest.raises(ValueError, match=r"Embedding\(7, 4, padding_idx=7\): there is no row 7"):
        nn.Embedding(7, 4, padding_idx=7)


@pytest.mark.parametrize("wrong", [7, -1])
def test_embedding_refuses_rows_that_are_not_there(wrong):
    layer = nn.Embedding(7, 4)
    params, state = layer.init(random.key(0), (1, 3))
    x = np.array([0, wrong])
    with pytest.raises(IndexError, match=f"no row {wrong} among 7"):
        layer.apply(params, state, x)
    with pytest.raises(IndexError):
        kn.jit(lambda x: layer.apply(params, state, x)[0])(x)
    with pytest.raises(TypeError, match="takes integers"):
        layer.apply(params, state, x.astype(float))


# ---- squeeze and excitation ----------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_squeeze_excite_against_pytorch(layout):
    x = np.random.default_rng(20).normal(size=(2, 5, 4, 8))
    x = first(x) if layout == "NCHW" else x
    layer = nn.SqueezeExcite(activation=ops.swish, layout=layout)
    params, state = layer.init(random.key(0), double(*x.shape))
    params = kn.tree.map(lambda p: p + np.random.default_rng(21).normal(size=p.shape), params)
    order = (0, 1, 2, 3) if layout == "NCHW" else (3, 2, 0, 1)
    last = layout == "NHWC"

    def peer(x, *leaves):
        kernels = [k.permute(order) for k in leaves[:2]]
        h = (x.movedim(-1, 1) if last else x).mean((2, 3), keepdim=True)
        h = F.conv2d(F.silu(F.conv2d(h, kernels[0], leaves[2])), kernels[1], leaves[3])
        return x * torch.sigmoid(h.movedim(1, -1) if last else h)

    def mine(x, k0, k1, b0, b1):
        params = {"reduce": {"kernel": k0, "bias": b0}, "expand": {"kernel": k1, "bias": b1}}
        return layer.apply(params, state, x)[0]

    leaves = [params[a][b] for b in ("kernel", "bias") for a in ("reduce", "expand")]
    assert leaves[2].shape == (2,)
    agree(mine, peer, x, *leaves, rtol=1e-11, atol=1e-13)


# ---- every layer ---------------------------------------------------------------------------------

LAYERS = [
    nn.LayerNorm(axis=1),
    nn.GroupNorm(2),
    nn.InstanceNorm(),
    nn.RMSNorm(),
    nn.PRelu(shared=False),
    nn.SqueezeExcite(),
    nn.AdaptiveAvgPool(2),
    nn.AdaptiveMaxPool((2, 3)),
    nn.GlobalMaxPool(),
    nn.Relu6(),
    nn.LeakyRelu(0.1),
    nn.Elu(),
    nn.Celu(2.0),
    nn.Selu(),
    nn.Gelu(),
    nn.Gelu(approximate=True),
    nn.Mish(),
    nn.Softplus(2.0),
    nn.Softsign(),
    nn.HardTanh(),
    nn.LogSoftmax(),
    nn.LogSigmoid(),
    nn.Glu(),
    nn.DropPath(0.5),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_dtypes_shapes_and_names(layer):
    for dtype in (np.float16, np.float32, np.float64):
        x = np.random.default_rng(22).normal(size=(3, 4, 6, 8)).astype(dtype)
        params, state = layer.init(random.key(0), kn.ShapeDtype(x.shape, dtype))
        assert {leaf.dtype for leaf in kn.tree.leaves(params)} <= {np.dtype(dtype)}
        y, _ = layer.apply(params, state, x, train=True, key=random.key(1))
        assert y.dtype == dtype
        found = kn.eval_shape(lambda p, s, x: layer.apply(p, s, x)[0], params, state, x)
        assert found == kn.ShapeDtype(y.shape, dtype)
    assert eval(repr(layer), vars(nn)).name == layer.name
