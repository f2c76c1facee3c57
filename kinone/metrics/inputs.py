"""What a metric accepts, checked in one place: equal lengths, no NaN, zeros and ones, no void."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import source
from ..core import Array, Tracer
from ..errors import ShapeError

Numbers: TypeAlias = NDArray[Any]


class Score(float):
    """A metric's value: a float that also knows which classes it had to leave out.

    `undefined` holds the indices of the classes that the data do not define; `per_class` the value
    of each class, NaN where undefined. A score with nothing left out prints as the float it is.

    >>> Score(0.75)
    0.75
    >>> Score(0.75, undefined=(2,))
    Score(0.75, undefined=(2,))
    """

    undefined: tuple[int, ...]
    per_class: Numbers | None

    def __new__(
        cls, value: Any, undefined: Sequence[int] = (), per_class: Numbers | None = None
    ) -> Score:
        self = super().__new__(cls, value)
        self.undefined = tuple(int(index) for index in undefined)
        self.per_class = per_class
        return self

    def __repr__(self) -> str:
        value = super().__repr__()
        return f"Score({value}, undefined={self.undefined})" if self.undefined else value


def array(name: str, what: str, values: Array) -> Numbers:
    """`values` as a NumPy array that holds something; a traced value is refused."""
    if isinstance(values, Tracer):
        raise TypeError(
            f"{name}: {what} is a traced value, and a metric counts numbers that are there, at "
            f"{source.here()}\n  Return the predictions from the function and measure outside it."
        )
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: {what} is a masked array, whose mask would be lost, at {source.here()}\n"
            "  Pass what counts alone: y_true[kept], y_pred[kept]."
        )
    known = np.asarray(values)
    if known.size == 0:
        raise ValueError(
            f"{name}: {what} is empty (shape {known.shape}), and there is nothing to measure, "
            f"at {source.here()}"
        )
    return known


def numbers(name: str, what: str, values: Array) -> Numbers:
    """`values` as float64 without a NaN."""
    known = array(name, what, values)
    if known.dtype.kind not in "biuf":
        raise TypeError(
            f"{name}: {what} is of dtype {known.dtype} and must be real numbers, at {source.here()}"
        )
    known = known.astype(np.float64, copy=False)
    if np.isnan(known).any():
        first = np.unravel_index(int(np.isnan(known).argmax()), known.shape)
        where = tuple(int(index) for index in first)
        raise ValueError(
            f"{name}: {what} holds {int(np.isnan(known).sum())} NaN, the first at {where}, at "
            f"{source.here()}\n  NaN has no rank; kn.debug.nans() finds where it arose."
        )
    return known


def bits(name: str, what: str, values: Array) -> NDArray[np.bool_]:
    """`values`, which are zeros and ones, as booleans."""
    known = array(name, what, values)
    if known.dtype == bool:
        return known
    if known.dtype.kind not in "iuf" or not ((known == 0) | (known == 1)).all():
        found = np.unique(known)[:5].tolist()
        raise ValueError(
            f"{name}: {what} must be 0 and 1 (or booleans), and holds {found}, at {source.here()}\n"
            "  Write y_true == positive_label; classes as integers want scores [examples, classes]."
        )
    return np.asarray(known == 1)


def same_shape(name: str, first: str, a: Numbers, second: str, b: Numbers) -> None:
    if a.shape != b.shape:
        raise ShapeError(
            f"{name}: {first} has shape {a.shape} and {second} {b.shape}; they must be equal, "
            f"at {source.here()}"
        )


def weights(name: str, sample_weight: Array | None, count: int) -> NDArray[np.float64] | None:
    """One weight for each of `count` examples, none negative and not all 0."""
    if sample_weight is None:
        return None
    known = numbers(name, "sample_weight", sample_weight)
    if known.shape != (count,):
        raise ShapeError(
            f"{name}: sample_weight has shape {known.shape} and must have one weight for each of "
            f"the {count} examples, at {source.here()}"
        )
    if (known < 0).any() or not known.any():
        raise ValueError(
            f"{name}: sample_weight must not be negative, nor 0 everywhere, at {source.here()}"
        )
    return known


def class_numbers(name: str, y_true: Array, classes: int) -> NDArray[np.int64]:
    """`y_true` as integers from 0 to classes - 1."""
    known = array(name, "y_true", y_true)
    if known.dtype.kind not in "iub":
        raise TypeError(
            f"{name}: y_true is of dtype {known.dtype} and must be class numbers, integers from 0 "
            f"to {classes - 1}, at {source.here()}"
        )
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{name}: there are {classes} classes, 0 to {classes - 1}, and y_true ranges from "
            f"{low} to {high}, at {source.here()}"
        )
    return known.astype(np.int64)


def choice(name: str, what: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if not any(value is option or value == option for option in allowed):
        listed = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"{name}: {what}={value!r} is none of {listed}, at {source.here()}")


def divided(above: Any, below: Any, otherwise: float = np.nan) -> Any:
    """above / below, and `otherwise` where that is 0 / 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    shape = np.broadcast_shapes(above.shape, below.shape)
    out = np.full(shape, otherwise)
    return np.divide(above, below, out=out, where=np.broadcast_to(below != 0, shape))
