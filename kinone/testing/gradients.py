"""Derivatives against finite differences: `check_grads`.

The difference is central, of fourth order, at two step sizes, extrapolated (Richardson 1911): its
error is O(h⁶), which in float64 leaves some twelve correct digits. The tolerance can be tight
enough that a rule which is slightly wrong fails as surely as one that is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..core import Array, is_inexact, shape_dtype, zeros_of
from ..transforms import jvp, vjp

# Per dtype: step of the difference, and tolerance, absolute and relative.
_STEPS = {"float16": 5e-2, "float32": 2e-2, "float64": 2e-3}
_TOLERANCES = {"float16": 5e-2, "float32": 3e-3, "float64": 1e-8}
_MOST_LOCATED = 4096  # elements for which a failing reverse check looks, one by one, for the worst


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Checks the derivatives of `f` at `args` up to `order` against finite differences.

    Forward mode compares `jvp` along a random direction `t` with (f(x + h t) - f(x - h t)) / 2h,
    element by element; reverse mode compares ⟨vjp(g), t⟩ with ⟨g, ∂f·t⟩ for a random cotangent
    `g`. Order 2 checks the derivatives of `jvp` and `vjp` themselves, in both modes, and so on.

    `args` is a tuple of trees; integer leaves stay as they are. The tolerances, by default, are
    1e-8 in float64 and 3e-3 in float32; `eps` is the step `h`. `f` must be smooth within a few `h`
    of `args`, and deterministic.

    Raises `AssertionError` naming the leaf, the worst element and both values; also when `f` is NaN
    at `args`, or not finite so near to them that there is no difference to compare with.

        >>> check_grads(np.sin, (0.5,), order=3)
        >>> check_grads(lambda p: p["a"] * p["b"], ({"a": 2.0, "b": 3.0},), order=1, modes=["rev"])
    """
    args = tuple(args)
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    unknown = set(modes) - {"fwd", "rev"}
    if unknown:
        raise ValueError(f'modes are "fwd" and "rev", got {sorted(unknown)}')
    if order < 1:
        raise ValueError(f"order counts from 1, got {order}")
    _refuse_nan(f(*args), "f itself is NaN at these arguments")
    _check(f, args, order, modes, _Tolerance(args, atol, rtol, eps), "")


class _Tolerance:
    """The step and tolerances for the coarsest dtype among the arguments, unless given."""

    def __init__(
        self, args: Any, atol: float | None, rtol: float | None, eps: float | None
    ) -> None:
        names = {str(_real_dtype(leaf)) for leaf in tree.leaves(args) if is_inexact(leaf)}
        coarsest = next((name for name in _STEPS if name in names), "float64")
        self.eps = _STEPS[coarsest] if eps is None else eps
        self.atol = _TOLERANCES[coarsest] if atol is None else atol
        self.rtol = _TOLERANCES[coarsest] if rtol is None else rtol


def _real_dtype(leaf: Array) -> np.dtype[Any]:
    dtype = shape_dtype(leaf).dtype
    return np.zeros((), dtype).real.dtype


def _check(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    tolerance: _Tolerance,
    what: str,
) -> None:
    for mode in modes:
        if mode == "fwd":
            name = f"JVP of {what}" if what else "JVP"
            _check_jvp(f, args, tolerance, name)
            derived: Callable[..., Any] = functools.partial(jvp, f)
            # Integers do not move.
            still = tree.map(lambda x: x if is_inexact(x) else zeros_of(x), args)
            points: tuple[Any, ...] = (args, still)
        else:
            name = f"VJP of {what}" if what else "VJP"
            _check_vjp(f, args, tolerance, name)
            derived, points = functools.partial(_self_vjp, f), args
        if order > 1:
            _check(derived, points, order - 1, modes, tolerance, name)


def _self_vjp(f: Callable[..., Any], *args: Any) -> Any:
    """The pullback at the function's own value: like `f`, a function of `args` alone."""
    value, pullback = vjp(f, *args)
    return pullback(value)


