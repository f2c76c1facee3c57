"""Jacobians, Hessians and their products with vectors, composed of forward and reverse mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    ShapeDtype,
    describe_operand,
    is_inexact,
    shape_dtype,
    shape_of,
    zeros_of,
)
from ..errors import GradientError
from ..ops.declare import zeros
from ..source import name_of
from .arguments import (
    Selection,
    check_callable,
    check_complex,
    check_leaves,
    check_real,
    split_aux,
)
from .batch import vmap
from .forward import jvp
from .gradient import Forward, grad, vjp
from .linear import Linear
from .ownership import Owners

P = ParamSpec("P")
Mode = Literal["auto", "fwd", "rev"]


def jacrev(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    argnames: str | Sequence[str] | None = None,
) -> Callable[P, Any]:
    """A function that returns the Jacobian of `fun`, row by row, in reverse mode.

    `J[i…, j…] = ∂fᵢ/∂xⱼ` has the axes of the result, then those of the argument. The Jacobian is a
    tree like the result, each leaf of which is a tree like the argument (a tuple of trees where
    `argnums` or `argnames` selects several). Best where the result has fewer elements than the
    arguments: `fun` runs once, and once backward for all elements of a result leaf together
    (`vmap`). With `has_aux`, `fun` returns `(value, aux)` and the new function `(jacobian, aux)`.
    `holomorphic` is as in `grad`: without it results are real, with it all is complex.

    Raises `GradientError` (a `TypeError`) for an integer argument, or a result of the wrong kind.

        >>> import numpy as np
        >>> jacrev(lambda x: np.array([2.0, 3.0]) * x**2)(np.array([1.0, 10.0]))
        array([[ 4.,  0.],
               [ 0., 60.]])
    """
    return _jacobian(fun, "jacrev", "rev", argnums, has_aux, holomorphic, argnames)


def jacfwd(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    argnames: str | Sequence[str] | None = None,
) -> Callable[P, Any]:
    """A function that returns the Jacobian of `fun`, column by column, in forward mode.

    The same tree as `jacrev`'s. Best where the arguments have fewer elements than the result, or
    about as many: `fun` runs once, and its linear part once for all elements of an argument leaf
    together (`vmap`). Arguments are real, or, with `holomorphic`, arguments and results complex.

    Raises `GradientError` (a `TypeError`) for an argument or a result of the wrong kind.

        >>> import numpy as np
        >>> jacfwd(lambda x: np.stack([x, x**2]))(3.0)
        array([1., 6.])
    """
    return _jacobian(fun, "jacfwd", "fwd", argnums, has_aux, holomorphic, argnames)


def jacobian(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    argnames: str | Sequence[str] | None = None,
    mode: Mode = "auto",
) -> Callable[P, Any]:
    """A function that returns the Jacobian of `fun` by whichever mode is cheaper.

    The Jacobian is that of `jacrev` and `jacfwd`. In mode "auto" the numbers of elements decide:
    forward mode where the arguments have fewer than the result, else reverse mode; to know them,
    `fun` runs once in reverse mode, and again in forward mode where that is taken. "fwd" and "rev"
    say it beforehand. The new function's attribute `mode` is the one that its last call took.

    Raises `GradientError` (a `TypeError`) as `jacfwd` and `jacrev` do, `ValueError` for another
    mode.

        >>> import numpy as np
        >>> derivative = jacobian(lambda x: np.outer(x, x))
        >>> derivative(np.ones(2)).shape
        (2, 2, 2)
        >>> derivative.mode
        'fwd'
    """
    if mode not in ("auto", "fwd", "rev"):
        raise ValueError(f'mode is "auto", "fwd" or "rev", got {mode!r}, at {source.here()}')
    return _jacobian(fun, "jacobian", mode, argnums, has_aux, holomorphic, argnames)


def hessian(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    argnames: str | Sequence[str] | None = None,
) -> Callable[P, Any]:
    """A function that returns the Hessian of `fun`, forward mode over reverse mode.

    `H[i…, j…] = ∂²f/∂xᵢ∂xⱼ`. Of a scalar function it is a tree like the argument whose leaves are
    trees like the argument; of others, `jacfwd(jacrev(fun))`. `hvp` multiplies it with a vector and
    never forms it.

    Raises `GradientError` (a `TypeError`) for an argument or a result of the wrong kind.

        >>> import numpy as np
        >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
        array([[6., 2.],
               [2., 0.]])
    """
    rows = jacrev(fun, argnums, has_aux, holomorphic, argnames=argnames)
    return jacfwd(rows, argnums, has_aux, holomorphic, argnames=argnames)


@source.trimming
def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The product of the Hessian of a scalar function with a vector, forward over reverse mode.

    `(x,), (v,) ↦ ∂²f/∂x² · v`, at the cost of about two gradients, in a tree like `x`. Of several
    primals the result is a tuple: `Σⱼ ∂²f/∂xᵢ∂xⱼ · vⱼ` for each i (Pearlmutter 1994).

    Raises what `grad` and `jvp` raise.

        >>> import numpy as np
        >>> hvp(lambda x: x[0] ** 2 * x[1], (np.array([1.0, 3.0]),), (np.array([1.0, 0.0]),))
        array([6., 2.])
    """
    _check_tuples(primals, tangents, "hvp")
    gradient = grad(fun, tuple(range(len(primals))))
    _, products = jvp(gradient, primals, tangents)
    return products[0] if len(primals) == 1 else products


