"""The arguments of an export: which are folded, what the others are called, and what varies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any

import numpy as np

from ... import random, source, tree
from ...core import ShapeDtype, is_number, leaf_error, shape_dtype
from ...graph import Graph, argument_names
from ...tree import patterns
from .errors import ExportError

Axes = Mapping[int, str] | Sequence[str | None]
Dynamic = Mapping[str, Axes]


@dataclass
class Leaf:
    """One leaf of the arguments."""

    path: str  # the argument's name, and where in it
    value: Any
    name: str  # in the graph
    argument: int = 0  # which one it is of
    folded: bool = False
    dynamic: dict[int, str] = field(default_factory=dict)
    layout: str | None = None  # how its tensor is to lie, where that is not as it is

    @property
    def aval(self) -> ShapeDtype:
        return shape_dtype(self.value)

    def aval_at(self, sizes: Mapping[str, int]) -> ShapeDtype:
        """Shape and dtype for these sizes of the dynamic dimensions."""
        shape = list(self.aval.shape)
        for axis, name in self.dynamic.items():
            shape[axis] = sizes[name]
        return ShapeDtype(tuple(shape), self.aval.dtype, self.aval.weak)


def leaves_of(
    fun: Callable[..., Any],
    args: Sequence[Any],
    fold: Iterable[str],
    names: Mapping[str, str],
    input_layout: str | Mapping[str, str] | None,
) -> list[Leaf]:
    """The leaves of the arguments in order, with what was said of them.

    Raises `LeafError` for what is no number, `ExportError` for a name that no leaf has.
    """
    found = []
    for path, (argument, value) in zip(
        _paths(fun, args),
        [(i, leaf) for i, arg in enumerate(args) for leaf in tree.leaves(arg)],
        strict=True,
    ):
        found.append(Leaf(path, value, path, argument))
    for leaf in found:
        if isinstance(leaf.value, (str, PurePath)) and str(leaf.value).endswith(".onnx"):
            raise ExportError(
                f"{leaf.value!r} is an argument of the function here, at {source.here()}\n"
                f"  Write path={leaf.value!r} for the file."
            )
        if not is_number(leaf.value):
            raise leaf_error(leaf.path, leaf.value, "onnx.export")
    without = _arguments(fun, args) - {leaf.path.partition("/")[0] for leaf in found}
    for pattern in [fold] if isinstance(fold, str) else fold:
        if pattern in without:
            continue  # a layer without state has nothing to fold
        for leaf in _chosen(found, pattern, "fold"):
            if isinstance(leaf.value, ShapeDtype):
                raise ExportError(
                    f"fold={pattern!r}: {leaf.path} is a ShapeDtype, which has no numbers to fold, "
                    f"at {source.here()}"
                )
            leaf.folded = True
            if isinstance(leaf.value, np.ndarray):
                # As the traced program is to recognise it, wherever it is used.
                native = leaf.value.dtype.newbyteorder("=")
                leaf.value = np.asarray(leaf.value, native, order="C")
    given = [leaf for leaf in found if not leaf.folded]
    for path, name in names.items():
        if not _is_output(path):
            _check_name(path, name)
            for leaf in _chosen(given, path, "names"):
                leaf.name = name + leaf.path[len(path) :]
    _check_unique([(leaf.path, leaf.name) for leaf in given])
    layouts = input_layout if isinstance(input_layout, Mapping) else {}
    for path, layout in layouts.items():
        for leaf in _chosen(given, path, "input_layout"):
            leaf.layout = _layout(layout)
    if isinstance(input_layout, str):
        images = [
            leaf for leaf in given if "/" not in leaf.path and len(leaf.aval.shape) in (3, 4, 5)
        ]
        for leaf in images:
            leaf.layout = _layout(input_layout)
        if not images:
            raise ExportError(
                f"input_layout={input_layout!r} is for images, and no argument that is an input "
                f"has 3, 4 or 5 axes, at {source.here()}"
            )
    return found


def _paths(fun: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """The paths of all leaves, beginning with the argument's name."""
    if isinstance(fun, Graph):
        labels = [var.label for var in fun.inputs]
        if len(labels) == len(tree.leaves(tuple(args))) and all(labels):
            return [str(label) for label in labels]
    paths = argument_names(fun, tuple(args), {})
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return [path.replace("argument ", "argument") for path in paths]
    rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    before = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    found = []
    for path in paths:
        argument, slash, inside = path.partition("/")
        if argument.startswith("argument ") and rest:
            argument = f"{rest[0]}/{int(argument.split()[1]) - before}"
        found.append(argument.replace("argument ", "argument") + slash + inside)
    return found


def _arguments(fun: Callable[..., Any], args: Sequence[Any]) -> set[str]:
    """The names of the arguments."""
    return {path.partition("/")[0] for path in _paths(fun, [0] * len(args))}


