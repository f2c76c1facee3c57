"""The small residual networks of the ResNet paper, for images of 32 × 32: 6n + 2 layers.

A 3×3 convolution, then three stages of n blocks with 16, 32 and 64 channels. The arithmetic is that
of Y. Idelbayev's networks, so that trained weights carry over.

Source: He et al. 2015, arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

from typing import Unpack

from .. import nn
from .resnet import SharedOptions, Shortcut, residual_network


class CifarOptions(SharedOptions, total=False):
    """The options of `cifar_resnet20` to `cifar_resnet110`; `width` is 16 by default."""

    shortcut: Shortcut


def cifar_resnet20(num_classes: int = 10, **options: Unpack[CifarOptions]) -> nn.Layer:
    """ResNet-20 for small images, (N, H, W, C) to logits (N, num_classes); 269,722 parameters.

    `shortcut="A"` converts a block's input without parameters, as the paper does for CIFAR-10, and
    "B" by a 1×1 convolution; `residual_network` explains the other options.

        >>> from kinone import random, tree
        >>> params, state = cifar_resnet20().init(random.key(0), (1, 32, 32, 3))
        >>> tree.size(params)
        269722
    """
    return _cifar_resnet(3, num_classes, options)


def cifar_resnet32(num_classes: int = 10, **options: Unpack[CifarOptions]) -> nn.Layer:
    """ResNet-32 for small images: 464,154 parameters, options as in `cifar_resnet20`.

    >>> cifar_resnet32(100)
    residual_network((5, 5, 5), 100, stem='small', shortcut='A', width=16)
    """
    return _cifar_resnet(5, num_classes, options)


def cifar_resnet44(num_classes: int = 10, **options: Unpack[CifarOptions]) -> nn.Layer:
    """ResNet-44 for small images: 658,586 parameters, options as in `cifar_resnet20`.

    >>> cifar_resnet44(shortcut="B")
    residual_network((7, 7, 7), 10, stem='small', width=16)
    """
    return _cifar_resnet(7, num_classes, options)


def cifar_resnet56(num_classes: int = 10, **options: Unpack[CifarOptions]) -> nn.Layer:
    """ResNet-56 for small images: 853,018 parameters, options as in `cifar_resnet20`.

    >>> cifar_resnet56(width=32)
    residual_network((9, 9, 9), 10, stem='small', shortcut='A', width=32)
    """
    return _cifar_resnet(9, num_classes, options)


def cifar_resnet110(num_classes: int = 10, **options: Unpack[CifarOptions]) -> nn.Layer:
    """ResNet-110 for small images: 1,727,962 parameters, options as in `cifar_resnet20`.

    >>> cifar_resnet110()
    residual_network((18, 18, 18), 10, stem='small', shortcut='A', width=16)
    """
    return _cifar_resnet(18, num_classes, options)


def _cifar_resnet(n: int, num_classes: int, options: CifarOptions) -> nn.Layer:
    given: CifarOptions = {"shortcut": "A", "width": 16}
    given.update(options)
    return residual_network((n, n, n), num_classes, stem="small", **given)
