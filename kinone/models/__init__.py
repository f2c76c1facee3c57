"""Well-known models, built from `kinone.nn`; each function returns a `Layer`.

| model                                                        | parameters at 1000 classes        |
|--------------------------------------------------------------|-----------------------------------|
| `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152` | 11.7, 21.8, 25.6, 44.5, 60.2 M    |
| `cifar_resnet20`, `…32`, `…44`, `…56`, `…110` (10 classes)   | 0.27, 0.46, 0.66, 0.85, 1.73 M    |
| `vit_tiny`, `vit_small`, `vit_base` (images of 224 × 224)    | 5.7, 22.1, 86.6 M                 |
| `efficientnet_b0` … `efficientnet_b7`                        | from 5.3 to 66.3 M                |
| `efficientnet_lite0` … `efficientnet_lite4`                  | 4.7, 5.4, 6.1, 8.2, 13.0 M        |
| `lstm_classifier`, `gru_classifier`, `mlp`                   | as wide and deep as you say       |

`residual_network` makes others, with any number of blocks in any number of stages,
`vision_transformer` and `efficientnet` others of their kinds. `load` reads trained weights of
PyTorch's libraries into them, `load_state_dict` into models of any kind, and `to_state_dict` writes
them back.
"""

from .cifar import cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56, cifar_resnet110
from .efficientnet import efficientnet
from .efficientnet_family import (
    EFFICIENTNETS,
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
from .mlp import mlp
from .recurrent import gru_classifier, lstm_classifier
from .resnet import residual_network, resnet18, resnet34, resnet50, resnet101, resnet152
from .vision_transformer import vision_transformer, vit_base, vit_small, vit_tiny
from .weights import load, load_state_dict, to_state_dict
from .weights_names import Tensor

__all__ = [
    "EFFICIENTNETS",
    "Tensor",
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cifar_resnet110",
    "efficientnet",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "gru_classifier",
    "load",
    "load_state_dict",
    "lstm_classifier",
    "mlp",
    "residual_network",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "to_state_dict",
    "vision_transformer",
    "vit_base",
    "vit_small",
    "vit_tiny",
]
