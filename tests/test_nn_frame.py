"""The frame of nn: trees as inputs, scopes, names, scanned and checkpointed layers, freezing."""

import numpy as np
import pytest
import torch

import kinone as kn
from kinone import nn, random, source, tree
from kinone.errors import ShapeError, TreeError
from kinone.nn import initializers

key = random.key


def numbers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def scopes(fun, *args):
    return {
        equation.primitive.name: source.scope_of(equation.location)
        for equation in kn.graph(fun)(*args).equations
    }


# ---- trees as inputs -----------------------------------------------------------------------------

both = nn.compose(
    {"query": nn.Dense(4), "memory": nn.Dense(4)},
    lambda call, x: {
        "sum": call("query", x["query"]) + call("memory", x["memory"]),
        "mask": x["mask"],
    },
)
head = nn.compose({"out": nn.Dense(2)}, lambda call, x: call("out", x["sum"]))


@pytest.mark.parametrize(
    "query", [(1, 3), kn.ShapeDtype((1, 3), "float32")], ids=["shape", "ShapeDtype"]
)
def test_a_layer_of_several_inputs_takes_a_tree(query):
    x = {"query": query, "memory": numbers(1, 5, dtype=np.float32), "mask": None}
    params, state = nn.Sequential(both=both, head=head).init(key(0), x)
    assert params["both"]["query"]["kernel"].shape == (3, 4)
    assert params["both"]["memory"]["kernel"].shape == (5, 4)
    assert params["head"]["out"]["kernel"].shape == (4, 2)
    x = {"query": numbers(2, 3), "memory": numbers(2, 5, seed=1), "mask": np.ones(2, bool)}
    y, _ = nn.Sequential(both=both, head=head).apply(params, state, x)
    p = params["both"]
    want = x["query"] @ p["query"]["kernel"] + x["memory"] @ p["memory"]["kernel"]
    np.testing.assert_allclose(y, want @ params["head"]["out"]["kernel"], rtol=1e-12)


def test_the_dtype_of_each_leaf_counts():
    x = {"query": kn.ShapeDtype((1, 3), "float64"), "memory": (1, 5), "mask": None}
    params, _ = both.init(key(0), x)
    assert params["query"]["kernel"].dtype == np.float64
    assert params["memory"]["kernel"].dtype == np.float32


def test_a_tuple_of_shapes_is_a_tree_and_a_tuple_of_numbers_a_shape():
    pair = nn.compose({"a": nn.Dense(2)}, lambda call, x: call("a", x[0]) + call("a", x[1]))
    params, _ = pair.init(key(0), ((1, 3), (4, 3)))
    assert params["a"]["kernel"].shape == (3, 2)
    params, _ = nn.Dense(2).init(key(0), [1, np.int64(3)])
    assert params["kernel"].shape == (3, 2)


def test_a_tree_where_one_array_is_wanted():
    with pytest.raises(TypeError, match=r"Dense\(3\) takes one array, and got a dict"):
        nn.Dense(3).init(key(0), {"a": (1, 3)})
    with pytest.raises(TypeError, match=r"takes one array[\s\S]*in layer a/b: Dense\(3\)"):
        nn.Sequential(a=nn.Sequential(b=nn.Dense(3))).init(key(0), ((1, 3), (2, 3)))
    with pytest.raises(TypeError, match=r"wants the input's shape, and got b: 'no'"):
        nn.Dense(3).init(key(0), {"a": (1, 3), "b": "no"})


# ---- scopes --------------------------------------------------------------------------------------


def test_named_scope_is_a_path_and_ends():
    def f(x):
        with kn.named_scope("a"):
            with kn.named_scope("b"):
                x = np.sin(x)
            x = np.cos(x)
        return np.exp(x)

    assert scopes(f, 1.0) == {"sin": "a/b", "cos": "a", "exp": ""}
    backward = [e for e in kn.graph(kn.grad(f))(1.0).equations if source.is_backward(e.location)]
    assert {source.scope_of(e.location) for e in backward} == {"a/b", "a", ""}


