"""`np.linalg` on traced values: NumPy's values, and derivatives against differences and JAX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import kinone as kn
from kinone.errors import MissingRuleError
from kinone.ops.samples import values
from kinone.testing import check_grads

la = np.linalg


def matrix(*shape: int, seed: int = 0, complex: bool = False) -> Any:
    """Random matrices."""
    x = values(*shape, seed=seed)
    return x + 1j * values(*shape, seed=seed + 20) if complex else x


def regular(*shape: int, seed: int = 0, complex: bool = False) -> Any:
    """Square matrices far from singular, with eigenvalues far from each other."""
    n = shape[-1]
    return 0.4 * matrix(*shape, seed=seed, complex=complex) + np.diag(np.arange(2.0, 2 + 3 * n, 3))


def hermitian(*shape: int, seed: int = 0, complex: bool = False) -> Any:
    x = matrix(*shape, seed=seed, complex=complex)
    return (x + np.conj(x.mT)) / 2 + np.diag(np.arange(8.0, 8 + 4 * shape[-1], 4))


def of_hermitian(f: Any) -> Any:
    """`f` of the Hermitian part. NumPy itself reads one triangle, so that a difference in one
    element would not be what the derivative with respect to a Hermitian matrix means."""
    return lambda a: f((a + np.conj(a.mT)) / 2)


def smooth(of: Any, makers: Any) -> Any:
    """A function of the table as it is held against finite differences: a tuple of arrays."""
    f = of(la)
    flat = lambda *xs: tuple(kn.tree.leaves(f(*xs)))  # noqa: E731
    return of_hermitian(flat) if makers == (hermitian,) else flat


def traced_value(f: Callable[..., Any], *xs: Any) -> Any:
    return kn.graph(f)(*xs)(*xs)


def same(got: Any, want: Any, tolerance: float = 1e-11) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert np.allclose(got, want, rtol=tolerance, atol=tolerance)


def against_jax(f: Any, reference: Any, *xs: Any, tolerance: float = 1e-9) -> None:
    """Cotangents for random cotangents of the results, and tangents, are JAX's."""
    rng = np.random.default_rng(0)

    def random(x: Any) -> Any:
        x = np.asarray(x)
        t = rng.standard_normal(x.shape)
        if x.dtype.kind == "c":
            t = t + 1j * rng.standard_normal(x.shape)
        return t.astype(x.dtype)

    y, pullback = kn.vjp(f, *xs)
    g = kn.tree.map(random, y)
    ts = tuple(random(x) for x in xs)
    got = [*pullback(g), *kn.tree.leaves(kn.jvp(f, xs, ts)[1])]
    with jax.enable_x64(True):
        to_jax = jax.numpy.asarray
        value, pulled = jax.vjp(reference, *map(to_jax, xs))
        structure = jax.tree.structure(value)
        cotangents = pulled(jax.tree.unflatten(structure, map(to_jax, kn.tree.leaves(g))))
        tangents = jax.jvp(reference, tuple(map(to_jax, xs)), tuple(map(to_jax, ts)))[1]
        want = [np.asarray(x) for x in [*cotangents, *jax.tree.leaves(tangents)]]
    for one, other in zip(got, want, strict=True):
        assert np.allclose(one, other, rtol=tolerance, atol=tolerance)


# Functions of matrices with one answer: what depends on the choice of a basis or a phase is made
# independent of it. Each with the form for JAX.
def outer_of(namespace: Any) -> Any:
    return lambda u: u[..., :, None, :] * namespace.conj(u)[..., None, :, :]


def singular(module: Any, namespace: Any) -> Any:
    def f(a: Any) -> Any:
        u, s, vh = module.svd(a, full_matrices=False)
        return s, u[..., :, None, :] * namespace.swapaxes(vh, -1, -2)[..., None, :, :]

    return f


def spectral(name: str, module: Any, namespace: Any) -> Any:
    def f(a: Any) -> Any:
        w, v = getattr(module, name)(a)
        return w, outer_of(namespace)(v)

    return f


