"""Static arguments: which they are, and what of their values is a part of the signature."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Tracer
from ..errors import StaticArgumentError
from ..source import name_of
from ..transforms.arguments import names_given, numbers_given, parameter_names


def static_places(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] | None,
    argnames: str | Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Static parameters by name and by place: each is static however it is passed."""
    numbers = numbers_given(argnums, "static_argnums", error=StaticArgumentError)
    names = names_given(argnames)
    try:
        parameters = inspect.signature(fun).parameters
    except (TypeError, ValueError):
        return names, tuple(n for n in numbers if n >= 0)
    positional = [
        p.name
        for p in parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    takes_names = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for number in numbers:
        if number < 0 and takes_any:
            raise StaticArgumentError(
                f"static_argnums has {number}, and {name_of(fun)} takes any number of arguments, "
                f"at {source.here()}\n  Count from the front."
            )
        if not takes_any and not -len(positional) <= number < len(positional):
            raise StaticArgumentError(
                f"static_argnums has {number}, and {name_of(fun)} has {len(positional)} positional "
                f"parameters, at {source.here()}"
            )
    for name in names:
        if name not in parameters and not takes_names:
            raise StaticArgumentError(
                f"static_argnames has {name!r}, which is no parameter of {name_of(fun)}, "
                f"at {source.here()}\n  It has: {', '.join(parameters)}."
            )
    places = {n % len(positional) if n < 0 else n for n in numbers}
    places |= {positional.index(name) for name in names if name in positional}
    all_names = {*names, *[positional[n] for n in places if n < len(positional)]}
    return tuple(sorted(all_names)), tuple(sorted(places))


def frozen(value: Any) -> Hashable:
    """What stands for a static value in a signature: equal only for values that are the same.

    `1`, `1.0` and `True` are three values, `0.0` and `-0.0` are two, also inside of tuples,
    frozensets and dataclasses; an array counts by its dtype, shape and bytes at this moment.
    Raises `TypeError` for a value that has no hash.
    """
    kind = type(value)
    if kind in (int, str, bool, type(None)):
        return (kind, value)
    if kind is float:
        return (kind, value.hex() if math.isfinite(value) else repr(value))
    if kind is complex:
        return (kind, frozen(value.real), frozen(value.imag))
    if isinstance(value, tuple):  # a named one, too
        return (kind, *[frozen(each) for each in value])
    if isinstance(value, frozenset):
        return (kind, frozenset([frozen(each) for each in value]))
    if isinstance(value, np.ndarray):
        return (kind, value.dtype, value.shape, value.tobytes())
    if isinstance(value, np.generic):
        return (kind, value.dtype, value.tobytes())
    hash(value)
    if dataclasses.is_dataclass(kind):
        fields = [f.name for f in dataclasses.fields(value) if f.compare]
        return (kind, *[frozen(getattr(value, name)) for name in fields])
    return (kind, value)


def frozen_statics(
    statics: dict[int | str, Any], fun: Callable[..., Any]
) -> tuple[tuple[int | str, Hashable], ...]:
    """All static values of a call. Raises `StaticArgumentError` for one that has no hash."""
    found = []
    for place, value in statics.items():
        try:
            found.append((place, frozen(value)))
        except TypeError:
            name = place if isinstance(place, str) else parameter_names(fun, place + 1)[place]
            if isinstance(value, Tracer):
                raise StaticArgumentError(
                    f"the static argument {name} of {name_of(fun)} is a value that "
                    f"{value._trace.name} traces, at {source.here()}\n"
                    "  Do not make it static, or leave it out of what is differentiated or mapped."
                ) from None
            raise StaticArgumentError(
                f"the static argument {name} of {name_of(fun)} is a {type(value).__name__}, which "
                f"has no hash, at {source.here()}\n"
                "  Pass a tuple for a list, a frozen dataclass for a dict, or do not make it "
                "static."
            ) from None
    return tuple(found)
