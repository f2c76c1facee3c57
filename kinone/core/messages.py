"""What errors of the engine say: the user's line, the operands with their paths, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from .. import source
from ..errors import (
    LeafError,
    LeakedTracerError,
    MissingRuleError,
    ShapeError,
    TracerConversionError,
)
from .values import Array, shape_dtype


def explain(error: Exception, name: str, args: Sequence[Array]) -> None:
    """Adds to an error's message the primitive, the user's line and the operands.

    The exception keeps its type. Every level of tracing passes here on the error's way out; each
    replaces what the one before wrote, for the outermost knows the operands' paths.
    """
    if isinstance(error, (LeakedTracerError, TracerConversionError, MissingRuleError)):
        return
    if type(error).__str__ is not BaseException.__str__:
        return  # np.exceptions.AxisError and others that format themselves
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    text = getattr(error, "_kinone_text", None)
    if text is None:
        text = error.args[0]
        error._kinone_text = text  # type: ignore[attr-defined]
        error._kinone_place = source.here()  # type: ignore[attr-defined]
    place = getattr(error, "_kinone_place")  # noqa: B009 (an attribute that no class declares)
    operands = "".join(f"\n    {describe_operand(arg)}" for arg in args)
    error.args = (f"{text}\n  in {name} at {place}{operands}",)


def shape_error(name: str, text: str, *args: Array) -> ShapeError:
    """A `ShapeError` with the user's line and the operands, for checks made before a primitive."""
    error = ShapeError(text)
    explain(error, name, args)
    return error


def describe_operand(x: Array) -> str:
    """`params/w: float32[10,784]`: the leaf's path where it has one, and its shape and dtype."""
    label = None
    inner = x
    while label is None and hasattr(inner, "aval"):  # a tracer
        label = inner._trace.label(inner)
        inner = getattr(inner, "value", None)
    try:
        text = repr(shape_dtype(x))
    except Exception:
        text = type(x).__name__
    if isinstance(x, (bool, int, float, complex)):
        text = repr(x)
    return f"{label}: {text}" if label else text


def leaf_error(path: str, leaf: Any, name: str) -> LeafError:
    """The error for a leaf that is no number."""
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


def cut(tracer: Any, what: str) -> LeakedTracerError | TracerConversionError:
    """The error for taking the number out of a tracer."""
    if not tracer._trace.alive:
        return leaked(tracer)
    return TracerConversionError(
        f"{what} would take the number out of a value traced by {tracer._trace.name}, "
        f"at {source.here()}\n"
        "  and its gradient would be cut without a word. Compute with NumPy functions on x "
        "(np.sqrt(x), not math.sqrt(x); np.stack([a, b]), not np.array([a, b]) or y[0] = a; "
        "w @ x, not w.dot(x)),\n"
        "  return it with has_aux=True to look at it, or pass it through "
        "kinone.stop_gradient(x) where it is meant to be a constant."
    )


def no_rule(name: str, functions: Iterable[Any]) -> MissingRuleError:
    """The error for a NumPy function that Kinone does not know."""
    known = sorted({f.__name__ for f in functions if not f.__name__.startswith("_")})
    short = name.rpartition(".")[2]
    near = difflib.get_close_matches(short, known, n=1)
    if short in _REWRITES:
        hint = f" Write {_REWRITES[short]} instead."
    else:
        hint = f" The nearest name that has a rule: np.{near[0]}." if near else ""
    return MissingRuleError(
        f"np.{name} has no rule for traced values, at {source.here()}\n  It would run once on "
        f"numbers and lose the gradient, so it is refused.{hint}"
    )


# What to write for functions that have no rule.
_REWRITES = {
    "hstack": "np.concatenate(arrays, axis=-1)",
    "vstack": "np.concatenate or np.stack",
    "column_stack": "np.stack(arrays, axis=-1)",
    "split": "slices, x[:3] and x[3:],",
    "array_split": "slices, x[:3] and x[3:],",
    "flip": "x[::-1]",
    "copy": "x, which nothing can change,",
    "inner": "x @ y",
    "vdot": "np.ravel(x) @ np.ravel(y)",
    "tensordot": "x @ y with reshape and transpose",
    "einsum": "x @ y with transpose, or np.sum(x * y, axis)",
    "norm": "np.sqrt(np.sum(x * x))",
    "average": "np.mean(x), or np.sum(w * x) / np.sum(w)",
    "repeat": "np.broadcast_to and reshape",
    "tile": "np.broadcast_to and reshape",
    "diag": "x[np.arange(n), np.arange(n)]",
    "trace": "np.sum(x[np.arange(n), np.arange(n)])",
    "fabs": "np.abs(x)",
    "array": "np.stack([a, b])",
}
