"""Kinone: pure-function transformations over plain NumPy.

    >>> import numpy as np, kinone as kn
    >>> kn.grad(lambda w: np.sum(np.tanh(w) ** 2))(np.zeros(2))
    array([0., 0.])

The public names:

    kn.grad, value_and_grad, vjp, jvp      derivatives of ordinary functions
    kn.jacobian, jacfwd, jacrev, hessian   their matrices; kn.hvp, ggnvp: products with a vector
    kn.linearize, linear_transpose         derivatives as linear functions that run many times
    kn.custom_vjp, custom_jvp              functions with derivative rules of your own
    kn.checkpoint                          less memory for one more forward run
    kn.extend                              operations of your own, such as a call of SciPy
    kn.vmap                                one example's function, of many at once
    kn.cond, switch, scan, map             branches and loops that can be compiled;
    kn.fori_loop, while_loop               differentiable, like Python's own
    kn.jit                                 a function compiled to NumPy source that you can read
    kn.graph, eval_shape                   the program and the shapes of a function
    kn.named_scope                         a path on what is computed inside, as layers give
    kn.ops                                 every primitive with its rules
    kn.numpy                               NumPy's namespace, and that of the array API standard
    kn.tree, kn.random                     trees of arrays; explicit keys
    kn.nn, kn.models                       layers as init/apply pairs; networks made of them
    kn.optim, kn.losses                    optimisers as pure state updates; losses
    kn.metrics                             how good predictions are, with intervals
    kn.lax                                 control flow and collectives under JAX's names
    kn.scipy                               SciPy's functions (needs SciPy)
    kn.data, kn.training                   batches; checkpoints and progress
    kn.onnx                                export of any function, import of any model (needs onnx)
    kn.debug, kn.env                       NaNs, profiles, residuals, pictures; the versions
    kn.testing                             check_grads and the checks of a primitive's rules
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import ops, tree
from .core import ShapeDtype
from .errors import KeyReuseWarning, KinoneError
from .graph import Graph, eval_shape, graph
from .ops import stop_gradient
from .source import named_scope
from .transforms import (
    checkpoint,
    cond,
    custom_jvp,
    custom_vjp,
    deriv,
    elementwise_grad,
    fori_loop,
    ggnvp,
    grad,
    grad_and_aux,
    grad_named,
    hessian,
    hessian_tensor_product,
    hessian_vector_product,
    holomorphic_grad,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linear_transpose,
    linearize,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_jvp_reversemode,
    make_vjp,
    map,
    multigrad_dict,
    remat,
    scan,
    switch,
    tensor_jacobian_product,
    value_and_grad,
    vector_jacobian_product,
    vjp,
    vmap,
    while_loop,
)

__version__ = "0.1.0"

# Loaded when they are first asked for: `import kinone` alone costs as little as it can.
_PARTS = (
    *("compile", "data", "debug", "extend", "lax", "losses", "metrics", "misc", "models", "nn"),
    *("numpy", "onnx", "optim", "random", "scipy", "testing", "training"),
)
_NAMES = {"env": "debug", "jit": "compile"}  # and the part that has them

if TYPE_CHECKING:
    from . import (
        data,
        debug,
        extend,
        lax,
        losses,
        metrics,
        misc,
        models,
        nn,
        numpy,
        optim,
        random,
        testing,
        training,
    )
    from . import onnx as onnx  # these need extras, so `import *` leaves them out
    from . import scipy as scipy
    from .compile.jit import jit
    from .debug import env
else:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name in _PARTS:
            return importlib.import_module(f".{name}", __name__)
        if name not in _NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        part = importlib.import_module(f".{_NAMES[name]}", __name__)
        globals()[name] = value = getattr(part, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Graph",
    "KeyReuseWarning",
    "KinoneError",
    "ShapeDtype",
    "checkpoint",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "data",
    "debug",
    "deriv",
    "elementwise_grad",
    "env",
    "eval_shape",
    "extend",
    "fori_loop",
    "ggnvp",
    "grad",
    "grad_and_aux",
    "grad_named",
    "graph",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "losses",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_jvp_reversemode",
    "make_vjp",
    "map",
    "metrics",
    "misc",
    "models",
    "multigrad_dict",
    "named_scope",
    "nn",
    "numpy",
    "ops",
    "optim",
    "random",
    "remat",
    "scan",
    "stop_gradient",
    "switch",
    "tensor_jacobian_product",
    "testing",
    "training",
    "tree",
    "value_and_grad",
    "vector_jacobian_product",
    "vjp",
    "vmap",
    "while_loop",
]
