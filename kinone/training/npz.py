"""Stored `.npz` files, read without believing a word of them.

`numpy.load` takes an entry at its word: it inflates what is compressed and allocates what the head
of an `.npy` claims, be it terabytes. Here no entry is compressed, so none may claim more bytes than
the file has, and the head of every entry must be, byte for byte, the one that is expected.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError

Path = str | os.PathLike[str]
Array = npt.NDArray[Any]

_CHUNK = 2**20

MALFORMED = (
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,  # also NotImplementedError and RecursionError
    TypeError,
    ValueError,
)
"""What zipfile, json and NumPy raise on bytes that nobody meant them to read."""


class Spec(NamedTuple):
    """The dtype and shape that an array has or ought to have; prints as `float32[3,4]`."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def storable(dtype: np.dtype[Any]) -> bool:
    """Whether an `.npy` can hold the dtype: not objects, empty strings, nor the likes of bfloat16.

    The last call themselves `|V2`, and nobody could tell under that name what they were.
    """
    if dtype.hasobject or dtype.kind == "V" or dtype.itemsize == 0:
        return False
    try:
        return bool(np.dtype(dtype.str) == dtype)
    except TypeError:
        return False


def data(array: Array) -> memoryview:
    """The bytes of a C-contiguous array, which they share."""
    return array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(b"")


def sha256(array: Array) -> str:
    """The SHA-256 of the bytes of a C-contiguous array."""
    return hashlib.sha256(data(array)).hexdigest()


def head(spec: Spec) -> bytes:
    """The head of an `.npy` file, version 1.0, padded to a multiple of 64 bytes."""
    text = f"{{'descr': {spec.dtype.str!r}, 'fortran_order': False, 'shape': {spec.shape}, }}"
    line = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line


def write(archive: zipfile.ZipFile, entry: str, *parts: bytes | memoryview) -> None:
    """Adds an entry, dated 1980, so that the same content gives the same bytes."""
    info = zipfile.ZipInfo(entry)
    info.file_size = sum(len(part) for part in parts)  # decides on ZIP64
    with archive.open(info, "w") as stream:
        for part in parts:
            stream.write(part)


def write_array(archive: zipfile.ZipFile, path: str, array: Array) -> None:
    """Adds a C-contiguous array as `PATH.npy`."""
    write(archive, f"{path}.npy", head(Spec(array.dtype, array.shape)), data(array))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever goes wrong with its bytes in the block becomes a `CheckpointError`."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or error}") from error
    except MALFORMED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{name}: damaged, or not a Kinone checkpoint ({reason}); load another copy"
        ) from error


def check_sizes(name: str, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Raises unless the entries are stored and, together, claim no more than the file has."""
    assert archive.fp is not None
    size = os.fstat(archive.fp.fileno()).st_size
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(
            f"{name}: has compressed entries, which Kinone never writes; load the original file"
        )
    claimed = sum(max(entry.file_size, entry.compress_size) for entry in entries)
    if claimed > size:
        raise CheckpointError(
            f"{name}: damaged, it claims {claimed} bytes and has {size}; load another copy"
        )


def check_entries(
    name: str, archive: zipfile.ZipFile, arrays: dict[str, Spec], *, beside: str
) -> None:
    """Raises unless the file holds each array once, with the right size, and `beside`, no more."""
    entries = archive.infolist()
    found, expected = [entry.filename for entry in entries], {f"{path}.npy" for path in arrays}
    if sorted(found) != sorted({*expected, beside}):
        odd = sorted({*expected, beside}.symmetric_difference(found)) or "some stand there twice"
        raise CheckpointError(f"{name}: damaged, its entries are not as listed in it: {odd}")
    check_sizes(name, archive, entries)
    for path, spec in arrays.items():
        if archive.getinfo(f"{path}.npy").file_size != len(head(spec)) + spec.nbytes:
            raise CheckpointError(
                f"{name}: damaged, the leaf {path!r} has not the size of {spec}; load another copy"
            )


def read_array(
    name: str, archive: zipfile.ZipFile, path: str, spec: Spec, expected_sha256: str
) -> Array:
    """The array of an entry that passed `check_entries`; raises when one bit of it differs."""
    array: Array = np.empty(spec.shape, spec.dtype)
    content, done = data(array), 0
    start = head(spec)
    try:
        with archive.open(f"{path}.npy") as stream:
            whole = stream.read(len(start)) == start
            while chunk := stream.read(_CHUNK):  # the read at the end compares zipfile's CRC
                content[done : done + len(chunk)] = chunk
                done += len(chunk)
        whole = whole and done == len(content)
    except MALFORMED:
        whole = False
    if not whole or hashlib.sha256(content).hexdigest() != expected_sha256:
        raise CheckpointError(
            f"{name}: damaged, the leaf {path!r} is not what was saved; load another copy"
        )
    return array
