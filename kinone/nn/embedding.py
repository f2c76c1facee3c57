"""The table of vectors for things that are numbered, such as words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops, source
from ..core import Array, ShapeDtype, Tracer, shape_dtype, shape_error, shape_of
from ..random import Key
from .initializers import Initializer, normal
from .layer import Layer, Params, State, describe, entries, entry, whole_number


def Embedding(
    num: int,
    features: int,
    *,
    padding_idx: int | None = None,
    embedding_init: Initializer | None = None,
    dtype: object = np.float32,
) -> Layer:
    """A vector of its own for each of `num` things: y = embedding[x].

    x: integers of any shape (…) → (…, features). `params["embedding"]` is (num, features), of
    `dtype`, and starts from a normal distribution with standard deviation 1, as in PyTorch. Its
    gradient adds up what arrives for each row; rows that x does not name get 0. `attend` uses the
    same table for the way back. The row `padding_idx`, which stands for no thing, starts at 0 and
    gets no gradient, so that it stays; a negative one counts from the end, as in PyTorch.

    Raises `IndexError` for a number that is negative or not below `num` (under `jit` as soon as
    the program runs), `TypeError` when x is not made of integers.

        >>> from kinone import random
        >>> layer = Embedding(5, 2)
        >>> params, state = layer.init(random.key(0), (1, 3))
        >>> layer.apply(params, state, np.array([[4, 0, 4]]))[0].shape
        (1, 3, 2)
    """
    start = normal(1.0) if embedding_init is None else embedding_init
    kind: np.dtype[Any] = np.dtype(dtype)  # type: ignore[call-overload]
    name = describe(
        "Embedding",
        num,
        features,
        padding_idx=(padding_idx, None),
        dtype=(kind, np.dtype(np.float32)),
    )
    num, features = whole_number(num, "num"), whole_number(features, "features")

    if padding_idx is not None and not -num <= padding_idx < num:
        raise ValueError(f"{name}: there is no row {padding_idx} among {num}, at {source.here()}")
    padding = None if padding_idx is None else padding_idx % num

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        table = start(key["embedding"], (num, features), kind)
        if padding is not None:
            table = np.where(np.arange(num)[:, None] == padding, np.zeros((), kind), table)
        return {"embedding": table}, {}

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        (table,) = entries(params, name, embedding=(num, features))
        x = x if isinstance(x, Tracer) else np.asarray(x)
        if shape_dtype(x).dtype.kind not in "iu":
            raise TypeError(
                f"{name} takes integers, got {shape_dtype(x)}, at {source.here()}\n"
                "  Write x.astype(np.int64); init takes an array of integers or "
                'kinone.ShapeDtype(shape, "int64") in the place of a shape.'
            )
        if isinstance(x, np.ndarray) and x.size and not (x.min() >= 0 and x.max() < num):
            wrong = x.min() if x.min() < 0 else x.max()
            raise IndexError(
                f"{name}: there is no row {wrong} among {num}, at {source.here()}\n"
                f"  Rows are 0 to {num - 1}; make num larger, or map unknown things to one row."
            )
        if isinstance(x, Tracer) and shape_dtype(x).dtype.kind == "i":
            x = x.astype(np.int64)  # which can hold num
            x = np.where(x < 0, num, x)  # a negative index would count from the end
        y = ops.take(table, x, axis=0)
        if padding is not None:
            y = np.where(np.expand_dims(x == padding, -1), ops.stop_gradient(y), y)
        return y, state

    return Layer(init, apply, name)


def attend(params: Params, x: Array) -> Array:
    """The inner product of x with each row of an embedding: logits from the table of the input.

    (…, features) → (…, num); `params` are those of `Embedding` (Press & Wolf 2017,
    arXiv:1608.05859).

    Raises `ShapeError` when x has another number of features.

        >>> attend({"embedding": np.eye(3, 2)}, np.array([[5.0, 7.0]]))
        array([[5., 7., 0.]])
    """
    table = entry(params, "embedding", "attend")
    if shape_of(x)[-1:] != shape_of(table)[-1:]:
        raise shape_error("attend", "x has not the features of the embedding", x, table)
    return ops.matmul(x, np.swapaxes(table, 0, 1))
