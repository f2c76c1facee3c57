"""The values of a program: variables and constants."""

from __future__ import annotations

import numpy as np

from ..core import Array, ShapeDtype, shape_dtype


class Var:
    """A value of the program: its shape and dtype, and the path of the leaf that it came from."""

    __slots__ = ("aval", "label")

    def __init__(self, aval: ShapeDtype, label: str | None = None) -> None:
        self.aval = aval
        self.label = label


class Constant:
    """A value that is in the program itself."""

    __slots__ = ("value",)

    def __init__(self, value: Array) -> None:
        self.value = value

    @property
    def aval(self) -> ShapeDtype:
        return shape_dtype(self.value)

    def __str__(self) -> str:
        aval = self.aval
        if aval.shape != ():
            return f"{aval}"
        return repr(self.value[()] if isinstance(self.value, np.ndarray) else self.value)


Atom = Var | Constant
