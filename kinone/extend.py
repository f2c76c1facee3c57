"""Operations of your own: any Python function becomes a primitive, with the rules that you give.

The names are those of `autograd.extend`:

    >>> import numpy as np, kinone as kn
    >>> from kinone.extend import defjvp, defvjp, primitive
    >>> @primitive
    ... def cube(x):
    ...     return np.array([each**3 for each in np.ravel(x)]).reshape(np.shape(x))
    >>> defvjp(cube, lambda ans, x: lambda g: g * 3 * x**2)
    >>> kn.grad(lambda x: np.sum(cube(x)))(np.array([1.0, 2.0]))
    array([ 3., 12.])

What is inside of such a function is not traced: it sees plain arrays, may call SciPy or compiled
code, and may write into arrays of its own. Its rules are differentiated again, so they are written
in NumPy and in other primitives. `kinone.custom_vjp` is for a function that *can* be traced.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np

from . import source, tree
from .core import (
    Array,
    Primitive,
    ShapeDtype,
    Tracer,
    is_inexact,
    is_number,
    registry,
    shape_dtype,
)
from .errors import GradientError, MissingRuleError
from .ops.declare import cast
from .transforms import vjp
from .transforms.calls import Results

P = ParamSpec("P")
R = TypeVar("R")

# (argnums, ans, args, kwargs) -> (g -> the cotangents of the arguments at argnums)
_Pullbacks = Callable[[Sequence[int], Any, Sequence[Any], dict[str, Any]], Callable[[Any], Any]]
# (argnums, tangents, ans, args, kwargs) -> the tangent of ans
_Pushforward = Callable[[Sequence[int], Sequence[Any], Any, Sequence[Any], dict[str, Any]], Any]
_numbers = itertools.count(1)


class _Layout:
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


class _Declared(Primitive):
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
        self.name = self.__name__ = getattr(fun, "__name__", type(fun).__name__)
        self.__doc__ = fun.__doc__
        self.pullbacks: _Pullbacks | None = None
        self.pushforward: _Pushforward | None = None

    def _run(self, *operands: Array, layout: _Layout) -> tuple[Array, ...]:
        result = self.fun(*layout.filled(operands), **layout.kwargs)
        return layout.results.flatten(result, self.name)

    def _shape(self, *avals: ShapeDtype, layout: _Layout) -> tuple[ShapeDtype, ...]:
        """By a trial run on ones: nobody else can say what an unknown function returns."""
        ones = [
            aval.dtype.type(1).item() if aval.weak else np.ones(aval.shape, aval.dtype)[()]
            for aval in avals
        ]
        return tuple([shape_dtype(y) for y in self._run(*ones, layout=layout)])

    def _pull(
        self, wanted: Sequence[bool], ys: Sequence[Array], xs: Sequence[Array], layout: _Layout
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
            [_zero(a) if g is None else g for g, a in zip(gs, avals, strict=True)]
        )

    def _forward(
        self, ys: Sequence[Array], xs: Sequence[Array], tangents: Sequence[Any], params: Any
    ) -> tuple[Array | None, ...]:
        layout: _Layout = params["layout"]
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
            _fitted(f"the JVP of {self.name}", t, aval) if aval.dtype.kind in "fc" else None
            for t, aval in zip(leaves, avals, strict=True)
        )

    def _transposed(
        self,
        moving: Sequence[bool],
        tangents: Sequence[Array],
        ys: Sequence[Array],
        xs: Sequence[Array],
        layout: _Layout,
    ) -> tuple[Array | None, ...]:
        """The pushforward as the transpose of the pullback, which is linear (Townsend 2017)."""
        pull = self._pull(moving, ys, xs, layout)
        floating = [is_inexact(y) for y in ys]
        zeros = [_zero(shape_dtype(y)) for y in ys]

        def pulled(*gs: Array) -> list[Array]:
            rest = iter(gs)
            full = [next(rest) if flag else z for flag, z in zip(floating, zeros, strict=True)]
            return [
                _zero(shape_dtype(t)) if ct is None else ct
                for ct, t in zip(pull(full), tangents, strict=True)
            ]

        _, push = vjp(pulled, *[z for z, flag in zip(zeros, floating, strict=True) if flag])
        found = iter(push(list(tangents)))
        return tuple(next(found) if flag else None for flag in floating)


def _zero(aval: ShapeDtype) -> Array:
    return np.zeros(aval.shape, aval.dtype)[()]


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
    made = _Declared(fun, constant=constant)

    @functools.wraps(fun)
    def apply(*args: P.args, **kwargs: P.kwargs) -> R:
        if not any(isinstance(x, Tracer) for x in tree.leaves((args, kwargs))):
            return fun(*args, **kwargs)
        layout = _Layout(made.name, args, kwargs)
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
    """
    return _wrapped(fun, constant=False)


def notrace_primitive(fun: Callable[P, R]) -> Callable[P, R]:
    """`fun` as one operation whose result is constant as far as derivatives go."""
    return _wrapped(fun, constant=True)