def _check_name(path: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ExportError(
            f"names={{{path!r}: {name!r}}}: a name is a text that is not empty, at {source.here()}"
        )


def _check_unique(named: Iterable[tuple[str, str]]) -> None:
    paths: dict[str, str] = {}
    for path, name in named:
        if paths.setdefault(name, path) != path:
            raise ExportError(
                f"names calls both {paths[name]} and {path} {name!r}; a tensor wants a name of its "
                f"own, at {source.here()}"
            )


def _is_output(path: str) -> bool:
    return path == "output" or path.startswith("output/")


def output_names(
    out_tree: tree.TreeDef, names: Mapping[str, str], leaves: Iterable[Leaf]
) -> list[tuple[str, str]]:
    """The path and the name of each result: `output`, or `output/…` in a tree.

    Raises `ExportError` for a name that no result has, or that an input has already.
    """
    paths = [f"output/{path}" if path else "output" for path in tree.treedef_paths(out_tree)]
    found = dict(zip(paths, paths, strict=True))
    for old, new in names.items():
        if not _is_output(old):
            continue
        _check_name(old, new)
        met = [path for path in paths if path == old or path.startswith(f"{old}/")]
        if not met:
            raise ExportError(
                f"names={{{old!r}: {new!r}}} names no output; there are {_listed(paths)}, "
                f"at {source.here()}"
            )
        for path in met:
            found[path] = new + path[len(old) :]
    chosen = [(path, name) for path, name in found.items() if path != name]
    inputs = [(leaf.path, leaf.name) for leaf in leaves if not leaf.folded]
    _check_unique([*inputs, *chosen, *[pair for pair in found.items() if chosen]])
    return list(found.items())


def _layout(layout: str) -> str | None:
    if layout not in ("NCHW", "NHWC"):
        raise ExportError(
            f"input_layout={layout!r} is neither 'NCHW' nor 'NHWC', at {source.here()}"
        )
    return layout if layout == "NCHW" else None


def _chosen(leaves: Sequence[Leaf], path: str, option: str) -> list[Leaf]:
    """The leaves of an argument or subtree, or those that a pattern fits."""
    if "*" in path:
        found = [leaf for leaf in leaves if patterns.matches(path, leaf.path)]
    else:
        found = [leaf for leaf in leaves if leaf.path == path or leaf.path.startswith(f"{path}/")]
        found = found or [leaf for leaf in leaves if leaf.name == path]
    if not found:
        known = [leaf.path for leaf in leaves]
        known += [path.partition("/")[0] for path in known]
        near = get_close_matches(path, known, 3)
        raise ExportError(
            f"{option}={path!r} names no input; "
            f"{'did you mean ' + ', '.join(near) if near else 'there are ' + _listed(known)}, "
            f"at {source.here()}"
        )
    return found


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:8]) + (", …" if len(unique) > 8 else "")


def mark_dynamic(leaves: Sequence[Leaf], dynamic: Dynamic) -> dict[str, int]:
    """Notes which axes vary, as the user said, and gives each name's size in the example.

    Raises `ExportError` for an axis that is not there, or a name of two sizes.
    """
    given = [leaf for leaf in leaves if not leaf.folded]
    sizes: dict[str, int] = {}
    for path, axes in dynamic.items():
        for leaf in _chosen(given, path, "dynamic"):
            shape = leaf.aval.shape
            pairs = axes.items() if isinstance(axes, Mapping) else enumerate(axes)
            for axis, name in pairs:
                if name is None:
                    continue
                if not str(name).isidentifier():
                    raise ExportError(
                        f"dynamic={{{path!r}: …}} gives axis {axis} the name {name!r}; a name is a "
                        f"word such as 'batch', at {source.here()}"
                    )
                if not -len(shape) <= axis < len(shape):
                    raise ExportError(
                        f"dynamic names axis {axis} of {leaf.path}, which is {leaf.aval}, "
                        f"at {source.here()}"
                    )
                axis %= len(shape)
                if sizes.setdefault(name, shape[axis]) != shape[axis]:
                    raise ExportError(
                        f"the dynamic size {name!r} is {sizes[name]} in one input and "
                        f"{shape[axis]} in axis {axis} of {leaf.path}, at {source.here()}"
                    )
                leaf.dynamic[axis] = name
    return sizes


def batches(leaves: Sequence[Leaf], args: Sequence[Any]) -> Iterator[list[Leaf]]:
    """The leaves whose leading axis may be a batch, where the user says nothing: likely ones first.

    An argument may be one if all its arrays are equally long. Those that are as long as the last
    such argument are tried together, then fewer of them, then those of another length.
    """
    groups: list[list[Leaf]] = []
    for index, argument in enumerate(args):
        arrays = [
            leaf
            for leaf in leaves
            if leaf.argument == index and not leaf.folded and leaf.aval.shape != ()
        ]
        lengths = {leaf.aval.shape[0] for leaf in arrays}
        if len(lengths) == 1 and not isinstance(argument, random.Key):
            groups.append(arrays)
    seen: list[int] = []
    for group in reversed(groups):
        size = group[0].aval.shape[0]
        if size in seen:
            continue
        seen.append(size)
        alike = [other for other in groups if other[0].aval.shape[0] == size]
        count = len(alike)
        for part in [
            *[alike[start:] for start in range(count)],
            *[alike[:end] for end in range(1, count)],
        ]:
            yield [leaf for arrays in part for leaf in arrays]


def mark_batch(leaves: Sequence[Leaf], batch: Sequence[Leaf]) -> dict[str, int]:
    """Notes that the leading axis of some leaves is a batch."""
    for leaf in leaves:
        leaf.dynamic = {}
    for leaf in batch:
        leaf.dynamic = {0: "batch"}
    return {"batch": batch[0].aval.shape[0]} if batch else {}
