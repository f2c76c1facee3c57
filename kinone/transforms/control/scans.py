"""`scan`, `map` and `fori_loop`: loops whose number of trips is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import source, tree
from ...core import Array, ShapeDtype, Tracer, is_number, leaf_error, shape_dtype
from ...errors import ControlFlowError
from ...graph import staging
from ...ops.barrier import barrier
from ...ops.shape import astype
from ...ops.split import unstack
from ..remat import checkpoint as remat
from .common import check_carry, differs, name_of, peek, settled, staged_body, watched
from .scan_primitive import bind_scan
from .whiles import while_loop


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    *,
    checkpoint: int | None = None,
) -> tuple[Any, Any]:
    """A loop that carries a tree along and stacks what each trip returns.

        for x in xs:  carry, y = f(carry, x);  ys.append(y)

    `xs` is a tree of arrays whose first axis counts the trips (None with `length`), and `f` gets a
    slice of each; the result is `(carry, ys)`, `ys` stacked along a new first axis. With `reverse`
    it runs from the last slice to the first. The carry keeps its tree, shapes and dtypes; a Python
    number in `init` takes the dtype that the body makes of it, however many trips there are.
    In reverse mode each trip keeps its intermediate values; `checkpoint=k` keeps the carry of every
    k-th trip alone and computes the rest again. `unroll` changes nothing.

    Raises `ControlFlowError` (a `TypeError`) with a table of the leaves when the carry changes its
    kind, and when the lengths differ.

        >>> carry, ys = scan(lambda c, x: (c + x, c * x), 0.0, np.arange(4.0))
        >>> float(carry), ys
        (6.0, array([0., 0., 2., 9.]))
    """
    return _scan("scan", f, init, xs, length, reverse, checkpoint)


def _scan(
    name: str,
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Any, Any]:
    """`scan`, for the function whose `name` stands in messages."""
    leaves, xs_tree = tree.flatten(xs)
    trips = _length(leaves, tree.treedef_paths(xs_tree), length)
    if checkpoint is not None:
        return _in_segments(name, f, init, xs, trips, reverse, checkpoint)
    if staging() or trips == 0:
        return _staged_scan(name, f, init, leaves, xs_tree, trips, reverse)
    f = watched(f)
    columns = [_slices(leaf, trips) for leaf in leaves]
    carry = init
    collected: list[Any] = [None] * trips
    order = range(trips - 1, -1, -1) if reverse else range(trips)

    def run(carry: Any, trip: int) -> tuple[Any, Any]:
        returned = f(carry, tree.unflatten(xs_tree, [column[trip] for column in columns]))
        after, y = _pair(f, returned)
        return check_carry(name, carry, after), y

    for trip in order:
        after, collected[trip] = run(carry, trip)
        if trip == order[0] and (again := settled(carry, after)) is not None:
            after, collected[trip] = run(again, trip)  # as if the numbers had been such arrays
        carry = _apart(after, collected[trip])
    structure = tree.structure(collected[order[0]])
    if structure.num_leaves == 0:
        return carry, collected[order[0]]
    return carry, tree.map(lambda *ys: np.stack(ys), *collected)


def _apart(carry: Any, y: Any) -> Any:
    """The carry, with a node of its own on the tape where the trip's result is the same value: what
    later trips make of it is added up there, as a compiled loop adds it, before the result's
    cotangent joins it."""
    leaves, structure = tree.flatten(carry)
    results = {id(leaf) for leaf in tree.leaves(y)}
    if not any(isinstance(leaf, Tracer) and id(leaf) in results for leaf in leaves):
        return carry
    return tree.unflatten(structure, barrier(*leaves))


def _pair(f: Callable[..., Any], returned: Any) -> tuple[Any, Any]:
    if not (isinstance(returned, tuple) and len(returned) == 2):
        raise ControlFlowError(
            f"the body of scan returns (carry, y), and {name_of(f)} returned a "
            f"{type(returned).__name__}, at {source.here()}\n  Return (carry, None) for no results."
        )
    return returned


def _slices(x: Array, trips: int) -> Sequence[Array]:
    return unstack(x) if isinstance(x, Tracer) else [x[i] for i in range(trips)]


def _length(leaves: Sequence[Array], paths: Sequence[str], length: int | None) -> int:
    found: dict[int, list[str]] = {} if length is None else {int(length): ["length"]}
    for leaf, path in zip(leaves, paths, strict=True):
        if not is_number(leaf):
            raise leaf_error(f"xs/{path}" if path else "xs", leaf, "scan")
        known = shape_dtype(leaf)
        if not known.shape:
            raise ControlFlowError(
                f"scan runs over the first axis of xs, and {path or 'xs'} is {known}, "
                f"at {source.here()}"
            )
        found.setdefault(known.shape[0], []).append(f"{path or 'xs'} {known}")
    if len(found) != 1:
        what = "".join(f"\n  {n}: {', '.join(names)}" for n, names in found.items())
        raise ControlFlowError(
            f"scan has no one number of trips, at {source.here()}{what or ': give xs or length'}"
        )
    return next(iter(found))


def _staged_scan(
    name: str,
    f: Callable[..., Any],
    init: Any,
    leaves: Sequence[Array],
    xs_tree: tree.TreeDef,
    trips: int,
    reverse: bool,
) -> tuple[Any, Any]:
    carry, carry_tree = tree.flatten(init)
    slices = [ShapeDtype(shape_dtype(x).shape[1:], shape_dtype(x).dtype) for x in leaves]
    in_tree = tree.structure((init, tree.unflatten(xs_tree, leaves)))

    def body(c: Any, x: Any) -> tuple[Any, Any]:
        return _pair(f, f(c, x))

    body.__name__ = name_of(f)
    made, start = staged_body(
        name, body, carry, slices, in_tree, carry_tree, lambda result: result[0]
    )
    found = bind_scan(made.program, made.captured, start, leaves, trips, reverse)
    result: tuple[Any, Any] = tree.unflatten(made.out_tree, found)
    return result


def _in_segments(
    name: str, f: Callable[..., Any], init: Any, xs: Any, trips: int, reverse: bool, size: int
) -> tuple[Any, Any]:
    """A scan of scans: of each inner one reverse mode keeps the operands alone."""
    if size < 1:
        raise ControlFlowError(f"checkpoint is {size}; 1 trip or more, at {source.here()}")
    whole, rest = divmod(trips, size)
    if whole == 0:
        return scan(f, init, xs, length=trips, reverse=reverse)
    cut = rest if reverse else whole * size  # the incomplete segment comes last

    def part(start: int, stop: int) -> Any:
        return tree.map(lambda x: x[start:stop], xs)

    def segment(carry: Any, chunk: Any) -> tuple[Any, Any]:
        inner = remat(lambda c, x: _scan(name, f, c, x, size, reverse))
        found: tuple[Any, Any] = inner(carry, chunk)
        return found

    main = part(cut, trips) if reverse else part(0, cut)
    chunks = tree.map(lambda x: np.reshape(x, (whole, size, *np.shape(x)[1:])), main)
    carry, ys = _scan(name, segment, init, chunks, whole, reverse)
    ys = tree.map(lambda y: np.reshape(y, (whole * size, *np.shape(y)[2:])), ys)
    if not rest:
        return carry, ys
    tail = part(0, cut) if reverse else part(cut, trips)
    carry, last = _scan(name, f, carry, tail, rest, reverse)
    parts = (last, ys) if reverse else (ys, last)
    return carry, tree.map(lambda a, b: np.concatenate([a, b]), *parts)


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` of each slice of `xs` along the first axis, one after the other, stacked.

    `vmap` computes all at once; `map` takes the memory of one. `xs` and the results are trees of
    arrays; raises `ControlFlowError` (a `TypeError`) when their lengths differ.

        >>> map(lambda x: x * x, np.arange(4.0))
        array([0., 1., 4., 9.])
    """
    return _scan("map", lambda _, x: (None, f(x)), None, xs)[1]


