"""What errors of the engine say: the user's line, the operands with their paths, and the fix."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..errors import (
    KinoneError,
    LeafError,
    LeakedTracerError,
    MissingRuleError,
    ShapeError,
    TracerAssignmentError,
    TracerConversionError,
)
from .values import Array, shape_dtype, shape_of


class ToldError(KinoneError):
    """An error that was told in full where it was raised: `explain` adds no text to it.

    On its way out it is given the labels of the operands, None where an operand has none.
    """

    def label(self, name: str, labels: Sequence[str | None]) -> None:
        """The labels of the operands of the primitive `name`, which passes the error on."""


def explain(error: Exception, name: str, args: Sequence[Array]) -> None:
    """Adds to an error's message the primitive, the user's line and the operands.

    The exception keeps its type. Every level of tracing passes here on the error's way out; each
    replaces what the one before wrote, for the outermost knows the operands' paths.
    """
    if isinstance(error, _COMPLETE):
        return
    if isinstance(error, ToldError):
        error.label(name, [label_of(arg) for arg in args])
        return
    written = len(error.args) == 1 and isinstance(error.args[0], str)
    # np.exceptions.AxisError and others format themselves: what we know becomes a note.
    written = written and type(error).__str__ is BaseException.__str__
    known: _Known | None = getattr(error, "_kinone_text", None)
    if known is None:
        text = error.args[0].rstrip() if written else ""
        if text.startswith("operands could not be broadcast together"):
            text += _axes_that_differ([shape_of(arg) for arg in args])
        known = _Known(text, source.here())
        error._kinone_text = known  # type: ignore[attr-defined]
    operands = "".join(f"\n    {describe_operand(arg)}" for arg in args)
    story = f"  in {name} at {known.place}{operands}"
    if written:
        error.args = (f"{known.text}\n{story}",)
        return
    notes = [note for note in getattr(error, "__notes__", ()) if note != known.note]
    known.note = story
    error.__notes__ = [*notes, story]


_COMPLETE = (
    LeakedTracerError,
    MissingRuleError,
    TracerAssignmentError,
    TracerConversionError,
)


class _Known:
    """What an error said when it was raised, the user's line, and the note that it has by now."""

    __slots__ = ("note", "place", "text")

    def __init__(self, text: str, place: str) -> None:
        self.text = text
        self.place = place
        self.note: str | None = None


def _axes_that_differ(shapes: Sequence[tuple[int, ...]]) -> str:
    """`: the last axes have lengths 10 and 4`, and the fix where there is an obvious one."""
    if len(shapes) != 2:
        return ""
    a, b = sorted(shapes, key=len, reverse=True)
    for back in range(1, len(b) + 1):
        if a[-back] != b[-back] and 1 not in (a[-back], b[-back]):
            lengths = f"{shapes[0][-back]} and {shapes[1][-back]}"
            text = f"\n  Axis -{back} of the operands has the lengths {lengths}."
            if len(b) == 1 and len(a) == 2 and a[0] == b[0]:
                text += f" Write y[:, None] for the {b}, if it belongs to the rows."
            return text
    return ""


def shape_error(name: str, text: str, *args: Array) -> ShapeError:
    """A `ShapeError` with the user's line and the operands, for checks made before a primitive."""
    error = ShapeError(text)
    explain(error, name, args)
    return error


def label_of(x: Array) -> str | None:
    """`params/w`: the path of the leaf that a tracer, or the value below it, stands for."""
    label: str | None = None
    while label is None and hasattr(x, "_trace"):
        label = x._trace.label(x)
        x = getattr(x, "value", None)
    return label


def describe_operand(x: Array) -> str:
    """`params/w: float32[10,784]`: the leaf's path where it has one, and its shape and dtype."""
    label = label_of(x)
    try:
        text = repr(shape_dtype(x))
    except Exception:
        text = type(x).__name__
    if isinstance(x, (bool, int, float, complex)):
        text = repr(x)
    return f"{label}: {text}" if label else text


