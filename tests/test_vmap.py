"""`vmap`: axes, nesting, the other transformations, and what it says when it cannot."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone.errors import BatchError, TracerConversionError

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


