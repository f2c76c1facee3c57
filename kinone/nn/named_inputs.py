"""Layers that take several arrays take them by name: a dict, where a lone array is the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Tracer, shape_dtype
from ..errors import TreeError


def named_inputs(
    x: Any, first: str, others: Sequence[str], layer: str, required: Sequence[str] = ()
) -> dict[str, Any]:
    """`{first: x}` for a lone array; a dict's entries, without those that are None.

    Raises `TreeError` for a name that the layer does not know, or when `first` or one that is
    `required` is missing.

        >>> named_inputs(1.0, "x", ("mask",), "LSTM(8)")
        {'x': 1.0}
    """
    if isinstance(x, (list, tuple)) and any(isinstance(each, (np.ndarray, Tracer)) for each in x):
        raise TypeError(
            f"{layer} takes several arrays by name, and got a {type(x).__name__}, at "
            f"{source.here()}\n  Write {{{first!r}: …}}; the others are {', '.join(others)}."
        )
    given = dict(x) if isinstance(x, Mapping) else {first: x}
    given = {name: value for name, value in given.items() if value is not None}
    known = (first, *others)
    problem = None
    if foreign := [repr(name) for name in given if name not in known]:
        problem = f"got {', '.join(foreign)}"
    elif missing := [repr(name) for name in (first, *required) if name not in given]:
        problem = f"got no {' and no '.join(missing)}"
    if problem:
        wanted = " and ".join(map(repr, (first, *required)))
        wanted = f"a dict with {wanted}" if required else f"an array, or a dict with {wanted}"
        raise TreeError(
            f"{layer} {problem}, and its inputs are {', '.join(known)}, at {source.here()}\n"
            f"  Pass {wanted} and any of the others."
        )
    return given


def check_boolean(mask: Array, name: str, layer: str, true_means: str) -> None:
    """Raises `TypeError` for a mask of numbers: whether 0 or 1 hides would be a guess."""
    if shape_dtype(mask).dtype != np.bool_:
        raise TypeError(
            f"{layer}: {name!r} is {shape_dtype(mask).dtype}, and booleans are wanted, "
            f"True where {true_means}, at {source.here()}\n"
            f"  Write {name} != 0, or {name} == 0 where ones hide."
        )
