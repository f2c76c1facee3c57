"""What `autograd.scipy` has, under SciPy's names, for traced values.

    special     gamma, beta, Bessel and error functions, logsumexp
    stats       densities, distribution functions and entropies
    linalg      triangular and banded systems, Sylvester's equation, roots and exponentials
    signal      convolve, along some axes
    integrate   odeint, by the adjoint method

SciPy itself is imported here and nowhere else. On plain arrays its own functions run.
"""

try:
    import scipy as _scipy  # noqa: F401
except ImportError as error:
    raise ImportError('kinone.scipy needs SciPy: pip install "kinone[scipy]"') from error

from . import integrate, linalg, signal, special, stats

__all__ = ["integrate", "linalg", "signal", "special", "stats"]
