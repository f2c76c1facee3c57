"""`dtypes`: where float32 became float64, and what made it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import source
from ..core import ShapeDtype
from ..graph import Atom, Constant, Equation, Graph, graph
from .table import table


@dataclass(slots=True)
class Widening:
    """An operation whose result is wider than one of its floating operands."""

    primitive: str
    operands: list[ShapeDtype]
    result: ShapeDtype
    place: str
    reason: str


@dataclass(slots=True)
class Dtypes:
    """The widenings of a program, first to last; `print` it."""

    name: str
    rows: list[Widening]

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return f"no floating-point value of {self.name} becomes wider"
        rows = [
            (
                row.primitive,
                ", ".join(map(str, row.operands)),
                str(row.result),
                row.reason,
                row.place,
            )
            for row in self.rows
        ]
        titles = ("operation", "operands", "result", "because", "at")
        return table(f"{self.name} widens {len(rows)} times", titles, rows)

    __repr__ = __str__


def dtypes(fun: Callable[..., Any] | Graph, *args: Any, **kwargs: Any) -> Dtypes:
    """Where the values of `fun(*args)` become wider: float32 to float64, float to complex.

    Traces the function without running it. Only the operations at which it happens are listed, not
    all that follow, each with the operand that is to blame: a float64 array or constant, an array
    of integers, an explicit `astype`. Pass `kn.grad(loss)` for the backward pass too.

        >>> import numpy as np
        >>> x = np.ones(3, np.float32)
        >>> row = dtypes(lambda x: np.sin(x * np.float64(0.5)), x).rows[0]
        >>> row.primitive, str(row.result), row.reason
        ('multiply', 'float64[3]', 'operand 1 is np.float64(0.5): write 0.5')
    """
    program = fun if isinstance(fun, Graph) else graph(fun)(*args, **kwargs)
    rows = []
    after: set[Atom] = set()  # what is wide because of an operation that is listed already
    for equation in equations(program):
        result = equation.outputs[0].aval if equation.outputs else None
        if result is None or result.dtype.kind not in "fc":
            continue
        wide = [atom for atom in equation.inputs if _width(atom.aval) == _width(result)]
        known = bool(after.intersection(wide))
        if _widens(equation, result) and not known:
            operands = [atom.aval for atom in equation.inputs]
            place = source.describe(equation.location)
            reason = _reason(equation, result)
            rows.append(Widening(equation.primitive.name, operands, result, place, reason))
            known = True
        if known:
            after.update(equation.outputs)
    return Dtypes(program.name, rows)


def equations(program: Graph) -> Iterator[Equation]:
    """The equations of a program and of the programs inside of it, such as a loop's body."""
    for equation in program.equations:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(inner, Graph):
                    yield from equations(inner)


def _bits(aval: ShapeDtype) -> int:
    """The width of a real or complex number's parts; 0 for what is no floating-point number."""
    if aval.dtype.kind == "c":
        return aval.dtype.itemsize * 4
    return aval.dtype.itemsize * 8 if aval.dtype.kind == "f" else 0


def _width(aval: ShapeDtype) -> tuple[int, bool]:
    return _bits(aval), aval.dtype.kind == "c"


def _widens(equation: Equation, result: ShapeDtype) -> bool:
    floats = [a.aval for a in equation.inputs if a.aval.dtype.kind in "fc" and not a.aval.weak]
    return any(
        _bits(aval) < _bits(result) or (aval.dtype.kind == "f" and result.dtype.kind == "c")
        for aval in floats
    )


def _reason(equation: Equation, result: ShapeDtype) -> str:
    if equation.primitive.name == "astype":
        return f"astype({result.dtype.name}) asks for it"
    for number, atom in enumerate(equation.inputs):
        aval = atom.aval
        if aval.weak or _width(aval) != _width(result):
            continue
        if isinstance(atom, Constant) and aval.shape == ():
            value = np.asarray(atom.value).item()
            return f"operand {number} is np.{aval.dtype.name}({value!r}): write {value!r}"
        return f"operand {number} is {_called(atom)}{aval.dtype.name}"
    for number, atom in enumerate(equation.inputs):
        if atom.aval.dtype.kind in "iu" and not atom.aval.weak:
            return (
                f"operand {number} is {_called(atom)}{atom.aval.dtype.name}, which needs the width"
            )
    if "dtype" in equation.params:
        return f"dtype={np.dtype(equation.params['dtype']).name} asks for it"
    return ""


def _called(atom: Atom) -> str:
    if isinstance(atom, Constant):
        return "a constant array of "
    return f"{atom.label}, " if atom.label else ""
