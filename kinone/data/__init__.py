"""Data to learn from, and how to cut it into batches.

| name      | what it does                                                        |
|-----------|---------------------------------------------------------------------|
| `mnist5k` | 5,000 real handwritten digits that come with the package            |
| `batches` | mini-batches of a tree of arrays, shuffled by seed and epoch        |
"""

from typing import TYPE_CHECKING

from ..core.names import other_names
from .loader import Batches, batches
from .mnist import Mnist5k, Split, mnist5k

__all__ = ["Batches", "Mnist5k", "Split", "batches", "mnist5k"]

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = other_names(
        __name__,
        {
            "DataLoader": "data.batches",
            "TensorDataset": "a tuple or dict of arrays, for data.batches",
        },
    )
