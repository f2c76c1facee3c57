"""`kinone.scipy`: values against SciPy; derivatives against JAX, autograd, finite differences."""

from __future__ import annotations

import functools
import importlib
import inspect
import subprocess
import sys
import warnings
from typing import Any

import autograd.scipy.signal
import autograd.scipy.special
import autograd.scipy.stats
import jax
import jax.scipy
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats
from scipy_tables import OWN, entered

import kinone as kn
from kinone.core import Primitive
from kinone.errors import GradientError, MissingRuleError
from kinone.scipy import integrate, linalg, signal, special, stats
from kinone.testing import check_grads, check_primitive

pytestmark = pytest.mark.oracle
rng = np.random.default_rng(0)
assert entered  # a fixture of every test here

SLOW = {"scipy.integrate.odeint"}


def close(got: Any, want: Any, rtol: float = 1e-11, atol: float = 1e-13) -> None:
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(
    "one",
    [pytest.param(p, marks=pytest.mark.slow if p.name in SLOW else ()) for p in OWN],
    ids=lambda one: one.name,
)
def test_rules(one: Primitive) -> None:
    """What tests/test_primitives.py asks of every primitive that `import kinone` declares."""
    check_primitive(one)
    assert one.batch is not None


@pytest.mark.parametrize(
    "name", ["special", "linalg", "signal", "integrate", *[f"stats.{n}" for n in (
        "norm", "t", "beta", "gamma", "chi2", "poisson", "dirichlet", "multivariate_normal")]]
)  # fmt: skip
def test_every_name_of_autograd(name: str) -> None:
    theirs = importlib.import_module(f"autograd.scipy.{name}")
    ours = importlib.import_module(f"kinone.scipy.{name}")
    source = inspect.getsource(theirs)
    declared = [
        line.split(" = primitive(")[0] for line in source.splitlines() if " = primitive(" in line
    ]
    for one in declared:
        assert callable(getattr(ours, one)), one


# ---- special -------------------------------------------------------------------------------------

X = np.array([0.15, 0.4, 0.85])
OF_ONE = [
    *("digamma", "entr", "erf", "erfc", "erfinv", "expi", "exp1", "expit", "gamma", "gammaln"),
    *("i0", "i0e", "i1", "i1e", "log_ndtr", "logit", "ndtr", "ndtri"),
]
OF_TWO = ["betaln", "kl_div", "rel_entr", "xlog1py", "xlogy", "beta", "poch"]


@pytest.mark.parametrize("name", OF_ONE)
def test_special_of_one_against_jax(name: str) -> None:
    ours, theirs = getattr(special, name), getattr(jax.scipy.special, name)
    close(ours(X), getattr(scipy.special, name)(X), 1e-15)
    close(kn.grad(lambda x: np.sum(ours(x)))(X), jax.grad(lambda x: theirs(x).sum())(X), 1e-9)


@pytest.mark.parametrize("name", OF_TWO)
@pytest.mark.parametrize("argnum", [0, 1])
def test_special_of_two_against_jax(name: str, argnum: int) -> None:
    ours, theirs = getattr(special, name), getattr(jax.scipy.special, name)
    a, b = X[:, None], X[None] + 1
    got = kn.grad(lambda a, b: np.sum(ours(a, b)), argnum)(a, b)
    close(got, jax.grad(lambda a, b: theirs(a, b).sum(), argnum)(a, b), 1e-9)


@pytest.mark.parametrize("name", ["erf", "erfc", "gamma", "rgamma", "loggamma", "ndtr", "exp1"])
def test_special_of_complex_numbers(name: str) -> None:
    """Holomorphic: the derivative is that of the limit, whichever way it goes."""
    f, z, step = getattr(special, name), np.array([0.7 + 0.4j, 1.3 - 0.2j]), 1e-6
    got = kn.jvp(f, (z,), (np.ones_like(z),))[1]
    for way in (1, 1j):
        close(got, (f(z + step * way) - f(z - step * way)) / (2 * step * way), 1e-7)


def test_scipys_own_ufunc_takes_traced_values() -> None:
    close(kn.grad(scipy.special.gammaln)(2.5), scipy.special.psi(2.5))
    close(kn.vmap(scipy.special.erf)(X), scipy.special.erf(X))
    close(
        kn.jit(lambda x: scipy.special.jv(2, x) * special.j0(x))(X),
        scipy.special.jv(2, X) * scipy.special.j0(X),
        1e-15,
    )


