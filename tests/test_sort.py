"""Sorting, searching, choosing and sets, on traced values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from surface import check_everything, check_values, same

import kinone as kn
from kinone import ops
from kinone.errors import TracerConversionError
from kinone.ops.samples import values
from kinone.testing import check_grads

V = values(7)
A, C = values(4, 5), values(2, 4, 3)
I = np.array([3, 0, 2, 1])  # noqa: E741 (integers)

SORTS: dict[str, tuple[Any, Any]] = {
    "sort": (np.sort, C),
    "sort axis": (lambda x: np.sort(x, 0), C),
    "sort None": (lambda x: np.sort(x, axis=None), A),
    "sort kind": (lambda x: np.sort(x, kind="stable"), A),
    "sort stable": (lambda x: np.sort(x, stable=True), A),
    "sort empty": (np.sort, A[:0]),
    "partition": (lambda x: np.partition(x, 2), A),
    "partition axis": (lambda x: np.partition(x, 1, axis=0), C),
    "partition several": (lambda x: np.partition(x, (1, -2), axis=-1), A),
    "partition None": (lambda x: np.partition(x, 5, axis=None), A),
    "take_along_axis of argsort": (
        lambda x: np.take_along_axis(x, np.argsort(x, axis=0), axis=0), A),
    "median by sorting": (lambda x: np.sort(x, axis=1)[:, 2] ** 2, A),
    "top two": (lambda x: np.partition(x, -2, axis=1)[:, -2:].sum(1), A),
    "x[argsort]": (lambda x: x[x.argsort()] * np.arange(7.0), V),
    "interp at sorted": (lambda x: np.interp(0.1, np.sort(x), V), V),
}  # fmt: skip
POSITIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "argsort": (lambda x: np.argsort(x, kind="stable"), (C,)),
    "argsort axis": (lambda x: x.argsort(axis=0, stable=True), (C,)),
    "argsort None": (lambda x: np.argsort(x, axis=None), (A,)),
    "argpartition": (lambda x: np.sort(np.argpartition(x, 0)[..., :1]), (C,)),
    "lexsort": (lambda x, y: np.lexsort((np.round(x), y)), (V, np.round(V[::-1]))),
    "lexsort rows": (lambda x: np.lexsort(np.round(x)), (A,)),
    "lexsort axis": (lambda x, y: np.lexsort((x, np.round(y)), axis=0), (A, A[::-1])),
    "searchsorted": (lambda v: ops.searchsorted(np.linspace(-2, 2, 6), v), (A,)),
    "searchsorted both": (lambda a, v: ops.searchsorted(np.sort(a), v, side="right"), (V, A)),
    "searchsorted sorter": (lambda a: np.searchsorted(a, 0.3, sorter=np.argsort(a)), (V,)),
    "searchsorted method": (lambda a: np.sort(a).searchsorted([0.1, 9.0]), (V,)),
    "digitize": (lambda v: np.digitize(v, [-1.0, 0.0, 1.5]), (A,)),
    "digitize right": (lambda v: np.digitize(v, [-1.0, 0.0, 1.5], right=True), (np.round(A),)),
    "digitize falling": (lambda v: np.digitize(v, [1.0, 0.0, -1.5]), (np.round(A),)),
    "isin": (lambda v: np.isin(np.round(v), [1.0, 0.0]), (A,)),
    "isin inverted": (lambda v: np.isin(np.round(v), np.round(v[:1]), invert=True), (A,)),
}
SHAPED_BY_VALUES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "nonzero": (lambda x: np.nonzero(x > 0), (A,)),
    "nonzero of x": (lambda x: x.nonzero(), (A,)),
    "where": (lambda x: np.where(x > 0.5), (A,)),
    "argwhere": (lambda x: np.argwhere(x > 0), (A,)),
    "flatnonzero": (lambda x: np.flatnonzero(x * (x > 0)), (A,)),
    "compress": (lambda x: np.compress(x[:, 0] > 0, x, axis=0), (A,)),
    "compress method": (lambda x: x.compress([True, False, True]), (A,)),
    "extract": (lambda x: np.extract(x > 0, x) ** 2, (A,)),
    "mask": (lambda x: x[x > 0] * 2, (A,)),
    "unique": (lambda x: np.unique(np.concatenate([x, x])), (V,)),
    "unique all": (lambda x: np.unique(np.concatenate([x, x]), True, True, True), (V,)),
    "unique axis": (lambda x: np.unique(np.concatenate([x, x]), axis=0), (A,)),
    "unique_all": (lambda x: tuple(np.unique_all(x)), (V,)),
    "unique_counts": (lambda x: tuple(np.unique_counts(x)), (V,)),
    "unique_inverse": (lambda x: tuple(np.unique_inverse(x)), (V,)),
    "unique_values": (lambda x: np.sort(np.unique_values(x)), (V,)),
    "union1d": (lambda x: np.union1d(x, x[:3] + 1), (V,)),
    "intersect1d": (lambda x: np.intersect1d(x, V[2:5]), (V,)),
    "setdiff1d": (lambda x: np.setdiff1d(x, V[2:5]), (V,)),
    "setxor1d": (lambda x: np.setxor1d(x, V[2:5]), (V,)),
}


@pytest.mark.parametrize("name", SORTS)
def test_sorts(name: str) -> None:
    f, x = SORTS[name]
    check_everything(f, x)


@pytest.mark.parametrize("name", POSITIONS)
def test_positions(name: str) -> None:
    f, args = POSITIONS[name]
    check_values(f, *args)


@pytest.mark.parametrize("name", SHAPED_BY_VALUES)
def test_what_depends_on_values_works_where_they_are_there(name: str) -> None:
    f, args = SHAPED_BY_VALUES[name]
    check_values(f, *args, graph=False, vmap=False)
    check_values(lambda x: kn.jvp(f, (x,), (x,))[0], *args, graph=False, vmap=False)
    if any(np.asarray(y).dtype.kind == "f" for y in kn.tree.leaves(f(*args))) and name not in (
        "intersect1d", "setdiff1d", "setxor1d"
    ):  # fmt: skip
        check_grads(f, args, order=2)
    if name == "compress method":
        return  # its mask is there
    for transform in (kn.graph, kn.vmap):
        with pytest.raises(TracerConversionError, match=r"np\.where"):
            transform(f)(*[np.stack([x, x]) for x in args])


def test_ties_keep_their_order() -> None:
    x = np.array([1.0, 0.0, 1.0, 0.0])
    g = np.array([10.0, 20.0, 30.0, 40.0])
    theirs = torch.tensor(x, requires_grad=True)
    torch.sort(theirs, stable=True)[0].backward(torch.tensor(g))
    np.testing.assert_array_equal(kn.vjp(np.sort, x)[1](g)[0], theirs.grad)
    np.testing.assert_array_equal(kn.vjp(np.sort, x)[1](g)[0], [30.0, 10.0, 40.0, 20.0])
    partitioned = kn.vjp(lambda x: np.partition(x, 1), x)[1](g)[0]
    np.testing.assert_array_equal(np.sort(partitioned), g)
    np.testing.assert_array_equal(kn.vjp(np.unique, x)[1](g[:2])[0], [20.0, 10.0, 0.0, 0.0])


def test_sort_puts_nan_last() -> None:
    x = np.array([np.nan, 2.0, 1.0])
    y, pullback = kn.vjp(np.sort, x)
    np.testing.assert_array_equal(y, np.sort(x))
    np.testing.assert_array_equal(pullback(np.array([1.0, 2.0, 3.0]))[0], [3.0, 2.0, 1.0])


def test_complex_numbers_sort() -> None:
    z = V[:4] + 1j * V[3:]
    for f in (np.sort, np.sort_complex, lambda z: np.partition(z, 1)):
        same(kn.vjp(f, z)[0], f(z))
        y = kn.vjp(f, z)[1](np.arange(4.0) + 0j)[0]
        np.testing.assert_allclose(np.sum(y * z), np.sum(np.arange(4.0) * f(z)))
    for dtype in ("i1", "i4", "f4", "f8"):
        x = np.array([3, 1, 2]).astype(dtype)
        same(kn.graph(np.sort_complex)(x)(x), np.sort_complex(x))


def test_random_permutations_against_torch() -> None:
    rng = np.random.default_rng(0)
    for shape, axis in (((6,), 0), ((3, 5), 1), ((3, 5), 0), ((2, 3, 4), -2)):
        x, g = rng.normal(size=shape), rng.normal(size=shape)
        theirs = torch.tensor(x, requires_grad=True)
        torch.sort(theirs, dim=axis)[0].backward(torch.tensor(g))
        ours = kn.vjp(lambda x, a=axis: np.sort(x, a), x)[1](g)[0]
        np.testing.assert_array_equal(ours, theirs.grad)


# ---- choices -------------------------------------------------------------------------------------

CHOICES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "select": (lambda x: np.select([x > 1, x > 0], [x**2, 3 * x], -x), (A,)),
    "select without default": (lambda x: np.select([x > 1], [x]), (A,)),
    "select of arrays": (lambda x, y: np.select([x > 1, x < -1], [y, x * y], 7.0), (A, A[::-1])),
    "choose": (lambda x, y: np.choose(I, [x, y, 2 * x, 0.0]), (V[:4], V[3:])),
    "choose wrap": (lambda x, y: np.choose(I - 7, [x, y], mode="wrap"), (V[:4], V[3:])),
    "choose clip": (lambda x, y: np.choose(I - 1, [x, y], mode="clip"), (V[:4], V[3:])),
    "choose broadcast": (lambda x: np.choose(I[:, None] % 2, [x, -x]), (V,)),
    "piecewise": (lambda x: np.piecewise(x, [x < -0.5, x > 0.5], [np.sin, np.exp]), (V,)),
    "piecewise otherwise": (lambda x: np.piecewise(x, [x < 0], [np.sin, lambda v: v**2]), (V,)),
    "piecewise numbers": (lambda x: np.piecewise(x, [x < 0, x > 1], [-1.0, 1.0, np.cos]), (V,)),
    "piecewise one": (lambda x: np.piecewise(x, x < 0, [np.sin]), (V,)),
    "piecewise arguments": (
        lambda x: np.piecewise(x, [x < 0], [lambda v, k: k * v, 0.5], 3.0), (V,)),
    "where two": (lambda x: np.where(x > 0, x, 2.0), (A,)),
    "ix_": (lambda x: x[np.ix_([1, 0, 1], [2, 4])], (A,)),
    "ix_ mask": (lambda x: x[np.ix_([True, False, True, False], [2, 4])], (A,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    f, args = CHOICES[name]
    check_everything(f, *args, vmap=name != "select of arrays")


def test_choices_by_traced_numbers() -> None:
    check_values(lambda i, x: ops.choose(i, [x, 2 * x, -x, x + 1]), I, V[:4])
    check_values(lambda i: np.choose(i, [I, 2 * I, -I, I]), I, vmap=True)
    with pytest.raises(ValueError, match="choice"):
        kn.vjp(lambda x: np.choose([0, 5, 0, 1], [x, x]), V[:4])


def test_positions_of_several_axes_and_of_one() -> None:
    i = np.array([[5, 0], [11, 7]])
    check_values(lambda i: np.unravel_index(i, (3, 4)), i)
    check_values(lambda i: np.unravel_index(i, (3, 4), order="F"), i)
    check_values(lambda i, j: np.ravel_multi_index((i, j), (12, 12)), i, i[0])
    check_values(lambda i: np.ravel_multi_index((i, i - 3), (5, 5), mode="clip"), i)
    check_values(
        lambda i: np.ravel_multi_index((i, i - 3), (5, 5), mode=("wrap", "clip"), order="F"), i
    )
    program = kn.graph(lambda i: np.unravel_index(i, (3,)))(i)
    with pytest.raises(ValueError, match="out of bounds"):
        program(i)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sort(x, 3),
        lambda x: np.sort(x, order="a"),
        lambda x: np.sort(x, kind="stable", stable=True),
        lambda x: np.sort(x[0, 0]),
        lambda x: np.argsort(x, 2),
        lambda x: np.partition(x, 9),
        lambda x: np.searchsorted(x, 1.0),
        lambda x: np.searchsorted(x[0], 1.0, side="middle"),
        lambda x: np.digitize(x, [0.0, 2.0, 1.0]),
        lambda x: np.select([], []),
        lambda x: np.select([x > 0], [x, x]),
        lambda x: np.select([x], [x]),
        lambda x: np.compress([[True]], x),
        lambda x: np.nonzero(x[0, 0]),
        lambda x: np.where(x, x),
        lambda x: np.piecewise(x, [x > 0], [1.0, 2.0, 3.0]),
        lambda x: np.choose([0, 1], [x[0, :2], x[0, :2]], mode="other"),
        lambda x: np.ix_(x),
        lambda x: np.lexsort(x[0, 0]),
    ],
    ids=range(19),
)
def test_refuses_what_numpy_refuses(f: Any) -> None:
    with pytest.raises(Exception) as plain:
        f(A)
    with pytest.raises(plain.type):
        kn.vjp(f, A)


def test_digitize_by_falling_bins_that_nobody_knows() -> None:
    x = np.array([0.5, 1.5, 2.0, 9.0])
    for bins in (np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0]), np.array([2.0]), x[:0]):
        for right in (False, True):
            check_values(lambda b, right=right: np.digitize(x, b, right), bins, vmap=len(bins) < 2)
    bins = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    same(kn.vmap(lambda b: np.digitize(x, b))(bins), np.stack([np.digitize(x, b) for b in bins]))


def test_positions_in_a_number_and_in_nothing() -> None:
    x = np.array(3.0)
    for f in (np.argsort, lambda x, axis: np.argpartition(x, 0, axis)):
        for axis in (0, -1, None):
            check_values(lambda x, f=f, axis=axis: f(x, axis=axis), x)
    for shape in ((0,), (0, 4), (4, 0)):
        for f in (np.partition, np.argpartition):
            for axis in (None, 0, -1):
                check_values(lambda x, f=f, axis=axis: f(x, (0, 7), axis), np.zeros(shape))
    with pytest.raises(ValueError, match="out of bounds"):
        kn.vjp(lambda x: np.argpartition(x, 1), x)


def test_piecewise_of_a_number() -> None:
    for number in (0.5, 3.0):
        x = np.array(number)
        check_everything(
            lambda x: np.piecewise(x, [x < 1, x >= 1], [lambda t: t * t, lambda t: 3 * t]), x
        )
        check_values(lambda x: np.piecewise(x, x > 1, [lambda t: t * t, 7.0]), x)
        check_values(lambda x: np.piecewise(x, [x > 1], [lambda t: t * t]), x)


def test_isin_knows_its_kinds() -> None:
    x = np.array([1.0, 2.0])
    check_values(lambda x: np.isin(x, [1.0], kind="sort"), x)
    for kind in ("nonsense", "table"):
        with pytest.raises(ValueError, match=r"kind|table"):
            kn.vjp(lambda x, kind=kind: np.isin(x, [1.0], kind=kind), x)
