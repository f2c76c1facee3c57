"""Work on the leaves of several trees at once: checked, blocked, threaded, selected by path."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Tracer, is_bfloat16, is_inexact, is_number, shape_dtype
from ..errors import LeafError, ShapeError, TreeError
from ..ops.kernels.parallel import for_each
from ..tree.patterns import matches

Tree = Any

# Bytes of a block. An update waits for memory: a formula of ten ufuncs over whole arrays moves each
# array ten times; over blocks that stay in the cache, once. Smaller ones are slower again: threads
# that come back from a ufunc queue for the interpreter.
BLOCK = 1 << 19

# Hyper-parameters that are decays of averages; at 1 nothing new would ever count.
SHARES = ("b1", "b2", "b3", "rho")
SIZES = ("max_norm", "max_delta", "clipping", "eps", "eps_root", "epsilon")

NOWHERE: tuple[None, None, None] = (None, None, None)


def zip_leaves(name: str, what: str, first: Tree, *others: tuple[str, Tree]) -> list[list[Array]]:
    """The leaves of trees of one structure and of one shape leaf by leaf, one list per tree.

    Raises `TreeError` with the diff, or `ShapeError` with the leaf's path.
    """
    leaves, treedef = tree.flatten(first)
    columns = [leaves]
    for which, other in others:
        column, found = tree.flatten(other)
        if found != treedef:
            raise TreeError(
                f"{name}: the {what} (second tree) do not have the structure of the {which} "
                f"(first tree), at {source.here()}\n" + tree.diff(other, first)
            )
        for index, (leaf, mate) in enumerate(zip(leaves, column, strict=True)):
            if np.shape(leaf) != np.shape(mate):
                path = tree.treedef_paths(treedef)[index]
                raise ShapeError(
                    f"{name}: {path or 'the leaf'} is {shape_dtype(leaf)} in the {what} and "
                    f"{shape_dtype(mate)} in the {which}, at {source.here()}"
                )
        columns.append(column)
    return columns


def check_leaves(name: str, params: Tree) -> None:
    """Raises `LeafError` with the path of a leaf that is neither an array nor a number."""
    for path, leaf in tree.flatten_with_path(params)[0]:
        if not is_number(leaf):
            raise LeafError(
                f"{name}: {path or 'the leaf'} is a {type(leaf).__name__}, and parameters are "
                f"arrays and numbers, at {source.here()}\n  Keep it outside of params."
            )


def check_gradients(name: str, updates: Tree, params: Tree | None) -> None:
    """Raises `LeafError` for a gradient that is no number, and for one of integers where the
    parameter trains: it would pass unchanged, neither scaled nor turned downhill."""
    leaves = tree.leaves(updates)
    mates = leaves if params is None else tree.leaves(params)
    for number, (leaf, mate) in enumerate(zip(leaves, mates, strict=True)):
        if not is_number(leaf) or (is_inexact(mate) and not is_inexact(leaf)):
            path = tree.treedef_paths(tree.structure(updates))[number] or "the leaf"
            found = shape_dtype(leaf) if is_number(leaf) else type(leaf).__name__
            raise LeafError(
                f"{name}: {path} is {found} in the gradients, and floating-point numbers are "
                f"wanted, at {source.here()}\n  Write x.astype(np.float32) there, or "
                "leave the leaf out of both trees."
            )


def trains(leaf: Array) -> bool:
    """Whether a leaf is of a floating type; others are counters or indices, and pass unchanged."""
    return is_inexact(shape_dtype(leaf))


def kept(new: Array, old: Array) -> Array:
    """What a formula made of a bfloat16 leaf in bfloat16 again: NumPy makes float32 of it and a
    Python number, and a state whose dtype changes is no carry of a loop."""
    dtype = shape_dtype(old).dtype
    return new.astype(dtype) if is_bfloat16(dtype) and shape_dtype(new).dtype != dtype else new


def zeros_like(leaf: Array, dtype: Any = None) -> Array:
    """Zeros in the leaf's shape, and its dtype or another floating one."""
    known = shape_dtype(leaf)
    made = np.zeros(known.shape, dtype if dtype is not None and trains(leaf) else known.dtype)
    return made if isinstance(leaf, (np.ndarray, Tracer)) else made[()]