def _check_jvp(f: Callable[..., Any], args: tuple[Any, ...], tol: _Tolerance, name: str) -> None:
    rng = np.random.default_rng(0)
    direction = random_like(rng, args)
    value, tangent = jvp(f, args, direction)
    assert_close(value, f(*args), tol, f"{name}: value")
    assert_close(tangent, _difference(f, args, direction, tol, name), tol, f"{name}: tangent")


def _check_vjp(f: Callable[..., Any], args: tuple[Any, ...], tol: _Tolerance, name: str) -> None:
    rng = np.random.default_rng(0)
    direction = random_like(rng, args)
    value, pullback = vjp(f, *args)
    assert_close(value, f(*args), tol, f"{name}: value")
    cotangent = random_like(rng, value)
    found = pullback(cotangent)
    if tree.structure(found) != tree.structure(args):
        raise AssertionError(f"{name}: the cotangents' structure is not that of the arguments")
    # Leaf by leaf: a wrong sign in one leaf cannot hide behind a large sum over the others.
    leaves, treedef = tree.flatten(args)
    for index, path in enumerate(tree.treedef_paths(treedef)):
        if not is_inexact(leaves[index]):
            continue
        alone = [
            d if i == index else np.zeros(np.shape(d), shape_dtype(d).dtype)[()]
            for i, d in enumerate(tree.leaves(direction))
        ]
        step = tree.unflatten(treedef, alone)
        want = inner(cotangent, _difference(f, args, step, tol, name))
        ct = tree.leaves(found)[index]
        got = inner(ct, alone[index])
        scale = float(np.sum(np.abs(_wide(ct) * _wide(alone[index]))))
        if not abs(got - want) <= tol.atol + tol.rtol * max(scale, abs(want)):
            where = _locate(f, args, index, cotangent, ct, tol)
            raise AssertionError(
                f"{name}: the cotangent of argument {_argument(path)} is wrong{where}\n"
                f"  <vjp(g), t> = {got!r}, and by finite differences {want!r}"
            )


def _difference(
    f: Callable[..., Any], args: tuple[Any, ...], direction: Any, tol: _Tolerance, name: str
) -> Any:
    """`numeric_jvp`, or an error where it is NaN: then no derivative can be held against it."""
    slope = numeric_jvp(f, args, direction, tol.eps)
    _refuse_nan(
        slope,
        f"{name}: there is nothing to compare with: f is NaN or infinite within a few "
        f"steps of {tol.eps} around these arguments",
    )
    return slope


def _refuse_nan(value: Any, complaint: str) -> None:
    for path, leaf in tree.leaves_with_path(value):
        if is_inexact(leaf) and np.any(np.isnan(leaf)):
            raise AssertionError(f"{complaint}{f', in its result {path}' if path else ''}")


def _locate(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    index: int,
    cotangent: Any,
    found: Array,
    tol: _Tolerance,
) -> str:
    """The worst element of one leaf's cotangent, by a difference for each element."""
    leaves, treedef = tree.flatten(args)
    leaf = np.asarray(leaves[index])
    if leaf.size > _MOST_LOCATED:
        return ""
    zero = [np.zeros(np.shape(x), shape_dtype(x).dtype) for x in leaves]
    worst, text = -1.0, ""
    for position in np.ndindex(leaf.shape):
        one = zero[index].copy()
        one[position] = 1
        step = tree.unflatten(treedef, [*zero[:index], one, *zero[index + 1 :]])
        want = inner(cotangent, numeric_jvp(f, args, step, tol.eps))
        got = float(np.real(np.asarray(found)[position]))
        if not abs(got - want) <= worst:
            worst = abs(got - want)
            text = f"; worst at {_index(position)}: {got!r}, by finite differences {want!r}"
    return text


