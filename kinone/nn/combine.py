"""Models from layers: one after the other, side by side, or in any way that a function can say.

All are `compose`, which threads parameters, state and keys under the children's names. So a leaf of
`params` is found at a path such as `stage1/block0/conv1/kernel`, in error messages, checkpoints and
masks alike; and a child's first parameters depend on its name and the key, not on its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .. import source, tree
from ..core import Array, shape_dtype, shape_error, shape_of
from ..errors import TreeError
from ..graph import eval_shape
from ..random import Key
from .layer import Layer, Params, State, frame


class Call(Protocol):
    """Applies the child of a name to its input, an array or a tree of several."""

    def __call__(self, name: str, x: Any, /) -> Any: ...


def compose(
    children: Mapping[str, Layer], forward: Callable[[Call, Any], Any], name: str = ""
) -> Layer:
    """The layer that computes `forward(call, x)`, where `call("conv", x)` applies a child.

    Everything else is threaded behind it: each child's parameters and state are found under its
    name, its key is `key[name]`, and its shapes come from running `forward` once on a value without
    numbers. A child called twice is shared: one set of parameters, two uses. `x`, and what a child
    is given or returns, may be a tree of arrays.

    Raises `ValueError` when `forward` does not call every child, `TreeError` when parameters are
    not those of the children. An error inside a child names the child's path.

        >>> from kinone import nn, random, tree
        >>> gate = compose(
        ...     {"value": nn.Dense(4), "gate": nn.Dense(4)},
        ...     lambda call, x: call("value", x) * np.tanh(call("gate", x)),
        ... )
        >>> params, state = gate.init(random.key(0), (1, 3))
        >>> tree.paths(params)
        ['gate/bias', 'gate/kernel', 'value/bias', 'value/kernel']
    """
    children = dict(children)
    for child_name, child in children.items():
        check_layer(child, repr(child_name))
        if not child_name or "/" in child_name:
            raise ValueError(
                f"a layer's name is a text without '/', which parts the names of a path, and this "
                f"is {child_name!r:.40}, at {source.here()}"
            )
    name = name or f"compose({', '.join(children)})"

    def init(key: Key, x: Any) -> tuple[Params, State]:
        made: dict[str, tuple[Params, State]] = {}

        def call(child_name: str, x: Any, /) -> Any:
            child = _child(children, child_name)
            try:
                with source.named_scope(child_name):
                    if child_name not in made:
                        made[child_name] = child.init(key[child_name], tree.map(shape_dtype, x))
                    return child.apply(*made[child_name], x)[0]
            except Exception as error:
                _locate(error, child_name, child)
                raise

        eval_shape(lambda x: forward(call, x), x)
        if forgotten := children.keys() - made.keys():
            unused = sorted(forgotten)
            raise ValueError(f"{name}: forward does not call {unused}, at {source.here()}")
        # Where there is nothing, there is no entry.
        params = {each: made[each][0] for each in children if made[each][0]}
        return params, {each: made[each][1] for each in children if made[each][1]}

    def apply(
        params: Params, state: State, x: Any, train: bool, key: Key | None
    ) -> tuple[Any, State]:
        _check_names(name, "params", params, children)
        _check_names(name, "state", state, children)
        state = dict(state)
        uses: dict[str, int] = {}

        def call(child_name: str, x: Any, /) -> Any:
            child = _child(children, child_name)
            use = uses[child_name] = uses.get(child_name, -1) + 1
            child_key = None if key is None else key[child_name]
            if child_key is not None and use:
                child_key = child_key.fold_in(use)
            try:
                with source.named_scope(child_name):
                    y, new = child.apply(
                        params.get(child_name, {}), state.get(child_name, {}), x, train, child_key
                    )
            except Exception as error:
                _locate(error, child_name, child)
                raise
            if new:
                state[child_name] = new
            return y

        return forward(call, x), state

    return frame(init, apply, name)


def Sequential(*layers: Layer, **named: Layer) -> Layer:
    """Layers one after the other, each on the result of the one before.

    Keywords are the children's names; layers without one are named by their kind and number:

        >>> from kinone import nn, random, tree
        >>> model = Sequential(
        ...     nn.Conv(8, (3, 3)), nn.BatchNorm(), nn.Relu(), nn.GlobalAvgPool(),
        ...     head=nn.Dense(10),
        ... )
        >>> params, state = model.init(random.key(0), (1, 28, 28, 1))
        >>> tree.paths(state)
        ['batchnorm0/mean', 'batchnorm0/var']
        >>> tree.paths(params)[-2:]
        ['head/bias', 'head/kernel']
        >>> y, state = model.apply(params, state, np.zeros((2, 28, 28, 1), np.float32))
        >>> y.shape
        (2, 10)
    """
    children = _name(layers, named)

    def forward(call: Call, x: Array) -> Array:
        for name in children:
            x = call(name, x)
        return x

    return compose(children, forward, f"Sequential({', '.join(children)})")


def Residual(body: Layer, shortcut: Layer | None = None) -> Layer:
    """A body that learns only the difference: y = body(x) + x, or body(x) + shortcut(x).

    `shortcut` is for a body that changes the shape. The children are named "body" and "shortcut".

    Source: He et al. 2015, arXiv:1512.03385.

        >>> from kinone import nn
        >>> Residual(nn.Activation(np.square)).apply({}, {}, np.array([3.0]))[0]
        array([12.])
    """

    def added(y: Array, x: Array) -> Array:
        if shape_of(y) != shape_of(x):
            raise shape_error("Residual", "body and shortcut differ in shape: no sum of them", y, x)
        return y + x

    if shortcut is None:
        return compose(
            {"body": body}, lambda call, x: added(call("body", x), x), f"Residual({body})"
        )
    return compose(
        {"body": body, "shortcut": shortcut},
        lambda call, x: added(call("body", x), call("shortcut", x)),
        f"Residual({body}, {shortcut})",
    )


def _concatenate(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts, axis=-1)


def Parallel(
    *layers: Layer, combine: Callable[[Sequence[Array]], Array] = _concatenate, **named: Layer
) -> Layer:
    """Layers side by side on the same input, their results combined, by default concatenated along
    the last axis; `combine=sum` adds them.

        >>> from kinone import nn
        >>> both = Parallel(nn.Relu(), nn.Tanh())
        >>> both.apply({}, {}, np.zeros((1, 3)))[0].shape
        (1, 6)
    """
    children = _name(layers, named)
    return compose(
        children,
        lambda call, x: combine([call(name, x) for name in children]),
        f"Parallel({', '.join(children)})",
    )


def _name(layers: Sequence[Any], named: Mapping[str, Layer]) -> dict[str, Layer]:
    """Names for layers that have none: their kind in lower case and a number for each kind."""
    children: dict[str, Layer] = {}
    counts: dict[str, int] = {}

    def add(name: str, layer: Layer) -> None:
        if name in children:
            raise ValueError(
                f"two layers have the name {name!r}, at {source.here()}\n"
                "  Give one of them another: nn.named(name, layer)."
            )
        children[name] = layer

    for layer in layers:
        label = layer.label if isinstance(layer, Layer) else None
        if label is None:
            text = layer.name if isinstance(layer, Layer) else type(layer).__name__
            found = re.match(r"\w+", text)
            kind = found.group().lower() if found else "layer"
            number = counts[kind] = counts.get(kind, -1) + 1
            label = f"{kind}{number}"
        add(label, layer)
    for name, layer in named.items():
        add(name, layer)
    return children


def check_layer(child: Any, what: str) -> None:
    """Raises `TypeError` for what is no layer: a function, a list of layers, an uncalled `Relu`."""
    if not isinstance(child, Layer):
        raise TypeError(
            f"{what} is a {type(child).__name__}, and a layer is wanted, "
            f"at {source.here()}\n  {_hint(child)}"
        )


def _hint(child: Any) -> str:
    """What to write in place of a child that is no layer."""
    if isinstance(child, (list, tuple)):
        return "Write Sequential(*layers) for a list of layers."
    returns = getattr(child, "__annotations__", {}).get("return")
    if returns is Layer or returns in ("Layer", "nn.Layer"):  # a constructor that was not called
        package = "nn." if child.__module__.startswith(f"{__package__}.") else ""
        return f"Write {package}{child.__name__}()."
    return "Write nn.Activation(f) for a function f of one array."


def _child(children: Mapping[str, Layer], name: str) -> Layer:
    if name not in children:
        there = ", ".join(children)
        raise ValueError(f"there is no child {name!r} among {there}, at {source.here()}")
    return children[name]


def _check_names(layer: str, what: str, tree: Any, children: Mapping[str, Layer]) -> None:
    problem = None
    if not isinstance(tree, Mapping):
        problem = f"are a {type(tree).__name__}, not a dict"
    elif foreign := sorted(map(str, tree.keys() - children.keys())):
        problem = f"have {', '.join(foreign)}, and the children are {', '.join(children)}"
    if problem:
        raise TreeError(
            f"the {what} passed to {layer} {problem}, at {source.here()}\n"
            "  Pass the params and the state that this layer's init returned, in this order."
        )


def _locate(error: Exception, name: str, child: Layer) -> None:
    """Adds to an error's message the path of the layer that it comes from."""
    if len(error.args) != 1 or type(error.args[0]) is not str or isinstance(error, KeyError):
        return
    text, path, layer = getattr(error, "_kinone_layer", (error.args[0], "", child.name))
    path = f"{name}/{path}" if path else name
    error._kinone_layer = (text, path, layer)  # type: ignore[attr-defined]
    error.args = (f"{text}\n  in layer {path}: {layer}",)
