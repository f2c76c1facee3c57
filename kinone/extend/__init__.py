"""Operations of your own: any Python function becomes a primitive, with the rules that you give.

The names are those of `autograd.extend`:

    >>> import numpy as np, kinone as kn
    >>> from kinone.extend import defjvp, defvjp, primitive
    >>> @primitive
    ... def cube(x):
    ...     return np.array([each**3 for each in np.ravel(x)]).reshape(np.shape(x))
    >>> defvjp(cube, lambda ans, x: lambda g: g * 3 * x**2)
    >>> kn.grad(lambda x: np.sum(cube(x)))(np.array([1.0, 2.0]))
    array([ 3., 12.])

What is inside of such a function is not traced: it sees plain arrays, may call SciPy or compiled
code, and may write into arrays of its own. Its rules are differentiated again, so they are written
in NumPy and in other primitives. `kinone.custom_vjp` is for a function that *can* be traced.
"""

from .declared import notrace_primitive, primitive
from .rules import def_linear, defjvp, defjvp_argnum, defvjp, defvjp_argnum, defvjp_argnums

__all__ = [
    "def_linear",
    "defjvp",
    "defjvp_argnum",
    "defvjp",
    "defvjp_argnum",
    "defvjp_argnums",
    "notrace_primitive",
    "primitive",
]
