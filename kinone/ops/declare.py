"""The constructors of primitives: what mathematics derives, nobody writes.

    elementwise(name, ufunc, *partials)            one local derivative per operand
    linear(name, impl, transpose=…)                linear in its first operand
    bilinear(name, impl, left=…, right=…)          linear in each of its first two operands
    primitive(name, impl, vjp=…, jvp=…)            the rules as they are
    constant(name, impl)                           piecewise constant: no derivative to follow

Rules are plain NumPy. On arrays they cost what NumPy costs; on tracers NumPy's protocols bring
them back to primitives, so every rule differentiates again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, is_inexact, numpy_functions, shape_dtype, shape_of
from ..errors import MissingRuleError

Rule = Callable[..., Any]
Samples = Callable[[], Sequence[Any]]


# ---- elementwise ---------------------------------------------------------------------------------


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
    dtype: np.ufunc | Any = None,
    weak: bool = False,
    samples: Samples | None = None,
) -> Primitive:
    """Declares an elementwise primitive; it also becomes what `ufunc` does on tracers.

    `partials[i]` maps `g` to `g · ∂y/∂xᵢ`; None where the operand has no derivative (a condition).
    `impl` stands in for `ufunc` where something is faster or `ufunc` is a function of our own;
    `dtype` is the dtype of the result, or the ufunc whose promotion gives it, where `ufunc` itself
    does not say. `weak` is for Python's own operators: of Python numbers they make a Python number.
    """
    run = impl or ufunc
    promotes = dtype if isinstance(dtype, np.ufunc) else ufunc
    fixed = None if isinstance(dtype, np.ufunc) or dtype is None else np.dtype(dtype)
    rules = [_partial(rule) for rule in partials]
    arity = getattr(ufunc, "nin", len(rules))
    if arity != len(rules):
        raise ValueError(f"{name} has {arity} operands and {len(rules)} partial derivatives")

    def shape(*avals: ShapeDtype) -> ShapeDtype:
        out = np.broadcast_shapes(*[aval.shape for aval in avals])
        if fixed is not None:
            return ShapeDtype(out, fixed)
        adapts = weak and all(aval.weak for aval in avals)
        return ShapeDtype(out, promote(promotes, *avals), adapts)

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

    differentiable = any(rule is not None for rule in partials)
    made = Primitive(
        name,
        run,
        shape=shape,
        vjp=reverse if differentiable else None,
        jvp=forward if differentiable else None,
        weak=weak,
        samples=samples,
    )
    if getattr(ufunc, "__module__", "").startswith("numpy") or isinstance(ufunc, np.ufunc):
        numpy_functions[ufunc] = made
    return made


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


_PYTHON_TYPES: dict[str, type] = {"i": int, "f": float, "c": complex}


def promote(ufunc: Rule, *avals: ShapeDtype) -> np.dtype[Any]:
    """The dtype of `ufunc`'s result by NumPy's own rules, Python numbers being weak (NEP 50)."""
    if not isinstance(ufunc, np.ufunc):
        return result_type(*avals)
    kinds = [_PYTHON_TYPES[aval.dtype.kind] if aval.weak else aval.dtype for aval in avals]
    return _resolve(ufunc, tuple(kinds))


@functools.lru_cache(maxsize=4096)
def _resolve(ufunc: np.ufunc, kinds: tuple[Any, ...]) -> np.dtype[Any]:
    if all(isinstance(kind, type) for kind in kinds):
        values = [kind(1) for kind in kinds]
        return np.asarray(ufunc(*values)).dtype
    return ufunc.resolve_dtypes((*kinds, None))[-1]


def result_type(*avals: ShapeDtype) -> np.dtype[Any]:
    """`np.result_type` of operands that are not there."""
    return np.result_type(*[_PYTHON_TYPES[a.dtype.kind](1) if a.weak else a.dtype for a in avals])


def fit(g: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """A cotangent in its operand's shape and dtype."""
    return cast(unbroadcast(g, shape), dtype)


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting from `shape`: sums the axes that were repeated."""
    found = g.shape
    if found == shape:
        return g
    extra = len(found) - len(shape)
    if extra > 0 and found[extra:] == shape:
        return np.add.reduce(g, axis=0 if extra == 1 else tuple(range(extra)))
    repeated = tuple(
        i for i in range(g.ndim) if i < extra or (shape[i - extra] == 1 and g.shape[i] != 1)
    )
    if repeated:
        g = np.add.reduce(g, axis=repeated, keepdims=True)
    return g if g.shape == shape else np.reshape(g, shape)


def cast(g: Array, dtype: Any) -> Array:
    """A (co)tangent in its primal's dtype; the real part where that is real."""
    if g.dtype is dtype or g.dtype == dtype:
        return g
    if g.dtype.kind == "c" and dtype.kind != "c":
        g = np.real(g)
    return g.astype(dtype)


# ---- linear and bilinear -------------------------------------------------------------------------