def folded(*shape: int, complex: bool = False) -> Any:
    """A regular matrix of 6 × 6 elements in another shape."""
    return regular(6, 6, complex=complex).reshape(shape)


def chain(module: Any) -> Any:
    return lambda *xs: module.multi_dot(xs)


FUNCTIONS: list[tuple[str, Any, Any, Any]] = [
    ("solve", lambda m: m.solve, (regular, matrix), [(3, 3), (3, 2)]),
    ("solve a vector", lambda m: m.solve, (regular, matrix), [(3, 3), (3,)]),
    ("solve stacks", lambda m: m.solve, (regular, matrix), [(4, 1, 2, 2), (3, 2, 3)]),
    ("solve a vector by a stack", lambda m: m.solve, (regular, matrix), [(4, 2, 2), (2,)]),
    ("inv", lambda m: m.inv, (regular,), [(3, 3)]),
    ("inv of stacks", lambda m: m.inv, (regular,), [(2, 4, 3, 3)]),
    ("pinv", lambda m: m.pinv, (matrix,), [(4, 2)]),
    ("pinv of wide", lambda m: m.pinv, (matrix,), [(3, 2, 4)]),
    ("det", lambda m: m.det, (regular,), [(3, 3)]),
    ("det of stacks", lambda m: m.det, (regular,), [(5, 4, 4)]),
    ("slogdet", lambda m: m.slogdet, (regular,), [(3, 3)]),
    ("cholesky", lambda m: m.cholesky, (hermitian,), [(3, 3)]),
    ("cholesky of stacks", lambda m: m.cholesky, (hermitian,), [(2, 3, 3)]),
    ("upper", lambda m: lambda a: m.cholesky(a, upper=True), (hermitian,), [(3, 3)]),
    ("qr", lambda m: m.qr, (matrix,), [(4, 3)]),
    ("qr of square", lambda m: m.qr, (matrix,), [(2, 3, 3)]),
    ("r", lambda m: lambda a: m.qr(a, mode="r"), (matrix,), [(4, 3)]),
    ("eigvalsh", lambda m: m.eigvalsh, (hermitian,), [(3, 3)]),
    ("eigvals", lambda m: m.eigvals, (regular,), [(3, 3)]),
    ("svdvals", lambda m: lambda a: m.svd(a, compute_uv=False), (matrix,), [(3, 4)]),
    ("matrix_power", lambda m: lambda a: m.matrix_power(a, 5), (regular,), [(2, 3, 3)]),
    ("inverse power", lambda m: lambda a: m.matrix_power(a, -2), (regular,), [(3, 3)]),
    ("power 0", lambda m: lambda a: m.matrix_power(a, 0), (regular,), [(3, 3)]),
    ("multi_dot", chain, (matrix,) * 4, [(2, 5), (5, 3), (3, 4), (4,)]),
    ("multi_dot of three", chain, (matrix,) * 3, [(2,), (2, 3), (3,)]),
    ("multi_dot of two", chain, (matrix,) * 2, [(2, 3), (3, 2)]),
    ("tensorinv", lambda m: m.tensorinv, (folded,), [(2, 3, 6)]),
    ("tensorsolve", lambda m: m.tensorsolve, (folded, matrix), [(2, 3, 6), (2, 3)]),
    ("cond", lambda m: m.cond, (regular,), [(3, 3)]),
    ("cond, the inverse", lambda m: lambda a: m.cond(a, -2), (regular,), [(3, 3)]),
    ("cond in other norms", lambda m: lambda a: m.cond(a, "fro"), (regular,), [(3, 3)]),
    ("trace", lambda m: m.trace, (matrix,), [(2, 3, 3)]),
    ("diagonal", lambda m: m.diagonal, (matrix,), [(2, 3, 3)]),
    ("matrix_transpose", lambda m: m.matrix_transpose, (matrix,), [(2, 3, 2)]),
]  # fmt: skip
IDS = [name.replace(" ", "_") for name, *_ in FUNCTIONS]


