"""ResNets against PyTorch in float64: values, the gradient of every parameter, running averages."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import models, random, tree

torch = pytest.importorskip("torch")


# ---- ResNet as PyTorch has it, with Kinone's names -----------------------------------------------


class Block(torch.nn.Module):
    def __init__(self, channels, width, stride, bottleneck):
        super().__init__()
        out = width * (4 if bottleneck else 1)
        shapes = (
            [(channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
            if bottleneck
            else [(channels, width, 3, stride), (width, width, 3, 1)]
        )
        self.count = len(shapes)
        for i, (inputs, outputs, size, step) in enumerate(shapes, 1):
            conv = torch.nn.Conv2d(inputs, outputs, size, step, size // 2, bias=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", torch.nn.BatchNorm2d(outputs))
        self.shortcut = None
        if stride != 1 or channels != out:
            self.shortcut = torch.nn.Module()
            self.shortcut.conv = torch.nn.Conv2d(channels, out, 1, stride, bias=False)
            self.shortcut.bn = torch.nn.BatchNorm2d(out)

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(
            y + (x if self.shortcut is None else self.shortcut.bn(self.shortcut.conv(x)))
        )


class ResNet(torch.nn.Module):
    def __init__(self, blocks, classes, channels, stem, width, bottleneck=False):
        super().__init__()
        self.small = stem == "small"
        self.stem = torch.nn.Module()
        size, step = (3, 1) if self.small else (7, 2)
        self.stem.conv = torch.nn.Conv2d(channels, width, size, step, size // 2, bias=False)
        self.stem.bn = torch.nn.BatchNorm2d(width)
        channels = width
        self.stages = len(blocks)
        for i, count in enumerate(blocks):
            stage = torch.nn.Module()
            for j in range(count):
                block = Block(channels, width * 2**i, 2 if i and not j else 1, bottleneck)
                stage.add_module(f"block{j}", block)
                channels = width * 2**i * (4 if bottleneck else 1)
            self.add_module(f"stage{i + 1}", stage)
        self.head = torch.nn.Linear(channels, classes)

    def forward(self, x):
        x = torch.relu(self.stem.bn(self.stem.conv(x)))
        if not self.small:
            x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
        for i in range(self.stages):
            for block in getattr(self, f"stage{i + 1}").children():
                x = block(x)
        return self.head(x.mean((2, 3)))


NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
STATE_NAMES = {"mean": "running_mean", "var": "running_var"}


def to_torch(path, leaf, names):
    """PyTorch's name and array for a leaf of Kinone's."""
    *layers, last = path.split("/")
    leaf = np.asarray(leaf)
    leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
    return ".".join([*layers, names[last]]), np.ascontiguousarray(leaf)


def load(oracle, params, state):
    values = dict(to_torch(p, leaf, NAMES) for p, leaf in tree.leaves_with_path(params))
    values |= dict(to_torch(p, leaf, STATE_NAMES) for p, leaf in tree.leaves_with_path(state))
    missing, foreign = oracle.load_state_dict(
        {name: torch.from_numpy(value.copy()) for name, value in values.items()}, strict=False
    )
    assert not foreign
    assert all(name.endswith("num_batches_tracked") for name in missing)


def assert_close(got, want, what):
    """Relative to the norm of the whole leaf."""
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert error < 1e-9, f"{what}: {error:.1e}"


def rich(params, state):
    """Not the initial values, which would hide mistakes: biases are zero there, scales one."""
    generator = np.random.default_rng(1)

    def draw(path, leaf):
        noise = generator.normal(size=leaf.shape)
        return 0.5 + noise**2 if path.endswith("var") else leaf + 0.3 * noise * (leaf.ndim == 1)

    return tree.map_with_path(draw, params), tree.map_with_path(draw, state)


CASES = {
    "resnet18 small": (models.resnet18, (2, 2, 2, 2), "small", False, (3, 16, 16, 1), 8),
    "resnet18 imagenet": (models.resnet18, (2, 2, 2, 2), "imagenet", False, (2, 45, 40, 3), 8),
    "resnet50 small": (models.resnet50, (3, 4, 6, 3), "small", True, (2, 16, 16, 3), 4),
}


@pytest.mark.oracle
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_against_pytorch(case, train):
    make, blocks, stem, bottleneck, shape, width = CASES[case]
    model = make(10, stem=stem, width=width)
    params, state = rich(*model.init(random.key(0), kn.ShapeDtype(shape, np.float64)))
    oracle = ResNet(blocks, 10, shape[-1], stem, width, bottleneck).double()
    load(oracle, params, state)
    generator = np.random.default_rng(2)
    x = generator.normal(size=shape)
    cotangent = generator.normal(size=(shape[0], 10))

    def loss(params, x):
        y, new_state = model.apply(params, state, x, train=train)
        return np.sum(y * cotangent), (y, new_state)

    (_, (y, new_state)), (gradients, x_gradient) = kn.value_and_grad(
        loss, argnums=(0, 1), has_aux=True
    )(params, x)

    oracle.train(train)
    x_torch = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    y_torch = oracle(x_torch)
    y_torch.backward(torch.from_numpy(cotangent))

    assert_close(y, y_torch.detach().numpy(), "output")
    assert_close(x_gradient, x_torch.grad.numpy().transpose(0, 2, 3, 1), "input")
    parameters = dict(oracle.named_parameters())
    assert len(parameters) == len(tree.leaves(params))
    for path, gradient in tree.leaves_with_path(gradients):
        name, got = to_torch(path, gradient, NAMES)
        assert_close(got, parameters[name].grad.numpy(), path)
    buffers = dict(oracle.named_buffers())
    assert tree.structure(new_state) == tree.structure(state)
    for path, leaf in tree.leaves_with_path(new_state):
        name, got = to_torch(path, leaf, STATE_NAMES)
        assert_close(got, buffers[name].numpy(), path)


# ---- size, names, initial values -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (models.resnet18, 11_689_512),
        (models.resnet34, 21_797_672),
        (models.resnet50, 25_557_032),
        (models.resnet101, 44_549_160),
        (models.resnet152, 60_192_808),
    ],
)
def test_number_of_parameters(make, count):
    model = make()
    params, _ = kn.eval_shape(lambda key: model.init(key, (1, 224, 224, 3)), random.key(0))
    assert sum(leaf.size for leaf in tree.leaves(params)) == count


def test_paths():
    params, state = models.resnet18(10, width=4).init(random.key(0), (1, 64, 64, 3))
    paths = tree.paths(params)
    for path in (
        "stem/conv/kernel",
        "stem/bn/scale",
        "stage1/block0/conv1/kernel",
        "stage2/block0/shortcut/conv/kernel",
        "stage4/block1/bn2/bias",
        "head/kernel",
    ):
        assert path in paths
    assert "stage1/block0/shortcut/conv/kernel" not in paths
    assert len(paths) == 62
    assert "stage2/block0/shortcut/bn/mean" in tree.paths(state)
    assert {leaf.dtype for leaf in tree.leaves((params, state))} == {np.dtype(np.float32)}


def test_initial_variance():
    params, _ = models.resnet18(10, stem="small").init(random.key(0), (1, 32, 32, 3))
    for path, kernel in tree.leaves_with_path(params):
        if path.endswith(("conv1/kernel", "conv2/kernel")):
            *window, _, outputs = kernel.shape
            expected = 2 / (np.prod(window) * outputs)
            tolerance = 5 * np.sqrt(2 / kernel.size)
            assert abs(kernel.astype(np.float64).var() / expected - 1) < tolerance, path


def test_zero_init_last_starts_as_the_identity():
    model = models.resnet18(10, stem="small", width=4, zero_init_last=True)
    params, _ = model.init(random.key(0), (1, 8, 8, 1))
    assert not params["stage1"]["block0"]["bn2"]["scale"].any()
    assert params["stage1"]["block0"]["bn1"]["scale"].all()


def test_layouts_agree():
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3))
    last = models.resnet18(5, stem="imagenet", width=4)
    first = models.resnet18(5, stem="imagenet", width=4, layout="NCHW")
    like = kn.ShapeDtype(x.shape, x.dtype)
    params, state = last.init(random.key(0), like)
    params_first, state_first = first.init(random.key(0), kn.ShapeDtype((2, 3, 16, 16), np.float64))
    assert params_first["stem"]["conv"]["kernel"].shape == (4, 3, 7, 7)
    y, new = last.apply(params, state, x, train=True)
    y_first, new_first = first.apply(params_first, state_first, x.transpose(0, 3, 1, 2), train=True)
    np.testing.assert_allclose(y_first, y, rtol=1e-9, atol=1e-12)
    for (path, a), (_, b) in zip(
        tree.leaves_with_path(new), tree.leaves_with_path(new_first), strict=True
    ):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12, err_msg=path)


def test_unknown_stem():
    with pytest.raises(ValueError, match="'imagenet' nor 'small'"):
        models.resnet18(stem="tiny")


# ---- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_overfits_one_batch(stem):
    model = models.resnet18(4, stem=stem, width=4)
    generator = np.random.default_rng(0)
    size = 8 if stem == "small" else 40
    x = generator.normal(size=(8, size, size, 1)).astype(np.float32)
    labels = np.arange(8) % 4
    params, state = model.init(random.key(0), x.shape)

    def loss_fn(params, state):
        logits, state = model.apply(params, state, x, train=True)
        picked = logits[np.arange(8), labels]
        return np.mean(kn.ops.logsumexp(logits, axis=1) - picked), state

    step = kn.value_and_grad(loss_fn, has_aux=True)
    velocity = tree.map(np.zeros_like, params)
    losses = []
    for _ in range(40):
        (loss, state), gradients = step(params, state)
        losses.append(float(loss))
        velocity = tree.map(lambda v, g: 0.9 * v + g, velocity, gradients)
        params = tree.map(lambda p, v: p - 0.05 * v, params, velocity)
    assert losses[0] > 0.9
    assert losses[-1] < 0.01
    assert {leaf.dtype for leaf in tree.leaves((params, state))} == {np.dtype(np.float32)}
