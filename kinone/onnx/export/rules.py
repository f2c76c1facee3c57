"""Lowering: which rule writes which primitive, and how a program is written equation by equation.

A rule is a function `(b, step, *operands) -> value`, a tuple of values where the primitive has
several results. `step.params` are the primitive's parameters, in which sizes that vary are `Dim`s,
and `step.outputs[i].aval` says what comes out. Many rules need no node of their own: `b.through` in
`through(b, fun, *operands)` writes a primitive as a Kinone function of simpler ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ... import source
from ...core import Primitive, ShapeDtype, registry
from ...graph import Constant, trace_flat
from . import dims, varying
from .builder import Builder
from .dims import Dim
from .errors import NoRuleError
from .merge import Known, Operand, Program, Step, Variable, at_trace, merge
from .values import Pair, Record, Value

Lowered = Value | Pair | Record
Rule = Callable[..., Any]

composites: dict[str, Rule] = {}
complex_rules: dict[Primitive, Rule] = {}


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Makes a function the ONNX rule of these primitives."""

    def declare(rule: Rule) -> Rule:
        for name in names:
            if registry[name].onnx is not None:
                raise ValueError(f"{name} has an ONNX rule already")
            registry[name].onnx = rule
        return rule

    return declare


def lowers_complex(*names: str) -> Callable[[Rule], Rule]:
    """Makes a function the ONNX rule of these primitives where an operand or result is complex."""

    def declare(rule: Rule) -> Rule:
        complex_rules.update({registry[name]: rule for name in names})
        return rule

    return declare


def lowers_composite(name: str) -> Callable[[Rule], Rule]:
    """Makes a function the rule of a composite, see `graph.composite`: `(b, step, *operands)` with
    the function's keywords in `options(step)`. It returns None where the node does not fit, and
    the composite's own program is written."""

    def declare(rule: Rule) -> Rule:
        composites[name] = rule
        return rule

    return declare


def cannot(reason: str, *names: str) -> None:
    """States why there is no ONNX rule of these primitives."""
    for name in names:
        registry[name].onnx = reason


def options(step: Step) -> dict[str, Any]:
    """The keywords that a composite was called with."""
    return dict(step.params["options"])


def write(b: Builder, program: Program, inputs: Sequence[Lowered]) -> list[Lowered]:
    """Writes a program's nodes, given its inputs: its results."""
    values: dict[Variable, Lowered] = dict(zip(program.inputs, inputs, strict=True))

    def read(operand: Operand) -> Lowered:
        return known(b, operand) if isinstance(operand, Known) else values[operand]

    before = b.location
    for step in program.steps:
        if step.location is not None:
            b.location = step.location
        results = _apply(b, step, [read(operand) for operand in step.inputs])
        for variable, result in zip(step.outputs, results, strict=True):
            if not isinstance(result, Record) and (
                result.shape != variable.aval.shape or result.dtype != variable.aval.dtype
            ):
                raise AssertionError(
                    f"the ONNX rule of {step.primitive.name} gives {result.dtype}{result.shape} "
                    f"for {variable.aval}"
                )
            values[variable] = result
    b.location = before
    return [read(operand) for operand in program.outputs]


def rule_of(primitive: Primitive) -> Rule | str | None:
    """A primitive's rule. Those of `kinone.scipy` are read when the first of them is met."""
    if primitive.onnx is None and primitive.name.startswith("scipy."):
        importlib.import_module("kinone.onnx.lower.scipy")
    return primitive.onnx


def _apply(b: Builder, step: Step, operands: Sequence[Lowered]) -> Sequence[Lowered]:
    primitive = step.primitive
    rule: Any = rule_of(primitive)
    if any(isinstance(x, Pair) for x in operands) or any(
        v.aval.dtype.kind == "c" for v in step.outputs
    ):
        stated = rule if isinstance(rule, str) else "complex numbers have no such rule"
        rule = complex_rules.get(primitive, stated)
    folded = _folded(b, step, operands)
    if folded is not None:
        return folded
    if not primitive.effect and operands and all(_is_empty(v) for v in step.outputs):
        return [known(b, Known([zeros], Constant(zeros))) for zeros in map(_zeros, step.outputs)]
    if primitive.onnx is None and not primitive.effect:
        written = _own_code(b, step, operands)
        if written is not None:
            return written
    if not callable(rule):
        why = rule or "it has no rule"
        raise NoRuleError(str(b.error(f"{primitive.name} cannot be written as ONNX: {why}")))
    found = rule(b, step, *operands)
    return found if primitive.multiple else (found,)


def _own_code(b: Builder, step: Step, operands: Sequence[Lowered]) -> Sequence[Lowered] | None:
    """A primitive of the user's as the NumPy code that it runs, where that takes traced values."""
    before = b.location
    try:
        found = through(b, step.primitive.impl, *operands, **step.params)
    except Exception:  # it asks for the numbers, or calls what has no rule either
        b.location = before
        return None
    avals = [variable.aval for variable in step.outputs]
    same = len(found) == len(avals) and all(
        (value.shape, value.dtype) == (aval.shape, aval.dtype)
        for value, aval in zip(found, avals, strict=True)
    )
    return found if same else None


