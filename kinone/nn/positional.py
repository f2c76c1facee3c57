"""Where in a sequence something stands, told to layers that see a sequence as a set."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops, source
from ..core import Array, ShapeDtype, shape_dtype, shape_error, shape_of
from ..graph import composite
from ..random import Key
from .initializers import Initializer, normal
from .layer import (
    Layer,
    Params,
    State,
    describe,
    entries,
    entry,
    parameter_dtype,
    stateless,
    whole_number,
)


@composite("Indices")
def places(x: Array, axis: int) -> Array:
    """0, 1, 2, … along an axis of x. An exporter sees that they follow its length."""
    return np.arange(shape_of(x)[axis])


def sinusoidal_positions(
    length: int, features: int, dtype: Any = np.float32, *, base: float = 10000.0
) -> Array:
    """A row of sines and cosines for each position, (length, features).

        row[2i] = sin(position / base^(2i / features)),   row[2i + 1] = cos of the same

    A shift of the position turns each pair by a fixed angle, so that distances are easy to learn.

    Raises `ValueError` when `features` is odd.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

        >>> sinusoidal_positions(2, 4).round(3).tolist() == [
        ...     [0.0, 1.0, 0.0, 1.0], [np.float32(0.841), np.float32(0.54), np.float32(0.01), 1.0]]
        True
    """
    return _waves(np.arange(length), features, dtype, base)


def rotate(
    x: Array,
    positions: Array | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> Array:
    """Turns pairs of channels by angles that grow with the position: rotary embedding, RoPE.

        (a, b) → (a · cos θ - b · sin θ,  a · sin θ + b · cos θ),   θ = position / base^(2i / D)

    so that the product of a query and a key depends on the distance between their positions.
    `x` is (…, T, D), `positions` (T,) or anything that broadcasts to (…, T), by default 0, 1, ….
    Pair i is made of channels i and D / 2 + i, as in Llama and GPT-NeoX; with `interleaved`, of
    2i and 2i + 1, as in the paper.

    Raises `ShapeError` when D is odd.

    Source: Su et al. 2021, arXiv:2104.09864.

        >>> rotate(np.array([[1.0, 0.0], [1.0, 0.0]])).round(3)
        array([[1.   , 0.   ],
               [0.54 , 0.841]])
    """
    shape = shape_of(x)
    if len(shape) < 2 or shape[-1] % 2:
        raise shape_error("rotate", "x is (…, moments, an even number of channels)", x)
    known = shape_dtype(x).dtype
    dtype = known if known.kind == "f" else np.dtype(np.float64)
    if positions is None:
        positions = places(x, axis=-2)
    # Angles in double precision: far out in a sequence, float32 would lose the place.
    angles = np.expand_dims(positions, -1) * _frequencies(shape[-1], base)
    sine, cosine = np.sin(angles).astype(dtype), np.cos(angles).astype(dtype)
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
    else:
        a, b = x[..., : shape[-1] // 2], x[..., shape[-1] // 2 :]
    turned = (a * cosine - b * sine, a * sine + b * cosine)
    if interleaved:
        return np.reshape(np.stack(turned, axis=-1), shape)
    return np.concatenate(turned, axis=-1)


def alibi_bias(
    num_heads: int, queries: Array, keys: Array | None = None, dtype: Any = np.float32
) -> Array:
    """What attention adds to its scores so that far keys count less: ALiBi, (heads, Tq, Tk).

        bias[h, i, j] = -slope[h] · |queries[i] - keys[j]|

    `queries` and `keys` are positions, or a length for 0, 1, …; the keys are by default the
    queries. The slopes are 2^(-8 / heads), its square, its cube, …; for a number of heads that is
    no power of two those of the next smaller one, and every other of the next larger. Pass the
    result as the `bias` of `MultiHeadAttention`; there is nothing to learn.

    Raises `ValueError` when `num_heads` is not positive.

    Source: Press, Smith & Lewis 2022, arXiv:2108.12409.

        >>> alibi_bias(8, 3)[0].tolist()
        [[-0.0, -0.5, -1.0], [-0.5, -0.0, -0.5], [-1.0, -0.5, -0.0]]
    """
    num_heads = whole_number(num_heads, "num_heads")
    power = 2 ** (num_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
    between = 2.0 ** (-4 / power * np.arange(1, 2 * power, 2))
    slopes = np.concatenate([slopes, between[: num_heads - power]])
    rows, columns = (_positions(each) for each in (queries, queries if keys is None else keys))
    distance = np.abs(np.expand_dims(rows, -1) - columns)
    bias: Array = -(slopes[:, None, None] * distance).astype(dtype)
    return bias


def _positions(x: Array) -> Array:
    """The positions that are meant by a length."""
    return np.arange(x) if isinstance(x, (int, np.integer)) else x


def SinusoidalPositions(*, base: float = 10000.0, cache: bool = False) -> Layer:
    """Adds `sinusoidal_positions` to sequences (…, T, C); no parameters.

    `cache=True` is for sequences that come piece by piece, as in `MultiHeadAttention`: the state
    counts in `index` the positions that were read, and a call without `train` goes on after them.

    >>> SinusoidalPositions().apply({}, {}, np.zeros((1, 2, 2)))[0].round(3)
    array([[[0.   , 1.   ],
            [0.841, 0.54 ]]])
    >>> later = SinusoidalPositions(cache=True).apply({}, {"index": 1}, np.zeros((1, 1, 2)))
    >>> later[0].round(3), later[1]
    (array([[[0.841, 0.54 ]]]), {'index': 2})
    """
    name = describe("SinusoidalPositions", base=(base, 10000.0), cache=(cache, False))

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        length, features = _sequence(x, name)
        if shape_dtype(x).dtype.kind in "biu":
            raise TypeError(
                f"SinusoidalPositions adds fractions, and got {shape_dtype(x)}, at {source.here()}"
                "\n  Give it what an Embedding makes of such numbers."
            )
        first = 0
        if cache and not train:
            first, state = _continued(state, length, name)
        positions = first + places(x, axis=-2)
        return x + _waves(positions, features, shape_dtype(x).dtype, base), state

    return Layer(lambda key, x: ({}, _nothing_read(cache)), apply, name)


def RotaryPositions(*, base: float = 10000.0, interleaved: bool = False) -> Layer:
    """`rotate` as a layer, for queries or keys (…, T, D); no parameters.

    >>> RotaryPositions().apply({}, {}, np.ones((1, 2, 2)))[0].round(3)
    array([[[ 1.   ,  1.   ],
            [-0.301,  1.382]]])
    """
    return stateless(
        lambda x: rotate(x, base=base, interleaved=interleaved),
        describe("RotaryPositions", base=(base, 10000.0), interleaved=(interleaved, False)),
    )


def LearnedPositions(
    length: int | None = None, *, embedding_init: Initializer | None = None, cache: bool = False
) -> Layer:
    """Adds a learned vector for each position to sequences (…, T, C).

    `params["embedding"]` is (length, C) and starts normal with deviation 0.02; `length` is by
    default that of the sequence given to `init`. Shorter sequences take the first rows, or with
    `cache=True` those after what was read, as in `SinusoidalPositions`.

    Raises `ShapeError` for a longer sequence, `IndexError` for a piece that goes beyond the end.

        >>> from kinone import random
        >>> layer = LearnedPositions(16)
        >>> params, state = layer.init(random.key(0), (1, 10, 4))
        >>> params["embedding"].shape
        (16, 4)
    """
    start = normal(0.02) if embedding_init is None else embedding_init
    given = () if length is None else (length,)
    name = describe("LearnedPositions", *given, cache=(cache, False))

    def init(key: Key, x: ShapeDtype) -> tuple[Params, State]:
        moments, features = _sequence(x, name)
        shape = (moments if length is None else length, features)
        table = start(key["embedding"], shape, parameter_dtype(x))
        return {"embedding": table}, _nothing_read(cache)

    def apply(
        params: Params, state: State, x: Array, train: bool, key: Key | None
    ) -> tuple[Array, State]:
        moments, features = _sequence(x, name)
        (embedding,) = entries(params, name, embedding=(length, None))
        rows, width = shape_of(embedding)
        if moments > rows or features != width:
            raise shape_error(
                name, f"the sequence has {moments} moments of {features} channels, and there are "
                f"positions for {rows} of {width}", x, embedding,
            )  # fmt: skip
        if train or not cache:
            return x + (embedding if moments == rows else embedding[:moments]), state
        first, state = _continued(state, moments, name)
        return x + ops.take(embedding, first + np.arange(moments), axis=0), state

    return Layer(init, apply, name)


def _nothing_read(cache: bool) -> State:
    return {"index": np.zeros((), np.int64)} if cache else {}


def _continued(state: State, moments: int, name: str) -> tuple[Any, State]:
    """The first position of a piece, and the state after it."""
    first = entry(state, "index", name)
    return first, {**state, "index": first + moments}


def _waves(positions: Array, features: int, dtype: Any, base: float) -> Array:
    _check_even(features)
    angles = np.expand_dims(positions, -1) * _frequencies(features, base)
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return np.reshape(pairs, (*shape_of(positions), features)).astype(dtype)


def _frequencies(features: int, base: float) -> Any:
    return base ** (-np.arange(0, features, 2) / features)


def _check_even(features: int) -> None:
    if features % 2:
        raise ValueError(
            f"positions want an even number of features, not {features}, at {source.here()}"
        )


def _sequence(x: Array | ShapeDtype, name: str) -> tuple[int, int]:
    """The length and the channels of (…, T, C)."""
    shape = x.shape if isinstance(x, ShapeDtype) else shape_of(x)
    if len(shape) < 2:
        raise shape_error(name, f"{name} wants (…, moments, channels)", x)
    return shape[-2], shape[-1]
