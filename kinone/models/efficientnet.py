"""EfficientNets: one small network, and a rule by which width, depth and image size grow together.

    block(x) = x + project(squeeze(depthwise(expand(x))))        (x + … where the shapes agree)

A block widens its input by 1×1 convolutions, looks at each channel alone with a cheap depthwise
convolution, weighs the channels by what the whole image shows, and narrows again, without a bend.
B0 has 16 such blocks in seven stages; B1 … B7 multiply its channels and its numbers of blocks. The
Lite networks are made for small devices and their 8-bit integers: ReLU6 in place of swish, nothing
that weighs channels, and a stem and a head that do not grow.

Sources: Tan & Le 2019, arXiv:1905.11946; Lite: the reference implementation's `lite` folder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from .. import nn, ops, source
from ..core import Array
from ..nn.initializers import variance_scaling

Act = Literal["swish", "hard_swish", "relu6", "relu"]
Padding = Literal["tf", "torch"]
Stem = Literal["imagenet", "small"]


class _Stage(NamedTuple):
    """A run of blocks of B0; the first of them has the stride and changes the channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM, _TOP = 32, 1280


class _Act(NamedTuple):
    """What bends: the layer after a norm, the same as a function, and the gate that goes with it.

    Hard swish is for devices where a sigmoid is dear, so its gate is none, as in MobileNetV3.
    """

    layer: Callable[[], nn.Layer]
    function: Callable[[Array], Array]
    gate: Callable[[Array], Array]


_ACTS = {
    "swish": _Act(nn.Swish, ops.swish, ops.sigmoid),
    "hard_swish": _Act(nn.HardSwish, ops.hard_swish, ops.hard_sigmoid),
    "relu6": _Act(nn.Relu6, ops.relu6, ops.sigmoid),
    "relu": _Act(nn.Relu, ops.relu, ops.sigmoid),
}

# The reference's: variance 2 / fan_out, of a depthwise convolution's single channel 2 / window; and
# for the head numbers within ±1/√classes.
_KERNEL_INIT = variance_scaling(2.0, "fan_out", "normal")
_HEAD_INIT = variance_scaling(1 / 3, "fan_out", "uniform")


def efficientnet(
    width: float,
    depth: float,
    num_classes: int = 1000,
    *,
    fixed_ends: bool = False,
    dropout: float = 0.2,
    drop_path: float = 0.2,
    act: Act = "swish",
    se_ratio: float = 0.25,
    stem: Stem = "imagenet",
    padding: Padding = "tf",
    momentum: float = 0.01,
    epsilon: float = 1e-3,
    layout: str = "NHWC",
) -> nn.Layer:
    """B0 with `width` times the channels and `depth` times the blocks: images to logits.

    Images are (N, H, W, C), or (N, C, H, W) with `layout="NCHW"`, of any size and number of
    channels; the result is (N, num_classes). Channels are rounded to multiples of 8, by no more
    than a tenth down, numbers of blocks up. `fixed_ends`, as in the Lite networks, leaves the
    channels of the first and the last convolution, and the depth of the first and the last stage.

    `act` bends the result of each norm but a block's last; with "hard_swish" the gate of squeeze
    and excitation is the hard sigmoid. That squeezes to `se_ratio` times the channels of the
    *block's input*, and 0 leaves it out. `stem="small"`, for images of less than about 64, begins
    with stride 1. `dropout` is the rate before the head; of `drop_path`, a block's rate, block i of
    n has the share i / n.

    `padding="tf"` is TensorFlow's "SAME", whose odd element is after; `"torch"` is half the window
    at both ends. Weights need what they were trained with: those of the authors, of
    EfficientNet-PyTorch and timm's `tf_…` "tf" and `epsilon=1e-3`; torchvision's and timm's others
    "torch" and 1e-5 (torchvision's B5 … B7 1e-3). `momentum` is the new batch's weight in running
    statistics: the authors' 0.01 wants thousands of steps, so take 0.1 for short trainings.

    Kernels start normal with variance 2 / fan_out, the head uniform within ±1/√num_classes.

    Raises `ValueError` for an unknown option and for multipliers that are not positive.

        >>> import numpy as np
        >>> from kinone import random, tree
        >>> model = efficientnet(0.25, 0.5, 10, stem="small")
        >>> params, state = model.init(random.key(0), (1, 32, 32, 3))
        >>> model.apply(params, state, np.ones((2, 32, 32, 3), np.float32))[0].shape
        (2, 10)
        >>> tree.size(params)
        202032
    """
    _check(width, depth, {"act": act, "padding": padding, "stem": stem}, se_ratio, drop_path)
    bend = _ACTS[act]
    conv = functools.partial(
        _conv, act=bend.layer, padding=padding, momentum=momentum, epsilon=epsilon, layout=layout
    )
    last = len(_STAGES) - 1
    repeats = [
        stage.repeats if fixed_ends and i in (0, last) else math.ceil(depth * stage.repeats)
        for i, stage in enumerate(_STAGES)
    ]
    channels = _STEM if fixed_ends else _rounded(_STEM * width)
    children = {"stem": conv(channels, 3, 1 if stem == "small" else 2)}
    number = 0
    for i, stage in enumerate(_STAGES):
        members: dict[str, nn.Layer] = {}
        features = _rounded(stage.channels * width)
        for j in range(repeats[i]):
            squeeze = nn.SqueezeExcite(
                max(int(channels * se_ratio), 1),
                activation=bend.function,
                gate=bend.gate,
                layout=layout,
                kernel_init=_KERNEL_INIT,
            )
            first = stage if j == 0 else stage._replace(stride=1)
            members[f"block{j}"] = _block(
                conv,
                channels,
                first._replace(channels=features),
                squeeze if se_ratio else None,
                drop_path * number / sum(repeats),
            )
            channels, number = features, number + 1
        children[f"stage{i + 1}"] = nn.Sequential(**members)
    inside = nn.Sequential(
        **children,
        top=conv(_TOP if fixed_ends else _rounded(_TOP * width), 1),
        pool=nn.GlobalAvgPool(layout=layout),
        dropout=nn.Dropout(dropout),
        head=nn.Dense(num_classes, kernel_init=_HEAD_INIT),
    )
    name = nn.layer.describe(
        "efficientnet",
        width,
        depth,
        num_classes,
        fixed_ends=(fixed_ends, False),
        dropout=(dropout, 0.2),
        drop_path=(drop_path, 0.2),
        act=(act, "swish"),
        se_ratio=(se_ratio, 0.25),
        stem=(stem, "imagenet"),
        padding=(padding, "tf"),
        momentum=(momentum, 0.01),
        epsilon=(epsilon, 1e-3),
        layout=(layout, "NHWC"),
    )
    return nn.Layer(inside.init, inside.apply, name)


