"""The protocol: a gradient transformation is a pair of pure functions, and pairs make chains."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import source, tree
from ..core import shape_dtype
from ..errors import TreeError
from .leaves import check_gradients, check_leaves, map_leaves, zip_leaves

Params = Any
Updates = Any
State = dict[str, Any]
Init = Callable[[Params], State]
Update = Callable[..., tuple[Updates, State]]


class _Pair(NamedTuple):
    init: Init
    update: Update


class GradientTransformation(_Pair):
    """A pair of pure functions that turns gradients into something better.

        state = transformation.init(params)
        updates, state = transformation.update(gradients, state, params)

    The state is a dict. `updates` has the tree, shapes and dtypes of the gradients; what comes last
    in a chain has made it a step to *add* to the parameters (`apply_updates`). Nothing that goes in
    is changed, and nothing that comes out shares memory with it. `name` is the key of the state in
    a `chain`. What some transformations want beside these three, `update` takes by name
    (`value=loss` for `reduce_on_plateau`; `value=`, `grad=` and `value_fn=` for `lbfgs`) and hands
    on to every link; the others do without. Any pair of functions with these signatures makes one:

        >>> double = GradientTransformation(
        ...     lambda params: {}, lambda updates, state, params=None: (2 * updates, state)
        ... )
        >>> updates, state = double.update(1.5, double.init(0.0))
        >>> updates
        3.0
    """

    name: str
    parts: tuple[tuple[str, GradientTransformation], ...]
    step: Update  # `update` without the checks and copies that a link inside a chain does not need

    def __new__(cls, init: Init, update: Update, name: str = "transform") -> GradientTransformation:
        self = super().__new__(cls, init, update)
        self.name = name
        self.parts = ()
        self.step = _with_extra(update)
        return self

    def __repr__(self) -> str:
        inner = ", ".join(name for name, _ in self.parts)
        return f"<GradientTransformation {self.name}{f': {inner}' if inner else ''}>"


def transformation(name: str, init: Init, step: Update) -> GradientTransformation:
    """A transformation whose `init` and `update` check their trees and own their results."""

    def checked_init(params: Params) -> State:
        check_leaves(name, params)
        return init(params)

    made = GradientTransformation(checked_init, step, name)

    def update(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        if params is not None:
            zip_leaves(name, "gradients", updates, ("parameters", params))
        check_gradients(name, updates, params)
        return _owned(made.step(updates, state, params, **extra), (updates, state, params))

    checked = GradientTransformation(checked_init, update, name)
    checked.step = made.step
    return checked


def _with_extra(update: Update) -> Update:
    """`update` as one that takes any arguments by name, and gets those that it has a name for."""
    named = list(inspect.signature(update).parameters.values())
    if any(each.kind is each.VAR_KEYWORD for each in named):
        return update
    known = {each.name for each in named[3:]}

    def step(updates: Updates, state: State, params: Params | None = None, **extra: Any) -> Any:
        taken = {key: value for key, value in extra.items() if key in known}
        return update(updates, state, params, **taken)

    return step


def needs_params(name: str, params: Params | None) -> Params:
    """The parameters; raises `ValueError` where `update` was called without."""
    if params is None:
        raise ValueError(
            f"{name} needs the parameters, at {source.here()}\n"
            "  Write updates, state = optimizer.update(gradients, state, params)."
        )
    return params


def stateless(name: str, f: Callable[[Updates, Params | None], Updates]) -> GradientTransformation:
    """A transformation without state: `f(updates, params)`."""
    return transformation(
        name, lambda params: {}, lambda updates, state, params=None: (f(updates, params), state)
    )


def _owned(result: Any, given: Any) -> Any:
    """The result with a copy of each array that it shares with `given` or holds twice."""
    seen = {id(leaf) for leaf in tree.leaves(given) if isinstance(leaf, np.ndarray)}
    leaves, treedef = tree.flatten(result)
    copied = False
    for number, leaf in enumerate(leaves):
        if isinstance(leaf, np.ndarray):
            if id(leaf) in seen:
                leaves[number] = leaf.copy()
                copied = True
            seen.add(id(leaf))
    return tree.unflatten(treedef, leaves) if copied else result


Link = GradientTransformation | tuple[str, GradientTransformation]


def chain(*transforms: Link, name: str = "chain") -> GradientTransformation:
    """Transformations one after the other; the state is a dict with one entry for each, by name.

    A transformation has a name of its own ("adam", "clip", "decay", "lr"); a pair `(name,
    transformation)` gives it another. A chain within a chain is spliced into it, unless a pair
    names it: then its states stand together below that name. The second of two equal names becomes
    `clip_2`, and so on.

        >>> import kinone.optim as optim
        >>> optimizer = chain(optim.clip_by_global_norm(1.0), optim.adam(1e-3))
        >>> state = optimizer.init({"w": np.zeros(3)})
        >>> list(state), int(state["adam"]["step"]), float(state["lr"]["value"])
        (['clip', 'adam', 'lr'], 0, 0.001)

    Raises `ValueError` when two pairs have the same name, `TypeError` for what is no
    transformation, `TreeError` for a state that is another chain's.
    """
    parts = _name_parts(transforms)
    names = [name for name, _ in parts]

    def init(params: Params) -> State:
        return {key: part.init(params) for key, part in parts}

    def step(updates: Updates, state: Any, params: Params | None = None, **extra: Any) -> Any:
        if not isinstance(state, dict) or set(state) != set(names):
            got = list(state) if isinstance(state, dict) else type(state).__name__
            raise TreeError(
                f"{name}: this is not a state that its init made: it has {got}, and the chain is "
                f"{names}, at {source.here()}"
            )
        new_state = {}
        for key, part in parts:
            updates, new_state[key] = part.step(updates, state[key], params, **extra)
        return updates, new_state

    made = transformation(name, init, step)
    made.parts = parts
    return made


named_chain = chain  # optax's name where every link has a name


def _name_parts(transforms: tuple[Any, ...]) -> tuple[tuple[str, GradientTransformation], ...]:
    parts: list[tuple[str, GradientTransformation]] = []
    taken: set[str] = set()

    def add(key: str, part: GradientTransformation) -> None:
        taken.add(key)
        parts.append((key, part))

    for link in transforms:
        if isinstance(link, GradientTransformation):
            for own_name, part in link.parts or ((link.name, link),):
                key, number = own_name, 1
                while key in taken:
                    number += 1
                    key = f"{own_name}_{number}"
                add(key, part)
        elif isinstance(link, tuple) and len(link) == 2 and isinstance(link[0], str):
            if link[0] in taken:
                raise ValueError(
                    f"chain has two transformations named {link[0]!r}, at {source.here()}"
                )
            if not isinstance(link[1], GradientTransformation):
                raise TypeError(
                    f"{link[0]!r} in chain is {link[1]!r}, not a transformation, at {source.here()}"
                )
            add(*link)
        else:
            raise TypeError(
                f"chain takes transformations and (name, transformation) pairs, got {link!r}, "
                f"at {source.here()}"
            )
    return tuple(parts)


def apply_updates(params: Params, updates: Updates) -> Params:
    """`params + updates`, leaf by leaf, in the parameters' dtypes.

    >>> apply_updates({"w": np.ones(2, np.float32)}, {"w": np.full(2, -0.25)})
    {'w': array([0.75, 0.75], dtype=float32)}

    Raises `TreeError` or `ShapeError` when the trees do not fit, naming the leaf.
    """

    def add(u: Any, p: Any, out: Any) -> Any:
        dtype = shape_dtype(p).dtype
        if shape_dtype(u).dtype == dtype:
            return (np.add(p, u, out=out[0]),)
        return ((p + u).astype(dtype),)

    columns = zip_leaves("apply_updates", "updates", updates, ("parameters", params))
    found = map_leaves(add, *columns)
    return tree.unflatten(tree.structure(params), [each[0] for each in found])
