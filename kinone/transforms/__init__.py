"""The transformations: functions of functions."""

from .batch import vmap
from .compatibility import (
    deriv,
    elementwise_grad,
    grad_and_aux,
    grad_named,
    hessian_tensor_product,
    hessian_vector_product,
    holomorphic_grad,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_jvp_reversemode,
    make_vjp,
    multigrad_dict,
    tensor_jacobian_product,
    vector_jacobian_product,
)
from .control import cond, fori_loop, map, scan, switch, while_loop
from .custom_forward import custom_jvp
from .custom_reverse import custom_vjp
from .derived import ggnvp, hessian, hvp, jacfwd, jacobian, jacrev
from .forward import jvp
from .gradient import grad, value_and_grad, vjp
from .linear import linear_transpose, linearize
from .remat import checkpoint, remat

__all__ = [
    "checkpoint",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "deriv",
    "elementwise_grad",
    "fori_loop",
    "ggnvp",
    "grad",
    "grad_and_aux",
    "grad_named",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linear_transpose",
    "linearize",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_jvp_reversemode",
    "make_vjp",
    "map",
    "multigrad_dict",
    "remat",
    "scan",
    "switch",
    "tensor_jacobian_product",
    "value_and_grad",
    "vector_jacobian_product",
    "vjp",
    "vmap",
    "while_loop",
]
