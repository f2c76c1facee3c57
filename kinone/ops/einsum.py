"""`einsum`: sums of products by index letters, lowered to transpose, reshape and `matmul`.

Several operands are contracted two at a time, in the order of `np.einsum_path`. Of each pair the
indices fall into four groups (of both and kept, of both and summed, of one alone), and that is a
batched matrix product; so BLAS does the work, and no primitive is needed that an exporter would
have to know.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from ..core import Array, Tracer, implements, ndim_of, shape_of
from ..errors import ShapeError
from .arithmetic import multiply
from .axes import as_array
from .contract import matmul
from .extrema import any as any_true
from .products import in_dtype
from .reduce import sum as total
from .shape import astype, broadcast_to, reshape, transpose

# An index: a letter, an integer of the sublist form, or ("...", k) for the k-th axis, counted from
# the last, that an ellipsis stands for.
Index = Hashable
Labels = tuple[Index, ...]

_SYMBOLS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@implements(np.einsum)
def einsum(
    *operands: Any,
    out: None = None,
    dtype: Any = None,
    order: str = "K",
    casting: Any = "safe",
    optimize: Any = False,
) -> Array:
    """`np.einsum`: the sum of products that the subscripts describe.

    `einsum("ij,jk->ik", a, b)` is the matrix product, yᵢₖ = Σⱼ aᵢⱼ bⱼₖ. An index that the output
    leaves out is summed; one repeated in an operand takes the diagonal; without `->` the output
    has the indices that occur once, in alphabetical order; `...` stands for axes that broadcast.
    The sublist form, `einsum(a, [0, 1], b, [1, 2], [0, 2])`, says the same with integers. The
    order of contraction is that of `np.einsum_path(…, optimize)`, "greedy" where `optimize` is
    not said. The result has NumPy's common dtype of the operands, or `dtype`.

    Raises `ValueError` for subscripts that do not fit the operands.

    >>> a = np.arange(6.0).reshape(2, 3)
    >>> einsum("ij,kj->ik", a, a)
    array([[ 5., 14.],
           [14., 50.]])
    >>> float(einsum("ii", a @ a.T))
    55.0
    """
    labels, arrays, output = _parsed(operands)
    found = np.result_type(*[x.dtype for x in arrays])
    wanted = found if dtype is None else np.dtype(dtype)
    if not np.can_cast(found, wanted, casting):
        raise TypeError(
            f"einsum of {found} in {wanted} is not allowed by the casting rule {casting!r}"
        )
    sizes = _sizes(labels, arrays)
    for label in output:
        if label not in sizes:
            raise ValueError(
                f"einstein sum subscripts string included output subscript {label!r} which never "
                "appeared in an input"
            )
    terms = []
    for term, x in zip(labels, arrays, strict=True):
        terms.append(_without_ones(in_dtype(x, wanted), term, sizes))
    for pair in _path(labels, output, sizes, optimize):
        taken = [terms[i] for i in pair]
        terms = [term for i, term in enumerate(terms) if i not in pair]
        while taken:
            x, of_x = taken.pop(0)
            kept = {*output, *(label for _, each in (*terms, *taken) for label in each)}
            x, of_x = _alone(x, of_x, kept)
            if not taken:
                terms.append((x, of_x))
                break
            y, of_y = taken.pop(0)
            later = {*output, *(label for _, each in (*terms, *taken) for label in each)}
            y, of_y = _alone(y, of_y, later | set(of_x))
            taken.insert(0, _pair(x, of_x, y, of_y, later, output))
    ((x, of_x),) = terms
    x = _in_order(x, of_x, tuple(label for label in output if label in of_x))
    # An output index of length 1 in every operand was left out on the way.
    shape = tuple(sizes[label] for label in output)
    return x if shape_of(x) == shape else broadcast_to(reshape(x, shape), shape)


@implements(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: Any = False) -> Any:
    """The order of contraction that `np.einsum_path` proposes; it depends on shapes alone."""
    like = [
        np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Tracer) else x
        for x in operands
    ]
    return np.einsum_path(*like, optimize=optimize)


# ---- subscripts ----------------------------------------------------------------------------------


def _parsed(operands: Sequence[Any]) -> tuple[list[Labels], list[Array], Labels]:
    """The indices of each operand, the operands, and the indices of the output."""
    if not operands:
        raise ValueError("No input operands")
    if isinstance(operands[0], str):
        text, *rest = operands
        arrays = [as_array(x) for x in rest]
        inputs, arrow, result = text.replace(" ", "").partition("->")
        terms = [_letters(term) for term in inputs.split(",")]
        wanted = _letters(result) if arrow else None
    else:
        arrays = [as_array(x) for x in operands[: len(operands) // 2 * 2 : 2]]
        terms = [_numbers(term) for term in operands[1::2]]
        wanted = _numbers(operands[-1]) if len(operands) % 2 else None
    if len(terms) != len(arrays):
        raise ValueError(
            f"einsum: the subscripts name {len(terms)} operands, and {len(arrays)} were given"
        )
    labels = [_expanded(term, x, i) for i, (term, x) in enumerate(zip(terms, arrays, strict=True))]
    dots = max(sum(isinstance(label, tuple) for label in term) for term in labels)
    ellipsis: Labels = tuple(("...", k) for k in reversed(range(dots)))
    if wanted is None:
        flat: list[Any] = [label for term in terms for label in term if label is not ...]
        once = sorted({label for label in flat if flat.count(label) == 1})
        return labels, arrays, (*ellipsis, *once)
    output: list[Index] = []
    for label in wanted:
        output += ellipsis if label is ... else (label,)
    if len(set(output)) != len(output):
        raise ValueError(
            "einstein sum subscripts string includes an output subscript multiple times: "
            f"{_written(wanted)!r}"
        )
    if dots and ... not in wanted:
        raise ShapeError(
            f"einsum: an ellipsis stands for {dots} axes, and the output {_written(wanted)!r} has "
            "none; write '...' there too"
        )
    return labels, arrays, tuple(output)


def _written(term: Sequence[Any]) -> str:
    return "".join("..." if label is ... else str(label) for label in term)


def _letters(term: str) -> list[Any]:
    """The letters of one operand's subscripts, `Ellipsis` for three dots."""
    head, dots, tail = term.partition("...")
    for letter in head + tail:
        if letter not in _SYMBOLS:
            raise ValueError(
                f"invalid subscript {letter!r} in einstein sum subscripts string, subscripts must "
                "be letters, or '...' once"
            )
    return [*head, ..., *tail] if dots else [*head]