def numeric_jvp(
    f: Callable[..., Any], args: Sequence[Any], direction: Sequence[Any], eps: float | None = None
) -> Any:
    """The derivative of `f` at `args` along `direction`, by finite differences of order six.

    >>> round(float(numeric_jvp(np.exp, (0.0,), (1.0,))), 10)
    1.0
    """
    h = _Tolerance(tuple(args), None, None, eps).eps

    def at(step: float) -> Any:
        return f(*tree.map(lambda x, t: _moved(x, t, step), tuple(args), tuple(direction)))

    points = {k: at(k * h / 2) for k in (-4, -2, -1, 1, 2, 4)}

    def combine(*values: Array) -> Array:
        if not is_inexact(values[0]):
            return np.zeros_like(values[0])
        y = dict(zip(points, map(_wide, values), strict=True))
        full = (8 * (y[2] - y[-2]) - (y[4] - y[-4])) / (12 * h)
        half = (8 * (y[1] - y[-1]) - (y[2] - y[-2])) / (6 * h)
        return (16 * half - full) / 15

    return tree.map(combine, *points.values())


def _moved(x: Array, direction: Array, step: float) -> Array:
    if not is_inexact(x):
        return x
    moved = x + step * np.asarray(direction)
    return float(moved) if isinstance(x, float) else moved.astype(shape_dtype(x).dtype)[()]


# ---- small tools ---------------------------------------------------------------------------------


def random_like(rng: np.random.Generator, value: Any) -> Any:
    """Standard normal numbers of the shapes and dtypes of a tree's leaves; integers are zeros."""

    def draw(leaf: Array) -> Array:
        known = shape_dtype(leaf)
        if not is_inexact(known):
            return zeros_of(leaf)
        numbers = rng.standard_normal(known.shape)
        if known.dtype.kind == "c":
            numbers = numbers + 1j * rng.standard_normal(known.shape)
        return np.asarray(numbers).astype(known.dtype)[()]

    return tree.map(draw, value)


def inner(a: Any, b: Any) -> float:
    """⟨a, b⟩ over the leaves of two trees; leaves that are not floating do not count."""
    total = 0.0
    for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True):
        if is_inexact(x):
            total += float(np.sum(np.real(_wide(x) * _wide(y))))
    return total


def assert_close(got: Any, want: Any, tol: _Tolerance, what: str) -> None:
    """Raises `AssertionError` naming the leaf and its worst element unless all are close."""
    if tree.structure(got) != tree.structure(want):
        raise AssertionError(f"{what}: the structures differ\n{tree.diff(want, got)}")
    for (path, a), b in zip(tree.leaves_with_path(got), tree.leaves(want), strict=True):
        name = f"{what}{f' of {path}' if path else ''}"
        if np.shape(a) != np.shape(b):
            raise AssertionError(f"{name} has shape {np.shape(a)}, and ought to have {np.shape(b)}")
        x, y = _wide(a), _wide(b)
        with np.errstate(invalid="ignore"):
            error = np.abs(x - y)
            same = (x == y) | (np.isnan(x) & np.isnan(y))
            excess = np.where(same, 0, error - tol.atol - tol.rtol * np.abs(y))
        bad = ~(excess <= 0)
        if np.any(bad):
            position = next(_worst(np.where(np.isnan(excess), np.inf, excess)))
            raise AssertionError(
                f"{name} is wrong in {np.count_nonzero(bad)} of {x.size} elements; worst at "
                f"{_index(position)}: {x[position]!r}, and it ought to be {y[position]!r}"
            )


def _worst(error: Array) -> Iterator[tuple[int, ...]]:
    yield tuple(int(i) for i in np.unravel_index(np.argmax(error), np.shape(error)))


def _wide(x: Array) -> Array:
    x = np.asarray(x)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _index(position: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, position))}]"


def _argument(path: str) -> str:
    """`0/params/w` as `args[0]/params/w`."""
    head, slash, rest = path.partition("/")
    return f"args[{head}]{slash}{rest}"
