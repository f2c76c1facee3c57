"""The call of a compiled program as a primitive, so that every transformation compiles it anew.

`grad(jit(f))` runs a compiled forward and a compiled backward program, `vmap(jit(f))` a compiled
batch; each is made on first use and kept with the program that it was made of. Inside another trace
the call dissolves into its equations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, Primitive, ShapeDtype, observe
from ..graph import evaluate, trace_flat
from ..ops.samples import Sample, values
from ..transforms.axis_names import name_of_batch
from ..transforms.calls import by_run
from ..transforms.split import (
    batched,
    fill_zeros,
    forward_backward,
    is_floating,
    pushforward,
)
from .program import Compiled


def _impl(*xs: Array, program: Compiled) -> tuple[Array, ...]:
    if observe.active():  # who watches each operation sees them one by one; the bits are the same
        return tuple(evaluate(program.graph, xs))
    return program(*xs)


def _shape(*avals: ShapeDtype, program: Compiled) -> tuple[ShapeDtype, ...]:
    return tuple([atom.aval for atom in program.graph.outputs])


def _run_vjp(
    wanted: Sequence[bool], xs: Sequence[Array], params: dict[str, Any]
) -> tuple[Any, Callable[..., Any]]:
    program: Compiled = params["program"]
    forward, backward = _derived(program, ("vjp", *wanted), lambda: _both(program, wanted))
    results = call(*xs, program=forward)
    count = len(program.graph.outputs)
    residuals, graph = results[count:], program.graph

    def pullback(gs: Sequence[Array | None]) -> Sequence[Array]:
        found: Sequence[Array] = call(*residuals, *fill_zeros(gs, graph), program=backward)
        return found

    return results[:count], pullback


def _both(program: Compiled, wanted: Sequence[bool]) -> tuple[Compiled, Compiled]:
    forward, backward = forward_backward(program.traced, wanted)
    # What passes from the one to the other need not be copied.
    return Compiled(forward, owned=len(program.graph.outputs)), Compiled(backward)


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    program: Compiled = params["program"]
    moving = [t is not None for t in tangents]
    both = _derived(
        program, ("jvp", *moving), lambda: Compiled(pushforward(program.traced, moving))
    )
    results = call(*xs, *[t for t in tangents if t is not None], program=both)
    outputs = program.graph.outputs
    rest = iter(results[len(outputs) :])
    ts = tuple([next(rest) if is_floating(atom.aval) else None for atom in outputs])
    return results[: len(outputs)], ts


def _batch(size: int, flags: Sequence[bool], *xs: Array, program: Compiled) -> Any:
    key = ("vmap", name_of_batch(), size, *flags)
    whole = _derived(program, key, lambda: Compiled(batched(program.traced, size, flags)))
    return call(*xs, program=whole)


def _derived(program: Compiled, key: Any, make: Callable[[], Any]) -> Any:
    found = program.derived.get(key)
    if found is None:
        with source.no_scope():  # it is kept, for other scopes too
            found = program.derived[key] = make()
    return found


def _expand(*xs: Array, program: Compiled) -> tuple[Array, ...]:
    return tuple(evaluate(program.traced, xs))


def _samples() -> list[Sample]:
    def function(x: Array, y: Array) -> list[Array]:
        return [np.tanh(x) * y, np.sum(x, axis=0), np.sin(y)]

    x, y = values(2, 3), values(3, seed=1)
    avals = [ShapeDtype((2, 3), np.float64), ShapeDtype((3,), np.float64)]
    program, _ = trace_flat(function, avals, "sample")
    return [Sample((x, y), {"program": Compiled(program)})]


call = Primitive(
    "jit",
    _impl,
    shape=_shape,
    vjp=by_run,
    jvp=by_run,
    run_vjp=_run_vjp,
    run_jvp=_run_jvp,
    batch=_batch,
    expand=_expand,
    multiple=True,
    samples=_samples,
)
