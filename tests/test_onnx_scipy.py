"""The primitives of `kinone.scipy` as ONNX, beside SciPy's functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_runtime import as_tensor, run

import kinone as kn
import kinone.onnx
from kinone.core import registry
from kinone.onnx.export.rules import rule_of
from kinone.testing.operands import cast_sample, describe_sample, samples_of

scipy_special = pytest.importorskip("scipy.special")

from scipy_tables import OWN as PRIMITIVES  # noqa: E402
from scipy_tables import entered  # noqa: E402

from kinone.onnx.lower import scipy as formulas  # noqa: E402
from kinone.scipy import linalg, signal, special, stats  # noqa: E402

assert entered  # a fixture of every test here
CASES = [
    pytest.param(one, sample, id=f"{one.name}-{describe_sample(sample)[:60]}")
    for one in PRIMITIVES
    if not isinstance(rule_of(one), str)
    for sample in samples_of(one)
]


def check(fun: Any, *args: Any, tolerance: float = 1e-12) -> None:
    wanted = [as_tensor(leaf) for leaf in kn.tree.leaves(fun(*args))]
    found = run(kn.onnx.export(fun, *args, dynamic={}), *args)
    for got, want in zip(found, wanted, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        scale = np.abs(want).max(initial=0) or 1
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


def test_every_primitive_has_a_rule_or_says_why_not() -> None:
    for one in PRIMITIVES:
        rule = rule_of(one)
        assert callable(rule) or "has no ONNX form" in str(rule), one.name
    with pytest.raises(kn.onnx.ExportError, match=r"kv cannot be written as ONNX: what SciPy"):
        kn.onnx.export(lambda x: special.kv(1, x), np.ones(3), dynamic={})


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("one", "sample"), CASES)
def test_samples(one: Any, sample: Any, dtype: Any) -> None:
    cast = cast_sample(sample, dtype)
    wide = np.asarray(one(*cast.args, **cast.params)).real.dtype == np.float64
    check(lambda *xs: one(*xs, **cast.params), *cast.args, tolerance=1e-12 if wide else 2e-6)


SPECIAL_VALUES = [0.0, -0.0, 1, 2, 3, 10, 100, 170, 1e3, 1e10, 1e-5, 1e-300, -1e-5, -1, -2, 0.5]
GRID = np.array([*np.linspace(-9.7, 9.9, 99), *SPECIAL_VALUES, np.inf, np.nan])
SHARES = np.array([*np.linspace(0, 1, 99), 1e-300, 1e-20, 1 - 1e-12, 2, -1, np.nan])
CORNERS = np.array([-1.5, -1, 0, -0.0, 0.3, 1, 2.5, 30, np.inf, np.nan, 1e-9])
PAIRS = [np.repeat(CORNERS, CORNERS.size), np.tile(CORNERS, CORNERS.size)]
SIZES = [x[(PAIRS[0] > 0) & (PAIRS[1] > 0) & np.isfinite(PAIRS[0] + PAIRS[1])] for x in PAIRS]


def _operands(name: str) -> list[Any]:
    if name in ("logit", "ndtri"):
        return [SHARES]
    if name == "erfinv":
        return [2 * SHARES - 1]
    if name in ("xlogy", "xlog1py", "rel_entr", "kl_div"):
        return PAIRS
    if name in ("beta", "betaln", "poch"):
        return SIZES
    return [GRID[np.isfinite(GRID)]] if name == "i0" else [GRID]


@pytest.mark.parametrize("name", formulas._SPECIAL)
@pytest.mark.filterwarnings("ignore")
def test_special_functions_on_a_grid(name: str) -> None:
    """NaN, ∞, poles and far ends as SciPy has them; next to a zero, to 15 digits of 1."""
    function, xs = registry[f"scipy.special.{name}"], _operands(name)
    wanted = function(*xs)
    (found,) = run(kn.onnx.export(lambda *xs: function(*xs), *xs, dynamic={}), *xs)
    np.testing.assert_allclose(found, wanted, rtol=2e-11, atol=1e-14)


def test_linear_algebra_at_every_scale() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 5)), rng.normal(size=(2, 5, 3))
    for scale in (0.0, 1e-3, 1.0, 30.0):
        check(linalg.expm, scale * a, tolerance=1e-11)
    check(linalg.expm, a * (1 + 1j))
    positive = a @ a.mT + np.eye(5)
    check(linalg.sqrtm, positive)
    check(lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b), positive[0], b[0])
    for lower in (True, False):
        for trans in (0, 1):
            check(lambda a, b: linalg.solve_triangular(a, b, trans, lower), positive, b)  # noqa: B023
    check(kn.grad(lambda a: np.sum(linalg.expm(a) ** 2)), a, tolerance=1e-11)


def test_convolutions() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 9, 8)), rng.normal(size=(4, 3, 2))
    for mode in ("full", "same", "valid"):
        check(lambda a, b: signal.convolve(a[0], b[0], mode=mode), a, b)  # noqa: B023
    axes = {"axes": ([1, 2], [1, 2])}
    check(lambda a, b: signal.convolve(a, b, **axes), a, b)
    check(kn.grad(lambda a, b: np.sum(signal.convolve(a, b, **axes) ** 2)), a, b)


@pytest.mark.parametrize("family", ["norm", "gamma", "beta", "t", "poisson"])
def test_densities(family: str) -> None:
    x = np.array([0.2, 0.7, 0.9])
    shapes = {"norm": (), "gamma": (2.5,), "beta": (2.0, 3.0), "t": (4.0,), "poisson": (1.5,)}
    made = getattr(stats, family)
    log_density = made.logpmf if family == "poisson" else made.logpdf
    given = np.array([0.0, 1.0, 3.0]) if family == "poisson" else x
    check(lambda x: log_density(x, *shapes[family]), given)
    if family != "poisson":
        check(kn.grad(lambda x: np.sum(log_density(x, *shapes[family]))), given)
