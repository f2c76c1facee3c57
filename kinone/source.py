"""Where in the user's own files a computation was written.

A location is captured as the pair `(code object, instruction offset)`: two attribute reads, about
a third of a microsecond. Only when somebody asks (an error, a printed graph, a profile) is it
resolved to file, line and the text of the very expression.

While a backward pass runs, its operations inherit the location of the forward operation that they
differentiate: no user wrote a line for them.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from itertools import islice
from types import CodeType, FrameType
from typing import NamedTuple

import numpy as np

Location = tuple[CodeType, int]

_INTERNAL_FOLDERS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.dirname(os.path.abspath(np.__file__)) + os.sep,
)


class _InternalFiles(dict[str, bool]):
    """Remembers for each file name whether it belongs to Kinone or NumPy."""

    def __missing__(self, filename: str) -> bool:
        # `<frozen …>` and `<__array_function__ internals>` are machinery, `<stdin>` and
        # `<doctest …>` are the user.
        internal = filename.startswith(_INTERNAL_FOLDERS) or filename.startswith(
            ("<frozen", "<__array_function__")
        )
        self[filename] = internal
        return internal


_internal = _InternalFiles()


class _State(threading.local):
    inherited: Location | None = None


_state = _State()


def capture(depth: int = 1) -> Location | None:
    """The innermost frame that is neither Kinone's nor NumPy's, or the inherited location.

    `depth` callers are known to be Kinone's and not looked at.
    """
    inherited = _state.inherited
    if inherited is not None:
        return inherited
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        if not _internal[code.co_filename]:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


class inherit:
    """`with inherit() as state:` lets a backward pass set `state.inherited` before each rule."""

    __slots__ = ("before",)

    def __enter__(self) -> _State:
        self.before = _state.inherited
        return _state

    def __exit__(self, *error: object) -> None:
        _state.inherited = self.before


class Place(NamedTuple):
    """A resolved location: the file, the 1-based line and the text of the expression."""

    filename: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{_short(self.filename)}:{self.line}"
        return f"{where}  {self.text}" if self.text else where


def resolve(location: Location) -> Place:
    """File, line and expression of a captured location.

    On Python ≥ 3.11 a code object knows the columns of each instruction, so the text is the
    sub-expression (`h @ params["w"]`), not the whole line.
    """
    code, instruction = location
    position = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    line, end_line, column, end_column = position
    if line is None:
        return Place(code.co_filename, code.co_firstlineno, "")
    text = linecache.getline(code.co_filename, line)
    if end_line == line and column is not None and end_column is not None:
        # Columns count UTF-8 bytes.
        part = text.encode()[column:end_column].decode(errors="replace")
        return Place(code.co_filename, line, part.strip() or text.strip())
    return Place(code.co_filename, line, text.strip())


def describe(location: Location | None) -> str:
    """`model.py:41  h @ params["w"]`, or a phrase when the line is unknown."""
    return "an unknown line" if location is None else str(resolve(location))


def here() -> str:
    """Describes the user's current line; for messages."""
    return describe(capture())


def declaration() -> Place | None:
    """The file and line of Kinone, or of a user's module, that declares a primitive."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != "kinone.core.primitive" and not name.startswith("kinone.ops.declare"):
            return Place(frame.f_code.co_filename, frame.f_lineno, "")
        frame = frame.f_back
    return None


def _short(filename: str) -> str:
    """The path relative to the working folder where that is shorter."""
    if filename.startswith(os.getcwd() + os.sep):
        return os.path.relpath(filename)
    return filename
