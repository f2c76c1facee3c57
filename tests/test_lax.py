"""`kinone.lax` against `jax.lax`: collectives under every transformation, thin functions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import kinone as kn
from kinone import lax
from kinone.core import shape_dtype

jax.config.update("jax_enable_x64", True)
pytestmark = pytest.mark.oracle

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))
Y = rng.normal(size=(3,))


def close(got: Any, want: Any) -> None:
    a, b = kn.tree.leaves(got), jax.tree.leaves(want)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


# ---- collectives ---------------------------------------------------------------------------------

RING = [(0, 1), (1, 2), (2, 3), (3, 0)]

COLLECTIVES: dict[str, Any] = {
    "psum": lambda np, lax, x: np.sin(x) * lax.psum(x * x, "i"),
    "psum of a tree": lambda np, lax, x: lax.psum({"a": x, "b": (x[0], 1.0)}, "i"),
    "psum of a constant": lambda np, lax, x: x * lax.psum(Y, "i") + lax.psum(2, "i"),
    "pmean": lambda np, lax, x: (x - lax.pmean(x, "i")) ** 2,
    "a batch norm": lambda np, lax, x: (
        (x - lax.pmean(x, "i")) / np.sqrt(lax.pmean((x - lax.pmean(x, "i")) ** 2, "i") + 1e-3)
    ),
    "axis_index": lambda np, lax, x: x * lax.axis_index("i"),
    "ppermute": lambda np, lax, x: np.sin(lax.ppermute(x, "i", RING)) * x,
    "all_gather": lambda np, lax, x: np.sum(np.cos(lax.all_gather(x, "i")) * x),
    "all_gather, tiled": lambda np, lax, x: lax.all_gather(x, "i", axis=0, tiled=True) * 2,
    "all_gather along": lambda np, lax, x: lax.all_gather(x, "i", axis=1),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives(name: str) -> None:
    def ours(x: Any) -> Any:
        return COLLECTIVES[name](np, lax, x)

    def theirs(x: Any) -> Any:
        return COLLECTIVES[name](jax.numpy, jax.lax, x)

    want = jax.vmap(theirs, axis_name="i")(X)
    close(kn.vmap(ours, axis_name="i")(X), want)
    close(kn.jit(kn.vmap(ours, axis_name="i"))(X), want)
    close(kn.vmap(kn.jit(ours), axis_name="i")(X), want)

    def total(lib: Any, vmap: Any, f: Any) -> Any:
        def function(x: Any) -> Any:
            leaves = (
                jax.tree.leaves(vmap(f, axis_name="i")(x))
                if lib is jax.numpy
                else (kn.tree.leaves(vmap(f, axis_name="i")(x)))
            )
            return sum(lib.sum(lib.sin(y)) for y in leaves)

        return function

    of_all = jax.grad(total(jax.numpy, jax.vmap, theirs))(X)
    close(kn.grad(total(np, kn.vmap, ours))(X), of_all)
    close(kn.grad(total(np, kn.vmap, kn.jit(ours)))(X), of_all)
    close(kn.jit(kn.grad(total(np, kn.vmap, ours)))(X), of_all)
    close(
        kn.jvp(total(np, kn.vmap, ours), (X,), (X,)),
        jax.jvp(total(jax.numpy, jax.vmap, theirs), (X,), (X,)),
    )

    # Inside of the vmap, where psum's transpose is psum.
    def each(lib: Any, leaves: Any, f: Any) -> Any:
        return lambda x: sum(lib.sum(lib.sin(y)) for y in leaves(f(x)))

    inside = jax.vmap(jax.grad(each(jax.numpy, jax.tree.leaves, theirs)), axis_name="i")(X)
    mine = each(np, kn.tree.leaves, ours)
    close(kn.vmap(kn.grad(mine), axis_name="i")(X), inside)
    close(kn.jit(kn.vmap(kn.grad(mine), axis_name="i"))(X), inside)
    close(kn.vmap(kn.jit(kn.grad(mine)), axis_name="i")(X), inside)
    close(kn.vmap(kn.grad(kn.jit(mine)), axis_name="i")(X), inside)


@pytest.mark.parametrize("f", [lax.pmax, lax.pmin])
def test_extrema(f: Any) -> None:
    theirs = {lax.pmax: jax.lax.pmax, lax.pmin: jax.lax.pmin}[f]
    close(
        kn.vmap(lambda x: f(x, "i"), axis_name="i")(X),
        jax.vmap(lambda x: theirs(x, "i"), axis_name="i")(X),
    )
    # JAX has no derivative of it; the loop over the examples has.
    pick = np.max if f is lax.pmax else np.min

    def whole(x: Any) -> Any:
        return np.sum(np.sin(x) * pick(x, axis=0))

    got = kn.grad(lambda x: np.sum(kn.vmap(lambda v: np.sin(v) * f(v, "i"), axis_name="i")(x)))(X)
    np.testing.assert_allclose(got, kn.grad(whole)(X), rtol=1e-12)


def test_ppermute_of_some() -> None:
    """Who gets nothing gets zeros; JAX's vmap refuses this."""
    pairs = [(0, 3), (2, 1)]
    want = np.stack([0 * X[0], X[2], 0 * X[0], X[0]])

    def f(x: Any) -> Any:
        return kn.vmap(lambda v: lax.ppermute(v, "i", pairs), axis_name="i")(x)

    close(f(X), want)
    gradient = kn.grad(lambda x: np.sum(f(x) * np.arange(12.0).reshape(4, 3)))(X)
    weights = np.arange(12.0).reshape(4, 3)
    close(gradient, np.stack([weights[3], 0 * Y, weights[1], 0 * Y]))
    shared = kn.vmap(lambda v: v * lax.ppermute(Y, "i", pairs), axis_name="i")(np.ones((4, 3)))
    close(shared, np.stack([0 * Y, Y, 0 * Y, Y]))


