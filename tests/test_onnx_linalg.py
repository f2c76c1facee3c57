"""Linear algebra and Fourier transforms as ONNX, beside NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_runtime import as_tensor, run

import kinone as kn
import kinone.onnx
from kinone.onnx.lower import elimination, rotations
from kinone.ops.linalg.solve import cofactors_p

la = np.linalg
TOLERANCES = {"float32": 3e-5, "float64": 1e-12, "complex64": 3e-5, "complex128": 1e-12}
DTYPES = [
    "float64",
    "complex128",
    *[pytest.param(dtype, marks=[pytest.mark.slow]) for dtype in ("float32", "complex64")],
]


def matrices(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.normal(size=shape)
    return a.astype(dtype)


def adjoint(a: Any) -> Any:
    return np.conj(a).mT


def positive(a: Any) -> Any:
    return a @ adjoint(a) + 0.5 * np.eye(a.shape[-1], dtype=a.dtype)


def close(found: Any, wanted: Any, tolerance: float) -> None:
    """To the largest number of the result."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    scale = np.abs(wanted).max(initial=0) or 1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


def check(fun: Callable[..., Any], *args: Any, tolerance: float = 1e-12, **options: Any) -> Any:
    options.setdefault("dynamic", {})
    model = kn.onnx.export(fun, *args, **options)
    wanted = [as_tensor(leaf) for leaf in kn.tree.leaves(fun(*args))]
    for got, want in zip(run(model, *args), wanted, strict=True):
        close(got, want, tolerance)
    return model


# ---- linear algebra ------------------------------------------------------------------------------

# Of a (2, n, n) and b (2, n, 3). What has a sign of its own stands by its absolute value.
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "solve": lambda a, b: la.solve(a, b),
    "solve for one matrix": lambda a, b: la.solve(a[0], b),
    "solve for a vector": lambda a, b: la.solve(a[0], b[0, :, 0]),
    "inv": lambda a, b: la.inv(a),
    "det": lambda a, b: la.det(a),
    "slogdet": lambda a, b: tuple(la.slogdet(a)),
    "cholesky": lambda a, b: la.cholesky(positive(a)),
    "qr": lambda a, b: tuple(la.qr(a)),
    "qr of tall ones": lambda a, b: tuple(la.qr(a[..., : max(1, a.shape[-1] - 2)])),
    "complete qr": lambda a, b: tuple(la.qr(a[..., : max(1, a.shape[-1] - 2)], mode="complete")),
    "eigh": lambda a, b: (la.eigvalsh(positive(a)), np.abs(la.eigh(positive(a))[1])),
    "svd": lambda a, b: [np.abs(part) for part in la.svd(a)],
    "tall svd": lambda a, b: [np.abs(part) for part in la.svd(b, full_matrices=False)],
    "wide svd": lambda a, b: [np.abs(part) for part in la.svd(b.mT, full_matrices=False)],
    "singular values": lambda a, b: la.svd(b, compute_uv=False),
    "pinv": lambda a, b: (la.pinv(a), la.pinv(b)),
    "rank": lambda a, b: (la.matrix_rank(a), la.matrix_rank(a * 0)),
    "norms": lambda a, b: (la.norm(a, 2, axis=(-2, -1)), la.norm(a, "nuc", axis=(-2, -1))),
    "powers": lambda a, b: (la.matrix_power(a, 5), la.matrix_power(a, -2)),
    "lstsq": lambda a, b: la.lstsq(a[0], b[0])[0],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str, dtype: str) -> None:
    for n in (1, 5):
        a, b = matrices(2, n, n, dtype=dtype), matrices(2, n, 3, dtype=dtype, seed=1)
        check(FUNCTIONS[name], a, b, tolerance=TOLERANCES[dtype])


def _sum(x: Any) -> Any:
    return np.sum(np.real(x * np.cos(np.arange(x.size)).reshape(x.shape)))


GRADIENTS: dict[str, Callable[[Any], Any]] = {
    "solve": lambda a: _sum(la.solve(a, np.ones((a.shape[-1], 2)))),
    "inv": lambda a: _sum(la.inv(a)),
    "det": lambda a: _sum(la.det(a)),
    "slogdet": lambda a: _sum(la.slogdet(a)[1]),
    "cholesky": lambda a: _sum(la.cholesky(positive(a))),
    "qr": lambda a: _sum(la.qr(a)[0]),
    "eigh": lambda a: _sum(np.abs(la.eigh(positive(a))[1])),
    "svd": lambda a: _sum(np.abs(la.svd(a[..., :3])[0])),
    "pinv": lambda a: _sum(la.pinv(a[..., :3])),
}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str, dtype: str) -> None:
    check(kn.grad(GRADIENTS[name]), matrices(2, 4, 4, dtype=dtype), tolerance=1e-11)


