"""What a training run needs around the mathematics: checkpoints and a progress line.

| name         | what it does                                                                  |
|--------------|-------------------------------------------------------------------------------|
| `checkpoint` | `save`, `load`, `restore_latest`: any tree of arrays in one file, all or nothing |
| `Progress`   | loss, accuracy, images/s and the time left, on one line                       |
"""

from . import checkpoint
from .progress import Progress

__all__ = ["Progress", "checkpoint"]