def test_two_axes() -> None:
    x = rng.normal(size=(2, 3, 4))

    def program(lib: Any, vmap: Any) -> Any:
        def f(v: Any) -> Any:
            return v * lib.psum(v, "j") + lib.pmean(v, "i") - lib.psum(v, ("i", "j"))

        return vmap(vmap(f, axis_name="j"), axis_name="i")

    close(program(lax, kn.vmap)(x), program(jax.lax, jax.vmap)(x))
    close(kn.jit(program(lax, kn.vmap))(x), program(jax.lax, jax.vmap)(x))
    again = kn.vmap(kn.vmap(lambda v: lax.psum(v, "i"), axis_name="i"), axis_name="i")(x)
    np.testing.assert_allclose(again, np.broadcast_to(x.sum(1, keepdims=True), x.shape))


def test_in_loops_and_branches() -> None:
    def program(np: Any, lib: Any, vmap: Any) -> Any:
        def f(v: Any) -> Any:
            carry, ys = lib.scan(lambda c, x: (c + lib.psum(x * c, "i"), np.sin(c)), v[0], v)
            return lib.cond(True, lambda u: lib.pmean(u, "i"), lambda u: u, carry), ys

        return vmap(f, axis_name="i")

    want = program(jax.numpy, jax.lax, jax.vmap)(X)
    for transform in (lambda f: f, kn.jit):
        close(transform(program(np, lax, kn.vmap))(X), want)
    close(kn.vmap(kn.jit(lambda v: program_of_one(v)), axis_name="i")(X), want)


def program_of_one(v: Any) -> Any:
    carry, ys = lax.scan(lambda c, x: (c + lax.psum(x * c, "i"), np.sin(c)), v[0], v)
    return lax.cond(True, lambda u: lax.pmean(u, "i"), lambda u: u, carry), ys


def test_the_result_of_all_is_one() -> None:
    total = kn.vmap(lambda x: lax.psum(x, "i"), axis_name="i", out_axes=None)(X)
    np.testing.assert_allclose(total, X.sum(0))
    f = kn.jit(lambda x: x / lax.psum(np.ones_like(x), "i"))
    for count in (2, 4, 3):  # of another number of examples the function is another one
        got = kn.vmap(f, axis_name="i")(np.ones((count, 2)))
        np.testing.assert_allclose(got, 1 / count)


