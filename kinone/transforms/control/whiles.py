"""`while_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import source, tree
from ...core import Array, is_number, leaf_error, shape_dtype
from ...errors import ControlFlowError
from ...graph import staging
from ..remat import checkpoint as remat
from .common import TracedTree, check_carry, differs, name_of, peek, staged_body, watched
from .while_primitive import bind_while


def while_loop(
    cond_fun: Callable[[Any], Array],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    checkpoint: int | None = None,
) -> Any:
    """`while cond_fun(val): val = body_fun(val)`.

    The value keeps its tree, shapes and dtypes; a Python number that no trip has touched stays one.
    It differentiates in both modes and to any order. In reverse mode the trips are recorded, and
    `checkpoint=k` records the value of every k-th trip alone and computes the rest again (in a
    traced function: of every trip). Under `vmap` the loop goes on while any example's does; an
    example whose own loop has ended keeps its value and computes nothing that its derivatives could
    see. In a traced function derivatives beyond the first of reverse mode are those of the loop's
    tangent map: a body with a `custom_vjp`, which has no forward mode, has none.

    Raises `ControlFlowError` (a `TypeError`) when `cond_fun` returns anything but one boolean, or
    the value changes its kind.

        >>> float(while_loop(lambda x: x < 100.0, lambda x: x * x, 3.0))
        6561.0
        >>> from kinone import grad
        >>> float(grad(lambda x: while_loop(lambda v: v < 100.0, lambda v: v * v, x))(3.0))
        17496.0
    """
    if checkpoint is not None and checkpoint < 1:
        raise ControlFlowError(f"checkpoint is {checkpoint}; 1 or more, at {source.here()}")
    if staging():
        return _staged_while(cond_fun, body_fun, init_val, checkpoint is not None)
    cond_fun, body_fun = watched(cond_fun), watched(body_fun)
    if checkpoint is not None:

        def segment(val: Any) -> Any:
            return _python_while(cond_fun, body_fun, val, checkpoint)

        return _python_while(cond_fun, remat(segment), init_val, None)
    return _python_while(cond_fun, body_fun, init_val, None)


def _ask(cond_fun: Callable[[Any], Array], val: Any) -> Array:
    going = cond_fun(val)
    known = shape_dtype(going) if is_number(going) else None
    if known is None or known.shape != () or known.dtype.kind != "b":
        raise ControlFlowError(
            f"the condition of while_loop is one boolean, and {name_of(cond_fun)} returned "
            f"{known or type(going).__name__}, at {source.here()}\n"
            "  Write a comparison (val > 0), and np.any or np.all around an array. The condition "
            "comes first: while_loop(cond_fun, body_fun, init_val)."
        )
    return going


def _python_while(
    cond_fun: Callable[[Any], Array], body_fun: Callable[[Any], Any], val: Any, limit: int | None
) -> Any:
    trips = 0
    while limit is None or trips < limit:
        going = _ask(cond_fun, val)
        numbers = peek(going)
        if numbers is None or differs(going):
            return _staged_while(cond_fun, body_fun, val, limit is not None)
        if not numbers:
            break
        after = body_fun(val)
        val = check_carry("while_loop", val, after)
        trips += 1
    return val


def _staged_while(
    cond_fun: Callable[[Any], Array], body_fun: Callable[[Any], Any], val: Any, checkpoint: bool
) -> Any:
    carry, carry_tree = tree.flatten(val)
    for path, leaf in zip(tree.treedef_paths(carry_tree), carry, strict=True):
        if not is_number(leaf):
            raise leaf_error(path or "init_val", leaf, "while_loop")
    in_tree = tree.structure((val,))
    made, start = staged_body(
        "while_loop", body_fun, carry, [], in_tree, carry_tree, lambda result: result
    )

    def ask(value: Any) -> Array:
        return _ask(cond_fun, value)

    ask.__name__ = name_of(cond_fun)
    asking = TracedTree(ask, in_tree, [shape_dtype(x) for x in start])
    found = bind_while(
        asking.program, made.program, asking.captured, made.captured, start, checkpoint
    )
    return tree.unflatten(carry_tree, found)