def test_what_has_no_derivative_says_so() -> None:
    for f in (
        lambda a: special.gammainc(a, 0.5),
        lambda a: special.betainc(1.0, a, 0.5),
        lambda v: special.jv(v, 0.5),
        lambda df: stats.t.cdf(0.5, df),
        lambda k: stats.vonmises.cdf(0.5, k),
    ):
        with pytest.raises(MissingRuleError, match=r"test_scipy\.py"):
            kn.grad(f)(1.5)
    with pytest.raises(MissingRuleError):
        kn.grad(lambda x: special.airy(x)[0])(0.5)
    assert special.comb(5, 2) == 10
    with pytest.raises(AttributeError):
        special.no_such_function  # noqa: B018


def test_at_the_edges() -> None:
    close(kn.grad(special.rgamma)(-2.0), 2.0)  # where Γ has a pole, 1/Γ is smooth
    close(kn.grad(kn.grad(special.rgamma))(0.0), 2 * np.euler_gamma)
    close(kn.grad(special.log_ndtr)(-1e6), 1e6 + 1e-6)
    assert kn.grad(kn.grad(special.log_ndtr))(100.0) == 0
    assert kn.grad(special.xlogy, 1)(0.0, 0.0) == 0
    close(kn.grad(special.xlogy)(0.0, 2.0), np.log(2))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("b", ["none", "positive", "signed", "zero"])
def test_logsumexp(axis: Any, keepdims: bool, b: str) -> None:
    a = rng.normal(size=(2, 3, 4))
    weight: Any = {"none": None, "positive": rng.uniform(0.5, 2, (3, 4)), "signed": None}.get(b)
    if b == "signed":
        weight = np.array([1.0, -0.2, 0.7, 0.4])
    if b == "zero":
        weight = np.array([1.0, 0.0, 0.7, 0.4])
        a = a + 500 * (weight == 0)
    options = {"axis": axis, "keepdims": keepdims}
    for shifted in (a, a + 800):
        got = kn.vjp(lambda x: special.logsumexp(x, b=weight, **options), shifted)[0]
        with np.errstate(all="ignore"):
            want = scipy.special.logsumexp(shifted, b=weight, **options)
        if b == "zero":  # where all weights are 0, SciPy has NaN for large numbers, and not ln 0
            want = np.where(np.isnan(want), -np.inf, want)
        close(got, want)
    got, sign = kn.jit(lambda x: special.logsumexp(x, b=weight, return_sign=True, **options))(a)
    with np.errstate(all="ignore"):
        want = scipy.special.logsumexp(a, b=weight, return_sign=True, **options)
    close(got, want[0])
    close(sign, want[1])
    if np.isfinite(got).all() and (np.asarray(sign) > 0).all():
        check_grads(lambda x: special.logsumexp(x, b=weight, **options), (a,), order=2)
    if b == "positive":
        check_grads(lambda w: special.logsumexp(a, b=w, **options), (weight,), order=2)


def test_logsumexp_of_nothing_but_minus_infinity() -> None:
    a = np.array([-np.inf, -np.inf])
    with np.errstate(divide="ignore"):
        assert special.logsumexp(a) == kn.vjp(special.logsumexp, a)[0] == -np.inf


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str, axis: Any) -> None:
    a = rng.normal(size=(3, 4))
    f, theirs = getattr(special, name), getattr(scipy.special, name)
    close(kn.jit(lambda x: f(x, axis))(a), theirs(a, axis))
    check_grads(lambda x: f(x, axis=axis), (a,), order=2)


def test_multigammaln_and_polygamma() -> None:
    a = np.array([2.6, 3.1])
    close(kn.jit(lambda a: special.multigammaln(a, 3))(a), scipy.special.multigammaln(a, 3))
    check_grads(lambda a: special.multigammaln(a, 3), (a,), order=3)
    with pytest.raises(ValueError, match="positive integer"):
        kn.grad(lambda a: special.multigammaln(a, 1.5))(3.0)
    close(kn.grad(kn.grad(special.psi))(1.0), scipy.special.polygamma(2, 1.0))


