"""What the losses share: checks of shapes and dtypes, masks, and the one way to reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, is_bfloat16, is_number, shape_dtype
from ..errors import ShapeError
from ..ops import astype

Axis = int | tuple[int, ...] | None


def require_floating(name: str, x_name: str, x: Array) -> Any:
    """The shape and dtype of `x`, which must be floating."""
    if isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], dict):
        raise TypeError(
            f"{name}: {x_name} are a pair of an output and a dict, at {source.here()}\n"
            "  apply returns (y, state): write y, state = model.apply(…) and pass y."
        )
    known = numbers(name, x_name, x)
    if known.dtype.kind != "f" and not is_bfloat16(known.dtype):
        raise TypeError(
            f"{name}: {x_name} are {known} and must be floating-point, at {source.here()}\n"
            f"  The order is (predictions, truth); write x.astype(np.float32) if it is right."
        )
    return known


def numbers(name: str, x_name: str, x: Array) -> Any:
    """The shape and dtype of an array of numbers: no list, and no masked array, whose mask would be
    lost on the way."""
    if not is_number(x):
        raise TypeError(
            f"{name}: {x_name} are of type {type(x).__name__}, and an array of numbers is wanted, "
            f"at {source.here()}\n"
            "  Write np.asarray(x, np.float32); what not to count is said by where=."
        )
    return shape_dtype(x)


def plain(number: Any) -> Any:
    """A hyper-parameter as Python's number: `np.float64(0.1) * float32_array` would be float64."""
    is_numpys = isinstance(number, np.generic) or (
        isinstance(number, np.ndarray) and not number.ndim
    )
    return number.item() if is_numpys else number


def matching(name: str, x_name: str, x: Array, y_name: str, y: Array) -> Array:
    """`y` in the dtype of `x`, whose shape it must have."""
    known, other = require_floating(name, x_name, x), numbers(name, y_name, y)
    if known.shape != other.shape:
        raise ShapeError(
            f"{name}: {x_name} are {known} and {y_name} {other}; the shapes must be equal, "
            f"at {source.here()}"
        )
    return y if other.dtype == known.dtype else astype(y, known.dtype)


def integers(name: str, labels: Array, advice: str) -> Array:
    """`labels` as an array of integers."""
    labels = labels if isinstance(labels, Tracer) else np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: labels are {shape_dtype(labels)} and must be integers, at {source.here()}\n"
            f"  {advice}"
        )
    return labels


def checked_classes(name: str, labels: Array, classes: int) -> Array:
    """`labels` from 0 to classes - 1. Where they are traced, the numbers check it themselves."""
    if not isinstance(labels, Tracer):
        if labels.size:
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= classes:
                raise IndexError(
                    f"{name}: there are {classes} classes, 0 to {classes - 1}, and the labels "
                    f"range from {low} to {high}, at {source.here()}"
                )
    elif labels.dtype.kind == "i":
        # NumPy would take -1 as the last class; -1 - classes it refuses.
        labels = astype(labels, np.int64)
        labels = np.where(labels < 0, labels - classes, labels)
    return labels


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def weight_of(name: str, what: str, weight: Array | float, known: Any) -> Array:
    """One number, or one for each class along the last axis, in the dtype of the predictions."""
    if not broadcasts(np.shape(weight), known.shape):
        raise ShapeError(
            f"{name}: {what} has shape {np.shape(weight)} and must be one number, or one for each "
            f"class along the last axis of the logits {known}, at {source.here()}"
        )
    return astype(weight, known.dtype)


def mask(name: str, where: Array | None, shape: tuple[int, ...]) -> Array | None:
    """`where` as booleans of a shape to which it must broadcast; `None` takes everything."""
    if where is None:
        return None
    where = where if isinstance(where, Tracer) else np.asarray(where)
    if where.dtype != bool or not broadcasts(where.shape, shape):
        raise ShapeError(
            f"{name}: where is {shape_dtype(where)} and must be booleans that broadcast to "
            f"{shape}, at {source.here()}"
        )
    return np.broadcast_to(where, shape)


def kept(where: Array | None, *arrays: Array) -> Any:
    """The arrays with 0 where they do not count, so that a NaN there spoils no gradient."""
    cleaned = tuple(x if where is None else np.where(where, x, np.zeros_like(x)) for x in arrays)
    return cleaned[0] if len(cleaned) == 1 else cleaned


def weighted(weight: Array, loss: Array) -> Array:
    """weight · loss, where 0 · ∞ is 0: what has no weight may be impossible."""
    return weight * np.where((weight == 0) & (loss == np.inf), 0, loss)


def reduced(
    name: str,
    loss: Array,
    reduction: str,
    where: Array | None = None,
    weight: Array | None = None,
) -> Array:
    """The losses, their sum, or their mean: the sum over how many count, or over their `weight`."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(
            f'{name}: reduction={reduction!r} must be "none", "mean" or "sum", at {source.here()}'
        )
    if where is not None:
        loss = np.where(where, loss, np.zeros_like(loss))
    if reduction == "none":
        return loss
    if reduction == "sum":
        return np.sum(loss)
    if where is None and weight is None:
        return np.mean(loss)
    if weight is None:
        weight = astype(where, shape_dtype(loss).dtype)
    elif where is not None:
        weight = np.where(where, weight, np.zeros_like(weight))
    return np.sum(loss) / np.sum(weight)
