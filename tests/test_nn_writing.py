"""Sequences that are written piece by piece: positions go on where the cache does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn

POSITIONS: dict[str, Any] = {
    "learned": lambda cache: nn.LearnedPositions(8, cache=cache),
    "sinusoidal": lambda cache: nn.SinusoidalPositions(cache=cache),
}


def language_model(positions: str, cache: int | None) -> nn.Layer:
    return nn.Sequential(
        embedding=nn.Embedding(11, 8),
        positions=POSITIONS[positions](cache is not None),
        body=nn.TransformerEncoder(2, 2, 16, norm_first=True, causal=True, cache=cache),
        head=nn.Dense(11),
    )


@pytest.fixture(params=POSITIONS)
def models(request: pytest.FixtureRequest) -> Any:
    """The model for training, its twin that writes, their parameters, and words in float64."""
    whole, writer = language_model(request.param, None), language_model(request.param, 8)
    words = np.random.default_rng(0).integers(0, 11, (2, 8))
    params = kn.tree.map(
        lambda leaf: leaf.astype(np.float64), whole.init(kn.random.key(0), words)[0]
    )
    _, state = writer.init(kn.random.key(0), words)
    empty = kn.tree.map(lambda leaf: leaf.astype(np.result_type(leaf, np.float64))
                        if leaf.dtype.kind == "f" else leaf, state)  # fmt: skip
    return whole, writer, params, empty, words


@pytest.mark.parametrize("pieces", [[1] * 8, [3, 1, 4], [8]], ids=str)
@pytest.mark.parametrize("transform", [lambda f: f, kn.jit], ids=["eager", "jit"])
def test_pieces_give_what_the_whole_gives(models, pieces, transform):
    whole, writer, params, state, words = models
    expected, _ = whole.apply(params, {}, words)
    step = transform(lambda state, piece: writer.apply(params, state, piece))
    outputs = []
    for piece in np.split(words, np.cumsum(pieces)[:-1], axis=1):
        y, state = step(state, piece)
        outputs.append(y)
    np.testing.assert_allclose(np.concatenate(outputs, 1), expected, rtol=0, atol=1e-12)
    assert state["positions"]["index"] == 8


def test_in_training_the_cache_is_not_read(models):
    whole, writer, params, state, words = models
    _, state = writer.apply(params, state, words[:, :3])
    y, after = writer.apply(params, state, words, train=True)
    np.testing.assert_array_equal(y, whole.apply(params, {}, words, train=True)[0])
    assert after["positions"]["index"] == 3


@pytest.mark.parametrize("transform", [lambda f: f, kn.jit], ids=["eager", "jit"])
def test_positions_beyond_the_last_raise(transform):
    layer = nn.LearnedPositions(3, cache=True)
    params, state = layer.init(kn.random.key(0), (1, 2, 4))
    step = transform(lambda state: layer.apply(params, state, np.ones((1, 2, 4))))
    _, state = step(state)
    with pytest.raises(IndexError):
        step(state)


def test_many_texts_at_once_have_places_of_their_own():
    layer = nn.SinusoidalPositions(cache=True)
    x = np.zeros((2, 1, 4))
    y, state = kn.vmap(lambda index, x: layer.apply({}, {"index": index}, x))(np.array([0, 5]), x)
    np.testing.assert_allclose(y[:, 0], nn.sinusoidal_positions(6, 4, np.float64)[[0, 5]])
    assert state["index"].tolist() == [1, 6]