# ---- stats ---------------------------------------------------------------------------------------

POINTS = np.concatenate(
    [rng.normal(size=12) * 2, rng.uniform(0, 1, 8), [0, 1, -1, np.inf, -np.inf, np.nan, 30, 2.5]]
)
CONTINUOUS: dict[str, tuple[float, ...]] = {
    "norm": (),
    "t": (3.2,),
    "beta": (2.0, 1.5),
    "gamma": (2.3,),
    "chi2": (3.0,),
    "uniform": (),
    "expon": (),
    "laplace": (),
    "logistic": (),
    "cauchy": (),
    "gumbel_r": (),
    "gumbel_l": (),
    "halfnorm": (),
    "lognorm": (0.7,),
    "pareto": (2.5,),
    "weibull_min": (1.7,),
    "invgamma": (2.4,),
    "gennorm": (1.3,),
    "vonmises": (1.4,),
}
METHODS = ["logpdf", "pdf", "cdf", "sf", "logcdf", "logsf", "ppf", "isf"]
JAX = ["norm", "t", "beta", "gamma", "chi2", "expon", "laplace", "logistic", "cauchy", "pareto"]


@pytest.mark.parametrize("place", [(0, 1), (0.3, 1.7), (0, -1)], ids=str)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_values(name: str, place: tuple[float, float]) -> None:
    if name == "vonmises" and place != (0, 1):
        return  # SciPy's has no scale
    ours, theirs, shapes = getattr(stats, name), getattr(scipy.stats, name), CONTINUOUS[name]
    for method in METHODS:
        x = np.linspace(0, 1, 9) if method in ("ppf", "isf") else POINTS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = getattr(theirs, method)(x, *shapes, *place)
        close(getattr(ours, method)(x, *shapes, *place), want)
    with np.errstate(invalid="ignore"):
        want = theirs.entropy(*shapes, *place)
    close(ours.entropy(*shapes, *place), want, 1e-9)


@pytest.mark.parametrize("method", ["logpdf", "cdf", "logcdf", "logsf", "ppf"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_derivatives(name: str, method: str) -> None:
    """By x, loc and scale everywhere, and by the shapes of densities; inside of the support."""
    shapes = CONTINUOUS[name]
    if (name == "vonmises" and method != "logpdf") or (name == "gennorm" and method == "ppf"):
        return
    x = np.array([1.4, 2.2] if name == "pareto" and method != "ppf" else [0.3, 0.62])
    f = getattr(getattr(stats, name), method)
    check_grads(lambda x, loc, scale: f(x, *shapes, loc, scale), (x, 0.05, 1.1), order=2, rtol=1e-5)
    if method == "logpdf" and shapes:
        check_grads(lambda *shapes: f(x, *shapes), shapes, order=2)


@pytest.mark.parametrize("name", JAX)
def test_densities_against_jax(name: str) -> None:
    ours, theirs = getattr(stats, name), getattr(jax.scipy.stats, name)
    args = (np.array([1.2, 1.9]) if name == "pareto" else X, *CONTINUOUS[name], 0.1, 1.2)
    for i in range(len(args)):
        got = kn.grad(lambda *a: np.sum(ours.logpdf(*a)), i)(*args)
        close(got, jax.grad(lambda *a: theirs.logpdf(*a).sum(), i)(*args), 1e-9)


@pytest.mark.parametrize("loc", [0, 1])
@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        *[("poisson", (2.3,)), ("bernoulli", (0.3,)), ("binom", (4, 0.3)), ("geom", (0.4,))],
        *[("nbinom", (3, 0.6))],
    ],
)
def test_discrete(name: str, shapes: tuple[float, ...], loc: int) -> None:
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    counts = np.array([-1, 0, 1, 2, 3, 4, 5, 9, 2.5, np.nan])
    for method in ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = getattr(theirs, method)(counts, *shapes, loc)
        close(getattr(ours, method)(counts, *shapes, loc), want)
    close(ours.entropy(*shapes), theirs.entropy(*shapes))
    inside = loc + np.array([0, 1] if name == "bernoulli" else [1, 2, 3])
    for method in ("logpmf", "cdf", "sf"):
        f = getattr(ours, method)
        check_grads(
            functools.partial(_of_the_last, f, inside, shapes[:-1], loc), shapes[-1:], order=2
        )
    assert kn.grad(lambda k: ours.logpmf(k, *shapes))(1.0) == 0


