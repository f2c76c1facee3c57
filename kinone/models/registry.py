"""The constructors whose trained weights can be read, by name, and what their parts are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..nn import Layer
from .cifar import cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56, cifar_resnet110
from .efficientnet_family import EFFICIENTNETS, MAKERS
from .efficientnet_names import DIALECTS as EFFICIENTNET
from .efficientnet_names import implied
from .resnet import NAMES as RESNET
from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from .vision_transformer import NAMES as VISION_TRANSFORMER
from .vision_transformer import vit_base, vit_small, vit_tiny
from .weights_names import Dialects


class Architecture(NamedTuple):
    """A constructor, the names that libraries give its parts, and (height, width, channels).

    `implied` has, by library, the options that its weights want and the names do not show.
    """

    make: Callable[..., Layer]
    dialects: Dialects
    image: tuple[int, int, int] = (224, 224, 3)
    implied: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


ARCHITECTURES: dict[str, Architecture] = {
    **{
        make.__name__: Architecture(make, RESNET)
        for make in (resnet18, resnet34, resnet50, resnet101, resnet152)
    },
    **{
        make.__name__: Architecture(make, RESNET, (32, 32, 3))
        for make in (
            cifar_resnet20,
            cifar_resnet32,
            cifar_resnet44,
            cifar_resnet56,
            cifar_resnet110,
        )
    },
    **{
        make.__name__: Architecture(make, VISION_TRANSFORMER)
        for make in (vit_tiny, vit_small, vit_base)
    },
    **{
        name: Architecture(
            make, EFFICIENTNET, (side := EFFICIENTNETS[name].resolution, side, 3), implied(name)
        )
        for name, make in MAKERS.items()
    },
}
