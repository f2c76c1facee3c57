"""Values as expressions of Python: the constants and parameters of a saved program."""

from __future__ import annotations

import base64
import io
import sys
import textwrap
import types
from typing import Any

import numpy as np

from .. import source
from ..core import Primitive
from . import saved
from .extract import Definition, Extract, ExtractError
from .inline import literal

_SMALL = 64  # elements of an array that is written out


class Writer:
    """Makes definitions `name = expression` of values, in an extract."""

    def __init__(self, extract: Extract) -> None:
        self.extract = extract

    def define(self, name: str, value: Any, what: str) -> Definition:
        """`name = value`; `what` is for the error where the value cannot be written."""
        definition = Definition("", name, text="")
        definition.text = "{name} = " + self._text(value, definition, what)
        self.extract.definitions["", name] = definition
        return definition

    def function(self, value: Any, what: str) -> Definition | str | None:
        """A function, class or primitive; None for another value."""
        if isinstance(value, (Primitive, np.ufunc, type)) or (
            callable(value) and hasattr(value, "__qualname__")
        ):
            return self.extract.take(value, what)
        return None

    def alias(self, name: str, found: Definition | str) -> Definition:
        """`name = found`"""
        definition = Definition("", name, text="{name} = {0}", needs=[found])
        self.extract.definitions["", name] = definition
        return definition

    def _text(self, value: Any, into: Definition, what: str) -> str:
        """The expression as a format, in which "{0}" is the first that the definition needs."""
        simple = literal(value)
        if simple is not None:
            return _escaped(simple)
        if _is_location(value):
            return _escaped(repr(source.describe(value)))
        if value is type(None):
            return "type(None)"
        if isinstance(value, np.ndarray):
            return f"{self._helper('unwritable', into)}({self._array(value, into, what)})"
        if isinstance(value, np.generic):
            return f"{self._array(np.asarray(value), into, what)}[()]"
        if isinstance(value, np.dtype):
            return _escaped(f"np.dtype({value.str!r})")
        kind = type(value)
        if kind is complex:
            return f"complex({literal(value.real)}, {literal(value.imag)})"
        if kind in (bytes, slice) or value is Ellipsis:
            return _escaped(repr(value))
        if kind in (tuple, list, set, frozenset):
            parts = ", ".join(self._text(each, into, what) for each in value)
            return f"{kind.__name__}([{parts}])" if kind is not list else f"[{parts}]"
        if kind is dict:
            rows = [
                f"{self._text(k, into, what)}: {self._text(v, into, what)}"
                for k, v in value.items()
            ]
            return "{{" + ", ".join(rows) + "}}"
        function = self.function(value, what)
        if function is not None:
            return self._place(function, into)
        return self._object(value, into, what)

    def _object(self, value: Any, into: Definition, what: str) -> str:
        kind = type(value)
        known = self._global(value, what)
        if known is not None:
            return self._place(known, into)
        found = self.extract.take(kind, what)
        if isinstance(found, str) or getattr(kind, "__reduce__", None) is not object.__reduce__:
            raise ExtractError(f"{what} needs a {kind.__name__}, for which there is no text")
        made = self._place(found, into)
        if isinstance(value, tuple):
            return f"{made}({', '.join(self._text(each, into, what) for each in value)})"
        names = [n for c in kind.__mro__ for n in getattr(c, "__slots__", ())]
        names += list(getattr(value, "__dict__", {}))
        parts = [
            f"{name}={self._text(getattr(value, name), into, what)}"
            for name in names
            if hasattr(value, name)
        ]
        return f"{self._helper('rebuilt', into)}({', '.join([made, *parts])})"

    def _global(self, value: Any, what: str) -> Definition | str | None:
        """The variable of a class's module that holds this very object."""
        kind = type(value)
        for name, each in vars(sys.modules[kind.__module__]).items():
            if each is value:
                return self.extract.named(kind.__module__, name, what)
        return None

    def _array(self, value: np.ndarray[Any, Any], into: Definition, what: str) -> str:
        if value.dtype.hasobject:
            raise ExtractError(f"{what} needs an array of Python objects")
        axes = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
        if value.flags.c_contiguous or axes == sorted(axes):
            axes = []
        # The memory order is kept, for sums follow it.
        laid = np.ascontiguousarray(value.transpose(axes)) if axes else value
        back = f".transpose({tuple(int(i) for i in np.argsort(axes))})" if axes else ""
        plain = laid.dtype.isnative and (
            laid.dtype.kind in "iub" or (laid.dtype.char in "efd" and bool(np.isfinite(laid).all()))
        )
        if plain and 0 < laid.size <= _SMALL:
            return _escaped(f"np.array({laid.tolist()!r}, np.{laid.dtype.name})") + back
        file = io.BytesIO()
        np.save(file, laid, allow_pickle=False)
        text = base64.b64encode(file.getvalue()).decode()
        if len(text) > 80:
            text = '"""\n' + "\n".join(textwrap.wrap(text, 96)) + '\n"""'
        else:
            text = repr(text)
        return f"{self._helper('loaded', into)}({text})" + back

    def _helper(self, name: str, into: Definition) -> str:
        return self._place(self.extract.named(saved.__name__, name, "a constant"), into)

    def _place(self, found: Definition | str, into: Definition) -> str:
        into.needs.append(found)
        return f"{{{len(into.needs) - 1}}}"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _is_location(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], types.CodeType)
