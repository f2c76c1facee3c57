"""Checkpoints as stored `.npz` files, which `numpy.load` reads too.

`numpy.load` takes an entry at its word: it inflates what is compressed and allocates what the head
of an `.npy` claims, be it terabytes. Here no entry is compressed, so none may claim more bytes than
the file has, and the head of every entry must be, byte for byte, the one that is expected.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from . import header as headers
from .container import MALFORMED, check_size, damaged
from .leaves import Array, Leaf, Spec, blocks, data, stored_dtype

_HEADER = "kinone.json"


def write(file: BinaryIO, refused: str, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Writes the header and each array as `PATH.npy`; the same content gives the same bytes."""
    text = headers.dump(refused, header)
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, _HEADER, len(text), [text])
        for path, array in arrays.items():
            start = _head(Spec(array.dtype, array.shape))
            entry = f"{path}.npy"
            _add(archive, entry, len(start) + array.nbytes, [start], blocks(array))


class Reader:
    """An open `.npz`."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        self._file = file
        self._archive = zipfile.ZipFile(file)
        if _HEADER not in self._archive.namelist():
            raise ValueError(
                f"it has no {_HEADER}; numpy.load reads an .npz of "
                "other origin, torch.load a file of PyTorch"
            )
        entry = self._archive.getinfo(_HEADER)
        self._check_sizes([entry])
        if entry.file_size > headers.LIMIT:
            damaged(name, f"its header has {entry.file_size} bytes")
        self.header: dict[str, Any] = json.loads(self._archive.read(entry))
        headers.check(name, self.header)

    def leaves(self) -> dict[str, Leaf]:
        """The leaves by path, after the file was seen to hold them and nothing else."""
        leaves = headers.read_leaves(self.header)
        entries = self._archive.infolist()
        expected = {_HEADER, *(f"{path}.npy" for path in leaves)}
        found = [entry.filename for entry in entries]
        if sorted(found) != sorted(expected):
            odd = sorted(expected.symmetric_difference(found)) or "some stand there twice"
            damaged(self._name, f"its entries are not as listed in it: {odd}")
        self._check_sizes(entries)
        for path, leaf in leaves.items():
            size = len(_head(leaf.spec)) + leaf.spec.nbytes
            if self._archive.getinfo(f"{path}.npy").file_size != size:
                damaged(self._name, f"the leaf {path!r} has not the size of {leaf.spec}")
        return leaves

    def read(self, path: str, leaf: Leaf) -> Array:
        """One array, not yet compared with its checksum."""
        array: Array = np.empty(leaf.spec.shape, leaf.spec.dtype)
        content, start, whole = data(array), _head(leaf.spec), False
        entry = self._archive.getinfo(f"{path}.npy")
        try:
            # zipfile compares the entry's own head; the bytes are then read straight into the
            # array, for its checksum is stronger than zipfile's.
            with self._archive.open(entry) as stream:
                whole = stream.read(len(start)) == start
            self._file.seek(_offset(self._file, entry) + len(start))
            whole = whole and self._file.readinto(content) == len(content)  # type: ignore[attr-defined]
        except MALFORMED:
            whole = False
        if not whole:
            damaged(self._name, f"the leaf {path!r} is not what was saved")
        return array

    def _check_sizes(self, entries: list[zipfile.ZipInfo]) -> None:
        """Raises unless the entries are stored and, together, claim no more than the file has."""
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            damaged(self._name, "it has compressed entries, which Kinone never writes")
        claimed = sum(max(entry.file_size, entry.compress_size) for entry in entries)
        check_size(self._name, claimed, self._file)


def _add(archive: zipfile.ZipFile, name: str, size: int, *parts: Iterable[Any]) -> None:
    """Adds an entry, dated 1980, so that the same content gives the same bytes."""
    info = zipfile.ZipInfo(name)
    info.file_size = size  # decides on ZIP64
    with archive.open(info, "w") as stream:
        for part in parts:
            for piece in part:
                stream.write(piece)


def _head(spec: Spec) -> bytes:
    """The head of an `.npy` file, version 1.0, padded to a multiple of 64 bytes."""
    dtype = stored_dtype(spec.dtype).str
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {spec.shape}, }}"
    line = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line


def _offset(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored entry begin: behind its local head, of 30 bytes and two names."""
    file.seek(entry.header_offset)
    head = file.read(30)
    name, extra = struct.unpack("<HH", head[26:30])
    return int(entry.header_offset + 30 + name + extra)
