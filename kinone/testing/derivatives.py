"""Checks of a primitive's derivative rules, against each other and finite differences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Array, Primitive, is_inexact, shape_dtype
from ..errors import MissingRuleError
from ..transforms import jvp, vjp
from .gradients import check_grads, inner, random_like
from .operands import FLOATS, cast_sample, flat, or_refused, restricted, samples_of, traced_subsets


def check_forward(primitive: Primitive, sample: Any) -> None:
    """`jvp` against finite differences, in each set of operands."""
    if primitive.vjp is None:
        return
    for traced in traced_subsets(sample):
        f, xs = restricted(primitive, sample, traced)
        or_refused(functools.partial(check_grads, f, xs, 1, modes=("fwd",)), traced)


def check_reverse(primitive: Primitive, sample: Any) -> None:
    """⟨g, jvp(t)⟩ = ⟨vjp(g), t⟩ for random `g` and `t`, to rounding, in each set of operands."""
    if primitive.vjp is None:
        return
    for traced in traced_subsets(sample):
        f, xs = restricted(primitive, sample, traced)
        or_refused(functools.partial(_check_transposed, f, xs), traced)


def _check_transposed(f: Callable[..., Any], xs: tuple[Array, ...]) -> None:
    rng = np.random.default_rng(1)
    direction = random_like(rng, xs)
    y, pullback = vjp(f, *xs)
    _, tangent = jvp(f, xs, direction)
    cotangents = [random_like(rng, y)]
    if isinstance(y, tuple):
        # Each result alone: the others' cotangents do not arrive.
        full = cotangents[0]
        cotangents += [
            tuple(g if i == j else np.zeros_like(g) for j, g in enumerate(full))
            for i in range(len(full))
        ]
        for i in range(len(y)):
            if is_inexact(y[i]):
                _check_transposed(functools.partial(_result, f, i), xs)
    for cotangent in cotangents:
        found = pullback(cotangent)
        left, right = inner(cotangent, tangent), inner(found, direction)
        scale = sum(
            float(np.sum(np.abs(np.asarray(c) * np.asarray(t))))
            for c, t in zip((*found,), direction, strict=True)
        )
        if not abs(left - right) <= 1e-12 * max(scale, abs(left), 1e-300):
            raise AssertionError(f"<g, jvp(t)> = {left!r}, and <vjp(g), t> = {right!r}")
        # One operand at a time: what one lacks another could make up for by chance only.
        for i, x in enumerate(xs):
            alone = tuple(t if i == j else np.zeros_like(t) for j, t in enumerate(direction))
            left, right = inner(cotangent, jvp(f, xs, alone)[1]), inner(found[i], direction[i])
            if not abs(left - right) <= 1e-12 * max(scale, abs(left), 1e-300):
                raise AssertionError(
                    f"operand {i} {shape_dtype(x)}: <g, jvp(t)> = {left!r}, "
                    f"and <vjp(g), t> = {right!r}"
                )


def _result(f: Callable[..., Any], index: int, *xs: Array) -> Array:
    return f(*xs)[index]


def check_second(primitive: Primitive, sample: Any) -> None:
    """Derivatives of the derivatives, all four mixtures, against finite differences."""
    if primitive.vjp is None:
        return
    for traced in traced_subsets(sample):
        f, xs = restricted(primitive, sample, traced)
        or_refused(functools.partial(check_grads, f, xs, 2, atol=1e-7, rtol=1e-7), traced)


def check_dtypes(primitive: Primitive, sample: Any) -> None:
    """Cotangents are like their operands and tangents like their results, in every dtype."""
    if primitive.vjp is None:
        return
    for dtype in FLOATS:
        casted = cast_sample(sample, dtype)
        if dtype is np.float16 and not _takes(primitive, casted):
            continue  # LAPACK has no half precision
        for traced in traced_subsets(casted):
            f, xs = restricted(primitive, casted, traced)

            with np.errstate(all="ignore"):
                or_refused(functools.partial(_check_kinds, f, xs), traced)


def _takes(primitive: Primitive, sample: Any) -> bool:
    with np.errstate(all="ignore"):
        try:
            primitive(*sample.args, **sample.params)
        except (TypeError, ValueError):
            return False
    return True


def _check_kinds(f: Callable[..., Any], xs: tuple[Array, ...]) -> None:
    rng = np.random.default_rng(2)
    y, pullback = vjp(f, *xs)
    for x, ct in zip(xs, pullback(random_like(rng, y)), strict=True):
        _same_kind("the cotangent", ct, x)
    value, tangent = jvp(f, xs, random_like(rng, xs))
    for v, t in zip(flat(value), flat(tangent), strict=True):
        _same_kind("the tangent", t, v)


def _same_kind(what: str, derivative: Array, primal: Array) -> None:
    got, want = shape_dtype(derivative), shape_dtype(primal)
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise AssertionError(f"{what} is {got} where the primal is {want}")


def check_sensitive(primitive: Primitive) -> None:
    """On some sample, the derivative with respect to each floating operand is not zero."""
    if primitive.vjp is None:
        return
    rng = np.random.default_rng(4)
    seen: dict[int, bool] = {}
    for sample in samples_of(primitive):
        for traced in traced_subsets(sample):
            if len(traced) != 1:
                continue
            f, xs = restricted(primitive, sample, traced)
            try:
                y, pullback = vjp(f, *xs)
            except MissingRuleError:
                continue
            (cotangent,) = pullback(random_like(rng, y))
            (position,) = traced
            if np.size(cotangent) == 0:
                continue
            seen[position] = seen.get(position, False) or bool(np.any(np.asarray(cotangent) != 0))
    if not seen:
        raise AssertionError(f"{primitive.name} has no sample with a floating operand")
    for position, found in seen.items():
        if not found:
            raise AssertionError(
                f"{primitive.name}: on every sample the derivative with respect to operand "
                f"{position} is zero; declare it constant, or give it a sample that shows it"
            )
