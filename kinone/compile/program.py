"""A compiled program: its source text, the function made of it, and the memory it keeps."""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable, Sequence
from types import CodeType, TracebackType
from typing import Any

import numpy as np

from .. import source
from ..core import Array
from ..graph import Graph
from ..graph.passes import simplified
from .emit import Text, emit

_numbers = itertools.count(1)


class Compiled:
    """A flat program as a NumPy function: `compiled(*leaves)` is a tuple of leaves.

    Of contiguous operands it runs the function of the memory plan; of others one that leaves every
    result where NumPy puts it, for sums follow the memory order.
    """

    def __init__(self, program: Graph, *, owned: int | None = None) -> None:
        # Derivatives are taken of the program as it was traced: where equal parts are merged their
        # cotangents add up in another order, and the last bit may differ from eager mode's.
        self.traced = program
        self.graph = simplified(self.traced)
        self.owned = owned  # how many results are the caller's alone; all of them by default
        self._planned: _Function | None = None
        self._plain: _Function | None = None
        self.derived: dict[Any, Any] = {}  # its derivative's programs, and those of batches

    def __call__(self, *leaves: Array) -> tuple[Array, ...]:
        for leaf in leaves:
            if type(leaf) is np.ndarray and not leaf.flags.c_contiguous:
                return self.plain(leaves)
        return self.planned(leaves)

    @property
    def planned(self) -> _Function:
        if self._planned is None:
            self._planned = _Function(self.graph, self.owned, arena=True)
        return self._planned

    @property
    def plain(self) -> Callable[[Sequence[Array]], tuple[Array, ...]]:
        if not self.planned.plan.blocked:
            return self.planned.without_arena
        if self._plain is None:
            self._plain = _Function(self.graph, self.owned, arena=False)
        return self._plain

    @property
    def source(self) -> str:
        """The text of the function, with the user's line beside each of its own."""
        return str(self.planned.text)

    def __repr__(self) -> str:
        return f"<compiled {self.graph.name}>"


class _Function:
    """The Python function of a program, and a pool of arenas: one for each thread that is in it."""

    def __init__(self, program: Graph, owned: int | None, *, arena: bool) -> None:
        self.text = Text()
        name, self.plan = emit(self.text, program, arena=arena, owned=owned)
        filename = f"<kinone>/{name}-{next(_numbers)}.py"
        code = compile(self.text.code(), filename, "exec")
        names = {"__name__": filename, **self.text.names}
        exec(code, names)
        self.function: Callable[..., tuple[Array, ...]] = names[name]
        self.arenas: list[list[Array]] = []
        # Tracebacks, debuggers and inspect read the text from here, when they ask for it.
        linecache.cache[filename] = (_Lines(self.text),)
        weakref.finalize(self, linecache.cache.pop, filename, None).atexit = False

    def __call__(self, leaves: Sequence[Array]) -> tuple[Array, ...]:
        try:
            arena = self.arenas.pop()
        except IndexError:
            arena = list(self.plan.allocate())
        try:
            return self.function(*leaves, *arena)
        except Exception as error:
            self.explain(error)
            raise
        finally:
            self.arenas.append(arena)

    def without_arena(self, leaves: Sequence[Array]) -> tuple[Array, ...]:
        """The function where each operation allocates its result, as in eager mode."""
        try:
            return self.function(*leaves, *[None] * len(self.plan.buffers))
        except Exception as error:
            self.explain(error)
            raise

    def explain(self, error: Exception) -> None:
        """Says which line of the user's an error in the generated code belongs to."""
        code = self.function.__code__
        traceback: TracebackType | None = error.__traceback__
        while traceback is not None:
            if _belongs(traceback.tb_frame.f_code, code):
                location = self.text.locations[traceback.tb_lineno - 1]
                if location is not None:
                    error.add_note(f"in the compiled {code.co_name}: {source.describe(location)}")
                return
            traceback = traceback.tb_next


def _belongs(found: CodeType, code: CodeType) -> bool:
    return found.co_filename == code.co_filename


class _Lines:
    """A lazy entry of linecache: formats the text when it is read for the first time."""

    def __init__(self, text: Text) -> None:
        self.text = text

    def __call__(self) -> str:
        return str(self.text) + "\n"
