"""Trained weights of PyTorch's world into a model of Kinone's, and back.

    model, params, state = models.load("resnet50", "resnet50.safetensors")
    params, state = models.load_state_dict(params, state, theirs.state_dict(), names="resnet50")
    theirs.load_state_dict(as_tensors(models.to_state_dict(params, state, names="resnet50")))

Nothing loads silently: every name must have its place, and every shape must fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Unpack, overload

import numpy as np
import numpy.typing as npt

from .. import nn, random, source, tree
from ..core import ShapeDtype
from ..graph import eval_shape
from ..ops.spatial import channels_first
from ..random import Key
from .weights_files import Source, tensors
from .weights_fit import Options, Tree, architecture, fit
from .weights_names import Array, Names, check_used, choose, place, table, to_torch
from .weights_report import Report


class Loaded(NamedTuple):
    """What `load` returns: a model, and what its weights are."""

    model: nn.Layer
    params: Tree
    state: Tree


class PartlyLoaded(NamedTuple):
    """What `load(…, strict=False)` returns: also what was loaded and what was not."""

    model: nn.Layer
    params: Tree
    state: Tree
    report: Report


@overload
def load(name: str, weights: Source, *, strict: Literal[True] = True, **options: Any) -> Loaded: ...


@overload
def load(name: str, weights: Source, *, strict: Literal[False], **options: Any) -> PartlyLoaded: ...


def load(
    name: str,
    weights: Source,
    *,
    strict: bool = True,
    skip: str | Sequence[str] = (),
    dtype: npt.DTypeLike | None = None,
    prefix: str = "",
    x_shape: Sequence[int] | None = None,
    key: Key | None = None,
    **options: Any,
) -> Loaded | PartlyLoaded:
    """The model that the constructor of this name makes, with weights from a file or a state dict.

    `name` is such as "resnet50", `options` are the constructor's. `weights` is the path of a
    `.safetensors` or `.npz`, or a mapping from name to array or tensor. Which library wrote it is
    seen by its names: torchvision and timm for all of these models, and others for some. Where a
    library's weights want options of the model, as torchvision's EfficientNets do, these are set.

    `x_shape`, batch axis included, is for images of other channels or of another size, where the
    model has positions. `key` is for the first values of what the weights do not give, which
    `skip` and `strict=False` allow. `load_state_dict` explains these, `dtype` and `prefix`.

        >>> from kinone import models
        >>> options = {"num_classes": 10, "stem": "small", "width": 4}
        >>> params, state = models.resnet18(**options).init(random.key(0), (1, 32, 32, 3))
        >>> theirs = to_state_dict(params, state, names="resnet18")
        >>> model, params, state = load("resnet18", theirs, **options)
        >>> model, params, state = load(  # another head
        ...     "resnet18", theirs, skip="head/**", **options | {"num_classes": 3}
        ... )
        >>> params["head"]["kernel"].shape
        (32, 3)

    Raises `ValueError` for an unknown name, `WeightsError` when the weights do not fit or are
    pickled, `CheckpointError` when the file cannot be read.
    """
    known = architecture(name)
    model = known.make(**options)
    layout = options.get("layout", "NHWC")
    if x_shape is None:
        height, width, channels = known.image
        first = channels_first(layout)
        x_shape = (1, channels, height, width) if first else (1, height, width, channels)
    x = ShapeDtype(tuple(x_shape), np.dtype(np.float32))
    key = random.key(0) if key is None else key
    params, state = eval_shape(lambda key: model.init(key, x), key.clone())
    if known.implied:
        dialect = choose(known.dialects, (params, state), tensors(weights, prefix)[1])
        model = known.make(**{**known.implied.get(dialect, {}), **options})
    found, report = fit(
        (params, state), weights, name, layout, strict, skip, dtype, prefix, f"{name}: "
    )
    if len(report.loaded) < len(tree.leaves(found)):
        # The rest begins in the dtype of what was loaded, as if the model had been made so.
        kept = [leaf for leaf in tree.leaves(found[0]) if not isinstance(leaf, ShapeDtype)]
        like = ShapeDtype(x.shape, kept[0].dtype if kept else x.dtype)
        found = tree.map(
            lambda leaf, start: start if isinstance(leaf, ShapeDtype) else leaf,
            found,
            tuple(model.init(key, like)),
        )
    return Loaded(model, *found) if strict else PartlyLoaded(model, *found, report)


@overload
def load_state_dict(
    params: Tree,
    state: Tree,
    weights: Source,
    *,
    strict: Literal[True] = True,
    **options: Unpack[Options],
) -> tuple[Tree, Tree]: ...


@overload
def load_state_dict(
    params: Tree,
    state: Tree,
    weights: Source,
    *,
    strict: Literal[False],
    **options: Unpack[Options],
) -> tuple[Tree, Tree, Report]: ...


def load_state_dict(
    params: Tree,
    state: Tree,
    weights: Source,
    *,
    names: str | Names | None = None,
    layout: str = "NHWC",
    strict: bool = True,
    skip: str | Sequence[str] = (),
    dtype: npt.DTypeLike | None = None,
    prefix: str = "",
) -> tuple[Tree, Tree] | tuple[Tree, Tree, Report]:
    """New `params` and `state` of a model of any kind, with the numbers of a state dict.

    `weights` is as in `load`. `names` says which tensor is which leaf: a constructor's name; or a
    table from paths of layers or leaves to names of modules or tensors, where `*` is any text
    within one name; leaves that no rule fits have the path with dots, as without a table.
    Kernels are turned to the `layout` of the model's convolutions, and `num_batches_tracked` is
    left out where nothing counts batches. Names may have the `module.` of DataParallel and the
    `_orig_mod.` of torch.compile, tensors may be one level down, under `state_dict` or `model`;
    with a `prefix`, names that begin so are read.

    `skip` is a pattern, or several, of leaves that keep their values, or of tensors that are left:
    `"head/**"`, `"aux.*"`. With `strict=False`, what is missing or of another shape keeps its value
    too, what is unexpected is left, and a `Report` comes third; print it. Numbers keep their dtype,
    or get `dtype`; statistics have at least float32.

        >>> layer = nn.Sequential(linear=nn.Dense(2))
        >>> params, state = layer.init(random.key(0), (1, 3))
        >>> theirs = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}
        >>> params, state = load_state_dict(params, state, theirs, names={"linear": "fc"})
        >>> params["linear"]["kernel"].shape
        (3, 2)

    Raises `WeightsError`, which lists every name that is missing, unexpected or of another shape;
    `ValueError` when a rule or a pattern fits nothing.
    """
    found, report = fit((params, state), weights, names, layout, strict, skip, dtype, prefix, "")
    return found if strict else (*found, report)


def to_state_dict(
    params: Tree,
    state: Tree,
    *,
    names: str | Names | None = None,
    layout: str = "NHWC",
    dialect: str | None = None,
) -> dict[str, Array]:
    """The state dict that PyTorch's model of this kind loads: arrays by name, in its layouts.

    The inverse of `load_state_dict`, with the same `names` and `layout`; `dialect` picks among the
    libraries that name a constructor's parts differently, by default the first. Make tensors of the
    arrays with `torch.from_numpy`, or write a file with `np.savez(path, **found)` or
    `kn.training.checkpoint.save("x.safetensors", found)`.

        >>> params, state = nn.Sequential(fc=nn.Dense(2)).init(random.key(0), (1, 3))
        >>> {name: array.shape for name, array in to_state_dict(params, state).items()}
        {'fc.bias': (2,), 'fc.weight': (2, 3)}

    Raises `ValueError` for an unknown name or dialect.
    """
    channels_first(layout)
    trees = (params, state)
    if isinstance(names, str):
        dialects = architecture(names).dialects
        dialect = next(iter(dialects)) if dialect is None else dialect
        if dialect not in dialects:
            raise ValueError(
                f"dialect={dialect!r} is none of {', '.join(dialects)}, at {source.here()}"
            )
        names = table(dialects, dialect, trees)
    elif names is not None:
        check_used(names, trees)
    found = {}
    for name, pieces in place(names or {}, trees).items():
        parts = [to_torch(piece, np.asarray(piece.leaf), layout) for piece in pieces]
        found[name] = np.array(parts[0], order="C") if len(parts) == 1 else np.concatenate(parts)
    return found
