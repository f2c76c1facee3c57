"""`custom_vjp`: a function that brings its own rule for reverse mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from .. import source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    is_inexact,
    registry,
    running,
    shape_dtype,
    zeros_of,
)
from ..errors import LeakedTracerError, MissingRuleError, TreeError
from .axis_names import named_axis
from .calls import Batch, BatchedCall, bind, by_run, is_of, run_call, shape_of_call
from .custom import CustomFunction, Given, UserCall, check_pair, fitted
from .holding import Keeping

P = ParamSpec("P")
R = TypeVar("R")


class custom_vjp(CustomFunction[P, R]):
    """A function whose derivative in reverse mode is computed by a rule of your own.

        f = custom_vjp(f)          or, as a decorator, @custom_vjp
        f.defvjp(fwd, bwd)

    `fwd(*args)` returns `(f(*args), residuals)`, any tree, and `bwd(residuals, g)` returns
    the cotangents of the arguments, a tuple with one tree for each; None stands for zeros, for a
    whole argument or inside its tree. Arguments named by `nondiff_argnums` (positions) or
    `nondiff_argnames` are not differentiated and may be anything: `fwd` gets them in their places,
    `bwd(*nondiff_args, residuals, g)` first, in the order of the positions.

    `grad` and `vjp` use the rule, at every order; `vmap` batches the function and its rule; without
    differentiation the function runs as it is. Forward mode has no rule: `jvp` raises
    `MissingRuleError` (a `TypeError`); use `custom_jvp`, which serves both modes. What the function
    uses of traced values must be passed to it: one that it closes over raises `GradientError`.
    A cotangent that does not fit its argument raises `TreeError` or `ValueError` naming the leaf.

        >>> import numpy as np, kinone as kn
        >>> @kn.custom_vjp
        ... def clipped(x):  # the identity, whose gradient is clipped
        ...     return x
        >>> clipped.defvjp(lambda x: (x, None), lambda _, g: (np.clip(g, -1, 1),))
        >>> kn.grad(lambda x: 5 * clipped(x))(2.0)
        np.float64(1.0)
    """

    fwd: Callable[..., tuple[R, Any]] | None = None
    bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., tuple[R, Any]], bwd: Callable[..., Any]) -> None:
        """Gives the function its rule."""
        self.fwd = fwd
        self.bwd = bwd

    def _bound(self, given: Given) -> tuple[Primitive, UserCall]:
        if self.fwd is None or self.bwd is None:
            raise self._without_rule("defvjp(fwd, bwd)")
        return custom_vjp_call, _Rule(self.fun, given, self.fwd, self.bwd)


class _Rule(UserCall):
    """The function and its rule, for one call."""

    def __init__(
        self,
        fun: Callable[..., Any],
        given: Given,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
    ) -> None:
        super().__init__(fun, given)
        self.fwd, self.bwd = fwd, bwd

    def forward(self, leaves: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """The results and the residuals."""
        pair = self.fwd(*self.given.arguments(leaves))
        rule = f"the fwd of {self.name}"
        fix = "\n  Return (result, None) where bwd needs nothing."
        check_pair(pair, rule, "(result, residuals)", fix)
        result, residuals = pair
        avals = [shape_dtype(leaf) for leaf in leaves]
        return self.results.flatten(result, rule), (residuals, avals)

    def backward(self, residuals: Any, gs: Sequence[Array]) -> list[Array | None]:
        """The cotangents of the leaves, None where they are zero."""
        kept, avals = residuals
        try:
            cotangents = self.bwd(*self.given.static, kept, self.results.unflatten(gs))
        except LeakedTracerError as error:
            error.add_note(
                f"It was used in the bwd of {self.name}, which runs after the forward run is over: "
                "return what it needs from fwd as a residual."
            )
            raise
        names = self.given.names
        return _leaves_of(f"the bwd of {self.name}", cotangents, names, self.given.unflatten(avals))


def _leaves_of(
    rule: str, cotangents: Any, names: Sequence[str], expected: Sequence[Any]
) -> list[Array | None]:
    """The leaves of what `bwd` returned, None standing for zeros, checked against the primals."""
    if isinstance(cotangents, list):
        cotangents = tuple(cotangents)
    if not isinstance(cotangents, tuple) or len(cotangents) != len(expected):
        got = (
            f"a tuple of {len(cotangents)}"
            if isinstance(cotangents, tuple)
            else f"a {type(cotangents).__name__}"
        )
        raise TreeError(
            f"{rule} returned {got}, and a tuple with a cotangent for each of "
            f"{', '.join(names) or 'no arguments'} is wanted, at {source.here()}"
            + ("\n  Return (g,), with a comma." if len(expected) == 1 else "")
        )
    found: list[Array | None] = []
    for name, primal, cotangent in zip(names, expected, cotangents, strict=True):
        parts, prefix = tree.flatten(cotangent, is_leaf=lambda x: x is None)
        places: list[Any] = []
        try:
            places = tree.flatten_up_to(prefix, primal, cotangent)
            fits = all(
                part is None or tree.structure(place) == tree.structure(0)
                for part, place in zip(parts, places, strict=True)
            )
        except TreeError:
            fits = False
        if not fits:
            raise TreeError(
                f"{rule} returned a cotangent for {name} whose structure is not "
                f"{name}'s, at {source.here()}\n"
                f"  {name}: {tree.structure(primal)}\n"
                f"  cotangent: {tree.structure(cotangent)}\n" + tree.diff(primal, cotangent)
            )
        paths = iter(tree.paths(primal))
        for part, place in zip(parts, places, strict=True):
            for aval in tree.leaves(place):
                path = next(paths)
                label = f"{name}/{path}" if path else name
                found.append(_checked(rule, label, aval, part))
    return found


def _checked(rule: str, label: str, primal: ShapeDtype, cotangent: Any) -> Array | None:
    if cotangent is None or not is_inexact(primal):
        return None
    fix = (
        "\n  A cotangent has its argument's shape and dtype: sum over the axes that were "
        "broadcast, write g.astype(...) for another dtype."
    )
    return fitted(cotangent, primal, rule, f"the cotangent of {label}", fix)


class _BatchedRule(BatchedCall["_Rule | _BatchedRule"]):
    """The same for whole batches."""

    def forward(self, leaves: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        trace = self.batch.trace()
        with running(trace), named_axis(trace):
            results, residuals = self.call.forward(self.batch.enter(trace, leaves))
            whole = tuple([self.batch.whole(trace, result) for result in results])
            kept, treedef = tree.flatten(residuals)
            flags = [is_of(trace, leaf) for leaf in kept]
            held = [leaf.value if flag else leaf for leaf, flag in zip(kept, flags, strict=True)]
        return whole, (held, flags, treedef)

    def backward(self, residuals: Any, gs: Sequence[Array]) -> list[Array | None]:
        held, flags, treedef = residuals
        trace = self.batch.trace()
        with running(trace), named_axis(trace):
            kept = [
                trace.input(leaf, "") if flag else leaf
                for leaf, flag in zip(held, flags, strict=True)
            ]
            cotangents = self.call.backward(
                tree.unflatten(treedef, kept), [trace.input(g, "") for g in gs]
            )
            return self.batch.summed(trace, cotangents)


def _run_vjp(
    wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]
) -> tuple[tuple[Array, ...], Keeping]:
    call: _Rule | _BatchedRule = params["call"]
    results, residuals = call.forward(xs)
    avals = [shape_dtype(result) for result in results]

    def pullback(gs: Sequence[Array | None]) -> list[Array | None]:
        full = [zeros_of(aval) if g is None else g for g, aval in zip(gs, avals, strict=True)]
        cotangents = call.backward(residuals, full)
        return [ct for ct, flag in zip(cotangents, wanted, strict=True) if flag]

    return results, Keeping(pullback, tree.leaves(residuals))


def _run_jvp(xs: Sequence[Array], tangents: Sequence[Array], params: dict[str, Any]) -> Any:
    name = params["call"].name
    if not any(is_inexact(x) and t is not None for x, t in zip(xs, tangents, strict=True)):
        return custom_vjp_call(*xs, **params), None
    raise MissingRuleError(
        f"{name} has a custom_vjp rule, which serves reverse mode alone, and forward mode (jvp, "
        f"jacfwd, linearize) asked for its tangent, at {source.here()}\n"
        "  Give it a custom_jvp rule instead, which serves both modes, or use grad, vjp or jacrev."
    )


def _batch(
    size: int, flags: Sequence[bool], *xs: Array, call: _Rule | _BatchedRule, program: Any
) -> Any:
    return bind(custom_vjp_call, _BatchedRule(call, Batch(size, flags)), xs)


custom_vjp_call = Primitive(
    "custom_vjp",
    run_call,
    shape=shape_of_call,
    vjp=by_run,
    jvp=by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
)
# Its rules are the user's, and there is none for forward mode: nothing in it is ours to check.
del registry[custom_vjp_call.name]

__all__ = ["custom_vjp"]
