"""Forward mode: `jvp`. Each value carries its tangent along; a tangent of None is zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
    is_inexact,
    leaked,
    observe,
    running,
    shape_dtype,
    zeros_of,
)
from ..core.observe import observers
from ..errors import GradientError, TreeError
from ..source import Location
from .arguments import Arguments, check_leaves, split_aux
from .ownership import Owners


class ForwardTracer(Tracer):
    """A concrete value (or a tracer of lower level) and its tangent."""

    __slots__ = ("_location", "tangent", "value")

    def __init__(
        self, trace: ForwardTrace, value: Array, tangent: Array, location: Location | None
    ) -> None:
        self._trace = trace
        self.value = value
        self.tangent = tangent
        self._location = location

    @property
    def aval(self) -> ShapeDtype:
        return shape_dtype(self.value)

    @property
    def location(self) -> Location | None:
        return self._location

    def _concrete(self, wanted: str) -> Any:
        if not self._trace.alive:
            raise leaked(self)
        return self.value


class ForwardTrace(Trace):
    name = "jvp"

    def __init__(self, label: Callable[[int], str]) -> None:
        super().__init__()
        self.input_label = label
        self.inputs: list[ForwardTracer] = []

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        values = []
        tangents = []
        for arg in args:
            if type(arg) is ForwardTracer and arg._trace is self:
                values.append(arg.value)
                tangents.append(arg.tangent)
            else:
                if type(arg) is not np.ndarray and isinstance(arg, np.ndarray) and is_foreign(arg):
                    raise foreign(arg)
                values.append(np.asarray(arg) if type(arg) in (list, tuple) else arg)
                tangents.append(None)
        if primitive.run_jvp is not None:
            y, tangent = primitive.run_jvp(values, tangents, params)
        else:
            y = primitive(*values, **params)
            if primitive.jvp is None:
                return y
            if observers:
                tangent = observe.tangent(primitive, y, values, tangents, params)
            else:
                tangent = primitive.jvp(y, values, tangents, params)
        if tangent is None:
            return y
        location = source.capture()
        if not primitive.multiple:
            return ForwardTracer(self, y, tangent, location)
        return tuple(
            ForwardTracer(self, each, t, location) if is_inexact(each) and t is not None else each
            for each, t in zip(y, tangent, strict=True)
        )

    def label(self, tracer: Tracer) -> str | None:
        for index, one in enumerate(self.inputs):
            if one is tracer:
                return self.input_label(index)
        return None


class Pushed:
    """A run of `fun` in forward mode: its result, and each leaf's value and tangent.

    `directions` holds a tangent for each leaf of the arguments, None where a leaf stands still.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        arguments: Arguments,
        directions: Sequence[Array | None],
        name: str,
    ) -> None:
        self.trace = trace = ForwardTrace(arguments.label)
        trace.name = name
        with running(trace):
            inputs: list[Array] = []
            for value, tangent in zip(arguments.leaves, directions, strict=True):
                if is_inexact(value) and tangent is not None:
                    tracer = ForwardTracer(trace, value, tangent, trace.started)
                    trace.inputs.append(tracer)
                    inputs.append(tracer)
                else:
                    inputs.append(value)
            self.result = arguments.call(fun, inputs)

    def value(self, leaf: Any) -> Any:
        """The value that a leaf of the result has outside of this transformation."""
        if isinstance(leaf, ForwardTracer) and leaf._trace is self.trace:
            return leaf.value
        return leaf

    def tangent(self, leaf: Any) -> Array | None:
        """The tangent of a leaf of the result, None where it is zero."""
        if isinstance(leaf, ForwardTracer) and leaf._trace is self.trace:
            return leaf.tangent
        return None


@source.trimming
def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of `fun(*primals)` and its derivative in the direction `tangents`.

    `(x₁, …), (t₁, …) ↦ f(x), Σᵢ ∂f/∂xᵢ · tᵢ`. The tangents have the trees, shapes and dtypes of
    the primals; that of an integer is zeros, of any dtype or JAX's `float0`. With `has_aux`, `fun`
    returns `(value, aux)` and `jvp` `(value, tangent, aux)`.

    Raises `TreeError` when the structures differ, `ValueError` when a leaf's shape or dtype does,
    `GradientError` (a `TypeError`) when an integer's tangent is not zero, naming the leaf.

        >>> import numpy as np
        >>> y, t = jvp(lambda x: x * np.sin(x), (0.0,), (1.0,))
        >>> float(t)
        0.0
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise GradientError(
            "jvp wants tuples: jvp(f, (x, y), (tx, ty)); got "
            f"{type(primals).__name__} and {type(tangents).__name__}, at {source.here()}"
        )
    arguments = Arguments(fun, primals, {}, tuple(range(len(primals))), ())
    check_leaves(arguments, "jvp", integers="ignore")
    directions = check_tangents(arguments, tuple(primals), tuple(tangents))
    run = Pushed(fun, arguments, directions, "jvp")
    result, aux = split_aux(run.result, has_aux, "jvp")

    def tangent_of(leaf: Any) -> Any:
        tangent = run.tangent(leaf)
        return zeros_of(leaf) if tangent is None else tangent

    owners = Owners([*arguments.leaves, *directions])
    value = tree.map(lambda leaf: owners.own(run.value(leaf)), result)
    tangent = tree.map(lambda leaf: owners.own(tangent_of(leaf)), result)
    if not has_aux:
        return value, tangent
    return value, tangent, tree.map(lambda leaf: owners.own(run.value(leaf)), aux)


def check_tangents(
    arguments: Arguments, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> list[Array]:
    """The leaves of the tangents, which have the structure, shapes and dtypes of the primals."""
    leaves, treedef = tree.flatten(tangents)
    if treedef != tree.structure(primals):
        raise TreeError(
            f"the tangents' structure is not that of the primals, at {source.here()}\n"
            + tree.diff(primals, tangents)
        )
    checked: list[Array] = []
    for index, (primal, tangent) in enumerate(zip(arguments.leaves, leaves, strict=True)):
        want = shape_dtype(primal)
        moves = is_inexact(want)
        if moves and isinstance(tangent, (bool, int, float, complex)) and want.shape == ():
            tangent = want.dtype.type(tangent)
        got = shape_dtype(tangent)
        if got.shape != want.shape or (moves and got.dtype != want.dtype):
            raise ValueError(
                f"the tangent of {arguments.label(index)} is {got}, but the primal is {want}, "
                f"at {source.here()}"
            )
        if not moves and not _stands_still(tangent, want):
            found = "traced" if isinstance(tangent, Tracer) else "not zero"
            raise GradientError(
                f"{arguments.label(index)} is {want}, which has no derivative, and its tangent "
                f"is {found}, at {source.here()}\n"
                "  Write a floating-point number, 3.0 for 3, or pass np.zeros_like of it as its "
                "tangent."
            )
        checked.append(tangent)
    return checked


_FLOAT0 = np.dtype([("float0", np.void, 0)])  # JAX's dtype of tangents that hold nothing


def _stands_still(tangent: Array, primal: ShapeDtype) -> bool:
    """Whether this may be the tangent of an integer: zeros, or JAX's `float0`.

    A traced one shows no numbers: that of a traced integer is an integer of its kind."""
    got = shape_dtype(tangent)
    if isinstance(tangent, Tracer):
        return got.dtype == primal.dtype
    return got.dtype == _FLOAT0 or (got.dtype.kind in "fciub" and not np.any(tangent))
