"""`custom_vjp`: a function that brings its own rule for reverse mode."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Tracer,
    is_inexact,
    registry,
    running,
    shape_dtype,
)
from ..errors import GradientError, LeakedTracerError, MissingRuleError, TreeError
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
    is_of,
    merged,
    run_call,
    shape_of_call,
)

P = ParamSpec("P")
R = TypeVar("R")

_WHY = "Its rule says how to differentiate with respect to its arguments, and nothing of this."


class custom_vjp(Generic[P, R]):
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

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.fwd: Callable[..., tuple[R, Any]] | None = None
        self.bwd: Callable[..., Any] | None = None
        self._signature = Signature(fun, nondiff_argnums, nondiff_argnames)

    def defvjp(self, fwd: Callable[..., tuple[R, Any]], bwd: Callable[..., Any]) -> None:
        """Gives the function its rule."""
        self.fwd = fwd
        self.bwd = bwd

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.fwd is None or self.bwd is None:
            raise AttributeError(
                f"custom_vjp {name_of(self.fun)} has no rule yet, at {source.here()}\n"
                f"  Call {name_of(self.fun)}.defvjp(fwd, bwd) first."
            )
        placed = self._signature.positional(args, kwargs)
        static, trees = self._signature.split(placed)
        leaves, treedef = tree.flatten(trees)
        if not any(isinstance(leaf, Tracer) for leaf in leaves):
            return self.fun(*placed)  # type: ignore[call-arg]  # by position, defaults and all
        names = self._signature.names(placed, static)
        check_numbers(trees, names, "custom_vjp")
        call = _Rules(self.fun, self.fwd, self.bwd, static, treedef, names)
        results = bind(custom_vjp_call, call, leaves, _WHY)
        check_closure(results, call.name, _WHY)
        value: R = call.results.unflatten(results)
        return value

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<custom_vjp {name_of(self.fun)}>"


class _Call(Call):
    """The function on flat leaves, and its rule."""

    results: Results

    def forward(self, leaves: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """The results and the residuals."""
        raise NotImplementedError

    def backward(self, residuals: Any, gs: Sequence[Array]) -> list[Array | None]:
        """The cotangents of the leaves, None where they are zero."""
        raise NotImplementedError


class _Rules(_Call):
    """The user's functions, for one call."""

    def __init__(
        self,
        fun: Callable[..., Any],
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        static: dict[int, Any],
        treedef: tree.TreeDef,
        names: Sequence[str],
    ) -> None:
        self.name = name_of(fun)
        self.fun, self.fwd, self.bwd = fun, fwd, bwd
        self.static = static
        self.treedef = treedef
        self.names = names
        self.results = Results(self.name)

    def run(self, *leaves: Array) -> tuple[Array, ...]:
        result = self.fun(*merged(self.static, tree.unflatten(self.treedef, leaves)))
        return self.results.flatten(result, self.name)

    def forward(self, leaves: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        pair = self.fwd(*merged(self.static, tree.unflatten(self.treedef, leaves)))
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise GradientError(
                f"the fwd of {self.name} returned a {type(pair).__name__}, and "
                f"(result, residuals) is wanted, at {source.here()}\n"
                "  Return (result, None) where bwd needs nothing."
            )
        result, residuals = pair
        avals = [shape_dtype(leaf) for leaf in leaves]
        return self.results.flatten(result, f"the fwd of {self.name}"), (residuals, avals)

    def backward(self, residuals: Any, gs: Sequence[Array]) -> list[Array | None]:
        kept, avals = residuals
        static = [self.static[i] for i in sorted(self.static)]
        try:
            cotangents = self.bwd(*static, kept, self.results.unflatten(gs))
        except LeakedTracerError as error:
            error.add_note(
                f"It was used in the bwd of {self.name}, which runs after the forward run is over: "
                "return what it needs from fwd as a residual."
            )
            raise
        return _cotangent_leaves(self, cotangents, avals)


def _cotangent_leaves(
    call: _Rules, cotangents: Any, avals: Sequence[ShapeDtype]
) -> list[Array | None]:
    """The leaves of what `bwd` returned, None standing for zeros, checked against the primals."""
    expected = tree.unflatten(call.treedef, avals)
    if isinstance(cotangents, list):
        cotangents = tuple(cotangents)
    if not isinstance(cotangents, tuple) or len(cotangents) != len(expected):
        got = (
            f"a tuple of {len(cotangents)}"
            if isinstance(cotangents, tuple)
            else f"a {type(cotangents).__name__}"
        )
        raise TreeError(
            f"the bwd of {call.name} returned {got}, and a tuple with a cotangent for each of "
            f"{', '.join(call.names) or 'no arguments'} is wanted, at {source.here()}"
            + ("\n  Return (g,), with a comma." if len(expected) == 1 else "")
        )
    found: list[Array | None] = []
    for name, primal, cotangent in zip(call.names, expected, cotangents, strict=True):
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
                f"the bwd of {call.name} returned a cotangent for {name} whose structure is not "
                f"{name}'s, at {source.here()}\n"
                f"  {name}: {tree.structure(primal)}\n"
                f"  cotangent: {tree.structure(cotangent)}\n" + tree.diff(primal, cotangent)
            )
        paths = iter(tree.paths(primal))
        for part, place in zip(parts, places, strict=True):
            for aval in tree.leaves(place):
                path = next(paths)
                label = f"{name}/{path}" if path else name
                found.append(_checked(call.name, label, aval, part))
    return found


