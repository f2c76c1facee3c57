"""Bad input, table by table: what is wrong is refused with the user's line, and never computed."""

import re

import numpy as np
import pytest

import kinone as kn
from kinone import losses, metrics, nn, optim, random, tree

IMAGE, SEQUENCE = (2, 6, 6, 4), (2, 5, 4)


def numbers(shape, dtype=np.float32):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def refused(call, *texts, kind=(ValueError, TypeError, IndexError)):
    """The call raises an error that has the texts and names a line of this file."""
    with pytest.raises(kind) as caught:
        call()
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    for text in (r"test_hostile\.py:\d+", *texts):
        assert re.search(text, told), f"{text!r} is not in {told!r}"


# ---- hyper-parameters ----------------------------------------------------------------------------

COUNTS = {
    "Dense features": lambda n: nn.Dense(n),
    "Conv features": lambda n: nn.Conv(n, 3),
    "Conv groups": lambda n: nn.Conv(4, 3, groups=n),
    "DepthwiseConv multiplier": lambda n: nn.DepthwiseConv(3, multiplier=n),
    "ConvTranspose features": lambda n: nn.ConvTranspose(n, 3),
    "Embedding features": lambda n: nn.Embedding(3, n),
    "GroupNorm groups": lambda n: nn.GroupNorm(n),
    "LSTM features": lambda n: nn.LSTM(n),
    "GRU num_layers": lambda n: nn.GRU(4, num_layers=n),
    "RNNCell features": lambda n: nn.RNNCell(n),
}


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True, (3,), np.float64(3)], ids=repr)
@pytest.mark.parametrize("name", COUNTS)
def test_what_counts_is_a_positive_integer(name, value):
    refused(lambda: COUNTS[name](value), rf"{name.split()[1]}=.* positive integer", kind=ValueError)


@pytest.mark.parametrize("padding", [1.5, None, "WIDE", (1, "a"), ((1, 2, 3), 1), np.array(0.5)])
def test_padding_is_made_of_integers(padding):
    layer = nn.Conv(4, (3, 3), padding=padding)
    params, state = nn.Conv(4, (3, 3)).init(random.key(0), IMAGE)
    refused(lambda: layer.apply(params, state, numbers(IMAGE)), "padding=")


@pytest.mark.parametrize("rate", [-0.1, 1, "0.5", None, float("nan"), 1 + 2j, (0.5,)], ids=repr)
@pytest.mark.parametrize("layer", [nn.Dropout, nn.DropPath])
def test_a_rate_is_a_share(layer, rate):
    refused(lambda: layer(rate), "rate=", kind=ValueError)


SCALARS = {  # of NumPy, as np.linspace makes them: no reason for float64
    "Dropout": nn.Dropout(np.float64(0.5)),
    "DropPath": nn.DropPath(np.float64(0.5)),
    "BatchNorm": nn.BatchNorm(momentum=np.float64(0.1), epsilon=np.float64(1e-5)),
    "LayerNorm": nn.LayerNorm(epsilon=np.float64(1e-5)),
    "LeakyRelu": nn.LeakyRelu(np.float64(0.1)),
    "Elu": nn.Elu(np.float64(0.5)),
    "Celu": nn.Celu(np.float64(0.5)),
    "Softplus": nn.Softplus(np.float64(2)),
    "HardTanh": nn.HardTanh(np.float64(-2), np.float64(2)),
    "normal": nn.Dense(3, kernel_init=nn.initializers.normal(np.float64(0.1))),
    "truncated": nn.Dense(3, kernel_init=nn.initializers.truncated_normal(np.float64(0.1))),
}


@pytest.mark.parametrize("name", SCALARS)
def test_a_numpy_scalar_does_not_make_float64(name):
    layer = SCALARS[name]
    params, state = layer.init(random.key(0), IMAGE)
    found = layer.apply(params, state, numbers(IMAGE), True, random.key(1))
    assert {leaf.dtype for leaf in tree.leaves((params, *found))} == {np.dtype(np.float32)}


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_running_statistics_keep_their_dtype(momentum):
    norm = nn.BatchNorm(momentum=momentum)
    params, state = norm.init(random.key(0), IMAGE)
    for x in (numbers(IMAGE, np.float64), np.arange(288).reshape(IMAGE)):
        _, new = norm.apply(params, state, x, train=True)
        assert tree.map(np.result_type, new) == tree.map(np.result_type, state)


# ---- parameters of something else ----------------------------------------------------------------

