"""Functions with a rule of their own: what `custom_jvp` and `custom_vjp` share.

A call flattens the arguments that are differentiated and binds a primitive to their leaves; `calls`
says what that primitive holds. Where nothing is traced, the function simply runs.
"""

from __future__ import annotations

import functools
import inspect
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from .. import source, tree
from ..core import Array, Primitive, ShapeDtype, Tracer, is_number, leaf_error, shape_dtype
from ..errors import GradientError
from ..source import name_of
from .arguments import names_given, numbers_given, parameter_names, position
from .calls import Call, Results, bind, check_closure

P = ParamSpec("P")
R = TypeVar("R")


class CustomFunction(ABC, Generic[P, R]):
    """A function and its rule; `custom_jvp` and `custom_vjp` say what a rule is."""

    def __init__(
        self,
        fun: Callable[P, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self._parameters = _Parameters(fun, nondiff_argnums, nondiff_argnames)

    @abstractmethod
    def _bound(self, given: Given) -> tuple[Primitive, UserCall]:
        """The primitive of such functions, and the call that it is bound to.

        Raises `AttributeError` as long as there is no rule.
        """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        placed = self._parameters.positional(args, kwargs)
        given = self._parameters.given(placed)
        primitive, call = self._bound(given)
        if not any(isinstance(leaf, Tracer) for leaf in given.leaves):
            return self.fun(*placed)  # type: ignore[call-arg]  # by position, defaults and all
        given.check_numbers(type(self).__name__)
        results = bind(primitive, call, given.leaves)
        check_closure(results, call.name)
        value: R = call.results.unflatten(results)
        return value

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self.fun)}>"

    def _without_rule(self, definition: str) -> AttributeError:
        """The error for a call before the rule was given."""
        name = name_of(self.fun)
        return AttributeError(
            f"{type(self).__name__} {name} has no rule yet, at {source.here()}\n"
            f"  Call {name}.{definition} first."
        )


class UserCall(Call):
    """The user's functions, for one call of them; rules are added by who knows their kind."""

    def __init__(self, fun: Callable[..., Any], given: Given) -> None:
        self.name = name_of(fun)
        self.fun = fun
        self.given = given
        self.results = Results(self.name)

    def run(self, *leaves: Array) -> tuple[Array, ...]:
        return self.results.flatten(self.fun(*self.given.arguments(leaves)), self.name)


# ---- what goes in --------------------------------------------------------------------------------


class _Parameters:
    """The parameters of a function, and which of its arguments are not differentiated."""

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: int | Sequence[int],
        nondiff_argnames: str | Sequence[str],
    ) -> None:
        self.fun = fun
        try:
            self.signature: inspect.Signature | None = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        if isinstance(fun, np.ufunc):
            self.signature = None  # `out`, `where` and the like are no arguments of the rule
        names = names_given(nondiff_argnames)
        known = list(self.signature.parameters) if self.signature is not None else []
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"nondiff_argnames={missing[0]!r}, but {name_of(fun)} has no such parameter, "
                f"at {source.here()}\n  It has: {', '.join(known) or 'nothing that is known'}."
            )
        numbers = numbers_given(nondiff_argnums, "nondiff_argnums")
        self.static = (*numbers, *[known.index(name) for name in names])

    def positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with the defaults filled in: the rules take them so."""
        if self.signature is None:
            if kwargs:
                raise TypeError(
                    f"{name_of(self.fun)} has no signature to place {', '.join(kwargs)} in, "
                    f"at {source.here()}\n  Pass all arguments by position."
                )
            return args
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        keywords = [name for name in bound.kwargs if name in kwargs]
        if keywords:
            raise TypeError(
                f"{name_of(self.fun)} takes {', '.join(keywords)} by keyword alone, and its rules "
                f"take all arguments by position, at {source.here()}"
            )
        return bound.args

    def given(self, placed: tuple[Any, ...]) -> Given:
        """The arguments of one call."""
        places = {
            position(number, len(placed), self.fun, "nondiff_argnums") for number in self.static
        }
        return Given(self.fun, placed, places)


class Given:
    """The arguments of one call: leaves, and those that stay as they are, by position."""

    def __init__(self, fun: Callable[..., Any], placed: tuple[Any, ...], places: set[int]) -> None:
        self._fun = fun
        self._static = {i: placed[i] for i in sorted(places)}
        self.trees = tuple([arg for i, arg in enumerate(placed) if i not in places])
        self.leaves, self.treedef = tree.flatten(self.trees)

    @property
    def static(self) -> list[Any]:
        """The arguments that are not differentiated: the rules take them first."""
        return list(self._static.values())

    @property
    def names(self) -> list[str]:
        """The names of the differentiated arguments."""
        names = parameter_names(self._fun, len(self._static) + len(self.trees))
        return [name for i, name in enumerate(names) if i not in self._static]

    def unflatten(self, leaves: Sequence[Array]) -> Any:
        """A tuple with a tree for each differentiated argument."""
        return tree.unflatten(self.treedef, leaves)

    def arguments(self, leaves: Sequence[Array]) -> list[Any]:
        """All arguments, by position."""
        others = iter(self.unflatten(leaves))
        count = len(self._static) + len(self.trees)
        return [self._static[i] if i in self._static else next(others) for i in range(count)]

    def check_numbers(self, transformation: str) -> None:
        """Raises `LeafError` for a leaf that is no number."""
        for value, name in zip(self.trees, self.names, strict=True):
            for path, leaf in tree.leaves_with_path(value):
                if not is_number(leaf):
                    error = leaf_error(f"{name}/{path}" if path else name, leaf, transformation)
                    problem = error.args[0].partition("\n")[0]
                    error.args = (
                        f"{problem}\n  Name {name} in nondiff_argnames, and it stays as it is.",
                    )
                    raise error


# ---- what rules return ---------------------------------------------------------------------------


def check_pair(pair: Any, rule: str, wanted: str, fix: str = "") -> None:
    """Raises `GradientError` unless a rule returned two things."""
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
        raise GradientError(
            f"{rule} returned a {type(pair).__name__}, and {wanted} is wanted, "
            f"at {source.here()}{fix}"
        )


def fitted(value: Any, primal: ShapeDtype, rule: str, what: str, fix: str = "") -> Array:
    """A derivative of its primal's shape and dtype; a Python number takes on the dtype.

    Raises `ValueError` for what has others.
    """
    if isinstance(value, (bool, int, float, complex)):
        value = np.asarray(value)
        if primal.dtype.kind == "c" or value.dtype.kind != "c":
            value = value.astype(primal.dtype)[()]
    got = shape_dtype(value)
    if (got.shape, got.dtype) != (primal.shape, primal.dtype):
        raise ValueError(
            f"{rule} returned {got} as {what}, which is {primal}, at {source.here()}{fix}"
        )
    return value


__all__ = ["CustomFunction", "Given", "UserCall", "check_pair", "fitted"]
