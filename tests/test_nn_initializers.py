"""`nn.initializers`: each distribution whole, by Kolmogorov and Smirnov's test, and fans as PyTorch
and JAX count them."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import nn, random
from kinone.nn import initializers

stats = pytest.importorskip("scipy.stats")


def key(number=0):
    return random.key(number)


DTYPES = [np.float16, np.float32, np.float64]
CUT = 0.8796256610342398  # the deviation of a standard normal number between -2 and 2

# The standard deviation for fan_in = 288 and fan_out = 576, and the shape of the bell.
NAMED = {
    "he_normal": (np.sqrt(2 / 288), "normal"),
    "he_uniform": (np.sqrt(2 / 288), "uniform"),
    "glorot_normal": (np.sqrt(2 / 864), "normal"),
    "glorot_uniform": (np.sqrt(2 / 864), "uniform"),
    "lecun_normal": (np.sqrt(1 / 288), "normal"),
    "lecun_uniform": (np.sqrt(1 / 288), "uniform"),
}
KERNEL = (3, 3, 32, 64)


def distribution(kind, deviation):
    if kind == "uniform":
        reach = np.sqrt(3) * deviation
        return stats.uniform(-reach, 2 * reach)
    if kind == "truncated_normal":
        return stats.truncnorm(-2, 2, scale=deviation / CUT)
    return stats.norm(0, deviation)


def drawn_from(numbers, wanted):
    """Whether numbers may be a sample: mean, deviation and the whole distribution function.

    One draw in about a million would fail; the key is fixed, so that none does.
    """
    x = np.asarray(numbers, np.float64).ravel()
    assert stats.kstest(x, wanted.cdf).pvalue > 1e-6
    assert abs(x.mean() - wanted.mean()) < 5 * wanted.std() / np.sqrt(x.size)
    assert x.std() / wanted.std() == pytest.approx(1, abs=5 / np.sqrt(x.size))
    low, high = wanted.support()
    rounding = 1 + np.finfo(np.asarray(numbers).dtype).eps
    assert low * rounding <= x.min()
    assert x.max() <= high * rounding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMED)
def test_named_initializers_have_their_distribution(name, dtype):
    deviation, kind = NAMED[name]
    kernel = getattr(initializers, name)()(key(1), KERNEL, dtype)
    assert kernel.dtype == dtype
    assert kernel.shape == KERNEL
    # Kolmogorov's test would see that float16 has steps: the other moments are what counts there.
    x = kernel.astype(np.float64)
    if dtype == np.float16:
        assert x.std() / deviation == pytest.approx(1, abs=0.02)
    else:
        drawn_from(kernel, distribution(kind, deviation))
    np.testing.assert_array_equal(kernel, getattr(initializers, name)()(key(1), KERNEL, dtype))
    assert not np.array_equal(kernel, getattr(initializers, name)()(key(2), KERNEL, dtype))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("kind", ["normal", "truncated_normal", "uniform"])
def test_variance_scaling_has_its_distribution(mode, kind):
    fan = {"fan_in": 288, "fan_out": 576, "fan_avg": 432}[mode]
    kernel = initializers.variance_scaling(1.7, mode, kind)(key(3), KERNEL)
    drawn_from(kernel, distribution(kind, np.sqrt(1.7 / fan)))  # after the cut, that of the cut


def test_plain_initializers_have_their_distribution():
    shape = (200, 100)
    drawn_from(initializers.normal(0.3)(key(4), shape), stats.norm(0, 0.3))
    drawn_from(initializers.uniform(0.3)(key(4), shape), stats.uniform(0, 0.3))
    drawn_from(initializers.truncated_normal(0.3)(key(4), shape), stats.truncnorm(-2, 2, scale=0.3))
    drawn_from(
        initializers.truncated_normal(0.3, -1.0, 3.0)(key(4), shape),
        stats.truncnorm(-1, 3, scale=0.3),
    )


def test_constants_and_what_has_no_fans():
    assert (initializers.constant(3.0)(key(), (2, 2)) == 3).all()
    assert not initializers.zeros(key(), (2, 2)).any()
    assert (initializers.ones(key(), (2, 2)) == 1).all()
    for init in (initializers.he_normal(), initializers.orthogonal()):
        with pytest.raises(ValueError, match="axis of inputs"):
            init(key(), (3,))
    with pytest.raises(ValueError, match="mode='both'"):
        initializers.variance_scaling(1.0, "both", "normal")
    with pytest.raises(ValueError, match="distribution='gauss'"):
        initializers.variance_scaling(1.0, "fan_in", "gauss")


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMED)
def test_variances_and_bounds_are_those_of_jax_and_pytorch(name):
    """Their samples and Kinone's have one distribution, with fans from their own code."""
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    mine = getattr(initializers, name)()(key(5), KERNEL).ravel()
    torch.manual_seed(0)
    theirs = torch.empty(64, 32, 3, 3)  # PyTorch's order of the same kernel
    scheme, kind = name.split("_")
    if scheme == "he":
        getattr(torch.nn.init, f"kaiming_{kind}_")(theirs, nonlinearity="relu")
    elif scheme == "glorot":
        getattr(torch.nn.init, f"xavier_{kind}_")(theirs)
    else:
        getattr(torch.nn.init, f"kaiming_{kind}_")(theirs, nonlinearity="linear")
    assert stats.ks_2samp(mine, theirs.numpy().ravel()).pvalue > 1e-4
    peer = np.asarray(getattr(jax.nn.initializers, name)()(jax.random.key(0), KERNEL))
    if kind == "normal":  # JAX cuts the bell off
        cut = initializers.variance_scaling(
            {"he": 2.0, "glorot": 1.0, "lecun": 1.0}[scheme],
            "fan_avg" if scheme == "glorot" else "fan_in",
            "truncated_normal",
        )(key(5), KERNEL).ravel()
        assert np.abs(peer).max() <= 2 * NAMED[name][0] / CUT * (1 + 1e-6)
        mine = cut
    assert stats.ks_2samp(mine, peer.ravel()).pvalue > 1e-4


