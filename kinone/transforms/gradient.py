"""`vjp`, `grad` and `value_and_grad`: reverse mode as functions of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, overload

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Tracer,
    describe_operand,
    is_bfloat16,
    is_inexact,
    running,
    shape_dtype,
    shape_of,
)
from ..errors import GradientError, TreeError
from .arguments import (
    Arguments,
    Selection,
    check_callable,
    check_complex,
    check_leaves,
    name_of,
    split_aux,
)
from .ownership import Owners
from .reverse import Node, ReverseTrace, ReverseTracer, backward

P = ParamSpec("P")
R = TypeVar("R")


class Forward:
    """The forward run of `fun` with some of its arguments traced."""

    def __init__(self, fun: Callable[..., Any], arguments: Arguments, name: str) -> None:
        self.arguments = arguments
        trace = ReverseTrace(arguments.label)
        trace.name = name
        try:
            with running(trace):
                trace.freeze(arguments.leaves)
                self.inputs = [
                    trace.input(leaf) if is_inexact(leaf) else leaf for leaf in arguments.leaves
                ]
                self.result = arguments.call(fun, self.inputs)
        except ValueError as error:
            if trace.frozen and "read-only" in str(error):
                error.add_note(
                    f"  at {source.describe(source.raised_at(error))}\n"
                    f"  {name} keeps arrays that the derivative needs, and an array that was used "
                    "in the function may not be changed before the function returns: write into "
                    "a copy."
                )
            raise
        finally:
            trace.thaw()
        self.trace = trace

    def lower(self, value: Any) -> Any:
        """The value that a leaf of the result has outside of this transformation."""
        if isinstance(value, ReverseTracer) and value._trace is self.trace:
            return value.value
        return value

    def is_traced(self, value: Any) -> bool:
        return isinstance(value, ReverseTracer) and value._trace is self.trace

    def nodes(self) -> list[Node]:
        return [x.node for x in self.inputs if isinstance(x, ReverseTracer)]

    def gradients(self, seeds: list[tuple[Node, int, Array]], *, once: bool) -> Any:
        """The cotangents of the traced arguments, in their trees."""
        arrived = iter(backward(seeds, self.nodes(), once=once))
        owners = Owners([*[ct for _, _, ct in seeds], *self.arguments.leaves])
        results = []
        for leaf, tracer in zip(self.arguments.leaves, self.inputs, strict=True):
            cotangent = next(arrived) if isinstance(tracer, ReverseTracer) else None
            results.append(_own(cotangent, leaf, owners))
        return self.arguments.unflatten(results)


def _own(cotangent: Array | None, primal: Array, owners: Owners) -> Array:
    """A gradient leaf of its primal's kind that may be written to."""
    dtype = getattr(primal, "dtype", None)
    if is_bfloat16(dtype) and cotangent is not None and cotangent.dtype != dtype:
        cotangent = cotangent.astype(dtype)  # NumPy made float32 of it and a Python number
    if type(cotangent) is np.ndarray:
        cotangent = owners.own(cotangent)
        if type(primal) is np.ndarray:
            return cotangent
    elif cotangent is None:
        cotangent = np.zeros(shape_of(primal), shape_dtype(primal).dtype)
    if isinstance(primal, np.ndarray):
        return np.asarray(cotangent) if isinstance(cotangent, np.generic) else cotangent
    return cotangent[()] if isinstance(cotangent, np.ndarray) else cotangent


