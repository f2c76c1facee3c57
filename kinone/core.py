"""The engine's heart: primitives, tracers, and who handles an operation.

A *primitive* is an operation with its rules. A *tracer* is a value that a transformation watches;
it belongs to a *trace*, which has an integer level. Applying a primitive looks at its operands:

    no tracer among them   → run `impl`, plain NumPy;
    otherwise              → the trace of highest level handles it (`Trace.process`), by applying
                             the same primitive to values of lower level and noting what it needs.

That is all the dispatch there is; nested transformations are nested levels.

Tracers implement NumPy's protocols, so `np.tanh(x)`, `x @ w` and `x.sum(axis=0)` reach the same
primitives through `numpy_functions`, the one table that `kinone.ops` fills as it declares them.
"""

from __future__ import annotations

import difflib
import math
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from . import source
from .errors import (
    KinoneError,
    LeakedTracerError,
    MissingRuleError,
    ShapeError,
    TracerAssignmentError,
    TracerConversionError,
)

# An ndarray, a NumPy scalar, a Python number or a Tracer. Rules run on all of them alike, which no
# static type expresses without a cast on every line.
Array = Any
F = TypeVar("F", bound=Callable[..., Any])


class ShapeDtype:
    """Shape and dtype of a value that is not there (yet).

    `weak` marks a Python number, which adapts to the arrays that it meets (NEP 50).

        >>> ShapeDtype((8, 16), "float32")
        float32[8,16]
    """

    __slots__ = ("dtype", "shape", "weak")

    def __init__(self, shape: Sequence[int], dtype: Any, weak: bool = False) -> None:
        self.shape = tuple(shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.weak = weak

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ShapeDtype)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.weak == other.weak
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.weak))

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


def shape_dtype(x: Array) -> ShapeDtype:
    """The `ShapeDtype` of an array, number, tracer or `ShapeDtype`."""
    if isinstance(x, (np.ndarray, np.generic)):
        return ShapeDtype(x.shape, x.dtype)
    if isinstance(x, ShapeDtype):
        return x
    if isinstance(x, Tracer):
        return x.aval
    if isinstance(x, (bool, int, float, complex)):
        return ShapeDtype((), np.asarray(x).dtype, weak=type(x) is not bool)
    array = np.asarray(x)
    return ShapeDtype(array.shape, array.dtype)


def shape_of(x: Array) -> tuple[int, ...]:
    """`np.shape(x)`, which for a tracer would go all the way round NumPy's protocol."""
    try:
        shape: tuple[int, ...] = x.shape
    except AttributeError:
        return np.shape(x)
    return shape


def ndim_of(x: Array) -> int:
    """`np.ndim(x)`, likewise."""
    return len(shape_of(x))


def is_inexact(x: Array) -> bool:
    """Whether a value is of a floating or complex type, that is, differentiable."""
    if isinstance(x, (float, complex)):
        return True
    return getattr(getattr(x, "dtype", None), "kind", "") in "fc"


# ---- traces --------------------------------------------------------------------------------------


class _Depth(threading.local):
    level = 0


_depth = _Depth()


class Trace:
    """One run of one transformation. `label(tracer)` is the path of an input leaf, or None."""

    name = "a transformation"

    def __init__(self) -> None:
        self.level: float = 0
        self.alive = False
        self.started = source.capture()

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        """Applies a primitive to operands of which at least one is a tracer of this trace."""
        raise NotImplementedError

    def label(self, tracer: Tracer) -> str | None:
        return None


class running:
    """`with running(trace):` gives a trace its level and ends it afterwards.

    An ended trace has infinite level: a tracer that outlived it wins every dispatch and is found.
    """

    __slots__ = ("trace",)

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        _depth.level += 1
        self.trace.level = _depth.level
        self.trace.alive = True

    def __exit__(self, *error: object) -> None:
        _depth.level -= 1
        self.trace.level = math.inf
        self.trace.alive = False


# ---- primitives ----------------------------------------------------------------------------------

registry: dict[str, Primitive] = {}