LAYERS = {
    "Dense": (nn.Dense(3), IMAGE),
    "Conv": (nn.Conv(6, 3), IMAGE),
    "Conv in groups, NCHW": (nn.Conv(6, (3, 5), groups=2, layout="NCHW"), (2, 4, 6, 6)),
    "DepthwiseConv": (nn.DepthwiseConv(3), IMAGE),
    "ConvTranspose": (nn.ConvTranspose(6, 3, groups=2), IMAGE),
    "BatchNorm": (nn.BatchNorm(), IMAGE),
    "LayerNorm": (nn.LayerNorm(), SEQUENCE),
    "GroupNorm": (nn.GroupNorm(2), IMAGE),
    "RMSNorm": (nn.RMSNorm(), SEQUENCE),
    "PRelu": (nn.PRelu(shared=False), IMAGE),
    "LSTM": (nn.LSTM(3), SEQUENCE),
    "GRU": (nn.GRU(3, bidirectional=True), SEQUENCE),
    "RNNCell": (nn.RNNCell(3), (2, 4)),
}
WRONG = {
    "one number": lambda leaf: np.float32(1),
    "ones": lambda leaf: np.ones((1,) * leaf.ndim, np.float32),
    "another axis": lambda leaf: leaf[None],
    "too long": lambda leaf: np.concatenate([leaf, leaf[..., :1]], -1),
    "too short": lambda leaf: leaf[..., :-1],
    "a text": lambda leaf: "abc",
    "None": lambda leaf: None,
    "objects": lambda leaf: leaf.astype(object),
    "a list": lambda leaf: leaf.tolist(),
}


def replaced(params, path, leaf):
    first, _, rest = path.partition("/")
    return {**params, first: replaced(params[first], rest, leaf) if rest else leaf}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", LAYERS)
def test_parameters_of_another_shape_are_refused(name, wrong):
    layer, shape = LAYERS[name]
    both = layer.init(random.key(0), shape)
    for number, given in enumerate(both):  # params, then state
        for path, leaf in tree.flatten_with_path(given)[0]:
            bad = replaced(given, path, WRONG[wrong](leaf))
            pair = (bad, both[1]) if number == 0 else (both[0], bad)
            refused(lambda pair=pair: layer.apply(*pair, numbers(shape)))


@pytest.mark.parametrize("name", LAYERS)
def test_a_parameter_too_many_is_refused(name):
    layer, shape = LAYERS[name]
    params, state = layer.init(random.key(0), shape)
    path = tree.paths(params)[0].rpartition("/")[0]
    bad = replaced(params, f"{path}/other".lstrip("/"), np.ones(3))
    refused(lambda: layer.apply(bad, state, numbers(shape)), "no 'other'")


def test_a_layer_without_bias_does_not_ignore_one():
    params, state = nn.Dense(3).init(random.key(0), (2, 4))
    refused(lambda: nn.Dense(3, use_bias=False).apply(params, state, numbers((2, 4))), r"no 'bias'")


# ---- inputs --------------------------------------------------------------------------------------