def test_second_derivatives_and_batches() -> None:
    a = matrices(4, 4)
    check(kn.hessian(la.det), a, tolerance=1e-11)
    check(kn.vmap(kn.grad(lambda a: la.slogdet(a)[1])), matrices(3, 4, 4), tolerance=1e-11)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_larger_matrices(dtype: str) -> None:
    a = matrices(33, 33, dtype=dtype)
    check(lambda a: (la.inv(a), la.det(a)), a, tolerance=1e-11)
    check(lambda a: tuple(la.qr(a)), a)
    check(lambda a: la.eigvalsh(positive(a)), a)
    check(lambda a: la.svdvals(a[:, :20]), a)

    def rebuilt(a: Any) -> Any:
        w, v = la.eigh(positive(a))
        u, s, vh = la.svd(a)
        return (v * w) @ adjoint(v), (u * s) @ vh, adjoint(v) @ v, u @ adjoint(u), vh @ adjoint(vh)

    check(rebuilt, a, tolerance=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_awkward_matrices(dtype: str) -> None:
    """Of low rank, of equal values, with zeros where pivots are, of any scale."""
    unit = np.eye(4, dtype=dtype)
    swapped = unit[[1, 0, 3, 2]]
    low = matrices(4, 1, dtype=dtype) @ matrices(1, 4, dtype=dtype, seed=1)
    huge = matrices(4, 4, dtype=dtype) * 1e200
    stack = np.stack([unit, swapped, -unit, huge, huge / 1e200 / 1e200])
    check(lambda a: (la.inv(a), la.solve(a, a[0])), stack[:3])
    check(lambda a: tuple(la.slogdet(a)), stack)
    for a in (*stack, low, low * 0):
        check(lambda a: (la.svdvals(a), la.eigvalsh(0.5 * (a + adjoint(a)))), a)
        check(lambda a: la.qr(a)[0] @ la.qr(a)[1], a)
    check(lambda a: tuple(la.qr(a)), stack)
    check(lambda a: la.pinv(a, rcond=1e-10), low)
    check(lambda a: cofactors_p(a), np.stack([low, unit, low * 0]))

    def orthogonal(a: Any) -> Any:
        u, s, vh = la.svd(a)
        k = s.shape[0]
        return u @ adjoint(u), vh @ adjoint(vh), (u[:, :k] * s) @ vh[:k]

    for a in (low, low * 0, low[:, :2], low[:2]):
        n, m = a.shape
        model = kn.onnx.export(lambda a: orthogonal(a), a, dynamic={})
        for got, want in zip(run(model, a), (np.eye(n), np.eye(m), a), strict=True):
            np.testing.assert_allclose(got, as_tensor(want.astype(dtype)), atol=1e-14)


def test_a_singular_matrix_gives_infinities() -> None:
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    inverse, sign, logarithm = run(
        kn.onnx.export(lambda a: (la.inv(a), *la.slogdet(a)), a, dynamic={}), a
    )
    assert not np.isfinite(inverse).any()
    assert (sign, logarithm) == (0, -np.inf)


def test_dynamic_batch() -> None:
    def fun(a: Any) -> Any:
        w, v = la.eigh(positive(a))
        s = la.svdvals(a)
        return la.inv(a), la.det(a), la.cholesky(positive(a)), la.qr(a)[1], w, np.abs(v), s

    model = kn.onnx.export(fun, matrices(3, 4, 4), dynamic={"a": {0: "batch"}})
    for size in (3, 1, 5):
        a = matrices(size, 4, 4, seed=size)
        for got, want in zip(run(model, a), fun(a), strict=True):
            close(got, np.asarray(want), 1e-12)


def test_empty_matrices() -> None:
    a = np.zeros((2, 0, 0))
    check(lambda a: (la.det(a), *la.slogdet(a), la.inv(a), la.cholesky(a)), a)


def test_the_graph_does_not_grow_with_the_matrix() -> None:
    def nodes(n: int) -> int:
        a = matrices(n, n)
        model = kn.onnx.export(lambda a: (la.inv(a), la.eigvalsh(positive(a))), a, dynamic={})
        return len(model.graph.node)

    assert nodes(30) == nodes(6) < 80


def test_what_differs_from_lapack_is_noted() -> None:
    model = kn.onnx.export(lambda a: la.eigh(positive(a))[1], matrices(3, 3), dynamic={})
    (notes,) = [each.value for each in model.metadata_props if each.key == "kinone.notes"]
    assert "the vectors of eigh may have other signs than LAPACK's" in notes


def test_eig_says_why_not() -> None:
    with pytest.raises(
        kn.onnx.ExportError, match=r"eig cannot be written as ONNX.*test_onnx_linalg"
    ):
        kn.onnx.export(lambda a: la.eigvals(a), matrices(3, 3), dynamic={})


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 16, 27])
def test_formulas_beside_lapack(n: int, dtype: str) -> None:
    """The rules' own functions, run eagerly."""
    kind, tolerance = np.dtype(dtype), TOLERANCES[dtype]
    a, tall = matrices(3, n, n, dtype=dtype), matrices(3, n + 3, n, dtype=dtype)
    close(elimination.inv(a, dtype=kind), la.inv(a), 10 * tolerance)
    close(elimination.cholesky(positive(a), dtype=kind), la.cholesky(positive(a)), tolerance)
    q, r = la.qr(tall, mode="complete")
    for got, want in zip(
        rotations.qr(tall, dtype=kind, complete=True),
        (q[..., :n], r[..., :n, :], q[..., n:]),
        strict=True,
    ):
        close(got, want, tolerance)
    for each in (tall, tall.mT):
        u, s, vh, *more = rotations.svd(each, dtype=kind, full=True)
        close(s, la.svdvals(each), tolerance)
        close((u * s[..., None, :]) @ vh, each, tolerance)
        u, vh = np.concatenate([u, more[0]], -1), np.concatenate([vh, more[1]], -2)
        for one in (u, vh):
            np.testing.assert_allclose(
                one @ adjoint(one), np.eye(one.shape[-1]) + 0 * one, atol=tolerance
            )


