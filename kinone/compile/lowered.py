"""One signature of a jitted function, and the program that was made for it."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Sequence
from typing import Any

from .. import source, tree
from ..core import Tracer, shape_dtype
from ..errors import RetraceError
from ..graph import Graph
from ..source import Location
from .call import call
from .program import Compiled
from .signature import Signature, packer


class Traced:
    """One signature of a jitted function, its program, and what tracing it cost."""

    def __init__(
        self,
        signature: Signature,
        compiled: Compiled,
        captured: Sequence[Tracer],
        in_tree: tree.TreeDef,
        out_tree: tree.TreeDef,
        location: Location | None,
        seconds: float,
        names: Sequence[str],
        labels: Sequence[str],
    ) -> None:
        self.signature = signature
        self.compiled = compiled
        self.captured = list(captured)
        self.closes_over = bool(captured)
        self.in_tree = in_tree
        self.pack = packer(out_tree)
        self.out_tree = out_tree
        self.location = location
        self.seconds = seconds
        self.labels = list(labels)  # of the leaves
        self.has_fast_way = False
        self.names = list(names)  # of the positional arguments that are not static
        self.nearest: list[str] | None = None  # the difference to the nearest signature before it

    def without_values(self) -> Traced:
        """This without the traced values that the function closes over, for the record."""
        kept = copy.copy(self)
        kept.captured = []
        kept.closes_over = True
        return kept

    @property
    def graph(self) -> Graph:
        """The program with the trees of the function's arguments and result."""
        flat = self.compiled.graph
        return Graph(
            flat.name, flat.inputs, flat.equations, flat.outputs, self.in_tree, self.out_tree
        )

    @property
    def source(self) -> str:
        """The generated NumPy source."""
        return self.compiled.source

    def __repr__(self) -> str:
        lines = [f"{self.signature}  # at {source.describe(self.location)}"]
        if self.nearest is not None:
            lines += [f"    {line}" for line in self.nearest]
        return "\n".join(lines)


class Traces(list[Traced]):
    """The signatures that a jitted function was traced for, the oldest first."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "not traced yet"


class Lowered:
    """A function compiled for given arguments: its `graph`, its `source`, and a way to keep it."""

    def __init__(self, traced: Traced) -> None:
        self.graph = traced.graph
        self._traced = traced

    @property
    def source(self) -> str:
        """The generated NumPy source."""
        return self._traced.source

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program; the arguments must be of the kinds that it was lowered for."""
        leaves, in_tree = tree.flatten((args, kwargs))
        if in_tree != self._traced.in_tree:
            raise RetraceError(
                f"{self.graph.name} was lowered for other arguments, at {source.here()}\n"
                f"  lowered: {self._traced.in_tree}\n  called: {in_tree}"
            )
        captured = self._traced.captured
        for var, leaf in zip(self.graph.inputs[len(captured) :], leaves, strict=True):
            got = shape_dtype(leaf)
            if got != var.aval:
                weak = " (a Python number)"
                raise RetraceError(
                    f"{var.label} is {got}{weak * got.weak}, and {self.graph.name} was lowered for "
                    f"{var.aval}{weak * var.aval.weak}, at {source.here()}"
                )
        return self._traced.pack(call(*captured, *leaves, program=self._traced.compiled))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a Python file that defines the function and needs NumPy alone.

        The file holds the generated source, the kernels that it calls and the constants. Its
        function takes and returns the same trees of lists, tuples and dicts. Nothing is left at
        `path` when writing fails.
        """
        # Loaded when it is wanted: it reads source files, and most programs are never saved.
        writer = importlib.import_module(".save", __package__)
        traced = self._traced
        writer.save(
            path,
            self.graph,
            traced.out_tree,
            traced.names,
            traced.signature.statics(),
            traced.captured,
        )

    def __repr__(self) -> str:
        return f"<{self.graph.name} lowered for {self._traced.signature}>"
