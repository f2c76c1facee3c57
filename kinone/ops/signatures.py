"""Functions that take what another one takes: NumPy's long signatures are written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def signature_of(model: F) -> Callable[[Callable[..., Any]], F]:
    """Declares that a function of `*args` and `**kwargs` takes what `model` takes, as it takes it.

    That is what `inspect.signature`, `help` and type checkers then show. The function itself names
    the arguments as far as `out`, which the NumPy protocol looks for in order to refuse it.
    """

    def declare(f: Callable[..., Any]) -> F:
        f.__signature__ = inspect.signature(model)  # type: ignore[attr-defined]
        return cast(F, f)

    return declare
