"""Named boundaries round functions, for those who read a program and not only run it.

`@composite("BatchNormalization")` on a function of arrays changes nothing about it: it runs,
differentiates, batches and compiles as if the name were not there. Where a program is traced
`keeping_composites()`, a call of it stands in the program as one equation that holds its own
program, so that an exporter may write one node in place of all that is inside.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from .. import tree
from ..core import Array, Primitive, ShapeDtype, Tracer, shape_dtype
from .program import Graph, evaluate
from .tracing import GraphTracer, trace_flat

P = ParamSpec("P")
R = TypeVar("R")


class _State(threading.local):
    kept = False


_state = _State()


@contextmanager
def keeping_composites() -> Iterator[None]:
    """Programs that this thread traces inside have an equation for each call of a composite."""
    before, _state.kept = _state.kept, True
    try:
        yield
    finally:
        _state.kept = before


def composites_kept() -> bool:
    """Whether programs that this thread traces have equations for composites."""
    return _state.kept


class _Composite(Primitive):
    """What stands for a composite's call in a program. Run, it is what is inside of it, so no
    transformation ever meets it."""

    def __call__(self, *args: Array, program: Graph, **params: Any) -> Any:
        if _state.kept and _is_recorded(args):
            return super().__call__(*args, program=program, **params)
        return tuple(evaluate(program, args))


def _is_recorded(leaves: Sequence[Any]) -> bool:
    """Whether the innermost of the values' traces is that of a program."""
    top = max(
        (leaf for leaf in leaves if isinstance(leaf, Tracer)),
        key=lambda tracer: tracer._trace.level,
        default=None,
    )
    return isinstance(top, GraphTracer)


def _shape(*avals: ShapeDtype, program: Graph, **params: Any) -> tuple[ShapeDtype, ...]:
    return tuple([atom.aval for atom in program.outputs])


def _impl(*leaves: Array, program: Graph, **params: Any) -> tuple[Array, ...]:
    return tuple(evaluate(program, leaves))


composite_p = _Composite(
    "composite", _impl, shape=_shape, vjp=None, jvp=None, multiple=True, fresh=False
)


def composite(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that names a function, for `keeping_composites`; its options are keywords.

    >>> import numpy as np
    >>> @composite("Cube")
    ... def cube(x):
    ...     return x * x * x
    >>> cube(2.0)
    8.0
    """

    def decorate(fun: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(fun)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            if not _state.kept:
                return fun(*args, **kwargs)
            leaves, treedef = tree.flatten(args)
            if not _is_recorded(leaves):
                return fun(*args, **kwargs)
            out: list[Any] = []

            def flat(*values: Array) -> list[Array]:
                results, structure = tree.flatten(fun(*tree.unflatten(treedef, values), **kwargs))
                out[:] = [structure]
                return results

            program, captured = trace_flat(flat, [shape_dtype(leaf) for leaf in leaves], name)
            results = composite_p(
                *captured,
                *leaves,
                program=program,
                name=name,
                captured=len(captured),
                options=tuple(sorted(kwargs.items())),
            )
            found: R = tree.unflatten(out[0], results)
            return found

        return called

    return decorate
