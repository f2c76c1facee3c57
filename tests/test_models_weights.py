"""State dicts of PyTorch's: names, layouts, files, and everything that does not fit."""

from __future__ import annotations

import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
from torch_twins import ResNet, rich, torch

import kinone as kn
from kinone import models, nn, random, tree
from kinone.errors import CheckpointError, WeightsError
from kinone.training import checkpoint

OPTIONS = {"num_classes": 10, "stem": "small", "width": 4, "x_shape": (1, 8, 8, 3)}


def twin(**options):
    return rich(ResNet((2, 2, 2, 2), width=4, small=True, **options))


def arrays(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def assert_same(a, b):
    assert tree.structure(a) == tree.structure(b)
    for (path, left), (_, right) in zip(
        tree.leaves_with_path(a), tree.leaves_with_path(b), strict=True
    ):
        assert left.dtype == right.dtype, path
        np.testing.assert_array_equal(left, right, err_msg=path)


WEIGHTS = arrays(twin())
MODEL, PARAMS, STATE = models.load("resnet18", WEIGHTS, **OPTIONS)


# ---- where the numbers come from -----------------------------------------------------------------


def test_kernels_are_turned_and_names_found():
    conv = PARAMS["stage2"]["block0"]["shortcut"]["conv"]["kernel"]
    np.testing.assert_array_equal(
        conv, WEIGHTS["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(PARAMS["head"]["kernel"], WEIGHTS["fc.weight"].T)
    np.testing.assert_array_equal(STATE["stem"]["bn"]["var"], WEIGHTS["bn1.running_var"])
    assert all(leaf.flags.c_contiguous for leaf in tree.leaves((PARAMS, STATE)))


@pytest.mark.parametrize("kind", ["safetensors", "npz", "npz compressed", "torch", "nested"])
def test_files_and_mappings(kind, tmp_path):
    tensors = twin().state_dict()
    path = tmp_path / "weights"
    if kind == "safetensors":
        path = path.with_suffix(".safetensors")
        safetensors.torch.save_file(tensors, path)
    elif kind.startswith("npz"):
        path = path.with_suffix(".npz")
        (np.savez if kind == "npz" else np.savez_compressed)(path, **WEIGHTS)
    elif kind == "torch":
        path = {name: torch.nn.Parameter(x) if x.dim() else x for name, x in tensors.items()}
    else:
        path = {"epoch": 3, "state_dict": {f"module.{name}": x for name, x in tensors.items()}}
    _, params, state = models.load("resnet18", path, **OPTIONS)
    assert_same((params, state), (PARAMS, STATE))


def test_what_is_loaded_shares_no_memory():
    weights = {name: x.copy() for name, x in WEIGHTS.items()}
    _, params, state = models.load("resnet18", weights, **OPTIONS)
    for x in weights.values():
        x *= 0
    assert_same((params, state), (PARAMS, STATE))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("layer1.", "layer1._orig_mod."),
        lambda name: f"backbone.{name}",
    ],
)
def test_names_of_wrappers_are_taken_off(wrapped):
    weights = {wrapped(name): x for name, x in WEIGHTS.items()}
    prefix = "backbone." if "backbone.fc.weight" in weights else ""
    if prefix:
        weights["head.weight"] = np.ones(3)  # another part of the whole
    _, params, state = models.load("resnet18", weights, prefix=prefix, **OPTIONS)
    assert_same((params, state), (PARAMS, STATE))


def test_dtypes_are_kept_or_asked_for(tmp_path):
    def dtypes(**options):
        _, params, state = models.load("resnet18", **options, **OPTIONS)
        kinds = [{str(leaf.dtype) for leaf in tree.leaves(each)} for each in (params, state)]
        assert all(len(kind) == 1 for kind in kinds)
        return [kind.pop() for kind in kinds]

    half = {name: x.astype(np.float16) for name, x in WEIGHTS.items()}
    assert dtypes(weights=WEIGHTS) == ["float64", "float64"]
    assert dtypes(weights=WEIGHTS, dtype=np.float32) == ["float32", "float32"]
    # Averages of half precision would stand still: an update is smaller than their rounding.
    assert dtypes(weights=half) == ["float16", "float32"]
    brain = {name: x.to(torch.bfloat16) for name, x in twin().state_dict().items()}
    safetensors.torch.save_file(brain, tmp_path / "x.safetensors")
    assert dtypes(weights=brain) == ["bfloat16", "float32"]
    assert dtypes(weights=tmp_path / "x.safetensors") == ["bfloat16", "float32"]
    assert dtypes(weights=brain, dtype="float32") == ["float32", "float32"]
    with pytest.raises(TypeError, match="not a floating-point one"):
        dtypes(weights=WEIGHTS, dtype=np.int8)
    _, params, _ = models.load("resnet18", brain, **OPTIONS)
    np.testing.assert_array_equal(
        params["head"]["kernel"], WEIGHTS["fc.weight"].T.astype(ml_dtypes.bfloat16)
    )


# ---- back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cifar", [False, True])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_there_and_back(cifar, layout, tmp_path):
    theirs = twin(cifar=cifar)
    shape = (1, 8, 8, 3) if layout == "NHWC" else (1, 3, 8, 8)
    options = OPTIONS | {"x_shape": shape, "layout": layout}
    _, params, state = models.load("resnet18", arrays(theirs), **options)
    dialect = "cifar" if cifar else None
    back = models.to_state_dict(params, state, names="resnet18", layout=layout, dialect=dialect)
    assert all(x.flags.c_contiguous for x in back.values())
    other = ResNet((2, 2, 2, 2), width=4, small=True, cifar=cifar).double()
    other.load_state_dict({name: torch.from_numpy(x) for name, x in back.items()})  # strict
    for name, x in theirs.state_dict().items():
        assert torch.equal(x, other.state_dict()[name]), name
    # A file that PyTorch's world reads, too.
    checkpoint.save(tmp_path / "x.safetensors", back)
    found = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert_same(found, {name: back[name] for name in found})
    assert found.keys() == back.keys()


def test_both_layouts_hold_the_same_numbers():
    _, first, _ = models.load(
        "resnet18", WEIGHTS, **OPTIONS | {"layout": "NCHW", "x_shape": (1, 3, 8, 8)}
    )
    turned = tree.map(lambda x: x.transpose(2, 3, 1, 0) if x.ndim == 4 else x, first)
    assert_same(turned, PARAMS)


def test_names_of_transformers():
    """Hugging Face counts stages and the layers of a block from 0."""
    back = models.to_state_dict(PARAMS, STATE, names="resnet18", dialect="transformers")
    assert len(back) == sum(not name.endswith("tracked") for name in WEIGHTS)
    pairs = {
        "resnet.embedder.embedder.normalization.running_var": "bn1.running_var",
        "resnet.encoder.stages.0.layers.1.layer.0.convolution.weight": "layer1.1.conv1.weight",
        "resnet.encoder.stages.3.layers.0.layer.1.normalization.bias": "layer4.0.bn2.bias",
        "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight": (
            "layer2.0.downsample.0.weight"
        ),
        "classifier.1.weight": "fc.weight",
    }
    for theirs, torchvision in pairs.items():
        np.testing.assert_array_equal(back[theirs], WEIGHTS[torchvision])
    assert_same(models.load("resnet18", back, **OPTIONS).params, PARAMS)


def test_an_unknown_dialect():
    with pytest.raises(ValueError, match="none of torchvision, cifar, transformers"):
        models.to_state_dict(PARAMS, STATE, names="resnet18", dialect="keras")


# ---- what does not fit ---------------------------------------------------------------------------


def without(*names, **more):
    return {n: x for n, x in WEIGHTS.items() if n not in names} | more


def test_every_odd_name_is_in_one_error():
    weights = without(
        "bn1.bias",
        "layer1.0.conv1.weight",
        **{"layer1.0.conv1.weights": WEIGHTS["layer1.0.conv1.weight"], "extra": np.ones(1)},
        **{"fc.weight": np.ones((12, 32)), "fc.bias": np.ones(12)},
    )
    with pytest.raises(WeightsError) as caught:
        models.load("resnet18", weights, **OPTIONS)
    text = str(caught.value)
    for part in (
        "2 of another shape or dtype:",
        "head/kernel: fc.weight is float64[12, 32], expected float[10, 32]",
        "head/bias: fc.bias is float64[12], expected float[10]",
        "2 missing:",
        "stem/bn/bias: no bn1.bias",
        "stage1/block0/conv1/kernel: no layer1.0.conv1.weight (is it layer1.0.conv1.weights?)",
        "2 unexpected:",
        "  extra",
        "test_models_weights.py:",
        'skip="head/**"',
    ):
        assert part in text, text


def test_what_fits_is_loaded_and_the_rest_reported():
    weights = without("bn1.bias", **{"fc.weight": np.ones((12, 32)), "extra": np.ones(1)})
    key = random.key(3)
    model, params, state, report = models.load(
        "resnet18", weights, strict=False, key=key, **OPTIONS
    )
    assert report.missing == (("stem/bn/bias", "bn1.bias"),)
    assert report.unexpected == ("extra",)
    assert [each.path for each in report.mismatched] == ["head/kernel"]
    assert len(report.loaded) == len(tree.leaves((params, state))) - 2
    assert not report.fits
    assert "1 unexpected:\n  extra" in str(report)
    fresh, _ = model.init(key.clone(), kn.ShapeDtype((1, 8, 8, 3), np.float64))
    np.testing.assert_array_equal(params["head"]["kernel"], fresh["head"]["kernel"])
    assert not params["stem"]["bn"]["bias"].any()
    np.testing.assert_array_equal(params["head"]["bias"], PARAMS["head"]["bias"])
    assert models.load("resnet18", WEIGHTS, strict=False, **OPTIONS).report.fits


@pytest.mark.parametrize("pattern", ["head/**", "fc.*", ["head/kernel", "head/bias"]])
def test_another_head(pattern):
    _, params, state = models.load(
        "resnet18", WEIGHTS, skip=pattern, **OPTIONS | {"num_classes": 3}
    )
    assert params["head"]["kernel"].shape == (32, 3)
    assert params["head"]["kernel"].any()
    assert params["head"]["kernel"].dtype == np.float64  # as the rest
    body = {**params, "head": PARAMS["head"]}
    assert_same((body, state), (PARAMS, STATE))
    assert not models.load("resnet18", WEIGHTS, skip="fc.*", **OPTIONS).params["head"]["bias"].any()


def test_tensors_may_be_left_by_name():
    weights = without(**{"aux.0.weight": np.ones(3), "aux.1.bias": np.ones(3)})
    with pytest.raises(WeightsError, match="2 unexpected"):
        models.load("resnet18", weights, **OPTIONS)
    assert_same(models.load("resnet18", weights, skip="aux.*", **OPTIONS).params, PARAMS)


def test_patterns_and_rules_that_fit_nothing():
    with pytest.raises(ValueError, match=r"skip='heads/.*' fits no leaf and no tensor"):
        models.load("resnet18", WEIGHTS, skip="heads/**", **OPTIONS)
    with pytest.raises(ValueError, match=r"'body': .* fits no layer and no leaf"):
        models.load_state_dict(PARAMS, STATE, WEIGHTS, names={"body": "fc"})
    with pytest.raises(ValueError, match="Write 'resnet50'"):
        models.load("resnet5", WEIGHTS)
    with pytest.raises(ValueError, match=r"the names give 'fc\.weight' to"):
        models.load_state_dict(PARAMS, STATE, WEIGHTS, names={"head": "fc", "stem/conv": "fc"})


def test_the_weights_of_another_model_load_nowhere():
    with pytest.raises(WeightsError, match="weights of another model"):
        models.load("resnet18", {"encoder.weight": np.ones((3, 3))}, **OPTIONS)
    with pytest.raises(WeightsError, match="weights of another model"):
        models.load("resnet18", {"encoder.weight": np.ones(3)}, strict=False, **OPTIONS)
    with pytest.raises(WeightsError, match="of another shape"):
        models.load("resnet18", WEIGHTS, **OPTIONS | {"width": 8})
    first = models.resnet18(10, stem="small", width=4, layout="NCHW")
    params, state = first.init(random.key(0), (1, 3, 8, 8))
    with pytest.raises(WeightsError, match="layout='NHWC' must be that of its kernels"):
        models.load_state_dict(params, state, WEIGHTS, names="resnet18")
    turned = {n: x.transpose(2, 3, 1, 0) if x.ndim == 4 else x for n, x in WEIGHTS.items()}
    with pytest.raises(WeightsError, match="of another shape"):
        models.load("resnet18", turned, **OPTIONS)
    whole = {name: x.astype(np.int64) for name, x in WEIGHTS.items()}
    with pytest.raises(WeightsError, match=r"int64\[10\], expected float\[10\]"):
        models.load("resnet18", whole, **OPTIONS)


def test_files_that_are_not_read(tmp_path):
    pickled = tmp_path / "x.pth"
    for legacy in (False, True):
        torch.save(twin().state_dict(), pickled, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(WeightsError, match="weights_only=True") as caught:
            models.load("resnet18", pickled, **OPTIONS)
        assert f"numpy.savez({str(tmp_path / 'x.npz')!r}" in str(caught.value)
    for kind in ("npz", "safetensors"):
        ours = tmp_path / f"ours.{kind}"
        checkpoint.save(ours, {"params": PARAMS})
        with pytest.raises(WeightsError, match="a checkpoint of Kinone's own"):
            models.load("resnet18", ours, **OPTIONS)
    with pytest.raises(CheckpointError, match="No such file"):
        models.load("resnet18", tmp_path / "none.npz", **OPTIONS)
    np.savez(tmp_path / "objects.npz", a=np.array([None]))
    with pytest.raises(CheckpointError, match=r"objects\.npz"):
        models.load("resnet18", tmp_path / "objects.npz", **OPTIONS)
    np.savez(tmp_path / "brain.npz", a=np.ones(2, ml_dtypes.bfloat16))
    with pytest.raises(WeightsError, match="cannot hold bfloat16"):
        models.load("resnet18", tmp_path / "brain.npz", **OPTIONS)
    with pytest.raises(WeightsError, match="epoch is a str"):
        models.load("resnet18", {"epoch": "three"}, **OPTIONS)
    with pytest.raises(TypeError, match="a path or a mapping"):
        models.load("resnet18", [1, 2], **OPTIONS)
    with pytest.raises(WeightsError, match="no tensor in it"):
        models.load("resnet18", {}, **OPTIONS)
    both = {"a.weight": np.ones(1), "a._orig_mod.weight": np.zeros(1)}
    with pytest.raises(WeightsError, match="with and without '_orig_mod"):
        models.load("resnet18", both, **OPTIONS)
    with pytest.raises(WeightsError, match="no name begins with 'body'"):
        models.load("resnet18", WEIGHTS, prefix="body", **OPTIONS)


def test_a_file_that_claims_too_much(tmp_path):
    """A shape of terabytes in a few bytes is refused before anything is allocated."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(CheckpointError, match="claims a shape"):
        models.load("resnet18", tmp_path / "x.npz", **OPTIONS)


# ---- models of one's own -------------------------------------------------------------------------


def test_every_kind_of_layer():
    """Grouped, depthwise, transposed and one- and three-dimensional convolutions, norms, an
    embedding, a PReLU: in both layouts, against PyTorch's own numbers."""
    theirs = torch.nn.ModuleDict(
        {
            "grouped": torch.nn.Conv2d(4, 6, (3, 2), groups=2),
            "depthwise": torch.nn.Conv2d(4, 8, 3, groups=4),
            "transposed": torch.nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2),
            "line": torch.nn.Conv1d(4, 3, 5),
            "cube": torch.nn.Conv3d(4, 3, (1, 2, 3)),
            "norm": torch.nn.GroupNorm(2, 4),
            "slope": torch.nn.PReLU(),
            "batch": torch.nn.BatchNorm2d(4),
        }
    ).double()
    rich(theirs)
    inputs = {"line": (2, 4, 9), "cube": (2, 4, 3, 4, 5)}
    generator = np.random.default_rng(0)
    for layout in ("NHWC", "NCHW"):
        layers = {
            "grouped": nn.Conv(6, (3, 2), groups=2, padding="VALID", layout=layout),
            "depthwise": nn.DepthwiseConv((3, 3), multiplier=2, padding="VALID", layout=layout),
            "transposed": nn.ConvTranspose(
                6, (3, 2), strides=2, groups=2, padding="VALID", layout=layout
            ),
            "line": nn.Conv(3, (5,), padding="VALID", layout=layout),
            "cube": nn.Conv(3, (1, 2, 3), padding="VALID", layout=layout),
            "norm": nn.GroupNorm(2, layout=layout),
            "slope": nn.PRelu(),
            "batch": nn.BatchNorm(layout=layout),
        }
        for name, layer in layers.items():
            x = generator.normal(size=inputs.get(name, (2, 4, 6, 5)))
            mine = x if layout == "NCHW" else np.moveaxis(x, 1, -1)
            params, state = layer.init(random.key(0), mine)
            params, state = models.load_state_dict(
                params, state, theirs.state_dict(), prefix=f"{name}.", layout=layout
            )
            y = layer.apply(params, state, mine)[0]
            theirs.eval()
            want = theirs[name](torch.tensor(x)).detach().numpy()
            got = y if layout == "NCHW" else np.moveaxis(y, -1, 1)
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(kind):
    theirs = torch.nn.ModuleDict(
        {
            "words": torch.nn.Embedding(11, 5),
            "cells": getattr(torch.nn, kind)(5, 4, 2, bidirectional=True, batch_first=True),
            "out": torch.nn.Linear(8, 3),
        }
    ).double()
    x = np.random.default_rng(0).integers(0, 11, size=(2, 6))
    model = nn.Sequential(
        embedding=nn.Embedding(11, 5, dtype=np.float64),
        recurrent=getattr(nn, kind)(4, num_layers=2, bidirectional=True),
        head=nn.Dense(3),
    )
    params, state = model.init(random.key(0), x)
    names = {"embedding": "words", "head": "out"}
    weights = {n.replace("cells.", "recurrent."): v for n, v in theirs.state_dict().items()}
    params, state = models.load_state_dict(params, state, weights, names=names)
    y, _ = model.apply(params, state, x)
    want = theirs["out"](theirs["cells"](theirs["words"](torch.tensor(x)))[0])
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=1e-11, atol=1e-12)
    back = models.to_state_dict(params, state, names=names)
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name], value.numpy())


