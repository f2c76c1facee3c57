"""Quantiles, covariances, averages and histograms against NumPy and finite differences."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from surface import check_everything, check_values, same

import kinone as kn
from kinone.errors import MissingRuleError, TracerConversionError
from kinone.ops.samples import values
from kinone.testing import check_grads

X = values(3, 4, 5)
HOLES = np.where(np.sin(np.arange(60.0) * 2.3).reshape(3, 4, 5) > 0.7, np.nan, X)
INTERPOLATING = [
    "linear",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "median_unbiased",
    "normal_unbiased",
    "averaged_inverted_cdf",
    "midpoint",
]
CHOOSING = ["inverted_cdf", "closest_observation", "lower", "higher", "nearest"]
METHODS = [*INTERPOLATING, *CHOOSING]


@pytest.fixture(autouse=True)
def quiet_of_empty_slices() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty|Degrees of freedom|All-NaN")
        yield


# ---- quantiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 1, (0, -1)], ids=str)
def test_median(axis: Any, keepdims: bool) -> None:
    check_everything(functools.partial(np.median, axis=axis, keepdims=keepdims), X)
    holes = functools.partial(np.nanmedian, axis=axis, keepdims=keepdims)
    check_values(holes, HOLES)
    check_values(functools.partial(np.median, axis=axis, keepdims=keepdims), HOLES)
    check_grads(lambda x: holes(np.where(np.isnan(HOLES), np.nan, x)), (X,), order=2)
    check_everything(functools.partial(np.median, axis=()), X)


def test_median_of_other_dtypes() -> None:
    for x in (X > 0, (10 * X).astype(np.int8), X.astype(np.float16), X + 1j * X[::-1]):
        for f in (np.median, np.nanmedian):
            want = f(x, axis=1)
            for got in (kn.vjp(lambda x, f=f: f(x, axis=1), x)[0], kn.graph(f)(x)(x)):
                want = f(x, axis=1) if np.ndim(got) else f(x)
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=1e-3)
    same(kn.vjp(np.median, np.float64(3))[0], np.median(np.float64(3)))
    nothing = np.full((2, 3), np.nan)
    same(kn.vjp(lambda x: np.nanmedian(x, axis=1), nothing)[0], np.nanmedian(nothing, axis=1))


@pytest.mark.parametrize("f", [np.quantile, np.nanquantile], ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_methods(f: Any, method: str) -> None:
    x = X if f is np.quantile else HOLES
    for q, axis in (
        (0.3, None),
        (0.5, 1),
        (0, -1),
        (1, 0),
        (np.array([0.0, 0.21, 0.5, 0.99, 1.0]), 1),
        (np.array([[0.4, 0.7]]), (0, 2)),
        ([0.25, 0.75], None),
    ):
        if f is np.nanquantile and np.ndim(q) == 2:
            continue  # NumPy itself gets the order of the result's axes wrong
        for keepdims in (False, True):
            taken = functools.partial(f, q=q, axis=axis, method=method, keepdims=keepdims)
            check_values(taken, x)
            check_values(taken, x.astype(np.float32))
    check_values(lambda x: f(x, 0.37, axis=0, method=method), (10 * X).astype(np.int64))
    finite = ~np.isnan(x)
    check_grads(
        lambda x: f(np.where(finite, x, np.nan), np.array([0.1, 0.63]), axis=1, method=method),
        (X,),
        order=2,
    )


@pytest.mark.parametrize("method", ["linear", "hazen", "weibull", "normal_unbiased"])
def test_derivative_in_q(method: str) -> None:
    q = np.array([0.31, 0.57])
    check_everything(lambda x, q: np.quantile(x, q, axis=1, method=method), X, q)
    check_grads(lambda q: np.nanquantile(HOLES, q, method=method), (q,), order=2)


def test_percentiles() -> None:
    for q in (30, 62.5, np.array([10.0, 90.0]), [10, 20]):
        check_everything(lambda x, q=q: np.percentile(x, q, axis=(0, 1)), X)
        check_values(lambda x, q=q: np.nanpercentile(x, q, axis=1), HOLES)
        check_values(lambda x, q=q: np.nanpercentile(x, q, axis=1), HOLES.astype(np.float32))
    assert kn.vjp(lambda x: np.percentile(x, 50), X.astype(np.float32))[0].dtype == np.float32


def test_nan_in_the_slice() -> None:
    for f in (np.median, functools.partial(np.quantile, q=0.2)):
        check_values(functools.partial(f, axis=1), HOLES)
    nothing = np.array([[np.nan, np.nan], [1.0, np.nan]])
    check_values(lambda x: np.nanquantile(x, 0.5, axis=1), nothing, vmap=False)


def test_weighted_quantiles() -> None:
    weights = np.abs(values(3, 4, 5, seed=2))
    weights[:, 1] = 0
    row = np.array([0.0, 2.0, 1.0, 3.0])
    for q in (0, 0.5, np.array([0.0, 0.2, 0.5, 1.0])):
        for f, x in ((np.quantile, X), (np.quantile, HOLES), (np.nanquantile, HOLES)):
            given = functools.partial(f, q=q, axis=1, method="inverted_cdf")
            check_values(lambda x, given=given: given(x, weights=weights), x)
            if f is np.quantile:  # NumPy's nanquantile takes no weights of another shape
                check_values(lambda x, given=given: given(x, weights=row), x)
            check_grads(lambda x, given=given: given(x, weights=weights), (X,), order=2)
        check_values(lambda x, q=q: np.quantile(x, q, method="inverted_cdf", weights=weights), X)
    for bad in ({"method": "linear"}, {"method": "inverted_cdf", "weights": -row}):
        keywords = {"weights": row, "axis": 1, **bad}
        for call in (np.quantile, lambda x, q, **k: kn.vjp(lambda x: np.quantile(x, q, **k), x)):
            with pytest.raises(ValueError):
                call(X, 0.5, **keywords)


def test_what_quantiles_refuse() -> None:
    for call, kind in (
        (lambda x: np.quantile(x, 1.5), ValueError),
        (lambda x: np.quantile(x, 0.5, method="other"), ValueError),
        (lambda x: np.percentile(x, [50, 101]), ValueError),
        (lambda x: np.quantile(x + 0j, 0.5), TypeError),
    ):
        with pytest.raises(kind):
            call(X)
        with pytest.raises(kind):
            kn.vjp(call, X)


# ---- averages and covariances --------------------------------------------------------------------


def test_average() -> None:
    w = np.abs(values(3, 4, 5, seed=4))
    check_everything(np.average, X)
    check_everything(lambda x, w: np.average(x, weights=w), X, w)
    check_everything(lambda x, w: np.average(x, axis=(0, 2), weights=w, keepdims=True), X, w)
    check_everything(lambda x, w: np.average(x, axis=1, weights=w, returned=True), X, w[0, :, 0])
    check_everything(lambda x, w: np.average(x, axis=(2, 0), weights=w), X, w[:, 0].T.copy())
    check_values(lambda x: np.average(x, axis=1, returned=True), (9 * X).astype(np.int32))
    with pytest.raises(ZeroDivisionError):
        kn.vjp(lambda x: np.average(x, weights=np.zeros_like(X)), X)
    with pytest.raises(TypeError):
        kn.vjp(lambda x: np.average(x, weights=w[0]), X)
    with pytest.raises(ValueError):
        kn.vjp(lambda x: np.average(x, axis=0, weights=np.ones(7)), X)


COVARIANCES: list[dict[str, Any]] = [
    {},
    {"rowvar": False},
    {"bias": True},
    {"ddof": 2},
    {"fweights": np.array([1, 3, 2, 1, 2])},
    {"aweights": np.array([0.5, 1.5, 1.0, 0.2, 0.9])},
    {"fweights": np.array([1, 3, 2, 1, 2]), "aweights": np.array([0.5, 1.5, 1.0, 0.2, 0.9])},
    {"aweights": np.array([0.5, 1.5, 1.0, 0.2, 0.9]), "ddof": 0},
    {"dtype": np.float32},
]


@pytest.mark.parametrize("keywords", COVARIANCES, ids=lambda k: "-".join(k) or "plain")
def test_cov(keywords: dict[str, Any]) -> None:
    narrow = keywords.get("dtype") is not None
    check = check_values if narrow else check_everything
    x, y = X[0], X[1]
    if keywords.get("rowvar") is False:
        x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
    check(lambda x: np.cov(x, **keywords), x)
    check(lambda x, y: np.cov(x, y, **keywords), x, y)
    if keywords.get("rowvar", True):
        check(lambda x: np.cov(x[0], **keywords), x)
    check_values(lambda x: np.cov(x, **keywords), (10 * x).astype(np.int64))


def test_cov_of_complex_numbers() -> None:
    z = X[0] + 1j * X[1]
    for f in (np.cov, np.corrcoef):
        same(kn.vjp(f, z)[0], f(z))
        check_grads(lambda a, b, f=f: np.imag(f(a + 1j * b)), (X[0], X[1]), order=2)


def test_cov_in_its_weights() -> None:
    check_grads(lambda w: np.cov(X[0], aweights=w), (np.array([0.5, 1.5, 1.0, 0.2, 0.9]),), order=2)


def test_what_cov_refuses() -> None:
    for keywords, kind in (
        ({"ddof": 1.5}, ValueError),
        ({"fweights": np.array([0.5] * 5)}, TypeError),
        ({"fweights": np.array([-1] * 5)}, ValueError),
        ({"aweights": np.ones(4)}, RuntimeError),
        ({"aweights": np.ones((5, 1))}, RuntimeError),
    ):
        for call in (np.cov, lambda x, **k: kn.vjp(lambda x: np.cov(x, **k), x)):
            with pytest.raises(kind):
                call(X[0], **keywords)
    with pytest.raises(ValueError, match="more than 2"):
        kn.vjp(np.cov, X)


def test_corrcoef() -> None:
    check_everything(np.corrcoef, X[0])
    check_everything(lambda x, y: np.corrcoef(x, y, rowvar=False), X[0], X[1])
    check_values(lambda x: np.corrcoef(x[0]), X[0])
    # Perfectly correlated: the bounds ±1 are reached, and the derivative is that of inside.
    x = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 6.0]])
    (ct,) = kn.vjp(lambda x: np.corrcoef(x)[0, 1], x)[1](1.0)
    assert np.allclose(ct, 0)


# ---- counting ------------------------------------------------------------------------------------


def test_histogram() -> None:
    for keywords in (
        {},
        {"bins": 4, "range": (-1, 1.5)},
        {"bins": np.array([-2.0, -0.5, 0.1, 2.0])},
        {"bins": "auto"},
        {"density": True, "bins": 3},
    ):
        histogram = functools.partial(np.histogram, **keywords)
        same(kn.vjp(histogram, X)[0], histogram(X))
        (ct,) = kn.vjp(lambda x, h=histogram: h(x)[0] * 1.0, X)[1](
            1.0 * np.ones_like(histogram(X)[0])
        )
        assert not np.any(ct)
        same(kn.vjp(functools.partial(np.histogram_bin_edges, bins=5), X)[0], np.histogram(X, 5)[1])
    same(
        kn.vjp(lambda x: np.histogram2d(x[0].ravel(), x[1].ravel(), bins=3), X)[0],
        np.histogram2d(X[0].ravel(), X[1].ravel(), bins=3),
    )
    points = X.reshape(-1, 3)
    same(
        kn.vjp(lambda x: np.histogramdd(x, bins=2)[0], points)[0], np.histogramdd(points, bins=2)[0]
    )
    for transformed in (kn.graph(np.histogram), kn.vmap(np.histogram)):
        with pytest.raises(TracerConversionError):
            transformed(X)


def test_histogram_of_weights() -> None:
    weights = values(3, 4, 5, seed=5)
    edges = np.array([-2.0, -0.5, 0.1, np.max(X)])
    for keywords in ({"bins": 4}, {"bins": edges}, {"bins": 5, "range": (-1, 1)}):
        weighed = lambda w, k=keywords: np.histogram(X, weights=w, **k)[0]  # noqa: E731
        check_everything(weighed, weights)
        check_everything(
            lambda w, k=keywords: np.histogram(X, weights=w**2, density=True, **k)[0], weights
        )
    with pytest.raises(MissingRuleError, match="bincount"):
        kn.vjp(lambda w: np.histogram2d(X[0, 0], X[0, 1], weights=w)[0], weights[0, 0])


def test_bincount() -> None:
    x, weights = np.array([0, 3, 1, 3, 0]), values(5)
    check_everything(lambda w: np.bincount(x, w), weights)
    check_everything(lambda w: np.bincount(x, weights=w, minlength=6), weights)
    assert kn.vjp(lambda w: np.bincount(x, w), weights.astype(np.float32))[0].dtype == np.float64
    with pytest.raises(ValueError):
        kn.vjp(lambda w: np.bincount(x, w), weights[:2])
    with pytest.raises(TracerConversionError):
        kn.graph(np.bincount)(x)


@pytest.mark.parametrize("weights", [[0.0, 0, 0, 0], [1, np.nan, 1, 1], [1, np.inf, 1, 1]], ids=str)
def test_weights_that_weigh_nothing(weights: Any) -> None:
    x, w = np.array([3.0, 1.0, 2.0, 5.0]), np.array(weights)
    for f in (np.quantile, np.percentile, np.nanquantile):
        with pytest.raises(ValueError, match="Weights included NaN, inf or were all zero"):
            kn.vjp(lambda x, f=f: f(x, 0.3, weights=w, method="inverted_cdf"), x)
    x[1] = np.nan
    if np.isfinite(w).all():
        return
    f = lambda x: np.nanquantile(x, 0.3, weights=w, method="inverted_cdf")  # noqa: E731
    if np.isfinite(np.delete(w, 1)).all():  # the bad weight goes with NaN
        same(kn.vjp(f, x)[0], f(x))


def test_quantiles_of_nothing() -> None:
    for shape, axis in (((0,), None), ((0, 3), 0), ((3, 0), 1), ((0, 3), 1)):
        for f in (np.nanquantile, np.nanpercentile, np.nanmedian):
            rest: Any = () if f is np.nanmedian else (0.3,)
            x = np.zeros(shape)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check_values(lambda x, f=f, rest=rest, axis=axis: f(x, *rest, axis=axis), x)


def test_the_range_of_percentiles() -> None:
    for f, match in ((np.percentile, r"Percentiles .*100"), (np.quantile, r"Quantiles .*1\]")):
        for q in (np.nan, -1.0, 101.0):
            with pytest.raises(ValueError, match=match):
                kn.vjp(lambda x, f=f, q=q: f(x, q), np.ones(3))


def test_histograms_by_traced_edges() -> None:
    x, y, edges = np.array([0.2, 0.7, 1.4]), np.array([0.1, 1.9, 0.3]), np.array([0.0, 1.0, 2.0])
    for f in (
        lambda e: np.histogram2d(x, y, (e, e))[0],
        lambda e: np.histogram2d(x, y, e)[0],
        lambda e: np.histogram2d(e, y, 2, [[e[0], e[2]], [0.0, 2.0]])[0],
        lambda e: np.histogramdd([x, y], [e, e])[0],
        lambda e: np.histogram(x, e)[0],
        lambda e: np.histogram(e, 2, (e[0], e[2]))[0],
    ):
        same(kn.vjp(f, edges)[0], f(edges))