def operands(makers: Any, shapes: Any, complex: bool) -> list[Any]:
    found = []
    for seed, (make, shape) in enumerate(zip(makers, shapes, strict=True)):
        more = {"seed": seed} if make is matrix else {}
        found.append(make(*shape, complex=complex, **more))
    return found


@pytest.mark.parametrize(("name", "of", "makers", "shapes"), FUNCTIONS, ids=IDS)
class TestFunctions:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.complex64])
    def test_values(self, name: str, of: Any, makers: Any, shapes: Any, dtype: Any) -> None:
        xs = [x.astype(dtype) for x in operands(makers, shapes, np.dtype(dtype).kind == "c")]
        f = of(la)
        want = f(*xs)
        got = traced_value(f, *xs)
        assert type(got) is type(want) or not isinstance(want, tuple)
        single = np.dtype(dtype).itemsize in (4,) or dtype is np.complex64
        for one, other in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
            if name == "eigvals":
                other = other.astype(np.result_type(other.dtype, np.complex64))
                one, other = np.sort_complex(one), np.sort_complex(other)
            same(one, other, 2e-4 if single else 1e-9)

    def test_integers(self, name: str, of: Any, makers: Any, shapes: Any) -> None:
        xs = [np.round(x).astype(np.int64) for x in operands(makers, shapes, False)]
        if name in ("cholesky", "cholesky of stacks", "upper"):
            xs = [x + 4 * np.eye(x.shape[-1], dtype=int) for x in xs]
        f = of(la)
        got, want = traced_value(f, *xs), f(*xs)
        for one, other in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
            if name == "eigvals":
                other = other.astype(complex)
                one, other = np.sort_complex(one), np.sort_complex(other)
            same(one, other, 1e-9)

    @pytest.mark.parametrize("complex", [False, True])
    def test_derivatives(self, name: str, of: Any, makers: Any, shapes: Any, complex: bool) -> None:
        xs = operands(makers, shapes, complex)
        check_grads(smooth(of, makers), tuple(xs), order=2, atol=1e-6, rtol=1e-6)

    @pytest.mark.oracle
    @pytest.mark.parametrize("complex", [False, True])
    def test_against_jax(self, name: str, of: Any, makers: Any, shapes: Any, complex: bool) -> None:
        if (name, complex) == ("slogdet", False):
            of = lambda m: lambda a: m.slogdet(a)[1]  # noqa: E731 (JAX's sign has no tangent)
        against_jax(of(la), of(jax.numpy.linalg), *operands(makers, shapes, complex))

    def test_vmap(self, name: str, of: Any, makers: Any, shapes: Any) -> None:
        f = of(la)
        many = [[x * (1 + 0.1 * k) for x in operands(makers, shapes, False)] for k in range(3)]
        got = kn.vmap(lambda *xs: tuple(kn.tree.leaves(f(*xs))))(
            *map(np.stack, zip(*many, strict=True))
        )
        rows = [traced_value(lambda *xs: tuple(kn.tree.leaves(f(*xs))), *xs) for xs in many]
        for one, column in zip(got, zip(*rows, strict=True), strict=True):
            same(one, np.stack(column), 1e-10)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2)])
def test_svd(shape: tuple[int, ...], complex: bool) -> None:
    a = matrix(*shape, complex=complex)
    f = singular(la, np)
    check_grads(f, (a,), order=2, atol=1e-6, rtol=1e-6)
    against_jax(f, singular(jax.numpy.linalg, jax.numpy), a)
    u, s, vh = traced_value(lambda a: la.svd(a, full_matrices=False), a)
    same((u * s[..., None, :]) @ vh, a)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(4, 2), (2, 5), (3, 3)])
def test_svd_with_full_matrices(shape: tuple[int, ...], complex: bool) -> None:
    """The null space: the projection on it does not depend on its basis."""
    a = matrix(*shape, complex=complex)
    k = min(shape)

    def f(a: Any) -> Any:
        u, s, vh = la.svd(a)
        left, right = u[:, k:], vh[k:]
        return s, left @ np.conj(left).mT, np.conj(right).mT @ right

    for got, want in zip(traced_value(la.svd, a), la.svd(a), strict=True):
        same(got, want)
    check_grads(f, (a,), order=2, atol=1e-6, rtol=1e-6)


