"""`custom_jvp`: a function that brings its own derivative, for forward and for reverse mode."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from .. import source, tree
from ..core import Array, Primitive, Tracer, is_inexact, running, shape_dtype
from ..errors import GradientError
from ..ops.samples import Sample, values
from .arguments import name_of
from .axis_names import named_axis
from .calls import (
    Batch,
    Call,
    Results,
    Signature,
    bind,
    by_run,
    check_closure,
    check_numbers,
    merged,
    run_call,
    shape_of_call,
)
from .forward import zero_tangent
from .reverse import ReverseTrace, ReverseTracer, backward

P = ParamSpec("P")
R = TypeVar("R")

_WHY = "Its rule says how to differentiate with respect to its arguments, and nothing of this."


class custom_jvp(Generic[P, R]):
    """A function whose derivative is computed by a rule of your own, in both modes.

        f = custom_jvp(f)          or, as a decorator, @custom_jvp
        f.defjvp(rule)             or f.defjvps(rule of the first argument, …)

    `rule(primals, tangents)` gets two tuples and returns `(f(*primals), tangent of it)`. The
    tangent must be linear in `tangents`: reverse mode is the transpose of that very rule. Arguments
    named by `nondiff_argnums` (positions) or `nondiff_argnames` are not differentiated and may be
    anything; the rule gets them first: `rule(*nondiff_args, primals, tangents)`. Tangents that are
    zero arrive as zeros.

    `jvp`, `linearize`, `grad` and `vjp` use the rule, at every order; `vmap` batches it. What the
    function uses of traced values must be passed to it: one that it closes over raises
    `GradientError`. A tangent that does not fit the result raises `TreeError` or `ValueError`.

        >>> import numpy as np, kinone as kn
        >>> @kn.custom_jvp
        ... def log1pexp(x):
        ...     return np.log(1.0 + np.exp(x))
        >>> @log1pexp.defjvp
        ... def log1pexp_jvp(primals, tangents):
        ...     (x,), (t,) = primals, tangents
        ...     return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * t
        >>> kn.grad(log1pexp)(100.0)  # without the rule inf/inf at 1000
        np.float64(1.0)
    """

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.jvp: Callable[..., Any] | None = None
        self._signature = Signature(fun, nondiff_argnums, nondiff_argnames)

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the function its rule, which is handed back: this is a decorator too."""
        self.jvp = jvp
        return jvp

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Gives the function a rule for each argument: `rule(t, y, *primals)` is the tangent of the
        result `y` where that argument alone moves; None stands for zero.

            >>> import numpy as np, kinone as kn
            >>> area = kn.custom_jvp(lambda a, b: a * b)
            >>> area.defjvps(lambda t, y, a, b: t * b, lambda t, y, a, b: a * t)
            >>> kn.grad(area, (0, 1))(2.0, 3.0)
            (np.float64(3.0), np.float64(2.0))
        """

        def rule(*args: Any) -> Any:
            *static, primals, tangents = args
            if static:
                raise GradientError(
                    f"defjvps of {name_of(self.fun)} knows no nondiff_argnums, "
                    f"at {source.here()}\n  Use defjvp."
                )
            value: Any = self(*primals)  # type: ignore[call-arg]  # these are P.args
            terms = [
                one(t, value, *primals)
                for one, t in zip(rules, tangents, strict=True)
                if one is not None
            ]
            if not terms:
                return value, tree.map(lambda y: zero_tangent(shape_dtype(y)), value)
            total = functools.reduce(
                lambda a, b: tree.map(lambda x, y: x + y, a, b), terms[1:], terms[0]
            )
            return value, total

        self.jvp = rule

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.jvp is None:
            raise AttributeError(
                f"custom_jvp {name_of(self.fun)} has no rule yet, at {source.here()}\n"
                f"  Call {name_of(self.fun)}.defjvp(rule) first."
            )
        placed = self._signature.positional(args, kwargs)
        static, trees = self._signature.split(placed)
        leaves, treedef = tree.flatten(trees)
        if not any(isinstance(leaf, Tracer) for leaf in leaves):
            return self.fun(*placed)  # type: ignore[call-arg]  # by position, defaults and all
        names = self._signature.names(placed, static)
        check_numbers(trees, names, "custom_jvp")
        call = _Rules(self.fun, self.jvp, static, treedef)
        results = bind(custom_jvp_call, call, leaves, _WHY)
        check_closure(results, call.name, _WHY)
        value: R = call.results.unflatten(results)
        return value

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<custom_jvp {name_of(self.fun)}>"


class _Call(Call):
    """The function on flat leaves, and its rule."""

    results: Results

    def push(
        self, leaves: Sequence[Array], tangents: Sequence[Array]
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The results and their tangents."""
        raise NotImplementedError


