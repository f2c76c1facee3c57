"""`odeint` with derivatives by the initial state, the times and the arguments, in both modes.

Backwards in time runs the adjoint system: with λ = ∂L/∂y(t), from the last time to the first,

    dλ/dt = -λ ∂f/∂y,    dL/dθ = ∫ λ ∂f/∂θ dt,
    dL/dtᵢ = gᵢ · f(yᵢ, tᵢ),    dL/dt₀ = -λ(t₀) · f(y₀, t₀)

where λ jumps by the cotangent gᵢ of y(tᵢ) at each time (Fröhlich et al. 2017, arXiv:1711.08079;
Chen et al. 2018, arXiv:1806.07366). Only the states at the times asked for are kept: between them
y is integrated backwards along with λ. Forward mode integrates the sensitivities,
ds/dt = ∂f/∂y s + ∂f/∂θ θ̇. Both are `odeint` again, so there are derivatives of every order, as
exact as `rtol` and `atol`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.integrate

from .. import ops, source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    is_inexact,
    is_number,
    ndim_of,
    shape_dtype,
    shape_of,
)
from ..errors import GradientError, MissingRuleError, ShapeError
from ..ops.axes import as_array
from ..ops.declare import cast, primitive
from ..ops.plain import is_traced
from ..ops.samples import Sample, values
from ..transforms import jvp, vjp

Field = Callable[..., Array]  # f(y, t, *operands) -> dy/dt, all of them flat
Options = tuple[tuple[str, Any], ...]


class _Call:
    """The user's function as one of the state, the time and the numbers among its arguments."""

    def __init__(self, func: Callable[..., Any], args: Any, tfirst: bool) -> None:
        self.func = func
        self.tfirst = tfirst
        self.leaves, self.treedef = tree.flatten(tuple(args))
        self.places = [i for i, leaf in enumerate(self.leaves) if is_number(leaf)]
        self.operands = [self.leaves[i] for i in self.places]
        for i in self.places:
            self.leaves[i] = None  # a traced value is an operand, and nothing else holds it

    def __call__(self, y: Array, t: Array, *operands: Array) -> Array:
        leaves = list(self.leaves)
        for i, operand in zip(self.places, operands, strict=True):
            leaves[i] = operand
        args = tree.unflatten(self.treedef, leaves)
        found = self.func(t, y, *args) if self.tfirst else self.func(y, t, *args)
        if isinstance(found, (list, tuple)):
            found = ops.array(found)
        return np.reshape(found, shape_of(y))

    def __repr__(self) -> str:
        return getattr(self.func, "__name__", type(self.func).__name__)


def _plain(field: Callable[..., Any]) -> Callable[..., Any]:
    """A field that says so when it returns a traced value, which SciPy could not use."""

    def checked(*args: Any) -> Any:
        found = field(*args)
        if is_traced((found,)):
            raise GradientError(
                f"the function given to odeint uses a traced value, at {source.here()}\n"
                "  Pass it to the function: odeint(func, y0, t, args=(value,))."
            )
        return found

    return checked


def _integrate(y0: Array, t: Array, *operands: Array, field: Field, options: Options) -> Array:
    """The states (T, D) at the times t (T,), of the initial state y0 (D,) at the first of them."""
    plain = _plain(field)
    y0, t = np.asarray(y0, np.float64), np.asarray(t, np.float64)
    if y0.size == 0 or t.size == 0:
        return np.zeros((t.size, y0.size))
    return scipy.integrate.odeint(lambda y, s: plain(y, s, *operands), y0, t, **dict(options))


def _floats(operands: Sequence[Array]) -> list[int]:
    return [i for i, each in enumerate(operands) if is_inexact(each)]


def _merged(
    operands: Sequence[Array], places: Sequence[int], chosen: Sequence[Array]
) -> list[Array]:
    found = list(operands)
    for i, each in zip(places, chosen, strict=True):
        found[i] = each
    return found


def _wide(x: Array) -> Array:
    """A number among the arguments in double precision: a derivative in less would be noise to an
    integrator that goes for 1e-8."""
    return x.astype(np.float64) if getattr(x, "dtype", None) in (np.float16, np.float32) else x


def _for_more(options: Options) -> Options:
    """The options for a system of more equations: tolerances of each become the smallest."""
    return tuple(
        (key, float(np.min(value)) if key in ("rtol", "atol") and value is not None else value)
        for key, value in options
    )


def _vjp(ys: Array, y0: Array, t: Array, *operands: Array, field: Field, options: Options) -> Any:
    count, size = shape_of(ys)
    places = _floats(operands)
    avals = [shape_dtype(operands[i]) for i in places]
    operands = tuple(_wide(each) for each in operands)
    more = _for_more(options)

    def adjoint(state: Array, s: Array, *operands: Array) -> Array:
        y, slope = state[:size], state[size : 2 * size]

        def moving(y: Array, *chosen: Array) -> Array:
            return field(y, s, *_merged(operands, places, chosen))

        dy, pull = vjp(moving, y, *[operands[i] for i in places])
        found = pull(-slope)
        return np.concatenate([dy, *[np.ravel(each) for each in found]])

    def pullback(g: Array) -> list[Array | None]:
        slope = g[count - 1]
        total = np.zeros(sum(aval.size for aval in avals))
        of_times: list[Array] = []
        for i in range(count - 1, 0, -1):
            of_times.append(np.sum(g[i] * field(ys[i], t[i], *operands)))
            state = np.concatenate([ys[i], slope, total])
            span = np.stack([t[i], t[i - 1]])
            last = odeint_p(state, span, *operands, field=adjoint, options=more)[1]
            before, total = last[size : 2 * size], last[2 * size :]
            if i == 1:
                of_times.append(-np.sum(before * field(ys[0], t[0], *operands)))
            slope = before + g[i - 1]
        if not of_times:
            of_times.append(np.zeros(()))
        cotangents: list[Array | None] = [None] * len(operands)
        start = 0
        for place, aval in zip(places, avals, strict=True):
            part = np.reshape(total[start : start + aval.size], aval.shape)
            cotangents[place] = cast(part, aval.dtype)
            start += aval.size
        return [
            cast(slope, shape_dtype(y0).dtype) if is_inexact(y0) else None,
            cast(np.stack(of_times[::-1]), shape_dtype(t).dtype) if is_inexact(t) else None,
            *cotangents,
        ]

    return pullback