def weak(link: str, what: str, number: Any) -> Any:
    """A hyper-parameter as a Python number, which leaves float32 alone (NEP 50).

    `np.float64(0.1) * float32_array` is float64; `0.1 * float32_array` is float32. Traced values
    stay: `like` gives them the dtype of the leaf that they meet.

    Raises `TypeError`, naming the link of the optimiser, for what is not one real number.
    """
    if isinstance(number, (np.generic, np.ndarray)) and number.size == 1:
        number = number.item()
    if isinstance(number, (int, float, Tracer)):
        if what in SHARES and not isinstance(number, Tracer) and not 0 <= number < 1:
            raise ValueError(
                f"{link}: {what} is {number}, and a share from 0 to below 1 is wanted: how much of "
                f"the old an average keeps, at {source.here()}"
            )
        if what in SIZES and not isinstance(number, Tracer) and not number >= 0:
            raise ValueError(
                f"{link}: {what} is {number}, and 0 or more is wanted, at {source.here()}"
            )
        return number
    hint = "\n  Call it: a schedule is made first, constant_schedule(0.1)." * callable(number)
    raise TypeError(
        f"{link}: {what} is {number!r:.60}, and a number is wanted, at {source.here()}{hint}"
    )


def like(number: Any, leaf: Array) -> Any:
    """A scalar that meets `leaf` without changing its dtype."""
    if isinstance(number, (int, float)) and not isinstance(number, np.generic):
        return number
    known = shape_dtype(leaf).dtype
    return number if number.dtype == known else number.astype(known)


def equals(number: Any, value: float) -> bool:
    """Whether a hyper-parameter is known to be this number; a traced one is not."""
    return not isinstance(number, Tracer) and bool(number == value)


def same_dtype(x: Array, leaf: Array) -> Array:
    """`x` in the dtype of `leaf`."""
    known = shape_dtype(leaf).dtype
    return x if shape_dtype(x).dtype == known else x.astype(known)


def map_leaves(f: Callable[..., Any], *columns: Sequence[Array]) -> list[Any]:
    """`f(*row, out=out)` for each row of leaves, `f` being an elementwise formula in NumPy that
    returns a tuple of arrays and may write the i-th of them into `out[i]`, where that is not None.

    Large arrays are cut into cache-sized blocks that all cores share, with room in `out`. Since `f`
    is elementwise, the bits are those of one call; traced values get that one call.
    """
    results: list[Any] = [None] * len(columns[0])
    jobs: list[tuple[list[Array], list[Array], slice]] = []
    for number, row in enumerate(zip(*columns, strict=True)):
        first = row[0]
        if (
            type(first) is not np.ndarray
            or first.nbytes <= BLOCK
            or is_bfloat16(first.dtype)
            or any(type(x) is not np.ndarray or x.dtype != first.dtype for x in row)
        ):
            found = f(*row, out=NOWHERE)
            if len({shape_dtype(x).dtype for x in row}) == 1:
                found = tuple([kept(x, first) for x in found])
            if type(first) is np.ndarray and first.ndim == 0:  # ufuncs make scalars of these
                found = tuple([np.asarray(x) if isinstance(x, np.generic) else x for x in found])
            results[number] = found
            continue
        block = BLOCK // first.itemsize
        operands = [x.reshape(-1) for x in row]
        head = f(*[x[:block] for x in operands], out=NOWHERE)  # shows the dtypes
        made = tuple([np.empty(first.shape, each.dtype) for each in head])
        results[number] = made
        outs = [each.reshape(-1) for each in made]
        for out, each in zip(outs, head, strict=True):
            out[:block] = each
        for start in range(block, first.size, block):
            jobs.append((operands, outs, slice(start, start + block)))
    for_each(_run_block(f), jobs)
    return results


def map_trained(f: Callable[[Array, Any], Array], updates: Tree) -> Tree:
    """`f(g, out)` of each leaf that is trained; the others as they are."""
    leaves, treedef = tree.flatten(updates)
    found = map_leaves(lambda g, out: (f(g, out[0]) if trains(g) else g,), leaves)
    return tree.unflatten(treedef, [each[0] for each in found])


def formula(name: str, f: Callable[..., Any], updates: Tree, *states: Tree) -> tuple[Tree, ...]:
    """`f(g, *states)` leaf by leaf, an elementwise formula that returns a tuple of arrays: a tuple
    of trees. A leaf that is not trained stays as it is, and its states too.
    """

    def move(*row: Any, out: Any) -> Any:
        if not trains(row[0]):
            return row
        return tuple([kept(new, old) for new, old in zip(f(*row), row, strict=False)])

    columns = zip_leaves(name, "gradients", updates, *[("state", state) for state in states])
    return rows_to_trees(updates, map_leaves(move, *columns), 1 + len(states))


