"""`vmap`: a function of one example becomes a function of many.

A batched value holds the values of all examples at once, with the batch axis first; to the user's
code it has the shape of one example. Each primitive's `batch` rule computes all examples in one
call; a primitive without the rule is called once for each example, and a warning says so.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ParamSpec

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Trace,
    Tracer,
    foreign,
    is_foreign,
    is_number,
    leaf_error,
    leaked,
    running,
    shape_dtype,
    shape_of,
)
from ..core.conversions import asked, instead
from ..errors import BatchError, BatchLoopWarning, MissingRuleError, TracerConversionError
from ..ops.joining import stack
from ..ops.shape import moveaxis
from ..source import Location, name_of
from .arguments import Arguments, check_callable, parameter_names
from .axis_names import batching, named_axis
from .ownership import Owners

P = ParamSpec("P")


class BatchTracer(Tracer):
    """The values of all examples, the batch axis first."""

    __slots__ = ("_location", "label", "value")

    def __init__(
        self, trace: BatchTrace, value: Array, location: Location | None, label: str | None = None
    ) -> None:
        self._trace = trace
        self.value = value
        self.label = label
        self._location = location

    @property
    def aval(self) -> ShapeDtype:
        known = shape_dtype(self.value)
        return ShapeDtype(known.shape[1:], known.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.value)[1:]

    @property
    def location(self) -> Location | None:
        return self._location

    def _cut(self, what: str) -> Any:
        if not self._trace.alive:
            return leaked(self)
        place = source.capture()
        return TracerConversionError(
            f"{asked(what, place)} has no one answer under vmap: x is {self.aval} of each of "
            f"{shape_of(self.value)[0]} examples, at {source.describe(place)}\n"
            f"  {instead(what, place)}"
        )


class BatchTrace(Trace):
    name = "vmap"

    def __init__(self, size: int, axis_name: Hashable = None) -> None:
        super().__init__()
        self.size = size
        self.axis_name = axis_name

    def input(self, value: Array, label: str) -> BatchTracer:
        return BatchTracer(self, value, self.started, label)

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        values = list(args)
        batched = [False] * len(values)
        for i, arg in enumerate(args):
            if type(arg) is BatchTracer and arg._trace is self:
                values[i] = arg.value
                batched[i] = True
            elif type(arg) is not np.ndarray and isinstance(arg, np.ndarray) and is_foreign(arg):
                raise foreign(arg)
        location = source.capture()
        if primitive.name in collectives and params["axis_name"] == self.axis_name:
            return collectives[primitive.name](self, values, batched, params)
        if primitive.multiple and primitive.batch is not None:
            with batching(self):  # it may hold programs
                y = primitive.batch(self.size, batched, *values, **params)
        elif primitive.batch is not None:
            y = primitive.batch(self.size, batched, *values, **params)
        else:
            y = self.loop(primitive, batched, values, params, location)
        if not primitive.multiple:
            return BatchTracer(self, y, location)
        return tuple([BatchTracer(self, each, location) for each in y])

    def loop(
        self,
        primitive: Primitive,
        batched: Sequence[bool],
        values: Sequence[Array],
        params: dict[str, Any],
        location: Location | None,
    ) -> Any:
        """One call for each example, and a warning that it is so."""
        if self.size == 0:
            raise MissingRuleError(
                f"{primitive.name} has no batching rule, and with a batch of no examples there is "
                f"nothing to loop over, at {source.describe(location)}"
            )
        _warn_of_loop(primitive, self.size, location)
        results = [
            primitive(
                *[x[i] if flag else x for x, flag in zip(values, batched, strict=True)], **params
            )
            for i in range(self.size)
        ]
        if not primitive.multiple:
            return stack(results)
        return tuple([stack(column) for column in zip(*results, strict=True)])

    def label(self, tracer: Tracer) -> str | None:
        assert isinstance(tracer, BatchTracer)
        return tracer.label


# What operations across the examples do where an axis is the one that they name:
# `(trace, values, batched, params) ↦ result`, see `collectives`.
collectives: dict[str, Callable[..., Any]] = {}


def _warn_of_loop(primitive: Primitive, size: int, location: Location | None) -> None:
    place = None if location is None else source.resolve(location)
    filename, line = ("kinone", 0) if place is None else (place.filename, place.line)
    warnings.warn_explicit(
        f"{primitive.name} has no batching rule: it runs {size} times, once for each example, "
        f"at {place or 'an unknown line'}\n  Give it batch=, see `python -m kinone rules`.",
        BatchLoopWarning,
        filename,
        line,
        registry=_looped,
    )


# Python's record of the warnings shown: one for each primitive and line.
_looped: dict[Any, Any] = {}


def vmap(
    fun: Callable[P, Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    axis_name: Hashable = None,
    axis_size: int | None = None,
) -> Callable[P, Any]:
    """A function that maps `fun` over an axis of its arguments: of all examples at once.

    `in_axes` says which axis of each argument counts the examples: one integer for all arguments;
    a tuple with an entry for each positional argument; or a dict by parameter name, which must
    name every argument of the call. An entry is an integer, None for an argument that all examples
    share, or a tree of these that the argument's tree begins with. With an integer or a tuple,
    keyword arguments are mapped over their first axis. `out_axes` says likewise where the results
    have the new axis; None is for a result that is the same for all examples. `axis_size` gives
    the number of examples where every `in_axes` is None; `axis_name` names the axis for
    collectives (`kinone.lax.psum`).

    Per-example gradients are `vmap(grad(loss), in_axes=(None, 0))(params, batch)`. `if x > 0:` on
    a mapped value raises `TracerConversionError`: there is no one answer; write `np.where`.

    Raises `BatchError` (a `ValueError`) naming the leaves when the axes' lengths differ, do not
    exist, or when `in_axes` does not fit the arguments. A primitive without a batching rule is
    called once for each example, which a `BatchLoopWarning` says.

        >>> import numpy as np
        >>> dot = vmap(lambda a, b: a @ b)
        >>> dot(np.ones((3, 4)), np.arange(12.0).reshape(3, 4))
        array([ 6., 22., 38.])
        >>> vmap(lambda w, x: w * x, in_axes={"w": None, "x": 1}, out_axes=1)(2.0, np.eye(2))
        array([[2., 0.],
               [0., 2.]])
    """
    check_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not (in_axes is None or isinstance(in_axes, (int, tuple, dict, np.integer))):
        raise BatchError(
            f"in_axes is {in_axes!r}; write an integer, a tuple with an entry for each positional "
            f"argument, or a dict by parameter name, at {source.here()}"
        )

    @source.trimming
    @functools.wraps(fun)
    def mapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        leaves, treedef = tree.flatten((args, kwargs))
        axes = _leaf_axes(fun, in_axes, args, kwargs)
        labels = Arguments(fun, args, kwargs, range(len(args)), sorted(kwargs)).labels()
        size, values = _to_front(leaves, axes, labels, axis_size, name_of(fun))
        trace = BatchTrace(size, axis_name)
        with running(trace), named_axis(trace):
            inputs = [
                leaf if axis is None else trace.input(value, label)
                for leaf, value, axis, label in zip(leaves, values, axes, labels, strict=True)
            ]
            new_args, new_kwargs = tree.unflatten(treedef, inputs)
            result = fun(*new_args, **new_kwargs)
            results, out_tree = tree.flatten(result)
            places = _prefix_axes(out_axes, result, "out_axes", "the result of " + name_of(fun))
            owners = Owners(leaves)
            outputs = [
                owners.own(_place(trace, value, axis, path))
                for value, axis, path in zip(
                    results, places, tree.treedef_paths(out_tree), strict=True
                )
            ]
        return tree.unflatten(out_tree, outputs)

    return mapped


def _leaf_axes(
    fun: Callable[..., Any], in_axes: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> list[int | None]:
    """The axis of each leaf of `(args, kwargs)`, in the order of its flattening."""
    if isinstance(in_axes, dict):
        names = parameter_names(fun, len(args))
        missing = [n for n in (*names, *kwargs) if n not in in_axes]
        unknown = [n for n in in_axes if n not in names and n not in kwargs]
        if missing or unknown:
            problem = (
                f"says nothing of {', '.join(missing)}"
                if missing
                else f"names {', '.join(map(str, unknown))}, which the call does not pass"
            )
            raise BatchError(
                f"in_axes of vmap({name_of(fun)}) {problem}, at {source.here()}\n"
                "  Name every argument: an axis, or None for one that all examples share."
            )
        positional = [in_axes[name] for name in names]
        keyword = {name: in_axes[name] for name in kwargs}
    else:
        if isinstance(in_axes, tuple):
            if len(in_axes) != len(args):
                raise BatchError(
                    f"in_axes of vmap({name_of(fun)}) has {len(in_axes)} entries, and the call "
                    f"{len(args)} positional arguments, at {source.here()}\n"
                    "  Write an entry for each, or a dict by parameter name."
                )
            positional = list(in_axes)
        else:
            positional = [in_axes] * len(args)
        keyword = dict.fromkeys(kwargs, in_axes if in_axes is None else 0)
    names = parameter_names(fun, len(args))
    found: list[int | None] = []
    for axis, arg, name in zip(positional, args, names, strict=True):
        found += _prefix_axes(axis, arg, "in_axes", name)
    for key in sorted(kwargs):
        found += _prefix_axes(keyword[key], kwargs[key], "in_axes", key)
    return found


def _prefix_axes(axes: Any, value: Any, what: str, name: str) -> list[int | None]:
    """An axis for each leaf of `value`, from a tree of axes that its tree begins with."""
    prefix, treedef = tree.flatten(axes, is_leaf=lambda x: x is None)
    for axis in prefix:
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer))):
            raise BatchError(
                f"{what} holds {axis!r}; an integer or None is wanted, at {source.here()}"
            )
    try:
        subtrees = tree.flatten_up_to(treedef, value, axes)
    except (ValueError, TypeError) as error:
        raise BatchError(
            f"{what} {axes!r} is no beginning of {name}'s tree, at {source.here()}\n"
            f"  {name}: {tree.structure(value)}"
        ) from error
    found: list[int | None] = []
    for axis, subtree in zip(prefix, subtrees, strict=True):
        found += [None if axis is None else int(axis)] * len(tree.leaves(subtree))
    return found


def _to_front(
    leaves: Sequence[Array],
    axes: Sequence[int | None],
    labels: Sequence[str],
    axis_size: int | None,
    name: str,
) -> tuple[int, list[Array]]:
    """The number of examples, and the leaves with the batch axis first."""
    sizes: dict[int, list[str]] = {}
    values = []
    for leaf, axis, label in zip(leaves, axes, labels, strict=True):
        if axis is not None:
            if not is_number(leaf):
                raise leaf_error(label, leaf, "vmap")
            known = shape_dtype(leaf)
            if not -known.ndim <= axis < known.ndim:
                raise BatchError(
                    f"vmap maps over axis {axis} of {label}, which is {known}, at {source.here()}\n"
                    "  Write None in in_axes for what all examples share."
                )
            sizes.setdefault(known.shape[axis], []).append(f"axis {axis} of {label}, {known}")
            leaf = leaf if axis == 0 else moveaxis(leaf, axis, 0)
        values.append(leaf)
    if axis_size is not None:
        sizes.setdefault(axis_size, []).append("axis_size")
    if len(sizes) > 1:
        lines = [f"\n  {size}: {', '.join(found)}" for size, found in sizes.items()]
        raise BatchError(
            f"the mapped axes of {name} have different lengths, at {source.here()}{''.join(lines)}"
        )
    if not sizes:
        raise BatchError(
            f"vmap({name}) maps over no axis, at {source.here()}\n"
            "  One entry of in_axes must be an integer, or axis_size be given."
        )
    return next(iter(sizes)), values


def _place(trace: BatchTrace, value: Array, axis: int | None, path: str) -> Array:
    """A result with the batch axis where `out_axes` wants it."""
    mine = isinstance(value, BatchTracer) and value._trace is trace
    if axis is None:
        if mine:
            raise BatchError(
                f"out_axes=None says that {path or 'the result'} is the same for all examples, "
                f"and it depends on the mapped arguments, at {source.here()}"
            )
        return value
    if mine:
        result = value.value
    else:
        if not is_number(value):
            raise leaf_error(path or "the result", value, "vmap")
        # The same for all examples, and an array of its own that may be written to.
        result = np.broadcast_to(value, (trace.size, *shape_of(value)))
    ndim = len(shape_of(result))
    if not -ndim <= axis < ndim:
        raise BatchError(
            f"out_axes={axis} for {path or 'the result'}, which has {ndim} axes with the new one, "
            f"at {source.here()}"
        )
    result = result if axis == 0 else moveaxis(result, 0, axis)
    return result


__all__ = ["vmap"]