INPUTS = {
    "texts": lambda shape: numbers(shape).astype(str),
    "objects": lambda shape: numbers(shape).astype(object),
    "dates": lambda shape: numbers(shape).astype("datetime64[s]"),
    "records": lambda shape: np.zeros(shape, [("a", "f4")]),
    "masked": lambda shape: np.ma.masked_array(numbers(shape), numbers(shape) > 0),
    "text": lambda shape: "abc",
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_array_of_numbers_is_refused(name, kind):
    layer, shape = LAYERS[name]
    params, state = layer.init(random.key(0), shape)
    refused(lambda: layer.apply(params, state, INPUTS[kind](shape)), "numbers", kind=TypeError)


def test_a_convolution_of_objects_is_an_error_and_no_crash():
    w = np.ones((3, 3, 4, 4)).astype(object)
    refused(lambda: kn.ops.conv(numbers(IMAGE), w), "numbers", kind=TypeError)


@pytest.mark.parametrize(
    "layer", [nn.SqueezeExcite(2), nn.FeedForward(3), nn.LayerNorm(), nn.Softmax(), nn.Flatten()]
)
def test_a_number_without_axes_is_refused_with_the_layer(layer):
    params, state = layer.init(random.key(0), IMAGE)
    refused(lambda: layer.apply(params, state, np.float32(1)), layer.name.partition("(")[0])


def test_empty_images_and_no_images():
    for shape in ((0, 5, 4), (2, 5, 0)):
        assert nn.AdaptiveMaxPool(2).apply({}, {}, numbers(shape))[0].shape == (
            shape[0],
            2,
            shape[2],
        )
    refused(lambda: nn.GlobalAvgPool().apply({}, {}, numbers((2, 4))), "spatial axis")
    refused(lambda: nn.SinusoidalPositions().apply({}, {}, np.arange(8).reshape(2, 4)), "Embedding")


def test_big_endian_input_makes_native_parameters():
    params, _ = nn.LayerNorm().init(random.key(0), numbers(SEQUENCE, ">f8"))
    assert all(leaf.dtype.str == np.dtype(np.float64).str for leaf in tree.leaves(params))


@pytest.mark.parametrize("train", ["eval", random.key(0), {}], ids=["text", "key", "dict"])
def test_train_is_true_or_false(train):
    refused(lambda: nn.Relu().apply({}, {}, numbers((2, 4)), train), "train is")


@pytest.mark.parametrize("sizes", [3, None, (), 1.5], ids=repr)
def test_the_sizes_of_an_mlp(sizes):
    refused(lambda: kn.models.mlp(sizes), "sizes", kind=ValueError)


# ---- losses --------------------------------------------------------------------------------------

THIRDS = np.full((3, 4), 0.25, np.float32)
CLASSES = np.array([0, 1, 2])
WITH_SCALARS = {
    "huber_loss": lambda n: losses.huber_loss(THIRDS, THIRDS, delta=n),
    "sigmoid_focal_loss": lambda n: losses.sigmoid_focal_loss(THIRDS, THIRDS, alpha=n, gamma=n),
    "smooth_labels": lambda n: losses.smooth_labels(THIRDS, n),
    "softmax_cross_entropy": lambda n: losses.softmax_cross_entropy(
        THIRDS, THIRDS, label_smoothing=n
    ),
    "integer labels": lambda n: losses.softmax_cross_entropy_with_integer_labels(
        THIRDS, CLASSES, label_smoothing=n
    ),
    "triplet": lambda n: losses.triplet_margin_loss(THIRDS, THIRDS, THIRDS, margin=n, eps=n),
    "ranking": lambda n: losses.margin_ranking_loss(THIRDS, THIRDS, THIRDS, margin=n),
    "contrastive": lambda n: losses.contrastive_loss(THIRDS, THIRDS, margin=n),
    "ntxent": lambda n: losses.ntxent(THIRDS + np.eye(3, 4, dtype=np.float32), CLASSES // 2, n),
    "cosine": lambda n: losses.cosine_similarity(THIRDS, THIRDS, epsilon=n),
    "gaussian": lambda n: losses.gaussian_nll_loss(THIRDS, THIRDS, THIRDS, epsilon=n),
}


@pytest.mark.parametrize("name", WITH_SCALARS)
def test_a_loss_has_the_dtype_of_the_predictions_whatever_its_numbers(name):
    plain = WITH_SCALARS[name](0.5)
    for number in (np.float64(0.5), np.array(0.5)):
        found = WITH_SCALARS[name](number)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_huber_wants_a_positive_delta(delta):
    refused(lambda: losses.huber_loss(THIRDS, THIRDS, delta=delta), "delta")


@pytest.mark.parametrize(
    "predictions",
    [THIRDS.tolist(), THIRDS.astype(object), np.ma.masked_array(THIRDS, THIRDS > 0), "abc"],
    ids=["list", "objects", "masked", "text"],
)
def test_a_loss_takes_arrays_of_numbers(predictions):
    for loss in (losses.squared_error, losses.sigmoid_binary_cross_entropy):
        refused(lambda loss=loss: loss(predictions, THIRDS), "predictions|logits", kind=TypeError)
        refused(lambda loss=loss: loss(THIRDS, predictions), "targets|labels", kind=TypeError)


# ---- metrics -------------------------------------------------------------------------------------


def test_metrics_do_not_guess():
    y = np.array([0, 1, 1, 0])
    masked = np.ma.masked_array(y, y > 0)
    refused(lambda: metrics.accuracy(masked, y), "masked", kind=TypeError)
    refused(lambda: metrics.accuracy(np.array(list("abba")), y), "text", kind=TypeError)
    refused(lambda: metrics.f1(y, y.astype(str)), "text", kind=TypeError)
    refused(lambda: metrics.bootstrap_interval(metrics.accuracy, y[:1], y[:1]), "two")
    groups = np.ones(4)
    refused(lambda: metrics.bootstrap_interval(metrics.accuracy, y, y, groups=groups), "two")
    for number in (0, -1, 2.5, "2"):
        refused(lambda number=number: metrics.F1(number), "num_classes", kind=ValueError)
    mean, auc = metrics.Mean(), metrics.RocAuc()
    refused(lambda: mean.merge(mean.init(), auc.init()), "not one of its own", kind=ValueError)


# ---- optimisers ----------------------------------------------------------------------------------

PARAMS = {"dense": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}, "count": np.array(3)}


@pytest.mark.parametrize("make", [optim.sgd, optim.adam, optim.lion, optim.adafactor])
@pytest.mark.parametrize(
    "gradient",
    [np.array([3, 4]), np.ones(2, object), np.ma.masked_array([1.0, 2.0], [True, False]), "abc"],
    ids=["integers", "objects", "masked", "text"],
)
def test_a_gradient_that_would_pass_unscaled_is_refused(make, gradient):
    optimizer = make(0.1)
    gradients = {"dense": {"kernel": np.ones((2, 2)), "bias": gradient}, "count": np.array(0)}
    refused(
        lambda: optimizer.update(gradients, optimizer.init(PARAMS), PARAMS),
        r"dense/bias",
        kind=(TypeError, ValueError),
    )


def test_integers_beside_the_parameters_still_pass():
    gradients = {**PARAMS, "count": np.array(0)}
    optimizer = optim.adam(0.1)
    updates, _ = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)
    assert updates["count"] == 0


