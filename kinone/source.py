"""Where in the user's own files a computation was written.

A location is captured as `(code object, instruction offset, scope)`: three attribute reads, about
a third of a microsecond. Only when somebody asks (an error, a printed graph, a profile) is it
resolved to file, line and the text of the very expression. The scope is the path that
`named_scope` gives to what is computed inside, such as `encoder/block0`; "" outside of any.

While a backward pass runs, its operations inherit the location of the forward operation that they
differentiate: no user wrote a line for them.
"""

from __future__ import annotations

import dis
import functools
import linecache
import os
import sys
import threading
from collections.abc import Callable
from itertools import islice
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from .errors import KinoneError

P = ParamSpec("P")
R = TypeVar("R")
Location = tuple[CodeType, int, str]


def _folder(module: ModuleType) -> str:
    return os.path.dirname(os.path.abspath(module.__file__ or "")) + os.sep


_OWN_FOLDERS = (os.path.dirname(os.path.abspath(__file__)) + os.sep, _folder(np))


class _InternalFiles(dict[str, str]):
    """Remembers for each file name whose it is: "" is the user's, "scipy" SciPy's, and what is
    Kinone's, NumPy's or Python's own is "machinery"."""

    def __missing__(self, filename: str) -> str:
        # `<frozen …>` and `<__array_function__ internals>` are machinery, `<stdin>` and
        # `<doctest …>` are the user.
        scipy = sys.modules.get("scipy")
        if filename.startswith((*_OWN_FOLDERS, "<frozen", "<__array_function__")):
            owner = "machinery"
        elif scipy is not None and filename.startswith(_folder(scipy)):
            owner = "scipy"
        else:
            owner = ""
        self[filename] = owner
        return owner


_internal = _InternalFiles()
_STORE_SUBSCRIPT = dis.opmap["STORE_SUBSCR"]


def name_of(fun: Callable[..., Any]) -> str:
    """What to call a function in a message."""
    name: str = getattr(fun, "__name__", type(fun).__name__)
    return name


class BackwardLocation(tuple[CodeType, int, str]):
    """A location that a backward pass inherited: equal to the forward operation's, and marked."""

    __slots__ = ()


class _State(threading.local):
    inherited: Location | None = None
    backward = False
    scope = ""


_state = _State()


def capture(depth: int = 1) -> Location | None:
    """The innermost frame that is not Kinone's, NumPy's or SciPy's, or the inherited location.

    `depth` callers are known to be Kinone's and not looked at.
    """
    inherited = _state.inherited
    if inherited is not None:
        if _state.scope:
            inherited = _within(_state.scope, inherited)
        return BackwardLocation(inherited) if _state.backward else inherited
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        if not _internal[code.co_filename]:
            return code, frame.f_lasti, _state.scope
        frame = frame.f_back
    return None


def _within(scope: str, location: Location) -> Location:
    """The location in a scope, where it is not in it already.

    A program that runs inside of a scope was traced inside of it, or, compiled, outside of any.
    """
    return location[0], location[1], joined(scope, location[2])


class named_scope:
    """`with named_scope("encoder"):` names what is computed inside, as a function's decorator too.

    Every equation of a traced program, and its backward pass, then knows the path of the scopes
    around it: `encoder/block0`. Layers name their children so. The numbers stay the same.

        >>> import numpy as np, kinone as kn
        >>> def f(x):
        ...     with kn.named_scope("encoder"), kn.named_scope("block0"):
        ...         return np.tanh(x)
        >>> kn.source.scope_of(kn.graph(f)(1.0).equations[0].location)
        'encoder/block0'

    Raises `TypeError` or `ValueError` for a name that is no text, or empty.
    """

    __slots__ = ("before", "name")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a scope's name is a text, not {name!r:.40}, at {here()}")
        if not name.strip("/"):
            raise ValueError(f"a scope wants a name, and {name!r} has none, at {here()}")
        self.name = name.strip("/")

    def __enter__(self) -> None:
        self.before = _state.scope
        _state.scope = f"{self.before}/{self.name}" if self.before else self.name

    def __exit__(self, *error: object) -> None:
        _state.scope = self.before

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def scoped(*args: P.args, **kwargs: P.kwargs) -> R:
            with named_scope(self.name):
                return function(*args, **kwargs)

        return scoped


class no_scope:
    """`with no_scope():` traces what may run in several scopes, so belongs to none of them."""

    __slots__ = ("before",)

    def __enter__(self) -> None:
        self.before = _state.scope
        _state.scope = ""

    def __exit__(self, *error: object) -> None:
        _state.scope = self.before


def scope() -> str:
    """The path of the scopes that are open in this thread, "" outside of any."""
    return _state.scope


def joined(outer: str, inner: str) -> str:
    """The path of a scope seen from inside of another, unless it already begins there.

    >>> joined("encoder", "block0"), joined("encoder", "encoder/block0"), joined("encoder", "")
    ('encoder/block0', 'encoder/block0', 'encoder')
    """
    if not outer or inner == outer or inner.startswith(f"{outer}/"):
        return inner
    return f"{outer}/{inner}" if inner else outer


