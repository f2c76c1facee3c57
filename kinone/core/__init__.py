"""The engine's heart: primitives, tracers, and who handles an operation.

A *primitive* is an operation with its rules. A *tracer* is a value that a transformation watches;
it belongs to a *trace*, which has an integer level. Applying a primitive looks at its operands:

    no tracer among them   → run `impl`, plain NumPy;
    otherwise              → the trace of highest level handles it (`Trace.process`), by applying
                             the same primitive to values of lower level and noting what it needs.

That is all the dispatch there is; nested transformations are nested levels.

Tracers implement NumPy's protocols, so `np.tanh(x)`, `x @ w` and `x.sum(axis=0)` reach the same
primitives through `numpy_functions`, the one table that `kinone.ops` fills as it declares them.
"""

from .messages import describe_operand, explain, foreign, leaf_error, leaked, shape_error
from .primitive import Primitive, registry, weaken
from .protocol import implements, numpy_functions
from .trace import Trace, running, tracing_body
from .tracer import Tracer
from .values import (
    Array,
    ShapeDtype,
    is_bfloat16,
    is_foreign,
    is_inexact,
    is_number,
    ndim_of,
    shape_dtype,
    shape_of,
    zeros_of,
)

__all__ = [
    "Array",
    "Primitive",
    "ShapeDtype",
    "Trace",
    "Tracer",
    "describe_operand",
    "explain",
    "foreign",
    "implements",
    "is_bfloat16",
    "is_foreign",
    "is_inexact",
    "is_number",
    "leaf_error",
    "leaked",
    "ndim_of",
    "numpy_functions",
    "registry",
    "running",
    "shape_dtype",
    "shape_error",
    "shape_of",
    "tracing_body",
    "weaken",
    "zeros_of",
]