def _of_the_last(f: Any, counts: Any, shapes: Any, loc: int, p: Any) -> Any:
    return f(counts, *shapes, p, loc)


def test_arguments_are_bound_as_scipys() -> None:
    close(stats.t.logpdf(0.5, df=3, scale=2), scipy.stats.t.logpdf(0.5, df=3, scale=2))
    close(stats.norm.pdf([0.5, 1.0]), scipy.stats.norm.pdf([0.5, 1.0]))
    for call in (
        lambda: stats.t.pdf(0.5),
        lambda: stats.t.pdf(0.5, 3, df=3),
        lambda: stats.t.pdf(0.5, 3, width=3),
        lambda: stats.norm.pdf(0, 0, 1, 2),
    ):
        with pytest.raises(TypeError):
            call()
    for method in METHODS:
        got = getattr(stats.t, method)(np.array([0.2, 0.4], np.float32), 3, 0.0, 2.0)
        assert got.dtype == np.float32, method
    assert np.shape(stats.norm.rvs(size=3)) == np.shape(stats.laplace.rvs(size=3)) == (3,)
    assert stats.hypergeom.pmf(1, 10, 3, 4) > 0  # without a formula here, SciPy's own


def test_outside_of_the_support_the_derivative_is_zero() -> None:
    for f in (stats.gamma.logpdf, stats.gamma.cdf):
        got = kn.grad(lambda x, f=f: np.sum(np.where(np.isfinite(f(x, 2.0)), f(x, 2.0), 0)))(
            np.array([-1.0, 0.5])
        )
        assert got[0] == 0
        assert np.isfinite(got[1])
        assert got[1] != 0


def _covariance(size: int, seed: int = 0) -> Any:
    a = np.random.default_rng(seed).normal(size=(size, size))
    return a @ a.T + np.eye(size)


def test_a_compiled_density_warns_no_more_than_an_eager_one() -> None:
    x = np.array([-1.0, 0.0, 0.5])
    for f in (lambda x: stats.lognorm.logpdf(x, 1.0), lambda x: stats.norm.logpdf(x, 0, -2.0 - x),
              lambda x: stats.expon.logcdf(x), lambda x: stats.gamma.logsf(x, 2.0)):  # fmt: skip
        close(kn.jit(f)(x), f(x))


class TestMultivariateNormal:
    mvn = stats.multivariate_normal

    def test_values(self) -> None:
        x, mean, cov = rng.normal(size=(5, 3)), rng.normal(size=3), _covariance(3)
        theirs = scipy.stats.multivariate_normal
        for args in (
            (x, mean, cov),
            (x[0], mean, cov),
            (x, mean, 2.0),
            (x, mean, np.array([1.0, 2.0, 3.0])),
            (x[:, 0], 0.3, 2.0),
            (0.5, 0.3, 2.0),
            (x[0], mean, cov, True),
        ):
            close(self.mvn.logpdf(*args), theirs.logpdf(*args))
            close(self.mvn.pdf(*args), theirs.pdf(*args))
        close(self.mvn.entropy(mean, cov), theirs.entropy(mean, cov))
        with pytest.raises(np.linalg.LinAlgError):
            self.mvn.logpdf(x, mean, -cov)
        with pytest.raises(ValueError, match="does not fit"):
            self.mvn.logpdf(x, mean, np.eye(2))

    @pytest.mark.parametrize("singular", [False, True])
    def test_derivatives(self, singular: bool) -> None:
        x, mean, cov = rng.normal(size=(5, 3)), rng.normal(size=3), _covariance(3)

        def f(x: Any, mean: Any, cov: Any) -> Any:
            return self.mvn.logpdf(x, mean, 0.5 * (cov + cov.T), singular)

        check_grads(f, (x, mean, cov), order=2)
        check_grads(lambda cov: self.mvn.entropy(mean, 0.5 * (cov + cov.T)), (cov,), order=2)
        theirs = jax.grad(lambda *a: jax.scipy.stats.multivariate_normal.logpdf(*a).sum(), (0, 1))
        ours = kn.grad(lambda *a: np.sum(f(*a)), (0, 1))(x, mean, cov)
        for got, want in zip(ours, theirs(x, mean, cov), strict=True):
            close(got, want, 1e-9)

    def test_a_stack_of_covariances_and_vmap(self) -> None:
        x, covs = rng.normal(size=(4, 3)), np.stack([_covariance(3, i) for i in range(4)])
        want = [
            scipy.stats.multivariate_normal.logpdf(a, None, c) for a, c in zip(x, covs, strict=True)
        ]
        close(self.mvn.logpdf(x, None, covs), np.array(want))
        close(kn.vmap(lambda a, c: self.mvn.logpdf(a, None, c))(x, covs), np.array(want))

    def test_on_a_subspace(self) -> None:
        cov = np.diag([1.0, 2.0, 0.0])
        for x in (np.array([0.3, 0.4, 0.0]), np.array([0.3, 0.4, 0.1])):
            want = scipy.stats.multivariate_normal.logpdf(x, None, cov, allow_singular=True)
            close(self.mvn.logpdf(x, None, cov, allow_singular=True), want)