def test_kinds() -> None:
    booleans = np.array([True, False, True])
    got = kn.vmap(lambda x: lax.psum(x, "i"), axis_name="i")(booleans)
    assert got.tolist() == [2, 2, 2]
    small = kn.vmap(lambda x: lax.psum(x, "i"), axis_name="i")(np.ones(3, np.int8))
    assert small.dtype == np.int8
    assert kn.vmap(lambda x: lax.axis_index("i"), axis_name="i")(X).tolist() == [0, 1, 2, 3]
    assert kn.vmap(lambda x: x * lax.axis_size("i"), axis_name="i")(np.ones(2)).tolist() == [2, 2]


def test_errors() -> None:
    with pytest.raises(NameError, match=r"(?s)no vmap with axis_name='i' is running.*Write vmap"):
        lax.psum(1.0, "i")
    with pytest.raises(NameError, match="The names here are 'j'"):
        kn.vmap(lambda x: lax.pmean(x, "i"), axis_name="j")(X)
    with pytest.raises(ValueError, match=r"ppermute has \(0, 9\) among 4"):
        kn.vmap(lambda x: lax.ppermute(x, "i", [(0, 9)]), axis_name="i")(X)
    with pytest.raises(ValueError, match="names a place twice"):
        kn.vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (2, 1)]), axis_name="i")(X)
    with pytest.raises(TypeError, match="x is a str"):
        kn.vmap(lambda x: lax.psum("x", "i"), axis_name="i")(X)


# ---- thin functions ------------------------------------------------------------------------------

