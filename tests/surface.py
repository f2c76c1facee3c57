"""How a function of NumPy's surface is tested: values, shapes and dtypes under every
transformation against plain NumPy, derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import kinone as kn
from kinone.testing import check_grads

Function = Callable[..., Any]


def same(got: Any, want: Any, *, exact: bool = False) -> None:
    """Equal trees of arrays: shape, dtype, and values up to rounding."""
    found, wanted = kn.tree.leaves(got), kn.tree.leaves(want)
    assert len(found) == len(wanted), f"{len(found)} results, want {len(wanted)}"
    for a, b in zip(found, wanted, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, f"shape {a.shape}, want {b.shape}"
        assert a.dtype == b.dtype, f"dtype {a.dtype}, want {b.dtype}"
        if exact or b.dtype.kind not in "fc":
            np.testing.assert_array_equal(a, b)
        else:
            tolerance = 4 * float(np.finfo(b.dtype).eps) * 8
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def check_values(f: Function, *args: Any, graph: bool = True, vmap: bool = True) -> None:
    """`f` on traced values gives what `f` gives on plain ones."""
    want = f(*args)
    same(kn.vjp(f, *args)[0], want)
    tangents = kn.tree.map(np.zeros_like, args)
    same(kn.jvp(f, args, tangents)[0], want)
    if graph:
        program = kn.graph(f)(*args)
        for atom, leaf in zip(program.outputs, kn.tree.leaves(want), strict=True):
            leaf = np.asarray(leaf)
            assert (atom.aval.shape, atom.aval.dtype) == (leaf.shape, leaf.dtype)
        same(program(*args), want)
        same(kn.jit(f)(*args), want)
    if vmap:
        check_vmap(f, *args)


def check_vmap(f: Function, *args: Any) -> None:
    """`vmap(f)` gives what a loop gives, with all arguments mapped, and each alone."""
    batches = [np.stack([np.asarray(x), _other(x), _other(_other(x))]) for x in args]
    choices = [tuple(range(len(args)))]
    if len(args) > 1:
        choices += [(i,) for i in range(len(args))]
    for chosen in choices:
        axes = tuple([0 if i in chosen else None for i in range(len(args))])
        given = [
            b if i in chosen else x for i, (b, x) in enumerate(zip(batches, args, strict=True))
        ]
        rows = [
            f(
                *[
                    b[k] if i in chosen else x
                    for i, (b, x) in enumerate(zip(given, args, strict=True))
                ]
            )
            for k in range(3)
        ]
        want = kn.tree.map(lambda *each: np.stack([np.asarray(a) for a in each]), *rows)
        same(kn.vmap(f, in_axes=axes)(*given), want)


def _other(x: Any) -> Any:
    """Another array like it: the same elements in another order, so indices stay in bounds."""
    x = np.asarray(x)
    return np.roll(x.reshape(-1), 1).reshape(x.shape)


def check_everything(
    f: Function, *args: Any, order: int = 2, graph: bool = True, vmap: bool = True
) -> None:
    """Values, shapes and dtypes under every transformation; derivatives of two orders."""
    check_values(f, *args, graph=graph, vmap=vmap)
    check_grads(f, args, order=order)
    check_vmapped_gradient(f, args) if vmap else None


def check_vmapped_gradient(f: Function, args: Sequence[Any]) -> None:
    """The pullback of a batch is the batch of pullbacks."""
    batches = [np.stack([np.asarray(x), _other(x)]) for x in args]
    leaves = kn.tree.leaves(f(*args))
    cotangents = [np.cos(np.arange(np.size(y)) + 1.0).reshape(np.shape(y)) for y in leaves]
    kinds = [np.asarray(y).dtype.kind for y in leaves]

    def pulled(*xs: Any) -> Any:
        def chosen(*xs: Any) -> Any:
            return [y for y, kind in zip(kn.tree.leaves(f(*xs)), kinds, strict=True) if kind == "f"]

        return kn.vjp(chosen, *xs)[1](
            [g for g, k in zip(cotangents, kinds, strict=True) if k == "f"]
        )

    rows = [pulled(*[b[k] for b in batches]) for k in range(2)]
    want = kn.tree.map(lambda *each: np.stack([np.asarray(a) for a in each]), *rows)
    got = kn.vmap(pulled)(*batches)
    for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
