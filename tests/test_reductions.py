"""Reductions with every argument: values, shapes and dtypes as NumPy's, derivatives by finite
differences, each under every transformation."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from surface import check_everything, check_values, same

import kinone as kn
from kinone.errors import TracerAssignmentError
from kinone.ops.samples import values
from kinone.testing import check_grads

X = values(2, 3, 4)
MASK = (np.arange(24) % 5 != 2).reshape(2, 3, 4)  # no slice is empty
HOLES = np.where(np.sin(np.arange(24.0) * 2.3).reshape(2, 3, 4) > 0.5, np.nan, X)
AXES = [None, 0, -1, (0, 2), (-2, 0), (0, 1, 2), ()]

PLAIN = [np.sum, np.mean, np.prod, np.max, np.min, np.var, np.std, np.ptp]
NANS = [np.nansum, np.nanmean, np.nanprod, np.nanmax, np.nanmin, np.nanvar, np.nanstd]


def named(functions: list[Any]) -> Any:
    return pytest.mark.parametrize("f", functions, ids=lambda f: f.__name__)


@pytest.fixture(autouse=True)
def quiet_of_empty_slices() -> Any:
    """NumPy warns of slices without numbers; what is returned for them is under test."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.filterwarnings("ignore", "Mean of empty|Degrees of freedom|All-NaN|invalid value")
        yield


@named(PLAIN)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_axes(f: Any, axis: Any, keepdims: bool) -> None:
    reduced = functools.partial(f, axis=axis, keepdims=keepdims)
    if f is np.std and axis == ():
        check_values(reduced, X)  # every variance is 0: a kink
        return
    check_everything(reduced, X)


@named(NANS)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 1, (0, -1)], ids=str)
def test_axes_without_nan(f: Any, axis: Any, keepdims: bool) -> None:
    reduced = functools.partial(f, axis=axis, keepdims=keepdims)
    check_values(reduced, HOLES)
    check_values(reduced, np.arange(12).reshape(3, 2, 2))
    finite = ~np.isnan(HOLES)

    def of_the_finite(x: Any) -> Any:
        return reduced(np.where(finite, x, np.nan))

    check_grads(of_the_finite, (X,), order=2)
    # Not a zero times NaN anywhere: the cotangents of holes are exactly 0.
    y, pullback = kn.vjp(reduced, HOLES)
    (ct,) = pullback(np.cos(np.arange(np.size(y))).reshape(np.shape(y)))
    assert np.all(np.isfinite(ct))
    assert not np.any(ct[~finite])


@named([np.sum, np.mean, np.prod, np.var, np.std])
@pytest.mark.parametrize("axis", [None, 1, (0, -1)], ids=str)
def test_where(f: Any, axis: Any) -> None:
    for where in (MASK, np.True_, True):
        check_everything(functools.partial(f, axis=axis, where=where), X)
    check_values(functools.partial(f, axis=axis, where=MASK[0, :, :1]), X)
    check_values(lambda x, where: f(x, axis=axis, where=where > 0), X, X)
    # What is left out has no influence, not even as NaN.
    holes = np.where(MASK, X, np.nan)
    y, pullback = kn.vjp(lambda x: f(x, axis=axis, where=MASK), holes)
    same(y, f(X, axis=axis, where=MASK))
    (ct,) = pullback(np.ones_like(y))
    assert np.all(np.isfinite(ct))
    assert not np.any(ct[~MASK])


@named([np.nansum, np.nanmean, np.nanprod, np.nanvar, np.nanstd])
def test_where_without_nan(f: Any) -> None:
    check_values(functools.partial(f, axis=1, where=MASK), HOLES)
    check_values(functools.partial(f, where=MASK[0]), HOLES)


@named([np.max, np.min, np.nanmax, np.nanmin])
def test_extrema_with_initial(f: Any) -> None:
    x = HOLES if f.__name__.startswith("nan") else X
    for keywords in (
        {"initial": 0.5},
        {"initial": 0.5, "axis": 1},
        {"initial": -0.25, "axis": (0, 2), "where": MASK, "keepdims": True},
        {"initial": 9.0, "where": MASK},
        {"initial": -9.0, "where": MASK},
    ):
        reduced = functools.partial(f, **keywords)
        check_values(reduced, x)
        check_values(reduced, np.arange(24).reshape(2, 3, 4))
        if x is X:
            check_everything(reduced, x)
    check_values(lambda x: f(x, axis=0, initial=3), np.zeros((0, 2)), vmap=False)
    for call in (lambda x: f(x, where=MASK), lambda x: f(x[:0])):
        with pytest.raises(ValueError):
            call(np.abs(X))
        with pytest.raises(ValueError):
            kn.vjp(call, np.abs(X))
        with pytest.raises(ValueError):
            kn.graph(call)(np.abs(X))


