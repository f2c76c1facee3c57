"""Shapes: every function that moves, joins, splits, pads or repeats, with NumPy's arguments."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from surface import check_everything, check_values, same

import kinone as kn
from kinone import ops
from kinone.core import Tracer
from kinone.errors import MissingRuleError, TracerConversionError
from kinone.ops.samples import values

V, W = values(4), values(4, seed=1)
A, B = values(3, 4), values(3, 4, seed=2)
C = values(2, 3, 4)
Z = values(0, 3)

# Each a function of one array, or of several: what NumPy makes of plain arrays, Kinone has to make
# of traced ones.
ONE: dict[str, tuple[Any, Any]] = {
    "reshape F": (lambda x: np.reshape(x, (4, 6), order="F"), C),
    "reshape F with -1": (lambda x: x.reshape(-1, 3, order="F"), C),
    "reshape empty": (lambda x: x.reshape(3, 0, 2), Z),
    "reshape to a number's shape": (lambda x: x[:1].reshape(()), V),
    "ravel F": (lambda x: np.ravel(x, order="F"), C),
    "flatten F": (lambda x: x.flatten("F"), A),
    "transpose negative": (lambda x: np.transpose(x, (-1, 0, -2)), C),
    "matrix_transpose": (np.matrix_transpose, C),
    "linalg.matrix_transpose": (np.linalg.matrix_transpose, C),
    "mT": (lambda x: x.mT, C),
    "rollaxis": (lambda x: np.rollaxis(x, 2), C),
    "rollaxis start": (lambda x: np.rollaxis(x, 0, 3), C),
    "rollaxis negative": (lambda x: np.rollaxis(x, -2, -1), C),
    "expand_dims": (lambda x: np.expand_dims(x, (0, -1)), A),
    "squeeze": (lambda x: np.squeeze(x[:, None, :, None], axis=(1, -1)), A),
    "flip": (np.flip, C),
    "flip axes": (lambda x: np.flip(x, (0, -1)), C),
    "flip axis": (lambda x: np.flip(x, 1), C),
    "flipud": (np.flipud, A),
    "fliplr": (np.fliplr, A),
    "roll": (lambda x: np.roll(x, 5), A),
    "roll axis": (lambda x: np.roll(x, -2, axis=1), C),
    "roll tuples": (lambda x: np.roll(x, (1, -1), axis=(0, 2)), C),
    "roll one shift": (lambda x: np.roll(x, 1, axis=(0, 1)), C),
    "roll the same axis": (lambda x: np.roll(x, (1, 2), axis=(1, 1)), C),
    "roll empty": (lambda x: np.roll(x, 2, axis=0), Z),
    **{f"rot90 {k}": (lambda x, k=k: np.rot90(x, k), C) for k in range(-1, 5)},
    "rot90 axes": (lambda x: np.rot90(x, axes=(2, 1)), C),
    "tile": (lambda x: np.tile(x, 2), A),
    "tile more": (lambda x: np.tile(x, (2, 1, 3)), A),
    "tile fewer": (lambda x: np.tile(x, (2,)), C),
    "tile zero": (lambda x: np.tile(x, (0, 2)), A),
    "tile number": (lambda x: np.tile(x, 3), np.array(1.5)),
    "repeat": (lambda x: np.repeat(x, 2), A),
    "repeat axis": (lambda x: np.repeat(x, 3, axis=-1), A),
    "repeat each": (lambda x: np.repeat(x, [2, 0, 1], axis=0), A),
    "repeat each of all": (lambda x: x.repeat([1, 2, 0, 3]), V),
    "repeat number": (lambda x: np.repeat(x, 3), np.array(1.5)),
    "resize": (lambda x: np.resize(x, (3, 7)), A),
    "resize smaller": (lambda x: np.resize(x, 5), A),
    "resize empty": (lambda x: np.resize(x, (2, 2)), Z),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 5, 4)), values(5, 1)),
    "atleast_1d": (np.atleast_1d, np.array(2.0)),
    "atleast_2d": (np.atleast_2d, V),
    "atleast_3d": (np.atleast_3d, V),
    "atleast_3d of two": (np.atleast_3d, A),
    "atleast_3d of none": (np.atleast_3d, np.array(2.0)),
    "delete": (lambda x: np.delete(x, 1), A),
    "delete axis": (lambda x: np.delete(x, [0, -1], axis=1), A),
    "delete slice": (lambda x: np.delete(x, slice(None, None, 2), axis=1), A),
    "delete mask": (lambda x: np.delete(x, np.array([True, False, True]), axis=0), A),
    "insert": (lambda x: np.insert(x, 1, 5.0), A),
    "insert axis": (lambda x: np.insert(x, 1, V, axis=0), A),
    "insert number in axis": (lambda x: np.insert(x, 3, 9.0, axis=1), A),
    "insert column": (lambda x: np.insert(x, 1, V[:3], axis=1), A),
    "insert column in list": (lambda x: np.insert(x, [1], V[:3, None], axis=1), A),
    "insert several": (lambda x: np.insert(x, [0, 2, 2], [5.0, 6.0, 7.0], axis=1), A),
    "insert slice": (lambda x: np.insert(x, slice(0, 4, 2), [[5.0, 6.0]], axis=1), A),
    "insert at the end": (lambda x: np.insert(x, 4, 6.0), V),
    "trim_zeros f": (lambda x: np.trim_zeros(x * np.array([0.0, 1.0, 0.0, 1.0, 0.0]), "f"),
                     values(5)),
    "diag": (np.diag, V),
    "diag k": (lambda x: np.diag(x, 2), V),
    "diag -k": (lambda x: np.diag(x, -1), V),
    "diag of matrix": (lambda x: np.diag(x, 1), A),
    "diag of matrix below": (lambda x: np.diag(x, -2), A),
    "diag of matrix beyond": (lambda x: np.diag(x, 7), A),
    "diagflat": (lambda x: np.diagflat(x, 1), A),
    "diagonal": (np.diagonal, C),
    "diagonal axes": (lambda x: x.diagonal(1, 0, 2), C),
    "diagonal negative": (lambda x: np.diagonal(x, -1, -1, 0), C),
    "trace": (np.trace, A),
    "trace axes": (lambda x: np.trace(x, 1, -1, 0), C),
    "tril": (np.tril, A),
    "tril k": (lambda x: np.tril(x, -1), C),
    "tril of vector": (np.tril, V),
    "triu": (lambda x: np.triu(x, 1), A),
    "triu of three": (np.triu, C),
    "vander": (np.vander, V),
    "vander increasing": (lambda x: np.vander(x, 3, increasing=True), V),
    "vander none": (lambda x: np.vander(x, 0), V),
    "split": (lambda x: np.split(x, 2, axis=1), A),
    "split at": (lambda x: np.split(x, [1, 3], axis=-1), A),
    "split beyond": (lambda x: np.split(x, [2, 9]), A),
    "split back": (lambda x: np.split(x, [3, 1], axis=1), A),
    "split back once": (lambda x: np.split(x, [5, 3]), values(6)),
    "split negative": (lambda x: np.split(x, [-1]), V),
    "array_split": (lambda x: np.array_split(x, 3, axis=1), A),
    "hsplit": (lambda x: np.hsplit(x, 2), A),
    "hsplit vector": (lambda x: np.hsplit(x, [1]), V),
    "vsplit": (lambda x: np.vsplit(x, 3), A),
    "dsplit": (lambda x: np.dsplit(x, 2), C),
    "unstack": (lambda x: ops.unstack(x), A),
    "unstack axis": (lambda x: ops.unstack(x, axis=-1), C),
    "iteration": (lambda x: [2 * row for row in x], A),
    "unpacking": (lambda x: (lambda a, b, c: a * b + c)(*x), A),
    "stack of a tracer": (lambda x: np.stack(x, axis=1), A),
    "concatenate of a tracer": (lambda x: np.concatenate(x), C),
    "apply_along_axis": (lambda x: np.apply_along_axis(np.sum, 1, x), C),
    "apply_along_axis vectors": (lambda x: np.apply_along_axis(lambda v: v[::-1] * 2, 1, x), C),
    "apply_over_axes": (lambda x: np.apply_over_axes(np.sum, x, [0, 2]), C),
    "sliding_window_view": (lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 3)), A),
    "sliding_window_view axis": (
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1), C),
    "copy": (np.copy, A),
    "linspace": (lambda x: np.linspace(x[0], x[1], 5), V),
    "linspace axis": (lambda x: np.linspace(x[0], 3.0, 4, axis=-1), A),
    "linspace without the end": (lambda x: np.linspace(0, x, 4, endpoint=False), V),
    "linspace one": (lambda x: np.linspace(x[0], x[1], 1), V),
    "linspace step": (lambda x: np.linspace(x[0], x[1], 3, retstep=True), V),
    "logspace": (lambda x: np.logspace(x[0], x[1], 4, base=2.0), V),
    "geomspace": (lambda x: np.geomspace(x[0], x[1], 4), np.array([0.5, 8.0])),
    "full_like": (lambda x: np.full_like(x, x[0]), V),
    "meshgrid": (lambda x: np.meshgrid(x, V), W[:3]),
    "meshgrid ij": (lambda x: np.meshgrid(x, V, x, indexing="ij"), W[:2]),
    "meshgrid sparse": (lambda x: np.meshgrid(x, V, sparse=True), W[:2]),
    "meshgrid one": (lambda x: np.meshgrid(x), W),
    "flat": (lambda x: x.flat[3] * x.ravel(), A),
}  # fmt: skip

SEVERAL: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "hstack": (lambda a, b: np.hstack([a, b]), (A, B)),
    "hstack vectors": (lambda a, b: np.hstack((a, b)), (V, W)),
    "hstack numbers": (lambda a, b: np.hstack([a, b]), (np.array(1.0), np.array(2.0))),
    "vstack": (lambda a, b: np.vstack([a, b]), (A, V)),
    "dstack": (lambda a, b: np.dstack([a, b]), (A, B)),
    "dstack vectors": (lambda a, b: np.dstack([a, b]), (V, W)),
    "column_stack": (lambda a, b: np.column_stack([a, b]), (A, W[:3])),
    "stack": (lambda a, b: np.stack([a, b], axis=-2), (A, B)),
    "stack plain first": (lambda a, b: np.stack([V, a, b]), (V, W)),
    "concatenate None": (lambda a, b: np.concatenate([a, b], axis=None), (A, V)),
    "append": (lambda a, b: np.append(a, b), (A, V)),
    "append axis": (lambda a, b: np.append(a, b, axis=0), (A, B)),
    "block": (lambda a, b: np.block([[a, b], [b, a]]), (A, B)),
    "block of vectors": (lambda a, b: np.block([a, b]), (V, W)),
    "block with numbers": (
        lambda a, b: np.block([[a, 1.0], [np.zeros((1, 4)), b]]), (A[:1], V[:1])),
    "block alone": (lambda a, b: np.block(a), (A, B)),
    "insert traced values": (lambda a, b: np.insert(a, 1, b, axis=0), (A, V)),
    "broadcast_arrays": (lambda a, b: np.broadcast_arrays(a, b), (A, V)),
    "array with like": (lambda a, b: np.array([a, [1.0, 2.0, 3.0, 4.0], b], like=a), (V, W)),
    "array": (lambda a, b: ops.array([[a[0], b[1]], [0.0, a[2]]]), (V, W)),
    "full with like": (lambda a, b: np.full((2, 3), b[0], like=a), (V, W)),
    "atleast_2d of two": (lambda a, b: np.atleast_2d(a, b), (V, W)),
    "pad with traced values": (
        lambda a, b: np.pad(a, ((1, 2), (0, 1)), constant_values=np.reshape(b, (2, 2))), (A, V)),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_array(name: str) -> None:
    f, x = ONE[name]
    vmap = not name.startswith(("trim_zeros", "atleast_3d of none"))
    check_everything(f, x, graph="trim_zeros" not in name, vmap=vmap)


@pytest.mark.parametrize("name", SEVERAL)
def test_functions_of_several_arrays(name: str) -> None:
    f, xs = SEVERAL[name]
    if name in ("array with like", "full with like", "pad with traced values"):
        _traced_all(f, *xs)  # NumPy asks the first operand alone
    else:
        check_everything(f, *xs)


def _traced_all(f: Any, *xs: Any) -> None:
    check_values(f, *xs, vmap=False)
    want = [f(*each) for each in zip(*[np.stack([x, x[::-1]]) for x in xs], strict=True)]
    same(kn.vmap(f)(*[np.stack([x, x[::-1]]) for x in xs]), np.stack(want))


# ---- dtypes --------------------------------------------------------------------------------------

OF_DTYPES = [
    np.flip,
    lambda x: np.roll(x, 1),
    lambda x: np.tile(x, 2),
    lambda x: np.repeat(x, 2),
    np.diag,
    np.tril,
    np.vander,
    lambda x: np.pad(x, 2, "linear_ramp"),
    lambda x: np.pad(x, 2, "mean"),
    lambda x: np.pad(x, 2, "reflect", reflect_type="odd"),
    lambda x: np.insert(x, 1, 2.7),
    lambda x: np.append(x, 2.7),
    lambda x: np.hstack([x, 2.5]),
    lambda x: np.resize(x, 7),
    np.cumsum,
    np.cumprod,
    np.diff,
    lambda x: np.diff(x, prepend=1),
    lambda x: np.trace(np.outer(x, x)),
    lambda x: np.take(x, [0, 1]),
    lambda x: np.sort(x),
    lambda x: np.linspace(x, 3, 4),
]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i4", "i8", "?", "c8", "c16"])
@pytest.mark.parametrize("f", OF_DTYPES, ids=range(len(OF_DTYPES)))
def test_dtypes(f: Any, dtype: str) -> None:
    x = np.array([3, 1, 2]).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            want = f(x)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)):
                kn.graph(f)(x)
            return
        program = kn.graph(f)(x)
        assert program.outputs[0].aval.dtype == np.asarray(want).dtype
        same(program(x), want)
        if x.dtype.kind in "fc":
            same(kn.vjp(f, x)[0], want)


# ---- np.pad --------------------------------------------------------------------------------------

MODES: list[tuple[str, dict[str, Any]]] = [
    ("constant", {}),
    ("constant", {"constant_values": 2.5}),
    ("constant", {"constant_values": ((1.0, 2.0), (3.0, 4.0))}),
    ("constant", {"constant_values": (1.0, 2.0)}),
    ("edge", {}),
    ("empty", {}),
    ("linear_ramp", {}),
    ("linear_ramp", {"end_values": ((1.0, -2.0), (3.0, 4.0))}),
    *[(m, o) for m in ("maximum", "mean", "minimum", "median")
      for o in ({}, {"stat_length": 2}, {"stat_length": ((1, 2), (3, 9))})],
    ("reflect", {}),
    ("reflect", {"reflect_type": "odd"}),
    ("symmetric", {}),
    ("symmetric", {"reflect_type": "odd"}),
    ("wrap", {}),
]  # fmt: skip
WIDTHS: list[Any] = [1, (2, 0), ((1, 2), (0, 3)), ((7, 5), (0, 9)), {1: (2, 1)}, {-1: 3}]


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize(("mode", "options"), MODES, ids=str)
def test_pad(mode: str, options: dict[str, Any], width: Any) -> None:
    def f(x: Any) -> Any:
        y = np.pad(x, width, mode, **options)
        if mode == "empty":  # only the shape is said
            inside = np.pad(np.ones(x.shape), width, "constant")
            y = np.where(inside > 0, y, 0.0)
        return y

    try:
        f(A)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            kn.vjp(f, A)
        return
    if mode == "median" and np.median not in kn.core.numpy_functions:
        pytest.skip("np.median is not there yet")
    check_everything(f, A, order=2 if np.size(width) < 4 else 1)


def test_pad_of_other_dtypes() -> None:
    for dtype, (mode, options) in itertools.product(("i4", "u1", "f4", "f2"), MODES):
        if mode in ("empty", "median"):
            continue
        x = np.arange(12).reshape(3, 4).astype(dtype)
        f = lambda x, m=mode, o=options: np.pad(x, ((2, 1), (0, 3)), m, **o)  # noqa: E731
        got, want = kn.graph(f)(x)(x), f(x)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(
            got.astype(float),
            want.astype(float),
            rtol=1e-3 if dtype == "f2" else 1e-6,
            err_msg=mode,
        )


def test_pad_refuses_what_numpy_refuses() -> None:
    for width, mode, options in (
        (-1, "constant", {}),
        (((1, 2), (3, 4), (5, 6)), "edge", {}),
        (1, "none", {}),
        (1, "edge", {"constant_values": 1}),
        (1.5, "edge", {}),
    ):
        with pytest.raises((TypeError, ValueError)) as plain:
            np.pad(A, width, mode, **options)
        with pytest.raises(plain.type):
            kn.vjp(lambda x, w=width, m=mode, o=options: np.pad(x, w, m, **o), A)
    with pytest.raises(ValueError, match="empty axis"):
        kn.vjp(lambda x: np.pad(x, 1, "edge"), Z)
    with pytest.raises(MissingRuleError, match="function"):
        kn.vjp(lambda x: np.pad(x, 1, lambda *a: None), A)


# ---- constants, questions, methods ---------------------------------------------------------------


def test_questions() -> None:
    def f(x: Any) -> Any:
        assert not np.iscomplexobj(x)
        assert np.isrealobj(x)
        assert np.result_type(x, np.float32(1)) == np.float64
        assert np.size(x, 0) == 3
        assert np.can_cast(np.float32, x.dtype)
        assert not np.shares_memory(x, A)
        assert np.common_type(x, A) is np.float64
        assert x.device == "cpu"
        assert x.to_device("cpu") is x
        assert x.base is None
        assert x.view() is x
        assert len(x) == 3
        assert isinstance(np.zeros(3, like=x), np.ndarray)
        assert isinstance(np.eye(3, like=x), np.ndarray)
        assert "traced" in np.array_repr(x)
        assert np.tril_indices_from(x)[0].shape == (6,)
        assert x.__array_namespace__().sum is not None
        return x * 1.0

    kn.vjp(f, A)
    kn.graph(f)(A)
    with pytest.raises(ValueError, match="cpu"):
        kn.vjp(lambda x: x.to_device("gpu"), A)


def test_membership_where_the_values_are_there() -> None:
    assert kn.vjp(lambda x: x * (0.5 if 2.0 in x else 3.0), np.array([1.0, 2.0]))[0][0] == 0.5
    with pytest.raises(TracerConversionError):
        kn.graph(lambda x: 2.0 in x)(V)


def test_splitting_keeps_the_pieces_traced_and_joins_them_once() -> None:
    text = str(kn.graph(lambda x: np.stack(np.split(x, 2)))(V))
    assert text.count("split") >= 1
    assert "getitem" not in text

    def f(x: Any) -> Any:
        first, *_ = x
        assert isinstance(first, Tracer)
        return np.sum(first**2)

    same(kn.grad(f)(A), np.concatenate([2 * A[:1], np.zeros((2, 4))]))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.split(x, 3),
        lambda x: np.array_split(x, 0),
        lambda x: np.hstack([]),
        lambda x: np.vsplit(x[0], 2),
        lambda x: np.dsplit(x, 2),
        lambda x: np.rot90(x, axes=(0, 0)),
        lambda x: np.rot90(x, axes=(0, 5)),
        lambda x: np.reshape(x, (4, 4)),
        lambda x: np.reshape(x, -1, order="Z"),
        lambda x: np.flip(x, 3),
        lambda x: np.roll(x, 1, axis=4),
        lambda x: np.roll(x, (1, 2, 3), axis=(0, 1)),
        lambda x: np.rollaxis(x, 0, 9),
        lambda x: np.diag(x[None]),
        lambda x: np.diagonal(x[0]),
        lambda x: np.diagonal(x, 0, 1, 1),
        lambda x: np.fliplr(x[0]),
        lambda x: np.repeat(x, [1, 2], axis=0),
        lambda x: np.repeat(x, -1),
        lambda x: np.delete(x, 99),
        lambda x: np.insert(x, 99, 1.0),
        lambda x: np.vander(x),
        lambda x: np.block([[x], []]),
        lambda x: np.block([[x], x]),
        lambda x: np.resize(x, (-1, 2)),
        lambda x: np.matrix_transpose(x[0]),
        lambda x: np.meshgrid(x[0], indexing="zz"),
        lambda x: np.broadcast_to(x, (5, 5)),
        lambda x: np.linspace(x, 1.0, -1),
        lambda x: np.expand_dims(x, (0, 0)),
        lambda x: np.squeeze(x, 0),
        lambda x: np.moveaxis(x, (0, 1), 0),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, (4, 9)),
        lambda x: np.concatenate([x, x[0]]),
    ],
    ids=range(34),
)
def test_refuses_what_numpy_refuses(f: Any) -> None:
    x = values(4, 4)[:, :3]
    with pytest.raises(Exception) as plain:
        f(x)
    with pytest.raises(plain.type):
        kn.vjp(f, x)
    with pytest.raises(plain.type):
        kn.graph(f)(x)


def test_the_order_in_memory_is_not_there() -> None:
    for f in (
        lambda x: x.reshape((6, 4), order="A"),
        lambda x: np.ravel(x, order="K"),
        lambda x: x.flatten("A"),
    ):
        with pytest.raises(ValueError, match="order='C' or order='F'"):
            kn.vjp(f, C)


def test_complex_arrays_move_too() -> None:
    z = A + 1j * B
    for name in ("flip", "diag of matrix", "tril", "split", "roll axis", "tile", "rot90 1"):
        f = ONE[name][0]
        y, pullback = kn.vjp(f, z)
        same(y, f(z))
        g = kn.tree.map(lambda leaf: np.cos(leaf.real) + 1j * leaf.imag, f(z))
        real = kn.vjp(f, A)[1](kn.tree.map(np.real, g))[0]
        imaginary = kn.vjp(f, A)[1](kn.tree.map(np.imag, g))[0]
        np.testing.assert_allclose(pullback(g)[0], real + 1j * imaginary)