def _numbers(term: Any) -> list[Any]:
    """The integers of one operand's sublist."""
    found: list[Any] = []
    for label in term:
        if label is not ... and not 0 <= int(label) < len(_SYMBOLS):
            raise ValueError(f"subscript {label} is not within the valid range [0, 52)")
        found.append(... if label is ... else int(label))
    if found.count(...) > 1:
        raise ValueError("einsum: more than one ellipsis in a subscript list")
    return found


def _expanded(term: list[Any], x: Array, number: int) -> Labels:
    """One operand's indices, one for each axis."""
    named = len(term) - (... in term)
    extra = ndim_of(x) - named
    if extra < 0 or (extra > 0 and ... not in term):
        raise ShapeError(
            f"einsum: operand {number} has {ndim_of(x)} axes, and its subscripts "
            f"{_written(term)!r} name {named}" + ("" if extra < 0 else "; write '...' for others")
        )
    labels: list[Index] = []
    for label in term:
        labels += [("...", k) for k in reversed(range(extra))] if label is ... else [label]
    return tuple(labels)


def _sizes(labels: Sequence[Labels], arrays: Sequence[Array]) -> dict[Index, int]:
    """The length of each index. A length of 1 broadcasts."""
    sizes: dict[Index, int] = {}
    for number, (term, x) in enumerate(zip(labels, arrays, strict=True)):
        own: dict[Index, int] = {}
        for label, n in zip(term, shape_of(x), strict=True):
            if own.setdefault(label, n) != n:
                raise ShapeError(
                    f"dimensions in operand {number} for collapsing index {label!r} don't match "
                    f"({own[label]} != {n})"
                )
            if sizes.get(label, 1) == 1:
                sizes[label] = n
            elif n not in (1, sizes[label]):
                raise ShapeError(
                    f"einsum: index {label!r} has length {sizes[label]} in one operand and {n} in "
                    f"operand {number}, of shape {shape_of(x)}"
                )
    return sizes


