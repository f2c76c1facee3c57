"""What is to be drawn of a program: its operations, what flows between them, and the two passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .. import source, tree
from ..core import shape_dtype
from ..errors import KinoneError
from ..graph import Atom, Graph, Var, graph
from ..transforms import vjp
from ..transforms.arguments import Arguments, numbers_given

Kind = Literal["input", "constant", "operation", "output"]


@dataclass(slots=True)
class Box:
    """One thing in a figure.

    `name` is what stands in the box, `note` its shape and dtype, `place` the user's line.
    `arguments` are the indices of the boxes that it takes, and the text of numbers, in order.
    `upward` boxes stand beside the forward run: the backward pass and what is computed of it.
    """

    kind: Kind
    name: str
    note: str
    place: str = ""
    backward: bool = False
    arguments: list[int | str] = field(default_factory=list)
    upward: bool = False

    @property
    def operands(self) -> list[int]:
        return [each for each in self.arguments if isinstance(each, int)]

    @property
    def title(self) -> str:
        """The name with the numbers among its arguments: `power(·, 2)`."""
        if any(isinstance(each, str) for each in self.arguments):
            shown = [each if isinstance(each, str) else "·" for each in self.arguments]
            return f"{self.name}({', '.join(shown)})"
        return self.name


@dataclass(slots=True)
class Figure:
    """The boxes of a program, each after those that it takes."""

    name: str
    boxes: list[Box]

    def edges(self) -> list[tuple[int, int]]:
        """From box to box, each pair once."""
        return [
            (operand, index)
            for index, box in enumerate(self.boxes)
            for operand in dict.fromkeys(box.operands)
        ]


def figure_of(
    what: Graph | Callable[..., Any],
    args: Sequence[Any],
    backward: bool,
    argnums: int | Sequence[int] | None,
) -> Figure:
    """The figure of a program, or of a function with its arguments."""
    if isinstance(what, Graph):
        if backward or args:
            raise KinoneError(
                "draw takes a graph alone; for the backward pass give it the function and its "
                f"arguments, at {source.here()}"
            )
        return _figure(what, False)
    if not backward:
        return _figure(graph(what)(*args), False)
    return _figure(_both_passes(what, args, argnums), True)


def _both_passes(
    fun: Callable[..., Any], args: Sequence[Any], argnums: int | Sequence[int] | None
) -> Graph:
    """The program of a function's value and its cotangents."""
    if argnums is None:
        argnums = range(len(args))
    numbers = numbers_given(argnums, "argnums")

    def both(*traced: Any) -> Any:
        def of_selected(*selected: Any) -> Any:
            given = list(traced)
            for number, value in zip(numbers, selected, strict=True):
                given[number] = value
            return fun(*given)

        y, pullback = vjp(of_selected, *[traced[number] for number in numbers])
        return y, pullback(tree.map(_ones, y))

    arguments = Arguments(fun, args, {}, range(len(args)), ())
    program = graph(both)(*args)
    for var, label in zip(program.inputs, arguments.labels(), strict=True):
        var.label = label
    program.name = source.name_of(fun)
    return program


def _ones(value: Any) -> Any:
    known = shape_dtype(value)
    return np.ones(known.shape, known.dtype)


def _figure(program: Graph, both: bool) -> Figure:
    """With `both`, the results are the value and the cotangents."""
    boxes: list[Box] = []
    numbers: dict[int, int] = {}  # the box that made a variable, by the variable's identity

    def add(box: Box) -> int:
        box.upward = box.backward or any(boxes[i].upward for i in box.operands)
        boxes.append(box)
        return len(boxes) - 1

    used = {id(a) for e in program.equations for a in e.inputs} | {id(a) for a in program.outputs}
    for var in program.inputs:
        if id(var) in used:
            numbers[id(var)] = add(Box("input", var.label or "input", str(var.aval)))

    def operand(atom: Atom, is_backward: bool) -> int | str:
        if isinstance(atom, Var):
            return numbers[id(atom)]
        if atom.aval.shape == ():
            value = np.asarray(atom.value).item()
            return f"{value:g}" if isinstance(value, float) else str(value)
        if id(atom.value) not in numbers:
            box = Box("constant", "constant", str(atom.aval), backward=is_backward)
            numbers[id(atom.value)] = add(box)
        return numbers[id(atom.value)]

    for equation in program.equations:
        is_backward = source.is_backward(equation.location)
        found = [operand(atom, is_backward) for atom in equation.inputs]
        number = add(
            Box(
                "operation",
                equation.primitive.name,
                ", ".join(str(var.aval) for var in equation.outputs),
                source.describe(equation.location),
                is_backward,
                found,
            )
        )
        numbers.update((id(var), number) for var in equation.outputs)

    paths = tree.treedef_paths(program.out_tree)
    for path, atom in zip(paths, program.outputs, strict=True):
        taken = operand(atom, both)
        gradient = both and path.startswith("1/")
        gradient = gradient or (isinstance(taken, int) and boxes[taken].backward)
        name = _output_name(path, both, [var.label for var in program.inputs])
        add(
            Box(
                "output",
                name if isinstance(taken, int) else f"{name} = {taken}",
                str(atom.aval),
                backward=gradient,
                arguments=[taken] if isinstance(taken, int) else [],
            )
        )
    return Figure(program.name, boxes)


def _output_name(path: str, both: bool, labels: Sequence[str | None]) -> str:
    if not both:
        return path or "result"
    first, _, rest = path.partition("/")
    if first == "0":
        return rest or "result"
    number, _, leaf = rest.partition("/")
    names = list(dict.fromkeys((label or "").partition("/")[0] for label in labels))
    top = names[int(number)] if number.isdigit() and int(number) < len(names) else number
    return "gradient of " + "/".join(part for part in (top, leaf) if part)
