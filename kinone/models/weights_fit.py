"""What of a state dict goes where in `params` and `state`, tensor by tensor."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from .. import source, tree
from ..errors import WeightsError
from ..ops.spatial import channels_first
from ..training.leaves import is_extended
from ..tree.patterns import matches
from .registry import ARCHITECTURES, Architecture
from .weights_files import Source, tensors
from .weights_names import Array, Names, Piece, check_used, choose, from_torch, place, table
from .weights_report import Mismatch, Report

Tree = dict[str, Any]


class Options(TypedDict, total=False):
    """The keywords of `load_state_dict` but `strict`, which decides what it returns."""

    names: str | Names | None
    layout: str
    skip: str | Sequence[str]
    dtype: npt.DTypeLike | None
    prefix: str


def fit(
    trees: tuple[Tree, Tree],
    weights: Source,
    names: str | Names | None,
    layout: str,
    strict: bool,
    skip: str | Sequence[str],
    dtype: npt.DTypeLike | None,
    prefix: str,
    who: str,
) -> tuple[tuple[Tree, Tree], Report]:
    """The trees with the numbers of the state dict, and what became of each name."""
    channels_first(layout)
    if dtype is not None and _kind(np.dtype(dtype)) != "float":
        raise TypeError(
            f"dtype={dtype!r:.40} is not a floating-point one, at {source.here()}\n"
            "  Write dtype=np.float32, or leave it out to keep that of the weights."
        )
    title, held = tensors(weights, prefix)
    if isinstance(names, str):
        dialects = architecture(names).dialects
        dialect = choose(dialects, trees, held)
        title += f" (names of {dialect})"
        names = table(dialects, dialect, trees)
    elif names is not None:
        check_used(names, trees)
    skip = (skip,) if isinstance(skip, str) else tuple(skip)
    places = place(names or {}, trees)
    _check_skip(skip, places, held)

    values: dict[tuple[int, str], Array] = {}
    missing, mismatched, skipped = [], [], []
    for name, pieces in places.items():
        left = [_skips(skip, piece.path) or _skips(skip, name) for piece in pieces]
        skipped += [piece.path for piece, out in zip(pieces, left, strict=True) if out]
        paths = [piece.path for piece, out in zip(pieces, left, strict=True) if not out]
        if not paths:
            continue
        if name not in held:
            missing += [(path, name) for path in paths]
            continue
        problem = _compare(pieces, held[name], layout)
        if problem:
            mismatched += [Mismatch(path, name, *problem) for path in paths]
            continue
        parts = _parts(pieces, held[name], layout)
        for piece, part, out in zip(pieces, parts, left, strict=True):
            if not out:
                values[piece.group, piece.path] = _value(piece, part, layout, dtype)
    unexpected = [
        name
        for name in held
        if name not in places
        and not _skips(skip, name)
        and name.rpartition(".")[2] != "num_batches_tracked"
    ]
    report = Report(
        tuple(path for _, path in values),
        tuple(missing),
        tuple(unexpected),
        tuple(mismatched),
        tuple(skipped),
    )
    if not values or (strict and not report.fits):
        raise WeightsError(
            f"{who}{title} does not fit, at {source.here()}\n{report}\n  {_advice(report, layout)}"
        )
    params, state = (
        tree.map_with_path(lambda path, leaf, i=i: values.get((i, path), leaf), each)
        for i, each in enumerate(trees)
    )
    return (params, state), report


def _parts(pieces: Sequence[Piece], tensor: Array, layout: str) -> list[Array]:
    if len(pieces) == 1:
        return [tensor]
    ends = np.cumsum([piece.shape_there(layout)[0] for piece in pieces])
    return np.split(tensor, ends[:-1])


def _compare(pieces: Sequence[Piece], tensor: Array, layout: str) -> tuple[str, str] | None:
    """What the tensor is and ought to be, where these differ."""
    shape = pieces[0].shape_there(layout)
    if len(pieces) > 1:
        shape = (sum(piece.shape_there(layout)[0] for piece in pieces), *shape[1:])
    kind = _kind(np.dtype(pieces[0].leaf.dtype))
    if tensor.shape == shape and _kind(tensor.dtype) == kind:
        return None
    return f"{tensor.dtype}{list(tensor.shape)}", f"{kind}{list(shape)}"


def _kind(dtype: np.dtype[Any]) -> str:
    if is_extended(dtype):
        return "integer" if "int" in dtype.name else "float"
    return {"f": "float", "c": "complex", "b": "bool"}.get(dtype.kind, "integer")


def _value(piece: Piece, part: Array, layout: str, dtype: npt.DTypeLike | None) -> Array:
    """The leaf, in memory of its own."""
    leaf = from_torch(piece, part, layout)
    found = leaf.dtype
    if _kind(found) == "float":
        found = found if dtype is None else np.dtype(dtype)
        if piece.group == 1:
            found = np.result_type(found, np.float32)
    return np.array(leaf, found, order="C")


def _skips(skip: Sequence[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in skip)


def _check_skip(
    skip: Sequence[str], places: Mapping[str, list[Piece]], held: Mapping[str, Array]
) -> None:
    paths = [piece.path for pieces in places.values() for piece in pieces]
    for pattern in skip:
        if not any(_skips((pattern,), name) for name in (*paths, *held)):
            raise ValueError(
                f"skip={pattern!r} fits no leaf and no tensor, at {source.here()}\n"
                f"  Leaves are such as {paths[-1]}, tensors such as {next(iter(held))}."
            )


def _advice(report: Report, layout: str) -> str:
    """What to try, by what is wrong."""
    if not report.loaded and not report.mismatched:
        return "These are the weights of another model, or names= is wanted, a table of names."
    kernels = [each for each in report.mismatched if each.found.count(",") > 1]
    if kernels:
        return (
            "Build the model as the weights want it: its kind and width, the channels and size of "
            f"images (x_shape=); and layout={layout!r} must be that of its kernels."
        )
    if report.mismatched:
        return 'Give num_classes= as the weights want it, or leave out their head: skip="head/**".'
    return "Pass strict=False for what there is, or skip= for what may be left out, if it is meant."


def architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, 1)
        hint = f"Write {near[0]!r}." if near else f"There are {', '.join(ARCHITECTURES)}."
        raise ValueError(
            f"there is no table of names for a model {name!r}, at {source.here()}\n  {hint}"
        )
    return ARCHITECTURES[name]