class _Rules(_Call):
    """The user's functions, for one call."""

    def __init__(
        self,
        fun: Callable[..., Any],
        jvp: Callable[..., Any],
        static: dict[int, Any],
        treedef: tree.TreeDef,
    ) -> None:
        self.name = name_of(fun)
        self.fun, self.jvp = fun, jvp
        self.static = static
        self.treedef = treedef
        self.results = Results(self.name)

    def run(self, *leaves: Array) -> tuple[Array, ...]:
        result = self.fun(*merged(self.static, tree.unflatten(self.treedef, leaves)))
        return self.results.flatten(result, self.name)

    def push(
        self, leaves: Sequence[Array], tangents: Sequence[Array]
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        static = [self.static[i] for i in sorted(self.static)]
        primals = tree.unflatten(self.treedef, leaves)
        pair = self.jvp(*static, primals, tree.unflatten(self.treedef, tangents))
        rule = f"the jvp rule of {self.name}"
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise GradientError(
                f"{rule} returned a {type(pair).__name__}, and (result, tangent) is wanted, "
                f"at {source.here()}"
            )
        results = self.results.flatten(pair[0], rule)
        pushed = self.results.flatten(pair[1], f"the tangent of {rule}")
        paths = tree.paths(pair[0])
        return results, tuple(map(functools.partial(_checked, self.name), paths, results, pushed))


def _checked(name: str, path: str, result: Array, tangent: Array) -> Array:
    want = shape_dtype(result)
    if want.dtype.kind not in "fc":
        return tangent
    if isinstance(tangent, (bool, int, float, complex)):
        tangent = want.dtype.type(tangent)
    got = shape_dtype(tangent)
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise ValueError(
            f"the jvp rule of {name} returned {got} as the tangent of {path or 'the result'}, "
            f"which is {want}, at {source.here()}"
        )
    return tangent


class _Batched(_Call):
    """A call for whole batches."""

    def __init__(self, call: _Call, batch: Batch) -> None:
        self.name = call.name
        self.results = call.results
        self.call = call
        self.batch = batch
        self.run = batch.run(call.run)  # type: ignore[method-assign]

    def push(
        self, leaves: Sequence[Array], tangents: Sequence[Array]
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        batch = self.batch
        trace = batch.trace()
        with running(trace), named_axis(trace):
            results, pushed = self.call.push(
                batch.enter(trace, leaves), batch.enter(trace, tangents)
            )
            return (
                tuple([batch.whole(trace, y) for y in results]),
                tuple([batch.whole(trace, t) for t in pushed]),
            )


def _filled(xs: Sequence[Array], tangents: Sequence[Array | None]) -> list[Array]:
    return [
        zero_tangent(shape_dtype(x)) if t is None else t for x, t in zip(xs, tangents, strict=True)
    ]


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    results, pushed = params["call"].push(xs, _filled(xs, tangents))
    return results, tuple(
        [t if is_inexact(y) else None for y, t in zip(results, pushed, strict=True)]
    )


def _run_vjp(
    wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]
) -> tuple[Any, Callable[[Sequence[Array | None]], Sequence[Array | None]]]:
    """The rule runs once, on zero tangents that are traced in reverse mode: it is linear in them,
    and so the pullback of the traced part is its transpose, wherever it is taken."""
    call: _Call = params["call"]
    trace = ReverseTrace(lambda index: f"tangent {index} of {call.name}")
    trace.name = f"the transpose of {call.name}'s jvp rule"
    with running(trace), named_axis(trace):
        zeros = _filled(xs, [None] * len(xs))
        moving = [trace.input(t) if flag else t for t, flag in zip(zeros, wanted, strict=True)]
        inputs = [t.node for t, flag in zip(moving, wanted, strict=True) if flag]
        try:
            results, pushed = call.push(xs, moving)
        finally:
            trace.thaw()
    for result in results:
        if isinstance(result, ReverseTracer) and result._trace is trace:
            raise GradientError(
                f"the value that the jvp rule of {call.name} returned depends on the tangents, "
                f"at {source.here()}\n  Return (result, tangent), in this order."
            )

    def pullback(gs: Sequence[Array | None]) -> Sequence[Array | None]:
        seeds = [
            (t.node, t.slot, g)
            for t, g in zip(pushed, gs, strict=True)
            if g is not None and isinstance(t, ReverseTracer) and t._trace is trace
        ]
        return backward(seeds, inputs, once=False)

    return results, pullback


def _batch(size: int, flags: Sequence[bool], *xs: Array, call: _Call, program: Any) -> Any:
    return bind(custom_jvp_call, _Batched(call, Batch(size, flags)), xs, _WHY)


def _samples() -> list[Sample]:
    def product(x: Array, y: Array) -> tuple[Array, Array]:
        return np.tanh(x) * y, np.sum(x)

    def rule(primals: Any, tangents: Any) -> Any:
        (x, y), (tx, ty) = primals, tangents
        slope = 1 - np.tanh(x) ** 2
        return product(x, y), (slope * tx * y + np.tanh(x) * ty, np.sum(tx))

    call = _Rules(product, rule, {}, tree.structure((0, 0)))
    return [Sample((values(2, 3), values(3, seed=1)), {"call": call, "program": None})]


custom_jvp_call = Primitive(
    "custom_jvp",
    run_call,
    shape=shape_of_call,
    vjp=by_run,
    jvp=by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    samples=_samples,
)

__all__ = ["custom_jvp"]
