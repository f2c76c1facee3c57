"""Data to learn from, and how to cut it into batches.

| name      | what it does                                                        |
|-----------|---------------------------------------------------------------------|
| `mnist5k` | 5,000 real handwritten digits that come with the package            |
| `batches` | mini-batches of a tree of arrays, shuffled by seed and epoch        |
"""

from .loader import Batches, batches
from .mnist import Mnist5k, Split, mnist5k

__all__ = ["Batches", "Mnist5k", "Split", "batches", "mnist5k"]
