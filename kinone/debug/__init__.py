"""Tools for looking into a computation: where a NaN, a second or a megabyte comes from.

    with debug.nans(): …             stops at the operation that makes the first NaN
    with debug.profile() as p: …     time, bytes and work of each of your lines
    debug.residuals(f, *args)        the arrays that the backward pass keeps
    debug.dtypes(f, *args)           where float32 becomes float64
    debug.draw(f, *args)             a picture of the program, and of its backward pass
    debug.explain(f, *args)          the backward pass, step by step, with the formulas
    debug.print("{x}", x=x)          prints under every transformation
    debug.check(x > 0, "…")          an assertion under every transformation
    with debug.strict(): …           warnings of reused keys and of loops in vmap are errors
    with debug.kinks() as k: …       where a derivative was a convention
    debug.env()                      versions and settings, for a bug report

They look at what runs and change nothing of it.
"""

from ..ops.effects import CheckError
from ..ops.effects import check_values as check
from ..ops.effects import print_values as print
from .corners import kinks
from .drawing import draw
from .environment import env
from .explanation import explain
from .not_a_number import NaNError, nans
from .profiler import profile
from .residual_arrays import residuals
from .strictness import strict
from .widening import dtypes

__all__ = [
    "CheckError",
    "NaNError",
    "check",
    "draw",
    "dtypes",
    "env",
    "explain",
    "kinks",
    "nans",
    "print",
    "profile",
    "residuals",
    "strict",
]