def whole_leaves(
    name: str, f: Callable[..., Any], updates: Tree, *others: tuple[str, Tree]
) -> Tree:
    """`f(g, *others)` leaf by leaf, for an `f` that needs whole leaves, of one result."""
    columns = zip_leaves(name, "gradients", updates, *others)
    rows = zip(*columns, strict=True)
    found = [kept(f(*row), row[0]) if trains(row[0]) else row[0] for row in rows]
    return tree.unflatten(tree.structure(updates), found)


def rows_to_trees(like: Tree, rows: Sequence[Any], count: int) -> tuple[Tree, ...]:
    """The first `count` results of `map_leaves`, each as a tree of the structure of `like`."""
    treedef = tree.structure(like)
    return tuple([tree.unflatten(treedef, [row[i] for row in rows]) for i in range(count)])


def squared(x: Array) -> Array:
    """|x|², real for complex numbers."""
    return x * x if shape_dtype(x).dtype.kind != "c" else np.real(x * np.conj(x))


def norm(x: Array) -> Array:
    """The Euclidean norm of one leaf."""
    return np.sqrt(np.sum(squared(x)))


def _run_block(f: Callable[..., Any]) -> Callable[[tuple[list[Array], list[Array], slice]], None]:
    def run(job: tuple[list[Array], list[Array], slice]) -> None:
        operands, outs, part = job
        targets = tuple([out[part] for out in outs])
        for target, each in zip(targets, f(*[x[part] for x in operands], out=targets), strict=True):
            if each is not target:
                target[...] = each

    return run


# ---- leaves by path ------------------------------------------------------------------------------


def select(params: Tree, mask: Any) -> Tree:
    """A tree of booleans, one for each leaf of `params`: the leaves that a mask means.

    `mask` is a path pattern, a list of patterns (any of them), a tree of booleans with the
    structure of `params` or a prefix of it, a function from `params` to one, or None for all.
    `describe_selection` prints it in columns.

        >>> select({"dense": {"kernel": 1.0, "bias": 2.0}}, "**/kernel")
        {'dense': {'kernel': True, 'bias': False}}

    Raises `ValueError` for a pattern that no leaf fits, `TreeError` for a tree that has another
    structure.
    """
    if callable(mask):
        mask = mask(params)
    if mask is None:
        return tree.map(lambda _: True, params)
    patterns = (mask,) if isinstance(mask, str) else mask
    if isinstance(patterns, (list, tuple)) and all(isinstance(each, str) for each in patterns):
        treedef = tree.structure(params)
        return tree.unflatten(treedef, _selected(treedef, tuple(patterns)))
    return tree.map(lambda flag, part: tree.map(lambda _: bool(flag), part), mask, params)


def describe_selection(params: Tree, mask: Any) -> str:
    """What a mask selects, leaf by leaf, to be read: paths, shapes, and how many numbers in all.

        >>> params = {"dense": {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}}
        >>> print(describe_selection(params, "**/kernel"))
        no   dense/bias    float64[2]
        yes  dense/kernel  float64[3,2]
        1 of 2 leaves, 6 of 8 numbers

    Raises what `select` raises.
    """
    flags, rows = tree.leaves(select(params, mask)), tree.leaves_with_path(params)
    known = [shape_dtype(leaf) for _, leaf in rows]
    width = max((len(path) for path, _ in rows), default=0)
    lines = [
        f"{'yes' if flag else 'no':4} {path:{width}}  {each}"
        for flag, (path, _), each in zip(flags, rows, known, strict=True)
    ]
    sizes = [each.size for each in known]
    chosen = sum(size for size, flag in zip(sizes, flags, strict=True) if flag)
    total = f"{sum(flags)} of {len(flags)} leaves, {chosen} of {sum(sizes)} numbers"
    return "\n".join([*lines, total])


@functools.lru_cache(maxsize=64)
def _selected(treedef: tree.TreeDef, patterns: tuple[str, ...]) -> tuple[bool, ...]:
    paths = tree.treedef_paths(treedef)
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            shown = ", ".join(paths[:8]) + (", …" if len(paths) > 8 else "")
            raise ValueError(
                f"no parameter fits the pattern {pattern!r}; there are: {shown}, at {source.here()}"
            )
    return tuple(any(matches(pattern, path) for pattern in patterns) for path in paths)