def _checked(name: str, label: str, primal: ShapeDtype, cotangent: Any) -> Array | None:
    if cotangent is None or primal.dtype.kind not in "fc":
        return None
    if isinstance(cotangent, (bool, int, float, complex)):
        cotangent = np.asarray(cotangent)
        if primal.dtype.kind == "c" or cotangent.dtype.kind != "c":
            cotangent = cotangent.astype(primal.dtype)[()]
    got = shape_dtype(cotangent)
    if (got.shape, got.dtype) != (primal.shape, primal.dtype):
        raise ValueError(
            f"the bwd of {name} returned {got} as the cotangent of {label}, which is {primal}, "
            f"at {source.here()}\n  A cotangent has its argument's shape and dtype: sum over the "
            f"axes that were broadcast, write g.astype(...) for another dtype."
        )
    return cotangent


class _Batched(_Call):
    """A call for whole batches."""

    def __init__(self, call: _Call, batch: Batch) -> None:
        self.name = call.name
        self.results = call.results
        self.call = call
        self.batch = batch
        self.run = batch.run(call.run)  # type: ignore[method-assign]

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
) -> tuple[tuple[Array, ...], Callable[[Sequence[Array | None]], list[Array | None]]]:
    call: _Call = params["call"]
    results, residuals = call.forward(xs)
    avals = [shape_dtype(result) for result in results]

    def pullback(gs: Sequence[Array | None]) -> list[Array | None]:
        full = [
            np.zeros(aval.shape, aval.dtype)[()] if g is None else g
            for g, aval in zip(gs, avals, strict=True)
        ]
        cotangents = call.backward(residuals, full)
        return [ct for ct, flag in zip(cotangents, wanted, strict=True) if flag]

    return results, pullback


def _run_jvp(xs: Sequence[Array], tangents: Sequence[Array], params: dict[str, Any]) -> Any:
    name = params["call"].name
    if not any(is_inexact(x) and t is not None for x, t in zip(xs, tangents, strict=True)):
        return custom_vjp_call(*xs, **params), None
    raise MissingRuleError(
        f"{name} has a custom_vjp rule, which serves reverse mode alone, and forward mode (jvp, "
        f"jacfwd, linearize) asked for its tangent, at {source.here()}\n"
        "  Give it a custom_jvp rule instead, which serves both modes, or use grad, vjp or jacrev."
    )


def _batch(size: int, flags: Sequence[bool], *xs: Array, call: _Call, program: Any) -> Any:
    return bind(custom_vjp_call, _Batched(call, Batch(size, flags)), xs, _WHY)


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