@pytest.mark.parametrize("share", [1.0, -0.1, 2, float("nan")])
def test_decays_are_shares(share):
    refused(lambda: optim.adam(0.1, b1=share), "b1 is", kind=ValueError)
    refused(lambda: optim.lion(0.1, b2=share), "b2 is", kind=ValueError)


def test_adafactor_refuses_the_state_of_other_parameters():
    optimizer = optim.adafactor(0.1)
    other = optimizer.init({"w": np.ones(3)})
    refused(lambda: optimizer.update(PARAMS, other, PARAMS), "other parameters", kind=ValueError)


# ---- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_wants_a_dict_and_a_step(tmp_path):
    save = kn.training.checkpoint.save
    for metadata in ([1], "abc", 3):
        refused(
            lambda metadata=metadata: save(tmp_path / "a.npz", PARAMS, metadata=metadata),
            "metadata",
        )
    for step in (-1, 1.5, "3"):
        refused(lambda step=step: save(tmp_path / "run", PARAMS, step=step), "step is")
    assert not list(tmp_path.iterdir())


# ---- combinations --------------------------------------------------------------------------------


def test_a_residual_does_not_broadcast():
    for layer in (nn.Residual(nn.Dense(1)), nn.Residual(nn.Dense(4), nn.Dense(1))):
        refused(lambda layer=layer: layer.init(random.key(0), (2, 4)), "differ in shape")


@pytest.mark.parametrize(
    "wrong", [nn.Relu, np.tanh, None, [nn.Relu()]], ids=["constructor", "ufunc", "None", "list"]
)
@pytest.mark.parametrize(
    "make", [nn.Sequential, nn.checkpoint, nn.mixed_precision, lambda layer: nn.scanned(layer, 2)]
)
def test_what_is_no_layer_is_refused(make, wrong):
    refused(lambda: make(wrong), "layer is wanted", kind=TypeError)


def test_names_of_children_part_paths():
    refused(lambda: nn.Sequential(**{"a/b": nn.Relu()}), "without '/'")


@pytest.mark.parametrize("patterns", [(), (None,), (3,), (["a"],)], ids=repr)
def test_freeze_wants_patterns(patterns):
    refused(lambda: nn.freeze(PARAMS, *patterns), "patterns", kind=ValueError)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm]
)
@pytest.mark.parametrize("epsilon", [-1e-5, float("nan"), "1e-5", None])
def test_epsilon_is_not_negative(norm, epsilon):
    refused(lambda: norm(epsilon=epsilon), "epsilon=", kind=ValueError)


@pytest.mark.parametrize("axis", [(), (-1, 2)])
def test_the_axes_of_a_norm_are_different(axis):
    refused(lambda: nn.LayerNorm(axis=axis).init(random.key(0), SEQUENCE), "axis=")


@pytest.mark.parametrize("lengths", [[-1, 3], [2, 6]])
def test_lengths_are_within_the_sequences(lengths):
    layer = nn.GRU(3)
    params, state = layer.init(random.key(0), SEQUENCE)
    x = {"x": numbers(SEQUENCE), "lengths": np.array(lengths)}
    refused(lambda: layer.apply(params, state, x), "lengths are from", kind=ValueError)


@pytest.mark.parametrize("layer", [nn.MultiHeadAttention(2), nn.LSTM(3)])
def test_several_arrays_go_by_name(layer):
    params, state = layer.init(random.key(0), SEQUENCE)
    x = numbers(SEQUENCE)
    refused(lambda: layer.apply(params, state, (x, x, x)), "by name", kind=TypeError)


def test_a_small_negative_index_is_no_row_of_a_large_table():
    table = {"embedding": np.ones((400, 2))}
    look_up = kn.jit(lambda i: nn.Embedding(400, 2).apply(table, {}, i)[0])
    with pytest.raises(IndexError):
        look_up(np.array([-1], np.int8))


def test_sizes_of_clips_and_epsilons():
    refused(lambda: optim.clip_by_global_norm(-1.0), "max_norm is", kind=ValueError)
    refused(lambda: optim.adam(0.1, eps=-1e-8), "eps is", kind=ValueError)
    half = {"w": np.full(3, 300, np.float16)}
    assert np.isclose(optim.global_norm(half), 300 * np.sqrt(3), rtol=1e-3)
