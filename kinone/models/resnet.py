"""Residual networks: each block adds to its input what it has learned to add.

    block(x) = relu(x + f(x)),   f = conv · norm · relu · conv · norm

The sum lets gradients through unchanged, so that a hundred layers train as easily as ten. There are
four stages; from one to the next the image's sides halve and the channels double.

Sources: He et al. 2015, arXiv:1512.03385. The stride is on the 3×3 convolution of a bottleneck, and
padding is explicit, as in torchvision, so that trained weights carry over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .. import nn, ops
from ..core import Array
from ..nn.initializers import ones, variance_scaling, zeros

Stem = Literal["imagenet", "small"]

# As in torchvision: variance 2 / fan_out, which keeps the size of the gradients.
_KERNEL_INIT = variance_scaling(2.0, "fan_out", "normal")


def resnet18(
    num_classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    width: int = 64,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """ResNet-18: images (N, H, W, C) to logits (N, num_classes).

    `residual_network` explains the options.

    >>> from kinone import random, tree
    >>> model = resnet18(10, stem="small", width=8)
    >>> params, state = model.init(random.key(0), (1, 28, 28, 1))
    >>> tree.size(params)
    176258
    >>> params["stage1"]["block0"]["conv1"]["kernel"].shape
    (3, 3, 8, 8)
    """
    return residual_network(
        (2, 2, 2, 2),
        num_classes,
        stem=stem,
        width=width,
        zero_init_last=zero_init_last,
        layout=layout,
    )


def resnet34(
    num_classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    width: int = 64,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """ResNet-34: images (N, H, W, C) to logits (N, num_classes); options as in `resnet18`.

    >>> from kinone import random, tree
    >>> params, state = resnet34(10, width=8).init(random.key(0), (1, 32, 32, 3))
    >>> tree.size(params)
    336114
    """
    return residual_network(
        (3, 4, 6, 3),
        num_classes,
        stem=stem,
        width=width,
        zero_init_last=zero_init_last,
        layout=layout,
    )


def resnet50(
    num_classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    width: int = 64,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """ResNet-50: images (N, H, W, C) to logits (N, num_classes); options as in `resnet18`.

    >>> from kinone import random, tree
    >>> params, state = resnet50(10, width=8).init(random.key(0), (1, 32, 32, 3))
    >>> tree.size(params)
    376722
    """
    return residual_network(
        (3, 4, 6, 3),
        num_classes,
        bottleneck=True,
        stem=stem,
        width=width,
        zero_init_last=zero_init_last,
        layout=layout,
    )


def resnet101(
    num_classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    width: int = 64,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """ResNet-101: images (N, H, W, C) to logits (N, num_classes); options as in `resnet18`.

    >>> from kinone import random, tree
    >>> params, state = resnet101(10, width=8).init(random.key(0), (1, 32, 32, 3))
    >>> tree.size(params)
    679186
    """
    return residual_network(
        (3, 4, 23, 3),
        num_classes,
        bottleneck=True,
        stem=stem,
        width=width,
        zero_init_last=zero_init_last,
        layout=layout,
    )


def resnet152(
    num_classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    width: int = 64,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """ResNet-152: images (N, H, W, C) to logits (N, num_classes); options as in `resnet18`.

    >>> from kinone import random, tree
    >>> params, state = resnet152(10, width=8).init(random.key(0), (1, 32, 32, 3))
    >>> tree.size(params)
    928658
    """
    return residual_network(
        (3, 8, 36, 3),
        num_classes,
        bottleneck=True,
        stem=stem,
        width=width,
        zero_init_last=zero_init_last,
        layout=layout,
    )


def residual_network(
    blocks: Sequence[int],
    num_classes: int = 1000,
    *,
    bottleneck: bool = False,
    stem: Stem = "imagenet",
    width: int = 64,
    zero_init_last: bool = False,
    layout: str = "NHWC",
) -> nn.Layer:
    """A residual network with `blocks[i]` blocks in stage i: `(2, 2, 2, 2)` is ResNet-18.

    Images are (N, H, W, C), or (N, C, H, W) with `layout="NCHW"`; the result is (N, num_classes)
    logits. The stages have `width`, 2 `width`, 4 `width`, … channels, with `bottleneck` four times
    as many. `stem="imagenet"` begins with a 7×7 convolution and a max pool, which make the sides
    a quarter; `stem="small"`, for images of less than about 64, with a 3×3 convolution alone.

    Convolutions start from normal numbers of variance 2 / fan_out, the head from `lecun_normal()`
    and zero. `zero_init_last` makes every block start as the identity, which helps large batches
    and rates (Goyal et al. 2017, arXiv:1706.02677).

        >>> residual_network((1, 1), 10, stem="small")
        residual_network((1, 1), 10, stem='small')
    """
    if stem not in ("imagenet", "small"):
        raise ValueError(f"stem={stem!r} is neither 'imagenet' nor 'small'")
    make = _bottleneck_block if bottleneck else _basic_block
    expansion = 4 if bottleneck else 1
    stages: dict[str, nn.Layer] = {}
    channels = width  # that a block gets: where its result has others, its shortcut converts
    for i, count in enumerate(blocks):
        members: dict[str, nn.Layer] = {}
        for j in range(count):
            members[f"block{j}"] = make(
                channels,
                width * 2**i,
                stride=2 if i and not j else 1,
                scale_init=zeros if zero_init_last else ones,
                layout=layout,
            )
            channels = width * 2**i * expansion
        stages[f"stage{i + 1}"] = nn.Sequential(**members)
    inside = nn.Sequential(
        stem=_stem(stem, width, layout),
        **stages,
        pool=nn.GlobalAvgPool(layout=layout),
        head=nn.Dense(num_classes),
    )
    name = nn.layer.describe(
        "residual_network",
        tuple(blocks),
        num_classes,
        bottleneck=(bottleneck, False),
        stem=(stem, "imagenet"),
        width=(width, 64),
        layout=(layout, "NHWC"),
    )
    return nn.Layer(inside.init, inside.apply, name)


def _stem(kind: Stem, width: int, layout: str) -> nn.Layer:
    if kind == "small":
        return nn.Sequential(
            conv=_conv(width, 3, 1, layout), bn=nn.BatchNorm(layout=layout), relu=nn.Relu()
        )
    return nn.Sequential(
        conv=_conv(width, 7, 2, layout),
        bn=nn.BatchNorm(layout=layout),
        relu=nn.Relu(),
        pool=nn.MaxPool((3, 3), strides=2, padding=1, layout=layout),
    )


def _basic_block(
    channels: int, width: int, *, stride: int, scale_init: nn.initializers.Initializer, layout: str
) -> nn.Layer:
    """3×3, 3×3."""
    children = {
        "conv1": _conv(width, 3, stride, layout),
        "bn1": nn.BatchNorm(layout=layout),
        "conv2": _conv(width, 3, 1, layout),
        "bn2": nn.BatchNorm(layout=layout, scale_init=scale_init),
    }
    if stride != 1 or channels != width:
        children["shortcut"] = _shortcut(width, stride, layout)

    def forward(call: nn.Call, x: Array) -> Array:
        y = ops.relu(call("bn1", call("conv1", x)))
        y = call("bn2", call("conv2", y))
        return ops.relu(y + (call("shortcut", x) if "shortcut" in children else x))

    return nn.compose(children, forward, f"block({width})")


def _bottleneck_block(
    channels: int, width: int, *, stride: int, scale_init: nn.initializers.Initializer, layout: str
) -> nn.Layer:
    """1×1 to few channels, 3×3 among those, 1×1 to four times as many."""
    children = {
        "conv1": _conv(width, 1, 1, layout),
        "bn1": nn.BatchNorm(layout=layout),
        "conv2": _conv(width, 3, stride, layout),
        "bn2": nn.BatchNorm(layout=layout),
        "conv3": _conv(4 * width, 1, 1, layout),
        "bn3": nn.BatchNorm(layout=layout, scale_init=scale_init),
    }
    if stride != 1 or channels != 4 * width:
        children["shortcut"] = _shortcut(4 * width, stride, layout)

    def forward(call: nn.Call, x: Array) -> Array:
        y = ops.relu(call("bn1", call("conv1", x)))
        y = ops.relu(call("bn2", call("conv2", y)))
        y = call("bn3", call("conv3", y))
        return ops.relu(y + (call("shortcut", x) if "shortcut" in children else x))

    return nn.compose(children, forward, f"bottleneck({width})")


def _shortcut(width: int, stride: int, layout: str) -> nn.Layer:
    """Converts a block's input to the shape of its result."""
    return nn.Sequential(conv=_conv(width, 1, stride, layout), bn=nn.BatchNorm(layout=layout))


def _conv(features: int, size: int, stride: int, layout: str) -> nn.Layer:
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        layout=layout,
        kernel_init=_KERNEL_INIT,
    )