_LARGEST_FOLDED = 1 << 24  # elements


def _folded(b: Builder, step: Step, operands: Sequence[Lowered]) -> Sequence[Lowered] | None:
    """The results of a step whose operands are all known, computed now."""
    primitive = step.primitive
    if primitive.effect or not operands:
        return None
    if any(isinstance(size, Dim) for v in step.outputs for size in v.aval.shape):
        return None
    if any(not isinstance(x, Value) or x.known is None for x in operands):
        return None
    if any(v.aval.dtype.kind not in "fiub" for v in step.outputs) or _varies(step.params):
        return None
    if sum(_elements(v) for v in step.outputs) > _LARGEST_FOLDED:
        return None
    numbers = [x.known[()] if x.weak and x.known is not None else x.known for x in operands]  # type: ignore[union-attr]
    numbers = [n.item() if x.weak else n for n, x in zip(numbers, operands, strict=True)]  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        found = primitive(*numbers, **step.params)
    results = found if primitive.multiple else (found,)
    return [
        Value(
            "",
            v.aval.shape,
            v.aval.dtype,
            tuple(range(len(v.aval.shape))),
            np.asarray(result, v.aval.dtype),
            v.aval.weak,
        )
        for v, result in zip(step.outputs, results, strict=True)
    ]


def _is_empty(variable: Variable) -> bool:
    """Whether a result has no elements, whatever is computed."""
    shape, dtype = variable.aval.shape, variable.aval.dtype
    return 0 in shape and dtype.kind != "O" and not any(isinstance(size, Dim) for size in shape)


def _zeros(variable: Variable) -> np.ndarray[Any, Any]:
    whole: tuple[Any, ...] = variable.aval.shape
    return np.zeros(whole, variable.aval.dtype)


def _elements(variable: Variable) -> int:
    total = 1
    for size in variable.aval.shape:
        total *= int(size)
    return total


def _varies(param: Any) -> bool:
    if isinstance(param, dict):
        return any(map(_varies, param.values()))
    if isinstance(param, (tuple, list)):
        return any(map(_varies, param))
    return isinstance(param, (Dim, Program))


def known(b: Builder, operand: Known) -> Lowered:
    """A constant of the program as a value."""
    first = operand.values[0]
    if len(operand.values) == 1:
        array = np.asarray(first)
        if array.dtype.kind == "c":
            parts = (b.constant(np.real(array)), b.constant(np.imag(array)))
            return Pair(*[replace(part, weak=type(first) is complex) for part in parts])
        weak = type(first) in (int, float)
        name = b._named.get(id(operand.constant), "")
        return Value(name, array.shape, array.dtype, tuple(range(array.ndim)), array, weak)
    arrays = [np.asarray(value) for value in operand.values]
    shape = tuple([dims.of(sizes) for sizes in zip(*[a.shape for a in arrays], strict=True)])
    dtype = arrays[0].dtype
    if all(a.size and (a == a.flat[0]).all() for a in arrays):
        return b.expand(varying.number(b, [a.flat[0].item() for a in arrays], dtype), shape)
    if dtype.kind in "biuf":
        name = b._named.get(id(operand.constant), "")
        table = b.tables.get(id(operand.constant))
        found = varying.array(b, arrays, shape, name)
        if found is None and table is not None:
            found = varying.beginning(b, arrays, shape, *table)
        if found is not None:
            return found
    shapes = list(dict.fromkeys(str(a.shape) for a in arrays))
    raise b.error(
        f"an array, of shape {' and '.join(shapes[:2])} at two sizes, varies with a dynamic size, "
        "and is neither one number throughout, nor made of the numbers of its rows and columns "
        "(arange, tri, eye): make it an argument, or the size a fixed one"
    )


def through(b: Builder, fun: Callable[..., Any], *operands: Any, **params: Any) -> tuple[Any, ...]:
    """Writes `fun(*operands, **params)`, a Kinone function, in place of nodes: its results, always
    as a tuple.

    It is traced at all sizes of the dynamic dimensions, as the exported function itself is.
    """
    count = b.symbols.count
    graphs = []
    for row in range(count):
        avals = [
            ShapeDtype(
                tuple([dims.spread(size, count)[row] for size in x.shape]),
                x.dtype,
                isinstance(x, Value) and x.weak,
            )
            for x in operands
        ]

        given = at_trace(params, row)

        def flat(*leaves: Any, given: dict[str, Any] = given) -> Sequence[Any]:
            found = fun(*leaves, **given)
            return found if isinstance(found, tuple) else (found,)

        with source.inherit() as state:  # all of it stands for the user's line
            state.inherited = b.location
            graph, captured = trace_flat(flat, avals, getattr(fun, "__name__", "rule"))
        if captured:
            raise AssertionError("a lowering rule uses a traced value")
        graphs.append(graph)
    return tuple(write(b, merge(graphs), operands))
