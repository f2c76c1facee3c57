"""`checkpoint`: memory for time. The backward pass computes again what the forward run let go."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np

from ..core import Array, Primitive, ShapeDtype, Tracer, is_inexact, shape_dtype, zeros_of
from ..graph import Graph, evaluate, staging, trace_flat
from ..ops.barrier import barrier
from ..ops.samples import Sample, values
from ..source import name_of
from ..tree import flatten, unflatten
from .arguments import numbers_given, position
from .calls import Results
from .gradient import vjp
from .record import record
from .split import batched, pushforward

P = ParamSpec("P")
R = TypeVar("R")


@overload
def checkpoint(fun: Callable[P, R]) -> Callable[P, R]: ...
@overload
def checkpoint(
    fun: None = None, *, prevent_cse: bool = ..., static_argnums: int | Sequence[int] = ...
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def checkpoint(
    fun: Callable[P, R], *, prevent_cse: bool = ..., static_argnums: int | Sequence[int] = ...
) -> Callable[P, R]: ...
def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    static_argnums: int | Sequence[int] = (),
) -> Callable[..., Any]:
    """`fun`, of which reverse mode keeps the arguments alone; the backward pass runs it again.

    The values and all derivatives are those of `fun`. The arrays between its arguments and its
    result live while it runs, forward and once more backward, not in between: a network of n
    checkpointed blocks keeps n block inputs and the inside of one block, for one more forward run
    (Chen et al. 2016, arXiv:1604.06174).

    What runs again are the operations on traced values, along the path that Python took the first
    time; what `fun` computes of plain arrays alone stays a constant. Traced values that it closes
    over count as arguments, provided that some argument is traced; if none is, `fun` runs as it is.
    Forward mode, `vmap`, `jit` and further checkpoints inside or outside are fine. Leaves of the
    arguments that are no numbers stay as they are, and so do the arguments at `static_argnums`;
    one that the call does not have raises `GradientError`.
    In a compiled program a `barrier` keeps the second run from being merged with the first;
    `prevent_cse=False` leaves it away.

        >>> import numpy as np, kinone as kn
        >>> block = kn.checkpoint(lambda w, x: np.tanh(x @ w))
        >>> kn.grad(lambda w: np.sum(block(w, block(w, np.ones(2)))))(np.zeros((2, 2)))
        array([[0., 0.],
               [0., 0.]])
    """
    if fun is None:
        return functools.partial(checkpoint, prevent_cse=prevent_cse, static_argnums=static_argnums)
    numbers = numbers_given(static_argnums, "static_argnums")
    name = name_of(fun)

    @functools.wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        static = {position(n, len(args), fun, "static_argnums", kwargs=kwargs) for n in numbers}
        given = [None if i in static else arg for i, arg in enumerate(args)]
        leaves, treedef = flatten((given, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer)]
        if not places:
            return fun(*args, **kwargs)
        results = Results(name)

        def run(*traced: Array) -> tuple[Array, ...]:
            filled = list(leaves)
            for place, leaf in zip(places, traced, strict=True):
                filled[place] = leaf
            new_args, new_kwargs = unflatten(treedef, filled)
            for i in static:
                new_args[i] = args[i]
            return results.flatten(fun(*new_args, **new_kwargs), name)

        traced = [leaves[i] for i in places]
        program, used = record(run, traced, name, "checkpoint")
        found = checkpoint_p(*used, *traced, program=program, barred=prevent_cse)
        program.results = None
        return results.unflatten(found)

    return checkpointed


def _impl(*xs: Array, program: Callable[..., Any], barred: bool) -> Any:
    """The function itself."""
    return program(*xs)


def _shape(*avals: ShapeDtype, program: Graph, barred: bool) -> tuple[ShapeDtype, ...]:
    return tuple([ShapeDtype(atom.aval.shape, atom.aval.dtype) for atom in program.outputs])


def _vjp(
    wanted: Sequence[bool], ys: Sequence[Array], xs: Sequence[Array], params: dict[str, Any]
) -> Callable[[Sequence[Array | None]], Sequence[Array]]:
    program: Graph = params["program"]
    avals = [shape_dtype(y) for y in ys]

    def pullback(gs: Sequence[Array | None]) -> Sequence[Array]:
        full = [zeros_of(aval) if g is None else g for g, aval in zip(gs, avals, strict=True)]
        kept = list(xs)
        if params["barred"] and staging():
            # In a program the second run would be merged with the first one, which is the same.
            tied = barrier(*kept, *full)
            kept, full = list(tied[: len(kept)]), list(tied[len(kept) :])
        some = [x for x, flag in zip(kept, wanted, strict=True) if flag]

        def restricted(*some: Array) -> tuple[Array, ...]:
            rest = iter(some)
            leaves = [next(rest) if flag else x for x, flag in zip(kept, wanted, strict=True)]
            return tuple(evaluate(program, leaves))

        _, again = vjp(restricted, *some)
        return again(tuple(full))

    return pullback


def _run_jvp(
    xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> tuple[Any, Any]:
    """Values and tangents in one, checkpointed again: reverse mode may come later."""
    program: Graph = params["program"]
    moving = [t is not None for t in tangents]
    both = pushforward(program, moving)
    found = checkpoint_p(
        *xs, *[t for t in tangents if t is not None], program=both, barred=params["barred"]
    )
    count = len(program.outputs)
    ys, rest = found[:count], iter(found[count:])
    return ys, tuple([next(rest) if is_inexact(y) else None for y in ys])


def _jvp(
    y: Any, xs: Sequence[Array], tangents: Sequence[Array | None], params: dict[str, Any]
) -> Any:
    return _run_jvp(xs, tangents, params)[1]


def _batch(size: int, flags: Sequence[bool], *xs: Array, program: Graph, barred: bool) -> Any:
    return checkpoint_p(*xs, program=batched(program, size, flags), barred=barred)


def _samples() -> list[Sample]:
    def run(x: Array, y: Array) -> list[Array]:
        return [np.tanh(x) * y, np.sum(x, axis=0), np.sin(y)]

    x, y = values(2, 3), values(3, seed=1)
    program, _ = trace_flat(run, [shape_dtype(x), shape_dtype(y)], "sample")
    return [Sample((x, y), {"program": program, "barred": True})]


checkpoint_p = Primitive(
    "checkpoint",
    _impl,
    shape=_shape,
    vjp=_vjp,
    jvp=_jvp,
    run_jvp=_run_jvp,
    batch=_batch,
    multiple=True,
    samples=_samples,
)

remat = checkpoint

__all__ = ["checkpoint", "remat"]
