"""Any Python function as a primitive, which asks its user for the rules."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Tracer,
    is_inexact,
    is_number,
    registry,
    shape_dtype,
    zeros_of,
)
from ..errors import GradientError, MissingRuleError
from ..ops.declare import cast
from ..transforms import vjp
from ..transforms.calls import Results

P = ParamSpec("P")
R = TypeVar("R")

# (argnums, ans, args, kwargs) -> (g -> the cotangents of the arguments at argnums)
Pullbacks = Callable[[Sequence[int], Any, Sequence[Any], dict[str, Any]], Callable[[Any], Any]]
# (argnums, tangents, ans, args, kwargs) -> the tangent of ans
Pushforward = Callable[[Sequence[int], Sequence[Any], Any, Sequence[Any], dict[str, Any]], Any]
_numbers = itertools.count(1)


class Layout:
    """How the arguments of one call are put together: which are operands, and what the rest is."""

    def __init__(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.places = [i for i, arg in enumerate(args) if is_number(arg)]
        self.results = Results(name)
        for what, arg in [*enumerate(args), *kwargs.items()]:
            if what not in self.places and any(isinstance(x, Tracer) for x in tree.leaves(arg)):
                inside = f"argument {what}" if isinstance(what, int) else f"{what}="
                raise GradientError(
                    f"{name} got a traced value inside {inside}, at {source.here()}\n"
                    "  A primitive's operands are arrays, each a positional argument of its own."
                )

    def filled(self, operands: Sequence[Array]) -> list[Any]:
        """All positional arguments."""
        args = list(self.args)
        for place, operand in zip(self.places, operands, strict=True):
            args[place] = operand
        return args

    def __repr__(self) -> str:
        return self.results.name


class Declared(Primitive):
    """A primitive whose rules are given later, and are those of its user."""

    def __init__(self, fun: Callable[..., Any], *, constant: bool) -> None:
        super().__init__(
            f"kinone.extend.primitive {next(_numbers)}",
            self._run,
            shape=self._shape,
            vjp=None if constant else self._reverse,
            jvp=None if constant else self._forward,
            multiple=True,
        )
        # The registry is of Kinone's own primitives, by unique names.
        del registry[self.name]
        self.fun = fun
        self.name = self.__name__ = source.name_of(fun)
        self.__doc__ = fun.__doc__
        self.pullbacks: Pullbacks | None = None
        self.pushforward: Pushforward | None = None

    def _run(self, *operands: Array, layout: Layout) -> tuple[Array, ...]:
        result = self.fun(*layout.filled(operands), **layout.kwargs)
        return layout.results.flatten(result, self.name)

    def _shape(self, *avals: ShapeDtype, layout: Layout) -> tuple[ShapeDtype, ...]:
        """By a trial run on ones: nobody else can say what an unknown function returns."""
        ones = [
            aval.dtype.type(1).item() if aval.weak else np.ones(aval.shape, aval.dtype)[()]
            for aval in avals
        ]
        return tuple([shape_dtype(y) for y in self._run(*ones, layout=layout)])

    def _pull(
        self, wanted: Sequence[bool], ys: Sequence[Array], xs: Sequence[Array], layout: Layout
    ) -> Callable[[Sequence[Array]], list[Array | None]]:
        """The pullback of cotangents of all results, none of them None."""
        argnums = [i for i, flag in zip(layout.places, wanted, strict=True) if flag]
        if self.pullbacks is None:
            raise MissingRuleError(
                f"the derivative of {self.name} with respect to argument {argnums[0]} is not "
                f"defined, at {source.here()}\n"
                f"  Call kinone.extend.defvjp({self.name}, lambda ans, x: lambda g: …)."
            )
        ans = layout.results.unflatten(ys)
        pull = self.pullbacks(argnums, ans, layout.filled(xs), layout.kwargs)
        avals = [shape_dtype(x) for x, flag in zip(xs, wanted, strict=True) if flag]

        def pullback(gs: Sequence[Array]) -> list[Array | None]:
            cotangents = list(pull(layout.results.unflatten(gs)))
            if len(cotangents) != len(avals):
                raise GradientError(
                    f"the VJP of {self.name} returned {len(cotangents)} cotangents for "
                    f"{len(avals)} arguments, at {source.here()}"
                )
            return [
                _fitted(f"the VJP of {self.name} wrt argument {i}", ct, aval)
                for i, ct, aval in zip(argnums, cotangents, avals, strict=True)
            ]

        return pullback

    def _reverse(
        self, wanted: Sequence[bool], ys: Sequence[Array], xs: Sequence[Array], params: Any
    ) -> Callable[[Sequence[Array | None]], list[Array | None]]:
        pull = self._pull(wanted, ys, xs, params["layout"])
        avals = [shape_dtype(y) for y in ys]
        return lambda gs: pull(
            [zeros_of(a) if g is None else g for g, a in zip(gs, avals, strict=True)]
        )

    def _forward(
        self, ys: Sequence[Array], xs: Sequence[Array], tangents: Sequence[Any], params: Any
    ) -> tuple[Array | None, ...]:
        layout: Layout = params["layout"]
        moving = [t is not None for t in tangents]
        given = [t for t in tangents if t is not None]
        avals = [shape_dtype(y) for y in ys]
        if self.pushforward is None:
            return self._transposed(moving, given, ys, xs, layout)
        argnums = [i for i, flag in zip(layout.places, moving, strict=True) if flag]
        ans = layout.results.unflatten(ys)
        tangent = self.pushforward(argnums, given, ans, layout.filled(xs), layout.kwargs)
        leaves = layout.results.flatten(tangent, f"the JVP of {self.name}")
        return tuple(
            _fitted(f"the JVP of {self.name}", t, aval) if is_inexact(aval) else None
            for t, aval in zip(leaves, avals, strict=True)
        )

    def _transposed(
        self,
        moving: Sequence[bool],
        tangents: Sequence[Array],
        ys: Sequence[Array],
        xs: Sequence[Array],
        layout: Layout,
    ) -> tuple[Array | None, ...]:
        """The pushforward as the transpose of the pullback, which is linear (Townsend 2017)."""
        pull = self._pull(moving, ys, xs, layout)
        floating = [is_inexact(y) for y in ys]
        zeros = [zeros_of(y) for y in ys]

        def pulled(*gs: Array) -> list[Array]:
            rest = iter(gs)
            full = [next(rest) if flag else z for flag, z in zip(floating, zeros, strict=True)]
            return [
                zeros_of(t) if ct is None else ct
                for ct, t in zip(pull(full), tangents, strict=True)
            ]

        _, push = vjp(pulled, *[z for z, flag in zip(zeros, floating, strict=True) if flag])
        found = iter(push(list(tangents)))
        return tuple(next(found) if flag else None for flag in floating)


def _fitted(what: str, value: Any, aval: ShapeDtype) -> Array | None:
    """A derivative in its primal's dtype; its shape is the rule's own affair, and checked."""
    if value is None:
        return None
    if not isinstance(value, (np.ndarray, np.generic, Tracer)):
        value = np.asarray(value)
    if value.shape != aval.shape:
        raise ValueError(
            f"{what} returned {shape_dtype(value)} where the value is {aval}, at {source.here()}\n"
            "  Sum over the axes that were broadcast."
        )
    return cast(value, aval.dtype)


def _wrapped(fun: Callable[P, R], *, constant: bool) -> Callable[P, R]:
    made = Declared(fun, constant=constant)

    @functools.wraps(fun)
    def apply(*args: P.args, **kwargs: P.kwargs) -> R:
        if not any(isinstance(x, Tracer) for x in tree.leaves((args, kwargs))):
            return fun(*args, **kwargs)
        layout = Layout(made.name, args, kwargs)
        operands = [args[place] for place in layout.places]
        results = made(*operands, layout=layout)
        value: R = layout.results.unflatten(results)
        return value

    apply.fun = fun  # type: ignore[attr-defined]
    apply.primitive = made  # type: ignore[attr-defined]
    return apply


def primitive(fun: Callable[P, R]) -> Callable[P, R]:
    """`fun` as one operation, which transformations do not look into.

    Its operands are the positional arguments that are arrays or numbers; all else stays as it is.
    It returns an array or a tree of arrays. `defvjp` and `defjvp` give it derivatives: forward mode
    without `defjvp` transposes the `defvjp` rule. `vmap` calls it once for each example, and a
    `BatchLoopWarning` says so; tracing to a program runs it once on ones, to know its result's
    shape.

    >>> import numpy as np, kinone as kn
    >>> @kn.extend.primitive
    ... def weigh(x, digits):
    ...     return np.array([round(each, digits) for each in x])
    >>> kn.extend.defvjp(weigh, lambda ans, x, digits: lambda g: g, None)
    >>> kn.grad(lambda x: np.sum(weigh(x, 1) ** 2))(np.array([1.01, 1.98]))
    array([2., 4.])
    """
    return _wrapped(fun, constant=False)


def notrace_primitive(fun: Callable[P, R]) -> Callable[P, R]:
    """`fun` as one operation whose result is constant as far as derivatives go.

    >>> import numpy as np, kinone as kn
    >>> ranks = kn.extend.notrace_primitive(lambda x: np.argsort(np.argsort(x)))
    >>> kn.grad(lambda x: np.sum(x * ranks(x)))(np.array([3.0, 1.0, 2.0]))
    array([2., 0., 1.])
    """
    return _wrapped(fun, constant=True)
