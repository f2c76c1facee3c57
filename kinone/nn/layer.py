"""What a layer is: a pair of pure functions, and the helpers that all families share."""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from .. import source, tree
from ..core import (
    Array,
    ShapeDtype,
    Tracer,
    explain,
    is_bfloat16,
    is_number,
    shape_dtype,
    shape_of,
)
from ..errors import KinoneError, ShapeError, TreeError
from ..random import Key
from .casting import cast_floats, only_bfloat16

Params = dict[str, Any]
State = dict[str, Any]
# A layer of several inputs is given a tree of them.
InitFunction = Callable[[Key, Any], tuple[Params, State]]
ApplyFunction = Callable[[Params, State, Any, bool, Key | None], tuple[Any, State]]
# Of a layer without parameters: "exact", when it only chooses and moves numbers, so that it may run
# in any dtype; "linear", when its backward pass keeps no floating-point array.
Arithmetic = Literal["general", "linear", "exact"]


_TREES = (dict, list, tuple)


class _Calls(threading.local):
    """Who is told of each layer that is applied, and then of its output, see `summary`; and what
    applies those layers that are no frame of others, see `mixed_precision`."""

    listener: Callable[[str], Callable[[Any], None]] | None = None
    around: Callable[..., tuple[Any, State]] | None = None


calls = _Calls()


class Layer:
    """A pair of pure functions, `init` and `apply`; it holds no numbers itself.

        params, state = layer.init(key, x_shape)
        y, state      = layer.apply(params, state, x, train=False, key=None)

    `params` is what is trained, `state` what changes otherwise (the running averages of batch
    normalisation); both are dicts of arrays, `{}` where there is nothing. Shapes are inferred from
    the input's, so no layer is told its number of inputs. A layer of several inputs takes them as
    one tree, such as `{"query": q, "memory": m}`, and may return one.

    A layer of your own is two functions, `init(key, x)` with `x` a `ShapeDtype`, and
    `apply(params, state, x, train, key)`:

        >>> from kinone import random
        >>> def init(key, x):
        ...     return {"scale": np.ones(x.shape[-1], x.dtype)}, {}
        >>> def apply(params, state, x, train, key):
        ...     return x * params["scale"], state
        >>> scale = Layer(init, apply, "Scale()")
        >>> params, state = scale.init(random.key(0), (1, 3))
        >>> scale.apply(params, state, np.array([[1.0, 2.0, 3.0]]))
        (array([[1., 2., 3.]]), {})
    """

    __slots__ = ("_apply", "_init", "arithmetic", "frame", "label", "name")

    def __init__(self, init: InitFunction, apply: ApplyFunction, name: str = "Layer()") -> None:
        self._init = init
        self._apply = apply
        self.name = name
        self.label: str | None = None  # its name among other layers, see `named`
        # Whether it leaves the arithmetic to other layers, as one does under another name.
        inside = getattr(apply, "__self__", None)
        self.frame: bool = isinstance(inside, Layer) and inside.frame
        self.arithmetic: Arithmetic = "general"  # see `mixed_precision`

    def init(self, key: Key, x_shape: Any) -> tuple[Params, State]:
        """Initial parameters and state for inputs of this shape, batch axis included.

        `x_shape` is a shape, for float32 parameters; or an array or `ShapeDtype` such as
        `ShapeDtype((1, 28, 28, 1), "float64")`, for parameters of its dtype. For a layer of
        several inputs it is a tree of these: `{"query": (1, 8, 64), "memory": (1, 20, 64)}`.

        Raises `ShapeError` when the layer cannot take such an input.
        """
        if not isinstance(key, Key):
            raise TypeError(
                f"{self.name}: init wants a random key first, got {key!r:.40}, at {source.here()}\n"
                "  Write layer.init(kinone.random.key(0), x_shape)."
            )
        x = self._input(x_shape)
        try:
            made: Any = self._init(key, x)
        except Exception as error:
            self._explain(error, x)
            raise
        if not (_is_pair(made) and isinstance(made[0], Mapping) and isinstance(made[1], Mapping)):
            raise TypeError(
                f"{self.name}: its init function returned {_shown(made)}, and (params, state) is "
                f"wanted, at {source.here()}\n"
                "  Write return params, state: two dicts, {} where there is nothing."
            )
        params, state = made
        return params, state

    def apply(
        self, params: Params, state: State, x: Any, train: bool = False, key: Key | None = None
    ) -> tuple[Any, State]:
        """The layer's output and its next state.

        With `train`, dropout drops (and wants a `key`) and batch normalisation uses the batch.

        Raises `ShapeError` when the input does not fit, `TreeError` when the parameters do not,
        `TypeError` for a `train` that is a text.
        """
        if key is not None and not isinstance(key, Key):
            raise TypeError(
                f"{self.name}: apply wants a random key or None, got {key!r:.40}, "
                f"at {source.here()}\n"
                "  Write layer.apply(params, state, x, train=True, key=kinone.random.key(0))."
            )
        if isinstance(x, (np.ndarray, str, bytes)) and not is_number(x):
            raise TypeError(
                f"{self.name} takes arrays of numbers, and got {_shown(x)}, at {source.here()}\n"
                "  Write np.asarray(x, np.float32) where these are numbers; a mask is an argument."
            )
        if type(x) is not np.ndarray and hasattr(x, "detach"):
            raise TypeError(
                f"{self.name} takes NumPy's arrays, and got a {type(x).__name__} of PyTorch, "
                f"at {source.here()}\n  Write x.numpy(force=True)."
            )
        mode: Any = train
        if isinstance(mode, (str, Key, dict)):  # all true, "eval" as well; a key is key=…
            raise TypeError(
                f"{self.name}: train is {mode!r:.20}, and True or False is wanted, "
                f"at {source.here()}"
            )
        seen = None if calls.listener is None else calls.listener(self.name)
        try:
            if self.frame:
                made: Any = self._apply(params, state, x, train, key)
            elif calls.around is not None:
                made = calls.around(self, params, state, x, train, key)
            elif (narrow := only_bfloat16(x, params)) is not None:
                # NumPy makes float32 of bfloat16 and a Python number: here the dtype is kept.
                made = rounded(self, narrow, np.dtype(np.float32), params, state, x, train, key)
            else:
                made = self._apply(params, state, x, train, key)
        except Exception as error:
            self._explain(error, x)
            raise
        # A layer without state of its own may hand on whatever it was given.
        if not (_is_pair(made) and (made[1] is state or isinstance(made[1], Mapping))):
            raise TypeError(
                f"{self.name}: its apply function returned {_shown(made)}, and (y, state) is "
                f"wanted, at {source.here()}\n"
                "  Write return y, state: the output, and a dict, {} where there is no state."
            )
        y, state = made
        if seen is not None:
            seen(y)
        return y, state

    def _input(self, x: Any) -> Any:
        """The `ShapeDtype`s of an input in its tree: a tuple of numbers is a leaf, a shape."""

        def leaf(path: str, given: Any) -> ShapeDtype:
            if _is_shape(given):
                return ShapeDtype(given, np.float32)
            if is_number(given):
                return shape_dtype(given)
            where = f"{path}: " if path else ""
            raise TypeError(
                f"{self.name}: init wants the input's shape, and got {where}{given!r:.40}, "
                f"at {source.here()}\n"
                "  Write layer.init(key, (1, 28, 28, 1)), an array, or a tree of such."
            )

        return tree.map_with_path(leaf, x, is_leaf=_is_shape)

    def _explain(self, error: Exception, x: Any) -> None:
        """Raises the error for a tree where one array is wanted, if that is what happened; adds the
        layer and the user's line to an error that nobody foresaw."""
        if isinstance(error, AttributeError) and error.obj is x and isinstance(x, _TREES):
            raise TypeError(
                f"{self.name} takes one array, and got a {type(x).__name__}, at {source.here()}\n"
                "  Pass one of its leaves, or take the tree apart in nn.compose(children, forward)."
            ) from None
        told = isinstance(error, KinoneError) or source.here() in str(error)
        if not (told or hasattr(error, "_kinone_text") or hasattr(error, "_kinone_layer")):
            explain(error, self.name, [leaf for leaf in tree.leaves(x) if is_number(leaf)])

    def __repr__(self) -> str:
        return self.name


