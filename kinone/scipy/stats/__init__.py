"""Distributions under SciPy's names: densities, distribution functions, quantiles, entropies.

Each has its arguments in SciPy's order, `loc` and `scale` last. `norm` and those that autograd has
are modules, so that `import kinone.scipy.stats.norm as norm` works as well.

    >>> import kinone as kn
    >>> kn.grad(norm.logpdf)(1.0, 0.0, 2.0)  # -(x - loc) / scale²
    np.float64(-0.25)
"""

from typing import Any

import scipy.stats as _theirs

from . import beta, chi2, dirichlet, gamma, multivariate_normal, norm, poisson, t
from .continuous import (
    cauchy,
    expon,
    gennorm,
    gumbel_l,
    gumbel_r,
    halfnorm,
    invgamma,
    laplace,
    logistic,
    lognorm,
    pareto,
    uniform,
    vonmises,
    weibull_min,
)
from .discrete import bernoulli, binom, geom, nbinom


def __getattr__(name: str) -> Any:
    """What has no formula here is SciPy's own, for plain arrays."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_theirs, name)


__all__ = [
    "bernoulli",
    "beta",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "gamma",
    "gennorm",
    "geom",
    "gumbel_l",
    "gumbel_r",
    "halfnorm",
    "invgamma",
    "laplace",
    "logistic",
    "lognorm",
    "multivariate_normal",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "t",
    "uniform",
    "vonmises",
    "weibull_min",
]
