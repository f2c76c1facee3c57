"""Indexing, joining, reductions, sorting exported, at fixed and at dynamic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_runtime import as_tensor, check_export, run

import kinone as kn
import kinone.onnx
from kinone import nn, ops

X = np.random.default_rng(0).standard_normal((4, 5, 6))
ROWS = np.array([2, 0, -1, 2])
COLUMN = np.array([[1], [3]])
DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8]
DTYPES += [np.uint64, np.uint32, np.uint16, np.uint8, np.bool_]

# ---- indexing ------------------------------------------------------------------------------------

INDICES: list[Any] = [
    np.s_[1],
    np.s_[-1, ::-1],
    np.s_[..., -2],
    np.s_[None, 1:3, None],
    np.s_[::-2, 1:-1:2, 5:0:-3],
    np.s_[-3:, -100:2, :100],
    np.s_[()],
    np.s_[1, 2, 3],
    np.s_[2:2],
    np.s_[10:],
    np.s_[ROWS],
    np.s_[:, ROWS],
    np.s_[ROWS, :, 1],
    np.s_[:, 1, ROWS],
    np.s_[1, ..., ROWS],
    np.s_[ROWS, ROWS],
    np.s_[:, ROWS, COLUMN],
    np.s_[COLUMN, :, ROWS],
    np.s_[ROWS[:, None], 1, ROWS],
    np.s_[ROWS, None, 1:3],
    np.s_[None, ROWS, None, COLUMN],
    np.s_[::-1, ROWS, ::-1],
    np.s_[ROWS, 1:4:2, COLUMN],
    np.s_[:, ROWS, ..., ROWS],  # nothing is between, but NumPy moves the axes first
    np.s_[ROWS, ROWS, ..., 0],
    np.s_[ROWS[:0]],
    np.s_[np.array([], int), :, 0],
    np.s_[np.arange(4) % 2 == 0],
    np.s_[:, :, np.arange(6) > 2],
    np.s_[np.array(2)],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reading_and_its_gradient(index: Any) -> None:
    for dtype in (np.float64, np.int16, np.bool_):
        check_export(lambda x: x[index], (X.astype(dtype),), dynamic={})
    check_export(kn.grad(lambda x: np.sum(x[index] ** 3)), (X,), dynamic={})
    check_export(kn.vmap(lambda x: x[index]), (np.stack([X, X + 1]),), dynamic={})


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_writing(index: Any, dtype: Any) -> None:
    x = (X * 9).astype(dtype)
    v = (np.random.default_rng(1).standard_normal(x[index].shape) * 9).astype(dtype)

    @kn.jit
    def written(x: Any, v: Any) -> Any:
        place = x.at[index]
        return place.set(v), place.add(v), place.max(v), place.min(v), place.set(2)

    check_export(written, (x, v), dynamic={})


def test_indices_that_are_operands() -> None:
    def read(x: Any, i: Any) -> Any:
        return x[i], x[:, i], x[i, i], x[i, :, i]

    check_export(read, (X, ROWS), dynamic={})
    check_export(lambda x, i: (x[i], x[0, i]), (X, np.array(-1)), dynamic={})
    check_export(
        lambda x, i: kn.grad(lambda x: sum(np.sum(y**2) for y in read(x, i)))(x),
        (X, ROWS),
        dynamic={},
    )

    @kn.jit
    def written(x: Any, i: Any, v: Any) -> Any:
        return x.at[i].set(v), x.at[i].add(v), x.at[:, i].set(1.0), x.at[i, i].add(2.0)

    check_export(written, (X, np.array([3, 0, -2]), X[:3] * 2), dynamic={})
    check_export(
        lambda x, i: (np.take(x, i, 0, mode="clip"), np.take(x, i, 0, mode="wrap")),
        (X, np.array([9, -7, 2])),
        dynamic={},
    )


def test_numbers_without_axes() -> None:
    x = np.float64(3.0)
    check_export(kn.jit(lambda x: (x[()], x[None, None], x.at[()].set(4.0))), (x,), dynamic={})


# ---- dynamic sizes -------------------------------------------------------------------------------

DYNAMIC: dict[str, Any] = {
    "reversed": lambda x: x[::-1],
    "last": lambda x: x[-1],
    "ends cut off": lambda x: x[:, 1:-1],
    "half": lambda x: x[: x.shape[0] // 2 + 1],
    "every other": lambda x: (x[:, ::2], x[:, ::-2]),
    "differences": lambda x: np.diff(x, axis=1),
    "roll": lambda x: np.roll(x, 1, axis=0),
    "diagonal": lambda x: x[np.arange(x.shape[0]), 0],
    "taken": lambda x: (x[:, np.array([0, 2])], x[np.array([0, -1]), np.array([0, 1])]),
    "set a row": lambda x: x.at[0].set(0.0),
    "set a column": lambda x: x.at[:, 0, 0].set(7.0),
    "set reversed": lambda x: x.at[::-1].set(x),
    "concatenate": lambda x: np.concatenate([x, x[:1]], 0),
    "stack": lambda x: np.stack([x, x], 1),
    "split": lambda x: np.split(x, 2, axis=2),
    "pad": lambda x: (np.pad(x, ((1, 2), (0, 1), (0, 0))), np.pad(x, 1, constant_values=2.0)),
    "reshape": lambda x: (x.reshape(-1, 6), x.reshape(x.shape[0], -1), x.ravel()),
    "broadcast": lambda x: (np.broadcast_to(x[:, :, :1], x.shape), np.tile(x, (1, 2, 1))),
    "sort": lambda x: (np.sort(x, 0), np.argsort(x, 1, kind="stable")),
    "running": lambda x: (np.cumsum(x, 0), np.cumprod(x, 0), np.maximum.accumulate(x, 1)),
    "extrema": lambda x: (np.argmax(x), np.argmax(x, 0), np.max(x, 0), np.min(x)),
    "moments": lambda x: (x.mean(), x.var(0), np.std(x)),
    "softmax": lambda x: (ops.softmax(x, 0), ops.logsumexp(x, 1)),
    "products": lambda x: (x @ x.transpose(0, 2, 1), np.einsum("ijk,ilk->jl", x, x)),
    "searchsorted": lambda x: np.searchsorted(np.sort(x[:, 0, 0]), x[0, :, 0]),
    "gradient": kn.grad(lambda x: np.sum(np.mean(x, 0) ** 2) + np.sum(x[1:, :, 0] * x[:-1, :, 1])),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_sizes(name: str) -> None:
    fun = kn.jit(DYNAMIC[name])
    model = check_export(fun, (X,), dynamic={"x": {0: "n", 1: "m"}})
    for shape in ((7, 9, 6), (2, 3, 6)):
        x = np.random.default_rng(shape).standard_normal(shape)
        for got, leaf in zip(run(model, x), kn.tree.leaves(fun(x)), strict=True):
            want = as_tensor(leaf)
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


# ---- reductions and sorting ----------------------------------------------------------------------


def special(dtype: Any) -> Any:
    """Numbers of this dtype with ties, the extremes, infinities and NaN."""
    x = X.copy()
    x[3, 3] = 1
    if np.dtype(dtype).kind in "iu":
        x = (x * 3).clip(-100 if np.dtype(dtype).kind == "i" else 0, 100).astype(dtype)
        x[0, 0, :2] = np.iinfo(dtype).max
        x[0, 1, :2] = np.iinfo(dtype).min
        return x
    if dtype is not np.bool_:
        x[0, 1, 2] = x[2, 2, 3] = np.nan
        x[1] = np.inf
        x[2, 0] = -np.inf
        x[1, 1, 1] = np.nan
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_extrema_of_every_type(dtype: Any) -> None:
    x = special(dtype)
    for reduction in (np.max, np.min, np.any, np.all):
        check_export(
            lambda x, reduction=reduction: [
                reduction(x, axis=axis, keepdims=flag)
                for axis in (None, 0, -1, (0, 2))
                for flag in (False, True)
            ],
            (x,),
            dynamic={},
        )
    check_export(
        lambda x: [f(x, axis=axis) for f in (np.argmax, np.argmin) for axis in (None, 0, 1, -1)],
        (x,),
        dynamic={},
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_sorting_every_type(dtype: Any) -> None:
    x = special(dtype)
    check_export(
        lambda x: [
            f(x, axis=axis)
            for f in (np.sort, lambda x, axis: np.argsort(x, axis, kind="stable"))
            for axis in (None, 0, 1, -1)
        ],
        (x,),
        dynamic={},
    )
    check_export(lambda x: np.lexsort((x[0], x[3])), (x,), dynamic={})
    for row in (np.sort(x[0, :, 0]), np.sort(x.ravel())):

        def searched(row: Any, x: Any) -> Any:
            return [np.searchsorted(row, x, side=side) for side in ("left", "right")]

        check_export(searched, (row, x), dynamic={})


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_running_results_of_every_type(dtype: Any) -> None:
    loose = {np.float32: 1e-6, np.float16: 1e-2}.get(dtype, 1e-12)
    for run_along in (np.cumsum, np.cumprod, np.maximum.accumulate, np.minimum.accumulate):
        check_export(
            lambda x, f=run_along: [f(x, axis=axis) for axis in range(3)],
            (special(dtype),),
            rtol=loose,
            atol=loose,
            dynamic={},
        )


def test_complex_numbers_are_sorted_with_nan_last() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 2, (3, 6)) + 1j * rng.integers(-2, 2, (3, 6))
    x[0, 1], x[0, 3], x[1, 2] = np.nan, complex(1, np.nan), complex(np.nan, 1)
    check_export(lambda x: (np.sort(x), np.argsort(x, kind="stable")), (x,), dynamic={})


def test_extrema_of_complex_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 2, (3, 6)) + 1j * rng.integers(-2, 2, (3, 6))
    missing = x.copy()
    missing[0, 1], missing[0, 3], missing[1, 2] = np.nan, complex(1, np.nan), complex(np.nan, 1)

    def positions(x: Any) -> Any:
        return [f(x, axis) for f in (np.argmax, np.argmin) for axis in (None, 0, 1)]

    def extrema(x: Any) -> Any:
        return [f(x, axis, keepdims=True) for f in (np.max, np.min) for axis in (None, 0, 1)]

    check_export(lambda x: (positions(x), extrema(x)), (x,), dynamic={})
    check_export(positions, (missing,), dynamic={})


def test_indices_that_follow_a_dynamic_size() -> None:
    @kn.jit
    def fun(x: Any) -> Any:
        n, m = x.shape[:2]
        return (
            (x[n - 1], x[n // 2], x[n - 1, m - 1], x[n - 1, 1:], x[None, n - 1]),
            (x[n - 1, :, np.array([0, 2])], x[n // 2 :], x[: n - 2], x[m - 2 :: -1], x[:, :100]),
            (x.at[n - 1].set(0.0), x.at[n - 1, 1:].set(x[0, 1:])),
        )

    model = check_export(fun, (X,), dynamic={"x": {0: "n", 1: "m"}})
    for shape in ((7, 9, 6), (3, 120, 6)):
        x = np.random.default_rng(shape).standard_normal(shape)
        for got, want in zip(run(model, x), kn.tree.leaves(fun(x)), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_reductions_of_nothing() -> None:
    def reductions(x: Any) -> Any:
        return (
            [f(x, axis) for f in (np.sum, np.any, np.all, np.mean) for axis in (0, 1)],
            [np.sort(x, 0), np.argsort(x, 1), np.cumsum(x, 0), np.cumprod(x, 1)],
            np.max(x, axis=0, initial=0.5),
            ops.logsumexp(x, 0),
        )

    check_export(reductions, (np.zeros((0, 3)),), dynamic={})


def test_extrema_with_initial_and_where() -> None:
    check_export(
        lambda x: (np.max(x, initial=0.5, axis=0), np.min(x, where=x > 0, initial=9, axis=1)),
        (X,),
        dynamic={},
    )


@pytest.mark.parametrize(("n", "m"), [(5, 3), (3, 5), (30, 25), (2, 2)])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve_and_its_gradient(n: int, m: int, mode: Any) -> None:
    a, v = (np.random.default_rng(size).standard_normal(size) for size in (n, m))
    check_export(lambda a, v: np.convolve(a, v, mode), (a, v), dynamic={})
    gradient = kn.grad(lambda a, v: np.sum(np.convolve(a, v, mode) ** 2), (0, 1))
    check_export(gradient, (a, v), rtol=1e-11, atol=1e-11, dynamic={})


def test_nearest_upsampling_between_convolutions_needs_no_transposes() -> None:
    net = nn.Sequential(nn.Conv(4, (3, 3)), nn.Upsample(2), nn.Conv(2, (3, 3)))
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
    params, state = net.init(kn.random.key(0), x.shape)
    model = check_export(lambda x: net.apply(params, state, x)[0], (x,), rtol=1e-5, atol=1e-5)
    assert [node.op_type for node in model.graph.node].count("Transpose") == 2  # in and out
