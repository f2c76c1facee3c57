"""The other constructors: `linear`, `bilinear`, `primitive`, `constant`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from ... import source
from ...core import Array, Primitive, is_inexact, shape_dtype
from ...errors import MissingRuleError
from .common import Rule, Slots, cast, zeros


def linear(
    name: str,
    impl: Rule,
    *,
    shape: Rule,
    transpose: Rule,
    **slots: Unpack[Slots],
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

    made = Primitive(name, impl, shape=shape, vjp=reverse, jvp=forward, **slots)
    return made


def bilinear(
    name: str,
    impl: Rule,
    *,
    shape: Rule,
    left: Rule,
    right: Rule,
    **slots: Unpack[Slots],
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

    made = Primitive(name, impl, shape=shape, vjp=reverse, jvp=forward, **slots)
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
    **slots: Unpack[Slots],
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

    return Primitive(name, impl, shape=shape, vjp=reverse, jvp=forward, multiple=multiple, **slots)


def constant(
    name: str,
    impl: Rule,
    *,
    shape: Rule,
    multiple: bool = False,
    **slots: Unpack[Slots],
) -> Primitive:
    """Declares a primitive whose result does not vary with small changes of its operands."""
    return Primitive(name, impl, shape=shape, vjp=None, jvp=None, multiple=multiple, **slots)