def test_dirichlet() -> None:
    alpha = np.array([1.5, 2.0, 3.0])
    x = scipy.stats.dirichlet.rvs(alpha, size=4, random_state=0).T
    for points in (x, x[:, 0], x[:2]):
        close(stats.dirichlet.logpdf(points, alpha), scipy.stats.dirichlet.logpdf(points, alpha))
        close(stats.dirichlet.pdf(points, alpha), scipy.stats.dirichlet.pdf(points, alpha))
    close(stats.dirichlet.entropy(alpha), scipy.stats.dirichlet.entropy(alpha))
    check_grads(stats.dirichlet.logpdf, (x, alpha), order=2)
    check_grads(stats.dirichlet.entropy, (alpha,), order=2)
    with pytest.raises(ValueError, match="components"):
        stats.dirichlet.logpdf(x, np.ones(5))


# ---- linalg --------------------------------------------------------------------------------------

A = rng.normal(size=(3, 3)) + 4 * np.eye(3)
B = rng.normal(size=(3, 2))
SYMMETRIC = A @ A.T
COMPLEX = A + 1j * rng.normal(size=(3, 3))


@pytest.mark.parametrize("b", [B, B[:, 0]], ids=["matrix", "vector"])
@pytest.mark.parametrize("trans", [0, 1, "N", "T", "C"])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular(b: Any, trans: Any, lower: bool, unit: bool) -> None:
    options = {"trans": trans, "lower": lower, "unit_diagonal": unit}
    for a in (A, COMPLEX):
        want = scipy.linalg.solve_triangular(a, b, **options)
        close(linalg.solve_triangular(a, b, **options), want)
        close(kn.jit(lambda a, b: linalg.solve_triangular(a, b, **options))(a, b), want)
        check_grads(lambda a, b: linalg.solve_triangular(a, b, **options), (a, b), order=2)


SHARED = {
    "det": (A,),
    "inv": (A,),
    "solve": (A, B),
    "pinv": (rng.normal(size=(4, 3)),),
    "norm": (A,),
    "eigvalsh": (SYMMETRIC,),
    "svdvals": (B,),
    "cholesky": (SYMMETRIC,),
    "block_diag": (A, B, np.array(2.0), B[0]),
    "expm": (A / 4,),
    "sqrtm": (SYMMETRIC,),
    "solve_sylvester": (A, A + 1, A),
}


@pytest.mark.parametrize("name", SHARED)
def test_linalg(name: str) -> None:
    args, f = SHARED[name], getattr(linalg, name)
    want = getattr(scipy.linalg, name)(*args)
    close(f(*args), want)
    close(kn.jit(lambda *a: f(*a))(*args), want, 1e-9)
    if name in ("eigvalsh", "cholesky"):
        check_grads(lambda a: f(0.5 * (a + a.T)), args, order=2)
    else:
        check_grads(f, args, order=2)


