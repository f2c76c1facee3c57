"""Well-known models, built from `kinone.nn`; each function returns a `Layer`.

| model                                                        | parameters at 1000 classes        |
|--------------------------------------------------------------|-----------------------------------|
| `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152` | 11.7, 21.8, 25.6, 44.5, 60.2 M    |
| `vit_tiny`, `vit_small`, `vit_base` (images of 224 × 224)    | 5.7, 22.1, 86.6 M                 |
| `lstm_classifier`, `gru_classifier`, `mlp`                   | as wide and deep as you say       |

`residual_network` makes others, with any number of blocks in any number of stages,
`vision_transformer` others of its kind.
"""

from .mlp import mlp
from .recurrent import gru_classifier, lstm_classifier
from .resnet import residual_network, resnet18, resnet34, resnet50, resnet101, resnet152
from .vision_transformer import vision_transformer, vit_base, vit_small, vit_tiny

__all__ = [
    "gru_classifier",
    "lstm_classifier",
    "mlp",
    "residual_network",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vision_transformer",
    "vit_base",
    "vit_small",
    "vit_tiny",
]
