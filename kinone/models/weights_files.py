"""The tensors of a state dict: from `.safetensors`, from `.npz`, or as a mapping in memory.

Nothing is unpickled: a `.pth` may run any program when it is read, so the one who trusts it opens
it with PyTorch and writes the numbers alone.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import source
from ..errors import WeightsError
from ..training import checkpoint
from ..training.container import MALFORMED, check_size, open_regular, understood
from ..training.leaves import named_dtype
from .weights_names import Array, some

Source = str | os.PathLike[str] | Mapping[str, Any]

_INSIDE = ("state_dict", "model_state_dict", "model", "module", "net")
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel, and of torch.compile

_CONVERT = """\
  Open it with PyTorch once, if you trust who made it, and keep the numbers alone:
    import numpy, torch
    found = torch.load({path!r}, map_location="cpu", weights_only=True)
    found = found.get("state_dict", found)
    numpy.savez({target!r}, **{{name: x.numpy() for name, x in found.items()}})
  or, for bfloat16 too: safetensors.torch.save_file(found, {safetensors!r})."""


def tensors(given: Source, prefix: str = "") -> tuple[str, dict[str, Array]]:
    """What the state dict is called in messages, and its tensors by name.

    Wrappers' names before all others are taken off; with a `prefix`, names that begin so are read,
    without it.
    """
    if isinstance(given, Mapping):
        name, found = "the mapping", _in_memory(given)
    elif isinstance(given, str | os.PathLike):
        name, found = os.fsdecode(given), read(given)
    else:
        raise TypeError(
            f"weights are a path or a mapping from name to array, and this is a "
            f"{type(given).__name__}, at {source.here()}\n"
            "  Pass model.state_dict() of a PyTorch model, or the path of a .safetensors or .npz."
        )
    found = _unwrapped(found)
    if prefix:
        inside = {
            each.removeprefix(prefix): x
            for each, x in found.items()
            if each[: len(prefix)] == prefix
        }
        if not inside:
            raise WeightsError(
                f"{name}: no name begins with {prefix!r}, at {source.here()}\n"
                f"  There are {some(list(found))}."
            )
        found = _unwrapped(inside)
    if not found:
        raise WeightsError(f"{name}: there is no tensor in it, at {source.here()}")
    return name, found


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The tensors of a file by name.

    Raises `WeightsError` for a pickled file and for a checkpoint of Kinone's, `CheckpointError` for
    one that cannot be read.
    """
    name = os.fsdecode(path)
    with open_regular(path) as file:
        start = file.read(9)
        file.seek(0)
        if start[:2] == b"PK":
            with understood(name):
                entries = zipfile.ZipFile(file).namelist()
            if any(entry.endswith(".pkl") for entry in entries):
                _refuse_pickle(name)
            if "kinone.json" not in entries:
                with understood(name):
                    return _read_npz(name, file)
        elif start[8:9] != b"{":
            _refuse_pickle(name)
    held = checkpoint.load(path).tree  # a .safetensors, and what Kinone itself wrote
    if not (isinstance(held, dict) and all(isinstance(each, np.ndarray) for each in held.values())):
        raise WeightsError(
            f"{name} is a checkpoint of Kinone's own, not a state dict, at {source.here()}\n"
            f"  Write kn.training.checkpoint.load({name!r}, like=...)."
        )
    return held


def _read_npz(name: str, file: Any) -> dict[str, Array]:
    """What `numpy.savez` wrote, compressed or not; no entry may claim more bytes than it has."""
    found = {}
    with zipfile.ZipFile(file) as archive:
        # Deflate makes no more than 1032 bytes of one.
        claimed = sum(entry.file_size for entry in archive.infolist())
        check_size(name, claimed // 1032, file)
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                version = np.lib.format.read_magic(stream)
                head = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = head(stream)
                if int(np.prod(shape, dtype=object)) * dtype.itemsize > entry.file_size:
                    raise ValueError(f"{entry.filename} claims a shape of {shape}")
            with archive.open(entry) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            key = entry.filename.removesuffix(".npy")
            if array.dtype.kind not in "biufc":
                raise WeightsError(
                    f"{name}: {key} has the dtype {array.dtype}, which is no tensor's, "
                    f"at {source.here()}\n"
                    "  NumPy's files cannot hold bfloat16: save float32, or a .safetensors."
                )
            found[key] = array
    return found


def _refuse_pickle(name: str) -> None:
    stem = os.path.splitext(name)[0]
    raise WeightsError(
        f"{name} is neither a .safetensors nor an .npz; pickled files are not read, for they may "
        f"run any program, at {source.here()}\n"
        + _CONVERT.format(path=name, target=f"{stem}.npz", safetensors=f"{stem}.safetensors")
    )


def _in_memory(given: Mapping[str, Any]) -> dict[str, Array]:
    for inside in _INSIDE:
        if isinstance(given.get(inside), Mapping):
            return _in_memory(given[inside])
    return {str(name): _array(str(name), value) for name, value in given.items()}


def _array(name: str, value: Any) -> Array:
    """The value as an array, which may share its memory."""
    found = value
    if hasattr(value, "detach"):  # a tensor of PyTorch's
        found = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            exact = np.asarray(found.float())
            with contextlib.suppress(ImportError):  # float32 has all of its numbers
                exact = exact.astype(named_dtype("bfloat16"))
            return exact
    try:
        array = np.asarray(found)
    except MALFORMED as error:
        raise WeightsError(f"{name}: not an array ({error}), at {source.here()}") from None
    if array.dtype.hasobject or array.dtype.kind in "USMm":
        raise WeightsError(
            f"{name} is a {type(value).__name__}, not an array, at {source.here()}\n"
            "  Pass the state dict alone: model.state_dict(), or what a checkpoint has under "
            "'state_dict'."
        )
    return array


def _unwrapped(found: dict[str, Array]) -> dict[str, Array]:
    """The names without those of wrappers, which stand before all or within any."""
    plain = {name.replace("._orig_mod.", "."): array for name, array in found.items()}
    if len(plain) < len(found):
        raise WeightsError(
            f"the weights have names with and without '_orig_mod.', at {source.here()}\n"
            "  Pass the state dict of one model, compiled or not."
        )
    while plain:
        wrapper = next((w for w in _WRAPPERS if all(name.startswith(w) for name in plain)), None)
        if wrapper is None:
            break
        plain = {name.removeprefix(wrapper): array for name, array in plain.items()}
    return plain