def test_a_count_of_batches_is_loaded_where_there_is_one():
    theirs = torch.nn.BatchNorm1d(3, momentum=None)
    theirs(torch.randn(4, 3))
    layer = nn.BatchNorm(momentum=None)
    params, state = layer.init(random.key(0), (1, 3))
    _, state = models.load_state_dict(params, state, theirs.state_dict())
    assert state["count"] == 1
    assert state["count"].dtype == np.int64


def test_parts_of_one_tensor():
    """Leaves one after the other along the first axis, of different lengths."""
    layer = nn.Parallel(a=nn.Dense(2), b=nn.Dense(3))
    params, state = layer.init(random.key(0), (1, 4))
    theirs = torch.nn.Linear(4, 5).double()
    names = {"a": models.Tensor("ab", 0), "b": models.Tensor("ab", 1)}
    weights = {f"ab.{name}": x for name, x in theirs.state_dict().items()}
    params, _ = models.load_state_dict(params, state, weights, names=names)
    x = np.random.default_rng(0).normal(size=(2, 4))
    want = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(layer.apply(params, state, x)[0], want, rtol=1e-12)
    back = models.to_state_dict(params, state, names=names)
    np.testing.assert_array_equal(back["ab.weight"], weights["ab.weight"].numpy())
    skipped, _ = models.load_state_dict(params, state, weights, names=names, skip="a/*")
    assert_same(skipped, params)
    with pytest.raises(WeightsError, match=r"a/bias: ab.bias is float64\[4\], expected float\[5\]"):
        models.load_state_dict(params, state, weights | {"ab.bias": np.ones(4)}, names=names)
