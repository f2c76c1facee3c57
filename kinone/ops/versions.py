"""NumPy's functions that came after NumPy 2.0, where they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def present(*names: str) -> list[Callable[..., Any]]:
    """Those of NumPy's functions with these names that the installed NumPy has."""
    return [getattr(np, name) for name in names if hasattr(np, name)]