def test_svd_of_hermitian() -> None:
    a = hermitian(3, 3) - 14 * np.eye(3)
    want = la.svd(a, hermitian=True)
    for got, one in zip(traced_value(lambda a: la.svd(a, hermitian=True), a), want, strict=True):
        same(got, one)
    same(traced_value(lambda a: la.svd(a, compute_uv=False, hermitian=True), a), want[1])
    check_grads(of_hermitian(lambda a: la.svd(a, compute_uv=False, hermitian=True)), (a,), order=2)


def test_equal_singular_values_do_not_divide_by_zero() -> None:
    a = np.eye(3)
    for f in (singular(la, np), spectral("eigh", la, np), spectral("eig", la, np)):
        y, pullback = kn.vjp(f, a)
        (g,) = pullback(kn.tree.map(np.ones_like, y))
        assert np.all(np.isfinite(g))
    same(kn.grad(lambda a: np.sum(la.svdvals(a)))(a), np.eye(3))
    same(kn.grad(lambda a: la.norm(a, "nuc"))(np.diag([1.0, 0.0])), np.diag([1.0, 1.0]))


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("name", ["eigh", "eig"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2)])
def test_eigenvectors(name: str, shape: tuple[int, ...], complex: bool) -> None:
    a = (hermitian if name == "eigh" else regular)(*shape, complex=complex)
    f = spectral(name, la, np)
    g = of_hermitian(f) if name == "eigh" else f
    check_grads(g, (a,), order=2, atol=1e-6, rtol=1e-6)
    if name == "eigh":
        against_jax(f, spectral(name, jax.numpy.linalg, jax.numpy), a)
    w, v = traced_value(getattr(la, name), a)
    same(a @ v, (v * w[..., None, :]).astype((a @ v).dtype), 1e-9)


@pytest.mark.parametrize("complex", [False, True])
def test_eig_is_what_lapack_returns(complex: bool) -> None:
    """The phase of the vectors is LAPACK's, so the vectors themselves can be differentiated."""
    check_grads(lambda a: tuple(la.eig(a)), (regular(3, 3, complex=complex),), order=2)
    turning = np.array([[1.0, 2.0], [-3.0, 0.5]])
    check_grads(lambda a: tuple(la.eig(a)), (turning,), order=2)
    got, want = traced_value(la.eig, turning), la.eig(turning)
    assert type(got) is type(want)
    same(got.eigenvalues, want.eigenvalues)
    same(got.eigenvectors, want.eigenvectors)


@pytest.mark.parametrize("uplo", ["L", "U", "l"])
@pytest.mark.parametrize("complex", [False, True])
def test_triangles(uplo: str, complex: bool) -> None:
    """A triangle alone counts as in NumPy, and its derivative is that of the triangle."""
    a = hermitian(3, 3, complex=complex)
    part = np.tril(a) if uplo.upper() == "L" else np.triu(a)
    for x in (a, part):
        same(traced_value(lambda x: la.eigvalsh(x, UPLO=uplo), x), la.eigvalsh(x, UPLO=uplo))
        same(
            traced_value(lambda x: la.cholesky(x, upper=uplo == "U"), x),
            la.cholesky(x, upper=uplo == "U"),
        )
    cut = np.tril if uplo.upper() == "L" else np.triu
    check_grads(lambda a: la.eigvalsh(cut(a), UPLO=uplo), (a,), order=2)
    both = matrix(3, 3, complex=complex)
    same(traced_value(lambda x: la.eigvalsh(x, UPLO=uplo), both), la.eigvalsh(both, UPLO=uplo))
    same(traced_value(la.eigvalsh, np.diag([3.0, 1.0])), np.array([1.0, 3.0]))
    same(kn.grad(lambda x: la.eigvalsh(x)[1])(np.diag([3.0, 1.0])), np.diag([1.0, 0.0]))
    with pytest.raises(ValueError, match="UPLO"):
        traced_value(lambda a: la.eigh(a, UPLO="X"), a)


