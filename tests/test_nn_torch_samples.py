"""Every layer on the samples by which PyTorch tests its own: values, gradients and states.

PyTorch lists for each of its modules constructor arguments and inputs. Each sample whose options
Kinone has is run here, in training and not, in float64.
"""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

import kinone as kn
from kinone import nn

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's samples import

NCHW = {"layout": "NCHW"}


def window(o):
    return o["kernel_size"], {
        "strides": o["stride"] or None,
        "padding": o["padding"],
        "ceil_mode": o["ceil_mode"],
        **NCHW,
    }


def max_pool(o):
    size, options = window(o)
    return nn.MaxPool(size, **options)


def avg_pool(o):
    size, options = window(o)
    return nn.AvgPool(size, count_include_pad=o["count_include_pad"], **options)


def convolution(make):
    def made(o):
        more = {"output_padding": o["output_padding"]} if "output_padding" in o else {}
        padding = o["padding"].upper() if isinstance(o["padding"], str) else o["padding"]
        return make(
            o["out_channels"],
            o["kernel_size"],
            strides=o["stride"],
            padding=padding,
            dilation=o["dilation"],
            groups=o["groups"],
            use_bias=o["bias"],
            **more,
            **NCHW,
        )

    return made


def affine(o):
    return {
        "epsilon": o["eps"],
        "use_scale": o.get("affine", o.get("elementwise_affine")),
        "use_bias": o.get("affine", o.get("elementwise_affine")) and o.get("bias", True),
    }


def last_axes(o):
    shape = o["normalized_shape"]
    return tuple(range(-len(shape) if isinstance(shape, (tuple, list)) else -1, 0))


def rms_norm(o):
    return nn.RMSNorm(
        axis=last_axes(o),
        epsilon=np.finfo(np.float64).eps if o["eps"] is None else o["eps"],
        use_scale=o["elementwise_affine"],
    )


MAKERS = {
    "Linear": lambda o: nn.Dense(o["out_features"], use_bias=o["bias"]),
    "Conv": convolution(nn.Conv),
    "ConvTranspose": convolution(nn.ConvTranspose),
    "BatchNorm": lambda o: nn.BatchNorm(momentum=o["momentum"], **affine(o), **NCHW),
    "LayerNorm": lambda o: nn.LayerNorm(axis=last_axes(o), **affine(o)),
    "GroupNorm": lambda o: nn.GroupNorm(o["num_groups"], **affine(o), **NCHW),
    "InstanceNorm": lambda o: nn.InstanceNorm(**affine(o), **NCHW),
    "RMSNorm": rms_norm,
    "MaxPool": max_pool,
    "AvgPool": avg_pool,
    "AdaptiveAvgPool": lambda o: nn.AdaptiveAvgPool(o["output_size"], **NCHW),
    "AdaptiveMaxPool": lambda o: nn.AdaptiveMaxPool(o["output_size"], **NCHW),
    "Embedding": lambda o: nn.Embedding(
        o["num_embeddings"], o["embedding_dim"], padding_idx=o["padding_idx"], dtype=np.float64
    ),
    "PReLU": lambda o: nn.PRelu(
        negative_slope_init=o["init"], shared=o["num_parameters"] == 1, **NCHW
    ),
    "CELU": lambda o: nn.Celu(o["alpha"]),
    "ELU": lambda o: nn.Elu(o["alpha"]),
    "GELU": lambda o: nn.Gelu(o["approximate"] == "tanh"),
    "GLU": lambda o: nn.Glu(o["dim"]),
    "Hardswish": lambda o: nn.HardSwish(),
    "Hardtanh": lambda o: nn.HardTanh(o["min_val"], o["max_val"]),
    "LeakyReLU": lambda o: nn.LeakyRelu(o["negative_slope"]),
    "LogSigmoid": lambda o: nn.LogSigmoid(),
    "LogSoftmax": lambda o: nn.LogSoftmax(o["dim"]),
    "Mish": lambda o: nn.Mish(),
    "ReLU": lambda o: nn.Relu(),
    "ReLU6": lambda o: nn.Relu6(),
    "SELU": lambda o: nn.Selu(),
    "SiLU": lambda o: nn.Silu(),
    "Sigmoid": lambda o: nn.Sigmoid(),
    "Softmax": lambda o: nn.Softmax(o["dim"]),
    "Softmax2d": lambda o: nn.Softmax(-3),
    "Softplus": lambda o: nn.Softplus(o["beta"]),
    "Softsign": lambda o: nn.Softsign(),
    "Tanh": lambda o: nn.Tanh(),
}
# What Kinone has not, said in one line each.
WITHOUT = {
    "return_indices": (False,),
    "divisor_override": (None,),
    "track_running_stats": (True, None),
    "max_norm": (None,),
    "scale_grad_by_freq": (False,),
    "sparse": (False,),
    "threshold": (20.0, 20),  # beyond it PyTorch's softplus is a straight line
}
BATCHED = ("Conv", "MaxPool", "AvgPool", "Adaptive", "InstanceNorm")  # images want their axis N
RANKS = {"1d": 3, "2d": 4, "3d": 5}


