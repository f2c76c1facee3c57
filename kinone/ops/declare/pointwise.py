"""`elementwise`: one local derivative per operand, and the rest follows."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import itemgetter
from types import FunctionType
from typing import Any

import numpy as np

from ...core import Array, Primitive, ShapeDtype, ndim_of, numpy_functions, shape_dtype, shape_of
from ...core.layout import follows
from .common import Rule, Samples, cast, fit, promote

_PLACES = {"y": 0, "x": 1, "a": 1, "b": 2, "c": 3}


def _partial(rule: Rule | None) -> tuple[Rule, Callable[[tuple[Array, ...]], Sequence[Array]]]:
    """A local derivative as a map of `g`, and what picks the values that it needs.

    `lambda g, y: g * (1 - y * y)` is tanh's: the names of its parameters say what to keep for the
    backward pass: `y` is the result; `x`, or `a`, `b`, `c` in order, are the operands. Nothing
    else is kept. An elementwise map's Jacobian is diagonal, hence its own transpose: the one rule
    serves tangents and cotangents. `None` stands for an operand without a derivative.
    """
    if rule is None:
        return _nothing, itemgetter(slice(0))
    names = list(inspect.signature(rule).parameters)[1:]
    unknown = [name for name in names if name not in _PLACES]
    if unknown:
        raise ValueError(
            f"a partial derivative takes g, and of y (the result), x (the operand) or a, b, c "
            f"(the operands in order) those that it needs; {', '.join(unknown)} is none of them"
        )
    places = [_PLACES[name] for name in names]
    # Picks from (y, *xs), always a tuple: a getter of one place gives none, one of a slice does.
    if len(places) > 1:
        return rule, itemgetter(*places)
    return rule, itemgetter(slice(places[0], places[0] + 1) if places else slice(0))


def elementwise(
    name: str,
    ufunc: Rule,
    *partials: Rule | None,
    impl: Rule | None = None,
    dtype: Any = None,
    code: str | None = None,
    flops: float = 1,
    kink: Rule | None = None,
    weak: str | None = None,
    samples: Samples | None = None,
) -> Primitive:
    """Declares an elementwise primitive; it also becomes what `ufunc` does on tracers.

    `partials[i]` maps `g` to `g · ∂y/∂xᵢ`; None where the operand has no derivative (a condition).
    `impl` stands in for `ufunc` where something is faster or `ufunc` is a function of our own;
    `dtype` is the dtype of the result, or the ufunc whose promotion gives it, or a function of the
    operands' `ShapeDtype`s, where `ufunc` itself does not say. `weak` is for Python's own
    operators, as a text: of Python numbers they make a Python number. `code`, `flops` and `kink`
    are slots of `Primitive`; what has the code "{0}" hands its operand on.
    """
    run = impl or ufunc
    derive: Rule
    if isinstance(dtype, FunctionType):
        derive = dtype
    elif isinstance(dtype, np.ufunc) or dtype is None:
        derive = functools.partial(promote, ufunc if dtype is None else dtype)
    else:
        fixed = np.dtype(dtype)
        derive = lambda *avals: fixed  # noqa: E731
    rules = [_partial(rule) for rule in partials]
    arity = getattr(ufunc, "nin", len(rules))
    if arity != len(rules):
        raise ValueError(f"{name} has {arity} operands and {len(rules)} partial derivatives")

    def shape(*avals: ShapeDtype) -> ShapeDtype:
        out = np.broadcast_shapes(*[aval.shape for aval in avals])
        adapts = weak is not None and all(aval.weak for aval in avals)
        return ShapeDtype(out, derive(*avals), adapts)

    def reverse(wanted: Sequence[bool], y: Array, xs: Sequence[Array], params: Any) -> Rule:
        values = (y, *xs)
        if type(y) is not np.ndarray and not hasattr(y, "shape"):
            y = np.asarray(y)
        shape, dtype = y.shape, y.dtype
        steps: list[Any] = []
        for i, flag in enumerate(wanted):
            if not flag:
                continue
            rule, pick = rules[i]
            x = xs[i]
            if type(x) is not np.ndarray and not hasattr(x, "shape"):
                x = np.asarray(x)
            fits = x.shape == shape and (x.dtype is dtype or x.dtype == dtype)
            steps.append((rule, pick(values), None if fits else (x.shape, x.dtype)))
        return _pullback(steps)

    def forward(y: Array, xs: Sequence[Array], tangents: Sequence[Array], params: Any) -> Array:
        values = (y, *xs)
        total = None
        for (rule, pick), tangent in zip(rules, tangents, strict=True):
            term = None if tangent is None else rule(tangent, *pick(values))
            if term is not None:
                total = term if total is None else total + term
        if total is None:
            return None
        known = shape_dtype(y)
        if shape_of(total) != known.shape:
            total = np.broadcast_to(total, known.shape)
        return cast(total, known.dtype)

    def batch(size: int, batched: Sequence[bool], *xs: Array) -> Array:
        ndims = [ndim_of(x) - flag for x, flag in zip(xs, batched, strict=True)]
        ndim = max(ndims)
        return made(
            *[
                _lifted(x, ndim) if flag and n < ndim else x
                for x, flag, n in zip(xs, batched, ndims, strict=True)
            ]
        )

    differentiable = any(rule is not None for rule in partials)
    made = Primitive(
        name,
        run,
        shape=shape,
        vjp=reverse if differentiable else None,
        jvp=forward if differentiable else None,
        batch=batch,
        code=code,
        fresh=code != "{0}",
        layout=follows if code != "{0}" else None,
        flops=flops,
        kink=kink,
        elementwise=True,
        weak=weak,
        samples=samples,
    )
    if getattr(ufunc, "__module__", "").startswith("numpy") or isinstance(ufunc, np.ufunc):
        numpy_functions[ufunc] = made
    return made


def _lifted(x: Array, ndim: int) -> Array:
    """A batched operand with as many axes after the batch axis as broadcasting would give it."""
    size, *rest = shape_of(x)
    return np.reshape(x, (size, *[1] * (ndim - len(rest)), *rest))


def _pullback(steps: list[tuple[Rule, Sequence[Array], Any]]) -> Rule:
    """The pullback of an elementwise operation: for each differentiated operand its rule, the
    values that the rule needs, and the operand's shape and dtype where they are not the result's.
    """
    if len(steps) == 1:
        ((rule, kept, target),) = steps
        if target is None or rule is _nothing:
            return lambda g: (rule(g, *kept),)
        return lambda g: (fit(rule(g, *kept), *target),)

    def pullback(g: Array) -> list[Array]:
        cotangents = []
        for rule, kept, target in steps:
            cotangent = rule(g, *kept)
            if target is not None and cotangent is not None:
                cotangent = fit(cotangent, *target)
            cotangents.append(cotangent)
        return cotangents

    return pullback


def _nothing(g: Array, *kept: Array) -> None:
    """The rule of an operand without a derivative."""