P = np.abs(X) + 0.5
FUNCTIONS: dict[str, Any] = {
    "rsqrt": lambda lax, x: lax.rsqrt(x * x + 1.0),
    "integer_pow": lambda lax, x: lax.integer_pow(x, 3),
    "clamp": lambda lax, x: lax.clamp(-0.5, x, 0.5),
    "select": lambda lax, x: lax.select(x > 0, x, -x),
    "select_n": lambda lax, x: lax.select_n(x > 0, x, x * 2),
    "convert": lambda lax, x: lax.convert_element_type(x, np.float32),
    "reshape": lambda lax, x: lax.reshape(x, (2, 6)),
    "reshape, turned": lambda lax, x: lax.reshape(x, (2, 6), (1, 0)),
    "transpose": lambda lax, x: lax.transpose(x, (1, 0)),
    "squeeze": lambda lax, x: lax.squeeze(x[:, :1], (1,)),
    "expand_dims": lambda lax, x: lax.expand_dims(x, (0, 2)),
    "broadcast": lambda lax, x: lax.broadcast(x, (2, 2)),
    "broadcast_in_dim": lambda lax, x: lax.broadcast_in_dim(x, (4, 2, 3), (0, 2)),
    "rev": lambda lax, x: lax.rev(x, (0,)),
    "concatenate": lambda lax, x: lax.concatenate([x, x], 1),
    "full_like": lambda lax, x: lax.full_like(x, 2.0),
    "slice_in_dim": lambda lax, x: lax.slice_in_dim(x, 0, 3, 2),
    "index_in_dim": lambda lax, x: lax.index_in_dim(x, -1, 1),
    "dynamic_slice": lambda lax, x: lax.dynamic_slice(x, (1, 9), (2, 2)),
    "dynamic_index_in_dim": lambda lax, x: lax.dynamic_index_in_dim(x, -1, 0, False),
    "dynamic_update_slice": lambda lax, x: lax.dynamic_update_slice(x, x[:2, :2] * 2, (3, -5)),
    "dynamic_update_slice_in_dim": lambda lax, x: lax.dynamic_update_slice_in_dim(x, x[:2], 1, 0),
    "cumsum": lambda lax, x: lax.cumsum(x, 1, reverse=True),
    "argmax": lambda lax, x: lax.argmax(x, 1, np.int32),
    "argmin": lambda lax, x: lax.argmin(x, 0, np.int64),
    "sort": lambda lax, x: lax.sort(x, 0),
    "top_k": lambda lax, x: lax.top_k(x, 2)[0],
    "dot": lambda lax, x: lax.dot(x, x.T),
    "iota": lambda lax, x: lax.iota(np.int32, 4),
    "full": lambda lax, x: lax.full((2, 2), 3.0),
    "logistic": lambda lax, x: lax.logistic(x),
    "atan2": lambda lax, x: lax.atan2(x, lax.exp(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    ours, theirs = (lambda x: FUNCTIONS[name](lax, x)), (lambda x: FUNCTIONS[name](jax.lax, x))
    want = theirs(jax.numpy.asarray(X))
    got = ours(X)
    assert shape_dtype(got).dtype == want.dtype
    close(got, want)
    close(kn.jit(ours)(X), want)
    close(kn.vmap(ours)(np.stack([X, X]))[1], want)
    if np.asarray(got).dtype == np.float64:
        gradient = jax.grad(lambda x: jax.numpy.sum(jax.numpy.sin(theirs(x))))(X)
        close(kn.grad(lambda x: np.sum(np.sin(ours(x))))(X), gradient)


def test_dynamic_places_may_be_traced() -> None:
    f = kn.jit(lambda x, i: lax.dynamic_slice(x, (i, 0), (2, 3)))
    for i in (0, 1, 7, -3):
        close(f(X, i), jax.lax.dynamic_slice(X, (i, 0), (2, 3)) if i >= 0 else X[:2])


@pytest.mark.parametrize(
    ("numbers", "x", "w"),
    [
        (None, (2, 3, 8, 7), (4, 3, 3, 2)),
        (("NHWC", "HWIO", "NHWC"), (2, 8, 7, 3), (3, 2, 3, 4)),
        (("NHWC", "OIHW", "NCHW"), (2, 8, 7, 3), (4, 3, 3, 2)),
        (("NCH", "OIH", "NCH"), (2, 3, 8), (4, 3, 3)),
    ],
)
def test_convolutions(numbers: Any, x: Any, w: Any) -> None:
    a, b = rng.normal(size=x), rng.normal(size=w)
    rank = len(x) - 2
    for padding in ("SAME", "VALID", [(1, 0)] * rank):
        for strides, dilation in (
            ((1,) * rank, None),
            ((2,) * rank, (1,) * rank),
            ((1,) * rank, (2,) * rank),
        ):
            args = (strides, padding, None, dilation, numbers)
            close(
                lax.conv_general_dilated(a, b, *args),
                jax.lax.conv_general_dilated(a, b, *args),
            )


@pytest.mark.parametrize("padding", [[(2, 1), (0, 3)], [(-1, 2), (1, -2)]])
@pytest.mark.parametrize("groups", [(1, 1), (3, 1), (1, 2)])
def test_convolutions_of_a_dilated_image(padding: Any, groups: tuple[int, int]) -> None:
    a, b = rng.normal(size=(4, 3, 6, 5)), rng.normal(size=(6, 3 // groups[0], 3, 2))
    for strides, inner, outer in (((1, 1), (2, 3), None), ((2, 1), (3, 1), (2, 1)), ((2, 2),) * 3):
        args = (strides, padding, inner, outer, None, *groups)

        def ours(a: Any, b: Any, args: Any = args) -> Any:
            return lax.conv_general_dilated(a, b, *args)

        def theirs(a: Any, b: Any, args: Any = args) -> Any:
            return jax.lax.conv_general_dilated(a, b, *args)

        y, pull = jax.vjp(theirs, a, b)
        close(ours(a, b), y)
        close(kn.jit(ours)(a, b), y)
        g = np.cos(np.arange(y.size)).reshape(y.shape)
        for got, want in zip(kn.vjp(ours, a, b)[1](g), pull(g), strict=True):
            close(got, want)
    with pytest.raises(ValueError, match="lhs_dilation wants pairs of padding, not 'SAME'"):
        lax.conv_general_dilated(a, b, (1, 1), "SAME", (2, 2))


def test_control_flow_is_the_same() -> None:
    for name in ("cond", "switch", "scan", "fori_loop", "while_loop", "map", "stop_gradient"):
        assert getattr(lax, name) is getattr(kn, name)
    with pytest.raises(ValueError, match="a slice of 9 along axis 0"):
        lax.dynamic_slice(X, (0, 0), (9, 1))