@named([np.sum, np.prod, np.nansum, np.nanprod])
def test_initial_and_dtype(f: Any) -> None:
    for keywords, x in itertools.product(
        (
            {"initial": 2.5},
            {"initial": 2, "axis": 1, "keepdims": True},
            {"dtype": np.float32},
            {"dtype": np.complex64, "initial": 2},
            {"dtype": np.int8, "axis": 0},
            {"dtype": bool},
        ),
        (X, X.astype(np.float32), np.arange(24, dtype=np.int8).reshape(2, 3, 4), X > 0),
    ):
        want = f(x, **keywords)
        for got in traced(functools.partial(f, **keywords), x):
            assert got.dtype == want.dtype, (keywords, x.dtype)
            np.testing.assert_allclose(got, want, rtol=3e-5)
    check_grads(lambda x, initial: f(x, axis=0, initial=initial), (X, 1.5), order=2)


@named([np.mean, np.var, np.std])
def test_moments_in_another_dtype(f: Any) -> None:
    for dtype, x in itertools.product(
        (np.float16, np.float32, np.float64, np.complex64),
        (X, X.astype(np.float32), X.astype(np.float16), np.arange(24).reshape(2, 3, 4), X > 0),
    ):
        want = f(x, axis=1, dtype=dtype)
        for got in traced(lambda x, dtype=dtype: f(x, axis=1, dtype=dtype), x):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=3e-3 if dtype is np.float16 else 1e-5)


def traced(f: Callable[..., Any], x: Any) -> list[Any]:
    """The results under grad, under jvp and of the traced program."""
    return [kn.vjp(f, x)[0], kn.jvp(f, (x,), (np.zeros_like(x),))[0], kn.graph(f)(x)(x)]


@named([np.var, np.std, np.nanvar, np.nanstd])
def test_freedom_and_a_known_mean(f: Any) -> None:
    for keywords in ({"ddof": 1}, {"ddof": 0.5, "axis": 0}, {"correction": 1, "axis": -1}):
        check_everything(functools.partial(f, **keywords), X)
    centre = X.mean(1, keepdims=True) + 0.1
    if f in (np.var, np.std):
        check_everything(lambda x, m: f(x, axis=1, mean=m), X, centre)
    else:  # NumPy does not look at the mean for who is to answer
        check_everything(lambda x: f(x, axis=1, mean=np.sum(x) + centre), X)
    with pytest.raises(ValueError, match="ddof and correction"):
        kn.vjp(lambda x: f(x, ddof=1, correction=1), X)
    none = kn.vjp(lambda x: f(x, axis=0, ddof=2), X)[0]
    assert np.all(np.isnan(none) | np.isinf(none))


@named([*PLAIN, *NANS])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32"])
def test_dtypes(f: Any, dtype: str) -> None:
    x = (np.abs(X) * 3).astype(dtype)
    try:
        want = f(x, axis=1)
    except TypeError:
        for call in (lambda: kn.vjp(lambda x: f(x, axis=1), x), lambda: kn.graph(f)(x)):
            if x.dtype.kind == "f":
                continue
            with pytest.raises(TypeError):
                call()
        return
    for got in traced(lambda x: f(x, axis=1), x):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-3 if dtype == "float16" else 1e-5)
    if x.dtype.kind == "f":
        _, pullback = kn.vjp(lambda x: f(x, axis=1), x)
        assert pullback(np.ones_like(want))[0].dtype == x.dtype


@named([np.sum, np.mean, np.prod, np.var, np.std, np.nansum, np.nanmean, np.nanvar])
def test_complex(f: Any) -> None:
    z = X + 1j * values(2, 3, 4, seed=3)
    for got in traced(functools.partial(f, axis=1), z):
        want = f(z, axis=1)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-12)
    check_grads(lambda a, b: np.abs(f(a + 1j * b, axis=1)), (z.real, z.imag), order=2)


@named([np.any, np.all, np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.count_nonzero])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1], ids=str)
def test_without_derivative(f: Any, axis: Any, keepdims: bool) -> None:
    reduced = functools.partial(f, axis=axis, keepdims=keepdims)
    check_values(reduced, np.round(X))
    check_values(reduced, np.round(X) > 0)
    check_values(reduced, np.round(X).astype(np.int16))
    if f.__name__.startswith("nan"):
        check_values(reduced, np.where(np.isnan(HOLES) & (X > -1), np.nan, X))


