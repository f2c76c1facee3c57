"""`Graph` and `Equation`, and how a program runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import source, tree
from ..core import Array, Primitive, shape_dtype
from ..errors import ShapeError, TreeError
from ..source import Location
from .atoms import Atom, Constant, Var
from .format import format_graph


class Equation:
    """`outputs = primitive(*inputs, **params)`, and the user's line that asked for it."""

    __slots__ = ("inputs", "location", "outputs", "params", "primitive")

    def __init__(
        self,
        primitive: Primitive,
        inputs: Sequence[Atom],
        params: dict[str, Any],
        outputs: Sequence[Var],
        location: Location | None,
    ) -> None:
        self.primitive = primitive
        self.inputs = tuple(inputs)
        self.params = params
        self.outputs = tuple(outputs)
        self.location = location

    def with_inputs(self, inputs: Sequence[Atom]) -> Equation:
        """The same equation of other operands."""
        return Equation(self.primitive, inputs, self.params, self.outputs, self.location)


class Graph:
    """A program: `inputs` and `outputs` are flat; `in_tree` and `out_tree` give them their trees.

    Calling it with arguments of the traced trees runs it, equation by equation.

    >>> import kinone as kn
    >>> program = kn.graph(lambda x: 2 * x)(1.0)
    >>> program(3.0), len(program.equations)
    (6.0, 1)
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Var],
        equations: Sequence[Equation],
        outputs: Sequence[Atom],
        in_tree: tree.TreeDef,
        out_tree: tree.TreeDef,
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.equations = tuple(equations)
        self.outputs = tuple(outputs)
        self.in_tree = in_tree
        self.out_tree = out_tree
        self._dead: list[list[Var]] | None = None

    @property
    def dead(self) -> list[list[Var]]:
        """For each equation the values that nothing after it reads."""
        if self._dead is None:
            later = {atom for atom in self.outputs if isinstance(atom, Var)}
            found = []
            for equation in reversed(self.equations):
                own = {*equation.outputs, *[a for a in equation.inputs if isinstance(a, Var)]}
                found.append(list(own - later))
                later |= own
            self._dead = found[::-1]
        return self._dead

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree.flatten((args, kwargs))
        if treedef != self.in_tree:
            raise TreeError(
                f"{self.name} was traced with other arguments, at {source.here()}\n"
                f"  traced: {self.in_tree}\n  called: {treedef}"
            )
        return tree.unflatten(self.out_tree, evaluate(self, leaves))

    def __str__(self) -> str:
        return format_graph(self)

    __repr__ = __str__


def evaluate(program: Graph, leaves: Sequence[Array]) -> list[Array]:
    """Runs a graph on flat inputs. The values may be tracers: a graph differentiates."""
    for var, leaf in zip(program.inputs, leaves, strict=True):
        got = shape_dtype(leaf)
        if got.dtype.kind == "O":
            continue  # the record of a loop, which has no axes
        if got.shape != var.aval.shape or got.dtype != var.aval.dtype:
            raise ShapeError(
                f"{var.label} is {got}, and {program.name} was traced for {var.aval}, "
                f"at {source.here()}"
            )
    values: dict[Var, Array] = dict(zip(program.inputs, leaves, strict=True))

    def read(atom: Atom) -> Array:
        return atom.value if isinstance(atom, Constant) else values[atom]

    with source.inherit() as state:
        for equation, dead in zip(program.equations, program.dead, strict=True):
            state.inherited = equation.location
            result = equation.primitive(*map(read, equation.inputs), **equation.params)
            results = result if equation.primitive.multiple else (result,)
            values.update(zip(equation.outputs, results, strict=True))
            for var in dead:
                del values[var]
            result = results = None  # the values themselves, which may be large
    return [read(atom) for atom in program.outputs]
