"""Layers that change an array's shape alone."""

from __future__ import annotations

import math

import numpy as np

from ..core import shape_of
from .layer import Layer, stateless


def Flatten() -> Layer:
    """All of an example's numbers in one row: (N, …) → (N, size).

    >>> Flatten().apply({}, {}, np.ones((2, 7, 7, 5)))[0].shape
    (2, 245)
    """
    return stateless(
        lambda x: np.reshape(x, (shape_of(x)[0], math.prod(shape_of(x)[1:]))), "Flatten()"
    )