class Primitive:
    """An operation and all of its rules. Made by the constructors in `kinone.ops.declare`.

    impl(*xs, **params)                     plain NumPy; what eager mode runs
    shape(*avals, **params)                 the result's `ShapeDtype` (a tuple of them if `multiple`)
    reverse(wanted, y, xs, params)          the pullback `g -> [cotangent, …]`, one for each operand
                                            whose flag in `wanted` is set; None where it is zero
    forward(y, xs, tangents, params)        the tangent of `y`; a tangent that is None is zero

    Where `reverse` is None the result is constant as far as derivatives go (`floor`, `x > 0`), and
    differentiation hands on a plain value.
    """

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        *,
        shape: Callable[..., Any],
        reverse: Callable[..., Any] | None,
        forward: Callable[..., Any] | None,
        multiple: bool = False,
        samples: Callable[[], Sequence[Any]] | None = None,
    ) -> None:
        if name in registry:
            raise ValueError(f"a primitive named {name!r} exists already")
        self.name = name
        self.__name__ = name
        self.__doc__ = impl.__doc__
        self.impl = impl
        self.shape = shape
        self.reverse = reverse
        self.forward = forward
        self.multiple = multiple
        self.samples = samples
        self.declared = source.declaration()
        registry[name] = self

    def __call__(self, *args: Array, **params: Any) -> Any:
        trace: Trace | None = None
        level: float = 0
        for arg in args:
            if isinstance(arg, Tracer) and arg.trace.level > level:
                trace = arg.trace
                level = trace.level
        try:
            if trace is None:
                return self.impl(*args, **params)
            if not trace.alive:
                raise _leaked(next(arg for arg in args if getattr(arg, "trace", None) is trace))
            return trace.process(self, args, params)
        except Exception as error:
            explain(error, self.name, args)
            raise

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


# ---- errors with the user's line and the operands ------------------------------------------------


def explain(error: Exception, name: str, args: Sequence[Array]) -> None:
    """Adds to an error's message the primitive, the user's line and the operands.

    The exception keeps its type. Every level of tracing passes here on the error's way out; each
    replaces what the one before wrote, for the outermost knows the operands' paths.
    """
    if isinstance(error, (LeakedTracerError, TracerConversionError, MissingRuleError)):
        return
    if type(error).__str__ not in (Exception.__str__, ValueError.__str__, BaseException.__str__):
        return  # np.exceptions.AxisError and others that format themselves
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    text = getattr(error, "_kinone_text", None)
    if text is None:
        text = error.args[0]
        error._kinone_text = text  # type: ignore[attr-defined]
        error._kinone_place = source.here()  # type: ignore[attr-defined]
    place = getattr(error, "_kinone_place")  # noqa: B009 (an attribute that no class declares)
    operands = "".join(f"\n    {describe_operand(arg)}" for arg in args)
    error.args = (f"{text}\n  in {name} at {place}{operands}",)


def shape_error(name: str, text: str, *args: Array) -> ShapeError:
    """A `ShapeError` with the user's line and the operands, for checks made before a primitive."""
    error = ShapeError(text)
    explain(error, name, args)
    return error


def describe_operand(x: Array) -> str:
    """`params/w: float32[10,784]`: the leaf's path where it has one, and its shape and dtype."""
    label = None
    inner = x
    while label is None and isinstance(inner, Tracer):
        label = inner.trace.label(inner)
        inner = getattr(inner, "value", None)
    try:
        text = repr(shape_dtype(x))
    except Exception:
        text = type(x).__name__
    if isinstance(x, (bool, int, float, complex)):
        text = repr(x)
    return f"{label}: {text}" if label else text


def _leaked(tracer: Tracer) -> LeakedTracerError:
    return LeakedTracerError(
        f"a value of {tracer.trace.name} was used after it had returned\n"
        f"  used at {source.here()}\n"
        f"  made at {source.describe(tracer.location)}\n"
        f"  by {tracer.trace.name} called at {source.describe(tracer.trace.started)}\n"
        "  Return the value from the function (has_aux=True for extra results) instead of storing "
        "it outside."
    )


