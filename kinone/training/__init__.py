"""What a training run needs around the mathematics: checkpoints and a progress line.

| name               | what it does                                                       |
|--------------------|--------------------------------------------------------------------|
| `save_checkpoint`  | any tree of arrays and numbers into one `.npz`, all or nothing      |
| `load_checkpoint`  | the tree back, bit for bit, checked against the tree that is wanted |
| `read_metadata`    | what was noted beside the tree, without reading the arrays          |
| `Progress`         | loss, accuracy, images/s and the time left, on one line             |
"""

from .checkpoint import Checkpoint, load_checkpoint, read_metadata, save_checkpoint
from .progress import Progress

__all__ = ["Checkpoint", "Progress", "load_checkpoint", "read_metadata", "save_checkpoint"]
