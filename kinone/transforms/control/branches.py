"""`cond` and `switch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import source, tree
from ...core import Array, ShapeDtype, Tracer, is_number, leaf_error, shape_dtype
from ...errors import ControlFlowError
from ...graph import Graph, evaluate, staging, trace_flat
from .common import TracedTree, differs, peek, watched
from .cond_primitive import cond_p


def cond(
    pred: Array,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
) -> Any:
    """`true_fun(*operands)` where `pred`, a scalar, is true, otherwise `false_fun(*operands)`.

    One of the two runs. In a traced function both are traced, and must return the same tree of the
    same shapes and dtypes. Where `pred` differs between the examples of a `vmap` both run on the
    whole batch, each unless no example takes it, and each example takes its result: it costs the
    time of both. An example computes nothing in the branch that it does not take, which runs on
    operands of one that does: a NaN or a division by zero there stays out of the derivatives.

    Raises `ControlFlowError` (a `TypeError`) when `pred` is no scalar or the results differ in
    kind.

        >>> float(cond(3.0 > 2.0, lambda x: x + 1, lambda x: x - 1, 10.0))
        11.0
    """
    known = shape_dtype(pred)
    if known.shape != ():
        raise ControlFlowError(
            f"cond wants a scalar predicate, got {known}, at {source.here()}\n"
            "  Write np.where(pred, a, b) to choose element by element."
        )
    if known.dtype.kind != "b":
        pred = pred != 0
    return _branch("cond", pred, (false_fun, true_fun), operands)


def switch(index: Array, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`; an index out of range counts as the nearest one that exists.

    See `cond` for what happens in traced functions and under `vmap`. Raises `ControlFlowError` (a
    `TypeError`) when `index` is no integer, there are no branches, or their results differ in kind.

        >>> switch(2, [lambda x: x, lambda x: 2 * x, lambda x: 3 * x], 5)
        15
    """
    known = shape_dtype(index)
    if known.shape != () or known.dtype.kind not in "iub":
        raise ControlFlowError(f"switch wants an integer, got {known}, at {source.here()}")
    if not branches:
        raise ControlFlowError(f"switch wants at least one branch, at {source.here()}")
    return _branch("switch", index, tuple(branches), operands)


def _branch(
    name: str, index: Array, branches: tuple[Callable[..., Any], ...], operands: tuple[Any, ...]
) -> Any:
    value = peek(index)
    if value is not None and not staging() and not differs(index):
        return watched(branches[min(max(int(value), 0), len(branches) - 1)])(*operands)
    # Where the examples of a vmap take different branches, too: each derivative then stays with its
    # branch, and a NaN of the one not taken does not get into the other.
    return _staged_branch(name, index, branches, operands)


def _different(name: str, first: Any, other: Any) -> ControlFlowError:
    return ControlFlowError(
        f"the branches of {name} return different trees, at {source.here()}\n"
        + tree.diff(first, other)
    )


def _staged_branch(
    name: str, index: Array, branches: tuple[Callable[..., Any], ...], operands: tuple[Any, ...]
) -> Any:
    leaves, in_tree = tree.flatten(operands)
    for path, leaf in zip(tree.treedef_paths(in_tree), leaves, strict=True):
        if not is_number(leaf):
            raise leaf_error(f"operands/{path}", leaf, name)
    avals = [shape_dtype(leaf) for leaf in leaves]
    traced = [TracedTree(branch, in_tree, avals) for branch in branches]
    first = traced[0]
    for other in traced[1:]:
        if other.out_tree != first.out_tree:
            raise _different(name, first.result, other.result)
    kinds = [
        _common(name, path, [each.program.outputs[i].aval for each in traced])
        for i, path in enumerate(tree.treedef_paths(first.out_tree))
    ]
    for each in traced:
        each.cast(kinds)
    captured: dict[int, Tracer] = {}
    for each in traced:
        captured.update({id(t): t for t in each.captured})
    places = {key: i for i, key in enumerate(captured)}
    closed = []
    for each in traced:
        own = [places[id(t)] for t in each.captured]

        def fun(*xs: Array, own: list[int] = own, program: Graph = each.program) -> list[Array]:
            return evaluate(program, [*[xs[i] for i in own], *xs[len(captured) :]])

        kinds_in = [shape_dtype(x) for x in captured.values()] + avals
        closed.append(trace_flat(fun, kinds_in, each.program.name)[0])
    results = cond_p(index, *captured.values(), *leaves, branches=tuple(closed))
    return tree.unflatten(first.out_tree, results)


def _common(name: str, path: str, avals: Sequence[ShapeDtype]) -> ShapeDtype:
    """The one kind of a result of several branches; Python numbers take the others' dtype."""
    strong = [a for a in avals if not a.weak] or [
        ShapeDtype((), np.result_type(*[a.dtype for a in avals]))
    ]
    if any(a.shape != avals[0].shape for a in avals) or any(
        a.dtype != strong[0].dtype for a in strong
    ):
        found = ", ".join(map(str, avals))
        raise ControlFlowError(
            f"the branches of {name} return {found}{f' as {path}' if path else ''}, "
            f"at {source.here()}\n  Give them the same shape and dtype (x.astype(np.float32))."
        )
    return strong[0]