@source.trimming
def ggnvp(
    fun: Callable[..., Any],
    loss: Callable[[Any], Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
) -> Any:
    """The product of the generalised Gauss-Newton matrix of `loss ∘ fun` with a vector.

    `(x,), (v,) ↦ Jᵀ H J v` with the Jacobian J of `fun` at x and the Hessian H of `loss` at fun(x):
    the Hessian of the composition without the curvature of `fun`, positive semidefinite where
    `loss` is convex (Schraudolph 2002). In a tree like `x`; a tuple for several primals.

    Raises what `jvp`, `hvp` and `vjp` raise.

        >>> import numpy as np
        >>> square = lambda y: 0.5 * np.sum(y**2)
        >>> ggnvp(np.sin, square, (np.array([0.0, 1.0]),), (np.ones(2),)).round(4)
        array([1.    , 0.2919])
    """
    _check_tuples(primals, tangents, "ggnvp")
    value, along = jvp(fun, primals, tangents)
    curved = hvp(loss, (value,), (along,))
    _, pullback = vjp(fun, *primals)
    products = pullback(curved)
    return products[0] if len(primals) == 1 else products


def _check_tuples(primals: Any, tangents: Any, name: str) -> None:
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise GradientError(
            f"{name} wants tuples: {name}(…, (x,), (v,)); got {type(primals).__name__} and "
            f"{type(tangents).__name__}, at {source.here()}"
        )


# ---- rows and columns ----------------------------------------------------------------------------


def _jacobian(
    fun: Callable[P, Any],
    name: str,
    mode: Mode,
    argnums: int | Sequence[int] | None,
    has_aux: bool,
    holomorphic: bool,
    argnames: str | Sequence[str] | None,
) -> Callable[P, Any]:
    """The function that returns the Jacobian: what differs is who says the mode."""
    check_callable(fun, name)
    select = Selection(argnums, argnames)

    @source.trimming
    @functools.wraps(fun)
    def jacobian_of(*args: P.args, **kwargs: P.kwargs) -> Any:
        arguments = select.of(fun, args, kwargs)
        check_leaves(arguments, name, integers="refuse")
        if holomorphic:
            check_complex(arguments, name)
        if mode != "fwd":
            run = Forward(fun, arguments, name)
            result, aux = split_aux(run.result, has_aux, name)
            if mode == "rev" or not _is_tall(run, result):
                found = _rows(run, select, result, name, holomorphic)
                jacobian_of.mode = "rev"  # type: ignore[attr-defined]
                return (found, _lowered(run, aux)) if has_aux else found
            del run, result, aux
        if not holomorphic:
            check_real(arguments, name)
        linear = Linear(fun, arguments, name, has_aux)
        found = _columns(linear, select, name, holomorphic)
        jacobian_of.mode = "fwd"  # type: ignore[attr-defined]
        return (found, tree.map(Owners(arguments.leaves).own, linear.aux)) if has_aux else found

    jacobian_of.mode = mode  # type: ignore[attr-defined]
    return jacobian_of


def _is_tall(run: Forward, result: Any) -> bool:
    """Whether the Jacobian has more rows than columns."""
    columns = sum(shape_dtype(x).size for x in run.arguments.leaves if is_inexact(x))
    return sum(shape_dtype(y).size for y in tree.leaves(result)) > columns


def _lowered(run: Forward, aux: Any) -> Any:
    owners = Owners(run.arguments.leaves)
    return tree.map(lambda leaf: owners.own(run.lower(leaf)), aux)


def _rows(run: Forward, select: Selection, result: Any, name: str, holomorphic: bool) -> Any:
    """The Jacobian, by a backward pass for each element of the result."""
    leaves = run.arguments.leaves

    def rows(leaf: Array) -> Any:
        aval = shape_dtype(leaf)
        _check_result(leaf, "c" if holomorphic else "f", run.arguments.fun, name)

        def pulled(g: Array) -> list[Any]:
            return tree.leaves(run.gradients([(leaf.node, leaf.slot, g)], once=False))

        if not run.is_traced(leaf) or aval.size == 0:
            found = [_zeros(aval.shape, x) for x in leaves]
        elif aval.shape == ():
            found = pulled(aval.dtype.type(1))
        else:
            found = vmap(pulled)(_unit_vectors(aval))
            found = [
                _shaped(row, aval.shape + shape_of(x)) for row, x in zip(found, leaves, strict=True)
            ]
        return select.shape(run.arguments.unflatten(found))

    return tree.map(rows, result)


def _columns(linear: Linear, select: Selection, name: str, holomorphic: bool) -> Any:
    """The Jacobian, by a forward pass for each element of the arguments."""
    arguments = linear.arguments
    known = [shape_dtype(x) for x in arguments.leaves]
    if holomorphic:
        for value in tree.leaves(linear.value):
            _check_result(value, "c", arguments.fun, name)
    blocks: list[list[Array]] = []
    for index, aval in enumerate(known):

        def pushed(t: Array, index: int = index) -> list[Array]:
            still = [zeros(aval) for aval in known]
            return linear.push([*still[:index], t, *still[index + 1 :]])

        if not linear.moving[index] or aval.size == 0:
            column = [_zeros(y.shape, arguments.leaves[index]) for y in linear.avals]
        elif aval.shape == ():
            column = pushed(aval.dtype.type(1))
        else:
            found = vmap(pushed, out_axes=-1)(_unit_vectors(aval))
            column = [
                _shaped(block, y.shape + aval.shape)
                for block, y in zip(found, linear.avals, strict=True)
            ]
        blocks.append(column)
    return tree.unflatten(
        linear.out_tree,
        [
            select.shape(arguments.unflatten([column[i] for column in blocks]))
            for i in range(len(linear.avals))
        ],
    )


def _check_result(leaf: Array, kind: str, fun: Any, name: str) -> None:
    aval = shape_dtype(leaf)
    if aval.dtype.kind == kind:
        return
    if kind == "c":
        raise GradientError(
            f"{name} with holomorphic=True wants complex results, and {name_of(fun)} returned "
            f"{describe_operand(leaf)}, at {source.here()}\n  Leave holomorphic=True away."
        )
    raise GradientError(
        f"{name} wants real results, and {name_of(fun)} returned {describe_operand(leaf)}, "
        f"at {source.here()}\n"
        "  Return floating-point numbers, with has_aux=True for others beside them; of a complex "
        "result np.real and np.imag, or pass holomorphic=True where the function is holomorphic."
    )


def _unit_vectors(aval: ShapeDtype) -> Array:
    return np.eye(aval.size, dtype=aval.dtype).reshape(aval.size, *aval.shape)


def _zeros(shape: tuple[int, ...], x: Array) -> Array:
    return zeros_of(ShapeDtype(shape + shape_of(x), shape_dtype(x).dtype))


def _shaped(block: Array, shape: tuple[int, ...]) -> Array:
    return block if shape_of(block) == shape else np.reshape(block, shape)


__all__ = ["ggnvp", "hessian", "hvp", "jacfwd", "jacobian", "jacrev"]
