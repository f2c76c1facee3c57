"""Dtypes are NumPy's for every ufunc, every reduction and all pairs of operands.

That is, those of NEP 50. The table is NumPy itself: what it returns, or the exception that it
raises, is what is wanted of the same call on traced values, in a program and under `vjp`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
SCALARS: list[Any] = [2, 1.5, 1j]
EVERY = sorted(
    {f for f in vars(np).values() if isinstance(f, np.ufunc) and f.signature is None},
    key=lambda f: f.__name__,
)
UNARY = [f for f in EVERY if f.nin == 1]
BINARY = [f for f in EVERY if f.nin == 2]


def named(functions: list[Any]) -> Any:
    return pytest.mark.parametrize("f", functions, ids=lambda f: f.__name__)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def agree(f: Callable[..., Any], *xs: Any) -> None:
    """Traced or not, the results' dtypes are the same, and so are the refusals."""
    try:
        want = f(*xs)
    except (TypeError, ValueError) as error:
        refused(f, xs, TypeError if isinstance(error, TypeError) else ValueError)
        return
    wanted = [np.asarray(y).dtype for y in kn.tree.leaves(want)]
    said = [leaf.dtype for leaf in kn.tree.leaves(kn.eval_shape(f, *xs))]
    assert said == wanted, f"a program of {kinds(xs)}: {said}, want {wanted}"
    y, pullback = kn.vjp(f, *xs)
    got = [np.asarray(leaf).dtype for leaf in kn.tree.leaves(y)]
    assert got == wanted, f"vjp of {kinds(xs)}: {got}, want {wanted}"
    # Cotangents are like their operands, tangents like the results.
    if all(dtype.kind in "fc" for dtype in wanted):
        cotangents = pullback(kn.tree.map(np.ones_like, y))
        for x, ct in zip(xs, cotangents, strict=True):
            if np.asarray(x).dtype.kind in "fc":
                assert np.asarray(ct).dtype == np.asarray(x).dtype, kinds(xs)
        # An integer does not move: its tangent is zero.
        tangents = tuple([np.full_like(x, np.asarray(x).dtype.kind in "fc") for x in xs])
        if not any(isinstance(x, (int, float, complex)) for x in xs):
            _, tangent = kn.jvp(f, xs, tangents)
            assert [np.asarray(t).dtype for t in kn.tree.leaves(tangent)] == wanted, kinds(xs)