def test_linalg_options() -> None:
    close(linalg.cho_solve(linalg.cho_factor(SYMMETRIC), B), np.linalg.solve(SYMMETRIC, B))
    close(kn.vjp(lambda a: linalg.solve(a, B, transposed=True), A)[0], np.linalg.solve(A.T, B))
    f = lambda a: linalg.solve(a, B, lower=True, assume_a="pos")  # noqa: E731
    close(kn.vjp(f, SYMMETRIC)[0], f(SYMMETRIC))
    check_grads(f, (SYMMETRIC,), order=2)
    for mode in ("full", "economic", "r"):
        got = kn.vjp(lambda a, m=mode: linalg.qr(a, mode=m), B)[0]
        for a, b in zip(got, scipy.linalg.qr(B, mode=mode), strict=True):
            close(np.abs(a), np.abs(b))
    got = kn.vjp(lambda a: linalg.eigh(a, subset_by_index=None), SYMMETRIC)[0]
    close(got[0], scipy.linalg.eigh(SYMMETRIC)[0])
    close(kn.vjp(linalg.svd, B)[0][1], scipy.linalg.svd(B)[1])
    with pytest.raises(MissingRuleError, match="subset_by_index"):
        kn.grad(lambda a: np.sum(linalg.eigvalsh(a, subset_by_index=[0, 1])))(SYMMETRIC)
    with pytest.raises(ValueError, match="trans"):
        linalg.solve_triangular(A, B, trans=3)
    with pytest.raises(np.linalg.LinAlgError):
        linalg.solve_triangular(np.zeros((2, 2)), np.ones(2))
    assert linalg.toeplitz([1, 2]).shape == (2, 2)


def test_root_of_a_matrix_with_negative_eigenvalues() -> None:
    a = np.array([[1.0, 2.0], [2.0, 1.0]])
    close(kn.vjp(linalg.sqrtm, a)[0], scipy.linalg.sqrtm(a))
    check_grads(lambda a: np.real(linalg.sqrtm(a)), (a,), order=2)