# ---- tracers and NumPy's protocols ---------------------------------------------------------------

# NumPy's own functions and ufuncs → the Kinone function that does the same on tracers.
numpy_functions: dict[Callable[..., Any], Callable[..., Any]] = {}


def implements(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Declares that the decorated function is what these NumPy functions do on traced values."""

    def register(f: F) -> F:
        for function in functions:
            numpy_functions[function] = f
        return f

    return register


def _operator(function: Callable[..., Any]) -> Any:
    def method(self: Tracer, other: Array) -> Any:
        return numpy_functions[function](self, other)

    return method


def _reflected(function: Callable[..., Any]) -> Any:
    def method(self: Tracer, other: Array) -> Any:
        return numpy_functions[function](other, self)

    return method


def _method(function: Callable[..., Any]) -> Any:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return numpy_functions[function](self, *args, **kwargs)

    method.__name__ = function.__name__
    return method


class Tracer:
    """A value that a transformation watches; to the user's code it is an ndarray.

    It has an ndarray's operators, methods and attributes, and answers NumPy's functions. What
    would take a number out of it (`float(x)`, `np.asarray(x)`) or write into it (`x[i] = v`)
    raises and says what to write instead.
    """

    __slots__ = ("trace",)
    trace: Trace

    @property
    def aval(self) -> ShapeDtype:
        """The shape and dtype; each kind of tracer knows its own."""
        raise NotImplementedError

    @property
    def location(self) -> source.Location | None:
        """Where the user made this value."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.aval.dtype

    @property
    def weak(self) -> bool:
        return self.aval.weak

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    # -- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__":
            function = numpy_functions.get(ufunc)
            if function is not None and not kwargs:
                return function(*inputs)
        elif method == "reduce" and ufunc in _reductions:
            # np.add.reduce reduces axis 0 by default, np.sum every axis.
            kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
            return numpy_functions[_reductions[ufunc]](inputs[0], **kwargs)
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if kwargs:
            out = kwargs.get("out", ())
            if any(isinstance(x, np.ndarray) for x in out):
                raise TracerAssignmentError(
                    f"np.{name} would write a traced value into an array, at {source.here()}\n"
                    "  Write `y = y + x` for `y += x`, and leave out= away: traced values are new "
                    "values."
                )
            raise MissingRuleError(
                f"np.{name} on a traced value takes no {', '.join(sorted(kwargs))}=, "
                f"at {source.here()}"
            )
        raise _no_rule(name)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        function = numpy_functions.get(func)
        if function is None:
            raise _no_rule(func.__name__)
        return function(*args, **kwargs)

    # -- operators

    __add__, __radd__ = _operator(np.add), _reflected(np.add)
    __sub__, __rsub__ = _operator(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _operator(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _operator(np.true_divide), _reflected(np.true_divide)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _operator(np.remainder), _reflected(np.remainder)
    __pow__, __rpow__ = _operator(np.power), _reflected(np.power)
    __matmul__, __rmatmul__ = _operator(np.matmul), _reflected(np.matmul)
    __and__, __rand__ = _operator(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _operator(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _operator(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lt__, __le__ = _operator(np.less), _operator(np.less_equal)
    __gt__, __ge__ = _operator(np.greater), _operator(np.greater_equal)
    __eq__, __ne__ = _operator(np.equal), _operator(np.not_equal)
    __hash__ = None  # type: ignore[assignment]  # as for an ndarray

    def __neg__(self) -> Any:
        return numpy_functions[np.negative](self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return numpy_functions[np.absolute](self)

    def __invert__(self) -> Any:
        return numpy_functions[np.invert](self)

    def __getitem__(self, index: Any) -> Any:
        return numpy_functions[operator.getitem](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TracerAssignmentError(
            f"a traced value cannot be assigned into, at {source.here()}\n"
            "  Write x = x.at[i].set(v) for x[i] = v, and x = x.at[i].add(v) for x[i] += v."
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return iter([self[i] for i in range(self.shape[0])])

    # -- methods and attributes of an ndarray

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    max, min = _method(np.max), _method(np.min)
    var, std = _method(np.var), _method(np.std)
    argmax, argmin = _method(np.argmax), _method(np.argmin)
    any, all = _method(np.any), _method(np.all)
    squeeze, swapaxes = _method(np.squeeze), _method(np.swapaxes)
    ravel, clip, round = _method(np.ravel), _method(np.clip), _method(np.round)
    astype = _method(np.astype)
    dot = _method(np.dot)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        target = shape[0] if len(shape) == 1 else shape
        return numpy_functions[np.reshape](self, target, order=order)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 else axes or None
        return numpy_functions[np.transpose](self, order)

    def flatten(self) -> Any:
        return self.reshape(-1)

    def copy(self) -> Any:
        return self

    @property
    def T(self) -> Any:
        return numpy_functions[np.transpose](self)

    @property
    def mT(self) -> Any:
        return numpy_functions[np.swapaxes](self, -1, -2)

    @property
    def at(self) -> _At:
        """`x.at[i].set(v)`, `x.at[i].add(v)`: a new array with some elements replaced."""
        return _At(self)

    # -- conversions that would cut the gradient

    def __bool__(self) -> bool:
        return bool(self._concrete("bool"))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._cut("np.asarray(x) (or putting x into an array)")

    def __float__(self) -> float:
        raise self._cut("float(x)")

    def __int__(self) -> int:
        raise self._cut("int(x)")

    def __complex__(self) -> complex:
        raise self._cut("complex(x)")

    def __index__(self) -> int:
        raise self._cut("using x as an index")

    def item(self, *args: Any) -> Any:
        raise self._cut("x.item()")

    def tolist(self) -> Any:
        raise self._cut("x.tolist()")

    def _concrete(self, wanted: str) -> Any:
        """The number for Python's control flow, where the trace has one."""
        raise self._cut(f"{wanted}(x)")

    def _cut(self, what: str) -> TracerConversionError:
        return TracerConversionError(
            f"{what} would take the number out of a value traced by {self.trace.name}, "
            f"at {source.here()}\n"
            "  and its gradient would be cut without a word. Compute with NumPy functions on x "
            "(np.sqrt(x), not math.sqrt(x); np.stack([a, b]), not np.array([a, b])),\n"
            "  return it with has_aux=True to look at it, or pass it through "
            "kinone.stop_gradient(x) where it is meant to be a constant."
        )

    def __repr__(self) -> str:
        return f"<{self.aval} traced by {self.trace.name}>"

    def __format__(self, spec: str) -> str:
        return repr(self)


# `np.add.reduce` and its like, by the function that NumPy has for them.
_reductions: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
}


class _At:
    """`x.at`, waiting for its index."""

    __slots__ = ("x",)

    def __init__(self, x: Array) -> None:
        self.x = x

    def __getitem__(self, index: Any) -> _AtIndex:
        return _AtIndex(self.x, index)


class _AtIndex:
    """`x.at[index]`, waiting for the update."""

    __slots__ = ("index", "x")

    def __init__(self, x: Array, index: Any) -> None:
        self.x = x
        self.index = index

    def set(self, value: Array) -> Array:
        """What `x` would be after `x[index] = value`."""
        return numpy_functions[operator.setitem](self.x, self.index, value)

    def add(self, value: Array) -> Array:
        """What `x` would be after `np.add.at(x, index, value)`: repeated indices add up."""
        return numpy_functions[np.add.at](self.x, self.index, value)


def _no_rule(name: str) -> MissingRuleError:
    known = sorted({function.__name__ for function in numpy_functions})
    near = difflib.get_close_matches(name, known, n=3)
    hint = f" The nearest that have one: {', '.join(near)}." if near else ""
    return MissingRuleError(
        f"np.{name} has no rule for traced values, at {source.here()}\n  It would run once on "
        f"numbers and lose the gradient, so it is refused.{hint}"
    )


__all__ = [
    "Array",
    "KinoneError",
    "Primitive",
    "ShapeDtype",
    "Trace",
    "Tracer",
    "implements",
    "is_inexact",
    "numpy_functions",
    "registry",
    "running",
    "shape_dtype",
]
