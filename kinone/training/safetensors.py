"""Checkpoints as `.safetensors` files, which most libraries of the field read.

The format is eight bytes of length, a JSON header, and the bytes of the tensors. It is written here
rather than by the package of that name: that one copies every tensor to `bytes` first, does not
write atomically, and version 0.8.0 corrupts arrays that are not contiguous. Kinone's own header
goes under `__metadata__`, as one string with its checksum; in a file of another program both are
missing: the tree is then a dict by the names as they stand, and no damage to a number is noticed.

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, BinaryIO

import numpy as np

from ..errors import CheckpointError
from . import header as headers
from .container import check_size, damaged
from .leaves import Array, Leaf, Spec, blocks, data, dtype_name, named_dtype

_METADATA = "__metadata__"
_OURS = "kinone"
_CHECKSUM = "kinone sha256"
_NAMES = {
    "|b1": "BOOL",
    "|u1": "U8",
    "|i1": "I8",
    "<u2": "U16",
    "<i2": "I16",
    "<f2": "F16",
    "bfloat16": "BF16",
    "<u4": "U32",
    "<i4": "I32",
    "<f4": "F32",
    "<u8": "U64",
    "<i8": "I64",
    "<f8": "F64",
    "<c8": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
}
_DTYPES = {theirs: ours for ours, theirs in _NAMES.items()}


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so is one of these: the ninth byte opens the header."""
    return len(start) > 8 and start[8:9] == b"{" and not start.startswith(b"PK")


def write(file: BinaryIO, refused: str, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Writes the header and the bytes of each array."""
    # The widest first: then every tensor begins at a multiple of its item's size.
    order = sorted(arrays, key=lambda path: -arrays[path].dtype.itemsize)
    ours = headers.dump(refused, header, None)
    described: dict[str, Any] = {
        _METADATA: {_OURS: ours.decode(), _CHECKSUM: hashlib.sha256(ours).hexdigest()}
    }
    end = 0
    for path in order:
        array = arrays[path]
        name = _NAMES.get(dtype_name(array.dtype) or "")
        if name is None or path == _METADATA:
            what = f"has dtype {array.dtype!r}" if name is None else "has a reserved name"
            raise CheckpointError(
                f"{refused}the leaf {path!r} {what}, which .safetensors cannot hold; "
                "save to a file that ends in .npz"
            )
        start, end = end, end + array.nbytes
        described[path] = {"dtype": name, "shape": array.shape, "data_offsets": [start, end]}
    text = headers.dump(refused, described, None)
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for path in order:
        for block in blocks(arrays[path]):
            file.write(block)


class Reader:
    """An open `.safetensors`."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        self._file = file
        (length,) = struct.unpack("<Q", file.read(8))
        check_size(name, 8 + length, file)
        if length > 2 * headers.LIMIT + 8:  # as a string, Kinone's header takes more bytes
            damaged(name, f"its header has {length} bytes")
        self._start = 8 + length
        self._tensors: dict[str, Any] = json.loads(file.read(length), object_pairs_hook=_unique)
        metadata = self._tensors.pop(_METADATA, {})
        self._foreign = _OURS not in metadata and _CHECKSUM not in metadata
        if self._foreign:
            names = [[path, path] for path in self._tensors]
            self.header: dict[str, Any] = {"metadata": dict(metadata), "tree": {"dict": names}}
        else:
            text = metadata[_OURS]
            if hashlib.sha256(text.encode()).hexdigest() != metadata[_CHECKSUM]:
                damaged(name, "its header is not what was saved")
            self.header = json.loads(text)
            headers.check(name, self.header)

    def leaves(self) -> dict[str, Leaf]:
        """The leaves by path, after the file was seen to hold them and nothing else."""
        found: dict[str, Spec] = {}
        places: list[tuple[int, int]] = []
        for path, record in self._tensors.items():
            if record["dtype"] not in _DTYPES:
                if not self._foreign:
                    damaged(self._name, f"the leaf {path!r} has a dtype that Kinone never writes")
                raise CheckpointError(
                    f"{self._name}: the leaf {path!r} has the dtype {record['dtype']!r}, which "
                    "NumPy lacks; convert it with the program that wrote the file"
                )
            spec = Spec(named_dtype(_DTYPES[record["dtype"]]), tuple(record["shape"]))
            start, end = record["data_offsets"]
            if (
                not all(type(n) is int and n >= 0 for n in (start, end, *spec.shape))
                or end - start != spec.nbytes
            ):
                damaged(self._name, f"the leaf {path!r} has not the size of {spec}")
            found[path] = spec
            places.append((start, end))
        places.sort()
        if any(start != end for (start, _), (_, end) in zip(places[1:], places, strict=False)) or (
            places and places[0][0] != 0
        ):
            damaged(self._name, "its tensors overlap or leave gaps")
        check_size(self._name, self._start + (places[-1][1] if places else 0), self._file)
        if self._foreign:
            return {path: Leaf("array", spec, "") for path, spec in found.items()}
        leaves = headers.read_leaves(self.header)
        if {path: leaf.spec for path, leaf in leaves.items()} != found:
            damaged(self._name, "its tensors are not as listed in it")
        return leaves

    def read(self, path: str, leaf: Leaf) -> Array:
        """One array, not yet compared with its checksum."""
        array: Array = np.empty(leaf.spec.shape, leaf.spec.dtype)
        content = data(array)
        self._file.seek(self._start + self._tensors[path]["data_offsets"][0])
        if self._file.readinto(content) != len(content):  # type: ignore[attr-defined]
            damaged(self._name, f"the leaf {path!r} is not what was saved")
        return array


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys differ; of two that agree, no reader knows which one is meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header has a name twice")
    return found
