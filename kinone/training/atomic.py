"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None  # type: ignore[assignment]

fcntl: Any = _fcntl

_HOUR = 3600.0


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a new file that takes the place of `path` when the block ends without an error.

    The bytes go to a file of a unique name in the same folder, `.NAME.TOKEN.tmp`; they reach the
    disk before it is renamed, and the rename reaches the disk before the block is left. A reader
    therefore sees the old file or the new one, even after a power cut, and two writers cannot mix.
    When the block raises, the new file is removed and the old one stays; only a killed process
    leaves its temporary file behind, and the next write to the same path removes that.

    The new file has the permissions of the one that it replaces. A symbolic link stays, and the
    file that it leads to is replaced.

        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "note")
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"whole")
        >>> path.read_bytes()
        b'whole'

    Raises `OSError` as `open`, `write` and `os.replace` do.
    """
    target = os.path.realpath(os.fsdecode(path))
    try:
        mode: int | None = os.stat(target).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, "Not a regular file", target)
    folder, name = os.path.split(target)
    start = f".{name[:40]}."
    remove_stale(folder, re.compile(re.escape(start) + r"[0-9a-f]{16}\.tmp"))
    while True:
        temporary = os.path.join(folder, f"{start}{secrets.token_hex(8)}.tmp")
        lock = None
        try:
            with open(temporary, "xb") as file:
                lock = _lock(file)
                if lock is not None and os.fstat(lock).st_nlink == 0:
                    continue  # a cleaner was there before the lock
                if mode is not None:
                    os.chmod(temporary, stat.S_IMODE(mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            break
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            if lock is not None:
                os.close(lock)
    _sync_folder(folder)


def remove_stale(folder: str, names: re.Pattern[str]) -> None:
    """Deletes the temporary files of processes that are no more.

    A process that lives holds a lock on its file. Where there are no locks, a file is left alone
    until nobody has written to it for an hour.
    """
    with contextlib.suppress(OSError):  # a folder that is not there, or that may not be read
        for name in os.listdir(folder):
            if names.fullmatch(name):
                _remove_if_stale(os.path.join(folder, name))


def _remove_if_stale(path: str) -> None:
    # It may be gone before it is opened: renamed by its writer, or deleted by another process.
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if _is_stale(file):
            os.unlink(path)  # while the lock is held: who waits for it sees that the file is gone


def _is_stale(file: BinaryIO) -> bool:
    """Whether nobody writes to a temporary file any more; locks it if there are locks."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return time.time() - os.fstat(file.fileno()).st_mtime > _HOUR


def _lock(file: BinaryIO) -> int | None:
    """A descriptor that keeps the file locked until it is closed; None where there are no locks."""
    if fcntl is None:
        return None
    lock = os.dup(file.fileno())  # it shares the lock, and outlives the file
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        os.close(lock)
        return None
    return lock


def _sync_folder(folder: str) -> None:
    """Makes a rename in the folder last; a no-op where folders cannot be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