def refused(f: Callable[..., Any], xs: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        kn.graph(f)(*xs)(*xs)  # what depends on values is refused when they are there
    if any(np.asarray(x).dtype.kind in "fc" for x in xs):
        with pytest.raises(kind):
            kn.vjp(f, *xs)


def kinds(xs: Any) -> str:
    return ", ".join(str(x.dtype) if hasattr(x, "dtype") else repr(x) for x in xs)


def operand(dtype: str) -> Any:
    return np.array([1, 1], dtype)


@named(UNARY)
def test_unary(f: Any) -> None:
    for dtype in DTYPES:
        agree(f, operand(dtype))
        agree(f, operand(dtype)[0])


@named(BINARY)
def test_binary(f: Any) -> None:
    for a in DTYPES:
        for b in DTYPES:
            agree(f, operand(a), operand(b))


@named(BINARY)
def test_python_numbers_adapt(f: Any) -> None:
    for dtype in DTYPES:
        for scalar in SCALARS:
            x = operand(dtype)
            agree(lambda x, f=f, s=scalar: f(x, s), x)
            agree(lambda x, f=f, s=scalar: f(s, x), x)


REDUCTIONS = [
    np.sum, np.mean, np.prod, np.max, np.min, np.var, np.std, np.ptp, np.any, np.all, np.argmax,
    np.argmin, np.count_nonzero, np.nansum, np.nanmean, np.nanprod, np.nanmax, np.nanmin, np.nanvar,
    np.nanstd, np.nanargmax, np.nanargmin, np.median, np.nanmedian, np.cumsum, np.cumprod,
    np.nancumsum, np.nancumprod, np.average, np.cov,
]  # fmt: skip


@named(REDUCTIONS)
def test_reductions(f: Any) -> None:
    for dtype in DTYPES:
        agree(f, np.array([[1, 0, 1], [0, 1, 1]], dtype))
        if f is not np.cov:
            agree(functools.partial(f, axis=1), np.array([[1, 0, 1], [0, 1, 1]], dtype))


@pytest.mark.parametrize("method", ["linear", "inverted_cdf", "midpoint", "hazen"])
@pytest.mark.parametrize("f", [np.quantile, np.nanquantile], ids=lambda f: f.__name__)
def test_quantiles(f: Any, method: str) -> None:
    for dtype in DTYPES[1:]:
        x = np.array([1, 3, 2], dtype)
        for q in (0, 0.5, [0.5], np.float32(0.5), np.array([0.5], np.float32), np.float64(0.25)):
            agree(lambda x, q=q: f(x, q, method=method), x)


OTHERS: list[Any] = [
    np.sinc, np.i0, np.real, np.imag, np.angle, np.conj, np.isreal, np.iscomplex, np.nan_to_num,
    np.isposinf, np.isneginf, np.round, np.fix, np.unwrap, np.diff, np.sort, np.real_if_close,
    lambda x: np.clip(x, 0, 1), lambda x: np.clip(x, 0.5, None), lambda x: np.where(x > 0, x, 1),
    lambda x: np.isclose(x, 1), lambda x: np.allclose(x, x), lambda x: np.array_equal(x, x),
    lambda x: np.average(x, weights=np.array([1, 2], np.float32)), np.corrcoef,
]  # fmt: skip


@pytest.mark.parametrize("f", OTHERS, ids=lambda f: f.__name__)
def test_other_functions(f: Any) -> None:
    for dtype in DTYPES:
        if f is np.real_if_close and dtype.startswith("complex"):
            continue  # depends on the numbers
        agree(f, np.array([1, 0], dtype))


ACTIVATIONS = [
    kn.ops.relu, kn.ops.sigmoid, kn.ops.swish, kn.ops.softplus, kn.ops.hard_sigmoid,
    kn.ops.hard_swish, kn.ops.logsumexp, kn.ops.softmax, kn.ops.log_softmax,
]  # fmt: skip


@named(ACTIVATIONS)
def test_activations(f: Any) -> None:
    """NumPy has none of them; plain arrays are the reference."""
    for dtype in ("int32", "int64", "float16", "float32", "float64"):
        agree(f, np.array([1, 0, 3], dtype))
    for dtype in ("float16", "float32", "float64"):
        assert np.asarray(f(np.array([1, 0], dtype))).dtype == dtype


@pytest.mark.parametrize("exponent", [2, 3, 2.0, 0.5], ids=str)
def test_powers_by_the_operator(exponent: float) -> None:
    for dtype in DTYPES:
        agree(lambda x: x**exponent, operand(dtype))


def test_python_integers_of_any_size() -> None:
    for big in (10**40, 2**63, -(10**40)):
        for f in (
            lambda x, n=big: x + n,
            lambda x, n=big: n * x,
            lambda x, n=big: np.maximum(x, n),
            lambda x, n=big: np.where(x > 0, x, n),
            lambda x, n=big: x < n,
        ):
            for dtype in (np.float32, np.float64):
                x = np.ones(2, dtype)
                got, want = kn.graph(f)(x)(x), f(x)
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got, want)
        whole = np.ones(2, np.int64)
        assert kn.graph(lambda x, n=big: x / n)(whole)(whole).dtype == np.float64
        with pytest.raises(OverflowError):
            kn.graph(lambda x, n=big: x + n)(whole)(whole)


def test_closeness_to_python_numbers() -> None:
    x = np.array([1.0, 2.0], np.float32)
    for f in (
        lambda x: np.isclose(x, 1 - 2.2e-16, rtol=0, atol=0),
        lambda x: np.isclose(1 - 2.2e-16, x, rtol=0, atol=0),
        lambda x: np.isclose(x, 1, rtol=np.float64(1e-9)),
        lambda x: np.isclose(x, True),
        lambda x: np.isclose(x, 1 + 1e-9j),
    ):
        np.testing.assert_array_equal(kn.vjp(f, x)[0], f(x))
        np.testing.assert_array_equal(kn.graph(f)(x)(x), f(x))