def test_truths_over_several_axes() -> None:
    for f in (np.any, np.all):
        check_values(functools.partial(f, axis=(0, 2), where=MASK), X > 0)
        check_values(functools.partial(f, axis=()), X)
    check_values(functools.partial(np.count_nonzero, axis=(0, 2)), np.round(X))


def test_positions_take_one_axis() -> None:
    for f in (np.argmax, np.argmin):
        with pytest.raises(TypeError):
            kn.graph(lambda x, f=f: f(x, axis=(0, 1)))(X)
        for shape, axis in (((2, 0), 1), ((0,), None)):
            with pytest.raises(ValueError):
                kn.graph(lambda x, f=f, axis=axis: f(x, axis=axis))(np.zeros(shape))
        check_values(functools.partial(f, axis=0), np.zeros((2, 0)), vmap=False)
    with pytest.raises(ValueError, match="All-NaN"):
        kn.vjp(np.nanargmax, np.full(3, np.nan))


def test_nothing_but_nan() -> None:
    x = np.array([[np.nan, np.nan], [1.0, np.nan]])
    for f in (np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.nansum, np.nanprod):
        y, pullback = kn.vjp(lambda x, f=f: f(x, axis=1), x)
        same(y, f(x, axis=1))
        (ct,) = pullback(np.ones_like(y))
        assert not np.any(np.isnan(ct))


def test_of_no_elements() -> None:
    x = np.zeros((0, 3))
    for f in (np.sum, np.mean, np.prod, np.var, np.std):
        y, pullback = kn.vjp(lambda x, f=f: f(x, axis=0), x)
        same(y, f(x, axis=0))
        assert pullback(np.ones(3))[0].shape == (0, 3)
        same(kn.graph(lambda x, f=f: f(x, axis=1))(x)(x), f(x, axis=1))


def test_products_with_zeros() -> None:
    for zeros in range(4):
        x = X[0].copy()
        x[0, :zeros] = 0
        check_grads(functools.partial(np.prod, axis=1), (x,), order=2)
        check_grads(np.prod, (x,), order=2)


def test_max_of_nan_does_not_warn() -> None:
    x = np.array([[1.0, np.nan, 2.0], [3.0, 1.0, 3.0]])
    with np.errstate(all="raise"):
        for f in (np.max, np.min):
            y, pullback = kn.vjp(lambda x, f=f: f(x, axis=1), x)
            (ct,) = pullback(np.ones(2))
            tangent = kn.jvp(lambda x, f=f: f(x, axis=1), (x,), (np.ones_like(x),))[1]
            assert np.isnan(y[0])
            assert not np.any(ct[0])
            assert tangent[0] == 0
        assert np.array_equal(kn.grad(lambda x: np.max(x))(x[1]), [0.5, 0, 0.5])


@pytest.mark.parametrize("count", [5000, 200_000])
def test_shares_of_many_ties_in_float16(count: int) -> None:
    x = np.ones(count, np.float16)
    pullback = kn.vjp(np.max, x)[1]
    (ct,) = pullback(np.float16(1000))
    assert ct.dtype == np.float16
    np.testing.assert_allclose(ct.astype(float).sum(), 1000, rtol=1e-3)
    tangent = kn.jvp(np.max, (x,), (x,))[1]
    assert tangent == 1


def test_mean_of_float16_is_numpys() -> None:
    x = (np.arange(10_000) % 37 / 7).astype(np.float16)
    for got in traced(np.mean, x):
        assert got == np.mean(x)
        assert got.dtype == np.float16
    mask = x > 1
    for got in traced(lambda x: np.mean(x, where=mask), x):
        assert got == np.mean(x, where=mask)


def test_std_of_equal_numbers_has_derivative_zero() -> None:
    x = np.full((2, 3), 1.5)
    for f in (np.std, np.nanstd):
        (ct,) = kn.vjp(lambda x, f=f: f(x, axis=1), x)[1](np.ones(2))
        assert not np.any(ct)
        assert not np.any(kn.jvp(lambda x, f=f: f(x, axis=1), (x,), (X[:, :, 0],))[1])


def test_where_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError):
        kn.vjp(lambda x: np.sum(x, where=np.arange(4)), X)
    with pytest.raises(ValueError):
        kn.vjp(lambda x: np.sum(x, where=np.ones((3, 2, 3, 4), bool)), X)


def test_methods_and_ufunc_reduce() -> None:
    check_everything(lambda x: x.var(axis=1, ddof=1) + np.add.reduce(x, axis=1), X)
    check_everything(lambda x: np.maximum.reduce(x, axis=(0, 1), initial=0.1), X)
    check_values(lambda x: np.logical_or.reduce(x > 1, axis=0), X)


