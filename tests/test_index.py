"""Indexing: every kind of index under every transformation, `x.at[i]`, take and its kin."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import pytest
from surface import check_everything, check_values, same

import kinone as kn
from kinone import ops
from kinone.errors import TracerAssignmentError, TracerConversionError
from kinone.ops.samples import values
from kinone.testing import check_grads

X = values(3, 4, 5)
ROWS, COLUMNS = np.array([2, 0, 0, -1]), np.array([[1], [3]])
MASK = X[:, :, 0] > 0

INDICES = {
    "int": 1,
    "slice": slice(None, None, -2),
    "basic": (slice(1, None), None, -1, ..., slice(0, 2)),
    "array": ROWS,
    "two arrays": (ROWS, COLUMNS),
    "apart": (ROWS, slice(None), COLUMNS),
    "second and third": (slice(None), ROWS, COLUMNS),
    "last": (..., COLUMNS),
    "int and array": (0, slice(None), ROWS),
    "array then int": (slice(None), ROWS, 1),
    "with None between": (ROWS, None, COLUMNS),
    "None before": (None, ROWS, COLUMNS),
    "ellipsis of nothing between": (ROWS, COLUMNS, ..., COLUMNS),
    "scalar arrays": (np.array(1), slice(None), np.array(2)),
    "scalar array and array": (np.array(1), slice(None), ROWS),
    "mask": MASK,
    "mask of rows": np.array([True, False, True]),
    "mask in the middle": (slice(None), np.array([True, False, True, True])),
    "mask and array": (np.array([True, False, True]), slice(None), np.array([4, 0])),
    "mask and int": (slice(None), np.array([True, False, True, True]), 2),
    "True": True,
    "False": False,
    "True and array": (True, slice(None), ROWS),
    "True after slice": (slice(None), True, slice(None), 0),
    "empty": [],
    "empty mask": np.zeros(3, bool),
    "list": [1, 0],
}


@pytest.mark.parametrize("name", INDICES)
def test_reading(name: str) -> None:
    index = INDICES[name]
    check_everything(lambda x: x[index], X)


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("operation", ["set", "add", "multiply", "max"])
def test_updating(name: str, operation: str) -> None:
    index = INDICES[name]
    v = values(*np.shape(X[index]), seed=3)

    def plainly(x: Any, v: Any) -> Any:
        result = x.copy()
        if operation == "set":
            result[index] = v
        else:
            ufunc = {"add": np.add, "multiply": np.multiply, "max": np.maximum}[operation]
            ufunc.at(result, index, v)
        return result

    def traced(x: Any, v: Any) -> Any:
        return getattr(ops.at(x)[index], operation)(v)

    same(traced(X, v), plainly(X, v))
    if operation == "max":  # nothing so near to a tie that a finite difference meets it
        v = np.round(v, 1) + 0.05 + 0.0004 * np.arange(v.size).reshape(v.shape)
        check_everything(traced, np.round(X, 1), v, order=1)
    else:
        check_everything(traced, X, v, order=1 if v.size > 40 else 2)
    if v.ndim:
        broadcast = values(*v.shape[-1:], seed=5)
        same(traced(X, broadcast), plainly(X, broadcast))
        check_values(traced, X, broadcast)
    same(traced(X, 2.0), plainly(X, 2.0))
    check_values(lambda x: traced(x, 2.0), X)


@pytest.mark.parametrize("parts", list(itertools.product(range(5), repeat=3)))
def test_batched_index_arrays_go_where_numpy_puts_them(parts: tuple[int, ...]) -> None:
    """Slice, None, integer, array of one axis, array of two, in every order."""
    arrays = [np.array([1, 0, 2]), np.array([[0], [2]]), np.array([1, 1, 0])]

    def index(i: Any, j: Any) -> tuple[Any, ...]:
        return tuple([(slice(0, 2), None, 1, i, j)[part] for part in parts])

    check_values(lambda x, i, j: ops.getitem(x, index(i, j)), X, arrays[0], arrays[1])
    want = X[index(arrays[0], arrays[1])]
    v = values(*want.shape, seed=2)
    check_values(lambda x, v, i, j: ops.at(x)[index(i, j)].add(v), X, v, arrays[0], arrays[1])
    check_values(lambda x, v: ops.at(x)[index(arrays[0], arrays[1])].set(v), X, v)


def test_traced_integers_index() -> None:
    def f(x: Any, i: Any) -> Any:
        return (
            ops.getitem(x, i),
            ops.getitem(x, (i, slice(None), i - 1)),
            ops.getitem(x, (..., i)),
            ops.at(x)[i].set(0.0),
            ops.at(x)[:, i].add(x[:, 0]),
        )

    check_values(f, values(3, 3, 3), np.array(1))
    assert kn.graph(lambda i: ops.getitem(X, i))(2)(1).shape == (4, 5)
    with pytest.raises(TracerConversionError, match=r"kinone\.ops\.getitem"):
        kn.graph(lambda i: X[i])(np.array([2]))
    with pytest.raises(IndexError):
        kn.graph(lambda x, i: x[i])(X, 0)(X, 7)
    with pytest.raises(TracerConversionError, match=r"np\.arange"):
        kn.graph(lambda x, i: x[i : i + 2])(X, 1)


def test_masks_that_are_not_there() -> None:
    for transform in (kn.graph, kn.vmap):
        with pytest.raises(TracerConversionError, match=r"np\.where\(mask"):
            transform(lambda x: x[x > 0])(X)
        with pytest.raises(TracerConversionError, match=r"np\.where\(mask"):
            transform(lambda x: x.at[x > 0].set(np.ones(3)))(X)
    check_values(lambda x: x[MASK], X)
    rounded = np.round(X, 1)  # nothing near the places where a choice changes
    for operation, value in (("set", 0.5), ("add", 2.0), ("multiply", 3.0), ("min", 0.15)):
        check_everything(
            lambda x, o=operation, v=value: getattr(ops.at(x)[x > 0.35], o)(v), rounded
        )
    check_everything(lambda x: ops.at(x)[x[:, :, 0] > 0.05].multiply(2.0), rounded)
    check_everything(lambda x: ops.at(x)[x > 0.05].apply(np.sin), rounded)


def test_masks_that_do_not_fit() -> None:
    for index in (np.ones(4, bool), (slice(None), np.ones(3, bool)), np.ones((3, 4, 5, 1), bool)):
        with pytest.raises(IndexError):
            X[index]
        with pytest.raises(IndexError):
            kn.vjp(lambda x, i=index: x[i], X)
    for index in (1.5, "a", (0, 0, 0, 0), 7, np.array([9]), (..., ...)):
        with pytest.raises(IndexError):
            kn.vjp(lambda x, i=index: x[i], X)
        with pytest.raises(IndexError):
            kn.graph(lambda x, i=index: x[i])(X)(X)


def test_shape_of_an_update_is_checked_while_tracing() -> None:
    with pytest.raises(ValueError, match="could not be broadcast"):
        kn.graph(lambda x, v: x.at[0].set(v))(X, np.ones(3))


# ---- x.at ----------------------------------------------------------------------------------------

VECTOR = np.array([1.5, -0.5, 2.0, 0.7])
REPEATED = np.array([2, 0, 2, 2])
GIVEN = np.array([0.5, 1.25, -2.0, 3.0])
UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}


@pytest.mark.parametrize("operation", UFUNCS)
def test_repeated_places_count_as_often_as_they_are_shown(operation: str) -> None:
    want = VECTOR.copy()
    UFUNCS[operation].at(want, REPEATED, GIVEN)

    def f(x: Any, v: Any, i: Any) -> Any:
        return getattr(ops.at(x)[i], operation)(v)

    same(f(VECTOR, GIVEN, REPEATED), want)
    check_values(f, VECTOR, GIVEN, REPEATED)
    check_everything(lambda x, v: f(x, v, REPEATED), VECTOR, GIVEN)


def test_products_of_repeated_places_with_zeros() -> None:
    for v in (np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 0.0, 3.0])):
        check_grads(lambda x, v: ops.at(x)[REPEATED].multiply(v), (VECTOR, v), order=2)


def test_ties_of_extrema_share() -> None:
    _, pullback = kn.vjp(lambda x, v: x.at[REPEATED].max(v), VECTOR, np.full(4, 2.0))
    gx, gv = pullback(np.ones(4))
    np.testing.assert_allclose(gx, [0.0, 1.0, 0.25, 1.0])
    np.testing.assert_allclose(gv, [0.25, 1.0, 0.25, 0.25])


@pytest.mark.parametrize("operation", ["set", "add", "multiply", "divide", "power", "min", "max"])
def test_values_and_gradients_against_jax(operation: str) -> None:
    x, v = np.abs(VECTOR), np.abs(GIVEN)
    options = {} if operation in ("min", "max") else {"unique_indices": True}
    for index in (np.array([2, 0]), slice(1, 3), 3, (np.array([0, 1, 3]),)):

        def f(x: Any, v: Any, i: Any = index) -> Any:
            return getattr(x.at[i], operation)(v, **options)

        some = v[: np.size(x[index])].reshape(np.shape(x[index]))
        ours = kn.vjp(f, x, some)
        with jax.enable_x64(True):
            theirs = jax.vjp(f, x, some)
            np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-14)
            for a, b in zip(ours[1](GIVEN), theirs[1](jax.numpy.asarray(GIVEN)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_power_and_apply_of_repeated_places() -> None:
    want = np.abs(VECTOR)
    np.power.at(want, REPEATED, GIVEN)
    check_everything(lambda x, v: ops.at(x)[REPEATED].power(v), np.abs(VECTOR), GIVEN)
    same(ops.at(np.abs(VECTOR))[REPEATED].power(GIVEN), want)
    want = VECTOR.copy()
    np.sin.at(want, REPEATED)
    same(ops.at(VECTOR)[REPEATED].apply(np.sin), want)
    check_everything(lambda x: ops.at(x)[REPEATED].apply(np.sin), VECTOR)
    check_everything(lambda x: ops.at(x)[1:].apply(np.exp), VECTOR)
    with pytest.raises(TracerConversionError, match="unique_indices"):
        kn.graph(lambda x, i: x.at[i].apply(np.sin))(VECTOR, REPEATED)
    program = kn.graph(lambda x, i: x.at[i].apply(np.sin, unique_indices=True))(VECTOR, REPEATED)
    assert program(VECTOR, np.array([0, 1, 2, 3])).shape == (4,)


@pytest.mark.parametrize("mode", ["clip", "drop", "fill"])
def test_indices_out_of_bounds_against_jax(mode: str) -> None:
    x = values(3, 4)
    cases: list[Any] = [
        np.array([5, 0, -9, -1]),
        (slice(None), np.array([7, 1])),
        7,
        (np.array([0, 5]), np.array([[9], [2]])),
        (np.array([0, 5]), None, np.array([1, 2])),
    ]
    with jax.enable_x64(True):
        for index in cases:
            want = jax.numpy.asarray(x).at[index].get(mode=mode)
            np.testing.assert_array_equal(ops.at(x)[index].get(mode=mode), want)
            if mode == "fill":
                want = jax.numpy.asarray(x).at[index].get(mode=mode, fill_value=2.5)
                np.testing.assert_array_equal(ops.at(x)[index].get(mode=mode, fill_value=2.5), want)
            for operation in ("set", "add", "multiply"):
                want = getattr(jax.numpy.asarray(x).at[index], operation)(
                    3.0, mode="drop" if mode == "fill" else mode
                )
                got = getattr(ops.at(x)[index], operation)(3.0, mode=mode)
                np.testing.assert_allclose(got, want)
                check_everything(
                    lambda x, i=index, o=operation: getattr(ops.at(x)[i], o)(3.0, mode=mode), x
                )
    integers = np.arange(3)
    assert ops.at(integers)[[7]].get(mode="fill")[0] == np.iinfo(np.int64).min
    with pytest.raises(IndexError):
        ops.at(x)[7].set(1.0)
    with pytest.raises(ValueError, match="mode"):
        ops.at(x)[0].set(1.0, mode="other")


def test_dtypes_of_updates() -> None:
    x = np.arange(4)
    same(ops.at(x)[1].set(2.7), np.array([0, 2, 2, 3]))
    same(ops.at(x)[1].add(np.float32(2)), np.array([0, 3, 2, 3]))
    with pytest.raises(TypeError, match="divide"):
        ops.at(x)[1].divide(2)
    for dtype in (np.float16, np.float32):
        x = VECTOR.astype(dtype)
        for operation in UFUNCS:
            got = kn.vjp(lambda x, o=operation: getattr(x.at[[0, 0]], o)(GIVEN[:2]), x)[0]
            assert got.dtype == dtype


def test_writing_in_place_is_refused() -> None:
    def attempt(write: Any) -> None:
        with pytest.raises(TracerAssignmentError, match=r"\.at\[|np\.|x = "):
            kn.vjp(lambda x: write(x), VECTOR)

    attempt(lambda x: np.add.at(x, 0, 1.0))
    attempt(lambda x: np.put(x, 0, 1.0))
    attempt(lambda x: np.put_along_axis(x, np.array([0]), 1.0, 0))
    attempt(lambda x: np.fill_diagonal(x.reshape(2, 2), 1.0))
    attempt(lambda x: np.copyto(x, 0.0))
    attempt(lambda x: np.copyto(np.zeros(4), x))
    attempt(lambda x: np.place(x, x > 0, 1.0))
    attempt(lambda x: np.putmask(x, x > 0, 1.0))
    attempt(lambda x: x.sort())
    attempt(lambda x: x.partition(1))
    attempt(lambda x: x.fill(0))
    attempt(lambda x: x.put(0, 1.0))
    attempt(lambda x: x.resize(2))
    attempt(lambda x: x.setfield(0, float))


# ---- take ----------------------------------------------------------------------------------------


def test_take() -> None:
    index = np.array([[7, -1], [-9, 2]])
    for mode in ("wrap", "clip"):
        check_everything(lambda x, m=mode: np.take(x, index, mode=m), X[0])
        check_everything(lambda x, m=mode: np.take(x, index, axis=1, mode=m), X[0])
        check_values(lambda x, i, m=mode: ops.take(x, i, axis=-1, mode=m), X, index)
    check_everything(lambda x: np.take(x, 1, axis=-1), X)
    check_everything(lambda x: np.take(x, [True, False], axis=0), X)
    check_values(lambda x: np.take(x, [], axis=1), X)
    with pytest.raises(IndexError):
        kn.vjp(lambda x: np.take(x, 3, axis=0), X)
    with pytest.raises(ValueError, match="clipmode"):
        kn.vjp(lambda x: np.take(x, 3, mode="other"), X)
    with pytest.raises(TypeError):
        kn.vjp(lambda x: np.take(x, 1.0), X)


def test_take_along_axis() -> None:
    for axis in (0, 1, -1):
        order = np.argsort(X, axis)
        check_everything(lambda x, o=order, a=axis: np.take_along_axis(x, o, a), X)
        check_values(lambda x, o, a=axis: np.take_along_axis(x, o, a) * 1.0, X, order)
    check_everything(lambda x: np.take_along_axis(x, np.array([3, 3, 0]), None), X)
    with pytest.raises(IndexError):
        kn.vjp(lambda x: np.take_along_axis(x, np.zeros((3, 4, 1)), 2), X)


def test_no_places() -> None:
    x, y = np.arange(4.0), np.arange(6.0).reshape(2, 3)
    for f, a in (
        (lambda x: np.insert(x, [], []), x),
        (lambda x: np.insert(x, (), 3.0), x),
        (lambda x: np.insert(x, [], [], axis=1), y),
        (lambda x: np.delete(x, ()), x),
        (lambda x: np.delete(x, [], axis=1), y),
        (lambda x: np.apply_along_axis(np.sum, 1, x), np.ones((4, 0))),
    ):
        check_everything(f, a)
    with pytest.raises(IndexError):
        kn.vjp(lambda x: np.delete(x, np.zeros(0)), x)
    same(kn.vjp(lambda x: np.ix_(x, [1, 2]), x[:0])[0], np.ix_(x[:0], [1, 2]))
    same(kn.vjp(lambda x: np.ix_(x, []), x)[0], np.ix_(x, []))


def test_padding_of_no_axes() -> None:
    x = np.array(3.0)
    for mode in ("constant", "edge", "mean", "reflect", "linear_ramp", "wrap"):
        for width in (0, 1, (1, 2)):
            check_everything(lambda x, w=width, m=mode: np.pad(x, w, m), x)
    with pytest.raises(ValueError, match="empty axis"):
        kn.vjp(lambda x: np.pad(x, 1, "linear_ramp"), np.zeros(0))


def test_axes_by_any_integers() -> None:
    x, k = np.arange(12.0).reshape(3, 4), np.int8
    check_everything(lambda x: np.vecdot(x, x, axes=[k(0), k(0), ()]), x)
    check_everything(lambda x: np.vecdot(x, x, axes=[0, 0], keepdims=True), x)
    check_everything(lambda x: np.vecdot(x, x, axes=[0, 0, 0], keepdims=True), x)
    check_everything(lambda x: np.matmul(x, x, axes=[(k(1), k(0)), (0, 1), (0, 1)]), x)