def test_gradient_of_a_hermitian_matrix_is_hermitian() -> None:
    a = hermitian(3, 3)
    weights = values(3, 3, seed=4)
    for f in (
        lambda a: np.sum(weights * la.cholesky(a)),
        lambda a: np.sum(weights[0] * la.eigvalsh(a)),
    ):
        g = kn.grad(f)(a)
        same(g, g.T)


@pytest.mark.parametrize("complex", [False, True])
class TestSingularMatrices:
    @pytest.mark.parametrize("rank", [0, 1, 2, 3])
    def test_det(self, rank: int, complex: bool) -> None:
        a = matrix(4, rank, complex=complex) @ matrix(rank, 4, seed=3, complex=complex)
        check_grads(la.det, (a,), order=2)
        check_grads(la.det, (np.stack([a, regular(4, 4, complex=complex)]),), order=1)

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_det_of_small_ones(self, n: int, complex: bool) -> None:
        """Equal singular values: of these the derivatives of all orders are right."""
        a = np.eye(n) + (0j if complex else 0)
        check_grads(la.det, (a,), order=3, atol=1e-6, rtol=1e-6)
        check_grads(la.det, (0 * a,), order=3, atol=1e-6, rtol=1e-6)

    def test_the_others_raise(self, complex: bool) -> None:
        a = np.zeros((2, 2), np.complex128 if complex else np.float64)
        with pytest.raises(la.LinAlgError, match=r"Singular matrix[^$]*test_linalg\.py"):
            kn.vjp(la.inv, a)
        with pytest.raises(la.LinAlgError, match="Singular"):
            kn.vjp(lambda a: la.solve(a, np.ones(2)), a)
        with pytest.raises(la.LinAlgError, match="positive definite"):
            kn.vjp(la.cholesky, a - np.eye(2))


def test_qr_modes() -> None:
    for shape in [(4, 2), (2, 4), (3, 3), (2, 3, 2), (2, 2, 3)]:
        a = matrix(*shape)
        for mode in ("reduced", "complete", "r"):
            want = la.qr(a, mode=mode)
            got = traced_value(lambda a, mode=mode: la.qr(a, mode=mode), a)
            assert type(got) is type(want) or mode == "r"
            for one, other in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
                same(one, other)
    with pytest.raises(MissingRuleError, match="raw"):
        traced_value(lambda a: la.qr(a, mode="raw"), matrix(3, 2))
    with pytest.raises(ValueError, match="Unrecognized mode"):
        traced_value(lambda a: la.qr(a, mode="other"), matrix(3, 2))
    with pytest.warns(DeprecationWarning, match="full"):
        traced_value(lambda a: la.qr(a, mode="full"), matrix(3, 2))


@pytest.mark.parametrize("complex", [False, True])
def test_qr_of_wide_and_complete(complex: bool) -> None:
    wide, tall = matrix(2, 4, complex=complex), matrix(4, 2, complex=complex)
    check_grads(lambda a: tuple(la.qr(a)), (wide,), order=2)

    def f(a: Any) -> Any:
        q, r = la.qr(a, mode="complete")
        more = q[:, 2:]
        return q[:, :2], r, more @ np.conj(more).mT

    check_grads(f, (tall,), order=2)


NORMS: list[Any] = [
    *[((5,), {"ord": ord}) for ord in (None, 0, 1, 2, 3, 1.5, 0.5, -1, -2.5, np.inf, -np.inf)],
    *[((3, 4), {"ord": ord, "axis": 1}) for ord in (None, 1, 2, 3, np.inf, -np.inf)],
    *[((3, 4), {"ord": ord}) for ord in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)],
    *[((2, 3, 4), {"ord": ord, "axis": (2, 0)}) for ord in ("fro", "nuc", 1, -1, 2, np.inf)],
    *[((2, 3, 4), {"ord": ord, "axis": (0, -1), "keepdims": True}) for ord in (None, 1, 2, np.inf)],
    ((2, 3, 4), {}),
    ((2, 3, 4), {"keepdims": True}),
    ((2, 3, 4), {"axis": -2, "keepdims": True}),
    ((2, 3), {"axis": (1,)}),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "options"), NORMS)
