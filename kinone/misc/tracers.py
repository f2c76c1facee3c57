"""Functions that are traced once and run many times."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..compile import jit


def const_graph(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """`fun` with its first arguments given, traced at the first call: `kinone.jit` of both.

    Arguments of other shapes or dtypes are traced again, and an `if` that depends on values
    raises: the graph is the same for all, and never silently that of the first call.

        >>> import numpy as np
        >>> const_graph(np.add, 1.0)(np.array([1.0, 2.0]))
        array([2., 3.])
    """
    return jit(functools.partial(fun, *args, **kwargs))


__all__ = ["const_graph"]
