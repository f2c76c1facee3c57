"""Recurrent layers: one small step, taken again at each moment of a sequence by `scan`.

The formulas, the order of the gates and the two biases are PyTorch's, so that weights carry over
leaf by leaf: `kernel` is `weight_ih` transposed, `recurrent_kernel` is `weight_hh` transposed,
`bias` and `recurrent_bias` are `bias_ih` and `bias_hh`. The product of the inputs with `kernel` is
one matrix product for all moments, before the loop; only what needs the carry is inside it.
"""

from __future__ import annotations

from typing import Literal, Unpack

from .layer import Layer
from .recurrence import (
    GRU_CELL,
    LSTM_CELL,
    CellOptions,
    RecurrentOptions,
    cell_layer,
    recurrent,
    rnn_cell,
)


def LSTM(
    features: int, *, projection: int | None = None, **options: Unpack[RecurrentOptions]
) -> Layer:
    """Long short-term memory: a cell `c` that gates write to, forget from and read.

        i, f, g, o = x @ kernel + bias + h @ recurrent_kernel + recurrent_bias
        c ← σ(f) · c + σ(i) · tanh(g)
        h ← σ(o) · tanh(c)

    (…, T, C) → (…, T, features), or (…, T, 2 · features) with `bidirectional`, the forward half
    first; the leading axes are examples. Parameters are at `layer0/forward/kernel` and so on, and
    `layer0/backward/…` for the other direction. The input may be a dict:

    | name      | shape       | meaning                                                           |
    |-----------|-------------|-------------------------------------------------------------------|
    | `x`       | (…, T, C)   | the sequences                                                     |
    | `mask`    | (…, T) bool | False where there is padding: the carry stays, the output is 0    |
    | `lengths` | (…) int     | instead of a mask: how many moments each sequence has             |
    | `carry`   | dict        | where to start from, `{"h": …, "c": …}`; zeros without it         |

    With `mask` or `lengths` the result is that of PyTorch's packed sequences: a backward pass
    begins at each sequence's own end.

    | option             | default | meaning                                                       |
    |--------------------|---------|----------------------------------------------------------------|
    | `num_layers`       | 1       | layers, each of which reads the outputs of the one before     |
    | `bidirectional`    | False   | two runs, from both ends                                      |
    | `reverse`          | False   | one run, from the end                                         |
    | `dropout`          | 0       | share that is dropped between layers in training              |
    | `return_sequences` | True    | False: the last output alone, of each direction the last that |
    |                    |         | it computed, (…, features)                                    |
    | `return_carry`     | False   | True: `{"y": …, "carry": …}`; each entry of the carry is      |
    |                    |         | (num_layers · directions, …, features), as PyTorch orders it, |
    |                    |         | and may be passed on as the next part's                       |
    | `use_bias`         | True    | `bias` and `recurrent_bias`                                   |
    | `…_init`           | uniform | `kernel_init`, `recurrent_init`, `bias_init`; by default all  |
    |                    |         | parameters start uniform within ±1 / √features                |

    With a `projection` the output and the carried `h` are that many numbers, h @ projection (Sak,
    Senior & Beaufays 2014, arXiv:1402.1128; PyTorch's `proj_size`).

    Raises `ShapeError` when the input, the mask or the carry do not fit.

    Source: Hochreiter & Schmidhuber 1997; with a forget gate, Gers et al. 2000.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = LSTM(8, num_layers=2, return_carry=True)
        >>> params, state = layer.init(random.key(0), (4, 10, 3))
        >>> out, state = layer.apply(params, state, np.ones((4, 10, 3), np.float32))
        >>> out["y"].shape, out["carry"]["c"].shape
        ((4, 10, 8), (2, 4, 8))
    """
    shown = {"projection": (projection, None)}
    return recurrent(LSTM_CELL, features, shown, projection=projection, **options)


def GRU(features: int, **options: Unpack[RecurrentOptions]) -> Layer:
    """The gated recurrent unit: one carry, which a gate `z` keeps or renews.

        a, b = x @ kernel + bias,  h @ recurrent_kernel + recurrent_bias
        r, z = σ of the first two thirds of a + b
        n    = tanh(a's last third + r · b's last third)
        h    ← (1 - z) · n + z · h

    As in PyTorch, `r` acts after the product with the recurrent kernel (the paper's, before it).
    Inputs, outputs and options are those of `LSTM`; the carry is `{"h": …}`.

    Source: Cho et al. 2014, arXiv:1406.1078.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = GRU(8, bidirectional=True, return_sequences=False)
        >>> params, state = layer.init(random.key(0), (4, 10, 3))
        >>> layer.apply(params, state, np.ones((4, 10, 3), np.float32))[0].shape
        (4, 16)
    """
    return recurrent(GRU_CELL, features, {}, **options)


def RNN(
    features: int,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
    **options: Unpack[RecurrentOptions],
) -> Layer:
    """The plain recurrence: h ← tanh(x @ kernel + bias + h @ recurrent_kernel + recurrent_bias).

    Inputs, outputs and options are those of `LSTM`; the carry is `{"h": …}`.

    Source: Elman 1990.

        >>> import numpy as np
        >>> from kinone import random
        >>> layer = RNN(8, activation="relu")
        >>> params, state = layer.init(random.key(0), (10, 3))
        >>> layer.apply(params, state, np.ones((10, 3), np.float32))[0].shape
        (10, 8)
    """
    shown = {"activation": (activation, "tanh")}
    return recurrent(rnn_cell(activation), features, shown, **options)


def LSTMCell(features: int, **options: Unpack[CellOptions]) -> Layer:
    """One step of an `LSTM`, for loops of your own.

    `x` (…, C), or `{"x": x, "carry": {"h": …, "c": …}}`, to the next carry `{"h": …, "c": …}`, each
    (…, features); `h` is the output. The options are `use_bias` and the initialisers of `LSTM`.

        >>> import numpy as np
        >>> from kinone import random
        >>> cell = LSTMCell(8)
        >>> params, state = cell.init(random.key(0), (4, 3))
        >>> carry, state = cell.apply(params, state, np.ones((4, 3), np.float32))
        >>> carry, state = cell.apply(params, state, {"x": np.ones((4, 3)), "carry": carry})
        >>> carry["h"].shape, carry["c"].shape
        ((4, 8), (4, 8))
    """
    return cell_layer(LSTM_CELL, features, {}, **options)


def GRUCell(features: int, **options: Unpack[CellOptions]) -> Layer:
    """One step of a `GRU`: as `LSTMCell`, with the carry `{"h": …}`.

    >>> import numpy as np
    >>> from kinone import random
    >>> params, state = GRUCell(8).init(random.key(0), (4, 3))
    >>> GRUCell(8).apply(params, state, np.ones((4, 3), np.float32))[0]["h"].shape
    (4, 8)
    """
    return cell_layer(GRU_CELL, features, {}, **options)


def RNNCell(
    features: int,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
    **options: Unpack[CellOptions],
) -> Layer:
    """One step of an `RNN`: as `LSTMCell`, with the carry `{"h": …}`.

    >>> import numpy as np
    >>> from kinone import random
    >>> params, state = RNNCell(8).init(random.key(0), (4, 3))
    >>> RNNCell(8).apply(params, state, np.ones((4, 3), np.float32))[0]["h"].shape
    (4, 8)
    """
    shown = {"activation": (activation, "tanh")}
    return cell_layer(rnn_cell(activation), features, shown, **options)
