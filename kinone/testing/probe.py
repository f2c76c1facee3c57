"""What NumPy's functions do on traced values, found by calling them on one that takes notes.

`python -m kinone rules` shows it: which primitives a function is composed of, and whether a
derivative goes through.
"""

from __future__ import annotations

import itertools
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import tree
from ..core import (
    Array,
    Primitive,
    ShapeDtype,
    Trace,
    Tracer,
    running,
    shape_dtype,
)
from ..core.messages import full_name
from ..core.protocol import AtIndex, rule_of
from ..errors import TracerAssignmentError, TracerConversionError


class Answer(NamedTuple):
    """`primitives` in the order of their first use; `differentiable`, or constant; `refused` where
    the function says what to write instead."""

    primitives: tuple[str, ...]
    differentiable: bool
    refused: bool = False


def probe(function: Callable[..., Any]) -> Answer | None:
    """What a function of NumPy's does on traced values; None if no known call fits it.

    >>> probe(np.tanh)
    Answer(primitives=('tanh',), differentiable=True, refused=False)
    >>> probe(np.argmax).differentiable
    False
    """
    found: list[Answer] = []
    calls = _SPECIAL.get(title(function)) or list(_calls())
    # What takes no floating-point numbers (`np.invert`) shows what it is on traced integers.
    refused: Answer | None = None
    for kinds, call in itertools.product(("fc", "fcib"), calls):
        if found and kinds != "fc":
            break
        answer = _called(rule_of(function), call, kinds)
        if answer is None:
            continue
        if answer.refused:
            refused = answer
        elif answer.differentiable and answer.primitives:
            return answer
        else:
            found.append(answer)
    if not found:
        return refused
    used = next((answer.primitives for answer in found if answer.primitives), ())
    return Answer(used, any(answer.differentiable for answer in found))


def _called(function: Callable[..., Any], call: Sequence[Any], kinds: str) -> Answer | None:
    """The answer of one call, in which the arrays of some kinds of dtype are traced."""
    trace = _Notes()
    tracers: list[Tracer] = []

    def traced(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        x = x.copy()  # a function may write into what it is given
        if x.dtype.kind not in kinds:
            return x
        tracers.append(_NotingTracer(trace, x))
        return tracers[-1]

    args = tree.map(traced, tuple(call))
    if not tracers:
        return None
    with running(trace), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = function(*args)
        except (TracerAssignmentError, TracerConversionError):
            return Answer((), False, refused=True)
        except Exception:
            return None  # this is not how it is called
    leaves = _leaves(result)
    return Answer(
        tuple(dict.fromkeys(trace.used)), any(isinstance(leaf, _NotingTracer) for leaf in leaves)
    )


def title(function: Callable[..., Any]) -> str:
    """`np.linalg.norm`, `np.add.at`, `x[i]`: how a user writes it."""
    if function in _OPERATORS:
        return _OPERATORS[function]
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"np.{owner.__name__}.{function.__name__}"
    return full_name(function)


_OPERATORS: dict[Any, str] = {
    operator.getitem: "x[i]",
    operator.setitem: "x.at[i].set(v)",
    AtIndex: "x.at[i].add(v) and the like",
    iter: "iter(x)",
}


# ---- the value that takes notes ------------------------------------------------------------------


class _NotingTracer(Tracer):
    """A concrete value."""

    __slots__ = ("value",)

    def __init__(self, trace: Trace, value: Array) -> None:
        self._trace = trace
        self.value = value

    @property
    def aval(self) -> ShapeDtype:
        return shape_dtype(self.value)

    def _concrete(self, wanted: str) -> Any:
        return self.value


class _Notes(Trace):
    """Runs each primitive as it is, and hands on a plain value where no derivative goes on."""

    name = "probe"

    def __init__(self) -> None:
        super().__init__()
        self.used: list[str] = []

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        self.used.append(primitive.name)
        values = [x.value if isinstance(x, _NotingTracer) else x for x in args]
        y = primitive(*values, **params)
        if primitive.vjp is None:
            return y
        if primitive.multiple:
            return tuple([self.wrapped(each) for each in y])
        return self.wrapped(y)

    def wrapped(self, y: Array) -> Any:
        return _NotingTracer(self, y) if shape_dtype(y).dtype.kind in "fc" else y


# ---- calls ---------------------------------------------------------------------------------------

_MATRIX = np.array([[0.9, 0.2, 0.1], [0.2, 0.8, 0.3], [0.1, 0.3, 0.7]])
_ROW = np.array([0.1, 0.4, 0.8])


_JOINED = (([_MATRIX, _MATRIX],),)
_SCALAR = ((_ROW[0][...],),)
_COMPLEX = ((_MATRIX + 1j * np.eye(3),),)
_CUBE = np.stack([_MATRIX, _MATRIX, _MATRIX])
# Functions of which another call than the likeliest shows what they do.
_SPECIAL: dict[str, Sequence[tuple[Any, ...]]] = {
    **dict.fromkeys(
        [f"np.{name}" for name in ("concatenate", "stack", "hstack", "vstack", "dstack")], _JOINED
    ),
    **dict.fromkeys(["np.column_stack", "np.row_stack", "np.block"], _JOINED),
    "np.squeeze": ((_ROW[None],),),
    **dict.fromkeys(["np.atleast_1d", "np.atleast_2d", "np.atleast_3d"], _SCALAR),
    **dict.fromkeys(["np.real", "np.imag", "np.conjugate", "np.iscomplex"], _COMPLEX),
    **dict.fromkeys(["np.isreal", "np.real_if_close"], _COMPLEX),
    "np.full": (((2, 3), _ROW),),
    "np.apply_over_axes": ((np.sum, _MATRIX, (0,)),),
    "np.unravel_index": ((np.array([1, 4]), (3, 3)),),
    "np.ravel_multi_index": ((np.array([[1, 0], [2, 2]]), (3, 3)),),
    "np.dsplit": ((_CUBE, 3),),
    "x.at[i].add(v) and the like": ((_MATRIX, 0, "add", _ROW),),
}


def _calls() -> Iterator[tuple[Any, ...]]:
    """Arguments, likeliest first; of floating arrays tracers are made."""
    x, v = _MATRIX, _ROW
    i, b = np.array([[0, 1, 1]]), np.array([True, False, True])
    yield from [(x,), (x, x), (v,), (v, v), ([x, x],), (b, x, x), (x, 1), (x, 2), (x, x, x)]
    yield from [(x, 0.5), (x, (1, 0)), (x, (9,)), (x, np.float32), (x, (2, 3, 3)), (x, 0, 1)]
    yield from [(x, 0.0, 1.0), (x, i, 0), (x, i, v), (x, 0, v), (x, v, v), (v, 3, v), (v, v, v)]
    yield from [("ij,jk->ik", x, x), ([b], [v]), (i, [v, v]), (v, [b], [_twice]), (b, x), (i, x)]
    yield from [(_twice, 0, x), (x, i), (x, [0, 2]), (x, 0, 0.5), (x, i, x, 0), (v, v, 2)]
    yield from [(x, i, v, 0), (x, [1], 0), (x, b, 0), (x, (3, 3), (0, 1)), (x, 3, 0)]
    yield from [(i,), (i, i), (i, 1), (b,), (b, b)]


def _twice(x: Array) -> Array:
    return 2 * x


def _leaves(value: Any) -> list[Any]:
    """The arrays of a result, which may be a tuple with names."""
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]
