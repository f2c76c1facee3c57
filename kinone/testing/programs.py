"""Checks of a primitive in traced programs: the bits are those of eager mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import tree
from ..compile import jit
from ..core import Array, Primitive, is_inexact, shape_dtype
from ..errors import MissingRuleError, TracerConversionError
from ..graph import check, graph
from ..transforms import jvp, vjp
from .gradients import random_like
from .operands import FLOATS, cast_sample, flat, restricted


def check_graph(primitive: Primitive, sample: Any) -> None:
    """The traced program, and that of the derivatives, give the bits of eager mode."""
    for f, xs, needed in _functions(primitive, sample):
        compare_graph(f, xs, needed=needed)


def check_jit(primitive: Primitive, sample: Any) -> None:
    """The compiled program, and that of the derivatives, give the bits of eager mode, also when
    it runs a second time, in memory that it has used before."""
    for f, xs, needed in _functions(primitive, sample):
        compare_jit(f, xs, needed=needed)


def _functions(
    primitive: Primitive, sample: Any
) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...], bool]]:
    """The primitive, its pullback and its pushforward as functions, with arguments; and whether
    they must be traceable: operands that are data, such as indices, may be needed as numbers."""
    for dtype in FLOATS[:2]:
        casted = cast_sample(sample, dtype)
        everything = tuple(range(len(casted.args)))
        floats = tuple(i for i in everything if is_inexact(casted.args[i]))
        for traced in dict.fromkeys([everything, floats]):
            f, xs = restricted(primitive, casted, traced)
            yield f, xs, traced == floats
        if primitive.vjp is None or not floats:
            continue
        f, xs = restricted(primitive, casted, floats)
        rng = np.random.default_rng(3)
        try:
            y, _ = vjp(f, *xs)
        except MissingRuleError:
            f, xs = restricted(primitive, casted, floats[:1])
            y, _ = vjp(f, *xs)
        yield functools.partial(_pulled, f), (random_like(rng, y), *xs), True
        yield functools.partial(_pushed, f), (random_like(rng, xs), *xs), True


def _pulled(f: Callable[..., Any], g: Any, *xs: Array) -> Any:
    return vjp(f, *xs)[1](g)


def _pushed(f: Callable[..., Any], tangents: Any, *xs: Array) -> Any:
    return jvp(f, xs, tangents)


def compare_graph(f: Callable[..., Any], xs: tuple[Any, ...], *, needed: bool = True) -> None:
    """The program of `f` is well formed and gives the bits of `f`."""
    try:
        program = graph(f)(*xs)
    except TracerConversionError:
        if needed:
            raise
        return
    check(program)
    want = f(*xs)
    same_bits(program(*xs), want, "the graph")
    for atom, value in zip(program.outputs, flat(want), strict=True):
        if (atom.aval.shape, atom.aval.dtype) != (np.shape(value), shape_dtype(value).dtype):
            raise AssertionError(
                f"the graph says {atom.aval}, and eager mode returns {shape_dtype(value)}"
            )


def compare_jit(f: Callable[..., Any], xs: tuple[Any, ...], *, needed: bool = True) -> None:
    """`jit(f)` gives the bits of `f`, twice."""
    compiled, want = jit(f), f(*xs)
    try:
        first = tree.map(np.array, compiled(*xs))
    except TracerConversionError:
        if needed:
            raise
        return
    same_bits(first, want, "the compiled program")
    same_bits(compiled(*xs), want, "the compiled program, run again,")


def same_bits(got: Any, want: Any, who: str) -> None:
    """Raises `AssertionError` unless two results are equal to the last bit."""
    for a, b in zip(flat(got), flat(want), strict=True):
        left, right = np.asarray(a), np.asarray(b)
        if left.dtype != right.dtype or left.shape != right.shape:
            raise AssertionError(
                f"{who} returns {shape_dtype(left)}, eager mode {shape_dtype(right)}"
            )
        if left.tobytes() != right.tobytes():
            raise AssertionError(f"{who} returns other bits than eager mode")
