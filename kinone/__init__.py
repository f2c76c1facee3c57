"""Kinone: pure-function transformations over plain NumPy.

    >>> import numpy as np, kinone as kn
    >>> kn.grad(lambda w: np.sum(np.tanh(w) ** 2))(np.zeros(2))
    array([0., 0.])

The public names:

    kn.grad, value_and_grad, vjp, jvp      derivatives of ordinary functions
    kn.vmap                                one example's function, of many at once
    kn.graph, eval_shape                   the program and the shapes of a function
    kn.ops                                 every primitive with its rules
    kn.tree, kn.random                     trees of arrays; explicit keys
    kn.nn, kn.models                       layers as init/apply pairs; networks made of them
    kn.optim, kn.losses                    optimisers as pure state updates; losses
    kn.data, kn.training                   batches; checkpoints and progress
    kn.testing                             check_grads and the checks of a primitive's rules
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from . import ops, tree
from .core import ShapeDtype
from .errors import KeyReuseWarning, KinoneError
from .graph import Graph, eval_shape, graph
from .ops import stop_gradient
from .transforms import grad, jvp, value_and_grad, vjp, vmap

if TYPE_CHECKING:  # for type checkers; at run time `__getattr__` loads them
    from . import data, losses, models, nn, optim, random, testing, training

__version__ = "0.1.0"

# Loaded when they are first asked for: `import kinone` alone costs as little as it can.
_LAZY = ("data", "losses", "models", "nn", "optim", "random", "testing", "training")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'kinone' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


__all__ = [
    "Graph",
    "KeyReuseWarning",
    "KinoneError",
    "ShapeDtype",
    "data",
    "eval_shape",
    "grad",
    "graph",
    "jvp",
    "losses",
    "models",
    "nn",
    "ops",
    "optim",
    "random",
    "stop_gradient",
    "testing",
    "training",
    "tree",
    "value_and_grad",
    "vjp",
    "vmap",
]
