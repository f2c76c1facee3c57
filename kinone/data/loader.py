"""Mini-batches whose order depends on the seed and the epoch, and on nothing else.

There is no generator whose state would have to be saved: the order of epoch 7 can be computed
without the epochs before it, so a run that is resumed sees the data that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .. import tree

T = TypeVar("T")

_DOMAIN = int.from_bytes(b"batches", "big")
"""Keeps these bits apart from those that a random key of the same number yields."""


@dataclass(frozen=True)
class Batches(Generic[T]):
    """One epoch of mini-batches: iterate over it as often as you like; `len` is their number.

    >>> order = np.arange(4)
    >>> [rows.tolist() for rows in Batches(np.array([10, 11, 12, 13, 14]), 2, order)]
    [[10, 11], [12, 13]]
    """

    arrays: T = field(repr=False)
    batch_size: int
    order: npt.NDArray[np.intp] = field(repr=False)
    start: int = 0
    drop_last: bool = False

    def __len__(self) -> int:
        whole, rest = divmod(len(self.order), self.batch_size)
        return max(whole + (rest > 0 and not self.drop_last) - self.start, 0)

    def __iter__(self) -> Iterator[T]:
        for number in range(self.start, self.start + len(self)):
            rows = self.order[number * self.batch_size : (number + 1) * self.batch_size]
            yield tree.map(lambda array: array[rows], self.arrays)  # noqa: B023  (used at once)


def batches(
    arrays: T,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    start: int = 0,
) -> Batches[T]:
    """Cuts a tree of arrays into mini-batches along the first axis.

    `arrays` is any tree, such as `(images, labels)` or a dict; each batch is the same tree with
    `batch_size` rows of every array, copied. The order follows from `seed` and `epoch` alone, on
    every machine and with every version of NumPy. The last batch may be smaller; `drop_last=True`
    leaves it out. `start` skips that many batches, to go on in the middle of an epoch.

        >>> import numpy as np
        >>> digits = (np.arange(7), np.arange(7) * 10)
        >>> for x, y in batches(digits, 3, seed=0, epoch=1):
        ...     print(x, y)
        [4 1 6] [40 10 60]
        [5 3 0] [50 30  0]
        [2] [20]
        >>> len(batches(digits, 3, drop_last=True))
        2

    Raises `TypeError` for a leaf that is not an array, `ValueError` when the arrays differ in
    length or when no batch could be made of them.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; pass at least 1")
    if start < 0:
        raise ValueError(f"start is {start}; pass the number of batches to skip")
    rows = _rows(arrays)
    if drop_last and rows < batch_size:
        raise ValueError(
            f"{rows} rows give no batch of {batch_size} with drop_last=True; "
            "pass a smaller batch_size or drop_last=False"
        )
    order = permutation(rows, seed=seed, epoch=epoch) if shuffle else np.arange(rows)
    return Batches(arrays, batch_size, order, start, drop_last)


def permutation(count: int, *, seed: int, epoch: int = 0) -> npt.NDArray[np.intp]:
    """The numbers below `count` in the order that `seed` and `epoch` (0 to 2⁶⁴−1) stand for.

    They are sorted by the raw output of the Philox4x64-10 cipher keyed with the two numbers. NumPy
    promises that these bits never change; it does not promise it for `Generator.permutation`.

        >>> permutation(5, seed=0)
        array([0, 1, 3, 4, 2])

    Raises `ValueError` for a negative or larger seed or epoch.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**64:
            raise ValueError(f"{name} is {value}; pass a number from 0 to 2**64 - 1")
    bits = np.random.Philox(
        key=np.array([seed, epoch], np.uint64), counter=np.array([0, 0, 0, _DOMAIN], np.uint64)
    )
    return np.argsort(bits.random_raw(count), kind="stable")


def _rows(arrays: object) -> int:
    """The common length of all leaves along their first axis."""
    named = tree.leaves_with_path(arrays)
    if not named:
        raise ValueError(
            "there are no arrays to make batches of; pass a tree such as (images, labels)"
        )
    for path, leaf in named:
        if not isinstance(leaf, np.ndarray) or leaf.ndim == 0:
            where = f"the leaf {path!r}" if path else "the data"
            raise TypeError(
                f"{where} has type {type(leaf).__name__} and no rows; pass an array, np.asarray(…)"
            )
    lengths = {path: len(leaf) for path, leaf in named}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{path!r} has {length}" for path, length in lengths.items())
        raise ValueError(f"the arrays differ in their number of rows: {listed}")
    return next(iter(lengths.values()))
