"""Every primitive with its rules, by family; and the functions that apply them.

All functions take arrays, numbers and traced values alike, under NumPy's names where NumPy has
one. On plain arrays `ops.tanh(x)` is `np.tanh(x)`.
"""

from .activation import hard_sigmoid, hard_swish, relu, sigmoid, softplus, swish
from .arithmetic import (
    absolute,
    add,
    ceil,
    clip,
    divide,
    equal,
    floor,
    floor_divide,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    remainder,
    rint,
    round,
    sign,
    square,
    stop_gradient,
    subtract,
    where,
)
from .contract import dot, matmul, outer
from .conv import conv, conv_transpose
from .index import add_at, getitem, set_at, take, take_along_axis
from .normalize import batch_norm, batch_norm_inference, log_softmax, softmax
from .pool import avg_pool, global_avg_pool, max_pool
from .reduce import all, any, argmax, argmin, logsumexp, max, mean, min, std, sum, var
from .shape import (
    astype,
    broadcast_to,
    concatenate,
    expand_dims,
    moveaxis,
    pad,
    ravel,
    reshape,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
from .transcendental import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cbrt,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    reciprocal,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

abs = absolute
