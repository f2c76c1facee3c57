"""Corners in which a result could be wrong without a word: repeated indices, half precision,
threads, copies, promotion."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import ops
from kinone.errors import TracerConversionError

X = np.arange(12.0).reshape(3, 4)
MASK = np.array([True, False, True])

# ---- indexing ------------------------------------------------------------------------------------

REPEATING = [
    (MASK, np.array([[1], [1]])),
    (True, [0, 0]),
    (np.array([False, True, False]), [0, 0]),
    (np.array([0, 0, 2]),),
    (slice(None), [1, 1]),
]


@pytest.mark.parametrize("index", REPEATING)
def test_gather_gradient_counts_every_use(index: Any) -> None:
    y, pullback = kn.vjp(lambda x: x[index], X)
    expected = np.zeros_like(X)
    np.add.at(expected, index, np.ones_like(y))
    assert np.array_equal(pullback(np.ones_like(y))[0], expected)
    added = X.copy()
    np.add.at(added, index, 1.0)
    assert np.array_equal(kn.jvp(lambda x: x.at[index].add(1.0), (X,), (X,))[0], added)


@pytest.mark.parametrize("index", REPEATING)
def test_of_a_place_set_twice_the_last_value_has_the_gradient(index: Any) -> None:
    v = 1.0 + np.arange(X[index].size, dtype=float).reshape(X[index].shape)
    _, pullback = kn.vjp(lambda v: ops.set_at(X, index, v), v)
    cotangent, tangent = np.cos(X), np.sin(v)
    moved = kn.jvp(lambda v: ops.set_at(X, index, v), (v,), (tangent,))[1]
    np.testing.assert_allclose(np.sum(cotangent * moved), np.sum(pullback(cotangent)[0] * tangent))


def test_take_along_axis_broadcasts_like_numpy() -> None:
    for arr, indices, axis in (
        (X, np.array([[0, 2]]), 1),
        (X[:1], np.array([[0], [1], [2]]), 1),
        (X, np.array([[2, 0, 1, 1]]), 0),
    ):
        got = kn.jvp(lambda x, i=indices, a=axis: np.take_along_axis(x, i, a), (arr,), (arr,))
        assert np.array_equal(got[0], np.take_along_axis(arr, indices, axis))


def test_take_of_tuples_and_booleans() -> None:
    def value(f: Callable[[Any], Any]) -> Any:
        return kn.jvp(f, (X,), (X,))[0]

    assert np.array_equal(value(lambda x: np.take(x, (3,))), np.take(X, (3,)))
    flags = np.array([True, False, True])
    assert np.array_equal(value(lambda x: np.take(x, flags, axis=0)), X[[1, 0, 1]])


def test_transposed_convolution_with_more_room_than_windows() -> None:
    def f(x: Any, w: Any) -> Any:
        return ops.conv_transpose(
            x, w, strides=1, dilation=2, padding=2, output_padding=1, layout="NCHW"
        )

    x, w = np.cos(np.arange(12.0)).reshape(1, 2, 6), np.sin(np.arange(6.0)).reshape(2, 1, 3)
    y, pullback = kn.vjp(f, x, w)
    assert [ct.shape for ct in pullback(np.ones_like(y))] == [x.shape, w.shape]
    kn.testing.check_grads(f, (x, w), order=2)


# ---- copies and threads --------------------------------------------------------------------------


def test_copies_of_a_traced_value_are_the_value() -> None:
    for duplicate in (copy.copy, copy.deepcopy):
        g = kn.grad(lambda x, d=duplicate: np.sum(d({"w": x})["w"] ** 2))(np.ones(3))
        assert np.array_equal(g, [2.0, 2.0, 2.0])
    with pytest.raises(TracerConversionError, match="pickling"):
        kn.grad(lambda x: pickle.dumps(x))(1.0)


def test_a_transformation_in_another_thread_is_an_inner_one() -> None:
    def f(x: Any) -> Any:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(lambda: kn.grad(lambda y: x * y * y)(2.0)).result()

    assert kn.grad(f)(3.0) == 4.0
    assert kn.jvp(f, (3.0,), (1.0,)) == (12.0, 4.0)


def test_auxiliary_results_are_the_callers_own() -> None:
    def f(a: Any) -> Any:
        e = np.exp(a)
        return np.sum(e), e

    a = np.zeros(3)
    _, pullback, aux = kn.vjp(f, a, has_aux=True)
    aux *= 0
    assert np.array_equal(pullback(1.0)[0], np.ones(3))
    _, view = kn.grad(lambda p: (np.sum(p**2), p.reshape(3, 1)), has_aux=True)(a)
    view[:] = 7.0
    assert a.flags.writeable


# ---- precision and promotion ---------------------------------------------------------------------


def test_python_numbers_follow_numpy_at_singular_points() -> None:
    with np.errstate(all="ignore"):
        assert np.isnan(kn.grad(lambda a: a**1.5)(-2.0))
        assert kn.grad(lambda a: a**0.5)(0.0) == np.inf
        assert kn.grad(lambda a: a**-1)(0.0) == -np.inf


def test_mean_of_many_half_precision_numbers_has_a_gradient() -> None:
    g = kn.grad(np.mean)(np.ones(100_000, np.float16))
    assert g.dtype == np.float16
    np.testing.assert_allclose(g, np.float16(1e-5))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x, initial=np.float64(1)),
        lambda x: np.var(x, ddof=12),
        lambda x: np.var(x, ddof=20),
        lambda x: np.dot(x, 2.0),
        lambda x: np.concatenate([x, x], dtype=np.float64),
    ],
)
def test_values_and_dtypes_are_numpys(f: Callable[[Any], Any]) -> None:
    x = X.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of a variance without degrees of freedom
        expected = f(x)
        got = kn.jvp(f, (x,), (x,))[0]
        shape = kn.eval_shape(f, x)
    assert got.dtype == expected.dtype == shape.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_add_at_keeps_the_dtype() -> None:
    for value in (0.5, np.float64(0.5), np.ones(4)):
        y = kn.jvp(lambda x, v=value: x.at[0].add(v), (X.astype("f"),), (X.astype("f"),))[0]
        assert y.dtype == np.float32


def test_what_would_change_meaning_silently_is_refused() -> None:
    with pytest.raises(ValueError, match="order='C'"):
        kn.grad(lambda x: np.sum(np.reshape(x, (4, 3), order="A")))(X)
    with pytest.raises(TypeError, match="cannot cast"):
        kn.grad(lambda x: np.sum(np.concatenate([x, x], dtype=int)))(X)
    with pytest.raises(TypeError, match="cannot cast"):
        kn.grad(lambda x: np.sum(x.astype(np.int64, casting="safe")))(X)


def test_windows_that_do_not_fit_and_groups_that_are_none() -> None:
    x, w = np.ones((1, 4, 4, 2)), np.ones((5, 5, 2, 2))
    with pytest.raises(ValueError, match=r"does not fit"):
        ops.conv(x, w, padding="VALID")
    for groups in (0, 2.0):
        with pytest.raises(ValueError, match=r"groups=.*test_edge_cases"):
            ops.conv(x, w, groups=groups)