def _check(
    width: float, depth: float, chosen: dict[str, str], se_ratio: float, drop_path: float
) -> None:
    if not (width > 0 and depth > 0):
        raise ValueError(
            f"width={width} and depth={depth} have to be positive: they multiply those of B0, "
            f"at {source.here()}"
        )
    if not 0 <= se_ratio <= 1:
        raise ValueError(f"se_ratio={se_ratio} is not between 0 and 1, at {source.here()}")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path={drop_path} is not in [0, 1), at {source.here()}")
    known = {"act": tuple(_ACTS), "padding": ("tf", "torch"), "stem": ("imagenet", "small")}
    for option, value in chosen.items():
        if value not in known[option]:
            raise ValueError(
                f"{option}={value!r} is none of {', '.join(map(repr, known[option]))}, "
                f"at {source.here()}"
            )


def _rounded(channels: float) -> int:
    """The multiple of 8 that is nearest; the next if it is less than nine tenths."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


def _block(
    conv: Callable[..., nn.Layer],
    channels: int,
    stage: _Stage,
    squeeze: nn.Layer | None,
    drop_path: float,
) -> nn.Layer:
    """Expand, depthwise, squeeze, project: the mobile inverted bottleneck."""
    children: dict[str, nn.Layer] = {}
    if stage.expansion != 1:
        children["expand"] = conv(channels * stage.expansion, 1)
    children["depthwise"] = conv(None, stage.kernel, stage.stride)
    if squeeze is not None:
        children["squeeze"] = squeeze
    children["project"] = conv(stage.channels, 1, act=None)
    body = tuple(children)
    skip = stage.stride == 1 and channels == stage.channels
    if skip:
        children["drop_path"] = nn.DropPath(drop_path)

    def forward(call: nn.Call, x: Array) -> Array:
        y = x
        for name in body:
            y = call(name, y)
        return x + call("drop_path", y) if skip else y

    return nn.compose(children, forward, f"block({stage.channels})")


def _conv(
    features: int | None,
    size: int,
    stride: int = 1,
    *,
    act: Callable[[], nn.Layer] | None,
    padding: Padding,
    momentum: float,
    epsilon: float,
    layout: str,
) -> nn.Layer:
    """Convolution (depthwise where `features` is None), norm, bend."""
    make = nn.DepthwiseConv if features is None else functools.partial(nn.Conv, features)
    children = {
        "conv": make(
            (size, size),
            strides=stride,
            padding="SAME" if padding == "tf" else size // 2,
            use_bias=False,
            layout=layout,
            kernel_init=_KERNEL_INIT,
        ),
        "bn": nn.BatchNorm(momentum=momentum, epsilon=epsilon, layout=layout),
    }
    if act is not None:
        children["act"] = act()
    return nn.Sequential(**children)