def stateless(
    function: Callable[[Array], Array], name: str, arithmetic: Arithmetic = "general"
) -> Layer:
    """The layer without parameters that applies a function.

    `arithmetic` tells `mixed_precision` what it needs not do: "exact" is for a function that only
    chooses and moves numbers, whatever their dtype; "linear" for one whose backward pass keeps no
    floating-point array.

    >>> stateless(np.abs, "Abs()").apply({}, {}, np.array([-1.0]))
    (array([1.]), {})
    """
    layer = Layer(
        lambda key, x: ({}, {}),
        lambda params, state, x, train, key: (function(x), state),
        name,
    )
    layer.arithmetic = arithmetic
    return layer


def rounded(
    layer: Layer,
    narrow: np.dtype[Any],
    wide: np.dtype[Any],
    params: Params,
    state: State,
    x: Any,
    train: bool,
    key: Key | None,
) -> Any:
    """What the layer's function returns, computed in `wide` and its output rounded to `narrow`."""
    inside = narrow if layer.arithmetic == "exact" else wide
    made: Any = layer._apply(cast_floats(params, inside), state, cast_floats(x, inside), train, key)
    return (cast_floats(made[0], narrow), made[1]) if _is_pair(made) else made


def frame(init: InitFunction, apply: ApplyFunction, name: str) -> Layer:
    """A layer that applies other layers and leaves the arithmetic to them."""
    layer = Layer(init, apply, name)
    layer.frame = True
    return layer


