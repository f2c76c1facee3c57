"""The NumPy kernels against PyTorch, a naive reference, and their own adjoints."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kinone as kn
from kinone import ops
from kinone.ops.kernels import parallel, products, winograd
from kinone.ops.kernels.convolution import conv, conv_input_gradient, conv_weight_gradient
from kinone.ops.kernels.normalization import batch_norm, batch_norm_gradient
from kinone.ops.kernels.parallel import for_blocks
from kinone.ops.kernels.pooling import (
    avg_pool,
    avg_pool_gradient,
    max_pool,
    max_pool_gather,
    max_pool_scatter,
)
from kinone.ops.kernels.toom_cook import F2, F4, STRIDED

torch = pytest.importorskip("torch")
F = torch.nn.functional

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng


def naive_conv(x: Array, w: Array, strides: Any, padding: Any, dilation: Any, groups: int) -> Array:
    """The definition, one window position and one tap at a time."""
    rank, channels, features = len(strides), x.shape[-1] // groups, w.shape[-1] // groups
    spatial, kernel = x.shape[1:-1], w.shape[:rank]
    out = [
        max((spatial[i] + sum(padding[i]) - dilation[i] * (kernel[i] - 1) - 1) // strides[i] + 1, 0)
        for i in range(rank)
    ]
    y = np.zeros((x.shape[0], *out, w.shape[-1]), np.result_type(x, w))
    for o in itertools.product(*map(range, out)):
        for tap in itertools.product(*map(range, kernel)):
            at = [o[i] * strides[i] + tap[i] * dilation[i] - padding[i][0] for i in range(rank)]
            if not all(0 <= at[i] < spatial[i] for i in range(rank)):
                continue
            for group in range(groups):
                read = slice(group * channels, (group + 1) * channels)
                write = slice(group * features, (group + 1) * features)
                y[:, *o, write] += x[:, *at, read] @ w[*tap, :, write]
    return y


@st.composite
def conv_cases(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))

    def per_dimension(elements: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(elements) for _ in range(rank))

    return {
        "images": draw(st.integers(0, 3)),
        "spatial": per_dimension(st.integers(1, 9 if rank < 3 else 5)),
        "kernel": per_dimension(st.integers(1, 4 if rank < 3 else 3)),
        "strides": per_dimension(st.integers(1, 4)),
        "padding": per_dimension(st.tuples(st.integers(-2, 3), st.integers(-2, 3))),
        "dilation": per_dimension(st.integers(1, 3)),
        "groups": draw(st.sampled_from([1, 1, 2, 3])),
        "channels": draw(st.integers(1, 3)),
        "features": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 2**20)),
    }


@settings(max_examples=250, deadline=None)
@given(conv_cases())
def test_conv_is_its_definition_and_the_gradients_its_adjoints(case: dict[str, Any]) -> None:
    rng, groups = RNG(case["seed"]), case["groups"]
    x = rng.standard_normal((case["images"], *case["spatial"], groups * case["channels"]))
    w = rng.standard_normal((*case["kernel"], case["channels"], groups * case["features"]))
    geometry = {name: case[name] for name in ("strides", "padding", "dilation", "groups")}
    y = conv(x, w, **geometry)
    expected = naive_conv(x, w, **geometry)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-11)
    g = rng.standard_normal(y.shape)
    dx = conv_input_gradient(g, w, input_shape=case["spatial"], **geometry)
    dw = conv_weight_gradient(x, g, kernel_shape=case["kernel"], **geometry)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    np.testing.assert_allclose(np.sum(dx * x), np.sum(g * y), atol=1e-9)
    np.testing.assert_allclose(np.sum(dw * w), np.sum(g * y), atol=1e-9)


def to_torch(a: Array) -> Any:
    return torch.tensor(np.moveaxis(a, -1, 1).copy())


def from_torch(t: Any) -> Array:
    return np.moveaxis(t.detach().numpy(), 1, -1)


def torch_conv(
    x: Array, w: Array, g: Array, stride: int, pad: int, dilation: int, groups: int
) -> Any:
    xt = to_torch(x).requires_grad_(True)
    wt = torch.tensor(np.moveaxis(w, (-1, -2), (0, 1)).copy()).requires_grad_(True)
    function = (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3]
    y = function(xt, wt, stride=stride, padding=pad, dilation=dilation, groups=groups)
    dx, dw = torch.autograd.grad(y, [xt, wt], to_torch(g))
    return from_torch(y), from_torch(dx), np.moveaxis(dw.numpy(), (0, 1), (-1, -2))


# images, spatial, channels, features, kernel, stride, pad, dilation, groups
LAYERS = [
    (4, (32, 32), 3, 64, 3, 1, 1, 1, 1),
    (3, (16, 16), 64, 64, 3, 1, 1, 1, 1),
    (2, (17, 15), 40, 24, 3, 1, 1, 1, 1),
    (2, (17, 14), 40, 24, 3, 2, 1, 1, 1),
    (3, (16, 16), 64, 128, 3, 2, 1, 1, 1),
    (2, (7, 9), 33, 47, 3, 1, 0, 1, 1),
    (2, (16, 16), 64, 128, 1, 2, 0, 1, 1),
    (2, (56, 56), 3, 64, 7, 2, 3, 1, 1),
    (5, (4, 4), 512, 512, 3, 1, 1, 1, 1),
    (2, (14, 14), 32, 64, 1, 1, 0, 1, 1),
    (2, (14, 15), 24, 24, 3, 1, 1, 1, 24),
    (2, (14, 15), 24, 48, 5, 2, 2, 1, 24),
    (2, (20, 20), 16, 32, 3, 1, 2, 2, 4),
    (2, (40,), 16, 32, 5, 3, 2, 2, 2),
    (1, (4000,), 16, 32, 5, 1, 2, 1, 1),
    (1, (1700,), 24, 24, 3, 1, 1, 1, 24),
    (1, (9000,), 24, 48, 3, 1, 1, 2, 24),
    (2, (9, 8, 7), 8, 12, 3, 2, 1, 1, 2),
    (4, (28, 28), 1, 16, 3, 1, 1, 1, 1),
]


def layer_arrays(layer: Any, dtype: Any) -> Any:
    images, spatial, channels, features, kernel, stride, pad, dilation, groups = layer
    rng, rank = RNG(5), len(spatial)
    x = rng.standard_normal((images, *spatial, channels)).astype(dtype)
    w = rng.standard_normal((*(kernel,) * rank, channels // groups, features)).astype(dtype)
    geometry = {
        "strides": (stride,) * rank,
        "padding": ((pad, pad),) * rank,
        "dilation": (dilation,) * rank,
        "groups": groups,
    }
    y = conv(x, w, **geometry)
    g = rng.standard_normal(y.shape).astype(dtype)
    dx = conv_input_gradient(g, w, input_shape=spatial, **geometry)
    dw = conv_weight_gradient(x, g, kernel_shape=w.shape[:rank], **geometry)
    expected = torch_conv(*(a.astype(np.float64) for a in (x, w, g)), stride, pad, dilation, groups)
    return (y, dx, dw), expected


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_conv_in_float64_is_torch(layer: Any) -> None:
    for ours, theirs in zip(*layer_arrays(layer, np.float64), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-6), (np.float16, 1e-3)])
def test_conv_error_is_small_beside_the_largest_output(
    layer: Any, dtype: Any, tolerance: float
) -> None:
    for ours, theirs in zip(*layer_arrays(layer, dtype), strict=True):
        assert ours.dtype == dtype
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("groups", [1, 4, 32])
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_takes_any_memory_layout(dtype: Any, groups: int, pad: int, stride: int) -> None:
    rng = RNG(3)
    geometry: Any = {
        "strides": (stride, stride),
        "padding": ((pad, pad), (pad, pad)),
        "dilation": (1, 1),
        "groups": groups,
    }
    x = rng.standard_normal((2, 32, 9, 10)).astype(dtype).transpose(0, 2, 3, 1)
    w = rng.standard_normal((32, 32 // groups, 3, 3)).astype(dtype).transpose(2, 3, 1, 0)
    out = conv(x, w, **geometry).shape
    g = np.broadcast_to(rng.standard_normal(32).astype(dtype), out)
    wide = np.broadcast_to(x[:1], x.shape)
    for array in (x, w, g, wide):
        array.flags.writeable = False
    plain = np.ascontiguousarray
    for a in (x, wide, x[:, ::-1], x[:, :, ::-1]):
        np.testing.assert_array_equal(conv(a, w, **geometry), conv(plain(a), plain(w), **geometry))
        np.testing.assert_array_equal(
            conv_weight_gradient(a, g, kernel_shape=(3, 3), **geometry),
            conv_weight_gradient(plain(a), plain(g), kernel_shape=(3, 3), **geometry),
        )
    np.testing.assert_array_equal(
        conv_input_gradient(g, w, input_shape=(9, 10), **geometry),
        conv_input_gradient(plain(g), plain(w), input_shape=(9, 10), **geometry),
    )


@settings(max_examples=120, deadline=None)
@given(
    algorithm=st.sampled_from([F2, F4, STRIDED]),
    images=st.integers(1, 5),
    size=st.tuples(st.integers(3, 19), st.integers(3, 19)),
    channels=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    padding=st.tuples(*(st.tuples(st.integers(-1, 3), st.integers(-1, 3)) for _ in range(2))),
    tile_bytes=st.sampled_from([1 << 10, 1 << 14, 1 << 22]),
)
def test_fewer_multiplications_are_the_same_convolution(
    algorithm: Any, images: int, size: Any, channels: Any, padding: Any, tile_bytes: int
) -> None:
    """All of `toom_cook`, on shapes that `choose` leaves to im2col too, in blocks of any size."""
    rng = RNG(0)
    x = rng.standard_normal((images, *size, channels[0])).astype(np.float32)
    w = rng.standard_normal((3, 3, *channels)).astype(np.float32)
    stride = algorithm.stride
    geometry: Any = {
        "strides": (stride, stride),
        "padding": padding,
        "dilation": (1, 1),
        "groups": 1,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "_TILES", tile_bytes)
        patch.setattr(winograd, "_KEPT", 2 * tile_bytes)
        patch.setattr(winograd, "choose", lambda *_: algorithm)
        y = conv(x, w, **geometry)
        g = rng.standard_normal(y.shape).astype(np.float32)
        dx = conv_input_gradient(g, w, input_shape=size, **geometry)
        dw = conv_weight_gradient(x, g, kernel_shape=(3, 3), **geometry)
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    for ours, expected in (
        (y, conv(x, w, **geometry)),
        (dx, conv_input_gradient(g, w, input_shape=size, **geometry)),
        (dw, conv_weight_gradient(x, g, kernel_shape=(3, 3), **geometry)),
    ):
        if expected.size:
            assert np.abs(ours - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1)


@pytest.mark.parametrize("algorithm", [F2, F4, STRIDED], ids=lambda a: f"{a.stride}-{a.tile}")
def test_an_algorithm_of_one_dimension_is_exact(algorithm: Any) -> None:
    """Each transform is a matrix; y = A' [(G w) * (B' x)], and the spread is B' transposed."""

    def matrix(transform: Any, lines_in: int, lines_out: int) -> Array:
        lines = np.empty((lines_out, lines_in))
        transform(np.eye(lines_in), lines, np.empty((2, lines_in)))
        return lines

    size, taps = algorithm.tile, algorithm.taps
    back = matrix(algorithm.input, taps, taps)
    forth = matrix(algorithm.output, taps, size)
    np.testing.assert_allclose(matrix(algorithm.cotangent, size, taps), forth.T, atol=1e-15)
    if algorithm.spread is not None:
        np.testing.assert_array_equal(matrix(algorithm.spread, taps, taps), back.T)
    product = np.einsum("om,mt,mi->oti", forth, algorithm.weight, back)
    expected = np.zeros_like(product)
    for o, tap in itertools.product(range(size), range(3)):
        expected[o, tap, o * algorithm.stride + tap] = 1
    np.testing.assert_allclose(product, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(7, 3, 5), (300, 70, 90), (129, 1000, 66), (513, 600, 3)]
)
def test_a_product_in_pieces_is_the_product(m: int, k: int, n: int) -> None:
    rng = RNG(0)
    a = rng.standard_normal((2, k, m)).transpose(0, 2, 1)
    b = rng.standard_normal((2, k, n))
    out = np.empty((2, m, 2 * n))[:, :, ::2] if m == 7 else np.empty((2, m, n))
    products.multiply(a, b, out)
    np.testing.assert_allclose(out, a @ b, atol=1e-11)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_bits_do_not_depend_on_the_number_of_threads(layer: Any) -> None:
    several = layer_arrays(layer, np.float32)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel._the_pool(), "helpers", 0)
        alone = layer_arrays(layer, np.float32)[0]
    for a, b in zip(several, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_conv_of_complex_numbers() -> None:
    rng = RNG(2)
    x = rng.standard_normal((1, 6, 4)) + 1j * rng.standard_normal((1, 6, 4))
    w = rng.standard_normal((3, 4, 5)) + 0j
    geometry: Any = {"strides": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1}
    np.testing.assert_allclose(conv(x, w, **geometry), naive_conv(x, w, **geometry), atol=1e-12)


def test_a_result_is_never_scratch_memory() -> None:
    rng = RNG(1)
    geometry: Any = {"strides": (1, 1), "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": 1}
    x = rng.standard_normal((2, 8, 8, 16)).astype(np.float32)
    w = rng.standard_normal((3, 3, 16, 16)).astype(np.float32)
    first = [
        conv(x, w, **geometry),
        conv_input_gradient(x, w, input_shape=(8, 8), **geometry),
        conv_weight_gradient(x, x, kernel_shape=(3, 3), **geometry),
    ]
    kept = [a.copy() for a in first]
    conv(2 * x, 2 * w, **geometry)
    conv_input_gradient(2 * x, w, input_shape=(8, 8), **geometry)
    conv_weight_gradient(2 * x, x, kernel_shape=(3, 3), **geometry)
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_conv_from_several_threads_at_once() -> None:
    rng = RNG(8)
    geometry: Any = {"strides": (1, 1), "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": 1}
    w = rng.standard_normal((3, 3, 32, 32)).astype(np.float32)
    inputs = [rng.standard_normal((8, 16, 16, 32)).astype(np.float32) for _ in range(4)]
    expected = [conv(x, w, **geometry) for x in inputs]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            if not np.array_equal(conv(inputs[number], w, **geometry), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- pooling -------------------------------------------------------------------------------------

POOLS = [
    ((8,), (3,), (2,), ((1, 1),)),
    ((7, 9), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((12, 13), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((9, 8), (3, 2), (1, 3), ((1, 1), (1, 0))),
    ((5, 6, 7), (2, 3, 2), (2, 1, 2), ((1, 0), (1, 1), (0, 1))),
    ((6, 6), (2, 2), (4, 3), ((-1, 0), (0, -2))),
]


def naive_windows(x: Array, window: Any, strides: Any, padding: Any, fill: float) -> Array:
    """(N, *out, taps, C), by np.pad and sliding_window_view."""
    positive = [(max(a, 0), max(b, 0)) for a, b in padding]
    padded = np.pad(x, [(0, 0), *positive, (0, 0)], constant_values=fill)
    cut = [
        slice(max(-a, 0), size - max(-b, 0))
        for (a, b), size in zip(padding, padded.shape[1:-1], strict=True)
    ]
    padded = padded[:, *cut]
    rank = len(window)
    view = np.lib.stride_tricks.sliding_window_view(padded, window, tuple(range(1, rank + 1)))
    view = view[:, *(slice(None, None, s) for s in strides)]
    view = np.moveaxis(view, rank + 1, -1)
    return view.reshape(*view.shape[: rank + 1], -1, x.shape[-1])


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("kind", ["normal", "ties", "nan", "lowest"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_pool(pool: Any, kind: str, dtype: Any) -> None:
    spatial, window, strides, padding = pool
    rng = RNG(4)
    x = rng.standard_normal((2, *spatial, 5)).astype(dtype)
    if kind == "ties":
        x = rng.integers(0, 2, x.shape).astype(dtype)
    if kind == "nan":
        x[rng.random(x.shape) < 0.15] = np.nan
    if kind == "lowest":
        x[rng.random(x.shape) < 0.9] = -np.inf
    geometry = {"window": window, "strides": strides, "padding": padding}
    y, index = max_pool(x, **geometry)
    view = naive_windows(x, window, strides, padding, -np.inf)
    inside = naive_windows(np.ones_like(x), window, strides, padding, 0)
    # The first maximum that is not padding: rank real positions first among equals.
    where = np.argmax(np.where(inside > 0, view, -np.inf), axis=-2)
    lost = (np.take_along_axis(inside, where[..., None, :], -2) == 0)[..., 0, :]
    where = np.where(lost, np.argmax(inside, axis=-2), where)
    np.testing.assert_array_equal(y, view.max(axis=-2))
    np.testing.assert_array_equal(index, where)
    assert index.dtype == np.uint8
    t = rng.standard_normal(x.shape).astype(dtype)
    chosen = max_pool_gather(t, index, **geometry)
    expected = naive_windows(t, window, strides, padding, 0)
    expected = np.take_along_axis(expected, where[..., None, :], -2)[..., 0, :]
    np.testing.assert_array_equal(chosen, expected)
    g = rng.standard_normal(y.shape).astype(dtype)
    dx = max_pool_scatter(g, index, input_shape=spatial, **geometry)
    assert dx.shape == x.shape
    np.testing.assert_allclose(
        np.sum(dx.astype(float) * t), np.sum(g.astype(float) * chosen), rtol=1e-5
    )


@pytest.mark.parametrize("layout", ["plain", "transposed", "broadcast"])
def test_max_pool_is_torch(layout: str) -> None:
    rng = RNG(6)
    x = rng.standard_normal((3, 8, 15, 16))
    if layout == "broadcast":
        x = np.broadcast_to(x[:1], x.shape)
    x = x.transpose(0, 2, 3, 1)
    if layout == "plain":
        x = np.ascontiguousarray(x)
    geometry: Any = {"window": (3, 3), "strides": (2, 2), "padding": ((1, 1), (1, 1))}
    y, index = max_pool(x, **geometry)
    xt = to_torch(x).requires_grad_(True)
    yt = F.max_pool2d(xt, 3, 2, 1)
    g = rng.standard_normal(y.shape)
    (dxt,) = torch.autograd.grad(yt, [xt], to_torch(g))
    np.testing.assert_array_equal(y, from_torch(yt))
    dx = max_pool_scatter(g, index, input_shape=(15, 16), **geometry)
    np.testing.assert_allclose(dx, from_torch(dxt), atol=1e-14)


def test_max_pool_index_of_256_taps_fits_a_byte() -> None:
    x = RNG(0).standard_normal((1, 17, 16, 3))
    y, index = max_pool(x, window=(16, 16), strides=(1, 1), padding=((0, 0), (0, 0)))
    view = naive_windows(x, (16, 16), (1, 1), ((0, 0), (0, 0)), 0)
    assert index.dtype == np.uint8
    np.testing.assert_array_equal(y, view.max(-2))
    np.testing.assert_array_equal(index, view.argmax(-2))


def test_pooling_of_infinite_and_integer_values() -> None:
    geometry: Any = {"window": (2,), "strides": (2,), "padding": ((0, 0),)}
    whole = np.arange(8).reshape(1, 8, 1)
    y, index = max_pool(whole, **geometry)
    assert y.dtype == whole.dtype
    assert y.ravel().tolist() == [1, 3, 5, 7]
    assert avg_pool(whole, count_include_pad=True, **geometry).ravel().tolist() == [
        0.5,
        2.5,
        4.5,
        6.5,
    ]
    g = np.array([np.inf, np.nan, -np.inf, 1.0]).reshape(1, 4, 1)
    dx = max_pool_scatter(g, index, input_shape=(8,), **geometry)
    np.testing.assert_array_equal(dx.ravel(), [0, np.inf, 0, np.nan, 0, -np.inf, 0, 1])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.longdouble, np.clongdouble])
def test_max_pool_of_wide_numbers(dtype: Any) -> None:
    x = RNG(8).standard_normal((2, 7, 6, 3))
    geometry: Any = {"window": (3, 2), "strides": (2, 1), "padding": ((1, 1), (0, 1))}
    want_y, want_index = max_pool(x, **geometry)
    y, index = max_pool(x.astype(dtype), **geometry)
    np.testing.assert_array_equal(y, want_y.astype(dtype))
    np.testing.assert_array_equal(index, want_index)
    t, g = RNG(9).standard_normal(x.shape), RNG(9).standard_normal(y.shape)
    chosen = max_pool_gather(t.astype(dtype), index, **geometry)
    np.testing.assert_array_equal(chosen, max_pool_gather(t, index, **geometry).astype(dtype))
    dx = max_pool_scatter(g.astype(dtype), index, input_shape=(7, 6), **geometry)
    want = max_pool_scatter(g, index, input_shape=(7, 6), **geometry)
    assert dx.dtype == dtype
    np.testing.assert_allclose(dx, want, rtol=1e-5, atol=1e-6)


def test_max_pool_of_booleans_and_of_what_are_no_numbers() -> None:
    geometry: Any = {"window": (2,), "strides": (2,), "padding": ((1, 1),)}
    flags = np.array([False, False, True, True, False, True]).reshape(1, 6, 1)
    y, index = max_pool(flags, **geometry)
    assert y.dtype == np.bool_
    assert y.ravel().tolist() == [False, True, True, True]
    assert index.ravel().tolist() == [1, 1, 0, 0]
    moved = max_pool_scatter(y, index, input_shape=(6,), **geometry)
    assert moved.ravel().tolist() == [False, False, True, True, False, True]
    for other in ("U1", object, "M8[s]"):
        with pytest.raises(TypeError, match="max_pool takes booleans, integers, floating-point"):
            max_pool(np.zeros((1, 4, 1), other), **geometry)


def test_max_pool_with_dilation_is_torch() -> None:
    x = RNG(6).standard_normal((2, 12, 11, 4))
    geometry: Any = {
        "window": (3, 2),
        "strides": (2, 1),
        "padding": ((1, 1), (1, 1)),
        "dilation": (2, 3),
    }
    y, index = max_pool(x, **geometry)
    xt = to_torch(x).requires_grad_(True)
    yt = F.max_pool2d(xt, (3, 2), (2, 1), 1, (2, 3))
    np.testing.assert_array_equal(y, from_torch(yt))
    np.testing.assert_array_equal(max_pool_gather(x, index, **geometry), y)
    g = RNG(1).standard_normal(y.shape)
    (dxt,) = torch.autograd.grad(yt, [xt], to_torch(g))
    dx = max_pool_scatter(g, index, input_shape=(12, 11), **geometry)
    np.testing.assert_allclose(dx, from_torch(dxt), atol=1e-14)


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_avg_pool(pool: Any, count_include_pad: bool) -> None:
    spatial, window, strides, padding = pool
    rng = RNG(4)
    x = rng.standard_normal((2, *spatial, 5))
    geometry = {
        "window": window,
        "strides": strides,
        "padding": padding,
        "count_include_pad": count_include_pad,
    }
    y = avg_pool(x, **geometry)
    counts = naive_windows(np.ones_like(x), window, strides, padding, float(count_include_pad))
    view = naive_windows(x, window, strides, padding, 0)
    np.testing.assert_allclose(y, view.sum(-2) / np.maximum(counts.sum(-2), 1), atol=1e-14)
    g = rng.standard_normal(y.shape)
    dx = avg_pool_gradient(g, input_shape=spatial, **geometry)
    assert dx.shape == x.shape
    np.testing.assert_allclose(np.sum(dx * x), np.sum(g * y), rtol=1e-12)


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_avg_pool_is_torch(count_include_pad: bool) -> None:
    x = RNG(6).standard_normal((3, 15, 16, 8)).astype(np.float32)
    y = avg_pool(
        x,
        window=(3, 3),
        strides=(2, 2),
        padding=((1, 1), (1, 1)),
        count_include_pad=count_include_pad,
    )
    yt = F.avg_pool2d(to_torch(x), 3, 2, 1, count_include_pad=count_include_pad)
    np.testing.assert_allclose(y, from_torch(yt), atol=1e-6)


# --- batch normalisation -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 9, 8, 24), (50, 7), (4, 300, 3), (2, 3, 4, 5, 6), (1, 4)])
def test_batch_norm_and_its_gradient_are_torch(shape: tuple[int, ...]) -> None:
    rng = RNG(7)
    x = rng.standard_normal(shape) * 3 + 5
    scale, bias = rng.standard_normal((2, shape[-1]))
    y, mean, var, inv_std = batch_norm(x, scale, bias, 1e-5)
    flat = x.reshape(-1, shape[-1])
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-13)
    np.testing.assert_allclose(var, flat.var(0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(inv_std, 1 / np.sqrt(flat.var(0) + 1e-5), rtol=1e-12)
    if flat.shape[0] == 1:
        return  # torch refuses a single row
    xt, scale_t, bias_t = (torch.tensor(a, requires_grad=True) for a in (flat, scale, bias))
    yt = F.batch_norm(xt, None, None, scale_t, bias_t, training=True, eps=1e-5)
    g = rng.standard_normal(shape)
    expected = torch.autograd.grad(yt, [xt, scale_t, bias_t], torch.tensor(g.reshape(flat.shape)))
    np.testing.assert_allclose(y.reshape(flat.shape), yt.detach().numpy(), atol=1e-11)
    dx, dscale, dbias = batch_norm_gradient(g, x, scale, mean, inv_std)
    for ours, theirs in zip((dx.reshape(flat.shape), dscale, dbias), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_batch_norm_in_float32_is_right_far_from_zero(offset: float) -> None:
    rng = RNG(9)
    x = (rng.standard_normal((8, 64, 64, 16)) + offset).astype(np.float32)
    exact = x.astype(np.float64).reshape(-1, 16)
    scale, bias = np.ones((2, 16), np.float32)
    y, mean, var, inv_std = batch_norm(x, scale, bias, 1e-5)
    assert y.dtype == mean.dtype == var.dtype == inv_std.dtype == np.float32
    np.testing.assert_allclose(mean, exact.mean(0), rtol=3e-7, atol=3e-7)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-6)
    expected = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5) + 1
    # The mean itself is only known to half a unit in its last place.
    assert np.abs(y.reshape(-1, 16) - expected).max() <= 4e-6 + np.spacing(np.float32(offset))


def test_batch_norm_takes_any_memory_layout() -> None:
    rng = RNG(3)
    x = rng.standard_normal((4, 6, 5, 7)).transpose(0, 2, 3, 1)
    g = np.broadcast_to(rng.standard_normal(6), x.shape)
    scale, bias = rng.standard_normal((2, 6))
    y, mean, _, inv_std = batch_norm(x, scale, bias, 1e-5)
    np.testing.assert_allclose(y, batch_norm(x.copy(), scale, bias, 1e-5)[0], rtol=1e-12)
    ours = batch_norm_gradient(g, x, scale, mean, inv_std)
    plain = batch_norm_gradient(g.copy(), x.copy(), scale, mean, inv_std)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_batch_norm_of_float16_has_float32_statistics() -> None:
    rng = RNG(5)
    x = (rng.standard_normal((64, 3)) * 1000 + 100).astype(np.float16)
    g = rng.standard_normal(x.shape).astype(np.float16)
    scale, bias = np.ones(3, np.float16), np.zeros(3, np.float16)
    y, mean, var, inv_std = batch_norm(x, scale, bias, 1e-5)
    assert y.dtype == np.float16
    assert mean.dtype == var.dtype == inv_std.dtype == np.float32
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-5)
    dx, dscale, dbias = batch_norm_gradient(g, x, scale, mean, inv_std)
    assert dx.dtype == dscale.dtype == dbias.dtype == np.float16
    wide = (a.astype(np.float64) for a in (g, x, scale, mean, inv_std))
    for ours, wanted in zip((dx, dscale, dbias), batch_norm_gradient(*wide), strict=True):
        assert np.any(ours != 0)
        np.testing.assert_allclose(ours, wanted, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("dtypes", list(itertools.product([np.float16, np.float32], repeat=3)))
def test_batch_norm_derivatives_of_float16(dtypes: Any) -> None:
    rng = RNG(6)

    def f(*operands: Any) -> Any:
        return ops.batch_norm(*operands)

    def seconds(*operands: Any) -> Any:
        ys, pullback = kn.vjp(f, *operands)
        return pullback(tuple(np.cos(y) for y in ys))

    # The second derivatives by the variance grow with x, out of float16.
    for function, spread in ((f, 1000), (seconds, 2)):
        x = (rng.standard_normal((16, 3)) * spread).astype(dtypes[0])
        operands = (x, *(np.ones(3, dtype) for dtype in dtypes[1:]))
        ys, pullback = kn.vjp(function, *operands)
        wide = tuple(a.astype(np.float64) for a in operands)
        exact, exact_pullback = kn.vjp(function, *wide)
        tangents = tuple(rng.standard_normal(a.shape).astype(a.dtype) for a in operands)
        pushed = kn.jvp(function, operands, tangents)[1]
        exact_pushed = kn.jvp(function, wide, tuple(t.astype(np.float64) for t in tangents))[1]
        gs = tuple(rng.standard_normal(y.shape).astype(y.dtype) for y in ys)
        pulled = pullback(gs)
        exact_pulled = exact_pullback(tuple(g.astype(np.float64) for g in gs))
        for primals, found, wanted in (
            (operands, pulled, exact_pulled),
            (ys, ys, exact),
            (ys, pushed, exact_pushed),
        ):
            for primal, a, b in zip(primals, found, wanted, strict=True):
                assert a.dtype == primal.dtype
                np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2 * np.abs(b).max())


def test_batch_norm_inference_of_float16_with_float32_statistics() -> None:
    x, ones = np.full((2, 3), 3000, np.float16), np.ones(3, np.float16)
    y = ops.batch_norm_inference(
        x, ones, ones, np.zeros(3, np.float32), np.full(3, 1e6, np.float32)
    )
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, np.float16(4))


def test_batch_norm_of_integers() -> None:
    x, one = np.arange(8).reshape(4, 2), np.ones(2)
    for ours, wanted in zip(
        ops.batch_norm(x, one, one), ops.batch_norm(x.astype(float), one, one), strict=True
    ):
        np.testing.assert_array_equal(ours, wanted)


# --- threads -------------------------------------------------------------------------------------


def test_for_blocks_covers_the_range_once_and_nests() -> None:
    seen = np.zeros(103, int)

    def inner(outer: slice) -> None:
        def single(part: slice) -> None:
            seen[outer][part] += 1

        for_blocks(single, outer.stop - outer.start, 2)

    for_blocks(inner, len(seen), 10)
    assert (seen == 1).all()
    for_blocks(inner, 0, 10)
    assert (seen == 1).all()


def test_for_blocks_raises_what_a_block_raised() -> None:
    def fail(part: slice) -> None:
        raise KeyError(part.start)

    with pytest.raises(KeyError):
        for_blocks(fail, 100, 10)
    for_blocks(lambda part: None, 100, 10)


def test_for_blocks_keeps_the_callers_errstate() -> None:
    zeros = np.zeros(100_000)

    def divide(part: slice) -> None:
        np.divide(zeros[part], 0)

    with np.errstate(invalid="ignore"):
        for_blocks(divide, len(zeros), 10_000)
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        for_blocks(divide, len(zeros), 10_000)


def test_threads_survive_a_fork_and_do_not_hold_the_interpreter() -> None:
    code = """
import os, sys
import numpy as np
from kinone.ops.kernels.parallel import for_blocks
seen = np.zeros(1000)
def mark(part):
    seen[part] += 1
for_blocks(mark, 1000, 10)
child = os.fork()
for_blocks(mark, 1000, 10)
assert (seen == 2).all()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [ops.sigmoid, ops.swish], ids=["sigmoid", "swish"])
def test_large_activations_have_the_bits_of_small_ones(function: Any, dtype: Any) -> None:
    """In blocks on all cores, or at once; and the bits of the textbook's two cases."""
    x, g = (RNG(seed).normal(scale=8, size=(1 << 19) + 3).astype(dtype) for seed in (0, 1))
    x[:4] = [1e4, -80, 0, -0.0]
    y, pull = kn.vjp(function, x)
    (derivative,) = pull(g)
    ends = [slice(0, 1 << 18), slice(1 << 18, None)]
    small = [kn.vjp(function, x[part]) for part in ends]
    np.testing.assert_array_equal(y, np.concatenate([each for each, _ in small]))
    parts = [pull(g[part])[0] for (_, pull), part in zip(small, ends, strict=True)]
    np.testing.assert_array_equal(derivative, np.concatenate(parts))
    tail = np.exp(-np.abs(x))
    gate = np.where(x >= 0, 1 / (1 + tail), tail / (1 + tail))
    np.testing.assert_array_equal(y, gate if function is ops.sigmoid else x * gate)
    assert y.dtype == derivative.dtype == dtype
