"""What importing `kinone.scipy` enters into Kinone's tables, for the tests of it alone.

Other tests go through these tables, and are about what `import kinone` gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kinone.core import numpy_functions, registry
from kinone.onnx.lower import scipy as rules
from kinone.scipy import integrate, linalg, signal, special, stats

assert rules, (integrate, linalg, signal, special, stats)  # their import fills the tables

OWN = [one for name, one in registry.items() if name.startswith("scipy.")]


def _is_scipys(function: Any) -> bool:
    if isinstance(function, np.ufunc):
        return getattr(np, function.__name__, None) is not function
    return str(getattr(function, "__module__", "")).startswith("scipy.")


FUNCTIONS = {f: ours for f, ours in numpy_functions.items() if _is_scipys(f)}


def forget() -> None:
    """Takes the entries away."""
    for one in OWN:
        registry.pop(one.name, None)
    for function in FUNCTIONS:
        numpy_functions.pop(function, None)


@pytest.fixture(autouse=True, scope="module")
def entered() -> Iterator[None]:
    """The entries, while the tests of a module run."""
    registry.update({one.name: one for one in OWN})
    numpy_functions.update(FUNCTIONS)
    yield
    forget()


forget()
