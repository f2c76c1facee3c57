"""The printable program: `Graph`, `Equation`, `Var`, and how a function becomes one.

    >>> import numpy as np
    >>> program = graph(lambda x, w: np.tanh(x @ w))
    >>> print(program(np.ones((8, 16)), np.ones((16, 4))))  # doctest: +ELLIPSIS
    graph <lambda>(x: float64[8,16], w: float64[16,4]):
        a: float64[8,4] = matmul x w  # ...  x @ w
        b: float64[8,4] = tanh a      # ...  np.tanh(x @ w)
        return b

A graph is a straight line of equations in single-assignment form. Operations on values that no
argument reaches are not in it: they have run, and stand in it as constants.
"""

from .atoms import Atom, Constant, Var
from .composites import composite, composite_p, composites_kept, keeping_composites
from .passes import check, without_dead_code
from .program import Equation, Graph, evaluate
from .tracing import (
    GraphTrace,
    GraphTracer,
    argument_names,
    close,
    eval_shape,
    flat_graph,
    graph,
    recognising,
    staging,
    trace_flat,
    tracing,
)

__all__ = [
    "Atom",
    "Constant",
    "Equation",
    "Graph",
    "GraphTrace",
    "GraphTracer",
    "Var",
    "argument_names",
    "check",
    "close",
    "composite",
    "composite_p",
    "composites_kept",
    "eval_shape",
    "evaluate",
    "flat_graph",
    "graph",
    "keeping_composites",
    "recognising",
    "staging",
    "trace_flat",
    "tracing",
    "without_dead_code",
]
