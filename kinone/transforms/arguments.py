"""The arguments of a transformed function: which are traced, their leaves, and their names."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Container, Sequence, Set
from typing import Any, Literal

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Tracer,
    describe_operand,
    is_inexact,
    is_number,
    leaf_error,
    shape_dtype,
)
from ..errors import GradientError, KinoneError
from ..source import name_of as name_of


def check_callable(fun: Any, name: str) -> None:
    """Raises `GradientError` (a `TypeError`) unless a transformation got a function."""
    if not callable(fun):
        raise GradientError(
            f"{name} wants a function, and got a {type(fun).__name__}, at {source.here()}\n"
            f"  Write {name}(f)(x), not {name}(f(x))."
        )


def numbers_given(
    numbers: int | Collection[int] | None,
    what: str,
    fix: str = "",
    error: type[KinoneError] = GradientError,
) -> tuple[int, ...]:
    """One position or several, as they were given, in a tuple; NumPy's integers are integers.

    Raises `error` for anything else, which calls it `what`.
    """
    if numbers is None:
        return ()
    several = isinstance(numbers, (Sequence, Set)) and not isinstance(numbers, str)
    given: Any = numbers if several else (numbers,)
    for number in given:
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise error(f"{what} wants integers, and got {number!r:.60}, at {source.here()}{fix}")
    return tuple(map(operator.index, given))


def names_given(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several, as they were given, in a tuple."""
    return (names,) if isinstance(names, str) else tuple(names or ())


def position(
    number: int,
    count: int,
    fun: Callable[..., Any],
    what: str,
    by_name: str = "",
    kwargs: Container[str] = (),
) -> int:
    """A position counted from the front, of one that may be counted from the end.

    Raises `GradientError` (a `TypeError`) where a call with `count` positional arguments and these
    keywords has none such; `by_name` is what selects by name in place of `what`.
    """
    if -count <= number < count:
        return number % count
    name = parameter_names(fun, number + 1)[number] if number >= 0 else ""
    fix = f"Pass {name if name in kwargs else 'the argument'} by position"
    if by_name:
        by_name = f"{by_name}={name!r}" if name in kwargs else by_name
        fix += f", or select it with {by_name}"
    raise GradientError(
        f"{what}={number}, but {name_of(fun)} was called with {count} positional "
        f"argument{'' if count == 1 else 's'}, at {source.here()}\n  {fix}."
    )


