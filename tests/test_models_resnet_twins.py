"""Residual networks against PyTorch in float64: values, every gradient, running averages."""

from __future__ import annotations

import numpy as np
import pytest
from torch_twins import ResNet, assert_twins, rich

import kinone as kn
from kinone import models, random, tree

pytestmark = pytest.mark.oracle

# The constructor, its options, the twin's, and the shape of the images.
QUICK = {
    "18 small": ("resnet18", {"stem": "small"}, {"small": True}, (3, 16, 16, 1)),
    "18 imagenet": ("resnet18", {}, {}, (2, 45, 40, 3)),
    "18 NCHW": ("resnet18", {"layout": "NCHW"}, {}, (2, 33, 40, 3)),
    "18 kuangliu": ("resnet18", {"stem": "small"}, {"small": True, "cifar": True}, (2, 8, 8, 3)),
    "cifar A": (
        "cifar_resnet20",
        {},
        {"small": True, "cifar": True, "shortcut": "A"},
        (2, 16, 16, 3),
    ),
    "cifar A NCHW": (
        "cifar_resnet20",
        {"layout": "NCHW"},
        {"small": True, "cifar": True, "shortcut": "A"},
        (2, 13, 10, 2),
    ),
    "cifar B": ("cifar_resnet20", {"shortcut": "B"}, {"small": True, "cifar": True}, (2, 11, 8, 3)),
    "cifar B, downsample": ("cifar_resnet20", {"shortcut": "B"}, {"small": True}, (2, 8, 8, 3)),
}
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "cifar_resnet20": (3, 3, 3)}


def compare(name, options, theirs, shape, train, width):
    blocks = BLOCKS[name]
    bottleneck = name == "resnet50"
    twin = rich(ResNet(blocks, channels=shape[-1], width=width, bottleneck=bottleneck, **theirs))
    classes = {} if name.startswith("cifar") else {"num_classes": 10}
    assert_twins(name, twin, shape, train=train, width=width, **classes, **options)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("case", QUICK)
def test_narrow_networks(case, train):
    compare(*QUICK[case], train, 8)


@pytest.mark.parametrize("train", [True, False])
def test_grouped_and_wide_bottlenecks(train):
    options = {"stem": "small", "groups": 4, "width_per_group": 32}
    theirs = {"small": True, "groups": 4, "per_group": 32}
    compare("resnet50", options, theirs, (2, 9, 8, 2), train, 4)


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_networks_of_full_width(name, train):
    compare(name, {}, {}, (2, 64, 64, 3), train, 64)


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
def test_cifar_resnet20_of_full_size(train):
    theirs = {"small": True, "cifar": True, "shortcut": "A"}
    compare("cifar_resnet20", {}, theirs, (4, 32, 32, 3), train, 16)


COUNTS = {
    "resnet18": ((2, 2, 2, 2), False, 11_689_512),
    "resnet34": ((3, 4, 6, 3), False, 21_797_672),
    "resnet50": ((3, 4, 6, 3), True, 25_557_032),
    "resnet101": ((3, 4, 23, 3), True, 44_549_160),
    "resnet152": ((3, 8, 36, 3), True, 60_192_808),
}


def count(model, shape):
    params, _ = kn.eval_shape(lambda key: model.init(key, shape), random.key(0))
    return sum(leaf.size for leaf in tree.leaves(params))


@pytest.mark.parametrize("name", COUNTS)
def test_published_numbers_of_parameters(name):
    assert count(getattr(models, name)(), (1, 224, 224, 3)) == COUNTS[name][2]


def test_numbers_of_parameters_of_grouped_and_wide_networks():
    x = (1, 224, 224, 3)
    assert count(models.resnet50(groups=32, width_per_group=4), x) == 25_028_904
    assert count(models.resnet50(width_per_group=128), x) == 68_883_240


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize(("depth", "n"), [(20, 3), (32, 5), (44, 7), (56, 9), (110, 18)])
def test_numbers_of_parameters_for_small_images(depth, n, shortcut):
    twin = ResNet((n, n, n), width=16, small=True, cifar=True, shortcut=shortcut)
    wanted = sum(each.numel() for each in twin.parameters())
    model = getattr(models, f"cifar_resnet{depth}")(shortcut=shortcut)
    assert count(model, (1, 32, 32, 3)) == wanted
    stated = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
    if shortcut == "A":
        assert wanted == stated[depth]


# ---- trained weights, real images ----------------------------------------------------------------


def trained(shared_data, count):
    weights = shared_data("weights/cifar10_resnet20.npz")
    with np.load(shared_data("oracle/cifar10_jpeg_test2000.npz")) as data:
        images = (data["images"][:count] / 255 - data["mean"]) / data["std"]
        labels, wanted = data["labels"][:count], data["resnet20_logits"][:count]
    model, params, state = models.load("cifar_resnet20", weights)
    logits = np.concatenate(
        [model.apply(params, state, part.astype(np.float32))[0] for part in np.split(images, 4)]
    )
    assert logits.dtype == np.float32
    # Sums of up to 576 products in another order; the logits go up to 34.
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)
    return np.mean(np.argmax(logits, axis=1) == labels)


def test_logits_of_trained_weights(shared_data):
    trained(shared_data, 100)


@pytest.mark.slow
def test_accuracy_of_trained_weights(shared_data):
    """Y. Idelbayev's ResNet-20 classifies 1627 of 2000 images of CIFAR-10, stored as JPEG."""
    assert trained(shared_data, 2000) == 0.8135
