"""The names of HIPS autograd, so that a script written for it runs with `autograd` → `kinone`.

Every function here takes a function and `argnum`, the position of the argument to differentiate
with respect to (a tuple of positions for a tuple of arguments), and is one or two lines of the
transformations that the rest of Kinone is made of. New code is better off with those.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype, zeros_of
from ..errors import GradientError
from ..source import name_of
from .arguments import Arguments, check_leaves, numbers_given, position
from .derived import jacobian
from .forward import jvp
from .gradient import grad, value_and_grad, vjp

P = ParamSpec("P")
Argnum = int | Sequence[int]


def _unary(
    fun: Callable[..., Any], argnum: Argnum, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[[Any], Any], Any]:
    """`fun` as a function of the arguments at `argnum` alone, and what they are."""
    numbers = numbers_given(argnum, "argnum")
    places = [position(n, len(args), fun, "argnum", kwargs=kwargs) for n in numbers]
    one = not isinstance(argnum, Sequence)

    def of(x: Any) -> Any:
        filled = list(args)
        for place, value in zip(places, (x,) if one else x, strict=True):
            filled[place] = value
        return fun(*filled, **kwargs)

    functools.update_wrapper(of, fun, ("__name__",), ())
    return of, args[places[0]] if one else tuple(args[place] for place in places)


def _floating(
    fun: Callable[..., Any], argnum: Argnum, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[[Any], Any], Any]:
    """`_unary`, of arguments that can move. Raises `GradientError` for integers."""
    of, x = _unary(fun, argnum, args, kwargs)
    arguments = Arguments(of, (x,), {}, (0,), ())
    check_leaves(arguments, name_of(fun), integers="refuse")
    return of, x


def _ones(value: Any) -> Any:
    def one(leaf: Array) -> Array:
        aval = shape_dtype(leaf)
        return np.ones(aval.shape, aval.dtype)[()]

    return tree.map(one, value)


def make_vjp(
    fun: Callable[P, Any], argnum: Argnum = 0
) -> Callable[P, tuple[Callable[[Any], Any], Any]]:
    """A function that returns `(pullback, value)`: the other way round than `vjp`.

    >>> pullback, value = make_vjp(lambda x: x * x)(3.0)
    >>> float(pullback(1.0)), value
    (6.0, 9.0)
    """

    @functools.wraps(fun)
    def made(*args: P.args, **kwargs: P.kwargs) -> tuple[Callable[[Any], Any], Any]:
        value, pullback = vjp(*_unary(fun, argnum, args, kwargs))
        return (lambda g: pullback(g)[0]), value

    return made


def make_jvp(
    fun: Callable[P, Any], argnum: Argnum = 0
) -> Callable[P, Callable[[Any], tuple[Any, Any]]]:
    """A function that returns the pushforward `v ↦ (value, J v)`; each call runs `fun`.

    >>> make_jvp(lambda x: x * x)(3.0)(1.0)
    (9.0, np.float64(6.0))
    """

    @functools.wraps(fun)
    def made(*args: P.args, **kwargs: P.kwargs) -> Callable[[Any], tuple[Any, Any]]:
        of, x = _unary(fun, argnum, args, kwargs)

        def push(v: Any) -> tuple[Any, Any]:
            value, tangent = jvp(of, (x,), (v,))
            return value, tangent

        return push

    return made


def make_jvp_reversemode(
    fun: Callable[P, Any], argnum: Argnum = 0
) -> Callable[P, Callable[[Any], Any]]:
    """A function that returns `v ↦ J v`, the transpose of the pullback (Townsend 2017).

    >>> make_jvp_reversemode(lambda x: x * x)(3.0)(1.0)
    np.float64(6.0)
    """

    @functools.wraps(fun)
    def made(*args: P.args, **kwargs: P.kwargs) -> Callable[[Any], Any]:
        value, pullback = vjp(*_unary(fun, argnum, args, kwargs))
        _, push = vjp(lambda g: pullback(g)[0], tree.map(zeros_of, value))
        return lambda v: push(v)[0]

    return made


def make_hvp(
    fun: Callable[P, Any], argnum: Argnum = 0
) -> Callable[P, tuple[Callable[[Any], Any], Any]]:
    """A function that returns `(v ↦ H v, gradient)`, for many vectors at one point.

    >>> product, gradient = make_hvp(lambda x: x**3)(2.0)
    >>> float(product(1.0)), float(gradient)
    (12.0, 12.0)
    """

    @functools.wraps(fun)
    def made(*args: P.args, **kwargs: P.kwargs) -> tuple[Callable[[Any], Any], Any]:
        of, x = _unary(fun, argnum, args, kwargs)
        gradient, product = vjp(grad(of), x)
        return (lambda v: product(v)[0]), gradient

    return made


def _half_square(y: Any) -> Any:
    return 0.5 * np.sum(y**2, axis=-1)


def make_ggnvp(
    f: Callable[P, Any], g: Callable[[Any], Any] = _half_square, f_argnum: Argnum = 0
) -> Callable[P, Callable[[Any], Any]]:
    """A function that returns `v ↦ Jᵀ H J v`, J the Jacobian of `f` and H the Hessian of `g` there.

    >>> make_ggnvp(lambda x: 2 * x)(np.ones(2))(np.array([1.0, 3.0]))
    array([ 4., 12.])
    """

    @functools.wraps(f)
    def made(*args: P.args, **kwargs: P.kwargs) -> Callable[[Any], Any]:
        of, x = _unary(f, f_argnum, args, kwargs)
        value, pullback = vjp(of, x)
        _, push = vjp(lambda ct: pullback(ct)[0], tree.map(zeros_of, value))
        _, curve = vjp(grad(g), value)
        return lambda v: pullback(curve(push(v)[0])[0])[0]

    return made


def elementwise_grad(fun: Callable[P, Any], argnum: Argnum = 0) -> Callable[P, Any]:
    """A function that returns the sum of each column of the Jacobian: the derivative of an
    elementwise function.

    Raises `GradientError` (a `TypeError`) where the result is complex.

        >>> elementwise_grad(np.sin)(np.zeros(3))
        array([1., 1., 1.])
    """

    @functools.wraps(fun)
    def summed(*args: P.args, **kwargs: P.kwargs) -> Any:
        value, pullback = vjp(*_floating(fun, argnum, args, kwargs))
        if any(shape_dtype(leaf).dtype.kind == "c" for leaf in tree.leaves(value)):
            raise GradientError(
                f"elementwise_grad wants real results, and got complex ones, at {source.here()}"
            )
        return pullback(_ones(value))[0]

    return summed


def deriv(fun: Callable[P, Any], argnum: Argnum = 0) -> Callable[P, Any]:
    """A function that returns the derivative in the direction of ones, in forward mode.

    >>> deriv(lambda x: x**3)(2.0)
    np.float64(12.0)
    """

    @functools.wraps(fun)
    def derivative(*args: P.args, **kwargs: P.kwargs) -> Any:
        of, x = _floating(fun, argnum, args, kwargs)
        return jvp(of, (x,), (_ones(x),))[1]

    return derivative


def holomorphic_grad(fun: Callable[P, Any], argnum: Argnum = 0) -> Callable[P, Any]:
    """A function that returns the complex derivative of a holomorphic function.

    It warns where the argument is not complex. `grad(fun, holomorphic=True)` raises there.

        >>> holomorphic_grad(lambda z: z * z)(1j)
        np.complex128(2j)
    """

    @functools.wraps(fun)
    def derivative(*args: P.args, **kwargs: P.kwargs) -> Any:
        of, x = _unary(fun, argnum, args, kwargs)
        if any(shape_dtype(leaf).dtype.kind != "c" for leaf in tree.leaves(x)):
            warnings.warn("Input to holomorphic_grad is not complex", stacklevel=2)
        # ∂u/∂x - i ∂u/∂y of f = u + iv is f' by the Cauchy-Riemann equations.
        return grad(lambda x: np.real(of(x)))(x)

    return derivative


def grad_named(fun: Callable[P, Any], argname: str) -> Callable[P, Any]:
    """`grad(fun, argnames=argname)`.

    >>> grad_named(lambda a, b: a * b, "b")(2.0, 3.0)
    np.float64(2.0)
    """
    return grad(fun, argnames=argname)


def grad_and_aux(fun: Callable[P, Any], argnum: Argnum = 0) -> Callable[P, tuple[Any, Any]]:
    """A function that returns `(gradient, aux)`, of a function that returns `(loss, aux)`.

    >>> grad_and_aux(lambda x: (x * x, "seen"))(3.0)
    (np.float64(6.0), 'seen')
    """
    return grad(fun, argnum, has_aux=True)


def multigrad_dict(fun: Callable[P, Any]) -> Callable[P, dict[str, Any]]:
    """A function that returns the gradients with respect to all arguments, by parameter name.

    >>> multigrad_dict(lambda a, b=4.0: a * b)(3.0)
    {'a': np.float64(4.0), 'b': np.float64(3.0)}
    """
    signature = inspect.signature(fun)

    @functools.wraps(fun)
    def gradients(*args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()

        def of(arguments: dict[str, Any]) -> Any:
            again = inspect.BoundArguments(signature, arguments)
            return fun(*again.args, **again.kwargs)

        found: dict[str, Any] = grad(of)(dict(bound.arguments))
        return found

    return gradients


def hessian_tensor_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function of `(*args, tensor)` that returns the Hessian times the tensor.

    >>> hessian_tensor_product(lambda x: np.sum(x**3))(np.ones(2), np.array([1.0, 2.0]))
    array([ 6., 12.])
    """
    gradient = grad(fun, argnum)

    @functools.wraps(fun)
    def product(*args: Any, **kwargs: Any) -> Any:
        *rest, tensor = args
        of, x = _unary(gradient, argnum, tuple(rest), kwargs)
        return vjp(of, x)[1](tensor)[0]  # the Hessian is symmetric

    return product


def tensor_jacobian_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function of `(*args, tensor)` that returns the tensor times the Jacobian.

    Where the tensor has fewer axes than the result, its axes are the result's first ones.

        >>> tensor_jacobian_product(lambda x: x**2)(np.ones(2), np.array([1.0, 2.0]))
        array([2., 4.])
    """

    def contracted(*args: Any, **kwargs: Any) -> Any:
        *rest, tensor = args
        return np.tensordot(tensor, fun(*rest, **kwargs), axes=np.ndim(tensor))

    functools.update_wrapper(contracted, fun)
    return jacobian(contracted, argnum)


hessian_vector_product = hessian_tensor_product
vector_jacobian_product = tensor_jacobian_product

__all__ = [
    "deriv",
    "elementwise_grad",
    "grad_and_aux",
    "grad_named",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_jvp_reversemode",
    "make_vjp",
    "multigrad_dict",
    "tensor_jacobian_product",
    "value_and_grad",
    "vector_jacobian_product",
]
