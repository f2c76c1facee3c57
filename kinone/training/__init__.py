"""What a training run needs around the mathematics: checkpoints, early stopping, a progress line.

| name            | what it does                                                                   |
|-----------------|--------------------------------------------------------------------------------|
| `checkpoint`    | `save`, `load`, `restore_latest`: any tree of arrays in a file, all or nothing |
| `EarlyStopping` | says stop when the validation metric gets no better                            |
| `Progress`      | loss, accuracy, images/s and the time left, on one line                        |
"""

from typing import TYPE_CHECKING

from ..core.names import other_names
from . import checkpoint
from .early_stopping import EarlyStopping
from .progress import Progress

__all__ = ["EarlyStopping", "Progress", "checkpoint"]

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = other_names(
        __name__,
        {
            "Trainer": "a loop that you write, as the page docs/training.md does",
            "ModelCheckpoint": "training.checkpoint.save(…, keep=, keep_best=)",
            "save_checkpoint": "training.checkpoint.save",
            "restore_checkpoint": "training.checkpoint.load",
        },
    )