class TestNorm:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.complex128])
    def test_values(self, shape: Any, options: Any, dtype: Any) -> None:
        x = matrix(*shape, complex=np.dtype(dtype).kind == "c") * 3
        x = (np.round(x) if dtype is np.int64 else x).astype(dtype)
        if dtype is np.int64 and isinstance(options.get("ord"), float) and options["ord"] < 0:
            x = np.abs(x) + 1
        with np.errstate(divide="ignore"):
            want = la.norm(x, **options)
            got = traced_value(lambda x: la.norm(x, **options), x)
        same(got, want, 1e-5 if dtype is np.float32 else 1e-11)

    def test_derivatives(self, shape: Any, options: Any) -> None:
        for complex in (False, True):
            rng = np.random.default_rng(11)  # away from the kinks, where two sums are alike
            x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)
            order = 1 if complex else 2
            check_grads(lambda x: la.norm(x, **options), (x,), order, atol=1e-6, rtol=1e-6)
            if complex or (options.get("ord") in (0.5, -1, -2.5, 0) and len(shape) == 1):
                continue  # JAX has no derivative there, or another order of rounding
            against_jax(
                lambda x: la.norm(x, **options), lambda x: jax.numpy.linalg.norm(x, **options), x
            )

    def test_at_zero(self, shape: Any, options: Any) -> None:
        ord = options.get("ord")
        if (
            isinstance(ord, (int, float))
            and len(shape) == 1
            and ord < 1
            and ord not in (0, -np.inf)
        ):
            pytest.skip("infinitely steep at 0")
        g = kn.grad(lambda x: np.sum(la.norm(x, **options)))(np.zeros(shape))
        assert np.all(np.isfinite(g))
        if ord in (None, "fro") or (ord == 2 and (len(shape) == 1 or options.get("axis") == 1)):
            assert np.all(g == 0)


def test_vector_and_matrix_norm() -> None:
    x = matrix(2, 3, 4)
    for options in (
        {},
        {"axis": 1},
        {"axis": (0, 2)},
        {"axis": (2, 0), "keepdims": True},
        {"ord": 1},
        {"keepdims": True},
        {"axis": -1, "ord": np.inf, "keepdims": True},
    ):
        same(
            traced_value(lambda x, options=options: la.vector_norm(x, **options), x),
            la.vector_norm(x, **options),
        )
        check_grads(lambda x, options=options: la.vector_norm(x, **options), (x,), order=1)
    for options in ({}, {"ord": "nuc"}, {"ord": 1, "keepdims": True}, {"ord": 2}):
        same(
            traced_value(lambda x, options=options: la.matrix_norm(x, **options), x),
            la.matrix_norm(x, **options),
        )
        check_grads(lambda x, options=options: la.matrix_norm(x, **options), (x,), order=1)


@pytest.mark.parametrize(
    ("x", "options", "error"),
    [
        (np.ones(3), {"ord": "fro"}, ValueError),
        (np.ones((2, 3)), {"ord": 3}, ValueError),
        (np.ones((2, 3)), {"ord": "other"}, ValueError),
        (np.ones((2, 3, 4)), {"ord": 2}, ValueError),
        (np.ones((2, 3)), {"axis": (0, 0)}, ValueError),
        (np.ones((2, 3)), {"axis": 2}, np.exceptions.AxisError),
        (np.ones((2, 3)), {"axis": "x"}, TypeError),
    ],
)
def test_norm_errors(x: Any, options: Any, error: Any) -> None:
    with pytest.raises(error):
        la.norm(x, **options)
    with pytest.raises(error):
        traced_value(lambda x: la.norm(x, **options), x)


