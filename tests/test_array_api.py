"""`kinone.numpy` as a namespace of the Python array API standard, 2024.12, on traced values.

The standard's functions with every keyword that it gives them: the same result as on plain arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from surface import same

import kinone as kn
import kinone.numpy as xp
from kinone.testing import check_grads

X = np.array([[1.0, -2.0, 3.5], [4.0, 0.5, -6.0]])
PLACES = np.array([2, 0])

# The names of the standard, in its chapters.
NAMES = {
    "constants": "e inf nan newaxis pi",
    "creation": "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid "
    "ones ones_like tril triu zeros zeros_like",
    "dtypes": "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 "
    "complex128",
    "dtype functions": "astype can_cast finfo iinfo isdtype result_type",
    "elementwise": "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift "
    "bitwise_invert bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh "
    "divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite isinf "
    "isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not logical_or "
    "logical_xor maximum minimum multiply negative nextafter not_equal positive pow real "
    "reciprocal remainder round sign signbit sin sinh square sqrt subtract tan tanh trunc",
    "indexing": "take take_along_axis",
    "inspection": "__array_namespace_info__ __array_api_version__",
    "linear algebra": "matmul matrix_transpose tensordot vecdot",
    "manipulation": "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims "
    "repeat reshape roll squeeze stack tile unstack",
    "searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "sets": "unique_all unique_counts unique_inverse unique_values",
    "sorting": "argsort sort",
    "statistics": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "utilities": "all any diff",
}
LINALG = (
    "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank "
    "matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm"
)
FFT = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift"


def test_names() -> None:
    for names in NAMES.values():
        for name in names.split():
            assert hasattr(xp, name), name
    for name in LINALG.split():
        assert hasattr(xp.linalg, name), name
    for name in FFT.split():
        assert hasattr(xp.fft, name), name


def _unique_up_to_sign(result: Any) -> Any:
    return np.abs(result)


# Every function that has keywords, with them; "graph" runs it without values as well.
CALLS: dict[str, list[Callable[[Any], Any]]] = {
    "astype": [
        lambda x: xp.astype(x, xp.float32, copy=False),
        lambda x: xp.astype(x, xp.complex128, device="cpu"),
        lambda x: xp.astype(x > 0, xp.int8, copy=True),
    ],
    "asarray": [
        lambda x: xp.asarray(x, dtype=xp.float32, device="cpu", copy=True),
        lambda x: xp.asarray([[x[0, 0], 1.0], [2.0, x[1, 1]]], dtype=xp.float32),
        lambda x: xp.asarray(x[0, 0], copy=None),
    ],
    "from_dlpack": [lambda x: xp.from_dlpack(x, device="cpu", copy=None)],
    "full": [
        lambda x: xp.full((2, 3), x[0], dtype=xp.float32, device="cpu"),
        lambda x: xp.full_like(x, 3, dtype=xp.float32, device="cpu"),
        lambda x: xp.full_like(X, x[0, 0]),
        lambda x: x * xp.full(3, 2.5),
    ],
    "ones_like": [
        lambda x: xp.ones_like(x, dtype=xp.int8, device="cpu"),
        lambda x: xp.zeros_like(x, device="cpu"),
        lambda x: xp.empty_like(x, dtype=xp.bool, device="cpu").shape[0] * x,
    ],
    "linspace": [
        lambda x: xp.linspace(
            x[0, 0], x[0, 2], num=4, dtype=xp.float32, device="cpu", endpoint=False
        )
    ],
    "meshgrid": [lambda x: xp.meshgrid(x[0], x[1], indexing="ij")],
    "tril": [lambda x: xp.tril(x, k=-1), lambda x: xp.triu(x, k=1)],
    "result_type": [
        lambda x: x.astype(xp.result_type(x.astype(xp.float32), 1.0, xp.int8)),
        lambda x: x.astype(xp.result_type(x.astype(xp.float32), xp.complex128)),
    ],
    "isdtype": [
        lambda x: x * xp.isdtype(x.dtype, ("real floating", "integral")),
        lambda x: x * xp.can_cast(x, xp.float32),
    ],
    "finfo": [
        lambda x: x * float(xp.finfo(x).eps),
        lambda x: x * xp.iinfo(xp.asarray(PLACES)).bits,
        lambda x: x * float(xp.finfo(xp.float32).eps),
    ],
    "clip": [
        lambda x: xp.clip(x, min=0.0),
        lambda x: xp.clip(x, max=1.0),
        lambda x: xp.clip(x, min=-1.0, max=xp.asarray([1.0, 2.0, 3.0])),
    ],
    "take": [
        lambda x: xp.take(x, xp.asarray(PLACES), axis=1),
        lambda x: xp.take_along_axis(x, xp.argsort(x, axis=0), axis=0),
    ],
    "matmul": [
        lambda x: xp.matmul(x, x.mT),
        lambda x: xp.matrix_transpose(x[None]),
        lambda x: xp.tensordot(x, x, axes=((0,), (0,))),
        lambda x: xp.vecdot(x, x, axis=0),
    ],
    "concat": [
        lambda x: xp.concat([x, x], axis=None),
        lambda x: xp.concat((x, x), axis=1),
        lambda x: xp.stack([x, x], axis=-1),
    ],
    "expand_dims": [
        lambda x: xp.expand_dims(x, axis=-1),
        lambda x: xp.squeeze(x[None, :, None], axis=(0, 2)),
        lambda x: xp.moveaxis(x, 0, 1),
        lambda x: xp.permute_dims(x, axes=(1, 0)),
        lambda x: xp.broadcast_to(x, (2, 2, 3)),
        lambda x: xp.broadcast_arrays(x, x[0]),
    ],
    "flip": [
        lambda x: xp.flip(x, axis=(0, 1)),
        lambda x: xp.flip(x, axis=None),
        lambda x: xp.roll(x, shift=(1, 2), axis=(0, 1)),
        lambda x: xp.roll(x, shift=1),
    ],
    "repeat": [
        lambda x: xp.repeat(x, 2, axis=0),
        lambda x: xp.repeat(x, xp.asarray([1, 0, 2]), axis=1),
        lambda x: xp.tile(x, (2, 1, 1)),
        lambda x: xp.unstack(x, axis=1),
    ],
    "reshape": [
        lambda x: xp.reshape(x, shape=(3, 2), copy=True),
        lambda x: xp.reshape(x, (3, 2), copy=False),
    ],
    "searching": [
        lambda x: xp.argmax(x, axis=1, keepdims=True),
        lambda x: xp.argmin(x, axis=None, keepdims=True),
        lambda x: xp.count_nonzero(x, axis=(0, 1), keepdims=True),
        lambda x: xp.searchsorted(x[1], x[0], side="right", sorter=xp.asarray([2, 1, 0])),
        lambda x: xp.where(x > 0, x, 0.0),
    ],
    "sort": [
        lambda x: xp.sort(x, axis=0, stable=True),
        lambda x: xp.sort(x, axis=-1, descending=True, stable=True),
        lambda x: xp.sort(x, axis=0, descending=True),
        lambda x: xp.argsort(x, axis=0, stable=True, descending=True),
        lambda x: xp.argsort(xp.sign(x), axis=-1, stable=True, descending=True),
        lambda x: xp.argsort(x, axis=-1, descending=False),
    ],
    "statistics": [
        lambda x: xp.sum(x, axis=(0, 1), dtype=xp.float32, keepdims=True),
        lambda x: xp.prod(x, axis=0, dtype=xp.float32),
        lambda x: xp.std(x, axis=1, correction=1.0, keepdims=True),
        lambda x: xp.var(x, correction=0.5),
        lambda x: xp.max(x, axis=(0,), keepdims=True) - xp.min(x, axis=-2),
        lambda x: xp.mean(x, axis=-1, keepdims=True),
        lambda x: xp.cumulative_sum(x, axis=-1, dtype=xp.float32, include_initial=True),
        lambda x: xp.cumulative_prod(x, axis=0, include_initial=True),
    ],
    "utilities": [
        lambda x: xp.all(x, axis=(0,), keepdims=True),
        lambda x: xp.any(x > 3, axis=(0, 1)),
        lambda x: xp.diff(x, axis=1, n=1, prepend=x[:, :1], append=x[:, :1]),
    ],
    "linalg": [
        lambda x: xp.linalg.vecdot(x, x, axis=-2),
        lambda x: xp.linalg.outer(x[0], x[1]),
        lambda x: xp.linalg.cross(x, x[::-1], axis=-1),
        lambda x: xp.linalg.trace(x[:, :2], offset=1, dtype=xp.float32),
        lambda x: xp.linalg.diagonal(x, offset=1),
        lambda x: xp.linalg.matrix_norm(x, keepdims=True, ord="nuc"),
        lambda x: xp.linalg.vector_norm(x, axis=(0, 1), keepdims=True, ord=3),
        lambda x: xp.linalg.pinv(x, rtol=1e-6),
        lambda x: xp.linalg.matrix_rank(x, rtol=1e-6),
        lambda x: xp.linalg.cholesky(x @ x.mT + xp.eye(2), upper=True),
        lambda x: xp.linalg.slogdet(x[:, :2]).logabsdet,
        lambda x: xp.linalg.qr(x.mT, mode="reduced").R,
        lambda x: _unique_up_to_sign(xp.linalg.svd(x, full_matrices=False).U),
        lambda x: _unique_up_to_sign(xp.linalg.eigh(x @ x.mT).eigenvectors),
        lambda x: xp.linalg.eigh(x @ x.mT).eigenvalues,
    ],
    "fft": [
        lambda x: xp.fft.fft(x, n=4, axis=0, norm="forward"),
        lambda x: xp.fft.fftn(x, s=(2, 4), axes=(0, 1), norm="ortho"),
        lambda x: xp.fft.irfft(x, n=5, axis=-1),
        lambda x: xp.fft.fftshift(x, axes=(0,)),
        lambda x: xp.fft.fftfreq(4, d=x[0, 0]) * x[0, 0],
        lambda x: xp.fft.rfftfreq(4, d=x[0, 0], dtype=xp.float32, device="cpu"),
        lambda x: xp.fft.fftfreq(4, d=0.5, dtype=xp.float32, device="cpu") + x[0, 0],
    ],
    "the array": [
        lambda x: x.to_device(x.device) + x.ndim + x.size + x.shape[1],
        lambda x: x.T + x.mT,
        lambda x: x.__array_namespace__(api_version="2024.12").abs(x),
        lambda x: abs(x) // 2.0 + (+x) % 3.0 - (-x) ** 2 / 4.0,
        lambda x: (x > 0) & ~(x < 2) ^ (x == 1) | (x >= 4) & (x <= 5) & (x != 4.5),
        lambda x: x[..., None, 0],
        lambda x: x[1, ...][::-1],
        lambda x: x[xp.asarray([[0], [1]]), xp.asarray(PLACES)],
    ],
}
# Their shapes depend on values: known under differentiation, and in no graph.
BY_VALUE: list[Callable[[Any], Any]] = [
    lambda x: xp.nonzero(x > 0),
    lambda x: x[x > 0],
    lambda x: tuple(xp.unique_all(x)),
    lambda x: tuple(xp.unique_counts(x)),
    lambda x: tuple(xp.unique_inverse(x)),
    lambda x: xp.unique_values(x),
]


def _cases() -> list[Any]:
    return [
        pytest.param(f, id=f"{name}-{number}")
        for name, calls in CALLS.items()
        for number, f in enumerate(calls)
    ]


@pytest.mark.parametrize("f", _cases())
def test_on_traced_values(f: Callable[[Any], Any]) -> None:
    want = f(X)
    same(kn.vjp(f, X)[0], want)
    same(kn.graph(f)(X)(X), want)


@pytest.mark.parametrize("f", BY_VALUE)
def test_shapes_that_depend_on_values(f: Callable[[Any], Any]) -> None:
    same(kn.vjp(f, X)[0], f(X))
    with pytest.raises(kn.KinoneError, match=r"graph|tracing"):
        kn.graph(f)(X)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sorted_downwards(axis: int) -> None:
    check_grads(lambda x: xp.sort(x, axis=axis, descending=True), (X,), order=2)
    want = -np.sort(-X, axis=axis)
    np.testing.assert_array_equal(xp.sort(X, axis=axis, descending=True), want)
    ties = np.round(X / 4)
    places = xp.argsort(ties, axis=axis, descending=True, stable=True)
    np.testing.assert_array_equal(places, np.argsort(-ties, axis=axis, stable=True))


def test_signatures() -> None:
    """The keywords of the standard, where NumPy's functions have others."""
    wanted = {
        "sort": ("axis", "descending", "stable"),
        "argsort": ("axis", "descending", "stable"),
        "asarray": ("dtype", "device", "copy"),
        "astype": ("copy", "device"),
        "from_dlpack": ("device", "copy"),
        "full": ("dtype", "device"),
        "full_like": ("dtype", "device"),
        "fft.fftfreq": ("d", "dtype", "device"),
        "fft.rfftfreq": ("d", "dtype", "device"),
    }
    for name, keywords in wanted.items():
        function: Any = xp
        for part in name.split("."):
            function = getattr(function, part)
        assert set(keywords) <= set(inspect.signature(function).parameters), name


def test_namespace() -> None:
    def f(x: Any) -> Any:
        assert x.__array_namespace__() is xp
        info = x.__array_namespace__().__array_namespace_info__()
        assert info.default_device() == x.device == "cpu"
        assert info.default_dtypes()["real floating"] == x.dtype
        assert {"boolean indexing", "data-dependent shapes"} <= set(info.capabilities())
        assert info.dtypes(kind="real floating")["float32"] == np.float32
        return x

    kn.grad(lambda x: f(x).sum())(X)
    assert xp.__array_api_version__ == "2024.12"


def test_devices_and_dtypes_that_are_not() -> None:
    for f in (
        lambda x: xp.astype(x, xp.float32, device="gpu"),
        lambda x: xp.asarray(x, device="gpu"),
        lambda x: xp.full(3, x[0, 0], device="gpu"),
        lambda x: xp.fft.fftfreq(3, device="gpu"),
        lambda x: xp.from_dlpack(x, device="gpu"),
        lambda x: x.to_device("gpu"),
        lambda x: xp.fft.fftfreq(3, dtype=xp.complex64),
    ):
        with pytest.raises(ValueError, match=r"cpu|real"):
            kn.vjp(f, X)