def foreign(x: Any) -> LeafError:
    """The error for an operand that is an array by inheritance alone."""
    kind = type(x).__name__
    fix = "x.filled(value), or where=mask" if kind == "MaskedArray" else "np.asarray(x)"
    return LeafError(
        f"a {kind} meets a traced value, and its arithmetic is not an array's, at {source.here()}\n"
        f"  Write {fix}."
    )


def leaf_error(path: str, leaf: Any, name: str) -> LeafError:
    """The error for a leaf that is no number."""
    if type(leaf).__name__ in ("MaskedArray", "matrix"):
        return LeafError(
            f"{path} is a {type(leaf).__name__}, whose arithmetic is not an array's, and the "
            f"leaves of a tree under {name} are arrays and numbers, at {source.here()}\n"
            "  Pass x.filled(value) or np.asarray(x), and a mask as an argument of its own."
        )
    dtype = f" of dtype {leaf.dtype}" if hasattr(leaf, "dtype") else ""
    return LeafError(
        f"{path} is a {type(leaf).__name__}{dtype}, and the leaves of a tree under {name} are "
        f"arrays and numbers, at {source.here()}\n"
        "  Pass it as another argument, make its class a tree node with "
        "kinone.tree.register_dataclass or a static field of one, or use None for nothing."
    )


def leaked(tracer: Any) -> LeakedTracerError:
    """The error for a tracer that outlived its trace."""
    return LeakedTracerError(
        f"a value of {tracer._trace.name} was used after it had returned\n"
        f"  used at {source.here()}\n"
        f"  made at {source.describe(tracer.location)}\n"
        f"  by {tracer._trace.name} called at {source.describe(tracer._trace.started)}\n"
        "  Return the value from the function (has_aux=True for extra results) instead of storing "
        "it outside."
    )


def no_rule(function: Any, functions: Iterable[Any], method: str = "__call__") -> MissingRuleError:
    """The error for a function, or a method of a ufunc, that Kinone does not know."""
    name = full_name(function) if method == "__call__" else f"{full_name(function)}.{method}"
    library, _, short = name.partition(".")
    named = [full_name(f) for f in functions if hasattr(f, "__name__")]
    known = {f.rpartition(".")[2]: f for f in named if f.startswith(f"{library}.")}
    near = difflib.get_close_matches(short.rpartition(".")[2], sorted(known), n=1)
    if short in _REWRITES:
        hint = f"Write {_REWRITES[short]} instead."
    elif library == "scipy" and "kinone.scipy" not in sys.modules:
        hint = "Write `import kinone.scipy`: it has rules for what docs/scipy.md lists."
    elif near:
        hint = (
            f"The nearest name that has a rule is {known[near[0]]}; "
            "`python -m kinone rules` lists all."
        )
    else:
        hint = "`python -m kinone rules` lists what has one."
    return MissingRuleError(
        f"{name} has no rule for traced values, at {source.here()}\n  It would run once on "
        f"numbers and lose the gradient, so it is refused.\n  {hint}"
    )


def full_name(function: Any) -> str:
    """`np.linalg.norm`, `scipy.special.erf`: how a user writes the name of a function."""
    name: str = function.__name__
    if isinstance(function, np.ufunc):  # which does not say whose it is
        special = sys.modules.get("scipy.special")
        public = name.removeprefix("_")
        of_scipy = getattr(np, name, None) is not function and hasattr(special, public)
        return f"scipy.special.{public}" if of_scipy else f"np.{name}"
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module}.{name}".replace("numpy.", "np.", 1)


# What to write for functions that can never have a rule: they leave the program for a file. (Those
# that write into an array are `kinone.ops.refused`.)
_REWRITES = dict.fromkeys(
    ("save", "savez", "savez_compressed", "savetxt"),
    "`return loss, x` with has_aux=True, and save what comes back,",
)
