"""What a namespace says of a name that it lacks: how that is called here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn


def other_names(namespace: str, elsewhere: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """A module's `__getattr__` for names of other libraries.

    It raises the `AttributeError` that Python would, with the name that is meant. `elsewhere`
    translates; what differs from a name of the module only by upper and lower case, or by the
    number of dimensions that PyTorch adds, needs no translation.

        >>> missing = other_names("kinone.nn", {"Linear": "nn.Dense"})
        >>> missing("Linear")
        Traceback (most recent call last):
            ...
        AttributeError: module 'kinone.nn' has no attribute 'Linear': here it is nn.Dense
    """

    def missing(name: str) -> NoReturn:
        module: Any = sys.modules[namespace]
        text = f"module {namespace!r} has no attribute {name!r}"
        meant = elsewhere.get(name) or _spelled_otherwise(name, module)
        if meant is None:
            # With these two Python itself adds "Did you mean …?" where a name is near.
            raise AttributeError(text, name=name, obj=module)
        raise AttributeError(f"{text}: here it is {meant}")

    return missing


def _spelled_otherwise(name: str, module: Any) -> str | None:
    plain = re.sub(r"(?<=[a-z])[123]d$", "", name).lower()
    home = module.__name__.rpartition(".")[2]
    names = getattr(module, "__all__", ())
    return next((f"{home}.{each}" for each in names if each.lower() == plain), None)