@pytest.mark.parametrize("bands", [(1, 1), (2, 1), (0, 2), (1, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("columns", [(), (2,)], ids=str)
def test_solve_banded(bands: tuple[int, int], columns: tuple[int, ...]) -> None:
    ab, b = rng.normal(size=(sum(bands) + 1, 5)), rng.normal(size=(5, *columns))
    ab[bands[1]] += 5
    close(linalg.solve_banded(bands, ab, b), scipy.linalg.solve_banded(bands, ab, b))
    check_grads(lambda ab, b: linalg.solve_banded(bands, ab, b), (ab, b), order=2)
    got = kn.vmap(lambda b: linalg.solve_banded(bands, ab, b))(np.stack([b, 2 * b]))
    close(got[1], 2 * got[0])
    with pytest.raises(ValueError, match="rows"):
        linalg.solve_banded((3, 3), ab, b)


# ---- signal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        ((6,), (3,), {}),
        ((3,), (6,), {}),
        ((4, 5), (2, 2), {}),
        ((4, 3), (3, 2), {"axes": ([0], [1])}),
        ((3, 3, 2), (3, 2, 3), {"axes": ([1], [1]), "dot_axes": ([0], [2])}),
        ((2, 5, 4, 3), (2, 4, 2, 3, 2), {"axes": ([1, 2], [2, 4]), "dot_axes": ([0, 3], [0, 3])}),
        ((3, 5), (3, 4), {"axes": ([], []), "dot_axes": ([0], [-2])}),
    ],
)
def test_convolve(a: Any, b: Any, options: Any, mode: str) -> None:
    x, y = rng.normal(size=a), rng.normal(size=b)
    positive = {key: [[i % len(s) for i in axes] for axes, s in zip(pair, (a, b), strict=True)]
                for key, pair in options.items()}  # fmt: skip
    try:
        want = autograd.scipy.signal.convolve(x, y, mode=mode, **positive)
    except Exception:  # of operands of which neither is the longer one along all axes
        with pytest.raises(ValueError, match="valid"):
            signal.convolve(x, y, mode=mode, **options)
        return
    close(signal.convolve(x, y, mode=mode, **options), want)
    check_grads(lambda x, y: signal.convolve(x, y, mode=mode, **options), (x, y), order=2)
    many = kn.vmap(lambda x: signal.convolve(x, y, mode=mode, **options))(np.stack([x, 3 * x]))
    close(many[1], 3 * many[0])
    if not options:
        close(signal.convolve(x, y, mode=mode), scipy.signal.convolve(x, y, mode, "direct"))


def test_convolve_refuses() -> None:
    for call in (
        lambda: signal.convolve(np.ones(3), np.ones(2), mode="half"),
        lambda: signal.convolve(np.ones(3), np.ones((2, 2))),
        lambda: signal.convolve(np.ones((3, 2)), np.ones((2, 2)), dot_axes=([0], [0])),
        lambda: signal.convolve(np.ones((3, 2)), np.ones((2, 2)), ([0], [0]), ([1, 0], [1, 0])),
        lambda: signal.convolve(np.ones((3, 4)), np.ones((4, 3)), mode="valid"),
        lambda: signal.convolve(np.ones(0), np.ones(2)),
    ):
        with pytest.raises(ValueError, match="convolve"):
            call()


# ---- integrate -----------------------------------------------------------------------------------

TIMES = np.array([0.0, 0.2, 0.5])
TIGHT = {"rtol": 1e-11, "atol": 1e-11}


def field(y: Any, t: Any, p: Any) -> Any:
    return np.stack([y[1] * p["w"], -np.sin(y[0]) * p["w"] + np.sum(p["d"] * y) + np.cos(t)])


P = {"w": 1.3, "d": np.array([0.2, -0.4])}


class TestOdeint:
    y0 = np.array([0.3, -0.2])

    def test_values(self) -> None:
        want = scipy.integrate.odeint(field, self.y0, TIMES, (P,), **TIGHT)
        close(integrate.odeint(field, self.y0, TIMES, (P,), **TIGHT), want)
        close(kn.jit(lambda p: integrate.odeint(field, self.y0, TIMES, (p,), **TIGHT))(P), want)
        swapped = kn.vjp(
            lambda y: integrate.odeint(
                lambda t, y, p: field(y, t, p), y, TIMES, (P,), tfirst=True, **TIGHT
            ),
            self.y0,
        )[0]
        close(swapped, want)

    def test_derivatives(self) -> None:
        check_grads(
            lambda y0, t, p: integrate.odeint(field, y0, t, (p,), **TIGHT),
            (self.y0, TIMES, P),
            order=1,
            atol=1e-6,
            rtol=1e-6,
        )

    def test_second_derivative_of_decay(self) -> None:
        def end(rate: Any) -> Any:
            return integrate.odeint(lambda y, t, r: [-r * y[0]], 1.0, [0.0, 1.0], rate, **TIGHT)[
                -1, 0
            ]

        close(kn.grad(end)(0.5), -np.exp(-0.5), 1e-8)
        close(kn.grad(kn.grad(end))(0.5), np.exp(-0.5), 1e-7)
        close(kn.jacfwd(kn.grad(end))(0.5), np.exp(-0.5), 1e-7)

    def test_vmap_and_one_time(self) -> None:
        starts = np.stack([self.y0, 2 * self.y0])
        got = kn.vmap(lambda y: integrate.odeint(field, y, TIMES, (P,), **TIGHT))(starts)
        for one, y in zip(got, starts, strict=True):
            close(one, scipy.integrate.odeint(field, y, TIMES, (P,), **TIGHT))
        one = kn.grad(lambda y: np.sum(integrate.odeint(field, y, TIMES[:1], (P,)) * [2, 3]))
        close(one(self.y0), np.array([2.0, 3.0]))

    def test_refuses(self) -> None:
        with pytest.raises(GradientError, match="args="):
            kn.grad(lambda r: np.sum(integrate.odeint(lambda y, t: -r * y, self.y0, TIMES)))(0.5)
        with pytest.raises(MissingRuleError, match="full_output"):
            kn.grad(lambda y: integrate.odeint(field, y, TIMES, (P,), full_output=True)[0][0, 0])(
                self.y0
            )
        with pytest.raises(ValueError, match="vector"):
            kn.grad(lambda y: np.sum(integrate.odeint(field, y, TIMES, (P,))))(np.ones((2, 2)))


def test_without_scipy() -> None:
    code = "import sys; sys.modules['scipy'] = None; import kinone; kinone.scipy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'ImportError: kinone.scipy needs SciPy: pip install "kinone[scipy]"' in done.stderr
