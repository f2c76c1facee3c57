"""The source text of a program: an ordinary NumPy function, one line for each equation.

    def loss(params_w, x, _0):
        a = np.matmul(x, params_w, out=_0)  # model.py:4  x @ params["w"]
        b = np.tanh(a, out=_0)              # model.py:4  np.tanh(x @ params["w"])
        return (np.add.reduce(b, axis=(0, 1), keepdims=False),)

`_0`, `_1`, … are buffers of the arena. The variables have the names that `print(graph)` shows.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array
from ..core.layout import CONTIGUOUS, UNKNOWN
from ..graph import Atom, Constant, Equation, Graph, Var
from ..graph.format import letters
from ..source import Location
from ..transforms.calls import run_call
from .blocks import Block, Step, is_sliced, schedule
from .inline import literal, wording
from .layout import layouts, roots
from .memory import Plan, plan, takes_out
from .runtime import own


class Text:
    """The lines of a source file, the user's place of each, and the objects that it names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.locations: list[Location | None] = []
        self.names: dict[str, Any] = {"np": np}
        self.variables: set[str] = set()  # of any function; no object may hide behind one
        self.written: dict[int, str] = {}  # programs that are functions here already

    def add(self, line: str, location: Location | None = None) -> None:
        self.lines.append(line)
        self.locations.append(location)

    def bind(self, wanted: str, value: Any) -> str:
        """A name for an object; the same one for the same object."""
        name = re.sub(r"\W", "_", wanted) or "value"
        if keyword.iskeyword(name) or name[0].isdigit() or hasattr(builtins, name):
            name += "_"
        base, count = name, 0
        while name in self.variables or self.names.get(name, value) is not value:
            count += 1
            name = f"{base}_{count}"
        self.names[name] = value
        return name

    def code(self) -> str:
        """What is compiled: the lines alone."""
        return "\n".join(self.lines) + "\n"

    def __str__(self) -> str:
        """What is shown: the lines with the user's places beside them."""
        width = min(max((len(line) for line in self.lines), default=0), 72)
        return "\n".join(
            line if place is None else f"{line.ljust(width)}  # {_place(place)}"
            for line, place in zip(self.lines, self.locations, strict=True)
        )


def _place(location: Location) -> str:
    return source.describe(location).replace("\n", " ")


def emit(
    text: Text, program: Graph, *, arena: bool, owned: int | None = None, name: str | None = None
) -> tuple[str, Plan]:
    """Writes a program as a function into `text`: its name there and its memory plan.

    The first `owned` results, all by default, share no memory with each other or the inputs.

    With `arena` the inputs are taken to be contiguous, and the plan's buffers are the function's
    last parameters. Without it every operation allocates its result, as eager mode does.
    """
    return _Function(text, program, arena, owned, name).write()


