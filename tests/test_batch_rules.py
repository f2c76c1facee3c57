"""Batching rules of images, statistics and randomness: one call for all examples, the right one.

`tests/test_primitives.py` holds every rule against the loop over examples. Here: what people do
with them, other libraries' answers, and that nothing is called once for each example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core import registry

RNG = np.random.default_rng(0)
SHAPES = [  # image, kernel, parameters
    ((2, 6, 5, 4), (3, 3, 4, 6), {"strides": 2}),
    ((2, 6, 5, 4), (3, 2, 2, 6), {"groups": 2, "padding": ((1, 0), (2, 1))}),
    ((1, 5, 5, 4), (3, 3, 1, 8), {"groups": 4, "padding": "VALID"}),
    ((2, 9, 2), (3, 2, 3), {"dilation": 2}),
]


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


@contextmanager
def calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[list[str]]:
    """The calls of some primitives' implementations."""
    found: list[str] = []

    def counting(name: str, impl: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **params: Any) -> Any:
            found.append(name)
            return impl(*args, **params)

        return run

    with monkeypatch.context() as patch:
        for name in names:
            patch.setattr(registry[name], "impl", counting(name, registry[name].impl))
        yield found


# ---- convolution ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "kernel", "params"), SHAPES)
@pytest.mark.parametrize(("in_x", "in_w"), [(0, None), (None, 0), (0, 0), (1, -1)])
def test_conv_is_one_call(
    image: Any, kernel: Any, params: Any, in_x: Any, in_w: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, w = normal(3, *image), normal(3, *kernel)
    want = [
        kn.ops.conv(x[i if in_x is not None else 0], w[i if in_w is not None else 0], **params)
        for i in range(3)
    ]
    given_x = x[0] if in_x is None else np.moveaxis(x, 0, in_x)
    given_w = w[0] if in_w is None else np.moveaxis(w, 0, in_w)
    with calls(monkeypatch, "conv") as made:
        got = kn.vmap(lambda x, w: kn.ops.conv(x, w, **params), in_axes=(in_x, in_w))(
            given_x, given_w
        )
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    assert made == ["conv"]


@pytest.mark.parametrize(("image", "kernel", "params"), SHAPES)
def test_per_example_gradients_of_a_convolution(
    image: Any, kernel: Any, params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    xs, w = normal(3, *image), normal(*kernel)

    def loss(w: Any, x: Any) -> Any:
        return np.sum(np.tanh(kn.ops.conv(x, w, **params)) ** 2)

    with calls(monkeypatch, "conv", "conv_kernel", "conv_transpose") as made:
        got = kn.vmap(kn.grad(loss, argnums=(0, 1)), in_axes=(None, 0))(w, xs)
    assert sorted(made) == ["conv", "conv_kernel", "conv_transpose"]
    for i in range(3):
        for one, other in zip(got, kn.grad(loss, argnums=(0, 1))(w, xs[i]), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_an_ensemble_is_one_convolution(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many kernels, one batch of images: features of one convolution, not groups."""
    x = normal(2, 6, 6, 3) if layout == "NHWC" else normal(2, 3, 6, 6)
    w = normal(5, 3, 3, 3, 4) if layout == "NHWC" else normal(5, 4, 3, 3, 3)
    with calls(monkeypatch, "conv") as made:
        got = kn.vmap(lambda w: kn.ops.conv(x, w, layout=layout))(w)
    assert made == ["conv"]
    np.testing.assert_allclose(
        got, [kn.ops.conv(x, each, layout=layout) for each in w], rtol=1e-12, atol=1e-13
    )


@pytest.mark.oracle
@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
def test_conv_gradients_are_jaxs(batched: Any) -> None:
    jax = pytest.importorskip("jax")
    x = normal(3, 2, 6, 5, 4) if batched[0] == 0 else normal(2, 6, 5, 4)
    w = normal(3, 3, 3, 2, 6) if batched[1] == 0 else normal(3, 3, 2, 6)

    def ours(w: Any, x: Any) -> Any:
        return np.sum(np.sin(kn.ops.conv(x, w, strides=2, padding=((1, 1), (0, 2)), groups=2)))

    def theirs(w: Any, x: Any) -> Any:
        y = jax.lax.conv_general_dilated(
            x,
            w,
            (2, 2),
            ((1, 1), (0, 2)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )
        return jax.numpy.sum(jax.numpy.sin(y))

    axes = (batched[1], batched[0])
    got = kn.vmap(kn.grad(ours, (0, 1)), axes)(w, x)
    with jax.enable_x64(True):
        want = jax.vmap(jax.grad(theirs, (0, 1)), axes)(w, x)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_float32_convolutions_agree_with_the_loop() -> None:
    """Alone they may be Winograd's, folded into groups they are not."""
    x = normal(4, 2, 16, 16, 8).astype(np.float32)
    w = normal(4, 3, 3, 8, 8).astype(np.float32)
    got = kn.vmap(kn.ops.conv)(x, w)
    assert got.dtype == np.float32
    want = np.stack([kn.ops.conv(*each) for each in zip(x, w, strict=True)])
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_large_examples_are_convolved_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = normal(2, 4, 32, 32, 32), normal(2, 3, 3, 32, 32)

    def loss(w: Any, x: Any) -> Any:
        return np.sum(kn.ops.conv(x, w) ** 2)

    names = ["conv", "conv_kernel", "conv_transpose"]
    with calls(monkeypatch, *names) as made:
        got = kn.vmap(kn.grad(loss, (0, 1)))(w, x)
    assert sorted(made) == sorted(2 * names)
    for i in range(2):
        for one, other in zip(got, kn.grad(loss, (0, 1))(w[i], x[i]), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=1e-10, atol=1e-9)


def test_nothing_to_map_has_the_shape_of_nothing() -> None:
    x, w = np.zeros((0, 2, 6, 6, 3), np.float32), normal(3, 3, 3, 4).astype(np.float32)

    def loss(w: Any, x: Any) -> Any:
        h = kn.ops.max_pool(kn.ops.conv(x, w), 2)
        y, _, _ = kn.ops.batch_norm(h, np.ones(4, np.float32), np.zeros(4, np.float32))
        return np.sum(kn.ops.softmax(y, axis=-1) ** 2)

    got = kn.vmap(kn.grad(loss), in_axes=(None, 0))(w, x)
    assert got.shape == (0, 3, 3, 3, 4)
    assert got.dtype == np.float32
    kernels = kn.vmap(kn.grad(loss), in_axes=(0, None))(
        np.zeros((0, *w.shape)), np.ones(x.shape[1:])
    )
    assert kernels.shape == (0, 3, 3, 3, 4)


# ---- networks ------------------------------------------------------------------------------------


def network(params: Any, x: Any) -> Any:
    h = kn.ops.conv(x, params["w"], strides=1)
    h, _, _ = kn.ops.batch_norm(h, params["scale"], params["bias"])
    h = kn.ops.avg_pool(kn.ops.max_pool(np.tanh(h), 2, padding=1), 2, strides=1)
    logits = np.sum(h, axis=(1, 2)) / (h.shape[1] * h.shape[2])
    return np.sum(kn.ops.log_softmax(logits)[:, 0]) + np.sum(kn.ops.softmax(logits, axis=0) ** 2)


def network_params(*batch: int) -> Any:
    return {"w": normal(*batch, 3, 3, 2, 4), "scale": normal(*batch, 4), "bias": normal(*batch, 4)}


@pytest.mark.parametrize("mapped", ["params", "x", "both"])
def test_gradients_of_a_network(mapped: str) -> None:
    many = mapped in ("params", "both")
    params = network_params(3) if many else network_params()
    x = normal(2, 6, 6, 2) if mapped == "params" else normal(3, 2, 6, 6, 2)
    axes = (0 if many else None, None if mapped == "params" else 0)
    got = kn.vmap(kn.grad(network), axes)(params, x)
    for i in range(3):
        p = kn.tree.map(lambda leaf, i=i: leaf[i], params) if many else params
        want = kn.grad(network)(p, x if mapped == "params" else x[i])
        for key, leaf in want.items():
            np.testing.assert_allclose(got[key][i], leaf, rtol=1e-10, atol=1e-11)


def test_gradients_through_vmap() -> None:
    """A sum over mapped networks differentiates like the sum of the networks."""
    params, xs = network_params(), normal(3, 2, 6, 6, 2)
    got = kn.grad(lambda p: np.sum(kn.vmap(network, in_axes=(None, 0))(p, xs)))(params)
    want = [kn.grad(network)(params, x) for x in xs]
    for key in params:
        np.testing.assert_allclose(got[key], sum(w[key] for w in want), rtol=1e-10, atol=1e-11)


def test_jacobians_of_batch_norm_by_vmap() -> None:
    """A basis of cotangents, a basis of tangents: the same matrix."""
    x, scale, bias = normal(4, 3), normal(3), normal(3)

    def f(x: Any) -> Any:
        return np.sum(kn.ops.batch_norm(x, scale, bias)[0] ** 3, axis=0)

    basis_x = np.eye(12).reshape(12, 4, 3)
    forward = kn.vmap(lambda t: kn.jvp(f, (x,), (t,))[1])(basis_x)
    _, pullback = kn.vjp(f, x)
    reverse = kn.vmap(lambda g: pullback(g)[0])(np.eye(3))
    np.testing.assert_allclose(forward.reshape(12, 3), reverse.reshape(3, 12).T, atol=1e-11)


def test_batch_norm_keeps_each_examples_statistics() -> None:
    x = normal(3, 5, 4) + np.arange(3.0)[:, None, None] * 100
    _, mean, var = kn.vmap(lambda x: kn.ops.batch_norm(x, np.ones(4), np.zeros(4)))(x)
    np.testing.assert_allclose(mean, x.mean(1))
    np.testing.assert_allclose(var, x.var(1))


def test_batch_norm_refuses_complex_numbers() -> None:
    """It would leave the imaginary part out of the statistics."""
    x = normal(3, 4) + 1j
    with pytest.raises(TypeError, match=r"complex128\[3,4\], at .*test_batch_rules"):
        kn.ops.batch_norm(x, np.ones(4), np.zeros(4))


def test_layers_of_nn_can_be_mapped() -> None:
    nn = kn.nn
    layer = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.Relu(), nn.MaxPool(2))
    params, state = layer.init(kn.random.key(0), (2, 6, 6, 3))
    xs = normal(3, 2, 6, 6, 3).astype(np.float32)
    got, states = kn.vmap(lambda x: layer.apply(params, state, x, train=True))(xs)
    for i in range(3):
        want, new = layer.apply(params, state, xs[i], train=True)
        np.testing.assert_allclose(got[i], want, rtol=1e-5, atol=1e-5)
        for one, other in zip(kn.tree.leaves(states), kn.tree.leaves(new), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=1e-5, atol=1e-5)


def test_a_label_that_is_no_class_raises_under_vmap_too() -> None:
    """NumPy would take -1 as the last class."""
    loss = kn.losses.softmax_cross_entropy_with_integer_labels
    logits = normal(3, 4)
    for labels in ([0, 3, 1], [0, 0, 2]):
        for dtype in (np.int8, np.int64, np.uint8):
            found = kn.vmap(loss)(logits, np.array(labels, dtype))
            np.testing.assert_allclose(found, loss(logits, np.array(labels)), rtol=1e-14)
    for wrong in ([0, -1, 1], [0, 4, 1], [-9, 0, 0]):
        with pytest.raises(IndexError):
            kn.vmap(loss)(logits, np.array(wrong))
        with pytest.raises(IndexError):
            kn.graph(loss)(logits, np.array(wrong))(logits, np.array(wrong))


# ---- pools ---------------------------------------------------------------------------------------


def test_max_pool_derivatives_go_to_each_examples_first_maximum() -> None:
    x = np.zeros((3, 1, 4, 4, 1))
    x[1, 0, 1, 1, 0] = x[2, 0, 3, 2, 0] = 1.0
    got = kn.vmap(kn.grad(lambda x: np.sum(kn.ops.max_pool(x, 4))))(x)
    first = np.zeros((4, 4))
    first[0, 0] = 1
    assert np.array_equal(got[0, 0, :, :, 0], first)
    assert np.array_equal(got[1:], x[1:])


# ---- randomness ----------------------------------------------------------------------------------


def stacked_keys(count: int) -> Any:
    return kn.tree.map(lambda *bits: np.stack(bits), *kn.random.split(kn.random.key(7), count))


def test_each_key_draws_what_it_draws_alone() -> None:
    def draws(key: Any) -> Any:
        return kn.random.normal(key["a"], (2, 3)), kn.random.uniform(key["b"], (), np.float64)

    many, alone = kn.vmap(draws)(stacked_keys(4)), kn.random.split(kn.random.key(7), 4)
    for i, key in enumerate(alone):
        for one, other in zip(many, draws(key), strict=True):
            assert np.array_equal(one[i], other)
            assert one.dtype == other.dtype


def test_a_shared_key_draws_the_same_for_all() -> None:
    key = kn.random.key(1)
    got = kn.vmap(lambda x: x + kn.random.normal(key.clone(), (3,), np.float64))(np.zeros((2, 3)))
    assert np.array_equal(got[0], got[1])


def test_numbers_folded_into_a_key_may_be_mapped() -> None:
    key = kn.random.key(1)
    got = kn.vmap(lambda i: kn.random.normal(key.fold_in(i), (2,)))(np.arange(3))
    want = [kn.random.normal(key.fold_in(i), (2,)) for i in range(3)]
    assert np.array_equal(got, want)


def test_no_keys_draw_nothing() -> None:
    none = kn.vmap(lambda d: kn.random.normal(kn.random.wrap_key_data(d), (2, 3)))(
        np.zeros((0, 2), np.uint64)
    )
    assert none.shape == (0, 2, 3)
    assert none.dtype == np.float32
