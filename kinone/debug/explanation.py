"""`explain`: a backward pass told step by step, each with the formula of its rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import source
from ..core import Array, ShapeDtype, shape_dtype
from ..transforms.reverse import Node, backward
from .recording import Record, record
from .rule_text import formula


@dataclass(slots=True)
class Cotangent:
    """What a step hands on: to which value, by which formula, and how large it is."""

    target: str
    formula: str
    aval: ShapeDtype | None
    norm: float


@dataclass(slots=True)
class Step:
    """One operation of the backward pass: what arrives (`aval`, `norm`), and what it hands on."""

    number: int
    primitive: str
    place: str
    aval: ShapeDtype | None
    norm: float
    cotangents: list[Cotangent]


@dataclass(slots=True)
class Explanation:
    """The steps of a backward pass, in the order in which they ran; `print` it.

    `gradients` holds what arrived at each argument.
    """

    name: str
    result: list[ShapeDtype]
    steps: list[Step]
    gradients: list[Cotangent]

    def __str__(self) -> str:
        results = ", ".join(map(str, self.result))
        lines = [
            f"the backward pass of {self.name}: {len(self.steps)} steps, from its result "
            f"({results}) back to its arguments",
            "  g is what arrives; y the result of the operation; x, or a, b, c, its operands",
        ]
        for step in self.steps:
            lines += ["", f"{step.number:>3}  {step.primitive}   {step.place}"]
            lines.append(f"       g: {_size(step.aval, step.norm)}")
            for each in step.cotangents:
                lines.append(f"       to {each.target}: {_size(each.aval, each.norm)}")
                lines.append(f"          = {each.formula}")
        lines += ["", "the gradient"]
        for each in self.gradients:
            lines.append(f"       {each.target}: {_size(each.aval, each.norm)}")
        return "\n".join(lines)

    __repr__ = __str__


def explain(
    fun: Callable[..., Any], *args: Any, argnums: int | Sequence[int] | None = None
) -> Explanation:
    """The backward pass of `fun(*args)`, step by step: for learning what a gradient is made of.

    Each step is an operation of the forward run, the last one first: your line, the cotangent that
    arrives (shape and norm ‖g‖₂), and for each operand the formula of the rule and the cotangent
    that it gives. `fun` is differentiated in the arguments `argnums` (all of them by default); a
    result that is no scalar starts with a cotangent of ones.

        >>> import numpy as np
        >>> steps = explain(lambda x: np.sum(np.tanh(x)), np.zeros(3)).steps
        >>> [(step.primitive, step.cotangents[0].formula) for step in steps]
        [('sum', 'spread(restore(g, x, axis), x.shape)'), ('tanh', 'g * (1 - y * y)')]
    """
    recording = record(fun, args, argnums, "explain")
    trace = recording.trace
    records = {each.node.number: each for each in recording.trace.records}
    seen: list[tuple[Record, Any, Sequence[Array]]] = []

    def listening(each: Record, pullback: Callable[[Any], Sequence[Array]]) -> Any:
        def pull(g: Any) -> Sequence[Array]:
            cotangents = pullback(g)
            seen.append((each, g, tuple(cotangents)))
            return cotangents

        return pull

    for each in records.values():
        assert each.node.pullback is not None
        each.node.pullback = listening(each, each.node.pullback)
    seeds = recording.seeds()
    arrived = backward(seeds, recording.nodes(), once=False)
    numbers = {each.node.number: i for i, (each, _, _) in enumerate(seen, 1)}

    def target(node: Node) -> str:
        if node.number < trace.inputs:
            return trace.input_label(node.number)
        return f"step {numbers[node.number]} ({records[node.number].primitive.name})"

    steps = []
    for each, g, cotangents in seen:
        handed = []
        for (parent, _), operand, ct in zip(
            each.node.parents, each.wanted, cotangents, strict=True
        ):
            if ct is not None:
                rule = formula(each.primitive, operand)
                handed.append(Cotangent(target(parent), rule, shape_dtype(ct), _norm([ct])))
        gs = [one for one in (g if each.primitive.multiple else [g]) if one is not None]
        steps.append(
            Step(
                numbers[each.node.number],
                each.primitive.name,
                source.describe(each.node.location),
                shape_dtype(gs[0]) if gs else None,
                _norm(gs),
                handed,
            )
        )
    gradients = [
        Cotangent(
            trace.input_label(node.number),
            "",
            None if ct is None else shape_dtype(ct),
            0.0 if ct is None else _norm([ct]),
        )
        for node, ct in zip(recording.nodes(), arrived, strict=True)
    ]
    result = [shape_dtype(seed) for _, _, seed in seeds]
    return Explanation(source.name_of(fun), result, steps, gradients)


def _norm(xs: Sequence[Array]) -> float:
    return float(np.sqrt(sum(np.sum(np.abs(np.asarray(x, np.complex128)) ** 2) for x in xs)))


def _size(aval: ShapeDtype | None, norm: float) -> str:
    return "zero" if aval is None else f"{aval}, norm {norm:.4g}"
