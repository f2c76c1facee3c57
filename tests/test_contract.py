"""Contractions: values against NumPy's own, derivatives against finite differences and JAX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import kinone as kn
from kinone.core import numpy_functions
from kinone.ops.core_axes import on_axes
from kinone.ops.samples import values
from kinone.testing import check_grads

EINSUMS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij,jk->ki", [(2, 3), (3, 4)]),
    ("ij , jk -> ik", [(2, 3), (3, 4)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iii->i", [(3, 3, 3)]),
    ("iijj->ij", [(3, 3, 2, 2)]),
    ("ij->", [(3, 2)]),
    ("ij->j", [(3, 2)]),
    ("ba", [(2, 3)]),
    ("i,i", [(3,), (3,)]),
    ("i,j->ji", [(3,), (4,)]),
    ("ij,ij->ij", [(3, 4), (3, 4)]),
    ("ij,ij->i", [(3, 4), (3, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk", [(5, 1, 2, 3), (6, 3, 4)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("ea,fb,abcd,gc,hd->efgh", [(2, 2), (2, 2), (2, 2, 2, 2), (2, 2), (2, 2)]),
    ("ijk,ilm,njm,nlk,abc->", [(2, 3, 4), (2, 5, 6), (7, 3, 6), (7, 5, 4), (2, 2, 2)]),
    ("iij,jkk->ik", [(3, 3, 2), (2, 4, 4)]),
    ("ij,jk", [(2, 1), (3, 4)]),
    ("ij,ij->ij", [(1, 3), (2, 3)]),
    ("i,ij->j", [(1,), (3, 2)]),
    ("i,i->i", [(1,), (1,)]),
    ("i...->...", [(3, 2, 4)]),
    ("...i->i...", [(3, 2, 4)]),
    ("...", [(3, 2)]),
    ("...,...->...", [(3, 1), (2,)]),
    (",ij->ij", [(), (2, 3)]),
    ("->", [()]),
    ("i,i,i->i", [(3,), (3,), (3,)]),
    ("ij,jk->ik", [(0, 3), (3, 4)]),
    ("ij,jk->ik", [(2, 0), (0, 4)]),
    ("ij->i", [(2, 0)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("ijkl,jilm->mki", [(2, 3, 4, 5), (3, 2, 5, 6)]),
    ("a...b,b...c->...ac", [(2, 3, 4), (4, 3, 2)]),
    ("Aa,aB", [(2, 3), (3, 4)]),
]


def operands(*shapes: tuple[int, ...]) -> list[Any]:
    return [values(*shape, seed=i) for i, shape in enumerate(shapes)]


def traced_value(f: Callable[..., Any], *xs: Any) -> Any:
    """What `f` returns inside of a traced program."""
    return kn.graph(f)(*xs)(*xs)


def same(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind in "fc":
        assert np.allclose(got, want, rtol=tolerance, atol=tolerance)
    else:
        assert np.array_equal(got, want)


class TestEinsum:
    @pytest.mark.parametrize(("text", "shapes"), EINSUMS)
    @pytest.mark.parametrize("dtype", [float, np.float32, np.int64, np.int8, bool, complex])
    def test_values(self, text: str, shapes: list[Any], dtype: Any) -> None:
        xs = [(3 * x).astype(dtype) for x in operands(*shapes)]
        tolerance = 1e-4 if dtype is np.float32 else 1e-12
        same(traced_value(lambda *xs: np.einsum(text, *xs), *xs), np.einsum(text, *xs), tolerance)

    @pytest.mark.parametrize(("text", "shapes"), EINSUMS)
    def test_derivatives(self, text: str, shapes: list[Any]) -> None:
        xs = operands(*shapes)
        check_grads(lambda *xs: np.einsum(text, *xs), tuple(xs), order=1)
        y, pullback = kn.vjp(lambda *xs: np.einsum(text, *xs), *xs)
        g = values(*np.shape(y), seed=9)
        with jax.enable_x64(True):
            _, reference = jax.vjp(lambda *xs: jax.numpy.einsum(text, *xs), *xs)
            wanted = [np.asarray(ct) for ct in reference(jax.numpy.asarray(g))]
        for got, want in zip(pullback(g), wanted, strict=True):
            same(got, want, 1e-10)

    @pytest.mark.parametrize(
        "optimize", [True, False, "greedy", "optimal", ["einsum_path", (0, 1), (0, 1)]]
    )
    def test_order(self, optimize: Any) -> None:
        xs = operands((2, 3), (3, 4), (4, 5))
        text = "ij,jk,kl->il"
        same(
            traced_value(lambda *xs: np.einsum(text, *xs, optimize=optimize), *xs),
            np.einsum(text, *xs),
        )

    def test_sublists(self) -> None:
        a, b = operands((2, 3), (3, 4))
        for make in (
            lambda a, b: (a, [0, 1], b, [1, 2], [0, 2]),
            lambda a, b: (a, [0, 1], b, [1, 2]),
            lambda a, b: (a, [5, 1], b, [1, 2]),
            lambda a, b: (a, [..., 1], b, [1, ..., 2], [..., 2]),
            lambda a, b: (a, [0, 1], [1, 0]),
        ):
            same(
                traced_value(lambda a, b, make=make: np.einsum(*make(a, b)), a, b),
                np.einsum(*make(a, b)),
            )

    def test_dtype(self) -> None:
        a, b = (x.astype(np.float32) for x in operands((2, 3), (3, 4)))
        got = traced_value(lambda a, b: np.einsum("ij,jk", a, b, dtype=np.float64), a, b)
        same(got, np.einsum("ij,jk", a, b, dtype=np.float64))
        with pytest.raises(TypeError, match="casting"):
            traced_value(lambda a, b: np.einsum("ij,jk", a, b, dtype=np.int32), a, b)

    def test_path(self) -> None:
        xs = operands((2, 3), (3, 4), (4, 5))
        found = []
        kn.jvp(lambda *xs: found.append(np.einsum_path("ij,jk,kl", *xs)), tuple(xs), tuple(xs))
        assert found == [np.einsum_path("ij,jk,kl", *xs)]

    def test_lowers_to_matrix_products(self) -> None:
        xs = operands((2, 3, 4, 5), (2, 3, 6, 5))
        program = kn.graph(lambda *xs: np.einsum("bhqd,bhkd->bhqk", *xs))(*xs)
        names = [equation.primitive.name for equation in program.equations]
        assert names.count("matmul") == 1
        assert set(names) <= {"matmul", "reshape", "transpose"}

    def test_complex_is_not_conjugated(self) -> None:
        a, b = [x + 1j * values(*x.shape, seed=5) for x in operands((2, 3), (3, 2))]
        _, pullback = kn.vjp(lambda a, b: np.einsum("ij,ji", a, b), a, b)
        same(pullback(1.0 + 2.0j)[0], (1 + 2j) * b.T)

    @pytest.mark.parametrize(
        ("text", "shapes"),
        [
            ("ii", [(2, 3)]),
            ("ij,jk", [(2, 3), (4, 5)]),
            ("ij->iij", [(2, 3)]),
            ("ij->ik", [(2, 3)]),
            ("i", [(2, 3)]),
            ("ijk", [(2, 3)]),
            ("i,j", [(2,)]),
            ("i1", [(2, 3)]),
            ("i..", [(2, 3)]),
            ("...i->i", [(3, 2, 4)]),
            ("i->i->i", [(2,)]),
            ("...i...", [(2, 3)]),
        ],
    )
    def test_errors(self, text: str, shapes: list[Any]) -> None:
        xs = operands(*shapes)
        with pytest.raises(ValueError):
            np.einsum(text, *xs)
        with pytest.raises(ValueError, match=r"test_contract\.py"):
            kn.jvp(lambda *xs: np.einsum(text, *xs), tuple(xs), tuple(xs))

    def test_vmap(self) -> None:
        a, b = operands((5, 2, 3), (5, 3, 4))
        got = kn.vmap(lambda a, b: np.einsum("ij,jk->ki", a, b))(a, b)
        same(got, np.einsum("bij,bjk->bki", a, b))
        got = kn.vmap(lambda b: np.einsum("ij,jk->ki", a[0], b))(b)
        same(got, np.einsum("ij,bjk->bki", a[0], b))


PRODUCTS: list[tuple[Callable[..., Any], list[tuple[int, ...]]]] = [
    *[
        (np.dot, list(shapes))
        for shapes in [
            ((), ()),
            ((3,), ()),
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 4)),
            ((5, 2, 3), (3,)),
            ((3,), (5, 3, 4)),
            ((2, 3), (5, 3, 4)),
            ((6, 2, 3), (5, 3, 4)),
            ((2, 0), (0, 3)),
            ((2, 0), (4, 0, 3)),
        ]
    ],
    *[(np.inner, list(shapes)) for shapes in [((), (3,)), ((3,), (3,)), ((2, 3), (5, 4, 3))]],
    (np.vdot, [(2, 3), (6,)]),
    (np.outer, [(2, 3), (2,)]),
    *[
        (np.kron, list(shapes))
        for shapes in [
            ((), (3,)),
            ((2,), (3,)),
            ((2, 3), (4,)),
            ((2,), (3, 4)),
            ((2, 1, 3), (2, 2)),
        ]
    ],
    (np.vecdot, [(2, 3), (3,)]),
    (np.vecdot, [(4, 1, 3), (2, 3)]),
    (np.cross, [(3,), (3,)]),
    (np.cross, [(4, 3), (3,)]),
    (np.cross, [(4, 1, 3), (2, 3)]),
    (np.linalg.cross, [(4, 3), (3,)]),
    (np.linalg.outer, [(4,), (3,)]),
    (np.linalg.matmul, [(2, 3), (3, 4)]),
    (np.linalg.vecdot, [(2, 3), (2, 3)]),
    *(
        [
            (np.matvec, [(4, 2, 3), (3,)]),
            (np.matvec, [(2, 3), (5, 3)]),
            (np.vecmat, [(3,), (4, 3, 2)]),
            (np.vecmat, [(5, 3), (3, 2)]),
        ]
        if hasattr(np, "matvec")
        else []
    ),
]


@pytest.mark.parametrize(("f", "shapes"), PRODUCTS)
class TestProducts:
    @pytest.mark.parametrize("dtype", [float, np.float32, np.int64, np.int8, bool, complex])
    def test_values(self, f: Any, shapes: list[Any], dtype: Any) -> None:
        xs = [3 * x for x in operands(*shapes)]
        if dtype is complex:
            xs = [x + 1j * values(*np.shape(x), seed=7) for x in xs]
        xs = [x.astype(dtype) for x in xs]
        try:
            want = f(*xs)
        except TypeError:
            return  # np.cross subtracts, which booleans cannot
        same(traced_value(f, *xs), want, 1e-5 if dtype is np.float32 else 1e-12)

    def test_derivatives(self, f: Any, shapes: list[Any]) -> None:
        xs = operands(*shapes)
        check_grads(f, tuple(xs), order=2)
        zs = [x + 1j * values(*np.shape(x), seed=7) for x in xs]
        check_grads(f, tuple(zs), order=1)


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([(2, 3, 4), (3, 4, 5)], 2),
        ([(2, 3), (4, 5)], 0),
        ([(2, 3), (3, 5)], 1),
        ([(2, 3, 4), (4, 3, 5)], ([1, 2], [1, 0])),
        ([(2, 3, 4), (4, 3, 5)], ((-1, 1), (0, -2))),
        ([(2, 3, 4), (5, 3)], (1, 1)),
        ([(2, 3), (2, 3)], ([0, 1], [0, 1])),
        ([(2, 3), (3,)], 1),
        ([(2, 0), (0, 3)], 1),
        ([(), ()], 0),
    ],
)
def test_tensordot(shapes: list[Any], axes: Any) -> None:
    xs = operands(*shapes)
    for f in (np.tensordot, np.linalg.tensordot):
        same(traced_value(lambda *xs, f=f: f(*xs, axes=axes), *xs), np.tensordot(*xs, axes=axes))
    check_grads(lambda *xs: np.tensordot(*xs, axes=axes), tuple(xs), order=2)


def test_cross_of_two_elements() -> None:
    for shapes in ([(2,), (2,)], [(4, 2), (3,)], [(3,), (4, 2)]):
        xs = operands(*shapes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            want = np.cross(*xs)
            same(traced_value(np.cross, *xs), want)
            check_grads(np.cross, tuple(xs), order=1)
        with pytest.warns(DeprecationWarning, match="2-dimensional vectors"):
            traced_value(np.cross, *xs)
    a, b = operands((3, 4), (4, 3))
    for options in ({"axisa": 0, "axisb": 1, "axisc": 0}, {"axisa": 0}):
        got = traced_value(lambda a, b, options=options: np.cross(a, b, **options), a, b)
        same(got, np.cross(a, b, **options))
    same(traced_value(lambda a: np.cross(a, a[::-1], axis=0), a[:3]), np.cross(a, a[::-1], axis=0))


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (np.dot, [(2, 3), (2, 3)]),
        (np.dot, [(2, 3), (5, 2, 3)]),
        (np.inner, [(2, 3), (2, 4)]),
        (np.tensordot, [(2, 3), (4, 3)]),
        (np.vdot, [(2,), (3,)]),
        (np.cross, [(4,), (4,)]),
        (np.linalg.outer, [(2, 3), (3,)]),
    ],
)
def test_errors_name_the_line(f: Any, shapes: list[Any]) -> None:
    xs = operands(*shapes)
    with pytest.raises(ValueError):
        f(*xs)
    with pytest.raises(ValueError, match=r"test_contract\.py"):
        kn.jvp(f, tuple(xs), tuple(xs))


@pytest.mark.parametrize(
    ("ufunc", "shapes", "options"),
    [
        (np.vecdot, [(3, 4), (3, 4)], {"axis": 0}),
        (np.vecdot, [(3, 4), (3, 4)], {"axis": 1, "keepdims": True}),
        (np.vecdot, [(3, 4), (3, 4)], {"keepdims": True}),
        (np.vecdot, [(3, 4), (3, 4)], {"axes": [(0,), (0,)]}),
        (np.vecdot, [(3, 4), (4, 3)], {"axes": [0, 1, ()]}),
        (np.matmul, [(3, 4), (3, 4)], {"axes": [(0, 1), (1, 0), (0, 1)]}),
        (np.matmul, [(3, 4, 5), (3, 4, 5)], {"axes": [(1, 2), (2, 1), (-1, -2)]}),
        (np.matmul, [(3, 4, 5), (5,)], {"axes": [(1, 2), (0,), (0,)]}),
    ],
)
def test_axes_of_ufuncs(ufunc: Any, shapes: list[Any], options: Any) -> None:
    xs = operands(*shapes)
    f = lambda *xs: on_axes(ufunc, numpy_functions[ufunc], *xs, **options)  # noqa: E731
    same(traced_value(f, *xs), ufunc(*xs, **options))
    check_grads(f, tuple(xs), order=1)


@pytest.mark.parametrize(
    "options", [{"axis": 0}, {"keepdims": True}, {"axes": [(0, 1)]}, {"axes": [(0, 1)] * 4}]
)
def test_axes_that_do_not_fit(options: Any) -> None:
    xs = operands((3, 3), (3, 3))
    with pytest.raises((TypeError, ValueError)) as want:
        np.matmul(*xs, **options)
    with pytest.raises(want.type):
        traced_value(lambda *xs: on_axes(np.matmul, np.matmul, *xs, **options), *xs)


def test_vmap_of_a_shared_matrix_is_one_product() -> None:
    """(B, m, k) with a shared (k, n) is one matrix product, not B of them."""
    w = values(3, 4)
    for shape in [(3,), (2, 3), (5, 2, 3)]:
        x = values(7, *shape, seed=1)
        program = kn.graph(kn.vmap(lambda x: x @ w))(x)
        (product,) = [e for e in program.equations if e.primitive.name == "matmul"]
        assert all(len(operand.aval.shape) == 2 for operand in product.inputs)
        same(program(x), x @ w)
    x = values(7, 4, seed=1)
    program = kn.graph(kn.vmap(lambda x: w @ x))(x)
    (product,) = [e for e in program.equations if e.primitive.name == "matmul"]
    assert all(len(operand.aval.shape) == 2 for operand in product.inputs)
    same(program(x), x @ w.T)