def test_named_scope_decorates_and_ends_after_an_error():
    @kn.named_scope("inner")
    def f(x):
        return np.sin(x)

    assert scopes(f, 1.0) == {"sin": "inner"}
    with pytest.raises(ZeroDivisionError), kn.named_scope("a"):
        _ = 1 / 0
    assert source.scope() == ""


@pytest.mark.parametrize(("name", "error"), [("", ValueError), ("/", ValueError), (3, TypeError)])
def test_a_scope_wants_a_name(name, error):
    with pytest.raises(error, match=r"test_nn_frame\.py"):
        kn.named_scope(name)


def test_children_are_scopes_forward_and_backward():
    model = nn.Sequential(stem=nn.Dense(3), block=nn.Residual(nn.Activation(np.tanh)))
    params, state = model.init(key(0), (1, 2))
    x = numbers(4, 2, dtype=np.float32)

    def loss(params):
        return np.sum(model.apply(params, state, x)[0])

    found = scopes(loss, params)
    assert found["matmul"] == "stem"
    assert found["tanh"] == "block/body"
    backward = [
        e for e in kn.graph(kn.grad(loss))(params).equations if source.is_backward(e.location)
    ]
    assert {"stem", "block/body"} <= {source.scope_of(e.location) for e in backward}


def test_a_compiled_function_is_in_each_of_its_scopes():
    compiled = kn.jit(np.sin)

    def f(x):
        with kn.named_scope("first"):
            x = compiled(x)
        with kn.named_scope("second"):
            return compiled(x)

    f(1.0)
    found = [source.scope_of(e.location) for e in kn.graph(f)(1.0).equations]
    assert found == ["first", "second"]
    assert kn.jit(f)(1.0) == np.sin(np.sin(1.0))


def test_a_printed_graph_shows_scopes():
    def f(x):
        with kn.named_scope("encoder"):
            return np.sin(x)

    assert str(kn.graph(f)(1.0)).splitlines()[1].endswith("  in encoder")


# ---- names ---------------------------------------------------------------------------------------


def test_named_layers():
    layers = [nn.named(f"block{i}", nn.Dense(2)) for i in range(2)]
    model = nn.Sequential(*layers, nn.Dense(2), head=nn.Dense(1))
    params, _ = model.init(key(0), (1, 2))
    assert list(params) == ["block0", "block1", "dense0", "head"]
    with pytest.raises(ValueError, match="two layers have the name 'block0'"):
        nn.Sequential(layers[0], layers[0])
    with pytest.raises(ValueError, match="without '/'"):
        nn.named("a/b", nn.Dense(1))


# ---- scanned -------------------------------------------------------------------------------------

block = nn.Sequential(nn.Dense(6), nn.BatchNorm(), nn.Tanh())


def test_scanned_is_a_sequential_of_the_same_weights():
    x, g = numbers(5, 6), numbers(5, 6, seed=1)
    deep, plain = nn.scanned(block, 3), nn.Sequential(*[block] * 3)
    params, state = deep.init(key(0), x)
    assert params["dense0"]["kernel"].shape == (3, 6, 6)
    assert not np.array_equal(params["dense0"]["kernel"][0], params["dense0"]["kernel"][1])

    def apart(stacked):
        return {f"sequential{i}": tree.map(lambda a, i=i: a[i], stacked) for i in range(3)}

    def loss(model):
        def run(params, state):
            y, state = model.apply(params, state, x, train=True)
            return np.sum(y * g), state

        return kn.value_and_grad(run, has_aux=True)

    (value, new), grads = loss(deep)(params, state)
    (want, want_new), want_grads = loss(plain)(apart(params), apart(state))
    np.testing.assert_allclose(value, want, rtol=1e-12)
    for found, wanted in ((grads, want_grads), (new, want_new)):
        tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
            apart(found),
            wanted,
        )
    compiled = kn.jit(loss(deep))
    tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14),
        compiled(params, state)[1],
        grads,
    )
    assert len(kn.graph(deep.apply)(params, state, x).equations) < 5


