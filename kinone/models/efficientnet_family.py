"""The published EfficientNets by name: B0 … B7, and Lite0 … Lite4 for small devices.

Each is `efficientnet` with the multipliers and the dropout of its row in `EFFICIENTNETS`, whose
`resolution` is the side of the images that it was made for; it takes others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict, Unpack

from .. import nn
from .efficientnet import Act, Padding, Stem, efficientnet


class EfficientNetOptions(TypedDict, total=False):
    """What every constructor here takes by keyword; `efficientnet` explains each."""

    dropout: float
    drop_path: float
    act: Act
    se_ratio: float
    stem: Stem
    padding: Padding
    momentum: float
    epsilon: float
    layout: str


class Scaling(NamedTuple):
    """What makes one network of the family: multipliers, the images it is made for, dropout."""

    width: float
    depth: float
    resolution: int
    dropout: float


# As published; `fixed_ends`, ReLU6 and no squeeze and excitation make the Lite ones.
EFFICIENTNETS = {
    "efficientnet_b0": Scaling(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Scaling(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Scaling(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Scaling(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Scaling(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Scaling(1.6, 2.2, 456, 0.4),
    "efficientnet_b6": Scaling(1.8, 2.6, 528, 0.5),
    "efficientnet_b7": Scaling(2.0, 3.1, 600, 0.5),
    "efficientnet_lite0": Scaling(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": Scaling(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": Scaling(1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": Scaling(1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": Scaling(1.4, 1.8, 300, 0.3),
}


def efficientnet_b0(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B0, for images of 224: (N, H, W, C) to logits (N, num_classes).

    `efficientnet` explains the options.

    >>> from kinone import random, tree
    >>> params, state = efficientnet_b0(10).init(random.key(0), (1, 32, 32, 1))
    >>> params["stage2"]["block0"]["expand"]["conv"]["kernel"].shape
    (1, 1, 16, 96)
    """
    return _member("efficientnet_b0", num_classes, options)


def efficientnet_b1(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B1, for images of 240; options as in `efficientnet`.

    >>> efficientnet_b1(10)
    efficientnet(1.0, 1.1, 10)
    """
    return _member("efficientnet_b1", num_classes, options)


def efficientnet_b2(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B2, for images of 260; options as in `efficientnet`.

    >>> efficientnet_b2(10)
    efficientnet(1.1, 1.2, 10, dropout=0.3)
    """
    return _member("efficientnet_b2", num_classes, options)


def efficientnet_b3(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B3, for images of 300; options as in `efficientnet`.

    >>> efficientnet_b3(10)
    efficientnet(1.2, 1.4, 10, dropout=0.3)
    """
    return _member("efficientnet_b3", num_classes, options)


def efficientnet_b4(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B4, for images of 380; options as in `efficientnet`.

    >>> efficientnet_b4(10)
    efficientnet(1.4, 1.8, 10, dropout=0.4)
    """
    return _member("efficientnet_b4", num_classes, options)


def efficientnet_b5(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B5, for images of 456; options as in `efficientnet`.

    >>> efficientnet_b5(10)
    efficientnet(1.6, 2.2, 10, dropout=0.4)
    """
    return _member("efficientnet_b5", num_classes, options)


def efficientnet_b6(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B6, for images of 528; options as in `efficientnet`.

    >>> efficientnet_b6(10)
    efficientnet(1.8, 2.6, 10, dropout=0.5)
    """
    return _member("efficientnet_b6", num_classes, options)


def efficientnet_b7(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-B7, for images of 600; options as in `efficientnet`.

    >>> efficientnet_b7(10)
    efficientnet(2.0, 3.1, 10, dropout=0.5)
    """
    return _member("efficientnet_b7", num_classes, options)


def efficientnet_lite0(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-Lite0, B0 for small devices, images of 224; options as in `efficientnet`.

    >>> efficientnet_lite0(10)
    efficientnet(1.0, 1.0, 10, fixed_ends=True, act='relu6', se_ratio=0.0)
    """
    return _lite_member("efficientnet_lite0", num_classes, options)


def efficientnet_lite1(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-Lite1, for images of 240; options as in `efficientnet`.

    >>> efficientnet_lite1(10)
    efficientnet(1.0, 1.1, 10, fixed_ends=True, act='relu6', se_ratio=0.0)
    """
    return _lite_member("efficientnet_lite1", num_classes, options)


def efficientnet_lite2(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-Lite2, for images of 260; options as in `efficientnet`.

    >>> efficientnet_lite2(10)
    efficientnet(1.1, 1.2, 10, fixed_ends=True, dropout=0.3, act='relu6', se_ratio=0.0)
    """
    return _lite_member("efficientnet_lite2", num_classes, options)


def efficientnet_lite3(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-Lite3, for images of 280; options as in `efficientnet`.

    >>> efficientnet_lite3(10)
    efficientnet(1.2, 1.4, 10, fixed_ends=True, dropout=0.3, act='relu6', se_ratio=0.0)
    """
    return _lite_member("efficientnet_lite3", num_classes, options)


def efficientnet_lite4(num_classes: int = 1000, **options: Unpack[EfficientNetOptions]) -> nn.Layer:
    """EfficientNet-Lite4, for images of 300; options as in `efficientnet`.

    >>> efficientnet_lite4(10)
    efficientnet(1.4, 1.8, 10, fixed_ends=True, dropout=0.3, act='relu6', se_ratio=0.0)
    """
    return _lite_member("efficientnet_lite4", num_classes, options)


def _member(name: str, num_classes: int, options: EfficientNetOptions) -> nn.Layer:
    scaling = EFFICIENTNETS[name]
    own: EfficientNetOptions = {"dropout": scaling.dropout, **options}
    return efficientnet(scaling.width, scaling.depth, num_classes, **own)


def _lite_member(name: str, num_classes: int, options: EfficientNetOptions) -> nn.Layer:
    scaling = EFFICIENTNETS[name]
    own: EfficientNetOptions = {
        "dropout": scaling.dropout,
        "act": "relu6",
        "se_ratio": 0.0,
        **options,
    }
    return efficientnet(scaling.width, scaling.depth, num_classes, fixed_ends=True, **own)


MAKERS: dict[str, Callable[..., nn.Layer]] = {
    make.__name__: make
    for make in (
        efficientnet_b0,
        efficientnet_b1,
        efficientnet_b2,
        efficientnet_b3,
        efficientnet_b4,
        efficientnet_b5,
        efficientnet_b6,
        efficientnet_b7,
        efficientnet_lite0,
        efficientnet_lite1,
        efficientnet_lite2,
        efficientnet_lite3,
        efficientnet_lite4,
    )
}
