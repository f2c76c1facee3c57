"""Networks as PyTorch's libraries name and compute them, and the comparison of one with Kinone's.

The weights go through Kinone's loader, and its gradients and running averages come back through
`to_state_dict`, so that every name and every layout is checked with the numbers.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import kinone as kn
from kinone import models
from kinone.models.registry import ARCHITECTURES

torch = pytest.importorskip("torch")
functional = torch.nn.functional


class Block(torch.nn.Module):
    """A residual block as torchvision names it; with `cifar`, as Y. Idelbayev and K. Liu do."""

    def __init__(self, channels, planes, stride, *, bottleneck, cifar, shortcut, groups, per_group):
        super().__init__()
        inner = planes * per_group // 64 * groups
        out = planes * (4 if bottleneck else 1)
        shapes = (
            [(channels, inner, 1, 1, 1), (inner, inner, 3, stride, groups), (inner, out, 1, 1, 1)]
            if bottleneck
            else [(channels, planes, 3, stride, 1), (planes, planes, 3, 1, 1)]
        )
        self.count = len(shapes)
        for i, (inputs, outputs, size, step, parts) in enumerate(shapes, 1):
            conv = torch.nn.Conv2d(inputs, outputs, size, step, size // 2, groups=parts, bias=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", torch.nn.BatchNorm2d(outputs))
        self.converter, self.pad, self.stride = "", None, stride
        if stride != 1 or channels != out:
            if shortcut == "A":
                self.pad = (0, 0, 0, 0, (out - channels) // 2, (out - channels) // 2)
            else:
                self.converter = "shortcut" if cifar else "downsample"
                conv = torch.nn.Conv2d(channels, out, 1, stride, bias=False)
                both = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(out))
                self.add_module(self.converter, both)

    def convert(self, x):
        if self.pad is not None:
            return functional.pad(x[:, :, :: self.stride, :: self.stride], self.pad)
        return getattr(self, self.converter)(x) if self.converter else x

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(y + self.convert(x))


class ResNet(torch.nn.Module):
    def __init__(
        self,
        blocks,
        classes=10,
        *,
        channels=3,
        width=64,
        small=False,
        bottleneck=False,
        cifar=False,
        shortcut="B",
        groups=1,
        per_group=64,
    ):
        super().__init__()
        self.small, self.cifar, self.stages = small, cifar, len(blocks)
        size, step = (3, 1) if small else (7, 2)
        self.conv1 = torch.nn.Conv2d(channels, width, size, step, size // 2, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        make = functools.partial(
            Block,
            bottleneck=bottleneck,
            cifar=cifar,
            shortcut=shortcut,
            groups=groups,
            per_group=per_group,
        )
        channels = width
        for i, count in enumerate(blocks):
            stage = []
            for j in range(count):
                stage.append(make(channels, width * 2**i, 2 if i and not j else 1))
                channels = width * 2**i * (4 if bottleneck else 1)
            self.add_module(f"layer{i + 1}", torch.nn.Sequential(*stage))
        self.add_module("linear" if cifar else "fc", torch.nn.Linear(channels, classes))

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = functional.max_pool2d(x, 3, 2, 1)
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return (self.linear if self.cifar else self.fc)(x.mean((2, 3)))


def rich(twin, seed=1):
    """The twin in float64 with numbers that hide no mistake: no zero bias, no scale of one."""
    draw = torch.Generator().manual_seed(seed)
    twin = twin.double()
    for name, value in twin.state_dict().items():
        noise = torch.randn(value.shape, generator=draw, dtype=torch.float64)
        if name.endswith("running_var"):
            value.copy_(0.5 + noise**2)
        elif value.ndim == 1:
            value.copy_(name.endswith("weight") + 0.3 * noise)
        elif value.ndim > 1:
            value.copy_(noise / value[0].numel() ** 0.5)
    return twin


def close(got, want, what, tolerance=1e-10):
    """Relative to the norm of the whole array."""
    got, want = np.asarray(got), want.detach().numpy()
    assert got.shape == want.shape, what
    assert got.dtype == want.dtype, what
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert error < tolerance, f"{what}: {error:.1e}"


def assert_twins(name, twin, shape, *, train, **options):
    """The constructor of this name gives what the twin gives: the output, the gradient of every
    parameter and of the input, the running averages. `shape` is (N, H, W, C)."""
    layout = options.get("layout", "NHWC")
    order = (0, 3, 1, 2)
    ours_shape = shape if layout == "NHWC" else tuple(shape[i] for i in order)
    model, params, state = models.load(name, twin.state_dict(), x_shape=ours_shape, **options)
    generator = np.random.default_rng(2)
    x = generator.normal(size=shape)
    x_ours = x if layout == "NHWC" else x.transpose(order)
    back = functools.partial(models.to_state_dict, names=name, layout=layout)

    twin.train(train)
    x_twin = torch.tensor(x.transpose(order).copy(), requires_grad=True)
    y_twin = twin(x_twin)
    cotangent = generator.normal(size=y_twin.shape)
    y_twin.backward(torch.tensor(cotangent))

    def loss(params, x):
        y, new_state = model.apply(params, state, x, train=train)
        return np.sum(y * cotangent), (y, new_state)

    (_, (y, new_state)), (gradients, x_gradient) = kn.value_and_grad(
        loss, argnums=(0, 1), has_aux=True
    )(params, x_ours)
    close(y, y_twin, "output")
    turned = x_gradient if layout == "NCHW" else x_gradient.transpose(order)
    close(turned, x_twin.grad, "input")
    dialect = next(
        each
        for each in ARCHITECTURES[name].dialects
        if set(back(params, state, dialect=each)) <= twin.state_dict().keys()
    )
    got = back(gradients, {}, dialect=dialect)
    parameters = dict(twin.named_parameters())
    assert got.keys() == parameters.keys()
    for each, gradient in got.items():
        close(gradient, parameters[each].grad, each)
    for each, average in back({}, new_state, dialect=dialect).items():
        close(average, twin.state_dict()[each], each)
    return model, params, state
