"""Keys and distributions: golden values, moments, Kolmogorov-Smirnov, key reuse, tracing."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import kinone as kn
from kinone import random, tree
from kinone.ops.random_bits import ndtri, normal_from_bits, random_bits

N = 200_000
# The numbers are fixed by the key, so these tests cannot flicker: a p-value this small means a bug.
SURE = 1e-4


def key(number=0):
    return random.key(number)


# ---- golden values: the same numbers on every machine, for ever ----------------------------------


def test_golden_bits():
    """Against Philox itself, as NumPy guarantees its stream."""
    raw = np.random.Philox(
        key=np.array([7, 0], np.uint64),
        counter=np.array([0, 0, 0, int.from_bytes(b"draw", "big")], np.uint64),
    ).random_raw(3)
    np.testing.assert_array_equal(random.bits(key(7), (3,), np.uint64), raw)
    halves = np.array([[w & 0xFFFFFFFF, w >> 32] for w in raw.tolist()], np.uint32).ravel()
    np.testing.assert_array_equal(random.bits(key(7), (5,)), halves[:5])
    np.testing.assert_array_equal(
        raw, [15839949856707892261, 608679938679235732, 15724616317544433545]
    )


def test_golden_keys():
    def words(k):
        return k.data.tolist()

    k = key(7)
    assert words(k) == [7, 0]
    assert [words(child) for child in k.clone().split()] == GOLDEN["split"]
    assert words(k.fold_in(3)) == GOLDEN["fold_in"]
    assert words(k["dropout"]) == GOLDEN["dropout"]
    assert words(k["a name of more than twelve bytes: größer"]) == GOLDEN["long name"]


def test_golden_numbers():
    k = key(7)
    assert [x.hex() for x in random.uniform(k.clone(), (3,)).tolist()] == GOLDEN["uniform"]
    assert [x.hex() for x in random.uniform(k.clone(), (3,), np.float64).tolist()] == GOLDEN[
        "uniform64"
    ]
    assert [x.hex() for x in random.normal(k.clone(), (3,)).tolist()] == GOLDEN["normal"]
    assert [x.hex() for x in random.normal(k.clone(), (3,), np.float64).tolist()] == GOLDEN[
        "normal64"
    ]
    assert [x.hex() for x in random.truncated_normal(k.clone(), -2, 2, (3,)).tolist()] == GOLDEN[
        "truncated"
    ]
    assert random.randint(k.clone(), (6,), -3, 100).tolist() == GOLDEN["randint"]
    assert random.permutation(k.clone(), 8).tolist() == GOLDEN["permutation"]
    assert random.bernoulli(k.clone(), 0.3, (8,)).tolist() == GOLDEN["bernoulli"]


GOLDEN = {
    "split": [
        [8191990795176261615, 11154843346873267372],
        [11662611563326039899, 4977953822546993503],
    ],
    "fold_in": [14939631744756523030, 8001181757781014239],
    "dropout": [7789395827655877327, 5718981783408380975],
    "long name": [11097326032238648311, 9409320757898359888],
    "uniform": ["0x1.2a25a80000000p-1", "0x1.b7a59c0000000p-1", "0x1.cdc3c80000000p-1"],
    "uniform64": ["0x1.b7a59cf12a25ap-1", "0x1.0e4ee5bcdc3c0p-5", "0x1.b4721e74d9180p-1"],
    "normal": ["-0x1.1999c40000000p-1", "0x1.6ca45c0000000p-3", "0x1.f8f5ca0000000p-4"],
    "normal64": ["-0x1.6ca45905b9650p-3", "0x1.10e975657fd1bp+1", "-0x1.7cf5533bd6f63p-3"],
    "truncated": ["0x1.0114f20000000p+0", "-0x1.9ae2300000000p+0", "0x1.f5a2ec0000000p-1"],
    "randint": [33, 19, 88, 87, 40, 52],
    "permutation": [1, 4, 5, 3, 6, 2, 0, 7],
    "bernoulli": [False, False, False, True, False, False, False, False],
}


# ---- keys ----------------------------------------------------------------------------------------


def test_derived_keys_are_all_different():
    k = key(0)
    keys = [k, *k.clone().split(50), *(k.fold_in(i) for i in range(50))]
    keys += [k[name] for name in ("", "a", "b", "a\0", "a" * 12, "a" * 13, "a" * 28, "a" * 29)]
    keys += [key(1), k.fold_in(0).fold_in(1), k.fold_in(1).fold_in(0), k["a"]["b"], k["ab"]]
    assert len({tuple(k.data.tolist()) for k in keys}) == len(keys)
    draws = [tuple(random.bits(k.clone(), (4,)).tolist()) for k in keys]
    assert len(set(draws)) == len(keys)


def test_a_longer_draw_begins_with_the_shorter_one():
    np.testing.assert_array_equal(
        random.normal(key(), (5,)), random.normal(key(), (2, 4)).ravel()[:5]
    )


def test_split_count_does_not_change_the_first_keys():
    assert key().split(3)[0].data.tolist() == key().split(2)[0].data.tolist()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="2\\*\\*64"):
        random.key(seed)


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="integer"):
        random.key(0.5)
    with pytest.raises(TypeError, match=r"kinone\.random\.key"):
        random.normal(0, (2,))
    with pytest.raises(TypeError, match=r"key\.fold_in\(3\)"):
        key()[3]
    with pytest.raises(TypeError, match=r"key\.split"):
        list(key())
    with pytest.raises(TypeError, match="float32"):
        random.normal(key(), (2,), np.int32)
    with pytest.raises(ValueError, match="uint64"):
        random.wrap_key_data(np.zeros(3, np.uint64))


def test_seed_may_be_a_numpy_integer():
    assert random.key(np.int64(5)).data.tolist() == [5, 0]


def test_key_data_and_back():
    k = key(3)["x"]
    again = random.wrap_key_data(random.key_data(k))
    assert again.data.tolist() == k.data.tolist()
    assert repr(again) == repr(k)


def test_key_data_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        key().data[0] = 1


# ---- reuse ---------------------------------------------------------------------------------------


def test_reuse_warns_once_with_both_lines():
    k = key()
    random.normal(k, (2,))
    with pytest.warns(kn.KeyReuseWarning) as caught:
        random.uniform(k, (3,))
    random.uniform(k, (4,))  # a second warning would be an error here
    (warning,) = caught
    text = str(warning.message)
    assert "random.normal(k, (2,))" in text
    assert "random.uniform(k, (3,))" in text
    assert warning.filename == __file__


def test_reuse_after_split_warns():
    k = key()
    k.split()
    with pytest.warns(kn.KeyReuseWarning, match=r"k\.split\(\)"):
        random.normal(k)


def test_reuse_of_a_named_child_warns_once_for_the_family():
    k = key()

    def model(k):
        return random.normal(k["a"]) + random.normal(k["b"])

    model(k)
    with pytest.warns(kn.KeyReuseWarning) as caught:
        model(k)
    assert len(caught) == 1


def test_what_is_no_reuse():
    k = key()
    for step in range(3):
        random.normal(k.fold_in(step))
    random.normal(k["x"])
    random.normal(k["y"])
    random.normal(k)
    random.normal(k.clone())
    random.normal(k.clone())
    a, b = k.clone().split()
    random.normal(a)
    random.normal(b)


def test_clone_draws_the_same():
    k = key()
    np.testing.assert_array_equal(random.normal(k.clone(), (3,)), random.normal(k, (3,)))


def test_reuse_can_be_made_an_error():
    k = key()
    random.normal(k)
    with warnings.catch_warnings():
        warnings.simplefilter("error", kn.KeyReuseWarning)
        with pytest.raises(kn.KeyReuseWarning):
            random.normal(k)


# ---- distributions -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_uniform(dtype):
    x = random.uniform(key(1), (N,), dtype)
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    if dtype is not np.float16:
        assert stats.kstest(x.astype(np.float64), "uniform").pvalue > SURE
        assert len(np.unique(x)) > 0.98 * N


def test_uniform_bounds():
    x = random.uniform(key(1), (N,), minval=-3, maxval=5)
    assert x.dtype == np.float32
    assert stats.kstest(x.astype(np.float64), stats.uniform(-3, 8).cdf).pvalue > SURE
    low = np.array([[0.0], [10.0]])
    y = random.uniform(key(1), (2, 1000), np.float64, low, low + 1)
    np.testing.assert_array_equal(np.floor(y), np.broadcast_to(low, y.shape))
    narrow = np.nextafter(np.float32(1), np.float32(2))
    z = random.uniform(key(1), (1000,), minval=1.0, maxval=narrow)
    assert (z == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal(dtype):
    x = random.normal(key(2), (N,), dtype)
    assert x.dtype == dtype
    assert stats.kstest(x.astype(np.float64), "norm").pvalue > SURE
    z = x.astype(np.float64)
    # The standard error of the n-th moment is sqrt((E x²ⁿ - (E xⁿ)²) / N).
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**power).mean() - moment) < 4 * math.sqrt(variance / N)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 4 / math.sqrt(N)


def test_normal_half_precision():
    x = random.normal(key(2), (N,), np.float16)
    assert x.dtype == np.float16
    assert abs(x.astype(np.float64).std() - 1) < 0.01


@pytest.mark.parametrize(
    ("dtype", "bits", "error"), [(np.uint32, 32, 2e-6), (np.uint64, 64, 1e-14)]
)
def test_normal_from_bits_is_the_quantile_function(dtype, bits, error):
    words = random.bits(key(3), (20_000,), dtype)
    rare = np.concatenate([words >> dtype(shift) for shift in range(0, bits - 2, 3)])
    z = normal_from_bits(rare).astype(np.float64)
    p = ((rare >> dtype(1)).astype(np.float64) + 0.5) * 2.0**-bits
    expected = np.where(rare & dtype(1), 1, -1) * special.ndtri(p)
    np.testing.assert_allclose(z, expected, rtol=error, atol=error)


def test_ndtri():
    p = np.concatenate(
        [random.uniform(key(4), (5000,), np.float64), 10.0 ** -np.arange(1.0, 300), [0.5, 0.075]]
    )
    np.testing.assert_allclose(ndtri(p), special.ndtri(p), rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(
        ndtri(np.array([0.0, 1.0, -1.0, 2.0, np.nan])), [-np.inf, np.inf, np.nan, np.nan, np.nan]
    )
    assert ndtri(np.float32(0.3)).dtype == np.float32
    gradient = kn.grad(ndtri)(0.2)
    np.testing.assert_allclose(gradient, 1 / stats.norm.pdf(stats.norm.ppf(0.2)), rtol=1e-12)


@pytest.mark.parametrize(
    ("lower", "upper"), [(-2.0, 2.0), (1.0, 1.5), (-9.0, -8.0), (8.0, 9.0), (-0.1, 30.0)]
)
def test_truncated_normal(lower, upper):
    x = random.truncated_normal(key(5), lower, upper, (N // 4,), np.float64)
    assert x.min() >= lower
    assert x.max() <= upper
    assert stats.kstest(x, stats.truncnorm(lower, upper).cdf).pvalue > SURE


def test_truncated_normal_broadcasts_its_bounds():
    x = random.truncated_normal(key(5), np.array([-1.0, 5.0]), np.array([1.0, 6.0]))
    assert x.shape == (2,)
    assert x.dtype == np.float32
    assert -1 <= x[0] <= 1
    assert 5 <= x[1] <= 6


def test_bernoulli():
    x = random.bernoulli(key(6), 0.3, (N,))
    assert x.dtype == np.bool_
    assert stats.binomtest(int(x.sum()), N, 0.3).pvalue > SURE
    p = np.array([0.0, 1.0, 0.5])
    y = random.bernoulli(key(6), p, (1000, 3))
    assert not y[:, 0].any()
    assert y[:, 1].all()
    assert 400 < y[:, 2].sum() < 600
    assert random.bernoulli(key(6), p).shape == (3,)


def test_randint():
    x = random.randint(key(7), (N,), -2, 5)
    assert x.dtype == np.int64
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == list(range(-2, 5))
    assert stats.chisquare(counts).pvalue > SURE


def test_randint_bounds_and_types():
    lows = np.array([0, -50, 10])
    x = random.randint(key(7), (1000, 3), lows, lows + 3, np.int32)
    assert x.dtype == np.int32
    assert (x.min(axis=0) == lows).all()
    assert (x.max(axis=0) == lows + 2).all()
    whole = random.randint(key(7), (1000,), -(2**63), 2**63 - 1)
    assert whole.min() < -(2**61)
    assert whole.max() > 2**61
    assert random.randint(key(7), (), 3, 4) == 3
    big = random.randint(key(7), (1000,), 2**63, 2**64 - 1, np.uint64)
    assert big.dtype == np.uint64
    assert big.min() >= 2**63
    with pytest.raises(ValueError, match="no integer"):
        random.randint(key(), (2,), 3, 3)
    with pytest.raises(ValueError, match="fit"):
        random.randint(key(), (2,), 0, 1000, np.int8)
    with pytest.raises(TypeError, match="integers"):
        random.randint(key(), (2,), 0.0, 3)


def test_exponential_and_gumbel():
    x = random.exponential(key(8), (N,), np.float64)
    assert stats.kstest(x, "expon").pvalue > SURE
    y = random.gumbel(key(9), (N,))
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert stats.kstest(y.astype(np.float64), "gumbel_r").pvalue > SURE


def test_categorical():
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities)
    x = random.categorical(key(10), logits, shape=(N,))
    counts = np.bincount(x, minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], N * probabilities[[0, 2, 3]]).pvalue > SURE
    table = np.log(np.array([[0.9, 0.1], [0.1, 0.9]])).T  # classes along axis 0
    y = random.categorical(key(11), table, axis=0, shape=(5000, 2))
    assert y.shape == (5000, 2)
    np.testing.assert_allclose(y.mean(axis=0), [0.1, 0.9], atol=0.02)
    assert random.categorical(key(11), table, axis=0).shape == (2,)
    with pytest.raises(ValueError, match="shape"):
        random.categorical(key(), table, shape=(3,))
    for axis in (2, -3, 5):
        with pytest.raises(np.exceptions.AxisError):
            random.categorical(key(), table, axis=axis)


def test_permutation():
    assert sorted(random.permutation(key(12), 100).tolist()) == list(range(100))
    x = np.arange(12).reshape(3, 4)
    rows = random.permutation(key(12), x)
    assert sorted(rows[:, 0].tolist()) == [0, 4, 8]
    assert (np.diff(rows, axis=1) == 1).all()
    columns = random.permutation(key(12), np.tile(np.arange(50), (3, 1)), axis=1, independent=True)
    assert (np.sort(columns, axis=1) == np.arange(50)).all()
    assert (columns[0] != columns[1]).any()
    orders = [tuple(random.permutation(k, 3).tolist()) for k in key(13).split(6000)]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > SURE


def test_choice():
    names = np.array(["a", "b", "c", "d"])
    drawn = random.choice(key(14), names, (2, 3))
    assert drawn.shape == (2, 3)
    assert set(drawn.ravel()) <= set(names)
    assert sorted(random.choice(key(14), names, (4,), replace=False)) == ["a", "b", "c", "d"]
    p = np.array([0.5, 0.0, 0.2, 0.3])
    x = random.choice(key(15), 4, (N,), p=p)
    counts = np.bincount(x, minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], N * p[[0, 2, 3]]).pvalue > SURE
    first = [random.choice(k, 4, (2,), replace=False, p=p).tolist() for k in key(16).split(4000)]
    assert all(a != b for a, b in first)
    counts = np.bincount([a for a, _ in first], minlength=4)
    assert stats.chisquare(counts[[0, 2, 3]], 4000 * p[[0, 2, 3]]).pvalue > SURE
    assert random.choice(key(14), names).shape == ()
    with pytest.raises(ValueError, match="cannot be chosen"):
        random.choice(key(), 3, (4,), replace=False)
    with pytest.raises(ValueError, match="positive probability"):
        random.choice(key(), 4, (4,), replace=False, p=p)
    with pytest.raises(ValueError, match="shape"):
        random.choice(key(), 3, p=p)


def test_streams_of_neighbouring_keys_are_independent():
    rows = np.stack([random.normal(key(i), (1000,), np.float64) for i in range(100)])
    correlations = np.corrcoef(rows)[np.triu_indices(100, 1)]
    assert stats.kstest(correlations * math.sqrt(1000), "norm").pvalue > SURE


# ---- tracing -------------------------------------------------------------------------------------


def draw_everything(k):
    a, b = k.split()
    return {
        "bits": random.bits(a["bits"], (3,)),
        "uniform": random.uniform(a["uniform"], (2, 3), minval=-1.0),
        "normal": random.normal(b.fold_in(2), (4,)),
        "normal64": random.normal(b["n"], (4,), np.float64),
        "truncated": random.truncated_normal(b["t"], -1.0, 2.0, (3,)),
        "bernoulli": random.bernoulli(a["bernoulli"], 0.5, (5,)),
        "randint": random.randint(a["randint"], (5,), -2, 9),
        "categorical": random.categorical(a["c"], np.arange(12.0).reshape(3, 4)),
        "exponential": random.exponential(a["e"], (2,)),
        "key": b["child"],
    }


def test_a_key_is_an_argument_of_a_traced_function():
    program = kn.graph(draw_everything)(key(0))
    assert "random_bits" in str(program)
    traced, eager = program(key(5)), draw_everything(key(5))
    assert tree.paths(traced) == tree.paths(eager)
    for path, leaf in tree.leaves_with_path(eager):
        got = dict(tree.leaves_with_path(traced))[path]
        assert got.dtype == leaf.dtype, path
        np.testing.assert_array_equal(got, leaf, err_msg=path)


def test_fold_in_of_a_traced_number():
    program = kn.graph(lambda k, step: k.fold_in(step))(key(0), np.int64(0))
    assert program(key(3), np.int64(9)).data.tolist() == key(3).fold_in(9).data.tolist()


def test_reparametrisation_gradient():
    def sample(p):
        return np.sum(p["mean"] + p["scale"] * random.normal(key(1), (3,), np.float64))

    gradient = kn.grad(sample)({"mean": 1.0, "scale": 2.0})
    np.testing.assert_allclose(gradient["mean"], 3)
    np.testing.assert_allclose(gradient["scale"], random.normal(key(1), (3,), np.float64).sum())


def test_gradient_of_uniform_bounds():
    gradient = kn.grad(
        lambda low, high: random.uniform(key(1), (), np.float64, low, high), argnums=(0, 1)
    )(2.0, 7.0)
    u = random.uniform(key(1), (), np.float64)
    np.testing.assert_allclose(gradient, (1 - u, u))


@given(st.integers(0, 40), st.integers(1, 64))
def test_random_bits_width(size, bits):
    words = random_bits(
        np.array([1, 2], np.uint64), np.zeros(2, np.uint64), shape=(size,), bits=bits, purpose="t"
    )
    assert words.shape == (size,)
    assert words.dtype == (np.uint64 if bits > 32 else np.uint32)
    assert all(word < 2**bits for word in words.tolist())
    if size > 30 and bits > 6:
        assert words.max() >= 2 ** (bits - 1)


def test_randint_over_all_integers():
    x = random.randint(key(3), (1000,), -(2**63), 2**63)
    assert len(np.unique(x)) == 1000
    assert (x < 0).any()
    assert (x > 0).any()


def test_uniform_over_a_span_that_overflows():
    for dtype, bound in ((np.float64, 1.7e308), (np.float16, 6e4)):
        x = random.uniform(key(1), (N,), dtype, -bound, bound).astype(np.float64)
        assert stats.kstest(x / bound, stats.uniform(-1, 2).cdf).statistic < 0.02
        assert -bound <= x.min() < -0.99 * bound
        assert 0.99 * bound < x.max() <= bound
    lows = np.array([-1.7e308, 0.0])
    mixed = random.uniform(key(1), (1000, 2), np.float64, lows, -lows + 1)
    plain = random.uniform(key(1), (1000, 2), np.float64, 0.0, np.float64(1))
    np.testing.assert_array_equal(mixed[:, 1], plain[:, 1])
    # Traced bounds take the same way.
    f = lambda low, high: random.uniform(key(1), (3,), np.float64, low, high)  # noqa: E731
    with np.errstate(all="ignore"):
        traced = kn.graph(f)(np.float64(0), np.float64(1))(
            np.float64(-1.7e308), np.float64(1.7e308)
        )
        slopes = kn.grad(lambda b: np.sum(f(-b, b)))(1.7e308)
    np.testing.assert_array_equal(traced, f(-1.7e308, 1.7e308))
    np.testing.assert_allclose(slopes, np.sum(f(-1.0, 1.0)))


@pytest.mark.parametrize(
    ("bounds", "dtype"),
    [((0.0, math.inf), np.float64), ((math.nan, 1.0), np.float32), ((0.0, 1e5), np.float16)],
)
def test_uniform_bounds_that_are_not_finite_are_refused(bounds, dtype):
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(ValueError, match=r"(min|max)val=.* is not finite in float"),
    ):
        random.uniform(key(1), (3,), dtype, *bounds)


def test_truncated_normal_of_half_lines(monkeypatch):
    with warnings.catch_warnings(action="error"):
        x = random.truncated_normal(key(5), -math.inf, math.inf, (N,), np.float64)
        tail = random.truncated_normal(key(5), 37.0, math.inf, (N,), np.float64)
    assert stats.kstest(x, "norm").pvalue > SURE
    assert stats.kstest((tail - 37) * 37, "expon").statistic < 0.01
    assert random.truncated_normal(key(5), 40.0, 40.0) == 40
    # Even the smallest probability that can be drawn has a finite quantile.
    monkeypatch.setattr(
        random.distributions, "draw", lambda key, shape, bits: np.zeros(shape, np.uint64)
    )
    for lower, upper in ((-math.inf, math.inf), (-math.inf, 3.0), (-3.0, math.inf)):
        z = random.truncated_normal(key(5), lower, upper, (), np.float64)
        assert 8 < abs(z) < 9


@pytest.mark.parametrize("bounds", [(40.0, math.inf), (40.0, 41.0), (-41.0, -40.0), (38.0, 39.0)])
def test_truncated_normal_without_probability_is_refused(bounds):
    with pytest.raises(ValueError, match="too far out: its probability is 0 in float64"):
        random.truncated_normal(key(5), *bounds)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (math.nan, 1.0), (0.0, [1.0, -1.0])])
def test_truncated_normal_of_an_empty_interval_is_refused(bounds):
    with pytest.raises(ValueError, match="is empty"):
        random.truncated_normal(key(5), *bounds)


def test_categorical_without_a_class_is_refused():
    some = np.array([[0.0, -np.inf], [-np.inf, -np.inf]])
    for logits in ([-np.inf] * 3, some, np.zeros((2, 0))):
        with pytest.raises(ValueError, match="all logits are -inf along axis -1"):
            random.categorical(key(9), np.array(logits))
    assert (random.categorical(key(9), some[:1], shape=(100, 1)) == 0).all()
    assert random.categorical(key(9), np.zeros((0, 3))).shape == (0,)


def test_the_keys_of_a_split_are_mapped_and_scanned_over() -> None:
    keys = random.split(key(3), 4)
    each = [random.normal(k.clone(), (2,)) for k in keys]
    assert np.array_equal(kn.vmap(lambda k: random.normal(k, (2,)))(keys), each)
    scanned = kn.scan(lambda carry, k: (carry, random.normal(k, (2,))), 0, keys)[1]
    assert np.array_equal(scanned, each)


@pytest.mark.parametrize(
    "draw",
    [
        lambda k: random.permutation(k, 5),
        lambda k: random.permutation(k, np.arange(6.0)),
        lambda k: random.permutation(k, np.eye(3), axis=1, independent=True),
        lambda k: random.choice(k, 5, (3,), replace=False),
        lambda k: random.choice(k, np.arange(5.0), (3,), p=np.full(5, 0.2)),
        lambda k: random.choice(k, 5, (3,), replace=False, p=np.full(5, 0.2)),
    ],
)
def test_orders_and_choices_of_traced_keys(draw) -> None:
    keys = random.split(key(4), 3)
    each = [draw(k.clone()) for k in keys]
    assert np.array_equal(kn.vmap(draw)(keys), each)
    assert np.array_equal(kn.jit(draw)(keys[0].clone()), each[0])