class Selection:
    """Which arguments are differentiated, and how their gradients are returned."""

    def __init__(
        self, argnums: int | Sequence[int] | None, argnames: str | Sequence[str] | None
    ) -> None:
        if argnums is None:
            argnums = 0 if argnames is None else ()
        self.numbers = numbers_given(
            argnums,
            "argnums",
            "\n  Write grad(f)(x, y) to call it; argnums=1 for the second argument, "
            "argnames='y' for one by name.",
        )
        self.names = names_given(argnames)
        one_number, one_name = isinstance(argnums, (int, np.integer)), isinstance(argnames, str)
        self.single = (one_number and not self.names) or (one_name and not self.numbers)

    def of(
        self, fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments:
        return Arguments(fun, args, kwargs, self.numbers, self.names)

    def shape(self, gradients: list[Any]) -> Any:
        return gradients[0] if self.single else tuple(gradients)


class Arguments:
    """A call's arguments, with those at `numbers` and `names` flattened into one list of leaves."""

    def __init__(
        self,
        fun: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        numbers: Sequence[int],
        names: Sequence[str],
    ) -> None:
        self.fun = fun
        self.args = args
        self.kwargs = kwargs
        self.keys: list[int | str] = []
        self.treedefs: list[tree.TreeDef] = []
        self.leaves: list[Array] = []
        for number in numbers:
            place = position(number, len(args), fun, "argnums", "argnames", kwargs)
            self._add(place, args[place])
        for name in names:
            if name in kwargs:
                self._add(name, kwargs[name])
            else:
                self._add(self._position(name), None)

    def _add(self, key: int | str, value: Any) -> None:
        value = self.args[key] if isinstance(key, int) else value
        if key in self.keys:
            raise GradientError(
                f"an argument of {name_of(self.fun)} is selected twice, at {source.here()}"
            )
        leaves, treedef = tree.flatten(value)
        self.keys.append(key)
        self.treedefs.append(treedef)
        self.leaves.extend(leaves)

    def _position(self, name: str) -> int:
        """Where a named parameter stands among the positional arguments of this call."""
        try:
            parameters = list(inspect.signature(self.fun).parameters)
        except (TypeError, ValueError):
            parameters = []
        if name not in parameters or parameters.index(name) >= len(self.args):
            raise GradientError(
                f"argnames={name!r}, but {name_of(self.fun)} was not called with it, "
                f"at {source.here()}\n  It got: "
                f"{', '.join([*parameters[: len(self.args)], *self.kwargs]) or 'nothing'}."
            )
        return parameters.index(name)

    def call(self, fun: Callable[..., Any], leaves: Sequence[Array]) -> Any:
        """`fun` with the selected arguments rebuilt from `leaves`."""
        args = list(self.args)
        kwargs = dict(self.kwargs)
        for key, value in zip(self.keys, self.unflatten(leaves), strict=True):
            if isinstance(key, int):
                args[key] = value
            else:
                kwargs[key] = value
        return fun(*args, **kwargs)

    def unflatten(self, leaves: Sequence[Array]) -> list[Any]:
        """One tree for each selected argument."""
        trees = []
        start = 0
        for treedef in self.treedefs:
            stop = start + treedef.num_leaves
            trees.append(tree.unflatten(treedef, leaves[start:stop]))
            start = stop
        return trees

    def labels(self) -> list[str]:
        """The names of all leaves."""
        found = []
        for key, treedef in zip(self.keys, self.treedefs, strict=True):
            name = self._parameter(key)
            found += [f"{name}/{path}" if path else name for path in tree.treedef_paths(treedef)]
        return found

    def label(self, index: int) -> str:
        """The name of a leaf as the user knows it: `params/layers/0/w`."""
        found = 0
        for key, treedef in zip(self.keys, self.treedefs, strict=True):
            if index < found + treedef.num_leaves:
                path = tree.treedef_paths(treedef)[index - found]
                name = self._parameter(key)
                return f"{name}/{path}" if path else name
            found += treedef.num_leaves
        raise IndexError(index)

    def _parameter(self, key: int | str) -> str:
        return key if isinstance(key, str) else parameter_names(self.fun, key + 1)[key]


def parameter_names(fun: Callable[..., Any], count: int) -> list[str]:
    """The names of a function's first `count` positional parameters, as far as it names them."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [positional[i] if i < len(positional) else f"argument {i}" for i in range(count)]


def check_leaves(arguments: Arguments, name: str, *, integers: Literal["refuse", "ignore"]) -> None:
    """Raises `LeafError` for a leaf that is no number, `GradientError` for an integer argument.

    An integer *leaf inside a tree* is a step counter or an index and is let pass; an argument that
    is nothing but integers is a mistake (`grad(f)(3)`) where `integers` says "refuse".
    """
    for index, leaf in enumerate(arguments.leaves):
        if not is_number(leaf):
            raise leaf_error(arguments.label(index), leaf, name)
    if integers == "refuse":
        index = 0
        for treedef in arguments.treedefs:
            leaves = arguments.leaves[index : index + treedef.num_leaves]
            if leaves and not any(map(is_inexact, leaves)):
                leaf = leaves[0]
                raise GradientError(
                    f"{arguments.label(index)} is {shape_dtype(leaf)}, and {name} differentiates "
                    f"with respect to floating-point arguments, at {source.here()}\n"
                    f"  Write {_as_float(leaf)}, or select another argument with argnums."
                )
            index += treedef.num_leaves


def check_complex(arguments: Arguments, name: str) -> None:
    """Raises `GradientError` for a floating-point leaf that is not complex."""
    for index, leaf in enumerate(arguments.leaves):
        if is_inexact(leaf) and shape_dtype(leaf).dtype.kind != "c":
            raise GradientError(
                f"{name} with holomorphic=True wants complex arguments, and "
                f"{arguments.label(index)} is {shape_dtype(leaf)}, at {source.here()}\n"
                "  Write x.astype(complex), or leave holomorphic=True away."
            )


def check_real(arguments: Arguments, name: str) -> None:
    """Raises `GradientError` for a complex leaf: along which of its two axes would it vary?"""
    for index, leaf in enumerate(arguments.leaves):
        if shape_dtype(leaf).dtype.kind == "c":
            raise GradientError(
                f"{name} wants real arguments, and {arguments.label(index)} is "
                f"{shape_dtype(leaf)}, at {source.here()}\n"
                "  Pass holomorphic=True where the function is holomorphic; otherwise use jvp with "
                "the directions 1 and 1j."
            )


def split_aux(result: Any, has_aux: bool, name: str) -> tuple[Any, Any]:
    """The value of a function and, with `has_aux`, what it returns beside it."""
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise GradientError(
            f"{name} with has_aux=True wants a function that returns (value, aux), "
            f"and this one returned {_describe(result)}, at {source.here()}\n"
            "  Return (loss, aux), or leave has_aux=True away."
        )
    return result


def _describe(result: Any) -> str:
    """What a function returned, in the user's words."""
    if isinstance(result, (Tracer, np.ndarray, np.generic)):
        return describe_operand(result)
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}"
    return f"a {type(result).__name__}"


def _as_float(leaf: Array) -> str:
    return f"{leaf}.0" if isinstance(leaf, int) else "x.astype(np.float32)"