class TestLeastSquares:
    @pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)])
    @pytest.mark.parametrize("columns", [(), (2,)])
    @pytest.mark.parametrize("complex", [False, True])
    def test_lstsq(self, shape: Any, columns: Any, complex: bool) -> None:
        a, b = matrix(*shape, complex=complex), matrix(shape[0], *columns, seed=2, complex=complex)
        want = la.lstsq(a, b, rcond=None)
        got = traced_value(lambda a, b: la.lstsq(a, b, rcond=None), a, b)
        for one, other in zip(got, want, strict=True):
            assert np.shape(one) == np.shape(other)
            assert np.allclose(one, other, rtol=1e-9, atol=1e-9)
        check_grads(
            lambda a, b: la.lstsq(a, b, rcond=None)[0], (a, b), order=2, atol=1e-6, rtol=1e-6
        )
        check_grads(lambda a, b: la.lstsq(a, b)[1], (a, b), order=1)

    def test_errors(self) -> None:
        with pytest.raises(la.LinAlgError, match="Incompatible"):
            traced_value(la.lstsq, np.ones((3, 2)), np.ones(2))
        with pytest.raises(la.LinAlgError, match="two-dimensional"):
            traced_value(la.lstsq, np.ones((2, 3, 2)), np.ones((2, 3)))

    def test_pinv_of_equal_singular_values(self) -> None:
        """Where the singular vectors have no derivative, the pseudo-inverse has one."""
        a = np.eye(4)[:, :2]
        check_grads(la.pinv, (a,), order=2)
        many = np.stack([a, 2 * a])
        same(traced_value(lambda a: la.pinv(a, rcond=np.array([1e-9, 1e-8])), many), la.pinv(many))
        same(traced_value(lambda a: la.pinv(a, rtol=None), many), la.pinv(many, rtol=None))
        same(traced_value(lambda a: la.pinv(a, hermitian=True), np.eye(2)), np.eye(2))

    def test_matrix_rank(self) -> None:
        a = matrix(4, 2) @ matrix(2, 4, seed=1)
        for x in (a, np.stack([a, np.eye(4)]), np.zeros(3), np.ones(3)):
            assert np.array_equal(traced_value(la.matrix_rank, x), la.matrix_rank(x))
        for options in ({"tol": 1.0}, {"rtol": 0.5}, {"hermitian": True}):
            x = np.eye(3) * [1.0, 2.0, 0.25]
            got = traced_value(lambda x, options=options: la.matrix_rank(x, **options), x)
            assert np.array_equal(got, la.matrix_rank(x, **options))
        assert np.all(kn.grad(lambda a: np.sum(a) * la.matrix_rank(a))(a) == 2)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (la.inv, np.ones((2, 3))),
        (la.det, np.ones(3)),
        (la.eigh, np.ones((2, 3))),
        (la.svd, np.ones(3)),
        (la.cholesky, np.ones((2, 3))),
        (la.qr, np.ones(3)),
        (lambda a: la.solve(a, np.ones(3)), np.eye(2)),
        (lambda a: la.matrix_power(a, 1.5), np.eye(2)),
        (lambda a: la.multi_dot([a]), np.eye(2)),
        (lambda a: la.multi_dot([a, a, a[None]]), np.eye(2)),
        (lambda a: la.tensorsolve(a, np.ones(3)), np.ones((3, 2))),
        (lambda a: la.tensorinv(a, ind=0), np.ones((3, 3))),
        (la.cond, np.ones((0, 0))),
        (lambda a: la.pinv(a, rcond=1e-3, rtol=1e-3), np.eye(2)),
        (lambda a: la.matrix_rank(a, tol=1e-3, rtol=1e-3), np.eye(2)),
    ],
)
def test_errors_are_those_of_numpy(f: Any, x: Any) -> None:
    with pytest.raises((ValueError, TypeError)) as want:
        f(x)
    with pytest.raises(want.type, match=r"test_linalg\.py"):
        kn.jvp(f, (x,), (x,))