class _Function:
    def __init__(
        self, module: Text, program: Graph, arena: bool, owned: int | None, name: str | None
    ) -> None:
        self.owned = len(program.outputs) if owned is None else owned
        self.module = module
        self.program = program
        known = layouts(program, CONTIGUOUS if arena else UNKNOWN)
        self.steps: list[Step] = schedule(program, known) if arena else list(program.equations)
        self.memory = roots(program)
        self.plan = plan(program, self.steps, known, self.memory) if arena else Plan()
        self.mortal = {var for dead in self.plan.dead.values() for var in dead}
        self.mortal.difference_update(program.inputs)
        self.name = module.bind(name or program.name, program)
        # The function's head names its buffers and comes last; its body is kept apart till then.
        self.text = Text()
        self.text.names, self.text.variables = module.names, module.variables
        self.variables: dict[Var, str] = {}
        self.taken: set[str] = set()
        self.fresh = (
            letter
            for letter in letters()
            if letter not in self.taken
            and letter not in module.names
            and not keyword.iskeyword(letter)
        )

    def write(self) -> tuple[str, Plan]:
        program = self.program
        for index, var in enumerate(program.inputs):
            self.variables[var] = self.named(var.label or f"x{index}")
        for number, step in enumerate(self.steps):
            if isinstance(step, Block):
                self.block(step)
            else:
                self.equation(step)
            dead = self.plan.dead.get(number, [])
            names = [self.variables[var] for var in dead if var not in program.inputs]
            if names:
                self.text.add(f"    del {', '.join(names)}")
        results = self.results()
        buffers = [f"_{i}" for i in range(len(self.plan.buffers))]
        arguments = [self.variables[var] for var in program.inputs] + buffers
        self.module.add(f"def {self.name}({', '.join(arguments)}):")
        for line, location in zip(self.text.lines, self.text.locations, strict=True):
            self.module.add(line, location)
        self.module.add(f"    return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        return self.name, self.plan

    def named(self, wanted: str) -> str:
        """A variable's name that nothing else has."""
        name = re.sub(r"\W+", "_", wanted).strip("_") or "x"
        if keyword.iskeyword(name) or name[0].isdigit():
            name = f"x_{name}"
        if hasattr(builtins, name):  # a text in line may call it
            name += "_"
        base, count = name, 0
        while name in self.taken or name in self.module.names:
            count += 1
            name = f"{base}_{count}"
        return self.take(name)

    def take(self, name: str) -> str:
        self.taken.add(name)
        self.module.variables.add(name)
        return name

    def variable(self, var: Var) -> str:
        if var not in self.variables:
            self.variables[var] = self.take(next(self.fresh))
        return self.variables[var]

    def operand(self, atom: Atom) -> str:
        if isinstance(atom, Var):
            return self.variables[atom]
        return self.constant(atom)

    def constant(self, atom: Constant) -> str:
        value = atom.value
        if type(value) in (int, float, bool):
            text = literal(value)
            assert text is not None
            return f"({text})" if text.startswith("-") else text
        return self.text.bind(f"constant_{_shape_name(value)}", value)

    # -- equations

    def expression(
        self, equation: Equation, operands: Sequence[str], out: str | None = None
    ) -> str:
        """The text of an equation's right side."""
        primitive = equation.primitive
        if primitive.weak is not None and equation.outputs[0].aval.weak:
            return primitive.weak.format(*operands)  # of Python numbers, by Python itself
        if primitive.impl is run_call and isinstance(equation.params["program"], Graph):
            # The function with rules of its own: by now they have been applied.
            program = self.parameter("program", equation.params["program"])
            return f"{program}({', '.join(operands)})"
        if callable(primitive.code):
            return primitive.code(*operands, **equation.params)
        found = wording(primitive, len(operands), tuple(equation.params))
        values = {key: self.parameter(key, value) for key, value in equation.params.items()}
        values.update({f"@{key}": self.text.bind(key, value) for key, value in found.names.items()})
        text = found.text.format(*operands, **values)
        return text if out is None else f"{text[:-1]}, out={out})"

    def parameter(self, key: str, value: Any) -> str:
        if isinstance(value, Graph):
            if id(value) not in self.module.written:
                self.module.written[id(value)] = emit(
                    self.module, value, arena=False, owned=0, name=key
                )[0]
            return self.module.written[id(value)]
        if type(value) is tuple and any(isinstance(each, Graph) for each in value):
            parts = [self.parameter(f"{key}_{i}", each) for i, each in enumerate(value)]
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        text = literal(value)
        return self.text.bind(key, value) if text is None else text

    def equation(self, equation: Equation) -> None:
        operands = [self.operand(atom) for atom in equation.inputs]
        out = None
        if len(equation.outputs) == 1 and equation.outputs[0] in self.plan.places:
            out = f"_{self.plan.places[equation.outputs[0]]}"
        right = self.expression(equation, operands, out)
        if equation.primitive.multiple:
            names = [self.variable(var) for var in equation.outputs]
            left = ", ".join(names) + ("," if len(names) == 1 else "")
            line = f"    {left} = {right}" if names else f"    {right}"
        else:
            line = f"    {self.variable(equation.outputs[0])} = {right}"
        self.text.add(line, equation.location)

    # -- blocks

    def block(self, block: Block) -> None:
        """A loop over blocks of rows; what only the loop needs lives in buffers of one block."""
        shape, split, rows, step = block.shape, block.split, block.rows, min(block.step, block.rows)
        inner = shape[split:]
        inside = self.inside(block)
        views: dict[Atom, tuple[str, bool]] = {}

        def view(atom: Atom) -> str:
            if atom not in views:
                name = self.operand(atom)
                sliced = atom.aval.size > 1 and bool(is_sliced(atom.aval, shape, split))
                if sliced and (split > 1 or atom.aval.shape[:1] != (rows,)):
                    missing = len(shape) - atom.aval.ndim
                    wanted = (rows, *((1,) * missing + atom.aval.shape)[split:])
                    name = self.reshaped(name, wanted)
                elif not sliced and atom.aval.ndim > len(inner):
                    wanted = atom.aval.shape[atom.aval.ndim - len(inner) :]
                    name = self.reshaped(name, wanted)
                views[atom] = (name, sliced)
            name, sliced = views[atom]
            return f"{name}[_s]" if sliced else name

        for equation in block.equations:
            for atom in equation.inputs:
                if not block.defines(atom):
                    view(atom)
            (var,) = equation.outputs
            if var not in inside:
                name = self.variable(var)
                if var in self.plan.places:
                    self.text.add(f"    {name} = _{self.plan.places[var]}")
                else:
                    dtype = f"np.dtype({var.aval.dtype.name!r})"
                    self.text.add(f"    {name} = np.empty({shape}, {dtype})")
                views[var] = (name if split == 1 else self.reshaped(name, (rows, *inner)), True)
            else:
                views[var] = (self.variable(var), False)
        exact = rows % step == 0
        self.text.add(f"    for _i in range(0, {rows}, {step}):")
        self.text.add(f"        _s = slice(_i, _i + {step})")
        if not exact:
            self.text.add(f"        _n = min({step}, {rows} - _i)")
        for equation in block.equations:
            (var,) = equation.outputs
            operands = [view(atom) for atom in equation.inputs]
            if var in inside:
                place = self.plan.places.get(var)
                out = None if place is None else f"_{place}" if exact else f"_{place}[:_n]"
                right = self.expression(equation, operands, out)
                line = f"        {self.variables[var]} = {right}"
            elif takes_out(equation):
                line = f"        {self.expression(equation, operands, view(var))}"
            else:
                line = f"        {view(var)} = {self.expression(equation, operands)}"
            self.text.add(line, equation.location)
        # A view that stayed would keep the memory of a value that is deleted.
        names = [name for atom, (name, _) in views.items() if self.keeps_memory(atom, name)]
        if names:
            self.text.add(f"    del {', '.join(names)}")

    def keeps_memory(self, atom: Atom, name: str) -> bool:
        """Whether a name is another one for a value that is deleted as soon as nothing reads it."""
        return isinstance(atom, Var) and name != self.variables[atom] and atom in self.mortal

    def inside(self, block: Block) -> set[Var]:
        """The values that only the block itself reads."""
        own = {var for equation in block.equations for var in equation.outputs}
        own -= set(self.program.outputs)
        for step in self.steps:
            if step is not block:
                readers = step.equations if isinstance(step, Block) else [step]
                own.difference_update(atom for e in readers for atom in e.inputs)
        return own

    # -- results

    def results(self) -> list[str]:
        """The returned values; one that may show the memory of another, of an input or of a
        constant is copied where it does."""
        memory = self.memory
        made = {var: e for e in self.program.equations for var in e.outputs}
        before: list[Var] = []
        found = []
        for index, atom in enumerate(self.program.outputs):
            text = self.operand(atom)
            if index >= self.owned:
                found.append(text)
                continue
            if isinstance(atom, Constant):
                found.append(f"{text}.copy()" if isinstance(atom.value, np.ndarray) else text)
                continue
            rivals = [v for v in before if memory[v] & memory[atom]]
            rivals += [v for v in self.program.inputs if v in memory[atom]]
            rivals = [v for v in rivals if v.aval.dtype.kind != "O"]  # the record of a loop
            if atom.aval.dtype.kind != "O" and (rivals or not made[atom].primitive.fresh):
                names = dict.fromkeys(self.variables[v] for v in rivals if not v.aval.weak)
                text = f"{self.text.bind('own', own)}({', '.join([text, *names])})"
            before.append(atom)
            found.append(text)
        return found

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """A view of a contiguous value in another shape."""
        flat = self.named(f"{name}_rows")
        self.text.add(f"    {flat} = {name}.reshape({shape})")
        return flat


def _shape_name(value: Array) -> str:
    return "x".join(map(str, np.shape(value))) or "scalar"
