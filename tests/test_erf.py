"""erf, erfc and GELU: to the last digits of float32 and float64, in blocks as in small."""

from __future__ import annotations

import numpy as np
import pytest

from kinone import ops
from kinone.ops.gelu import gelu_slope_p

special = pytest.importorskip("scipy.special")

X = np.concatenate([np.linspace(-13, 13, 40001), np.linspace(-1.5, 1.5, 40001)])
EDGES = np.array([0.0, -0.0, 1e-30, -1e-30, np.inf, -np.inf, np.nan])
EXACT = {
    "erf": (ops.erf, special.erf),
    "erfc": (ops.erfc, special.erfc),
    "gelu": (ops.gelu, lambda x: x * special.ndtr(x)),
}


def units(found, wanted, dtype):
    """The error in units in the last place, of numbers that have all their digits."""
    tiny = 2 * np.finfo(dtype).tiny
    usual = np.isfinite(wanted) & (np.abs(wanted) > tiny)
    spacing = np.spacing(np.abs(wanted[usual]).astype(dtype)).astype(np.float64)
    return np.max(np.abs(found[usual].astype(np.float64) - wanted[usual]) / spacing)


@pytest.mark.parametrize("name", EXACT)
def test_single_precision_is_rounded_once(name):
    function, exact = EXACT[name]
    x = X.astype(np.float32)
    found = function(x)
    assert found.dtype == np.float32
    assert units(found, exact(x.astype(np.float64)), np.float32) < 0.7


def test_double_precision_of_erf_is_that_of_scipy():
    assert units(ops.erf(X), special.erf(X), np.float64) <= 2


def test_the_edges_are_as_the_limits():
    for dtype in (np.float32, np.float64):
        edges = EDGES.astype(dtype)
        np.testing.assert_array_equal(ops.erfc(edges), special.erfc(edges))
        np.testing.assert_allclose(ops.erf(edges), special.erf(edges), rtol=1e-6)
        assert np.signbit(ops.erf(edges[1]))
        found = ops.gelu(edges)
        np.testing.assert_allclose(found[:6], [0, -0.0, 5e-31, -5e-31, np.inf, 0], rtol=1e-6)
        assert np.isnan(found[6])
        np.testing.assert_array_equal(gelu_slope_p(edges), [0.5, 0.5, 0.5, 0.5, 1, 0, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_slope_of_gelu(dtype):
    x = X.astype(dtype)
    wide = x.astype(np.float64)
    wanted = special.ndtr(wide) + wide * np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    found = gelu_slope_p(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2 * np.finfo(dtype).eps)
    large = np.resize(x, 1 << 19)
    np.testing.assert_array_equal(gelu_slope_p(large)[: x.size], found)