def test_sizes_of_zero() -> None:
    for f, shape in [
        (la.inv, (0, 3, 3)),
        (la.det, (0, 3, 3)),
        (la.slogdet, (0, 2, 2)),
        (la.cholesky, (0, 2, 2)),
        (la.eigh, (0, 2, 2)),
        (la.svd, (0, 2, 3)),
        (la.qr, (0, 3, 2)),
        (la.det, (0, 0)),
        (la.pinv, (0, 3)),
    ]:
        x = np.zeros(shape)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            want, got = f(x), traced_value(f, x)
            for one, other in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
                assert np.shape(one) == np.shape(other)
            y, pullback = kn.vjp(lambda x, f=f: tuple(kn.tree.leaves(f(x))), x)
            assert pullback(y)[0].shape == shape


def test_vmap_of_one_matrix_solves_once() -> None:
    a, b = regular(3, 3), matrix(7, 3, seed=1)
    program = kn.graph(kn.vmap(lambda b: la.solve(a, b)))(b)
    (solve,) = [e for e in program.equations if e.primitive.name == "solve"]
    assert all(len(operand.aval.shape) == 2 for operand in solve.inputs)
    same(program(b), la.solve(a, b.T).T)


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro"], ids=str)
def test_condition_of_singular_matrices(p: Any) -> None:
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    others: list[Any] = [
        np.zeros((1, 1)),
        np.zeros((2, 2)),
        np.stack([np.zeros((2, 2)), np.array([[3.0, 1.0], [1.0, 2.0]])]),
        np.array([[np.nan, 1.0], [1.0, 2.0]]),
        np.full((2, 2), np.inf),
        1e-200 * np.eye(2),
    ]
    for x in [singular, *others] if p not in (None, 2, -2) else others[:3]:
        with np.errstate(all="ignore"):
            want = np.linalg.cond(x, p)
            np.testing.assert_allclose(kn.vjp(lambda x: np.linalg.cond(x, p), x)[0], want)
            np.testing.assert_allclose(kn.graph(lambda x: np.linalg.cond(x, p))(x)(x), want)
    pair = np.stack([np.zeros((2, 2)), np.array([[3.0, 1.0], [0.5, 2.0]])])
    pulled = kn.vjp(lambda x: np.linalg.cond(x, p), pair)[1](np.ones(2))[0]
    alone = kn.grad(lambda x: np.linalg.cond(x, p))(pair[1])
    np.testing.assert_allclose(pulled[1], alone)


def test_symmetric_matrices_of_small_integers() -> None:
    for matrix in ([[100, 1], [1, 100]], [[127, 9], [9, 127]]):
        for dtype in (np.int8, np.uint8, np.int64):
            a = np.array(matrix, dtype)
            for f in (np.linalg.eigvalsh, np.linalg.cholesky):
                np.testing.assert_allclose(kn.graph(f)(a)(a), f(a), rtol=1e-12)
    truths = np.eye(2, dtype=bool)
    np.testing.assert_allclose(kn.graph(np.linalg.eigvalsh)(truths)(truths), [1.0, 1.0])


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0)], ids=str)
def test_eigenvalues_of_nothing(shape: Any) -> None:
    a = np.zeros(shape)
    (w, v), pull = kn.vjp(lambda a: tuple(np.linalg.eig(a)), a)
    assert (w.shape, v.shape) == (shape[:-1], shape)
    assert pull((np.ones_like(w), np.ones_like(v)))[0].shape == shape
    assert kn.jvp(np.linalg.eigvals, (a,), (a,))[1].shape == shape[:-1]


def test_half_precision_is_refused() -> None:
    empty = np.ones((0, 2), np.float16)
    for f in (
        lambda x: np.linalg.norm(x, 2),
        lambda x: np.linalg.matrix_norm(x, ord=-2),
        lambda x: np.linalg.lstsq(x, np.ones(0))[0],
    ):
        with pytest.raises(TypeError, match="float16"):
            kn.graph(f)(empty)