def test_each_scanned_copy_has_a_key_of_its_own():
    deep = nn.scanned(nn.Dropout(0.5), 2)
    y, _ = deep.apply({}, {}, np.ones((4000, 1)), train=True, key=key(1))
    assert 0.22 < np.mean(y != 0) < 0.28  # the same mask twice would leave a half


def test_scanned_says_what_is_wrong():
    with pytest.raises(ShapeError, match=r"makes float32\[1,5\] of float32\[1,6\]"):
        nn.scanned(nn.Dense(5), 2).init(key(0), (1, 6))
    with pytest.raises(ValueError, match="n=0"):
        nn.scanned(block, 0)
    params, _ = nn.scanned(nn.Dense(6), 2).init(key(0), (1, 6))
    with pytest.raises(TreeError, match="first axis of length 3"):
        nn.scanned(nn.Dense(6), 3).apply(params, {}, numbers(1, 6))


# ---- checkpoint ----------------------------------------------------------------------------------


def test_checkpoint_keeps_less_and_means_the_same():
    body = nn.Sequential(*[nn.Dense(16), nn.Tanh(), nn.Dropout(0.2)] * 3)
    x, g = numbers(64, 16), numbers(64, 16, seed=1)
    params, state = body.init(key(0), x)

    def loss(layer):
        def run(params):
            return np.sum(layer.apply(params, state, x, train=True, key=key(2))[0] * g)

        return run

    want = kn.grad(loss(body))(params)
    found = kn.grad(loss(nn.checkpoint(body)))(params)
    tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), found, want)
    plain = kn.debug.residuals(loss(body), params).nbytes
    assert kn.debug.residuals(loss(nn.checkpoint(body)), params).nbytes < 0.6 * plain


# ---- freeze --------------------------------------------------------------------------------------


def test_freeze_and_merge():
    model = nn.Sequential(stem=nn.Dense(3), head=nn.Dense(2))
    params, _ = model.init(key(0), (1, 4))
    trainable, frozen = parts = nn.freeze(params, "stem/**", "**/bias")
    assert tree.paths(trainable) == ["head/kernel"]
    assert tree.paths(frozen) == ["head/bias", "stem/bias", "stem/kernel"]
    tree.map(np.testing.assert_array_equal, nn.merge(trainable, frozen), params)
    assert "frozen are 3 of 4 leaves, 17 of 23 numbers" in str(parts)
    x, g = numbers(5, 4), numbers(5, 2, seed=1)

    def loss(params):
        return np.sum(model.apply(params, {}, x)[0] * g)

    found = kn.grad(lambda part: loss(nn.merge(part, frozen)))(trainable)
    np.testing.assert_allclose(
        found["head"]["kernel"], kn.grad(loss)(params)["head"]["kernel"], rtol=1e-12
    )
    assert tree.paths(found) == ["head/kernel"]
    with pytest.raises(ValueError, match=r"'stm/\*\*' fits no leaf"):
        nn.freeze(params, "stm/**")
    with pytest.raises(TreeError, match="head/bias is in 2 of the parts"):
        nn.merge(frozen, frozen)


# ---- convolutions against PyTorch ----------------------------------------------------------------