@pytest.fixture(scope="module")
def database():
    """PyTorch's list of modules, which takes seconds to import."""
    found = importlib.import_module("torch.testing._internal.common_modules").module_db
    named = [(info.name.removeprefix("nn."), info) for info in found]
    return [each for each in named if getattr(torch.nn, each[0], None) is each[1].module_cls]


def samples(database, kind):
    for name, info in database:
        if kind not in (name, name[:-2] if name[-2:] in RANKS and name not in MAKERS else name):
            continue
        for number, sample in enumerate(
            info.module_inputs_func(
                info, device="cpu", dtype=torch.float64, requires_grad=True, training=True
            )
        ):
            for train in (True, False) if "Norm" in kind else (True,):
                yield info.module_cls, name, sample, train, f"{name}-{number}"


def to_numpy(tensor):
    return np.array(tensor.detach().numpy())


def params_of(kind, module):
    """The parameters of a module under Kinone's names, and how a gradient there turns to here."""
    turns = {"weight": lambda w: w}
    names = {"weight": "kernel", "bias": "bias"}
    if kind == "Linear":
        turns["weight"] = np.transpose
    elif kind == "PReLU":
        names["weight"] = "negative_slope"
    elif kind == "Embedding":
        names["weight"] = "embedding"
    elif "Norm" in kind:
        names["weight"] = "scale"
    return {
        names[name]: (parameter, turns.get(name, lambda w: w))
        for name, parameter in module.named_parameters()
    }


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("kind", MAKERS)
def test_against_the_samples_of_pytorch(kind, database):
    reasons = [run(kind, *sample) for sample in samples(database, kind)]
    assert reasons.count(None) > len(reasons) // 3, reasons


def run(kind, module_cls, name, sample, train, label):
    """Checks one sample, or returns why it cannot be."""
    given = sample.constructor_input
    bound = inspect.signature(module_cls).bind(*given.args, **given.kwargs)
    bound.apply_defaults()
    options = {**bound.arguments, **bound.arguments.get("kwargs", {})}
    for option, fine in WITHOUT.items():
        if option in options and options[option] not in fine and kind != "InstanceNorm":
            return f"no {option}"
    if kind == "InstanceNorm" and options["track_running_stats"]:
        return "no running statistics"
    torch.manual_seed(0)
    module = module_cls(*given.args, **given.kwargs).double().train(train)
    rng = np.random.default_rng(0)
    for parameter in module.parameters():  # no scale of 1, no bias of 0
        with torch.no_grad():
            parameter.copy_(torch.tensor(rng.normal(size=tuple(parameter.shape))))
    forward = sample.forward_input
    (tensor,) = [*forward.args, *forward.kwargs.values()]
    x = to_numpy(tensor)
    unbatched = kind.startswith(BATCHED) and x.ndim == RANKS[name[-2:]] - 1
    layer = MAKERS[kind](options)
    known = params_of(kind, module)
    params = {key: turn(to_numpy(value)) for key, (value, turn) in known.items()}
    lead = x[None] if unbatched else x
    if not x.size and train:
        return "a batch of nothing has no statistics"
    if not x.ndim and "Softm" in kind:
        return "a number has no axis in NumPy"
    started, state = layer.init(kn.random.key(0), kn.ShapeDtype(lead.shape, x.dtype))
    assert kn.tree.map(np.shape, started) == kn.tree.map(np.shape, params)

    def f(params, x):
        y, new = layer.apply(params, state, x[None] if unbatched else x, train)
        return (y[0] if unbatched else y), new

    theirs = torch.tensor(x, requires_grad=x.dtype.kind == "f")
    want = module(theirs)
    cotangent = rng.normal(size=tuple(want.shape))
    leaves = [value for value, _ in known.values()] + [theirs] * theirs.requires_grad
    slopes = torch.autograd.grad(want, leaves, torch.tensor(cotangent)) if leaves else ()
    if x.dtype.kind == "f":
        y, pullback, new = kn.vjp(f, params, x, has_aux=True)
        grads, dx = pullback(cotangent)
    else:
        y, pullback, new = kn.vjp(lambda params: f(params, x), params, has_aux=True)
        (grads,), dx = pullback(cotangent), None
    np.testing.assert_allclose(y, to_numpy(want), 1e-12, 1e-13, err_msg=label)
    if dx is not None:
        np.testing.assert_allclose(dx, to_numpy(slopes[-1]), 1e-10, 1e-12, err_msg=label)
    for (key, (_, turn)), slope in zip(known.items(), slopes, strict=False):
        np.testing.assert_allclose(
            grads[key], turn(to_numpy(slope)), 1e-10, 1e-12, err_msg=f"{label} {key}"
        )
    if kind == "BatchNorm":
        np.testing.assert_allclose(new["mean"], to_numpy(module.running_mean), 1e-12)
        np.testing.assert_allclose(new["var"], to_numpy(module.running_var), 1e-12)
    return None