@overload
def vjp(
    fun: Callable[..., R], *primals: Any, has_aux: Literal[False] = False
) -> tuple[R, Callable[[Any], tuple[Any, ...]]]: ...
@overload
def vjp(
    fun: Callable[..., Any], *primals: Any, has_aux: Literal[True]
) -> tuple[Any, Callable[[Any], tuple[Any, ...]], Any]: ...
@source.trimming
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of `fun(*primals)` and its pullback, the vector-Jacobian product.

    The pullback maps a cotangent, a tree like the value with leaves of the same shapes and dtypes,
    to a tuple with one cotangent tree for each of `primals`:  g ↦ (gᵀ ∂f/∂x₁, gᵀ ∂f/∂x₂, …).
    It may be called any number of times; it keeps the arrays that it needs, not copies, so they
    may not be written into before its last call. With `has_aux`, `fun` returns `(value, aux)` and
    `vjp` `(value, pullback, aux)`.

    Raises `TreeError` or `ValueError` when a cotangent does not fit the value, naming the leaf.

        >>> import numpy as np
        >>> y, pullback = vjp(lambda a, b: a * np.sin(b), 2.0, 0.0)
        >>> [float(ct) for ct in pullback(1.0)]
        [0.0, 2.0]
    """
    arguments = Arguments(fun, primals, {}, tuple(range(len(primals))), ())
    check_leaves(arguments, "vjp", integers="ignore")
    forward = Forward(fun, arguments, "vjp")
    result, aux = split_aux(forward.result, has_aux, "vjp")
    leaves, treedef = tree.flatten(result)
    value = tree.unflatten(treedef, [copied(forward.lower(leaf)) for leaf in leaves])

    @source.trimming
    def pullback(cotangent: Any) -> tuple[Any, ...]:
        got, got_def = tree.flatten(cotangent)
        if got_def != treedef:
            raise TreeError(
                f"the cotangent's structure is not that of {name_of(fun)}'s result, "
                f"at {source.here()}\n" + tree.diff(value, cotangent)
            )
        seeds = []
        for path, leaf, ct in zip(tree.treedef_paths(treedef), leaves, got, strict=True):
            if forward.is_traced(leaf):
                seeds.append((leaf.node, leaf.slot, check_cotangent(path, leaf, ct)))
        return tuple(forward.gradients(seeds, once=False))

    if has_aux:
        return value, pullback, tree.map(lambda leaf: copied(forward.lower(leaf)), aux)
    return value, pullback


def copied(value: Array) -> Array:
    # The pullback may keep the very array (exp's derivative is its value): the caller gets one
    # that may be written to.
    return value.copy() if type(value) is np.ndarray else value


def check_cotangent(path: str, primal: Array, cotangent: Array) -> Array:
    want = shape_dtype(primal)
    if isinstance(cotangent, (bool, int, float, complex)):
        cotangent = want.dtype.type(cotangent)
    got = shape_dtype(cotangent)
    if got.shape != want.shape or got.dtype != want.dtype:
        raise ValueError(
            f"the cotangent{f' of {path}' if path else ''} is {got}, but the value is {want}, "
            f"at {source.here()}"
        )
    if isinstance(cotangent, (np.ndarray, np.generic, Tracer)):
        return cotangent
    return np.asarray(cotangent)


def value_and_grad(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    argnames: str | Sequence[str] | None = None,
    argnum: int | Sequence[int] | None = None,
) -> Callable[P, tuple[Any, Any]]:
    """A function that returns `(fun(…), gradient)`; `((value, aux), gradient)` with `has_aux`.

    See `grad` for the arguments; the value comes from the same forward run.

        >>> value_and_grad(lambda x: x * x)(3.0)
        (np.float64(9.0), np.float64(6.0))
    """
    check_callable(fun, "grad")
    if argnum is not None and argnums is not None:
        raise GradientError(f"argnum and argnums are one thing; give one, at {source.here()}")
    select = Selection(argnums if argnum is None else argnum, argnames)

    @source.trimming
    @functools.wraps(fun)
    def value_and_gradient(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        arguments = select.of(fun, args, kwargs)
        check_leaves(arguments, "grad", integers="refuse")
        if holomorphic:
            check_complex(arguments, "grad")
        forward = Forward(fun, arguments, "grad")
        loss, aux = split_aux(forward.result, has_aux, "grad")
        value = forward.lower(loss)
        _check_scalar(fun, loss, value, holomorphic)
        seeds = []
        if forward.is_traced(loss):
            known = shape_dtype(value)
            one = known.dtype.type(1)
            seeds.append((loss.node, loss.slot, np.full(known.shape, one) if known.shape else one))
        # The result's tracers hold the newest nodes; the backward run frees them one by one.
        forward.result = None
        del loss
        lowered = None
        if aux is not None or type(value) is np.ndarray:
            owners = Owners(arguments.leaves)
            value = owners.own(value)
            lowered = tree.map(lambda leaf: owners.own(forward.lower(leaf)), aux)
        del aux
        gradient = select.shape(forward.gradients(seeds, once=True))
        if isinstance(value, (float, complex)):
            value = np.asarray(value)[()]
        return ((value, lowered), gradient) if has_aux else (value, gradient)

    return value_and_gradient


def grad(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    argnames: str | Sequence[str] | None = None,
    argnum: int | Sequence[int] | None = None,
) -> Callable[P, Any]:
    """A function that returns the gradient of the scalar function `fun`.

    The gradient has the tree of the argument that `argnums` or `argnames` selects (the first one
    where neither is given), and its leaves' shapes and dtypes; a tuple of trees where several are
    selected. Integer leaves inside a tree are not differentiated: theirs is zero. With `has_aux`,
    `fun` returns `(loss, aux)` and the new function `(gradient, aux)`. A loss of shape (1,) counts
    as the one number that it holds. While `fun` runs, the arrays that it uses are read-only.
    `argnum` is HIPS autograd's name for `argnums`.

    Of a complex argument z = x + iy a real loss has the gradient ∂f/∂x - i ∂f/∂y. A complex result
    needs `holomorphic=True`, which promises that the function is so; all selected arguments are
    then complex and the gradient is the complex derivative f'(z).

    Raises `GradientError` (a `TypeError`) when the loss is not a real scalar or a selected
    argument is an integer, `LeafError` when a leaf is no number, each with the leaf's path.

        >>> import numpy as np
        >>> grad(lambda p, x: np.sum(p["w"] * x))({"w": np.ones(2)}, np.array([3.0, 4.0]))
        {'w': array([3., 4.])}
        >>> grad(grad(np.sin))(0.0)
        np.float64(-0.0)
        >>> grad(lambda z: z**3, holomorphic=True)(1j)
        np.complex128(-3+0j)
    """
    value_and_gradient = value_and_grad(
        fun, argnums, has_aux, holomorphic, argnames=argnames, argnum=argnum
    )

    @source.trimming
    @functools.wraps(fun)
    def gradient(*args: P.args, **kwargs: P.kwargs) -> Any:
        value, result = value_and_gradient(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def _check_scalar(fun: Callable[..., Any], loss: Any, value: Any, holomorphic: bool) -> None:
    try:
        aval = shape_dtype(value) if not isinstance(value, (dict, list, tuple)) else None
    except Exception:
        aval = None
    if aval is None or aval.dtype.kind == "O" or value is None:
        raise GradientError(
            f"grad wants a function that returns a scalar, and {name_of(fun)} returned a "
            f"{type(value).__name__}, at {source.here()}\n"
            "  Return the loss alone, or (loss, aux) with has_aux=True."
        )
    if aval.size != 1:
        raise GradientError(
            f"grad wants a function that returns a scalar, and {name_of(fun)} returned "
            f"{describe_operand(loss)}, at {source.here()}\n"
            "  Reduce it with np.mean or np.sum, or use vjp or jacrev for its Jacobian."
        )
    if holomorphic and aval.dtype.kind != "c":
        raise GradientError(
            f"grad with holomorphic=True wants a complex result, and {name_of(fun)} returned "
            f"{aval}, at {source.here()}\n  Leave holomorphic=True away."
        )
    if not holomorphic and (aval.dtype.kind == "c" or not is_inexact(aval)):
        fix = "Return a float, such as the np.mean of it."
        if aval.dtype.kind == "c":
            fix = (
                "Return something real, such as np.real or np.abs of it, or pass "
                "holomorphic=True where the function is holomorphic."
            )
        raise GradientError(
            f"grad wants a real loss, and {name_of(fun)} returned {aval}, "
            f"at {source.here()}\n  {fix}"
        )
