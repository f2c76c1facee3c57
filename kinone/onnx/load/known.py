"""Operands that must be known when the function runs: shapes, axes, counts.

What a graph computes of shapes and constants is plain NumPy, under `jit` and `vmap`, too. Where
such an operand comes from a traced input, the error says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core import Array, Tracer
from ...transforms.control.common import differs, peek
from .registry import Node


def is_known(value: Any) -> bool:
    """Whether a value (or every one of a sequence) has numbers, the same for all of a `vmap`."""
    if isinstance(value, (list, tuple)):
        return all(is_known(each) for each in value)
    return not isinstance(value, Tracer) or (peek(value) is not None and not differs(value))


def known(node: Node, value: Array, what: str) -> np.ndarray[Any, Any]:
    """The numbers of an operand, whatever derivatives are taken around.

    Raises `LoadError` for a value that `jit` or `vmap` has not got.
    """
    if not isinstance(value, Tracer):
        return np.asarray(value)
    numbers = peek(value)
    if numbers is None or differs(value):
        raise node.error(
            f"needs the numbers of its {what}, which is computed from a traced input\n"
            "  Its result's shape depends on them. Pass the input that they come from as a plain "
            "array from outside of jit or vmap: jit(lambda params, x: fn(params, x, size))."
        )
    return np.asarray(numbers)


def integers(node: Node, value: Array, what: str) -> tuple[int, ...]:
    """A known operand as Python's integers."""
    return tuple([int(each) for each in known(node, value, what).reshape(-1)])


def integer(node: Node, value: Array, what: str) -> int:
    """A known operand with one number."""
    found = integers(node, value, what)
    if len(found) != 1:
        raise node.error(f"wants one number for its {what} and is given {len(found)}")
    return found[0]


def flag(node: Node, value: Array, what: str) -> bool:
    """A known operand with one boolean."""
    return bool(integer(node, value, what))
