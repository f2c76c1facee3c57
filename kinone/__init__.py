"""Kinone: pure-function transformations over plain NumPy.

    >>> import numpy as np, kinone as kn
    >>> kn.grad(lambda w: np.sum(np.tanh(w) ** 2))(np.zeros(2))
    array([0., 0.])
"""

from . import ops, tree
from .core import ShapeDtype
from .errors import KeyReuseWarning, KinoneError
from .graph import eval_shape, graph
from .ops import stop_gradient
from .transforms import grad, jvp, value_and_grad, vjp

__version__ = "0.1.0"

__all__ = [
    "KeyReuseWarning",
    "KinoneError",
    "ShapeDtype",
    "eval_shape",
    "grad",
    "graph",
    "jvp",
    "ops",
    "stop_gradient",
    "tree",
    "value_and_grad",
    "vjp",
]
