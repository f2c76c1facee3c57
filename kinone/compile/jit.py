"""`jit`: a function is traced once for each signature, and from then on runs as a compiled program."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from .. import source, tree
from ..core import Array, Tracer, is_number, leaf_error, observe, shape_dtype
from ..errors import RetraceError, StaticArgumentError
from ..graph import Graph, argument_names, trace_flat
from ..source import Location
from ..transforms.arguments import parameter_names
from .call import call
from .program import Compiled
from .save import save
from .signature import Signature, packer, unpacker

P = ParamSpec("P")
R = TypeVar("R")


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
    ) -> None:
        self.signature = signature
        self.compiled = compiled
        self.captured = list(captured)
        self.in_tree = in_tree
        self.pack = packer(out_tree)
        self.out_tree = out_tree
        self.location = location
        self.seconds = seconds
        self.nearest: list[str] | None = None  # the difference to the nearest signature before it

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
        for var, leaf in zip(self.graph.inputs, leaves, strict=True):
            got = shape_dtype(leaf)
            if (got.shape, got.dtype) != (var.aval.shape, var.aval.dtype):
                raise RetraceError(
                    f"{var.label} is {got}, and {self.graph.name} was lowered for {var.aval}, "
                    f"at {source.here()}"
                )
        return self._traced.pack(call(*leaves, program=self._traced.compiled))

    def save(self, path: Any) -> None:
        """Writes a Python file that defines the function and needs NumPy alone.

        The file holds the generated source, the kernels that it calls and the constants. Its
        function takes and returns the same trees of lists, tuples and dicts. Nothing is left at
        `path` when writing fails.
        """
        save(path, self._traced.compiled, self._traced.in_tree, self._traced.out_tree)

    def __repr__(self) -> str:
        return f"<{self.graph.name} lowered for {self._traced.signature}>"


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
        self._static_names, self._static_numbers = _statics(fun, static_argnums, static_argnames)
        self._max_traces = max_traces
        self._lock = threading.RLock()
        self._cache: dict[Any, Traced] = {}
        self._fast: list[tuple[Any, Traced]] = []
        self.traces = Traces()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        for unpack, traced in self._fast:
            leaves = unpack(args, kwargs)
            if leaves is not None and not observe.active():
                return traced.pack(traced.compiled.planned(leaves))  # type: ignore[no-any-return]
        return self._slow(args, kwargs)

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        traced, leaves = self._find(args, kwargs)
        return traced.pack(call(*traced.captured, *leaves, program=traced.compiled))

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
        frozen = {place: _hashable(value, place, self._fun) for place, value in statics.items()}
        kinds = tuple([_kind(leaf) for leaf in leaves])
        key = (in_tree, kinds, len(args), tuple(frozen.items()))
        with self._lock:
            traced = self._cache.get(key)
            if traced is None:
                traced = self._trace(args, kwargs, statics, leaves, in_tree)
                if not traced.captured:
                    self._cache[key] = traced
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
            parts[names[place] if isinstance(place, int) else place] = f"static {value!r:.60}"
        signature = Signature(parts)
        nearest = self._nearest(signature)
        if self._max_traces is not None and len(self.traces) >= self._max_traces:
            difference = "".join(f"\n  {line}" for line in nearest or [])
            raise RetraceError(
                f"{_name(self._fun)} would be traced for the {len(self.traces) + 1}. time, and "
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
                    raise leaf_error(path or "the result", leaf, "jit")
            out_tree.append(structure)
            return results

        avals = [shape_dtype(leaf) for leaf in leaves]
        program, captured = trace_flat(flat, avals, _name(self._fun), labels)
        compiled = Compiled(program)
        traced = Traced(
            signature,
            compiled,
            captured,
            in_tree,
            out_tree[0],
            source.capture(),
            time.perf_counter() - started,
        )
        traced.nearest = nearest
        self.traces.append(traced)
        return traced

    def _nearest(self, signature: Signature) -> list[str] | None:
        differences = [signature.difference(other.signature) for other in self.traces]
        if not differences:
            return None
        found = min(differences, key=len)
        return found or ["nothing but the structure of the arguments, or values closed over"]

    def _remember(
        self,
        traced: Traced,
        args: tuple[Any, ...],
        leaves: Sequence[Array],
        in_tree: tree.TreeDef,
        statics: dict[int | str, Any],
    ) -> None:
        """The fast way in, for the signatures met last."""
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return
        self._fast = [
            (unpacker(in_tree, leaves, statics, len(args)), traced),
            *self._fast[:3],
        ]

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
            return f"# {_name(self._fun)} has not been called yet"
        return self.traces[-1].source

    def clear_cache(self) -> None:
        """Forgets every traced signature."""
        with self._lock:
            self._cache.clear()
            self._fast = []
            self.traces.clear()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        # A jitted method: the instance is an argument, and static where it is no tree.
        if instance is None:
            return self
        return functools.partial(self.__call__, instance)

    def __repr__(self) -> str:
        return f"<jit of {_name(self._fun)}, {len(self.traces)} traced>"


def _name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


def _statics(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] | None,
    argnames: str | Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Static parameters by name and by place: each is static however it is passed."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums or ())
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames or ())
    try:
        parameters = inspect.signature(fun).parameters
    except (TypeError, ValueError):
        return names, tuple(n for n in numbers if n >= 0)
    positional = [
        p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    takes_names = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for number in numbers:
        if not takes_any and not -len(positional) <= number < len(positional):
            raise StaticArgumentError(
                f"static_argnums has {number}, and {_name(fun)} has {len(positional)} positional "
                f"parameters, at {source.here()}"
            )
    for name in names:
        if name not in parameters and not takes_names:
            raise StaticArgumentError(
                f"static_argnames has {name!r}, which is no parameter of {_name(fun)}, "
                f"at {source.here()}\n  It has: {', '.join(parameters)}."
            )
    places = {n % len(positional) if n < 0 else n for n in numbers}
    places |= {positional.index(name) for name in names if name in positional}
    all_names = {*names, *[positional[n] for n in places if n < len(positional)]}
    return tuple(sorted(all_names)), tuple(sorted(places))


class _StaticArray:
    """An array as a part of a signature: equal by dtype, shape and bytes."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.key = (array.dtype, array.shape, array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StaticArray) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _hashable(value: Any, place: int | str, fun: Callable[..., Any]) -> Hashable:
    if isinstance(value, np.ndarray):
        return _StaticArray(value)
    try:
        hash(value)
    except TypeError:
        name = place if isinstance(place, str) else parameter_names(fun, place + 1)[place]
        raise StaticArgumentError(
            f"the static argument {name} of {_name(fun)} is a {type(value).__name__}, which has no "
            f"hash, at {source.here()}\n"
            "  Pass a tuple for a list, a frozen dataclass for a dict, or do not make it static."
        ) from None
    return (type(value), value)


def _kind(leaf: Array) -> Hashable:
    """What of a leaf its program depends on."""
    try:
        return shape_dtype(leaf)
    except Exception:
        return type(leaf)


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


def jit(
    fun: Callable[P, R],
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    backend: str = "numpy",
    max_traces: int | None = None,
) -> Jitted[P, R]:
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
    if backend != "numpy":
        raise ValueError(f"backend is {backend!r}; there is 'numpy', at {source.here()}")
    return Jitted(fun, static_argnums, static_argnames, max_traces)
