"""The arguments of a transformed function: which are traced, their leaves, and their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

from .. import source, tree
from ..core import Array, is_inexact, is_number, leaf_error, shape_dtype
from ..errors import GradientError


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
            if not -len(args) <= number < len(args):
                raise GradientError(
                    f"argnums={number}, but {_name(fun)} was called with {len(args)} positional "
                    f"arguments, at {source.here()}\n"
                    "  Pass the argument by position, or select it with argnames."
                )
            self._add(number % len(args), args[number])
        for name in names:
            if name in kwargs:
                self._add(name, kwargs[name])
            else:
                self._add(self._position(name), None)

    def _add(self, key: int | str, value: Any) -> None:
        value = self.args[key] if isinstance(key, int) else value
        if key in self.keys:
            raise GradientError(
                f"an argument of {_name(self.fun)} is selected twice, at {source.here()}"
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
                f"argnames={name!r}, but {_name(self.fun)} was not called with it, "
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


def _as_float(leaf: Array) -> str:
    return f"{leaf}.0" if isinstance(leaf, int) else "x.astype(np.float32)"


def _name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)
