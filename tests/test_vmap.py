"""`vmap`: axes, nesting, the other transformations, and what it says when it cannot."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core import Primitive, numpy_functions, registry
from kinone.errors import BatchError, BatchLoopWarning, MissingRuleError, TracerConversionError
from kinone.ops.declare import primitive

RNG = np.random.default_rng(0)


def test_in_axes_and_out_axes_as_integers_tuples_and_trees() -> None:
    a, b = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
    outer = kn.vmap(kn.vmap(lambda x, y: x * y, in_axes=(None, 0)), in_axes=(0, None))
    assert np.array_equal(outer(a[:, 0], b[:, 1]), np.outer(a[:, 0], b[:, 1]))
    rows = kn.vmap(lambda t: t["x"] + t["y"], in_axes=({"x": 1, "y": None},), out_axes=1)
    assert np.array_equal(rows({"x": a, "y": b[:3, 0]}), a + b[:3, :1])
    negative = kn.vmap(lambda x: np.sum(x), in_axes=-1)
    assert np.allclose(negative(a), a.sum(0))
    two = kn.vmap(lambda x: (x, {"s": np.sum(x)}), out_axes=(1, 0))(a)
    assert np.array_equal(two[0], a.T)
    assert np.allclose(two[1]["s"], a.sum(1))


def test_in_axes_by_name_reach_keyword_arguments() -> None:
    def f(params, x, scale):
        return params["w"] @ x * scale

    x, w = RNG.normal(size=(5, 3)), {"w": RNG.normal(size=(2, 3))}
    mapped = kn.vmap(f, in_axes={"params": None, "x": 0, "scale": None})
    assert np.allclose(mapped(w, x, scale=2.0), 2 * x @ w["w"].T)
    assert np.allclose(mapped(w, scale=2.0, x=x), 2 * x @ w["w"].T)
    with pytest.raises(BatchError, match="says nothing of scale"):
        kn.vmap(f, in_axes={"params": None, "x": 0})(w, x, scale=2.0)


def test_per_example_gradients_and_hessians() -> None:
    def loss(w, x):
        return np.sum(np.tanh(w * x) ** 2)

    w, xs = RNG.normal(size=3), RNG.normal(size=(5, 3))
    got = kn.vmap(kn.grad(loss), in_axes=(None, 0))(w, xs)
    assert np.allclose(got, [kn.grad(loss)(w, x) for x in xs])
    total = kn.grad(lambda w: np.sum(kn.vmap(loss, in_axes=(None, 0))(w, xs)))(w)
    assert np.allclose(total, got.sum(0))
    tangents = kn.vmap(lambda t: kn.jvp(lambda w: loss(w, xs[0]), (w,), (t,))[1])(np.eye(3))
    assert np.allclose(tangents, got[0])


def test_results_are_arrays_of_their_own() -> None:
    x = RNG.normal(size=3)
    same = kn.vmap(lambda v: v)(x)
    fixed = kn.vmap(lambda v: np.ones(2))(x)
    fixed[0] = 5.0
    assert fixed[1, 0] == 1.0
    assert np.array_equal(same, x)


def test_what_cannot_be_mapped_is_named() -> None:
    a = np.ones((3, 4))
    with pytest.raises(BatchError, match=r"3: axis 0 of x.*\n  5: axis 0 of y"):
        kn.vmap(lambda x, y: x)(a, np.ones(5))
    with pytest.raises(BatchError, match="axis 2 of x"):
        kn.vmap(lambda x: x, in_axes=2)(a)
    with pytest.raises(BatchError, match="over no axis"):
        kn.vmap(lambda x: x, in_axes=None)(a)
    with pytest.raises(BatchError, match="2 entries, and the call 1"):
        kn.vmap(lambda x: x, in_axes=(0, 0))(a)
    with pytest.raises(BatchError, match="depends on the mapped"):
        kn.vmap(lambda x: x, out_axes=None)(a)
    with pytest.raises(TracerConversionError, match=r"np\.where"):
        kn.vmap(lambda x: x if x > 0 else -x)(np.ones(3))


def test_axis_size_without_a_mapped_argument() -> None:
    assert kn.vmap(lambda: np.float64(2.0), axis_size=3)().shape == (3,)
    assert kn.vmap(lambda x: x, in_axes=None, out_axes=None, axis_size=3)(1.0) == 1.0


@pytest.mark.oracle
@pytest.mark.parametrize("out_axes", [0, -1, {"sum": 1, "both": (0, -2)}])
@pytest.mark.parametrize(("in_p", "in_x"), list(itertools.product([0, 1, -1, None], repeat=2)))
def test_axes_are_jaxs(in_p: int | None, in_x: int | None, out_axes: Any) -> None:
    jax = pytest.importorskip("jax")
    if in_p is None and in_x is None:
        return

    def f(p: Any, x: Any, s: float) -> Any:
        return {"sum": p["w"] + s * x, "both": (p["w"] * x + p["b"], x * 2.0)}

    w, x = RNG.normal(size=(3, 3, 3)), RNG.normal(size=(3, 3, 3))
    args = ({"w": w if in_p is not None else w[0], "b": 1.5}, x if in_x is not None else x[0], 2.0)
    in_axes = ({"w": in_p, "b": None}, in_x, None)
    got = kn.vmap(f, in_axes, out_axes)(*args)
    with jax.enable_x64(True):
        want = jax.vmap(f, in_axes, out_axes)(*args)
        assert kn.tree.structure(got) == kn.tree.structure(dict(want))
        for key in ("sum", "both"):
            for one, other in zip(kn.tree.leaves(got[key]), kn.tree.leaves(want[key]), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-14)


def test_every_size_gives_the_shape_of_its_size() -> None:
    for size in (0, 1, 5):
        x = np.ones((size, 4), np.float32)
        y, length = kn.vmap(lambda x: (np.tanh(x) * 2, len(x)))(x)
        assert y.shape == (size, 4)
        assert y.dtype == np.float32
        assert np.array_equal(length, np.full(size, 4))


def test_vmap_in_vmap_in_grad_in_vmap() -> None:
    """Every level keeps its own axis."""
    w, x, y = RNG.normal(size=(2, 4)), RNG.normal(size=(3, 4)), RNG.normal(size=(5, 4))

    def loss(w: Any) -> Any:
        table = kn.vmap(lambda a: kn.vmap(lambda b: np.sum(np.sin(w * a) * b))(y))(x)
        return np.sum(table**2)

    got = kn.vmap(kn.grad(loss))(w)
    for one, each in zip(got, w, strict=True):
        sines, cosines = np.sin(each * x), np.cos(each * x)
        table = sines @ y.T
        want = 2 * np.einsum("ij,ik,jk->k", table, cosines * x, y)
        np.testing.assert_allclose(one, want, rtol=1e-12)


def test_hessians_by_vmap_of_both_modes() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.exp(x) * np.sin(x)) + np.prod(np.cos(x))

    x = RNG.normal(size=4)
    reverse = kn.vmap(lambda t: kn.jvp(kn.grad(f), (x,), (t,))[1])(np.eye(4))
    _, pullback = kn.vjp(kn.grad(f), x)
    again = kn.vmap(lambda g: pullback(g)[0])(np.eye(4))
    np.testing.assert_allclose(reverse, again, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(reverse, reverse.T, rtol=1e-12, atol=1e-14)


# ---- primitives without a rule -------------------------------------------------------------------


@pytest.fixture
def cubed() -> Iterator[Primitive]:
    """A user's primitive, which has no batching rule."""
    before, functions = dict(registry), dict(numpy_functions)

    def cubed(x: Any) -> Any:
        return np.asarray(x) ** 3

    yield primitive(
        "cubed",
        cubed,
        shape=lambda x: x,
        vjp=lambda y, x: lambda g: (3 * g * x * x,),
        jvp=lambda y, x: lambda t: 3 * t * x * x,
    )
    registry.clear()
    registry.update(before)
    numpy_functions.clear()
    numpy_functions.update(functions)


def test_a_primitive_without_a_rule_is_looped_over_and_says_so(cubed: Primitive) -> None:
    x = RNG.normal(size=(4, 3))
    with pytest.warns(BatchLoopWarning, match=r"cubed has no batching rule: it runs 4 times") as w:
        got = kn.vmap(cubed)(x)
    assert np.array_equal(got, x**3)
    assert w[0].filename == __file__
    with pytest.warns(BatchLoopWarning):
        slopes = kn.vmap(kn.grad(lambda x: np.sum(cubed(x))))(x)
    np.testing.assert_allclose(slopes, 3 * x * x)
    with pytest.warns(BatchLoopWarning):
        nested = kn.vmap(kn.vmap(cubed, 1), 0)(x[None])
    assert np.array_equal(nested[0], x.T**3)
    with pytest.raises(MissingRuleError, match="no examples"):
        kn.vmap(cubed)(x[:0])


def test_what_is_not_mapped_is_not_looped_over(cubed: Primitive) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = kn.vmap(lambda x: x + cubed(2.0))(np.arange(3.0))
    assert np.array_equal(got, np.arange(3.0) + 8)