def scope_of(location: Location | None) -> str:
    """The path of the scopes that a location was captured in."""
    return "" if location is None else location[2]


def in_scipy() -> bool:
    """Whether it is SciPy's code, called by the user's line, that runs now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _internal[frame.f_code.co_filename]:
        if _internal[frame.f_code.co_filename] == "scipy":
            return True
        frame = frame.f_back
    return False


def is_backward(location: Location | None) -> bool:
    """Whether what was made at a location is part of a backward pass."""
    return isinstance(location, BackwardLocation)


class inherit:
    """`with inherit() as state:` lets a program's run set `state.inherited` before each operation.

    A backward pass says so: the locations that are captured meanwhile are marked.
    """

    __slots__ = ("backward", "before")

    def __init__(self, backward: bool = False) -> None:
        self.backward = backward

    def __enter__(self) -> _State:
        self.before = _state.inherited, _state.backward
        if self.backward:
            _state.backward = True
        return _state

    def __exit__(self, *error: object) -> None:
        _state.inherited, _state.backward = self.before


class Place(NamedTuple):
    """A resolved location: the file, the 1-based line and the text of the expression."""

    filename: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{shortened(self.filename)}:{self.line}"
        return f"{where}  {self.text}" if self.text else where


def resolve(location: Location) -> Place:
    """File, line and expression of a captured location.

    On Python ≥ 3.11 a code object knows the columns of each instruction, so the text is the
    sub-expression (`h @ params["w"]`), not the whole line.
    """
    code, instruction, _ = location
    position = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    line, end_line, column, end_column = position
    if line is None:
        return Place(code.co_filename, code.co_firstlineno, "")
    text = linecache.getline(code.co_filename, line)
    if stores_element(location):
        return Place(code.co_filename, line, text.strip())  # its columns are the left side's alone
    if end_line == line and column is not None and end_column is not None:
        # Columns count UTF-8 bytes.
        part = text.encode()[column:end_column].decode(errors="replace")
        return Place(code.co_filename, line, part.strip() or text.strip())
    return Place(code.co_filename, line, text.strip())


def stores_element(location: Location | None) -> bool:
    """Whether a location is an assignment `x[i] = …`."""
    if location is None:
        return False
    code, instruction, _ = location
    return 0 <= instruction < len(code.co_code) and code.co_code[instruction] == _STORE_SUBSCRIPT


def raised_at(error: BaseException) -> Location | None:
    """The innermost of the user's frames that an error came through."""
    found: Location | None = None
    entry = error.__traceback__
    while entry is not None:
        code = entry.tb_frame.f_code
        if not _internal[code.co_filename]:
            found = code, entry.tb_lasti, ""
        entry = entry.tb_next
    return found


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
        if name != "kinone.core.primitive" and ".declare" not in name:
            return Place(frame.f_code.co_filename, frame.f_lineno, "")
        frame = frame.f_back
    return None


def shortened(filename: str) -> str:
    """The path relative to the working folder where that is shorter."""
    if filename.startswith(os.getcwd() + os.sep):
        return os.path.relpath(filename)
    return filename


# ---- tracebacks ----------------------------------------------------------------------------------


def trim(error: BaseException) -> None:
    """Leaves the frames of Kinone, NumPy and SciPy out of an error's traceback, and of its causes'.

    What remains are the lines of the user's program, and a debugger's post-mortem stops in the
    last of them. An error that Kinone did not foresee keeps the innermost of the internal frames,
    for the report of the bug. With the environment variable KINONE_FULL_TRACEBACK=1 nothing is
    left out.
    """
    if os.environ.get("KINONE_FULL_TRACEBACK", "0") not in ("", "0"):
        return
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        foreseen = isinstance(link, KinoneError) or hasattr(link, "_kinone_text")
        link.__traceback__ = _users_frames(link.__traceback__, keep_last=not foreseen)
        context = link.__context__
        if foreseen and context is not None and not _has_user_frames(context.__traceback__):
            link.__suppress_context__ = True  # NumPy's error, of which ours is the better text
        link = link.__cause__ or (None if link.__suppress_context__ else context)


def _has_user_frames(entry: TracebackType | None) -> bool:
    while entry is not None:
        if not _internal[entry.tb_frame.f_code.co_filename]:
            return True
        entry = entry.tb_next
    return False


def _users_frames(entry: TracebackType | None, keep_last: bool) -> TracebackType | None:
    entries = []
    while entry is not None:
        last = entry.tb_next is None
        if not _internal[entry.tb_frame.f_code.co_filename] or (last and keep_last):
            entries.append(entry)
        entry = entry.tb_next
    rebuilt: TracebackType | None = None
    for entry in reversed(entries):
        rebuilt = TracebackType(rebuilt, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rebuilt


def trimming(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates what the user calls: errors leave it with the user's own frames alone."""

    @functools.wraps(function)
    def trimmed(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            trim(error)
            raise

    return trimmed
