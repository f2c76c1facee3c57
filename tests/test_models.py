"""Residual networks: names, initial values, options, learning, and going on from a checkpoint.

`test_models_resnet_twins` compares their numbers with PyTorch's.
"""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import errors, losses, models, optim, random, tree
from kinone.training import checkpoint

# ---- size, names, initial values -----------------------------------------------------------------


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


def test_bad_options():
    with pytest.raises(ValueError, match="'imagenet' nor 'small'"):
        models.resnet18(stem="tiny")
    with pytest.raises(ValueError, match="neither 'A' nor 'B'"):
        models.cifar_resnet20(shortcut="C")
    with pytest.raises(ValueError, match="every stage wants a block"):
        models.residual_network((2, 0))
    with pytest.raises(ValueError, match="every stage wants a block"):
        models.residual_network(())
    with pytest.raises(ValueError, match="only bottlenecks have groups"):
        models.resnet18(groups=2)
    with pytest.raises(ValueError, match="without a channel"):
        models.resnet18(width=0)
    with pytest.raises(ValueError, match="without a channel"):
        models.resnet50(width=4, width_per_group=8)
    with pytest.raises(TypeError, match="stems"):
        models.resnet18(stems="small")
    with pytest.raises(errors.ShapeError):
        models.resnet18().init(random.key(0), (1, 224, 224))


def test_the_activation_is_everywhere():
    """Without bends the network is affine, so a midpoint goes to the midpoint."""
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    for activation, affine in ((lambda x: 2 * x, True), (kn.ops.relu, False)):
        model = models.cifar_resnet20(width=4, activation=activation)
        params, state = model.init(random.key(0), kn.ShapeDtype(x.shape, np.float64))
        ends = model.apply(params, state, x)[0]
        middle = model.apply(params, state, x.mean(0, keepdims=True))[0]
        assert np.allclose(middle[0], ends.mean(0), rtol=1e-9) == affine


# ---- learning ------------------------------------------------------------------------------------

LEARNERS = {
    "resnet18 small": (models.resnet18(4, stem="small", width=4), 8),
    "resnet18 imagenet": (models.resnet18(4, width=4), 40),
    "bottleneck": (
        models.residual_network((1, 1), 4, bottleneck=True, stem="small", width=8),
        8,
    ),
    "cifar": (models.cifar_resnet20(4, width=4), 8),
}
OPTIMISER = optim.sgd(0.05, momentum=0.9)


def batch_of(size):
    x = np.random.default_rng(0).normal(size=(8, size, size, 1)).astype(np.float32)
    return x, np.arange(8) % 4


def stepper(model, batch):
    x, labels = batch

    def step(held):
        params, state, moments = held

        def loss_fn(params):
            logits, new = model.apply(params, state, x, train=True)
            loss = losses.softmax_cross_entropy_with_integer_labels(logits, labels)
            return np.mean(loss), new

        (loss, state), gradients = kn.value_and_grad(loss_fn, has_aux=True)(params)
        updates, moments = OPTIMISER.update(gradients, moments, params)
        return (optim.apply_updates(params, updates), state, moments), loss

    return step


def start(model, batch):
    params, state = model.init(random.key(0), batch[0].shape)
    return params, state, OPTIMISER.init(params)


def same(a, b):
    assert tree.structure(a) == tree.structure(b)
    for (path, left), (_, right) in zip(
        tree.leaves_with_path(a), tree.leaves_with_path(b), strict=True
    ):
        np.testing.assert_array_equal(left, right, err_msg=path)


@pytest.mark.parametrize("case", LEARNERS)
def test_overfits_one_batch(case):
    model, size = LEARNERS[case]
    batch = batch_of(size)
    held = start(model, batch)
    step = kn.jit(stepper(model, batch))
    found = []
    for _ in range(40):
        held, loss = step(held)
        found.append(float(loss))
    assert found[0] > 0.9
    assert found[-1] < 0.02
    params, state, _ = held
    assert {leaf.dtype for leaf in tree.leaves((params, state))} == {np.dtype(np.float32)}


@pytest.mark.parametrize("case", ["bottleneck", "cifar"])
def test_a_compiled_step_is_an_eager_one(case):
    model, size = LEARNERS[case]
    batch = batch_of(size)
    step, compiled = stepper(model, batch), kn.jit(stepper(model, batch))
    eager = quick = start(model, batch)
    for _ in range(2):
        (eager, loss), (quick, quick_loss) = step(eager), compiled(quick)
        assert loss == quick_loss
    same(quick, eager)


def test_going_on_from_a_checkpoint(tmp_path):
    """Three steps are one step, a file, and two steps: running averages and momentum with them."""
    model, size = LEARNERS["cifar"]
    batch = batch_of(size)
    step = stepper(model, batch)
    straight = held = start(model, batch)
    for _ in range(3):
        straight, _ = step(straight)
    held, _ = step(held)
    checkpoint.save(tmp_path / "run.npz", held)
    held = checkpoint.load(tmp_path / "run.npz", like=start(model, batch)).tree
    for _ in range(2):
        held, _ = step(held)
    same(held, straight)


def test_several_networks_at_once():
    model = models.cifar_resnet20(3, width=4)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    made = [model.init(key, kn.ShapeDtype(x.shape, np.float64)) for key in random.key(0).split(3)]
    stacked = tree.map(lambda *leaves: np.stack(leaves), *made)
    outputs = kn.vmap(lambda params, state: model.apply(params, state, x)[0])(*stacked)
    for output, (params, state) in zip(outputs, made, strict=True):
        np.testing.assert_allclose(output, model.apply(params, state, x)[0], rtol=1e-9, atol=1e-12)