CASES = {
    1: [{"kernel": 3, "strides": 2, "padding": 1}, {"kernel": (5,), "dilation": 2, "padding": 4}],
    2: [
        {"kernel": (3, 5), "strides": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        {"kernel": (2, 3), "groups": 2, "padding": 1},
    ],
    3: [{"kernel": (1, 2, 3), "strides": (1, 2, 1), "padding": (0, 1, 1), "groups": 2}],
}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("backwards", [False, True], ids=["Conv", "ConvTranspose"])
@pytest.mark.parametrize(
    ("rank", "options"), [(rank, options) for rank, cases in CASES.items() for options in cases]
)
def test_convolutions_against_torch(rank, options, backwards, layout):
    x = numbers(2, 4, *(7, 8, 6)[:rank])
    layer = (nn.ConvTranspose if backwards else nn.Conv)(
        6, **options, layout=layout, bias_init=initializers.normal(1.0)
    )

    def laid_out(a, back=False):
        if layout == "NCHW":
            return a
        return np.moveaxis(a, -1, 1) if back else np.moveaxis(a, 1, -1)

    given = laid_out(x)
    params, _ = layer.init(key(0), given)
    y = layer.apply(params, {}, given)[0]
    g = numbers(*y.shape, seed=1)
    grads = kn.grad(lambda p, x: np.sum(layer.apply(p, {}, x)[0] * g), argnums=(0, 1))(
        params, given
    )

    def kernel(k):  # as PyTorch stores it
        return k if layout == "NCHW" else np.moveaxis(k, (-1, -2), (0, 1))

    w = torch.tensor(np.ascontiguousarray(kernel(params["kernel"])), requires_grad=True)
    b = torch.tensor(params["bias"], requires_grad=True)
    t = torch.tensor(x, requires_grad=True)
    run = getattr(torch.nn.functional, f"conv{'_transpose' if backwards else ''}{rank}d")
    renamed = {"strides": "stride"}
    rest = {renamed.get(name, name): value for name, value in options.items() if name != "kernel"}
    want = run(t, w, b, **rest)
    want.backward(torch.tensor(np.ascontiguousarray(laid_out(g, back=True))))
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(laid_out(y, back=True), want.detach(), **close)
    np.testing.assert_allclose(laid_out(grads[1], back=True), t.grad, **close)
    np.testing.assert_allclose(kernel(grads[0]["kernel"]), w.grad, **close)
    np.testing.assert_allclose(grads[0]["bias"], b.grad, **close)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_depthwise_convolution_is_a_grouped_one(layout):
    x = numbers(2, 4, 5, 6)
    layer = nn.DepthwiseConv((3, 2), multiplier=2, strides=2, layout=layout)
    channels = 4 if layout == "NCHW" else 6
    grouped = nn.Conv(2 * channels, (3, 2), strides=2, groups=channels, layout=layout)
    params, _ = layer.init(key(0), x)
    tree.map(np.testing.assert_array_equal, params, grouped.init(key(0), x)[0])
    np.testing.assert_array_equal(layer.apply(params, {}, x)[0], grouped.apply(params, {}, x)[0])
    with pytest.raises(ShapeError, match="DepthwiseConv"):
        layer.init(key(0), (2, 3))


# ---- initialisers --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 5), (3, 3, 4, 50), (40, 7), (7, 40)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_orthogonal(shape, dtype):
    kernel = initializers.orthogonal(2.0)(key(0), shape, dtype)
    assert kernel.dtype == dtype
    assert kernel.shape == shape
    matrix = kernel.astype(np.float64).reshape(-1, shape[-1])
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    close = {np.float16: 2e-2, np.float32: 1e-5, np.float64: 1e-12}[dtype]
    np.testing.assert_allclose(matrix @ matrix.T, 4 * np.eye(len(matrix)), atol=close)
    np.testing.assert_array_equal(kernel, initializers.orthogonal(2.0)(key(0), shape, dtype))


def test_orthogonal_turns_every_way_equally():
    drawn = [initializers.orthogonal()(each, (2, 2), np.float64) for each in key(0).split(400)]
    assert np.all(np.abs(np.mean(drawn, axis=0)) < 0.15)  # QR alone has one sign on the diagonal


def test_plain_distributions():
    cut = initializers.truncated_normal(0.5, -1.0, 2.0)(key(0), (20000,), np.float64)
    assert -0.5 <= cut.min() < -0.49
    assert 0.99 < cut.max() <= 1.0
    flat = initializers.uniform(3.0)(key(0), (20000,), np.float32)
    assert flat.dtype == np.float32
    assert flat.min() >= 0
    assert flat.max() <= 3.0
    assert abs(flat.mean() - 1.5) < 0.03
    assert abs(flat.std() - 3 / 12**0.5) < 0.03