def fori_loop(
    lower: Array,
    upper: Array,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
    checkpoint: int | None = None,
) -> Any:
    """`for i in range(lower, upper): val = body_fun(i, val)`.

    The value keeps its tree, shapes and dtypes. In a traced function bounds that are Python
    integers make a `scan`, traced ones a `while_loop`. `i` is an int64 in all of them, and no
    Python number: `val * i` is a float64 where `val` is a float32, which raises. Write
    `val * i.astype(val.dtype)`. `checkpoint=k` is for reverse mode: see `scan`. `unroll` changes
    nothing.

    Raises `ControlFlowError` (a `TypeError`) with a table of the leaves when the value changes its
    kind.

        >>> float(fori_loop(0, 5, lambda i, val: val + i, 0.0))
        10.0
    """
    first, last = peek(lower), peek(upper)
    if first is None or last is None or differs(lower) or differs(upper):

        def ask(state: Any) -> Array:
            return state[0] < upper

        def step(state: Any) -> Any:
            return state[0] + 1, body_fun(*state)

        start = astype(lower, np.int64)
        return while_loop(ask, step, (start, init_val), checkpoint=checkpoint)[1]
    trips = max(int(last) - int(first), 0)
    if trips == 0 and not any(shape_dtype(x).weak for x in tree.leaves(init_val)):
        return init_val
    counter = np.arange(int(first), int(last))

    def body(val: Any, i: Array) -> tuple[Any, None]:
        return body_fun(i, val), None

    body.__name__ = name_of(body_fun)
    return _scan("fori_loop", body, init_val, counter, checkpoint=checkpoint)[0]
