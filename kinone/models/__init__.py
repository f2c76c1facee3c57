"""Well-known models, built from `kinone.nn`; each function returns a `Layer`.

| model                                                        | parameters at 1000 classes        |
|--------------------------------------------------------------|-----------------------------------|
| `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152` | 11.7, 21.8, 25.6, 44.5, 60.2 M    |

`residual_network` makes others, with any number of blocks in any number of stages.
"""

from .resnet import residual_network, resnet18, resnet34, resnet50, resnet101, resnet152

__all__ = ["residual_network", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
