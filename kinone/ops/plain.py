"""Functions composed of primitives: NumPy's own on plain arrays, ours on traced values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from ..core import Tracer, implements

F = TypeVar("F", bound=Callable[..., Any])


def composed(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Declares what these NumPy functions do on traced values, and returns a function for all.

    On plain operands that function is NumPy's first one itself, to the last bit, warnings included.
    """

    def register(f: F) -> F:
        implements(*functions)(f)
        plain = functions[0]

        @functools.wraps(f)
        def either(*args: Any, **kwargs: Any) -> Any:
            if is_traced(args) or is_traced(kwargs.values()):
                return f(*args, **kwargs)
            return plain(*args, **kwargs)

        return cast(F, either)

    return register


def is_traced(operands: Iterable[Any]) -> bool:
    """Whether some operand is a tracer, or a list that holds one."""
    for operand in operands:
        if isinstance(operand, Tracer):
            return True
        if type(operand) in (list, tuple) and is_traced(operand):
            return True
    return False