def test_logsumexp_at_infinity() -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1.0]])
    (ct,) = kn.vjp(lambda x: kn.ops.logsumexp(x, axis=1), x)[1](np.ones(2))
    assert np.array_equal(ct, [[0, 0], [0, 1]])
    assert math.isclose(kn.ops.logsumexp(np.log(np.arange(1.0, 5.0))), math.log(10))


@named([np.nancumsum, np.nancumprod])
@pytest.mark.parametrize("axis", [None, 1, -1], ids=str)
def test_running_without_nan(f: Any, axis: Any) -> None:
    running = functools.partial(f, axis=axis)
    check_values(running, HOLES)
    check_values(functools.partial(f, axis=axis, dtype=np.float32), HOLES)
    check_values(running, np.arange(1, 7).reshape(1, 2, 3))
    finite = ~np.isnan(HOLES)
    check_grads(lambda x: running(np.where(finite, x, np.nan)), (X,), order=2)
    y, pullback = kn.vjp(running, HOLES)
    (ct,) = pullback(np.ones_like(y))
    assert np.all(np.isfinite(ct))
    assert not np.any(ct[~finite])


def test_plain_arrays_get_numpys_own_answer() -> None:
    """To the last bit, and with its warnings."""
    x = np.cos(np.arange(1000.0)).astype(np.float32)
    for name in ("prod", "var", "std", "median", "ptp", "nanvar", "nanmean", "average"):
        assert getattr(kn.ops, name)(x) == getattr(np, name)(x)
    warnings.simplefilter("error")
    with pytest.raises(RuntimeWarning, match="All-NaN"):
        kn.ops.nanmax(np.array([np.nan]))


def test_axes_of_a_number() -> None:
    """0 and -1 are none of its axes to the reductions by a ufunc; the others refuse them."""
    x = np.array(3.0)
    functions: list[Any] = [
        np.sum, np.prod, np.max, np.min, np.all, np.any, np.argmax, np.argmin, np.count_nonzero,
        np.nansum, np.nanprod, np.nanmax, np.nanmin, np.nanargmax, np.nanmean, np.ptp,
    ]  # fmt: skip
    for f in functions:
        for axis in (0, -1):
            check_values(functools.partial(f, axis=axis), x, vmap=False)
            same(kn.vjp(functools.partial(f, axis=axis, keepdims=True), x)[0], f(x, axis=axis))
    for f in (*functions, np.mean, np.var, np.std):
        for axis in (1, (0,)) if f in functions else (0, -1):
            with pytest.raises(Exception) as plain:
                f(x, axis=axis)
            with pytest.raises(plain.type):
                kn.vjp(functools.partial(f, axis=axis), x)
    assert kn.grad(lambda x: np.sum(x * x, axis=0))(3.0) == 6.0
    check_everything(lambda x: np.squeeze(x * x, axis=0), x)


def test_no_list_of_axes() -> None:
    for f in (np.sum, np.prod, np.mean, np.max, np.var, np.std, np.all, np.nansum, np.ptp):
        with pytest.raises(TypeError):
            f(X, axis=[0])
        with pytest.raises(TypeError):
            kn.vjp(functools.partial(f, axis=[0]), X)
    check_values(lambda x: np.median(x, axis=[0, 1]), X)
    check_values(lambda x: np.average(x, axis=[0, 1]), X)


def test_deviations_as_integers() -> None:
    numbers = np.array([1.0, 5.0, 12.0])
    for f, x in ((np.std, numbers), (np.nanstd, numbers.astype(int))):
        deviation = functools.partial(f, dtype=np.int64)
        same(kn.graph(deviation)(x)(x), deviation(x))
    with pytest.raises(TypeError):
        kn.vjp(lambda x: np.std(x, axis=0, dtype=np.int64), X)


VARIANTS = (
    *("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian"),
    *("max", "min", "std", "var", "quantile", "percentile", "nanquantile", "nanpercentile"),
)


@pytest.mark.parametrize("name", VARIANTS)
def test_signatures_are_numpys(name: str) -> None:
    """Also of those that are declared by another one's; and `out` is refused at its place."""
    own, numpys = getattr(kn.ops, name), getattr(np, name)
    parameters = inspect.signature(own).parameters
    wanted = inspect.signature(numpys).parameters
    assert [*parameters] == [*wanted]
    assert [each.kind for each in parameters.values()] == [each.kind for each in wanted.values()]
    needed = [0.5] if "q" in parameters else []
    before = [None] * ([*parameters].index("out") - 1 - len(needed))
    with pytest.raises(TracerAssignmentError, match=name):
        kn.grad(lambda x: numpys(x, *needed, *before, np.zeros(())))(X)
