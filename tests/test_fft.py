"""`np.fft` on traced values: NumPy's values and dtypes, and derivatives against JAX."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import numpy as np
import pytest

import kinone as kn
from kinone.ops.samples import values
from kinone.testing import check_grads

COMPLEX = ("fft", "ifft", "irfft", "hfft")  # of what they transform along one axis
REAL = ("rfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "fft2", "ifft2", "irfftn", "irfft2")
REAL_SEVERAL = ("rfftn", "rfft2")

ALONG_ONE: list[dict[str, Any]] = [
    {},
    {"n": 3},
    {"n": 4},
    {"n": 9},
    {"axis": 0},
    {"axis": -2, "n": 5, "norm": "ortho"},
    {"norm": "forward"},
    {"norm": "backward", "n": 1},
]
ALONG_SEVERAL: list[dict[str, Any]] = [
    {},
    {"axes": (0, 1)},
    {"axes": (-1, 0), "norm": "ortho"},
    {"s": (3, 6), "axes": (0, 1), "norm": "forward"},
    {"s": (3, -1), "axes": (1, 0)},
]
CASES = [
    *[(name, options) for name in COMPLEX + REAL for options in ALONG_ONE],
    *[(name, options) for name in SEVERAL + REAL_SEVERAL for options in ALONG_SEVERAL],
    ("fftn", {"axes": (1,)}),
    ("rfftn", {"axes": (1,)}),
    ("irfftn", {"axes": (1,)}),
    ("fftn", {"axes": (0, 0)}),
]


def operand(name: str, dtype: Any = None) -> Any:
    x = values(4, 6)
    if dtype is not None:
        return (3 * x).astype(dtype)
    return x if name in REAL + REAL_SEVERAL else x + 1j * values(4, 6, seed=3)


def traced_value(f: Any, x: Any) -> Any:
    return kn.graph(f)(x)(x)


def same(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert np.allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "options"), CASES)
class TestTransforms:
    def test_values(self, name: str, options: Any) -> None:
        f = getattr(np.fft, name)
        dtypes: list[Any] = [np.float64, np.float32, np.float16, np.int8, bool]
        if name not in REAL + REAL_SEVERAL:
            dtypes += [np.complex128, np.complex64]
        for dtype in dtypes:
            x = operand(name, dtype)
            exact = np.dtype(dtype).itemsize >= 8 or np.dtype(dtype).kind in "ib"
            with np.errstate(all="ignore"):
                want = f(x, **options)
                tolerance = 1e-12 if exact else 0.1 if want.dtype == np.float16 else 1e-4
                same(traced_value(lambda x: f(x, **options), x), want, tolerance)

    def test_derivatives(self, name: str, options: Any) -> None:
        f = getattr(np.fft, name)
        for x in (operand(name), operand(name).real):
            check_grads(lambda x: f(x, **options), (x,), order=2)

    @pytest.mark.oracle
    def test_against_jax(self, name: str, options: Any) -> None:
        x = operand(name)
        if -1 in options.get("s", ()) or options.get("axes") == (0, 0):
            return  # not in JAX
        y, pullback = kn.vjp(lambda x: getattr(np.fft, name)(x, **options), x)
        g = values(*y.shape, seed=5)
        if y.dtype.kind == "c":
            g = g + 1j * values(*y.shape, seed=6)
        with jax.enable_x64(True):
            f = lambda x: getattr(jax.numpy.fft, name)(x, **options)  # noqa: E731
            _, pulled = jax.vjp(f, jax.numpy.asarray(x))
            (want,) = pulled(jax.numpy.asarray(g))
            want = np.asarray(want)
        same(pullback(g)[0], want)

    def test_vmap(self, name: str, options: Any) -> None:
        f = getattr(np.fft, name)
        x = operand(name)
        many = np.stack([x, 2 * x, x[::-1]], axis=1)
        got = kn.vmap(lambda x: f(x, **options), in_axes=1)(many)
        same(got, np.stack([f(each, **options) for each in np.moveaxis(many, 1, 0)]))


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
@pytest.mark.parametrize("axes", [None, 0, -1, (0, 1), (1, 1)])
def test_shifts(name: str, axes: Any) -> None:
    x = values(3, 4)
    f = lambda x: getattr(np.fft, name)(x, axes)  # noqa: E731
    same(traced_value(f, x), f(x))
    check_grads(f, (x,), order=1)


def test_transforms_and_their_inverses() -> None:
    x = values(3, 5)
    same(traced_value(lambda x: np.fft.irfft(np.fft.rfft(x), n=5), x), x)
    same(traced_value(lambda x: np.fft.ifft2(np.fft.fft2(x)).real, x), x)

    def energy(x: Any) -> Any:
        return np.sum(np.abs(np.fft.fft(x, norm="ortho")) ** 2)

    same(kn.grad(energy)(x), 2 * x)  # Parseval


def test_frequencies_are_constants() -> None:
    def f(x: Any) -> Any:
        return np.fft.ifft(np.fft.fft(x) * (2j * np.pi * np.fft.fftfreq(8, 1 / 8))).real

    check_grads(f, (values(8),), order=1)
    d = kn.grad(lambda d: np.sum(np.fft.rfftfreq(4, d)))(0.5)
    assert np.isclose(d, -np.sum(np.fft.rfftfreq(4, 0.5)) / 0.5)


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.fft.fft(x, n=0), ValueError),
        (lambda x: np.fft.fft(x, norm="other"), ValueError),
        (lambda x: np.fft.fft(x, axis=2), IndexError),
        (lambda x: np.fft.fftn(x, s=(2,), axes=(0, 1)), ValueError),
        (lambda x: np.fft.rfft(x + 0j), TypeError),
        (lambda x: np.fft.irfft(x[:, :1]), ValueError),
    ],
)
def test_errors(f: Any, error: Any) -> None:
    x = values(3, 4)
    with pytest.raises(error):
        f(x)
    with pytest.raises(error):
        kn.jvp(f, (x,), (x,))


def test_deprecated_sizes() -> None:
    x = values(3, 4)
    for options in ({"s": (2, 2)}, {"s": (None, 2), "axes": (0, 1)}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            want = np.fft.fftn(x, **options)
        with pytest.warns(DeprecationWarning, match="NumPy 2.0"):
            same(traced_value(lambda x, options=options: np.fft.fftn(x, **options), x), want)
