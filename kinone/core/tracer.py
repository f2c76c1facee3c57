"""The tracer, which is an ndarray to the user's code."""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from .. import source
from ..errors import TracerAssignmentError, TracerConversionError
from .conversions import cut
from .messages import no_rule
from .protocol import At, apply, numpy_functions, reductions, refused_out, ufunc_methods
from .trace import Trace
from .values import Array, ShapeDtype


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
        return apply(function, (self, *args), kwargs)

    method.__name__ = function.__name__
    return method


def _refused(name: str, form: str) -> Any:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> NoReturn:
        raise TracerAssignmentError(
            f"x.{name}() changes an array in its place, and a traced value cannot be changed, "
            f"at {source.here()}\n  Write x = {form}."
        )

    method.__name__ = name
    return method


# What of a ufunc's reduction the functions in `reductions` do not take.
_FOLDED = frozenset({"dtype", "initial"})


class Tracer:
    """A value that a transformation watches; to the user's code it is an ndarray.

    It has an ndarray's operators, methods and attributes, and answers NumPy's functions. What
    would take a number out of it (`float(x)`, `np.asarray(x)`) or write into it (`x[i] = v`)
    raises and says what to write instead.
    """

    __slots__ = ("_trace",)
    _trace: Trace

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
        if method == "__call__" and not kwargs:
            function = numpy_functions.get(ufunc)
            if function is not None:
                return function(*inputs)
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if any(x is not None for x in kwargs.get("out", ())):
            raise refused_out(name)
        if method == "reduce" and ufunc in reductions and not kwargs.keys() & _FOLDED:
            # np.add.reduce reduces axis 0 by default, np.sum every axis.
            kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
            return numpy_functions[reductions[ufunc]](inputs[0], **kwargs)
        if method in ufunc_methods:
            return ufunc_methods[method](ufunc, *inputs, **kwargs)
        raise no_rule(ufunc, numpy_functions, method)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The namespace whose functions take this value: `kinone.numpy`, or else NumPy's."""
        try:
            return importlib.import_module("kinone.numpy")
        except ModuleNotFoundError:
            return np

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        return apply(func, args, kwargs)

    # -- operators

    __add__, __radd__ = _operator(np.add), _reflected(np.add)
    __sub__, __rsub__ = _operator(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _operator(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _operator(np.true_divide), _reflected(np.true_divide)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _operator(np.remainder), _reflected(np.remainder)
    __rpow__ = _reflected(np.power)
    __matmul__, __rmatmul__ = _operator(np.matmul), _reflected(np.matmul)
    __and__, __rand__ = _operator(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _operator(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _operator(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lshift__, __rlshift__ = _operator(np.left_shift), _reflected(np.left_shift)
    __rshift__, __rrshift__ = _operator(np.right_shift), _reflected(np.right_shift)
    __divmod__, __rdivmod__ = _operator(np.divmod), _reflected(np.divmod)
    __lt__, __le__ = _operator(np.less), _operator(np.less_equal)
    __gt__, __ge__ = _operator(np.greater), _operator(np.greater_equal)
    __eq__, __ne__ = _operator(np.equal), _operator(np.not_equal)

    def __pow__(self, other: Array) -> Any:
        # NumPy's operator takes x ** 2 for a square, which of a bool is int8, and a power int64.
        if type(other) is int and other == 2 and self.dtype.kind == "b":
            return numpy_functions[np.square](self)
        return numpy_functions[np.power](self, other)

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
            "  Write x = x.at[i].set(v) for x[i] = v, and x = x.at[i].add(v) for x[i] += v; "
            "kinone.ops.at(x)[i].set(v) where x may be a plain array."
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return iter(numpy_functions[iter](self))

    def __contains__(self, value: Array) -> bool:
        return bool((self == value).any())

    # -- methods and attributes of an ndarray

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    max, min = _method(np.max), _method(np.min)
    var, std = _method(np.var), _method(np.std)
    argmax, argmin = _method(np.argmax), _method(np.argmin)
    any, all = _method(np.any), _method(np.all)
    cumsum, cumprod = _method(np.cumsum), _method(np.cumprod)
    squeeze, swapaxes = _method(np.squeeze), _method(np.swapaxes)
    ravel, clip, round = _method(np.ravel), _method(np.clip), _method(np.round)
    repeat, take, choose = _method(np.repeat), _method(np.take), _method(np.choose)
    diagonal, trace, dot = _method(np.diagonal), _method(np.trace), _method(np.dot)
    argsort, argpartition = _method(np.argsort), _method(np.argpartition)
    searchsorted, nonzero = _method(np.searchsorted), _method(np.nonzero)
    conj = conjugate = _method(np.conjugate)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> Any:
        return numpy_functions[np.astype](self, dtype, order, casting)

    def compress(self, condition: Any, axis: int | None = None, out: None = None) -> Any:
        return apply(np.compress, (condition, self), {"axis": axis, "out": out})

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        target = shape[0] if len(shape) == 1 else shape
        return apply(np.reshape, (self, target), {"order": order})

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 else axes or None
        return apply(np.transpose, (self, order), {})

    def flatten(self, order: str = "C") -> Any:
        return apply(np.ravel, (self,), {"order": order})

    def copy(self, order: str = "C") -> Any:
        return self

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        if device != "cpu" or stream is not None:
            raise ValueError(f"the one device is 'cpu', and there are no streams; got {device!r}")
        return self

    @property
    def T(self) -> Any:
        return numpy_functions[np.transpose](self)

    @property
    def mT(self) -> Any:
        if self.ndim < 2:
            raise ValueError("matrix transpose with ndim < 2 is undefined")
        return numpy_functions[np.swapaxes](self, -1, -2)

    @property
    def real(self) -> Any:
        return self if self.dtype.kind != "c" else apply(np.real, (self,), {})

    @property
    def imag(self) -> Any:
        return apply(np.imag, (self,), {})

    @property
    def flat(self) -> Any:
        """All elements in order; where an ndarray has an iterator, an array that iterates."""
        return self.ravel()

    @property
    def base(self) -> None:
        return None

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def at(self) -> At:
        """`x.at[i].set(v)`, `x.at[i].add(v)`: a new array with some elements replaced."""
        return At(self)

    # -- what writes into an ndarray

    sort = _refused("sort", "np.sort(x, axis)")
    partition = _refused("partition", "np.partition(x, kth, axis)")
    fill = _refused("fill", "np.full_like(x, value)")
    put = _refused("put", "x.at[indices].set(v)")
    itemset = _refused("itemset", "x.at[index].set(v)")
    resize = _refused("resize", "np.resize(x, shape)")
    setfield = _refused("setfield", "x.at[...].set(v)")

    # -- conversions that would cut the gradient

    def __bool__(self) -> bool:
        return bool(self._concrete("bool"))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._cut("np.asarray(x)")

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

    def tobytes(self, *args: Any) -> Any:
        raise self._cut("x.tobytes()")

    def view(self, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:
            return self
        raise self._cut("x.view(dtype)")

    def _concrete(self, wanted: str) -> Any:
        """The number for Python's control flow, where the trace has one."""
        raise self._cut(f"{wanted}(x)")

    def _cut(self, what: str) -> Exception:
        return cut(self, what)

    def __copy__(self) -> Tracer:
        return self

    def __deepcopy__(self, memo: object) -> Tracer:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise self._cut("pickling x")

    def __repr__(self) -> str:
        return f"<{self.aval} traced by {self._trace.name}>"

    def __format__(self, spec: str) -> str:
        """With a format the number, where the trace has one: a text is for people to read."""
        if spec and not self.shape:
            try:
                return format(self._concrete("format"), spec)
            except TracerConversionError:
                pass
        return repr(self)


def _absent(name: str, fix: str) -> property:
    def read(self: Tracer) -> NoReturn:
        raise AttributeError(f"a traced value has no .{name}, at {source.here()}\n  {fix}")

    return property(read)


# What else an ndarray has, and what users of PyTorch look for. A `__getattr__` would say the same,
# and make each attribute of each tracer five times slower to read: Python's fast paths are for
# classes without one.
_MISSING = dict.fromkeys(
    [name for name in dir(np.ndarray) if not name.startswith("_") and not hasattr(Tracer, name)],
    "There is no rule for it: write it with the functions that `python -m kinone rules` lists.",
)
_MISSING |= {
    "backward": "A gradient is what kinone.grad(f)(x) returns; nothing is called on the loss.",
    "detach": "Write kinone.stop_gradient(x).",
    "numpy": "Call NumPy's functions on x itself; to look at its number, print x.value.",
    "cpu": "Leave .cpu() away: arrays are NumPy's.",
}
for _name, _fix in _MISSING.items():
    setattr(Tracer, _name, _absent(_name, _fix))
