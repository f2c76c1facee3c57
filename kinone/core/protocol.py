"""The one table of NumPy's functions and what they do on traced values."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from .. import source
from ..errors import TracerAssignmentError
from .messages import explain, no_rule
from .values import Array

F = TypeVar("F", bound=Callable[..., Any])

# NumPy's own functions and ufuncs → the Kinone function that does the same on tracers.
numpy_functions: dict[Callable[..., Any], Callable[..., Any]] = {}
# The modules of further functions, loaded when one is needed; `kinone.ops` names them.
waiting: list[str] = []
# Where among the positional arguments a function has `out`, which no traced value can serve.
_out_places: dict[Callable[..., Any], int] = {}


def implements(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Declares that the decorated function is what these NumPy functions do on traced values."""

    def register(f: F) -> F:
        for function in functions:
            numpy_functions[function] = f
        code = getattr(f, "__code__", None)  # a primitive has none, and no `out` either
        if code is not None and "out" in code.co_varnames[: code.co_argcount]:
            _out_places[f] = code.co_varnames.index("out")
        return f

    return register


def load_all() -> None:
    """Loads every family of functions that waits for its first use.

    `registry` and `numpy_functions` are complete then: whoever walks through one calls this first.
    """
    for module in waiting:
        importlib.import_module(module)


def rule_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What does the same as a NumPy function on traced values. Raises `MissingRuleError` where
    nothing does, no family that waited either."""
    known = numpy_functions.get(function)
    if known is None:
        load_all()
        known = numpy_functions.get(function)
        if known is None:
            raise no_rule(function, numpy_functions)
    return known


def apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A NumPy function on traced values. Raises `MissingRuleError` for one that is not known."""
    known = rule_of(function)
    place = _out_places.get(known)
    if place is not None and (args[place] if len(args) > place else kwargs.get("out")) is not None:
        raise refused_out(function.__name__)
    try:
        return known(*args, **kwargs)
    except Exception as error:
        explain(error, function.__name__, list(_operands(args)))
        raise


def _operands(args: Sequence[Any]) -> Iterator[Array]:
    """The arrays and tracers among a NumPy function's arguments, those inside a list too."""
    for arg in args:
        if isinstance(arg, (list, tuple)):
            yield from _operands(arg)
        elif isinstance(arg, (np.ndarray, np.generic)) or hasattr(arg, "aval"):
            yield arg


def refused_out(name: str) -> TracerAssignmentError:
    """The error for a call that wants its result written into an array."""
    return TracerAssignmentError(
        f"np.{name} would write a traced value into an array, at {source.here()}\n"
        "  Write `y = y + x` for `y += x`, and leave out= away: traced values are new values."
    )


# `np.add.reduce` and its like, by the function that NumPy has for them.
reductions: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
}

# A ufunc's methods: "accumulate", "outer", …, and "__call__" with keyword arguments. Each is called
# with the ufunc, its operands and its keyword arguments.
ufunc_methods: dict[str, Callable[..., Any]] = {}


class At:
    """`x.at`, waiting for its index."""

    __slots__ = ("x",)

    def __init__(self, x: Array) -> None:
        self.x = x

    def __getitem__(self, index: Any) -> AtIndex:
        return AtIndex(self.x, index)


class AtIndex:
    """`x.at[index]`, waiting for the update. Every method returns a new array.

    The names and options are JAX's. A place that the index shows twice is updated twice, as by
    `np.ufunc.at`; `unique_indices=True` promises that there is none, which saves work. `mode` is
    for indices out of bounds: None raises `IndexError`, "clip" takes the nearest place, "drop" and
    "fill" leave the update away.
    """

    __slots__ = ("index", "x")

    def __init__(self, x: Array, index: Any) -> None:
        self.x = x
        self.index = index

    def _update(
        self,
        operation: str,
        value: Any,
        *,
        mode: str | None = None,
        unique_indices: bool = False,
        indices_are_sorted: bool = False,
    ) -> Array:
        run = numpy_functions[AtIndex]
        return run(self.x, self.index, operation, value, mode, unique_indices)

    def get(self, *, mode: str | None = None, fill_value: Any = None, **options: Any) -> Array:
        """`x[index]`; with `mode="fill"`, `fill_value` (or NaN) where it is out of bounds."""
        return self._update("get", fill_value, mode=mode, **options)

    def set(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `x[index] = value`."""
        return self._update("set", value, **options)

    def add(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `np.add.at(x, index, value)`: repeated indices add up."""
        return self._update("add", value, **options)

    def subtract(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `np.subtract.at(x, index, value)`."""
        return self._update("subtract", value, **options)

    def multiply(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `np.multiply.at(x, index, value)`."""
        return self._update("multiply", value, **options)

    mul = multiply

    def divide(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `np.divide.at(x, index, value)`."""
        return self._update("divide", value, **options)

    def power(self, value: Array, **options: Any) -> Array:
        """`x` to the power of the product of the values that the index has for each place."""
        return self._update("power", value, **options)

    def min(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `np.minimum.at(x, index, value)`; ties share the derivative."""
        return self._update("min", value, **options)

    def max(self, value: Array, **options: Any) -> Array:
        """What `x` would be after `np.maximum.at(x, index, value)`; ties share the derivative."""
        return self._update("max", value, **options)

    def apply(self, function: Callable[[Array], Array], **options: Any) -> Array:
        """What `x` would be after `function.at(x, index)`: `function` of the elements shown."""
        return self._update("apply", function, **options)
