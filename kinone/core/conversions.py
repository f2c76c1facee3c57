"""What an error says when a number is asked of a traced value: the fix, by what the user wrote."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .. import source
from ..errors import LeakedTracerError, TracerConversionError
from ..source import Location
from .messages import leaked


def cut(tracer: Any, what: str) -> LeakedTracerError | TracerConversionError:
    """The error for taking the number out of a tracer that has one."""
    if not tracer._trace.alive:
        return leaked(tracer)
    place = source.capture()
    return TracerConversionError(
        f"{asked(what, place)} would take the number out of a value traced by "
        f"{tracer._trace.name}, at {source.describe(place)}\n"
        "  and its gradient would be cut without a word.\n"
        f"  {instead(what, place)}\n"
        "  To look at the value, return it with has_aux=True or call kinone.debug.print; where it "
        "is meant to be a constant, pass it through kinone.stop_gradient(x)."
    )


def asked(what: str, place: Location | None) -> str:
    """What took the number, as the user knows it."""
    if source.in_scipy():
        return "SciPy"
    return "y[i] = x" if source.stores_element(place) else what


def instead(what: str, place: Location | None) -> str:
    """What to write instead of a conversion."""
    if source.in_scipy():
        return (
            "Take the function of that name from kinone.scipy, which docs/scipy.md lists, or make "
            "an operation of your own of it with kinone.extend.primitive."
        )
    if source.stores_element(place):
        return "Write np.stack([a, b]) for y[0] = a; y[1] = b, or y = kinone.ops.set_at(y, i, x)."
    text = "" if place is None else source.resolve(place).text
    called = re.match(r"[\w.]+(?=\()", text)  # the function that the user's expression calls
    library, _, name = called[0].rpartition(".") if called else ("", "", "")
    if what == "np.asarray(x)":
        if name == "dot":
            return f"Write {library} @ x for {library}.dot(x)."
        if name == "full":
            return "Write x * np.ones(shape) for np.full(shape, x), or take kinone.numpy's full."
        if text.endswith("]"):
            return "Write kinone.ops.getitem(table, i) for table[i]."
        return (
            "Write np.stack([a, b]) for a list of traced values, or take kinone.numpy, whose "
            "functions accept it; x by itself is an array already."
        )
    if what == "using x as an index":
        if text.endswith("]"):
            return "Write kinone.ops.getitem(np.array(table), i) for table[i], i being an integer."
        if "range" in text:
            return "Write kinone.fori_loop(0, n, body, init) for a `for` over range(n)."
        return "A length or an axis is a plain integer, such as x.shape[0]."
    if library in ("", "math", "cmath") and what != f"{name}(x)" and hasattr(np, name):
        return f"Write np.{name} for {text.partition('(')[0]}."
    if what.startswith("np."):  # a function that needs the numbers, see `ops.concrete`
        return (
            "What it returns depends on the numbers, its shape mostly. Write np.where(mask, x, 0), "
            "which keeps the shape, for a selection."
        )
    for start, fix in _FIXES.items():
        if what.startswith(start):
            return fix
    verb = what.replace("x.", ".").replace("(x)", "()")
    if verb.strip("()") in text:
        return f"Leave {verb} away: a traced value computes as a number does."
    return "Call NumPy's functions on x, np.sin(x) and the like: they take traced values."


_FIXES = {
    "bool": "Write np.where(condition, a, b) or kinone.cond for `if`, and kinone.while_loop for "
    "`while`.",
    "int": "An integer has no derivative: compute it from plain values, or write np.floor(x).",
    "pickling": "Return it from the function, and save the result.",
}
