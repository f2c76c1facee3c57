"""Where a leaf of Kinone's stands in a state dict of PyTorch's: its name there, and its layout.

A table gives, for paths of layers, the names of the modules:

    {"stem/conv": "conv1", "stage*/block*/bn*": "layer*.*.bn*", "head": "fc"}

and what is in a layer follows: `kernel` and `scale` are PyTorch's `weight`, a running `mean` its
`running_mean`. A key may also be the path of a leaf, which has the name as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import source, tree
from ..tree.patterns import matches, renamed

Array = npt.NDArray[Any]


class Tensor(NamedTuple):
    """A name in a state dict, for a leaf that is not alone there or has other axes.

    Several leaves of one tensor stand there one after the other along its first axis, in the order
    of `part`: timm's fused `qkv` is query, key and value. `before` and `after` count the axes of
    length 1 that the tensor has in addition: timm's `pos_embed` is (1, T, C).

        >>> from kinone import models, nn, random
        >>> params, state = nn.Parallel(a=nn.Dense(2), b=nn.Dense(3)).init(random.key(0), (1, 4))
        >>> both = {"a": Tensor("qk", part=0), "b": Tensor("qk", part=1)}
        >>> models.to_state_dict(params, state, names=both)["qk.weight"].shape
        (5, 4)
    """

    name: str
    part: int = 0
    before: int = 0
    after: int = 0


Names = Mapping[str, str | Tensor]
Dialects = Mapping[str, Names | Callable[[Sequence[str]], Names]]
"""Tables by the name of the library they are for; a function makes one of the leaves' paths, where
the names depend on how many blocks there are."""

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "negative_slope": "weight",
    "mean": "running_mean",
    "var": "running_var",
    "count": "num_batches_tracked",
}
_TURNED = ("kernel", "recurrent_kernel")

# What `nn.LSTM`, `nn.GRU` and `nn.RNN` hold, anywhere in a model.
_RECURRENT = {
    f"**/layer*/{direction}/{ours}": f"**/{theirs}_l*{suffix}"
    for direction, suffix in (("forward", ""), ("backward", "_reverse"))
    for ours, theirs in {
        "kernel": "weight_ih",
        "recurrent_kernel": "weight_hh",
        "bias": "bias_ih",
        "recurrent_bias": "bias_hh",
    }.items()
}


class Piece(NamedTuple):
    """A leaf and where it stands: in `trees[group]` at `path`, in the state dict at `tensor`."""

    group: int
    path: str
    leaf: Any
    tensor: Tensor

    def shape_there(self, layout: str) -> tuple[int, ...]:
        """The shape that it has in the tensor, were it alone there."""
        # An array of that shape which takes no memory.
        return to_torch(self, np.broadcast_to(np.int8(0), self.leaf.shape), layout).shape


def to_torch(piece: Piece, leaf: Array, layout: str) -> Array:
    """The leaf with its axes as PyTorch orders them; no number moves.

    Kernels (*window, C, K) become (K, C, *window), those of dense layers (C, K) become (K, C);
    with `layout="NCHW"` kernels of convolutions are as they should be. This holds for grouped,
    depthwise and transposed convolutions of any rank.
    """
    if piece.path.rpartition("/")[2] in _TURNED and (leaf.ndim == 2 or layout == "NHWC"):
        leaf = leaf.transpose(leaf.ndim - 1, leaf.ndim - 2, *range(leaf.ndim - 2))
    _, _, before, after = piece.tensor
    return leaf.reshape((1,) * before + leaf.shape + (1,) * after) if before or after else leaf


def from_torch(piece: Piece, tensor: Array, layout: str) -> Array:
    """The inverse of `to_torch`, for a tensor of the right shape."""
    _, _, before, after = piece.tensor
    leaf = tensor.reshape(tensor.shape[before : tensor.ndim - after])
    if piece.path.rpartition("/")[2] in _TURNED and (leaf.ndim == 2 or layout == "NHWC"):
        leaf = leaf.transpose(*range(2, leaf.ndim), 1, 0)
    return leaf


def place(names: Names, trees: Sequence[Any]) -> dict[str, list[Piece]]:
    """The pieces of every tensor of the state dict, in their order there.

    Raises `ValueError` when two leaves come to have one place.
    """
    found: dict[str, list[Piece]] = {}
    for group, each in enumerate(trees):
        for path, leaf in tree.leaves_with_path(each):
            tensor = _tensor(names, path)
            found.setdefault(tensor.name, []).append(Piece(group, path, leaf, tensor))
    for name, pieces in found.items():
        pieces.sort(key=lambda piece: piece.tensor.part)
        if [piece.tensor.part for piece in pieces] != list(range(len(pieces))):
            raise ValueError(
                f"the names give {name!r} to {', '.join(piece.path for piece in pieces)}, "
                f"at {source.here()}\n"
                f'  Number those that stand in it one after the other: Tensor("{name}", part=1).'
            )
    return found


def _tensor(names: Names, path: str) -> Tensor:
    """What the first rule says that fits the leaf's path or its layer's."""
    layer, _, last = path.rpartition("/")
    for ours, theirs in names.items():
        if "*" not in ours and ours not in (layer, path):
            continue  # as a pattern would say, in a hundredth of its time
        tensor = Tensor(theirs) if isinstance(theirs, str) else theirs
        name = renamed(ours, tensor.name, layer) if layer else None
        if name is not None:
            name = f"{name}/{_LEAVES.get(last, last)}"
        else:
            name = renamed(ours, tensor.name, path)
        if name is not None:
            return tensor._replace(name=_dotted(name))
    for ours, theirs in _RECURRENT.items():
        name = renamed(ours, theirs, path)
        if name is not None:
            return Tensor(_dotted(name))
    return Tensor(_dotted(f"{layer}/{_LEAVES.get(last, last)}"))


def _dotted(name: str) -> str:
    return name.strip("/").replace("/", ".")


def check_used(names: Names, trees: Sequence[Any]) -> None:
    """Raises `ValueError` when a rule fits no leaf: it was meant for one."""
    paths = [path for each in trees for path in tree.paths(each)]
    places = [*paths, *(path.rpartition("/")[0] for path in paths)]
    for ours in names:
        if not any(matches(ours, each) for each in places):
            raise ValueError(
                f"names={{{ours!r}: …}} fits no layer and no leaf, at {source.here()}\n"
                f"  The paths are {some(paths)}."
            )


def choose(dialects: Dialects, trees: Sequence[Any], found: Iterable[str]) -> str:
    """The dialect of which the state dict has the most names."""
    held = set(found)
    return max(
        dialects, key=lambda each: len(held & place(table(dialects, each, trees), trees).keys())
    )


def table(dialects: Dialects, dialect: str, trees: Sequence[Any]) -> Names:
    """The table of a dialect for these trees."""
    names = dialects[dialect]
    if callable(names):
        return names([path for each in trees for path in tree.paths(each)])
    return names


def some(names: Sequence[str], limit: int = 8) -> str:
    """The first of them, for a message."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
