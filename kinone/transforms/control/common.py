"""What loops and branches share: looking behind traced values, and bodies as programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import source, tree
from ...core import Array, ShapeDtype, Tracer, is_number, leaf_error, observe, shape_dtype
from ...errors import ControlFlowError, TracerConversionError
from ...graph import evaluate, graph, trace_flat
from ...ops.declare import result_type
from ...ops.shape import astype
from ..batch import BatchTracer
from ..forward import ForwardTracer
from ..record import UNKNOWN, RecordTracer
from ..reverse import ReverseTracer


def peek(value: Array) -> Array | None:
    """The numbers behind a traced value, of all examples at once; None where there are none yet."""
    while isinstance(value, Tracer):
        if not isinstance(value, (ReverseTracer, ForwardTracer, BatchTracer, RecordTracer)):
            return None
        value = value.value
    return None if value is UNKNOWN else value


def differs(value: Array) -> bool:
    """Whether a value is another one for each example of a `vmap`."""
    while isinstance(value, Tracer):
        if isinstance(value, BatchTracer):
            return True
        value = getattr(value, "value", None)
    return False


def name_of(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


def watched(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A body that reports what it does with plain arrays to those who watch each operation.

    Plain NumPy tells nobody, so the body is traced and its program run, in each trip. One that
    looks at the numbers, which a program has not, runs as it is.
    """
    if not observe.active():
        return fun

    def run(*args: Any) -> Any:
        if any(isinstance(leaf, Tracer) for leaf in tree.leaves(args)):
            return fun(*args)
        try:
            program = graph(fun)(*args)
        except TracerConversionError:
            return fun(*args)
        return program(*args)

    run.__name__ = name_of(fun)
    return run


def kind(x: Array) -> ShapeDtype:
    aval = shape_dtype(x)
    return ShapeDtype(aval.shape, aval.dtype)


class TracedTree:
    """A function of trees as a flat program, what it closes over, and the tree of its result."""

    def __init__(
        self,
        fun: Callable[..., Any],
        in_tree: tree.TreeDef,
        avals: Sequence[ShapeDtype],
    ) -> None:
        self.out_tree = tree.structure(None)

        def flat(*leaves: Array) -> list[Array]:
            results, self.out_tree = tree.flatten(fun(*tree.unflatten(in_tree, leaves)))
            for path, leaf in zip(tree.treedef_paths(self.out_tree), results, strict=True):
                if not is_number(leaf):
                    raise leaf_error(path or "the result", leaf, name_of(fun))
            return results

        self.program, self.captured = trace_flat(flat, avals, name_of(fun), body=True)

    def cast(self, kinds: Sequence[ShapeDtype]) -> None:
        """Brings the first results to these dtypes. The program is wrapped, the function not traced
        once more: a nest of loops would trace its innermost body twice for each level."""
        program, count = self.program, len(kinds)
        outputs = [atom.aval for atom in program.outputs[:count]]
        if all(a.dtype == k.dtype and not a.weak for a, k in zip(outputs, kinds, strict=True)):
            return

        def flat(*leaves: Array) -> list[Array]:
            found = evaluate(program, leaves)
            cast = [astype(x, k.dtype) for x, k in zip(found, kinds, strict=False)]
            return [*cast, *found[count:]]

        self.program, _ = trace_flat(flat, [v.aval for v in program.inputs], program.name)

    @property
    def result(self) -> Any:
        """The result's tree, with the kinds of its leaves."""
        return tree.unflatten(self.out_tree, [atom.aval for atom in self.program.outputs])


def check_carry(name: str, before: Any, after: Any) -> Any:
    """Raises with a table unless the carry has kept its tree, shapes and dtypes. An array of
    it goes on as an array of its dtype where the body has made a Python number of it."""
    old, old_tree = tree.flatten(before)
    new, new_tree = tree.flatten(after)
    if old_tree != new_tree:
        raise ControlFlowError(
            f"the body of {name} changes the tree of the carry, at {source.here()}\n"
            + tree.diff(before, after)
        )
    rows, kept = [], list(new)
    for i, (path, x, y) in enumerate(zip(tree.treedef_paths(old_tree), old, new, strict=True)):
        if not is_number(y):
            raise leaf_error(path or "the carry", y, name)
        was, now = shape_dtype(x), shape_dtype(y)
        if was.shape != now.shape or not _becomes(was, now):
            rows.append(f"\n  {path or 'carry'}: {was} goes in, {now} comes out")
        elif was.dtype != now.dtype and not was.weak and not isinstance(y, ShapeDtype):
            kept[i] = astype(y, was.dtype)
    if rows:
        raise ControlFlowError(
            f"the body of {name} changes the kind of the carry, at {source.here()}{''.join(rows)}\n"
            "  Start with an array of that shape and dtype, or convert it back with "
            "y.astype(x.dtype)."
        )
    return tree.unflatten(new_tree, kept)


def settled(before: Any, after: Any) -> Any:
    """The carry of the first trip, with Python numbers in the dtype that the body has made of them;
    None where that changes nothing."""
    old, structure = tree.flatten(before)
    kinds = [shape_dtype(y).dtype for y in tree.leaves(after)]
    changes = [shape_dtype(x).dtype != dtype for x, dtype in zip(old, kinds, strict=True)]
    if not any(changes):
        return None
    return tree.unflatten(
        structure,
        [astype(x, k) if c else x for x, k, c in zip(old, kinds, changes, strict=True)],
    )


def _becomes(was: ShapeDtype, now: ShapeDtype) -> bool:
    """Whether a carry of one kind may go on as another: a Python number settles in the dtype that
    the body makes of it, unless that is a lesser one; an array keeps its dtype."""
    if was.dtype == now.dtype:
        return True
    if was.weak:
        return result_type(was, now) == now.dtype
    return now.weak and result_type(was, now) == was.dtype


def staged_body(
    name: str,
    fun: Callable[..., Any],
    carry: Sequence[Array],
    rest: Sequence[ShapeDtype],
    in_tree: tree.TreeDef,
    carry_tree: tree.TreeDef,
    pick: Callable[[Any], Any],
) -> tuple[TracedTree, list[Array]]:
    """The body as a program, and the initial carry in the dtypes that it settles in.

    A Python number in the initial carry becomes an array of the dtype that the body makes of it.
    """  # fmt: skip
    kinds = [shape_dtype(x) for x in carry]
    while True:
        made = TracedTree(fun, in_tree, [*kinds, *rest])
        after = tree.unflatten(made.out_tree, [a.aval for a in made.program.outputs])
        new, new_tree = tree.flatten(pick(after))
        check_carry(name, tree.unflatten(carry_tree, kinds), pick(after))
        settled = [
            ShapeDtype(b.shape, b.dtype) if a.weak else a for a, b in zip(kinds, new, strict=True)
        ]
        if settled == kinds:
            break
        kinds = settled
    assert new_tree == carry_tree
    made.cast(kinds)
    return made, [astype(x, k.dtype) for x, k in zip(carry, kinds, strict=True)]