def named(name: str, layer: Layer) -> Layer:
    """The layer under a name of its own in `Sequential` and `Parallel`, where a keyword cannot say
    it: in a list that a loop makes, or between layers without a name.

        >>> from kinone import nn, random, tree
        >>> blocks = [named(f"block{i}", nn.Dense(2)) for i in range(2)]
        >>> params, state = nn.Sequential(*blocks).init(random.key(0), (1, 2))
        >>> tree.paths(params)[:2]
        ['block0/bias', 'block0/kernel']

    Raises `ValueError` for a name that is empty or has a "/", which parts the names of a path.
    """
    if not name or "/" in name:
        raise ValueError(
            f"a layer's name is a text without '/', and this is {name!r:.40}, at {source.here()}\n"
            '  Write named("block0", layer).'
        )
    found = Layer(layer._init, layer._apply, layer.name)
    found.label, found.frame, found.arithmetic = name, layer.frame, layer.arithmetic
    return found


def describe(kind: str, *args: object, **options: tuple[object, object]) -> str:
    """`Conv(64, (3, 3), strides=2)`: each option is given as its value and its default."""
    shown = [repr(arg) for arg in args]
    shown += [
        f"{key}={value!r}" for key, (value, usual) in options.items() if repr(value) != repr(usual)
    ]
    return f"{kind}({', '.join(shown)})"


def whole_number(value: Any, what: str, least: int = 1) -> int:
    """A hyper-parameter that counts something, as an int. Raises `ValueError` for what does not.

    >>> whole_number(np.int64(3), "features")
    3
    """
    try:
        found = least - 1 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        found = least - 1
    if found < least:
        wanted = f"an integer of at least {least}" if least > 1 else "a positive integer"
        raise ValueError(f"{what}={value!r:.40} is not {wanted}, at {source.here()}")
    return found


def real_number(value: Any, what: str, least: float = -math.inf) -> float:
    """A hyper-parameter as a Python number: `np.float64(0.1) * float32_array` would be float64.

    Raises `ValueError` for what is no real number, NaN for one, and for one below `least`.

    >>> real_number(np.float64(0.1), "rate")
    0.1
    """
    single = is_number(value) and shape_of(value) == () and not isinstance(value, (Tracer, complex))
    if not single or not value >= least:
        wanted = "a real number" if least == -math.inf else f"a number of at least {least:g}"
        raise ValueError(f"{what}={value!r:.40} is not {wanted}, at {source.here()}")
    return float(value)


def entry(tree: Any, key: str, layer: str, shape: tuple[int | None, ...] | None = None) -> Array:
    """`params[key]`, or an error that says what is there instead.

    With `shape` it has to be an array of that shape, in which None is any length: parameters of
    another layer would broadcast, or fit by chance, and give wrong numbers.
    """
    try:
        leaf: Array = tree[key]
    except (KeyError, TypeError, IndexError):
        found = ", ".join(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
        raise TreeError(
            f"{layer} looks for {key!r} and finds {found or 'nothing'}, at {source.here()}\n"
            "  Pass the params and the state that this layer's init returned, in this order."
        ) from None
    if shape is not None and not (is_number(leaf) and _fits(shape_of(leaf), shape)):
        wanted = str(shape).replace("None", "any")
        raise ShapeError(
            f"{layer}: {key!r} is {_shown(leaf)}, and numbers of shape {wanted} are wanted, "
            f"at {source.here()}\n"
            "  Pass the params and the state that this layer's init returned."
        )
    return leaf


def entries(tree: Any, layer: str, **shapes: tuple[int | None, ...] | None) -> list[Any]:
    """The entries of these names and shapes, and None for each that the layer goes without.

    Raises `TreeError` for an entry too many: what a layer does not use it was not made for.
    """
    found = [
        shape if shape is None else entry(tree, key, layer, shape) for key, shape in shapes.items()
    ]
    given = tree if isinstance(tree, Mapping) else {}
    if foreign := [repr(key) for key in given if shapes.get(key) is None]:
        raise TreeError(
            f"{layer} has no {', '.join(foreign)}, at {source.here()}\n"
            "  Pass the params and the state that this layer's init returned, in this order."
        )
    return found


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        want in (None, n) for n, want in zip(found, wanted, strict=True)
    )


def _is_pair(made: Any) -> bool:
    return isinstance(made, tuple) and len(made) == 2


def _shown(made: Any) -> str:
    """What came instead of a pair: `float64[2,3]`, `(float64[3], float64[3])`."""
    if isinstance(made, tuple):
        return f"({', '.join(map(_shown, made))})"
    if isinstance(made, (np.ndarray, np.generic, Tracer)):
        return str(shape_dtype(made))
    return "None" if made is None else f"a value of type {type(made).__name__}"


def _is_shape(x: Any) -> bool:
    """Whether a tuple or a list is a shape and not a tree; () is a scalar's."""
    return type(x) in (tuple, list) and all(isinstance(n, (int, np.integer)) for n in x)


def parameter_dtype(x: ShapeDtype) -> np.dtype[Any]:
    """The input's dtype where that is floating-point, float32 for integers."""
    dtype: np.dtype[Any] = x.dtype
    if dtype.kind == "f":
        return dtype.newbyteorder("=")
    return dtype if is_bfloat16(dtype) else np.dtype(np.float32)
