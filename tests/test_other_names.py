"""A name of another library is answered with the one that is meant here."""

from __future__ import annotations

import re

import pytest

import kinone as kn
from kinone import data, losses, metrics, nn, optim, training

NAMESPACES = {
    "nn": nn,
    "optim": optim,
    "losses": losses,
    "metrics": metrics,
    "data": data,
    "training": training,
}


@pytest.mark.parametrize(
    ("home", "name", "meant"),
    [
        ("nn", "Linear", "nn.Dense"),
        ("nn", "Conv2d", "nn.Conv"),
        ("nn", "ConvTranspose3d", "nn.ConvTranspose"),
        ("nn", "BatchNorm2d", "nn.BatchNorm"),
        ("nn", "AdaptiveAvgPool1d", "nn.AdaptiveAvgPool"),
        ("nn", "ReLU", "nn.Relu"),
        ("nn", "MultiheadAttention", "nn.MultiHeadAttention"),
        ("nn", "relu", "kinone.ops.relu, or nn.Relu() as a layer"),
        ("nn", "CrossEntropyLoss", "kinone.losses.softmax_cross_entropy_with_integer_labels"),
        ("optim", "AdamW", "optim.adamw"),
        ("optim", "SGD", "optim.sgd"),
        ("optim", "StepLR", "optim.exponential_decay(…, staircase=True)"),
        ("losses", "cross_entropy", "losses.softmax_cross_entropy_with_integer_labels"),
        ("losses", "smooth_l1_loss", "losses.huber_loss"),
        ("metrics", "roc_auc_score", "metrics.roc_auc"),
        ("data", "DataLoader", "data.batches"),
        ("training", "earlystopping", "training.EarlyStopping"),
    ],
)
def test_the_name_that_is_meant_is_said(home, name, meant):
    text = f"module 'kinone.{home}' has no attribute '{name}': here it is {meant}"
    with pytest.raises(AttributeError, match=f"^{re.escape(text)}$"):
        getattr(NAMESPACES[home], name)


@pytest.mark.parametrize("home", NAMESPACES)
def test_a_name_that_nobody_knows_is_an_ordinary_error(home):
    module = NAMESPACES[home]
    with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$") as caught:
        module.nonsense  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("nonsense", module)
    assert not hasattr(module, "__wrapped__")


@pytest.mark.parametrize("home", NAMESPACES)
def test_every_translation_names_what_there_is(home):
    missing = NAMESPACES[home].__getattr__
    (table,) = [cell.cell_contents for cell in missing.__closure__ if isinstance(
        cell.cell_contents, dict)]  # fmt: skip
    for name, meant in table.items():
        assert not hasattr(NAMESPACES[home], name), name
        for part, each in re.findall(rf"(?<!/)\b({'|'.join(NAMESPACES)})\.(\w+)", meant):
            assert hasattr(getattr(kn, part), each), meant
