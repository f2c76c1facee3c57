"""Random numbers from explicit keys: the same key, the same numbers, on every machine.

There is no hidden state. Whoever wants randomness holds a key and makes from it as many independent
keys as are needed, by splitting, by number, or by name:

    >>> root = key(0)
    >>> for_init, for_training = root.split()
    >>> for_step_7 = for_training.fold_in(7)
    >>> for_dropout = for_step_7["dropout"]
    >>> normal(for_dropout, (3,))
    array([0.45234445, 1.0421151 , 0.3351214 ], dtype=float32)

A key is spent by one draw. Drawing from it again gives the same numbers once more, which is nearly
always a mistake; it works, and a `KeyReuseWarning` names both lines. `key.clone()` says that it is
meant. A key is a tree with one leaf, its data, and may be an argument of any traced function. The
keys of a split are one tree, too: `vmap` and `scan` over them hand out one at a time.

Names, argument orders and meanings are those of `jax.random`; the default dtypes are float32 and
int64. `bits`, `uniform`, `bernoulli`, `randint`, `permutation`, `normal` and `truncated_normal`
are the same to the last bit everywhere; `exponential`, `gumbel`, `categorical` and `choice` with
`p` go through NumPy's logarithm, whose last bit is the machine's.
"""

from .distributions import (
    bernoulli,
    bits,
    categorical,
    choice,
    exponential,
    gumbel,
    normal,
    permutation,
    randint,
    truncated_normal,
    uniform,
)
from .keys import Key, Keys, fold_in, key, key_data, split, wrap_key_data

__all__ = [
    "Key",
    "Keys",
    "bernoulli",
    "bits",
    "categorical",
    "choice",
    "exponential",
    "fold_in",
    "gumbel",
    "key",
    "key_data",
    "normal",
    "permutation",
    "randint",
    "split",
    "truncated_normal",
    "uniform",
    "wrap_key_data",
]