@pytest.mark.oracle
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_fans_of_convolutions_are_those_of_pytorch(rank, groups):
    torch = pytest.importorskip("torch")
    window = (3, 5, 2)[:rank]
    weight = torch.empty(24, 16 // groups, *window)
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    seen = []

    def watching(key, shape, dtype):
        seen.append(initializers.fans(shape))
        return np.zeros(shape, dtype)

    for make in (nn.Conv, nn.ConvTranspose):
        for layout in ("NHWC", "NCHW"):
            layer = make(24, window, groups=groups, layout=layout, kernel_init=watching)
            shape = (1, 16, *[6] * rank) if layout == "NCHW" else (1, *[6] * rank, 16)
            layer.init(key(0), shape)
    assert len(seen) == 4 * groups
    # PyTorch counts the outputs of all groups; an input has those of its own group.
    assert set(seen) == {(fan_in, fan_out // groups)}


@pytest.mark.oracle
def test_fans_of_dense_and_depthwise_layers():
    torch = pytest.importorskip("torch")
    assert initializers.fans((40, 7)) == torch.nn.init._calculate_fan_in_and_fan_out(
        torch.empty(7, 40)
    )
    params, _ = nn.DepthwiseConv((5, 5), multiplier=2).init(
        key(0), kn.ShapeDtype((1, 9, 9, 512), np.float64)
    )
    drawn_from(params["kernel"], stats.norm(0, np.sqrt(2 / 25)))  # each output sees 25 numbers


@pytest.mark.parametrize("gain", [1.0, 1.7])
@pytest.mark.parametrize("shape", [(6, 6), (40, 7), (7, 40), (3, 3, 4, 50), (3, 3, 8, 16), (5, 1)])
def test_orthogonal_rows_or_columns(shape, gain):
    kernel = initializers.orthogonal(gain)(key(6), shape, np.float64)
    matrix = kernel.reshape(-1, shape[-1])
    rows, columns = matrix.shape
    inner = matrix.T @ matrix if columns <= rows else matrix @ matrix.T
    np.testing.assert_allclose(inner, gain**2 * np.eye(len(inner)), atol=1e-13)
    # Every singular value is the gain: as a map it neither shrinks nor stretches.
    np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False), gain, rtol=1e-13)


def test_orthogonal_matrices_are_spread_evenly():
    """Haar's measure: an entry of a random rotation of n axes has mean 0, variance 1/n, and the
    fourth moment 3 / (n (n + 2))."""
    drawn = np.stack([initializers.orthogonal()(k, (4, 4), np.float64) for k in key(7).split(2000)])
    assert np.abs(drawn.mean(axis=0)).max() < 5 * 0.5 / np.sqrt(2000)
    np.testing.assert_allclose((drawn**2).mean(axis=0), 1 / 4, atol=0.03)
    np.testing.assert_allclose((drawn**4).mean(), 3 / 24, rtol=0.03)
    assert 0.45 < (np.linalg.det(drawn) > 0).mean() < 0.55  # it turns and mirrors


def test_orthogonal_over_another_axis():
    kernel = initializers.orthogonal(out_axis=0)(key(8), (5, 3, 3, 4), np.float64)
    matrix = kernel.reshape(5, -1)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-13)


def test_initializers_in_bfloat16():
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    made = [getattr(initializers, name)() for name in NAMED]
    made += [
        initializers.normal(0.3),
        initializers.truncated_normal(0.3),
        initializers.uniform(0.3),
        initializers.orthogonal(),
        initializers.constant(0.3),
        initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
    ]
    for init in made:
        low = init(key(9), (64, 48), bfloat16)
        high = init(key(9), (64, 48), np.float32)
        assert low.dtype == bfloat16
        assert low.astype(np.float64).std() == pytest.approx(high.std(), rel=0.1, abs=1e-3)
        assert kn.jit(lambda init=init: init(key(9), (64, 48), bfloat16))().dtype == bfloat16
