"""NumPy's own test suite, with every call of a NumPy function made on traced values.

    python -m pytest -p numpy_suite --pyargs numpy.fft.tests     (with this folder on PYTHONPATH)

NumPy installs its tests. This plugin of pytest puts, in place of the functions that they call,
ones that trace: the floating and complex arrays among the arguments by `kinone.vjp`, whose pullback
then runs, too; otherwise the integers and booleans by `kinone.graph`. The test goes on with the
value, so that it checks Kinone's value, dtype, shape and error. Where Kinone refuses a call in its
own words (no rule, no value while tracing), NumPy answers, and the refusal is counted.

What can't pass are tests about memory (views, `out=`, writing), about subclasses and about the
functions' own identity; `test_numpy_own_suite.py` lists those.
"""

from __future__ import annotations

import collections
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core import Tracer, numpy_functions
from kinone.errors import (
    LeafError,
    MissingRuleError,
    TracerAssignmentError,
    TracerConversionError,
)

Refusal = (MissingRuleError, TracerConversionError, TracerAssignmentError, LeafError)
INEXACT, WHOLE = set("efdFD"), set("?bBhHiIlL")

refusals: collections.Counter[str] = collections.Counter()
calls: collections.Counter[str] = collections.Counter()
_wrapped: dict[int, Any] = {}
_tracing = False


def traced_call(function: Callable[..., Any], args: Any, kwargs: Any, name: str) -> Any:
    """`function(*args, **kwargs)` by way of `vjp` or `graph`."""
    global _tracing
    if _tracing or kwargs.get("out") is not None:
        return function(*args, **kwargs)
    try:
        leaves, structure = kn.tree.flatten((args, kwargs))
    except Exception:  # not a tree: dicts with keys of several types, and the like
        return function(*args, **kwargs)
    places = [i for i, x in enumerate(leaves) if _plain(x, INEXACT)]
    differentiable = bool(places)
    places = places or [i for i, x in enumerate(leaves) if _plain(x, WHOLE)]
    if not places:
        return function(*args, **kwargs)
    results: list[Any] = []

    def of_arrays(*arrays: Any) -> list[Any]:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        given, named = kn.tree.unflatten(structure, filled)
        results.append(function(*given, **named))
        return [x for x in kn.tree.leaves(results[-1]) if isinstance(x, Tracer)]

    arrays = [leaves[i] for i in places]
    _tracing = True
    try:
        if differentiable:
            values, pullback = kn.vjp(of_arrays, *arrays)
            _pull(pullback, values)
        else:
            values = kn.graph(of_arrays)(*arrays)(*arrays)
    except Refusal:
        refusals[name] += 1
        return function(*args, **kwargs)
    finally:
        _tracing = False
    calls[name] += 1
    found = iter(values)
    return kn.tree.map(lambda x: next(found) if isinstance(x, Tracer) else x, results[-1])


def _plain(x: Any, kinds: set[str]) -> bool:
    return type(x) is np.ndarray and x.dtype.char in kinds and x.dtype.isnative


def _pull(pullback: Callable[[Any], Any], values: Any) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        pullback([np.ones_like(x) if kn.core.is_inexact(x) else x for x in values])


class Traced:
    """A NumPy function whose calls are traced; its attributes are the function's."""

    def __init__(self, function: Any) -> None:
        self.__dict__["_function"] = function

    def __call__(__self, *args: Any, **kwargs: Any) -> Any:  # `self` may be a keyword
        function = __self._function
        return traced_call(function, args, kwargs, function.__name__)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__name__", "__doc__"):
            raise AttributeError(name)
        found = getattr(self._function, name)
        if name not in ("reduce", "accumulate", "outer", "reduceat"):
            return found
        label = f"{self._function.__name__}.{name}"
        return lambda *args, **kwargs: traced_call(found, args, kwargs, label)

    def __repr__(self) -> str:
        return repr(self._function)

    def __eq__(self, other: object) -> bool:
        return self._function == getattr(other, "_function", other)  # type: ignore[no-any-return]

    def __hash__(self) -> int:
        return hash(self._function)


class Namespace(types.ModuleType):
    """A module of NumPy whose functions are traced."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__)
        self.__dict__["_module"] = module

    def __getattr__(self, name: str) -> Any:
        return wrap(getattr(self._module, name))


def wrap(x: Any) -> Any:
    """What stands in a test for `x`: functions and namespaces of NumPy, in lists too, traced."""
    if type(x) in (list, tuple):
        return type(x)([wrap(each) for each in x])
    if isinstance(x, types.ModuleType):
        if x.__name__ in ("numpy", "numpy.linalg", "numpy.fft"):
            return _wrapped.setdefault(id(x), Namespace(x))
        return x
    if isinstance(x, type) or not callable(x):
        return x
    try:
        known = x in numpy_functions
    except TypeError:
        return x
    return _wrapped.setdefault(id(x), Traced(x)) if known else x


def pytest_collection_modifyitems(items: list[Any]) -> None:
    kn.ops.load_all()  # for what is not in the table is not traced
    seen: set[int] = set()
    for item in items:
        for name, value in getattr(getattr(item, "callspec", None), "params", {}).items():
            item.callspec.params[name] = wrap(value)
        for owner in (item.module, item.cls):
            if owner is None or id(owner) in seen:
                continue
            seen.add(id(owner))
            for name, value in list(vars(owner).items()):
                if not name.startswith(("assert", "__", "test", "pytest")):
                    replaced = wrap(value)
                    if replaced is not value:
                        setattr(owner, name, replaced)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"traced calls: {sum(calls.values())}, of {len(calls)} functions")
    refused = ", ".join(f"{name} {count}" for name, count in refusals.most_common())
    terminalreporter.write_line(f"refused calls: {refused or 'none'}")