def linear(
    name: str,
    impl: Rule,
    *,
    shape: Rule,
    transpose: Rule,
    samples: Samples | None = None,
) -> Primitive:
    """Declares a primitive that is linear in its first operand, with any further operands as data.

    `transpose(g, x, *data, **params)` maps the result's cotangent to the operand's; `x` is the
    operand's `ShapeDtype`, for its value cannot matter.
    """

    def refuse_data(traced: Sequence[bool]) -> None:
        if any(traced):
            raise MissingRuleError(
                f"{name} has no derivative in its further operands, at {source.here()}"
            )

    def reverse(wanted: Sequence[bool], y: Array, xs: Sequence[Array], params: Any) -> Rule:
        refuse_data(wanted[1:])
        x, *data = xs
        aval = shape_dtype(x)
        return lambda g: [transpose(g, aval, *data, **params)]

    def forward(y: Array, xs: Sequence[Array], tangents: Sequence[Array], params: Any) -> Array:
        refuse_data([t is not None for t in tangents[1:]])
        return made(tangents[0], *xs[1:], **params)

    made = Primitive(name, impl, shape=shape, vjp=reverse, jvp=forward, samples=samples)
    return made


def bilinear(
    name: str,
    impl: Rule,
    *,
    shape: Rule,
    left: Rule,
    right: Rule,
    samples: Samples | None = None,
) -> Primitive:
    """Declares a primitive that is linear in each of its two operands: a product.

    `left(g, a, b, **params)` is the cotangent of `a`, of which it may ask shape and dtype alone;
    `right(g, a, b, **params)` that of `b`, likewise. The backward pass keeps `b` for the one and
    `a` for the other, and each only if it is wanted.
    """

    def reverse(wanted: Sequence[bool], y: Array, xs: Sequence[Array], params: Any) -> Rule:
        a, b = xs
        if not wanted[1]:
            known_a = shape_dtype(a)
            return lambda g: [cast(left(g, known_a, b, **params), known_a.dtype)]
        if not wanted[0]:
            known_b = shape_dtype(b)
            return lambda g: [cast(right(g, a, known_b, **params), known_b.dtype)]
        # Both are kept, so each may stand for its own shape.
        return lambda g: [
            cast(left(g, a, b, **params), a.dtype),
            cast(right(g, a, b, **params), b.dtype),
        ]

    def forward(y: Array, xs: Sequence[Array], tangents: Sequence[Array], params: Any) -> Array:
        a, b = xs
        ta, tb = tangents
        from_a = None if ta is None else made(ta, b, **params)
        from_b = None if tb is None else made(a, tb, **params)
        if from_a is None:
            return from_b
        return from_a if from_b is None else from_a + from_b

    made = Primitive(name, impl, shape=shape, vjp=reverse, jvp=forward, samples=samples)
    return made


# ---- everything else -----------------------------------------------------------------------------


def primitive(
    name: str,
    impl: Rule,
    *,
    shape: Rule,
    vjp: Rule,
    jvp: Rule,
    multiple: bool = False,
    fill: bool = True,
    samples: Samples | None = None,
) -> Primitive:
    """Declares a primitive by its rules.

    `vjp(y, *xs, **params)` returns the pullback `g -> (cotangent of each operand, …)`, a tuple
    with None where an operand has none: what the closure holds is what the backward pass keeps.
    `jvp(y, *xs, **params)` returns the pushforward `(t of each operand) -> tangent of y`. With
    `multiple` results `y`, `g` and the tangent of `y` are tuples. Tangents, and cotangents of one
    of several results, that are zero arrive as zeros, or as None with `fill=False`.
    """

    def reverse(wanted: Sequence[bool], y: Array, xs: Sequence[Array], params: Any) -> Rule:
        pullback = vjp(y, *xs, **params)
        selected = [i for i, flag in enumerate(wanted) if flag]
        if not multiple:

            def of_one(g: Array) -> list[Array]:
                cotangents = pullback(g)
                return [cotangents[i] for i in selected]

            return of_one
        avals = [shape_dtype(each) for each in y]

        def of_tuple(gs: Sequence[Array]) -> list[Array]:
            if fill:
                gs = [zeros(a) if g is None else g for g, a in zip(gs, avals, strict=True)]
            cotangents = pullback(tuple(gs))
            return [cotangents[i] for i in selected]

        return of_tuple

    def forward(y: Array, xs: Sequence[Array], tangents: Sequence[Array], params: Any) -> Array:
        filled = [
            zeros(shape_dtype(x)) if fill and t is None and is_inexact(x) else t
            for t, x in zip(tangents, xs, strict=True)
        ]
        return jvp(y, *xs, **params)(*filled)

    return Primitive(
        name,
        impl,
        shape=shape,
        vjp=reverse,
        jvp=forward,
        multiple=multiple,
        samples=samples,
    )


def constant(name: str, impl: Rule, *, shape: Rule, samples: Samples | None = None) -> Primitive:
    """Declares a primitive whose result does not vary with small changes of its operands."""
    return Primitive(name, impl, shape=shape, vjp=None, jvp=None, samples=samples)


def zeros(aval: ShapeDtype) -> Array:
    """Zeros of a shape and dtype, without memory of their own."""
    return np.broadcast_to(np.zeros((), aval.dtype), aval.shape)