def _jvp(ys: Array, y0: Array, t: Array, *operands: Array, field: Field, options: Options) -> Any:
    size = shape_of(ys)[1]

    operands = tuple(_wide(each) for each in operands)

    def pushforward(moved_y: Array, moved_t: Array, *moved: Array) -> Array:
        places = [i for i, each in enumerate(moved) if each is not None]

        def sensitivity(state: Array, s: Array, *both: Array) -> Array:
            given, tangents = both[: len(operands)], both[len(operands) :]

            def moving(y: Array, *chosen: Array) -> Array:
                return field(y, s, *_merged(given, places, chosen))

            primals = (state[:size], *[given[i] for i in places])
            dy, ds = jvp(moving, primals, (state[size:], *tangents))
            return np.concatenate([dy, ds])

        start = np.zeros(size) if moved_y is None else moved_y
        along_the_way: Array = 0
        if moved_t is not None:
            speeds = np.stack([field(ys[i], t[i], *operands) for i in range(shape_of(t)[0])])
            along_the_way = speeds * moved_t[:, None]
            start = start - along_the_way[0]
        state = np.concatenate([ys[0], start])
        tangents = [_wide(moved[i]) for i in places]
        found = odeint_p(
            state, t, *operands, *tangents, field=sensitivity, options=_for_more(options)
        )[:, size:]
        return found + along_the_way

    return pushforward


def _batch(size: int, batched: Sequence[bool], *xs: Array, field: Field, options: Options) -> Array:
    """One integration for each example: each has step sizes of its own."""
    if size == 0:
        rows = [shape_of(x)[int(flag) :][0] for x, flag in zip(xs[:2], batched[:2], strict=True)]
        return np.zeros((0, rows[1], rows[0]))
    return np.stack(
        [
            odeint_p(
                *[x[i] if flag else x for x, flag in zip(xs, batched, strict=True)],
                field=field,
                options=options,
            )
            for i in range(size)
        ]
    )


def _pendulum(y: Array, t: Array, stiffness: Array, damping: Array) -> Array:
    """The field of the sample: it depends on everything, and not linearly."""
    drive = np.sum(damping * y) + np.cos(t)
    return np.stack([y[1] * stiffness, -np.sin(y[0]) - drive])


def _positive(*shape: int, seed: int = 0) -> Array:
    """Operands that stay small as unsigned integers, too."""
    return values(*shape, domain=(0.2, 1.9), seed=seed)


odeint_p: Primitive = primitive(
    "scipy.integrate.odeint",
    _integrate,
    shape=lambda y0, t, *operands, **params: ShapeDtype((t.shape[0], y0.shape[0]), np.float64),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    fill=False,
    samples=lambda: [
        Sample(
            (_positive(2), np.array([0.0, 0.1, 0.25]), _positive(seed=1), _positive(2, seed=2)),
            {"field": _pendulum, "options": (("rtol", 1e-13), ("atol", 1e-14), ("mxstep", 9000))},
        )
    ],
)

_UNSUPPORTED = ("full_output", "printmessg")
_OF_THE_JACOBIAN = ("Dfun", "col_deriv", "ml", "mu")


def odeint(func: Callable[..., Any], y0: Array, t: Array, args: Any = (), **options: Any) -> Any:
    """The states y(t), (T, D), of dy/dt = func(y, t, *args) with y(t[0]) = y0.

    `y0` is (D,) or a number, `t` (T,) in order, either way; each of `args` is a number, an array or
    a tree of them. Differentiable by all three, to the precision of `rtol` and `atol`; a traced
    value is passed in `args`, not closed over, which raises `GradientError`. `func` may be called
    with traced values, and is plain NumPy. `options` are SciPy's. For traced values, those of the
    Jacobian are not needed, and `full_output` raises `MissingRuleError`. `vmap` integrates the
    examples one by one.

    >>> decay = lambda y, t, rate: -rate * y
    >>> odeint(decay, np.array([1.0]), np.array([0.0, 1.0]), (2.0,)).round(4)
    array([[1.    ],
           [0.1353]])
    """
    args = args if isinstance(args, tuple) else (args,)
    if not is_traced(tree.leaves((y0, t, args))):
        return scipy.integrate.odeint(_plain(func), y0, t, args, **options)
    for key in _UNSUPPORTED:
        if options.pop(key, False):
            raise MissingRuleError(
                f"odeint has no rule for {key}=True on traced values, at {source.here()}"
            )
    for key in _OF_THE_JACOBIAN:
        options.pop(key, None)
    call = _Call(func, args, bool(options.pop("tfirst", False)))
    y0, t = as_array(y0), as_array(t)
    if ndim_of(y0) == 0:
        y0 = np.reshape(y0, (1,))
    if ndim_of(y0) > 1 or ndim_of(t) != 1:
        raise ShapeError(
            f"odeint: the state is a vector and so are the times; "
            f"got {shape_dtype(y0)} and {shape_dtype(t)}"
        )
    return odeint_p(y0, t, *call.operands, field=call, options=tuple(options.items()))


__all__ = ["odeint"]
