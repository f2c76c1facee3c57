"""What a layer is: a pair of pure functions, and the helpers that all families share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, ShapeDtype, Tracer, is_number, shape_dtype
from ..errors import TreeError
from ..random import Key

Params = dict[str, Any]
State = dict[str, Any]
# A layer of several inputs is given a tree of them.
InitFunction = Callable[[Key, Any], tuple[Params, State]]
ApplyFunction = Callable[[Params, State, Any, bool, Key | None], tuple[Any, State]]


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

    __slots__ = ("_apply", "_init", "frame", "label", "name")

    def __init__(self, init: InitFunction, apply: ApplyFunction, name: str = "Layer()") -> None:
        self._init = init
        self._apply = apply
        self.name = name
        self.label: str | None = None  # its name among other layers, see `named`
        self.frame = False  # whether it leaves the arithmetic to other layers

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
        except AttributeError as error:
            raise self._one_array(error, x) or error from None
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

        Raises `ShapeError` when the input does not fit, `TreeError` when the parameters do not.
        """
        if key is not None and not isinstance(key, Key):
            raise TypeError(
                f"{self.name}: apply wants a random key or None, got {key!r:.40}, "
                f"at {source.here()}\n"
                "  Write layer.apply(params, state, x, train=True, key=kinone.random.key(0))."
            )
        seen = None if calls.listener is None else calls.listener(self.name)
        try:
            if calls.around is None or self.frame:
                made: Any = self._apply(params, state, x, train, key)
            else:
                made = calls.around(self._apply, params, state, x, train, key)
        except AttributeError as error:
            raise self._one_array(error, x) or error from None
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

    def _one_array(self, error: AttributeError, x: Any) -> TypeError | None:
        """The error for a tree where one array is wanted, if that is what happened."""
        if error.obj is not x or not isinstance(x, (dict, list, tuple)):
            return None
        return TypeError(
            f"{self.name} takes one array, and got a {type(x).__name__}, at {source.here()}\n"
            "  Pass one of its leaves, or take the tree apart in nn.compose(children, forward)."
        )

    def __repr__(self) -> str:
        return self.name


def stateless(function: Callable[[Array], Array], name: str) -> Layer:
    """The layer without parameters that applies a function.

    >>> stateless(np.abs, "Abs()").apply({}, {}, np.array([-1.0]))
    (array([1.]), {})
    """
    return Layer(
        lambda key, x: ({}, {}),
        lambda params, state, x, train, key: (function(x), state),
        name,
    )


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
    found.label, found.frame = name, layer.frame
    return found


def describe(kind: str, *args: object, **options: tuple[object, object]) -> str:
    """`Conv(64, (3, 3), strides=2)`: each option is given as its value and its default."""
    shown = [repr(arg) for arg in args]
    shown += [f"{key}={value!r}" for key, (value, usual) in options.items() if value != usual]
    return f"{kind}({', '.join(shown)})"


def entry(tree: Any, key: str, layer: str) -> Array:
    """`params[key]`, or an error that says what is there instead."""
    try:
        return tree[key]
    except (KeyError, TypeError, IndexError):
        found = ", ".join(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
        raise TreeError(
            f"{layer} looks for {key!r} and finds {found or 'nothing'}, at {source.here()}\n"
            "  Pass the params and the state that this layer's init returned, in this order."
        ) from None


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
    kind: str = x.dtype.kind
    return x.dtype if kind == "f" else np.dtype(np.float32)
