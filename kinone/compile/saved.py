"""What a saved program takes along: its buffers, the checks of its arguments, its constants."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .runtime import allocate


class Program:
    """A function and its buffers, which it keeps from call to call, for each thread its own.

    With operands that are not contiguous `plain` runs in its place, or the function itself without
    buffers: NumPy then lays each result out like its operands, on which the order of sums depends.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        plain: Callable[..., Any] | None,
        capacities: Sequence[int],
        buffers: Sequence[tuple[int, Any, Any]],
    ) -> None:
        self.function = function
        self.plain = plain
        self.capacities = capacities
        self.buffers = buffers
        self.arenas: list[list[Any]] = []

    def __call__(self, *leaves: Any) -> Any:
        if any(type(leaf) is np.ndarray and not leaf.flags.c_contiguous for leaf in leaves):
            if self.plain is not None:
                return self.plain(*leaves)
            return self.function(*leaves, *[None] * len(self.buffers))
        try:
            arena = self.arenas.pop()
        except IndexError:
            arena = allocate(self.capacities, self.buffers)
        try:
            return self.function(*leaves, *arena)
        finally:
            self.arenas.append(arena)


def check_array(name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raises unless an argument is an array, or a scalar, of this shape and dtype."""
    wanted = f"an array of {np.dtype(dtype)}, shape {shape}"
    if not isinstance(value, (np.ndarray, np.generic, bool)):
        raise TypeError(f"{name} is a {type(value).__name__}; {wanted} is wanted")
    if np.shape(value) != shape:
        raise ValueError(f"{name} has the shape {np.shape(value)}; {wanted} is wanted")
    found = np.asarray(value).dtype
    if found != dtype:
        raise TypeError(f"{name} is of {found}; {wanted} is wanted: {name}.astype({str(dtype)!r})")


def check_number(name: str, value: Any, kind: str) -> None:
    """Raises unless an argument is a Python number of this type."""
    if type(value).__name__ != kind:
        raise TypeError(f"{name} is a {type(value).__name__}; a Python {kind} is wanted")


def check_node(name: str, value: Any, kind: str, keys: Sequence[Any]) -> None:
    """Raises unless an argument is a dict with these keys, or a list or tuple of this length."""
    wanted = f"a dict with the keys {keys}" if kind == "dict" else f"a {kind} of {len(keys)}"
    kinds: dict[str, Any] = {"dict": dict, "list": list, "tuple": tuple}
    if not isinstance(value, kinds[kind]):
        raise TypeError(f"{name} is a {type(value).__name__}; {wanted} is wanted")
    if kind == "dict" and set(value) != set(keys):
        raise ValueError(f"{name} has the keys {tuple(value)}; {wanted} is wanted")
    if len(value) != len(keys):
        raise ValueError(f"{name} has {len(value)} entries; {wanted} is wanted")


def check_none(name: str, value: Any) -> None:
    """Raises unless an argument is None."""
    if value is not None:
        raise TypeError(f"{name} is a {type(value).__name__}; None is wanted")


def unwritable(array: Any) -> Any:
    """A constant: nobody writes into it."""
    array.flags.writeable = False
    return array


def loaded(text: str) -> Any:
    """An array from the text of its `.npy` file in base 64."""
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)


def rebuilt(kind: Any, /, **attributes: Any) -> Any:
    """An object of a class with these attributes; its constructor is not called."""
    made = object.__new__(kind)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made
