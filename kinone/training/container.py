"""What the two kinds of files have in common: opening one, and errors of one line.

Neither kind is believed a word: no file may claim more bytes than it has, nothing is inflated, and
nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn, Protocol

from ..errors import CheckpointError, DamagedCheckpointError
from .leaves import Array, Leaf, Path

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

_BROKEN_DISK = (errno.EIO, getattr(errno, "EUCLEAN", errno.EIO))


class Container(Protocol):
    """An open file: its header, what it says of its leaves, and its arrays, one at a time."""

    header: dict[str, Any]

    def leaves(self) -> dict[str, Leaf]:
        """The leaves by path, after the file was seen to hold them and nothing else."""

    def read(self, path: str, leaf: Leaf) -> Array:
        """One array, not yet compared with its checksum."""


def damaged(name: str, what: str) -> NoReturn:
    """Raises the error of a file whose bytes are not those that were saved."""
    raise DamagedCheckpointError(f"{name}: damaged, {what}; load another copy")


def check_size(name: str, claimed: int, file: BinaryIO) -> None:
    """Raises when the file claims more bytes than it has."""
    size = os.fstat(file.fileno()).st_size
    if claimed > size:
        damaged(name, f"it claims {claimed} bytes and has {size}")


def open_regular(path: Path) -> BinaryIO:
    """The file, if it is one: opening a pipe would wait for ever.

    Raises `CheckpointError`.
    """
    name = os.fsdecode(path)
    with understood(name):
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    if stat.S_ISDIR(mode):
        raise CheckpointError(
            f"{name}: cannot be read, Is a directory; restore_latest(folder) loads the newest "
            "checkpoint of a folder"
        )
    raise CheckpointError(f"{name}: cannot be read, not a regular file; load another file")


@contextlib.contextmanager
def understood(name: str) -> Iterator[None]:
    """Whatever goes wrong with the bytes of the file in the block becomes a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        kind = DamagedCheckpointError if error.errno in _BROKEN_DISK else CheckpointError
        raise kind(
            f"{name}: cannot be read, {error.strerror or error}; check the path and who may read it"
        ) from error
    except ImportError as error:
        raise CheckpointError(f"{name}: {error}") from error
    except MALFORMED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedCheckpointError(
            f"{name}: damaged, or not a Kinone checkpoint ({reason}); load another copy"
        ) from error
