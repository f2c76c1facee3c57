"""Every public name is explained, with an example. (That the examples are true is checked by
`pytest --doctest-modules kinone`, which CI runs.)"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kinone.core import Primitive

NAMESPACES = (
    *("kinone", "kinone.ops", "kinone.ops.linalg", "kinone.ops.fourier", "kinone.ops.polynomial"),
    *("kinone.data", "kinone.debug", "kinone.extend", "kinone.lax", "kinone.losses"),
    *("kinone.metrics", "kinone.onnx"),
    *("kinone.misc.fixed_points", "kinone.misc.flatten", "kinone.misc.optimizers"),
    *("kinone.misc.tracers", "kinone.models", "kinone.nn", "kinone.optim", "kinone.random"),
    *("kinone.scipy.integrate", "kinone.scipy.linalg", "kinone.scipy.signal"),
    *("kinone.scipy.special", "kinone.testing", "kinone.training", "kinone.tree"),
)


def public(namespace: str) -> Iterator[tuple[str, Any]]:
    """The functions and classes of a namespace: of its `__all__`, or those that are written in
    it; without what is NumPy's or SciPy's own."""
    module = importlib.import_module(namespace)
    for name in getattr(module, "__all__", dir(module)):
        value = getattr(module, name)
        home = getattr(value, "__module__", None) or ""
        if not callable(value) or isinstance(value, types.ModuleType) or name.startswith("_"):
            continue
        if hasattr(module, "__all__") or home == namespace:
            yield name, value


def wants_an_example(value: Any) -> bool:
    """An error's text is its example. NumPy's ufuncs and SciPy's functions as primitives have
    theirs. A protocol is for type checkers."""
    if isinstance(value, Primitive):
        return not isinstance(value.impl, np.ufunc) and not value.name.startswith("scipy.")
    if inspect.isclass(value):
        return not issubclass(value, BaseException) and not getattr(value, "_is_protocol", False)
    return True


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_public_names_are_explained(namespace: str) -> None:
    if namespace.startswith("kinone.scipy"):
        pytest.importorskip("scipy")
    found = dict(public(namespace))
    assert found
    without = [name for name, value in found.items() if not (value.__doc__ or "").strip()]
    assert not without, f"{namespace}: no docstring: {', '.join(without)}"
    without = [
        f"{value.__module__}.{name}"
        for name, value in found.items()
        if wants_an_example(value) and ">>>" not in value.__doc__
    ]
    assert not without, f"{namespace}: no example: {', '.join(without)}"


def test_help_needs_no_extra() -> None:
    """`help(kinone)` reads everything that `dir(kinone)` names, and SciPy need not be there."""
    script = """
import sys
sys.modules["scipy"] = None  # as if it were not installed
import pydoc, kinone
print(pydoc.plaintext.document(kinone))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "kn.grad, value_and_grad, vjp, jvp" in run.stdout