# ---- Fourier transforms --------------------------------------------------------------------------

LENGTHS = [1, 2, 3, 4, 5, 7, 8, 12, 37, 64, 65, 100, 127, 256, 1000]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "int32"])
@pytest.mark.parametrize("n", LENGTHS)
def test_fourier(n: int, dtype: str) -> None:
    x = (3 * matrices(2, n, 3, dtype="complex128" if dtype.startswith("c") else "float64")).astype(
        dtype
    )
    tolerance = 2e-6 if dtype in ("float32", "complex64") else 1e-13

    def both(x: Any) -> Any:
        return (
            np.fft.fft(x, axis=1),
            np.fft.ifft(x, axis=1),
            np.fft.fft(x, axis=-2, norm="ortho"),
            np.fft.irfft(x, n=2 * n - 1, axis=1, norm="forward"),
            np.fft.irfft(x, n=max(1, 2 * n - 2), axis=1),
            *(() if np.iscomplexobj(x) else (np.fft.rfft(x, axis=1),)),
        )

    check(both, x, tolerance=tolerance)


@pytest.mark.parametrize("opset", [17, 19, 20, 21])
def test_fourier_opsets(opset: int) -> None:
    x = matrices(2, 8, 12)
    check(lambda x: (np.fft.fft2(x), np.fft.irfft(np.fft.rfft(x))), x, opset=opset)


def test_fourier_gradients_and_batches() -> None:
    x = matrices(4, 12)

    def power(x: Any) -> Any:
        return np.sum(np.abs(np.fft.rfft(x)) ** 3) + np.sum(np.real(np.fft.ifft2(x)) ** 3)

    check(kn.grad(power), x)
    check(kn.vmap(kn.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 3))), x)
    model = kn.onnx.export(np.fft.rfft2, x[None], dynamic={"a": {0: "batch"}})
    for size in (1, 3):
        x = matrices(size, 4, 12)
        close(run(model, x)[0], as_tensor(np.fft.rfft2(x)), 1e-13)


def test_a_length_that_varies_is_refused() -> None:
    with pytest.raises(kn.onnx.ExportError, match="axis of fixed length"):
        kn.onnx.export(lambda x: np.real(np.fft.fft(x)), np.ones(4), dynamic={"x": {0: "length"}})


# ---- positions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_positions(mode: str, order: str) -> None:
    x = np.array([[5, 0], [3, 2]])
    check(lambda x: np.unravel_index(x, (2, 3), order=order), x)
    y = x % 2 if mode == "raise" else x - 2
    check(lambda y: np.ravel_multi_index((y, y[0]), (2, 3), mode=mode, order=order), y)
