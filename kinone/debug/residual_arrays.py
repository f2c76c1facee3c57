"""`residuals`: the arrays that a backward pass keeps alive between the forward run and its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import source
from ..core import ShapeDtype, shape_dtype
from .recording import held, owner, record
from .table import megabytes, table


@dataclass(slots=True)
class Residual:
    """One array that is kept, and the first operation whose pullback holds it.

    `nbytes` counts the whole memory behind a view. `origin` says what the array is: `input
    params/w`, `result of tanh`, or `made for the backward pass`. `keepers` counts the pullbacks
    that share it; it is in the total once.
    """

    aval: ShapeDtype
    nbytes: int
    primitive: str
    place: str
    origin: str
    is_input: bool
    keepers: int = 1


@dataclass(slots=True)
class Residuals:
    """What a backward pass keeps; `print` it. `rows` holds the arrays, the largest first."""

    name: str
    rows: list[Residual] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays that are kept, each counted once."""
        return sum(row.nbytes for row in self.rows)

    @property
    def input_nbytes(self) -> int:
        """The part of them that the caller holds anyway."""
        return sum(row.nbytes for row in self.rows if row.is_input)

    def __str__(self) -> str:
        rows = [
            (
                megabytes(row.nbytes),
                str(row.aval),
                row.origin + (f", for {row.keepers} operations" if row.keepers > 1 else ""),
                row.primitive,
                row.place,
            )
            for row in self.rows
        ]
        count = len(self.rows)
        head = (
            f"the backward pass of {self.name} keeps {count} arrays, {megabytes(self.nbytes)}; "
            f"{megabytes(self.input_nbytes)} of it are inputs"
        )
        return table(head, ("size", "array", "what it is", "kept by", "at"), rows, right=(0,))

    __repr__ = __str__


def residuals(
    fun: Callable[..., Any], *args: Any, argnums: int | Sequence[int] | None = None
) -> Residuals:
    """The arrays that the backward pass of `fun(*args)` keeps, with their bytes and your lines.

    Runs `fun` forward, differentiated in the arguments `argnums` (all of them by default), and
    looks into the closures of the pullbacks. An array that several operations share counts once;
    inputs are marked, for the caller holds them anyway; a view counts the memory behind it. What
    is large here is what `kn.checkpoint` can compute again instead.

        >>> import numpy as np
        >>> kept = residuals(lambda x: np.sum(np.tanh(x) ** 2), np.ones(1000))
        >>> [(row.primitive, str(row.aval), row.nbytes) for row in kept.rows]
        [('tanh', 'float64[1000]', 8000)]
    """
    recording = record(fun, args, argnums, "residuals")
    trace = recording.trace
    found: dict[int, Residual] = {}
    for each in trace.records:
        counted: set[int] = set()
        for array in held(each.node.pullback):
            memory = owner(array)
            if id(memory) in counted:
                continue
            counted.add(id(memory))
            if id(memory) in found:
                found[id(memory)].keepers += 1
                continue
            maker = trace.maker(memory)
            origin = "made for the backward pass" if maker is None else maker[0]
            found[id(memory)] = Residual(
                shape_dtype(array),
                memory.nbytes,
                each.primitive.name,
                source.describe(each.node.location),
                origin,
                origin.startswith("input "),
            )
    rows = sorted(found.values(), key=lambda row: -row.nbytes)
    return Residuals(source.name_of(fun), rows)
