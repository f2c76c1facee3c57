"""What parts of the engine become in a saved program, where nothing is traced and no user's line
is known. `extract` writes these definitions in place of those of the same names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Tracer:
    """A traced value; there is none here."""


class ToldError(Exception):
    """An error that was told in full where it was raised."""


def here() -> str:
    """The user's line, which is not known here."""
    return "a saved program"


def capture(depth: int = 1) -> str | None:
    """The user's line, which is not known here."""
    return None


def describe(location: str | None) -> str:
    """A line of the program that was saved: it stands here as a text."""
    return "an unknown line" if location is None else location


def explain(error: Exception, name: str, args: Sequence[Any]) -> None:
    """Adds nothing to an error."""


def unchanged(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """A decorator that leaves what it decorates as it is."""
    return lambda decorated: decorated
