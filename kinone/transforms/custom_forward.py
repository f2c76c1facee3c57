"""`custom_jvp`: a function that brings its own derivative, for forward and for reverse mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import source, tree
from ..core import Array, Primitive, is_inexact, running, shape_dtype, zeros_of
from ..errors import GradientError
from ..ops.samples import Sample, values
from ..source import name_of
from .axis_names import named_axis
from .calls import Batch, BatchedCall, bind, by_run, run_call, shape_of_call
from .custom import CustomFunction, Given, UserCall, check_pair, fitted
from .holding import Keeping
from .reverse import ReverseTrace, ReverseTracer, backward

P = ParamSpec("P")
R = TypeVar("R")
_Pair = tuple[tuple[Array, ...], tuple[Array, ...]]


class custom_jvp(CustomFunction[P, R]):
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

    jvp: Callable[..., Any] | None = None

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
                return value, tree.map(zeros_of, value)
            total = functools.reduce(
                lambda a, b: tree.map(lambda x, y: x + y, a, b), terms[1:], terms[0]
            )
            return value, total

        self.jvp = rule

    def _bound(self, given: Given) -> tuple[Primitive, UserCall]:
        if self.jvp is None:
            raise self._without_rule("defjvp(rule)")
        return custom_jvp_call, _Rule(self.fun, given, self.jvp)


class _Rule(UserCall):
    """The function and its rule, for one call."""

    def __init__(self, fun: Callable[..., Any], given: Given, jvp: Callable[..., Any]) -> None:
        super().__init__(fun, given)
        self.jvp = jvp

    def push(self, leaves: Sequence[Array], tangents: Sequence[Array]) -> _Pair:
        """The results and their tangents."""
        given = self.given
        pair = self.jvp(*given.static, given.unflatten(leaves), given.unflatten(tangents))
        rule = f"the jvp rule of {self.name}"
        check_pair(pair, rule, "(result, tangent)")
        results = self.results.flatten(pair[0], rule)
        pushed = self.results.flatten(pair[1], f"the tangent of {rule}")
        found = []
        for path, result, tangent in zip(tree.paths(pair[0]), results, pushed, strict=True):
            if is_inexact(result):
                what = f"the tangent of {path or 'the result'}"
                tangent = fitted(tangent, shape_dtype(result), rule, what)
            found.append(tangent)
        return results, tuple(found)


class _BatchedRule(BatchedCall["_Rule | _BatchedRule"]):
    """The same for whole batches."""

    def push(self, leaves: Sequence[Array], tangents: Sequence[Array]) -> _Pair:
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
    return [zeros_of(x) if t is None else t for x, t in zip(xs, tangents, strict=True)]


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    results, pushed = params["call"].push(xs, _filled(xs, tangents))
    return results, tuple(
        [t if is_inexact(y) else None for y, t in zip(results, pushed, strict=True)]
    )


def _run_vjp(
    wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]
) -> tuple[Any, Keeping]:
    """The rule runs once, on zero tangents that are traced in reverse mode: it is linear in them,
    and so the pullback of the traced part is its transpose, wherever it is taken."""
    call: _Rule | _BatchedRule = params["call"]
    trace = ReverseTrace(lambda index: f"tangent {index} of {call.name}")
    trace.name = f"the transpose of {call.name}'s jvp rule"
    with running(trace):
        zeros = _filled(xs, [None] * len(xs))
        moving = [trace.input(t) if flag else t for t, flag in zip(zeros, wanted, strict=True)]
        inputs = [t.node for t, flag in zip(moving, wanted, strict=True) if flag]
        try:
            results, pushed = call.push(xs, moving)
        finally:
            kept = list(trace.frozen.values())  # what the rule used, held by the outer run from now
            trace.thaw()

    def pullback(gs: Sequence[Array | None]) -> Sequence[Array | None]:
        seeds = [
            (t.node, t.slot, g)
            for t, g in zip(pushed, gs, strict=True)
            if g is not None and isinstance(t, ReverseTracer) and t._trace is trace
        ]
        return backward(seeds, inputs, once=False)

    lowered = tuple([_lowered(result, trace, call.name) for result in results])
    return lowered, Keeping(pullback, kept)


def _lowered(result: Array, trace: ReverseTrace, name: str) -> Array:
    """The value that a rule returned, as it is without tangents.

    What is one operation of several results, such as a compiled function or a loop, takes values
    and tangents through together, and its values are traced without depending on the tangents. On
    any other way from a tangent to the value the rule has mixed them up.
    """
    if not (isinstance(result, ReverseTracer) and result._trace is trace):
        return result
    pending = [result.node]
    seen = set()
    while pending:
        node = pending.pop()
        if node.pullback is None:  # a tangent
            raise GradientError(
                f"the value that the jvp rule of {name} returned depends on the tangents, "
                f"at {source.here()}\n  Return (result, tangent), in this order."
            )
        if node.results == 1 and node.number not in seen:
            seen.add(node.number)
            pending += [parent for parent, _ in node.parents]
    return result.value


def _batch(
    size: int, flags: Sequence[bool], *xs: Array, call: _Rule | _BatchedRule, program: Any
) -> Any:
    return bind(custom_jvp_call, _BatchedRule(call, Batch(size, flags)), xs)


def _samples() -> list[Sample]:
    def product(x: Array, y: Array) -> tuple[Array, Array]:
        return np.tanh(x) * y, np.sum(x)

    def rule(primals: Any, tangents: Any) -> Any:
        (x, y), (tx, ty) = primals, tangents
        slope = 1 - np.tanh(x) ** 2
        return product(x, y), (slope * tx * y + np.tanh(x) * ty, np.sum(tx))

    xs = values(2, 3), values(3, seed=1)
    call = _Rule(product, Given(product, xs, set()), rule)
    return [Sample(xs, {"call": call, "program": None})]


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
