"""Classifiers of sequences: a recurrent layer reads, a dense layer says what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from .. import nn
from ..core import Array, shape_of
from ..nn.named_inputs import named_inputs

Pool = Literal["last", "mean", "max"]


class SequenceOptions(TypedDict, total=False):
    """What classifiers of sequences take; `lstm_classifier` says what it means."""

    features: int
    num_layers: int
    bidirectional: bool
    vocabulary: int | None
    embedding: int
    pool: Pool
    dropout: float


def lstm_classifier(num_classes: int, **options: Unpack[SequenceOptions]) -> nn.Layer:
    """Sequences to logits (N, num_classes), read by an `nn.LSTM`.

    Sequences are numbers (N, T, C), or with a `vocabulary` integers (N, T) below it, each of which
    gets a vector of `embedding` numbers. For padded ones pass a dict with `x` and `mask` (N, T),
    True where there is no padding, or `lengths` (N,): padding then changes nothing.

    | option          | default | meaning                                                          |
    |-----------------|---------|-------------------------------------------------------------------|
    | `features`      | 128     | of the recurrent layers                                          |
    | `num_layers`    | 1       | how many of them                                                 |
    | `bidirectional` | False   | whether they read from both ends                                 |
    | `vocabulary`    | None    | how many words there are                                         |
    | `embedding`     | 128     | numbers for each word                                            |
    | `pool`          | "last"  | what is read of the outputs: the last of each direction, or their|
    |                 |         | "mean" or "max" over time                                        |
    | `dropout`       | 0       | share dropped between layers and before the head                 |

    Children are `embedding`, `recurrent` and `head`.

        >>> from kinone import random
        >>> model = lstm_classifier(2, features=16, vocabulary=100, embedding=8)
        >>> words = np.array([[4, 8, 15], [16, 23, 0]])
        >>> params, state = model.init(random.key(0), words)
        >>> model.apply(params, state, {"x": words, "lengths": np.array([3, 2])})[0].shape
        (2, 2)
    """
    return _classifier(nn.LSTM, num_classes, **options)


def gru_classifier(num_classes: int, **options: Unpack[SequenceOptions]) -> nn.Layer:
    """Sequences to logits (N, num_classes), read by an `nn.GRU`: as `lstm_classifier`.

    >>> from kinone import random
    >>> model = gru_classifier(5, features=16, bidirectional=True, pool="mean")
    >>> params, state = model.init(random.key(0), (1, 20, 3))
    >>> model.apply(params, state, np.zeros((2, 30, 3), np.float32))[0].shape
    (2, 5)
    """
    return _classifier(nn.GRU, num_classes, **options)


def _classifier(
    make: Callable[..., nn.Layer],
    num_classes: int,
    *,
    features: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    vocabulary: int | None = None,
    embedding: int = 128,
    pool: Pool = "last",
    dropout: float = 0.0,
) -> nn.Layer:
    if pool not in ("last", "mean", "max"):
        raise ValueError(f"pool={pool!r} is none of 'last', 'mean' and 'max'")
    recurrent = make(
        features,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout if num_layers > 1 else 0.0,
        return_sequences=pool != "last",
    )
    name = nn.layer.describe(
        f"{make.__name__.lower()}_classifier",
        num_classes,
        features=(features, 128),
        num_layers=(num_layers, 1),
        bidirectional=(bidirectional, False),
        vocabulary=(vocabulary, None),
        pool=(pool, "last"),
        dropout=(dropout, 0.0),
    )
    children = {
        **({} if vocabulary is None else {"embedding": nn.Embedding(vocabulary, embedding)}),
        "recurrent": recurrent,
        "dropout": nn.Dropout(dropout),
        "head": nn.Dense(num_classes),
    }

    def forward(call: nn.Call, x: Any) -> Array:
        given = named_inputs(x, "x", ("mask", "lengths"), name)
        if vocabulary is not None:
            given["x"] = call("embedding", given["x"])
        y = call("recurrent", given)
        if pool != "last":
            y = _over_time(y, given, pool)
        return call("head", call("dropout", y))

    return nn.compose(children, forward, name)


def _over_time(y: Array, given: dict[str, Any], pool: Pool) -> Array:
    """The mean or the largest of the outputs (N, T, C), without those of padding."""
    mask = given.get("mask")
    if "lengths" in given:
        mask = np.arange(shape_of(y)[1]) < given["lengths"][:, None]
    if mask is None:
        return np.mean(y, axis=1) if pool == "mean" else np.max(y, axis=1)
    alive = mask[..., None]
    if pool == "mean":  # the recurrent layer's outputs at padding are zero
        count = np.maximum(np.sum(alive, axis=1), 1)
        return np.sum(y, axis=1) / count.astype(y.dtype)
    # Outputs of LSTM and GRU lie between -1 and 1; a sequence without moments gives zeros.
    return np.where(np.any(alive, axis=1), np.max(np.where(alive, y, -2), axis=1), 0)