def _path(
    labels: Sequence[Labels], output: Labels, sizes: dict[Index, int], optimize: Any
) -> list[tuple[int, ...]]:
    """Which operands are contracted, step by step; a result goes to the end of the list."""
    count = len(labels)
    if count <= 2 or len(sizes) > len(_SYMBOLS):
        return [tuple(range(count))]
    symbol = dict(zip(sizes, _SYMBOLS, strict=False))
    terms = ["".join([symbol[label] for label in term]) for term in labels]
    text = f"{','.join(terms)}->{''.join([symbol[label] for label in output])}"
    # Shapes are all that a path depends on; these arrays have no memory of their own.
    like = [np.broadcast_to(0.0, [sizes[label] for label in term]) for term in labels]
    how = "greedy" if optimize is None or isinstance(optimize, bool) else optimize
    path, _ = np.einsum_path(text, *like, optimize=how)
    return [tuple(step) for step in path[1:]]


# ---- contraction ---------------------------------------------------------------------------------


def _without_ones(x: Array, term: Labels, sizes: dict[Index, int]) -> tuple[Array, Labels]:
    """An operand without the axes of length 1 that would broadcast: the others have the index."""
    shape = shape_of(x)
    kept = [i for i, label in enumerate(term) if shape[i] == sizes[label]]
    if len(kept) < len(term):
        x = reshape(x, [shape[i] for i in kept])
    return x, tuple([term[i] for i in kept])


def _alone(x: Array, term: Labels, kept: set[Index]) -> tuple[Array, Labels]:
    """An operand with its repeated indices merged, summed over those that nobody else has."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i, j = [place for place, each in enumerate(term) if each == label][:2]
            rest = tuple(k for k in range(len(term)) if k not in (i, j))
            positions = np.arange(shape_of(x)[i])
            x = transpose(x, (*rest, i, j))[..., positions, positions]
            term = (*[term[k] for k in rest], label)
    summed = tuple(i for i, label in enumerate(term) if label not in kept)
    if summed:
        dtype = x.dtype
        # In the operands' dtype: np.sum would make small integers wide, and count booleans.
        x = any_true(x, summed) if dtype.kind == "b" else astype(total(x, summed), dtype)
    return x, tuple([label for label in term if label in kept])


def _in_order(x: Array, term: Labels, wanted: Labels) -> Array:
    return x if term == wanted else transpose(x, [term.index(label) for label in wanted])


def _pair(
    x: Array, of_x: Labels, y: Array, of_y: Labels, kept: set[Index], output: Labels
) -> tuple[Array, Labels]:
    """The product of two operands, summed over the indices of both that nobody else has."""
    both = [label for label in of_x if label in of_y and label in kept]
    summed = [label for label in of_x if label in of_y and label not in kept]
    rows = [label for label in of_x if label not in of_y]
    columns = [label for label in of_y if label not in of_x]
    # The side whose indices the output has first is the left one: no transpose afterwards.
    first = next((label for label in output if label in rows or label in columns), None)
    if first in columns:
        x, of_x, rows, y, of_y, columns = y, of_y, columns, x, of_x, rows
    if both:
        both = [label for label in output if label in both] + [
            label for label in both if label not in output
        ]
    sizes = dict(zip((*of_x, *of_y), (*shape_of(x), *shape_of(y)), strict=True))
    made = (*both, *rows, *columns)
    shape = [sizes[label] for label in made]

    def size(labels: Sequence[Index]) -> int:
        return math.prod([sizes[label] for label in labels])

    left = _in_order(x, of_x, (*both, *rows, *summed))
    if not summed:
        right = _in_order(y, of_y, (*both, *columns))
        batch = [sizes[label] for label in both]
        if rows and columns:
            left = reshape(left, (*batch, *[sizes[i] for i in rows], *[1] * len(columns)))
            right = reshape(right, (*batch, *[1] * len(rows), *[sizes[i] for i in columns]))
        elif rows:
            right = reshape(right, (*batch, *[1] * len(rows)))
        elif columns:
            left = reshape(left, (*batch, *[1] * len(columns)))
        return multiply(left, right), made
    right = _in_order(y, of_y, (*both, *summed, *columns))
    batch = [size(both)] if both else []
    # One axis for each group; none where a group is empty, unless there is a batch.
    height = [size(rows)] if rows or both else []
    width = [size(columns)] if columns or both else []
    left = reshape(left, (*batch, *height, size(summed)))
    right = reshape(right, (*batch, size(summed), *width))
    return reshape(matmul(left, right), shape), made


__all__ = ["einsum"]
