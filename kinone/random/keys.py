"""Keys: making them, deriving them, and noticing that one is used twice."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from .. import source, tree
from ..core import Array, Tracer, shape_dtype, shape_of
from ..errors import KeyReuseWarning
from ..ops.joining import stack
from ..ops.random_bits import random_bits
from ..ops.shape import astype

Shape = int | Sequence[int]

_WORD = 2**64


class _Family:
    """What a key shares with the children that have its name in theirs: whether it has warned."""

    __slots__ = ("warned",)

    def __init__(self) -> None:
        self.warned = False


class Key:
    """128 bits that stand for an endless supply of random numbers; made by `key`, not directly.

    Being spent belongs to the object, not to the bits: making the same key once more (a notebook
    cell that is run again) is no reuse, and neither is a key that came through a tree function or
    into a traced program, which make new objects.

    >>> key(0)
    Key(0x0)
    """

    __slots__ = ("_children", "_data", "_family", "_name", "_parent", "_spent")

    def __init__(self, data: Array, parent: Key | None = None, name: str = "") -> None:
        self._data = data
        self._parent = parent
        self._name = name
        self._family: _Family = _Family() if parent is None else parent._family
        self._children: dict[str, Key] | None = None
        # Where the key was spent; (None,) when the line is not known.
        self._spent: tuple[source.Location | None] | None = None

    @property
    def data(self) -> Array:
        """The key itself: uint64[2]."""
        if self._parent is not None:  # a child is computed when it is first needed
            data = self._parent.data
            for block in _blocks(self._name):
                data = random_bits(data, block, shape=(2,), bits=64, purpose="name")
            self._data, self._parent = _frozen(data), None
        return self._data

    def split(self, num: int = 2) -> Keys:
        """`num` new, independent keys; this one is spent by it."""
        return split(self, num)

    def fold_in(self, data: Any) -> Key:
        """A new key for a number, such as a step or an epoch; this one is not spent by it."""
        return fold_in(self, data)

    def __getitem__(self, name: str) -> Key:
        """The child key of this name, always the same one; this key is not spent by it.

        What a model draws under one name does not change when it comes to draw under others.
        """
        if not isinstance(name, str):
            raise TypeError(
                f"key[{name!r}]: a child is chosen by name, at {source.here()}\n"
                f"  Write key.fold_in({name!r}) for a child by number."
            )
        if self._children is None:
            self._children = {}
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = Key(None, self, name)
        return child

    def clone(self) -> Key:
        """The same key, unspent: says that drawing the same numbers again is meant."""
        return Key(self.data)

    def __iter__(self) -> NoReturn:
        raise TypeError(f"a key is not a sequence, at {source.here()}\n  Write key.split().")

    def __repr__(self) -> str:
        if isinstance(self.data, np.ndarray):
            low, high = self.data.tolist()
            return f"Key({high * _WORD + low:#x})"
        return f"Key({self.data!r})"


tree.register_pytree_node(
    Key, lambda key: ([key.data], None), lambda _, leaves: Key(leaves[0]), lambda _: ["data"]
)


class Keys(tuple[Key, ...]):
    """The keys of one `split`: a tuple of keys, and a tree with one leaf, the data of all of them.

    `vmap` and `scan` over it hand out one key at a time.

    >>> batch, dropout = split(key(0))
    >>> batch
    Key(0xf59a31d15d6632204a00b834fcfdb51d)
    """

    data: Array  # uint64[n, 2]

    def __new__(cls, data: Array) -> Keys:
        keys = super().__new__(cls, [Key(_frozen(data[i])) for i in range(shape_of(data)[0])])
        keys.data = data
        return keys

    def __getitem__(self, index: Any) -> Any:
        return Keys(self.data[index]) if isinstance(index, slice) else super().__getitem__(index)


def _unflatten_keys(_: None, leaves: Sequence[Any]) -> Any:
    (data,) = leaves
    return Keys(data) if len(getattr(data, "shape", ())) == 2 else Key(data)


tree.register_pytree_node(
    Keys, lambda keys: ([keys.data], None), _unflatten_keys, lambda _: ["data"]
)


def key(seed: int) -> Key:
    """The key that a number stands for, from 0 to 2⁶⁴ - 1.

    >>> key(42)
    Key(0x2a)

    Raises `TypeError` when the seed is not an integer, `ValueError` when it is out of range.
    """
    return Key(_frozen(np.array([_word("seed", seed), 0], np.uint64)))


def split(key: Key, num: int = 2) -> Keys:
    """`num` new keys, independent of each other; the old one is spent by it.

    They are a tuple, and `vmap(f)(split(key, n))` gives each example one of them.

    >>> first, second = split(key(0))
    >>> first
    Key(0xf59a31d15d6632204a00b834fcfdb51d)
    """
    given: Any = num
    if isinstance(given, (tuple, list)):
        raise TypeError(
            f"split makes one row of keys, and num is {num!r}, at {source.here()}\n"
            "  Write split(key, rows * columns), or split each key of a split."
        )
    return Keys(_frozen(draw(key, (operator.index(num), 2), 64, "split")))


def fold_in(key: Key, data: Any) -> Key:
    """A new key for a number from 0 to 2⁶⁴ - 1; other numbers give independent keys.

    It does not spend the key, so that `fold_in(key, step)` serves a whole training run. `data` may
    be traced.

        >>> fold_in(key(0), 7)
        Key(0xa151f64e9d7b42005fb989bba1896329)
    """
    if isinstance(data, Tracer):
        low = astype(data, np.uint64)
        stream = stack([low, np.zeros((), np.uint64)])
    else:
        stream = np.array([_word("data", data), 0], np.uint64)
    return Key(_frozen(random_bits(_data(key), stream, shape=(2,), bits=64, purpose="fold_in")))


def key_data(key: Key) -> Array:
    """The bits of a key, uint64[2]; `wrap_key_data` makes it a key again.

    >>> key_data(key(3))
    array([3, 0], dtype=uint64)
    """
    return _data(key)


def wrap_key_data(data: Array) -> Key:
    """The key with these bits, a uint64[2].

    Raises `ValueError` for another shape or dtype.

    >>> wrap_key_data(key_data(key(3)))
    Key(0x3)
    """
    known = shape_dtype(data)
    if known.shape != (2,) or known.dtype != np.uint64:
        raise ValueError(f"a key's data is uint64[2], got {known}, at {source.here()}")
    return Key(data if isinstance(data, Tracer) else _frozen(np.array(data)))


def _word(what: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{what} is {value!r}, and an integer is wanted, at {source.here()}"
        ) from None
    if not 0 <= number < _WORD:
        raise ValueError(
            f"{what} is {number}; pass a number from 0 to 2**64 - 1, at {source.here()}"
        )
    return number


def _blocks(name: str) -> list[Array]:
    """A name as uint64[2]s, its length first, so that no name's blocks begin another's."""
    text = name.encode()
    text = len(text).to_bytes(4, "little") + text
    text += bytes(-len(text) % 16)
    return list(np.frombuffer(text, "<u8").astype(np.uint64).reshape(-1, 2))


def _frozen(data: Array) -> Array:
    if isinstance(data, np.ndarray):
        data.flags.writeable = False
    return data


def _data(key: Any) -> Array:
    if isinstance(key, Key):
        return key.data
    raise TypeError(
        f"a random key is wanted, got {key!r:.60}, at {source.here()}\n"
        "  Make one with kinone.random.key(seed)."
    )


_NO_STREAM = _frozen(np.zeros(2, np.uint64))


def draw(key: Key, shape: Shape, bits: int, purpose: str = "draw") -> Array:
    """Random bits, for which the key is spent."""
    data = _data(key)
    place = source.capture()
    if key._spent is None:
        key._spent = (place,)
    elif not key._family.warned:
        key._family.warned = True
        _warn_of_reuse(key._spent[0], place)
    return random_bits(data, _NO_STREAM, shape=to_shape(shape), bits=bits, purpose=purpose)


def _warn_of_reuse(first: source.Location | None, second: source.Location | None) -> None:
    again = None if second is None else source.resolve(second)
    # Shown at the user's line, not at one of ours.
    filename, line = ("kinone", 0) if again is None else (again.filename, again.line)
    warnings.warn_explicit(
        "a random key was used a second time: both uses draw the same numbers\n"
        f"  first  at {source.describe(first)}\n"
        f"  again  at {again or 'an unknown line'}\n"
        "  Write k1, k2 = key.split() and use each once, or key.clone() where the same numbers "
        "are meant.",
        KeyReuseWarning,
        filename,
        line,
    )


def to_shape(shape: Shape) -> tuple[int, ...]:
    if isinstance(shape, (tuple, list)):
        return tuple([operator.index(n) for n in shape])
    return (operator.index(shape),)  # type: ignore[arg-type]