def _declared(fun: Callable[..., Any]) -> _Declared:
    made = getattr(fun, "primitive", None)
    if not isinstance(made, _Declared):
        raise TypeError(
            f"{getattr(fun, '__name__', fun)!r} is no primitive of kinone.extend, "
            f"at {source.here()}\n  Decorate it with @kinone.extend.primitive."
        )
    return made


def _by_argnum(
    made: _Declared, rules: Sequence[Any], argnums: Iterable[int] | None, kind: str
) -> Callable[[int], Any]:
    """Finds the rule for an argument; None is for one whose derivative is zero."""
    table = dict(zip(itertools.count() if argnums is None else argnums, rules, strict=False))

    def find(argnum: int) -> Any:
        if argnum not in table:
            raise MissingRuleError(
                f"the {kind} of {made.name} with respect to argument {argnum} is not defined, "
                f"at {source.here()}\n  It has rules for: {', '.join(map(str, table))}."
            )
        return table[argnum]

    return find


def defvjp(
    fun: Callable[..., Any],
    *vjpmakers: Callable[..., Callable[[Any], Any]] | None,
    argnums: Iterable[int] | None = None,
) -> None:
    """Gives a primitive its reverse-mode rules, one for each argument.

    `vjpmaker(ans, *args, **kwargs)` returns the pullback `g -> cotangent`, of the argument's shape;
    `None` stands for a derivative that is zero. The rules are for arguments 0, 1, … or those of
    `argnums`; one that is asked for and missing raises `MissingRuleError`.
    """
    find = _by_argnum(_declared(fun), vjpmakers, argnums, "VJP")

    def vjpmaker(
        argnums: Sequence[int], ans: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Callable[[Any], Any]:
        rules = [find(argnum) for argnum in argnums]
        pulls = [None if rule is None else rule(ans, *args, **kwargs) for rule in rules]
        return lambda g: [None if pull is None else pull(g) for pull in pulls]

    defvjp_argnums(fun, vjpmaker)


def defvjp_argnum(
    fun: Callable[..., Any],
    vjpmaker: Callable[[int, Any, Sequence[Any], dict[str, Any]], Callable[[Any], Any]],
) -> None:
    """Gives a primitive one rule for all arguments: `vjpmaker(argnum, ans, args, kwargs)`."""

    def each(
        argnums: Sequence[int], ans: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Callable[[Any], Any]:
        pulls = [vjpmaker(argnum, ans, args, kwargs) for argnum in argnums]
        return lambda g: [pull(g) for pull in pulls]

    defvjp_argnums(fun, each)


def defvjp_argnums(fun: Callable[..., Any], vjpmaker: _Pullbacks) -> None:
    """Gives a primitive one rule for several arguments at once: `vjpmaker(argnums, ans, args,
    kwargs)` returns `g -> cotangents`."""
    _declared(fun).pullbacks = vjpmaker


def defjvp(
    fun: Callable[..., Any],
    *jvpfuns: Callable[..., Any] | Literal["same"] | None,
    argnums: Iterable[int] | None = None,
) -> None:
    """Gives a primitive its forward-mode rules, one for each argument.

    `jvpfun(g, ans, *args, **kwargs)` is the tangent of `ans` where that argument alone moves by
    `g`; None stands for zero, "same" for a function that is linear in it.
    """
    find = _by_argnum(_declared(fun), jvpfuns, argnums, "JVP")

    def each(argnum: int, g: Any, ans: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        rule = find(argnum)
        if rule is None:
            return None
        if rule == "same":
            return fun(*[g if i == argnum else arg for i, arg in enumerate(args)], **kwargs)
        return rule(g, ans, *args, **kwargs)

    defjvp_argnum(fun, each)


def defjvp_argnum(
    fun: Callable[..., Any],
    jvpmaker: Callable[[int, Any, Any, Sequence[Any], dict[str, Any]], Any],
) -> None:
    """Gives a primitive one rule for all arguments: `jvpmaker(argnum, g, ans, args, kwargs)`."""

    def summed(
        argnums: Sequence[int], gs: Sequence[Any], ans: Any, args: Sequence[Any], kwargs: Any
    ) -> Any:
        terms = [jvpmaker(i, g, ans, args, kwargs) for i, g in zip(argnums, gs, strict=True)]
        terms = [term for term in terms if term is not None]
        if not terms:
            return tree.map(lambda y: _zero(shape_dtype(y)), ans)
        return functools.reduce(
            lambda a, b: tree.map(lambda x, y: x + y, a, b), terms[1:], terms[0]
        )

    _declared(fun).pushforward = summed


def def_linear(fun: Callable[..., Any]) -> None:
    """Says that a primitive is linear in each of its arguments: this is its forward-mode rule."""

    def same(argnum: int, g: Any, ans: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return fun(*[g if i == argnum else arg for i, arg in enumerate(args)], **kwargs)

    defjvp_argnum(fun, same)


__all__ = [
    "def_linear",
    "defjvp",
    "defjvp_argnum",
    "defvjp",
    "defvjp_argnum",
    "defvjp_argnums",
    "notrace_primitive",
    "primitive",
]
