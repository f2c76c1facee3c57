"""`jit`: a function is traced once for each signature, and then runs as a compiled program."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from .. import source, tree
from ..core import Array, ShapeDtype, is_number, leaf_error, observe, shape_dtype
from ..errors import RetraceError
from ..graph import argument_names, composites_kept, evaluate, trace_flat
from ..source import name_of
from ..transforms.arguments import check_callable, parameter_names
from ..transforms.axis_names import named_axes
from .call import call
from .lowered import Lowered, Traced, Traces
from .program import Compiled
from .signature import Signature, unpacker
from .statics import frozen_statics, static_places

_FAST_WAYS = 8
_PLAIN = (np.ndarray, np.generic, bool, int, float, complex)

# One thread traces at a time: a jitted function may call another, whose tracing another thread has
# begun. Looking up what is traced already takes it for a moment only.
_tracing = threading.RLock()

P = ParamSpec("P")
R = TypeVar("R")


class Jitted(Generic[P, R]):
    """A function made by `jit`. It is called like the function that it was made of."""

    def __init__(
        self,
        fun: Callable[P, R],
        static_argnums: int | Sequence[int] | None,
        static_argnames: str | Sequence[str] | None,
        max_traces: int | None,
    ) -> None:
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._options = (static_argnums, static_argnames, max_traces)
        self._static_names, self._static_numbers = static_places(
            fun, static_argnums, static_argnames
        )
        self._max_traces = max_traces
        self._cache: dict[Any, Traced] = {}
        self._fast: list[tuple[Any, Traced]] = []
        self.traces = Traces()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            for unpack, traced in self._fast:
                leaves = unpack(args, kwargs)
                if leaves is not None and not observe.active():
                    result: R = traced.pack(traced.compiled.planned(leaves))
                    return result
            result = self._slow(args, kwargs)
            return result
        except Exception as error:
            source.trim(error)
            raise

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if composites_kept():  # an exporter traces the function itself, not what jit makes of it
            return self._fun(*args, **kwargs)
        traced, leaves = self._find(args, kwargs)
        for leaf, label in zip(leaves, traced.labels, strict=True):
            if isinstance(leaf, ShapeDtype):
                raise TypeError(
                    f"{label} is a ShapeDtype, which has no numbers, at {source.here()}\n"
                    "  Write f.lower(x) to compile without running."
                )
        if traced.captured:
            # It is traced anew in each call, so it is not worth compiling.
            return traced.pack(evaluate(traced.compiled.traced, [*traced.captured, *leaves]))
        return traced.pack(call(*leaves, program=traced.compiled))

    def _find(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Traced, Sequence[Array]]:
        """The program for these arguments, traced where there is none yet, and their leaves."""
        statics: dict[int | str, Any] = {}
        for number in self._static_numbers:
            if number < len(args):
                statics[number] = args[number]
        for name in self._static_names:
            if name in kwargs:
                statics[name] = kwargs[name]
        dynamic = tuple([arg for i, arg in enumerate(args) if i not in statics])
        named = {name: value for name, value in kwargs.items() if name not in statics}
        leaves, in_tree = tree.flatten((dynamic, named))
        kinds = tuple([_kind(leaf) for leaf in leaves])
        axes = named_axes()  # of the vmaps around it, which collectives refer to
        orders = tuple(_orders(in_tree.children[0]))
        key = (in_tree, orders, kinds, len(args), frozen_statics(statics, self._fun), axes)
        with _tracing:
            traced = self._cache.get(key)
            if traced is None:
                traced = self._trace(args, kwargs, statics, leaves, in_tree)
                if not traced.captured:
                    self._cache[key] = traced
            if not (traced.captured or traced.has_fast_way or axes):
                self._remember(traced, args, leaves, in_tree, statics)
        return traced, leaves

    def _trace(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        statics: dict[int | str, Any],
        leaves: Sequence[Array],
        in_tree: tree.TreeDef,
    ) -> Traced:
        started = time.perf_counter()
        labels = _labels(self._fun, args, kwargs, statics)
        for leaf, label in zip(leaves, labels, strict=True):
            if not is_number(leaf):
                error = leaf_error(label, leaf, "jit")
                error.add_note(
                    f"  Or name it in static_argnames={label.split('/')[0]!r}: "
                    "the function is then compiled for each of its values."
                )
                raise error
        parts = {label: _describe(leaf) for label, leaf in zip(labels, leaves, strict=True)}
        names = parameter_names(self._fun, len(args))
        for place, value in statics.items():
            text = " ".join(repr(value).split())
            parts[names[place] if isinstance(place, int) else place] = f"static {text:.60}"
        signature = Signature(parts)
        nearest = self._nearest(signature)
        again = [t for t in self.traces if t.closes_over and t.signature == signature]
        traces = len(self.traces) - len(again)
        if self._max_traces is not None and traces >= self._max_traces:
            difference = "".join(f"\n  {line}" for line in nearest or [])
            raise RetraceError(
                f"{name_of(self._fun)} would be traced {traces + 1} times, and "
                f"max_traces is {self._max_traces}, at {source.here()}{difference}"
            )
        out_tree: list[tree.TreeDef] = []

        def flat(*inputs: Array) -> Sequence[Array]:
            dynamic, named = tree.unflatten(in_tree, inputs)
            rest = iter(dynamic)
            full = [statics[i] if i in statics else next(rest) for i in range(len(args))]
            keywords = {k: statics[k] if k in statics else named[k] for k in kwargs}
            results, structure = tree.flatten(self._fun(*full, **keywords))
            for path, leaf in zip(tree.treedef_paths(structure), results, strict=True):
                if not is_number(leaf):
                    raise leaf_error(f"the result's {path}" if path else "the result", leaf, "jit")
            out_tree.append(structure)
            return results

        avals = [shape_dtype(leaf) for leaf in leaves]
        with source.no_scope():  # it may be called in several
            program, captured = trace_flat(flat, avals, name_of(self._fun), labels, "jit")
        compiled = Compiled(program)
        traced = Traced(
            signature,
            compiled,
            captured,
            in_tree,
            out_tree[0],
            source.capture(),
            time.perf_counter() - started,
            [name for i, name in enumerate(names) if i not in statics],
            labels,
        )
        traced.nearest = nearest
        if captured:
            # It is traced in each call anew. One entry stands for all of them, and keeps no values.
            for each in again:
                self.traces.remove(each)
            self.traces.append(traced.without_values())
        else:
            self.traces.append(traced)
        return traced

    def _nearest(self, signature: Signature) -> list[str] | None:
        differences = [signature.difference(other.signature) for other in self.traces]
        if not differences:
            return None
        found = min(differences, key=len)
        return found or [
            "nothing but the structure of the arguments, the order of a dict, how they were passed "
            "(by place or by name), or values closed over"
        ]

    def _remember(
        self,
        traced: Traced,
        args: tuple[Any, ...],
        leaves: Sequence[Array],
        in_tree: tree.TreeDef,
        statics: dict[int | str, Any],
    ) -> None:
        """The fast way in, for the signatures met last."""
        if all(isinstance(leaf, _PLAIN) for leaf in leaves):
            traced.has_fast_way = True
            unpack = unpacker(in_tree, leaves, statics, len(args))
            self._fast = [(unpack, traced), *self._fast[: _FAST_WAYS - 1]]

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> Lowered:
        """The function compiled for arguments of these shapes and dtypes, without running it.

        Arrays, numbers or `ShapeDtype`s.
        """
        traced, _ = self._find(args, kwargs)
        return Lowered(traced)

    @property
    def source(self) -> str:
        """The generated source of the signature traced last."""
        if not self.traces:
            return f"# {name_of(self._fun)} has not been called yet"
        return self.traces[-1].source

    def clear_cache(self) -> None:
        """Forgets every traced signature."""
        with _tracing:
            self._cache.clear()
            self._fast = []
            self.traces.clear()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _Method(self, instance)

    def __reduce__(self) -> Any:
        name = str(getattr(self, "__qualname__", ""))
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:  # the function that a decorator made: by its name
            return name
        return _jitted, (self._fun, *self._options)

    def __repr__(self) -> str:
        return f"<jit of {name_of(self._fun)}, {len(self.traces)} traced>"


class _Method:
    """A jitted function of a class, bound to an instance, which is its first argument."""

    def __init__(self, jitted: Jitted[..., Any], instance: Any) -> None:
        self.__wrapped__ = jitted
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(self.__self__, *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """`Jitted.lower`, with the instance as its first argument."""
        return self.__wrapped__.lower(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __repr__(self) -> str:
        return f"{self.__wrapped__!r}, bound to {self.__self__!r}"


def _jitted(fun: Callable[..., Any], *options: Any) -> Jitted[..., Any]:
    return Jitted(fun, *options)


def _orders(treedef: tree.TreeDef) -> Iterator[Any]:
    """The order of the keys in each dict of a tree, which the function can see."""
    if treedef.kind is dict:
        yield treedef.order
    for child in treedef.children:
        yield from _orders(child)


def _kind(leaf: Array) -> Hashable:
    """What of a leaf its program depends on."""
    try:
        return shape_dtype(leaf)
    except Exception:
        return str(type(leaf))


def _describe(leaf: Array) -> str:
    known = shape_dtype(leaf)
    return f"Python {known.dtype.name}" if known.weak else str(known)


def _labels(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    statics: dict[int | str, Any],
) -> list[str]:
    """The names of the leaves of the arguments that are not static."""
    hidden = tuple([None if i in statics else arg for i, arg in enumerate(args)])
    return argument_names(fun, hidden, {k: v for k, v in kwargs.items() if k not in statics})


@overload
def jit(
    fun: Callable[P, R],
    *,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Sequence[str] | None = ...,
    backend: str = ...,
    max_traces: int | None = ...,
) -> Jitted[P, R]: ...
@overload
def jit(
    fun: None = None,
    *,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Sequence[str] | None = ...,
    backend: str = ...,
    max_traces: int | None = ...,
) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...
def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    backend: str = "numpy",
    max_traces: int | None = None,
) -> Any:
    """The function compiled: traced once for each signature, then run as generated NumPy source.

    A signature is the structure of the arguments, each array's shape and dtype, and the values of
    static arguments. The program is rid of what nothing needs, its equal parts are merged, its
    intermediate results live in memory that is kept from call to call, and chains of large
    elementwise operations run in blocks that fit the cache. The result has the bits of the function
    itself. `f.source` is the generated text, in which breakpoints work; `f.traces` lists the
    signatures and how each differs from its nearest; `f.lower(…).save("f.py")` keeps it.

    Python's control flow is followed while tracing, on static values; `if` on a traced value raises
    and says what to write. What the function closes over is a constant of the program, as it was
    when traced. Two results never share memory, nor with an argument.

    static_argnums, static_argnames   parameters whose values are part of the signature: hashable
                                      values, or arrays, which count by their bytes
    max_traces                        raises `RetraceError` with the difference to the nearest
                                      signature rather than trace more often

    Without `fun` it is a decorator: `@jit(static_argnames="train")`.

    Raises `StaticArgumentError` for a static argument that cannot be hashed or does not exist.

        >>> import numpy as np
        >>> @jit
        ... def norm(x):
        ...     return np.sqrt(np.sum(x * x))
        >>> float(norm(np.array([3.0, 4.0])))
        5.0
        >>> norm.traces
        x: float64[2]  # at <doctest kinone.compile.jit.jit[2]>:1  norm(np.array([3.0, 4.0]))
    """
    if fun is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            backend=backend,
            max_traces=max_traces,
        )
    check_callable(fun, "jit")
    if backend != "numpy":
        raise ValueError(f"backend is {backend!r}; there is 'numpy', at {source.here()}")
    return Jitted(fun, static_argnums, static_argnames, max_traces)
